package rule

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// Bounds on one expression. A view has a few dozen services and comes four
// times a second. BenchmarkEval: 0.1 µs for two comparisons, 1.5 µs for a mean
// over 5 minutes, 62 µs with 16 medians over 24 hours; spans are worked out
// once a second at most.
const (
	MaxText  = 2 << 10 // bytes
	MaxNodes = 256     // operators, names and numbers
	MaxSpans = 16      // functions over time
)

// Expression is a compiled condition. It is immutable and safe for concurrent
// use; what it remembers between evaluations is in a [Memory].
type Expression struct {
	text     string
	root     *node
	kind     scope.Kind
	terms    []Term
	texts    []string // how terms, then spans, are written
	spans    []*node  // the functions over time, each once
	warnings []string
}

// Error is what is wrong with an expression.
type Error struct {
	// Rule is the name given to Compile.
	Rule string
	// Line and Column are where in the text, from 1, columns in characters.
	Line, Column int
	// Problem says what is wrong and Hint what to do, both for people.
	Problem, Hint string
}

// Error returns "rule NAME: column N: problem; hint".
func (e *Error) Error() string {
	where := fmt.Sprintf("column %d", e.Column)
	if e.Line > 1 {
		where = fmt.Sprintf("line %d, column %d", e.Line, e.Column)
	}
	return fmt.Sprintf("rule %s: %s: %s; %s", e.Rule, where, e.Problem, e.Hint)
}

// Compile checks text, an expression that is true or false. The error is
// always an *Error, and the Expression is nil then. name is only for messages.
func Compile(name, text string) (*Expression, error) {
	e, p := compile(text)
	if p != nil {
		line, column := position(text, p.at)
		return nil, &Error{Rule: name, Line: line, Column: column, Problem: p.problem, Hint: p.hint}
	}
	return e, nil
}

func compile(text string) (*Expression, *problem) {
	switch {
	case len(text) > MaxText:
		return nil, &problem{0, fmt.Sprintf("the expression has %d bytes, more than %d", len(text), MaxText), "make several rules of it"}
	case !utf8.ValidString(text):
		return nil, &problem{0, "the expression is not UTF-8", "save the file as UTF-8"}
	case strings.TrimSpace(text) == "":
		return nil, &problem{0, "the expression is empty", "write a condition, as service.queue_wait_seconds > 0.5"}
	}
	tree, err := parser.Parse(text)
	if err != nil {
		return nil, syntax(err)
	}
	c := checker{spans: map[string]*node{}}
	root, p := c.check(tree.Node)
	if p == nil {
		p = condition(root, "the expression")
	}
	if p != nil {
		return nil, p
	}
	e := &Expression{text: text, root: root, kind: c.kind, terms: c.seen, spans: c.order}
	if e.kind == scope.KindNone {
		e.kind = scope.KindHost
	}
	for _, t := range e.terms {
		e.texts = append(e.texts, t.String())
	}
	for _, n := range e.spans {
		e.texts = append(e.texts, n.String())
	}
	e.warnings = warnings(root)
	return e, nil
}

// syntax turns the parser's complaint into ours.
func syntax(err error) *problem {
	at, message := 0, err.Error()
	if e, ok := errors.AsType[*file.Error](err); ok {
		at, message = e.From, e.Message
	}
	hint := "write a condition, as service.queue_wait_seconds > 0.5 && service.accepted >= 20"
	switch {
	case strings.HasPrefix(message, "bad number syntax"):
		hint = `put a duration in quotes: "250ms", "5m"`
	case strings.Contains(message, "EOF"):
		message, hint = "the expression ends too early", "finish it, or take out what is open"
	}
	return &problem{at, message, hint}
}

// position is the line and column, from 1, of the character at.
func position(text string, at int) (line, column int) {
	line, column = 1, 1
	for _, r := range text {
		if at <= 0 {
			break
		}
		at--
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
	}
	return line, column
}

// Kind is what the expression is evaluated for: each service, each backend,
// each region, or the host.
func (e *Expression) Kind() scope.Kind { return e.kind }

// Signals are the signals that the expression names, each once, in the order
// of the text. The slice is the caller's.
func (e *Expression) Signals() []measure.Signal {
	var out []measure.Signal
	for _, t := range e.terms {
		out = append(out, t.Signal)
	}
	return out
}

// Lookback is how far its functions over time look back; zero without any.
func (e *Expression) Lookback() time.Duration {
	var longest time.Duration
	for _, n := range e.spans {
		longest = max(longest, n.span)
	}
	return longest
}

// Warnings say why the expression can never be true, or never end, where that
// can be told from the text alone. The slice is shared: do not change it.
func (e *Expression) Warnings() []string { return e.warnings }

// Text is the expression as written.
func (e *Expression) Text() string { return e.text }

// String is the expression with all its parentheses, as it was understood.
// Compile takes it back.
func (e *Expression) String() string { return e.root.String() }

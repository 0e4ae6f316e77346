package rulefile

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds on a file, because parts of the YAML library are quadratic in them
// (see internal/config).
const (
	MaxSize   = 256 << 10 // bytes
	maxLines  = 5_000
	maxTokens = 30_000
	maxDepth  = 16
	maxErrors = 20
)

// reader reads one file and collects what is wrong with it.
type reader struct {
	file  string
	lines []string
	errs  []error
}

// add notes a problem at a node; nil is the whole file.
func (r *reader) add(n ast.Node, format string, args ...any) {
	var t *token.Token
	if n != nil {
		t = start(n)
	}
	r.addAt(t, format, args...)
}

func (r *reader) addAt(t *token.Token, format string, args ...any) {
	where := r.file
	if t != nil && t.Position != nil {
		where = fmt.Sprintf("%s:%d:%d", r.file, t.Position.Line, t.Position.Column)
	}
	r.errs = append(r.errs, fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...)))
}

// err joins the problems; nil when there are none.
func (r *reader) err() error {
	if more := len(r.errs) - maxErrors; more > 0 {
		r.errs = append(r.errs[:maxErrors:maxErrors], fmt.Errorf("%s: %d more problems are not shown; mend the ones above first", r.file, more))
	}
	return errors.Join(r.errs...)
}

// start is the token where a node begins: a mapping's is its first key, not
// its first colon.
func start(n ast.Node) *token.Token {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return m.Values[0].Key.GetToken()
	}
	if m, ok := n.(*ast.MappingValueNode); ok {
		return m.Key.GetToken()
	}
	return n.GetToken()
}

// root is the only document of the file; nil after a problem.
func (r *reader) root(data []byte) ast.Node {
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // a byte order mark, from editors on Windows
	switch {
	case len(data) > MaxSize:
		r.add(nil, "the file is larger than %d bytes; make several of it", MaxSize)
	case !utf8.Valid(data) || bytes.ContainsAny(data, "\x00\t"):
		r.add(nil, "the file has a tab, or bytes that are no text; use spaces and save it as UTF-8")
	case bytes.Count(data, []byte("\n")) > maxLines:
		r.add(nil, "the file has more than %d lines; make several of it", maxLines)
	}
	if r.errs != nil {
		return nil
	}
	r.lines = strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
	tokens := lexer.Tokenize(strings.Join(r.lines, "\n"))
	if !r.plain(tokens) {
		return nil
	}
	f, err := parser.Parse(tokens, 0)
	if err != nil {
		if e, ok := errors.AsType[yaml.Error](err); ok {
			r.addAt(e.GetToken(), "not valid YAML: %s; check the quotes, brackets and indentation there", e.GetMessage())
		} else {
			r.add(nil, "not valid YAML; check the quotes, brackets and indentation")
		}
		return nil
	}
	switch {
	case len(f.Docs) == 0 || f.Docs[0].Body == nil:
		r.add(nil, "the file is empty; write rules: and a list of them")
		return nil
	case len(f.Docs) > 1:
		r.add(nil, "the file has several documents; keep one and remove the lines ---")
		return nil
	}
	return f.Docs[0].Body
}

// plain refuses what these files do not need and what cannot be bounded.
func (r *reader) plain(tokens token.Tokens) bool {
	if len(tokens) > maxTokens {
		r.addAt(tokens[maxTokens], "the file has more than %d keys, values and marks; make several of it", maxTokens)
		return false
	}
	depth, onLine, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, onLine = t.Position.Line, 0
		}
		switch t.Type {
		case token.AnchorType, token.AliasType, token.TagType, token.MergeKeyType, token.DirectiveType, token.MappingKeyType:
			r.addAt(t, "%q is a part of YAML that is not supported; write the value out, or put text in quotes", t.Value)
			return false
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth = max(0, depth-1)
		case token.SequenceEntryType:
			onLine++
		}
		if depth > maxDepth || onLine > maxDepth || t.Position.Column > 1000 && t.Type == token.SequenceEntryType {
			r.addAt(t, "nested more than %d deep; no key is", maxDepth)
			return false
		}
	}
	return true
}

// mapping calls set for each pair of n. set returns false for a key that it
// does not know; known are those that it does.
func (r *reader) mapping(n ast.Node, what string, known string, set func(key string, value ast.Node) bool) {
	var pairs []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	default:
		r.add(n, "%s is no mapping; the keys here are %s", what, known)
		return
	}
	for _, p := range pairs {
		key, _ := scalar(p.Key)
		if p.Value == nil || p.Value.Type() == ast.NullType {
			r.add(p.Key, "%s has no value; give it one or remove the key", key)
		} else if !set(key, p.Value) {
			r.add(p.Key, "unknown key %.60q in %s; the keys here are %s", key, what, known)
		}
	}
}

// list calls each for each element of n.
func (r *reader) list(n ast.Node, what string, each func(ast.Node)) {
	l, ok := n.(*ast.SequenceNode)
	if !ok {
		r.add(n, "%s is no list; begin each element with -", what)
		return
	}
	for _, v := range l.Values {
		if v == nil || v.Type() == ast.NullType {
			r.add(n, "%s has an empty element; remove it", what)
			continue
		}
		each(v)
	}
}

// scalar is a node's text as written, and whether it is one.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// text reads a scalar.
func (r *reader) text(n ast.Node, what string) string {
	s, ok := scalar(n)
	if !ok {
		r.add(n, "%s takes text; write it in quotes", what)
	}
	return s
}

// duration reads a duration that is not negative.
func (r *reader) duration(n ast.Node, what string) time.Duration {
	s := r.text(n, what)
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		r.add(n, "%s %.40q is no duration; write it with its unit, as 30s or 5m", what, s)
		return 0
	}
	return d
}

// columnIn is the column of the file where character column of text, the value
// of n, stands; zero when the file does not have the text on one line as it is.
func (r *reader) columnIn(n ast.Node, text string, column int) int {
	line := n.GetToken().Position.Line
	if line < 1 || line > len(r.lines) || strings.Contains(text, "\n") {
		return 0
	}
	before, _, found := strings.Cut(r.lines[line-1], text)
	if !found {
		return 0
	}
	return utf8.RuneCountInString(before) + column
}

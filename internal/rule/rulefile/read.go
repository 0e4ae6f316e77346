package rulefile

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/foreshock/foreshock/internal/config"
)

// maxErrors is how many problems are told of one file.
const maxErrors = 20

// reader reads one file and collects what is wrong with it.
type reader struct {
	file  string
	lines []string
	errs  []error
}

// add notes a problem at a node; nil is the whole file.
func (r *reader) add(n ast.Node, format string, args ...any) {
	where := r.file
	if n != nil {
		at := start(n).Position
		where = fmt.Sprintf("%s:%d:%d", r.file, at.Line, at.Column)
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
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	root, err := config.Tree(r.file, []byte(text))
	switch {
	case err != nil:
		r.errs = append(r.errs, err)
	case root == nil:
		r.add(nil, "the file is empty; write rules: and a list of them")
	}
	r.lines = strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
	return root
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
	seen := map[string]bool{}
	for _, p := range pairs {
		key, _ := scalar(p.Key)
		if seen[key] {
			r.add(p.Key, "the key %.60q is there twice in %s; keep one of them", key, what)
		}
		seen[key] = true
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

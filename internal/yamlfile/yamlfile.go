// Package yamlfile reads small YAML files strictly: each key once and known,
// each value of its kind, and every problem told at once, by file, line and
// column.
//
//	r := yamlfile.New("web.labels.yaml")
//	root := r.Root(data)
//	r.Mapping(root, "the file", "labels", func(key string, n ast.Node) bool { … })
//	return r.Err()
package yamlfile

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

// Reader reads one file and collects what is wrong with it.
type Reader struct {
	file  string
	lines []string
	errs  []error
}

// New returns a Reader of a file, which is called so in messages.
func New(file string) *Reader { return &Reader{file: file} }

// File is what the file is called.
func (r *Reader) File() string { return r.file }

// AddAt notes a problem at a line and a column, from 1.
func (r *Reader) AddAt(line, column int, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s:%d:%d: %s", r.file, line, column, fmt.Sprintf(format, args...)))
}

// Add notes a problem at a node; nil is the whole file.
func (r *Reader) Add(n ast.Node, format string, args ...any) {
	where := r.file
	if n != nil {
		at := Start(n).Position
		where = fmt.Sprintf("%s:%d:%d", r.file, at.Line, at.Column)
	}
	r.errs = append(r.errs, fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...)))
}

// Err joins the problems; nil when there are none.
func (r *Reader) Err() error {
	if more := len(r.errs) - maxErrors; more > 0 {
		r.errs = append(r.errs[:maxErrors:maxErrors], fmt.Errorf("%s: %d more problems are not shown; mend the ones above first", r.file, more))
	}
	return errors.Join(r.errs...)
}

// Start is the token where a node begins: a mapping's is its first key, not
// its first colon.
func Start(n ast.Node) *token.Token {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return m.Values[0].Key.GetToken()
	}
	if m, ok := n.(*ast.MappingValueNode); ok {
		return m.Key.GetToken()
	}
	return n.GetToken()
}

// Root is the only document of the file; nil after a problem. write is what a
// file that is empty lacks: "rules: and a list of them".
func (r *Reader) Root(data []byte, write string) ast.Node {
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	root, err := config.Tree(r.file, []byte(text))
	switch {
	case err != nil:
		r.errs = append(r.errs, err)
	case root == nil:
		r.Add(nil, "the file is empty; write %s", write)
	}
	r.lines = strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
	return root
}

// Mapping calls set for each pair of n. set returns false for a key that it
// does not know; known are those that it does.
func (r *Reader) Mapping(n ast.Node, what string, known string, set func(key string, value ast.Node) bool) {
	var pairs []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	default:
		r.Add(n, "%s is no mapping; the keys here are %s", what, known)
		return
	}
	seen := map[string]bool{}
	for _, p := range pairs {
		key, _ := Scalar(p.Key)
		if seen[key] {
			r.Add(p.Key, "the key %.60q is there twice in %s; keep one of them", key, what)
		}
		seen[key] = true
		if p.Value == nil || p.Value.Type() == ast.NullType {
			r.Add(p.Key, "%s has no value; give it one or remove the key", key)
		} else if !set(key, p.Value) {
			r.Add(p.Key, "unknown key %.60q in %s; the keys here are %s", key, what, known)
		}
	}
}

// List calls each for each element of n.
func (r *Reader) List(n ast.Node, what string, each func(ast.Node)) {
	l, ok := n.(*ast.SequenceNode)
	if !ok {
		r.Add(n, "%s is no list; begin each element with -", what)
		return
	}
	for _, v := range l.Values {
		if v == nil || v.Type() == ast.NullType {
			r.Add(n, "%s has an empty element; remove it", what)
			continue
		}
		each(v)
	}
}

// Scalar is a node's text as written, and whether it is one.
func Scalar(n ast.Node) (string, bool) {
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

// Text reads a scalar.
func (r *Reader) Text(n ast.Node, what string) string {
	s, ok := Scalar(n)
	if !ok {
		r.Add(n, "%s takes text; write it in quotes", what)
	}
	return s
}

// Duration reads a duration that is not negative.
func (r *Reader) Duration(n ast.Node, what string) time.Duration {
	s := r.Text(n, what)
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		r.Add(n, "%s %.40q is no duration; write it with its unit, as 30s or 5m", what, s)
		return 0
	}
	return d
}

// ColumnIn is the column of the file where character column of text, the value
// of n, stands; zero when the file does not have the text on one line as it is.
func (r *Reader) ColumnIn(n ast.Node, text string, column int) int {
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

package label

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/yamlfile"
)

const (
	fileKeys  = "version, healthy, note, labels"
	labelKeys = "cause, or, follows, scope, from, to, first_failure, severity, note"
)

// Parse reads the labels of a recording with those bounds. name is for messages.
// The error joins one for each problem, by line and column, and the File is
// empty then.
func Parse(name string, data []byte, b Bounds) (File, error) {
	r := &reader{yamlfile.New(name), b}
	var out File
	var labels, version ast.Node
	if root := r.Root(data, "labels: and a list of them, or healthy: true"); root != nil {
		r.Mapping(root, "the file", fileKeys, func(key string, n ast.Node) bool {
			switch key {
			case "version":
				version = n
			case "healthy":
				text := r.Text(n, key)
				if text != "true" && text != "false" {
					r.Add(n, "healthy %.40q is neither true nor false", text)
				}
				out.Healthy = text == "true"
			case "note":
				out.Note = r.Text(n, key)
			case "labels":
				labels = n
				r.List(n, key, func(n ast.Node) {
					l := r.label(n)
					if err := out.Clash(&l); err != nil {
						r.Add(n, "%v", err)
					}
					out.Labels = append(out.Labels, l)
				})
			default:
				return false
			}
			return true
		})
		switch {
		case version == nil:
			r.Add(root, "version is missing; write version: %d", Version)
		case r.Text(version, "version") != strconv.Itoa(Version):
			r.Add(version, "version %.40q is not one that this program knows: it reads version %d; use a later foreshock", r.Text(version, "version"), Version)
		}
		switch {
		case out.Healthy && len(out.Labels) > 0:
			r.Add(labels, "a healthy recording has no labels: nothing is to be found there; remove healthy, or them")
		case !out.Healthy && len(out.Labels) == 0:
			r.Add(root, "there is no label; write one, or healthy: true where nothing is to be found")
		}
	}
	if err := r.Err(); err != nil {
		return File{}, err
	}
	return out, nil
}

// reader reads a file of labels.
type reader struct {
	*yamlfile.Reader
	bounds Bounds
}

func (r *reader) label(n ast.Node) Label {
	l := Label{Severity: judge.Warning}
	given := map[string]ast.Node{}
	good := true
	must := func(n ast.Node, key string, err error) {
		if err != nil {
			r.Add(n, "%s: %v", key, err)
			good = false
		}
	}
	r.Mapping(n, "a label", labelKeys, func(key string, v ast.Node) bool {
		given[key] = v
		var err error
		switch key {
		case "cause":
			l.Cause, err = Cause(r.Text(v, key))
		case "or", "follows":
			list := map[string]*[]judge.Cause{"or": &l.Or, "follows": &l.Follows}[key]
			r.List(v, key, func(v ast.Node) {
				c, err := Cause(r.Text(v, key))
				must(v, key, err)
				*list = append(*list, c)
			})
		case "scope":
			l.Scope, err = r.bounds.Scope(r.Text(v, key))
		case "from":
			l.From, err = r.bounds.Time(r.Text(v, key))
		case "to":
			l.To, err = r.bounds.Time(r.Text(v, key))
		case "first_failure":
			l.FirstFailure, err = r.bounds.Time(r.Text(v, key))
		case "severity":
			l.Severity, err = rule.ParseSeverity(r.Text(v, key))
		case "note":
			l.Note = r.Text(v, key)
		default:
			return false
		}
		must(v, key, err)
		return true
	})
	for _, key := range []string{"cause", "scope", "from", "to"} {
		if given[key] == nil {
			r.Add(n, "%s is missing", key)
			good = false
		}
	}
	if key, err := r.bounds.Check(&l); good && err != nil {
		r.Add(given[key], "%s: %v", key, err)
	}
	return l
}

// Text is the file as people read it.
func (f *File) Text() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# What was wrong in the recording of this name: foreshock score holds its replay\n# against it. Times are RFC 3339, or +1m30s from the recording's start.\nversion: %d\n", Version)
	if f.Healthy {
		fmt.Fprintf(&b, "healthy: true # nothing is to be found\n")
	}
	if f.Note != "" {
		fmt.Fprintf(&b, "note: %s\n", strconv.Quote(f.Note))
	}
	if len(f.Labels) > 0 {
		fmt.Fprintf(&b, "labels:\n")
	}
	for i := range f.Labels {
		f.Labels[i].write(&b)
	}
	return []byte(b.String())
}

func (l *Label) write(b *strings.Builder) {
	fmt.Fprintf(b, "  - cause: %s\n", l.Cause)
	writeCauses(b, "or", l.Or)
	writeCauses(b, "follows", l.Follows)
	fmt.Fprintf(b, "    scope: %s\n    from: %s\n    to: %s\n", strconv.Quote(l.Scope.String()), text(l.From), text(l.To))
	if !l.FirstFailure.IsZero() {
		fmt.Fprintf(b, "    first_failure: %s\n", text(l.FirstFailure))
	}
	if l.Severity != judge.Warning {
		fmt.Fprintf(b, "    severity: %s\n", l.Severity)
	}
	if l.Note != "" {
		fmt.Fprintf(b, "    note: %s\n", strconv.Quote(l.Note))
	}
}

// writeCauses writes a list of causes, unless it is empty.
func writeCauses(b *strings.Builder, key string, causes []judge.Cause) {
	if len(causes) == 0 {
		return
	}
	names := make([]string, 0, len(causes))
	for _, c := range causes {
		names = append(names, c.String())
	}
	fmt.Fprintf(b, "    %s: [%s]\n", key, strings.Join(names, ", "))
}

// Extend adds a label to the text of a file, which is that of f, and leaves the
// rest as its writer has it, comments and all, where that can be done.
func (f *File) Extend(name string, was []byte, l Label, b Bounds) []byte {
	more := File{Healthy: f.Healthy, Note: f.Note, Labels: append(slices.Clone(f.Labels), l)}
	var one strings.Builder
	l.write(&one)
	kept := append(slices.Clone(was), one.String()...)
	if got, err := Parse(name, kept, b); err == nil && reflect.DeepEqual(got, more) {
		return kept
	}
	return more.Text()
}

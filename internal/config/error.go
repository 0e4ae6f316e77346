package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Error is one problem in a configuration file.
type Error struct {
	File string
	// Line and Column count from 1, columns in characters. Both are zero for
	// a problem of the whole file.
	Line, Column int
	// Key is the path of the key: "services[0].listen[1]"; empty when the
	// problem is not one key's.
	Key string
	// Text is the offending text, shortened; empty where it may be a secret.
	Text string
	// Problem says what is wrong and Hint what to do, both for people.
	Problem, Hint string
}

// Error returns "file:line:column: problem; hint".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	fmt.Fprintf(&b, ": %s; %s", e.Problem, e.Hint)
	return b.String()
}

// position is a place in the file; zero is the whole file.
type position struct{ Line, Column int }

// maxProblems is how many problems one Parse reports: a screenful. A file
// with more is most likely not ours at all.
const maxProblems = 20

// problems collects what is wrong with one file.
type problems struct {
	file  string
	found []*Error
}

// add notes a problem. text is what the file says there, or empty.
func (p *problems) add(at position, key, text, problem, hint string) {
	p.found = append(p.found, &Error{
		File: p.file, Line: at.Line, Column: at.Column,
		Key: shorten(key), Text: shorten(text), Problem: problem, Hint: hint,
	})
}

// err joins the problems in the order of the file; nil when there are none.
func (p *problems) err() error {
	slices.SortStableFunc(p.found, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	found := p.found
	if more := len(found) - maxProblems; more > 0 {
		found = append(slices.Clone(found[:maxProblems]), &Error{
			File: p.file, Problem: fmt.Sprintf("%d more problems are not shown", more), Hint: "mend the ones above first",
		})
	}
	errs := make([]error, len(found))
	for i, e := range found {
		errs[i] = e
	}
	return errors.Join(errs...)
}

// shorten cuts s to what fits in a message.
func shorten(s string) string {
	const most = 80 // bytes; more would hide the problem behind the quote
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}

// quote quotes s, shortened, with anything a terminal could act on escaped.
func quote(s string) string { return strconv.Quote(shorten(s)) }

// Package label says what was wrong in a recording, and when: the truth that its
// replay is held against. A recording and its labels are an episode.
//
// The labels of web.rec are in web.rec.labels.yaml, beside it, for people to
// read and to write:
//
//	version: 1
//	labels:
//	  - cause: path_lost
//	    or: [peer_frozen]
//	    follows: [stuck_closing]
//	    scope: "backend/shop/s1"
//	    from: 2026-11-21T10:00:00Z
//	    to: +2m30s
//	    first_failure: +1m4s
//	    note: "the switch of rack 2 was pulled"
//
// A time is RFC 3339, or an offset from the recording's start. A recording in
// which nothing is to be found says so: healthy: true.
package label

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/spelling"
)

// Suffix is what a recording's name gets to be that of its labels.
const Suffix = ".labels.yaml"

// Version is the version of the file.
const Version = 1

// File is the labels of one recording.
type File struct {
	// Healthy: there is nothing to find, and so no label.
	Healthy bool
	// Note is for people.
	Note   string
	Labels []Label
}

// Label is one thing that was wrong.
type Label struct {
	// Cause is what should be found, or one of Or: causes that the same fault
	// may rightly be called.
	Cause judge.Cause
	Or    []judge.Cause
	// Follows are causes that may come of the fault, on Scope or elsewhere: they
	// do not count as found, nor as false.
	Follows []judge.Cause
	Scope   scope.ID
	// From and To are the fault's begin and end on the wall's clock.
	From, To time.Time
	// FirstFailure is when a client failed first; zero where none did, or nobody
	// knows.
	FirstFailure time.Time
	// Severity is the least that counts as found; Warning where nothing is said.
	Severity judge.Severity
	Note     string
}

// Accepts reports whether a finding of that cause is right.
func (l *Label) Accepts(c judge.Cause) bool { return c == l.Cause || slices.Contains(l.Or, c) }

// Explains reports whether a finding of that cause and scope may come of the
// fault: anywhere in the same network namespace but on a sibling, another scope
// of the same kind. What a sibling suffers has a label of its own.
func (l *Label) Explains(c judge.Cause, on scope.ID) bool {
	return slices.Contains(l.Follows, c) && on.Namespace == l.Scope.Namespace && (on == l.Scope || on.Kind != l.Scope.Kind)
}

// Bounds is what a recording has that a label can be about.
type Bounds struct {
	// From and To are the times of the first and the last step on the wall's
	// clock.
	From, To time.Time
	// Scopes are sorted by name.
	Scopes []scope.ID
}

// Survey gathers the bounds of a recording from its steps. The zero value has
// seen none.
type Survey struct {
	from, to time.Time
	scopes   map[scope.ID]bool
}

// Add takes one step.
func (s *Survey) Add(step *measure.Step) {
	at := step.At.Add(step.Offset).UTC()
	if s.scopes == nil {
		s.scopes = make(map[scope.ID]bool)
		s.from, s.to = at, at
	}
	if at.Before(s.from) { // somebody set the clock back
		s.from = at
	}
	if at.After(s.to) {
		s.to = at
	}
	for i := range step.Tallies.Scopes {
		if id := step.Tallies.Scopes[i].Scope; !s.scopes[id] {
			s.scopes[id] = true
			s.scopes[scope.Host.In(id.Namespace)] = true
		}
	}
}

// Bounds are those of the steps so far.
func (s *Survey) Bounds() Bounds {
	b := Bounds{From: s.from, To: s.to}
	for id := range s.scopes {
		b.Scopes = append(b.Scopes, id)
	}
	slices.SortFunc(b.Scopes, func(x, y scope.ID) int { return cmp.Compare(x.String(), y.String()) })
	return b
}

// Time reads a time as labels have it: RFC 3339, or an offset from the start of
// the recording: "+1m30s".
func (b *Bounds) Time(text string) (time.Time, error) {
	if strings.HasPrefix(text, "+") {
		after, err := time.ParseDuration(text[1:])
		if err != nil || after < 0 {
			return time.Time{}, fmt.Errorf("%.40q is no offset; write it as +1m30s", text)
		}
		return b.From.Add(after), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%.40q is no time; write it as %s, or as +1m30s from the start of the recording", text, b.From.Format(time.RFC3339))
	}
	return at.UTC(), nil
}

// Cause reads the name of a cause. The error says which one was meant.
func Cause(text string) (judge.Cause, error) {
	var names []string
	for _, c := range judge.Causes() {
		if c == judge.UserRule {
			continue // that is a rule's doing, and no cause of a failure
		}
		if c.String() == text {
			return c, nil
		}
		names = append(names, c.String())
	}
	hint := "the causes are " + strings.Join(names, ", ")
	if near, ok := spelling.Nearest(text, names); ok {
		hint = "did you mean " + near + "?"
	}
	return judge.NoCause, fmt.Errorf("unknown cause %.40q: %s", text, hint)
}

// Scope reads the name of a scope that the recording has. The error says which
// one was meant.
func (b *Bounds) Scope(text string) (scope.ID, error) {
	if i := slices.IndexFunc(b.Scopes, func(id scope.ID) bool { return id.String() == text }); i >= 0 {
		return b.Scopes[i], nil
	}
	const most = 12
	names := make([]string, 0, len(b.Scopes))
	for _, id := range b.Scopes {
		names = append(names, id.String())
	}
	hint := "it has " + strings.Join(names[:min(most, len(names))], ", ")
	if len(names) > most {
		hint += fmt.Sprintf(" and %d more", len(names)-most)
	}
	if near, ok := spelling.Nearest(text, names); ok {
		hint = "did you mean " + near + "?"
	}
	return scope.ID{}, fmt.Errorf("the recording has no scope %.80q: %s", text, hint)
}

// Check says, by the key that is wrong, what of a label cannot be: a span that
// is not within the recording, an end before its begin.
func (b *Bounds) Check(l *Label) (key string, err error) {
	within := func(at time.Time) error {
		if at.Before(b.From) || at.After(b.To) {
			return fmt.Errorf("%s is not within the recording, which is from %s to %s", text(at), text(b.From), text(b.To))
		}
		return nil
	}
	if err := within(l.From); err != nil {
		return "from", err
	}
	if err := within(l.To); err != nil {
		return "to", err
	}
	if !l.To.After(l.From) {
		return "to", fmt.Errorf("it ends at %s, and begins at %s: the end comes later", text(l.To), text(l.From))
	}
	if l.FirstFailure.IsZero() {
		return "", nil
	}
	if err := within(l.FirstFailure); err != nil {
		return "first_failure", err
	}
	if l.FirstFailure.Before(l.From) {
		return "first_failure", fmt.Errorf("%s is before the fault began, at %s: what failed before it had another reason", text(l.FirstFailure), text(l.From))
	}
	return "", nil
}

// Clash says which label says of the same scope and time what l does: a fault
// counts once.
func (f *File) Clash(l *Label) error {
	for i := range f.Labels {
		if x := &f.Labels[i]; x.Cause == l.Cause && x.Scope == l.Scope && x.From.Before(l.To) && l.From.Before(x.To) {
			return fmt.Errorf("there is a label already that says %s of %s from %s to %s: make that one longer, or let this one begin after it", x.Cause, x.Scope, text(x.From), text(x.To))
		}
	}
	return nil
}

// text is a time as files have it.
func text(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }

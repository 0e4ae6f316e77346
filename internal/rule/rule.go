package rule

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/enum"
)

// Severity is how bad it is when a rule holds. Rules only tell: whatever the
// severity, none of them acts.
type Severity uint8

// The severities. The zero value is none, which no rule may have.
const (
	NoSeverity Severity = iota
	Watch
	Warning
	Critical
)

var severityNames = [...]string{"none", "watch", "warning", "critical"}

// String names it: "warning".
func (s Severity) String() string { return enum.Name(s, "severity", severityNames[:]) }

// ParseSeverity reads "watch", "warning" or "critical".
func ParseSeverity(text string) (Severity, error) {
	if i := slices.Index(severityNames[1:], text); i >= 0 {
		return Severity(i + 1), nil
	}
	return NoSeverity, fmt.Errorf("unknown severity %q: use %s", text, strings.Join(severityNames[1:], ", "))
}

// What a rule has that says nothing of it. A configuration gives the same
// (internal/config).
const (
	// DefaultHold is the hold of a rule without one that does not say how often
	// it samples either.
	DefaultHold     = 10 * time.Second
	DefaultSeverity = Warning
)

// Bounds of a rule's settings.
const (
	MaxHold   = time.Hour
	MaxEvery  = time.Hour
	MaxInARow = 100
)

// Rule is a condition with what makes it a finding.
type Rule struct {
	Name string
	When *Expression
	// Hold is for how long the condition must be seen true; zero opens at
	// once. It clears when seen false for as long, and 10 s at least.
	Hold time.Duration
	// Every is how far apart the samples are that the rule looks at; zero
	// looks at every view. Its functions over time then take samples so far
	// apart too.
	Every time.Duration
	// InARow is how many times on end the condition must be seen true, and
	// to clear, seen false; zero means once.
	InARow   int
	Severity Severity
	// Advice says what to do; may be empty.
	Advice string
}

// Validate refuses settings without a meaning. It returns all it finds wrong,
// each with the key that people write.
func (r *Rule) Validate() []error {
	var out []error
	wrong := func(format string, args ...any) { out = append(out, fmt.Errorf(format, args...)) }
	switch {
	case r.Name == "":
		wrong("name is missing: give the rule one, as web-waits")
	case len(r.Name) > 100:
		wrong("name is longer than 100 bytes: shorten it")
	}
	if r.When == nil {
		wrong("when is missing: give the rule a condition, as service.queue_wait_seconds > 0.5")
	}
	if r.Severity == NoSeverity || r.Severity > Critical {
		wrong("severity is missing: use %s", strings.Join(severityNames[1:], ", "))
	}
	if r.Hold < 0 || r.Hold > MaxHold {
		wrong("hold %s is not between 0s and %s: choose one within", r.Hold, MaxHold)
	}
	if r.Every != 0 && (r.Every < SamplePeriod || r.Every > MaxEvery) {
		wrong("every %s is not between %s and %s: choose one within, or leave it out to look at every view", r.Every, SamplePeriod, MaxEvery)
	}
	if r.InARow < 0 || r.InARow > MaxInARow {
		wrong("in_a_row %d is not between 1 and %d: choose one within", r.InARow, MaxInARow)
	}
	if r.When != nil {
		for _, n := range r.When.spans {
			if n.span < 2*r.Every {
				wrong("%s looks at less than two samples %s apart: make its span %s or longer", n, r.Every, 2*r.Every)
			}
		}
	}
	return out
}

package judge

import (
	"fmt"
	"math"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
)

// wilsonLower is the lower end of the 95 % Wilson score interval of the share
// part ÷ whole; zero without any.
func wilsonLower(part, whole float64) float64 {
	lower, _ := measure.Wilson(part, whole)
	return lower
}

// shows adds signals of s to the evidence, for context.
func (f *Finding) shows(s *measure.ScopeSignals, sigs ...measure.Signal) {
	for _, sig := range sigs {
		f.Evidence = append(f.Evidence, Evidence{Signal: sig, Reading: s.Get(sig)})
	}
}

// against adds a signal of s beside the level that it is held against, which
// came from origin.
func (f *Finding) against(s *measure.ScopeSignals, sig measure.Signal, level float64, origin string) {
	f.Evidence = append(f.Evidence, Evidence{Signal: sig, Reading: s.Get(sig), Threshold: level, HasThreshold: true, Origin: origin})
}

// considers adds another cause, and why it is not this one or cannot be told.
func (f *Finding) considers(c Cause, why string) {
	f.Considered = append(f.Considered, Considered{c.String(), why})
}

// rejected words what was considered: yes, no or cannot tell, with the number
// that says so.
func rejected(s subject, sig measure.Signal, answer truth) string {
	r := s.scope.Get(sig)
	number := fmt.Sprintf("%s is %s", sig, r.Validity.Words())
	if r.Validity == measure.Known {
		number = fmt.Sprintf("%s %s", sig, trim(r.Value))
	}
	switch answer {
	case yes:
		return "also: " + number
	case no:
		return "no, " + number
	}
	return "cannot tell, " + number
}

func people(n float64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%.0f %s", n, many)
}

// verb is the form that goes with so many.
func verb(n float64, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// firstFive shortens a list that a person reads.
func firstFive(parts []string) []string {
	const most = 5
	if len(parts) <= most {
		return parts
	}
	return append(parts[:most:most], fmt.Sprintf("%d more", len(parts)-most))
}

// basis is how often a condition was seen true on end, and for how long.
func basis(looks int, held time.Duration) string {
	if looks == 1 {
		return "1 look"
	}
	return fmt.Sprintf("%d looks over %s", looks, held.Round(100*time.Millisecond))
}

// trim prints a number with at most two decimals, and none it does not need.
func trim(v float64) string {
	if v == math.Trunc(v) {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// inWords is a duration as people say it: "2 min 27 s".
func inWords(seconds float64) string {
	d := time.Duration(math.Round(seconds)) * time.Second
	switch h, m, s := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60; {
	case h > 0 && m > 0:
		return fmt.Sprintf("%d h %d min", h, m)
	case h > 0:
		return fmt.Sprintf("%d h", h)
	case m > 0 && s > 0:
		return fmt.Sprintf("%d min %d s", m, s)
	case m > 0:
		return fmt.Sprintf("%d min", m)
	default:
		return fmt.Sprintf("%d s", s)
	}
}

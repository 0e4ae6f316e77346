package measure

import (
	"fmt"
	"time"

	"github.com/foreshock/foreshock/internal/scope"
)

// Norm is what a signal of a scope is at this hour when all is well, as learned
// over days: an input, for Measure itself remembers an hour at most. All values
// are in the signal's unit.
type Norm struct {
	Scope  scope.ID
	Signal Signal
	// Usual is the median. Low and High are what it is below and above only
	// when something is wrong: quantiles with the factor, the floor and the
	// confidence bound in them.
	Low, Usual, High float64
	// Minutes is how many minutes it rests on, Days of how many days; zero
	// minutes take the norm away.
	Minutes, Days int
	// Hours is which hours of the week it rests on.
	Hours Hours
	// Learning: it rests on too little to decide anything: less than an hour, or
	// 14 days of what is sampled Hourly.
	Learning bool
}

// Origin says where the norm's bounds come from, for a person: "usual for
// weekdays at 14 h, from 12 days".
func (n *Norm) Origin() string {
	from := fmt.Sprintf("%d days", n.Days)
	switch {
	case n.Minutes < 60:
		from = fmt.Sprintf("%d min", n.Minutes)
	case n.Days <= 1:
		from = fmt.Sprintf("%d h", n.Minutes/60)
	}
	return "usual for " + n.Hours.String() + ", from " + from
}

// Hours is a set of hours of the week that are alike. The zero value is all of
// them.
type Hours uint8

const (
	// AllHours is every hour of the week.
	AllHours Hours = 0
	// NumHours is how many hours are told apart: each of a weekday's, Monday to
	// Friday, and each of a weekend's.
	NumHours = 48
)

// HoursOf is the hour that t is in, in t's own location: 1 to 24 are a
// weekday's from midnight on, 25 to 48 a weekend's. Where the clocks change, an
// hour that comes twice counts twice, and one that is left out is left out.
func HoursOf(t time.Time) Hours {
	h := Hours(1 + t.Hour())
	if day := t.Weekday(); day == time.Saturday || day == time.Sunday {
		h += 24
	}
	return h
}

// Weekend reports whether it is an hour of the weekend.
func (h Hours) Weekend() bool { return h > 24 }

// Hour is the hour of the day, from 0 to 23; -1 of all hours.
func (h Hours) Hour() int {
	if h == AllHours {
		return -1
	}
	return int(h-1) % 24
}

// String names it, for a person: "weekdays at 14 h".
func (h Hours) String() string {
	switch {
	case h == AllHours:
		return "all hours"
	case h > NumHours:
		return fmt.Sprintf("hours %d", uint8(h))
	case h.Weekend():
		return fmt.Sprintf("weekends at %d h", h.Hour())
	}
	return fmt.Sprintf("weekdays at %d h", h.Hour())
}

// Lesson says how a signal is learned over days.
type Lesson struct {
	Signal Signal
	// Floor is in the signal's unit: what does not exceed it is never too much,
	// whatever is usual.
	Floor float64
	// Samples is how many sockets a reading must rest on to be learned: the
	// share of two connections says nothing.
	Samples int
	// Sampled is which of its values are learned, and how they make a norm.
	Sampled Sampling
	// scopes has the bit 1<<kind for each kind of scope of which it is learned.
	scopes uint8
}

// Sampling is which values of a signal are learned, and how they make a norm.
type Sampling uint8

const (
	// EveryLook takes each value that a look sees, by the hour of the week. The
	// bounds are the quantile and the factor of the configuration, at the Wilson
	// bound and not below the floor.
	EveryLook Sampling = iota
	// Hourly takes one value an hour, the first of its first minute, all hours
	// together. High is 1.5 times the 0.95 quantile as it comes, whatever the
	// configuration says, and known from 14 days on; there is no Low. It is the
	// procedure of an article, to be compared with (docs/SIGNALS.md).
	Hourly
)

// Sampled is how a signal is learned; that of one that is not has no meaning.
func (s Signal) Sampled() Sampling {
	for i := range lessons {
		if lessons[i].Signal == s {
			return lessons[i].Sampled
		}
	}
	return EveryLook
}

// lessons are the signals that are learned over days, in their order.
//
// The floors of shares are the levels at which a region is degraded
// (docs/SIGNALS.md); answers below a second are never late; five connections,
// or five new ones a second, come by chance.
var lessons = [...]Lesson{
	{Established, 5, 0, EveryLook, ofPeers},
	{NewFlowsRate, 5, 0, EveryLook, ofService | ofBackend},
	{AnswerSlow, 1, 0, EveryLook, ofPeers},
	{EstablishedShare, 1, 10, EveryLook, ofBoth},
	{SynSentShare, 0.15, 10, EveryLook, ofBoth},
	{CloseWaitShare, 0.15, 10, EveryLook, ofBoth},
	{CloseWaitTotalShare, 0, 0, Hourly, ofRegion},
	{SynSentTotalShare, 0, 0, Hourly, ofRegion},
	{ArrivalsRate, 5, 0, EveryLook, ofAddress},
}

// Lessons returns what is learned over days, in the order of the signals.
func Lessons() []Lesson { return lessons[:] }

// AppliesTo reports whether it is learned of that kind of scope.
func (l *Lesson) AppliesTo(kind scope.Kind) bool { return l.scopes&(1<<kind) != 0 }

// maxNorms is how many norms Measure keeps: the lessons of 1,000 scopes.
const maxNorms = 6 * 1024

// norms are those of all scopes, also of ones that are not there now: a service
// that restarts comes back to the same traffic. Who learns them takes them away.
type norms struct {
	of    map[scope.ID][]Norm
	count int
}

// take notes a norm in the place of the one before, and returns its scope's. A
// new array each time: views hold on to theirs. Beyond the bound it is dropped.
func (n *norms) take(norm Norm) []Norm {
	before := n.of[norm.Scope]
	after := make([]Norm, 0, len(before)+1)
	for i := range before {
		if before[i].Signal != norm.Signal {
			after = append(after, before[i])
		}
	}
	if norm.Minutes > 0 && n.count-len(before)+len(after) < maxNorms {
		after = append(after, norm)
	}
	n.count += len(after) - len(before)
	if len(after) == 0 {
		delete(n.of, norm.Scope)
		return nil
	}
	if n.of == nil {
		n.of = make(map[scope.ID][]Norm)
	}
	n.of[norm.Scope] = after
	return after
}

// takeNorms takes what was learned since the step before.
func (m *Measure) takeNorms(learned []Norm) {
	for _, n := range learned {
		of := m.norms.take(n)
		if h := m.scopes[n.Scope]; h != nil {
			h.signals.Norms, h.touched = of, true
		}
	}
}

// Norm is what is usual of a signal at this hour; known is false where nothing
// was learned, or too little of it.
func (s *ScopeSignals) Norm(sig Signal) (n Norm, known bool) {
	for i := range s.Norms {
		if s.Norms[i].Signal == sig {
			return s.Norms[i], !s.Norms[i].Learning
		}
	}
	return Norm{}, false
}

// setHigh sets the signal that says what another one is above only when
// something is wrong.
func (h *history) setHigh(high, of Signal) {
	n, known := h.signals.Norm(of)
	h.setIf(known, high, n.High, n.Minutes, NotEnough)
}

// setNorm sets the signals that say what was learned of arrivals.
func (h *history) setNorm() {
	n, known := h.signals.Norm(NewFlowsRate)
	h.setIf(known, NewFlowsLow, n.Low, n.Minutes, NotEnough)
	h.setIf(known, NewFlowsNorm, n.Usual, n.Minutes, NotEnough)
}

package judge

import (
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/scope"
)

// truth is the answer of a condition: what cannot be seen is neither.
type truth = rule.Truth

const (
	cannotTell = rule.Unknown
	no         = rule.No
	yes        = rule.Yes
)

func isTrue(b bool) truth { return rule.TruthOf(b) }

// subject is what a condition may look at: one scope, its siblings, and the
// host.
type subject struct {
	scope *measure.ScopeSignals
	host  *measure.ScopeSignals
	// group is that of a backend, a region or a side of a switch, itself among
	// it; empty for any other scope.
	group *group
	*around
}

// around is what else a condition may ask about. It is apart so that a subject,
// which every condition is given, stays a few words long.
type around struct {
	// failing are the destinations that cannot be reached; critical
	// says since when this scope has had an open critical incident, zero when it
	// has none.
	failing  []destination
	critical time.Time
	now      time.Time
	// suspected is since when the cause in question is suspected, zero when it
	// is not; frozen and resetting say that the backend is known to be.
	suspected         time.Time
	frozen, resetting bool
}

// destination is a backend that cannot be reached, or some of a region.
type destination struct {
	scope scope.ID
	// group is what it has in common with others: its region, else its group of
	// backends.
	group string
	count int // of a region, how many destinations; else 1
	since time.Time
}

// is compares a signal of the scope with a level.
func (s subject) is(sig measure.Signal, compare func(value, level float64) bool, level float64) truth {
	r := &s.scope.Readings[sig]
	if r.Validity != measure.Known {
		return cannotTell
	}
	return isTrue(compare(r.Value, level))
}

// isShare compares a signal of the scope with a share of another.
func (s subject) isShare(sig measure.Signal, compare func(value, level float64) bool, share float64, of measure.Signal) truth {
	r := &s.scope.Readings[of]
	if r.Validity != measure.Known {
		return cannotTell
	}
	return s.is(sig, compare, share*r.Value)
}

// hostIs compares a signal of the host with a level.
func (s subject) hostIs(sig measure.Signal, compare func(value, level float64) bool, level float64) truth {
	return subject{scope: s.host}.is(sig, compare, level)
}

func above(value, level float64) bool   { return value > level }
func atLeast(value, level float64) bool { return value >= level }
func atMost(value, level float64) bool  { return value <= level }
func below(value, level float64) bool   { return value < level }

// value is a signal's number, or zero when it is not known: for words, never
// for a decision.
func (s subject) value(sig measure.Signal) float64 {
	value, _ := s.scope.Get(sig).Get()
	return value
}

// numbers reads up to four signals of the scope at once; ok is false unless
// all are known.
func (s subject) numbers(sigs ...measure.Signal) (values [4]float64, ok bool) {
	for i, sig := range sigs {
		r := &s.scope.Readings[sig]
		if r.Validity != measure.Known {
			return values, false
		}
		values[i] = r.Value
	}
	return values, true
}

// check is what a condition asks of its subject.
type check func(subject) truth

// is asks how a signal of the scope compares with a level.
func is(sig measure.Signal, compare func(value, level float64) bool, level float64) check {
	return func(s subject) truth { return s.is(sig, compare, level) }
}

func not(c check) check { return func(s subject) truth { return c(s).Not() } }

func both(a, b check) check { return func(s subject) truth { return a(s).And(b(s)) } }

// condition is something that must hold for a while.
type condition struct {
	// says is the condition in words, with its level and hold: "queue wait
	// above 1 s for 3 s".
	says string
	// hold is for how long it must be seen true, observations how often at
	// least. Only a new sighting of the fresh signal is an observation.
	hold         time.Duration
	observations int
	fresh        measure.Signal
	when         check
}

// observe takes one sighting and reports whether the condition has held.
func (c *condition) observe(h *rule.Holding, answer truth, s subject) bool {
	switch {
	case answer == no && h.Observations == 0:
		*h = rule.Holding{} // as most are, always
		return false
	case answer == yes:
		fresh := &s.scope.Readings[c.fresh]
		h.Observe(answer, fresh.Seen, fresh.Until())
	default:
		h.Observe(answer, time.Time{}, time.Time{})
	}
	return h.Met(c.hold, max(c.observations, 1))
}

// trigger is a condition that opens a cause at a severity.
type trigger struct {
	condition
	severity Severity
}

// causeRule is one cause: when it opens, when it clears, how it explains itself.
type causeRule struct {
	cause Cause
	// triggers in any order; the finding has the worst severity that holds.
	triggers []trigger
	clear    condition
	// overtakenBy are the causes that this one foretells: where one of them is
	// open, this one has come true.
	overtakenBy []Cause
	// supersededBy are the causes that more evidence may make of this one.
	supersededBy []Cause
	// explain fills in what a person reads, from the numbers of this instant.
	explain func(subject, *Finding)
}

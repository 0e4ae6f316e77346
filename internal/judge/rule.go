package judge

import (
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// truth is the answer of a condition: what cannot be seen is neither.
type truth uint8

const (
	cannotTell truth = iota
	no
	yes
)

func isTrue(b bool) truth {
	if b {
		return yes
	}
	return no
}

// and is true when both are, false when either is not, else unknown.
func (t truth) and(other truth) truth {
	if t == no || other == no {
		return no
	}
	return min(t, other)
}

// or is true when either is, false when both are not, else unknown.
func (t truth) or(other truth) truth {
	if t == yes || other == yes {
		return yes
	}
	if t == no && other == no {
		return no
	}
	return cannotTell
}

func negate(t truth) truth {
	switch t {
	case yes:
		return no
	case no:
		return yes
	}
	return cannotTell
}

// subject is what a condition may look at: one scope and the host.
type subject struct {
	scope *measure.ScopeSignals
	host  *measure.ScopeSignals
}

// is compares a signal of the scope with a level.
func (s subject) is(sig measure.Signal, compare func(value, level float64) bool, level float64) truth {
	value, known := s.scope.Get(sig).Get()
	if !known {
		return cannotTell
	}
	return isTrue(compare(value, level))
}

// hostIs compares a signal of the host with a level.
func (s subject) hostIs(sig measure.Signal, compare func(value, level float64) bool, level float64) truth {
	return subject{scope: s.host}.is(sig, compare, level)
}

func above(value, level float64) bool   { return value > level }
func atLeast(value, level float64) bool { return value >= level }
func atMost(value, level float64) bool  { return value <= level }

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
	when         func(subject) truth
}

// trigger is a condition that opens a cause at a severity.
type trigger struct {
	condition
	severity Severity
}

// causeRule is one cause: when it opens, when it clears, how it explains itself.
type causeRule struct {
	cause Cause
	kind  scope.Kind
	// triggers in any order; the finding has the worst severity that holds.
	triggers []trigger
	clear    condition
	// overtakenBy are the causes that this one foretells: where one of them is
	// open, this one has come true.
	overtakenBy []Cause
	// explain fills in what a person reads, from the numbers of this instant.
	explain func(subject, *Finding)
}

// holding follows one condition for one scope.
type holding struct {
	held         time.Duration
	observations int
	last         time.Time // the last sighting that counted
	paused       bool
}

// maxGap is how far apart two sightings may be for the time between them to
// count as seen. The slowest tier that opens anything runs at 1 Hz; the budget
// may stretch it.
const maxGap = 10 * time.Second

// observe takes one sighting and reports whether the condition has held.
// seen is when the fresh signal was seen.
func (h *holding) observe(c *condition, answer truth, seen time.Time) bool {
	switch answer {
	case no:
		*h = holding{}
	case cannotTell:
		h.paused = true
	case yes:
		if h.observations > 0 && !seen.After(h.last) {
			break // nothing new was seen
		}
		if h.observations > 0 && !h.paused {
			if gap := seen.Sub(h.last); gap <= maxGap {
				h.held += gap
			}
		}
		h.observations++
		h.last, h.paused = seen, false
	}
	return h.met(c)
}

func (h *holding) met(c *condition) bool {
	return h.observations >= max(c.observations, 1) && h.held >= c.hold
}

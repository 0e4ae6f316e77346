package rule

import (
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/enum"
	"github.com/foreshock/foreshock/internal/measure"
)

// minClear is for how long a condition must at least be false to clear.
const minClear = 10 * time.Second

// Phase is how far a rule is for one scope.
type Phase uint8

// The phases. The zero value is that nothing is found.
const (
	None    Phase = iota
	Suspect       // the condition is seen true, and has not held long enough
	Open          // it has held, and has not cleared
)

var phaseNames = [...]string{"none", "suspect", "open"}

// String names it: "suspect".
func (p Phase) String() string { return enum.Name(p, "phase", phaseNames[:]) }

// ParsePhase reads "none", "suspect" or "open".
func ParsePhase(text string) (Phase, bool) {
	i := slices.Index(phaseNames[:], text)
	return Phase(max(i, 0)), i >= 0
}

// Holding follows for how long one condition has been seen true. The zero
// value has seen nothing.
type Holding struct {
	// Held is the time between the sightings so far, Observations their number.
	Held         time.Duration
	Observations int
	last, until  time.Time // the last sighting that counted, and how long it is good
	paused       bool
}

// Observe takes one answer, seen at seen and good until then. No forgets all;
// unknown pauses; yes counts when it is newer than the last, with the time
// since that, unless the last was good no longer: what nobody saw was not held.
func (h *Holding) Observe(answer Truth, seen, until time.Time) {
	switch answer {
	case No:
		*h = Holding{}
	case Unknown:
		h.paused = true
	case Yes:
		if h.Observations > 0 && !seen.After(h.last) {
			return // nothing new was seen
		}
		if since := seen.Sub(h.last); h.Observations > 0 && !h.paused && !seen.After(h.until) {
			h.Held += since
		}
		h.Observations++
		h.last, h.until, h.paused = seen, until, false
	}
}

// confirm says that what was seen last is good until then. The answer to a rule
// over signals that are looked at each second and four times a second is as old
// as the former, and would else be good for no longer than the latter.
func (h *Holding) confirm(until time.Time) {
	if h.Observations > 0 && !h.paused && until.After(h.until) {
		h.until = until
	}
}

// Met reports whether it was seen for so long, and so often.
func (h *Holding) Met(hold time.Duration, observations int) bool {
	return h.Observations >= observations && h.Held >= hold
}

// Outcome is what a rule says about a scope after a view.
type Outcome struct {
	Phase Phase
	// Result is of the last sample; its Values are good until the next Step.
	Result
	// Held is for how long the condition was seen true on end, Observations
	// how often.
	Held         time.Duration
	Observations int
}

// Follower carries one rule for one scope through time. It is not safe for
// concurrent use.
type Follower struct {
	rule    Rule
	memory  *Memory
	yes, no Holding
	open    bool
	next    time.Time
	last    Outcome
}

// NewFollower returns a follower that has seen nothing. The rule must be
// valid.
func NewFollower(r Rule) *Follower { return &Follower{rule: r, memory: r.When.NewMemory(r.Every)} }

// Step takes the signals of this instant; subject is nil for a rule of the
// host. Between the samples of a rule with Every it returns the last outcome.
func (f *Follower) Step(now time.Time, subject, host *measure.ScopeSignals) Outcome {
	if f.rule.Every > 0 && !due(&f.next, now, f.rule.Every) {
		return f.last
	}
	f.last.Result = f.rule.When.Eval(f.memory, now, subject, host)
	f.last.Phase = f.observe(f.last.Truth, f.last.Seen, f.last.Until)
	f.last.Held, f.last.Observations = f.yes.Held, f.yes.Observations
	return f.last
}

// observe takes one answer, seen at seen and good until then, and returns the
// phase. An answer that is no newer than the last is no sighting. Unknown
// pauses: it neither adds to what was held nor takes from it.
func (f *Follower) observe(answer Truth, seen, until time.Time) Phase {
	// A rule that samples less often than looks are made stays good for 2.5 of
	// its samples.
	if sampled := seen.Add(time.Duration(measure.StaleAfter * float64(f.rule.Every))); sampled.After(until) {
		until = sampled
	}
	f.yes.Observe(answer, seen, until)
	f.no.Observe(answer.Not(), seen, until)
	switch answer {
	case Yes:
		f.yes.confirm(until)
	case No:
		f.no.confirm(until)
	}
	inARow := max(f.rule.InARow, 1)
	switch {
	case !f.open && answer == Yes && f.yes.Met(f.rule.Hold, inARow):
		f.open = true
	case f.open && answer == No && f.no.Met(max(f.rule.Hold, minClear), inARow):
		f.open = false
	}
	switch {
	case f.open:
		return Open
	case f.yes.Observations > 0:
		return Suspect
	}
	return None
}

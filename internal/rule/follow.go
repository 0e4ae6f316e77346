package rule

import (
	"time"

	"github.com/foreshock/foreshock/internal/measure"
)

const (
	// minClear is for how long a condition must at least be false to clear.
	minClear = 10 * time.Second
)

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
func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return "phase_unknown"
}

// ParsePhase reads "none", "suspect" or "open".
func ParsePhase(text string) (Phase, bool) {
	for i, name := range phaseNames {
		if name == text {
			return Phase(i), true
		}
	}
	return None, false
}

// State follows when the condition of one rule holds, for one scope.
type State struct {
	hold, clear time.Duration
	inARow      int
	every       time.Duration
	yes, no     Holding
	open        bool
}

// NewState returns the state of r before anything was seen.
func NewState(r *Rule) *State {
	return &State{
		hold: r.Hold, clear: max(r.Hold, minClear), inARow: max(r.InARow, 1),
		every: r.Every,
	}
}

// Step takes one answer, seen at seen and good until then, and returns the
// phase. An answer that is no newer than the last is no sighting. Unknown
// pauses: it neither adds to what was held nor takes from it.
func (s *State) Step(answer Truth, seen, until time.Time) Phase {
	// A rule that samples less often than looks are made stays good for 2.5 of
	// its samples.
	if sampled := seen.Add(time.Duration(measure.StaleAfter * float64(s.every))); sampled.After(until) {
		until = sampled
	}
	s.yes.Observe(answer, seen, until)
	s.no.Observe(answer.Not(), seen, until)
	switch {
	case !s.open && answer == Yes && s.yes.Met(s.hold, s.inARow):
		s.open = true
	case s.open && answer == No && s.no.Met(s.clear, s.inARow):
		s.open = false
	}
	switch {
	case s.open:
		return Open
	case s.yes.Observations > 0:
		return Suspect
	}
	return None
}

// Held is for how long the condition was seen true, and how often.
func (s *State) Held() (time.Duration, int) { return s.yes.Held, s.yes.Observations }

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
	rule   Rule
	memory *Memory
	state  *State
	next   time.Time
	last   Outcome
}

// NewFollower returns a follower that has seen nothing. The rule must be
// valid.
func NewFollower(r Rule) *Follower {
	return &Follower{rule: r, memory: r.When.NewMemory(r.Every), state: NewState(&r)}
}

// Step takes the signals of this instant; subject is nil for a rule of the
// host. Between the samples of a rule with Every it returns the last outcome.
func (f *Follower) Step(now time.Time, subject, host *measure.ScopeSignals) Outcome {
	if f.rule.Every > 0 && !due(&f.next, now, f.rule.Every) {
		return f.last
	}
	f.last.Result = f.rule.When.Eval(f.memory, now, subject, host)
	f.last.Phase = f.state.Step(f.last.Truth, f.last.Seen, f.last.Until)
	f.last.Held, f.last.Observations = f.state.Held()
	return f.last
}

package judge

import (
	"fmt"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// Levels of the forecast. Measured and simulated: docs/SIGNALS.md.
const (
	fullInLevel     = 180.0 // seconds, at the growth of the last 60 s
	fullInFastLevel = 30.0  // seconds, at the growth of the last 15 s
	nearlyFull      = 0.9   // of the limit: so full, a forecast has not passed over
)

// workersFilling: at this growth every worker will be occupied soon. Nobody
// waits yet.
func workersFilling() causeRule {
	soon := func(sig measure.Signal, level float64) func(subject) truth {
		return func(s subject) truth { return s.forecast(sig, level) }
	}
	return causeRule{
		cause: WorkersFilling,
		kind:  scope.KindService,
		triggers: []trigger{
			{condition{"forecast full within 180 s, for 10 s", 10 * time.Second, 4, measure.WorkersOccupied, soon(measure.WorkersFullIn, fullInLevel)}, Watch},
			{condition{"forecast full within 30 s at the growth of the last 15 s, for 5 s", 5 * time.Second, 3, measure.WorkersOccupied, soon(measure.WorkersFullInFast, fullInFastLevel)}, Watch},
			{condition{"forecast full within 180 s, for 30 s on end", 30 * time.Second, 10, measure.WorkersOccupied, soon(measure.WorkersFullIn, fullInLevel)}, Warning},
		},
		clear: condition{"no longer filling, and a tenth of the workers free, for 30 s", 30 * time.Second, 10, measure.WorkersOccupied,
			func(s subject) truth {
				return s.forecast(measure.WorkersFullIn, fullInLevel).Or(s.forecast(measure.WorkersFullInFast, fullInFastLevel)).Not().
					And(occupiedShare(s, nearlyFull).Not())
			}},
		overtakenBy: []Cause{WorkersFull, ConnLimit},
		explain:     explainWorkersFilling,
	}
}

// forecast reports whether a forecast is there and at most level seconds away.
func (s subject) forecast(sig measure.Signal, level float64) truth {
	r := s.scope.Get(sig)
	if r.Validity == measure.NotFilling {
		return no
	}
	return s.is(sig, atMost, level)
}

// occupiedShare reports whether at least that share of the workers is
// occupied.
func occupiedShare(s subject, share float64) truth {
	occupied, known := s.scope.Get(measure.WorkersOccupied).Get()
	limit, knownLimit := s.scope.Get(measure.WorkersLimit).Get()
	if !known || !knownLimit {
		return cannotTell
	}
	return isTrue(occupied >= share*limit)
}

// occupiedEvidence is what is occupied beside a share of the limit, where that
// is known.
func occupiedEvidence(s subject, share float64) Evidence {
	e := Evidence{Signal: measure.WorkersOccupied, Reading: s.scope.Get(measure.WorkersOccupied)}
	if limit, known := s.scope.Get(measure.WorkersLimit).Get(); known {
		e.Threshold, e.HasThreshold, e.Origin = share*limit, true, "the service's limit"
	}
	return e
}

func explainWorkersFilling(s subject, f *Finding) {
	occupied := s.scope.Get(measure.WorkersOccupied)
	limit := s.scope.Get(measure.WorkersLimit)
	fullIn, slow := s.scope.Get(measure.WorkersFullIn).Get()
	slope := s.scope.Get(measure.WorkersSlope)
	off := s.scope.Get(measure.WorkersFullInError)
	if fast, known := s.scope.Get(measure.WorkersFullInFast).Get(); known && (!slow || fast < fullIn && fast <= fullInFastLevel) {
		f.Sentence = fmt.Sprintf("All %.0f workers of %s are busy in %s at the growth of the last 15 s; %.0f are now.", limit.Value, f.Scope.Name, inWords(fast), occupied.Value)
	} else {
		f.Sentence = fmt.Sprintf("All %.0f workers of %s are busy in %s (± %s) at this rate; %.0f are now, %+.1f a second.",
			limit.Value, f.Scope.Name, inWords(fullIn), inWords(off.Value), occupied.Value, slope.Value)
	}
	f.Certainty = Likely
	f.Evidence = []Evidence{
		{Signal: measure.WorkersFullIn, Reading: s.scope.Get(measure.WorkersFullIn), Threshold: fullInLevel, HasThreshold: true, Origin: "default"},
		{Signal: measure.WorkersFullInError, Reading: off},
		{Signal: measure.WorkersFullInFast, Reading: s.scope.Get(measure.WorkersFullInFast), Threshold: fullInFastLevel, HasThreshold: true, Origin: "default"},
		occupiedEvidence(s, 1),
		{Signal: measure.WorkersSlope, Reading: slope},
		{Signal: measure.QueueDepth, Reading: s.scope.Get(measure.QueueDepth)},
	}
	f.Considered = []Considered{
		{WorkersFull.String(), rejected(s, measure.QueueWait, s.is(measure.QueueWait, above, waitSlowly))},
		{SlowClients.String(), rejected(s, measure.SlowClients, slowHolders(s))},
		{Leak.String(), rejected(s, measure.CloseWaitLeaked, leaking(s))},
	}
	f.Advice = []string{
		"Add workers or instances, or move load away, before the limit is reached; no request waits yet.",
		"See whether load grows or answers slow down: workers fill either way.",
	}
	f.fail(s)
}

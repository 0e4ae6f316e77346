package judge

import (
	"fmt"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
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
	soon := func(s subject) truth { return s.forecast(measure.WorkersFullIn, fullInLevel) }
	soonFast := func(s subject) truth { return s.forecast(measure.WorkersFullInFast, fullInFastLevel) }
	return causeRule{
		cause: WorkersFilling,
		triggers: []trigger{
			{condition{"forecast full within 180 s, for 10 s", 10 * time.Second, 4, measure.WorkersOccupied, soon}, Watch},
			{condition{"forecast full within 30 s at the growth of the last 15 s, for 5 s", 5 * time.Second, 3, measure.WorkersOccupied, soonFast}, Watch},
			{condition{"forecast full within 180 s, for 30 s on end", 30 * time.Second, 10, measure.WorkersOccupied, soon}, Warning},
		},
		clear: condition{"no longer filling, and a tenth of the workers free, for 30 s", 30 * time.Second, 10, measure.WorkersOccupied,
			func(s subject) truth { return soon(s).Or(soonFast(s)).Or(occupiedShare(s, nearlyFull)).Not() }},
		overtakenBy: []Cause{WorkersFull, ConnLimit},
		explain:     explainWorkersFilling,
	}
}

// forecast reports whether a forecast is there and at most level seconds away.
func (s subject) forecast(sig measure.Signal, level float64) truth {
	if s.scope.Get(sig).Validity == measure.NotFilling {
		return no
	}
	return s.is(sig, atMost, level)
}

// occupiedShare reports whether at least that share of the workers is
// occupied.
func occupiedShare(s subject, share float64) truth {
	return s.isShare(measure.WorkersOccupied, atLeast, share, measure.WorkersLimit)
}

// occupied shows what is occupied, beside a share of the limit where that is
// known.
func (f *Finding) occupied(s subject, share float64) {
	if limit, known := s.scope.Get(measure.WorkersLimit).Get(); known {
		f.against(s.scope, measure.WorkersOccupied, share*limit, "the service's limit")
	} else {
		f.shows(s.scope, measure.WorkersOccupied)
	}
}

func explainWorkersFilling(s subject, f *Finding) {
	occupied, limit := s.value(measure.WorkersOccupied), s.value(measure.WorkersLimit)
	fullIn, slow := s.scope.Get(measure.WorkersFullIn).Get()
	if fast, known := s.scope.Get(measure.WorkersFullInFast).Get(); known && (!slow || fast < fullIn && fast <= fullInFastLevel) {
		f.Sentence = fmt.Sprintf("All %.0f workers of %s are busy in %s at the growth of the last 15 s; %.0f are now.", limit, f.Scope.Name, inWords(fast), occupied)
	} else {
		f.Sentence = fmt.Sprintf("All %.0f workers of %s are busy in %s (± %s) at this rate; %.0f are now, %+.1f a second.",
			limit, f.Scope.Name, inWords(fullIn), inWords(s.value(measure.WorkersFullInError)), occupied, s.value(measure.WorkersSlope))
	}
	f.Certainty = Likely
	f.against(s.scope, measure.WorkersFullIn, fullInLevel, "default")
	f.shows(s.scope, measure.WorkersFullInError)
	f.against(s.scope, measure.WorkersFullInFast, fullInFastLevel, "default")
	f.occupied(s, 1)
	f.shows(s.scope, measure.WorkersSlope, measure.QueueDepth)
	f.considers(WorkersFull, rejected(s, measure.QueueWait, s.is(measure.QueueWait, above, waitSlowly)))
	f.considers(SlowClients, rejected(s, measure.SlowClients, slowHolders(s)))
	f.considers(Leak, rejected(s, measure.CloseWaitLeaked, leaking(s)))
	f.Advice = []string{
		"Add workers or instances, or move load away, before the limit is reached; no request waits yet.",
		"See whether load grows or answers slow down: workers fill either way.",
	}
	f.fail(s)
}

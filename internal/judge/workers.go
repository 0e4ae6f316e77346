package judge

import (
	"fmt"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
)

// Levels of the workers' causes; measured in the lab, docs/SIGNALS.md says how.
const (
	waitWarning      = 1.0  // seconds in the queue, for 3 s: 9–10 s before the first slow request
	waitSlowly       = 0.25 // for 15 s while the service does not shrink
	waitCritical     = 3.0
	waitClear        = 0.1
	overflowsAtLeast = 3 // connections lost in the window: one alone is a burst's edge
	gaveUpAtLeast    = 3 // clients; floors of 1–3 keep idle services quiet
	deadShare        = 0.5
)

// workersFull: nobody takes connections from the accept queue as fast as they
// come. TRUTH: queue wait and overflow decide, never the queue's share of the
// backlog (10 % of 511 at 20/s is 2.5 s).
func workersFull() causeRule {
	return causeRule{
		cause: WorkersFull,
		triggers: []trigger{
			{condition{"queue wait above 1 s for 3 s", 3 * time.Second, 3, measure.QueueWait, is(measure.QueueWait, above, waitWarning)}, Warning},
			{condition{"queue wait above 0.25 s for 15 s while no worker comes free", 15 * time.Second, 15, measure.QueueWait,
				both(is(measure.QueueWait, above, waitSlowly), notShrinking)}, Warning},
			{condition{"queue wait above 3 s", time.Second, 3, measure.QueueWait, is(measure.QueueWait, above, waitCritical)}, Critical},
			{condition{"connections lost to a full accept queue", time.Second, 3, measure.QueueDepth, overflowing}, Critical},
		},
		clear: condition{"queue wait at most 0.1 s for 10 s and nothing lost", 10 * time.Second, 10, measure.QueueWait,
			both(is(measure.QueueWait, atMost, waitClear), not(overflowing))},
		explain: explainWorkersFull,
	}
}

// notShrinking: the slope of the accepted connections is not below zero by
// more than its noise. A queue beside free workers is a burst being worked
// off. One worker a minute is the noise allowed.
func notShrinking(s subject) truth {
	return s.is(measure.AcceptedSlope, atLeast, -1.0/60)
}

// overflowing: a queue of this service is full and connections are being lost.
// The listener's own count says whose they are; without it the namespace's
// count is laid at the door of a full queue.
func overflowing(s subject) truth {
	depth, knownDepth := s.scope.Get(measure.QueueDepth).Get()
	limit, knownLimit := s.scope.Get(measure.QueueLimit).Get()
	full := cannotTell
	if knownDepth && knownLimit {
		full = isTrue(depth > 0 && depth >= limit)
	} else if knownDepth {
		full = isTrue(depth > 0) // procfs: the limit is not visible
	}
	lost := cannotTell
	if overflows := s.host.Get(measure.ListenOverflowsRate); overflows.Validity == measure.Known {
		lost = isTrue(overflows.Samples >= overflowsAtLeast)
	}
	if drops := s.scope.Get(measure.ListenDropsRate); drops.Validity == measure.Known {
		lost = lost.And(isTrue(drops.Samples >= overflowsAtLeast))
	}
	return full.And(lost)
}

// clientsGaveUp: clients close connections that no worker ever took, or the
// workers serve connections whose clients have gone.
func clientsGaveUp() causeRule {
	return causeRule{
		cause: ClientsGaveUp,
		triggers: []trigger{
			{condition{"clients leave the queue before a worker takes them, and more do", 2 * time.Second, 3, measure.CloseWaitUnaccepted, leavingQueue}, Critical},
			{condition{"half of the workers serve clients that have gone, and others wait", 3 * time.Second, 3, measure.CloseWaitAccepted, servingTheDead}, Critical},
		},
		clear: condition{"nobody who gave up is left in the queue or with a worker for 10 s", 10 * time.Second, 5, measure.CloseWaitUnaccepted,
			both(is(measure.CloseWaitUnaccepted, atMost, 0), not(servingTheDead))},
		explain: explainClientsGaveUp,
	}
}

func leavingQueue(s subject) truth {
	return s.is(measure.CloseWaitUnaccepted, atLeast, gaveUpAtLeast).
		And(s.is(measure.CloseWaitUnacceptedGrowth, above, 0))
}

// servingTheDead: at least half of what is accepted is CLOSE_WAIT, with 95 %
// confidence, and others wait. During exhaustion what is accepted is all the
// workers there are.
func servingTheDead(s subject) truth {
	v, ok := s.numbers(measure.CloseWaitAccepted, measure.Accepted)
	if !ok {
		return cannotTell
	}
	dead, accepted := v[0], v[1]
	return isTrue(dead >= gaveUpAtLeast && wilsonLower(dead, accepted) >= deadShare).
		And(s.is(measure.QueueDepth, above, 0))
}

func explainWorkersFull(s subject, f *Finding) {
	wait := people(s.value(measure.QueueDepth), "waits", "wait")
	f.Sentence = fmt.Sprintf("Connections to %s wait at least %.1f s to be accepted; %s.", f.Scope.Name, s.value(measure.QueueWait), wait)
	if overflowing(s) == yes {
		f.Sentence = fmt.Sprintf("The accept queue of %s is full and connections are lost; %s.", f.Scope.Name, wait)
	}
	f.Certainty = Likely
	if overflowing(s) == yes || s.is(measure.OldestUnaccepted, above, waitWarning) == yes {
		f.Certainty = Certain // seen on the sockets themselves, not worked out from rates
	}
	f.against(s.scope, measure.QueueWait, waitWarning, "default")
	f.shows(s.scope, measure.QueueDepth, measure.QueueLimit, measure.OldestUnaccepted)
	f.against(s.scope, measure.ListenDropsRate, overflowsAtLeast/3.0, "default")
	f.occupied(s, 1)
	f.shows(s.scope, measure.AcceptedSlope)
	f.considers(ClientsGaveUp, rejected(s, measure.CloseWaitUnaccepted, leavingQueue(s).Or(servingTheDead(s))))
	f.considers(SynFlood, rejected(s, measure.SynRecv, flooded(s)))
	f.considers(SlowClients, rejected(s, measure.SlowClients, slowHolders(s)))
	f.considers(Leak, rejected(s, measure.CloseWaitLeaked, leaking(s)))
	f.Advice = []string{
		"Add workers or instances, or take load away from this one.",
		"Find what the workers wait for: a slow upstream or database keeps them as busy as load does.",
		"Do not raise the backlog: a longer queue only makes clients wait longer.",
	}
	f.fail(s)
}

func explainClientsGaveUp(s subject, f *Finding) {
	f.Sentence = fmt.Sprintf("Clients of %s hang up before a worker takes them: %.0f in the queue have gone.", f.Scope.Name, s.value(measure.CloseWaitUnaccepted))
	if servingTheDead(s) == yes {
		f.Sentence = fmt.Sprintf("Workers of %s serve clients that have gone: %.0f of %.0f.", f.Scope.Name, s.value(measure.CloseWaitAccepted), s.value(measure.Accepted))
	}
	f.Certainty = Certain
	f.against(s.scope, measure.CloseWaitUnaccepted, gaveUpAtLeast, "default")
	f.against(s.scope, measure.CloseWaitUnacceptedGrowth, 0, "default")
	f.shows(s.scope, measure.CloseWaitAccepted, measure.Accepted)
	f.against(s.scope, measure.QueueWait, waitWarning, "default")
	f.shows(s.scope, measure.QueueDepth)
	f.considers(Leak, rejected(s, measure.CloseWaitLeaked, leaking(s)))
	f.considers(SynFlood, rejected(s, measure.SynRecv, flooded(s)))
	f.Advice = []string{
		"Shed load at once: refuse or divert new requests, so that workers reach clients that still wait.",
		"Restart only if shedding does not help: a restart empties the queue and loses who is in it.",
		"Make the server's own time-out shorter than its clients'.",
	}
	f.fail(s)
}

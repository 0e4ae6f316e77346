package judge

import (
	"fmt"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
)

const (
	leakAtLeast = 5      // connections: a service that is slow to close shows a few
	leakWarning = 3600.0 // seconds to the descriptor limit
	stuckLevel  = 3      // connections
)

// leak: the process does not close connections that its clients have closed.
// It must be seen while it grows: keepalive probes reset such sockets in the
// end, and only the descriptors stay lost.
func leak() causeRule {
	return causeRule{
		cause: Leak,
		triggers: []trigger{
			{condition{"closed connections stay held and grow, for 20 s", 20 * time.Second, 6, measure.CloseWaitLeaked, leaking}, Watch},
			{condition{"closed connections stay held and grow, and descriptors run out within an hour, for 20 s", 20 * time.Second, 6, measure.CloseWaitLeaked, both(leaking, runningOut)}, Warning},
		},
		clear:   condition{"hardly any closed connection is held for 60 s", time.Minute, 15, measure.CloseWaitLeaked, is(measure.CloseWaitLeaked, below, leakAtLeast)},
		explain: explainLeak,
	}
}

// leaking: sockets that their clients closed stay with the process, more and
// more of them, and not because its workers are behind.
func leaking(s subject) truth {
	return leakingToBackend(s).And(s.is(measure.QueueDepth, atMost, 0))
}

// outOfDescriptors is when the process has none left, in seconds, at the
// growth of its descriptors or of the leaked sockets, whichever is faster.
func outOfDescriptors(s subject) (seconds float64, known bool) {
	used, known := s.scope.Get(measure.DescriptorsUsed).Get()
	limit, knownLimit := s.scope.Get(measure.DescriptorsLimit).Get()
	slope, knownSlope := s.scope.Get(measure.CloseWaitLeakedSlope).Get()
	if descriptors, ok := s.scope.Get(measure.DescriptorsSlope).Get(); ok {
		slope, knownSlope = max(slope, descriptors), true
	}
	if !known || !knownLimit || !knownSlope || slope <= 0 {
		return 0, false
	}
	return max(0, limit-used) / slope, true
}

func runningOut(s subject) truth {
	if s.scope.Get(measure.DescriptorsLimit).Validity != measure.Known {
		return cannotTell
	}
	seconds, known := outOfDescriptors(s)
	return isTrue(known && seconds < leakWarning)
}

func explainLeak(s subject, f *Finding) {
	used, limit := s.scope.Get(measure.DescriptorsUsed), s.scope.Get(measure.DescriptorsLimit)
	f.Sentence = fmt.Sprintf("%s holds %.0f connections that their clients have closed, %+.1f a minute",
		f.Scope.Name, s.value(measure.CloseWaitLeaked), 60*s.value(measure.CloseWaitLeakedSlope))
	if seconds, known := outOfDescriptors(s); known {
		f.Sentence += fmt.Sprintf("; its descriptors run out in %s (%.0f of %.0f used).", inWords(seconds), used.Value, limit.Value)
	} else {
		f.Sentence += "; its descriptor limit is not known."
	}
	f.Certainty = Certain // the sockets themselves, each held for 10 s or more
	f.against(s.scope, measure.CloseWaitLeaked, leakAtLeast, "default")
	f.against(s.scope, measure.CloseWaitLeakedSlope, 0, "default")
	f.Evidence = append(f.Evidence, Evidence{Signal: measure.DescriptorsUsed, Reading: used, Threshold: limit.Value, HasThreshold: limit.Validity == measure.Known, Origin: "the process's limit"})
	f.shows(s.scope, measure.DescriptorsSlope)
	f.considers(ClientsGaveUp, rejected(s, measure.QueueDepth, s.is(measure.QueueDepth, above, 0)))
	f.Advice = []string{
		"Restart the service, one instance at a time, before the descriptors run out.",
		"Look for the code path that returns without closing; `ss -tnp state close-wait` lists the connections and their process.",
	}
	f.fail(s)
}

// stuckClosing: our end has closed and the other never answers.
func stuckClosing() causeRule {
	stuck := is(measure.StuckClosing, atLeast, stuckLevel)
	return causeRule{
		cause: StuckClosing,
		triggers: []trigger{
			{condition{"closing connections are not answered, for 5 s", 5 * time.Second, 4, measure.StuckClosing, stuck}, Watch},
		},
		clear:   condition{"at most two closing connections are stuck for 30 s", 30 * time.Second, 8, measure.StuckClosing, not(stuck)},
		explain: explainStuckClosing,
	}
}

func explainStuckClosing(s subject, f *Finding) {
	f.Sentence = fmt.Sprintf("%.0f connections of %s have sent their FIN and are not answered: their clients, or the way to them, are gone.", s.value(measure.StuckClosing), f.Scope.Name)
	f.Certainty = Certain
	f.against(s.scope, measure.StuckClosing, stuckLevel, "default")
	f.shows(s.scope, measure.FinWait1, measure.LastAck, measure.Closing, measure.Retransmitting)
	f.considers(SlowClients, rejected(s, measure.ZeroWindow, s.is(measure.ZeroWindow, above, 0)))
	f.Advice = []string{
		"Look for a path or a firewall that drops what goes out: the sockets keep no worker, but their clients have lost the answer.",
	}
}

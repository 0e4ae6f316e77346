package judge

import (
	"fmt"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
)

const (
	// Segments sent again for each connection and second. 3 % loss gives 7.5 %
	// at the 95th percentile and 10 % loss a median of 9 %, with users unharmed.
	lossDegraded = 0.08
	lossBad      = 0.15
	lossAtLeast  = 5 // segments in 5 s
	// lossShare of the segments with data: a bulk transfer loses some each
	// second without harm.
	lossShare = 0.03

	notReadingShare = 0.5 // of its connections
	stopShare       = 0.8 // of its connections
	// closedWithin is less than the shortest idle time-out in common use
	// (Apache's KeepAliveTimeout, 5 s): until then it was in use.
	closedWithin   = 4.0 // seconds
	opensMargin    = 1.0 // a second
	churnTimes     = 3.0
	churnAtLeast   = 3 // connections seen to begin in 10 s
	portsFew       = 0.75
	portsOut       = 0.9
	ceilingAtLeast = 4 // connections
	greenAfter     = 30 * time.Second
)

// heavyLoss: the way to the backend loses segments.
func heavyLoss() causeRule {
	lossy := func(level float64) check {
		return func(s subject) truth {
			r := s.scope.Get(measure.RetransmitsPerConnectionRate)
			if r.Validity != measure.Known {
				return cannotTell
			}
			// Probes of a closed window count as segments sent again.
			return isTrue(r.Value >= level && r.Samples >= lossAtLeast && lost(s) != yes).
				And(s.is(measure.ZeroWindow, atMost, 0)).And(s.is(measure.RetransmitShare, atLeast, lossShare))
		}
	}
	return causeRule{
		cause: HeavyLoss,
		triggers: []trigger{
			{condition{"8 % of its connections send something again each second, for 5 s", 5 * time.Second, 4, measure.RetransmitsPerConnectionRate, lossy(lossDegraded)}, Watch},
			{condition{"15 % of its connections send something again each second, for 2 s", 2 * time.Second, 3, measure.RetransmitsPerConnectionRate, lossy(lossBad)}, Warning},
		},
		clear:        condition{"less than 8 % for 20 s", 20 * time.Second, 8, measure.RetransmitsPerConnectionRate, is(measure.RetransmitsPerConnectionRate, below, lossDegraded)},
		supersededBy: []Cause{PathLost, PeerNotReading},
		explain: func(s subject, f *Finding) {
			rate := s.scope.Get(measure.RetransmitsPerConnectionRate)
			f.Sentence = fmt.Sprintf("The way to %s loses segments: %.0f were sent again in 5 s, %.2f a second for each connection.", f.Scope.Name, float64(rate.Samples), rate.Value)
			f.Certainty = Certain
			f.against(s.scope, measure.RetransmitsPerConnectionRate, lossBad, "default")
			f.against(s.scope, measure.RetransmitShare, lossShare, "default")
			f.shows(s.scope, measure.Retransmitting, measure.Established, measure.AnswerNow)
			f.considers(PathLost, rejected(s, measure.Answering, lost(s)))
			f.lossElsewhere(s)
			f.Advice = []string{"Look at the links between: errors and drops on interfaces, a policer, a path that flaps."}
			f.carried(s)
		},
	}
}

// lossElsewhere says whether siblings lose segments too.
func (f *Finding) lossElsewhere(s subject) {
	if s.alone() {
		f.considers(LocalFault, "cannot tell us from it: it has no siblings")
		return
	}
	for o := range s.siblings() {
		if rate, known := o.Get(measure.RetransmitsPerConnectionRate).Get(); known && rate < lossDegraded {
			f.considers(LocalFault, fmt.Sprintf("no, %s loses %.2f a second", o.Scope.Name, rate))
			return
		}
	}
	f.considers(LocalFault, "also: its siblings lose segments too")
}

// peerNotReading: its receive window is closed, so what we send stays here.
func peerNotReading() causeRule {
	stopped := func(s subject) truth {
		v, ok := s.numbers(measure.ZeroWindow, measure.Established)
		if !ok {
			return cannotTell
		}
		return isTrue(v[0] >= 1 && (v[0] >= 3 || v[0] >= notReadingShare*v[1]))
	}
	return causeRule{
		cause: PeerNotReading,
		triggers: []trigger{
			{condition{"it does not read what is sent: its window stays closed for 2 s", 2 * time.Second, 3, measure.ZeroWindow, stopped}, Warning},
		},
		clear: condition{"no window is closed for 10 s", 10 * time.Second, 4, measure.ZeroWindow, is(measure.ZeroWindow, atMost, 0)},
		explain: func(s subject, f *Finding) {
			f.Sentence = fmt.Sprintf("%s does not read: %s with a closed window, and what we send stays here.",
				f.Scope.Name, people(s.value(measure.ZeroWindow), "connection", "connections"))
			f.Certainty = Certain
			f.against(s.scope, measure.ZeroWindow, 1, "default")
			f.shows(s.scope, measure.Established, measure.Pending)
			f.considers(PathLost, rejected(s, measure.Retransmitting, lost(s)))
			f.considers(PeerFrozen, rejected(s, measure.Silent, frozen(s)))
			f.Advice = []string{"See what its process does instead of reading: a full disk or a stopped worker behind an upload is usual."}
			f.carried(s)
		},
	}
}

// orderlyStop: it has closed all its connections, as in a stop or a deploy. A
// balancer that closes its own end at once leaves nothing to see but that they
// are gone, in the midst of traffic.
func orderlyStop() causeRule {
	return causeRule{
		cause: OrderlyStop,
		triggers: []trigger{
			{condition{"it has closed nearly all its connections, for 0.25 s", 250 * time.Millisecond, 2, measure.CloseWaitAccepted, closedMost}, Watch},
			{condition{"its connections are gone, none was refused or reset, and its siblings answer, for 1.5 s", 1500 * time.Millisecond, 3, measure.Established, closedAll}, Watch},
		},
		clear: condition{"no connection that it closed is left, and it answers or has connections, for 5 s", 5 * time.Second, 3, measure.CloseWaitAccepted,
			func(s subject) truth {
				return closedMost(s).Or(closedAll(s)).Not().And(s.is(measure.Established, above, 0).Or(answersAgain(s)))
			}},
		overtakenBy:  []Cause{PeerRefusing},
		supersededBy: []Cause{PeerResetting, PathLost},
		explain: func(s subject, f *Finding) {
			f.Sentence = fmt.Sprintf("%s closes its connections: %.0f closed, %.0f still open. It stops, or its process has ended.",
				f.Scope.Name, s.value(measure.CloseWaitAccepted), s.value(measure.Established))
			f.Certainty = Likely
			f.against(s.scope, measure.CloseWaitAccepted, 3, "default")
			f.shows(s.scope, measure.Established)
			f.considers(PeerRefusing, rejected(s, measure.Established, refusing(s)))
			f.Advice = []string{"Nothing yet: a deploy begins like this. New attempts that are refused are another finding."}
		},
	}
}

// closedMost: what is left of a pool is in CLOSE_WAIT, and was closed just now.
func closedMost(s subject) truth {
	v, ok := s.numbers(measure.CloseWaitAccepted, measure.Established, measure.CloseWaitLingering, measure.EstablishedRecent)
	if !ok {
		return cannotTell
	}
	closed, open, lingering, recent := v[0], v[1], v[2], v[3]
	few := closed-lingering < 3 && s.is(measure.HeardAgo, atMost, closedWithin) != yes // an idle time-out closes one or two
	// Without a pool they end so all the time.
	return isTrue(closed-lingering >= 2 && closed >= stopShare*(closed+open) && recent >= 2 && !few)
}

// closedAll: all connections to a backend in use are gone, and not one of ours
// came to TIME_WAIT: the other end closed first.
func closedAll(s subject) truth {
	v, ok := s.numbers(measure.Established, measure.SynSent, measure.EstablishedRecent, measure.HeardAgo)
	if !ok {
		return cannotTell
	}
	established, connecting, recent, ago := v[0], v[1], v[2], v[3]
	gone := established+connecting == 0 && recent >= 2 && s.vanished(2) && ago >= s.quietAfter() && ago <= closedWithin
	// Where many are opened it may answer on each before it closes: churn.
	usual, _ := s.host.Get(measure.ActiveOpensUsual).Get() // none while it is not known
	return isTrue(gone).And(s.hostIs(measure.ActiveOpensRate, below, usualTimes*usual+opensMargin)).
		And(failsUnusually(s).Not()).And(resetsUnusually(s).Not()).
		And(isTrue(!s.alone()).And(nobodyElse(s).Not()))
}

// lazyPool: our own process keeps connections that the backend has closed.
func lazyPool() causeRule {
	lazy := is(measure.CloseWaitLingering, atLeast, 3)
	return causeRule{
		cause: LazyPool,
		triggers: []trigger{
			{condition{"connections that it has closed are kept here for more than 5 s, for 5 s", 5 * time.Second, 4, measure.CloseWaitLingering, lazy}, Watch},
		},
		clear: condition{"hardly any is kept for 30 s", 30 * time.Second, 8, measure.CloseWaitLingering, not(lazy)},
		explain: func(s subject, f *Finding) {
			f.Sentence = fmt.Sprintf("%.0f connections that %s has closed are still held here: the pool finds out when it next uses them.", s.value(measure.CloseWaitLingering), f.Scope.Name)
			f.Certainty = Certain
			f.against(s.scope, measure.CloseWaitLingering, 3, "default")
			f.shows(s.scope, measure.CloseWaitAccepted)
			f.considers(Leak, rejected(s, measure.CloseWaitLeaked, leakingToBackend(s)))
			f.Advice = []string{"Let the pool check connections before it uses them, or close idle ones sooner than the backend does."}
		},
	}
}

// poolGone is the share of its pool that a backend has left where the rest is
// gone: half of the most that were open.
const poolGone = 0.5

// kept is the share of the most connections that were open lately which is open
// now; one where that is not known, or there was no pool.
func kept(s *measure.ScopeSignals) float64 {
	open, known := s.Get(measure.EstablishedRecent).Get()
	most, knownMost := s.Get(measure.EstablishedMost).Get()
	if !known || !knownMost || most < 2 {
		return 1
	}
	return open / most
}

// churn: connections are no longer kept between requests.
func churn() causeRule {
	// sibling is the share of what this one has left that each sibling must have.
	churning := func(s subject, sibling float64) truth {
		v, ok := s.numbers(measure.NewFlowsUsual, measure.EstablishedRecent, measure.EstablishedMost)
		fresh := s.scope.Get(measure.NewFlowsRate)
		if !ok || fresh.Validity != measure.Known {
			return cannotTell
		}
		usual, open, most := v[0], v[1], v[2]
		// More load opens more connections too, and has more open at once.
		many := fresh.Samples >= churnAtLeast && fresh.Value >= churnTimes*usual && open <= most+1 && s.siblingsKeep() > poolGone
		// Who gets what a sibling does not answer has more for a moment, and then
		// less than half of that: the one whose pool is gone is meant.
		left := kept(s.scope)
		gone := left <= poolGone && s.siblingsKeep() >= sibling*left
		// Most of those that live a few milliseconds no look ever sees: the
		// namespace's count has them, with those to a sibling that fails.
		return isTrue((many || gone) && !s.siblingFails()).And(beyondUsual(s, measure.ActiveOpensRate, measure.ActiveOpensUsual))
	}
	begins := func(s subject) truth { return churning(s, 0.5) }
	goesOn := func(s subject) truth { return churning(s, 0) } // though a sibling's pool has gone since
	return causeRule{
		cause: Churn,
		triggers: []trigger{
			{condition{"far more new connections than usual and no more at once, for 5 s", 5 * time.Second, 4, measure.NewFlowsRate, begins}, Watch},
		},
		clear:        condition{"new connections as usual for 20 s", 20 * time.Second, 6, measure.NewFlowsRate, not(goesOn)},
		supersededBy: []Cause{PathLost, PeerRefusing, PeerFrozen, PeerHalfBroken, PeerResetting, HeavyLoss, OrderlyStop},
		explain: func(s subject, f *Finding) {
			f.Sentence = fmt.Sprintf("Connections to %s are no longer kept: this host opens %.1f a second, usually %.1f, and no more are open at once.",
				f.Scope.Name, s.host.Get(measure.ActiveOpensRate).Value, s.host.Get(measure.ActiveOpensUsual).Value)
			f.Certainty = Likely
			f.against(s.scope, measure.NewFlowsRate, churnTimes*s.value(measure.NewFlowsUsual), "three times its median")
			f.shows(s.scope, measure.NewFlowsUsual)
			f.against(s.host, measure.ActiveOpensRate, usualTimes*s.host.Get(measure.ActiveOpensUsual).Value+usualMargin, "twice what is usual here, and 0.5")
			f.shows(s.scope, measure.EstablishedRecent, measure.TimeWait)
			f.considers(PeerResetting, rejected(s, measure.VanishedRate, resettingSome(s)))
			f.Advice = []string{"See whether keep-alive was turned off on either side, or the backend now answers with Connection: close."}
		},
	}
}

// portExhaustion: the local ports toward one destination run out.
func portExhaustion() causeRule {
	used := func(share float64) check {
		return func(s subject) truth { return s.isShare(measure.PortsUsed, atLeast, share, measure.PortsLimit) }
	}
	return causeRule{
		cause: PortExhaustion,
		triggers: []trigger{
			{condition{"three quarters of the local ports toward it are in use, for 5 s", 5 * time.Second, 4, measure.PortsUsed, used(portsFew)}, Watch},
			{condition{"nine tenths of the local ports toward it are in use, for 1 s", time.Second, 2, measure.PortsUsed, used(portsOut)}, Warning},
		},
		clear: condition{"a quarter of the local ports is free for 10 s", 10 * time.Second, 4, measure.PortsUsed, not(used(portsFew))},
		explain: func(s subject, f *Finding) {
			used := s.value(measure.PortsUsed)
			waiting := max(0, s.value(measure.TimeWait)-(s.value(measure.Sockets)-used)) // but for those whose ports may be taken again
			f.Sentence = fmt.Sprintf("Local ports toward %s run out: %.0f of %.0f in use, %.0f of them in TIME_WAIT.",
				f.Scope.Name, used, s.value(measure.PortsLimit), waiting)
			f.Certainty = Certain
			f.against(s.scope, measure.PortsUsed, portsOut*s.value(measure.PortsLimit), "net.ipv4.ip_local_port_range")
			f.shows(s.scope, measure.TimeWait, measure.NewFlowsRate)
			f.considers(Churn, rejected(s, measure.NewFlowsRate, s.is(measure.NewFlowsRate, above, churnTimes*s.value(measure.NewFlowsUsual))))
			f.Advice = []string{
				"Keep connections open between requests: each closed one holds its port for a minute.",
				"Widen net.ipv4.ip_local_port_range, or give the balancer more source addresses.",
			}
		},
	}
}

// poolAtCeiling: every connection of the pool is in use and it opens no more.
func poolAtCeiling() causeRule {
	full := func(s subject) truth {
		v, ok := s.numbers(measure.Established, measure.Pending, measure.EstablishedMost, measure.NewFlowsRate)
		if !ok {
			return cannotTell
		}
		open, pending, most, fresh := v[0], v[1], v[2], v[3]
		return isTrue(open >= ceilingAtLeast && open == most && pending >= 0.95*open && fresh < 0.1)
	}
	return causeRule{
		cause: PoolAtCeiling,
		triggers: []trigger{
			{condition{"as many connections as ever, all in use, and no new one, for 15 s", 15 * time.Second, 6, measure.Established, full}, Watch},
		},
		clear:        condition{"a connection is free, or a new one opened, for 15 s", 15 * time.Second, 5, measure.Established, not(full)},
		supersededBy: []Cause{PeerFrozen, PeerHalfBroken, PathLost},
		explain: func(s subject, f *Finding) {
			f.Sentence = fmt.Sprintf("The pool toward %s is at its ceiling: %.0f connections, all waiting for an answer, and no new one.", f.Scope.Name, s.value(measure.Established))
			f.Certainty = Likely
			f.against(s.scope, measure.Established, s.value(measure.EstablishedMost), "the most there were")
			f.shows(s.scope, measure.Pending, measure.NewFlowsRate)
			f.considers(PeerSlow, rejected(s, measure.PendingLate, slow(s)))
			f.Advice = []string{"Requests queue inside our own process now: raise the pool's limit if the backend can take more, else the backend is the limit."}
		},
	}
}

// backendLeak: our own process does not close connections that the backend has
// closed, more and more of them.
func backendLeak() causeRule {
	return causeRule{
		cause: Leak,
		triggers: []trigger{
			{condition{"connections that it has closed stay held here and grow, for 20 s", 20 * time.Second, 6, measure.CloseWaitLeaked, leakingToBackend}, Warning},
		},
		clear: condition{"hardly any closed connection is held for 60 s", time.Minute, 15, measure.CloseWaitLeaked, is(measure.CloseWaitLeaked, below, leakAtLeast)},
		explain: func(s subject, f *Finding) {
			f.Sentence = fmt.Sprintf("Our process holds %.0f connections that %s has closed, %+.1f a minute: it never closes them.",
				s.value(measure.CloseWaitLeaked), f.Scope.Name, 60*s.value(measure.CloseWaitLeakedSlope))
			f.Certainty = Certain
			f.against(s.scope, measure.CloseWaitLeaked, leakAtLeast, "default")
			f.against(s.scope, measure.CloseWaitLeakedSlope, 0, "default")
			f.considers(LazyPool, rejected(s, measure.CloseWaitLeakedSlope, s.is(measure.CloseWaitLeakedSlope, atMost, 0)))
			f.Advice = []string{"Restart the process that holds them before its descriptors run out, and look for the path that returns without closing."}
		},
	}
}

func leakingToBackend(s subject) truth {
	return s.is(measure.CloseWaitLeaked, atLeast, leakAtLeast).And(s.is(measure.CloseWaitLeakedSlope, above, 0))
}

// backendStuck: our end has closed and the backend's never answers.
func backendStuck() causeRule {
	r := stuckClosing()
	r.supersededBy = []Cause{PathLost}
	r.explain = func(s subject, f *Finding) {
		explainStuckClosing(s, f)
		f.Sentence = fmt.Sprintf("%.0f connections to %s have sent their FIN and are not answered.", s.value(measure.StuckClosing), f.Scope.Name)
	}
	return r
}

// greenButFailing: the balancer calls the backend up long after we have seen
// it fail.
func greenButFailing() causeRule {
	green := func(s subject) truth {
		if s.critical.IsZero() {
			return no
		}
		return s.is(measure.BalancerUp, atLeast, 1).And(isTrue(s.now.Sub(s.critical) >= greenAfter))
	}
	return causeRule{
		cause: GreenButFailing,
		triggers: []trigger{
			{condition{"it has failed for 30 s and its balancer still calls it up", 0, 1, measure.BalancerUp, green}, Warning},
		},
		clear: condition{"it does not fail, or its balancer says so", 0, 1, measure.BalancerUp, not(green)},
		explain: func(s subject, f *Finding) {
			f.Sentence = fmt.Sprintf("%s has failed for %s and its balancer still calls it up, so requests are sent there.", f.Scope.Name, inWords(s.now.Sub(s.critical).Seconds()))
			f.Certainty = Certain
			f.against(s.scope, measure.BalancerUp, 1, "the balancer's own status")
			f.shows(s.scope, measure.Silent, measure.PendingLate)
			f.Advice = []string{
				"Take it out by hand: the health check asks for something that still works.",
				"Let the check ask for what requests need, and the balancer count failed requests too.",
			}
		},
	}
}

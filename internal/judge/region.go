package judge

import (
	"fmt"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
)

// Levels of a region, as shares of its connections: measured on two regions of
// 160 connections behind a router (docs/SIGNALS.md says how). A share counts
// with the lower end of its Wilson interval, so that few connections do not
// decide; and a region is degraded only where two destinations are, as one alone
// is that backend's own fault. The shares in SYN_SENT and CLOSE_WAIT are floors:
// what was learned of this hour of the week counts where it is higher.
const (
	regionDestinations = 2
	// regionLost: 1 % loss gives 0.6 % at the 95th percentile, 3 % 1.2 %, 10 %
	// 2.5 %, 30 % 10.8 %.
	regionLost    = 0.2
	regionSynSent = 0.15
	regionRetried = 0.3 // of those in SYN_SENT: far away every SYN waits a while
	regionGone    = 0.3
	regionClosed  = 0.15
	regionLate    = 0.15
	// regionLateLeast: two or three that wait at night, as long polls do, are no
	// share of anything.
	regionLateLeast = 5
	regionFine      = 0.05 // below that share of failures it is well again
	// regionSilent: a restart of its clients' event loop takes less.
	regionSilent    = 0.75 // seconds
	regionSilentFew = 2.0  // the same with two connections to go by
	// Of segments with data, those sent again. Where most connections lie idle
	// a rate for each connection says little.
	regionResentDegraded = 0.10
	regionResentBad      = 0.20
	regionResentAtLeast  = 20 // segments with data in 5 s
)

// onTwo: at least two destinations of the region show it.
func onTwo(s subject, destinations measure.Signal) truth {
	return s.is(destinations, atLeast, regionDestinations)
}

// isPart: a share of the region's connections is at least level, chance
// allowed for.
func (s subject) isPart(share measure.Signal, level float64) truth {
	r := s.scope.Get(share)
	switch r.Validity {
	case measure.Known:
	case measure.NoTraffic:
		return no // of no connections
	default:
		return cannotTell
	}
	return isTrue(wilsonLower(r.Value*float64(r.Samples), float64(r.Samples)) >= level)
}

// learnedAgainst shows a share beside its level and where that comes from.
func (f *Finding) learnedAgainst(s subject, share measure.Signal, floor float64) {
	level, origin := s.orNorm(share, floor, "default")
	f.against(s.scope, share, level, origin)
}

// few: a share of the region's connections is below level, or it has none.
func (s subject) few(share measure.Signal, level float64) truth {
	if s.scope.Get(share).Validity == measure.NoTraffic {
		return yes
	}
	return s.is(share, below, level)
}

// othersAre reports whether some sibling is so too.
func (s subject) othersAre(so check) bool {
	for o := range s.siblings() {
		if so(subject{scope: o, host: s.host, group: s.group, around: s.around}) == yes {
			return true
		}
	}
	return false
}

// only: the region is so, and no other one.
func only(so check) check {
	return func(s subject) truth { return so(s).And(isTrue(!s.othersAre(so))) }
}

// regionPathLost: what is sent there is not even acknowledged.
func regionPathLost() causeRule {
	return causeRule{
		cause: PathLost,
		triggers: []trigger{
			{condition{"nothing comes from the region, and what is sent to two destinations of it is not acknowledged, for 0.5 s", 500 * time.Millisecond, 2, measure.Established, regionIsSilent}, Critical},
			{condition{"a fifth of its connections retransmits, to two destinations, for 2 s", 2 * time.Second, 3, measure.RetransmittingShare, regionRetransmits}, Warning},
			{condition{"two destinations of it do not acknowledge, and nothing has come from them for 1.5 s, for 1 s", time.Second, 3, measure.DestinationsLost, func(s subject) truth { return onTwo(s, measure.DestinationsLost) }}, Warning},
			{condition{"more of its connections than usual, at least 15 %, are SYN_SENT, to two destinations, many of them tried again, for 2 s", 2 * time.Second, 3, measure.SynSentShare, regionUnconnected}, Warning},
		},
		clear: regionRecovers(3 * time.Second),
		explain: func(s subject, f *Finding) {
			f.Sentence = fmt.Sprintf("The region %s is out of reach: %s %s.", f.Scope.Name, ofDestinations(s, measure.DestinationsUnanswered), outstandingThere(s))
			f.Certainty = Certain // the kernel's own timers
			f.against(s.scope, measure.RetransmittingShare, regionLost, "default")
			f.learnedAgainst(s, measure.SynSentShare, regionSynSent)
			f.against(s.scope, measure.DestinationsUnanswered, regionDestinations, "default")
			f.shows(s.scope, measure.DestinationsLost)
			f.against(s.scope, measure.Silent, regionSilent, "default")
			f.shows(s.scope, measure.Connections, measure.Destinations, measure.Established)
			f.considers(PeerRefusing, rejected(s, measure.DestinationsGone, regionRefuses(s)))
			f.considers(HeavyLoss, rejected(s, measure.Answering, s.is(measure.Answering, above, 0)))
			f.regionOrUs(s)
			f.Advice = []string{
				"See whether the way there is open: the link, the tunnel, the provider's own status.",
				"Send what can be sent elsewhere to another region: requests there wait for their time-out.",
			}
			f.carried(s)
		},
	}
}

// ofDestinations says how many destinations show something: "4 of its 4
// destinations". Of many only the largest are asked.
func ofDestinations(s subject, sig measure.Signal) string {
	r := s.scope.Get(sig)
	largest := ""
	if s.value(measure.Destinations) > float64(r.Samples) {
		largest = "largest "
	}
	return fmt.Sprintf("%.0f of its %d %sdestinations", r.Value, r.Samples, largest)
}

func outstandingThere(s subject) string {
	out := outstanding(s)
	if out == "" {
		out = "do not answer"
	} else {
		out = "do not acknowledge: " + out
	}
	if silent, known := s.scope.Get(measure.Silent).Get(); known && silent >= 1 {
		out += ", and nothing has come for " + inWords(silent)
	}
	return out
}

// regionIsSilent is lost for a region: whatever is asked of it retransmits, and
// nothing comes from any destination.
func regionIsSilent(s subject) truth {
	v, ok := s.numbers(measure.ConnectRetrying, measure.Pending, measure.Silent)
	unanswered, seen := unacknowledged(s)
	if !ok || !seen {
		return cannotTell // silent_seconds is unknown while nothing is asked of it
	}
	retrying, pending, silent := v[0], v[1], v[2]
	if retransmitting := max(0, unanswered-retrying); pending > 0 && retransmitting < pendingShare*pending {
		return no // they are acknowledged
	}
	long := silent >= max(regionSilent, s.quietAfter())
	return isTrue(long && (unanswered >= lostAtLeast+1 || unanswered >= lostAtLeast && silent >= regionSilentFew)).
		And(onTwo(s, measure.DestinationsUnanswered))
}

func regionRetransmits(s subject) truth {
	return s.isPart(measure.RetransmittingShare, regionLost).And(onTwo(s, measure.DestinationsRetransmitting))
}

// regionUnconnected: attempts are not answered. One that is on its way is
// SYN_SENT too, so many of them must have been tried again.
func regionUnconnected(s subject) truth {
	retried := s.is(measure.ConnectRetrying, atLeast, lostAtLeast).And(s.isShare(measure.ConnectRetrying, atLeast, regionRetried, measure.SynSent))
	level, _ := s.orNorm(measure.SynSentShare, regionSynSent, "default")
	return s.isPart(measure.SynSentShare, level).And(retried).And(onTwo(s, measure.DestinationsConnecting))
}

// regionWell: something came from it lately, and hardly anything there fails.
// Where nothing is asked of it that cannot be told.
func regionWell(s subject) truth {
	ago, known := s.scope.Get(measure.HeardAgo).Get()
	if !known {
		return cannotTell
	}
	since := s.now.Add(-time.Duration(ago * float64(time.Second))).After(s.suspected)
	unconnected, _ := s.orNorm(measure.SynSentShare, regionSynSent, "default")
	fine := s.few(measure.RetransmittingShare, regionFine).And(s.few(measure.SynSentShare, unconnected))
	switch {
	case since && ago <= s.quietAfter() && fine != cannotTell:
		return fine
	case s.scope.Get(measure.Silent).Validity == measure.NoTraffic:
		return cannotTell
	}
	return no
}

func regionRecovers(hold time.Duration) condition {
	return condition{fmt.Sprintf("the region answers again for %s, and less than 5 %% of its connections retransmit", inWords(hold.Seconds())), hold, 3, measure.Established, regionWell}
}

// regionRefusing: its connections are gone, and new ones are refused. A refused
// attempt leaves no socket: only the namespace's count of them.
func regionRefusing() causeRule {
	return causeRule{
		cause: PeerRefusing,
		triggers: []trigger{
			{condition{"nothing comes from the region, two destinations of it have lost connections, and attempts are refused", 250 * time.Millisecond, 2, measure.Established, regionRefuses}, Critical},
			{condition{"30 % of its connections are gone, two destinations of it have none left, and attempts are refused, for 1 s", time.Second, 3, measure.EstablishedLost, regionRefusesPart}, Warning},
		},
		clear: condition{"the region answers again for 3 s, and no attempts are refused beyond the usual", 3 * time.Second, 3, measure.Established,
			func(s subject) truth { return regionWell(s).And(failsUnusually(s).Not()) }},
		explain: func(s subject, f *Finding) {
			f.Sentence = fmt.Sprintf("The region %s refuses connections: %s have none left, %.0f of %.0f connections are open, and %.1f attempts a second fail.",
				f.Scope.Name, ofDestinations(s, measure.DestinationsGone), s.value(measure.Established), float64(s.scope.Get(measure.EstablishedLost).Samples), s.host.Get(measure.AttemptFailsRate).Value)
			f.Certainty = Likely // attempts are the namespace's, not this region's alone
			f.against(s.scope, measure.EstablishedLost, regionGone, "default")
			f.against(s.scope, measure.DestinationsFewer, regionDestinations, "default")
			f.shows(s.scope, measure.DestinationsGone, measure.Destinations)
			f.beyond(s, measure.AttemptFailsRate, measure.AttemptFailsUsual)
			f.against(s.scope, measure.HeardAgo, s.quietAfter(), "its longest silence of the last 2 min")
			f.considers(PathLost, rejected(s, measure.RetransmittingShare, regionIsSilent(s)))
			f.considers(OrderlyStop, rejected(s, measure.CloseWaitShare, regionCloses(s)))
			f.regionOrUs(s)
			f.Advice = []string{
				"See whether what serves there runs and listens; a firewall that rejects looks the same.",
				"Send what can be sent elsewhere to another region until it listens again.",
			}
			f.carried(s)
		},
	}
}

// regionUnheard: a region that was in use is silent, two destinations of it
// have lost connections, and it is not that nobody acknowledges.
func regionUnheard(s subject) truth {
	ago, known := s.scope.Get(measure.HeardAgo).Get()
	if !known {
		return cannotTell
	}
	silent := ago >= max(regionSilent, s.quietAfter()) && ago <= refusedFor+servedLast
	return isTrue(silent).And(onTwo(s, measure.DestinationsFewer)).
		And(s.few(measure.RetransmittingShare, regionLost)).And(regionUnconnected(s).Not()).And(isTrue(regionIsSilent(s) != yes))
}

func regionRefuses(s subject) truth {
	// Attempts that failed long after it was heard last are others'.
	live := s.is(measure.FailedAfterHeard, atMost, max(liveLeast, s.quietAfter()))
	return regionUnheard(s).And(failsUnusually(s)).And(live)
}

// regionRefusesPart: some destinations refuse while others answer. In a rolling
// restart one at a time has no connection.
func regionRefusesPart(s subject) truth {
	return s.isPart(measure.EstablishedLost, regionGone).And(onTwo(s, measure.DestinationsGone)).
		And(failsUnusually(s)).And(s.few(measure.RetransmittingShare, regionLost)).And(regionUnconnected(s).Not())
}

// regionResetting: connections to it are made, and then reset.
func regionResetting() causeRule {
	resets := func(s subject) truth {
		return regionUnheard(s).And(isTrue(s.vanished(vanishedAtLeast))).And(resetsUnusually(s)).And(failsUnusually(s).Not()).
			And(s.is(measure.ResetAfterHeard, atMost, max(liveLeast, s.quietAfter())))
	}
	return causeRule{
		cause: PeerResetting,
		triggers: []trigger{
			{condition{"nothing comes from the region, and connections to two destinations of it are reset, for 0.5 s", 500 * time.Millisecond, 2, measure.Established, resets}, Critical},
		},
		clear:        regionRecovers(5 * time.Second),
		supersededBy: []Cause{PeerRefusing},
		explain: func(s subject, f *Finding) {
			f.Sentence = fmt.Sprintf("The region %s resets connections: %.1f resets a second in all, %.1f of its own vanish, and nothing has come for %s.",
				f.Scope.Name, s.host.Get(measure.ResetsReceivedRate).Value, s.value(measure.VanishedRate), inWords(s.value(measure.HeardAgo)))
			f.Certainty = Likely // resets are the namespace's, not this region's alone
			f.beyond(s, measure.ResetsReceivedRate, measure.ResetsReceivedUsual)
			f.shows(s.scope, measure.VanishedRate, measure.DestinationsFewer, measure.Destinations)
			f.against(s.scope, measure.HeardAgo, s.quietAfter(), "its longest silence of the last 2 min")
			f.considers(PeerRefusing, fmt.Sprintf("no, %.1f attempts a second fail", s.host.Get(measure.AttemptFailsRate).Value))
			f.regionOrUs(s)
			f.Advice = []string{"Look at what stands before the region: a firewall or a load balancer there that lost its state resets what it does not know."}
			f.carried(s)
		},
	}
}

// regionOrderlyStop: it has closed its connections, as in a stop or a deploy.
func regionOrderlyStop() causeRule {
	return causeRule{
		cause: OrderlyStop,
		triggers: []trigger{
			{condition{"the region has just closed more of its connections than usual, at least 15 %, and two destinations of it did, for 2 s", 2 * time.Second, 3, measure.CloseWaitShare, regionCloses}, Watch},
			{condition{"30 % of its connections are gone, two destinations of it have none left, and none was refused or reset, for 1.5 s", 1500 * time.Millisecond, 3, measure.EstablishedLost, regionClosedAll}, Watch},
		},
		clear: condition{"the region answers or has connections, and holds hardly any that it closed, for 5 s", 5 * time.Second, 3, measure.Established,
			func(s subject) truth {
				return regionCloses(s).Or(regionClosedAll(s)).Not().And(regionWell(s).Or(s.is(measure.Established, above, 0)))
			}},
		overtakenBy:  []Cause{PeerRefusing},
		supersededBy: []Cause{PathLost, PeerResetting},
		explain: func(s subject, f *Finding) {
			f.Sentence = fmt.Sprintf("The region %s closes its connections: %.0f closed, %.0f still open, %s with none left. It stops, or is deployed.",
				f.Scope.Name, s.value(measure.CloseWaitAccepted), s.value(measure.Established), ofDestinations(s, measure.DestinationsGone))
			f.Certainty = Likely
			f.learnedAgainst(s, measure.CloseWaitShare, regionClosed)
			f.against(s.scope, measure.EstablishedLost, regionGone, "default")
			f.shows(s.scope, measure.DestinationsCloseWait, measure.DestinationsGone, measure.Destinations, measure.Established)
			f.considers(PeerRefusing, rejected(s, measure.DestinationsGone, regionRefuses(s)))
			f.Advice = []string{"Nothing yet: a deploy begins like this. New attempts that are refused are another finding."}
			f.carried(s)
		},
	}
}

// regionCloses: what the region closed and we have not is much of its
// connections. What is held for long is a lazy pool's, not a stop.
func regionCloses(s subject) truth {
	v, ok := s.numbers(measure.CloseWaitAccepted, measure.CloseWaitLingering, measure.Connections)
	if !ok {
		return cannotTell
	}
	level, _ := s.orNorm(measure.CloseWaitShare, regionClosed, "default")
	return isTrue(wilsonLower(max(0, v[0]-v[1]), v[2]) >= level).And(onTwo(s, measure.DestinationsCloseWait))
}

// regionClosedAll: clients that close their own end at once leave no CLOSE_WAIT
// to see.
func regionClosedAll(s subject) truth {
	return s.isPart(measure.EstablishedLost, regionGone).And(onTwo(s, measure.DestinationsGone)).
		And(isTrue(s.vanished(lostAtLeast))).And(failsUnusually(s).Not()).And(resetsUnusually(s).Not()).
		And(s.few(measure.RetransmittingShare, regionLost))
}

// regionHeavyLoss: the way there loses segments.
func regionHeavyLoss() causeRule {
	lossy := func(rate, share float64) check {
		return func(s subject) truth { return regionLosing(s, rate, share) }
	}
	degraded, bad := lossy(lossDegraded, regionResentDegraded), lossy(lossBad, regionResentBad)
	return causeRule{
		cause: HeavyLoss,
		triggers: []trigger{
			{condition{"8 % of the region's connections send something again each second, or 10 % of the segments with data are sent again, to two destinations, for 5 s", 5 * time.Second, 4, measure.RetransmitsPerConnectionRate, degraded}, Watch},
			{condition{"15 % of the region's connections, or 20 % of the segments, to two destinations, and of no other region, for 2 s", 2 * time.Second, 3, measure.RetransmitsPerConnectionRate, only(bad)}, Warning},
		},
		clear:        condition{"less than 8 % and 10 % for 20 s", 20 * time.Second, 8, measure.RetransmitsPerConnectionRate, not(degraded)},
		supersededBy: []Cause{PathLost},
		explain: func(s subject, f *Finding) {
			rate, share := s.scope.Get(measure.RetransmitsPerConnectionRate), s.scope.Get(measure.RetransmitShare)
			f.Sentence = fmt.Sprintf("The way to the region %s loses segments: %d were sent again in 5 s, %.0f %% of those with data, to %s.",
				f.Scope.Name, rate.Samples, 100*min(share.Value, 1), ofDestinations(s, measure.DestinationsResending))
			f.Certainty = Certain
			f.against(s.scope, measure.RetransmitsPerConnectionRate, lossBad, "default")
			f.against(s.scope, measure.RetransmitShare, regionResentBad, "default")
			f.against(s.scope, measure.DestinationsResending, regionDestinations, "default")
			f.shows(s.scope, measure.RetransmittingShare, measure.Connections, measure.AnswerNow)
			f.considers(PathLost, rejected(s, measure.Answering, regionIsSilent(s).Or(regionRetransmits(s))))
			if s.othersAre(degraded) {
				f.considers(LocalFault, "also: another region loses segments too")
			} else {
				f.regionOrUs(s)
			}
			f.Advice = []string{"Look at the links between: errors and drops on interfaces, a policer, a provider's path that flaps."}
			f.carried(s)
		},
	}
}

// regionLosing: much is sent again to two destinations, and something still
// comes. The rate for each connection is the level that was measured where all
// are busy; the share of what was sent holds where most lie idle.
func regionLosing(s subject, rate, share float64) truth {
	each, resent := s.scope.Get(measure.RetransmitsPerConnectionRate), s.scope.Get(measure.RetransmitShare)
	if each.Validity != measure.Known || resent.Validity != measure.Known {
		return cannotTell
	}
	part := min(resent.Value, 1) * float64(resent.Samples)
	byRate := each.Value >= rate && resent.Value >= lossShare
	byShare := resent.Samples >= regionResentAtLeast && wilsonLower(part, float64(resent.Samples)) >= share
	// Probes of a closed window count as segments sent again.
	return isTrue(each.Samples >= lossAtLeast && (byRate || byShare) && regionIsSilent(s) != yes).
		And(onTwo(s, measure.DestinationsResending)).And(s.isShare(measure.ZeroWindow, atMost, regionFine, measure.Connections))
}

// regionSlow: its answers come late, or not.
func regionSlow() causeRule {
	late := func(s subject) truth {
		return s.isPart(measure.PendingLateShare, regionLate).And(s.is(measure.PendingLate, atLeast, regionLateLeast)).And(onTwo(s, measure.DestinationsPendingLate)).
			And(isTrue(regionLosing(s, lossDegraded, regionResentDegraded) != yes && regionIsSilent(s) != yes)).
			And(s.few(measure.RetransmittingShare, regionLost))
	}
	return causeRule{
		cause: PeerSlow,
		triggers: []trigger{
			{condition{"15 % of the region's connections wait far longer than usual, on two destinations, for 3 s", 3 * time.Second, 4, measure.PendingLateShare, late}, Watch},
			{condition{"15 % of the region's connections wait far longer than usual, on two destinations, and of no other region, for 3 s", 3 * time.Second, 4, measure.PendingLateShare, only(late)}, Warning},
		},
		clear: condition{"less than 5 % of its connections wait far longer than usual, for 10 s", 10 * time.Second, 5, measure.PendingLateShare, func(s subject) truth { return s.few(measure.PendingLateShare, regionFine) }},
		// Of a region that refuses or resets, what is left waits in vain for answers
		// that the reset of the other direction took away.
		supersededBy: []Cause{PathLost, HeavyLoss, PeerRefusing, PeerResetting},
		explain: func(s subject, f *Finding) {
			f.Sentence = fmt.Sprintf("The region %s is slow: %.0f of %.0f connections have waited longer than %s, on %s; answers take %s.",
				f.Scope.Name, s.value(measure.PendingLate), s.value(measure.Connections), inWords(s.value(measure.LateAfter)),
				ofDestinations(s, measure.DestinationsPendingLate), within(s.scope.Get(measure.AnswerNow)))
			f.Certainty = Likely
			f.against(s.scope, measure.PendingLateShare, regionLate, "default")
			f.against(s.scope, measure.DestinationsPendingLate, regionDestinations, "default")
			f.shows(s.scope, measure.LateAfter, measure.Pending, measure.PendingLongest, measure.Silent, measure.AnswerNow, measure.AnswerUsual, measure.Connections)
			f.considers(PathLost, rejected(s, measure.RetransmittingShare, regionIsSilent(s)))
			f.considers(HeavyLoss, rejected(s, measure.RetransmitShare, regionLosing(s, lossDegraded, regionResentDegraded)))
			if s.othersAre(late) {
				f.considers(LocalFault, "also: another region answers late too; what they share is this host, or what stands behind both")
			}
			f.Advice = []string{"Look for what its destinations share: one database, one gateway, one zone. What is sent is acknowledged, so the way there is open."}
			f.carried(s)
		},
	}
}

// regionOrUs says what can be told of whether the fault is ours.
func (f *Finding) regionOrUs(s subject) {
	switch {
	case outOfReach(s.failing) > int(s.value(measure.DestinationsUnanswered)):
		f.considers(LocalFault, "also: destinations elsewhere are out of reach too")
	case s.alone():
		f.considers(LocalFault, "cannot tell us from it: there is no other region")
	case nobodyElse(s) != no:
		f.considers(LocalFault, "cannot tell us from it: no other region answers now")
	default:
		f.considers(LocalFault, "no, another region answers")
	}
}

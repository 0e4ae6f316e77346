package judge

import (
	"fmt"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
)

// Levels of the causes that the far end of a connection makes. Measured in the
// lab; docs/SIGNALS.md says how.
const (
	// lostSilent: a retransmission is a time-out of 0.2 s at least; in half a
	// second one that was but a lost segment has been answered.
	lostSilent = 0.5 // seconds
	// lostAlone is the same where one connection is all there is to go by.
	lostAlone    = 1.0
	lostAtLeast  = 2   // connections
	pendingShare = 0.5 // of the pending ones retransmit: their kernel does not answer either
	// quietTimes, quietLeast: a silence longer than the longest of the last two
	// minutes, and that by a margin.
	quietTimes = 1.5
	quietLeast = 0.5 // seconds
	// seldomSeen, seldomTimes: of connections that end with their answer, and
	// that the other end closes first, a look meets a few by chance.
	seldomSeen     = 0.6 // seconds
	seldomTimes    = 2.5
	mostlyByChance = 0.5
	servedLast     = 10.0 // seconds: it was in use
	refusedFor     = 10.0 // seconds
	// restartTakes: while the balancer itself restarts nobody is asked.
	restartTakes = 5.0 // seconds
	liveLeast    = 1.5 // seconds
	// usualTimes, usualMargin: events a second beyond what this namespace
	// usually shows.
	usualTimes  = 2.0
	usualMargin = 0.5
	// aroundThen is how much before the last sign of a backend an event may
	// have been; byChance how many may be expected without a fault.
	aroundThen = 0.5 // seconds
	byChance   = 0.2
	// vanishedAtLeast in 5 s, and vanishTimes as often as any sibling's.
	vanishedAtLeast = 3
	vanishTimes     = 3.0
	answersBack     = 3 // connections: it answers again
)

// answersAgain: something came from the backend within its usual silence, and
// since it was suspected, and nothing retransmits. Where nothing is asked of it
// that cannot be told.
func answersAgain(s subject) truth {
	ago, known := s.scope.Get(measure.HeardAgo).Get()
	if !known {
		return cannotTell
	}
	since := s.now.Add(-time.Duration(ago * float64(time.Second))).After(s.suspected)
	unanswered, seen := unacknowledged(s)
	switch {
	case !seen:
		return cannotTell
	case since && ago <= s.quietAfter() && unanswered == 0:
		return yes
	case s.scope.Get(measure.Silent).Validity == measure.NoTraffic:
		return cannotTell
	}
	return no
}

// unacknowledged is how many connections send something again, SYNs among it.
// Those in LAST_ACK and CLOSING do not count: the backend's own FIN has arrived
// on them.
func unacknowledged(s subject) (connections float64, known bool) {
	v, known := s.numbers(measure.Retransmitting, measure.LastAck, measure.Closing)
	return max(0, v[0]-v[1]-v[2]), known
}

func recovers(hold time.Duration) condition {
	return condition{fmt.Sprintf("it answers again for %s and nothing is sent twice", inWords(hold.Seconds())), hold, 3, measure.Established, answersAgain}
}

// quietAfter is from when a silence of the backend is longer than usual, in
// seconds.
func (s subject) quietAfter() float64 {
	v, known := s.numbers(measure.HeardGapUsual, measure.HeardByChance)
	gap, chance := v[0], v[1]
	switch {
	case !known:
		gap = servedLast
	case gap > seldomSeen && chance >= mostlyByChance:
		return seldomTimes * gap
	}
	return max(quietLeast, quietTimes*gap)
}

// pathLost: what is sent is not even acknowledged.
func pathLost() causeRule {
	return causeRule{
		cause: PathLost,
		triggers: []trigger{
			{condition{"what is sent is not acknowledged, or a connection not answered, and nothing comes, for 0.5 s", 500 * time.Millisecond, 2, measure.Established, lost}, Critical},
		},
		clear: recovers(3 * time.Second),
		explain: func(s subject, f *Finding) {
			f.Sentence = fmt.Sprintf("%s is out of reach: %s, and nothing has come for %s.",
				f.Scope.Name, outstanding(s), inWords(s.value(measure.Silent)))
			f.Certainty = Certain // the kernel's own timers
			f.against(s.scope, measure.Retransmitting, lostAtLeast, "default: with the next one")
			f.shows(s.scope, measure.ConnectRetrying, measure.SynSent)
			f.against(s.scope, measure.Silent, lostSilent, "default")
			f.shows(s.scope, measure.Established)
			f.considers(PeerFrozen, rejected(s, measure.Retransmitting, s.is(measure.Retransmitting, atMost, 0)))
			f.considers(HeavyLoss, rejected(s, measure.Answering, s.is(measure.Answering, above, 0)))
			f.orUs(s)
			f.Advice = []string{
				"Take it out of the pool: requests to it wait for their time-out.",
				"See whether the host is up and the path to it open; a firewall that drops looks the same.",
			}
			f.carried(s)
		},
	}
}

// lost: connections retransmit or get no answer to their SYN, and nothing
// comes from the backend. A frozen process is another thing: its kernel still
// acknowledges, so pending connections do not retransmit, while a full accept
// queue leaves SYNs unanswered.
func lost(s subject) truth {
	v, ok := s.numbers(measure.ConnectRetrying, measure.SynSent, measure.Pending, measure.Silent)
	unanswered, seen := unacknowledged(s)
	if !ok || !seen {
		return cannotTell // silent_seconds is unknown while nothing is asked of it
	}
	retrying, connecting, pending, silent := v[0], v[1], v[2], v[3]
	retransmitting := max(0, unanswered-retrying) // but for the SYNs, which are among them
	switch {
	case pending > 0 && retransmitting < pendingShare*pending, s.frozen && retransmitting <= 0:
		return no
	}
	lost := retransmitting + retrying
	return isTrue(lost >= lostAtLeast && silent >= lostSilent ||
		lost >= 1 && lost >= pending+connecting && silent >= lostAlone)
}

func outstanding(s subject) string {
	var parts []string
	if n, _ := unacknowledged(s); n > 0 {
		parts = append(parts, people(n, "connection retransmits", "connections retransmit"))
	}
	if n := s.value(measure.SynSent); n > 0 {
		parts = append(parts, people(n, "connection attempt waits", "connection attempts wait"))
	}
	return strings.Join(parts, ", ")
}

// peerRefusing: it was in use, its connections are gone, and new ones are
// refused. A refused attempt leaves no socket: only the namespace's count of
// them, and the silence.
func peerRefusing() causeRule {
	return causeRule{
		cause: PeerRefusing,
		triggers: []trigger{
			{condition{"nothing is left and attempts are refused, where it had no traffic before", 250 * time.Millisecond, 2, measure.Established, refusing}, Watch},
			{condition{"its connections are gone and new ones are refused", 250 * time.Millisecond, 2, measure.Established, refusingLive}, Warning},
			{condition{"its connections are gone, new ones are refused, and no sibling answers", 250 * time.Millisecond, 2, measure.Established, both(refusingLive, nobodyElse)}, Critical},
			{condition{"its connections are gone and new ones are refused, for 10 s", time.Second, 3, measure.Established, both(refusingLive, is(measure.HeardAgo, atLeast, refusedFor))}, Critical},
			{condition{"nothing is left and attempts are refused, after its connections were reset", 250 * time.Millisecond, 2, measure.Established,
				func(s subject) truth { return refusing(s).And(isTrue(s.resetting)) }}, Critical},
		},
		clear: recovers(2 * time.Second),
		explain: func(s subject, f *Finding) {
			f.Sentence = fmt.Sprintf("%s refuses connections: none is left, nothing has come for %s, and %.1f attempts a second fail.",
				f.Scope.Name, inWords(s.value(measure.HeardAgo)), s.host.Get(measure.AttemptFailsRate).Value)
			f.Certainty = Likely // attempts are the namespace's, not this backend's alone
			f.against(s.scope, measure.Established, 0, "none left")
			f.shows(s.scope, measure.EstablishedRecent)
			f.beyond(s, measure.AttemptFailsRate, measure.AttemptFailsUsual)
			f.shows(s.host, measure.AttemptFailsUsual)
			f.against(s.scope, measure.HeardAgo, s.quietAfter(), "its longest silence of the last 2 min")
			f.considers(PathLost, rejected(s, measure.SynSent, s.is(measure.SynSent, above, 0)))
			f.considers(PeerResetting, "no: attempts fail before a connection is made")
			f.Advice = []string{
				"See whether its process runs and listens; a deploy looks the same and ends by itself.",
				"Take it out of the pool until it listens again.",
			}
			f.carried(s)
		},
	}
}

func refusing(s subject) truth {
	v, ok := s.numbers(measure.Established, measure.SynSent, measure.HeardAgo)
	failing := failsUnusually(s)
	if !ok || failing == cannotTell {
		return cannotTell
	}
	established, connecting, ago := v[0], v[1], v[2]
	switch {
	case established > 0 || connecting > 0:
		return no // it can be reached
	case failing == no:
		return cannotTell // nobody tries
	}
	if s.siblingFails() && nobodyElse(s) == yes && ago < restartTakes {
		return cannotTell // the attempts may be at the sibling, and the balancer on its way back
	}
	return isTrue(ago >= s.quietAfter() && ago <= refusedFor+servedLast)
}

// refusingLive: and it was in use until then. A backend that was drained before
// it stopped is refused its health checks, and nobody's request.
//
// Where its balancer's health checks were all it was asked, nobody's request is
// refused either.
func refusingLive(s subject) truth {
	if s.scope.Get(measure.ChecksEvery).Validity == measure.Known {
		return no
	}
	return refusing(s).And(s.is(measure.FailedAfterHeard, atMost, max(liveLeast, s.quietAfter())))
}

// failsUnusually: attempts have failed since the backend was heard last, beyond
// what this namespace usually shows.
func failsUnusually(s subject) truth {
	return since(s, measure.AttemptFailedAgo, measure.AttemptFailsRate, measure.AttemptFailsUsual)
}

func resetsUnusually(s subject) truth {
	return since(s, measure.ResetReceivedAgo, measure.ResetsReceivedRate, measure.ResetsReceivedUsual)
}

// since: an event came after the backend was heard last, or just before, and
// not by chance: hardly any was to be expected in that time, or there are far
// more now. A balancer that leaves a backend alone after one failure makes one.
func since(s subject, ago, rate, usual measure.Signal) truth {
	heard, known := s.scope.Get(measure.HeardAgo).Get()
	if _, counted := s.host.Get(rate).Get(); !known || !counted {
		return cannotTell
	}
	event, happened := s.host.Get(ago).Get()
	if !happened || event > heard+aroundThen {
		return no
	}
	normal, _ := s.host.Get(usual).Get()
	return isTrue(normal*(heard+aroundThen) <= byChance).Or(beyondUsual(s, rate, usual))
}

// beyondUsual: a rate of the namespace is usualMargin above usualTimes its
// usual; where the usual is none, a single event is. While the usual is not
// known it counts as none.
func beyondUsual(s subject, rate, usual measure.Signal) truth {
	now, known := s.host.Get(rate).Get()
	if !known {
		return cannotTell
	}
	normal, _ := s.host.Get(usual).Get()
	return isTrue(now >= usualTimes*normal+usualMargin || normal == 0 && now > 0)
}

// beyond shows a rate of the namespace beside what is beyond its usual, where
// that decided. Else it was that hardly any event was to be expected in the
// time since the backend was heard last, which is no level of the rate.
func (f *Finding) beyond(s subject, rate, usual measure.Signal) {
	normal, _ := s.host.Get(usual).Get()
	level := usualTimes*normal + usualMargin
	switch {
	case beyondUsual(s, rate, usual) != yes:
		f.shows(s.host, rate)
	case s.host.Get(rate).Value < level:
		f.against(s.host, rate, 0, "none is usual here")
	default:
		f.against(s.host, rate, level, "twice what is usual here, and 0.5")
	}
}

// Unusual reports whether attempts to connect fail, or connections are reset,
// or segments sent again, beyond what this namespace usually shows.
func Unusual(host *measure.ScopeSignals) bool {
	s := subject{host: host}
	return beyondUsual(s, measure.AttemptFailsRate, measure.AttemptFailsUsual) == yes ||
		beyondUsual(s, measure.ResetsReceivedRate, measure.ResetsReceivedUsual) == yes ||
		beyondUsual(s, measure.RetransmittedSegmentsRate, measure.RetransmittedSegmentsUsual) == yes
}

// peerResetting: connections are made and then reset.
func peerResetting() causeRule {
	return causeRule{
		cause: PeerResetting,
		triggers: []trigger{
			{condition{"connections are reset, and its own are gone or lie idle, for 0.5 s", 500 * time.Millisecond, 2, measure.Established, resettingAll}, Critical},
			{condition{"connections are reset, and its own vanish far more often than its siblings', for 3 s", 3 * time.Second, 4, measure.Established, resettingSome}, Critical},
		},
		clear: condition{"it answers, and its connections last, for 10 s", 10 * time.Second, 5, measure.Established,
			func(s subject) truth { return resettingAll(s).Or(stillResetting(s)).Not().And(answersAgain(s)) }},
		// A process killed with a request in hand resets that one first.
		supersededBy: []Cause{PeerRefusing},
		explain: func(s subject, f *Finding) {
			f.Sentence = fmt.Sprintf("%s resets connections: %.1f resets a second in all, and %.1f of its own vanish.",
				f.Scope.Name, s.host.Get(measure.ResetsReceivedRate).Value, s.value(measure.VanishedRate))
			f.Certainty = Likely // resets are the namespace's, not this backend's alone
			f.beyond(s, measure.ResetsReceivedRate, measure.ResetsReceivedUsual)
			f.shows(s.host, measure.ResetsReceivedUsual)
			f.shows(s.scope, measure.VanishedRate, measure.VanishedUsual, measure.NewFlowsRate)
			f.against(s.scope, measure.HeardAgo, s.quietAfter(), "its longest silence of the last 2 min")
			f.considers(PeerRefusing, fmt.Sprintf("no, %.1f attempts a second fail", s.host.Get(measure.AttemptFailsRate).Value))
			f.Advice = []string{
				"Look into the backend's own log: its process takes connections and drops them.",
				"Take it out of the pool; a health check that passes does not use the same path.",
			}
			f.carried(s)
		},
	}
}

// resettingAll: more resets than usual, and a backend that was in use has
// fallen silent with no connection left to speak of.
func resettingAll(s subject) truth {
	v, ok := s.numbers(measure.Established, measure.SynSent, measure.HeardAgo)
	if !ok {
		return cannotTell
	}
	established, connecting, ago := v[0], v[1], v[2]
	// A balancer that leaves it alone after the first failure and a retry keeps
	// what lay idle: nothing is asked on any, and none is opened. One that tries
	// again opens connections to its siblings, which end with their answer.
	fresh := s.scope.Get(measure.NewFlowsRate)
	idle := s.is(measure.Pending, atMost, 0).And(isTrue(s.vanished(1) && fresh.Validity == measure.Known && fresh.Samples == 0))
	silent := connecting == 0 && (established <= 1 || idle == yes) && ago >= s.quietAfter() && ago <= refusedFor+servedLast
	// Where no sibling answers either, perhaps nobody asks: our own services'
	// clients reset connections too.
	asked := isTrue(!s.alone()).And(nobodyElse(s).Not())
	atOnce := s.is(measure.ResetAfterHeard, atMost, max(liveLeast, s.quietAfter())) // else it lay idle before
	return resetsUnusually(s).And(atOnce).And(isTrue(silent)).And(failsUnusually(s).Not()).And(asked)
}

// vanished: at least so many of its connections are gone without a trace, of
// those that were seen in the last 5 s.
func (s subject) vanished(atLeast int) bool {
	r := s.scope.Get(measure.VanishedRate)
	return r.Validity == measure.Known && r.Samples >= atLeast
}

// resettingSome: more resets than usual, and connections of this backend
// vanish: some, and far more often than any sibling's, and than they used to:
// where the balancer keeps no connections all of them end so. Where a sibling
// fails, what is tried again opens and ends connections to all others.
func resettingSome(s subject) truth {
	return beyondUsual(s, measure.ResetsReceivedRate, measure.ResetsReceivedUsual).And(vanishing(s)).And(isTrue(!s.siblingFails()))
}

// stillResetting: resets that last become usual for the namespace; that its
// connections vanish does not become usual for the backend.
func stillResetting(s subject) truth {
	return s.hostIs(measure.ResetsReceivedRate, above, 0).And(vanishing(s))
}

// vanishing: some of its connections vanish, far more often than any sibling's
// and than they used to.
func vanishing(s subject) truth {
	vanished := s.scope.Get(measure.VanishedRate)
	if vanished.Validity != measure.Known {
		return cannotTell
	}
	if s.alone() {
		return no // our own services' clients reset connections too: nothing to hold it against
	}
	theirs, known := s.scope.Get(measure.VanishedUsual).Get()
	if !known {
		return cannotTell
	}
	theirs = max(theirs, s.siblingsVanish())
	return isTrue(vanished.Samples >= vanishedAtLeast && vanished.Value >= vanishTimes*theirs)
}

// carried says what the siblings carry now, against the most they had.
func (f *Finding) carried(s subject) {
	var parts []string
	for o := range s.siblings() {
		now, known := o.Get(measure.Established).Get()
		if !known {
			continue
		}
		part := fmt.Sprintf("%s %.0f", o.Scope.Name, now)
		if peak, ok := o.Get(measure.EstablishedMost).Get(); ok {
			part += fmt.Sprintf(" (at most %.0f in the last hour)", peak)
		}
		parts = append(parts, part)
	}
	if len(parts) > 0 {
		f.Siblings = "Connections to its siblings now: " + strings.Join(firstFive(parts), ", ") + "."
	}
}

// orUs says what can be told of whether the fault is ours.
func (f *Finding) orUs(s subject) {
	switch {
	case outOfReach(s.failing) >= faultDestinations:
	case nobodyElse(s) != no || s.alone():
		f.considers(LocalFault, "cannot tell us from it: too few other destinations")
	default:
		f.considers(LocalFault, "no, other destinations answer")
	}
}

package judge

import (
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// Levels of the sides of a switch. docs/SIGNALS.md says where they are from.
const (
	// failingLeast fail at once: one may be a client that has gone.
	failingLeast = 2
	// failingShare of the connections fail: a path that loses 10 % shows 2.5 %
	// that retransmit, one that loses 30 % 10.8 % (both at the 95th percentile).
	failingShare = 0.1
	// sentAgainShare of what fails has been sent again: far away every SYN waits
	// a while, and 1 % of them is lost.
	sentAgainShare = 0.3
	// cutLeast and cutShare are of connections that moved bytes within a minute.
	cutLeast, cutShare = 3, 0.2
	// noneLeast fail and none is made.
	noneLeast = 3
	// staleLeast are begun within 30 s: one may be a scanner, or somebody who
	// looks whether the old address still answers.
	staleLeast = 2
	// ttlOverLeast is for how long the old answers must be over, in seconds:
	// TTLs are whole seconds, and rounded.
	ttlOverLeast = 1
	// stayAfterTTL, stayShare: who honours the TTL has left by then.
	stayAfterTTL = 30 // seconds
	stayShare    = 0.05
	stayLeast    = 2 // a host that holds the old addresses alone sees every connection there
	// missedSome and missedHalf are of what is expected, less its error.
	missedSome, missedHalf = 0.8, 0.5
	// expectedFor is for how long after the switch what came before it says what
	// should come, in seconds; later it is another time of the day.
	expectedFor = 3600
	// missedWithin is the seconds that arrivals_per_second looks back.
	missedWithin = 30
)

// ofSide asks a condition of one side of a switch only. One that is armed, and
// has not happened, is judged by nothing.
func ofSide(side scope.Side, so check) check {
	return func(s subject) truth {
		if of, ok := s.scope.Scope.Side(); !ok || of != side {
			return no
		}
		return s.is(measure.SwitchedAgo, atLeast, 0).And(so(s))
	}
}

// usersFailingOnOld: whoever goes to the old addresses does not get through. It
// is judged from the switch on: who honours the TTL goes there until it is over.
func usersFailingOnOld() causeRule {
	old := func(so check) check { return ofSide(scope.OldSide, so) }
	return causeRule{
		cause: UsersFailingOnOld,
		triggers: []trigger{
			{condition{"attempts to reach the old addresses are sent again, and a tenth of the connections there fails, 2 at least, for 1 s", time.Second, 2, measure.Failing, old(attemptedInVain)}, Critical},
			{condition{"a fifth of the connections there is not acknowledged any more, 3 at least of those that were in use, for 1 s", time.Second, 2, measure.Failing, old(cutOff)}, Critical},
			{condition{"at least 3 connections there fail and none is made, for 10 s", 10 * time.Second, 5, measure.Failing, old(noneMade)}, Critical},
		},
		clear:   condition{"nothing fails on the old addresses and they are in use, or nobody is there and the new ones are in use, for 20 s", 20 * time.Second, 5, measure.Failing, old(nobodyFails)},
		explain: explainFailingOnOld,
	}
}

// attemptedInVain: what was sent to connect is sent again, and what fails is no
// small part of all connections there, or of those begun lately: connections
// that lie idle show nothing.
func attemptedInVain(s subject) truth {
	v, ok := s.numbers(measure.Failing, measure.Retransmitting, measure.SynSent, measure.Connections)
	if !ok {
		return cannotTell
	}
	failing, again, connecting, all := v[0], min(v[0], v[1]), v[2], v[3]
	if again < failingLeast || again < sentAgainShare*failing || connecting == 0 {
		return no
	}
	share := wilsonLower(failing, max(all, failing))
	if rate, known := s.scope.Get(measure.NewFlowsRate).Get(); known {
		inVain := min(again, connecting)
		share = max(share, wilsonLower(inVain, max(rate*arrivalsWithin, inVain)))
	}
	return isTrue(share >= failingShare)
}

// cutOff: connections that moved bytes within a minute are not acknowledged any
// more. Those of clients that have gone retransmit for 15 minutes, and as
// everybody else leaves they become a large part; but nothing has moved on them.
func cutOff(s subject) truth {
	v, ok := s.numbers(measure.Failing, measure.Retransmitting, measure.Connections, measure.Moving)
	if !ok {
		return cannotTell
	}
	again, all, moving := min(v[0], v[1]), v[2], v[3]
	inUse := again - (all - moving) // at least so many of them
	return isTrue(inUse >= cutLeast && wilsonLower(again, all) >= cutShare)
}

// noneMade: who gives up within a second never sends a SYN again.
func noneMade(s subject) truth {
	return s.is(measure.Failing, atLeast, noneLeast).And(s.is(measure.Established, atMost, 0))
}

// nobodyFails: it works again, or everybody has gone over. An idle connection to
// a dead address shows nothing, and where nobody goes anywhere nobody fails.
func nobodyFails(s subject) truth {
	some := s.is(measure.Failing, above, 0)
	if some != no {
		return some.Not()
	}
	if established, known := s.scope.Get(measure.Established).Get(); !known {
		return cannotTell
	} else if established > 0 {
		return yesOrUnknown(s.is(measure.Moving, above, 0))
	}
	left := s.is(measure.Connections, atMost, 0)
	return yesOrUnknown(left.And(s.otherSide(is(measure.Established, above, 0))))
}

// yesOrUnknown is what only a yes says something of.
func yesOrUnknown(t truth) truth {
	if t == yes {
		return yes
	}
	return cannotTell
}

// otherSide asks the other side of the switch.
func (s subject) otherSide(so check) truth {
	for o := range s.siblings() {
		return so(subject{scope: o, host: s.host, group: s.group, around: s.around})
	}
	return cannotTell
}

// staleDNS: connections are begun to the old addresses though nobody may give
// them any more.
func staleDNS() causeRule {
	return causeRule{
		cause: StaleDNS,
		triggers: []trigger{
			{condition{"at least 2 connections to the old addresses begun within 30 s, later than the TTL, for 2 s", 2 * time.Second, 3, measure.NewAfterTTL, ofSide(scope.OldSide, begunLate)}, Warning},
		},
		// With the 30 s that the signal looks back: 90 s without any.
		clear: condition{"no connection to them begun within 30 s, for 60 s", time.Minute, 6, measure.NewAfterTTL,
			ofSide(scope.OldSide, is(measure.NewAfterTTL, atMost, 0))},
		explain: explainStaleDNS,
	}
}

func ttlOver(s subject) truth { return s.is(measure.TTLOver, atLeast, ttlOverLeast) }

func begunLate(s subject) truth {
	return ttlOver(s).And(s.is(measure.NewAfterTTL, atLeast, staleLeast))
}

// oldConnection: connections from before go on. Beside it there may be stale
// answers: on a host with several processes both are so, each of its own.
func oldConnection() causeRule {
	return causeRule{
		cause: OldConnection,
		triggers: []trigger{
			{condition{"a connection to the old addresses goes on, later than the TTL, for 5 s", 5 * time.Second, 3, measure.OlderThanTTL, ofSide(scope.OldSide, goesOn)}, Watch},
			{condition{"the same of two at least that do not retransmit, with more than 5 % of the name's connections on the old addresses, later than the TTL and 30 s, for 2 s", 2 * time.Second, 3, measure.OlderThanTTL, ofSide(scope.OldSide, both(goesOn, manyStay))}, Warning},
		},
		clear:   condition{"none goes on, for 10 s", 10 * time.Second, 3, measure.OlderThanTTL, ofSide(scope.OldSide, not(goesOn))},
		explain: explainOldConnection,
	}
}

// goesOn: connections that were begun before the TTL was over are there; or any,
// and none was begun lately: one that a stale answer led to and that is kept.
func goesOn(s subject) truth {
	kept := s.is(measure.Established, above, 0).And(s.is(measure.NewAfterTTL, atMost, 0)).And(s.is(measure.TTLOver, atLeast, stayAfterTTL))
	return ttlOver(s).And(s.is(measure.OlderThanTTL, above, 0).Or(kept))
}

// manyStay: who honours the TTL has left, and too many have not. Those of clients
// that have vanished do not count.
func manyStay(s subject) truth {
	v, ok := s.numbers(measure.TTLOver, measure.Established, measure.Retransmitting)
	if !ok {
		return cannotTell
	}
	return isTrue(v[0] >= stayAfterTTL && v[1]-v[2] >= stayLeast).And(s.isPart(measure.OldShare, stayShare))
}

// arrivalsMissing: fewer arrive at the old and the new addresses together than
// before the switch.
func arrivalsMissing() causeRule {
	fewer := func(level float64) check {
		return ofSide(scope.NewSide, func(s subject) truth { return arriveFewer(s, level) })
	}
	return causeRule{
		cause: TrafficMissing,
		triggers: []trigger{
			{condition{"less than 80 % of the expected connections have begun since the switch, its error and chance allowed for, for 15 s", 15 * time.Second, 5, measure.ArrivalsRate, fewer(missedSome)}, Warning},
			{condition{"less than half of them, for 15 s", 15 * time.Second, 5, measure.ArrivalsRate, fewer(missedHalf)}, Critical},
		},
		clear:   condition{"at least 80 % of the expected connections for 20 s", 20 * time.Second, 5, measure.ArrivalsRate, not(fewer(missedSome))},
		explain: explainArrivalsMissing,
	}
}

// arriveFewer: fewer than that share of what is expected. Only who sees both
// sides can tell: at a host that holds the old addresses alone, none is what
// should come. What came before the switch says nothing of another time of the
// day.
func arriveFewer(s subject, share float64) truth {
	v, ok := s.numbers(measure.ArrivalsRate, measure.ArrivalsExpected, measure.ArrivalsExpectedError, measure.SwitchedAgo)
	of := &s.scope.Address
	_, known := s.scope.Get(measure.ArrivalsMissing).Get()
	if !ok || !known || v[3] > expectedFor && !of.ArrivalsLearned || of.ArrivalsServed && of.Served.Connections == 0 {
		return cannotTell
	}
	now, expected, off, over := v[0], v[1], v[2], max(1, min(v[3], missedWithin))
	return isTrue(expected >= usualAtLeast && atMostLikely(now, over) < share*max(0, expected-off))
}

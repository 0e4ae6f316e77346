package judge

import (
	"fmt"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
)

const (
	// frozenSilent is more than the two seconds between health checks: one that
	// is answered tells a hung application from a frozen process.
	frozenSilent = 2.2 // seconds
	// frozenAlone is the same where fewer than frozenAtLeast requests wait: one
	// long request is no outage.
	frozenAlone   = 10.0
	frozenAtLeast = 3
	lateAtLeast   = 3 // connections
	lateShare     = 0.5
	// slowTimes: answers take so many times as long as usual.
	slowTimes = 2.0
)

// peerFrozen: requests are acknowledged and nothing answers any of them.
func peerFrozen() causeRule {
	return causeRule{
		cause: PeerFrozen,
		triggers: []trigger{
			{condition{"requests wait, are acknowledged, and nothing has come for 2.2 s", 250 * time.Millisecond, 2, measure.Established, frozen}, Critical},
		},
		clear:        recovers(3 * time.Second),
		supersededBy: []Cause{PeerHalfBroken, PathLost},
		explain: func(s subject, f *Finding) {
			f.Sentence = fmt.Sprintf("%s does not answer: %.0f requests wait, the oldest for %s; its kernel still acknowledges them.",
				f.Scope.Name, s.value(measure.Pending), inWords(s.value(measure.PendingLongest)))
			f.Certainty = Likely // a health check that is answered later makes it half broken
			f.pending(s)
			f.considers(PathLost, rejected(s, measure.Retransmitting, s.is(measure.Retransmitting, above, 0)))
			f.considers(PeerHalfBroken, fmt.Sprintf("no connection was answered for %s", inWords(s.value(measure.Silent))))
			f.orUs(s)
			f.Advice = []string{
				"Take it out of the pool: what it holds now is lost to its clients.",
				"See what its process waits for: stopped, swapping, or every worker on one lock or database.",
			}
			f.carried(s)
		},
	}
}

func frozen(s subject) truth {
	v, ok := s.numbers(measure.Pending, measure.PendingLate, measure.Retransmitting, measure.LateAfter)
	if !ok {
		return cannotTell
	}
	pending, late, retransmitting, lateAfter := v[0], v[1], v[2], v[3]
	silent, owed := s.scope.Get(measure.Silent).Get()
	if !owed {
		return cannotTell
	}
	if retransmitting >= pendingShare*pending || late == 0 {
		return no
	}
	level := max(frozenSilent, lateAfter)
	if pending < frozenAtLeast {
		level = max(frozenAlone, lateAfter)
	}
	return isTrue(silent >= level)
}

// peerHalfBroken: some requests are never answered, and others are as fast as
// ever.
func peerHalfBroken() causeRule {
	return causeRule{
		cause: PeerHalfBroken,
		triggers: []trigger{
			{condition{"requests wait far longer than usual while others are answered in time, for 1 s", time.Second, 3, measure.Established, halfBroken}, Critical},
		},
		clear:        condition{"no request waits far longer than usual, for 5 s", 5 * time.Second, 4, measure.Established, both(is(measure.PendingLate, atMost, 0), answersAgain)},
		supersededBy: []Cause{PeerSlow, PathLost, HeavyLoss},
		explain: func(s subject, f *Finding) {
			f.Sentence = fmt.Sprintf("%s answers some requests and leaves others: %.0f have waited longer than %s, while answers take %s.",
				f.Scope.Name, s.value(measure.PendingLate), inWords(s.value(measure.LateAfter)), within(s.scope.Get(measure.AnswerNow)))
			f.Certainty = Likely
			f.pending(s)
			f.considers(PeerSlow, rejected(s, measure.AnswerNow, slowNow(s)))
			f.considers(PeerFrozen, rejected(s, measure.HeardAgo, frozen(s)))
			f.Advice = []string{
				"Take it out of the pool: its health check is answered and says nothing about the requests that are not.",
				"Look for what only those requests need: one worker, one shard, one dependency.",
			}
			f.carried(s)
		},
	}
}

func halfBroken(s subject) truth {
	v, ok := s.numbers(measure.PendingLate, measure.HeardAgo, measure.LateAfter)
	if !ok {
		return cannotTell
	}
	late, ago, lateAfter := v[0], v[1], v[2]
	if _, known := s.scope.Get(measure.AnswerUsual).Get(); !known {
		return cannotTell // it may be slow by nature
	}
	slow := slowNow(s)
	if slow == cannotTell {
		slow = no // nothing was answered lately but health checks, which close at once
	}
	lossy := s.is(measure.RetransmitsPerConnectionRate, atLeast, lossDegraded) // then it is the way that keeps them
	return isTrue(late >= lateAtLeast && ago < lateAfter).And(slow.Not()).And(lossy.Not())
}

// slowNow: what is answered takes longer than it usually does at its slowest,
// over the last hour and at this hour of the week.
func slowNow(s subject) truth {
	level, _, known := s.slowLevel()
	if !known {
		return cannotTell
	}
	return s.is(measure.AnswerNow, above, level)
}

// slowLevel is from when answers are slow, in seconds, and where that comes
// from. A batch of each night may take its time; where the last hour knows
// better, as after a change, that counts.
func (s subject) slowLevel() (level float64, origin string, known bool) {
	usual, known := s.scope.Get(measure.AnswerUsual).Get()
	_, learned := s.scope.Norm(measure.AnswerSlow)
	level, origin = s.orNorm(measure.AnswerSlow, slowTimes*usual, "twice its usual slowest over the last hour")
	return level, origin, known || learned
}

// orNorm is the level from which a signal is wrong, and where that comes from: a
// floor with its origin, or what was learned of this hour of the week where that
// is higher.
func (s subject) orNorm(sig measure.Signal, floor float64, from string) (level float64, origin string) {
	if norm, learned := s.scope.Norm(sig); learned && norm.High > floor {
		return norm.High, norm.Origin()
	}
	return floor, from
}

// peerSlow: it answers, later than usual.
func peerSlow() causeRule {
	return causeRule{
		cause: PeerSlow,
		triggers: []trigger{
			{condition{"answers come late and take more than twice the usual, for 1 s", time.Second, 3, measure.Established, slow}, Watch},
			{condition{"answers come late and take more than twice the usual, and half of its connections wait, for 1 s", time.Second, 3, measure.Established, both(slow, halfLate)}, Warning},
			{condition{"answers come late and take more than twice the usual, for 30 s", 30 * time.Second, 10, measure.Established, slow}, Warning},
		},
		clear:        condition{"no request waits far longer than usual, for 10 s", 10 * time.Second, 5, measure.Established, is(measure.PendingLate, atMost, 0)},
		supersededBy: []Cause{PeerFrozen, PathLost, HeavyLoss},
		explain: func(s subject, f *Finding) {
			f.Sentence = fmt.Sprintf("%s is slow: answers take %s, usually at most %s s; %.0f of %.0f connections have waited longer than %s.",
				f.Scope.Name, within(s.scope.Get(measure.AnswerNow)), trim(s.value(measure.AnswerUsual)),
				s.value(measure.PendingLate), s.value(measure.Established), inWords(s.value(measure.LateAfter)))
			f.Certainty = Likely
			f.pending(s)
			f.considers(PeerHalfBroken, rejected(s, measure.AnswerNow, slowNow(s).Not()))
			f.considers(HeavyLoss, rejected(s, measure.RetransmitsPerConnectionRate, s.is(measure.RetransmitsPerConnectionRate, atLeast, lossDegraded)))
			f.Advice = []string{
				"Compare with its siblings: if all are slow, what they share is; if it alone, give it less.",
			}
			f.carried(s)
		},
	}
}

func slow(s subject) truth {
	return s.is(measure.PendingLate, atLeast, lateAtLeast).And(slowNow(s))
}

func halfLate(s subject) truth {
	return s.isShare(measure.PendingLate, atLeast, lateShare, measure.Established)
}

// pending shows what is asked of the backend and how it answers.
func (f *Finding) pending(s subject) {
	f.against(s.scope, measure.PendingLate, lateAtLeast, "default")
	f.shows(s.scope, measure.LateAfter, measure.Pending, measure.PendingLongest)
	f.against(s.scope, measure.Silent, frozenSilent, "default")
	if level, origin, known := s.slowLevel(); known {
		f.against(s.scope, measure.AnswerNow, level, origin)
	} else {
		f.shows(s.scope, measure.AnswerNow)
	}
	f.shows(s.scope, measure.AnswerUsual, measure.Established, measure.EstablishedMost, measure.Retransmitting)
}

// within words a time that is known as the upper end of a histogram's bucket.
func within(r measure.Reading) string {
	if r.Validity != measure.Known {
		return "an unknown time"
	}
	return fmt.Sprintf("up to %s s", trim(r.Value))
}

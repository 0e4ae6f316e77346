package measure

import (
	"time"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// Spans and levels of what backends say; measured in the lab
// (docs/SIGNALS.md).
const (
	resentSpan = 5 * time.Second
	// gapSpan is how long a silence is remembered as usual.
	gapSpan = 2 * time.Minute
	// answersSpan is the half of what AnswerNow looks back.
	answersSpan = 5 * time.Second
	// lateLeast, lateTimes: an answer is late after 1 s, or after so many times
	// what its slowest usually take.
	lateLeast = time.Second
	lateTimes = 5
	// lateTimesRegion is the same of a region, where a share of all connections
	// must be late and not three of them: an overloaded minute before teaches
	// seconds, and five times that is never.
	lateTimesRegion = 2
	// lateUnheard is the same of a backend that has not answered since it is
	// known: it may be one that takes its time, as with long polling.
	lateUnheard = 10 * time.Second
	// slowTimes the usual is slow.
	slowTimes = 2.0
	// answersLeast is how many answers a lesson must have to teach; it takes a
	// minute. The first ones are shorter, so that a backend is known soon, and
	// several, so that one slow start is not what it usually takes.
	answersLeast = 20
	firstLesson  = 15 * time.Second
	firstLessons = 4
	// flowsLeast is how much of new connections must have been seen for their
	// median to be usual: it judges churn, a watch.
	flowsLeast = 25 * time.Second
	// aroundHeard: a refused attempt may come just before the last answer of
	// another connection.
	aroundHeard = 500 * time.Millisecond
	// mostSettles is how old the most connections must be to be the own
	// maximum: what grows now is no measure of itself.
	mostSettles = 30 * time.Second
)

// backend is what Measure remembers of a backend.
type backend struct {
	heard time.Time // when anything came last
	// When an attempt of the namespace failed first since then, and the other
	// end of one of its connections reset it; zero for not.
	failed, reset time.Time
	looked        time.Time // when it was looked at last, with tcp_info
	silent        bool      // nothing came since the look before
	// unseen is how much of the silence since then nobody looked: beyond the
	// second that is usual between two looks.
	unseen time.Duration
	owing  time.Time // since when it has owed something and nothing came
	peak   float64   // the longest silence seen since heard, seconds
	gaps   *Window   // past such peaks
	chance *Window   // of each sign: 1 where it was met by chance

	resent, sent, connections *Window
	checks                    checks
	vanished, finished        *Window
	usuallyVanish             usualRate // what is usual of them

	recent [2]Histogram // answers of this stretch of answersSpan and of the one before
	turned time.Time
	// The lesson under way: answers, ends of connections, and the longest that
	// any was seen pending.
	minute   Histogram
	ended    uint32
	longest  time.Duration
	minuteAt time.Time
	usual    baseline // each minute's 99th percentile, seconds
	// first is the slowest answer so far, for as long as no lesson is learned;
	// zero with none.
	first time.Duration

	most    *Window // the most ESTABLISHED of each mostSettles
	mostNow float64
	mostAt  time.Time
}

func newBackend() *backend {
	return &backend{
		gaps: everyLook(gapSpan), chance: everyLook(gapSpan), resent: everyLook(resentSpan), sent: everyLook(resentSpan), connections: everyLook(resentSpan),
		vanished: everyLook(resentSpan), finished: everyLook(resentSpan),
		usuallyVanish: usuallyVanish(), usual: usualAnswers(), most: NewWindow(usualSpan, 128),
	}
}

// takePorts follows how many local ports a backend takes.
func (h *history) takePorts(y *Tally) {
	used := 0
	for state, n := range y.States {
		if tcp.State(state) != tcp.Listen {
			used += int(n)
		}
	}
	used -= int(y.Peer.TimeWaitFree)
	h.set(PortsUsed, float64(used), used)
	h.setIf(y.Capacity.Ports > 0, PortsLimit, float64(y.Capacity.Ports), int(y.Capacity.Ports), NoAbility)
}

// takePeer measures a backend, or a region, from a look at all states.
func (h *history) takePeer(y *Tally, look *tcp.Look) {
	b, p := h.backend, &y.Peer
	info := look.Abilities.Has(tcp.CanInfo) && look.Request.Info
	established := float64(y.States[tcp.Established])
	h.set(ConnectRetrying, float64(p.ConnectRetrying), int(y.States[tcp.SynSent]))
	h.set(CloseWaitLingering, float64(p.Lingering), int(p.Lingering))
	h.set(StuckClosing, float64(y.StuckClosing), int(y.StuckClosing))
	h.takeLeaked(float64(y.Leaked))
	h.takeUsual()
	h.takeMost(established)
	h.takeEnds(y)
	if !info {
		h.unknown(NoAbility, ChecksEvery, Pending, PendingLongest, PendingLate, LateAfter, Answering, HeardAgo, HeardGapUsual, HeardByChance, Silent, AnswerNow, AnswerSlow, AnswerUsual, AnswerHigh, RetransmitsPerConnectionRate, RetransmitShare)
		return
	}
	if y.Scope.Kind == scope.KindBackend {
		h.takeChecks(y)
	}
	h.takeResent(p)
	h.takeAnswers(y)
	high, learned := h.signals.Norm(AnswerSlow)
	h.setIf(learned, AnswerHigh, high.High, high.Minutes, NotEnough)
	times := lateTimes
	if h.region != nil {
		times = lateTimesRegion
	}
	late := b.lateAfter(high.High, learned, times)
	h.set(Pending, float64(y.Pending), int(y.Pending))
	h.set(PendingLongest, p.LongestPending.Seconds(), int(y.Pending))
	habit := !b.usual.relearning(h.now) // nothing is late by a habit that is not known yet
	h.setIf(habit, LateAfter, late.Seconds(), 1, NotEnough)
	h.setIf(habit, PendingLate, float64(y.PendingFor.atLeast(late)), int(y.Pending), NotEnough)
	h.set(Answering, float64(p.Answering), int(y.States[tcp.Established]))
	h.takeSilence(y)
}

// usualLook is the time between two looks at connections where nothing presses.
const usualLook = time.Second

// takeSilence follows what came from the backend, and for how long it has owed
// something.
func (h *history) takeSilence(y *Tally) {
	now := h.now
	b, p := h.backend, &y.Peer
	if p.Answering > 0 || p.Finished > 0 || p.Closed > 0 {
		if !b.heard.IsZero() {
			b.gaps.Add(now, b.peak)
		}
		chance := 0.0
		if p.Finished == 0 && p.Answering <= p.ByChance {
			chance = 1
		}
		b.chance.Add(now, chance)
		heard := now // of Closed: the peer's FIN came since the last look
		if p.Closed == 0 {
			heard = now.Add(-p.HeardAgo)
		}
		b.heard = later(b.heard, heard) // a look may meet what ended long ago
		b.peak, b.owing, b.failed, b.reset, b.unseen = 0, time.Time{}, time.Time{}, time.Time{}, 0
		b.silent = false
	} else if !b.silent {
		b.silent, b.unseen = true, max(0, now.Sub(b.looked)-usualLook)
	}
	b.looked = now
	h.takeSinceHeard()
	owed := y.Pending + y.States[tcp.SynSent] + y.Retransmitting
	switch {
	case owed == 0:
		b.owing = time.Time{}
		h.unknown(NoTraffic, Silent)
	case b.owing.IsZero():
		b.owing = now
	}
	if b.heard.IsZero() {
		h.unknown(NoTraffic, HeardAgo)
		h.unknown(NotEnough, HeardGapUsual, HeardByChance)
	} else {
		ago := now.Sub(b.heard).Seconds()
		b.peak = max(b.peak, ago)
		h.set(HeardAgo, ago, int(p.Answering+p.Finished+p.Closed))
		gap, _ := b.gaps.Most()
		enough := b.gaps.Len() >= 10
		h.setIf(enough, HeardGapUsual, gap, b.gaps.Len(), NotEnough)
		h.setIf(enough, HeardByChance, b.chance.Mean(), b.chance.Len(), NotEnough)
	}
	if owed == 0 {
		return
	}
	silent := now.Sub(later(b.owing, b.heard))
	if !b.heard.IsZero() { // else what came before we looked is not known: long requests are no silence
		silent = max(silent, min(p.LongestPending, now.Sub(b.heard)))
	}
	h.set(Silent, max(silent, 0).Seconds(), int(owed))
}

// takeSinceHeard says how long after the backend was heard last an attempt of
// the namespace failed first, or a connection was reset: at once where its live
// traffic is refused or reset, later where it lay idle or was taken out before.
// On a busy host looks and pulses may be seconds apart: it may well have been
// heard while nobody looked, and the attempt have failed as soon as the counters
// had been read, so that time does not count.
func (h *history) takeSinceHeard() {
	b := h.backend
	for _, e := range []struct {
		signal Signal
		first  *time.Time
		seen   *moments
	}{{FailedAfterHeard, &b.failed, &h.namespace.failed}, {ResetAfterHeard, &b.reset, &h.namespace.reset}} {
		if b.heard.IsZero() {
			h.unknown(NoTraffic, e.signal)
			continue
		}
		if e.first.IsZero() {
			*e.first = e.seen.since(b.heard.Add(-aroundHeard)).after
		}
		if e.first.IsZero() {
			h.unknown(NotSuch, e.signal)
			continue
		}
		h.set(e.signal, max(0, (e.first.Sub(b.heard)-b.unseen).Seconds()), 1)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// takeAnswers follows how long answers take.
func (h *history) takeAnswers(y *Tally) {
	now := h.now
	b, p := h.backend, &y.Peer
	if now.Sub(b.turned) >= answersSpan {
		b.recent[1], b.recent[0], b.turned = b.recent[0], Histogram{}, now
	}
	b.recent[0].addAll(&p.Answers)
	b.minute.addAll(&p.Answers)
	if b.minuteAt.IsZero() {
		b.minuteAt = now
	}
	b.ended += p.Finished
	b.longest = max(b.longest, p.LongestPending)
	if b.usual.past.Len() == 0 && p.Answers.Count()+int(p.Finished) > 0 {
		// Of connections that end with the answer: what is pending while others
		// end takes its time.
		b.first = max(b.first, p.Answers.quantile(1), p.LongestPending, time.Millisecond)
	}
	usual, known := b.lesson()
	if took := now.Sub(b.minuteAt); took >= time.Minute || known && took >= firstLesson && b.usual.past.Len() < firstLessons {
		if known {
			b.usual.learn(now, usual.Seconds())
		}
		b.minute, b.ended, b.longest, b.minuteAt = Histogram{}, 0, 0, now
	}
	both := b.recent[0]
	both.addAll(&b.recent[1])
	n := both.Count()
	h.setIf(n > 0, AnswerNow, both.quantile(0.5).Seconds(), n, NoTraffic)
	h.setIf(n > 0, AnswerSlow, both.quantile(0.99).Seconds(), n, NoTraffic)
	h.setUsual(AnswerUsual, &b.usual)
}

// usualAnswers learns what the slowest answers usually take. A stretch in which
// they take slowTimes that, and are late, is a fault; it takes a few minutes to
// know what is usual.
func usualAnswers() baseline {
	return baseline{
		past: NewWindow(usualSpan, 64), settled: 3 * time.Minute,
		strange: func(slowest, usual float64) bool {
			return slowest > slowTimes*usual && slowest >= lateLeast.Seconds()
		},
	}
}

// usuallyVanish learns how many connections usually end without a trace. Twice
// as many, and one in two seconds, are a fault.
func usuallyVanish() usualRate {
	u := newUsualRate()
	u.settled = 2 * time.Minute
	u.strange = func(rate, usual float64) bool { return rate >= max(0.5, 2*usual) }
	return u
}

// lesson is what the slowest answers took since the lesson began; known once
// it has seen enough. Of connections that are closed with the answer no look
// sees the answer: that none was seen pending for long tells as much.
func (b *backend) lesson() (usual time.Duration, known bool) {
	if b.minute.Count() >= answersLeast {
		return b.minute.quantile(0.99), true
	}
	for _, bound := range histogramBounds {
		if bound > b.longest {
			return bound, b.ended >= answersLeast
		}
	}
	return 0, false
}

// lateAfter is from when an answer is late, one of the histogram's bounds: so
// many times what its slowest usually take. What
// was learned over days of the slowest answers counts where it is larger: every
// night a batch may take its time.
func (b *backend) lateAfter(high float64, learned bool, times int) time.Duration {
	usual := time.Duration(b.usual.median * float64(time.Second))
	least := lateLeast
	if learned {
		least = max(least, time.Duration(high*float64(time.Second)))
	}
	switch {
	case b.usual.past.Len() > 0:
	case b.first == 0:
		least = max(least, lateUnheard)
	default:
		usual = b.first
	}
	wanted := max(least, time.Duration(times)*usual)
	for _, bound := range histogramBounds {
		if bound >= wanted {
			return bound
		}
	}
	return histogramBounds[len(histogramBounds)-1]
}

// takeResent follows retransmissions for each connection.
func (h *history) takeResent(p *Peer) {
	b := h.backend
	b.resent.Count(h.now, float64(p.Resent))
	b.sent.Count(h.now, float64(p.Sent))
	resent, over := b.resent.Change()
	sent, _ := b.sent.Change()
	if over < time.Second {
		h.unknown(NotEnough, RetransmitsPerConnectionRate, RetransmitShare)
		return
	}
	h.set(RetransmitsPerConnectionRate, resent/over.Seconds()/max(1, b.connections.Mean()), int(resent))
	h.setIf(sent > 0, RetransmitShare, resent/sent, int(sent), NoTraffic)
}

// takeEnds follows how connections end.
func (h *history) takeEnds(y *Tally) {
	b := h.backend
	if !y.Flows.Known {
		b.vanished.Reset()
		b.finished.Reset()
	}
	b.vanished.Count(h.now, float64(y.Peer.Vanished))
	b.finished.Count(h.now, float64(y.Peer.Finished))
	h.setRate(VanishedRate, b.vanished)
	h.setRate(FinishedRate, b.finished)
	if h.signals.Readings[VanishedRate].Validity == Known { // else its usual grows stale with it
		h.takeUsualRate(VanishedRate, VanishedUsual, &b.usuallyVanish)
	}
}

// takeMost follows how many connections there are at most.
func (h *history) takeMost(established float64) {
	now := h.now
	b := h.backend
	if b.mostAt.IsZero() {
		b.mostAt = now
	}
	if now.Sub(b.mostAt) >= mostSettles {
		b.most.Add(now, b.mostNow)
		b.mostNow, b.mostAt = 0, now
	}
	b.mostNow = max(b.mostNow, established)
	most, ok := b.most.Most()
	h.setIf(ok, EstablishedMost, most, b.most.Len(), NotEnough)
	b.connections.Add(now, established)
	recent, _ := b.connections.Most()
	h.set(EstablishedRecent, recent, int(recent))
}

package measure

import (
	"time"

	"github.com/foreshock/foreshock/internal/tcp"
)

// hostRates are the host's signals that are the rate of one counter.
var hostRates = [...]struct {
	signal  Signal
	counter tcp.Counter
}{
	{PassiveOpensRate, tcp.PassiveOpens}, {ActiveOpensRate, tcp.ActiveOpens},
	{AttemptFailsRate, tcp.AttemptFails}, {EstabResetsRate, tcp.EstabResets},
	{RetransmittedSegmentsRate, tcp.RetransSegs}, {RetransmissionTimeoutsRate, tcp.TCPTimeouts},
	{ResetsSentRate, tcp.OutRsts}, {ListenOverflowsRate, tcp.ListenOverflows},
	{SyncookiesSentRate, tcp.SyncookiesSent},
}

// counterHistory follows the namespace's counters and the depth of all its
// accept queues together.
type counterHistory struct {
	last   tcp.Counters
	begun  bool
	rates  [len(hostRates)]*Window
	depths *Window
	opened *Window // of rates, that of PassiveOpens
	usual  [len(usualRates)]usualRate
	// failed and reset are when attempts failed, and when the other end reset
	// connections.
	failed, reset moments
	read          time.Time // when the counters were read last
}

// usualRates are the rates whose usual level is followed: what goes wrong at
// one backend is seen against it.
var usualRates = [...]struct{ rate, usual Signal }{
	{AttemptFailsRate, AttemptFailsUsual}, {ResetsReceivedRate, ResetsReceivedUsual}, {ActiveOpensRate, ActiveOpensUsual},
	{RetransmittedSegmentsRate, RetransmittedSegmentsUsual},
}

const (
	usualRateSpan  = 10 * time.Minute
	usualRateEvery = 10 * time.Second
	// usualRateDelay keeps the fault itself out of what is usual.
	usualRateDelay = 3 // samples
)

// usualRate learns what a rate usually is, from means of usualRateEvery that
// wait until they are usualRateDelay old.
type usualRate struct {
	baseline
	fresh []float64
	mean  meanOf
}

func newUsualRate() usualRate {
	return usualRate{baseline: baseline{past: NewWindow(usualRateSpan, int(usualRateSpan/usualRateEvery)+2)}}
}

// takeUsualRate follows what a rate usually is.
func (h *history) takeUsualRate(rate, usual Signal, u *usualRate) {
	if value, known := h.signals.Readings[rate].Get(); known {
		u.take(h.now, value)
	}
	h.setUsual(usual, &u.baseline)
}

func (u *usualRate) take(now time.Time, rate float64) {
	mean, done := u.mean.add(now, rate, usualRateEvery)
	if !done {
		return
	}
	u.fresh = append(u.fresh, mean)
	if len(u.fresh) > usualRateDelay {
		u.learn(now, u.fresh[0])
		u.fresh = append(u.fresh[:0], u.fresh[1:]...)
	}
}

func newCounterHistory() *counterHistory {
	c := &counterHistory{depths: everyLook(rateSpan)}
	for i := range c.rates {
		c.rates[i] = everyLook(rateSpan)
		if hostRates[i].counter == tcp.PassiveOpens {
			c.opened = c.rates[i]
		}
	}
	for i := range c.usual {
		c.usual[i] = newUsualRate()
	}
	return c
}

// take adds one reading. A counter that was reset, or is missing, starts its
// window anew: what happened in between cannot be known.
func (c *counterHistory) take(now time.Time, counters *tcp.Counters, depth uint64) {
	deltas := counters.Since(&c.last)
	for i, r := range hostRates {
		if _, ok := counters.Get(r.counter); !ok {
			c.rates[i].Reset()
			continue
		}
		events, ok := deltas.Get(r.counter)
		if !ok || !c.begun {
			c.rates[i].Reset()
		}
		c.rates[i].Count(now, float64(events))
	}
	c.depths.Add(now, float64(depth))
	if n, ok := deltas.Get(tcp.AttemptFails); ok && c.begun && n > 0 {
		c.failed.add(c.read, now)
	}
	ended, ok := deltas.Get(tcp.EstabResets)
	if sent, alsoOK := deltas.Get(tcp.OutRsts); ok && alsoOK && c.begun && ended > sent {
		c.reset.add(c.read, now)
	}
	c.last, c.begun, c.read = *counters, true, now
}

// signals writes the host's rates.
func (c *counterHistory) signals(host *history) {
	for i, r := range hostRates {
		host.setRate(r.signal, c.rates[i])
	}
	host.takePeerResets()
	host.takeAgo(AttemptFailedAgo, c.failed.last())
	host.takeAgo(ResetReceivedAgo, c.reset.last())
	for i, u := range usualRates {
		host.takeUsualRate(u.rate, u.usual, &c.usual[i])
	}
	drained, over, ok := c.drained()
	host.setIf(ok, AcceptsRate, drained/over.Seconds(), int(drained), NotEnough)
}

// takePeerResets works out how many connections the other end has reset. The
// kernel counts one that we abort just so (tcp_set_state, net/ipv4/tcp.c), but
// then sends the reset itself.
func (h *history) takePeerResets() {
	ended, sent := h.signals.Readings[EstabResetsRate], h.signals.Readings[ResetsSentRate]
	if ended.Validity != Known || sent.Validity != Known {
		h.unknown(NotEnough, ResetsReceivedRate)
		return
	}
	h.set(ResetsReceivedRate, max(0, ended.Value-sent.Value), max(0, ended.Samples-sent.Samples))
}

func (h *history) takeAgo(sig Signal, at time.Time) {
	if at.IsZero() {
		h.unknown(NotEnough, sig)
		return
	}
	h.set(sig, h.now.Sub(at).Seconds(), 1)
}

// minDrain is the least time over which a drain rate means something.
const minDrain = time.Second

// drained is how many connections left all accept queues together over the
// window: those the kernel put in (PassiveOpens) less the growth of the
// queues. Negative readings, from a listener that closed with a full queue,
// count as none.
func (c *counterHistory) drained() (events float64, over time.Duration, ok bool) {
	put, over := c.opened.Change()
	grown, _ := c.depths.Change()
	if over < minDrain {
		return 0, 0, false
	}
	return max(0, put-grown), over, true
}

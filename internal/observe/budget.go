package observe

import (
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/tcp"
)

// The budget's spans and shares.
const (
	// budgetSpan is the mean over which the budget is kept.
	budgetSpan = 10 * time.Second
	// leastFree is what looks beyond the pulse get of the budget, as a share of
	// it, when pulses and overhead alone use it up.
	leastFree = 0.10
	// leastFirst is the same where a namespace beside our own has backends: that
	// is a whole look of ten such each second.
	leastFirst = 0.15
	// pulseShare is how much of what the overhead leaves the pulses of the other
	// namespaces may take before they stretch.
	pulseShare = 0.5
	// SlowestPulse is the longest interval between two pulses of one namespace.
	// With the time a wake-up may be late it keeps a pulse younger than 2 s.
	SlowestPulse = 1850 * time.Millisecond
	// keptBack is the share of what is free that those who come first leave to
	// those behind them.
	keptBack = 0.25
	// spentEvery is the least time between two entries of what was spent.
	spentEvery = 100 * time.Millisecond
	// divideEvery is how often the shares of many namespaces are worked out
	// anew; a single one has everything at once.
	divideEvery = 250 * time.Millisecond
	// walkTimes: a full look that costs less than so many walks of the host's
	// hash table has little to filter out of.
	walkTimes = 2
)

// Use is what somebody uses of a namespace; the more it is, the sooner the
// namespace's turn comes.
type Use uint8

// The uses. The zero value is none.
const (
	Unused Use = iota
	// Services of it have connections.
	Services
	// Backends are asked from it: what they do is over in a second or two, as a
	// balancer takes one that refuses out of its rotation.
	Backends
)

// Budget divides the processor time that the whole process may use among the
// namespaces it reads, one [Schedule] each, and says whose turn it is. It is a
// pure value: times are arguments.
//
//	b := observe.NewBudget(0.01)
//	own, shop := b.Add(), b.Add()   // the first is the host's own namespace
//	s, tier, at := b.Next(now)      // sleep until at, then look
//	s.Looked(tier, began, cost)     // what it cost
//	b.Spent(now, processCPU)        // all the process has used so far
//
// The first namespace's pulse keeps its 4 Hz. Those of the others stretch, up to
// [SlowestPulse], once they cost half of the budget, and those of namespaces
// with [Backends] last; beyond that they overdraw it rather than go blind. What
// remains is shared by need: first where a finding is suspected, then by [Use],
// most of it first, and each keeps a quarter for those behind it; within each
// of these nobody gets more while another wants what is less. With a single
// namespace everything is its own.
type Budget struct {
	share     float64 // of one core
	schedules []*Schedule
	// overhead is the learned share of one core spent on anything but looks.
	overhead float64
	pulses   float64    // share of one core the pulses take at their intervals
	free     float64    // share of one core for all looks but the pulses
	least    float64    // of free, as a share of the budget
	spent    []spending // a ring over budgetSpan
	looked   time.Duration
	rested   time.Duration // by looks that are no pulses
	walk     time.Duration // the cheapest full look: little more than the walk of the hash table
	closer   time.Time     // until when suspicion may spend more
	glance   time.Time     // until when a glance may
	restAt   time.Time     // when the other namespaces have paid for their last look
	divided  time.Time
	dirty    bool
	rank     []*Schedule // for divide
	// pulsing are those whose pulses are due at once: one pass over all
	// namespaces serves them all.
	pulsing []*Schedule
	credit  credit
	// Until when looks wait for the mean to come down, by whether they are made
	// under suspicion, as worked out at waitsAt.
	waits   [2]time.Time
	waitsAt [2]time.Time
}

// spending is the processor time used up to an instant: by all, by looks, by
// those that are no pulses, and out of the credit, which makes nobody wait.
type spending struct {
	at                       time.Time
	all, looks, rest, credit time.Duration
}

// NewBudget returns a Budget of that share of one core, 0.01 for 1 %, and no
// namespaces.
func NewBudget(share float64) *Budget { return &Budget{share: share, least: leastFree} }

// SetShare changes the budget; what was learned stays.
func (b *Budget) SetShare(share float64) {
	b.share = share
	b.divide()
}

// Share is the budget, as a share of one core.
func (b *Budget) Share() float64 { return b.share }

// Add returns the schedule of one more namespace. Every tier of the first one
// is due at once; the others begin with a pulse, and look whole when their
// turn comes.
func (b *Budget) Add() *Schedule {
	s := &Schedule{budget: b, own: len(b.schedules) == 0}
	b.schedules = append(b.schedules, s)
	s.tiers[tcp.Pulse].interval = PulseInterval
	s.free = b.share * leastFree
	s.plan()
	b.changed()
	return s
}

// Remove takes a namespace's schedule out.
func (b *Budget) Remove(s *Schedule) {
	gone := func(x *Schedule) bool { return x == s }
	b.schedules, b.pulsing = slices.DeleteFunc(b.schedules, gone), slices.DeleteFunc(b.pulsing, gone)
	b.changed()
}

// changed: the shares are to be worked out anew.
func (b *Budget) changed() {
	if len(b.schedules) == 1 {
		b.divide()
		return
	}
	b.dirty = true
}

// Next returns whose turn it is, with which tier, and when. There must be a
// schedule. Pulses of other namespaces that are due soon come at once, so that
// one wake-up serves many.
func (b *Budget) Next(now time.Time) (*Schedule, tcp.Tier, time.Time) {
	if b.dirty && now.Sub(b.divided) >= divideEvery {
		b.divided = now
		b.divide()
	}
	present := now.UnixNano()
	for n := len(b.pulsing); n > 0; n-- {
		s := b.pulsing[n-1]
		b.pulsing = b.pulsing[:n-1]
		if s.pulseFrom() <= present {
			return s, tcp.Pulse, now
		}
	}
	var best *Schedule
	var tier tcp.Tier
	var when int64
	for _, s := range b.schedules {
		at := s.pulseAt
		if at > present && s.pulseFrom() <= present {
			at = present
		}
		if at <= present {
			b.pulsing = append(b.pulsing, s)
		}
		if best == nil || at < when {
			best, tier, when = s, tcp.Pulse, at
		}
	}
	if len(b.pulsing) > 1 {
		s := b.pulsing[len(b.pulsing)-1]
		b.pulsing = b.pulsing[:len(b.pulsing)-1]
		return s, tcp.Pulse, now
	}
	b.pulsing = b.pulsing[:0]
	for _, s := range b.schedules {
		if s.looksCloser && !s.suspected(now) {
			s.extra = 0
			s.planAt(now)
		}
		at := s.restAt
		if s.restTier == tcp.NoTier || at >= when {
			continue
		}
		// Only now is it worth knowing whether the budget allows it.
		closer := s.closer(now)
		at = max(at, nanoseconds(b.wait(now, closer || s.first())))
		if !s.own && !closer && s.use != Backends {
			at = max(at, nanoseconds(b.restAt))
		}
		if at < when || at == when && tier != tcp.Pulse && s.use > best.use {
			best, tier, when = s, s.restTier, at
		}
	}
	if when <= present {
		return best, tier, now
	}
	return best, tier, now.Add(time.Duration(when - present))
}

// waitEvery is how often the wait for the budget is worked out anew where there
// are many namespaces to ask.
const waitEvery = 100 * time.Millisecond

// wait is until when looks other than pulses wait for the budget.
func (b *Budget) wait(now time.Time, closer bool) time.Time {
	i, allowed := 0, b.allowed()
	if closer {
		i, allowed = 1, max(allowed, suspectShare)
	}
	if len(b.schedules) == 1 || b.waitsAt[i].IsZero() || now.Sub(b.waitsAt[i]) >= waitEvery {
		b.waitsAt[i], b.waits[i] = now, time.Time{}
		if over := b.overdrawn(now, closer, allowed); over > 0 {
			b.waits[i] = now.Add(over)
		}
	}
	return b.waits[i]
}

// allowed is the share of one core that the mean may reach: the budget, or
// what the pulses and the overhead take anyway and the least of the rest.
func (b *Budget) allowed() float64 {
	if len(b.schedules) == 1 {
		return b.share
	}
	return max(b.share, b.overhead+b.pulses+b.share*b.least)
}

// overdrawn is how long to wait until the mean over the last 10 s is within
// what is allowed again; zero when it is. A look counts as spread over its
// tier's interval: one full look at 100,000 sockets is all of 10 s' budget, and
// focus must not go blind for that.
func (b *Budget) overdrawn(now time.Time, closer bool, allowed float64) time.Duration {
	if len(b.spent) < 2 {
		return 0
	}
	first, last := b.spent[0], b.spent[len(b.spent)-1]
	all, paid := last.all-first.all, last.credit-first.credit
	if closer {
		paid = 0 // what bounds them is on all there is
	}
	excess := float64(all-paid) - allowed*float64(budgetSpan)
	if len(b.schedules) > 1 && !closer {
		// However much pulses and the rest of us take, more than was planned for
		// them too, these looks get what is theirs.
		excess = min(excess, float64(last.rest-first.rest-paid)-b.free*float64(budgetSpan))
	}
	for _, s := range b.schedules {
		if excess <= 0 {
			return 0
		}
		for _, t := range [...]tcp.Tier{tcp.Focus, tcp.Odd, tcp.Full} {
			p := &s.tiers[t]
			if ago := now.Sub(p.looked); !p.looked.IsZero() && ago < p.interval {
				excess -= float64(p.cost) * (1 - ago.Seconds()/p.interval.Seconds())
			}
		}
	}
	if excess <= 0 {
		return 0
	}
	return min(time.Duration(excess/allowed), budgetSpan)
}

// noteLook is what a schedule tells of each of its looks; first is what it said
// before.
func (b *Budget) noteLook(s *Schedule, t tcp.Tier, began time.Time, cost time.Duration, first bool) {
	b.looked += cost
	if t != tcp.Pulse {
		b.rested += cost
	}
	if t != tcp.Pulse && (first || s.closer(began)) {
		b.credit.pay(cost, b.share)
	}
	if t == tcp.Full && (b.walk == 0 || cost < b.walk) {
		b.walk = cost
	}
	// The looks of many namespaces are spread out, so that those that were all
	// found at once do not look all at once. Those with backends come when they
	// are due, and the others wait for what that took.
	free := b.free
	if first {
		free = max(free, b.share/2)
	}
	if t != tcp.Pulse && !s.own && !s.closer(began) && free > 0 {
		b.restAt = later(b.restAt, began).Add(time.Duration(float64(cost) / free))
	}
	b.changed()
}

// Spent records the processor time the process has used since its start.
func (b *Budget) Spent(now time.Time, process time.Duration) {
	b.credit.grow(now, b.share)
	if n := len(b.spent); n > 2 && now.Sub(b.spent[n-2].at) < spentEvery {
		b.spent[n-1] = spending{now, process, b.looked, b.rested, b.credit.paid} // many looks a second: one entry for some of them
	} else {
		b.spent = append(b.spent, spending{now, process, b.looked, b.rested, b.credit.paid})
	}
	drop := 0
	for drop < len(b.spent)-2 && now.Sub(b.spent[drop+1].at) >= budgetSpan {
		drop++
	}
	if drop > 0 {
		b.spent = b.spent[:copy(b.spent, b.spent[drop:])]
	}
	first := b.spent[0]
	if over := now.Sub(first.at); over >= time.Second {
		rest := (process - first.all) - (b.looked - first.looks)
		b.overhead = max(0, float64(rest)/float64(over))
		b.changed()
	}
}

// Pause is how long something that every namespace does, at this cost each,
// must wait until it is done again to stay within that part of the budget.
func (b *Budget) Pause(cost time.Duration, part float64) time.Duration {
	return time.Duration(float64(cost) * float64(max(1, len(b.schedules))) / (b.share * part))
}

// Used is the process's share of one core over the last 10 s.
func (b *Budget) Used() float64 {
	if len(b.spent) < 2 {
		return 0
	}
	first, last := b.spent[0], b.spent[len(b.spent)-1]
	return float64(last.all-first.all) / float64(last.at.Sub(first.at))
}

// now is the last instant the budget was told of.
func (b *Budget) now() time.Time {
	if len(b.spent) == 0 {
		return time.Time{}
	}
	return b.spent[len(b.spent)-1].at
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

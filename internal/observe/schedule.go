package observe

import (
	"math"
	"time"

	"github.com/foreshock/foreshock/internal/tcp"
)

// Intervals of the tiers when nothing presses.
const (
	PulseInterval   = 250 * time.Millisecond
	FocusInterval   = time.Second
	SuspectInterval = 250 * time.Millisecond
	OddInterval     = time.Second
	FullInterval    = 30 * time.Second // where the budget allows; at best FastFull
	FastFull        = time.Second
)

// Shares and spans of the budget.
const (
	// suspectShare is what focus may spend while a finding is suspected, at
	// most suspectSpan long, as a share of one core.
	suspectShare = 0.03
	suspectSpan  = 30 * time.Second
	// glanceSpan is the same for a jump of the counters, which may be nothing;
	// at most every glanceEvery.
	glanceSpan  = 3 * time.Second
	glanceEvery = 15 * time.Second
	// Under pressure full stretches first, then odd, then focus; none starves:
	// full keeps a tenth of what is left beside the pulse, odd a quarter.
	fullFloor = 0.10
	oddFloor  = 0.25
	// coveredShare of what is free may go to full looks each second, which then
	// are all there is.
	coveredShare = 0.9
	// costWeight is the share of a new measurement in a learned cost.
	costWeight = 0.3
	// A focus or odd look that costs this share of a full one is not worth its
	// filter: when time is short focus has that share of it, so full looks with
	// all of it come as often. relearnAfter is when that is tried again.
	filterWorth  = 1 - fullFloor - oddFloor
	relearnAfter = 5 * time.Minute
	// maxStretch is the longest interval; a reading that old is of little use
	// to anyone.
	maxStretch = 30 * time.Minute
)

// Schedule decides which tier of one namespace looks next, within its share of
// a [Budget], which makes it. It is a pure value: times are arguments.
type Schedule struct {
	budget *Budget
	own    bool // the host's own namespace: the first of the budget
	tiers  [tcp.NumTiers]plan
	// wants is the share of one core that looks beyond the pulse ask for, free
	// what they got of it, extra what focus gets on top while suspicion lasts.
	wants, free, extra float64
	suspect            time.Time // until when focus looks closer, for a suspicion
	glance             time.Time // the same for a jump of the counters
	focusing           bool      // there is something to focus on
	use                Use       // what somebody uses of it
	idle               bool      // neither listeners nor sockets
	hurried            bool      // full was brought forward
	covered            bool      // full runs so often that focus and odd need not
	merged             bool      // focus costs what full does, so full takes its place
	oddMerged          bool      // and so does odd
	looksCloser        bool      // focus has the interval of suspicion
	// What is due, as settle worked it out; restTier is NoTier when only the
	// pulse looks.
	pulseAt, restAt int64 // nanoseconds since 1970, beginning for at once
	restTier        tcp.Tier
}

type plan struct {
	last     time.Time     // when something saw what this tier sees
	looked   time.Time     // when it looked itself
	cost     time.Duration // learned; zero before the first look
	interval time.Duration // in use
}

// SetFocusing says whether there are scopes to focus on. What a look at them
// costs is learned anew: they may be others than before.
func (s *Schedule) SetFocusing(focusing bool) {
	s.focusing = focusing
	s.tiers[tcp.Focus].cost = 0
	s.budget.changed()
}

// SetUse says what somebody uses of the namespace.
func (s *Schedule) SetUse(use Use) {
	if use != s.use {
		s.use = use
		s.budget.changed()
	}
}

// SetIdle says whether the namespace has neither a listener nor a socket.
// Then only its pulse looks, as seldom as a pulse may. The host's own is never
// idle.
func (s *Schedule) SetIdle(idle bool) {
	if idle != s.idle && !s.own {
		s.idle = idle
		s.budget.changed()
	}
}

// Idle reports whether only the pulse looks.
func (s *Schedule) Idle() bool { return s.idle }

// Suspect lets focus look closer for the next 30 s. A suspicion that lasts
// longer does not prolong it; one that comes back later does.
func (s *Schedule) Suspect(now time.Time) {
	if now.Sub(s.suspect) > suspectSpan {
		s.suspect = now.Add(suspectSpan)
		// One namespace after the other must not keep the process above its
		// budget for good: who comes late shares what is left of the span.
		if b := s.budget; now.Sub(b.closer) > suspectSpan {
			b.closer = s.suspect
		}
		s.budget.changed()
		if s.extra == 0 {
			s.extra = suspectShare // until the shares are worked out anew
			s.planAt(now)
		}
	}
}

// Glance lets focus look closer for 3 s: the counters say that something went
// wrong somewhere.
func (s *Schedule) Glance(now time.Time) {
	if now.Sub(s.glance) <= glanceEvery {
		return
	}
	s.glance = now.Add(glanceSpan)
	if b := s.budget; now.Sub(b.glance) > glanceEvery {
		b.glance = s.glance
	}
	s.budget.changed()
	if s.extra == 0 {
		s.extra = suspectShare // until the shares are worked out anew
		s.planAt(now)
	}
}

// suspected reports whether focus has a reason to look closer at now.
func (s *Schedule) suspected(now time.Time) bool {
	return now.Before(s.suspect) || now.Before(s.glance)
}

// closer reports whether that may spend beyond the budget.
func (s *Schedule) closer(now time.Time) bool {
	b := s.budget
	return now.Before(s.suspect) && now.Before(b.closer) && b.credit.suspicion(b.share) || now.Before(s.glance) && now.Before(b.glance) && b.credit.glance(b.share)
}

// first reports whether another namespace than our own waits for its first whole
// look, which the credit pays for: until then little is known of it.
func (s *Schedule) first() bool {
	b := s.budget
	return !s.own && !s.idle && s.tiers[tcp.Full].last.IsZero() && b.credit.first(b.share)
}

// Hurry brings the next full look forward, as far as the budget allows.
func (s *Schedule) Hurry() {
	s.hurried = true
	s.settle()
}

// Interval returns the interval in use; Wanted the one with no pressure; Cost
// the learned processor time of a look.
func (s *Schedule) Interval(t tcp.Tier) time.Duration { return s.tiers[t].interval }

// Cost returns the learned processor time of one look of that tier.
func (s *Schedule) Cost(t tcp.Tier) time.Duration { return s.tiers[t].cost }

// Seen is when something last saw what the tier sees: itself, or a full look.
func (s *Schedule) Seen(t tcp.Tier) time.Time { return s.tiers[t].last }

// Covered reports whether the tier is left out because full looks take its
// place: they are as often, or cost no more.
func (s *Schedule) Covered(t tcp.Tier) bool {
	return s.covered && (t == tcp.Focus || t == tcp.Odd) || s.merged && t == tcp.Focus || s.oddMerged && t == tcp.Odd
}

// Rests reports whether the tier does not look of itself: it has nothing to see,
// or is Covered.
func (s *Schedule) Rests(t tcp.Tier) bool { return t == tcp.Focus && !s.focusing || s.Covered(t) }

// Wanted returns a tier's interval when nothing presses.
func Wanted(t tcp.Tier) time.Duration {
	switch t {
	case tcp.Pulse:
		return PulseInterval
	case tcp.Focus:
		return FocusInterval
	case tcp.Odd:
		return OddInterval
	case tcp.Full:
		return FullInterval
	}
	return 0
}

// settle works out what is due, and when: the pulse, and the first of the
// other tiers.
func (s *Schedule) settle() {
	s.pulseAt = nanoseconds(s.due(tcp.Pulse))
	s.restTier = tcp.NoTier
	s.looksCloser = s.tiers[tcp.Focus].interval < FocusInterval
	if !s.own && (s.idle || s.tiers[tcp.Pulse].last.IsZero()) {
		return
	}
	for _, t := range [...]tcp.Tier{tcp.Focus, tcp.Odd, tcp.Full} {
		if s.Rests(t) {
			continue
		}
		if !s.own && t != tcp.Full && s.tiers[tcp.Full].last.IsZero() {
			continue // a whole look first: it tells what the others are worth
		}
		if due := nanoseconds(s.due(t)); s.restTier == tcp.NoTier || due < s.restAt {
			s.restTier, s.restAt = t, due
		}
	}
}

// beginning is before every instant there is to look at.
const beginning = math.MinInt64

// nanoseconds is an instant that hundreds can be compared of in no time; the
// zero time is the beginning.
func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return beginning
	}
	return t.UnixNano()
}

// pulseFrom is when the pulse may come at the earliest, and slack how much earlier than due a pulse of another namespace may come, to
// share a wake-up: a stretched one always finds our own pulse to go with.
func (s *Schedule) pulseFrom() int64 {
	if s.own || s.pulseAt == beginning {
		return s.pulseAt
	}
	return s.pulseAt - int64(s.slack())
}

func (s *Schedule) slack() time.Duration {
	interval := s.tiers[tcp.Pulse].interval
	if interval >= 4*PulseInterval {
		return PulseInterval
	}
	return interval / 4
}

func (s *Schedule) due(t tcp.Tier) time.Time {
	p := &s.tiers[t]
	if p.last.IsZero() {
		return p.last
	}
	interval := p.interval
	if t == tcp.Full && s.hurried {
		interval = min(interval, max(FastFull, s.pause(p.cost)))
	}
	return p.last.Add(interval)
}

// pause is how long the budget needs to earn a cost, when half of it may go
// there.
func (s *Schedule) pause(cost time.Duration) time.Duration {
	if s.own {
		return time.Duration(float64(cost) / (s.budget.share / 2))
	}
	return time.Duration(float64(cost) / max(s.free, s.budget.free/2))
}

// Looked records a look that began at began.
func (s *Schedule) Looked(t tcp.Tier, began time.Time, cost time.Duration) {
	p, first := &s.tiers[t], s.first()
	p.last, p.looked = began, began
	if p.cost == 0 {
		p.cost = max(cost, 1)
	} else {
		p.cost += time.Duration(costWeight * float64(cost-p.cost))
	}
	if t == tcp.Full {
		s.hurried = false
		s.tiers[tcp.Odd].last = began
		if s.focusing {
			s.tiers[tcp.Focus].last = began
			if focus := &s.tiers[tcp.Focus]; s.merged && began.Sub(focus.looked) > relearnAfter {
				focus.cost = 0
			}
		}
		// Where there is something to focus on, its filter tells for both.
		if odd := &s.tiers[tcp.Odd]; s.oddMerged && !s.focusing && began.Sub(odd.looked) > relearnAfter {
			odd.cost = 0
		}
		s.assume(began)
	}
	s.budget.noteLook(s, t, began, cost, first)
	if len(s.budget.schedules) > 1 {
		s.planAt(began)
	}
}

// assume sets what focus and odd would cost in a namespace whose whole look is
// little more than the walk of the host's hash table, which they make too:
// trying it in hundreds of namespaces would cost more than it could save.
func (s *Schedule) assume(now time.Time) {
	full := s.tiers[tcp.Full].cost
	if s.own || full > walkTimes*s.budget.walk {
		return
	}
	for _, t := range [...]tcp.Tier{tcp.Focus, tcp.Odd} {
		if p := &s.tiers[t]; p.cost == 0 {
			p.cost, p.looked = full, now
		}
	}
}

// takes is the share of one core that looks of a tier at an interval cost.
func (s *Schedule) takes(t tcp.Tier, every time.Duration) float64 {
	return s.tiers[t].cost.Seconds() / every.Seconds()
}

// need is the share of one core that looks beyond the pulse would like.
func (s *Schedule) need(now time.Time) float64 {
	if s.idle {
		return 0
	}
	full := s.takes(tcp.Full, FastFull)
	if s.tiers[tcp.Full].cost == 0 {
		full = s.budget.walk.Seconds() / FastFull.Seconds()
	}
	apart := full + s.takes(tcp.Odd, OddInterval)
	if s.focusing {
		every := FocusInterval
		if s.suspected(now) {
			every = SuspectInterval
		}
		apart += s.takes(tcp.Focus, every)
	}
	return min(apart, full/coveredShare)
}

func (s *Schedule) plan() { s.planAt(s.budget.now()) }

// planAt divides the namespace's share among its tiers.
func (s *Schedule) planAt(now time.Time) {
	s.divide(now)
	s.settle()
}

func (s *Schedule) divide(now time.Time) {
	cost := func(t tcp.Tier) float64 { return s.tiers[t].cost.Seconds() }
	share := s.takes
	stretch := func(t tcp.Tier, share float64, least time.Duration) {
		interval := maxStretch
		if share > 0 && cost(t)/share < maxStretch.Seconds() {
			interval = time.Duration(cost(t) / share * float64(time.Second))
		}
		s.tiers[t].interval = max(interval, least)
		if cost(t) == 0 {
			s.tiers[t].interval = least
		}
	}
	free := s.free
	focusWants, focusLeast := 0.0, FocusInterval
	if s.focusing {
		focusWants = share(tcp.Focus, FocusInterval)
	}
	oddWants := share(tcp.Odd, OddInterval)

	// A small host: a full look each second costs less than it may, so it is
	// all there is to do.
	suspecting := s.suspected(now) && s.extra > 0
	s.merged, s.oddMerged = false, false
	if cost(tcp.Full) > 0 && share(tcp.Full, FastFull) <= coveredShare*free && !suspecting {
		s.covered = true
		s.tiers[tcp.Full].interval = FastFull
		s.tiers[tcp.Focus].interval, s.tiers[tcp.Odd].interval = FastFull, FastFull
		return
	}
	s.covered = false
	// Most sockets belong to the services in use: a look at them all costs no
	// more than the filter, and sees the rest as well. Beside many sockets of
	// other namespaces the walk is all the cost there is, and odd gains nothing
	// either.
	dear := func(t tcp.Tier) bool {
		return cost(t) > 0 && cost(tcp.Full) > 0 && cost(t) >= filterWorth*cost(tcp.Full)
	}
	s.merged = s.focusing && dear(tcp.Focus)
	s.oddMerged = dear(tcp.Odd) && (s.merged || !s.focusing)
	if s.merged || s.oddMerged {
		fullShare := free
		if !s.oddMerged {
			oddShare := min(oddWants, oddFloor*free)
			stretch(tcp.Odd, oddShare, OddInterval)
			fullShare -= oddShare
		}
		fullLeast := FocusInterval
		if suspecting {
			fullShare, fullLeast = max(fullShare, s.extra), SuspectInterval
		}
		stretch(tcp.Full, fullShare, fullLeast)
		if s.merged {
			s.tiers[tcp.Focus].interval = s.tiers[tcp.Full].interval
		}
		if s.oddMerged {
			s.tiers[tcp.Odd].interval = s.tiers[tcp.Full].interval
		}
		return
	}
	fullShare := min(share(tcp.Full, FastFull), max(free-focusWants-oddWants, fullFloor*free))
	stretch(tcp.Full, fullShare, FastFull)
	oddShare := min(oddWants, max(free-fullShare-focusWants, oddFloor*free))
	stretch(tcp.Odd, oddShare, OddInterval)
	focusShare := free - fullShare - oddShare
	if suspecting {
		focusShare, focusLeast = max(focusShare, s.extra), SuspectInterval
	}
	stretch(tcp.Focus, focusShare, focusLeast)
}

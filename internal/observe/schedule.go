package observe

import (
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
	// budgetSpan is the mean over which the budget is kept.
	budgetSpan = 10 * time.Second
	// costWeight is the share of a new measurement in a learned cost.
	costWeight = 0.3
	// A focus look that costs this share of a full one is not worth its
	// filter. relearnAfter is when that is tried again.
	focusWorth   = 0.9
	relearnAfter = 5 * time.Minute
	// maxStretch is the longest interval; a reading that old is of little use
	// to anyone.
	maxStretch = 30 * time.Minute
)

// Schedule decides which tier looks next so that the processor time of the
// whole process stays within its budget. It is a pure value: times are
// arguments.
//
//	tier, at := s.Next(now)      // sleep until at, then look
//	s.Looked(tier, began, cost)  // what it cost
//	s.Spent(now, processCPU)     // all the process has used so far
type Schedule struct {
	budget float64 // share of one core
	tiers  [tcp.NumTiers]plan
	// overhead is the learned share of one core spent on anything but looks.
	overhead float64
	spent    []spending // a ring over budgetSpan
	looked   time.Duration
	suspect  time.Time // until when focus looks closer, for a suspicion
	glance   time.Time // the same for a jump of the counters
	focusing bool      // there is something to focus on
	hurried  bool      // full was brought forward
	covered  bool      // full runs so often that focus and odd need not
	merged   bool      // focus costs what full does, so full takes its place
}

type plan struct {
	last     time.Time     // when something saw what this tier sees
	looked   time.Time     // when it looked itself
	cost     time.Duration // learned; zero before the first look
	interval time.Duration // in use
}

// spending is the processor time used up to an instant: by all, and by looks.
type spending struct {
	at         time.Time
	all, looks time.Duration
}

// NewSchedule returns a Schedule with a budget as a share of one core, 0.01
// for 1 %. Every tier is due at once.
func NewSchedule(budget float64) *Schedule {
	s := &Schedule{budget: budget}
	s.plan()
	return s
}

// SetBudget changes the budget; what was learned stays.
func (s *Schedule) SetBudget(budget float64) {
	s.budget = budget
	s.plan()
}

// SetFocusing says whether there are scopes to focus on. What a look at them
// costs is learned anew: they may be others than before.
func (s *Schedule) SetFocusing(focusing bool) {
	s.focusing = focusing
	s.tiers[tcp.Focus].cost = 0
	s.plan()
}

// Suspect lets focus look closer for the next 30 s. A suspicion that lasts
// longer does not prolong it; one that comes back later does.
func (s *Schedule) Suspect(now time.Time) {
	if now.Sub(s.suspect) > suspectSpan {
		s.suspect = now.Add(suspectSpan)
		s.plan()
	}
}

// Glance lets focus look closer for 3 s: the counters say that something went
// wrong somewhere.
func (s *Schedule) Glance(now time.Time) {
	if now.Sub(s.glance) > glanceEvery {
		s.glance = now.Add(glanceSpan)
		s.plan()
	}
}

// closer reports whether focus looks closer at an instant.
func (s *Schedule) closer(now time.Time) bool { return now.Before(s.suspect) || now.Before(s.glance) }

// Hurry brings the next full look forward, as far as the budget allows.
func (s *Schedule) Hurry() { s.hurried = true }

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
	return s.covered && (t == tcp.Focus || t == tcp.Odd) || s.merged && t == tcp.Focus
}

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

// Next returns the tier to look with next, and when.
func (s *Schedule) Next(now time.Time) (tcp.Tier, time.Time) {
	if !s.closer(now) && s.tiers[tcp.Focus].interval < FocusInterval {
		s.plan()
	}
	best, when := tcp.Pulse, s.due(tcp.Pulse)
	for _, t := range []tcp.Tier{tcp.Focus, tcp.Odd, tcp.Full} {
		if t == tcp.Focus && !s.focusing || s.Covered(t) {
			continue
		}
		due := s.due(t)
		if over := s.overdrawn(now); over > 0 && t != tcp.Pulse {
			due = later(due, now.Add(over))
		}
		if due.Before(when) {
			best, when = t, due
		}
	}
	return best, later(when, now)
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
	return time.Duration(float64(cost) / (s.budget / 2))
}

// overdrawn is how long to wait until the mean over the last 10 s is within
// the budget again; zero when it is. A look counts as spread over its tier's
// interval: one full look at 100,000 sockets is all of 10 s' budget, and focus
// must not go blind for that.
func (s *Schedule) overdrawn(now time.Time) time.Duration {
	allowed := s.budget
	if s.closer(now) {
		allowed = max(allowed, suspectShare)
	}
	if len(s.spent) < 2 {
		return 0
	}
	first, last := s.spent[0], s.spent[len(s.spent)-1]
	excess := float64(last.all-first.all) - allowed*float64(budgetSpan)
	for _, t := range []tcp.Tier{tcp.Focus, tcp.Odd, tcp.Full} {
		p := &s.tiers[t]
		if ago := now.Sub(p.looked); !p.looked.IsZero() && ago < p.interval {
			excess -= float64(p.cost) * (1 - ago.Seconds()/p.interval.Seconds())
		}
	}
	if excess <= 0 {
		return 0
	}
	return min(time.Duration(excess/allowed), budgetSpan)
}

// Looked records a look that began at began.
func (s *Schedule) Looked(t tcp.Tier, began time.Time, cost time.Duration) {
	p := &s.tiers[t]
	p.last, p.looked = began, began
	if p.cost == 0 {
		p.cost = max(cost, 1)
	} else {
		p.cost += time.Duration(costWeight * float64(cost-p.cost))
	}
	s.looked += cost
	if t == tcp.Full {
		s.hurried = false
		s.tiers[tcp.Odd].last = began
		if s.focusing {
			s.tiers[tcp.Focus].last = began
			if focus := &s.tiers[tcp.Focus]; s.merged && began.Sub(focus.looked) > relearnAfter {
				focus.cost = 0
			}
		}
	}
	s.plan()
}

// Spent records the processor time the process has used since its start.
func (s *Schedule) Spent(now time.Time, process time.Duration) {
	s.spent = append(s.spent, spending{now, process, s.looked})
	drop := 0
	for drop < len(s.spent)-2 && now.Sub(s.spent[drop+1].at) >= budgetSpan {
		drop++
	}
	s.spent = append(s.spent[:0], s.spent[drop:]...)
	first := s.spent[0]
	if over := now.Sub(first.at); over >= time.Second {
		rest := (process - first.all) - (s.looked - first.looks)
		s.overhead = max(0, float64(rest)/float64(over))
		s.plan()
	}
}

// Used is the process's share of one core over the last 10 s.
func (s *Schedule) Used() float64 {
	if len(s.spent) < 2 {
		return 0
	}
	first, last := s.spent[0], s.spent[len(s.spent)-1]
	return float64(last.all-first.all) / float64(last.at.Sub(first.at))
}

// plan divides what the budget leaves beside the pulse and the overhead.
func (s *Schedule) plan() {
	cost := func(t tcp.Tier) float64 { return s.tiers[t].cost.Seconds() }
	share := func(t tcp.Tier, every time.Duration) float64 { return cost(t) / every.Seconds() }
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
	s.tiers[tcp.Pulse].interval = PulseInterval
	free := max(s.budget/20, s.budget-s.overhead-share(tcp.Pulse, PulseInterval))

	focusWants, focusLeast := 0.0, FocusInterval
	if s.focusing {
		focusWants = share(tcp.Focus, FocusInterval)
	}
	oddWants := share(tcp.Odd, OddInterval)

	// A small host: a full look each second costs less than it may, so it is
	// all there is to do.
	suspecting := s.closer(s.lastSpent())
	if cost(tcp.Full) > 0 && share(tcp.Full, FastFull) <= 0.9*free && !suspecting {
		s.covered, s.merged = true, false
		s.tiers[tcp.Full].interval = FastFull
		s.tiers[tcp.Focus].interval, s.tiers[tcp.Odd].interval = FastFull, FastFull
		return
	}
	s.covered = false
	// Most sockets belong to the services in use: a look at them all costs no
	// more than the filter, and sees the rest as well.
	s.merged = s.focusing && cost(tcp.Focus) > 0 && cost(tcp.Full) > 0 && cost(tcp.Focus) >= focusWorth*cost(tcp.Full)
	if s.merged {
		oddShare := min(oddWants, oddFloor*free)
		stretch(tcp.Odd, oddShare, OddInterval)
		fullShare, least := free-oddShare, FocusInterval
		if suspecting {
			fullShare, least = max(fullShare, suspectShare), SuspectInterval
		}
		stretch(tcp.Full, fullShare, least)
		s.tiers[tcp.Focus].interval = s.tiers[tcp.Full].interval
		return
	}
	fullShare := min(share(tcp.Full, FastFull), max(free-focusWants-oddWants, fullFloor*free))
	stretch(tcp.Full, fullShare, FastFull)
	oddShare := min(oddWants, max(free-fullShare-focusWants, oddFloor*free))
	stretch(tcp.Odd, oddShare, OddInterval)
	focusShare := free - fullShare - oddShare
	if suspecting {
		focusShare, focusLeast = max(focusShare, suspectShare), SuspectInterval
	}
	stretch(tcp.Focus, focusShare, focusLeast)
}

func (s *Schedule) lastSpent() time.Time {
	if len(s.spent) == 0 {
		return time.Time{}
	}
	return s.spent[len(s.spent)-1].at
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

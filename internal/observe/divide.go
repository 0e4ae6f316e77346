package observe

import (
	"cmp"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/tcp"
)

// divide works out the pulse's intervals and everybody's share of the rest.
func (b *Budget) divide() {
	b.dirty = false
	if len(b.schedules) == 0 {
		return
	}
	b.stretchPulses()
	b.least = leastFree
	if slices.ContainsFunc(b.schedules, func(s *Schedule) bool { return !s.own && s.use == Backends }) {
		b.least = leastFirst
	}
	b.free = max(b.share*b.least, b.share-b.overhead-b.pulses)
	now, suspects := b.now(), 0
	for _, s := range b.schedules {
		if s.closer(now) {
			suspects++
		}
	}
	for _, s := range b.schedules {
		s.wants, s.free, s.extra = s.need(now), 0, 0
		if s.closer(now) {
			s.extra = suspectShare / float64(suspects)
			if len(b.schedules) > 1 { // the pulses alone are much of it
				s.extra = max(b.free, suspectShare-b.overhead-b.pulses) / float64(suspects)
			}
		}
	}
	b.shareFree(now)
	for _, s := range b.schedules {
		s.plan()
	}
}

// stretchPulses sets the pulse's interval of every namespace. On a host of many
// the interval of those with backends is what they can have if the others'
// were the slowest, and of the others what is left.
func (b *Budget) stretchPulses() {
	b.pulses = 0
	first, others := 0.0, 0.0 // at the wanted interval
	for _, s := range b.schedules {
		switch {
		case s.own:
			b.pulses += s.takes(tcp.Pulse, PulseInterval)
		case s.idle:
			b.pulses += s.takes(tcp.Pulse, SlowestPulse)
		case s.use == Backends:
			first += s.takes(tcp.Pulse, PulseInterval)
		default:
			others += s.takes(tcp.Pulse, PulseInterval)
		}
	}
	room := pulseShare * (b.share - b.overhead - b.pulses)
	sooner := stretched(first, room)
	later := stretched(others, room-first*PulseInterval.Seconds()/sooner.Seconds())
	for _, s := range b.schedules {
		p := &s.tiers[tcp.Pulse]
		switch {
		case s.own:
			p.interval = PulseInterval
			continue
		case s.idle:
			p.interval = SlowestPulse
			continue
		case s.use == Backends:
			p.interval = sooner
		default:
			p.interval = later
		}
		b.pulses += s.takes(tcp.Pulse, p.interval)
	}
}

// stretched is the pulse's interval of namespaces whose pulses take that share
// of one core at the wanted interval, and have room for so much; there may be
// none of either.
func stretched(take, room float64) time.Duration {
	if take <= max(0, room) {
		return PulseInterval
	}
	interval := take / max(room, 1e-9) * PulseInterval.Seconds()
	return time.Duration(min(interval, SlowestPulse.Seconds()) * float64(time.Second))
}

// shareFree divides b.free in rounds: among those under suspicion, and then by
// their use. Each round leaves a part to those behind. What nobody wants goes to
// all alike.
func (b *Budget) shareFree(now time.Time) {
	b.rank = append(b.rank[:0], b.schedules...)
	class := func(s *Schedule) int {
		if s.suspected(now) {
			return 0
		}
		return 1 + int(Backends-s.use)
	}
	slices.SortStableFunc(b.rank, func(a, c *Schedule) int {
		return cmp.Or(cmp.Compare(class(a), class(c)), cmp.Compare(a.wants, c.wants))
	})
	var rounds [2 + Backends][]*Schedule
	var wanted [len(rounds)]float64
	for i := range rounds {
		n := 0
		for n < len(b.rank) && class(b.rank[n]) == i {
			wanted[i] += b.rank[n].wants
			n++
		}
		rounds[i], b.rank = b.rank[:n], b.rank[n:]
	}
	left := b.free
	for i, round := range rounds {
		behind := 0.0
		for _, w := range wanted[i+1:] {
			behind += w
		}
		kept := min(behind, keptBack*left)
		left = kept + fill(round, left-kept)
	}
	for _, s := range b.schedules {
		s.free += left / float64(len(b.schedules))
	}
}

// fill gives everybody what he wants, or the same to all who want more than
// there is for each, and returns what is left. The schedules come with the
// least wants first.
func fill(schedules []*Schedule, amount float64) (left float64) {
	for i, s := range schedules {
		s.free = min(s.wants, amount/float64(len(schedules)-i))
		amount -= s.free
	}
	return amount
}

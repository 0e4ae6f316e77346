package identity

import (
	"net/netip"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/reply"
)

const (
	// maxAddresses of one name are probed.
	maxAddresses = 64
	// New addresses are probed often, as users are on their way to them; the
	// others, so that it shows when another application takes them over.
	oftenEvery  = 15 * time.Second
	seldomEvery = time.Minute
	// perSecond bounds the probes of all names together, with a burst of a
	// second's.
	perSecond = 5
)

// Want is an address to be probed.
type Want struct {
	Name    string
	Address netip.Addr
	// Often: a new address, each 15 s; else each minute.
	Often bool
}

// Wanted are the addresses of a name that are worth probing: the new ones, the
// old ones, and what resolvers answered beside these; each once, 64 at most. An
// address that no connection can go to is left out, and so is an inward one
// (reply.Inward) that only a resolver named.
func Wanted(name string, before, after, answered []netip.Addr) []Want {
	var out []Want
	seen := make(map[netip.Addr]bool)
	add := func(addresses []netip.Addr, often, trusted bool) {
		for _, a := range addresses {
			a = a.Unmap().WithZone("")
			nowhere := !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
			if seen[a] || nowhere || !trusted && reply.Inward(a) || len(out) == maxAddresses {
				continue
			}
			seen[a] = true
			out = append(out, Want{name, a, often})
		}
	}
	add(after, true, true)
	add(before, false, true)
	add(answered, false, false)
	return out
}

// Schedule says when which address is probed. The zero value has probed none. It
// is not safe for concurrent use.
type Schedule struct {
	due map[place]time.Time
	// earned is when all that was started is within perSecond; at most a second
	// ahead of now.
	earned time.Time
}

// place is one address of one name.
type place struct {
	name    string
	address netip.Addr
}

// Due returns those of the addresses that are to be probed now, the longest
// overdue first, and notes them as probed. next is when there may be more; zero
// where nothing is wanted. What is not wanted any more is forgotten. chance
// returns a number from 0 to 1: what came up together drifts apart by it.
func (s *Schedule) Due(now time.Time, wanted []Want, chance func() float64) (probe []Want, next time.Time) {
	due := make(map[place]time.Time, len(wanted))
	for _, w := range wanted {
		at, known := s.due[w.place()]
		if !known || at.After(now.Add(w.most())) { // it was an old address, and is a new one
			at = now
		}
		due[w.place()] = at
	}
	s.due = due
	order := slices.Clone(wanted)
	slices.SortStableFunc(order, func(a, b Want) int { return due[a.place()].Compare(due[b.place()]) })

	const slot = time.Second / perSecond
	for _, w := range order {
		at := due[w.place()]
		if at.After(now) {
			break
		}
		if s.earned.Sub(now) > time.Second-slot { // the rest has to wait
			return probe, s.earned.Add(slot - time.Second)
		}
		if s.earned.Before(now) {
			s.earned = now
		}
		s.earned = s.earned.Add(slot)
		due[w.place()] = now.Add(w.least() + time.Duration(chance()*float64(w.most()-w.least())))
		probe = append(probe, w)
	}
	for _, at := range due {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return probe, next
}

func (w Want) place() place { return place{w.Name, w.Address} }

// least and most are how long after one probe the next one is: the interval, and
// a tenth less or more.
func (w Want) least() time.Duration { return w.every() * 9 / 10 }
func (w Want) most() time.Duration  { return w.every() * 11 / 10 }

func (w Want) every() time.Duration {
	if w.Often {
		return oftenEvery
	}
	return seldomEvery
}

package drain

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/reply"
	"github.com/foreshock/foreshock/internal/scope"
)

const (
	// rotation is for how long an address counts as one that a name has: resolvers
	// that give out a few of many in turn have named all by then.
	rotation = 10 * time.Minute
	// An answer is steady when it was the same for three TTLs, and within these
	// bounds; so many of them at least. A server that gives out a few of many
	// addresses in turn, for a TTL each, is not.
	leastSteady   = 30 * time.Second
	steadyTTLs    = 3
	steadyAnswers = 3
	// changed is how many answers make a change.
	changed = 2
	// restless is how many changes are told within a rotation. Each is a switch
	// that takes the place of the one before: what flaps, or means harm, must not
	// have us begin one a minute. What stands when the time is over is told then.
	restless = 3
)

// Change is that a name's answers went from one set of addresses to another.
type Change struct {
	Name string
	// Before and After are sorted. Before is empty where an armed switch had come
	// by the first answer: when is not known.
	Before, After []netip.Addr
	// TTL is for how long the last answer before was good at most; zero: not
	// known.
	TTL time.Duration
	// At is when the first answer with the new addresses came.
	At time.Time
	// Server is who said so first.
	Server string
}

// Watcher notices that a name's addresses change. It goes by the zone's own
// servers, one of which is enough, and where none has answered for ten minutes
// by most of this host's own resolvers. What configured and public resolvers
// say is not looked at.
//
// A change is that an address is gone, in two answers in a row, of a server
// whose answers were steady before. Servers that rotate through several
// addresses are watched by windows of ten minutes: it is a change when two
// windows had the same addresses and the next but one has none of them, which
// is noticed 20 to 30 minutes late.
//
// The zero value is ready; it is not safe for concurrent use.
type Watcher struct {
	servers map[identity]*watched
	armed   *scope.Switch
	begun   bool // the armed one
	told    *Change
	changes []time.Time
}

// watched is what one server says.
type watched struct {
	label string
	last  time.Time // the last answer to go by
	// base is the answer that stands since first, seen so many times; ttl the most
	// it had.
	base  []netip.Addr
	first time.Time
	times int
	ttl   time.Duration
	// next is another answer that has come since.
	next      []netip.Addr
	nextFirst time.Time
	nextTimes int
	nextTTL   time.Duration
	// windows are the addresses of the windows before and, last, of this one,
	// which began at opened.
	windows [4]map[netip.Addr]bool
	opened  time.Time
	hadOld  bool // of an armed switch
	isNew   bool
}

// Arm makes the watcher wait for one switch, with the sets of addresses that it
// has, instead of for any; nil ends that. It begins with the first answer of a
// server of the zone that has new addresses alone. What the watcher has learned
// is forgotten: call it once for each switch.
func (w *Watcher) Arm(sw *scope.Switch) {
	w.armed, w.begun, w.servers, w.changes = sw, false, nil, nil
}

// Take takes an answer; those of one server come in the order of time. It
// returns a change, once, or nil.
func (w *Watcher) Take(a reply.Answer) *Change {
	if a.Failure != reply.Answered || len(a.Addresses) == 0 || a.Role != reply.Authoritative && a.Role != reply.System {
		return nil // what fails takes no address away
	}
	id := identityOf(&a)
	s := w.servers[id]
	if s == nil {
		if len(w.servers) >= 2*maxServers {
			w.forget(a.At)
		}
		s = &watched{label: a.Label, opened: a.At}
		if w.servers == nil {
			w.servers = map[identity]*watched{}
		}
		w.servers[id] = s
	}
	s.last = a.At
	var c *Change
	if w.armed != nil {
		c = w.takeArmed(s, &a)
	} else {
		c = w.takeAny(s, &a)
	}
	if c != nil {
		w.told = c
		w.changes = append(w.changes, c.At)
		w.changes = slices.Delete(w.changes, 0, max(0, len(w.changes)-restless))
	}
	return c
}

// forget drops who has not answered within a rotation.
func (w *Watcher) forget(now time.Time) {
	maps.DeleteFunc(w.servers, func(_ identity, s *watched) bool { return now.Sub(s.last) > rotation })
}

// takeArmed looks for the first answer with new addresses alone.
func (w *Watcher) takeArmed(s *watched, a *reply.Answer) *Change {
	is := sidesOf(w.armed, a)
	s.isNew = is.onlyNew(w.armed)
	if is.old {
		s.hadOld = true
		s.ttl = max(s.ttl, a.Longest)
	}
	if !s.isNew || w.begun {
		return nil
	}
	if a.Role == reply.System && !w.most(a.At, func(s *watched) bool { return s.isNew }) {
		return nil
	}
	w.begun = true
	c := &Change{Name: a.Name, After: sorted(w.armed.New, w.armed.Kept), TTL: s.ttl, At: a.At, Server: s.label}
	if s.hadOld {
		c.Before = sorted(w.armed.Old, w.armed.Kept)
	}
	return c
}

// takeAny looks for a change of any kind.
func (w *Watcher) takeAny(s *watched, a *reply.Answer) *Change {
	if slices.ContainsFunc(s.base, a.Lacks) {
		return nil // what fails takes no address away
	}
	before, ttl, at, ok := s.step(a, w.restless(a.At))
	if !ok || w.told != nil && slices.Equal(w.told.After, s.base) {
		return nil // another server said it already
	}
	if a.Role == reply.System && !w.most(a.At, func(other *watched) bool { return slices.Equal(other.base, s.base) }) {
		return nil
	}
	return &Change{Name: a.Name, Before: before, After: slices.Clone(s.base), TTL: ttl, At: at, Server: s.label}
}

// restless reports whether as many changes were told as may be.
func (w *Watcher) restless(now time.Time) bool {
	return len(w.changes) >= restless && now.Sub(w.changes[0]) <= rotation
}

// most reports whether more than half of this host's resolvers are so, of those
// that answer; never where a server of the zone does.
func (w *Watcher) most(now time.Time, is func(*watched) bool) bool {
	all, so := 0, 0
	for id, s := range w.servers {
		if now.Sub(s.last) > rotation {
			continue
		}
		if id.role == reply.Authoritative {
			return false
		}
		all++
		if is(s) {
			so++
		}
	}
	return 2*so > all
}

// step takes an answer. ok says that base has become another one, of which an
// address of the one before is gone.
func (s *watched) step(a *reply.Answer, restless bool) (before []netip.Addr, ttl time.Duration, at time.Time, ok bool) {
	if before, after, at, ok := s.slide(a); ok {
		ttl := s.ttl
		s.settle(after, at, 1, a.Longest)
		return before, ttl, at, true
	}
	switch {
	case s.base == nil:
		s.settle(a.Addresses, a.At, 1, a.Longest)
	case slices.Equal(a.Addresses, s.base):
		s.times, s.ttl, s.next, s.nextTimes = s.times+1, max(s.ttl, a.Longest), nil, 0
	case s.nextTimes > 0 && slices.Equal(a.Addresses, s.next):
		s.nextTimes, s.nextTTL = s.nextTimes+1, max(s.nextTTL, a.Longest)
	default:
		if s.nextTimes > 0 { // neither the one nor the other: not steady
			s.first, s.times = a.At, 0
		}
		s.next, s.nextFirst, s.nextTimes, s.nextTTL = a.Addresses, a.At, 1, a.Longest
	}
	if s.nextTimes < changed || restless {
		return nil, 0, time.Time{}, false
	}
	before, ttl, at = s.base, s.ttl, s.nextFirst
	steady := s.times >= steadyAnswers && at.Sub(s.first) >= min(max(leastSteady, steadyTTLs*ttl), rotation)
	gone := slices.ContainsFunc(before, func(addr netip.Addr) bool { return !slices.Contains(s.next, addr) })
	first, times := s.first, s.times // a name that was steady stays so
	if !steady && gone {
		first, times = at, s.nextTimes
	}
	s.settle(s.next, first, times, s.nextTTL)
	if !steady || !gone {
		return nil, 0, time.Time{}, false
	}
	// What is known of the name now begins with this answer.
	s.windows = [4]map[netip.Addr]bool{}
	return before, ttl, at, true
}

// settle makes an answer the one that stands.
func (s *watched) settle(base []netip.Addr, first time.Time, times int, ttl time.Duration) {
	s.base, s.first, s.times, s.ttl = slices.Clone(base), first, times, ttl
	s.next, s.nextTimes = nil, 0
}

// slide notes the addresses by windows. When one ends it says whether none is
// left in it of those that the first two had both; at is when it began.
func (s *watched) slide(a *reply.Answer) (before, after []netip.Addr, at time.Time, ok bool) {
	w := &s.windows
	if a.At.Sub(s.opened) >= rotation {
		ok = len(w[0]) > 0 && maps.Equal(w[0], w[1]) && len(w[3]) > 0 && disjoint(w[1], w[3])
		before = slices.SortedFunc(maps.Keys(w[1]), netip.Addr.Compare)
		after = slices.SortedFunc(maps.Keys(w[3]), netip.Addr.Compare)
		at = s.opened
		*w = [4]map[netip.Addr]bool{w[1], w[2], w[3], nil}
		if ok {
			*w = [4]map[netip.Addr]bool{}
		}
		s.opened = a.At
	}
	if w[3] == nil {
		w[3] = map[netip.Addr]bool{}
	}
	for _, addr := range a.Addresses {
		if len(w[3]) < maxSeen {
			w[3][addr] = true
		}
	}
	return before, after, at, ok
}

func disjoint(a, b map[netip.Addr]bool) bool {
	for addr := range b {
		if a[addr] {
			return false
		}
	}
	return true
}

func sorted(sets ...[]netip.Addr) []netip.Addr {
	out := slices.Concat(sets...)
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

package drain

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/reply"
	"github.com/foreshock/foreshock/internal/scope"
)

// The bounds of a name's memory.
const (
	maxServers = 64
	// maxRecent is how many answers of one server are remembered; of a row of
	// equal ones the first and the last.
	maxRecent = 16
	maxSeen   = 64 // addresses
)

// Zoo remembers what the DNS servers that are asked for one name have said, and
// says how each did beside a switch. It is fed from before the switch on, so
// that it knows for how long an old answer may honestly be given:
//
//	zoo.Expect(servers)
//	zoo.Take(answer)         // each of them, as they come
//	zoo.Follow(sw)           // when the switch is armed, and when it is
//	…
//	report.Resolvers = zoo.Resolvers(now)
//
// Nobody is accused on suspicion. A cache may give an old answer until the last
// server of the zone that gave it could have done so, and the answer's TTL
// after that; [Zoo.Until] is that time. A secondary of the zone that is behind
// puts it off for everybody.
//
// The zero value is ready; it is not safe for concurrent use.
type Zoo struct {
	sw      scope.Switch
	servers map[identity]*heard
	// seenTTL is the most that was left of an answer with an old address, of
	// servers that are not the zone's.
	seenTTL time.Duration
	// turned: some server answered with new addresses alone, since the switch.
	turned bool
}

// identity tells servers apart; one address may be asked in two roles.
type identity struct {
	address netip.AddrPort
	role    reply.Role
}

func identityOf(a *reply.Answer) identity { return identity{a.Server, a.Role} }

// heard is what one server has said.
type heard struct {
	server reply.Server
	recent []reply.Answer // the oldest first
	// failures are those since the last answer to go by.
	failures int
	firstNew time.Time
	mostTTL  time.Duration
	zone     authority
}

// Expect says which servers are asked from now on, at most 64. Others are
// forgotten, but for what the zone's own have said.
func (z *Zoo) Expect(servers []reply.Server) {
	before := z.servers
	z.servers = map[identity]*heard{}
	for _, s := range servers[:min(maxServers, len(servers))] {
		id := identity{s.Address, s.Role}
		h := before[id]
		if h == nil {
			h = &heard{}
		}
		h.server = s
		z.servers[id] = h
	}
	for id, h := range before {
		if z.servers[id] == nil && id.role == reply.Authoritative && len(z.servers) < 2*maxServers && h.zone.known {
			h.server, h.recent, h.zone.still = reply.Server{}, nil, false // what it said last counts
			z.servers[id] = h
		}
	}
}

// Take remembers an answer. Those of one server come in the order of time; one
// of a server that is not expected is passed over.
func (z *Zoo) Take(a reply.Answer) {
	h := z.servers[identityOf(&a)]
	if h == nil || !h.server.Address.IsValid() {
		return
	}
	h.failures++
	if z.definite(&a) {
		h.failures = 0
	}
	if n := len(h.recent); n >= 2 && same(&h.recent[n-1], &a) && same(&h.recent[n-2], &a) {
		h.recent[n-1] = a
	} else {
		h.recent = append(h.recent, a)
		h.recent = slices.Delete(h.recent, 0, max(0, len(h.recent)-maxRecent))
	}
	z.learn(h, &a)
}

// Old reports whether the answer has an old address of the switch.
func (z *Zoo) Old(a reply.Answer) bool { return sidesOf(&z.sw, &a).old }

// same reports whether two answers say the same, with the same TTLs.
func same(a, b *reply.Answer) bool {
	return a.Failure == b.Failure && a.AddressTTL == b.AddressTTL && a.Longest == b.Longest && a.Stale == b.Stale && a.Serial == b.Serial &&
		slices.Equal(a.Addresses, b.Addresses) && slices.Equal(a.CNAMEs, b.CNAMEs)
}

// definite reports whether the answer says something of the name, and of all
// that may be old of it.
func (z *Zoo) definite(a *reply.Answer) bool {
	return !sidesOf(&z.sw, a).half && (a.Failure == reply.Answered || a.Failure == reply.NoSuchName || a.Failure == reply.NoAddress)
}

// Follow takes the switch that answers are held against. A zero Since is a
// switch that has not come yet. What was said before counts for it. The same
// switch may come again, with another TTL for example.
func (z *Zoo) Follow(sw scope.Switch) {
	sameSets := slices.Equal(sw.Old, z.sw.Old) && slices.Equal(sw.New, z.sw.New) && slices.Equal(sw.Kept, z.sw.Kept)
	again := sameSets && sw.Since.Equal(z.sw.Since)
	if z.sw = sw; again {
		return
	}
	z.turned = false
	if !sameSets {
		z.seenTTL = 0
	}
	for _, h := range z.servers {
		h.firstNew, h.mostTTL = time.Time{}, 0
		if !sameSets {
			h.zone = authority{}
		}
		for i := range h.recent {
			z.learn(h, &h.recent[i])
		}
	}
}

// learn notes what an answer says of the switch.
func (z *Zoo) learn(h *heard, a *reply.Answer) {
	if len(z.sw.Old) == 0 {
		return
	}
	is := sidesOf(&z.sw, a)
	since := z.begun() && !a.At.Before(z.sw.Since)
	if h.server.Role == reply.Authoritative {
		h.zone.take(a, is.old, z.definite(a))
	} else if is.old {
		z.seenTTL = max(z.seenTTL, a.Longest)
	}
	if !since {
		return
	}
	if is.old {
		h.mostTTL = max(h.mostTTL, a.AddressTTL)
	}
	if is.onlyNew(&z.sw) {
		z.turned = true
		if h.firstNew.IsZero() {
			h.firstNew = a.At
		}
	}
}

func (z *Zoo) begun() bool { return !z.sw.Since.IsZero() }

// authority is what one server of the zone says of old addresses.
type authority struct {
	known bool // it was seen with an old address
	still bool // its last answer to go by had one
	// ttl and longest are of such an answer at ttlAt; until and untilLongest when
	// the last cache that asked has to give it up.
	ttl, longest        time.Duration
	ttlAt               time.Time
	until, untilLongest time.Time
	cnames              []string
	// moved: the change may have been in the CNAMEs, so that their TTL counts as
	// well.
	moved bool
	lost  time.Time // since when it does not answer; zero: it does
	over  bool      // it has answered without the old addresses since
}

// maxLost is for how long a server of the zone that we cannot reach counts as
// one that gives others what it gave us last.
const maxLost = 2 * time.Minute

// take notes an answer: whether it has an old address, and whether it says that
// it has none.
func (z *authority) take(a *reply.Answer, old, definite bool) {
	switch {
	case old:
		if z.still {
			z.lasts(a.At) // with the TTL that it had: it may have been lowered just now
		}
		z.known, z.still, z.moved, z.over, z.lost = true, true, true, false, time.Time{}
		z.learnTTL(a)
		z.cnames = a.CNAMEs
		z.lasts(a.At)
	case definite:
		if z.still {
			z.lasts(a.At)
		}
		z.still, z.over, z.lost = false, z.known, time.Time{}
		z.moved = a.Failure != reply.Answered || !slices.Equal(z.cnames, a.CNAMEs)
	case z.still && z.lost.IsZero():
		z.lost = a.At
	case z.still && a.At.Sub(z.lost) > maxLost:
		z.lasts(z.lost)
		z.still = false
	}
}

// learnTTL notes the TTL of an old answer. Of what a cache said for the zone it
// is the most that was left within one such time: full when the cache has just
// asked, but for the time between two of our questions.
func (z *authority) learnTTL(a *reply.Answer) {
	ttl := a.AddressTTL
	if a.Onward {
		if ttl += zoneEvery; ttl < z.ttl && a.At.Sub(z.ttlAt) <= z.ttl {
			return
		}
	}
	z.ttl, z.longest, z.ttlAt = ttl, max(a.Longest, ttl), a.At
}

// lasts notes that a cache may have been given the old answer at that time.
func (z *authority) lasts(at time.Time) {
	z.until = later(z.until, at.Add(z.ttl))
	z.untilLongest = later(z.untilLongest, at.Add(z.longest))
}

// good is until when answers of this server may be given; never before now and
// their TTL while it still gives them. aliases: the change is in the CNAMEs, as
// far as is known.
func (z *authority) good(now time.Time, aliases bool) time.Time {
	switch {
	case z.still && aliases:
		return later(z.untilLongest, now.Add(z.longest))
	case z.still:
		return later(z.until, now.Add(z.ttl))
	case z.moved && (aliases || z.over):
		return z.untilLongest
	}
	return z.until
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Until is until when, on the agent's clock, a cache may honestly answer with
// an old address: what the zone's own servers gave and the TTL that the switch
// has, whichever is later. ok is false where neither is known.
func (z *Zoo) Until(now time.Time) (until time.Time, ok bool) {
	if z.begun() && z.sw.TTL > 0 {
		until, ok = z.sw.Since.Add(z.sw.TTL), true
	}
	// Once a server of the zone has shown other addresses behind the same
	// aliases, that is what the change is.
	aliases := true
	for _, h := range z.servers {
		if h.zone.over && !h.zone.moved {
			aliases = false
		}
	}
	for _, h := range z.servers {
		if h.zone.known {
			until, ok = later(until, h.zone.good(now, aliases)), true
		}
	}
	return until, ok
}

// TTL is for how long after the switch answers from before it are good, and
// before the switch the TTL of those that the zone's servers give now. ok is
// false where that is not known.
func (z *Zoo) TTL(now time.Time) (ttl time.Duration, ok bool) {
	until, ok := z.Until(now)
	if !ok {
		return 0, false
	}
	if z.begun() {
		return max(0, until.Sub(z.sw.Since)), true
	}
	return max(0, until.Sub(now)), true
}

// Addresses are those that any of the servers answered with, in its last
// answer; sorted, at most 64.
func (z *Zoo) Addresses() []netip.Addr {
	var out []netip.Addr
	for _, h := range z.servers {
		if n := len(h.recent); n > 0 {
			out = append(out, h.recent[n-1].Addresses...)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	out = slices.Compact(out)
	return slices.Clip(out[:min(maxSeen, len(out))])
}

// Answered counts this host's own resolvers: how many have an answer to go by,
// and how many of them give an old address though it is not good any more. seen
// is when the last of them was asked; zero without any.
func (z *Zoo) Answered(now time.Time) (asked, stale uint32, seen time.Time) {
	for _, h := range z.servers {
		n := len(h.recent)
		if h.server.Role != reply.System || n == 0 || !h.server.Address.IsValid() {
			continue
		}
		class, _ := z.classify(h, now)
		if class == ClassError {
			continue
		}
		asked++
		if class == ClassOldBeyond || class == ClassServStale {
			stale++
		}
		seen = later(seen, h.recent[n-1].At)
	}
	return asked, stale, seen
}

// Resolvers say how each server did, by role, label and address. Their
// NewAfterSeconds together are the agreement over time.
func (z *Zoo) Resolvers(now time.Time) []Resolver {
	var all []*heard
	for _, h := range z.servers {
		if h.server.Address.IsValid() {
			all = append(all, h)
		}
	}
	slices.SortFunc(all, func(a, b *heard) int {
		return cmp.Or(cmp.Compare(a.server.Role, b.server.Role), cmp.Compare(a.server.Label, b.server.Label), a.server.Address.Compare(b.server.Address))
	})
	out := make([]Resolver, 0, len(all))
	for _, h := range all {
		out = append(out, z.resolver(h, now))
	}
	return out
}

func (z *Zoo) resolver(h *heard, now time.Time) Resolver {
	r := Resolver{Label: h.server.Label, Server: h.server.Address.String(), Role: h.server.Role.String(), MostTTLSeconds: h.mostTTL.Seconds()}
	r.Class, r.Why = z.classify(h, now)
	if len(h.recent) == 0 {
		return r
	}
	if z.begun() && !h.firstNew.IsZero() {
		after := h.firstNew.Sub(z.sw.Since).Seconds()
		r.NewAfterSeconds = &after
	}
	r.AskedAgoSeconds = max(0, now.Sub(h.recent[len(h.recent)-1].At).Seconds())
	a := z.answer(h, now)
	r.Addresses, r.CNAMEs, r.Serial = a.Addresses, a.CNAMEs, a.Serial
	r.TTLSeconds = max(0, (a.TTL - now.Sub(a.At)).Seconds())
	for _, e := range a.Extended {
		r.Extended = append(r.Extended, extendedText(e))
	}
	return r
}

// patience is for how long one failed question leaves the answer before it
// standing: two of the longest times between questions.
const patience = time.Minute

// answer is the one that counts: the last, or the one before it where a single
// question failed. There is one at least.
func (z *Zoo) answer(h *heard, now time.Time) *reply.Answer {
	n := len(h.recent)
	if h.failures == 1 && n > 1 && z.definite(&h.recent[n-2]) && now.Sub(h.recent[n-2].At) <= patience {
		return &h.recent[n-2]
	}
	return &h.recent[n-1]
}

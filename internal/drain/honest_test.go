package drain

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/foreshock/foreshock/internal/reply"
)

// cache is a resolver of a small world: it asks up where what it has is over.
type cache struct {
	up      func(now time.Time) (addresses []netip.Addr, ttl time.Duration)
	least   time.Duration // an extender's; zero: honest
	has     []netip.Addr
	expires time.Time
}

func (c *cache) ask(now time.Time) ([]netip.Addr, time.Duration) {
	if !now.Before(c.expires) {
		var ttl time.Duration
		c.has, ttl = c.up(now)
		c.expires = now.Add(max(ttl, c.least))
	}
	// Whole seconds, rounded up, as some do.
	return c.has, (c.expires.Sub(now) + time.Second - 1).Truncate(time.Second)
}

// TestZooAccusesNobodyWrongly draws worlds with a zone of several servers that
// flip at different times, and maybe lower the TTL before, with honest caches,
// caches behind caches and several at one address, and with extenders. None of
// the honest is ever accused, and each extender is found.
func TestZooAccusesNobodyWrongly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old, new := addrs("192.0.2.10"), addrs("198.51.100.7")
		draw := func(low, high int, what string) time.Duration {
			return time.Duration(rapid.IntRange(low, high).Draw(t, what)) * time.Second
		}
		ttl := draw(1, 120, "ttl")
		high := ttl
		lowered := at(-1e6)
		if rapid.Bool().Draw(t, "lowered") {
			high, lowered = ttl+draw(1, 300, "more"), at(-draw(1, 100, "lowered at").Seconds())
		}
		watchedFrom := min(-draw(110, 400, "watched from").Seconds(), -105)
		flips := []time.Time{start}
		for range rapid.IntRange(0, 2).Draw(t, "secondaries") {
			flips = append(flips, start.Add(draw(0, 200, "lag")))
		}
		lastFlip := slices.MaxFunc(flips, time.Time.Compare)
		zone := func(i int) func(time.Time) ([]netip.Addr, time.Duration) {
			return func(now time.Time) ([]netip.Addr, time.Duration) {
				switch {
				case !now.Before(flips[i]):
					return new, ttl
				case now.Before(lowered):
					return old, high
				}
				return old, ttl
			}
		}
		// Caches ask any server of the zone, or another cache.
		var caches []*cache
		for range rapid.IntRange(1, 6).Draw(t, "caches") {
			c := &cache{up: zone(rapid.IntRange(0, len(flips)-1).Draw(t, "server"))}
			if len(caches) > 0 && rapid.IntRange(0, 3).Draw(t, "behind") == 0 {
				upper := caches[rapid.IntRange(0, len(caches)-1).Draw(t, "upper")]
				if upper.least == 0 {
					c.up = upper.ask
				}
			}
			if rapid.IntRange(0, 3).Draw(t, "extends") == 0 {
				c.least = high + draw(60, 900, "least")
			}
			caches = append(caches, c)
		}
		// Resolvers are one cache each, but for one that is several.
		type resolver struct {
			server reply.Server
			behind []*cache
		}
		var resolvers []resolver
		honest := map[string]bool{}
		for i, c := range caches {
			r := resolver{serverOf("sys" + string(rune('1'+i))), []*cache{c}}
			if i == 0 && len(caches) > 1 && rapid.Bool().Draw(t, "anycast") {
				r.behind = caches[:2]
			}
			honest[r.server.Label] = !slices.ContainsFunc(r.behind, func(c *cache) bool { return c.least > 0 })
			resolvers = append(resolvers, r)
		}
		var expect []reply.Server
		for i := range flips {
			expect = append(expect, serverOf("ns"+string(rune('1'+i))))
		}
		for _, r := range resolvers {
			expect = append(expect, r.server)
		}

		var z Zoo
		z.Expect(expect)
		z.Follow(theSwitch())
		found := map[string]bool{}
		begun := false
		end := lastFlip.Add(high + 40*time.Second)
		for now := at(watchedFrom); now.Before(end); now = now.Add(time.Duration(rapid.IntRange(1000, 5000).Draw(t, "step ms")) * time.Millisecond) {
			for i := range flips {
				a := answer("0 ns" + string(rune('1'+i)) + " old")
				a.At = now
				a.Addresses, a.TTL = zone(i)(now)
				a.AddressTTL, a.Longest = a.TTL, a.TTL
				z.Take(a)
			}
			if !begun && !now.Before(start) {
				sw := theSwitch()
				sw.Since, begun = now, true
				z.Follow(sw)
			}
			for _, r := range resolvers {
				a := answer("0 sys1 old")
				a.Server, a.Label, a.At = r.server.Address, r.server.Label, now
				which := 0
				if len(r.behind) > 1 {
					which = rapid.IntRange(0, len(r.behind)-1).Draw(t, "which")
				}
				a.Addresses, a.TTL = r.behind[which].ask(now)
				a.AddressTTL, a.Longest = a.TTL, a.TTL
				z.Take(a)
			}
			for _, r := range z.Resolvers(now) {
				if r.Role == "authoritative" || r.Class != ClassOldBeyond && r.Class != ClassServStale {
					continue
				}
				if honest[r.Label] {
					t.Fatalf("%s is honest, and accused at %v: %s", r.Label, now.Sub(start), r.Why)
				}
				found[r.Label] = true
			}
		}
		for _, r := range resolvers {
			// An extender that happened to ask after the flip has nothing to extend.
			holds := slices.ContainsFunc(r.behind, func(c *cache) bool { return c.least > 0 && slices.Equal(c.has, old) })
			if holds && len(r.behind) == 1 && !found[r.server.Label] {
				t.Fatalf("%s still gives the old address at %v and was not found", r.server.Label, end.Sub(start))
			}
		}
	})
}

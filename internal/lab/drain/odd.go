package drain

import (
	"net/netip"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// odd are switches of what names, servers and users get wrong. In most of them all
// clients are on the new address and one thing is not known, or not right: settled
// must not be said.
func odd() []Cell {
	// The times are past those in which one without fault settles.
	const ttl, warm, after = 10 * time.Second, 20 * time.Second, 110 * time.Second
	honest := []Population{{Name: "honest", Habit: lab.Honest, Host: "web", Via: "unbound", Clients: 40}}
	moved := []Population{{Name: "moved", Habit: lab.Fixed, Host: "web", To: netip.AddrPortFrom(newAddr, port), Clients: 40}}
	everywhere := []string{"web", "old", "new"}
	stale := Want{"stale_dns", true, 15 * time.Second}
	one := []string{"unbound"}
	return []Cell{
		{
			Name: "chain", Follow: "www." + Site, TTL: ttl, Resolvers: []string{"unbound", "bind", "dnsmasq"}, Populations: honest, Agents: everywhere,
			How: Armed, Warm: warm, After: after, Settles: true,
		},
		{
			Name: "loop", Follow: "loop." + Site, TTL: ttl, Resolvers: []string{"unbound", "bind"}, Populations: moved, Agents: everywhere,
			How: ByHand, Warm: warm, After: after, Never: true, Says: []string{"could not find an answer"},
		},
		{
			Name: "absent", Follow: "absent." + Site, TTL: ttl, Resolvers: []string{"unbound", "bind"}, Populations: moved, Agents: everywhere,
			How: ByHand, Warm: warm, After: after, Never: true, Says: []string{"does not exist"},
		},
		{
			Name: "hang", TTL: ttl, Resolvers: []string{"unbound", "nobody"}, Populations: honest, Agents: everywhere,
			How: Armed, Warm: warm, After: after, Never: true, Says: []string{"gives no answer to go by"},
		},
		{
			Name: "dnssec", TTL: ttl, Resolvers: []string{"unbound", "unbound-bogus"}, Populations: honest, Agents: everywhere,
			How: Armed, Warm: warm, After: after, Never: true, Says: []string{"DNSSEC"},
		},
		{
			Name: "split", TTL: ttl, Resolvers: []string{"unbound", "dnsmasq-wrong"}, Populations: honest, Agents: everywhere,
			How: Armed, Warm: warm, After: after, Never: true, Wrong: wrongAddr, Says: []string{"on neither side of the switch", "another application's"},
		},
		{
			// Who asks the late one may get the old address for as long.
			Name: "late", TTL: ttl, Resolvers: []string{"unbound", "bind"}, Populations: honest, Agents: everywhere,
			How: Armed, LateSecondary: true, Warm: warm, After: 170 * time.Second, Settles: true, Says: []string{"a secondary that is behind"},
		},
		{
			// Another application on the old address, for those who come for the site,
			// and one on another port of it, which is nobody's business here.
			Name: "reused", TTL: ttl, Resolvers: one, Agents: everywhere,
			Populations: []Population{
				{Name: "honest", Habit: lab.Honest, Host: "web", Via: "unbound", Clients: 30},
				{Name: "cached", Habit: lab.Cached, Host: "web", Via: "unbound", Clients: 10},
				{Name: "beside", Habit: lab.Fixed, Host: "web", To: netip.AddrPortFrom(oldAddr, besidePort), Clients: 20},
			},
			How: Armed, Reused: true, Warm: warm, After: 75 * time.Second, Wants: []Want{stale}, Wrong: oldAddr, Never: true, Says: []string{"another application's"},
		},
		{
			// The same, and everybody who came for the site has gone.
			Name: "beside", TTL: ttl, Resolvers: one, Agents: everywhere,
			Populations: []Population{
				{Name: "honest", Habit: lab.Honest, Host: "web", Via: "unbound", Clients: 40},
				{Name: "beside", Habit: lab.Fixed, Host: "web", To: netip.AddrPortFrom(oldAddr, besidePort), Clients: 20},
			},
			How: Armed, Warm: warm, After: after, Settles: true, Merged: true,
		},
		{
			Name: "overlap", TTL: ttl, Resolvers: []string{"unbound", "bind"}, Populations: honest, Agents: everywhere,
			How: Armed, Kept: true, Warm: warm, After: after, Settles: true,
		},
		{
			Name: "taken", TTL: ttl, Resolvers: []string{"unbound", "bind"}, Populations: honest, Agents: []string{"web", "old"},
			How: Armed, Kept: true, TakenAway: true, Warm: warm, After: after, Settles: true,
		},
		{
			Name: "ipv6", TTL: ttl, Resolvers: []string{"unbound", "bind"}, Agents: everywhere,
			Populations: []Population{
				{Name: "honest", Habit: lab.Honest, Host: "web", Via: "unbound", Clients: 30},
				{Name: "cached", Habit: lab.Cached, Host: "web", Via: "unbound", Clients: 10},
			},
			How: Armed, IPv6: true, Warm: warm, After: 75 * time.Second, Wants: []Want{stale}, Never: true,
		},
		{
			// The switch leaves the IPv6 address out, and clients have no other.
			Name: "onlya", TTL: ttl, Resolvers: one, Populations: honest, Agents: everywhere,
			How: Armed, IPv6: true, OnlyA: true, Warm: warm, After: after, Never: true, Says: []string{oldAddr6.String()},
		},
	}
}

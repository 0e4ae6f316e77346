package drain

import (
	"fmt"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// Cells are all switches that are measured: those that go as they do, and those of
// what names, servers and users get wrong.
func Cells() []Cell { return append(usual(), odd()...) }

func usual() []Cell {
	const ttl = 10 * time.Second
	within := 15 * time.Second
	servers := []string{"unbound", "bind", "dnsmasq", "unbound-min-900", "dnsmasq-min-900"}
	everybody := []Population{
		{Name: "honest", Habit: lab.Honest, Host: "web", Via: "unbound", Clients: 40},
		{Name: "cached", Habit: lab.Cached, Host: "web", Via: "unbound", Clients: 20},
		{Name: "pooled", Habit: lab.Pooled, Host: "web", Via: "unbound", Clients: 20},
		{Name: "long", Habit: lab.Pooled, Host: "web", Via: "unbound", Clients: 1, Every: 5 * time.Second},
		{Name: "pooled2", Habit: lab.Pooled, Host: "api", Via: "unbound", Clients: 20},
		{Name: "fixed", Habit: lab.Fixed, Host: "web", Clients: 10},
		{Name: "behind", Habit: lab.Honest, Host: "isp", Via: "unbound-min-900", Clients: 20},
	}
	users := Want{"users_failing_on_old", false, within}
	stale, held := Want{"stale_dns", true, within}, Want{"old_connection", true, within}
	return []Cell{
		{
			Name: "alive", TTL: ttl, Resolvers: servers, Populations: everybody, Agents: []string{"web", "isp", "api", "old", "new"},
			How: Armed, Warm: 20 * time.Second, After: 75 * time.Second, Wants: []Want{stale, held}, Merged: true,
		},
		{
			Name: "dead", TTL: ttl, Resolvers: servers, Populations: everybody, Agents: []string{"web", "isp", "api", "new"},
			How: Armed, OldDead: true, Warm: 20 * time.Second, After: 75 * time.Second, // Who keeps the old answer goes on asking the dead address: both are true.
			Wants: []Want{users, stale},
		},
		{
			Name: "zoo", TTL: ttl, Resolvers: every(), Populations: behindEach(), Agents: []string{"web"},
			How: ByHand, CutOff: []string{"far"}, Warm: 20 * time.Second, After: 75 * time.Second, Wants: []Want{stale}, Wrong: wrongAddr,
		},
		{
			// 40 of 100 clients never ask again.
			Name: "article", TTL: ttl, Resolvers: []string{"unbound", "bind"}, Agents: []string{"web"},
			Populations: []Population{
				{Name: "honest", Habit: lab.Honest, Host: "web", Via: "unbound", Clients: 60},
				{Name: "cached", Habit: lab.Cached, Host: "web", Via: "unbound", Clients: 40},
			},
			How: ByHand, OldDead: true, Warm: 20 * time.Second, After: 60 * time.Second, Wants: []Want{users, stale}, Article: true,
		},
		{
			// The resolver of 60 of 100 clients ends at the switch.
			Name: "missing", TTL: ttl, Resolvers: []string{"unbound", "dnsmasq"}, Agents: []string{"edge"}, Edge: true, Silent: []string{"dnsmasq"},
			Populations: []Population{
				{Name: "reach", Habit: lab.Honest, Host: "web", Via: "unbound", Clients: 40},
				{Name: "lost", Habit: lab.Honest, Host: "isp", Via: "dnsmasq", Clients: 60},
			},
			How: Armed, Warm: 3 * time.Minute, After: 2 * time.Minute, Wants: []Want{{"traffic_missing", false, time.Minute}}, Missing: true,
		},
		{
			// Everybody goes by the TTL: nothing to find, and it settles.
			Name: "healthy", TTL: ttl, Resolvers: []string{"unbound", "bind", "dnsmasq"}, Agents: []string{"web", "new"},
			Populations: []Population{
				{Name: "honest", Habit: lab.Honest, Host: "web", Via: "unbound", Clients: 60},
				{Name: "other", Habit: lab.Honest, Host: "web", Via: "bind", Clients: 40},
			},
			How: Armed, Warm: 20 * time.Second, After: 150 * time.Second, Settles: true,
		},
		{
			// 2 % stay.
			Name: "tail", TTL: ttl, Resolvers: []string{"unbound"}, Agents: []string{"web"},
			Populations: []Population{
				{Name: "honest", Habit: lab.Honest, Host: "web", Via: "unbound", Clients: 196},
				{Name: "pooled", Habit: lab.Pooled, Host: "web", Via: "unbound", Clients: 4},
			},
			How: Armed, Warm: 20 * time.Second, After: 150 * time.Second, Wants: []Want{held},
		},
		{
			Name: "noticed", TTL: ttl, Resolvers: []string{"unbound"}, Agents: []string{"web"},
			Populations: []Population{
				{Name: "honest", Habit: lab.Honest, Host: "web", Via: "unbound", Clients: 30},
				{Name: "pooled", Habit: lab.Pooled, Host: "web", Via: "unbound", Clients: 20},
			},
			How: Noticed, Warm: 40 * time.Second, After: 90 * time.Second, Wants: []Want{held},
		},
		{
			Name: "close", TTL: ttl, Resolvers: []string{"unbound"}, Agents: []string{"web"},
			Populations: []Population{
				{Name: "honest", Habit: lab.Honest, Host: "web", Via: "unbound", Clients: 20},
				{Name: "pooled", Habit: lab.Pooled, Host: "web", Via: "unbound", Clients: 20},
				{Name: "others", Habit: lab.Pooled, Host: "isp", Via: "unbound", Clients: 20},
			},
			How: Armed, Warm: 20 * time.Second, After: 60 * time.Second, Wants: []Want{held}, CloseStale: 35 * time.Second,
		},
	}
}

// every is the zoo, but for the zone's own servers.
func every() (names []string) {
	for _, r := range Zoo() {
		if r.Kind != KindServer {
			names = append(names, r.Name)
		}
	}
	return names
}

// behindEach are honest clients behind each resolver that answers with an address
// of the site.
func behindEach() (all []Population) {
	for i, r := range Zoo() {
		if r.Kind == KindHonest || r.Kind == KindExtender || r.Kind == KindStale {
			all = append(all, Population{Name: fmt.Sprintf("behind%d", i), Habit: lab.Honest, Host: "web", Via: r.Name, Clients: 10})
		}
	}
	return all
}

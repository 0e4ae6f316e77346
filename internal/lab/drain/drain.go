// Package drain plays switches from an old address to a new one against real
// name servers and resolvers, with clients that write down what they really held,
// and judges what the agents said against that.
//
// A [Cell] is one switch as data; [Cells] are all of them. [Run] plays it in a
// world of its own with agents as a user runs them, and asks beside them each
// second what dig says of every resolver, and what blackbox_exporter's probes say.
package drain

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// Site is the name whose address changes, and the zone that it is the top of.
const Site = "shop.example"

// port is where it is served, besidePort where its old address serves something
// else.
const (
	port       = 80
	besidePort = 8080
)

// Cell is one switch, as data.
type Cell struct {
	Name string
	// TTL of the answers before the switch.
	TTL time.Duration
	// Resolvers are those of the zoo that are asked, by name; see [Zoo].
	Resolvers []string
	// Populations are the clients.
	Populations []Population
	// Agents are the hosts that have one: "web", "isp" and "api" have clients, "old"
	// and "new", or "edge", the site.
	Agents []string
	// Edge has one host, "edge", hold the old and the new address.
	Edge bool
	// How the agents learn of the switch.
	How How
	// Follow is the name that agents follow and clients visit; empty: Site. See
	// [lab.Zone] for those that there are.
	Follow string
	// Kept gives the name another address, before the switch and after it.
	Kept bool
	// TakenAway: nothing comes for the old address; what is kept is left alone.
	TakenAway bool
	// IPv6 gives the name addresses of both kinds, and all clients IPv6 alone. With
	// OnlyA the switch, and what agents are told of it, is of the others alone.
	IPv6, OnlyA bool
	// LateSecondary has the second of the zone's servers find the switch by itself,
	// within a minute.
	LateSecondary bool
	// Reused gives the old address to another application at the switch.
	Reused bool
	// OldDead drops everything to and from the old address from the switch on.
	OldDead bool
	// CutOff are hosts that lose the zone's servers at the switch: resolvers there
	// have nobody to ask any more.
	CutOff []string
	// Silent are those of the resolvers that end at the switch. No agent is told of
	// them: they are strangers'.
	Silent []string
	// Warm is the time before the switch, After that from it to the end.
	Warm, After time.Duration
	// CloseStale, when it is not zero, is when after the switch the agent on "web"
	// is asked to close stale sockets.
	CloseStale time.Duration
	// Wants are the causes that must be found, and when.
	Wants []Want
	// Article is the article's scene: checks must be green while users fail.
	Article bool
	// Missing has the share of clients that arrive nowhere judged.
	Missing bool
	// Wrong is an address at which another application must be found; not valid: none.
	Wrong netip.Addr
	// Settles: it must settle by the end. Never: no agent may ever say that it has, or
	// that the old address may go, as one of Says is in the way.
	Settles, Never bool
	// Says are words that some agent must say after the switch.
	Says []string
	// Merged asks at the end for one answer of all agents, and for one where an
	// agent is silent.
	Merged bool
}

// Want is a cause that must be found within a time.
type Want struct {
	Cause string
	// AfterTTL counts from the switch plus TTL; else from the switch.
	AfterTTL bool
	Within   time.Duration
}

// How is the way in which agents learn of a switch.
type How string

// The ways.
const (
	Armed   How = "armed"   // both addresses are in the configuration
	ByHand  How = "by hand" // they are told at the switch
	Noticed How = "noticed" // only the name is in the configuration
)

// Population is some clients with one habit on one host.
type Population struct {
	Name  string
	Habit lab.Habit
	Host  string
	// Via is the resolver that they ask; empty for fixed ones, which connect To; not
	// valid: to the old address.
	Via     string
	To      netip.AddrPort
	Clients int
	// Every and Hold are as in [lab.Visitors].
	Every, Hold time.Duration
}

// Kind is how a resolver treats the TTL.
type Kind string

// The kinds.
const (
	KindServer   Kind = "authoritative"
	KindHonest   Kind = "honest"
	KindExtender Kind = "extender" // keeps answers for longer
	KindStale    Kind = "stale"    // answers with what has expired, where it cannot ask
	KindWrong    Kind = "wrong"    // answers with another address, always
	KindBogus    Kind = "bogus"    // validates, and the zone's signatures are missing
	KindHangs    Kind = "hangs"    // never answers
)

// Resolver is one name server of the zoo.
type Resolver struct {
	Name string
	Kind Kind
	Host string // of the world; empty: none
	Addr netip.Addr
}

// The world's addresses.
var (
	oldAddr   = netip.MustParseAddr("10.77.4.1")
	newAddr   = netip.MustParseAddr("10.77.5.1")
	wrongAddr = netip.MustParseAddr("10.77.6.1")
	keptAddr  = netip.MustParseAddr("10.77.10.1")
	oldAddr6  = netip.MustParseAddr("2001:db8:4::1")
	newAddr6  = netip.MustParseAddr("2001:db8:5::1")
)

// name is the one that is followed.
func (c *Cell) name() string { return cmp.Or(c.Follow, Site) }

// before and after are the name's addresses.
func (c *Cell) before() []netip.Addr { return c.addresses(oldAddr, oldAddr6) }

func (c *Cell) after() []netip.Addr {
	switch {
	case c.TakenAway:
		return []netip.Addr{keptAddr}
	case c.OnlyA:
		return c.addresses(newAddr, oldAddr6)
	}
	return c.addresses(newAddr, newAddr6)
}

func (c *Cell) addresses(four, six netip.Addr) []netip.Addr {
	all := []netip.Addr{four}
	if c.Kept {
		all = append(all, keptAddr)
	}
	if c.IPv6 {
		all = append(all, six)
	}
	return all
}

// told leaves those out that agents are not told of.
func (c *Cell) told(all []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(all), func(a netip.Addr) bool { return c.OnlyA && a.Is6() })
}

// Zoo are all name servers: the zone's two, and the resolvers.
func Zoo() []Resolver {
	at := netip.MustParseAddr
	return []Resolver{
		{"ns1", KindServer, "ns", at("10.77.1.1")},
		{"ns2", KindServer, "ns", at("10.77.1.2")},
		{"unbound", KindHonest, "dns", at("10.77.2.1")},
		{"bind", KindHonest, "dns", at("10.77.2.2")},
		{"unbound-min-900", KindExtender, "dns", at("10.77.2.3")},
		{"dnsmasq-min-900", KindExtender, "dns", at("10.77.2.4")},
		{"dnsmasq-wrong", KindWrong, "dns", at("10.77.2.5")},
		{"dnsmasq", KindHonest, "dns", at("10.77.2.6")},
		{"unbound-bogus", KindBogus, "dns", at("10.77.2.7")},
		{"unbound-expired", KindStale, "far", at("10.77.3.1")},
		{"bind-stale", KindStale, "far", at("10.77.3.2")},
		{"nobody", KindHangs, "", lab.Void().Addr().Next()},
	}
}

// asked are the resolvers that agents are told of.
func (c *Cell) asked() (all []Resolver) {
	for _, r := range Zoo() {
		if slices.Contains(c.Resolvers, r.Name) && !slices.Contains(c.Silent, r.Name) {
			all = append(all, r)
		}
	}
	return all
}

// resolver is the one of that name.
func resolver(name string) (Resolver, bool) {
	for _, r := range Zoo() {
		if r.Name == name {
			return r, true
		}
	}
	return Resolver{}, false
}

// zone is the site's, at first.
func (c *Cell) zone() lab.Zone {
	z := lab.Zone{Name: Site, Addresses: c.before(), TTL: c.TTL, Untold: c.LateSecondary}
	for _, r := range Zoo() {
		if r.Kind == KindServer {
			z.Servers = append(z.Servers, r.Addr)
		}
	}
	return z
}

// minTTL is what the extenders keep answers for.
const minTTL = 900 * time.Second

// software is what runs a resolver.
func (r Resolver) software(z lab.Zone) lab.Software {
	switch r.Name {
	case "ns1":
		return lab.BINDPrimary{Listen: r.Addr, Zone: z}
	case "ns2":
		return lab.BINDSecondary{Listen: r.Addr, Zone: z}
	case "bind", "bind-stale":
		return lab.BINDResolver{Listen: r.Addr, Zone: z, Stale: r.Kind == KindStale}
	case "unbound":
		return lab.Unbound{Listen: r.Addr, Zone: z}
	case "unbound-min-900":
		return lab.Unbound{Listen: r.Addr, Zone: z, MinTTL: minTTL}
	case "unbound-expired":
		return lab.Unbound{Listen: r.Addr, Zone: z, ServeExpired: true}
	case "unbound-bogus":
		return lab.Unbound{Listen: r.Addr, Zone: z, Validate: true}
	case "dnsmasq-min-900":
		return lab.Dnsmasq{Listen: r.Addr, Zone: z, MinTTL: minTTL}
	case "dnsmasq-wrong":
		return lab.Dnsmasq{Listen: r.Addr, Zone: z, Answer: wrongAddr}
	}
	return lab.Dnsmasq{Listen: r.Addr, Zone: z}
}

// systemOf is the resolver that a host of clients has in its resolv.conf.
func systemOf(host string) string {
	if host == "isp" {
		return "unbound-min-900"
	}
	return "unbound"
}

package detect

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// The size of a region.
const (
	destinations = 4
	// perRegion is how many connections the host keeps to each.
	perRegion = 160
	// freshEvery is the N of requests on a short connection: each Nth.
	freshEvery = 10
)

// regions is a world of two regions at work.
type regions struct {
	cell     *RegionCell
	world    *lab.World
	observer *lab.Host // where the agent and the clients are
	router   *lab.Host // between the observer and everything else
	checker  *lab.Host // beside the router: whoever else checks
	areas    []*area   // the first fails
}

// area is a region: a network with its destinations.
type area struct {
	name    string
	host    *lab.Host
	prefix  netip.Prefix
	members []*member
}

// failing is the region that has the fault.
func (r *regions) failing() *area { return r.areas[0] }

// has reports whether a destination is in the region.
func (a *area) has(remote netip.AddrPort) bool { return a.prefix.Contains(remote.Addr()) }

// each does something with every destination.
func (a *area) each(do func(*member) error) error {
	var errs []error
	for _, m := range a.members {
		errs = append(errs, do(m))
	}
	return errors.Join(errs...)
}

// The networks of the world, IPv4 and IPv6.
var (
	eastNetworks = [2]netip.Prefix{netip.MustParsePrefix("10.71.1.0/24"), netip.MustParsePrefix("fd77:1::/64")}
	westNetworks = [2]netip.Prefix{netip.MustParsePrefix("10.72.1.0/24"), netip.MustParsePrefix("fd77:2::/64")}
	homeNetworks = [2]netip.Prefix{netip.MustParsePrefix("10.70.1.0/24"), netip.MustParsePrefix("fd77:f::/64")}
)

// hosts are the first n addresses of a network after its own.
func hostsOf(network netip.Prefix, n int) []netip.Addr {
	var out []netip.Addr
	for at := network.Addr(); len(out) < n; {
		at = at.Next()
		out = append(out, at)
	}
	return out
}

// newRegions makes the world and starts the destinations. Close its world in any
// case.
func newRegions(ctx context.Context, cell *RegionCell) (*regions, error) {
	version := 0
	if cell.IPv6 {
		version = 1
	}
	r := &regions{cell: cell, areas: []*area{{name: "east", prefix: eastNetworks[version]}, {name: "west", prefix: westNetworks[version]}}}
	hosts := []lab.HostConfig{
		{Name: "router"}, {Name: "checker"},
		{Name: "observer", Router: "router", Addrs: hostsOf(homeNetworks[version], 1)},
	}
	if cell.IPv6 { // those on the bridge have IPv4 only
		hosts[1].Router, hosts[1].Addrs = "router", hostsOf(homeNetworks[version], 2)[1:]
	}
	for _, a := range r.areas {
		hosts = append(hosts, lab.HostConfig{Name: a.name, Router: "router", Addrs: hostsOf(a.prefix, destinations)})
	}
	var err error
	if r.world, err = lab.New(ctx, lab.Config{Hosts: hosts}); err != nil {
		return nil, err
	}
	r.observer, r.router, r.checker = r.world.Host("observer"), r.world.Host("router"), r.world.Host("checker")
	for _, a := range r.areas {
		a.host = r.world.Host(a.name)
		for _, at := range a.host.Addrs() {
			a.members = append(a.members, &member{host: a.host, at: at, app: lab.App{Service: usually}})
		}
		if err := a.each(func(m *member) error { return m.start(ctx) }); err != nil {
			return nil, errors.Join(err, r.world.Close())
		}
	}
	return r, nil
}

// remotes are all destinations.
func (r *regions) remotes() []netip.AddrPort {
	var out []netip.AddrPort
	for _, a := range r.areas {
		for _, m := range a.members {
			out = append(out, m.addr())
		}
	}
	return out
}

// config is the agent's configuration.
func (r *regions) config() string {
	var b strings.Builder
	b.WriteString(ownNamespace + "regions:\n")
	for _, a := range r.areas {
		fmt.Fprintf(&b, "  - {name: %s, cidrs: [%q]}\n", a.name, a.prefix)
	}
	if r.cell.Backends {
		b.WriteString("backends:\n  - {name: shop, process: {name: lab-load}}\n")
	}
	return b.String()
}

// introduction says for a person what is to come.
func (r *regions) introduction(how string) string {
	what := "its fault comes"
	if r.cell.Healthy {
		what = "events begin"
	}
	return fmt.Sprintf("%s: %s for %s; %s after %s", r.cell.Name, how, r.cell.Load.Duration, what, r.cell.At)
}

// startLoads begins to ask every destination, from a client program for each.
func (r *regions) startLoads(ctx context.Context) ([]*lab.Run, error) {
	var runs []*lab.Run
	for i, remote := range r.remotes() {
		load := r.cell.Load
		load.URL = fmt.Sprintf("http://%s/", remote)
		load.Seed = load.Seed*uint64(2*destinations) + uint64(i)
		run, err := r.observer.StartLoad(ctx, load)
		if err != nil {
			return nil, err
		}
		runs = append(runs, run)
	}
	return runs, nil
}

// The faults.

// treated makes the router treat what goes to and from the failing region so.
func treated(what string, t lab.Treatment) RegionEvent {
	return RegionEvent{0, what, func(ctx context.Context, r *regions) error {
		return r.router.Treat(ctx, r.failing().host, t)
	}}
}

// allKilled kills every server of the failing region.
func allKilled() RegionEvent {
	return RegionEvent{0, "all servers of a region are killed", func(_ context.Context, r *regions) error {
		return r.failing().each(func(m *member) error { return m.run.Kill() })
	}}
}

// allStopped stops every server of the failing region.
func allStopped() RegionEvent {
	return RegionEvent{0, "all servers of a region stop in good order", func(_ context.Context, r *regions) error {
		return r.failing().each(func(m *member) error { return m.run.Stop() })
	}}
}

// allBehave makes every server of the failing region treat its requests so.
func allBehave(at time.Duration, what string, b lab.Behaviour) RegionEvent {
	return RegionEvent{at, what, func(ctx context.Context, r *regions) error {
		return r.failing().each(func(m *member) error { return m.run.Behave(ctx, b) })
	}}
}

// uplinkDropped loses, at the router, all that the observer sends and gets.
func uplinkDropped() RegionEvent {
	return RegionEvent{0, "the host's own uplink loses everything", func(ctx context.Context, r *regions) error {
		return r.router.Treat(ctx, r.observer, lab.Treatment{Loss: 100})
	}}
}

// uplinkUnplugged takes the carrier from the observer's link.
func uplinkUnplugged() RegionEvent {
	return RegionEvent{0, "the host's own uplink is unplugged", func(ctx context.Context, r *regions) error {
		return r.router.Unplug(ctx, r.observer)
	}}
}

// deployed restarts the servers of the failing region one after the other: each
// is away for one second and a half, and the next begins six seconds after it.
func deployed() []RegionEvent {
	var events []RegionEvent
	for i := range destinations {
		begin := time.Duration(i) * 6 * time.Second
		events = append(events,
			RegionEvent{begin, fmt.Sprintf("server %d stops", i+1), func(_ context.Context, r *regions) error { return r.failing().members[i].run.Stop() }},
			RegionEvent{begin + 1500*time.Millisecond, fmt.Sprintf("server %d starts", i+1), func(ctx context.Context, r *regions) error {
				return r.failing().members[i].start(ctx)
			}},
		)
	}
	return events
}

package drain

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// stage is a world at work.
type stage struct {
	cell        *Cell
	world       *lab.World
	zone        lab.Zone
	servers     map[string]*lab.Server // the zoo's, by name
	populations []*lab.Visiting        // as in the cell
	oldSite     *lab.Server            // the application at the old address
	flipped     time.Time              // when the update was sent
}

// clientHosts are those that clients are on.
var clientHosts = []string{"web", "isp", "api"}

// build makes the world with everything but the clients.
func build(ctx context.Context, cell *Cell) (*stage, error) {
	addr := func(name string) netip.Addr { return netip.MustParseAddr(name) }
	hosts := []lab.HostConfig{{Name: "gate"}, {Name: "wrong", Addrs: []netip.Addr{wrongAddr}}, {Name: "kept", Addrs: []netip.Addr{keptAddr}}, {Name: "web", Addrs: []netip.Addr{addr("10.77.7.1")}}, {Name: "isp", Addrs: []netip.Addr{addr("10.77.8.1")}}, {Name: "api", Addrs: []netip.Addr{addr("10.77.9.1")}}}
	if cell.Edge {
		hosts = append(hosts, lab.HostConfig{Name: "edge", Addrs: []netip.Addr{oldAddr, newAddr}})
	} else {
		hosts = append(hosts, lab.HostConfig{Name: "old", Addrs: []netip.Addr{oldAddr}}, lab.HostConfig{Name: "new", Addrs: []netip.Addr{newAddr}})
	}
	six := map[string]netip.Addr{"web": addr("2001:db8:7::1"), "old": oldAddr6, "new": newAddr6}
	for i, h := range hosts {
		if cell.IPv6 && six[h.Name].IsValid() {
			hosts[i].Router, hosts[i].Addrs = "gate", append(h.Addrs, six[h.Name])
		}
	}
	for _, r := range Zoo() {
		if r.Host == "" {
			continue
		}
		i := slices.IndexFunc(hosts, func(h lab.HostConfig) bool { return h.Name == r.Host })
		if i < 0 {
			i, hosts = len(hosts), append(hosts, lab.HostConfig{Name: r.Host})
		}
		hosts[i].Addrs = append(hosts[i].Addrs, r.Addr)
	}
	world, err := lab.New(ctx, lab.Config{Hosts: hosts})
	if err != nil {
		return nil, err
	}
	st := &stage{cell: cell, world: world, zone: cell.zone(), servers: map[string]*lab.Server{}}
	if err := st.serve(ctx); err != nil {
		return nil, errors.Join(err, world.Close())
	}
	return st, nil
}

// serve starts the name servers that the cell has, and the applications.
func (st *stage) serve(ctx context.Context) error {
	for _, r := range Zoo() {
		if r.Host == "" || r.Kind != KindServer && !slices.Contains(st.cell.Resolvers, r.Name) {
			continue
		}
		server, err := st.world.Host(r.Host).Serve(ctx, r.software(st.zone))
		if err != nil {
			return err
		}
		st.servers[r.Name] = server
	}
	type app struct {
		host string
		at   netip.AddrPort
		site string
	}
	at := netip.AddrPortFrom
	apps := []app{
		{st.hostOf(oldAddr), at(oldAddr, port), Site}, {st.hostOf(oldAddr), at(oldAddr, besidePort), otherSite},
		{st.hostOf(newAddr), at(newAddr, port), Site}, {"kept", at(keptAddr, port), Site}, {"wrong", at(wrongAddr, port), otherSite},
	}
	if st.cell.IPv6 {
		apps = append(apps, app{"old", at(oldAddr6, port), Site}, app{"new", at(newAddr6, port), Site})
	}
	for i, a := range apps {
		server, err := st.world.Host(a.host).Serve(ctx, lab.App{Listen: a.at, Site: a.site})
		if err != nil {
			return err
		}
		if i == 0 {
			st.oldSite = server
		}
	}
	return nil
}

// otherSite is another application.
const otherSite = "parked.example"

// hostOf is the host that has one of the site's addresses.
func (st *stage) hostOf(a netip.Addr) string {
	switch {
	case st.cell.Edge:
		return "edge"
	case a == oldAddr:
		return "old"
	}
	return "new"
}

// visit starts the clients.
func (st *stage) visit(ctx context.Context) error {
	for _, p := range st.cell.Populations {
		v := lab.Visitors{Name: p.Name, Habit: p.Habit, Site: st.cell.name(), Port: port, IPv6: st.cell.IPv6, Clients: p.Clients, Every: p.Every, Hold: p.Hold}
		switch {
		case p.Habit == lab.Fixed && p.To.IsValid():
			v.Address, v.Port = p.To.Addr(), p.To.Port()
		case p.Habit == lab.Fixed:
			v.Address = oldAddr
		default:
			r, found := resolver(p.Via)
			if !found {
				return fmt.Errorf("population %s: the zoo has no resolver %q", p.Name, p.Via)
			}
			v.Resolver = r.Addr
		}
		visiting, err := st.world.Host(p.Host).StartVisitors(ctx, v)
		if err != nil {
			return err
		}
		st.populations = append(st.populations, visiting)
	}
	return nil
}

// flip points the name to the new address, and does what else the cell has happen
// then, that first.
func (st *stage) flip(ctx context.Context) error {
	for _, name := range st.cell.Silent {
		if err := st.servers[name].Kill(); err != nil {
			return err
		}
	}
	for _, name := range st.cell.CutOff {
		if err := st.world.Host(name).Blackhole(ctx, st.world.Host("ns")); err != nil {
			return err
		}
	}
	if st.cell.OldDead {
		for _, name := range slices.Concat(clientHosts, []string{"dns"}) {
			if err := st.world.Host(st.hostOf(oldAddr)).Blackhole(ctx, st.world.Host(name)); err != nil {
				return err
			}
		}
	}
	if st.cell.Reused {
		if err := st.oldSite.Stop(); err != nil {
			return err
		}
		if _, err := st.world.Host("old").Serve(ctx, lab.App{Listen: netip.AddrPortFrom(oldAddr, port), Site: otherSite}); err != nil {
			return err
		}
	}
	st.flipped = time.Now()
	return st.world.Host("ns").Flip(ctx, st.zone, st.cell.after()...)
}

// finish ends the clients and returns what each held.
func (st *stage) finish() ([]Crowd, error) {
	var crowds []Crowd
	for i, v := range st.populations {
		visits, err := v.Finish()
		if err != nil {
			return nil, err
		}
		crowds = append(crowds, Crowd{st.cell.Populations[i], visits})
	}
	return crowds, nil
}

// dir makes a directory in the world's own.
func (st *stage) dir(name string) (string, error) {
	dir := filepath.Join(st.world.Dir(), name)
	return dir, os.Mkdir(dir, 0o755)
}

package detect

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// appPort is where applications answer.
const appPort = 8080

// spares is how many hosts stand ready for backends that a cell adds.
const spares = 1

// pool is a world of backends at work.
type pool struct {
	cell                 *BackendCell
	world                *lab.World
	host, client, others *lab.Host // the balancer's; the clients'; what else the balancer's host talks to
	watcher              *lab.Host // the agent's
	members              []*member
	balancer             *lab.Server
	database             *lab.Server
	url                  string

	agent *agent    // none while a trace is recorded
	fault time.Time // when the fault comes, or came

	mu        sync.Mutex
	restored  time.Time // when an event started the failing backend again
	followed  []*Followed
	following sync.WaitGroup
}

// member is a backend, or a destination in a region: its host, its address there,
// and the application that runs now.
type member struct {
	host *lab.Host
	at   netip.Addr
	app  lab.App
	run  *lab.Server
}

func (m *member) addr() netip.AddrPort { return netip.AddrPortFrom(m.at, appPort) }

func (m *member) start(ctx context.Context) (err error) {
	app := m.app
	app.Listen = m.addr()
	m.run, err = m.host.Serve(ctx, app)
	return err
}

// failing is the backend that has the fault.
func (p *pool) failing() *member { return p.members[0] }

// addrs are the backends' addresses, the spare ones left out.
func (p *pool) addrs() []netip.AddrPort {
	var out []netip.AddrPort
	for _, m := range p.members[:len(p.cell.Apps)] {
		out = append(out, m.addr())
	}
	return out
}

// newPool makes the world and starts what the cell needs but the load. Close
// its world in any case.
func newPool(ctx context.Context, cell *BackendCell) (*pool, error) {
	hosts := []lab.HostConfig{{Name: "balancer", Contained: cell.Contained}, {Name: "client"}, {Name: "others"}, {Name: "watcher"}}
	for i := range len(cell.Apps) + spares {
		hosts = append(hosts, lab.HostConfig{Name: fmt.Sprintf("backend%d", i+1)})
	}
	world, err := lab.New(ctx, lab.Config{Hosts: hosts})
	if err != nil {
		return nil, err
	}
	p := &pool{cell: cell, world: world, host: world.Host("balancer"), client: world.Host("client"), others: world.Host("others")}
	p.watcher = p.host
	if cell.Contained {
		p.watcher = world.Host("watcher")
	}
	for i := range len(cell.Apps) + spares {
		host := world.Host(fmt.Sprintf("backend%d", i+1))
		p.members = append(p.members, &member{host: host, at: host.Addr(), app: cell.Apps[min(i, len(cell.Apps)-1)]})
	}
	if err := p.serve(ctx); err != nil {
		return nil, errors.Join(err, world.Close())
	}
	return p, nil
}

func (p *pool) serve(ctx context.Context) (err error) {
	for _, m := range p.members[:len(p.cell.Apps)] {
		if err := m.start(ctx); err != nil {
			return err
		}
	}
	if p.balancer, err = p.host.Serve(ctx, p.cell.Balancer.Software(p.addrs())); err != nil {
		return err
	}
	p.url = "http://" + p.balancer.Addr().String() + "/"
	if p.database, err = p.others.Serve(ctx, lab.App{Listen: netip.AddrPortFrom(p.others.Addr(), databasePort)}); err != nil {
		return err
	}
	for _, c := range p.cell.Pools {
		if c.Later {
			continue
		}
		if err := p.startClients(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// databasePort is where the fourth host answers, which no balancer talks to.
const databasePort = 5432

func (p *pool) startClients(ctx context.Context, c PoolCell) error {
	servers := []netip.AddrPort{p.database.Addr()}
	if c.Backends {
		servers = []netip.AddrPort{p.failing().addr()}
	}
	_, err := p.host.StartPool(ctx, lab.Pool{Servers: servers, Leak: c.Leak})
	return err
}

// introduction says for a person what is to come.
func (p *pool) introduction(how string) string {
	what := fmt.Sprintf("%s has its fault", p.failing().addr())
	if p.cell.Healthy {
		what = "events begin"
	}
	return fmt.Sprintf("%s: %s for %s; %s after %s", p.cell.Name, how, p.cell.Load.Duration, what, p.cell.At)
}

// startLoad begins the cell's load.
func (p *pool) startLoad(ctx context.Context) (*lab.Run, time.Time, error) {
	load := p.cell.Load
	load.URL = p.url
	run, err := p.client.StartLoad(ctx, load)
	return run, time.Now(), err
}

// restartMember starts a backend again.
func (p *pool) restartMember(ctx context.Context, m *member) error {
	if err := m.start(ctx); err != nil {
		return err
	}
	if m == p.failing() {
		p.mu.Lock()
		p.restored = time.Now()
		p.mu.Unlock()
	}
	return nil
}

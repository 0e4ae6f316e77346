package agent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/dial"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe/balancer"
	"github.com/foreshock/foreshock/internal/observe/discover"
	"github.com/foreshock/foreshock/internal/observe/resolve"
	"github.com/foreshock/foreshock/internal/scope"
)

const (
	// askTimeout is how long a balancer or a name server may take.
	askTimeout = 2 * time.Second
	// membersEvery is how often members are asked for where the opinion is not.
	membersEvery = 30 * time.Second
	// askAtOnce is how many are asked side by side: one that hangs must not
	// keep the others waiting.
	askAtOnce = 8
	// rotates is how long an address that a name no longer stands for, or a
	// member that answers in part leave out, stays a backend: resolvers rotate
	// their answers, and pools keep connections.
	rotates = 10 * time.Minute
)

// opinion is what one balancer said of one of its members.
type opinion struct {
	group, name string
	remote      netip.AddrPort
	status      balancer.Status
}

// answer is what asking one pool came to.
type answer struct {
	pool     string
	members  []discover.Member
	partial  bool // members may be missing
	failed   bool // nothing was answered
	opinions []opinion
	problem  string // for the limits; empty when all is well
	seen     time.Time
	every    time.Duration
}

// asks reports whether somebody has to be asked for the pool's members.
func asks(b config.Backends) bool {
	return b.Discover.Source() != "" && len(b.Discover.Static) == 0
}

// every is how often the pool is asked for.
func every(b config.Backends) time.Duration {
	if b.Status > 0 {
		return b.Status
	}
	return membersEvery
}

// askBalancers asks for the members of pools, and for what their balancers
// think of them, until ctx ends. The loop takes the answers between two looks.
func (a *agent) askBalancers(ctx context.Context) error {
	due := map[string]time.Time{}
	asker := newAsker(a.clock, a.dialer)
	for {
		now := a.clock.Now()
		next := now.Add(membersEvery)
		var pools []config.Backends
		for _, b := range *a.pools.Load() {
			if !asks(b) {
				continue
			}
			if !due[b.Name].After(now) {
				due[b.Name] = now.Add(every(b))
				pools = append(pools, b)
			}
			next = earlier(next, due[b.Name])
		}
		asker.each(ctx, pools, func(_ int, x answer) {
			// The agent is stopping when this fails.
			_ = a.ask(ctx, func(h *Host) error {
				for _, r := range h.of {
					r.take(x)
				}
				return nil
			})
		})
		timer := time.NewTimer(max(0, next.Sub(a.clock.Now())))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-a.poolsChanged:
			timer.Stop()
			clear(due)
		case <-timer.C:
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// asker asks whoever knows the members of pools.
type asker struct {
	clock  *Clock
	dialer *dial.Dialer
	names  namesSeen
}

func newAsker(clock *Clock, dialer *dial.Dialer) *asker {
	// What is too long for UDP comes by TCP.
	return &asker{clock: clock, dialer: dialer, names: namesSeen{resolver: &net.Resolver{Dial: dialer.DialContext}}}
}

// each asks for all of the pools, a few at a time, and hands over each answer
// with its pool's place as it comes, from several goroutines.
func (x *asker) each(ctx context.Context, pools []config.Backends, take func(i int, of answer)) {
	group, limited := errgroup.WithContext(ctx)
	group.SetLimit(askAtOnce)
	for i, b := range pools {
		group.Go(func() error {
			take(i, x.ask(limited, b))
			return nil
		})
	}
	_ = group.Wait()
}

// ask asks for one pool.
func (x *asker) ask(ctx context.Context, b config.Backends) answer {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	out := answer{pool: b.Name, every: every(b)}
	var said balancer.Answer
	var err error
	switch d := b.Discover; {
	case d.HAProxySocket != "":
		said, err = balancer.HAProxy(ctx, d.HAProxySocket)
	case d.TraefikAPI != "":
		said, err = balancer.Traefik(ctx, d.TraefikAPI, x.dialer.DialContext)
	case d.TraefikFile != "":
		said, err = balancer.TraefikFile(d.TraefikFile)
	default:
		said, err = x.names.members(ctx, x.clock.Now(), d.DNS)
	}
	out.seen, out.partial = x.clock.Now(), said.Partial
	switch {
	case err != nil:
		out.problem, out.failed = err.Error(), true
	case len(said.Problems) > 0:
		out.problem = said.Problems[0]
		if more := len(said.Problems) - 1; more > 0 {
			out.problem += fmt.Sprintf(", and %d more", more)
		}
	}
	for _, m := range said.Members {
		remotes := []netip.AddrPort{m.Address}
		if !m.Address.IsValid() {
			var left string
			remotes, left, err = x.names.lookUp(ctx, out.seen, m.Host, m.Port)
			if left != "" && out.problem == "" {
				out.problem = left
			}
			if err != nil {
				out.problem = err.Error()
			}
		}
		for _, remote := range remotes {
			out.members = append(out.members, discover.Member{Group: m.Group, Name: m.Name, Remote: remote})
			if b.Status > 0 && m.Status != balancer.Unknown {
				out.opinions = append(out.opinions, opinion{m.Group, m.Name, remote, m.Status})
			}
		}
	}
	return out
}

// namesSeen remembers what names stood for. It is safe for concurrent use.
type namesSeen struct {
	resolver *net.Resolver // nil: the system's

	mu    sync.Mutex
	names resolve.Names
}

// members are the addresses of names with ports, each of them one.
func (n *namesSeen) members(ctx context.Context, now time.Time, targets []string) (balancer.Answer, error) {
	var out balancer.Answer
	for _, target := range targets {
		host, port, err := resolve.Split(target)
		if err != nil {
			return out, err
		}
		remotes, left, err := n.lookUp(ctx, now, host, port)
		if left != "" {
			out.Problems = append(out.Problems, left)
		}
		if err != nil {
			out.Problems = append(out.Problems, err.Error()) // nobody is missing: its past is remembered
		}
		for _, remote := range remotes {
			out.Members = append(out.Members, balancer.Member{Name: fmt.Sprintf("%s (%s)", host, remote), Address: remote})
		}
	}
	return out, nil
}

// lookUp resolves a host with the system's resolvers. It returns what the name
// stands for now and stood for lately, also with an error: a resolver that is
// down takes no backend away. left says that the name has more addresses than
// are taken, empty when it has not.
func (n *namesSeen) lookUp(ctx context.Context, now time.Time, host string, port uint16) (out []netip.AddrPort, left string, err error) {
	answer, err := resolve.Resolve(ctx, n.resolver.LookupNetIP, host)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names.Step(now, host, answer)
	addresses, leftOut := n.names.Addresses(host, now.Add(-rotates))
	if leftOut > 0 {
		left = fmt.Sprintf("%s has %d addresses more than the %d that are taken", host, leftOut, resolve.MaxAddresses)
	}
	for _, addr := range addresses {
		out = append(out, netip.AddrPortFrom(addr, port))
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	return out, left, err
}

// take takes over what asking a pool came to; the next step gets the opinions.
func (p *Pipeline) take(x answer) {
	if p.finder.take(x, p.place.name) {
		p.setScopes()
	}
	for _, o := range x.opinions {
		if id, ok := p.finder.backend(x.pool, o); ok {
			up := o.status == balancer.Up || o.status == balancer.NoCheck
			p.opinions = append(p.opinions, measure.Opinion{Scope: id, Up: up, Seen: x.seen, Good: time.Duration(measure.StaleAfter * float64(x.every))})
		}
	}
}

// take gives a pool its members, and reports whether the backends changed. No
// answer takes none away; one that may lack members, none that was named a
// while ago: where some are always missing, those replaced would be kept for
// ever.
func (f *backendFinder) take(x answer, namespace string) bool {
	i := slices.IndexFunc(f.pools, func(p *pool) bool { return p.name == x.pool && p.fixed })
	if i < 0 {
		return false // reconfigured meanwhile
	}
	p := f.pools[i]
	p.problem = x.problem
	members, named := x.members, make(map[discover.Member]time.Time, len(x.members))
	for _, m := range members {
		named[m] = x.seen
	}
	for _, m := range p.members {
		last := p.named[m]
		if x.failed {
			last = x.seen
		}
		if _, again := named[m]; !again && (x.failed || x.partial && x.seen.Sub(last) < rotates) {
			members, named[m] = append(members, m), last
		}
	}
	p.members, p.named = members, named
	return f.rebuild(x.seen, namespace)
}

// backend is the scope that a balancer's opinion is about.
func (f *backendFinder) backend(pool string, o opinion) (scope.ID, bool) {
	name := discover.Member{Group: o.group, Name: o.name, Remote: o.remote}.NameIn(pool)
	for _, i := range f.at[o.remote] {
		if b := &f.backends[i]; b.Name == name || slices.Contains(b.Also, name) {
			return b.ID(), true
		}
	}
	return scope.ID{}, false
}

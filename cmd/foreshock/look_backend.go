package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/agent"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/observe/discover"
	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// noBalancer says why there is no backend to group by.
const noBalancer = "backends: no known balancer runs here; recognised are %s. Pools of other programs are those under backends: of a configuration: name it with --config"

// gathered is one network namespace on the way to its backends.
type gathered struct {
	netns.Found
	label     string // empty for our own
	reader    observe.Reader
	listeners []tcp.Socket
	peers     []discover.Peer
	services  *scope.Index // only to tell clients apart: their names do not matter
	left      int          // connections to peers beyond those gathered
}

// where begins what is said of a namespace other than our own.
func (g *gathered) where() string {
	if g.label == "" {
		return ""
	}
	return fmt.Sprintf("namespace %s: ", g.label)
}

// everyBackend counts by backend in each namespace that may be read: one look
// finds out whom everybody there talks to, a second counts the connections of
// those that balancers or configured processes have.
func (c *counted) everyBackend() error {
	spaces, err := c.gather()
	defer func() {
		for i := range spaces {
			_ = spaces[i].reader.Close() // only read from
		}
	}()
	if err != nil {
		return err
	}
	var listening []owner.Listener
	for i := range spaces {
		listening = append(listening, discover.Listening(spaces[i].listeners, spaces[i].ID)...)
	}
	selectors, pools := poolsOf(c.options.config)
	chosen, limits, err := owner.Choose("/proc", selectors, listening)
	if err != nil {
		return fmt.Errorf("search the processes for balancers: %w", err)
	}
	for _, reason := range limits.Reasons() {
		c.limits = append(c.limits, "backends: processes: "+reason)
	}
	running := 0
	for i := range spaces {
		g := &spaces[i]
		found, runs := c.backendsIn(g, pools, chosen)
		running += runs
		first := len(c.backends)
		c.backends = append(c.backends, found...)
		backends := scope.NewBackendIndex(found)
		err := c.count(g.reader, g.where(), true, func(s *tcp.Socket) key {
			if at := backends.Backend(s); at != scope.None {
				return key{backend: first + at}
			}
			return key{backend: scope.None}
		})
		if err != nil {
			c.complete = false
			c.limits = append(c.limits, g.where()+err.Error())
		}
	}
	if running == 0 && len(c.backends) == 0 {
		var names []string
		for _, known := range owner.Balancers() {
			names = append(names, known.Software)
		}
		c.limits = append(c.limits, fmt.Sprintf(noBalancer, strings.Join(names, ", ")))
	} else if len(c.backends) > 0 {
		c.limits = append(c.limits, "which connections are a balancer's health checks: the agent can tell after a while")
	}
	return nil
}

// gather opens every namespace that may be read and looks who listens there,
// and whom everybody there talks to. The caller closes the readers, also with
// an error.
func (c *counted) gather() ([]gathered, error) {
	found, limits, err := netns.List("/proc")
	if err != nil {
		return nil, err
	}
	for _, reason := range limits.Reasons {
		c.limits = append(c.limits, "namespaces of processes: "+reason)
	}
	scratch := tcp.NewScratch()
	used := map[string]bool{}
	var out []gathered
	for _, n := range found {
		if !n.Own && c.options.config.Observe.Namespaces == config.HostNamespace {
			continue
		}
		g := gathered{Found: n}
		var space observe.Space
		if n.Own {
			space, err = observe.OpenOwn(c.options.source, scratch)
		} else {
			g.label = n.Name
			for i := 2; used[g.label]; i++ {
				g.label = fmt.Sprintf("%s~%d", n.Name, i)
			}
			used[g.label] = true
			space, err = observe.OpenIn("/proc", n, c.options.source, scratch)
		}
		if err == nil {
			if space.Counters != nil {
				_ = space.Counters.Close() // only sockets are counted here
			}
			g.reader = space.Reader
			if err = c.talks(&g); err != nil {
				err = errors.Join(err, g.reader.Close())
			}
		}
		switch {
		case errors.Is(err, netns.ErrStuck), err != nil && n.Own:
			return out, err
		case errors.Is(err, netns.ErrGone):
			c.limits = append(c.limits, g.where()+"it ended while looking")
		case err != nil:
			c.complete = false
			c.limits = append(c.limits, g.where()+err.Error())
		default:
			if space.Fallback != nil {
				c.limits = append(c.limits, fmt.Sprintf("%ssock_diag is refused, /proc is read instead: %v", g.where(), space.Fallback))
			}
			out = append(out, g)
		}
	}
	return out, nil
}

// talks looks who listens in a namespace, and whom everybody there talks to.
func (c *counted) talks(g *gathered) error {
	var err error
	if g.label == "" {
		c.limits = append(c.limits, g.reader.Abilities().Missing()...)
	}
	if g.listeners, err = c.listeners(g.reader); err != nil {
		return err
	}
	services, _ := discover.Services(g.listeners, nil, nil)
	g.services = scope.NewIndex(services)
	var peers discover.Peers
	peers.Begin(nil)
	request := tcp.Request{States: tcp.MaskOf(tcp.Established, tcp.SynSent, tcp.CloseWait), Filter: c.options.filter}
	if _, err := g.reader.Read(request, func(batch []tcp.Socket) { peers.Add(batch, g.services) }); err != nil {
		return err
	}
	g.peers, g.left = peers.List(), peers.Left
	return nil
}

// poolsOf are the pools to look for and how their processes are chosen: those
// of the configuration, then the balancers that are known.
func poolsOf(cfg config.Config) (selectors []owner.Selector, pools []discover.Pool) {
	for _, b := range cfg.Backends {
		pool := discover.Pool{Name: b.Name, Configured: true, Source: "configured"}
		for _, m := range b.Discover.Static {
			pool.Members = append(pool.Members, discover.Member{Name: m.Name, Remote: m.Remote})
		}
		selectors, pools = append(selectors, agent.Selector(b.Process)), append(pools, pool)
	}
	for _, known := range owner.Balancers() {
		selectors, pools = append(selectors, known), append(pools, discover.Pool{Name: known.Software})
	}
	return selectors, pools
}

// backendsIn are the backends of the pools in one namespace, and how many
// processes have them.
func (c *counted) backendsIn(g *gathered, pools []discover.Pool, chosen [][]owner.Chosen) (out []scope.Backend, running int) {
	if g.left > 0 {
		c.limits = append(c.limits, fmt.Sprintf("%sbackends: %s to remote addresses beyond the first %s were not asked for", g.where(), count(g.left, "connection", "connections"), thousands(len(g.peers))))
	}
	servers := discover.Servers("/proc", chosen, g.ID, nil, time.Now())
	var here []discover.Pool
	for i, pool := range pools {
		theirs, unseen := servers[i].TalksTo("/proc", g.peers)
		pool.Observed = theirs
		pool.Runs(&servers[i])
		for _, reason := range unseen.Reasons() {
			c.limits = append(c.limits, g.where()+"backends of "+pool.Name+": "+reason)
		}
		if len(theirs) > 0 && pool.Shared != "" {
			c.limits = append(c.limits, g.where()+"backends of "+pool.Name+": "+pool.Shared)
		}
		if len(theirs) == 0 && len(pool.Members) == 0 && len(pool.PIDs) > 0 {
			c.limits = append(c.limits, fmt.Sprintf("%sbackends of %s: no connection of its %s is seen now", g.where(), pool.Name, count(len(pool.PIDs), "process", "processes")))
		}
		running += len(pool.PIDs)
		// As the agent has it: a list without a process here belongs to our own
		// namespace, and there only if its process is nowhere else.
		if len(pool.PIDs) == 0 && (g.label != "" || len(chosen[i]) > 0) {
			continue
		}
		here = append(here, pool)
	}
	out = discover.Backends(here)
	for i := range out {
		out[i].Namespace = g.label
	}
	return out, running
}

// who says which processes talk to a backend: "haproxy (812)".
func who(b *scope.Backend) string {
	if len(b.PIDs) == 1 {
		return fmt.Sprintf("%s (%d)", b.Process, b.PIDs[0])
	}
	return fmt.Sprintf("%s, %s", b.Process, count(len(b.PIDs), "process", "processes"))
}

// backendCells are the numbers of a backend: what it owes and for how long the
// oldest of that, and what its sockets are stuck in.
func (c *counted) backendCells(n *measure.Counts, wait time.Duration) []string {
	pending, longest := "–", "–"
	if c.reader == sourceWithInfo {
		pending = strconv.Itoa(n.Pending)
		if n.Pending > 0 {
			longest = fmt.Sprintf("%.1f s", wait.Seconds())
		}
	}
	cells := []string{strconv.Itoa(n.States[tcp.Established]), pending, longest, strconv.Itoa(n.Retransmitting)}
	for _, s := range []tcp.State{tcp.SynSent, tcp.CloseWait, tcp.TimeWait} {
		cells = append(cells, strconv.Itoa(n.States[s]))
	}
	return cells
}

var backendColumns = []string{"estab", "pending", "longest", "retrans", "syn_sent", "close_wait", "time_wait"}

// waitBut is the longest wait of the groups that rows leave out.
func (c *counted) waitBut(rows []measure.Row[key]) time.Duration {
	var longest time.Duration
	for k, wait := range c.waits {
		if !slices.ContainsFunc(rows, func(r measure.Row[key]) bool { return r.Key == k }) {
			longest = max(longest, wait)
		}
	}
	return longest
}

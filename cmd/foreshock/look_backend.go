package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/agent"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe/discover"
	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// noBalancer says why there is no backend to group by.
const noBalancer = "backends: no known balancer runs here; recognised are %s. Pools of other programs are those under backends: of a configuration: name it with --config"

// everyBackend counts by backend in each namespace that may be read: one look
// finds out whom everybody there talks to, a second counts the connections of
// those that balancers or configured processes have.
func (c *counted) everyBackend() error {
	spaces, err := c.openSpaces(c.talks)
	defer closeSpaces(spaces)
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
		err := c.countIn(g, func(s *tcp.Socket) key {
			if at := backends.Backend(s); at != scope.None {
				return key{backend: first + at}
			}
			return key{backend: scope.None}
		})
		if err != nil {
			return err
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

// talks looks whom everybody in a namespace talks to.
func (c *counted) talks(g *space) error {
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
func (c *counted) backendsIn(g *space, pools []discover.Pool, chosen [][]owner.Chosen) (out []scope.Backend, running int) {
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
// oldest of that, which takes tcp_info, and what its sockets are stuck in.
func (c *counted) backendCells(n *measure.Counts, wait time.Duration, info bool) []string {
	pending, longest := "–", "–"
	if info {
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

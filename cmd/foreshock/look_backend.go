package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/observe/discover"
	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// noBalancer says why there is no backend to group by.
const noBalancer = "backends: no known balancer runs here; recognised are %s. Pools of other programs are the agent's: name them under backends: in its configuration"

// backendKey finds out whom the known balancers talk to, and returns the
// function that names a socket's backend.
func (c *counted) backendKey(reader observe.Reader, listeners []tcp.Socket) (func(*tcp.Socket) key, error) {
	namespace, err := netns.Self()
	if err != nil {
		return nil, fmt.Errorf("find our network namespace: %w", err)
	}
	services, _ := discover.Services(listeners, nil, nil) // only to tell clients apart: their names do not matter
	index := scope.NewIndex(services)
	var peers discover.Peers
	peers.Begin()
	request := tcp.Request{States: tcp.MaskOf(tcp.Established, tcp.SynSent, tcp.CloseWait), Filter: c.options.filter}
	if _, err := reader.Read(request, func(batch []tcp.Socket) { peers.Add(batch, index) }); err != nil {
		return nil, err
	}
	if peers.Left > 0 {
		c.limits = append(c.limits, fmt.Sprintf("backends: %s to remote addresses beyond the first %s were not asked for", count(peers.Left, "connection", "connections"), thousands(len(peers.List()))))
	}
	c.backends = c.backendsAmong(namespace, listeners, peers.List())
	backends := scope.NewBackendIndex(c.backends)
	return func(s *tcp.Socket) key { return key{backend: backends.Backend(s)} }, nil
}

// backendsAmong are the peers that known balancers talk to.
func (c *counted) backendsAmong(namespace tcp.Namespace, listeners []tcp.Socket, peers []discover.Peer) []scope.Backend {
	known := owner.Balancers()
	chosen, limits := owner.Choose("/proc", known, discover.Listening(listeners, namespace))
	servers := discover.Servers("/proc", chosen, namespace, nil)
	if limits.Err != nil {
		c.limits = append(c.limits, "backends: processes: "+limits.Err.Error())
	}
	var pools []discover.Pool
	var names []string
	running := 0 // processes of known balancers
	for i := range servers {
		names = append(names, known[i].Software)
		pool := discover.Pool{Name: known[i].Software}
		theirs, unseen := servers[i].TalksTo("/proc", peers)
		pool.Observed = theirs
		pool.Runs(&servers[i])
		pools = append(pools, pool)
		for _, reason := range unseen.Reasons() {
			c.limits = append(c.limits, "backends of "+pool.Name+": "+reason)
		}
		if len(theirs) > 0 && pool.Shared != "" {
			c.limits = append(c.limits, "backends of "+pool.Name+": "+pool.Shared)
		}
		if len(theirs) == 0 && len(pool.PIDs) > 0 {
			c.limits = append(c.limits, fmt.Sprintf("backends of %s: no connection of its %s is seen now", pool.Name, count(len(pool.PIDs), "process", "processes")))
		}
		running += len(pool.PIDs)
	}
	if running == 0 {
		c.limits = append(c.limits, fmt.Sprintf(noBalancer, strings.Join(names, ", ")))
	}
	return discover.Backends(pools)
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

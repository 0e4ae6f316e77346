package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/observe/discover"
	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// maxGroups bounds the memory of one look.
const maxGroups = 100_000

// key names a group; only the fields of its grouping are set.
type key struct {
	state   tcp.State
	service int // position, or scope.None for the rest
	backend int // the same
	region  int // position, unclassified or notOutgoing; with the namespace
	remote  netip.AddrPort
	prefix  netip.Prefix
	process string
	pid     int
	// nobody is why there is no process to name; empty when there is.
	nobody    string
	namespace tcp.Namespace
}

// Why a socket has no process, or none that we know. The first four have no
// inode in the kernel's own table, whoever asks.
const (
	nobodyWaiting  = "no process: waiting to be accepted"
	nobodyHalfOpen = "no process: half open"
	nobodyTimeWait = "no process: time_wait"
	nobodyClosed   = "no process: closed by it"
	unknownHidden  = "unknown process: may not be inspected"
	unknownYet     = "unknown process: appeared while looking"
)

// counted is what a look found.
type counted struct {
	at       time.Time
	host     string
	options  lookOptions
	took     time.Duration
	reader   string
	complete bool
	limits   []string
	services []scope.Service
	backends []scope.Backend
	regions  []scope.Region
	// spaces are the namespaces that were to be read, our own first; only by
	// backend and region.
	spaces []spaceRead
	// destinations are those of each region, in each namespace, that have a
	// connection.
	destinations map[key]map[netip.AddrPort]bool
	told         int // how many destinations those are, at most maxDestinations
	// waits is for how long the oldest pending connection of a backend or a
	// region has waited; none where nothing is pending.
	waits map[key]time.Duration
	// blind are the groups with sockets of a namespace that was read without
	// tcp_info, where our own was read with it.
	blind     map[key]bool
	names     map[tcp.Namespace]netns.Found
	breakdown *measure.Breakdown[key]
}

// look counts once.
func look(o lookOptions) (counted, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "this host"
	}
	begin := time.Now()
	c := counted{at: begin, host: host, options: o, complete: true, breakdown: measure.NewBreakdown[key](maxGroups)}
	switch o.by {
	case "namespace":
		err = c.everyNamespace()
	case "backend":
		err = c.everyBackend()
	case "region":
		err = c.everyRegion()
	default:
		err = c.ownNamespace()
	}
	c.took = time.Since(begin)
	c.limits = append(c.limits, "QUIC, UDP and unix sockets: not in the kernel's TCP table")
	return c, err
}

// note records what a finished look says about itself.
func (c *counted) note(l tcp.Look, where string) {
	c.reader = cmp.Or(c.reader, l.Reader) // our own namespace's is the first
	if !l.Judgeable() {
		c.complete = false
		c.limits = append(c.limits, fmt.Sprintf("%sthe look is not whole: %s, %d rows not understood; look again", where, l.Completeness, l.Malformed))
	}
}

func (c *counted) ownNamespace() error {
	reader, fallback, err := observe.Open(c.options.source, tcp.NewScratch())
	if err != nil {
		return fmt.Errorf("%w; try --reader procfs", err)
	}
	defer reader.Close()
	if fallback != nil {
		c.limits = append(c.limits, "sock_diag is refused, /proc is read instead: "+fallback.Error())
	}
	c.limits = append(c.limits, reader.Abilities().Missing()...)

	listeners, err := listenersOf(reader)
	if err != nil {
		return err
	}
	c.unlessListening(listensAt(c.options.listen, listeners))
	find, err := c.keyOf(reader, listeners)
	if err != nil {
		return err
	}
	if err := c.count(reader, "", true, find); err != nil {
		return err
	}
	c.limits = append(c.limits, "other network namespaces than this one: --by namespace counts them")
	return nil
}

func listenersOf(reader observe.Reader) ([]tcp.Socket, error) {
	var rows []tcp.Socket
	_, err := reader.Read(tcp.Request{States: tcp.ListenOnly}, func(batch []tcp.Socket) {
		rows = append(rows, batch...)
	})
	return rows, err
}

// listensAt reports whether one of the listeners takes connections to at.
func listensAt(at netip.AddrPort, listeners []tcp.Socket) bool {
	return slices.ContainsFunc(listeners, func(s tcp.Socket) bool { return atListener(at, &s) })
}

// unlessListening says that nothing listens where the look was narrowed to.
func (c *counted) unlessListening(found bool) {
	if at := c.options.listen; at.IsValid() && !found {
		c.limits = append(c.limits, fmt.Sprintf("nothing listens at %s", config.ListenerText(at)))
	}
}

// count makes the look itself.
func (c *counted) count(reader observe.Reader, where string, info bool, find func(*tcp.Socket) key) error {
	o := &c.options
	blind := c.reader == sourceWithInfo && !reader.Abilities().Has(tcp.CanInfo) // unlike our own namespace's
	l, err := reader.Read(tcp.Request{States: o.states, Info: info, Filter: o.filter}, func(batch []tcp.Socket) {
		for i := range batch {
			if s := &batch[i]; !o.listen.IsValid() || atListener(o.listen, s) {
				k := find(s)
				c.breakdown.Add(k, s)
				c.wait(k, s)
				if blind {
					c.blinded(k)
				}
			}
		}
	})
	if err == nil {
		c.note(l, where)
	}
	return err
}

// wait notes for how long a backend or a region has owed an answer.
func (c *counted) wait(k key, s *tcp.Socket) {
	if c.options.by != "backend" && (c.options.by != "region" || k.region == notOutgoing) || !s.Pending() {
		return
	}
	if c.waits == nil {
		c.waits = map[key]time.Duration{}
	}
	c.waits[k] = max(c.waits[k], s.Info.LastDataSent)
}

// blinded notes that a group has sockets that were seen without tcp_info.
func (c *counted) blinded(k key) {
	if c.blind == nil {
		c.blind = map[key]bool{}
	}
	c.blind[k] = true
}

// seesInfo reports whether tcp_info was there for all sockets of a group.
func (c *counted) seesInfo(k key) bool { return c.reader == sourceWithInfo && !c.blind[k] }

// seesInfoBut is seesInfo for the groups that rows leave out.
func (c *counted) seesInfoBut(rows []measure.Row[key]) bool {
	for k := range c.blind {
		if !slices.ContainsFunc(rows, func(r measure.Row[key]) bool { return r.Key == k }) {
			return false
		}
	}
	return c.reader == sourceWithInfo
}

// atListener reports whether s is connected to a listening address, or is a
// listener that takes its connections.
func atListener(listen netip.AddrPort, s *tcp.Socket) bool {
	if listen.Port() != s.Local.Port() {
		return false
	}
	at, local := listen.Addr(), s.Local.Addr()
	return covers(at, local) || s.State == tcp.Listen && covers(local, at)
}

// covers reports whether what is meant for b is part of what is meant for a:
// 0.0.0.0 stands for every IPv4 address, :: for every address.
func covers(a, b netip.Addr) bool {
	return a == b || a.IsUnspecified() && (a.Is6() || b.Is4())
}

// keyOf returns the function that names a socket's group, and gathers what it
// needs: the services, or who holds which socket.
func (c *counted) keyOf(reader observe.Reader, listeners []tcp.Socket) (func(*tcp.Socket) key, error) {
	switch c.options.by {
	case "service":
		var held []uint64
		for i := range listeners {
			held = append(held, listeners[i].Inode)
		}
		c.services, _ = discover.Services(listeners, c.owners(held), nil)
		index := scope.NewIndex(c.services)
		return func(s *tcp.Socket) key {
			at := index.Service(s)
			if at == scope.None && c.options.rest {
				return key{service: at, remote: s.Remote}
			}
			return key{service: at}
		}, nil
	case "state":
		return func(s *tcp.Socket) key { return key{state: s.State} }, nil
	case "remote":
		listening := map[uint16]bool{}
		for i := range listeners {
			listening[listeners[i].Local.Port()] = true
		}
		return func(s *tcp.Socket) key { return key{remote: remoteOf(s, listening)} }, nil
	case "prefix":
		return func(s *tcp.Socket) key { return key{prefix: prefixOf(s.Remote.Addr())} }, nil
	case "process":
		var held []uint64
		if _, err := reader.Read(tcp.Request{States: c.options.states, Filter: c.options.filter}, func(batch []tcp.Socket) {
			for i := range batch {
				if batch[i].Inode != 0 {
					held = append(held, batch[i].Inode)
				}
			}
		}); err != nil {
			return nil, err
		}
		slices.Sort(held)
		owners := c.owners(held)
		return func(s *tcp.Socket) key { return processOf(s, owners, held) }, nil
	}
	return nil, fmt.Errorf("no grouping by %s", c.options.by)
}

func (c *counted) owners(inodes []uint64) map[uint64][]owner.Process {
	found, limits, err := owner.Find("/proc", nil, inodes, owner.Thorough)
	if err != nil {
		c.limits = append(c.limits, "owners of sockets: "+err.Error())
	}
	for _, reason := range limits.Reasons() {
		c.limits = append(c.limits, "owners of sockets: "+reason)
	}
	return found
}

// remoteOf is the peer: its address alone where we serve, as its port means
// nothing then; with the port where we are the client.
func remoteOf(s *tcp.Socket, listening map[uint16]bool) netip.AddrPort {
	if s.State == tcp.Listen || listening[s.Local.Port()] {
		return netip.AddrPortFrom(s.Remote.Addr(), 0)
	}
	return s.Remote
}

// prefixOf is the /24 or the /48 of an address.
func prefixOf(a netip.Addr) netip.Prefix {
	bits := 24
	if a.Is6() {
		bits = 48
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // a listener: it has no peer
	}
	return p
}

// processOf names who holds the socket: the first of several, or why nobody
// does. asked holds the inodes that were searched for, sorted.
func processOf(s *tcp.Socket, owners map[uint64][]owner.Process, asked []uint64) key {
	held := owners[s.Inode]
	switch {
	case s.Inode != 0 && len(held) > 0:
		return key{process: held[0].Name, pid: held[0].PID}
	case s.Unaccepted():
		return key{nobody: nobodyWaiting}
	case s.State == tcp.TimeWait:
		return key{nobody: nobodyTimeWait}
	case s.State == tcp.SynRecv:
		return key{nobody: nobodyHalfOpen}
	case s.Inode == 0:
		return key{nobody: nobodyClosed}
	}
	if _, found := slices.BinarySearch(asked, s.Inode); !found {
		return key{nobody: unknownYet}
	}
	return key{nobody: unknownHidden}
}

// everyNamespace reads each namespace that may be entered, in itself. One that
// ends meanwhile has nothing left to count; one that may not be entered has.
func (c *counted) everyNamespace() error {
	found, limits, err := netns.List("/proc")
	if err != nil {
		return err
	}
	for _, reason := range limits.Reasons {
		c.limits = append(c.limits, "namespaces of processes: "+reason)
	}
	c.names = make(map[tcp.Namespace]netns.Found, len(found))
	for _, n := range found {
		read := func() error { return c.readNamespace(n) }
		if !n.Own {
			inner := read
			read = func() error { return n.Do(inner) }
		}
		switch err := read(); {
		case errors.Is(err, netns.ErrStuck):
			return err
		case errors.Is(err, netns.ErrGone):
			c.limits = append(c.limits, fmt.Sprintf("namespace %d (%s): it ended while looking", n.ID, n.Name))
		case err != nil:
			c.complete = false
			c.limits = append(c.limits, fmt.Sprintf("namespace %d (%s): %v", n.ID, n.Name, err))
		}
	}
	if c.reader == "" {
		return errors.New("no network namespace could be read: " + c.limits[len(c.limits)-1])
	}
	return nil
}

func (c *counted) readNamespace(n netns.Found) error {
	reader, fallback, err := observe.Open(c.options.source, tcp.NewScratch())
	if err != nil {
		return err
	}
	defer reader.Close()
	if fallback != nil {
		c.limits = append(c.limits, fmt.Sprintf("namespace %d (%s): sock_diag is refused, /proc is read instead: %v", n.ID, n.Name, fallback))
	}
	c.names[n.ID] = n
	group := key{namespace: n.ID}
	c.breakdown.Touch(group)
	return c.count(reader, fmt.Sprintf("namespace %d (%s): ", n.ID, n.Name), false, func(*tcp.Socket) key { return group })
}

// compareKeys orders groups of the same size.
func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.state, b.state), cmp.Compare(a.service, b.service), cmp.Compare(a.backend, b.backend), cmp.Compare(a.region, b.region), a.remote.Compare(b.remote),
		a.prefix.Compare(b.prefix), cmp.Compare(a.process, b.process), cmp.Compare(a.pid, b.pid),
		cmp.Compare(a.nobody, b.nobody), cmp.Compare(a.namespace, b.namespace))
}

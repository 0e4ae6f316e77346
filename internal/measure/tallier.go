package measure

import (
	"net/netip"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

const (
	// leakedAfter: a server that reads its connections closes a CLOSE_WAIT
	// within one request's time.
	leakedAfter = 10 * time.Second
	// lingersAfter: an event-driven balancer closes what its backend has closed
	// within one look.
	lingersAfter = 5 * time.Second
	// slowAfter is how long a request may take to arrive. Servers' own limits
	// for the head of a request lie at 20 to 60 s.
	slowAfter = 10 * time.Second
	// slowBytesPerSecond: what arrives faster is an upload, not a slow client.
	// Servers that bound it ask for 500 bytes a second.
	slowBytesPerSecond = 1000
	// stuckAfter: a peer that is there acknowledges a FIN within its last
	// answer's time; a large answer to a slow reader takes longer.
	stuckAfter = 30 * time.Second
	// reusedAfter a TIME_WAIT began its port may be taken again, where that is
	// allowed. Kernel: tcp_twsk_unique, net/ipv4/tcp_ipv4.c.
	reusedAfter = time.Second
)

// slowClient reports whether the client, not the server, is what the
// connection waits for: nothing was ever asked, or the request still arrives
// after slowAfter, a few bytes at a time, or the answer is not read. A request
// that arrived whole and waits for its answer is not slow: nothing was received
// since shortly after it began.
func slowClient(s *tcp.Socket, seen sighting) bool {
	if s.State != tcp.Established || seen.age < slowAfter || s.Has&tcp.HasInfo == 0 {
		return false
	}
	if s.Info.BytesReceived == 0 {
		return s.Info.DataSegsOut == 0 // a server that speaks first waits for nobody
	}
	if s.ZeroWindow() {
		return true
	}
	const dribble = 2 * time.Second // the whole of a plain request is there by then
	return seen.asking >= slowAfter &&
		seen.asking-s.Info.LastDataReceived >= dribble &&
		float64(s.Info.BytesReceived) < slowBytesPerSecond*seen.age.Seconds()
}

// Tallier counts the sockets of one look at a time, per scope. Its memory
// grows with the scopes and is reused: what End returns is good until the
// next Begin.
type Tallier struct {
	rest     scope.ID
	services []scope.Service
	backends []scope.Backend
	index    *scope.Index
	peers    *scope.BackendIndex
	regions  regions
	switches switches
	scopes   []counting // the services in order, then the backends, the regions, the sides of switches, the rest
	backend  int        // position of the first backend in scopes
	tallies  []Tally
	covered  []int // positions in scopes that the look under way can see whole
	// strangers are cgroups of sockets that go to a backend's address and are
	// none of its own.
	strangers []uint64
	epoch     time.Time
	at        time.Time // when the look under way began
	now       int32     // the same, 1/100 s since epoch
	whole     bool      // it asked for every state
}

// counting is one scope's tally under way.
type counting struct {
	tally    Tally
	flows    flows
	pending  pending
	ports    []uint16       // of a service
	remote   netip.AddrPort // of a backend
	prefixes []netip.Prefix // of a region, and of one side of a switch: its addresses
	far      *destinations  // of a region; nil for any other scope
	side     *side          // of one side of a switch; nil for any other scope
	capacity Capacity
	clients  prefixes // of a service
	scores   [maxExamples]uint64
	minScore uint64
	examples []tcp.Socket
	covered  bool // by the look under way
}

// NewTallier returns a Tallier of the namespace of that name, empty for our own,
// that puts every socket into the rest until SetScopes says otherwise.
func NewTallier(namespace string) *Tallier {
	t := &Tallier{rest: scope.Rest.In(namespace)}
	t.SetScopes(nil, nil)
	return t
}

// SetScopes changes the services and the backends. Those that stay, by name,
// keep what is known about their connections. It must not be called between
// Begin and End.
func (t *Tallier) SetScopes(services []scope.Service, backends []scope.Backend) {
	t.services, t.backends = services, backends
	t.index, t.peers = scope.NewIndex(services), scope.NewBackendIndex(backends)
	t.rebuild()
}

// rebuild makes the scopes of the services, the backends, the regions and the
// switches.
func (t *Tallier) rebuild() {
	services, backends := t.services, t.backends
	old := make(map[scope.ID]counting, len(t.scopes))
	for _, c := range t.scopes {
		old[c.tally.Scope] = c
	}
	keep := func(id scope.ID) *counting {
		c := old[id]
		delete(old, id) // a name that is there twice, as a file may say, is two scopes
		c.tally.Scope = id
		t.scopes = append(t.scopes, c)
		return &t.scopes[len(t.scopes)-1]
	}
	t.scopes = make([]counting, 0, len(services)+len(backends)+len(t.regions.all)+2*len(t.switches.all)+1)
	for i := range services {
		c := keep(services[i].ID())
		c.ports, c.capacity = services[i].Ports(), CapacityOf(&services[i])
	}
	t.backend = len(services)
	for i := range backends {
		c := keep(backends[i].ID())
		if c.remote != backends[i].Remote {
			c.flows, c.pending = flows{}, pending{} // another machine of the same name
		}
		c.remote, c.tally.Group, c.tally.Behind = backends[i].Remote, backends[i].Group, backends[i].Behind
		c.tally.Region = t.regions.name(c.remote.Addr())
	}
	t.regions.rebuild(len(t.scopes), keep)
	t.switches.rebuild(len(t.scopes), keep, t.rest.Namespace)
	t.switches.serve(services)
	keep(t.rest)
	t.tallies = make([]Tally, 0, len(t.scopes))
	t.covered = make([]int, 0, len(t.scopes))
}

// CapacityOf is what is known of a service's capacity.
func CapacityOf(s *scope.Service) Capacity {
	return Capacity{
		Held: s.Workers.Held, Workers: uint32(max(0, s.Workers.Limit)), TurnsAway: s.Workers.TurnsAway,
		DescriptorsUsed: uint32(max(0, s.Descriptors.Used)), DescriptorsLimit: uint32(max(0, s.Descriptors.Limit)),
	}
}

// SetCapacity changes what is known of the capacity of service i, by its
// position in the slice that SetScopes was given.
func (t *Tallier) SetCapacity(i int, c Capacity) { t.scopes[i].capacity = c }

// Ports is what local ports a namespace has toward any one backend.
type Ports struct {
	// Available is how many there are; zero when it is not known.
	Available int
	// Reused reports whether a connection in TIME_WAIT to that address gives
	// its port to a new one after a second; nil: none does.
	Reused func(remote netip.Addr) bool
}

// SetPorts says how many local ports there are.
func (t *Tallier) SetPorts(ports Ports) {
	for i := range t.backends {
		c := &t.scopes[t.backend+i]
		c.capacity.Ports = uint32(max(0, ports.Available))
		c.capacity.TimeWaitReused = ports.Reused != nil && ports.Reused(c.remote.Addr())
	}
}

// Begin starts a look. Request and Begin of the header are used.
func (t *Tallier) Begin(look tcp.Look) {
	t.strangers = t.strangers[:0]
	if t.epoch.IsZero() {
		t.epoch = look.Begin
	}
	t.at = look.Begin
	t.now = int32(look.Begin.Sub(t.epoch) / (10 * time.Millisecond))
	t.whole = look.Request.States == tcp.AllStates
	t.covered = t.covered[:0]
	for i := range t.scopes {
		c := &t.scopes[i]
		c.tally = Tally{Scope: c.tally.Scope, Group: c.tally.Group, Behind: c.tally.Behind, Region: c.tally.Region, Capacity: c.capacity}
		c.far.begin()
		c.tally.Address = c.side.begin(t.at)
		c.clients.reset()
		c.examples = c.examples[:0]
		c.minScore = 0
		if c.covered = covers(look.Request.Filter, c); !c.covered {
			continue
		}
		t.covered = append(t.covered, i)
		if t.whole {
			c.flows.beginWhole()
		}
	}
}

// elapsed is when the look under way began, since the first.
func (t *Tallier) elapsed() time.Duration { return t.at.Sub(t.epoch) }

// covers reports whether a look with that filter sees all of the scope's
// sockets: a service's by its local ports, a backend's by its remote port, a
// region's by its prefixes, a side's by its addresses at both ends. The rest is
// never covered by a filter.
func covers(f tcp.Filter, c *counting) bool {
	if f.IsZero() {
		return true
	}
	if c.remote.IsValid() {
		return slices.Contains(f.RemotePorts, c.remote.Port())
	}
	if c.far != nil {
		return holds(f.RemotePrefixes, c.prefixes)
	}
	if c.side != nil {
		return holds(f.RemotePrefixes, c.prefixes) && holds(f.LocalPrefixes, c.prefixes)
	}
	return len(c.ports) > 0 && !slices.ContainsFunc(c.ports, func(want uint16) bool { return !slices.Contains(f.LocalPorts, want) })
}

// holds reports whether a filter's prefixes have all that are wanted.
func holds(prefixes, wanted []netip.Prefix) bool {
	return len(prefixes) > 0 && !slices.ContainsFunc(wanted, func(want netip.Prefix) bool { return !slices.Contains(prefixes, want) })
}

// Add counts one batch; it keeps nothing of it but copies of a few examples. A
// connection between two of our scopes, as from a balancer to a service of the
// same host, is counted in both, and one to a backend in a region too. The sides
// of switches take nothing from any other scope.
func (t *Tallier) Add(batch []tcp.Socket) {
	rest := len(t.scopes) - 1
	for i := range batch {
		s := &batch[i]
		service, backend := t.index.Service(s), t.peers.Backend(s)
		if service != scope.None {
			t.scopes[service].add(s, t)
		}
		if backend != scope.None {
			t.scopes[t.backend+backend].add(s, t)
		}
		if backend == scope.None && t.peers.Strange(s) && len(t.strangers) < maxStrangers && !slices.Contains(t.strangers, s.CgroupID) {
			t.strangers = append(t.strangers, s.CgroupID)
		}
		if t.switches.index != nil {
			t.addToSides(s, service != scope.None)
		}
		claimed := service != scope.None || backend != scope.None
		if service == scope.None && !t.regions.index.Empty() {
			at, counts := t.regions.of(s, &t.scopes[rest].tally)
			if counts {
				t.scopes[at].add(s, t)
			}
			claimed = claimed || counts
		}
		if !claimed {
			t.scopes[rest].add(s, t)
		}
	}
}

// maxStrangers bounds how many are told of at once.
const maxStrangers = 8

// Strangers returns cgroups whose sockets went to a backend's address in the
// last look and are not of that backend, a few of them: its balancer in another
// cgroup since a restart, or somebody else. Good until the next Begin.
func (t *Tallier) Strangers() []uint64 { return t.strangers }

// add counts a socket, and returns what is known of it: nothing of a listener.
func (c *counting) add(s *tcp.Socket, t *Tallier) sighting {
	y := &c.tally
	if s.State == tcp.Listen {
		c.addListener(s)
		return sighting{}
	}
	seen := c.flows.see(s, t.now, t.whole && c.covered)
	if seen.repeated {
		return seen
	}
	if int(s.State) < tcp.NumStates {
		y.States[s.State]++
	}
	if c.remote.IsValid() || c.far != nil {
		c.addPeer(s, seen, t)
	}
	c.far.add(s, seen, c.flows.countScale(), c.since(t.at), t.at)
	if seen.new {
		c.pending.arrived += c.flows.countScale()
	}
	switch s.State {
	case tcp.Established, tcp.CloseWait:
		c.addConnected(s, seen)
	case tcp.FinWait1, tcp.LastAck, tcp.Closing:
		switch {
		case s.Retransmitting() || s.ZeroWindow():
			y.StuckClosing++
		case seen.known && seen.stateAge >= stuckAfter:
			y.StuckClosing += c.flows.scale()
		}
	case tcp.TimeWait:
		if c.capacity.TimeWaitReused && s.TimerExpires <= timeWaitLength-reusedAfter {
			y.Peer.TimeWaitFree++
		}
		return seen // nobody's any more: no timer, queue or info to read
	}
	if c.side != nil && s.Abandoned() {
		return seen // whoever had it has left the address
	}
	if s.Retransmitting() {
		y.Retransmitting++
		c.example(s, scoreRetransmitting+uint64(s.Retransmits))
	}
	if s.ZeroWindow() {
		y.ZeroWindow++
		c.example(s, scoreZeroWindow+uint64(s.SendQueue))
	}
	return seen
}

func (c *counting) addConnected(s *tcp.Socket, seen sighting) {
	y := &c.tally
	closeWait := s.State == tcp.CloseWait
	if s.Inode == 0 {
		y.Unaccepted++
		waited := seen.age
		if s.Has&tcp.HasInfo != 0 {
			// The client's last segment came while it waited, so it has
			// waited at least since then.
			waited = max(waited, s.Info.LastAckReceived)
		}
		y.OldestUnaccepted = max(y.OldestUnaccepted, waited)
		score := scoreUnaccepted
		if closeWait {
			y.UnacceptedCloseWait++
			score = scoreGaveUp
		}
		c.example(s, score+uint64(waited/time.Millisecond))
		return
	}
	y.Accepted++
	if closeWait {
		y.AcceptedCloseWait++
		if seen.known && seen.stateAge >= leakedAfter {
			y.Leaked += c.flows.scale()
		}
		c.example(s, scoreCloseWait+uint64(seen.stateAge/time.Millisecond))
	}
	busy := s.Busy()
	if busy {
		y.Busy++
	}
	slow := seen.known && slowClient(s, seen)
	if slow {
		y.SlowClients += c.flows.scale()
		c.example(s, scoreSlow+uint64(seen.age/time.Millisecond))
	}
	if c.ports != nil && (busy || slow || c.capacity.Held == scope.HeldByConnection) {
		c.clients.add(s.Remote.Addr(), slow)
	}
	if s.Pending() {
		y.Pending++
		y.PendingFor.Add(s.Info.LastDataSent, 1)
	}
}

func (c *counting) addListener(s *tcp.Socket) {
	q := &c.tally.Queue
	q.Listeners++
	q.Depth += uint64(s.ReceiveQueue)
	q.Limit += uint64(s.SendQueue)
	q.Drops += uint64(s.Drops)
	q.Set += mix(s.Cookie) // a sum, so that order does not matter
}

// End returns the tallies of the scopes that the look covered whole. look is
// the finished header; interval is how often the schedule makes such a look.
// What an interrupted look saw come and go is told by the next that is not.
func (t *Tallier) End(look tcp.Look, interval time.Duration) Tallies {
	t.tallies = t.tallies[:0]
	for _, i := range t.covered {
		c := &t.scopes[i]
		if t.whole && look.Judgeable() {
			last := c.flows.looked
			scale := c.flows.countScale()
			gone, vanished := c.flows.endWhole(look.Begin)
			c.tally.Flows.Scale = c.flows.scale()
			if !last.IsZero() {
				c.tally.Flows.Known = true
				c.tally.Flows.Gone = uint32(gone) * scale
				c.tally.Flows.Since = look.Begin.Sub(last)
				c.tally.Peer.Vanished = uint32(vanished) * scale
			}
			c.pending.handOn(&c.tally, look.Begin, !last.IsZero())
			c.far.handOn(&c.tally, look.Begin)
			c.side.handOn(&c.tally.Address, !last.IsZero(), t.elapsed(), c.flows.look)
		}
		c.sortExamples()
		c.tally.Examples = c.examples
		c.tally.Prefixes = c.clients.top()
		t.tallies = append(t.tallies, c.tally)
	}
	return Tallies{Look: look, Interval: interval, Scopes: t.tallies}
}

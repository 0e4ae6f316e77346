package measure

import (
	"net/netip"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

const (
	// maxHeld bounds how many connections on an old side are told one by one.
	maxHeld = 2048
	// movingWithin is for how long a connection counts as moving after bytes moved
	// on it: longer than most clients take between two requests.
	movingWithin = time.Minute
	// staysFor is how long a connection is there that is kept: most requests have
	// their answer sooner.
	staysFor = 30 * time.Second
	// ttlGrace is how long after its TTL an answer may still be used: TTLs count
	// whole seconds (RFC 1035, section 3.2.1), and caches round them up.
	ttlGrace = time.Second
)

// switches says in which scopes of a tallier a socket of a switch counts.
type switches struct {
	all   []scope.Switch
	index *scope.AddressIndex // nil without switches
	// always: each is two scopes though no socket of it was seen.
	always bool
	at     []int  // by switch: 1 + the position of its old side in scopes, the new one is behind it; 0 while they are none
	met    []bool // by switch: a socket of it was seen
	newly  bool   // of one that has no scopes yet
	// served has the local ports that services of ours have had since there are
	// switches: a server that is drained closes its listener and keeps its
	// connections, which are not ours for that.
	served map[uint16]bool
}

// SetSwitches changes the switches: each is two scopes, its old and its new
// addresses. Where always is false it has them with the first of its sockets, by
// AddMet. Those that stay, by name, addresses and ports, keep what is known about
// their connections. It must not be called between Begin and End.
func (t *Tallier) SetSwitches(all []scope.Switch, always bool) {
	met := map[string]bool{}
	for i := range t.switches.all {
		met[t.switches.all[i].Name] = t.switches.met[i]
	}
	served := t.switches.served
	t.switches = switches{}
	if len(all) > 0 {
		if served == nil {
			served = map[uint16]bool{}
		}
		t.switches = switches{all: all, index: scope.NewAddressIndex(all), always: always, met: make([]bool, len(all)), served: served}
	}
	for i := range all {
		t.switches.met[i] = met[all[i].Name]
	}
	t.rebuild()
}

// Switches appends the switches that are scopes to out.
func (t *Tallier) Switches(out []scope.Switch) []scope.Switch {
	for i := range t.switches.all {
		if t.switches.at[i] > 0 {
			out = append(out, t.switches.all[i])
		}
	}
	return out
}

// rebuild adds the scopes of the switches behind the first n of the tallier's.
func (w *switches) rebuild(n int, keep func(scope.ID) *counting, namespace string) {
	w.at, w.newly = make([]int, len(w.all)), false
	for i := range w.all {
		if !w.always && !w.met[i] {
			continue
		}
		w.at[i] = n + 1
		n += 2
		for _, which := range [...]scope.Side{scope.OldSide, scope.NewSide} {
			c := keep(w.all[i].ID(which, namespace))
			c.tally.Group = w.all[i].Name
			if c.side == nil || !c.side.same(&w.all[i], which) {
				// What does not count any more has not vanished.
				c.flows, c.pending, c.side = flows{}, pending{}, newSide(&w.all[i], which)
			}
			c.side.date(&w.all[i])
			c.prefixes = c.side.prefixes
		}
	}
}

// serve notes the ports of services.
func (w *switches) serve(services []scope.Service) {
	if w.index == nil {
		return
	}
	for i := range services {
		for _, port := range services[i].Ports() {
			w.served[port] = true
		}
	}
}

// of finds the sides that a socket is at: by its local end when it came to us,
// else by its remote one, and never by both. claimed: a service of ours has its
// local end.
func (w *switches) of(s *tcp.Socket, claimed bool) (places []scope.Place, port uint16, served bool) {
	if s.State == tcp.Listen {
		return nil, 0, false
	}
	places = w.index.Places(s.Local.Addr())
	if len(places) > 0 && (claimed || w.served[s.Local.Port()]) {
		return places, s.Local.Port(), true
	}
	if claimed || s.State == tcp.SynRecv {
		return nil, 0, false // not ours to begin
	}
	return w.index.Places(s.Remote.Addr()), s.Remote.Port(), false
}

// addToSides counts a socket at the sides of switches that it is at.
func (t *Tallier) addToSides(s *tcp.Socket, claimed bool) {
	w := &t.switches
	places, port, served := w.of(s, claimed)
	for _, p := range places {
		if !w.all[p.Switch].Counts(port) {
			continue
		}
		if w.at[p.Switch] == 0 {
			w.met[p.Switch], w.newly = true, true
			continue
		}
		c := &t.scopes[w.at[p.Switch]-1+int(p.Side)]
		if seen := c.add(s, t); !seen.repeated {
			c.addToSide(s, seen, served, t)
		}
	}
}

// Held returns the connections that were on the old side of switch i, by its
// position in the slice that SetSwitches was given, at the last judged look at
// all states, 2,048 at most, how many more there were, and when that was: zero
// where there was no such look. They are good until the next one.
func (t *Tallier) Held(i int) (rows []HeldSocket, over int, seen time.Time) {
	if t.switches.at[i] == 0 {
		return nil, 0, time.Time{}
	}
	old := &t.scopes[t.switches.at[i]-1]
	return old.side.held, old.side.heldOver, old.flows.looked
}

// HeldSocket is one connection that is on an old address.
type HeldSocket struct {
	Local, Remote netip.AddrPort
	// Cookie, Inode and CgroupID are as in tcp.Socket; zero where they are not
	// known.
	Cookie, Inode, CgroupID uint64
	State                   tcp.State
	// Served: it came to us; else we began it.
	Served         bool
	Retransmitting bool
	// Moving: bytes moved on it within a minute.
	Moving bool
	// NewAfterTTL: it began when the answers before the switch were not good any
	// more.
	NewAfterTTL bool
	// FirstSeen is when a look met it first, on the clock of the looks; zero where
	// there are so many that only some are followed.
	FirstSeen time.Time
}

// side is what a tallier knows of one side of a switch, beside what it does of
// every scope. Nil is of none.
type side struct {
	addresses []netip.Addr
	prefixes  []netip.Prefix // each address alone
	ports     []uint16
	holds     bool // the old one, whose connections are told one by one
	since     time.Time
	ttl       time.Duration
	partial   bool
	// moves is of the flows that are followed: by key.
	moves map[uint64]move
	// looked is when the last judged look at all states was, since the tallier's
	// first.
	looked time.Duration
	// Since then, by looks that were not judged too.
	asked, served tide
	// held is of that look, next of the one under way.
	held, next         []HeldSocket
	heldOver, nextOver int
}

// tide is what came and what moved at one end.
type tide struct {
	arrived, afterTTL uint32
	bytes             uint64
}

// move is what is remembered of one flow.
type move struct {
	bytes    uint64        // moved both ways over its life
	at       time.Duration // when bytes moved last, since the tallier's first look; notMoved
	begun    time.Duration // when it had begun, at the latest
	look     uint8         // the look at all states that saw it last
	afterTTL bool          // it began when the answers before the switch were not good any more
}

// notMoved is longer ago than any span.
const notMoved = time.Duration(-1 << 62)

// moving reports whether bytes moved on it within a minute of now.
func (m *move) moving(now time.Duration) bool { return now-m.at <= movingWithin }

func newSide(of *scope.Switch, which scope.Side) *side {
	return &side{
		addresses: of.Addresses(which), prefixes: of.Prefixes(which), ports: of.Ports,
		holds: which == scope.OldSide, moves: map[uint64]move{},
	}
}

// same reports whether the side has the addresses and the ports of a switch's.
func (d *side) same(of *scope.Switch, which scope.Side) bool {
	return slices.Equal(d.addresses, of.Addresses(which)) && slices.Equal(d.ports, of.Ports)
}

// date takes over when the switch was.
func (d *side) date(of *scope.Switch) {
	d.partial = of.Partial()
	if d.since.Equal(of.Since) && d.ttl == of.TTL {
		return
	}
	d.since, d.ttl = of.Since, of.TTL
	for key, m := range d.moves { // what was after another time need not be after this
		m.afterTTL = false
		d.moves[key] = m
	}
}

// over reports whether, at a time, the answers before the switch were not good
// any more, for so long.
func (d *side) over(at time.Time, by time.Duration) bool {
	return d.ttl > 0 && !d.since.IsZero() && !at.Before(d.since.Add(d.ttl+by))
}

// begin starts a look that begins at at, and returns what its tally says of the
// switch.
func (d *side) begin(at time.Time) Address {
	if d == nil {
		return Address{}
	}
	d.next, d.nextOver = d.next[:0], 0
	y := Address{Since: -1, TTL: d.ttl, Partial: d.partial}
	if !d.since.IsZero() {
		y.Since = at.Sub(d.since)
	}
	return y
}

// addToSide counts a socket that the side's scope has counted.
func (c *counting) addToSide(s *tcp.Socket, seen sighting, served bool, t *Tallier) {
	d, e, tide := c.side, &c.tally.Address.Asked, &c.side.asked
	if served {
		e, tide = &c.tally.Address.Served, &c.side.served
	}
	// A connection is only accused of having begun late when the look before
	// was late enough already.
	late := seen.new && !c.flows.looked.IsZero() && d.over(c.flows.looked, ttlGrace)
	if seen.new {
		tide.arrived += c.flows.countScale()
		// Agents on other hosts look what answers there for as long as they follow
		// the switch: nobody is late by that.
		if late && (!served || !scope.OfAgent(s.Remote)) {
			tide.afterTTL += c.flows.countScale()
		}
	}
	if s.State == tcp.TimeWait || s.Abandoned() {
		return // nobody's any more
	}
	e.Connections++
	switch s.State {
	case tcp.Established:
		e.Established++
		if s.Retransmitting() {
			e.Retransmitting++
		}
	case tcp.SynSent:
		e.Connecting++
	}
	if !t.whole || !c.covered {
		return
	}
	m := move{at: notMoved}
	if seen.known {
		var grown uint64
		m, grown = d.follow(s, seen, late, c, t.elapsed())
		tide.bytes += grown * uint64(c.flows.scale())
		d.count(e, s, m, t, c.flows.scale())
	} else if heardWithin(s, movingWithin) {
		m.at = t.elapsed()
	}
	d.hold(s, seen, served, m, t)
}

// follow takes up what moved on a flow, and returns what is remembered of it
// and how many bytes that were since it was seen last.
func (d *side) follow(s *tcp.Socket, seen sighting, late bool, c *counting, now time.Duration) (m move, grown uint64) {
	m, before := d.moves[seen.key]
	if !before {
		m = move{at: notMoved, begun: now, afterTTL: late}
	}
	if s.Has&tcp.HasInfo != 0 && s.State == tcp.Established { // its handshake counts as heard
		m.begun = min(m.begun, now-max(s.Info.LastDataReceived, s.Info.LastAckReceived))
	}
	m.look = c.flows.look
	total := moved(s)
	switch {
	case before || seen.new && !c.flows.looked.IsZero():
		if total > m.bytes {
			grown, m.at = total-m.bytes, now
		}
	case heardWithin(s, movingWithin): // of what was before it was met, that is all there is to go by
		m.at = now - s.Info.LastDataReceived
	}
	m.bytes = max(m.bytes, total)
	d.moves[seen.key] = m
	return m, grown
}

// count adds what is remembered of a flow to an end; scale is how many it stands
// for.
func (d *side) count(e *End, s *tcp.Socket, m move, t *Tallier, scale uint32) {
	if m.at > d.looked {
		e.Moved += scale
	}
	if m.moving(t.elapsed()) {
		e.Moving += scale
	}
	if s.State == tcp.Established && d.older(m, t) {
		e.Older += scale
	}
}

// older reports whether a flow that is there began before the answers before the
// switch were over. Of one that was met later, and may have begun just before
// that, as every one has when the agent starts, only its staying tells.
func (d *side) older(m move, t *Tallier) bool {
	if m.afterTTL || !d.over(t.at, 0) {
		return false
	}
	return !d.over(t.epoch.Add(m.begun), 0) || t.elapsed()-m.begun >= staysFor
}

// hold tells a connection of the old side.
func (d *side) hold(s *tcp.Socket, seen sighting, served bool, m move, t *Tallier) {
	switch {
	case !d.holds:
		return
	case len(d.next) == maxHeld:
		d.nextOver++
		return
	}
	row := HeldSocket{
		Local: s.Local, Remote: s.Remote, Cookie: s.Cookie, Inode: s.Inode, CgroupID: s.CgroupID, State: s.State,
		Served: served, Retransmitting: s.Retransmitting(), NewAfterTTL: m.afterTTL,
		Moving: m.moving(t.elapsed()),
	}
	if seen.known {
		row.FirstSeen = t.at.Add(-seen.age)
	}
	d.next = append(d.next, row)
}

// handOn ends a judged look at all states, the look-th of its scope, that began
// at now. known is false when there was no look before to count from.
func (d *side) handOn(y *Address, known bool, now time.Duration, look uint8) {
	if d == nil {
		return
	}
	if known {
		y.Asked.New, y.Asked.NewAfterTTL, y.Asked.Bytes = d.asked.arrived, d.asked.afterTTL, d.asked.bytes
		y.Served.New, y.Served.NewAfterTTL, y.Served.Bytes = d.served.arrived, d.served.afterTTL, d.served.bytes
	} else {
		y.Asked.Moved, y.Served.Moved = 0, 0
	}
	d.asked, d.served, d.looked = tide{}, tide{}, now
	for key, m := range d.moves {
		if m.look != look {
			delete(d.moves, key)
		}
	}
	d.held, d.next = d.next, d.held
	d.heldOver = d.nextOver
}

// moved is how many bytes a connection has moved both ways: what the peer has
// acknowledged, without the SYN and the FIN, which count as one each (tcp_ack,
// net/ipv4/tcp_input.c), and what was received.
func moved(s *tcp.Socket) uint64 {
	if s.Has&tcp.HasInfo == 0 {
		return 0
	}
	acked := s.Info.BytesAcked
	acked -= min(acked, 1)
	if s.State == tcp.FinWait2 {
		acked -= min(acked, 1)
	}
	return acked + s.Info.BytesReceived
}

// heardWithin reports whether data came within a time. What was sent says
// nothing: the kernel counts what is sent again, too.
func heardWithin(s *tcp.Socket, within time.Duration) bool {
	return s.Has&tcp.HasInfo != 0 && s.Info.BytesReceived > 0 && s.Info.LastDataReceived <= within
}

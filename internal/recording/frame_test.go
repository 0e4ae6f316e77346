package recording

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// crowd is a balancer's sockets over some seconds.
type crowd struct {
	random  *rand.Rand
	sockets []tcp.Socket
	next    uint16
}

func (c *crowd) pass() {
	for i := range c.sockets {
		s := &c.sockets[i]
		switch c.random.IntN(6) {
		case 0:
			s.State, s.Inode = tcp.CloseWait, uint64(c.random.IntN(2))
		case 1:
			s.Info.LastDataSent, s.Info.LastDataReceived = 0, time.Second
			s.Info.DataSegsOut++
			s.Info.BytesReceived += 100
		case 2:
			*s = c.one()
		default:
			s.Info.LastDataReceived += time.Duration(c.random.IntN(1e6)) * time.Microsecond
		}
	}
}

func (c *crowd) one() tcp.Socket {
	c.next++
	s := tcp.Socket{
		Local: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), 30000+c.next), Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(c.next % 3)}), 8080),
		State: tcp.Established, Cookie: uint64(c.next), Inode: 4000 + uint64(c.next), CgroupID: 77, Has: tcp.HasInfo | tcp.HasCookie | tcp.HasCgroup,
		Info: tcp.Info{BytesAcked: 500, BytesReceived: 900, RTT: 310 * time.Microsecond, DataSegsIn: 3, DataSegsOut: 2, LastDataSent: 20 * time.Millisecond, LastDataReceived: 90 * time.Millisecond},
	}
	if c.next%2 == 0 { // a client of our service
		s.Local, s.Remote = netip.AddrPortFrom(s.Local.Addr(), 443), netip.AddrPortFrom(netip.MustParseAddr("2001:db8::7"), 40000+c.next)
	}
	return s
}

// Watched is what a Tallier is told over some looks, and the tallies it gives.
// Scopes, capacities and ports change on the way.
func Watched(t testing.TB, each func(Frame), step func(measure.Step)) {
	t.Helper()
	c := &crowd{random: rand.New(rand.NewPCG(3, 4))}
	for range 300 {
		c.sockets = append(c.sockets, c.one())
	}
	const ns = "shop"
	services := []scope.Service{{
		Name: "web", Listen: []netip.AddrPort{netip.MustParseAddrPort("[::]:443")}, PIDs: []int{4}, Namespace: ns,
		Workers: scope.Workers{Held: scope.HeldByConnection, Limit: 128, Origin: "MaxRequestWorkers 128"},
	}}
	var backends []scope.Backend
	regions := []scope.Region{
		{Name: "near", Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/31")}, Namespace: ns},
		{Name: "nowhere", Prefixes: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, Namespace: ns},
	}
	// Its addresses are the remote end of what is asked, and the local end of what
	// is served.
	switches := []scope.Switch{
		{Name: "shop.example", Old: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.2")}, New: []netip.Addr{netip.MustParseAddr("198.51.100.1")}, TTL: 2 * time.Second},
		{Name: "nowhere.example", Old: []netip.Addr{netip.MustParseAddr("203.0.113.1")}, New: []netip.Addr{netip.MustParseAddr("203.0.113.2")}, Ports: []uint16{443}},
	}
	tallier := measure.NewTallier(ns)
	reused := measure.Ports{Available: 28232, Reused: func(a netip.Addr) bool { return a == netip.MustParseAddr("198.51.100.1") }}
	at := start
	tell := func(f Frame) {
		f.Namespace, f.At = ns, at
		each(f)
	}
	for i := range 12 {
		at = start.Add(time.Duration(i) * time.Second)
		switch i {
		case 0, 5:
			for n := range byte(2) {
				backends = append(backends, scope.Backend{Name: string('a'+rune(len(backends))) + "/s", Group: "a", Namespace: ns, Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i/5) + n}), 8080)})
			}
			if i == 5 {
				backends = backends[1:]
				switches = slices.Clone(switches)
				switches[0].Since = at
			}
			tallier.SetRegions(regions, scope.NewRegionIndex(regions), false)
			tallier.SetSwitches(switches, false)
			tallier.SetScopes(services, backends)
			tell(Frame{Kind: FrameScopes, Scopes: &Scopes{Services: services, Backends: backends, Regions: regions, Switches: switches}})
			tallier.SetPorts(reused)
			tell(Frame{Kind: FramePorts, Ports: PortsOf(reused, backends)})
		case 2:
			capacity := measure.Capacity{Workers: 64, DescriptorsUsed: 9, DescriptorsLimit: 1024}
			tallier.SetCapacity(0, capacity)
			tell(Frame{Kind: FrameCapacity, Service: 0, Capacity: capacity})
		}
		look := tcp.Look{Namespace: 4, Request: tcp.Request{Tier: tcp.Full, States: tcp.AllStates, Info: true}, Begin: at}
		if i%3 == 2 {
			look.Request = tcp.Request{Tier: tcp.Focus, States: tcp.AllStates, Info: true, Filter: tcp.Filter{LocalPorts: []uint16{443}, RemotePorts: []uint16{8080}}}
		}
		tallier.Begin(look)
		tell(Frame{Kind: FrameBegin, Look: look})
		for batch := c.sockets; len(batch) > 0; batch = batch[min(tcp.BatchSize, len(batch)):] {
			part := batch[:min(tcp.BatchSize, len(batch))]
			tallier.Add(part)
			tell(Frame{Kind: FrameBatch, Sockets: part})
		}
		if i == 7 {
			c.pass()
			continue // this look failed: its sockets were seen all the same
		}
		look.Completeness, look.Sockets, look.Reader, look.Abilities = tcp.Complete, len(c.sockets), "sock_diag", tcp.AllAbilities
		tallies := tallier.End(look, time.Second)
		tell(Frame{Kind: FrameEnd, Look: look, Interval: time.Second})
		step(measure.Step{Namespace: ns, At: at, Tallies: tallies})
		tallier.AddMet()
		c.pass()
	}
}

// TestFramesFromTheMiddle: a segment with frames says what holds, so that who
// begins there counts by the same scopes.
func TestFramesFromTheMiddle(t *testing.T) {
	e := NewEncoder(Limits{Span: time.Second})
	var segments []Segment
	add := func(done *Segment, err error) {
		if done != nil && err == nil {
			segments = append(segments, *done)
		}
	}
	Watched(t, func(f Frame) { add(e.AddFrame(f)) }, func(s measure.Step) { add(e.Add(s)) })
	d, p := NewDecoder(), NewPlayer()
	if err := d.Reset(segments[3].Data); err != nil {
		t.Fatal(err)
	}
	for r, err := d.Next(); err == nil; r, err = d.Next() {
		if r.Frame == nil {
			continue
		}
		if tallies, looked := p.Play(r.Frame); looked {
			web := tallies.Scopes[0]
			if web.Scope.Name != "web" || web.Capacity.Workers != 64 || tallies.Scopes[1].Capacity.Ports != 28232 || len(tallies.Scopes) != 4 {
				t.Errorf("%d scopes, the first %+v", len(tallies.Scopes), web)
			}
			return
		}
	}
	t.Error("no look in the fourth segment")
}

// frameSeeds is content of segments with frames.
func frameSeeds(t testing.TB) [][]byte {
	e := NewEncoder(Limits{Size: 4000})
	d := NewDecoder()
	var out [][]byte
	keep := func(done *Segment, err error) {
		if done == nil || err != nil {
			return
		}
		raw, _, err := d.open.open(done.Data)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, bytes.Clone(raw))
	}
	Watched(t, func(f Frame) { keep(e.AddFrame(f)) }, func(s measure.Step) { keep(e.Add(s)) })
	return out[:3]
}

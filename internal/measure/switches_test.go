package measure

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// aSwitch is a switch that was 20 s before begin, with answers good for 10 s.
func aSwitch() scope.Switch {
	return scope.Switch{
		Name: "shop.example", Old: []netip.Addr{netip.MustParseAddr("192.0.2.10")}, New: []netip.Addr{netip.MustParseAddr("198.51.100.7")},
		TTL: 10 * time.Second, Since: begin.Add(-20 * time.Second),
	}
}

// from is a connection that came to a local end.
func from(local string, cookie uint64, state tcp.State) tcp.Socket {
	s := to(local, cookie, state)
	s.Local, s.Remote = s.Remote, netip.AddrPortFrom(netip.MustParseAddr("203.0.113.5"), 40000+uint16(cookie))
	return s
}

// sides are the tallies of the sides, by what follows "address/".
func sides(t Tallies) map[string]Address {
	out := map[string]Address{}
	for i := range t.Scopes {
		if y := &t.Scopes[i]; y.Scope.Kind == scope.KindAddress {
			out[y.Scope.Name] = y.Address
		}
	}
	return out
}

// TestSideOfASocket: which socket counts at which side, and at which end.
func TestSideOfASocket(t *testing.T) {
	const none = ""
	plain := []scope.Switch{aSwitch()}
	ports := []scope.Switch{aSwitch()}
	ports[0].Ports = []uint16{80}
	both := append([]scope.Switch{aSwitch()}, scope.Switch{Name: "api.example", Old: aSwitch().New, New: aSwitch().Old, Since: begin})
	unspoken := from("192.0.2.10:9000", 1, tcp.Established)
	tests := []struct {
		name     string
		switches []scope.Switch
		socket   tcp.Socket
		want     string
	}{
		{"asked of the old one", plain, to("192.0.2.10:443", 1, tcp.Established), "shop.example/old asked"},
		{"asked of the new one", plain, to("198.51.100.7:443", 1, tcp.SynSent), "shop.example/new asked"},
		{"served at the old one", plain, from("192.0.2.10:80", 1, tcp.Established), "shop.example/old served"},
		{"half open there", plain, from("192.0.2.10:80", 1, tcp.SynRecv), "shop.example/old served"},
		{"at the old one to where nobody listens", plain, unspoken, none},
		{"elsewhere", plain, to("203.0.113.1:443", 1, tcp.Established), none},
		{"served elsewhere, by a client at the old one", plain, tcp.Socket{Local: netip.MustParseAddrPort("10.0.0.1:80"), Remote: netip.MustParseAddrPort("192.0.2.10:50000"), State: tcp.Established}, none},
		{"half open from the old one", plain, tcp.Socket{Local: netip.MustParseAddrPort("10.0.0.1:9000"), Remote: netip.MustParseAddrPort("192.0.2.10:50000"), State: tcp.SynRecv}, none},
		{"a listener", plain, tcp.Socket{Local: netip.MustParseAddrPort("192.0.2.10:80"), State: tcp.Listen}, none},
		{"closed", plain, to("192.0.2.10:443", 1, tcp.TimeWait), none},
		{"from the old one to the new one", plain, tcp.Socket{Local: netip.MustParseAddrPort("192.0.2.10:50000"), Remote: netip.MustParseAddrPort("198.51.100.7:443"), State: tcp.Established}, "shop.example/new asked"},
		{"to itself, the client's end", plain, tcp.Socket{Local: netip.MustParseAddrPort("192.0.2.10:50000"), Remote: netip.MustParseAddrPort("192.0.2.10:80"), State: tcp.Established}, "shop.example/old asked"},
		{"to itself, the server's end", plain, tcp.Socket{Local: netip.MustParseAddrPort("192.0.2.10:80"), Remote: netip.MustParseAddrPort("192.0.2.10:50000"), State: tcp.Established}, "shop.example/old served"},
		{"a port that counts", ports, to("192.0.2.10:80", 1, tcp.Established), "shop.example/old asked"},
		{"one that does not", ports, to("192.0.2.10:443", 1, tcp.Established), none},
		{"a local port that counts", ports, from("192.0.2.10:80", 1, tcp.Established), "shop.example/old served"},
		{"on sides of two", both, to("192.0.2.10:443", 1, tcp.Established), "shop.example/old asked, api.example/new asked"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tallier := tallierOf(web(), nil)
			tallier.SetSwitches(tt.switches, true)
			got := count(tallier, look(whole, begin), []tcp.Socket{tt.socket})
			found := none
			add := func(name string, n uint32) {
				if n == 0 {
					return
				}
				if found != none {
					found += ", "
				}
				found += name
			}
			for i := range got.Scopes {
				if y := &got.Scopes[i]; y.Scope.Kind == scope.KindAddress {
					add(y.Scope.Name+" asked", y.Address.Asked.Connections)
					add(y.Scope.Name+" served", y.Address.Served.Connections)
				}
			}
			if found != tt.want {
				t.Errorf("it counts at %q, want %q", found, tt.want)
			}
		})
	}
}

// TestDrainedServerKeepsItsConnections: it closes its listener first, and they are
// not asked by us for that.
func TestDrainedServerKeepsItsConnections(t *testing.T) {
	tallier := tallierOf(nil, nil)
	tallier.SetSwitches([]scope.Switch{aSwitch()}, true)
	tallier.SetScopes(web(), nil)
	tallier.SetScopes(nil, nil)
	got := count(tallier, look(whole, begin), []tcp.Socket{from("192.0.2.10:80", 1, tcp.Established)})
	if old := sides(got)["shop.example/old"]; old.Served.Established != 1 {
		t.Errorf("of the listener that is gone: %+v", old)
	}
}

// TestSideTally counts four looks at a switch's connections.
func TestSideTally(t *testing.T) {
	tallier := tallierOf(web(), nil)
	tallier.SetSwitches([]scope.Switch{aSwitch()}, true)
	since := func(d time.Duration) Address { return Address{Since: d, TTL: 10 * time.Second} }
	steps := []struct {
		name    string
		request tcp.Request
		broken  bool
		sockets []tcp.Socket
		want    map[string]Address
	}{
		{"what is there at first is not new", whole, false,
			[]tcp.Socket{idle("192.0.2.10:443", 1), connecting("192.0.2.10:443", 2), idle("198.51.100.7:443", 3), to("198.51.100.7:443", 4, tcp.TimeWait)},
			map[string]Address{
				"shop.example/old": with(since(20*time.Second), End{Connections: 2, Established: 1, Connecting: 1, Older: 1}, End{}),
				"shop.example/new": with(since(20*time.Second), End{Connections: 1, Established: 1, Older: 1}, End{}),
			}},
		{"one moves, one comes, one resends", whole, false,
			[]tcp.Socket{moving("192.0.2.10:443", 1, 500), resending("192.0.2.10:443", 2), idle("198.51.100.7:443", 3), idle("198.51.100.7:443", 5), fresh("192.0.2.10:443", 6)},
			map[string]Address{
				"shop.example/old": with(since(21*time.Second), End{Connections: 3, Established: 3, Retransmitting: 1, Moved: 2, Bytes: 400 + 199, New: 1, NewAfterTTL: 1, Older: 2, Moving: 2}, End{}),
				"shop.example/new": with(since(21*time.Second), End{Connections: 2, Established: 2, Moved: 1, Bytes: 199, New: 1, NewAfterTTL: 1, Older: 1, Moving: 1}, End{}),
			}},
		{"a look that is not whole says nothing of what came", whole, true,
			[]tcp.Socket{moving("192.0.2.10:443", 1, 600), fresh("192.0.2.10:443", 7)},
			map[string]Address{
				"shop.example/old": with(since(22*time.Second), End{Connections: 2, Established: 2, Moved: 2, Moving: 2, Older: 1}, End{}),
				"shop.example/new": since(22 * time.Second),
			}},
		{"the next one does", whole, false,
			[]tcp.Socket{moving("192.0.2.10:443", 1, 600), moving("192.0.2.10:443", 7, 250), served("192.0.2.10:80", 8)},
			map[string]Address{
				"shop.example/old": with(since(23*time.Second),
					End{Connections: 2, Established: 2, Moved: 2, Bytes: 100 + 199 + 150, New: 1, NewAfterTTL: 1, Older: 1, Moving: 2},
					End{Connections: 1, Established: 1, Moved: 1, Bytes: 199, New: 1, NewAfterTTL: 1, Moving: 1}),
				"shop.example/new": since(23 * time.Second),
			}},
		{"one at the listeners alone says nothing", tcp.Request{Tier: tcp.Pulse, States: tcp.ListenOnly}, false, nil,
			map[string]Address{"shop.example/old": since(24 * time.Second), "shop.example/new": since(24 * time.Second)}},
	}
	for i, tt := range steps {
		l := look(tt.request, begin.Add(time.Duration(i)*time.Second))
		if tt.broken {
			l.Completeness = tcp.Interrupted
		}
		if diff := cmp.Diff(tt.want, sides(count(tallier, l, tt.sockets))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	rows, over, seen := tallier.Held(0)
	want := []HeldSocket{
		{Cookie: 1, Inode: 1, State: tcp.Established, Moving: true, FirstSeen: begin},
		{Cookie: 7, Inode: 7, State: tcp.Established, Moving: true, NewAfterTTL: true, FirstSeen: begin.Add(2 * time.Second)},
		{Cookie: 8, Inode: 8, State: tcp.Established, Served: true, Moving: true, NewAfterTTL: true, FirstSeen: begin.Add(3 * time.Second)},
	}
	if diff := cmp.Diff(want, rows, cmpopts.IgnoreFields(HeldSocket{}, "Local", "Remote")); diff != "" || over != 0 || !seen.Equal(begin.Add(3*time.Second)) {
		t.Errorf("%d over, at %s, held (-want +got):\n%s", over, seen, diff)
	}
	if rows[2].Local.String() != "192.0.2.10:80" || rows[0].Remote.String() != "192.0.2.10:443" {
		t.Errorf("ends %s and %s", rows[2].Local, rows[0].Remote)
	}
}

// TestWhoHasLeftIsNobody: what a client of a dead address leaves behind as it goes
// away closes for minutes, and is nobody who goes there.
func TestWhoHasLeftIsNobody(t *testing.T) {
	tallier, m := tallierOf(web(), nil), New("")
	tallier.SetSwitches([]scope.Switch{aSwitch()}, true)
	closing := func(s tcp.Socket, state tcp.State) tcp.Socket {
		s.State, s.Inode = state, 0
		return s
	}
	var view *View
	for i := range 3 {
		now := begin.Add(time.Duration(i) * time.Second)
		t := count(tallier, look(whole, now), []tcp.Socket{
			connecting("192.0.2.10:443", 1),
			closing(resending("192.0.2.10:443", 2), tcp.FinWait1),
			closing(resending("192.0.2.10:443", 3), tcp.LastAck),
			closing(resending("192.0.2.10:443", 4), tcp.Closing),
			closing(idle("192.0.2.10:443", 5), tcp.FinWait2),
			closing(resending("192.0.2.10:80", 6), tcp.FinWait1),
		})
		view = m.Step(now, t)
	}
	old := view.Scope((&scope.Switch{Name: "shop.example"}).ID(scope.OldSide, ""))
	want := map[string]float64{"connections": 1, "failing": 1, "retransmitting": 0, "fin_wait1": 2, "last_ack": 1}
	if diff := diffOf(want, known(old, Connections, Failing, Retransmitting, FinWait1, LastAck)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	rows, _, _ := tallier.Held(0)
	if len(rows) != 1 || rows[0].State != tcp.SynSent {
		t.Errorf("held: %+v", rows)
	}
}

func with(of Address, asked, served End) Address {
	of.Asked, of.Served = asked, served
	return of
}

// idle has not moved anything for an hour; moving has moved so many bytes both
// ways, fresh 199 of them.
func idle(remote string, cookie uint64) tcp.Socket {
	s := to(remote, cookie, tcp.Established)
	s.Info.LastDataReceived = time.Hour
	return s
}

func moving(remote string, cookie, bytes uint64) tcp.Socket {
	s := to(remote, cookie, tcp.Established)
	s.Info.BytesReceived = bytes
	return s
}

func fresh(remote string, cookie uint64) tcp.Socket { return moving(remote, cookie, 100) }

func resending(remote string, cookie uint64) tcp.Socket {
	s := idle(remote, cookie)
	s.Info.BytesReceived, s.Info.BytesAcked, s.Info.LastDataSent = 0, 1, 0
	s.Timer, s.Retransmits = tcp.TimerRetransmit, 2
	return s
}

func connecting(remote string, cookie uint64) tcp.Socket {
	s := to(remote, cookie, tcp.SynSent)
	s.Info = tcp.Info{}
	return s
}

func served(local string, cookie uint64) tcp.Socket { return from(local, cookie, tcp.Established) }

// TestLateOnlyWhenCertain: a connection is late when the look before was after
// the TTL already, and a second more.
func TestLateOnlyWhenCertain(t *testing.T) {
	tests := []struct {
		name       string
		ttl        time.Duration
		armed      bool
		since      time.Duration // before the first look
		wantLate   []uint32      // by look, a second apart; each meets one more connection
		wantOlder  uint32
		wantHeld   int
		wantSwitch bool
	}{
		{"no TTL is known", 0, false, time.Minute, []uint32{0, 0, 0, 0, 0}, 0, 5, true},
		{"only expected", 10 * time.Second, true, 0, []uint32{0, 0, 0, 0, 0}, 0, 5, false},
		{"before it is over", 10 * time.Second, false, time.Second, []uint32{0, 0, 0, 0, 0}, 0, 5, true},
		{"over between two looks", 10 * time.Second, false, 8500 * time.Millisecond, []uint32{0, 0, 0, 0, 1}, 4, 5, true},
		{"over long ago", 10 * time.Second, false, time.Hour, []uint32{0, 1, 1, 1, 1}, 1, 5, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			of := aSwitch()
			of.TTL, of.Since = tt.ttl, begin.Add(-tt.since)
			if tt.armed {
				of.Since = time.Time{}
			}
			tallier := tallierOf(nil, nil)
			tallier.SetSwitches([]scope.Switch{of}, true)
			var sockets []tcp.Socket
			var late []uint32
			var last Address
			for i := range tt.wantLate {
				sockets = append(sockets, idle("192.0.2.10:443", uint64(i+1)))
				last = sides(count(tallier, look(whole, begin.Add(time.Duration(i)*time.Second)), sockets))["shop.example/old"]
				late = append(late, last.Asked.NewAfterTTL)
			}
			rows, _, _ := tallier.Held(0)
			if diff := cmp.Diff(tt.wantLate, late); diff != "" || last.Asked.Older != tt.wantOlder || len(rows) != tt.wantHeld || (last.Since >= 0) != tt.wantSwitch {
				t.Errorf("%d older, %d held, %v since; late (-want +got):\n%s", last.Asked.Older, len(rows), last.Since, diff)
			}
			// Another time of the switch forgets what was late by the first.
			of.Since = begin.Add(time.Second)
			tallier.SetSwitches([]scope.Switch{of}, true)
			count(tallier, look(whole, begin.Add(5*time.Second)), sockets)
			for _, row := range first(tallier.Held(0)) {
				if row.NewAfterTTL || row.FirstSeen.Equal(begin.Add(5*time.Second)) {
					t.Errorf("after another time %+v", row)
				}
			}
		})
	}
}

// TestStartedLate: an agent that starts when the answers have long been over does
// not take what it meets for what was there before: it tells by what the kernel
// knows of it, or by its staying.
func TestStartedLate(t *testing.T) {
	tallier := tallierOf(nil, nil)
	tallier.SetSwitches([]scope.Switch{aSwitch()}, true) // 10 s beyond the TTL
	quiet := func(cookie uint64, since time.Duration) tcp.Socket {
		s := idle("192.0.2.10:443", cookie)
		s.Info.LastDataReceived = since
		return s
	}
	var older []uint32
	for _, at := range []time.Duration{0, time.Second, 29 * time.Second, 31 * time.Second} {
		sockets := []tcp.Socket{quiet(1, 15*time.Second), quiet(2, 5*time.Second)}
		if at > 0 { // what was heard once stays known
			sockets = []tcp.Socket{quiet(1, 0), quiet(2, 0), quiet(3, 0)}
		}
		older = append(older, sides(count(tallier, look(whole, begin.Add(at)), sockets))["shop.example/old"].Asked.Older)
	}
	if diff := cmp.Diff([]uint32{1, 1, 2, 2}, older); diff != "" {
		t.Errorf("older (-want +got):\n%s", diff)
	}
}

// TestMovingAfterYears: what never moved does not begin to as the agent's clock
// goes on.
func TestMovingAfterYears(t *testing.T) {
	tallier := tallierOf(nil, nil)
	tallier.SetSwitches([]scope.Switch{aSwitch()}, true)
	for _, days := range []time.Duration{0, 1, 130, 250, 2000} {
		at := begin.Add(days * 24 * time.Hour)
		for i := range 2 {
			got := sides(count(tallier, look(whole, at.Add(time.Duration(i)*time.Second)), []tcp.Socket{idle("192.0.2.10:443", 1), moving("192.0.2.10:443", 2, 1000*uint64(days)+100*uint64(i+1))}))["shop.example/old"].Asked
			if got.Moving != 1 || days+time.Duration(i) > 0 && got.Moved != 1 {
				t.Errorf("%d days, look %d: %d move, %d have moved since the last look", days, i, got.Moving, got.Moved)
			}
		}
	}
}

// TestProbesAreNotLate: an agent elsewhere that looks what answers at the old
// address counts there, and is not late.
func TestProbesAreNotLate(t *testing.T) {
	tallier := tallierOf(web(), nil)
	tallier.SetSwitches([]scope.Switch{aSwitch()}, true)
	sockets := []tcp.Socket{from("192.0.2.10:80", 1, tcp.Established)}
	count(tallier, look(whole, begin), sockets)
	probe, user := from("192.0.2.10:80", 2, tcp.Established), from("192.0.2.10:80", 3, tcp.Established)
	probe.Remote = netip.AddrPortFrom(probe.Remote.Addr(), scope.FirstProbePort)
	got := sides(count(tallier, look(whole, begin.Add(time.Second)), append(sockets, probe, user)))["shop.example/old"].Served
	if got.New != 2 || got.NewAfterTTL != 1 || got.Connections != 3 {
		t.Errorf("%+v: want 3 connections, 2 of them new and 1 late", got)
	}
}

func first(rows []HeldSocket, _ int, _ time.Time) []HeldSocket { return rows }

// TestSwitchesAreMet: where they need not be there, the first connection makes
// both scopes, and a look that one side's addresses are not asked for at both
// ends says nothing of it.
func TestSwitchesAreMet(t *testing.T) {
	of := aSwitch()
	tallier := tallierOf(web(), nil)
	tallier.SetSwitches([]scope.Switch{of}, false)
	sockets := []tcp.Socket{to("198.51.100.7:443", 1, tcp.Established)}
	if got := count(tallier, look(whole, begin), sockets); len(got.Scopes) != 2 || got.Scopes[1].States[tcp.Established] != 1 {
		t.Errorf("before it is met: %v", scopesOf(got))
	}
	if !tallier.AddMet() || tallier.AddMet() {
		t.Error("the switch that was met is not added, or twice")
	}
	want := []string{"service/web", "address/shop.example/old", "address/shop.example/new", "rest"}
	got := count(tallier, look(whole, begin.Add(time.Second)), sockets)
	if diff := cmp.Diff(want, scopesOf(got)); diff != "" {
		t.Errorf("scopes (-want +got):\n%s", diff)
	}
	if got.Scopes[3].States[tcp.Established] != 1 || got.Scopes[1].Group != "shop.example" {
		t.Errorf("the rest has lost %+v, or the group is %q", got.Scopes[3].States, got.Scopes[1].Group)
	}
	narrow := tcp.Request{States: tcp.AllStates, Info: true, Filter: tcp.Filter{RemotePrefixes: of.Prefixes(scope.OldSide), LocalPrefixes: of.Prefixes(scope.OldSide)}}
	if diff := cmp.Diff(want[1:2], scopesOf(count(tallier, look(narrow, begin.Add(2*time.Second)), nil))); diff != "" {
		t.Errorf("a look at the old addresses alone (-want +got):\n%s", diff)
	}
	narrow.Filter.LocalPrefixes = nil
	narrow.Filter.LocalPorts = []uint16{1}
	if got := scopesOf(count(tallier, look(narrow, begin.Add(3*time.Second)), nil)); len(got) != 0 {
		t.Errorf("a look at one end alone has %v", got)
	}
	if got := tallier.Switches(nil); len(got) != 1 || got[0].Name != of.Name {
		t.Errorf("switches %+v", got)
	}
	tallier.SetSwitches(nil, false)
	if got := scopesOf(count(tallier, look(whole, begin.Add(4*time.Second)), sockets)); len(got) != 2 || tallier.switches.index != nil {
		t.Errorf("scopes %v after the switch is gone", got)
	}
}

// TestSideOfManyIsSampled: beyond 4,096 connections what comes and moves is an
// estimate, and of 2,048 held the others are counted.
func TestSideOfManyIsSampled(t *testing.T) {
	tallier := tallierOf(nil, nil)
	tallier.SetSwitches([]scope.Switch{aSwitch()}, true)
	const all, late = 20_000, 4_000
	crowd := func(n int, bytes uint64) (out []tcp.Socket) {
		for i := range n {
			s := moving("192.0.2.10:443", uint64(i+1), bytes)
			s.Local = netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(i))
			out = append(out, s)
		}
		return out
	}
	count(tallier, look(whole, begin), crowd(all, 100))
	count(tallier, look(whole, begin.Add(time.Second)), crowd(all, 100))
	e := sides(count(tallier, look(whole, begin.Add(2*time.Second)), append(crowd(all, 150), crowd(all+late, 100)[all:]...)))["shop.example/old"].Asked
	within := func(what string, got, want float64) {
		if got < 0.9*want || got > 1.1*want {
			t.Errorf("%s: about %.0f, want %.0f", what, got, want)
		}
	}
	if e.Connections != all+late || e.Established != all+late {
		t.Errorf("%d connections, %d established: they are counted one by one", e.Connections, e.Established)
	}
	within("new", float64(e.New), late)
	within("after the TTL", float64(e.NewAfterTTL), late)
	within("older", float64(e.Older), all)
	within("moved", float64(e.Moved), all+late)
	within("bytes", float64(e.Bytes), 50*all+199*late)
	rows, over, _ := tallier.Held(0)
	if len(rows) != maxHeld || over != all+late-maxHeld {
		t.Errorf("%d held, %d over", len(rows), over)
	}
	if moves := len(tallier.scopes[0].side.moves); moves > maxFlows {
		t.Errorf("%d flows are remembered, %d at most", moves, maxFlows)
	}
}

// TestNoSocketCountsTwice holds the sides to a walk over the rules, at random: a
// socket is asked or served, at one side of one switch at most once.
func TestNoSocketCountsTwice(t *testing.T) {
	few := rapid.Custom(func(t *rapid.T) netip.Addr {
		return netip.AddrFrom4([4]byte{192, 0, 2, rapid.ByteRange(0, 5).Draw(t, "last")})
	})
	rapid.Check(t, func(t *rapid.T) {
		switches := make([]scope.Switch, rapid.IntRange(1, 3).Draw(t, "switches"))
		for i := range switches {
			switches[i] = scope.Switch{
				Name: fmt.Sprint(i), Since: begin, TTL: time.Second, Old: rapid.SliceOfN(few, 0, 3).Draw(t, "old"), New: rapid.SliceOfN(few, 0, 3).Draw(t, "new"),
				Ports: rapid.SliceOfN(rapid.SampledFrom([]uint16{80, 443}), 0, 2).Draw(t, "ports"),
			}
		}
		tallier := tallierOf(web(), nil)
		tallier.SetSwitches(switches, true)
		port := rapid.SampledFrom([]uint16{80, 443, 50000})
		s := tcp.Socket{
			Local: netip.AddrPortFrom(few.Draw(t, "local"), port.Draw(t, "local port")), Remote: netip.AddrPortFrom(few.Draw(t, "remote"), port.Draw(t, "remote port")),
			State: rapid.SampledFrom([]tcp.State{tcp.Established, tcp.SynSent, tcp.SynRecv, tcp.CloseWait, tcp.TimeWait, tcp.Listen}).Draw(t, "state"),
			Has:   tcp.HasCookie, Cookie: 1,
		}
		got := sides(count(tallier, look(whole, begin), []tcp.Socket{s}))
		on := func(list []netip.Addr, a netip.Addr) (n uint32) {
			if slices.Contains(list, a) {
				n = 1
			}
			return n
		}
		for i := range switches {
			for _, side := range []scope.Side{scope.OldSide, scope.NewSide} {
				var asked, served uint32
				list, claimed := switches[i].Addresses(side), s.Local.Port() == 80 // web listens there
				switch {
				case s.State == tcp.Listen || s.State == tcp.TimeWait:
				case claimed && switches[i].Counts(s.Local.Port()):
					served = on(list, s.Local.Addr())
				case !claimed && s.State != tcp.SynRecv && switches[i].Counts(s.Remote.Port()):
					asked = on(list, s.Remote.Addr())
				}
				y := got[switches[i].Name+"/"+side.String()]
				if y.Asked.Connections != asked || y.Served.Connections != served {
					t.Fatalf("%s of %d: asked %d, served %d; want %d and %d", side, i, y.Asked.Connections, y.Served.Connections, asked, served)
				}
			}
		}
	})
}

// BenchmarkSwitches tallies a full look at a host that serves most of its
// connections, of which one in a hundred is on the old side of a switch: with no
// switch, with one, and with 20.
func BenchmarkSwitches(b *testing.B) {
	const n = 100_000
	random := rand.New(rand.NewPCG(1, 2))
	sockets := make([]tcp.Socket, n)
	for i := range sockets {
		a := netip.AddrFrom4([4]byte{10, byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32())})
		sockets[i] = tcp.Socket{
			Local: netip.AddrPortFrom(netip.MustParseAddr("203.0.113.1"), uint16(10_000+i%50_000)), Remote: netip.AddrPortFrom(a, 443),
			State: tcp.Established, Cookie: uint64(i + 1), Inode: uint64(i + 1), Has: tcp.HasCookie | tcp.HasInfo, Info: tcp.Info{BytesAcked: 500, BytesReceived: 900},
		}
		if i%2 == 0 {
			sockets[i].Local = netip.MustParseAddrPort("203.0.113.1:80")
		}
		if i%100 == 1 {
			sockets[i].Remote = netip.MustParseAddrPort("192.0.2.10:443")
		}
	}
	for _, many := range []int{0, 1, 20} {
		switches := make([]scope.Switch, many)
		for i := range switches {
			switches[i] = aSwitch()
			if i > 0 {
				switches[i].Name += fmt.Sprint(i)
				switches[i].Old = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)})}
				switches[i].New = []netip.Addr{netip.AddrFrom4([4]byte{198, 51, 100, byte(100 + i)})}
			}
		}
		tallier := tallierOf(web(), nil)
		tallier.SetSwitches(switches, true)
		at := begin
		b.Run(fmt.Sprintf("switches=%d", many), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				at = at.Add(time.Second)
				tallier.Begin(look(whole, at))
				for left := sockets; len(left) > 0; left = left[min(len(left), tcp.BatchSize):] {
					tallier.Add(left[:min(len(left), tcp.BatchSize)])
				}
				tallier.End(look(whole, at), time.Second)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/socket")
		})
	}
}

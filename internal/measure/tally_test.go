package measure

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

var begin = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

func web() []scope.Service {
	return []scope.Service{{Name: "web", Listen: []netip.AddrPort{netip.MustParseAddrPort("[::]:80")}}}
}

// table is the situation of testdata/fixtures: two un-accepted connections,
// one of them given up, and their clients' ends, which nobody claims.
func table() []tcp.Socket {
	at := func(local, remote string, state tcp.State, inode, cookie uint64) tcp.Socket {
		s := tcp.Socket{Local: netip.MustParseAddrPort(local), State: state, Inode: inode, Cookie: cookie, Has: tcp.HasCookie | tcp.HasInfo}
		if remote != "" {
			s.Remote = netip.MustParseAddrPort(remote)
		}
		return s
	}
	listener := at("[::]:80", "", tcp.Listen, 7, 1)
	listener.ReceiveQueue, listener.SendQueue, listener.Drops = 2, 3, 5
	listener.Has |= tcp.HasQueueLimit | tcp.HasDrops
	waiting := at("127.0.0.1:80", "127.0.0.1:34320", tcp.Established, 0, 2)
	waiting.Info.LastAckReceived = 212 * time.Millisecond
	gaveUp := at("127.0.0.1:80", "127.0.0.1:34316", tcp.CloseWait, 0, 3)
	gaveUp.Info.LastAckReceived = 104 * time.Millisecond
	busy := at("127.0.0.1:80", "127.0.0.1:34400", tcp.Established, 9, 4)
	busy.ReceiveQueue = 19
	lost := at("127.0.0.1:34500", "192.0.2.1:443", tcp.Established, 10, 5)
	lost.Timer, lost.Retransmits = tcp.TimerRetransmit, 3
	lost.Info = tcp.Info{LastDataSent: time.Second, LastDataReceived: time.Minute, BytesReceived: 1, DataSegsOut: 5, TotalRetransmits: 3}
	return []tcp.Socket{
		listener, waiting, gaveUp, busy, lost,
		at("127.0.0.1:34316", "127.0.0.1:80", tcp.FinWait2, 0, 6),
		at("127.0.0.1:34320", "127.0.0.1:80", tcp.Established, 11, 7),
		at("127.0.0.1:80", "127.0.0.1:34000", tcp.TimeWait, 0, 8),
	}
}

func look(req tcp.Request, at time.Time) tcp.Look {
	return tcp.Look{Request: req, Begin: at, Abilities: tcp.AllAbilities, Completeness: tcp.Complete}
}

func tallierOf(services []scope.Service, backends []scope.Backend) *Tallier {
	t := NewTallier("")
	t.SetScopes(services, backends)
	return t
}

func count(t *Tallier, l tcp.Look, sockets []tcp.Socket) Tallies {
	t.Begin(l)
	t.Add(sockets)
	return t.End(l, time.Second)
}

func TestTally(t *testing.T) {
	tallier := tallierOf(web(), nil)
	got := count(tallier, look(whole, begin), table())
	ignore := cmp.Options{
		cmpopts.IgnoreFields(Tally{}, "Examples", "PendingFor", "Flows"),
		cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty(),
	}
	want := []Tally{
		{
			Scope:    scope.ID{Kind: scope.KindService, Name: "web"},
			States:   states(map[tcp.State]uint32{tcp.Established: 2, tcp.CloseWait: 1, tcp.TimeWait: 1}),
			Accepted: 1, Unaccepted: 2, UnacceptedCloseWait: 1, Busy: 1,
			Queue:            Queue{Listeners: 1, Depth: 2, Limit: 3, Drops: 5, Set: mix(1)},
			OldestUnaccepted: 212 * time.Millisecond,
			Prefixes:         []PrefixHeld{{Prefix: netip.MustParsePrefix("127.0.0.0/24"), Held: 1}},
		},
		{
			Scope:    scope.Rest,
			States:   states(map[tcp.State]uint32{tcp.Established: 2, tcp.FinWait2: 1}),
			Accepted: 2, Pending: 1, Retransmitting: 1,
		},
	}
	if diff := cmp.Diff(want, got.Scopes, ignore); diff != "" {
		t.Errorf("tallies (-want +got):\n%s", diff)
	}
	examples := got.Scopes[0].Examples
	if len(examples) != 2 || examples[0].State != tcp.CloseWait || examples[1].State != tcp.Established {
		t.Errorf("examples %v, want the client that gave up and then the one that waits", examples)
	}
	if got.Scopes[0].Flows.Known {
		t.Error("the first look claims to know which connections are new")
	}
	// A second look, 2 s on: one connection left, one came, one was passed twice.
	later := append(table()[:3], table()[4:]...)
	later = append(later, later[1])
	fresh := later[1]
	fresh.Cookie = 99
	later = append(later, fresh)
	got = count(tallier, look(whole, begin.Add(2*time.Second)), later)
	y := got.Scopes[0]
	if want := (Flows{Known: true, New: 1, Gone: 1, Since: 2 * time.Second, Scale: 1}); y.Flows != want {
		t.Errorf("flows %+v, want %+v", y.Flows, want)
	}
	if y.Unaccepted != 3 || y.OldestUnaccepted != 2*time.Second {
		t.Errorf("%d un-accepted, the oldest %v; want 3 and 2s: a row passed twice counts once", y.Unaccepted, y.OldestUnaccepted)
	}
}

func states(m map[tcp.State]uint32) (out [tcp.NumStates]uint32) {
	for s, n := range m {
		out[s] = n
	}
	return out
}

func TestFocusCoversOnlyItsServices(t *testing.T) {
	services := append(web(), scope.Service{Name: "api", Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:81"), netip.MustParseAddrPort("127.0.0.1:82")}})
	tallier := tallierOf(services, nil)
	req := tcp.Request{Tier: tcp.Focus, States: tcp.AllStates, Filter: tcp.Filter{LocalPorts: []uint16{80, 81}}}
	var names []string
	for _, y := range count(tallier, look(req, begin), nil).Scopes {
		names = append(names, y.Scope.String())
	}
	if diff := cmp.Diff([]string{"service/web"}, names); diff != "" {
		t.Errorf("scopes covered by a focus on ports 80 and 81 (-want +got):\n%s", diff)
	}
}

func TestExamplesKeepTheWorst(t *testing.T) {
	tallier := tallierOf(web(), nil)
	var many []tcp.Socket
	for i := range 100 {
		s := table()[1]
		s.Cookie = uint64(1000 + i*37%100)
		s.Info.LastAckReceived = time.Duration(i*37%100) * time.Second
		many = append(many, s)
	}
	got := count(tallier, look(tcp.Request{States: tcp.AllStates}, begin), many).Scopes[0].Examples
	if len(got) != maxExamples {
		t.Fatalf("%d examples, want %d", len(got), maxExamples)
	}
	for i := range got {
		if want := time.Duration(99-i) * time.Second; got[i].Info.LastAckReceived != want {
			t.Errorf("example %d waited %v, want %v", i, got[i].Info.LastAckReceived, want)
		}
	}
}

func TestReloadKeepsWhatIsKnown(t *testing.T) {
	tallier := tallierOf(web(), nil)
	count(tallier, look(whole, begin), table())
	tallier.SetScopes(append([]scope.Service{{Name: "new", Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:9")}}}, web()...), nil)
	got := count(tallier, look(whole, begin.Add(5*time.Second)), table()).Scopes[1]
	if !got.Flows.Known || got.Flows.New != 0 || got.OldestUnaccepted != 5*time.Second {
		t.Errorf("after a reload %+v, oldest %v; want nothing new and 5s", got.Flows, got.OldestUnaccepted)
	}
}

func TestTallyAllocatesNothing(t *testing.T) {
	tallier, m := tallierOf(web(), nil), New("")
	sockets := table()
	at := begin
	tick := func(req tcp.Request) {
		at = at.Add(250 * time.Millisecond)
		m.Step(at, count(tallier, look(req, at), sockets))
	}
	for _, req := range []tcp.Request{
		{Tier: tcp.Pulse, States: tcp.ListenOnly},
		{Tier: tcp.Focus, States: tcp.AllStates, Info: true, Filter: tcp.Filter{LocalPorts: []uint16{80}}},
		{Tier: tcp.Odd, States: tcp.OddStates},
		{Tier: tcp.Full, States: tcp.AllStates, Info: true},
	} {
		for range 5 {
			tick(req)
		}
		if got := testing.AllocsPerRun(50, func() { tick(req) }); got > 0 {
			t.Errorf("a %s look allocates %v times in tally and signals, want 0", req.Tier, got)
		}
	}
}

// BenchmarkTally is the price of classifying and counting one socket.
func BenchmarkTally(b *testing.B) {
	tallier := tallierOf(web(), nil)
	batch := make([]tcp.Socket, tcp.BatchSize)
	for i := range batch {
		batch[i] = table()[3]
		batch[i].ReceiveQueue = 0
	}
	l := look(tcp.Request{Tier: tcp.Full, States: tcp.AllStates, Info: true}, begin)
	b.ReportAllocs()
	next := uint64(0)
	for b.Loop() {
		tallier.Begin(l)
		for range 100 {
			for i := range batch {
				next++
				batch[i].Cookie = next % 25600
			}
			tallier.Add(batch)
		}
		tallier.End(l, time.Second)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/25600, "ns/socket")
}

// TestANameThatIsThereTwice, as in a file that somebody made, is two scopes that
// share nothing.
func TestANameThatIsThereTwice(t *testing.T) {
	tallier := NewTallier("")
	switches := []scope.Switch{aSwitch(), aSwitch()}
	for range 3 {
		tallier.SetSwitches(switches, true)
		tallier.SetScopes(append(web(), web()...), nil)
	}
	var sockets []tcp.Socket
	for i := range 1000 {
		sockets = append(sockets, idle("192.0.2.10:443", uint64(i+1)))
	}
	got := count(tallier, look(whole, begin), sockets)
	for _, i := range []int{2, 4} {
		if y := &got.Scopes[i]; y.Address.Asked.Established != uint32(len(sockets)) {
			t.Errorf("%s has %d connections", y.Scope, y.Address.Asked.Established)
		}
	}
}

package measure

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

func twoRegions() []scope.Region {
	return []scope.Region{
		{Name: "east", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		{Name: "west", Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}},
	}
}

// to is a connection of ours that was made at a remote end.
func to(remote string, cookie uint64, state tcp.State) tcp.Socket {
	return tcp.Socket{
		Local: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), 40000+uint16(cookie)), Remote: netip.MustParseAddrPort(remote),
		State: state, Inode: cookie, Cookie: cookie, Has: tcp.HasCookie | tcp.HasInfo,
		Info: tcp.Info{LastDataSent: time.Minute, LastDataReceived: time.Minute, BytesReceived: 100, BytesAcked: 100},
	}
}

func TestRegionTally(t *testing.T) {
	regions := twoRegions()
	tallier := tallierOf(web(), []scope.Backend{{Name: "shop/a", Group: "shop", Remote: netip.MustParseAddrPort("192.0.2.1:443")}})
	tallier.SetRegions(regions, scope.NewRegionIndex(regions), true)
	retransmits := to("192.0.2.2:443", 3, tcp.Established)
	retransmits.Timer, retransmits.Retransmits, retransmits.Info.LastDataSent = tcp.TimerRetransmit, 2, 3*time.Second
	answers := to("192.0.2.1:443", 1, tcp.Established)
	answers.Info.LastDataSent, answers.Info.LastDataReceived, answers.Info.DataSegsOut = 200*time.Millisecond, 150*time.Millisecond, 4
	connecting := to("192.0.2.2:443", 5, tcp.SynSent)
	client := to("192.0.2.9:50000", 6, tcp.Established) // of ours, from within the region
	client.Local = netip.MustParseAddrPort("10.0.0.1:80")
	loopback := to("127.0.0.1:5432", 8, tcp.Established)
	sockets := []tcp.Socket{
		answers, to("192.0.2.1:443", 2, tcp.CloseWait), retransmits, to("192.0.2.1:8443", 4, tcp.Established), connecting, client,
		to("203.0.113.1:443", 7, tcp.Established), loopback, to("192.0.2.1:443", 9, tcp.TimeWait), to("198.51.100.1:443", 10, tcp.FinWait1),
	}
	count(tallier, look(whole, begin), sockets)
	got := count(tallier, look(whole, begin.Add(time.Second)), sockets)
	if diff := cmp.Diff([]string{"service/web", "backend/shop/a", "region/east", "region/west", "rest"}, scopesOf(got)); diff != "" {
		t.Fatalf("scopes (-want +got):\n%s", diff)
	}
	backend, east, rest := got.Scopes[1], got.Scopes[2], got.Scopes[4]
	if backend.Region != "east" || backend.Group != "shop" {
		t.Errorf("the backend is in the region %q, group %q; want east and shop", backend.Region, backend.Group)
	}
	want := Tally{
		Scope: scope.ID{Kind: scope.KindRegion, Name: "east"}, Group: scope.RegionGroup,
		States:   states(map[tcp.State]uint32{tcp.Established: 3, tcp.CloseWait: 1, tcp.SynSent: 1, tcp.TimeWait: 1}),
		Accepted: 4, AcceptedCloseWait: 1, Busy: 4, Pending: 1, Retransmitting: 1,
		Flows: Flows{Known: true, Since: time.Second, Scale: 1},
		Peer:  Peer{Answering: 1, HeardAgo: 150 * time.Millisecond, LongestPending: 3 * time.Second},
		Destinations: []Destination{
			{Remote: netip.MustParseAddrPort("192.0.2.1:443"), Connections: 2, Established: 1, CloseWait: 1, Answering: 1},
			{Remote: netip.MustParseAddrPort("192.0.2.2:443"), Connections: 2, Established: 1, Connecting: 1, Retransmitting: 1, PendingLate: 1},
			{Remote: netip.MustParseAddrPort("192.0.2.1:8443"), Connections: 1, Established: 1},
		},
		DestinationsSeen: 3,
	}
	ignore := cmp.Options{
		cmpopts.IgnoreFields(Tally{}, "Examples", "PendingFor"), cmpopts.IgnoreFields(Peer{}, "Answers"),
		cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.EquateEmpty(),
	}
	if diff := cmp.Diff(want, east, ignore); diff != "" {
		t.Errorf("east (-want +got):\n%s", diff)
	}
	// The client is the service's, what goes over loopback is nobody's region.
	if rest.Outgoing != 7 || rest.Unclassified != 1 || rest.States[tcp.Established] != 2 {
		t.Errorf("%d outgoing, %d in no region, %d of the rest; want 7, 1 and 2", rest.Outgoing, rest.Unclassified, rest.States[tcp.Established])
	}
}

func scopesOf(t Tallies) []string {
	var out []string
	for i := range t.Scopes {
		out = append(out, t.Scopes[i].Scope.String())
	}
	return out
}

// TestRegionsAreMet: where they need not be there, the first connection makes
// the scope, and a look that its prefixes are not asked for says nothing of it.
func TestRegionsAreMet(t *testing.T) {
	regions := twoRegions()
	tallier := tallierOf(web(), nil)
	tallier.SetRegions(regions, scope.NewRegionIndex(regions), false)
	if got := scopesOf(count(tallier, look(whole, begin), table()[:4])); len(got) != 2 {
		t.Errorf("scopes %v before anything is met", got)
	}
	if tallier.AddMet() {
		t.Error("regions are there that nobody met")
	}
	sockets := []tcp.Socket{to("198.51.100.1:443", 1, tcp.Established)}
	if got := count(tallier, look(whole, begin.Add(time.Second)), sockets); got.Scopes[1].States[tcp.Established] != 1 {
		t.Error("what is of no scope yet is not in the rest")
	}
	if !tallier.AddMet() || tallier.AddMet() {
		t.Error("the region that was met is not added, or twice")
	}
	if got := tallier.Regions(nil); len(got) != 1 || got[0].Name != "west" {
		t.Errorf("regions %+v, want west", got)
	}
	tallier.SetScopes(web(), nil) // it outlives a change of the services
	narrow := tcp.Request{States: tcp.AllStates, Info: true, Filter: tcp.Filter{LocalPorts: []uint16{80}}}
	if diff := cmp.Diff([]string{"service/web"}, scopesOf(count(tallier, look(narrow, begin.Add(2*time.Second)), nil))); diff != "" {
		t.Errorf("a look at the service alone (-want +got):\n%s", diff)
	}
	narrow.Filter.RemotePrefixes = regions[1].Prefixes
	if diff := cmp.Diff([]string{"service/web", "region/west"}, scopesOf(count(tallier, look(narrow, begin.Add(3*time.Second)), sockets))); diff != "" {
		t.Errorf("a look at both (-want +got):\n%s", diff)
	}
}

// TestDestinationsAreBounded: of many the largest are told, and one that has
// lost everything keeps its place for a while.
func TestDestinationsAreBounded(t *testing.T) {
	regions := twoRegions()
	tallier := tallierOf(nil, nil)
	tallier.SetRegions(regions, scope.NewRegionIndex(regions), true)
	table := func(but string) []tcp.Socket {
		var out []tcp.Socket
		for i := range 100 {
			remote := fmt.Sprintf("192.0.2.%d:443", i+1)
			for j := range i/10 + 1 {
				if remote != but {
					out = append(out, to(remote, uint64(100*j+i+1), tcp.Established))
				}
			}
		}
		rand.New(rand.NewPCG(1, 2)).Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
		return out
	}
	y := count(tallier, look(whole, begin), table("")).Scopes[0]
	all := uint32(0)
	for _, d := range y.Destinations {
		all += d.Connections
	}
	if len(y.Destinations) != toldDestinations || y.DestinationsSeen != maxDestinations || y.DestinationsOver == 0 || y.Destinations[0].Connections < y.Destinations[15].Connections {
		t.Fatalf("%d told, %d seen, %d connections beyond; the first has %d, the last %d", len(y.Destinations), y.DestinationsSeen, y.DestinationsOver, y.Destinations[0].Connections, y.Destinations[15].Connections)
	}
	first := y.Destinations[0].Remote
	y = count(tallier, look(whole, begin.Add(time.Second)), table(first.String())).Scopes[0]
	if d := y.Destinations[0]; d.Remote != first || d.Connections != 0 {
		t.Errorf("first is %+v, want %s without a connection", d, first)
	}
	for at := begin.Add(2 * time.Second); at.Before(begin.Add(2 * time.Minute)); at = at.Add(time.Second) {
		y = count(tallier, look(whole, at), table(first.String())).Scopes[0]
	}
	for _, d := range y.Destinations {
		if d.Remote == first || d.Connections == 0 {
			t.Errorf("%+v is still told", d)
		}
	}
}

func TestRegionSignals(t *testing.T) {
	m := New("")
	step := func(second int, y Tally) *ScopeSignals {
		y.Scope, y.Group = scope.ID{Kind: scope.KindRegion, Name: "east"}, scope.RegionGroup
		y.Flows = Flows{Known: true, Since: time.Second, Scale: 1}
		at := begin.Add(time.Duration(second) * time.Second)
		rest := Tally{Scope: scope.Rest, Outgoing: 8, Unclassified: 2}
		return m.Step(at, Tallies{Look: look(whole, at), Interval: time.Second, Scopes: []Tally{y, rest}}).Scope(y.Scope)
	}
	tally := func(established, retransmitting, gone uint32) Tally {
		y := Tally{Retransmitting: retransmitting, DestinationsSeen: 4}
		y.States[tcp.Established], y.States[tcp.TimeWait], y.States[tcp.SynSent] = established, 500, 4
		for i := range uint32(4) {
			d := Destination{Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 443), Established: established / 4, Retransmitting: retransmitting / 4, Connecting: 1, Sent: 10}
			if i < gone {
				d.Established = 0
			}
			if retransmitting == 0 {
				d.Answering = 1
			}
			d.Connections = d.Established + d.Connecting
			y.Destinations = append(y.Destinations, d)
		}
		return y
	}
	want := func(s *ScopeSignals, values map[Signal]float64) {
		t.Helper()
		for sig, want := range values {
			if got := s.Get(sig); got.Validity != Known || got.Value < want-1e-9 || got.Value > want+1e-9 {
				t.Errorf("%s is %+v, want %v", sig, got, want)
			}
		}
	}
	want(step(0, tally(36, 0, 0)), map[Signal]float64{
		Connections: 40, EstablishedShare: 0.9, SynSentShare: 0.1, RetransmittingShare: 0, EstablishedLost: 0,
		Destinations: 4, DestinationsConnecting: 4, DestinationsLost: 0, DestinationsGone: 0, DestinationsFewer: 0,
	})
	want(step(1, tally(16, 8, 2)), map[Signal]float64{
		Connections: 20, RetransmittingShare: 0.4, EstablishedLost: 1 - 16.0/36, DestinationsRetransmitting: 4, DestinationsUnanswered: 4,
		DestinationsLost: 0, DestinationsGone: 2, DestinationsFewer: 4,
	})
	step(2, tally(16, 8, 2))
	want(step(3, tally(16, 8, 2)), map[Signal]float64{DestinationsLost: 4})
	for i := range 12 {
		step(4+i, tally(16, 8, 2))
	}
	s := step(16, tally(16, 0, 2))
	want(s, map[Signal]float64{DestinationsLost: 0, DestinationsGone: 0, DestinationsFewer: 0, EstablishedLost: 0})
	nothing := Tally{}
	nothing.States[tcp.TimeWait] = 3
	if got := step(40, nothing).Get(EstablishedShare); got.Validity != NoTraffic {
		t.Errorf("a share of no connections is %+v", got)
	}
	for _, sig := range []Signal{PortsUsed, BalancerUp, ChecksEvery, Busy} {
		if r := s.Get(sig); r.Validity != NeverSeen || sig.AppliesTo(scope.KindRegion) {
			t.Errorf("a region has %s: %+v", sig, r)
		}
	}
	rest := m.Step(begin.Add(41*time.Second), Tallies{}).Scope(scope.Rest)
	want(rest, map[Signal]float64{Outgoing: 8, UnclassifiedShare: 0.25})
}

// TestRegionTotals: the shares of all sockets, and what was learned of them.
func TestRegionTotals(t *testing.T) {
	m := New("")
	y := Tally{Scope: scope.ID{Kind: scope.KindRegion, Name: "east"}, Group: scope.RegionGroup, AcceptedCloseWait: 2}
	norm := func(sig Signal, high float64, learning bool) Norm {
		return Norm{Scope: y.Scope, Signal: sig, High: high, Minutes: 400, Days: 17, Learning: learning}
	}
	known := func(value float64, samples int) Reading {
		return Reading{Value: value, Samples: samples, Validity: Known}
	}
	none := func(why Validity) Reading { return Reading{Validity: why} }
	tests := []struct {
		name   string
		states map[tcp.State]uint32
		norms  []Norm
		want   [4]Reading // CLOSE_WAIT and SYN_SENT, and what they are held against
	}{
		{"nothing there", nil, nil, [4]Reading{none(NoTraffic), none(NoTraffic), none(NotEnough), none(NotEnough)}},
		{
			"nothing learned, an orphan is nobody's", map[tcp.State]uint32{tcp.Established: 12, tcp.CloseWait: 3, tcp.SynSent: 1, tcp.TimeWait: 24}, nil,
			[4]Reading{known(0.05, 40), known(0.025, 40), none(NotEnough), none(NotEnough)},
		},
		{
			"learned, and still learning", map[tcp.State]uint32{tcp.CloseWait: 2, tcp.TimeWait: 2},
			[]Norm{norm(CloseWaitTotalShare, 0, false), norm(SynSentTotalShare, 0.1, true)},
			[4]Reading{known(0.5, 4), known(0, 4), known(0, 400), none(NotEnough)},
		},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			y.States = states(tt.states)
			at := begin.Add(time.Duration(i) * time.Second)
			s := m.Step(at, Tallies{Look: look(whole, at), Interval: time.Second, Scopes: []Tally{y}, Norms: tt.norms}).Scope(y.Scope)
			got := [4]Reading{s.Get(CloseWaitTotalShare), s.Get(SynSentTotalShare), s.Get(CloseWaitTotalHigh), s.Get(SynSentTotalHigh)}
			for i := range got {
				got[i].Seen, got[i].Good = time.Time{}, 0
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestALargeDestinationFindsRoom: where more destinations are met than are told
// apart, those with many connections are told of, whenever they came; one that
// fails keeps its place.
func TestALargeDestinationFindsRoom(t *testing.T) {
	regions := twoRegions()
	tallier := tallierOf(nil, nil)
	tallier.SetRegions(regions, scope.NewRegionIndex(regions), true)
	var sockets []tcp.Socket
	for i := range 200 {
		sockets = append(sockets, to(fmt.Sprintf("192.0.2.%d:443", i+1), uint64(i+1), tcp.Established))
	}
	count(tallier, look(whole, begin), sockets)
	lost := &sockets[keptFull-1] // the last that found room and kept it
	lost.Timer, lost.Retransmits = tcp.TimerRetransmit, 2
	for i := range 500 {
		sockets = append(sockets, to(fmt.Sprintf("192.0.2.%d:8443", 1+i%2), uint64(1000+i), tcp.Established))
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(sockets), func(i, j int) { sockets[i], sockets[j] = sockets[j], sockets[i] })
	var y Tally
	for i := range 3 {
		y = count(tallier, look(whole, begin.Add(time.Duration(1+i)*time.Second)), sockets).Scopes[0]
	}
	for i := range 2 {
		if d := y.Destinations[i]; d.Connections != 250 {
			t.Errorf("destination %d is %+v, want one of the two with 250", i, d)
		}
	}
	far := tallier.scopes[0].far
	if at := *far.slot(netip.MustParseAddrPort(fmt.Sprintf("192.0.2.%d:443", keptFull))); at == 0 {
		t.Error("the destination that fails lost its place")
	}
}

// TestAReloadLosesNoConnections: a region that has fewer prefixes than before has
// lost nobody, and what is left of it keeps what was heard.
func TestAReloadLosesNoConnections(t *testing.T) {
	regions := []scope.Region{{Name: "east", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24")}}}
	tallier, m := tallierOf(nil, nil), New("")
	var sockets []tcp.Socket
	for i := range 8 {
		s := to(fmt.Sprintf("%s.%d:443", [2]string{"192.0.2", "198.51.100"}[i%2], 1+i), uint64(i+1), tcp.Established)
		s.Info.LastDataReceived = 100 * time.Millisecond
		sockets = append(sockets, s)
	}
	var view *View
	for i := range 8 {
		switch i {
		case 0:
			tallier.SetRegions(regions, scope.NewRegionIndex(regions), true)
		case 4:
			shorter := []scope.Region{{Name: "east", Prefixes: regions[0].Prefixes[:1]}}
			tallier.SetRegions(shorter, scope.NewRegionIndex(shorter), true)
		}
		at := begin.Add(time.Duration(i) * time.Second)
		view = m.Step(at, count(tallier, look(whole, at), sockets))
		s := view.Scope(scope.ID{Kind: scope.KindRegion, Name: "east"})
		for _, sig := range []Signal{EstablishedLost, DestinationsGone, DestinationsFewer, VanishedRate} {
			if r := s.Get(sig); r.Validity == Known && r.Value != 0 {
				t.Errorf("after %d looks %s is %g", i+1, sig, r.Value)
			}
		}
	}
	if got := view.Scope(scope.ID{Kind: scope.KindRegion, Name: "east"}).Get(Established).Value; got != 4 {
		t.Errorf("%g are left in it, want 4", got)
	}
}

// TestALateLookIsGoodForAsLong: while something is suspected a look each 250 ms
// is wanted; on a busy host they come each 700 ms, and each counts.
func TestALateLookIsGoodForAsLong(t *testing.T) {
	tallies := func(tier tcp.Tier, interval time.Duration) Tallies {
		return Tallies{Look: tcp.Look{Request: tcp.Request{Tier: tier}}, Interval: interval}
	}
	for _, tt := range []struct {
		of   Tallies
		want time.Duration
	}{
		{tallies(tcp.Focus, 250*time.Millisecond), 2500 * time.Millisecond},
		{tallies(tcp.Focus, time.Second), 2500 * time.Millisecond},
		{tallies(tcp.Full, 4*time.Second), 10 * time.Second},
		{tallies(tcp.Pulse, 250*time.Millisecond), 625 * time.Millisecond},
	} {
		if got := goodFor(&tt.of); got != tt.want {
			t.Errorf("%s each %s: good for %s, want %s", tt.of.Look.Request.Tier, tt.of.Interval, got, tt.want)
		}
	}
}

// BenchmarkTallierRegions is what regions add to a tally, per socket.
func BenchmarkTallierRegions(b *testing.B) {
	for _, prefixes := range []int{0, 2, 10_000} {
		random := rand.New(rand.NewPCG(1, 2))
		regions := []scope.Region{{Name: "east"}, {Name: "west"}}
		for i := range prefixes {
			a := netip.AddrFrom4([4]byte{100, byte(i / 2 >> 8), byte(i / 2), 0})
			if i%2 == 1 {
				a = netip.AddrFrom4([4]byte{101, byte(i / 2 >> 8), byte(i / 2), 0})
			}
			regions[i%2].Prefixes = append(regions[i%2].Prefixes, netip.PrefixFrom(a, 24))
		}
		if prefixes == 0 {
			regions = nil
		}
		sockets := make([]tcp.Socket, 100_000)
		for i := range sockets {
			sockets[i] = to(fmt.Sprintf("%d.0.0.%d:443", 100+i%3, random.IntN(8)), uint64(i+1), tcp.Established)
		}
		b.Run(fmt.Sprintf("prefixes=%d", prefixes), func(b *testing.B) {
			tallier := tallierOf(web(), nil)
			tallier.SetRegions(regions, scope.NewRegionIndex(regions), true)
			b.ReportAllocs()
			at := begin
			for b.Loop() {
				at = at.Add(time.Second)
				l := look(whole, at)
				tallier.Begin(l)
				for i := 0; i < len(sockets); i += 256 {
					tallier.Add(sockets[i:min(i+256, len(sockets))])
				}
				tallier.End(l, time.Second)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(sockets)), "ns/socket")
		})
	}
}

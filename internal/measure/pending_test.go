package measure

import (
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// conns are connections to the shop's backend with the cookies from first to
// last, each having sent three segments again in its life.
func conns(first, last uint64, state tcp.State) []tcp.Socket {
	var out []tcp.Socket
	for i := first; i <= last; i++ {
		out = append(out, toShop(i, state, tcp.Info{BytesReceived: 1, BytesAcked: 9, LastDataReceived: time.Hour, LastDataSent: time.Hour, TotalRetransmits: 3, DataSegsOut: 50}))
	}
	return out
}

// TestOddLooksEatNothing: five connections a second end, and a look at the odd
// states comes before each whole look. The whole look tells of all of them.
func TestOddLooksEatNothing(t *testing.T) {
	tallier, m := tallierOf(nil, shop()), New("")
	odd := tcp.Request{Tier: tcp.Odd, States: tcp.OddStates}
	finished := uint32(0)
	var view *View
	for n := range uint64(20) {
		at := begin.Add(time.Duration(n) * second)
		ended := conns(1, 1+5*n, tcp.TimeWait)
		m.Step(at, count(tallier, look(odd, at.Add(-300*time.Millisecond)), ended))
		tallies := count(tallier, look(whole, at), ended)
		finished += tallies.Scopes[0].Peer.Finished
		view = m.Step(at, tallies)
	}
	if finished != 95 {
		t.Errorf("%d connections finished, want 95", finished)
	}
	if ago, known := view.Scope(shop()[0].ID()).Get(HeardAgo).Get(); !known || ago > 1 {
		t.Errorf("heard %v s ago (known: %v), want less than a second", ago, known)
	}
}

// TestInterruptedLooksEatNothing: what an interrupted look saw is told by the
// next that is not, once.
func TestInterruptedLooksEatNothing(t *testing.T) {
	tallier := tallierOf(nil, shop())
	count(tallier, look(whole, begin), conns(1, 5, tcp.Established))
	later := append(conns(1, 3, tcp.TimeWait), conns(4, 15, tcp.Established)...)
	broken := look(whole, begin.Add(second))
	broken.Completeness = tcp.Interrupted
	count(tallier, broken, later)
	for i, want := range []Peer{{Finished: 3, Resent: 30, Sent: 500}, {}} {
		y := count(tallier, look(whole, begin.Add(time.Duration(2+i)*second)), later).Scopes[0]
		got := Peer{Finished: y.Peer.Finished, Resent: y.Peer.Resent, Sent: y.Peer.Sent}
		if wantNew := []uint32{10, 0}[i]; got != want || y.Flows.New != wantNew || y.Flows.Since != []time.Duration{2 * second, second}[i] {
			t.Errorf("look %d: %d new over %s, %+v; want %d new, %+v", i, y.Flows.New, y.Flows.Since, got, wantNew, want)
		}
	}
}

// TestDenserSampleTellsNoLives: when a crowd leaves, the connections that a
// denser sample lets in have done nothing since the last look.
func TestDenserSampleTellsNoLives(t *testing.T) {
	tallier := tallierOf(nil, shop())
	idle := conns(7001, 7300, tcp.Established)
	for n := range 12 {
		sockets := append(conns(1, 6000, tcp.TimeWait)[:[]int{6000, 300}[n/6]], idle...)
		p := count(tallier, look(whole, begin.Add(time.Duration(n)*second)), sockets).Scopes[0].Peer
		if p.Finished+p.Resent+p.Sent > 0 {
			t.Errorf("look %d: %d finished, %d sent again, %d sent, of connections that do nothing", n, p.Finished, p.Resent, p.Sent)
		}
	}
}

// TestFocusLeavesTheRestNew: what a focus look meets of the rest is new to the
// look that covers it.
func TestFocusLeavesTheRestNew(t *testing.T) {
	tallier := tallierOf(web(), nil)
	full, focus := whole, whole
	focus.Filter = tcp.Filter{LocalPorts: []uint16{80}, RemotePorts: []uint16{8080}}
	count(tallier, look(full, begin), nil)
	sockets := conns(1, 10, tcp.Established)
	count(tallier, look(focus, begin.Add(second)), sockets)
	for _, y := range count(tallier, look(full, begin.Add(2*second)), sockets).Scopes {
		if y.Scope == scope.Rest && y.Flows.New != 10 {
			t.Errorf("%d new, want 10", y.Flows.New)
		}
	}
}

// TestOnlyWhatApplies: no scope has a reading that is not of its kind.
func TestOnlyWhatApplies(t *testing.T) {
	tallier, m := tallierOf(web(), shop()), New("")
	pulse := tcp.Request{Tier: tcp.Pulse, States: tcp.ListenOnly}
	m.Step(begin, count(tallier, look(whole, begin), append(table(), conns(1, 3, tcp.Established)...)))
	for _, s := range m.Step(begin.Add(second), count(tallier, look(pulse, begin.Add(second)), table())).Scopes {
		for _, sig := range Signals() {
			if s.Get(sig).Validity != NeverSeen && !sig.AppliesTo(s.Scope.Kind) {
				t.Errorf("%s has %s", s.Scope, sig)
			}
		}
	}
}

// TestGapsAreRememberedAtAnyPace: looking closer does not shorten the memory by
// which a silence is judged.
func TestGapsAreRememberedAtAnyPace(t *testing.T) {
	for _, apart := range []time.Duration{time.Second, fastestLook} {
		b := newBackend()
		for i := range 3 * int(gapSpan/apart) {
			b.gaps.Add(begin.Add(time.Duration(i)*apart), 1)
		}
		if got := b.gaps.Covers(); got < gapSpan {
			t.Errorf("looks %s apart: remembers %s, want %s", apart, got, gapSpan)
		}
	}
}

// TestStuckClosingOfMany: of a crowd that is sampled, what is stuck is scaled.
func TestStuckClosingOfMany(t *testing.T) {
	for _, all := range []uint64{3000, 12000} {
		tallier := tallierOf(nil, shop())
		sockets := append(conns(1, 1000, tcp.FinWait1), conns(1001, all, tcp.FinWait2)...)
		var stuck uint32
		for n := range 40 {
			stuck = count(tallier, look(whole, begin.Add(time.Duration(n)*second)), sockets).Scopes[0].StuckClosing
		}
		within(t, "stuck", int(stuck), 1000, 0.15)
	}
}

// TestHeardNeverGoesBack: a look that meets a connection which ended long ago
// says nothing of an answer that came since.
func TestHeardNeverGoesBack(t *testing.T) {
	h := history{backend: newBackend(), namespace: &counterHistory{}}
	for i, tt := range []struct {
		peer Peer
		want float64
	}{
		{Peer{Answering: 1, HeardAgo: 100 * time.Millisecond}, 0.1},
		{Peer{Finished: 1, HeardAgo: 20 * second}, 1.1},
		{Peer{Finished: 1, Closed: 1, HeardAgo: 20 * second}, 0},
	} {
		h.now = begin.Add(time.Duration(i) * second)
		h.takeSilence(&Tally{Peer: tt.peer})
		if got, _ := h.signals.Get(HeardAgo).Get(); got < tt.want-1e-9 || got > tt.want+1e-9 {
			t.Errorf("look %d: heard %v s ago, want %v", i, got, tt.want)
		}
	}
}

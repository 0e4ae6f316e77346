package measure

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

const second = time.Second

func shop() []scope.Backend {
	return []scope.Backend{{Name: "shop/s1", Group: "shop", Remote: netip.MustParseAddrPort("192.0.2.1:8080")}}
}

// toShop is a connection to the backend of shop.
func toShop(cookie uint64, state tcp.State, info tcp.Info) tcp.Socket {
	s := tcp.Socket{
		Local: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.50"), uint16(40000+cookie)), Remote: shop()[0].Remote,
		State: state, Cookie: cookie, Inode: 100 + cookie, Has: tcp.HasCookie | tcp.HasInfo, Info: info,
	}
	if state == tcp.TimeWait {
		s.Inode, s.Has, s.Info = 0, tcp.HasCookie, tcp.Info{}
	}
	return s
}

// replied is the record of a connection whose peer answered took after our
// request, ago before the look.
func replied(ago, took time.Duration) tcp.Info {
	return tcp.Info{BytesReceived: 100, BytesAcked: 50, LastDataReceived: ago, LastDataSent: ago + took, DataSegsIn: 1, DataSegsOut: 1}
}

// waiting is the record of one whose request has waited for so long.
func waiting(waits time.Duration) tcp.Info {
	return tcp.Info{BytesReceived: 100, BytesAcked: 50, LastDataReceived: time.Minute, LastDataSent: waits, DataSegsIn: 1, DataSegsOut: 2}
}

var whole = tcp.Request{Tier: tcp.Focus, States: tcp.AllStates, Info: true}

// watched looks at shop's backend a second after the look before.
type watched struct {
	tallier *Tallier
	m       *Measure
	at      time.Time
}

func watchShop() *watched { return &watched{tallierOf(nil, shop()), New(""), begin} }

func (w *watched) look(sockets ...tcp.Socket) *ScopeSignals {
	w.at = w.at.Add(second)
	return w.m.Step(w.at, count(w.tallier, look(whole, w.at), sockets)).Scope(shop()[0].ID())
}

func TestPeer(t *testing.T) {
	retrying := toShop(9, tcp.SynSent, tcp.Info{})
	retrying.Timer, retrying.Retransmits = tcp.TimerRetransmit, 2
	resent := func(n uint32) tcp.Info { i := waiting(200 * time.Millisecond); i.TotalRetransmits = n; return i }
	closing := func(cookie uint64, resent, queue uint32) tcp.Socket {
		s := toShop(cookie, tcp.LastAck, tcp.Info{TotalRetransmits: resent})
		s.SendQueue = queue
		return s
	}
	ended := func(cookie uint64, left time.Duration) tcp.Socket {
		s := toShop(cookie, tcp.TimeWait, tcp.Info{})
		s.Timer, s.TimerExpires = tcp.TimerTimeWait, left
		return s
	}
	took := func(d time.Duration, n uint32) (h Histogram) { h.Add(d, n); return h }
	tests := []struct {
		name   string
		before []tcp.Socket // a second earlier
		now    []tcp.Socket
		want   Peer
	}{
		{"nothing", nil, nil, Peer{}},
		{"an answer since the last look", nil, []tcp.Socket{toShop(1, tcp.Established, replied(300*time.Millisecond, 20*time.Millisecond))},
			Peer{Answering: 1, ByChance: 1, HeardAgo: 300 * time.Millisecond, Answers: took(20*time.Millisecond, 1), Sent: 1}},
		{"an answer before the last look", nil, []tcp.Socket{toShop(1, tcp.Established, replied(2*second, 20*time.Millisecond))}, Peer{Sent: 1}},
		{"the latest of two answers", nil, []tcp.Socket{
			toShop(1, tcp.Established, replied(900*time.Millisecond, 3*second)), toShop(2, tcp.Established, replied(10*time.Millisecond, 3*second)),
		}, Peer{Answering: 2, ByChance: 2, HeardAgo: 10 * time.Millisecond, Answers: took(3*second, 2), Sent: 2}},
		{"a request that waits", nil, []tcp.Socket{toShop(1, tcp.Established, waiting(1500*time.Millisecond)), toShop(2, tcp.Established, waiting(10*time.Millisecond))},
			Peer{LongestPending: 1500 * time.Millisecond, Sent: 4}},
		{"data while we still send: an upload", nil, []tcp.Socket{toShop(1, tcp.Established, tcp.Info{BytesReceived: 1, BytesAcked: 9, LastDataReceived: 500 * time.Millisecond})},
			Peer{Answering: 1, ByChance: 1, HeardAgo: 500 * time.Millisecond}},
		{"a server that speaks first is heard, and answers nothing", nil, []tcp.Socket{toShop(1, tcp.Established, tcp.Info{BytesReceived: 9, BytesAcked: 1, LastDataReceived: 100 * time.Millisecond, LastDataSent: 110 * time.Millisecond})},
			Peer{Answering: 1, ByChance: 1, HeardAgo: 100 * time.Millisecond}},
		{"a SYN sent again", nil, []tcp.Socket{retrying, toShop(8, tcp.SynSent, tcp.Info{})}, Peer{ConnectRetrying: 1}},
		{"segments sent again since", []tcp.Socket{toShop(1, tcp.Established, resent(4))}, []tcp.Socket{toShop(1, tcp.Established, resent(7)), toShop(2, tcp.Established, resent(2))},
			Peer{Resent: 5, Sent: 2, LongestPending: 200 * time.Millisecond}},
		{"a FIN alone sent again, and data with one", nil, []tcp.Socket{closing(1, 4, 1), closing(2, 3, 500)}, Peer{Resent: 3, Closed: 2}},
		{"closed by us, and by the peer", []tcp.Socket{toShop(1, tcp.Established, replied(2*second, second))}, []tcp.Socket{ended(1, 59*second), ended(2, 59700*time.Millisecond), ended(3, 59500*time.Millisecond)},
			Peer{Finished: 3, HeardAgo: 300 * time.Millisecond}},
		{"closed before the last look, and met now", []tcp.Socket{toShop(1, tcp.Established, replied(2*second, second))}, []tcp.Socket{ended(1, 40*second)},
			Peer{Finished: 1, HeardAgo: 20 * second}},
		{"an answer on a kept connection", []tcp.Socket{toShop(1, tcp.Established, waiting(0))}, []tcp.Socket{toShop(1, tcp.Established, replied(300*time.Millisecond, 20*time.Millisecond))},
			Peer{Answering: 1, HeardAgo: 300 * time.Millisecond, Answers: took(20*time.Millisecond, 1)}},
		{"gone without a trace", []tcp.Socket{toShop(1, tcp.Established, tcp.Info{}), toShop(2, tcp.TimeWait, tcp.Info{})}, nil, Peer{Vanished: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tallier := tallierOf(nil, shop())
			count(tallier, look(whole, begin), tt.before)
			got := count(tallier, look(whole, begin.Add(second)), tt.now).Scopes
			if diff := cmp.Diff(tt.want, got[0].Peer); diff != "" {
				t.Errorf("peer (-want +got):\n%s", diff)
			}
			if got[0].Group != "shop" || got[0].Scope.String() != "backend/shop/s1" {
				t.Errorf("scope %s of group %q", got[0].Scope, got[0].Group)
			}
		})
	}
}

func TestLingering(t *testing.T) {
	tallier := tallierOf(nil, shop())
	held := toShop(1, tcp.CloseWait, tcp.Info{})
	for i := range 8 {
		at := begin.Add(time.Duration(i) * second)
		got := count(tallier, look(whole, at), []tcp.Socket{held}).Scopes[0].Peer.Lingering
		if want := i >= 5; got == 1 != want {
			t.Errorf("after %d s lingering %d, want %v", i, got, want)
		}
	}
}

// TestBothScopes: a connection from our balancer to our own service is one
// of each, and none of the rest.
func TestBothScopes(t *testing.T) {
	tallier := NewTallier("")
	services := []scope.Service{{Name: "app", Listen: []netip.AddrPort{shop()[0].Remote}}}
	tallier.SetScopes(services, shop())
	ours := toShop(1, tcp.Established, tcp.Info{})
	theirs := ours
	theirs.Local, theirs.Remote, theirs.Cookie = ours.Remote, ours.Local, 2
	got := count(tallier, look(whole, begin), []tcp.Socket{ours, theirs}).Scopes
	for i, want := range []uint32{1, 1, 0} {
		if n := got[i].States[tcp.Established]; n != want {
			t.Errorf("%s has %d, want %d", got[i].Scope, n, want)
		}
	}
}

func TestFocusCoversBackends(t *testing.T) {
	tallier := tallierOf(web(), shop())
	tests := []struct {
		name   string
		filter tcp.Filter
		want   []string
	}{
		{"everything", tcp.Filter{}, []string{"service/web", "backend/shop/s1", "rest"}},
		{"its port", tcp.Filter{RemotePorts: []uint16{8080}}, []string{"backend/shop/s1"}},
		{"both", tcp.Filter{LocalPorts: []uint16{80}, RemotePorts: []uint16{8080}}, []string{"service/web", "backend/shop/s1"}},
		{"another's", tcp.Filter{LocalPorts: []uint16{8080}, RemotePorts: []uint16{80}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := whole
			req.Filter = tt.filter
			var got []string
			for _, y := range count(tallier, look(req, begin), nil).Scopes {
				got = append(got, y.Scope.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("covered (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSilence follows a backend through traffic, a request that is never
// answered, and no traffic at all.
func TestSilence(t *testing.T) {
	w := watchShop()
	busy := toShop(1, tcp.Established, replied(100*time.Millisecond, 20*time.Millisecond))
	var s *ScopeSignals
	for range 20 {
		s = w.look(busy)
	}
	if gap, known := s.Get(HeardGapUsual).Get(); !known || gap > 0.2 {
		t.Errorf("usual gap %v (known: %v), want 0.1 s", gap, known)
	}
	if got := s.Get(Silent).Validity; got != NoTraffic {
		t.Errorf("while nothing is owed, silent is %v", got)
	}
	for i := 1; i <= 5; i++ {
		waits := time.Duration(i)*second - 300*time.Millisecond
		s = w.look(toShop(1, tcp.Established, waiting(waits)))
		if silent, known := s.Get(Silent).Get(); !known || silent < waits.Seconds()-1e-9 || silent > waits.Seconds()+0.7 {
			t.Errorf("after %v silent for %v (known: %v)", waits, silent, known)
		}
		if ago := s.Get(HeardAgo).Value; ago < float64(i) || ago > float64(i)+0.2 {
			t.Errorf("after %v heard %v s ago", waits, ago)
		}
	}
	if late := s.Get(PendingLate).Value; late != 1 {
		t.Errorf("%v late, want 1", late)
	}
	s = w.look(toShop(1, tcp.Established, replied(0, 5*second)))
	if got := s.Get(Silent).Validity; got != NoTraffic {
		t.Errorf("once it has answered, silent is %v", got)
	}
	s = w.look(busy)
	if gap := s.Get(HeardGapUsual).Value; gap < 4 {
		t.Errorf("usual gap %v s; the silence of 5 s is over and belongs to it", gap)
	}
}

// TestSlowStart: the first seconds of a backend, or of the host, do not say for
// the minutes after them what is late.
func TestSlowStart(t *testing.T) {
	w := watchShop()
	var s *ScopeSignals
	for i := range 50 {
		took := 20 * time.Millisecond
		if i < 12 {
			took = 2 * second
		}
		answer := replied(100*time.Millisecond, took)
		s = w.look(toShop(1, tcp.Established, answer), toShop(2, tcp.Established, answer))
	}
	if late := s.Get(LateAfter).Value; late != 1 {
		t.Errorf("late after %v s, want 1: of three lessons two took up to 0.025 s", late)
	}
}

// TestLateBeforeAnyLesson: until the first lesson the slowest answer so far says
// what is late, and nothing is so soon of a backend that has not answered yet.
func TestLateBeforeAnyLesson(t *testing.T) {
	ended := toShop(9, tcp.TimeWait, tcp.Info{})
	for _, tt := range []struct {
		name  string
		looks [][]tcp.Socket
		want  float64
	}{
		{"never answered", [][]tcp.Socket{{toShop(1, tcp.Established, waiting(4*second))}, {toShop(1, tcp.Established, waiting(5*second))}}, 10},
		{"answers at once", [][]tcp.Socket{{toShop(1, tcp.Established, replied(0, 20*time.Millisecond))}}, 1},
		{"hangs after quick answers", [][]tcp.Socket{{toShop(1, tcp.Established, replied(0, 20*time.Millisecond))}, {toShop(1, tcp.Established, waiting(3*second))}}, 1},
		{"takes its time", [][]tcp.Socket{{toShop(1, tcp.Established, replied(0, 1500*time.Millisecond))}}, 10},
		{"takes its time and closes with the answer", [][]tcp.Socket{
			{toShop(1, tcp.Established, waiting(1800*time.Millisecond))},
			{ended, toShop(2, tcp.Established, waiting(1800*time.Millisecond))},
		}, 10},
	} {
		w := watchShop()
		var s *ScopeSignals
		for _, sockets := range tt.looks {
			s = w.look(sockets...)
		}
		if late := s.Get(LateAfter).Value; late != tt.want {
			t.Errorf("%s: late after %v s, want %v", tt.name, late, tt.want)
		}
	}
}

// TestAnswerUsual: each minute teaches its slowest answers, and one bad minute
// of many teaches nothing.
func TestAnswerUsual(t *testing.T) {
	w := watchShop()
	minute := func(took time.Duration) *ScopeSignals {
		var s *ScopeSignals
		for range 61 {
			s = w.look(toShop(1, tcp.Established, replied(100*time.Millisecond, took)))
		}
		return s
	}
	for range 3 {
		minute(200 * time.Millisecond)
	}
	s := minute(4 * second)
	if usual, known := s.Get(AnswerUsual).Get(); !known || usual != 0.25 {
		t.Errorf("usual %v (known: %v), want the bucket up to 0.25 s", usual, known)
	}
	if late := s.Get(LateAfter).Value; late != 2 {
		t.Errorf("late after %v s, want 2: five times 0.25 s, rounded up", late)
	}
	if now := s.Get(AnswerNow).Value; now != 5 {
		t.Errorf("answers take up to %v s now, want the bucket up to 5 s", now)
	}
}

// TestUsualOfShortConnections: where each connection ends with its answer no
// look sees the answer, and yet it is known that none takes long.
func TestUsualOfShortConnections(t *testing.T) {
	w := watchShop()
	var s *ScopeSignals
	var closed []tcp.Socket
	for i := range 20 {
		for range 3 {
			closed = append(closed, toShop(uint64(len(closed)+1), tcp.TimeWait, tcp.Info{}))
		}
		waiting := toShop(1000+uint64(i), tcp.Established, waiting(150*time.Millisecond))
		s = w.look(append(closed, waiting)...)
	}
	if usual, known := s.Get(AnswerUsual).Get(); !known || usual != 0.25 {
		t.Errorf("usual %v (known: %v), want the bucket up to 0.25 s", usual, known)
	}
	if gap, known := s.Get(HeardGapUsual).Get(); !known || gap > 1 {
		t.Errorf("longest silence %v (known: %v): each look finds connections that have ended", gap, known)
	}
}

// TestLongRequestsAreNoSilence: who begins to look while requests of a minute
// wait knows nothing of what came before.
func TestLongRequestsAreNoSilence(t *testing.T) {
	w := watchShop()
	for i := range 3 {
		s := w.look(toShop(1, tcp.Established, waiting(40*second+time.Duration(i)*second)))
		if silent, known := s.Get(Silent).Get(); !known || silent != float64(i) {
			t.Errorf("after %d s silent for %v (known: %v)", i, silent, known)
		}
	}
}

// TestFailedAfterUnseenTime: a backend that answered at one look and is gone at
// the next, seconds later, was in use until its attempts failed, as far as
// anybody knows; where looks are a second apart the silence before them counts.
func TestFailedAfterUnseenTime(t *testing.T) {
	for _, tt := range []struct {
		name  string
		looks []time.Duration // after the one that saw it answer
		fails time.Duration   // after that look
		want  float64
	}{
		{"a look each second", []time.Duration{1, 2, 3}, 2800 * time.Millisecond, 2.8},
		{"nobody looked for three seconds", []time.Duration{3}, 2800 * time.Millisecond, 0.8},
		{"drained, then refused, seldom looked at", []time.Duration{3, 6, 9}, 8500 * time.Millisecond, 6.5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := history{backend: newBackend(), namespace: &counterHistory{}}
			at := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
			failed := at.Add(tt.fails)
			h.now = at
			h.takeSilence(&Tally{Peer: Peer{Answering: 1}})
			for _, after := range tt.looks {
				now := at.Add(after * time.Second)
				if !now.Before(failed) {
					h.namespace.failed.add(failed, failed)
				}
				h.now = now
				h.takeSilence(&Tally{})
			}
			got, known := h.signals.Get(FailedAfterHeard).Get()
			if diff := cmp.Diff(tt.want, got); diff != "" || !known {
				t.Errorf("failed after (known: %v; -want +got):\n%s", known, diff)
			}
		})
	}
}

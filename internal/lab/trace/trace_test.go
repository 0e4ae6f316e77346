package trace

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/tcp"
)

var (
	start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	here  = netip.MustParseAddrPort("192.0.2.1:40000")
	there = netip.MustParseAddrPort("192.0.2.3:8080")
	other = netip.MustParseAddrPort("192.0.2.4:8080")
)

// socket is one to there with tcp_info; nothing is pending on it.
func socket(cookie uint64, state tcp.State, change func(*tcp.Socket)) tcp.Socket {
	s := tcp.Socket{
		Local: here, Remote: there, Cookie: cookie, State: state, Has: tcp.HasCookie | tcp.HasInfo,
		Info: tcp.Info{BytesReceived: 10, LastDataSent: 3 * time.Second, LastDataReceived: 2 * time.Second},
	}
	if change != nil {
		change(&s)
	}
	return s
}

func look(t *Tally, at time.Duration, sockets ...tcp.Socket) map[string]Remote {
	t.Begin()
	for i := range sockets { // one at a time: batches must not matter
		t.Add(start.Add(at), sockets[i:i+1])
	}
	return t.End()
}

func TestTally(t *testing.T) {
	tally := NewTally([]netip.AddrPort{there, other})
	stranger := socket(9, tcp.Established, func(s *tcp.Socket) { s.Remote = here })
	first := look(tally, 0,
		socket(1, tcp.Established, nil),
		socket(2, tcp.Established, func(s *tcp.Socket) { s.Info.LastDataSent = time.Second }),
		socket(3, tcp.SynSent, func(s *tcp.Socket) {
			s.Timer, s.Retransmits, s.Info = tcp.TimerRetransmit, 2, tcp.Info{TotalRetransmits: 2}
		}),
		socket(4, tcp.TimeWait, func(s *tcp.Socket) { s.Has, s.Info = tcp.HasCookie, tcp.Info{} }),
		stranger,
	)
	second := look(tally, time.Second,
		socket(2, tcp.CloseWait, func(s *tcp.Socket) { s.ReceiveQueue = 1 }),
		socket(3, tcp.Established, func(s *tcp.Socket) { s.Info.TotalRetransmits = 5 }),
		socket(5, tcp.Established, func(s *tcp.Socket) { s.Timer, s.SendQueue, s.Info.LastDataReceived = tcp.TimerZeroWindow, 700, 0 }),
	)
	none := Remote{States: map[string]int{}}
	want := []map[string]Remote{
		{
			other.String(): none,
			there.String(): {
				States: map[string]int{"established": 2, "syn_sent": 1, "time_wait": 1},
				New:    2, Oldest: new(float64(0)), Youngest: new(float64(0)),
				Pending: 1, PendingFor: []float64{1}, Retransmitting: map[string]int{"syn_sent": 1}, MostRetransmits: 2,
				Retransmits: 2, Received: []float64{2, 2}, WithoutInfo: 1,
			},
		},
		{
			other.String(): none,
			there.String(): {
				States: map[string]int{"established": 2, "close_wait": 1},
				New:    2, Gone: 2, Oldest: new(float64(0)), Youngest: new(float64(0)),
				ZeroWindow: 1, Retransmits: 5, RetransmitsNew: 3, Received: []float64{0, 2}, SendQueue: 700, ReceiveQueue: 1,
			},
		},
	}
	if diff := cmp.Diff(want, []map[string]Remote{first, second}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	third := look(tally, 3*time.Second, socket(3, tcp.Established, nil), socket(5, tcp.Established, nil), socket(6, tcp.Established, nil))[there.String()]
	if diff := cmp.Diff([]*float64{new(float64(2)), new(float64(0))}, []*float64{third.Oldest, third.Youngest}); diff != "" {
		t.Errorf("ages (-want +got):\n%s", diff)
	}
}

// TestTallyBounds: a line does not grow with the number of sockets.
func TestTallyBounds(t *testing.T) {
	var sockets []tcp.Socket
	for i := range 10 * Longest {
		sockets = append(sockets, socket(uint64(i+1), tcp.Established, func(s *tcp.Socket) { s.Info.LastDataSent = time.Duration(i) * time.Millisecond }))
	}
	got := look(NewTally([]netip.AddrPort{there}), 0, sockets...)[there.String()]
	if got.Pending != len(sockets) || len(got.PendingFor) != Longest || len(got.Received) != Longest {
		t.Errorf("%d pending, %d and %d times; want %d, %d and %d", got.Pending, len(got.PendingFor), len(got.Received), len(sockets), Longest, Longest)
	}
	if longest := float64(len(sockets)-1) / 1000; got.PendingFor[0] != longest {
		t.Errorf("the longest pending is %v, want %v", got.PendingFor[0], longest)
	}
}

package stale

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

var since = time.Unix(1_000_000, 0)

func switched(t *testing.T, ports ...uint16) scope.Switch {
	t.Helper()
	s, err := scope.NewSwitch("shop.example",
		[]netip.Addr{netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10"), netip.MustParseAddr("192.0.2.99")},
		[]netip.Addr{netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("192.0.2.99")})
	if err != nil {
		t.Fatal(err)
	}
	s.Since, s.TTL, s.Ports = since, time.Minute, ports
	return s
}

func TestChoose(t *testing.T) {
	row := func(cookie uint64, remote string, change func(*Socket)) Socket {
		s := Socket{
			Local: netip.MustParseAddrPort("10.0.0.1:40000"), Remote: netip.MustParseAddrPort(remote),
			Cookie: cookie, State: tcp.Established, Asked: true, FirstSeen: since,
		}
		if change != nil {
			change(&s)
		}
		return s
	}
	state := func(state tcp.State) func(*Socket) { return func(s *Socket) { s.State = state } }
	seen := func(after time.Duration) func(*Socket) {
		return func(s *Socket) { s.FirstSeen = since.Add(after) }
	}
	held := []Socket{
		row(1, "192.0.2.10:443", seen(30*time.Second)),
		row(2, "[2001:db8::10]:443", seen(-time.Hour)),
		row(3, "192.0.2.10:443", func(s *Socket) { s.FirstSeen = time.Time{} }),
		row(4, "192.0.2.10:443", state(tcp.SynSent)),
		row(5, "192.0.2.10:8080", state(tcp.CloseWait)),
		row(11, "198.51.100.7:443", nil), // new
		row(12, "192.0.2.99:443", nil),   // kept
		row(13, "203.0.113.1:443", nil),  // another's
		row(14, "192.0.2.10:443", func(s *Socket) { s.Asked = false }),
		row(15, "192.0.2.10:40000", func(s *Socket) { s.Local = netip.MustParseAddrPort("10.0.0.1:8080") }), // whose listener is gone
		row(0, "192.0.2.10:443", nil),                                                                       // read without sock_diag
		row(16, "192.0.2.10:443", state(tcp.TimeWait)),
		row(17, "192.0.2.10:443", state(tcp.SynRecv)),
		row(18, "192.0.2.10:443", state(tcp.FinWait2)),
		row(19, "192.0.2.10:443", state(tcp.LastAck)),
	}
	all, https := switched(t), switched(t, 443)
	unknownTTL := switched(t)
	unknownTTL.TTL = 0
	planned := switched(t)
	planned.Since = time.Time{}
	tests := []struct {
		name string
		s    scope.Switch
		now  time.Time
		want []uint64 // by their cookies
		err  error
		says string
	}{
		{"every port, the oldest first", all, since.Add(time.Hour), []uint64{2, 4, 5, 1, 3}, nil, ""},
		{"one port", https, since.Add(time.Hour), []uint64{2, 4, 1, 3}, nil, ""},
		{"when the TTL is over", https, since.Add(time.Minute), []uint64{2, 4, 1, 3}, nil, ""},
		{"before that", all, since.Add(time.Minute - 1500*time.Millisecond), nil, ErrTooSoon, "try again in 2s"},
		{"a TTL that is not known", unknownTTL, since, []uint64{2, 4, 5, 1, 3}, nil, ""},
		{"planned", planned, since.Add(time.Hour), nil, ErrNotYet, ""},
	}
	for _, tt := range tests {
		chosen, err := Choose(tt.now, &tt.s, held)
		if !errors.Is(err, tt.err) || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %v, %q", tt.name, err, tt.err, tt.says)
		}
		var got []uint64
		for _, s := range chosen {
			got = append(got, s.Cookie)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestLimit(t *testing.T) {
	type took struct {
		N     int
		Again time.Duration
	}
	l := Limit{PerMinute: 10}
	var got []took
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 4}, {10 * time.Second, 5}, {20 * time.Second, 5}, {30 * time.Second, 0}, {60 * time.Second, 6}, {70 * time.Second, 1}, {3 * time.Minute, 20}} {
		n, again := l.Take(since.Add(step.after), step.want)
		got = append(got, took{n, again})
	}
	want := []took{{4, 0}, {5, 0}, {1, 40 * time.Second}, {0, 0}, {4, 10 * time.Second}, {1, 0}, {10, time.Minute}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var zero Limit
	if n, again := zero.Take(since, 1000); n != DefaultPerMinute || again != time.Minute {
		t.Errorf("by default %d, again in %v", n, again)
	}
}

// TestLimitHolds: within any minute no more are closed than are allowed, and who
// comes when told to gets one.
func TestLimitHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Limit{PerMinute: rapid.IntRange(1, 20).Draw(t, "most")}
		now := since
		var closed []time.Time
		for range 50 {
			n, again := l.Take(now, rapid.IntRange(0, 30).Draw(t, "want"))
			for range n {
				closed = append(closed, now)
			}
			if i := len(closed) - l.PerMinute - 1; n > 0 && i >= 0 && now.Sub(closed[i]) < time.Minute {
				t.Fatalf("more than %d within a minute", l.PerMinute)
			}
			if again > 0 && rapid.Bool().Draw(t, "as told") {
				now = now.Add(again)
				if free, _ := l.Free(now); free == 0 {
					t.Fatal("none is free when it was said")
				}
				continue
			}
			now = now.Add(time.Duration(rapid.IntRange(0, 90_000).Draw(t, "later")) * time.Millisecond)
		}
	})
}

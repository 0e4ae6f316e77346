package judge

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// table plays a socket table through the Tallier, Measure and Judge: what is
// between the kernel and a decision.
type table struct {
	backends []scope.Backend
	// sockets is the table at so many seconds, fails the attempts that failed
	// until then.
	sockets func(at float64) []tcp.Socket
	fails   func(at float64) float64
	// every is the time between two looks at all states; odd adds one at the odd
	// states 0.25 s before each, and broken interrupts every second one.
	every       time.Duration
	odd, broken bool
}

func (p table) play(until float64) string {
	tallier, m, j := measure.NewTallier(""), measure.New(""), New(&Numbers{})
	tallier.SetScopes(nil, p.backends)
	var out strings.Builder
	told := map[uint64]int{}
	look := func(at time.Duration, request tcp.Request, completeness tcp.Completeness, interval time.Duration) {
		l := tcp.Look{Begin: scenarioStart.Add(at), Abilities: tcp.AllAbilities, Completeness: completeness, Request: request}
		if request.Tier == tcp.Pulse && p.fails != nil {
			l.Counters.Set(tcp.AttemptFails, uint64(p.fails(at.Seconds())))
		}
		tallier.Begin(l)
		for _, s := range p.sockets(at.Seconds()) {
			if request.States.Has(s.State) {
				tallier.Add([]tcp.Socket{s})
			}
		}
		narrate(&out, j.Step(l.Begin, m.Step(l.Begin, tallier.End(l, interval))), told)
	}
	const pulse = 250 * time.Millisecond
	for at, n := time.Duration(0), 0; at.Seconds() < until; at += pulse {
		look(at, tcp.Request{Tier: tcp.Pulse, States: tcp.ListenOnly}, tcp.Complete, pulse)
		if p.odd && (at+pulse)%p.every == 0 {
			look(at, tcp.Request{Tier: tcp.Odd, States: tcp.OddStates}, tcp.Complete, p.every)
		}
		if at%p.every == 0 {
			completeness := tcp.Complete
			if n++; p.broken && n%2 == 0 {
				completeness = tcp.Interrupted
			}
			look(at, tcp.Request{Tier: tcp.Focus, States: tcp.AllStates, Info: true}, completeness, p.every)
		}
	}
	return out.String()
}

func toBackend(b scope.Backend, cookie uint64, state tcp.State, info tcp.Info) tcp.Socket {
	s := tcp.Socket{
		Local: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.50"), uint16(cookie)), Remote: b.Remote,
		State: state, Cookie: cookie, Inode: cookie, Has: tcp.HasCookie | tcp.HasInfo, Info: info,
	}
	if state == tcp.TimeWait {
		s.Inode, s.Has, s.Info = 0, tcp.HasCookie, tcp.Info{}
	}
	return s
}

// TestSocketsClosedWithTheAnswer: a balancer that keeps no connections leaves
// TIME_WAIT alone to see, two more a second, both before the odd look. At 60 s the backend is killed and
// refuses. It is found whatever looks come between, and nothing before.
func TestSocketsClosedWithTheAnswer(t *testing.T) {
	b := scope.Backend{Name: "web/s1", Group: "web", Remote: netip.MustParseAddrPort("192.0.2.1:8080")}
	p := table{
		backends: []scope.Backend{b},
		sockets: func(at float64) []tcp.Socket {
			var out []tcp.Socket
			for second := range int(min(at, 60)) + 1 {
				for i, ended := range []float64{float64(second) + 0.25, float64(second) + 0.5} {
					if ended <= at && ended < 60 && at-ended < 60 {
						s := toBackend(b, uint64(1+2*second+i), tcp.TimeWait, tcp.Info{})
						s.Timer, s.TimerExpires = tcp.TimerTimeWait, time.Duration((60-(at-ended))*float64(time.Second))
						out = append(out, s)
					}
				}
			}
			return out
		},
		fails: func(at float64) float64 { return 2 * max(0, at-60) },
	}
	for _, tt := range []struct {
		name        string
		every       time.Duration
		odd, broken bool
	}{
		{"plain", time.Second, false, false},
		{"beside odd looks", time.Second, true, false},
		{"every second one interrupted", time.Second, false, true},
		{"both", time.Second, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.every, p.odd, p.broken = tt.every, tt.odd, tt.broken
			if got := p.play(60); got != "" {
				t.Errorf("while it is well:\n%s", got)
			}
			if got := p.play(75); !strings.Contains(got, "peer_refusing: open") {
				t.Errorf("not found to refuse:\n%s", got)
			}
		})
	}
}

// TestSocketsCrowdLeaves: a crowd of TIME_WAIT goes, and the sample of the 300
// connections that stay gets denser. What they sent again in their lives is no
// loss of now.
func TestSocketsCrowdLeaves(t *testing.T) {
	b := scope.Backend{Name: "web/s1", Group: "web", Remote: netip.MustParseAddrPort("192.0.2.1:8080")}
	got := table{
		backends: []scope.Backend{b}, every: time.Second,
		sockets: func(at float64) []tcp.Socket {
			var out []tcp.Socket
			for i := range uint64(300) {
				out = append(out, toBackend(b, 1+i, tcp.Established, tcp.Info{
					BytesReceived: 1, BytesAcked: 9, LastDataReceived: 100 * time.Millisecond, LastDataSent: 200 * time.Millisecond, TotalRetransmits: 3, DataSegsOut: 50,
				}))
			}
			crowd := uint64(6000)
			if at > 10 {
				crowd = 300
			}
			for i := range crowd {
				out = append(out, toBackend(b, 10000+i, tcp.TimeWait, tcp.Info{}))
			}
			return out
		},
	}.play(30)
	if diff := cmp.Diff("", got); diff != "" {
		t.Errorf("decisions (-want +got):\n%s", diff)
	}
}

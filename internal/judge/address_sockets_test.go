package judge

import (
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// flip is the switch that clients of this host go through at 60 s, with a TTL of
// 10 s; armed before.
var flip = scope.Switch{
	Name: "shop.example", TTL: 10 * time.Second, Since: scenarioStart.Add(60 * time.Second),
	Old: []netip.Addr{netip.MustParseAddr("192.0.2.10")}, New: []netip.Addr{netip.MustParseAddr("198.51.100.7")},
}

// users are twenty clients each of four populations: two honour the TTL, with
// short connections and with long ones; one has a library that never asks again,
// one keeps its connections. Where the old address is dead they time out after
// 10 s. From over on, where it is given, all have gone to the new one.
type users struct {
	dead bool
	over float64
}

// sockets is the table at so many seconds.
func (u users) sockets(at float64) []tcp.Socket {
	var out []tcp.Socket
	for i := range 80 {
		population, n := i/20, float64(i%20)
		life := 5.0 // of one connection
		switch population {
		case 1:
			life = 20
		case 3:
			life = math.Inf(1)
		}
		begun := 0.0
		if !math.IsInf(life, 1) {
			begun = max(0, math.Floor((at-n/20*life)/life)*life+n/20*life)
		}
		expires := 60 + 10*n/20 // when this one's answer is over
		old := population >= 2 || begun < expires
		asked := begun
		if u.dead && old && at >= 60 {
			// Cut off 10 s, then attempts of 10 s each, until the name is asked again.
			attempt := math.Floor((at - 60) / 10)
			if asked = 60 + 10*(attempt-1); attempt == 0 {
				asked = min(begun, 59)
			}
			old = population >= 2 || asked < expires
		}
		if u.over > 0 && at >= u.over {
			old, asked = false, u.over
		}
		out = append(out, u.one(uint64(1000+i), old, asked, at))
	}
	return out
}

func (u users) one(client uint64, old bool, begun, at float64) tcp.Socket {
	remote := flip.New[0]
	if old {
		remote = flip.Old[0]
	}
	s := tcp.Socket{
		Local:  netip.AddrPortFrom(netip.MustParseAddr("192.0.2.50"), uint16(client)),
		Remote: netip.AddrPortFrom(remote, 443), State: tcp.Established, Inode: client,
		Cookie: client<<32 + uint64(begun*16)<<1, Has: tcp.HasCookie | tcp.HasInfo,
		Info: tcp.Info{BytesAcked: 100 + uint64(10*at), BytesReceived: 100 + uint64(100*at), LastDataReceived: 100 * time.Millisecond, LastDataSent: 200 * time.Millisecond},
	}
	if !old {
		s.Cookie++
		return s
	}
	if !u.dead || at < 60 {
		return s
	}
	waits := at - 60
	if begun >= 60 {
		s.State, s.Info, waits = tcp.SynSent, tcp.Info{}, at-begun
	} else {
		s.Info = tcp.Info{BytesAcked: 700, BytesReceived: 6100, LastDataReceived: time.Duration(waits * float64(time.Second))}
	}
	if waits >= 1 {
		s.Timer, s.Retransmits = tcp.TimerRetransmit, uint8(1+math.Log2(waits))
	}
	return s
}

// TestPopulations plays the populations of TRUTH 7 through the Tallier, Measure
// and Judge, the old address alive and dead.
func TestPopulations(t *testing.T) {
	for _, tt := range []struct {
		name   string
		dead   bool
		over   float64
		within map[string]float64 // of what opens, at the latest
		never  []string
	}{
		{"alive", false, 0, map[string]float64{"stale_dns: open, warning": 85, "old_connection: open, watch": 85, "old_connection: now warning": 110}, []string{"users_failing_on_old"}},
		{"dead", true, 0, map[string]float64{"users_failing_on_old: open, critical": 65, "stale_dns: open, warning": 85}, []string{"recovered"}},
		{"dead, and all go over", true, 150, map[string]float64{
			"users_failing_on_old: resolved: recovered": 180, "stale_dns: resolved: recovered": 250,
		}, []string{"no evidence", "traffic_missing"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := playSwitch(users{tt.dead, tt.over}, 300, flip)
			for opens, at := range tt.within {
				line := lineWith(got, opens)
				if line == "" || secondsOf(t, line) < 60 || secondsOf(t, line) > at {
					t.Errorf("%q not between 60 and %.0f s:\n%s", opens, at, got)
				}
			}
			for _, never := range tt.never {
				if strings.Contains(got, never) {
					t.Errorf("it says %q:\n%s", never, got)
				}
			}
		})
	}
}

func lineWith(text, part string) string {
	for line := range strings.SplitSeq(text, "\n") {
		if strings.Contains(line, part) {
			return line
		}
	}
	return ""
}

func secondsOf(t *testing.T, line string) float64 {
	t.Helper()
	at, _, _ := strings.Cut(strings.TrimSpace(line), "s")
	return number(t, at)
}

// TestOneAddressOfTwoNames: what goes to an address that two names had counts for
// both, and each has incidents of its own.
func TestOneAddressOfTwoNames(t *testing.T) {
	other := flip
	other.Name = "api.example"
	got := playSwitch(users{dead: true}, 120, flip, other)
	for _, opens := range []string{"address/shop.example/old users_failing_on_old: open", "address/api.example/old users_failing_on_old: open", "address/api.example/old stale_dns: open"} {
		if !strings.Contains(got, opens) {
			t.Errorf("%q is missing:\n%s", opens, got)
		}
	}
}

// playSwitch looks at the users each second.
func playSwitch(u users, until float64, switches ...scope.Switch) string {
	tallier, m, j := measure.NewTallier(""), measure.New(""), New(&Numbers{})
	tallier.SetSwitches(switches, true)
	var out strings.Builder
	told := map[uint64]int{}
	for at := 0.0; at < until; at++ {
		l := lookAt(scenarioStart.Add(time.Duration(at*float64(time.Second))), tcp.Focus, tcp.AllStates)
		tallier.Begin(l)
		tallier.Add(u.sockets(at))
		narrate(&out, j.Step(l.Begin, m.Step(l.Begin, tallier.End(l, time.Second))), told)
	}
	return out.String()
}

package measure

import (
	"net/netip"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// TestPortsUsed: a port in TIME_WAIT is in use, but where the kernel gives it
// to the next connection after a second.
func TestPortsUsed(t *testing.T) {
	near := scope.Backend{Name: "near", Group: "pool", Remote: netip.MustParseAddrPort("127.0.0.1:8080")}
	far := scope.Backend{Name: "far", Group: "pool", Remote: netip.MustParseAddrPort("192.0.2.9:8080")}
	onLoopback := func(a netip.Addr) bool { return a.IsLoopback() }
	tests := []struct {
		name      string
		ports     Ports
		near, far float64
	}{
		{"never taken again", Ports{Available: 100}, 5, 5},
		{"toward loopback", Ports{Available: 100, Reused: onLoopback}, 3, 5},
		{"always", Ports{Available: 100, Reused: func(netip.Addr) bool { return true }}, 3, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			y, m := NewTallier(""), New("")
			y.SetScopes(nil, []scope.Backend{near, far})
			y.SetPorts(tt.ports)
			look := tcp.Look{Begin: time.Unix(1000, 0), Completeness: tcp.Complete, Request: tcp.Request{States: tcp.AllStates, Info: true}, Abilities: tcp.CanInfo}
			y.Begin(look)
			for _, b := range []scope.Backend{near, far} {
				for i, left := range []time.Duration{0, 30 * time.Second, 59500 * time.Millisecond, time.Minute} {
					y.Add([]tcp.Socket{{Local: netip.AddrPortFrom(b.Remote.Addr(), uint16(40000+i)), Remote: b.Remote, State: tcp.TimeWait, Timer: tcp.TimerTimeWait, TimerExpires: left}})
				}
				y.Add([]tcp.Socket{{Local: netip.AddrPortFrom(b.Remote.Addr(), 40010), Remote: b.Remote, State: tcp.Established, Inode: 1}})
			}
			view := m.Step(look.Begin, y.End(look, time.Second))
			for _, want := range []struct {
				of   scope.Backend
				used float64
			}{{near, tt.near}, {far, tt.far}} {
				s := view.Scope(want.of.ID())
				if used, known := s.Get(PortsUsed).Get(); !known || used != want.used {
					t.Errorf("%s: %v ports in use (known: %v), want %v", want.of.Name, used, known, want.used)
				}
				if n, _ := s.Get(TimeWait).Get(); n != 4 {
					t.Errorf("%s: %v in TIME_WAIT, want 4", want.of.Name, n)
				}
			}
		})
	}
}

package scope

import (
	"net/netip"
	"testing"

	"github.com/foreshock/foreshock/internal/tcp"
)

func TestProbes(t *testing.T) {
	at := netip.MustParseAddrPort
	probes := NewProbes([]Probe{
		{Local: at("192.0.2.1:40000"), Remote: at("192.0.2.9:8080")},
		{Local: netip.AddrPortFrom(netip.Addr{}, 40001), Remote: at("[2001:db8::9]:443")}, // connecting
		{Local: at("127.0.0.1:40002"), Remote: at("127.0.0.1:8080")},
		{Local: at("192.0.2.1:40003"), Remote: at("192.0.2.9:8080"), Ended: true},
	})
	tests := []struct {
		name          string
		local, remote string
		state         tcp.State
		here, there   bool // ours in our own namespace, and in another
	}{
		{"our end", "192.0.2.1:40000", "192.0.2.9:8080", tcp.Established, true, false},
		{"the server's end", "192.0.2.9:8080", "192.0.2.1:40000", tcp.Established, true, true},
		{"half open there", "192.0.2.9:8080", "192.0.2.1:40000", tcp.SynRecv, true, true},
		{"another's port to the same server", "192.0.2.1:40064", "192.0.2.9:8080", tcp.Established, false, false},
		{"our port to another server", "192.0.2.1:40000", "192.0.2.8:8080", tcp.Established, false, false},
		{"our port at another address of ours", "192.0.2.2:40000", "192.0.2.9:8080", tcp.Established, false, false},
		{"connecting, from whichever address", "[2001:db8::1]:40001", "[2001:db8::9]:443", tcp.SynSent, true, false},
		{"loopback", "127.0.0.1:40002", "127.0.0.1:8080", tcp.Established, true, false},
		{"loopback at the server's end", "127.0.0.1:8080", "127.0.0.1:40002", tcp.Established, true, false},
		{"what closing leaves", "192.0.2.1:40003", "192.0.2.9:8080", tcp.TimeWait, true, false},
		{"and at the server's end", "192.0.2.9:8080", "192.0.2.1:40003", tcp.CloseWait, true, true},
		{"another connection took over TIME_WAIT", "192.0.2.1:40003", "192.0.2.9:8080", tcp.Established, false, false},
		{"or tries to", "192.0.2.1:40003", "192.0.2.9:8080", tcp.SynSent, false, false},
		{"a listener", "192.0.2.9:8080", "0.0.0.0:0", tcp.Listen, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := tcp.Socket{Local: at(tt.local), Remote: at(tt.remote), State: tt.state}
			if here, there := probes.Has(&s), probes.HasServed(&s); here != tt.here || there != tt.there {
				t.Errorf("in our namespace %v, in another %v; want %v and %v", here, there, tt.here, tt.there)
			}
			var none *Probes
			if none.Has(&s) || none.HasServed(&s) {
				t.Error("no probes have it")
			}
		})
	}
}

func BenchmarkProbesHas(b *testing.B) {
	probes := NewProbes([]Probe{{Local: netip.MustParseAddrPort("192.0.2.1:40000"), Remote: netip.MustParseAddrPort("192.0.2.9:8080")}})
	sockets := make([]tcp.Socket, 1024)
	for i := range sockets {
		sockets[i].Local = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), uint16(32768+7*i))
		sockets[i].Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 9}), 8080)
	}
	b.ReportAllocs()
	for b.Loop() {
		for i := range sockets {
			probes.Has(&sockets[i])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(sockets)), "ns/socket")
}

// TestOfAgent: probes' ports are beyond those that kernels choose from.
func TestOfAgent(t *testing.T) {
	for port, want := range map[uint16]bool{32768: false, 60999: false, FirstProbePort: true, FirstProbePort + ProbePorts - 1: true, FirstProbePort + ProbePorts: false} {
		if got := OfAgent(netip.AddrPortFrom(netip.MustParseAddr("203.0.113.5"), port)); got != want {
			t.Errorf("from port %d: %v, want %v", port, got, want)
		}
	}
}

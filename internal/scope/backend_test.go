package scope

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/foreshock/foreshock/internal/tcp"
)

func TestBackendIndex(t *testing.T) {
	backends := []Backend{
		{Name: "web/s1", Remote: netip.MustParseAddrPort("192.0.2.1:8080")},
		{Name: "web/s2", Remote: netip.MustParseAddrPort("192.0.2.2:8080")},
		{Name: "six", Remote: netip.MustParseAddrPort("[2001:db8::1]:8080")},
		{Name: "shop/db", Remote: netip.MustParseAddrPort("192.0.2.9:5432"), Cgroups: []uint64{100, 101}},
		{Name: "blog/db", Remote: netip.MustParseAddrPort("192.0.2.9:5432"), Cgroups: []uint64{200}},
		{Name: "cache", Remote: netip.MustParseAddrPort("192.0.2.9:6379"), Cgroups: []uint64{100}},
		{Name: "cache of all", Remote: netip.MustParseAddrPort("192.0.2.9:6379")},
	}
	ix := NewBackendIndex(backends)
	tests := []struct {
		name, remote string
		cgroup       uint64 // 0: the socket has none
		want         string
	}{
		{"by address", "192.0.2.1:8080", 7, "web/s1"},
		{"by the other address", "192.0.2.2:8080", 0, "web/s2"},
		{"IPv6", "[2001:db8::1]:8080", 7, "six"},
		{"another port of the address", "192.0.2.1:5432", 7, ""},
		{"another address of the port", "192.0.2.3:8080", 7, ""},
		{"nobody's port", "192.0.2.1:81", 7, ""},
		{"one address, by cgroup", "192.0.2.9:5432", 101, "shop/db"},
		{"one address, by the other cgroup", "192.0.2.9:5432", 200, "blog/db"},
		{"one address, a stranger's cgroup", "192.0.2.9:5432", 300, ""},
		{"one address, no cgroup: TIME_WAIT", "192.0.2.9:5432", 0, "shop/db"},
		{"the chosen cgroup goes before any", "192.0.2.9:6379", 100, "cache"},
		{"any cgroup", "192.0.2.9:6379", 300, "cache of all"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := tcp.Socket{Remote: netip.MustParseAddrPort(tt.remote), CgroupID: tt.cgroup}
			if tt.cgroup != 0 {
				s.Has = tcp.HasCgroup
			}
			got := ""
			if i := ix.Backend(&s); i != None {
				got = backends[i].Name
			}
			if got != tt.want {
				t.Errorf("Backend(%s, cgroup %d) = %q, want %q", tt.remote, tt.cgroup, got, tt.want)
			}
			if got, want := ix.Strange(&s), tt.name == "one address, a stranger's cgroup"; got != want {
				t.Errorf("Strange(%s, cgroup %d) = %v", tt.remote, tt.cgroup, got)
			}
		})
	}
}

// TestBackendIndexMany holds the table against a plain map.
func TestBackendIndexMany(t *testing.T) {
	var backends []Backend
	want := map[netip.AddrPort]int{}
	for i := range 3000 {
		remote := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i % 3), byte(i >> 8), byte(i)}), uint16(8000+i%7))
		if _, twice := want[remote]; twice {
			continue
		}
		want[remote] = len(backends)
		backends = append(backends, Backend{Name: fmt.Sprint(i), Remote: remote})
	}
	ix := NewBackendIndex(backends)
	for i := range 20000 {
		s := tcp.Socket{Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i % 3), byte(i >> 8), byte(i)}), uint16(7995+i%13))}
		at, ok := want[s.Remote]
		if !ok {
			at = None
		}
		if got := ix.Backend(&s); got != at {
			t.Fatalf("Backend(%s) = %d, want %d", s.Remote, got, at)
		}
	}
	var none BackendIndex
	if got := none.Backend(&tcp.Socket{Remote: netip.MustParseAddrPort("192.0.2.1:80")}); got != None {
		t.Errorf("the zero index answers %d", got)
	}
	if none.Strange(&tcp.Socket{Remote: netip.MustParseAddrPort("192.0.2.1:80"), CgroupID: 7, Has: tcp.HasCgroup}) {
		t.Error("the zero index has strangers")
	}
}

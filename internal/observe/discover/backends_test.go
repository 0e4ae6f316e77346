package discover

import (
	"net/netip"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

func TestBackends(t *testing.T) {
	at := netip.MustParseAddrPort
	s1, s2, db := at("192.0.2.1:80"), at("192.0.2.2:80"), at("192.0.2.9:5432")
	tests := []struct {
		name  string
		pools []Pool
		want  []scope.Backend
	}{
		{"nothing", nil, nil},
		{"observed", []Pool{{Name: "haproxy", Process: "haproxy", PIDs: []int{7}, Observed: []netip.AddrPort{s1, s2}}}, []scope.Backend{
			{Name: "haproxy/192.0.2.1:80", Group: "haproxy", Remote: s1, Process: "haproxy", PIDs: []int{7}, Source: "observed"},
			{Name: "haproxy/192.0.2.2:80", Group: "haproxy", Remote: s2, Process: "haproxy", PIDs: []int{7}, Source: "observed"},
		}},
		{"members go before what is observed, and have names", []Pool{{
			Name: "shop", Configured: true, Process: "haproxy", Source: "haproxy /run/admin.sock", Observed: []netip.AddrPort{s1, db},
			Members: []Member{{Group: "app", Name: "s1", Remote: s1}, {Remote: s2}},
		}}, []scope.Backend{
			{Name: "shop/app/s1", Group: "shop/app", Remote: s1, Process: "haproxy", Source: "haproxy /run/admin.sock", Configured: true},
			{Name: "shop/192.0.2.2:80", Group: "shop", Remote: s2, Process: "haproxy", Source: "haproxy /run/admin.sock", Configured: true},
		}},
		{"one address behind two names", []Pool{{Name: "shop", Source: "configured", Members: []Member{{Name: "a", Remote: s1}, {Name: "b", Remote: s1}}}}, []scope.Backend{
			{Name: "shop/a", Group: "shop", Remote: s1, Source: "configured", Also: []string{"shop/b"}},
		}},
		{"two balancers and one address, apart by cgroup", []Pool{
			{Name: "haproxy", Process: "haproxy", Cgroups: []uint64{1}, Observed: []netip.AddrPort{db}},
			{Name: "nginx", Process: "nginx", Cgroups: []uint64{2}, Observed: []netip.AddrPort{db}},
		}, []scope.Backend{
			{Name: "haproxy/192.0.2.9:5432", Group: "haproxy", Remote: db, Process: "haproxy", Cgroups: []uint64{1}, Source: "observed"},
			{Name: "nginx/192.0.2.9:5432", Group: "nginx", Remote: db, Process: "nginx", Cgroups: []uint64{2}, Source: "observed"},
		}},
		{"two balancers and one address, not to be told apart", []Pool{
			{Name: "haproxy", Process: "haproxy", Observed: []netip.AddrPort{db}},
			{Name: "nginx", Process: "nginx", Observed: []netip.AddrPort{db}},
		}, []scope.Backend{
			{Name: "haproxy/192.0.2.9:5432", Group: "haproxy", Remote: db, Process: "haproxy", Source: "observed", Also: []string{"nginx/192.0.2.9:5432"},
				Limit: "nginx talks to the same address; their connections cannot be told apart and are judged together"},
		}},
		{"one program in two pools, and the cgroup tells of one only", []Pool{
			{Name: "shop", Process: "haproxy", Cgroups: []uint64{1}, Source: "configured", Members: []Member{{Name: "s1", Remote: s1}}},
			{Name: "api", Process: "haproxy", Shared: "cron is in its cgroup", Source: "configured", Members: []Member{{Name: "s1", Remote: s1}}},
		}, []scope.Backend{
			{Name: "shop/s1", Group: "shop", Remote: s1, Process: "haproxy", Source: "configured", Also: []string{"api/s1"},
				Limit: "api talks to the same address; their connections cannot be told apart and are judged together"},
		}},
		{"cgroups that overlap are united", []Pool{
			{Name: "haproxy", Process: "haproxy", Cgroups: []uint64{1, 2}, Observed: []netip.AddrPort{s1}},
			{Name: "nginx", Process: "nginx", Cgroups: []uint64{2, 3}, Observed: []netip.AddrPort{s1}},
		}, []scope.Backend{
			{Name: "haproxy/192.0.2.1:80", Group: "haproxy", Remote: s1, Process: "haproxy", Cgroups: []uint64{1, 2, 3}, Source: "observed", Also: []string{"nginx/192.0.2.1:80"},
				Limit: "nginx talks to the same address; their connections cannot be told apart and are judged together"},
		}},
		{"a pool that does not run takes nothing away", []Pool{
			{Name: "haproxy", Process: "haproxy", Cgroups: []uint64{1}, Observed: []netip.AddrPort{s1}}, {Name: "nginx", Observed: []netip.AddrPort{s1}},
		}, []scope.Backend{
			{Name: "haproxy/192.0.2.1:80", Group: "haproxy", Remote: s1, Process: "haproxy", Cgroups: []uint64{1}, Source: "observed", Also: []string{"nginx/192.0.2.1:80"}},
		}},
		{"two pools of one name", []Pool{
			{Name: "nginx", Cgroups: []uint64{1}, Observed: []netip.AddrPort{s1}}, {Name: "nginx", Cgroups: []uint64{2}, Observed: []netip.AddrPort{s1}},
		}, []scope.Backend{
			{Name: "nginx/192.0.2.1:80", Group: "nginx", Remote: s1, Cgroups: []uint64{1}, Source: "observed"},
			{Name: "nginx/192.0.2.1:80#2", Group: "nginx", Remote: s1, Cgroups: []uint64{2}, Source: "observed"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Backends(tt.pools), cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
				t.Errorf("backends (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPeers(t *testing.T) {
	at := netip.MustParseAddrPort
	web := scope.NewIndex([]scope.Service{{Name: "web", Listen: []netip.AddrPort{at("[::]:80")}}})
	socket := func(local, remote string, state tcp.State, inode, cgroup uint64) tcp.Socket {
		return tcp.Socket{Local: at(local), Remote: at(remote), State: state, Inode: inode, CgroupID: cgroup}
	}
	var p Peers
	for range 2 { // the second look forgets the first
		p.Begin(nil)
		p.Add([]tcp.Socket{
			socket("192.0.2.5:80", "198.51.100.1:4000", tcp.Established, 1, 10), // a client of ours
			// A client of a listener that is no service yet, which may come after.
			socket("192.0.2.5:81", "198.51.100.2:4000", tcp.Established, 6, 10),
			socket("[::]:81", "[::]:0", tcp.Listen, 7, 10),
			socket("192.0.2.5:4001", "192.0.2.9:5432", tcp.Established, 2, 10),
			socket("192.0.2.5:4002", "192.0.2.9:5432", tcp.CloseWait, 3, 11),
			socket("192.0.2.5:4003", "192.0.2.1:8080", tcp.SynSent, 4, 10),
			socket("192.0.2.5:4004", "192.0.2.2:8080", tcp.TimeWait, 0, 0), // nobody's any more
			socket("192.0.2.5:4005", "192.0.2.3:8080", tcp.FinWait1, 5, 10),
		}, web)
	}
	want := []Peer{
		{Remote: at("192.0.2.1:8080"), Sockets: 1, Inodes: []uint64{4}, Cgroups: []uint64{10}, Locals: []netip.AddrPort{at("192.0.2.5:4003")}},
		{Remote: at("192.0.2.9:5432"), Sockets: 2, Inodes: []uint64{2, 3}, Cgroups: []uint64{10, 11}, Locals: []netip.AddrPort{at("192.0.2.5:4001"), at("192.0.2.5:4002")}},
	}
	if diff := cmp.Diff(want, p.List(), cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("peers (-want +got):\n%s", diff)
	}
}

// TestKnownPeersStay: where there are too many peers, backends are not left out.
func TestKnownPeersStay(t *testing.T) {
	backend, none := netip.MustParseAddrPort("192.0.2.1:80"), scope.NewIndex(nil)
	var p Peers
	p.Begin(func(remote netip.AddrPort) bool { return remote == backend })
	for i := range maxPeers + 10 {
		p.Add([]tcp.Socket{{State: tcp.Established, Inode: 1, Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 80)}}, none)
	}
	p.Add([]tcp.Socket{{State: tcp.Established, Inode: 2, Remote: backend}}, none)
	if !slices.ContainsFunc(p.List(), func(x Peer) bool { return x.Remote == backend }) || p.Left != 10 {
		t.Errorf("%d peers without the backend, %d left out", len(p.List()), p.Left)
	}
}

// BenchmarkBackends: a balancer may name ten thousand servers.
func BenchmarkBackends(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			p := Pool{Name: "haproxy", Process: "haproxy"}
			for i := range n {
				p.Members = append(p.Members, Member{Group: "g", Name: strconv.Itoa(i), Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 80)})
			}
			b.ReportAllocs()
			for b.Loop() {
				Backends([]Pool{p})
			}
		})
	}
}

package discover

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/observe/owner"
)

// now is any time.
var now = time.Unix(1_790_000_000, 0)

// dialled is a connection of our own, as a peer.
func dialled(t *testing.T) Peer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var stat syscall.Stat_t
	var statErr error
	if err := raw.Control(func(fd uintptr) { statErr = syscall.Fstat(int(fd), &stat) }); err != nil || statErr != nil {
		t.Fatal(err, statErr)
	}
	return Peer{Remote: netip.MustParseAddrPort(ln.Addr().String()), Sockets: 1, Inodes: []uint64{stat.Ino}}
}

// TestServersOfThisHost: our own process is found by its program, belongs to
// the first server that chooses it, and is known again.
func TestServersOfThisHost(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	namespace, err := netns.Self()
	if err != nil {
		t.Fatal(err)
	}
	us := owner.Selector{Exe: exe}
	selectors := []owner.Selector{us, {Exe: "/nobody/has/this"}, us}
	chosen, _, err := owner.Choose("/proc", selectors, nil)
	if err != nil {
		t.Fatal(err)
	}
	servers := Servers("/proc", chosen, namespace, nil, now)
	pids := func(s Server) (out []int) {
		for _, c := range s.Chosen {
			out = append(out, c.PID)
		}
		return out
	}
	if !slices.Contains(pids(servers[0]), os.Getpid()) || len(servers[1].Chosen) > 0 || len(servers[2].Chosen) > 0 {
		t.Fatalf("servers of pids %v, %v, %v; want %d in the first alone", pids(servers[0]), pids(servers[1]), pids(servers[2]), os.Getpid())
	}
	servers[0].Owners.Why = "as it was"
	if again := Servers("/proc", chosen, namespace, servers, now.Add(askAgain-1)); again[0].Owners.Why != "as it was" {
		t.Errorf("the same processes were asked about again: %+v", again[0].Owners)
	}
	// What shares their cgroup may have come since.
	if later := Servers("/proc", chosen, namespace, servers, now.Add(askAgain)); later[0].Owners.Why == "as it was" {
		t.Error("nobody was asked again after a minute")
	}
	if elsewhere := Servers("/proc", chosen, namespace+1, nil, now); len(elsewhere[0].Chosen) > 0 {
		t.Errorf("processes of another namespace: %v", pids(elsewhere[0]))
	}
}

// TestTalksTo: by cgroup where it decides, by descriptors where it does not.
func TestTalksTo(t *testing.T) {
	held := dialled(t)
	held.Cgroups = []uint64{7}
	other := Peer{Remote: netip.MustParseAddrPort("192.0.2.9:5432"), Inodes: []uint64{1 << 62}, Cgroups: []uint64{8, 9}}
	stranger := Peer{Remote: netip.MustParseAddrPort("192.0.2.8:5432")}
	namespace, err := netns.Self()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	chosen, _, _ := owner.Choose("/proc", []owner.Selector{{Exe: exe}}, nil)
	servers := Servers("/proc", chosen, namespace, nil, now)
	us := servers[0].Chosen
	for _, tt := range []struct {
		name   string
		server Server
		want   []netip.AddrPort
	}{
		{"by cgroup", Server{us, owner.Attribution{Cgroups: []uint64{9}, Decides: true}, now}, []netip.AddrPort{other.Remote}},
		{"by descriptors", Server{us, owner.Attribution{Cgroups: []uint64{9}, Why: "the shell is in the same cgroup"}, now}, []netip.AddrPort{held.Remote}},
		{"nobody runs", Server{Owners: owner.Attribution{Cgroups: []uint64{9}, Decides: true}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := tt.server.TalksTo("/proc", []Peer{held, other, stranger})
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
				t.Errorf("peers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPoolRuns(t *testing.T) {
	chosen := []owner.Chosen{{Process: owner.Process{PID: 7, Name: "haproxy"}}, {Process: owner.Process{PID: 8, Name: "haproxy"}}}
	for _, tt := range []struct {
		name   string
		server Server
		want   Pool
	}{
		{"told by cgroup", Server{chosen, owner.Attribution{Cgroups: []uint64{3}, Decides: true}, now}, Pool{Name: "p", Process: "haproxy", PIDs: []int{7, 8}, Cgroups: []uint64{3}}},
		{"not told by cgroup", Server{chosen, owner.Attribution{Cgroups: []uint64{3}, Why: "the shell is there too"}, now},
			Pool{Name: "p", Process: "haproxy", PIDs: []int{7, 8}, Shared: "connections of other processes to the same address are counted too: the shell is there too"}},
		{"it does not run", Server{}, Pool{Name: "p"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Pool{Name: "p", Process: "old", PIDs: []int{1}, Cgroups: []uint64{1}, Shared: "old"}
			got.Runs(&tt.server)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("pool (-want +got):\n%s", diff)
			}
		})
	}
}

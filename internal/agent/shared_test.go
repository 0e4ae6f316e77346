package agent

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/observe/discover"
	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// twoBalancers are an haproxy in cgroup 1 and an nginx in cgroup 2, found long
// ago: no process is searched for.
func twoBalancers(now time.Time) (*backendFinder, place) {
	f := &backendFinder{}
	f.configure(config.Config{})
	shared := &processes{at: now}
	shared.tracked.at = now.Add(time.Hour)
	for _, p := range f.pools {
		shared.selectors = append(shared.selectors, p.selector)
		var chosen []owner.Chosen
		if id := map[string]uint64{"haproxy": 1, "nginx": 2}[p.name]; id != 0 {
			chosen = []owner.Chosen{{Process: owner.Process{PID: 4_000_000 + int(id), Name: p.name}, CgroupID: id, Namespace: 7}}
			p.server = discover.Server{Chosen: chosen, Owners: owner.Attribution{Cgroups: []uint64{id}, Decides: true}, Asked: now.Add(time.Hour)}
		}
		shared.chosen = append(shared.chosen, chosen)
	}
	return f, place{namespace: 7, processes: shared, budget: observe.NewBudget(0.01), enter: func(do func() error) error { return do() }}
}

// TestOneAddressTwoBalancers: in whatever order the balancers come to an
// address, every socket of theirs has a backend, and its own.
func TestOneAddressTwoBalancers(t *testing.T) {
	remote := netip.MustParseAddrPort("10.0.0.5:80")
	socket := func(cgroup uint64) tcp.Socket {
		return tcp.Socket{
			State: tcp.Established, Inode: 10 + cgroup, Remote: remote, Has: tcp.HasCgroup, CgroupID: cgroup,
			Local: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), 40_000+uint16(cgroup)),
		}
	}
	for name, looks := range map[string][][]uint64{
		"at once":            {{1, 2}},
		"haproxy first":      {{1}, {1}, {1, 2}},
		"nginx first":        {{2}, {1, 2}},
		"one after another":  {{1}, {2}},
		"a stranger between": {{1}, {1, 99}, {1, 2, 99}},
	} {
		t.Run(name, func(t *testing.T) {
			now := start
			f, here := twoBalancers(now)
			for _, cgroups := range looks {
				here.processes.at = now // found at this very moment
				f.begin(now, tcp.Full, here)
				for _, id := range cgroups {
					f.peers.Add([]tcp.Socket{socket(id)}, scope.NewIndex(nil))
				}
				f.find(now, here)
				now = now.Add(peersEvery)
			}
			index := scope.NewBackendIndex(f.backends)
			for id, want := range map[uint64]string{1: "haproxy", 2: "nginx", 99: ""} {
				s, got := socket(id), ""
				if at := index.Backend(&s); at != scope.None {
					got = f.backends[at].Group
				}
				if got != want {
					t.Errorf("the socket of cgroup %d is %q's, want %q's", id, got, want)
				}
			}
		})
	}
}

// TestObservedIsForgottenBesideAnother: a balancer that let go of an address is
// forgotten there, though another still talks to it.
func TestObservedIsForgottenBesideAnother(t *testing.T) {
	remote, now := netip.MustParseAddrPort("10.0.0.5:80"), start
	f, here := twoBalancers(now)
	for _, p := range f.pools {
		if p.name == "haproxy" || p.name == "nginx" {
			p.observed[remote] = now
		}
	}
	now = now.Add(forgotten)
	here.processes.at = now
	f.begin(now, tcp.Full, here)
	f.peers.Add([]tcp.Socket{{State: tcp.Established, Inode: 1, Remote: remote, Has: tcp.HasCgroup, CgroupID: 2}}, scope.NewIndex(nil))
	f.find(now, here)
	var groups []string
	for i := range f.backends {
		groups = append(groups, f.backends[i].Group)
	}
	if want := []string{"nginx"}; !slices.Equal(groups, want) {
		t.Errorf("backends of %v, want %v", groups, want)
	}
}

// TestMeetWaits: who is of ours, and still a stranger to the backend, does not
// make every look walk all processes.
func TestMeetWaits(t *testing.T) {
	exe := self(t)
	here, err := ownPlace(observe.NewBudget(0.01), observe.Auto, tcp.NewScratch())
	if err != nil {
		t.Fatal(err)
	}
	f := &backendFinder{}
	f.configure(config.Config{Backends: []config.Backends{{Name: "us", Process: config.Process{Exe: exe}}}})
	f.choose(start, here, urgently)
	ours := f.pools[0].server.Owners.Cgroups
	if len(f.pools[0].server.Chosen) == 0 {
		t.Fatal("we were not chosen")
	}
	f.rebuild(start, "")
	walks := 0
	here.processes.listeners = func() []owner.Listener { walks++; return nil }
	for i := range 8 {
		f.meet(start.Add(time.Minute+time.Duration(i)*time.Second), append(ours, 1<<60), here)
	}
	if walks != 1 {
		t.Errorf("%d walks in 8 s, want 1", walks)
	}
}

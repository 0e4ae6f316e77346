package discover

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

func addrs(ss ...string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range ss {
		out = append(out, netip.MustParseAddrPort(s))
	}
	return out
}

func listener(addr string, inode uint64) tcp.Socket {
	return tcp.Socket{State: tcp.Listen, Local: netip.MustParseAddrPort(addr), Inode: inode}
}

func process(pid int, name string) owner.Process {
	return owner.Process{PID: pid, Name: name, Unit: name + ".service"}
}

func TestServices(t *testing.T) {
	nginx, worker := process(100, "nginx"), process(101, "nginx")
	tests := []struct {
		name       string
		listeners  []tcp.Socket
		owners     map[uint64][]owner.Process
		configured []Configured
		want       []scope.Service
		problems   []string
	}{
		{name: "nothing"},
		{
			name:      "a program's ports are one service, its workers share it",
			listeners: []tcp.Socket{listener("0.0.0.0:443", 2), listener("0.0.0.0:80", 1)},
			owners:    map[uint64][]owner.Process{1: {nginx, worker}, 2: {nginx, worker}},
			want:      []scope.Service{{Name: "nginx:80", Listen: addrs("0.0.0.0:80", "0.0.0.0:443"), Process: "nginx", Unit: "nginx.service", PIDs: []int{100, 101}}},
		},
		{
			name:      "both families",
			listeners: []tcp.Socket{listener("[::]:80", 2), listener("0.0.0.0:80", 1)},
			owners:    map[uint64][]owner.Process{1: {nginx}, 2: {nginx}},
			want:      []scope.Service{{Name: "nginx:80", Listen: addrs("0.0.0.0:80", "[::]:80"), Process: "nginx", Unit: "nginx.service", PIDs: []int{100}}},
		},
		{
			name:      "rows of one address by SO_REUSEPORT, of several programs, one of them unknown",
			listeners: []tcp.Socket{listener("0.0.0.0:80", 1), listener("0.0.0.0:80", 2), listener("0.0.0.0:80", 3), listener("0.0.0.0:9000", 4)},
			owners:    map[uint64][]owner.Process{1: {process(300, "envoy")}, 2: {process(200, "envoy")}, 4: {process(300, "envoy")}},
			want:      []scope.Service{{Name: "envoy:80", Listen: addrs("0.0.0.0:80", "0.0.0.0:9000"), Process: "envoy", Unit: "envoy.service", PIDs: []int{200, 300}}},
		},
		{
			name:      "without owner: by port",
			listeners: []tcp.Socket{listener("[::]:8080", 2), listener("0.0.0.0:8080", 1), listener("127.0.0.1:9090", 3)},
			want: []scope.Service{
				{Name: "port:8080", Listen: addrs("0.0.0.0:8080", "[::]:8080")},
				{Name: "port:9090", Listen: addrs("127.0.0.1:9090")},
			},
		},
		{
			name:      "two instances on one port of two addresses",
			listeners: []tcp.Socket{listener("127.0.0.1:80", 1), listener("192.0.2.1:80", 2)},
			owners:    map[uint64][]owner.Process{1: {process(7, "nginx")}, 2: {process(6, "nginx")}},
			want: []scope.Service{
				{Name: "nginx:80", Listen: addrs("127.0.0.1:80"), Process: "nginx", Unit: "nginx.service", PIDs: []int{7}},
				{Name: "nginx@192.0.2.1:80", Listen: addrs("192.0.2.1:80"), Process: "nginx", Unit: "nginx.service", PIDs: []int{6}},
			},
		},
		{
			name:      "socket activation: the service's own process serves, and the manager's listeners are apart",
			listeners: []tcp.Socket{listener("[::]:22", 1), listener("[::]:631", 2), listener("[::]:9090", 3), listener("0.0.0.0:9090", 4)},
			owners: map[uint64][]owner.Process{
				1: {process(1, "systemd"), process(50, "sshd")}, 2: {process(1, "systemd")}, 3: {process(1, "systemd")}, 4: {process(1, "systemd")},
			},
			want: []scope.Service{
				{Name: "sshd:22", Listen: addrs("[::]:22"), Process: "sshd", Unit: "sshd.service", PIDs: []int{50}},
				{Name: "systemd:631", Listen: addrs("[::]:631"), Process: "systemd", Unit: "systemd.service", PIDs: []int{1}},
				{Name: "systemd:9090", Listen: addrs("0.0.0.0:9090", "[::]:9090"), Process: "systemd", Unit: "systemd.service", PIDs: []int{1}},
			},
		},
		{
			name:       "a configured service takes its listeners, the program keeps the others",
			listeners:  []tcp.Socket{listener("0.0.0.0:80", 1), listener("[::]:80", 2), listener("0.0.0.0:9000", 3)},
			owners:     map[uint64][]owner.Process{1: {nginx}, 2: {nginx}, 3: {nginx}},
			configured: []Configured{{"web", addrs("[::]:80")}},
			want: []scope.Service{
				{Name: "web", Listen: addrs("[::]:80"), Process: "nginx", Unit: "nginx.service", PIDs: []int{100}, Configured: true},
				{Name: "nginx:9000", Listen: addrs("0.0.0.0:9000"), Process: "nginx", Unit: "nginx.service", PIDs: []int{100}},
			},
		},
		{
			name:       "nothing listens",
			listeners:  []tcp.Socket{listener("0.0.0.0:443", 1)},
			configured: []Configured{{"web", addrs("[::]:443", "[::]:80")}},
			want:       []scope.Service{{Name: "web", Listen: addrs("[::]:80", "[::]:443"), Configured: true}},
			problems:   []string{"configured service web: nothing listens on :80"},
		},
		{
			name:       "one address of a wider listener",
			listeners:  []tcp.Socket{listener("[::]:80", 1)},
			owners:     map[uint64][]owner.Process{1: {nginx}},
			configured: []Configured{{"web", addrs("192.0.2.1:80")}},
			want: []scope.Service{
				{Name: "web", Listen: addrs("192.0.2.1:80"), Process: "nginx", Unit: "nginx.service", PIDs: []int{100}, Configured: true},
				{Name: "nginx:80", Listen: addrs("[::]:80"), Process: "nginx", Unit: "nginx.service", PIDs: []int{100}},
			},
			problems: []string{"configured service web: 192.0.2.1:80 is served by the listener :80 of nginx:80, where its queue is counted"},
		},
		{
			name:       "a configured address within another of the same service",
			listeners:  []tcp.Socket{listener("0.0.0.0:80", 1)},
			configured: []Configured{{"web", addrs("192.0.2.1:80", "[::]:80")}},
			want:       []scope.Service{{Name: "web", Listen: addrs("192.0.2.1:80", "[::]:80"), Configured: true}},
		},
		{
			name:       "the more specific of two configured ones has the listener",
			listeners:  []tcp.Socket{listener("127.0.0.1:80", 1), listener("192.0.2.1:80", 2)},
			configured: []Configured{{"all", addrs("[::]:80")}, {"local", addrs("[::ffff:127.0.0.1]:80")}},
			want: []scope.Service{
				{Name: "all", Listen: addrs("[::]:80"), Configured: true},
				{Name: "local", Listen: addrs("127.0.0.1:80"), Configured: true},
			},
		},
		{
			name:       "two configured ones with the same address",
			listeners:  []tcp.Socket{listener("0.0.0.0:80", 1)},
			configured: []Configured{{"a", addrs("[::]:80")}, {"b", addrs("[::]:80", "[::]:80")}},
			want: []scope.Service{
				{Name: "a", Listen: addrs("[::]:80"), Configured: true},
				{Name: "b", Listen: addrs("[::]:80"), Configured: true},
			},
			problems: []string{"configured service b: :80 is configured for a too, which has it"},
		},
		{
			name:       "a configured name that a found one would have",
			listeners:  []tcp.Socket{listener("0.0.0.0:80", 1), listener("0.0.0.0:81", 2)},
			owners:     map[uint64][]owner.Process{1: {nginx}},
			configured: []Configured{{"nginx:80", addrs("[::]:81")}},
			want: []scope.Service{
				{Name: "nginx:80", Listen: addrs("[::]:81"), Configured: true},
				{Name: "nginx@0.0.0.0:80", Listen: addrs("0.0.0.0:80"), Process: "nginx", Unit: "nginx.service", PIDs: []int{100}},
			},
		},
		{
			name:      "one program has IPv4, another IPv6 and a lower port: IPv4 connections are the first one's",
			listeners: []tcp.Socket{listener("0.0.0.0:80", 1), listener("[::]:80", 2), listener("[::]:22", 3)},
			owners:    map[uint64][]owner.Process{1: {process(5, "four")}, 2: {process(6, "six")}, 3: {process(6, "six")}},
			want: []scope.Service{
				{Name: "four:80", Listen: addrs("0.0.0.0:80"), Process: "four", Unit: "four.service", PIDs: []int{5}},
				{Name: "six:22", Listen: addrs("[::]:22", "[::]:80"), Process: "six", Unit: "six.service", PIDs: []int{6}},
			},
		},
		{
			name:      "rows that do not listen are passed over",
			listeners: []tcp.Socket{{State: tcp.Established, Local: netip.MustParseAddrPort("127.0.0.1:80"), Inode: 1}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, problems := Services(tt.listeners, tt.owners, tt.configured)
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
				t.Errorf("services (-want +got)\n%s", diff)
			}
			var texts []string
			for _, p := range problems {
				texts = append(texts, p.String())
			}
			if diff := cmp.Diff(tt.problems, texts); diff != "" {
				t.Errorf("problems (-want +got)\n%s", diff)
			}
		})
	}
}

// bothWays reports whether the wildcards of different services stand in a
// circle: no order of services serves them all (see inOrder).
func bothWays(services []scope.Service) bool {
	left := slices.Clone(services)
	for len(left) > 0 {
		free := slices.IndexFunc(left, func(s scope.Service) bool {
			for _, l := range s.Listen {
				if l.Addr() != netip.IPv6Unspecified() {
					continue
				}
				four := netip.AddrPortFrom(netip.IPv4Unspecified(), l.Port())
				for _, other := range left {
					if other.Name != s.Name && slices.Contains(other.Listen, four) {
						return false
					}
				}
			}
			return true
		})
		if free < 0 {
			return true
		}
		left = slices.Delete(left, free, free+1)
	}
	return false
}

// Properties: every listener is claimed by exactly one service through
// scope.Index: the configured one that covers it, else the only found one that
// lists it; an IPv4 connection to a port somebody has on 0.0.0.0 is that
// service's; names are unique; every address of a found service listens; the
// order of the input changes nothing.
func TestEveryListenerHasOneService(t *testing.T) {
	addrGen := rapid.Custom(func(t *rapid.T) netip.AddrPort {
		host := rapid.SampledFrom([]string{"0.0.0.0", "::", "127.0.0.1", "::1", "192.0.2.1"}).Draw(t, "host")
		return netip.AddrPortFrom(netip.MustParseAddr(host), rapid.SampledFrom([]uint16{22, 80, 443}).Draw(t, "port"))
	})
	pool := []owner.Process{process(1, "systemd"), process(10, "nginx"), process(11, "nginx"), process(12, "apache2"), process(13, "port")}
	rapid.Check(t, func(t *rapid.T) {
		var rows []tcp.Socket
		owners := map[uint64][]owner.Process{}
		for i, addr := range rapid.SliceOfN(addrGen, 0, 8).Draw(t, "listeners") {
			inode := uint64(i + 1)
			rows = append(rows, tcp.Socket{State: tcp.Listen, Local: addr, Inode: inode})
			for at, holds := range rapid.SliceOfN(rapid.Bool(), len(pool), len(pool)).Draw(t, "holders") {
				if holds {
					owners[inode] = append(owners[inode], pool[at])
				}
			}
		}
		var configured []Configured
		for i, listen := range rapid.SliceOfN(rapid.SliceOfN(addrGen, 1, 2), 0, 2).Draw(t, "configured") {
			configured = append(configured, Configured{[]string{"web", "nginx:80"}[i], listen})
		}

		services, problems := Services(rows, owners, configured)
		if bothWays(services) {
			t.Skip("wildcards of two services stand both ways")
		}
		ix := scope.NewIndex(services)
		names := map[string]bool{}
		listened := map[netip.AddrPort]bool{}
		for i := range rows {
			row := &rows[i]
			listened[row.Local] = true
			at := ix.Service(row)
			if at == scope.None {
				t.Fatalf("nobody claims %s", row.Local)
			}
			var covering, listing []string
			for _, s := range services {
				if s.Configured && slices.ContainsFunc(s.Listen, func(l netip.AddrPort) bool { return covers(l, row.Local) }) {
					covering = append(covering, s.Name)
				}
				if !s.Configured && slices.Contains(s.Listen, row.Local) {
					listing = append(listing, s.Name)
				}
			}
			if len(covering) > 0 {
				if !slices.Contains(covering, services[at].Name) || len(listing) > 0 {
					t.Fatalf("%s is %s's, covered by %v and listed by %v", row.Local, services[at].Name, covering, listing)
				}
			} else if !slices.Equal(listing, []string{services[at].Name}) {
				t.Fatalf("%s is %s's, listed by %v", row.Local, services[at].Name, listing)
			}
			if row.Local.Addr() == netip.IPv4Unspecified() {
				connection := tcp.Socket{State: tcp.Established, Local: netip.AddrPortFrom(netip.MustParseAddr("198.51.100.1"), row.Local.Port())}
				if got := ix.Service(&connection); got != at {
					t.Fatalf("an IPv4 connection to %s is %s's, the listener %s's", row.Local, services[got].Name, services[at].Name)
				}
			}
		}
		for _, s := range services {
			if names[s.Name] {
				t.Fatalf("%q twice", s.Name)
			}
			names[s.Name] = true
			for _, l := range s.Listen {
				if !s.Configured && !listened[l] {
					t.Fatalf("%s has %s, where nothing listens", s.Name, l)
				}
			}
			if !slices.IsSortedFunc(s.Listen, byPort) || !slices.IsSorted(s.PIDs) {
				t.Fatalf("not sorted: %+v", s)
			}
		}

		shuffled := slices.Clone(rows)
		r := rand.New(rand.NewPCG(uint64(len(rows)), 1))
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		again, problemsAgain := Services(shuffled, maps.Clone(owners), configured)
		equal := cmpopts.EquateComparable(netip.AddrPort{})
		if diff := cmp.Diff(services, again, equal); diff != "" {
			t.Fatalf("another order of rows changes the services\n%s", diff)
		}
		if diff := cmp.Diff(problems, problemsAgain, equal); diff != "" {
			t.Fatalf("another order of rows changes the problems\n%s", diff)
		}
	})
}

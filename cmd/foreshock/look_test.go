package main

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

var at = netip.MustParseAddrPort

// asked is a connection whose client waits for an answer.
var asked = tcp.Info{BytesReceived: 80, DataSegsOut: 1, LastDataReceived: time.Second, LastDataSent: time.Minute}

// population is a small web server in trouble, and what else a host has.
func population() []tcp.Socket {
	all := []tcp.Socket{
		{State: tcp.Listen, Local: at("[::]:80"), Inode: 1, ReceiveQueue: 51, SendQueue: 511},
		{State: tcp.Listen, Local: at("127.0.0.1:9748"), Inode: 2, SendQueue: 4096},
		{State: tcp.SynRecv, Local: at("192.0.2.1:80"), Remote: at("198.51.100.9:40000")},
		{State: tcp.SynSent, Local: at("192.0.2.1:51000"), Remote: at("203.0.113.31:5432"), Inode: 70, Timer: tcp.TimerRetransmit, Retransmits: 2},
		{State: tcp.Established, Local: at("192.0.2.1:51001"), Remote: at("203.0.113.31:5432"), Inode: 71},
		{State: tcp.FinWait1, Local: at("192.0.2.1:80"), Remote: at("[2001:db8:1:2::9]:40000")},
	}
	for i := range 1200 {
		all = append(all, tcp.Socket{State: tcp.TimeWait, Local: at("192.0.2.1:80"), Remote: netip.AddrPortFrom(netip.MustParseAddr("198.51.100.7"), uint16(40000+i))})
	}
	for i := range 8 {
		all = append(all, tcp.Socket{
			State: tcp.Established, Local: at("192.0.2.1:80"), Remote: netip.AddrPortFrom(netip.MustParseAddr("198.51.100.8"), uint16(40000+i)),
			Inode: uint64(10 + i), Has: tcp.HasInfo, Info: asked,
		})
	}
	for i := range 51 {
		s := tcp.Socket{State: tcp.Established, Local: at("192.0.2.1:80"), Remote: netip.AddrPortFrom(netip.MustParseAddr("2001:db8:1:2::7"), uint16(40000+i)), ReceiveQueue: 80}
		if i < 3 {
			s.State = tcp.CloseWait
		}
		all = append(all, s)
	}
	return all
}

// owing is a backend with two answers to give, as a reader sees it.
func owing(reader string) []tcp.Socket {
	var all []tcp.Socket
	for i := range 3 {
		s := tcp.Socket{State: tcp.Established, Local: at("192.0.2.1:52000"), Remote: at("203.0.113.40:8080"), Inode: uint64(80 + i), Has: tcp.HasInfo}
		s.Info = tcp.Info{BytesReceived: 900, LastDataSent: time.Duration(i) * 1500 * time.Millisecond, LastDataReceived: 2 * time.Second}
		if reader != sourceWithInfo {
			s.Has, s.Info = 0, tcp.Info{}
		}
		all = append(all, s)
	}
	return all
}

// ownSpace and otherSpace are the namespaces of fixed looks.
const ownSpace, otherSpace tcp.Namespace = 4026531840, 4026532000

// fixed is what a look by that grouping would have found in the population.
func fixed(by string, change func(*counted)) counted {
	c := counted{
		at: time.Date(2026, 11, 21, 3, 12, 27, 0, time.UTC), host: "edge-ams-2", took: 4400 * time.Microsecond,
		options: lookOptions{by: by, top: 20}, reader: "sock_diag", complete: true,
		limits: []string{"QUIC, UDP and unix sockets: not in the kernel's TCP table"},
		services: []scope.Service{
			{Name: "web", Process: "apache2", Unit: "apache2.service", Listen: []netip.AddrPort{at("[::]:80")}},
			{Name: "foreshock:9748", Process: "foreshock", Listen: []netip.AddrPort{at("127.0.0.1:9748")}},
		},
		backends: []scope.Backend{
			{Name: "haproxy/203.0.113.31:5432", Group: "haproxy", Remote: at("203.0.113.31:5432"), Process: "haproxy", PIDs: []int{812}},
			{Name: "nginx/203.0.113.40:8080", Group: "nginx", Remote: at("203.0.113.40:8080"), Process: "nginx", PIDs: []int{40, 41}, Also: []string{"caddy/203.0.113.40:8080"}, Limit: "caddy talks to the same address"},
		},
		regions: []scope.Region{
			{Name: "east", Prefixes: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/27")}, Source: "configured"},
			{Name: "west", Prefixes: []netip.Prefix{netip.MustParsePrefix("203.0.113.40/32"), netip.MustParsePrefix("2001:db8::/32")}, Source: "ip-ranges.json (AWS), eu-west-1"},
		},
		spaces:       []spaceRead{{id: ownSpace}},
		destinations: map[key]map[netip.AddrPort]bool{},
		names: map[tcp.Namespace]netns.Found{
			ownSpace:   {ID: ownSpace, Name: "systemd", Path: "/proc/1/ns/net", Processes: 80, Own: true},
			otherSpace: {ID: otherSpace, Name: "blue", Path: "/run/netns/blue"},
		},
	}
	if change != nil {
		change(&c)
	}
	c.breakdown = measure.NewBreakdown[key](maxGroups)
	index, backends := scope.NewIndex(c.services), scope.NewBackendIndex(c.backends)
	regions := scope.NewRegionIndex(c.regions)
	if by == "region" {
		c.breakdown.Touch(regionKey(ownSpace, 0))
	}
	owners := map[uint64][]owner.Process{1: {{PID: 12, Name: "apache2"}, {PID: 13, Name: "apache2"}}, 2: {{PID: 99, Name: "foreshock"}}, 71: {{PID: 50, Name: "billing"}}}
	for i := range 8 {
		owners[uint64(10+i)] = []owner.Process{{PID: 13, Name: "apache2"}}
	}
	var asked []uint64
	for inode := range uint64(71) { // 71 itself came later, but its owner is known
		asked = append(asked, inode)
	}
	sockets := population()
	if by == "backend" || by == "region" {
		sockets = append(sockets, owing(c.reader)...)
	}
	for _, s := range sockets {
		k := map[string]key{
			"service":   {service: index.Service(&s)},
			"backend":   {backend: backends.Backend(&s)},
			"region":    regionKey(ownSpace, regionOf(&s, index, regions)),
			"state":     {state: s.State},
			"remote":    {remote: remoteOf(&s, map[uint16]bool{80: true, 9748: true})},
			"prefix":    {prefix: prefixOf(s.Remote.Addr())},
			"process":   processOf(&s, owners, asked),
			"namespace": {namespace: ownSpace},
		}[by]
		if by == "service" && k.service == scope.None && c.options.rest {
			k.remote = s.Remote
		}
		c.breakdown.Add(k, &s)
		c.wait(k, &s)
		if by == "region" {
			c.reach(k, &s)
		}
	}
	if by == "namespace" {
		c.breakdown.Touch(key{namespace: otherSpace})
	}
	return c
}

// everywhere is a look by region at four namespaces: our own, one that /proc was
// read of, one that began nothing and one that may not be read.
func everywhere(top int) counted {
	c := fixed("region", nil)
	c.options.top = top
	c.spaces = append(c.spaces, spaceRead{id: otherSpace, label: "blue"}, spaceRead{id: otherSpace + 1, label: "calm"}, spaceRead{id: otherSpace + 2, label: "shut"})
	c.refuse(&space{Found: netns.Found{ID: otherSpace + 2}, label: "shut"}, errors.New("enter network namespace: operation not permitted"))
	regions := scope.NewRegionIndex(c.regions)
	for i, remote := range []string{"203.0.113.40:8080", "203.0.113.40:8081", "203.0.113.40:8080", "198.51.100.1:443", "127.0.0.1:80"} {
		s := tcp.Socket{State: tcp.Established, Local: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.7"), uint16(50000+i)), Remote: at(remote)}
		k := regionKey(otherSpace, regionOf(&s, scope.NewIndex(nil), regions))
		c.breakdown.Add(k, &s)
		c.reach(k, &s)
		c.blinded(k)
	}
	return c
}

// TestWriteLook holds tables and JSON to testdata/golden, one file per look;
// `go test -update` writes them anew.
func TestWriteLook(t *testing.T) {
	tests := []struct {
		name string
		look counted
	}{
		{"service", fixed("service", nil)},
		{"service-rest", fixed("service", func(c *counted) { c.options.rest = true })},
		{"backend", fixed("backend", nil)},
		{"backend-top", fixed("backend", func(c *counted) { c.options.top = 1 })},
		{"backend-procfs", fixed("backend", func(c *counted) { c.reader = "procfs" })},
		{"region", fixed("region", nil)},
		{"region-namespaces", everywhere(20)},
		{"region-namespaces-top", everywhere(2)},
		{"state", fixed("state", nil)},
		{"remote", fixed("remote", nil)},
		{"remote-top", fixed("remote", func(c *counted) { c.options.top = 1 })},
		{"prefix", fixed("prefix", nil)},
		{"process", fixed("process", nil)},
		{"namespace", fixed("namespace", nil)},
		{"procfs-partial", fixed("service", func(c *counted) {
			c.reader, c.complete = "procfs", false
			c.limits = append(c.limits, "the look is not whole: interrupted, 0 rows not understood; look again")
		})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var table, doc strings.Builder
			if err := writeTable(&table, tt.look); err != nil {
				t.Fatal(err)
			}
			if err := writeJSON(&doc, tt.look); err != nil {
				t.Fatal(err)
			}
			got := table.String() + "\n" + strings.ReplaceAll(doc.String(), `{"key"`, "\n"+`{"key"`)
			path := filepath.Join("testdata", "golden", "look-"+tt.name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", path, diff)
			}
		})
	}
}

func TestWriteLookBeyondTheBound(t *testing.T) {
	c := fixed("state", nil)
	c.breakdown = measure.NewBreakdown[key](1)
	c.options.top = 0
	for _, s := range population() {
		c.breakdown.Add(key{state: s.State}, &s)
	}
	var table strings.Builder
	if err := writeTable(&table, c); err != nil {
		t.Fatal(err)
	}
	if want := "more)"; !strings.Contains(table.String(), want) {
		t.Errorf("what was not told apart is not shown:\n%s", &table)
	}
}

func TestAtListener(t *testing.T) {
	listener := func(at string) tcp.Socket {
		return tcp.Socket{State: tcp.Listen, Local: netip.MustParseAddrPort(at)}
	}
	connection := func(at string) tcp.Socket {
		return tcp.Socket{State: tcp.Established, Local: netip.MustParseAddrPort(at)}
	}
	tests := []struct {
		name   string
		listen string
		socket tcp.Socket
		want   bool
	}{
		{"every address", "[::]:80", connection("192.0.2.1:80"), true},
		{"every address of IPv6 too", "[::]:80", connection("[2001:db8::1]:80"), true},
		{"another port", "[::]:80", connection("192.0.2.1:81"), false},
		{"every IPv4 address", "0.0.0.0:80", connection("192.0.2.1:80"), true},
		{"no IPv6 address", "0.0.0.0:80", connection("[2001:db8::1]:80"), false},
		{"one address", "192.0.2.1:80", connection("192.0.2.1:80"), true},
		{"another address", "192.0.2.1:80", connection("192.0.2.2:80"), false},
		{"a listener among all", "[::]:80", listener("127.0.0.1:80"), true},
		{"a wider listener takes its connections", "192.0.2.1:80", listener("0.0.0.0:80"), true},
		{"a dual-stack one too", "192.0.2.1:80", listener("[::]:80"), true},
		{"one of IPv4 takes none of IPv6", "[2001:db8::1]:80", listener("0.0.0.0:80"), false},
		{"another's listener", "192.0.2.1:80", listener("192.0.2.2:80"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := atListener(at(tt.listen), &tt.socket); got != tt.want {
				t.Errorf("%s, socket %s: %t, want %t", tt.listen, tt.socket.Local, got, tt.want)
			}
		})
	}
}

func TestProcessOf(t *testing.T) {
	owners := map[uint64][]owner.Process{7: {{PID: 12, Name: "nginx"}, {PID: 13, Name: "nginx"}}, 0: {{PID: 1, Name: "nobody's"}}}
	tests := []struct {
		name   string
		socket tcp.Socket
		want   key
	}{
		{"the first of two", tcp.Socket{State: tcp.Established, Inode: 7}, key{process: "nginx", pid: 12}},
		{"in the accept queue", tcp.Socket{State: tcp.Established}, key{nobody: nobodyWaiting}},
		{"gave up in the accept queue", tcp.Socket{State: tcp.CloseWait}, key{nobody: nobodyWaiting}},
		{"half open", tcp.Socket{State: tcp.SynRecv}, key{nobody: nobodyHalfOpen}},
		{"closed", tcp.Socket{State: tcp.TimeWait}, key{nobody: nobodyTimeWait}},
		{"orphaned", tcp.Socket{State: tcp.FinWait1}, key{nobody: nobodyClosed}},
		{"hidden", tcp.Socket{State: tcp.Established, Inode: 8}, key{nobody: unknownHidden}},
		{"newer than the search", tcp.Socket{State: tcp.Established, Inode: 9}, key{nobody: unknownYet}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := processOf(&tt.socket, owners, []uint64{7, 8})
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(key{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
				cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Errorf("key (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRemoteAndPrefix(t *testing.T) {
	tests := []struct {
		name           string
		socket         tcp.Socket
		remote, prefix string
	}{
		{"a client of ours", tcp.Socket{Local: at("192.0.2.1:80"), Remote: at("198.51.100.7:40001")}, "198.51.100.7", "198.51.100.0/24"},
		{"we are the client", tcp.Socket{Local: at("192.0.2.1:51000"), Remote: at("203.0.113.31:5432")}, "203.0.113.31:5432", "203.0.113.0/24"},
		{"IPv6", tcp.Socket{Local: at("[2001:db8::1]:80"), Remote: at("[2001:db8:1:2::7]:40001")}, "2001:db8:1:2::7", "2001:db8:1::/48"},
		{"a listener has none", tcp.Socket{State: tcp.Listen, Local: at("192.0.2.1:81")}, "", "invalid Prefix"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := remoteText(key{remote: remoteOf(&tt.socket, map[uint16]bool{80: true})}); got != tt.remote {
				t.Errorf("remote %q, want %q", got, tt.remote)
			}
			if got := prefixOf(tt.socket.Remote.Addr()).String(); got != tt.prefix {
				t.Errorf("prefix %q, want %q", got, tt.prefix)
			}
		})
	}
}

func TestLookFlags(t *testing.T) {
	good := lookFlags{by: "remote", source: "procfs", listen: "192.0.2.1:80", states: []string{"close_wait", "listen"}, top: 3}
	got, err := good.check()
	if err != nil {
		t.Fatal(err)
	}
	want := lookOptions{
		by: "remote", source: observe.Procfs, listen: at("192.0.2.1:80"), top: 3,
		states: tcp.MaskOf(tcp.CloseWait, tcp.Listen), filter: tcp.Filter{LocalPorts: []uint16{80}}, config: config.Default(),
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(lookOptions{}), cmp.Comparer(func(a, b config.Config) bool { return reflect.DeepEqual(a, b) }), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
}

func TestPainted(t *testing.T) {
	const first, later = "\x1b[H\x1b[2Ja\x1b[K\nb\x1b[K\n\x1b[J", "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J"
	if got := painted("a\nb\n", true, 0); got != first {
		t.Errorf("first: %q, want %q", got, first)
	}
	if got := painted("a\nb\n", false, 3); got != later {
		t.Errorf("later: %q, want %q", got, later)
	}
	const low = "\x1b[Ha\x1b[K\nand 2 more lines: a higher terminal shows them\x1b[K\n\x1b[J"
	if got := painted("a\nb\nc\n", false, 3); got != low {
		t.Errorf("on a low terminal: %q, want %q", got, low)
	}
}

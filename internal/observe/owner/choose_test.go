package owner

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/lab/labtest"
)

const ownNet, otherNet = "net:[4026531840]", "net:[4026532999]"

// town is a host with two HAProxys, one of which drains, an nginx, a container
// and what else is about.
func town(t *testing.T) string {
	t.Helper()
	const (
		haproxy = "/usr/sbin/haproxy"
		unit    = "0::/system.slice/haproxy.service\n"
	)
	return fakeProc(t, map[int]fake{
		1: {comm: "systemd", exe: "/usr/lib/systemd/systemd", cgroup: "0::/init.scope\n", started: 1, namespace: ownNet, fds: []string{"socket:[1]"}},
		2: {comm: "kthreadd", started: 1},
		// A master without a listener, the worker that listens, the old one that drains.
		100: {comm: "haproxy", exe: haproxy, cgroup: unit, parent: 1, started: 10, namespace: ownNet, fds: []string{"pipe:[9]"}},
		101: {comm: "haproxy", exe: haproxy, cgroup: unit, parent: 100, started: 90, namespace: ownNet, fds: []string{"socket:[443]", "socket:[444]"}},
		102: {comm: "haproxy", exe: haproxy, cgroup: unit, parent: 100, started: 11, namespace: ownNet, fds: []string{"socket:[5000]"}},
		// One of its own, elsewhere, with the same program and the same parent.
		110: {comm: "haproxy", exe: haproxy, cgroup: "0::/user.slice/session-3.scope\n", parent: 1, started: 12, namespace: ownNet, fds: []string{"socket:[8443]"}},
		// From a shell: a master, its worker and an old one, one of its own, and
		// one that another of the same shell took over from.
		500: {comm: "envoy", exe: "/usr/bin/envoy", cgroup: "0::/user.slice/session-4.scope\n", parent: 7, started: 50, namespace: ownNet},
		501: {comm: "envoy", exe: "/usr/bin/envoy", cgroup: "0::/user.slice/session-4.scope\n", parent: 500, started: 99, namespace: ownNet, fds: []string{"socket:[9000]"}},
		502: {comm: "envoy", exe: "/usr/bin/envoy", cgroup: "0::/user.slice/session-4.scope\n", parent: 500, started: 51, namespace: ownNet, fds: []string{"socket:[5001]"}},
		503: {comm: "envoy", exe: "/usr/bin/envoy", cgroup: "0::/user.slice/session-4.scope\n", parent: 7, started: 52, namespace: ownNet, fds: []string{"socket:[9001]"}},
		504: {comm: "envoy", exe: "/usr/bin/envoy", cgroup: "0::/user.slice/session-4.scope\n", parent: 7, started: 49, namespace: ownNet, fds: []string{"socket:[5002]"}},
		505: {comm: "envoy", exe: "/usr/bin/envoy", cgroup: "0::/docker/" + id2 + "\n", parent: 7, started: 53, namespace: ownNet, fds: []string{"socket:[5003]"}},
		// nginx in a container with a namespace of its own, on the same port.
		200: {comm: "nginx", exe: "/usr/sbin/nginx", cgroup: "0::/system.slice/docker-" + id1 + ".scope\n", parent: 1, started: 20, namespace: otherNet, fds: []string{"socket:[9443]"}},
		201: {comm: "nginx", exe: "/usr/sbin/nginx", cgroup: "0::/system.slice/docker-" + id1 + ".scope\n", parent: 200, started: 21, namespace: otherNet, fds: []string{"socket:[9443]"}},
		// An application and its interpreter's other programs.
		300: {comm: "python3", exe: "/usr/bin/python3.11", cgroup: "0::/system.slice/app.service\n", parent: 1, started: 30, namespace: ownNet},
		301: {comm: "python3", exe: "/usr/bin/python3.11", cgroup: "0::/system.slice/app.service/web\n", parent: 300, started: 31, namespace: ownNet, fds: []string{"socket:[8000]"}},
		302: {comm: "a-long-program-", exe: "/opt/a-long-program-name (deleted)", cgroup: "9:name=systemd:/old\n0::/\n", parent: 300, started: 32, namespace: ownNet},
		// Ended, and the parent has not noticed; and one that ends while it is read.
		400: {comm: "nginx", exe: "/usr/sbin/nginx", cgroup: "0::/\n", state: "Z", started: 40},
		401: {},
		402: {comm: "nginx", exe: "/bin/sh", started: 41, namespace: ownNet, cgroup: "0::/\n"},
	})
}

var townListeners = []Listener{
	{443, netip.MustParseAddrPort("0.0.0.0:443"), 4026531840},
	{444, netip.MustParseAddrPort("192.0.2.1:443"), 4026531840},
	{8443, netip.MustParseAddrPort("[::]:8443"), 4026531840},
	{9443, netip.MustParseAddrPort("[::]:443"), 4026532999},
	{9000, netip.MustParseAddrPort("[::]:9000"), 4026531840},
	{9001, netip.MustParseAddrPort("[::]:9001"), 4026531840},
	{8000, netip.MustParseAddrPort("127.0.0.1:8000"), 4026531840},
}

func TestChoose(t *testing.T) {
	proc := town(t)
	link := filepath.Join(t.TempDir(), "proxy")
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(proc, "302", "exe")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program+" (deleted)", filepath.Join(proc, "302", "exe")); err != nil {
		t.Fatal(err)
	}
	port := func(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
	tests := []struct {
		name string
		sel  Selector
		want []int
	}{
		{"nothing", Selector{}, nil},
		{"name", Selector{Name: "haproxy"}, []int{100, 101, 102, 110}},
		{"a name longer than the kernel keeps", Selector{Name: "a-long-program-name"}, []int{302}},
		{"program", Selector{Exe: "/usr/sbin/nginx"}, []int{200, 201}},
		{"program by a link, replaced by its upgrade", Selector{Exe: link}, []int{302}},
		{"unit", Selector{Unit: "haproxy.service"}, []int{100, 101, 102}},
		{"unit without its kind", Selector{Unit: "haproxy"}, []int{100, 101, 102}},
		{"container", Selector{Container: id1[:12]}, []int{200, 201}},
		{"cgroup", Selector{Cgroup: "/system.slice/app.service/web"}, []int{301}},
		{"a cgroup above", Selector{Cgroup: "/system.slice/app.service/"}, []int{300, 301}},
		{"not one that begins alike", Selector{Cgroup: "/system.slice/app"}, nil},
		{"all that is set must match", Selector{Name: "haproxy", Unit: "session-3.scope"}, []int{110}},
		{"and nothing does", Selector{Name: "nginx", Unit: "haproxy.service"}, nil},
		{"software: by the program, whatever the name", Selector{Software: "nginx"}, []int{200, 201}},
		{"a listener on all addresses, with master and old worker, but not the other server", Selector{Listens: port("198.51.100.1:443"), Software: "haproxy"}, []int{100, 101, 102}},
		{"the very address", Selector{Listens: port("192.0.2.1:443")}, []int{100, 101, 102, 200, 201}},
		{"any address, in every namespace", Selector{Listens: port("[::]:443")}, []int{100, 101, 102, 200, 201}},
		{"IPv4 on a listener for both", Selector{Listens: port("192.0.2.9:8443")}, []int{110}},
		{"IPv6 not on one for IPv4", Selector{Listens: port("[2001:db8::1]:443")}, []int{200, 201}},
		{"a server without a service: by parentage, and who drains beside it", Selector{Listens: port("127.0.0.1:9000")}, []int{500, 501, 502, 504}},
		{"of an interpreter only who listens", Selector{Listens: port("127.0.0.1:8000")}, []int{301}},
		{"nobody listens there", Selector{Listens: port("127.0.0.1:9")}, nil},
		{"one listens there, by another name", Selector{Listens: port("127.0.0.1:8000"), Name: "haproxy"}, nil},
	}
	var all []Selector
	for _, tt := range tests {
		all = append(all, tt.sel)
	}
	together, limits, err := Choose(proc, all, townListeners)
	// No mount of cgroup v2 is listed there: no id is known.
	if err != nil || limits.Unreadable+limits.Programs+limits.Cut != 0 || limits.Vanished != 1 {
		t.Errorf("limits %+v", limits)
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, pids(together[i])); diff != "" {
				t.Errorf("among others (-want +got)\n%s", diff)
			}
			alone, _, _ := Choose(proc, []Selector{tt.sel}, townListeners)
			if diff := cmp.Diff(together[i], alone[0], cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("alone (-among others +alone)\n%s", diff)
			}
		})
	}
	want := Chosen{
		Process:   Process{PID: 101, Name: "haproxy", Exe: "/usr/sbin/haproxy", Unit: "haproxy.service"},
		Started:   90,
		Parent:    100,
		Namespace: 4026531840,
	}
	if diff := cmp.Diff(want, together[1][1]); diff != "" {
		t.Errorf("as it is described (-want +got)\n%s", diff)
	}
}

// TestFamilyWithoutBudget: who listens nowhere is not known once no more
// descriptors may be read, so only parentage counts.
func TestFamilyWithoutBudget(t *testing.T) {
	proc := town(t)
	c := choice{
		proc: proc, hierarchy: openHierarchy(proc), selectors: []selector{{Selector: Selector{Software: "envoy"}}},
		rest: [][]int{{500, 502, 503, 504, 505}}, out: make([][]Chosen, 1), listening: map[uint64]bool{9000: true, 9001: true},
		search: search{proc: proc},
	}
	p, err := see(proc, 501)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := c.choose(p, []int{0}); err != nil {
		t.Fatal(err)
	}
	c.family(0)
	slices.SortFunc(c.out[0], byPID)
	if diff := cmp.Diff([]int{500, 501, 502}, pids(c.out[0])); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestChooseByALateDescriptor: a listener opened behind a thousand connections.
func TestChooseByALateDescriptor(t *testing.T) {
	var files []*os.File
	for range perSecond {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	ln, inode := listen(t)
	at := ln.Addr().(*net.TCPAddr).AddrPort()
	got, _, err := Choose("/proc", []Selector{{Listens: at}, {Listens: at, Name: self(t).Name}}, []Listener{{Inode: inode, Local: at}})
	if err != nil {
		t.Error(err)
	}
	for i := range got {
		if diff := cmp.Diff([]int{os.Getpid()}, pids(got[i])); diff != "" {
			t.Errorf("selector %d (-want +got)\n%s", i, diff)
		}
	}
}

func TestChooseSelf(t *testing.T) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &st); err != nil {
		t.Fatal(err)
	}
	got, _, _ := Choose("/proc", []Selector{{Exe: self(t).Exe}}, nil)
	if len(got[0]) != 1 {
		t.Fatalf("%d processes run %s, want this one", len(got[0]), self(t).Exe)
	}
	p := got[0][0]
	if diff := cmp.Diff(self(t), p.Process, withoutCgroup); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if p.Parent != os.Getppid() || uint64(p.Namespace) != st.Ino || p.Started == 0 {
		t.Errorf("%+v, want parent %d and namespace %d", p, os.Getppid(), st.Ino)
	}
}

// TestChooseUnprivileged: another user's program may not be read, so nobody is
// chosen by it, and that is said; by its name it is chosen.
func TestChooseUnprivileged(t *testing.T) {
	labtest.NeedRoot(t)
	ln, inode := listen(t)
	at := ln.Addr().(*net.TCPAddr).AddrPort()
	pid := child(t).PID
	name := self(t).Name
	sel := []Selector{{Exe: self(t).Exe}, {Name: name}, {Name: name, Listens: at}, {Exe: "/usr/sbin/haproxy", Name: "haproxy"}}
	var got [][]Chosen
	var limits Limits
	var err error
	labtest.OnThread(func() {
		labtest.BecomeNobody(t)
		got, limits, err = Choose("/proc", sel, []Listener{{Inode: inode, Local: at}})
	})
	var all [][]int
	own := os.Getpid()
	for _, chosen := range got {
		// The same test may run twice on this machine.
		all = append(all, slices.DeleteFunc(pids(chosen), func(p int) bool { return p != own && p != pid }))
	}
	// A process may always read itself.
	both := []int{own, pid}
	slices.Sort(both) // pids begin anew after the last
	if diff := cmp.Diff([][]int{{own}, both, {own}, nil}, all); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if limits.Programs == 0 || limits.Unreadable == 0 || limits.Namespaces == 0 || err != nil {
		t.Errorf("limits %+v; want programs, descriptors and namespaces that may not be read counted", limits)
	}
}

func TestChooseWithoutProc(t *testing.T) {
	got, limits, err := Choose(filepath.Join(t.TempDir(), "gone"), []Selector{{Name: "x"}}, nil)
	if len(got) != 1 || len(got[0]) != 0 || err == nil {
		t.Errorf("%v, %+v", got, limits)
	}
	if got, limits, err := Choose("/nowhere", []Selector{{}, {}}, nil); err != nil || len(got) != 2 || limits != (Limits{}) {
		t.Errorf("nothing was asked for, yet %v, %+v", got, limits)
	}
}

func TestBalancer(t *testing.T) {
	tests := []struct{ name, exe, want string }{
		{"haproxy", "/usr/sbin/haproxy", "haproxy"},
		{"haproxy", "", "haproxy"},
		{"haproxy", "/usr/bin/python3.11", ""},
		{"main", "/usr/sbin/haproxy-2.8", "haproxy"},
		{"haproxy24", "/opt/haproxy24", "haproxy"},
		{"haproxy_export", "/usr/bin/haproxy_exporter", ""},
		{"traefik", "/traefik", "traefik"},
		{"traefik_linux-a", "/opt/traefik_linux-amd64", "traefik"},
		{"traefik", "/opt/traefik-v3.6.12", "traefik"},
		{"traefik-certs-d", "/usr/bin/traefik-certs-dumper", ""},
		{"nginx", "/usr/sbin/nginx", "nginx"},
		{"nginx", "/usr/sbin/nginx-debug", "nginx"},
		{"nginx-ingress-c", "/nginx-ingress-controller", ""},
		{"nginx-ingress-c", "", ""},
		{"apache2", "/usr/sbin/apache2", "apache"},
		{"httpd", "/usr/sbin/httpd", "apache"},
		{"httpd", "/bin/busybox", ""},
		{"httpd-prefork", "/usr/sbin/httpd-prefork", "apache"},
		{"lighttpd", "/usr/sbin/lighttpd", ""},
		{"apachectl", "/bin/sh", ""},
		{"envoy", "/usr/local/bin/envoy", "envoy"},
		{"caddy", "/usr/bin/caddy", "caddy"},
		{"caddyshack", "/usr/bin/caddyshack", ""},
		{"", "", ""},
	}
	for _, tt := range tests {
		if got := Balancer(tt.name, tt.exe); got != tt.want {
			t.Errorf("name %q, program %q: %q, want %q", tt.name, tt.exe, got, tt.want)
		}
	}
	for _, s := range Balancers() {
		if Balancer(s.Software, "") != s.Software && s.Software != "apache" {
			t.Errorf("%q is not recognised by its own name", s.Software)
		}
	}
	if len(Balancers()) != 6 {
		t.Errorf("%d balancers, want 6", len(Balancers()))
	}
}

func TestReasons(t *testing.T) {
	want := []string{
		"1 process: descriptors may not be read (it takes CAP_SYS_PTRACE)",
		"2 processes: the program may not be read, so they are not chosen by it (it takes CAP_SYS_PTRACE)",
		"3 processes: the network namespace may not be read (it takes CAP_SYS_PTRACE)",
		"4 processes: the cgroup v2 id is not known, so their sockets are told by descriptors only",
		"5 processes: not searched to the end, as there is too much to read at once",
	}
	got := Limits{Unreadable: 1, Vanished: 9, Programs: 2, Namespaces: 3, Cgroups: 4, Cut: 5}.Reasons()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := (Limits{Vanished: 3}).Reasons(); got != nil {
		t.Errorf("nothing to report, yet %q", got)
	}
}

package nameserver_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/drain"
	"github.com/foreshock/foreshock/internal/observe/nameserver"
	"github.com/foreshock/foreshock/internal/reply"
	"github.com/foreshock/foreshock/internal/scope"
)

// The live world: real servers on loopback, each at a port of its own: 5300 and
// its number. 2 and 3 serve the zones, 4 is a secondary of the second zone that is never told of
// changes; the others are resolvers, which ask 2, but for those that serve stale
// answers: they ask 3, which dies at the flip.
const (
	liveTTL = 5
	// liveFor bounds the test; it takes 10 s where nothing else runs.
	liveFor = 60 * time.Second
)

var oldLive, newLive = netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("198.51.100.7")

// live is one resolver of the world, and how it must be classed at the end.
type live struct {
	n       int
	label   string
	program string // and its configuration
	conf    string
	want    string // the class, and how Why begins
	honest  bool
}

const unbound = `server:
  username: ""
  chroot: ""
  directory: "%[1]s"
  pidfile: ""
  use-syslog: no
  interface: 127.0.0.1@53%02[2]d
  do-not-query-localhost: no
  local-zone: "test." nodefault
  num-threads: 1
  %[3]s
remote-control:
  control-enable: no
stub-zone:
  name: "shop.test."
  stub-addr: 127.0.0.1@53%02[4]d
`

const bind = `options {
  directory "%[1]s"; pid-file none; session-keyfile none; listen-on-v6 { none; };
  listen-on port 53%02[2]d { 127.0.0.1; }; dnssec-validation no; notify no; empty-zones-enable no;
  %[3]s
};
controls { };
`

const forward = `zone "shop.test" { type forward; forward only; forwarders { 127.0.0.1 port 53%02d; }; };`

func resolvers(dir string) []live {
	u := func(n int, own string, zone int) string { return fmt.Sprintf(unbound, dir, n, own, zone) }
	b := func(n int, own string, zone int) string {
		return fmt.Sprintf(bind, dir, n, own) + fmt.Sprintf(forward, zone)
	}
	d := func(n int, own string) string {
		return fmt.Sprintf("port=53%02d\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nuser=root\nserver=127.0.0.1#5302\npid-file=\n%s\n", n, own)
	}
	const plain = "module-config: \"iterator\"\n"
	return []live{
		{11, "unbound", "unbound", u(11, plain, 2), "new new addresses alone", true},
		{12, "unbound, cache-min-ttl", "unbound", u(12, plain+"  cache-min-ttl: 900\n", 2), "old_beyond old", false},
		{13, "dnsmasq", "dnsmasq", d(13, ""), "new new addresses alone", true},
		{14, "dnsmasq, min-cache-ttl", "dnsmasq", d(14, "min-cache-ttl=900"), "old_beyond old", false},
		{15, "unbound, serve-expired", "unbound", u(15, plain+"  serve-expired: yes\n  ede: yes\n  ede-serve-expired: yes\n", 3), "serving_stale old, and it says itself", false},
		{16, "unbound, serve-expired, silent", "unbound", u(16, plain+"  serve-expired: yes\n", 3), "serving_stale old, with a TTL of 30 s", false},
		{17, "BIND", "named", b(17, "recursion yes;", 2), "new new addresses alone", true},
		{18, "BIND, serve-stale", "named", b(18, "recursion yes; stale-cache-enable yes; stale-answer-enable yes; stale-answer-client-timeout 0;", 3), "serving_stale old, and it says itself", false},
		{19, "unbound, DNSSEC", "unbound", u(19, "module-config: \"validator iterator\"\n  trust-anchor: \"shop.test. DS 12345 13 2 0000000000000000000000000000000000000000000000000000000000000000\"\n", 2),
			"error unbound, DNSSEC (127.0.0.1:5319) does not believe the answer for shop.test", true},
	}
}

// zoneFile is the zone with one address.
func zoneFile(name string, serial int, address netip.Addr) string {
	return fmt.Sprintf("$TTL %d\n@ SOA ns1.%[2]s. root.%[2]s. %[3]d 3600 600 86400 1\n@ NS ns1.%[2]s.\nns1 A 127.0.0.2\n@ A %[4]s\n", liveTTL, name, serial, address)
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// started runs a program until the test ends, and returns it.
func started(t *testing.T, dir, label, program string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(find(t, program), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(dir, strings.ReplaceAll(label, " ", "_")+".log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			said, _ := os.ReadFile(log.Name())
			t.Logf("%s said:\n%s", label, said[max(0, len(said)-800):])
		}
	})
	return cmd
}

func find(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		path = "/usr/sbin/" + program // not everybody's PATH has it
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is not installed: install the packages bind9, unbound and dnsmasq-base", program)
	}
	return path
}

// TestLiveZoo flips a name before real resolvers, honest and other ones.
func TestLiveZoo(t *testing.T) {
	for _, program := range []string{"named", "unbound", "dnsmasq"} {
		find(t, program)
	}
	dir := t.TempDir()
	primary, dies := liveZones(t, dir)
	client := nameserver.Client{Dialer: &net.Dialer{}, Now: time.Now}
	var zoo drain.Zoo
	sw, err := scope.NewSwitch("shop.test", []netip.Addr{oldLive}, []netip.Addr{newLive})
	if err != nil {
		t.Fatal(err)
	}
	zoo.Follow(sw)
	all := resolvers(dir)
	servers := []reply.Server{{Address: liveAt(2), Label: "ns1", Role: reply.Authoritative, Zone: "shop.test"}}
	for _, r := range all {
		conf := write(t, filepath.Join(dir, fmt.Sprintf("%d.conf", r.n)), r.conf)
		switch r.program {
		case "named":
			started(t, dir, r.label, "named", "-g", "-n", "1", "-c", conf)
		case "unbound":
			started(t, dir, r.label, "unbound", "-d", "-c", conf)
		case "dnsmasq":
			started(t, dir, r.label, "dnsmasq", "-k", "--conf-file="+conf)
		}
		servers = append(servers, reply.Server{Address: liveAt(r.n), Label: r.label, Role: reply.Configured})
	}
	zoo.Expect(servers)
	// Everybody has the old address before the flip.
	liveUntil(t, func() string {
		for _, s := range servers {
			a := client.Ask(t.Context(), s, "shop.test")
			if zoo.Take(a); !slices.Equal(a.Addresses, []netip.Addr{oldLive}) && a.Failure != reply.Bogus {
				return fmt.Sprintf("%s: %v %s %v", s.Label, a.Failure, a.Words, a.Addresses)
			}
		}
		return ""
	})
	write(t, filepath.Join(dir, "shop.test"), zoneFile("shop.test", 9, newLive))
	if err := dies.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := primary.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	sw.Since = time.Now()
	zoo.Follow(sw)
	want := map[string]string{"ns1": "new new addresses alone"}
	for _, r := range all {
		want[r.label] = r.want
	}
	liveUntil(t, func() string {
		for _, s := range servers {
			zoo.Take(client.Ask(t.Context(), s, "shop.test"))
		}
		got := map[string]string{}
		for _, r := range zoo.Resolvers(time.Now()) {
			got[r.Label] = string(r.Class) + " " + r.Why
			if strings.HasPrefix(got[r.Label], want[r.Label]) {
				got[r.Label] = want[r.Label]
			}
			at := slices.IndexFunc(all, func(l live) bool { return l.label == r.Label })
			if at >= 0 && all[at].honest && (r.Class == drain.ClassOldBeyond || r.Class == drain.ClassServStale) {
				t.Fatalf("%s is honest, and accused: %s", r.Label, r.Why)
			}
		}
		return cmp.Diff(want, got)
	})
	for _, r := range zoo.Resolvers(time.Now()) {
		t.Logf("%s: %s, %s; most TTL %g s, %v", r.Label, r.Class, r.Why, r.MostTTLSeconds, r.Extended)
	}
}

// TestLiveSecondary: a secondary that is behind is that, and no extender.
func TestLiveSecondary(t *testing.T) {
	find(t, "named")
	dir := t.TempDir()
	primary, _ := liveZones(t, dir)
	conf := write(t, filepath.Join(dir, "4.conf"), fmt.Sprintf(bind, dir, 4, "recursion no;")+
		`zone "mail.test" { type secondary; primaries port 5302 { 127.0.0.1; }; file "mail.secondary"; };`)
	started(t, dir, "secondary", "named", "-g", "-n", "1", "-c", conf)
	client := nameserver.Client{Dialer: &net.Dialer{}, Now: time.Now}
	servers := []reply.Server{
		{Address: liveAt(2), Label: "ns1", Role: reply.Authoritative, Zone: "mail.test"},
		{Address: liveAt(4), Label: "ns2", Role: reply.Authoritative, Zone: "mail.test"},
	}
	sw, err := scope.NewSwitch("mail.test", []netip.Addr{oldLive}, []netip.Addr{newLive})
	if err != nil {
		t.Fatal(err)
	}
	var zoo drain.Zoo
	zoo.Expect(servers)
	ask := func(want map[string]string) func() string {
		return func() string {
			for _, s := range servers {
				zoo.Take(client.Ask(t.Context(), s, "mail.test"))
			}
			got := map[string]string{}
			for _, r := range zoo.Resolvers(time.Now()) {
				got[r.Label] = fmt.Sprintf("%s %s %d", r.Class, r.Why, r.Serial)
			}
			return cmp.Diff(want, got)
		}
	}
	zoo.Follow(sw)
	liveUntil(t, ask(map[string]string{"ns1": "old_in_ttl old, before the switch 7", "ns2": "old_in_ttl old, before the switch 7"}))
	write(t, filepath.Join(dir, "mail.test"), zoneFile("mail.test", 9, newLive))
	if err := primary.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	sw.Since = time.Now().Add(-time.Hour) // seen at zero seconds, to the whole
	zoo.Follow(sw)
	liveUntil(t, ask(map[string]string{
		"ns1": "new new addresses alone, seen first 3600 s after the switch 9",
		"ns2": "old_in_ttl old: a secondary that is behind, serial 7 of 9; caches that ask it get the old addresses again 7",
	}))
}

// liveZones starts the two servers that hold the zones.
func liveZones(t *testing.T, dir string) (primary, dies *exec.Cmd) {
	t.Helper()
	for _, name := range []string{"shop.test", "mail.test"} {
		write(t, filepath.Join(dir, name), zoneFile(name, 7, oldLive))
	}
	write(t, filepath.Join(dir, "shop.copy"), zoneFile("shop.test", 7, oldLive))
	zones := func(n int, shop string) string {
		return write(t, filepath.Join(dir, fmt.Sprintf("%d.conf", n)), fmt.Sprintf(bind, dir, n, "recursion no; allow-transfer { any; };")+fmt.Sprintf(
			"zone \"shop.test\" { type primary; file \"%s\"; };\nzone \"mail.test\" { type primary; file \"mail.test\"; };\n", shop))
	}
	primary = started(t, dir, "primary", "named", "-g", "-n", "1", "-c", zones(2, "shop.test"))
	dies = started(t, dir, "dies", "named", "-g", "-n", "1", "-c", zones(3, "shop.copy"))
	return primary, dies
}

func liveAt(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 5300+uint16(n))
}

// liveUntil repeats until nothing is amiss.
func liveUntil(t *testing.T, amiss func() string) {
	t.Helper()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(liveFor); ; <-tick.C {
		said := amiss()
		if said == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after %v: %s", liveFor, said)
		}
	}
}

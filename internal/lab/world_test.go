package lab_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
)

// traces returns what of the world called name is left on this machine:
// names, mounts, directories, and processes in its namespaces.
func traces(t *testing.T, name string, namespaces map[string]bool) []string {
	t.Helper()
	var left []string
	for _, pattern := range []string{"/run/netns/" + name + "*", "/run/" + name + "*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, found...)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, name) {
			left = append(left, line)
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		if link, err := os.Readlink(p); err == nil && namespaces[link] {
			left = append(left, p)
		}
	}
	return left
}

// links returns what /proc shows for processes inside the namespaces of the
// world called name.
func links(t *testing.T, name string) map[string]bool {
	t.Helper()
	names, err := filepath.Glob("/run/netns/" + name + "*")
	if err != nil {
		t.Fatal(err)
	}
	links := map[string]bool{}
	for _, n := range names {
		var st unix.Stat_t
		if err := unix.Stat(n, &st); err != nil {
			t.Fatal(err)
		}
		links[fmt.Sprintf("net:[%d]", st.Ino)] = true
	}
	return links
}

func TestWorldLeavesNothing(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{
		{Name: "server", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("203.0.113.9")}},
		{Name: "client"},
	}})
	server, client := w.Host("server"), w.Host("client")
	web := labtest.Serve(t, server, lab.ApachePrefork{Workers: 3})
	app := labtest.Serve(t, server, lab.App{Listen: netip.MustParseAddrPort("0.0.0.0:9000")})
	if _, err := client.StartLoad(t.Context(), lab.Load{URL: web.URL("/sleep?ms=5000"), Rate: []lab.RatePoint{{PerSecond: 5}}, Duration: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Populate(t.Context(), lab.Population{Sockets: 100}); err != nil {
		t.Fatal(err)
	}
	// A process that nobody stops.
	stray := server.Command(t.Context(), "sleep", "1000")
	if err := stray.Start(); err != nil {
		t.Fatal(err)
	}
	for _, addr := range server.Addrs() {
		err := client.Do(func() error {
			conn, err := net.DialTimeout("tcp4", netip.AddrPortFrom(addr, app.Addr().Port()).String(), 5*time.Second)
			if err == nil {
				err = conn.Close()
			}
			return err
		})
		if err != nil {
			t.Errorf("the client does not reach the server's address %v: %v", addr, err)
		}
	}
	for _, h := range []*lab.Host{server, client} {
		if n, err := h.Buckets(); err != nil || n != 4096 {
			t.Errorf("%s has a hash table of %d buckets (%v), want its own of 4096", h.Path(), n, err)
		}
	}

	inside := links(t, w.Name())
	if got := traces(t, w.Name(), inside); len(got) < 10 {
		t.Fatalf("the search for traces finds only %q of a living world", got)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_ = stray.Wait()
	if diff := cmp.Diff([]string(nil), traces(t, w.Name(), inside)); diff != "" {
		t.Errorf("left after Close (-want +got):\n%s", diff)
	}
	if err := w.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := server.Serve(t.Context(), lab.App{}); err == nil {
		t.Error("a closed world starts a server")
	}
}

func TestSharedTable(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "only"}}, Buckets: -1})
	n, err := w.Host("only").Buckets()
	if err != nil || n >= 0 {
		t.Errorf("Buckets() = %d, %v; want a negative number: the machine's table is shared", n, err)
	}
}

func TestConfigRefused(t *testing.T) {
	for name, cfg := range map[string]lab.Config{
		"no hosts":         {},
		"a name twice":     {Hosts: []lab.HostConfig{{Name: "a"}, {Name: "a"}}},
		"a bad name":       {Hosts: []lab.HostConfig{{Name: "../a"}}},
		"an IPv6 address":  {Hosts: []lab.HostConfig{{Name: "a", Addrs: []netip.Addr{netip.MustParseAddr("2001:db8::1")}}}},
		"no such router":   {Hosts: []lab.HostConfig{{Name: "a", Router: "b"}, {Name: "b"}}},
		"its own router":   {Hosts: []lab.HostConfig{{Name: "a", Router: "a"}}},
		"a second router":  {Hosts: []lab.HostConfig{{Name: "a"}, {Name: "b", Router: "a"}, {Name: "c", Router: "b"}}},
		"an address twice": {Hosts: []lab.HostConfig{{Name: "a", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.1")}}}},
		"a void address":   {Hosts: []lab.HostConfig{{Name: "a", Addrs: []netip.Addr{lab.Void().Addr()}}}},
		"a huge table":     {Hosts: []lab.HostConfig{{Name: "a"}}, Buckets: 1 << 25},
	} {
		w, err := lab.New(t.Context(), cfg)
		if err == nil {
			t.Errorf("%s: accepted", name)
			_ = w.Close()
		} else if errors.Is(err, lab.ErrUnavailable) {
			t.Errorf("%s: %v, want the fault named", name, err)
		}
	}
}

// TestReapAfterKill kills a process that has a world and a server with workers
// of its own, and reaps.
func TestReapAfterKill(t *testing.T) {
	labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "probe"}}}) // or skip
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), doomedVariable+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	name, err := bufio.NewReader(out).ReadString('\n')
	name = strings.TrimSpace(name)
	if err != nil || !strings.HasPrefix(name, "fs-") {
		t.Fatalf("the child said %q (%v), want the name of its world", name, err)
	}
	inside := links(t, name)

	if removed, err := lab.Reap(); err != nil || strings.Contains(strings.Join(removed, " "), name) {
		t.Fatalf("Reap() = %q, %v while the owner of %s lives", removed, err, name)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	before := traces(t, name, inside)
	if len(before) < 6 {
		t.Fatalf("the killed owner left only %q: nothing is shown", before)
	}
	t.Logf("left by the killed owner: %q", before)

	if _, err := lab.Reap(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string(nil), traces(t, name, inside)); diff != "" {
		t.Errorf("left after Reap (-want +got):\n%s", diff)
	}
}

// doomed makes a world and never ends by itself.
func doomed() error {
	w, err := lab.New(context.Background(), lab.Config{Hosts: []lab.HostConfig{{Name: "router"}, {Name: "server", Router: "router"}}})
	if err != nil {
		return err
	}
	err = w.Host("router").Treat(context.Background(), w.Host("server"), lab.Treatment{Loss: 100})
	if missing := (*lab.ErrMissing)(nil); err != nil && !errors.As(err, &missing) {
		return err
	}
	_, err = w.Host("server").Serve(context.Background(), lab.ApachePrefork{Workers: 3})
	if missing := (*lab.ErrMissing)(nil); err != nil && !errors.As(err, &missing) {
		return err
	}
	if _, err := w.Host("server").Populate(context.Background(), lab.Population{Sockets: 100}); err != nil {
		return err
	}
	fmt.Println(w.Name())
	select {}
}

// TestDoSurvivesGoexit holds that a function that leaves its goroutine inside
// Do is an error, not a hang.
func TestDoSurvivesGoexit(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "only"}}})
	err := w.Host("only").Do(func() error {
		(&testing.T{}).SkipNow()
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "goroutine") {
		t.Errorf("Do = %v, want an error about the goroutine", err)
	}
}

func TestFaults(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "server"}, {Name: "client"}}})
	server, client := w.Host("server"), w.Host("client")
	app := labtest.Serve(t, server, lab.App{Listen: netip.AddrPortFrom(server.Addr(), 9000)})
	send := func() lab.Outcome {
		t.Helper()
		run, err := client.StartLoad(t.Context(), lab.Load{
			URL: app.URL("/"), Rate: []lab.RatePoint{{PerSecond: 10}}, Duration: 100 * time.Millisecond, Timeout: 500 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		records, err := run.Wait(t.Context())
		if err != nil || len(records) != 1 {
			t.Fatalf("got %d records, %v; want one", len(records), err)
		}
		return records[0].Outcome
	}
	var got []lab.Outcome
	got = append(got, send())
	labtest.Need(t, client.Blackhole(t.Context(), server))
	got = append(got, send())
	labtest.Need(t, server.Heal(t.Context()))
	got = append(got, send())
	if err := app.Stop(); err != nil {
		t.Fatal(err)
	}
	got = append(got, send())
	if diff := cmp.Diff([]lab.Outcome{lab.OK, lab.Timeout, lab.OK, lab.Refused}, got); diff != "" {
		t.Errorf("healthy, blackholed, healed, stopped (-want +got):\n%s", diff)
	}
	labtest.Need(t, client.Loss(t.Context(), server, 12.5))
	rules, err := server.Command(t.Context(), "nft", "list", "ruleset").CombinedOutput()
	if err != nil || !strings.Contains(string(rules), "numgen random mod 10000 < 1250 drop") {
		t.Errorf("rules after 12.5 %% loss: %v\n%s", err, rules)
	}
	if err := client.Loss(t.Context(), server, 101); err == nil {
		t.Error("a loss of 101 percent is accepted")
	}
	if err := client.Blackhole(t.Context(), client); err == nil {
		t.Error("a blackhole to oneself is accepted")
	}
}

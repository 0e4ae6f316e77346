package lab_test

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
)

func TestServers(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "server"}, {Name: "client"}}})
	server, client := w.Host("server"), w.Host("client")
	for _, test := range []struct {
		name     string
		software lab.Software
	}{
		{"app", lab.App{Listen: netip.AddrPortFrom(server.Addr(), 80)}},
		{"prefork", lab.ApachePrefork{Workers: 2, KeepAlive: true}},
		{"event", lab.ApacheEvent{Workers: 30}},
		{"nginx", lab.Nginx{KeepAlive: true}},
		{"haproxy", lab.HAProxy{Check: time.Second}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := labtest.Serve(t, server, test.software)
			run, err := client.StartLoad(t.Context(), lab.Load{
				URL: s.URL("/sleep?ms=20"), Rate: []lab.RatePoint{{PerSecond: 20}}, Duration: 500 * time.Millisecond, KeepAlive: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			records, err := run.Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got := lab.Summarize(records, time.Minute).Outcomes
			if diff := cmp.Diff(map[lab.Outcome]int{lab.OK: 10}, got); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s\n%s", diff, s.Log())
			}
			if s.StatsSocket() != "" {
				if answer, err := s.Admin(t.Context(), "show stat"); err != nil || !strings.Contains(answer, "pxname") {
					t.Errorf("show stat answers %q, %v", answer, err)
				}
			}
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
			err = client.Do(func() error {
				conn, err := net.DialTimeout("tcp4", s.Addr().String(), time.Second)
				if err == nil {
					_ = conn.Close()
				}
				return err
			})
			if err == nil {
				t.Errorf("%v still answers after Stop", s.Addr())
			}
		})
	}
}

// TestPreforkSaturates sends six requests of 0.5 s at once to three workers:
// three are served at once, three wait in the accept queue for as long again.
func TestPreforkSaturates(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "server"}, {Name: "client"}}})
	web := labtest.Serve(t, w.Host("server"), lab.ApachePrefork{Workers: 3})
	run, err := w.Host("client").StartLoad(t.Context(), lab.Load{
		URL: web.URL("/sleep?ms=500"), Rate: []lab.RatePoint{{PerSecond: 60}}, Duration: 100 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	records, err := run.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := lab.Summarize(records, time.Minute).Outcomes[lab.OK]; got != 6 {
		t.Fatalf("%d of 6 answered: %+v\n%s", got, records, web.Log())
	}
	// A worker serves for 0.5 s: the fourth answer is a worker's second.
	slices.SortFunc(records, func(a, b lab.Record) int { return a.End().Compare(b.End()) })
	if between := records[3].End().Sub(records[0].End()); between < 450*time.Millisecond {
		t.Errorf("the fourth answer came %s after the first: nobody waited for a worker: %+v", between, records)
	}
}

// TestStartFailures holds that a server that cannot start says why.
func TestStartFailures(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "server"}}})
	server := w.Host("server")
	web := labtest.Serve(t, server, lab.ApachePrefork{})
	if _, err := server.Serve(t.Context(), lab.ApachePrefork{}); err == nil || !strings.Contains(err.Error(), "something else answers") {
		t.Errorf("a second server on port 80: %v", err)
	}
	if err := web.Stop(); err != nil {
		t.Fatal(err)
	}
	// Bound, but not listening.
	err := server.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
		return unix.Bind(fd, &unix.SockaddrInet4{Port: 80})
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Serve(t.Context(), lab.ApachePrefork{}); err == nil || !strings.Contains(err.Error(), "Address already in use") {
		t.Errorf("a server on a bound port: %v, want its own words", err)
	}
	if _, err := server.Serve(t.Context(), lab.ApachePrefork{Workers: -1}); err == nil {
		t.Error("a server with -1 workers starts")
	}
}

// TestReload: the files are those of another configuration, where the server
// answers is not, and who asks it meanwhile is in nobody's way, which the race
// detector watches.
func TestReload(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "balancer"}}})
	app := netip.MustParseAddrPort("192.0.2.1:8080")
	with := func(backends int) lab.HAProxy {
		return lab.HAProxy{Reloads: true, Backends: slices.Repeat([]netip.AddrPort{app}, backends)}
	}
	balancer := labtest.Serve(t, w.Host("balancer"), with(1))
	addr := balancer.Addr()
	asked := make(chan string)
	go func() { asked <- balancer.Addr().String() + balancer.StatsSocket() }()
	if err := balancer.Reload(t.Context(), with(3)); err != nil {
		t.Fatal(err)
	}
	<-asked
	file, err := os.ReadFile(filepath.Join(balancer.Dir(), "haproxy.cfg"))
	if err != nil || !strings.Contains(string(file), "server s3 ") || balancer.Addr() != addr {
		t.Errorf("reloaded it answers at %s, was at %s: %v\n%s", balancer.Addr(), addr, err, file)
	}
	for name, other := range map[string]lab.Software{
		"another program":          lab.Nginx{Upstreams: []netip.AddrPort{app}},
		"one that does not reload": lab.HAProxy{Backends: []netip.AddrPort{app}},
	} {
		if err := balancer.Reload(t.Context(), other); err == nil {
			t.Errorf("it is reloaded as %s", name)
		}
	}
}

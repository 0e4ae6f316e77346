package limits

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/scope"
)

func TestMain(m *testing.M) {
	lab.Child()
	os.Exit(m.Run())
}

func TestLive(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "server"}}})
	for _, test := range []struct {
		name, comm string
		software   lab.Software
		want       scope.Workers // Origin: its beginning
	}{
		{"prefork", "apache2", lab.ApachePrefork{Workers: 7}, prefork(7, "MaxRequestWorkers 7, ", "")},
		{"event", "apache2", lab.ApacheEvent{Workers: 60}, event(75, "MaxRequestWorkers 75, ", "")},
		{"nginx", "nginx", lab.Nginx{Workers: 2, Connections: 40}, scope.Workers{
			Software: "nginx", Held: scope.HeldByRequest, TurnsAway: true, Limit: 38, Origin: "worker_processes 2 (",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := labtest.Serve(t, w.Host("server"), test.software)
			settled(t, s.PID())
			got, stamp, ok := Of("/proc", s.PID(), test.comm, "", []netip.AddrPort{s.Addr()})
			if !ok {
				t.Fatal("not known")
			}
			if !strings.HasPrefix(got.Origin, test.want.Origin) {
				t.Errorf("origin %q", got.Origin)
			}
			got.Origin = test.want.Origin
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if stamp.Changed() {
				t.Error("changed at once")
			}
			m := process{"/proc", s.PID()}
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
			if m.started() == 0 && !stamp.Changed() {
				t.Error("the end went unnoticed")
			}
		})
	}
}

// settled waits until a server starts no more processes: it answers before the
// last of them.
func settled(t *testing.T, pid int) {
	t.Helper()
	var last time.Time
	same := 0
	for range 500 {
		youngest := process{"/proc", pid}.youngestChild()
		if same++; youngest.IsZero() || !youngest.Equal(last) {
			last, same = youngest, 0
		}
		if same == 20 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the server goes on starting processes")
}

// TestLiveNginxConnections holds half-sent requests until nginx takes no more:
// the limit is what it really holds.
func TestLiveNginxConnections(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "server"}}})
	host := w.Host("server")
	s := labtest.Serve(t, host, lab.Nginx{Connections: 20})
	got, _, _ := Of("/proc", s.PID(), "nginx", "", nil)
	// The lab's nginx passes requests on, for which the limit is halved; half
	// a request has no upstream yet.
	want := 2 * got.Limit
	held := 0
	err := host.Do(func() error {
		var conns []net.Conn
		defer func() {
			for _, c := range conns {
				_ = c.Close()
			}
		}()
		for range 40 {
			c, err := net.DialTimeout("tcp", s.Addr().String(), time.Second)
			if err != nil {
				return err
			}
			conns = append(conns, c)
			// nginx closes what it has no room for.
			_, _ = fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n")
		}
		for _, c := range conns {
			// A deadline of its own: one that has passed hides that nginx closed.
			_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if _, err := c.Read(make([]byte, 1)); os.IsTimeout(err) {
				held++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if held != want {
		t.Errorf("nginx held %d connections, the limit without halving is %d: %+v", held, want, got)
	}
}

// TestLiveApacheReload changes the file under a running Apache and reloads it.
func TestLiveApacheReload(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "server"}}})
	s := labtest.Serve(t, w.Host("server"), lab.ApachePrefork{Workers: 5})
	conf, pid := filepath.Join(s.Dir(), "apache.conf"), filepath.Join(s.Dir(), "apache.pid")
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	// Both are put back in time, so that the test need not wait for slack.
	past := time.Now().Add(-time.Minute)
	if err := os.WriteFile(conf, append(text, "MaxRequestWorkers 3\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	future := time.Now().Add(time.Minute)
	if err := os.Chtimes(conf, future, future); err != nil {
		t.Fatal(err)
	}
	// It is written a moment after Apache listens.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := os.Chtimes(pid, past, past)
		if err == nil {
			break
		}
		if !os.IsNotExist(err) || time.Now().After(end) {
			t.Fatal(err)
		}
	}
	got, stamp, _ := Of("/proc", s.PID(), "apache2", "", nil)
	if got.Limit != 3 || !strings.Contains(got.Problem, "newer than the running server") {
		t.Errorf("changed: %+v", got)
	}
	if err := syscall.Kill(s.PID(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	// The youngest child, which the stamp goes by, is there before the pid file.
	anew := func() bool {
		st, err := os.Stat(pid)
		return err == nil && st.ModTime().After(past)
	}
	for end := time.Now().Add(10 * time.Second); !stamp.Changed() || !anew(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("noticed: %v, pid file written anew: %v: %s", stamp.Changed(), anew(), s.Log())
		}
	}
}

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/scope"
)

// journal collects log lines.
type journal struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{}
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, string(b))
	close(j.more)
	j.more = make(chan struct{})
	return len(b), nil
}

// wait returns once a line holds text.
func (j *journal) wait(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		j.mu.Lock()
		more := j.more
		for _, l := range j.lines {
			if strings.Contains(l, text) {
				j.mu.Unlock()
				return
			}
		}
		j.mu.Unlock()
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("the log never said %q: %q", text, j.lines)
		}
	}
}

var anyPort = netip.MustParseAddrPort("127.0.0.1:0")

func defaults() (config.Config, string, error) { return config.Default(), "", nil }

// from loads a file, as the command does.
func from(file string) func() (config.Config, string, error) {
	return func() (config.Config, string, error) {
		cfg, err := config.Load(file)
		return cfg, file, err
	}
}

// running starts an agent on a free port and returns its address and log.
func running(t *testing.T, o Options) (address string, log *journal) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	log = &journal{more: make(chan struct{})}
	ready := make(chan string, 1)
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	if !o.Listen.IsValid() {
		o.Listen = anyPort
	}
	if o.StateDir == "" {
		o.StateDir = t.TempDir()
	}
	o.Announce = func(_ *api.Snapshot, base string) { ready <- strings.TrimPrefix(base, "http://") }
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case address = <-ready:
		return address, log
	case err := <-ended:
		ended <- nil
		t.Fatalf("Run ended at its start: %v", err)
	case <-time.After(20 * time.Second):
		t.Fatal("the agent is not ready after 20 s")
	}
	return "", nil
}

// listening is a listener of this process, which nobody accepts from.
func listening(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// self is the path of this very program.
func self(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func get[T any](t *testing.T, address, path string) T {
	t.Helper()
	var out T
	resp, err := http.Get("http://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s: %v", path, resp.Status, err)
	}
	return out
}

// TestReload: SIGHUP takes over a new configuration, keeps the old one when
// the new one is wrong, and says so.
func TestReload(t *testing.T) {
	l := listening(t)
	file := filepath.Join(t.TempDir(), "foreshock.yaml")
	there := filepath.Join(filepath.Dir(file), "there.yaml")
	write(t, file, "name: before")
	address, log := running(t, Options{Version: "test", Load: func() (config.Config, string, error) {
		if _, err := os.Stat(there); err == nil { // as a default file that is made after the start
			return from(there)()
		}
		return from(file)()
	}})
	named := func() bool {
		for _, s := range get[api.Scopes](t, address, "/api/v1/scopes").Scopes {
			if s.Kind == scope.KindService.String() && s.Name == "shop" && s.Configured {
				return true
			}
		}
		return false
	}
	if named() {
		t.Fatal("the service has its name before it was given")
	}
	hangup := func() {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	good := "services: [{name: shop, listen: [\"" + l.Addr().String() + "\"]}]\n"
	write(t, file, good)
	hangup()
	log.wait(t, "reloaded")
	for i := 0; !named(); i++ {
		if i == 100 {
			t.Fatal("the reloaded service never showed")
		}
		time.Sleep(50 * time.Millisecond) // the next snapshot
	}
	write(t, file, "servces: []\nnme: x\n")
	hangup()
	log.wait(t, "foreshock.yaml:1:1")
	log.wait(t, "foreshock.yaml:2:1") // each problem has its own line
	if !named() {
		t.Error("a wrong configuration took the place of the good one")
	}
	write(t, there, "name: after\nlisten: 127.0.0.1:1\ntoken: {env: T}\n"+good)
	hangup()
	log.wait(t, `keys="name, token"`) // listen is decided by the option
	log.wait(t, "there.yaml")
}

// TestAcknowledgeIsSeen: whoever is told that it is done sees it done.
func TestAcknowledgeIsSeen(t *testing.T) {
	t.Setenv("FORESHOCK_TEST_TOKEN", "let me in")
	file := filepath.Join(t.TempDir(), "foreshock.yaml")
	write(t, file, "token: {env: FORESHOCK_TEST_TOKEN}\nrules: [{name: always, when: host.passive_opens_per_second >= 0, hold: 1s}]\n")
	address, log := running(t, Options{Load: from(file), Version: "test"})
	log.wait(t, "incident open")
	for _, inc := range get[api.Incidents](t, address, "/api/v1/incidents?state=open").Incidents {
		path := fmt.Sprintf("/api/v1/incidents/%d", inc.ID)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+path+"/acknowledge", strings.NewReader(`{"by": "ann"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer let me in")
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if got := get[api.Incident](t, address, path); resp.StatusCode != http.StatusNoContent || got.AcknowledgedBy != "ann" {
			t.Errorf("%s: %s, and then taken by %q", path, resp.Status, got.AcknowledgedBy)
		}
	}
}

// TestAbandoned: SIGHUP ends an agent that was started by hand and whose
// terminal is closed; else it reloads.
func TestAbandoned(t *testing.T) {
	log := &journal{more: make(chan struct{})}
	gone, ready, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- Run(t.Context(), Options{
			Load: defaults, Listen: anyPort, StateDir: t.TempDir(), Log: slog.New(slog.NewTextHandler(log, nil)), Announce: func(*api.Snapshot, string) { close(ready) },
			Abandoned: func() bool {
				select {
				case <-gone:
					return true
				default:
					return false
				}
			},
		})
	}()
	<-ready
	for _, want := range []string{"reloaded", "its terminal was closed"} {
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		log.wait(t, want)
		if want == "reloaded" {
			close(gone)
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestEventsEndWithTheAgent: an open event stream does not hold up the end;
// running's clean-up asserts that Run returns nil.
func TestEventsEndWithTheAgent(t *testing.T) {
	address, _ := running(t, Options{Load: defaults, Version: "test"})
	resp, err := http.Get("http://" + address + "/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if _, err := resp.Body.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
}

func TestPortInUse(t *testing.T) {
	l := listening(t)
	err := Run(t.Context(), Options{Load: defaults, StateDir: t.TempDir(), Listen: netip.MustParseAddrPort(l.Addr().String()), Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("Run on a port in use: %v", err)
	}
}

func TestUnreadableToken(t *testing.T) {
	cfg := config.Default()
	cfg.Token = config.Secret{File: filepath.Join(t.TempDir(), "absent")}
	err := Run(t.Context(), Options{Load: func() (config.Config, string, error) { return cfg, "", nil }, Listen: anyPort, StateDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Run with a token that is not there: %v", err)
	}
}

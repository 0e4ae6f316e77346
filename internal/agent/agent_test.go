package agent

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
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

// running starts an agent on a free port and returns its address and log.
func running(t *testing.T, o Options) (address string, log *journal) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	log = &journal{more: make(chan struct{})}
	ready := make(chan string, 1)
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	o.Listen = "127.0.0.1:0"
	o.Announce = func(_ *api.Snapshot, address string) { ready <- address }
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
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file := filepath.Join(t.TempDir(), "foreshock.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("name: before")
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	address, log := running(t, Options{Config: cfg, ConfigPath: file, Version: "test"})
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
	write(good)
	hangup()
	log.wait(t, "reloaded")
	for i := 0; !named(); i++ {
		if i == 100 {
			t.Fatal("the reloaded service never showed")
		}
		time.Sleep(50 * time.Millisecond) // the next snapshot
	}
	write("servces: []\n")
	hangup()
	log.wait(t, "foreshock.yaml:1:1")
	if !named() {
		t.Error("a wrong configuration took the place of the good one")
	}
}

// TestEventsEndWithTheAgent: an open event stream does not hold up the end;
// running's clean-up asserts that Run returns nil.
func TestEventsEndWithTheAgent(t *testing.T) {
	address, _ := running(t, Options{Config: config.Default(), Version: "test"})
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
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = Run(t.Context(), Options{Config: config.Default(), Listen: l.Addr().String(), Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("Run on a port in use: %v", err)
	}
}

func TestUnreadableToken(t *testing.T) {
	cfg := config.Default()
	cfg.Token = config.Secret{File: filepath.Join(t.TempDir(), "absent")}
	err := Run(t.Context(), Options{Config: cfg, Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Run with a token that is not there: %v", err)
	}
}

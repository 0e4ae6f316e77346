package agent

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/notify"
)

// deadMan is a dead man's switch whose path is a secret.
type deadMan struct {
	*httptest.Server
	beats  chan string // the paths; nobody waits for room
	status atomic.Int64
}

func newDeadMan(t *testing.T) *deadMan {
	t.Helper()
	d := &deadMan{beats: make(chan string, 100)}
	d.status.Store(http.StatusOK)
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(int(d.status.Load()))
		select {
		case d.beats <- r.URL.Path:
		default:
		}
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *deadMan) wait(t *testing.T, path string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case got := <-d.beats:
			if got == path {
				return
			}
		case <-deadline:
			t.Fatalf("%s was never asked", path)
		}
	}
}

func (d *deadMan) to(t *testing.T, path string) *notify.Switch {
	t.Helper()
	s, err := notify.NewSwitch(d.URL+path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestHeartbeat: it beats while the loop is alive and not else; what fails is
// tried again, said once and counted; another address is told at once.
func TestHeartbeat(t *testing.T) {
	log := &journal{more: make(chan struct{})}
	var alive atomic.Bool
	alive.Store(true)
	d := newDeadMan(t)
	asked := make(chan bool, 1) // whether the loop is alive
	h := newHeart(slog.New(slog.NewTextHandler(log, nil)), func() bool {
		select {
		case asked <- true:
		default:
		}
		return alive.Load()
	})
	ended := make(chan error, 1)
	go func() { ended <- h.run(t.Context()) }()
	t.Cleanup(func() { // after the context
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	const often = 5 * time.Millisecond
	h.configure(d.to(t, "/s3cret"), often)
	d.wait(t, "/s3cret")
	d.wait(t, "/s3cret")

	d.status.Store(http.StatusInternalServerError)
	log.wait(t, "heartbeat: it is not heard")
	d.status.Store(http.StatusOK)
	log.wait(t, "heartbeat: it is heard again")

	alive.Store(false) // the loop is stuck
	log.wait(t, "heartbeat: withheld")
	for len(d.beats) > 0 { // what was on its way
		<-d.beats
	}
	sent := h.shown().Sent
	for range 10 {
		<-asked
	}
	if s := h.shown(); s.State != api.HeartbeatWithheld || s.Sent != sent || len(d.beats) > 0 {
		t.Errorf("of a loop that is stuck %d beats came: %+v", len(d.beats), s)
	}
	alive.Store(true)
	d.wait(t, "/s3cret")

	h.configure(d.to(t, "/other"), time.Hour)
	d.wait(t, "/other")
	for h.shown().State != api.HeartbeatWorking {
		time.Sleep(time.Millisecond)
	}
	s := h.shown()
	if s.Sent <= sent || s.Failures == 0 || s.Withheld != 1 || s.Every != time.Hour || s.LastError == "" {
		t.Errorf("counts do not go on: %+v", s)
	}
	h.configure(nil, 0)
	if s := h.shown(); s.State != api.HeartbeatOff {
		t.Errorf("taken out: %+v", s)
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if all := strings.Join(log.lines, "") + s.LastError; strings.Contains(all, "s3cret") || strings.Count(all, "it is not heard") != 1 || strings.Count(all, "withheld") != 1 {
		t.Errorf("the log says %s", all)
	}
}

// TestLooksAreALifeSign: a loop that looked too long ago, or never, is not alive.
func TestLooksAreALifeSign(t *testing.T) {
	a := &agent{clock: NewClock()}
	a.started = a.clock.Now().Add(-time.Minute)
	var got []bool
	for _, looked := range []time.Duration{0, 40 * time.Second, 55 * time.Second} {
		a.looked.Store(int64(looked))
		got = append(got, a.looks())
	}
	if got[0] || got[1] || !got[2] {
		t.Errorf("never, long ago, lately: %v", got)
	}
}

// TestHeartbeatOfAnAgent: a real agent tells a real switch; the address is
// nowhere to be read; a reload takes another over, and refuses one that is none.
func TestHeartbeatOfAnAgent(t *testing.T) {
	d := newDeadMan(t)
	dir := t.TempDir()
	file, address := filepath.Join(dir, "foreshock.yaml"), filepath.Join(dir, "heartbeat.url")
	write(t, address, d.URL+"/s3cret\n")
	write(t, file, "heartbeat: {url: {file: "+address+"}, every: 10s}\n")
	at, log := running(t, Options{Load: from(file), Version: "test"})
	d.wait(t, "/s3cret")
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		s := get[api.Status](t, at, "/api/v1/status").Heartbeat
		if s.State == api.HeartbeatWorking && s.EverySeconds == 10 && s.Sent > 0 && s.LastSentAt != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the API says %+v", s)
		}
	}
	if text := body(t, at, "/metrics"); !strings.Contains(text, `foreshock_heartbeat_attempts_total{result="sent"}`) || strings.Contains(text, "s3cret") {
		t.Error("the metrics do not say so, or too much")
	}
	reload := func() {
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	write(t, address, d.URL+"/0ther\n")
	reload()
	d.wait(t, "/0ther")
	write(t, address, "s3cret, and no address")
	reload()
	log.wait(t, "not reloaded")
	for text := ""; !strings.Contains(text, "agent/configuration"); { // it is trouble, too
		if text = body(t, at, "/api/v1/incidents"); strings.Contains(text, "s3cret") {
			t.Fatal("an incident quotes the address")
		}
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if all := strings.Join(log.lines, ""); strings.Contains(all, "s3cret") {
		t.Errorf("the log has the address: %s", all)
	}
}

// body is the answer to GET.
func body(t *testing.T, address, path string) string {
	t.Helper()
	resp, err := http.Get("http://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	if err := resp.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

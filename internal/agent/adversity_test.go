package agent

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/tcp"
)

// openForReading counts the sockets and files of /proc that this process has
// open: what reading a namespace takes.
func openForReading(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && (strings.HasPrefix(to, "socket:") || strings.HasPrefix(to, "/proc/") || strings.HasPrefix(to, "net:")) {
			n++
		}
	}
	return n
}

// passing starts a process in a network namespace of its own, and returns what
// ends both.
func passing(t *testing.T) (id tcp.Namespace, end func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sleep", "600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Skipf("no process in a network namespace of its own: %v", err)
	}
	id, _ = netns.Of("/proc", cmd.Process.Pid)
	return id, func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
}

// TestGlanceStaysHome: a glance and the demo look at no other namespace, as
// they say.
func TestGlanceStaysHome(t *testing.T) {
	_, end := passing(t)
	defer end()
	h, err := newOwnHost(config.Default(), observe.Auto)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for i := range time.Duration(3) { // one that may pass is not opened by the first scan
		if _, err := h.Tick(start.Add(i*time.Minute), Turn{h.of[h.own.schedule], tcp.Pulse}); err != nil || len(h.others) > 0 {
			t.Fatalf("%d other namespaces are read (%v)", len(h.others), err)
		}
	}
}

// TestPassingNamespaces: namespaces come and go by the hundred while a steady
// one is read; it goes on being read, and nothing of the others stays.
func TestPassingNamespaces(t *testing.T) {
	_, label, address, _ := shop(t)
	h := newHost(t, lavish(), label)
	now := start
	step := func(span time.Duration) {
		t.Helper()
		if _, err := play(h, now, span); err != nil {
			t.Fatal(err)
		}
		now = now.Add(span)
	}
	step(6 * time.Second)
	steady := h.resident(label)
	if steady == nil {
		t.Fatalf("namespace %s is not read", label)
	}
	// Between two scans of 2 s some are there for none, for one and for more.
	const rounds, together = 12, 8
	var living []func()
	most, passed, labels := 0, map[tcp.Namespace]bool{}, map[string]bool{}
	before, descriptors := steady.status[tcp.Pulse].looks, openForReading(t)
	began := len(h.others)
	for i := range rounds {
		for range together {
			id, end := passing(t)
			passed[id] = true
			living = append(living, end)
		}
		_, end := passing(t)
		end()
		step(2 * time.Second)
		read := 0
		for _, r := range h.others {
			if passed[r.space.ID] {
				read++
				labels[r.place.name] = true
			}
		}
		most = max(most, read)
		if i >= 3 {
			for _, end := range living[:together] {
				end()
			}
			living = living[together:]
		}
	}
	if most == 0 {
		t.Error("none of them was ever read: the test shows nothing")
	}
	if after := steady.status[tcp.Pulse].looks; h.resident(label) != steady || after-before < rounds || steady.failures > 0 {
		t.Errorf("%d looks at the steady namespace in %d s, %d failed on end", after-before, 2*rounds, steady.failures)
	}
	for _, end := range living {
		end()
	}
	step(10 * time.Second)
	if h.resident(label) != steady || !h.listensAt(label, address.Port()) {
		t.Error("the steady namespace is no longer read")
	}
	for _, r := range h.others {
		if passed[r.space.ID] {
			t.Errorf("namespace %s ended and is still read", r.place.name)
		}
	}
	// Other namespaces of this machine may have come, and each takes a few; a
	// hundred that stayed would take hundreds.
	if now, more := openForReading(t), max(0, len(h.others)-began); now > descriptors+8*(more+1) {
		t.Errorf("%d descriptors are open, %d before, with %d namespaces more: those of namespaces that ended stay", now, descriptors, more)
	}
	if n := len(h.of); n != len(h.others)+1 {
		t.Errorf("%d schedules for %d namespaces", n, len(h.others)+1)
	}
	for _, name := range h.court.Gone() {
		if labels[name] {
			t.Errorf("namespace %s ended without an incident and is remembered", name)
		}
	}
}

// listensAt reports whether the last pulse saw a listener at that port there.
func (h *Host) listensAt(label string, port uint16) bool {
	r := h.resident(label)
	if r == nil {
		return false
	}
	for i := range r.listeners.rows {
		if r.listeners.rows[i].Local.Port() == port {
			return true
		}
	}
	return false
}

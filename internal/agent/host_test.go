package agent

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/dial"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// shop is a world of one namespace, in which nobody accepts from a listener.
func shop(t *testing.T) (w *lab.World, label string, address netip.AddrPort, closeListener func()) {
	t.Helper()
	w = labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "shop"}}})
	fd := -1
	err := w.Host("shop").Do(func() error {
		var err error
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 8080}); err != nil {
			return err
		}
		return unix.Listen(fd, 16)
	})
	if err != nil {
		t.Fatal(err)
	}
	closeListener = func() { _ = unix.Close(fd); fd = -1 }
	t.Cleanup(func() {
		if fd >= 0 {
			closeListener()
		}
	})
	return w, filepath.Base(w.Host("shop").Path()), netip.MustParseAddrPort("127.0.0.1:8080"), closeListener
}

// lavish is a configuration whose budget leaves no scan waiting, however many
// processes the machine has.
func lavish() config.Config {
	cfg := config.Default()
	cfg.Observe.CPUBudget = config.MaxCPUBudget
	return cfg
}

// ours are our own namespace, those of this name, and those that processes
// started by this test made: what else the machine runs is none of its business.
func ours(label string) func(netns.Found) bool {
	return func(f netns.Found) bool {
		if f.Own || f.Name == label {
			return true
		}
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", f.PID))
		if err != nil {
			return false // it has ended
		}
		// After the name, which may hold anything: state and parent. proc(5).
		fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
		return len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid())
	}
}

// newHost opens a Host on the test's thread, which then is its own, for the
// namespaces that are ours.
func newHost(t *testing.T, cfg config.Config, label string) *Host {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	// How often it scans depends on what a scan costs, and so on how busy this
	// machine is: with a large budget hardly.
	cfg.Observe.CPUBudget = config.MaxCPUBudget
	h, err := NewHost(cfg, nil, observe.Auto, dial.New())
	if err != nil {
		t.Fatal(err)
	}
	h.only = ours(label)
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// play lets the host look at its own pace, in a time that only the test moves;
// the sockets are real.
func play(h *Host, from time.Time, span time.Duration) (incidents []judge.Incident, err error) {
	for now := from; ; {
		turn, at := h.Next(now)
		if at.Sub(from) >= span {
			return incidents, nil
		}
		now = at
		// Namespaces of others may end within a look; those of the test do not.
		if incidents, err = h.Tick(now, turn); err != nil && turn.of.place.name == "" {
			return incidents, err
		}
		h.budget.Spent(now, 0)
		// How long a search waits for the next depends on what it costs, and so
		// on how busy this machine is.
		h.scanAt, h.searchAt = earlier(h.scanAt, now.Add(scanEvery)), earlier(h.searchAt, now.Add(rediscoverAfter))
		now = now.Add(time.Millisecond)
	}
}

func (h *Host) resident(label string) *resident {
	i := slices.IndexFunc(h.others, func(r *resident) bool { return r.place.name == label })
	if i < 0 {
		return nil
	}
	return h.others[i]
}

// TestAnotherNamespace follows a namespace from its beginning to its end: its
// service is found within two scans, its incident has a scope of its own and
// ends when the namespace does.
func TestAnotherNamespace(t *testing.T) {
	w, label, address, closeListener := shop(t)
	cfg := lavish()
	cfg.Services = []config.Service{{Name: "till", Listen: []netip.AddrPort{netip.MustParseAddrPort("[::]:8080")}}}
	h := newHost(t, cfg, label)
	must := func(incidents []judge.Incident, err error) []judge.Incident {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return incidents
	}
	// Two scans, a pulse there, and the search for the holder, who is outside.
	must(play(h, start, 11*time.Second))
	r := h.resident(label)
	if r == nil {
		t.Fatalf("namespace %s is not read after two scans; status %+v", label, h.roster.Status())
	}
	id := scope.ID{Kind: scope.KindService, Name: "till", Namespace: label}
	if i := slices.IndexFunc(h.services(), func(s scope.Service) bool { return s.ID() == id }); i < 0 || !h.services()[i].Configured || !slices.Equal(h.services()[i].Listen, cfg.Services[0].Listen) {
		t.Errorf("%d services, none of them the configured %s", len(h.services()), id)
	}
	if own := (scope.ID{Kind: scope.KindService, Name: "till"}); slices.ContainsFunc(h.limits(), func(l api.Limit) bool {
		return l.Subject == own.String() && strings.Contains(l.Reason, "nothing listens")
	}) {
		t.Error("a service that a container serves is said to be missing on the host")
	}

	for range 5 {
		var c net.Conn
		if err := w.Host("shop").Do(func() (err error) { c, err = net.Dial("tcp", address.String()); return err }); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	incidents := must(play(h, start.Add(11*time.Second), 30*time.Second))
	view := h.view()
	if s := view.Scope(id); s == nil || s.Get(measure.QueueDepth).Value != 5 {
		t.Fatalf("queue of %s: %+v, want 5", id, s)
	}
	for _, want := range []scope.ID{scope.Host, scope.Rest, scope.Host.In(label), scope.Rest.In(label)} {
		if view.Scope(want) == nil {
			t.Errorf("no scope %s", want)
		}
	}
	i := slices.IndexFunc(incidents, func(i judge.Incident) bool { return i.Finding.Scope == id && i.State == judge.Open })
	if i < 0 || incidents[i].Finding.Cause != judge.WorkersFull {
		t.Fatalf("incidents %+v, want workers_full open on %s", incidents, id)
	}
	number := incidents[i].ID
	seen := map[uint64]bool{}
	for _, inc := range incidents {
		if seen[inc.ID] {
			t.Errorf("two incidents of number %d", inc.ID)
		}
		seen[inc.ID] = true
	}
	if !h.Acknowledge(start.Add(42*time.Second), number, "the test") {
		t.Errorf("incident %d cannot be acknowledged", number)
	}

	closeListener()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	incidents = must(play(h, start.Add(44*time.Second), 20*time.Second))
	if h.resident(label) != nil {
		t.Errorf("namespace %s ended and is still read: its readers keep it alive", label)
	}
	view = h.view()
	if view.Scope(id) != nil {
		t.Errorf("%s is still a scope", id)
	}
	i = slices.IndexFunc(incidents, func(i judge.Incident) bool { return i.ID == number })
	if i < 0 || incidents[i].State != judge.Resolved || incidents[i].End != judge.ScopeGone || incidents[i].AcknowledgedBy != "the test" {
		t.Errorf("incidents %+v, want %d resolved as its scope is gone", incidents, number)
	}
}

// TestHostNamespaceOnly: the configuration may keep the agent to its own, also
// while it runs.
func TestHostNamespaceOnly(t *testing.T) {
	_, label, _, _ := shop(t)
	cfg := lavish()
	h := newHost(t, cfg, label)
	if _, err := play(h, start, 6*time.Second); err != nil || h.resident(label) == nil {
		t.Fatalf("namespace %s is not read: %v", label, err)
	}
	cfg.Observe.Namespaces = config.HostNamespace
	h.Configure(start.Add(6*time.Second), cfg, nil)
	if len(h.others) != 0 || len(h.of) != 1 {
		t.Errorf("%d other namespaces are read after the reload", len(h.others))
	}
	if _, err := play(h, start.Add(6*time.Second), 10*time.Second); err != nil || len(h.others) != 0 {
		t.Errorf("%d other namespaces are read later: %v", len(h.others), err)
	}
	cfg.Observe.Namespaces = config.AllNamespaces
	h.Configure(start.Add(16*time.Second), cfg, nil)
	if _, err := play(h, start.Add(16*time.Second), 6*time.Second); err != nil || h.resident(label) == nil {
		t.Errorf("namespace %s is not read again: %v", label, err)
	}
}

// TestRestartedContainer: a namespace that is back under its name goes on with
// its incidents.
func TestRestartedContainer(t *testing.T) {
	_, label, _, _ := shop(t)
	h := newHost(t, lavish(), label)
	always, err := rule.Compile("always", "host.active_opens_per_second >= 0")
	labtest.Need(t, err)
	h.Configure(start, lavish(), []rule.Rule{{Name: "always", When: always, Severity: rule.Warning}})
	there := func(from, span time.Duration) judge.Incident {
		t.Helper()
		incidents, err := play(h, start.Add(from), span)
		labtest.Need(t, err)
		i := slices.IndexFunc(incidents, func(i judge.Incident) bool { return i.Finding.Scope == scope.Host.In(label) })
		if i < 0 {
			t.Fatalf("no incident in namespace %s among %+v", label, incidents)
		}
		return incidents[i]
	}
	before := there(0, 8*time.Second)
	r := h.resident(label)
	h.leave(start.Add(8*time.Second), r.space.ID)
	if gone := h.court.Gone(); !slices.Equal(gone, []string{label}) {
		t.Fatalf("%q are remembered, want %s", gone, label)
	}
	labtest.Need(t, h.join(r.space))
	after := there(8*time.Second, 6*time.Second)
	if after.ID != before.ID || after.State != judge.Open || len(h.court.Gone()) > 0 {
		t.Errorf("the namespace that is back begins anew: incident %d is %s, was %d; %q are still remembered", after.ID, after.State, before.ID, h.court.Gone())
	}
}

// TestUnprivileged: without any privilege the other namespaces are read
// through the files of their processes, and the limits say what is lost.
func TestUnprivileged(t *testing.T) {
	w, _, address, _ := shop(t)
	sleeper := w.Host("shop").Command(t.Context(), "sleep", "600")
	if err := sleeper.Start(); err != nil {
		t.Skipf("sleep cannot be started: %v", err)
	}
	defer func() { _ = sleeper.Process.Kill(); _ = sleeper.Wait() }()
	type outcome struct {
		found  bool
		reader string
		limits []api.Limit
		err    error
	}
	var out outcome
	labtest.OnThread(func() {
		labtest.BecomeNobody(t)
		var h *Host
		if h, out.err = NewHost(lavish(), nil, observe.Auto, dial.New()); out.err != nil {
			return
		}
		defer h.Close()
		h.only = ours("")
		if _, out.err = play(h, start, 12*time.Second); out.err != nil {
			return
		}
		for _, r := range h.others {
			if slices.ContainsFunc(r.services, func(s scope.Service) bool { return slices.Contains(s.Listen, address) }) && r.space.PID == sleeper.Process.Pid {
				out.found, out.reader = true, r.status[tcp.Pulse].last.Reader
			}
		}
		out.limits = h.limits()
	})
	if out.err != nil {
		t.Fatal(out.err)
	}
	if !out.found || out.reader != string(observe.Procfs) {
		t.Errorf("the listener in the other namespace was found: %v, by %q", out.found, out.reader)
	}
	for _, want := range []string{"/proc/PID/net is read instead", "permission denied"} {
		if !slices.ContainsFunc(out.limits, func(l api.Limit) bool { return strings.Contains(l.Reason, want) }) {
			t.Errorf("the limits do not say %q: %+v", want, out.limits)
		}
	}
}

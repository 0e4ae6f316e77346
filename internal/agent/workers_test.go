package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// TestLoopDoesNotWaitForFiles: a server whose files do not answer stops no
// look, is asked once, is said to be slow, and is taken over when it answers.
func TestLoopDoesNotWaitForFiles(t *testing.T) {
	p := pipeline(t, config.Default(), observe.Auto)
	if _, err := tickWhole(p, start, tcp.Pulse); err != nil {
		t.Fatal(err)
	}
	p.services = []scope.Service{{Name: "web", Process: "nginx", Exe: "/usr/sbin/nginx", PIDs: []int{1 << 30}}}
	p.tallier.SetScopes(p.services, nil)
	p.listeners.accept()
	var held []func()
	full := true
	p.place.processes.read = func(work func()) bool {
		if full {
			return false
		}
		held = append(held, work)
		return true
	}
	problem := func(after time.Duration) string {
		p.look.Begin = start.Add(after)
		p.capacities()
		return p.services[0].Workers.Problem
	}
	for _, after := range []time.Duration{0, 10 * time.Second, slowLimits - 1} {
		full = after == 0 // no reader is free at first
		if got := problem(after); got != "" {
			t.Errorf("after %v: %s", after, got)
		}
	}
	if len(held) != 1 {
		t.Fatalf("asked %d times at once", len(held))
	}
	if got := problem(slowLimits); !strings.Contains(got, "does not answer") {
		t.Errorf("after %v: %q", slowLimits, got)
	}
	held[0]()
	if got := problem(slowLimits + 10*time.Second); !strings.Contains(got, "cannot be reached") {
		t.Errorf("after the answer: %q", got)
	}
}

// TestUnknownServersAreAskedOnce: what is no server that is known is not asked
// for again while it is the same program.
func TestUnknownServersAreAskedOnce(t *testing.T) {
	p := pipeline(t, config.Default(), observe.Auto)
	p.services = []scope.Service{{Name: "app", Process: "app", Exe: "/opt/app", PIDs: []int{1 << 30}}}
	p.tallier.SetScopes(p.services, nil)
	asked := 0
	p.place.processes.read = func(work func()) bool { asked++; work(); return true }
	for range 5 {
		p.capacities()
	}
	p.services[0].Exe = "/opt/app2"
	p.capacities()
	if asked != 2 {
		t.Errorf("asked %d times for two programs", asked)
	}
}

func TestReadersAreBounded(t *testing.T) {
	read, release := limitReader(), make(chan struct{})
	for i := range readAtOnce {
		if !read(func() { <-release }) {
			t.Fatalf("only %d readers", i)
		}
	}
	if read(func() {}) {
		t.Error("one more than there may be")
	}
	close(release)
}

// TestAnswersAreNotAskedForAgain: an answer that comes between two readings is
// taken over by the next pulse, and calls for no reading itself.
func TestAnswersAreNotAskedForAgain(t *testing.T) {
	p := pipeline(t, config.Default(), observe.Auto)
	if _, err := tickWhole(p, start, tcp.Pulse); err != nil {
		t.Fatal(err)
	}
	p.services = []scope.Service{{Name: "web", Process: "nginx", Exe: "/usr/sbin/nginx", PIDs: []int{1 << 30}}}
	p.tallier.SetScopes(p.services, nil)
	var held []func()
	p.place.processes.read = func(work func()) bool { held = append(held, work); return true }
	p.capacities()
	for _, work := range held {
		work()
	}
	p.takeLimits(start)
	if got := p.services[0].Workers.Problem; !strings.Contains(got, "cannot be reached") || len(held) != 1 {
		t.Errorf("%q after %d questions", got, len(held))
	}
}

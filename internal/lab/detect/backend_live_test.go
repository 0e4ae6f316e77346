package detect

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/lab/trace"
)

// recorded plays a backend's cell that is cut short and returns its trace.
func recorded(t *testing.T, name string, before, after time.Duration) []trace.Line {
	t.Helper()
	i := slices.IndexFunc(BackendCells(), func(c BackendCell) bool { return c.Name == name })
	cell := BackendCells()[i]
	cell.At, cell.Load.Duration = before, before+after
	return traced(t, func(out io.Writer) error {
		return RecordBackend(t.Context(), cell, out, func(line string) { t.Log(line) })
	})
}

// traced is the trace that a recorder writes.
func traced(t *testing.T, record func(io.Writer) error) (lines []trace.Line) {
	t.Helper()
	var out bytes.Buffer
	labtest.Need(t, record(&out))
	for in := json.NewDecoder(&out); ; {
		var line trace.Line
		if err := in.Decode(&line); errors.Is(err, io.EOF) {
			return lines
		} else if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
}

// TestFaultsShow: each fault shows in the balancer's sockets to the backend
// that has it as the kernel is known to show it, and on no other backend. It
// holds the stage, its events and the recorder against real balancers.
func TestFaultsShow(t *testing.T) {
	if testing.Short() {
		t.Skip("real balancers under load for half a minute: left out with -short")
	}
	t.Parallel()
	established := func(r trace.Remote) bool { return r.States["established"] > 0 }
	for _, test := range []struct {
		cell string
		// shows is what the fault must show at some time after it, and must
		// not show before or on the other backends.
		shows func(trace.Remote) bool
	}{
		{"haproxy-blackholed", func(r trace.Remote) bool { return r.Retransmitting["established"]+r.Retransmitting["syn_sent"] > 0 }},
		{"haproxy-hang", func(r trace.Remote) bool { return len(r.PendingFor) > 0 && r.PendingFor[0] > 1 }},
		{"nginx-kept-killed", func(r trace.Remote) bool { return !established(r) }},
		{"apache-frozen", func(r trace.Remote) bool { return len(r.PendingFor) > 0 && r.PendingFor[0] > 1 }},
	} {
		t.Run(test.cell, func(t *testing.T) {
			t.Parallel()
			lines := recorded(t, test.cell, 4*time.Second, 5*time.Second)
			if len(lines) < 10 {
				t.Fatalf("%d looks in 9 s", len(lines))
			}
			seen, used := 0, 0
			for _, line := range lines {
				failing := line.Remotes["10.77.0.5:8080"]
				switch {
				case line.Since > 0 && test.shows(failing):
					seen++
				case line.Since < 0 && line.Since > -2 && test.shows(failing):
					t.Errorf("it shows %.1f s before the fault: %+v", -line.Since, failing)
				}
				if line.Since < -2 {
					continue // connections are still being made
				}
				for _, sibling := range []string{"10.77.0.6:8080", "10.77.0.7:8080"} {
					r := line.Remotes[sibling]
					if established(r) {
						used++
					}
					if test.shows(r) {
						t.Errorf("%+.1f s: it shows on a sibling: %+v", line.Since, r)
					}
				}
			}
			if seen == 0 || used == 0 {
				t.Errorf("it shows in %d looks, siblings are in use in %d", seen, used)
			}
		})
	}
}

// TestBackendIsKilled: a backend behind a real HAProxy is killed, and the agent
// names it and the cause before the balancer's own check does.
func TestBackendIsKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("a real balancer under load for most of a minute: left out with -short")
	}
	t.Parallel()
	i := slices.IndexFunc(BackendCells(), func(c BackendCell) bool { return c.Name == "haproxy-killed" })
	cell := BackendCells()[i]
	cell.At, cell.Load = 25*time.Second, clients(45*time.Second, 0, perSecond)
	out, err := RunBackend(t.Context(), With{Agent: program(t), Progress: func(line string) { t.Log(line) }}, cell, 0)
	labtest.Need(t, err)
	t.Log(out)
	for _, step := range out.Steps {
		t.Log(step)
	}
	if out.Cause != "peer_refusing" || out.First != "peer_refusing" {
		t.Errorf("named %q first, and %q right", out.First, out.Cause)
	}
	if out.Found == nil || out.Verdict == nil || *out.Found >= *out.Verdict {
		t.Errorf("found after %v, the balancer's own check after %v", out.Found, out.Verdict)
	}
	if out.Polls.Knew == 0 || len(out.Unseen) > 0 {
		t.Errorf("the agent knew of the backends in %+v, and never of %v", out.Polls, out.Unseen)
	}
	if len(out.Siblings)+len(out.Outside) > 0 {
		t.Errorf("findings on siblings %v and outside of the chain %v", out.Siblings, out.Outside)
	}
}

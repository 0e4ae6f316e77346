package detect

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/lab/labtest"
)

// TestRespond plays the workers article's response against a real Apache, in a
// hurry: the hook adds workers by a graceful reload and the later look says that
// it is resolved; a hook that fails is escalated at once; and an agent that is
// killed while its hook runs does not run it again.
func TestRespond(t *testing.T) {
	if testing.Short() {
		t.Skip("a live server under load for a minute: left out with -short")
	}
	binary := program(t)
	for _, cell := range ResponseCells(false) {
		t.Run(cell.Name, func(t *testing.T) {
			t.Parallel()
			r, err := RunResponse(t.Context(), binary, cell, func(line string) { t.Log(line) })
			labtest.Need(t, err)
			t.Log(r)
			check(t, cell, r)
		})
	}
}

// check holds what every run must show, but no times.
func check(t *testing.T, cell ResponseCell, r Response) {
	t.Helper()
	if r.HookRuns != 1 || r.Again != 0 || r.Told["ops"]["incidents"] == 0 {
		t.Errorf("the hook ran %d times; %d notices came again; told %v", r.HookRuns, r.Again, r.Told)
	}
	if r.Action("notify", "done") == nil || r.Action("gather", "done") == nil {
		t.Error("nobody was told, or nothing gathered")
	}
	switch {
	case cell.Fails:
		if a := r.Action("hook", "failed"); a == nil || a.What != "exit code 1: no host has room for more" {
			t.Errorf("the hook: %+v", a)
		}
		if r.Told["boss"]["escalation"] != 1 || r.Told["boss"]["follow_up"] > 1 { // and its incidents' ends
			t.Errorf("boss was told %v", r.Told["boss"])
		}
	case cell.Kill:
		if r.Action("hook", "interrupted") == nil || r.Action("hook", "done") != nil {
			t.Errorf("the hook was not interrupted: %+v", r.Actions)
		}
		if r.Told["boss"]["escalation"] != 1 || r.Told["boss"]["follow_up"] > 1 { // and its incidents' ends
			t.Errorf("boss was told %v", r.Told["boss"])
		}
	default:
		if a := r.Action("follow_up", "done"); a == nil || len(a.What) < 9 || a.What[:9] != "resolved:" {
			t.Errorf("the later look: %+v", a)
		}
		if r.Workers <= cell.Workers {
			t.Errorf("%d processes of Apache at the end", r.Workers)
		}
		if r.Told["boss"] != nil || r.Told["ops"]["follow_up"] != 1 {
			t.Errorf("told %v", r.Told)
		}
		if diff := cmp.Diff(map[string]int{"bundle": 1, "run": 1}, r.Evidence); diff != "" {
			t.Errorf("evidence (-want +got):\n%s", diff)
		}
	}
}

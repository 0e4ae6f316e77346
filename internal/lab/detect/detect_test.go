package detect

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
)

// The live tests run beside each other, as many as there are processors: each
// has a world of its own, and its agent reads that alone. What they hold is
// order, which a busy machine does not change.

func TestMain(m *testing.M) {
	lab.Child()
	dir, err := os.MkdirTemp("", "foreshock-detect-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "foreshock")
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// binary is the agent's, once built has made it.
var (
	binary string
	built  = sync.OnceValues(func() ([]byte, error) {
		return exec.Command("go", "build", "-o", binary, "../../../cmd/foreshock").CombinedOutput()
	})
)

// program builds the agent as a user does, once for all tests.
func program(t *testing.T) string {
	t.Helper()
	if out, err := built(); err != nil {
		t.Fatalf("build the agent: %v\n%s", err, out)
	}
	return binary
}

func play(t *testing.T, binary string, cell Cell) Outcome {
	t.Helper()
	o, err := Run(t.Context(), With{Agent: binary, Progress: func(line string) { t.Log(line) }}, cell)
	labtest.Need(t, err)
	t.Log(o)
	for _, step := range o.Steps {
		t.Log(step)
	}
	return o
}

// TestWorkersRunOut is the live cell of the workers' story: a real Apache
// prefork under a real ramp. Times are only held against each other.
func TestWorkersRunOut(t *testing.T) {
	if testing.Short() {
		t.Skip("a live server under load for a minute: left out with -short")
	}
	t.Parallel()
	cell := Prefork(8, 30*time.Second, 55*time.Second)
	cell.Load.Timeout = 6 * time.Second
	o := play(t, program(t), cell)
	switch {
	case o.Warning == nil:
		t.Fatal("no incident was opened")
	case o.Critical == nil:
		t.Error("the incident never became critical")
	case o.FirstFailed == nil:
		t.Error("no request failed: the load proves nothing")
	case *o.Warning >= *o.FirstFailed:
		t.Errorf("the incident came %s after the first failed request", *o.Warning-*o.FirstFailed)
	}
	for _, step := range o.Steps {
		if !strings.Contains(step, "service/apache2:80 ") {
			t.Errorf("an incident on a bystander: %s", step)
		}
	}
}

// TestHealthyServerIsLeftAlone is its healthy twin, at 60 % with random
// arrivals.
func TestHealthyServerIsLeftAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("a live server under load for half a minute: left out with -short")
	}
	t.Parallel()
	o := play(t, program(t), Healthy(20, 0.6, 30*time.Second, 1))
	if len(o.Steps) > 0 {
		t.Errorf("incidents on a healthy server: %v", o.Steps)
	}
	if o.Requests < 200 || o.Failed > 0 || len(o.Missed) > 0 {
		t.Errorf("%d requests, %d failed, the agent knew in %v of the polls; missed %v", o.Requests, o.Failed, o.Polls, o.Missed)
	}
}

// TestNamesAreUnique: a result, a recording and an episode are files named after
// their cell, and cells of all kinds go to one folder.
func TestNamesAreUnique(t *testing.T) {
	kinds := map[string][]string{}
	for _, c := range Cells() {
		kinds[c.Name] = append(kinds[c.Name], "workers")
	}
	for _, c := range BackendCells() {
		kinds[c.Name] = append(kinds[c.Name], "backends")
	}
	for _, c := range RegionCells() {
		kinds[c.Name] = append(kinds[c.Name], "regions")
	}
	for name, of := range kinds {
		if name == "" || len(of) > 1 {
			t.Errorf("%q is a cell of %v: want one, with a name", name, of)
		}
	}
}

// TestCellsAreWellFormed holds the table to what a reader may expect of it.
func TestCellsAreWellFormed(t *testing.T) {
	known := closedList()
	for _, c := range Cells() {
		if c.Software == nil || c.Path == "" || c.Slow == 0 || c.Load.Duration == 0 || len(c.Load.Rate) == 0 {
			t.Errorf("cell %s is not whole: %+v", c.Name, c)
		}
		if c.Healthy == (len(c.Chain) > 0) {
			t.Errorf("cell %s: healthy %v with the chain %v", c.Name, c.Healthy, c.Chain)
		}
		if c.Healthy == (c.Goal.Found != nil) {
			t.Errorf("cell %s: healthy %v, and %v are to be found", c.Name, c.Healthy, c.Goal.Found)
		}
		for _, cause := range c.Goal.Found {
			if !slices.Contains(c.Chain, cause) {
				t.Errorf("cell %s: %s is to be found and not in the chain %v", c.Name, cause, c.Chain)
			}
		}
		for _, cause := range c.Chain {
			if !slices.Contains(known, cause) {
				t.Errorf("cell %s: %q is no cause of %v", c.Name, cause, known)
			}
		}
		if c.Healthy != strings.HasPrefix(c.Name, "healthy-") {
			t.Errorf("cell %s: healthy %v", c.Name, c.Healthy)
		}
		for i, e := range c.Events {
			if e.At >= c.Load.Duration || i > 0 && e.At < c.Events[i-1].At {
				t.Errorf("cell %s: %s at %s is out of order or after the load", c.Name, e.What, e.At)
			}
		}
	}
	if n := len(Cells()); n < 20 {
		t.Errorf("%d cells: some are missing", n)
	}
}

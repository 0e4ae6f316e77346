package owner

import (
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUnchanged(t *testing.T) {
	other := child(t)
	chosen, _, _ := Choose("/proc", []Selector{{Exe: self(t).Exe}}, nil)
	want := []int{os.Getpid(), other.PID}
	slices.Sort(want) // pids begin anew after the last
	if diff := cmp.Diff(want, pids(chosen[0])); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
	if !Unchanged("/proc", chosen[0]) {
		t.Error("both are there, and it says otherwise")
	}
	if p := chosen[0][0]; Unchanged("/proc", []Chosen{run(p.PID, p.Started-1)}) {
		t.Error("a pid that was given to another process counts as the same")
	}
	other.Stop()
	if Unchanged("/proc", chosen[0]) {
		t.Error("one has ended, and it says nothing changed")
	}
	if !Unchanged("/proc", nil) {
		t.Error("nobody was chosen, and somebody is missing")
	}
}

// run is a process by its pid and start.
func run(pid int, started uint64) Chosen {
	return Chosen{Process: Process{PID: pid, Name: "proxy"}, Started: started}
}

func pids(processes []Chosen) []int {
	var out []int
	for _, p := range processes {
		out = append(out, p.PID)
	}
	return out
}

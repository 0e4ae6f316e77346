package post

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestShortOutage is the long run in small: an outage of seconds, two kills.
func TestShortOutage(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute of a real agent; left out by -short")
	}
	agent := filepath.Join(t.TempDir(), "foreshock")
	if out, err := exec.Command("go", "build", "-o", agent, "../../../cmd/foreshock").CombinedOutput(); err != nil {
		t.Fatalf("build the agent: %v\n%s", err, out)
	}
	r, err := Run(t.Context(), Config{Agent: agent, Outage: 12 * time.Second, Kills: 2, Services: 4}, func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	if t.Log(r); !r.Sound() {
		t.Error("not all was told once and in order")
	}
}

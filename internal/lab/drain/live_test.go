package drain

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
)

// TestSwitch: a real zone changes its address. The agent names who is still on the
// old one and why, and the resolver that keeps it, and accuses nobody else. Times
// are the benchmark's business.
func TestSwitch(t *testing.T) {
	if testing.Short() {
		t.Skip("a switch under load for most of a minute: left out with -short")
	}
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "foreshock")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/foreshock/foreshock/cmd/foreshock").CombinedOutput(); err != nil {
		t.Fatalf("build the agent: %v\n%s", err, out)
	}
	cell := Cell{
		Name: "ci", TTL: 5 * time.Second, Resolvers: []string{"unbound", "unbound-min-900"}, Agents: []string{"web", "isp", "api"}, How: Armed,
		Populations: []Population{
			{Name: "honest", Habit: lab.Honest, Host: "web", Via: "unbound", Clients: 10},
			{Name: "cached", Habit: lab.Cached, Host: "web", Via: "unbound", Clients: 6},
			{Name: "pooled", Habit: lab.Pooled, Host: "web", Via: "unbound", Clients: 6},
			{Name: "pooled2", Habit: lab.Pooled, Host: "api", Via: "unbound", Clients: 6},
			{Name: "behind", Habit: lab.Honest, Host: "isp", Via: "unbound-min-900", Clients: 6},
		},
		Warm: 10 * time.Second, After: 35 * time.Second,
		Wants: []Want{{"stale_dns", true, 15 * time.Second}, {"old_connection", true, 15 * time.Second}},
	}
	out, err := Run(t.Context(), With{Agent: binary, Progress: func(line string) { t.Log(line) }}, cell)
	labtest.Need(t, err)
	for _, line := range out.Report(cell) {
		t.Log(line)
	}
	for _, f := range out.Found {
		if f.After == nil {
			t.Errorf("%s was not found", f.Cause)
		}
	}
	if len(out.Others) > 0 {
		t.Errorf("found too: %q", out.Others)
	}
	if out.Blamed.Right == 0 || len(out.Blamed.Wrong) > 0 {
		t.Errorf("of %d connections %d were blamed rightly; wrongly %v", out.Blamed.Of, out.Blamed.Right, out.Blamed.Wrong)
	}
	if i := slices.IndexFunc(out.Classes, func(c Class) bool { return c.Accused || c.Got != c.Want }); i >= 0 {
		t.Errorf("a resolver is misjudged: %+v", out.Classes[i])
	}
	if out.SettledEarly > 0 {
		t.Errorf("settled %d times while clients were on the old address", out.SettledEarly)
	}
}

package metrics

import (
	"bytes"
	"io"
	"net/http/httptest"
	"os/exec"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// TestPromtool: Prometheus's own linter finds nothing to say about the page, with
// every kind of scope and signal on it.
func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is missing: install prometheus")
	}
	s := snapshot(3)
	s.Incidents = append(s.Incidents, judge.Incident{ID: 2, State: judge.Open, Finding: judge.Finding{
		Scope: scope.ID{Kind: scope.KindAgent, Name: "channel/ops"}, Cause: judge.AgentTrouble, Severity: judge.Warning,
	}})
	for _, name := range []string{"one", "two"} { // rules share a cause
		s.Incidents = append(s.Incidents, judge.Incident{ID: 3, State: judge.Open, Finding: judge.Finding{
			Scope: scope.Host, Cause: judge.UserRule, Rule: name, Severity: judge.Warning,
		}})
	}
	s.Heartbeat = api.Heartbeat{State: api.HeartbeatWorking, Sent: 3, Failures: 1, LastSentAt: at}
	s.Namespaces = api.NamespacesStatus{Read: 1, Each: []api.NamespaceStatus{{Name: "pod", PulseSeen: at, WholeSeen: at}}}
	s.Backends = []scope.Backend{{Name: "shop/s1", Group: "shop"}}
	s.Regions = []scope.Region{{Name: "east"}}
	flip := scope.Switch{Name: "shop.example"}
	s.View.Scopes = nil
	for _, id := range []scope.ID{{Kind: scope.KindService, Name: "web\xff"}, s.Backends[0].ID(), s.Regions[0].ID(), flip.ID(scope.OldSide, ""), flip.ID(scope.NewSide, ""), scope.Rest, scope.Host, scope.Host.In("pod")} {
		sig := measure.ScopeSignals{Scope: id, Group: "shop"}
		for r := range sig.Readings {
			sig.Readings[r] = reading(1.5)
		}
		s.View.Scopes = append(s.View.Scopes, sig)
	}
	page := httptest.NewServer(Handler(fixed{s}, "v1"))
	defer page.Close()
	resp, err := page.Client().Get(page.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || bytes.Count(text, []byte("\nforeshock_")) < 100 {
		t.Fatalf("%v, the page is\n%s", err, text)
	}
	cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	cmd.Stdin, cmd.WaitDelay = bytes.NewReader(text), 10*time.Second
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

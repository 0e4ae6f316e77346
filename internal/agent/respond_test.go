package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/notify"
)

// inbox is a webhook that takes everything.
type inbox struct {
	mu   sync.Mutex
	got  []string
	keys map[string]int
}

func receiving(t *testing.T) (*inbox, string) {
	t.Helper()
	in := &inbox{keys: map[string]int{}}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		in.mu.Lock()
		defer in.mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		in.keys[r.Header.Get("Idempotency-Key")]++
		in.got = append(in.got, string(body))
	}))
	t.Cleanup(server.Close)
	return in, server.URL
}

// reasons are those of what came, in order.
func (in *inbox) reasons(t *testing.T) (out []notify.Reason) {
	t.Helper()
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, body := range in.got {
		var n notify.Notice
		if err := json.Unmarshal([]byte(body), &n); err != nil {
			t.Fatal(err)
		}
		if n.Says == "" || len(n.Incidents) == 0 {
			t.Errorf("it says nothing: %s", body)
		}
		out = append(out, n.Reason)
	}
	return out
}

// hookScript writes a hook.
func hookScript(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// always is an incident that no hook mends.
const always = "observe: {namespaces: host}\nrules: [{name: always, when: host.passive_opens_per_second >= 0, hold: 1s}]\n"

// responding starts an agent with a response to always, and returns its address
// and the incident once a step of that name has a state that is not planned.
func responding(t *testing.T, settings, last, stateDir string) (address string, inc api.Incident) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "foreshock.yaml")
	write(t, file, always+settings)
	address, _ = running(t, Options{Load: from(file), Version: "test", StateDir: stateDir})
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		for _, inc := range get[api.Incidents](t, address, "/api/v1/incidents?state=open").Incidents {
			for _, a := range inc.Actions {
				if a.Kind == last && a.State != "planned" && a.State != "running" {
					return address, inc
				}
			}
		}
	}
	t.Fatalf("no %s after 40 s: %+v", last, get[api.Responses](t, address, "/api/v1/responses"))
	return "", inc
}

// summary is the actions of an incident without their times and details.
func summary(actions []api.Action) (out []string) {
	for _, a := range actions {
		out = append(out, a.Kind+" "+a.State)
	}
	return out
}

// TestRespond: every step, with a real program and a real webhook.
func TestRespond(t *testing.T) {
	ops, url := receiving(t)
	scale, scaleURL := receiving(t)
	script := hookScript(t, `cat > "$(dirname "$0")/input"; echo "added 4 workers"`)
	address, inc := responding(t, fmt.Sprintf(`
notify: [{name: ops, severities: [none], webhook: {url: %q}}]
respond:
  user_rule:
    - {notify: [ops]}
    - {gather: true}
    - {after: 1s, hook: {name: add, exec: [%q, "4"]}, dry_run: false}
    - {after: 1s, hook: {name: scale, webhook: {url: %q}}, dry_run: false}
    - {after: 1s, hook: {name: restart, exec: [/bin/false]}}
    - {after: 3s, follow_up: true}
    - {after: 1h, escalate: [ops], unless: acknowledged}
`, url, script, scaleURL), "follow_up", "")

	want := []string{"notify done", "gather done", "hook done", "hook done", "hook dry_run", "follow_up done", "escalate done", "escalate planned"}
	if diff := cmp.Diff(want, summary(inc.Actions)); diff != "" {
		t.Errorf("actions (-want +got):\n%s\n%+v", diff, inc.Actions)
	}
	var in HookInput
	raw, err := os.ReadFile(filepath.Join(filepath.Dir(script), "input"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		t.Fatal(err)
	}
	if in.Version != 1 || len(in.Key) != 32 || in.Hook != "add" || in.DryRun || in.Trial || in.Response != "user_rule" || in.Scope != "host" || len(in.Incidents) != 1 || !in.Deadline.Equal(in.At.Add(config.DefaultHookTimeout)) {
		t.Errorf("the hook got %+v", in)
	}
	if scale.mu.Lock(); len(scale.got) != 1 || !strings.Contains(scale.got[0], `"hook":"scale"`) {
		t.Errorf("the webhook got %q", scale.got)
	}
	scale.mu.Unlock()
	var detail hookDetail
	if err := json.Unmarshal(inc.Actions[2].Detail, &detail); err != nil || detail.LastLine != "added 4 workers" || *detail.ExitCode != 0 || detail.NotKept != "" {
		t.Errorf("detail %s, %v", inc.Actions[2].Detail, err)
	}
	gathered := get[api.Gathered](t, address, fmt.Sprintf("/api/v1/incidents/%d/evidence", inc.ID))
	kinds := map[string]int{}
	for _, e := range gathered.Evidence {
		kinds[e.Kind]++
		switch e.Kind {
		case api.AttachedBundle:
			var b api.Bundle
			if err := json.Unmarshal(e.Data, &b); err != nil || b.Scope == nil || b.Scope.ID != "host" || b.Load.Average1m == nil || len(e.Data) > mostBundle || b.Recording.From == nil || len(b.Incidents) == 0 {
				t.Errorf("bundle %s, %v", e.Data, err)
			}
		case api.AttachedRun:
			var run api.HookRun
			if err := json.Unmarshal(e.Data, &run); err != nil || !strings.Contains(string(run.Input), run.Hook) || run.DryRun != (run.Hook == "restart") {
				t.Errorf("run %s, %v", e.Data, err)
			}
		}
	}
	if diff := cmp.Diff(map[string]int{api.AttachedBundle: 1, api.AttachedRun: 3}, kinds); diff != "" {
		t.Errorf("evidence (-want +got):\n%s", diff)
	}
	for deadline := time.Now().Add(20 * time.Second); len(ops.reasons(t)) < 3 && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	if diff := cmp.Diff([]notify.Reason{notify.News, notify.FollowUp, notify.Escalation}, ops.reasons(t)); diff != "" {
		t.Errorf("ops was told (-want +got):\n%s", diff)
	}
	under := get[api.Responses](t, address, "/api/v1/responses")
	if len(under.Responses) != 1 || under.Responses[0].Key != "user_rule" || len(under.Responses[0].Actions) != len(want) {
		t.Errorf("under way: %+v", under)
	}
	if diff := cmp.Diff([]api.HookRuns{{Hook: "add", Result: "done", Runs: 1}, {Hook: "restart", Result: "dry_run", Runs: 1}, {Hook: "scale", Result: "done", Runs: 1}}, under.Hooks); diff != "" {
		t.Errorf("hooks (-want +got):\n%s", diff)
	}
}

// TestNoResponses: where none is configured a look pays nothing for them.
func TestNoResponses(t *testing.T) {
	a := &agent{keeper: &keeper{}, clock: newClock(time.Now, func() time.Duration { return 0 }), responses: newResponder(boundResponses{}, slog.New(slog.DiscardHandler))}
	a.responses.recalled <- nil
	incidents := []judge.Incident{{ID: 1, State: judge.Open, Finding: judge.Finding{Severity: judge.Critical}}}
	now := a.clock.Now()
	if n := testing.AllocsPerRun(100, func() { a.respond(now, nil, incidents) }); n != 0 {
		t.Errorf("%v allocations a look", n)
	}
}

// TestHookThatFails: without a history too it is run, says that it is not kept,
// and people are told at once.
func TestHookThatFails(t *testing.T) {
	boss, url := receiving(t)
	address, inc := responding(t, fmt.Sprintf(`
notify: [{name: boss, severities: [none], webhook: {url: %q}}]
respond:
  default:
    - {after: 0s, hook: {exec: [%q]}, dry_run: false}
    - {after: 1h, escalate: [boss], unless: acknowledged}
`, url, hookScript(t, "echo no capacity left >&2; exit 9")), "escalate", config.NoStateDir)
	if diff := cmp.Diff([]string{"hook failed", "escalate done", "escalate planned"}, summary(inc.Actions)); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
	if want := "told boss: the hook hook failed: exit code 9: no capacity left"; inc.Actions[1].What != want {
		t.Errorf("it says %q, want %q", inc.Actions[1].What, want)
	}
	if !strings.Contains(string(inc.Actions[0].Detail), "not_kept") {
		t.Errorf("it does not say that it is not kept: %s", inc.Actions[0].Detail)
	}
	for deadline := time.Now().Add(20 * time.Second); len(boss.reasons(t)) == 0 && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	if diff := cmp.Diff([]notify.Reason{notify.Escalation}, boss.reasons(t)); diff != "" {
		t.Errorf("boss was told (-want +got):\n%s", diff)
	}
	if got := get[api.Gathered](t, address, fmt.Sprintf("/api/v1/incidents/%d/evidence", inc.ID)); len(got.Evidence) != 1 || got.Evidence[0].Kind != api.AttachedRun {
		t.Errorf("evidence %+v", got)
	}
}

// TestCheckResponses: a response to what is no cause, and hooks that cannot run.
func TestCheckResponses(t *testing.T) {
	everybody := hookScript(t, "")
	if err := os.Chmod(everybody, 0o777); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse("f", []byte(fmt.Sprintf(`respond:
  worker_full: [{gather: true}]
  path_lost:
    - {hook: {exec: [/no/such/hook]}}
    - {after: 1s, hook: {name: open, exec: [%q]}}
`, everybody)))
	if err != nil {
		t.Fatal(err)
	}
	warnings, err := CheckResponses(cfg, "f")
	if diff := cmp.Diff([]string{"f:4:22: the hook /no/such/hook is not there: until that is mended the hook fails"}, warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	want := `f:2:3: the response "worker_full" is neither a cause, a pattern nor default; did you mean "workers_full"?
f:5:45: hook "open": everybody on this host may change ` + everybody + ` (mode 0777), and so what runs with the agent's rights; run chmod o-w ` + everybody + `; a hook is run with the agent's rights`
	if err == nil || err.Error() != want {
		t.Errorf("error:\n%v\nwant:\n%s", err, want)
	}
}

// TestDocs: docs/RESPOND.md names every key of what hooks get and of bundles.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/RESPOND.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []reflect.Type{reflect.TypeFor[HookInput](), reflect.TypeFor[api.Bundle](), reflect.TypeFor[api.Process](), reflect.TypeFor[api.Action]()} {
		for field := range of.Fields() {
			if key, _, _ := strings.Cut(field.Tag.Get("json"), ","); key == "" || !strings.Contains(string(text), "`"+key+"`") {
				t.Errorf("docs/RESPOND.md does not name `%s` of %s", key, of.Name())
			}
		}
	}
}

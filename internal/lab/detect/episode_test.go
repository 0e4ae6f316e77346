package detect

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/recording/label"
	"github.com/foreshock/foreshock/internal/recording/recordingtest"
	"github.com/foreshock/foreshock/internal/scope"
)

func TestTruthsOfAFault(t *testing.T) {
	goal := want(withinRegion, "peer_refusing", "peer_resetting").then("orderly_stop")
	run := courseRun{fault: began.Add(time.Minute), end: began.Add(90 * time.Second)}
	fault := Course{Cell: "region-reset", FirstFailed: inSeconds(0.25)}
	whole := truth{
		cause: "peer_refusing", or: []string{"peer_resetting"}, follows: []string{"orderly_stop"}, scope: "region/east",
		from: began.Add(time.Minute), to: began.Add(89 * time.Second), failed: began.Add(time.Minute + 250*time.Millisecond), note: "region-reset",
		least: "warning",
	}
	compare := cmp.AllowUnexported(truth{})
	if diff := cmp.Diff([]truth{whole}, fault.truths(goal, run, "region/east"), compare); diff != "" {
		t.Errorf("a fault (-want +got):\n%s", diff)
	}
	run.answered, fault.FirstFailed = began.Add(70*time.Second), nil
	whole.to, whole.failed = run.answered, time.Time{}
	if diff := cmp.Diff([]truth{whole}, fault.truths(goal, run, "region/east"), compare); diff != "" {
		t.Errorf("a fault that ends and harms nobody (-want +got):\n%s", diff)
	}
	fault.Healthy = true
	if got := fault.truths(goal, run, "region/east"); got != nil {
		t.Errorf("a healthy day: %+v", got)
	}
}

func TestTruthsOfWorkers(t *testing.T) {
	cell := Cell{
		Name: "burst", Chain: chain(), Goal: Goal{Found: []string{"workers_full"}}, Load: lab.Load{Duration: time.Minute}, Slow: time.Second,
		Events: []Event[*stage]{{At: 5 * time.Second}},
	}
	run := workersRun{began: began, records: []lab.Record{request(6*time.Second, 10*time.Second, lab.Timeout)}}
	want := []truth{{
		cause: "workers_full", follows: []string{"workers_filling", "clients_gave_up"}, scope: "service/web",
		from: began.Add(5 * time.Second), to: began.Add(time.Minute), failed: began.Add(16 * time.Second), least: "watch", note: "burst",
	}}
	got, known := cell.truths("web", run)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(truth{})); diff != "" || !known {
		t.Errorf("known %v (-want +got):\n%s", known, diff)
	}
	cell.Goal.Found = nil
	if got, known := cell.truths("web", run); known {
		t.Errorf("a cell that asks for nothing: %+v", got)
	}
	cell.Healthy = true
	if got, known := cell.truths("web", run); !known || got != nil {
		t.Errorf("a healthy day: %v %+v", known, got)
	}
}

// TestSidecar: the labels that are written are the ones that are read.
func TestSidecar(t *testing.T) {
	truths := []truth{
		{cause: "path_lost", or: []string{"heavy_loss"}, follows: []string{"stuck_closing", "user_rule"}, scope: "region/east", from: began, to: began.Add(time.Minute), failed: began.Add(1500 * time.Millisecond), least: "warning", note: "region-blackhole"},
		{cause: "orderly_stop", scope: "backend/shop/a", from: began, to: began.Add(time.Second), least: "watch", note: "stopped"},
	}
	east, backend := scope.ID{Kind: scope.KindRegion, Name: "east"}, scope.ID{Kind: scope.KindBackend, Name: "shop/a"}
	want := label.File{Labels: []label.Label{
		{Cause: judge.PathLost, Or: []judge.Cause{judge.HeavyLoss}, Follows: []judge.Cause{judge.StuckClosing}, Scope: east, From: began, To: began.Add(time.Minute),
			FirstFailure: began.Add(1500 * time.Millisecond), Severity: judge.Warning, Note: "region-blackhole"},
		{Cause: judge.OrderlyStop, Scope: backend, From: began, To: began.Add(time.Second), Severity: judge.Watch, Note: "stopped"},
	}}
	bounds := label.Bounds{From: began, To: began.Add(time.Hour), Scopes: []scope.ID{backend, east}}
	for _, test := range []struct {
		truths []truth
		want   label.File
	}{{truths, want}, {nil, label.File{Healthy: true}}} {
		text, err := sidecar(test.truths)
		if err != nil {
			t.Fatal(err)
		}
		got, err := label.Parse("episode", text, bounds)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	for name, change := range map[string]func(*truth){
		"no cause":       func(t *truth) { t.cause = "bad_luck" },
		"no other cause": func(t *truth) { t.or = []string{"bad_luck"} },
		"no consequence": func(t *truth) { t.follows = []string{"bad_luck"} },
		"no scope":       func(t *truth) { t.scope = "" },
		"no severity":    func(t *truth) { t.least = "" },
	} {
		wrong := truths[0]
		change(&wrong)
		if _, err := sidecar([]truth{wrong}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// answering is an agent's API with one answer.
type answering func(*http.Request) (int, string)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := f(r)
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// inTheAir is when something is suspected on the made host that comes to nothing.
const inTheAir = 5*time.Minute + 3500*time.Millisecond

// TestHear: what the agent lists and what it recorded are compared at one
// instant. The agent goes on meanwhile: what it suspected at the end of the load
// comes to nothing, and then it is in no list.
func TestHear(t *testing.T) {
	now := inTheAir
	if !slices.ContainsFunc(madeEpisode(t, now).incidents, func(i incident) bool { return i.State == judge.Suspected.String() }) {
		t.Fatalf("nothing is suspected after %s", now)
	}
	a := &agent{Agent: &lab.Agent{Started: recordingtest.Start, Client: &http.Client{Transport: answering(func(r *http.Request) (int, string) {
		h := madeEpisode(t, now)
		now += 5 * time.Second
		if r.URL.Path == "/api/v1/recording" {
			return http.StatusOK, string(h.recording)
		}
		list, err := json.Marshal(incidentsAnswer{h.at, h.incidents})
		if err != nil {
			t.Error(err)
		}
		return http.StatusOK, string(list)
	})}}}
	with := With{Episode: filepath.Join(t.TempDir(), "episode.rec")}
	live, err := with.hear(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if want := recordingtest.Start.Add(inTheAir); !live.at.Equal(want) {
		t.Errorf("heard at %s, want the time of the list, %s", live.at, want)
	}
	if missed, err := with.keep(live, true, nil); err != nil || missed != nil {
		t.Errorf("missed %q, %v", missed, err)
	}
}

func TestKeepEpisode(t *testing.T) {
	file := filepath.Join(t.TempDir(), "episode")
	made := madeEpisode(t, wholeEpisode)
	list, err := json.Marshal(incidentsAnswer{made.at, made.incidents})
	if err != nil {
		t.Fatal(err)
	}
	status, body, asked := http.StatusOK, string(made.recording), ""
	a := &agent{Agent: &lab.Agent{Started: began, Client: &http.Client{Transport: answering(func(r *http.Request) (int, string) {
		if r.URL.Path == "/api/v1/incidents" {
			return http.StatusOK, string(list)
		}
		asked = r.URL.String()
		return status, body
	})}}}
	live, err := (With{}).hear(t.Context(), a)
	if err != nil || len(live.incidents) != len(made.incidents) || live.recording != nil || asked != "" {
		t.Errorf("without a file: %+v, %v, asked %q", live, err, asked)
	}
	if missed, err := (With{}).keep(live, true, nil); err != nil || missed != nil {
		t.Errorf("without a file: %v, missed %q", err, missed)
	}
	with := With{Episode: file}
	var missed []string
	if live, err = with.hear(t.Context(), a); err == nil {
		missed, err = with.keep(live, true, nil)
	}
	if err != nil || missed != nil {
		t.Fatalf("missed %q: %v", missed, err)
	}
	if want := "http://127.0.0.1:9748/api/v1/recording?from=2026-11-21T04%3A00%3A00Z"; asked != want {
		t.Errorf("asked %s, want %s", asked, want)
	}
	for name, want := range map[string]string{file: body, file + ".labels.yaml": "healthy: true"} {
		if got, err := os.ReadFile(name); err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	if missed, err := with.keep(live, false, nil); err != nil || len(missed) != 1 {
		t.Errorf("a fault of nothing that the agent knows: missed %q, %v", missed, err)
	}
	s1 := truth{cause: "path_lost", scope: "backend/pool0/s1", from: recordingtest.Start.Add(4 * time.Minute), least: "warning"}
	s1.to, s1.failed = recordingtest.Start.Add(time.Hour), recordingtest.Start.Add(time.Hour)
	if _, err := with.keep(live, false, []truth{s1}); err != nil {
		t.Errorf("a fault that ends after the recording: %v", err)
	}
	if got, err := os.ReadFile(file + ".labels.yaml"); err != nil || !strings.Contains(string(got), "to: 2026-11-21T00:05:59") || strings.Contains(string(got), "first_failure") {
		t.Errorf("%v: it does not end with the recording: %s", err, got)
	}
	s1.scope = "backend/pool0/s9"
	if _, err := with.keep(live, false, []truth{s1}); err == nil || !strings.Contains(err.Error(), "s9") {
		t.Errorf("a scope that was not recorded: %v", err)
	}
	for name, change := range map[string]func(){
		"no recorder": func() { status, body = http.StatusNotFound, "no" },
		"nothing":     func() { status, body = http.StatusOK, "" },
	} {
		change()
		if _, err := with.hear(t.Context(), a); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

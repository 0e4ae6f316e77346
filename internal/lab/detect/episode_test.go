package detect

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/lab"
)

func TestLabelsOfAFault(t *testing.T) {
	goal := want(withinRegion, "peer_refusing", "peer_resetting").then("orderly_stop")
	run := courseRun{fault: began.Add(time.Minute), end: began.Add(90 * time.Second)}
	fault := Course{Cell: "region-reset", FirstFailed: inSeconds(0.25)}
	whole := label{
		cause: "peer_refusing", or: []string{"peer_resetting", "orderly_stop"}, scope: "region/east",
		from: began.Add(time.Minute), to: began.Add(89 * time.Second), failed: began.Add(time.Minute + 250*time.Millisecond), note: "region-reset",
		least: "warning",
	}
	compare := cmp.AllowUnexported(label{})
	if diff := cmp.Diff([]label{whole}, fault.labels(goal, run, "region/east"), compare); diff != "" {
		t.Errorf("a fault (-want +got):\n%s", diff)
	}
	run.answered, fault.FirstFailed = began.Add(70*time.Second), nil
	whole.to, whole.failed = run.answered, time.Time{}
	if diff := cmp.Diff([]label{whole}, fault.labels(goal, run, "region/east"), compare); diff != "" {
		t.Errorf("a fault that ends and harms nobody (-want +got):\n%s", diff)
	}
	fault.Healthy = true
	if got := fault.labels(goal, run, "region/east"); got != nil {
		t.Errorf("a healthy day: %+v", got)
	}
}

func TestLabelsOfWorkers(t *testing.T) {
	cell := Cell{
		Name: "burst", Chain: chain(), Goal: Goal{Found: []string{"workers_full"}}, Load: lab.Load{Duration: time.Minute}, Slow: time.Second,
		Events: []Event[*stage]{{At: 5 * time.Second}},
	}
	run := workersRun{began: began, records: []lab.Record{request(6*time.Second, 10*time.Second, lab.Timeout)}}
	want := []label{{
		cause: "workers_full", or: []string{"workers_filling", "clients_gave_up"}, scope: "service/web",
		from: began.Add(5 * time.Second), to: began.Add(time.Minute), failed: began.Add(16 * time.Second), least: "watch", note: "burst",
	}}
	got, known := cell.labels("web", run)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(label{})); diff != "" || !known {
		t.Errorf("known %v (-want +got):\n%s", known, diff)
	}
	cell.Goal.Found = nil
	if got, known := cell.labels("web", run); known {
		t.Errorf("a cell that asks for nothing: %+v", got)
	}
	cell.Healthy = true
	if got, known := cell.labels("web", run); !known || got != nil {
		t.Errorf("a healthy day: %v %+v", known, got)
	}
}

// TestSidecar: it is YAML, and as people read it.
func TestSidecar(t *testing.T) {
	labels := []label{
		{cause: "path_lost", or: []string{"heavy_loss", "stuck_closing"}, scope: "region/east", from: began, to: began.Add(time.Minute), failed: began.Add(1500 * time.Millisecond), least: "warning", note: "region-blackhole"},
		{cause: "orderly_stop", scope: `backend/"shop"/a`, from: began, to: began.Add(time.Second), least: "watch", note: "stopped"},
	}
	want := `version: 1
labels:
  - cause: path_lost
    or: [heavy_loss, stuck_closing]
    scope: "region/east"
    from: 2026-11-21T04:00:00Z
    to: 2026-11-21T04:01:00Z
    first_failure: 2026-11-21T04:00:01.5Z
    note: "region-blackhole"
  - cause: orderly_stop
    scope: "backend/\"shop\"/a"
    from: 2026-11-21T04:00:00Z
    to: 2026-11-21T04:00:01Z
    severity: watch
    note: "stopped"
`
	if diff := cmp.Diff(want, sidecar(labels)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var back struct {
		Labels []struct{ Scope string }
	}
	if err := yaml.Unmarshal([]byte(want), &back); err != nil || len(back.Labels) != 2 || back.Labels[1].Scope != labels[1].scope {
		t.Errorf("read back as %+v: %v", back, err)
	}
	if got := sidecar(nil); got != "version: 1\nhealthy: true\n" {
		t.Errorf("of nothing: %q", got)
	}
}

// answering is an agent's API with one answer.
type answering func(*http.Request) (int, string)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := f(r)
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func TestKeepEpisode(t *testing.T) {
	file := filepath.Join(t.TempDir(), "episode")
	status, body, asked := http.StatusOK, "recorded", ""
	a := &agent{started: began, client: &http.Client{Transport: answering(func(r *http.Request) (int, string) {
		asked = r.URL.String()
		return status, body
	})}}
	if recording, err := (With{}).record(t.Context(), a); err != nil || recording != nil || asked != "" {
		t.Errorf("without a file: %q, %v, asked %q", recording, err, asked)
	}
	if err := (With{}).keep(nil, nil); err != nil {
		t.Errorf("without a file: %v", err)
	}
	with := With{Episode: file}
	recording, err := with.record(t.Context(), a)
	if err == nil {
		err = with.keep(recording, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if want := "http://127.0.0.1:9748/api/v1/recording?from=2026-11-21T04%3A00%3A00Z"; asked != want {
		t.Errorf("asked %s, want %s", asked, want)
	}
	for name, want := range map[string]string{file: "recorded", file + ".labels.yaml": "version: 1\nhealthy: true\n"} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	for name, change := range map[string]func(){
		"no recorder": func() { status, body = http.StatusNotFound, "no" },
		"nothing":     func() { status, body = http.StatusOK, "" },
	} {
		change()
		if _, err := with.record(t.Context(), a); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

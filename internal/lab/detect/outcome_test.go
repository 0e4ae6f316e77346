package detect

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/lab"
)

// began is when the load of these tests began.
var began = time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)

// inSeconds is a time after it.
func inSeconds(n float64) *time.Duration { return new(time.Duration(n * float64(time.Second))) }

// request is a line of a client's log; the log's clocks agree.
func request(at, took time.Duration, outcome lab.Outcome) lab.Record {
	return lab.Record{Start: began.Add(at), Mono: int64(time.Hour + at), TotalMS: float64(took.Milliseconds()), Outcome: outcome}
}

// answer reads incidents as the agent writes them; %s of the timelines are
// times of the tests' load.
func answer(t *testing.T, text string) []incident {
	t.Helper()
	var a incidentsAnswer
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatal(err)
	}
	return a.Incidents
}

const ramped = `{"incidents": [
 {"id": 3, "state": "resolved", "cause": "workers_full", "scope": "service/web", "peak_severity": "critical", "pattern": "gradual_saturation", "opened_at": "2026-11-21T04:03:10Z", "suspected_at": "2026-11-21T04:03:00Z", "resolved_at": "2026-11-21T04:05:00Z",
  "timeline": [
   {"at": "2026-11-21T04:03:00Z", "what": "suspect: queue wait above 1 s for 3 s"},
   {"at": "2026-11-21T04:03:10Z", "what": "open, warning: queue wait above 1 s for 3 s", "severity": "warning"},
   {"at": "2026-11-21T04:03:20Z", "what": "now critical: queue wait above 3 s", "severity": "critical"},
   {"at": "2026-11-21T04:05:00Z", "what": "resolved: recovered"}]},
 {"id": 2, "state": "resolved", "cause": "workers_filling", "scope": "service/web", "peak_severity": "warning", "pattern": "gradual_saturation", "opened_at": "2026-11-21T04:00:50Z", "suspected_at": "2026-11-21T04:00:40Z", "resolved_at": "2026-11-21T04:03:10Z",
  "timeline": [
   {"at": "2026-11-21T04:00:40Z", "what": "suspect: forecast full within 180 s"},
   {"at": "2026-11-21T04:00:50Z", "what": "open, watch: forecast full within 180 s", "severity": "watch"},
   {"at": "2026-11-21T04:01:10Z", "what": "now warning: forecast full within 180 s", "severity": "warning"},
   {"at": "2026-11-21T04:03:10Z", "what": "resolved: came true"}]},
 {"id": 4, "state": "resolved", "cause": "syn_flood", "scope": "service/web", "peak_severity": "warning", "opened_at": "2026-11-21T04:02:00Z", "suspected_at": "2026-11-21T04:02:00Z", "resolved_at": "2026-11-21T04:02:30Z",
  "timeline": [{"at": "2026-11-21T04:02:00Z", "what": "open, warning: half-open", "severity": "warning"}, {"at": "2026-11-21T04:02:30Z", "what": "resolved: recovered"}]},
 {"id": 5, "state": "resolved", "cause": "workers_filling", "scope": "service/other", "peak_severity": "watch", "opened_at": "2026-11-21T04:00:20Z", "suspected_at": "2026-11-21T04:00:20Z", "resolved_at": "2026-11-21T04:00:30Z",
  "timeline": [{"at": "2026-11-21T04:00:20Z", "what": "open, watch: forecast", "severity": "watch"}, {"at": "2026-11-21T04:00:30Z", "what": "resolved: recovered"}]},
 {"id": 6, "state": "suspect", "cause": "leak", "scope": "service/web", "opened_at": null, "suspected_at": "2026-11-21T04:03:00Z", "resolved_at": null,
  "timeline": [{"at": "2026-11-21T04:03:00Z", "what": "suspect: held"}]}
]}`

func TestSum(t *testing.T) {
	records := []lab.Record{
		request(0, time.Second, lab.OK),
		request(180*time.Second, 5*time.Second, lab.OK),
		request(200*time.Second, 10*time.Second, lab.Timeout),
	}
	ramp := Cell{Name: "ramp", Slow: 2 * time.Second, Chain: []string{"workers_filling", "workers_full"}, Goal: Goal{Lead: time.Minute}}
	again := ramp
	again.Twice = 100 * time.Second
	for _, test := range []struct {
		name      string
		cell      Cell
		records   []lab.Record
		queue     time.Time
		incidents string
		want      Outcome
	}{
		{"nothing", ramp, nil, time.Time{}, `{"incidents": []}`, Outcome{
			Outside: []string{}, Missed: []string{"no request failed: the load proves nothing"}, Patterns: []string{}, Steps: []string{}, Found: map[string]string{},
		}},
		{"a ramp", ramp, records, began.Add(170 * time.Second), ramped, Outcome{
			Requests: 3, Failed: 1, Queue: inSeconds(170),
			Suspect: inSeconds(20), Forecast: inSeconds(20), Warning: inSeconds(70), Critical: inSeconds(200),
			FirstSlow: inSeconds(182), FirstFailed: inSeconds(210), Recovered: inSeconds(300),
			Watches: 1, Found: map[string]string{"workers_full": "critical", "workers_filling": "warning", "syn_flood": "warning"},
			Outside: []string{"service/web syn_flood warning"}, Missed: []string{"outside the chain: service/web syn_flood warning"},
			Patterns: []string{"gradual_saturation"},
		}},
		{"what came before the second saturation is left out", again, records, time.Time{}, ramped, Outcome{
			Requests: 2, Failed: 1, Warning: inSeconds(190), Critical: inSeconds(200),
			FirstSlow: inSeconds(182), FirstFailed: inSeconds(210), Recovered: inSeconds(300),
			Found: map[string]string{"workers_full": "critical", "syn_flood": "warning"}, Outside: []string{"service/web syn_flood warning"},
			Missed:   []string{"warning 20.0 s before the first failed request, goal 60 s", "outside the chain: service/web syn_flood warning"},
			Patterns: []string{"gradual_saturation"},
		}},
		{"one that lasts", ramp, records[2:], time.Time{},
			`{"incidents": [{"state": "open", "cause": "workers_full", "scope": "service/web", "peak_severity": "critical", "opened_at": "2026-11-21T04:00:01Z",
			 "timeline": [{"at": "2026-11-21T04:00:01Z", "what": "open, critical: queue wait above 3 s", "severity": "critical"}]}]}`, Outcome{
				Requests: 1, Failed: 1, Warning: inSeconds(1), Critical: inSeconds(1), FirstSlow: inSeconds(202), FirstFailed: inSeconds(210),
				Found: map[string]string{"workers_full": "critical"}, Outside: []string{}, Missed: []string{}, Patterns: []string{},
				Steps: []string{"+1.0s service/web workers_full: open, critical: queue wait above 3 s"},
			}},
		{"one from before the load", ramp, records, time.Time{},
			`{"incidents": [{"state": "open", "cause": "workers_full", "scope": "service/web", "peak_severity": "critical", "opened_at": "2026-11-21T03:59:58Z",
			 "timeline": [{"at": "2026-11-21T03:59:58Z", "what": "worded otherwise", "severity": "critical"}]}]}`, Outcome{
				Requests: 3, Failed: 1, FirstSlow: inSeconds(182), FirstFailed: inSeconds(210), Found: map[string]string{}, Patterns: []string{},
				Outside: []string{"service/web workers_full critical"}, Missed: []string{"no warning", "outside the chain: service/web workers_full critical"},
				Steps: []string{"-2.0s service/web workers_full: worded otherwise"},
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got Outcome
			got.sum(test.cell, workersRun{began: began, queue: test.queue, records: test.records, incidents: answer(t, test.incidents)})
			if test.want.Steps == nil {
				got.Steps = nil // the long ones are the incidents' own text
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("sum (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMisses(t *testing.T) {
	led := Outcome{Warning: inSeconds(60), FirstFailed: inSeconds(200), Found: map[string]string{"leak": "watch"}}
	for _, test := range []struct {
		name    string
		goal    Goal
		outcome Outcome
		want    []string
	}{
		{"no goal", Goal{}, Outcome{}, []string{}},
		{"lead reached", Goal{Lead: 140 * time.Second}, led, []string{}},
		{"lead missed", Goal{Lead: 141 * time.Second}, led, []string{"warning 140.0 s before the first failed request, goal 141 s"}},
		{"lead without a warning", Goal{Lead: time.Second}, Outcome{FirstFailed: inSeconds(1)}, []string{"no warning"}},
		{"lead without a failure", Goal{Lead: time.Second}, Outcome{Warning: inSeconds(1)}, []string{"no request failed: the load proves nothing"}},
		{"in time", Goal{By: time.Minute}, led, []string{}},
		{"late", Goal{By: 59 * time.Second}, led, []string{"warning at 60.0 s, goal 59 s"}},
		{"never", Goal{By: time.Minute}, Outcome{}, []string{"no warning"}},
		{"found", Goal{Found: []string{"leak"}}, led, []string{}},
		{"not found", Goal{Found: []string{"leak", "syn_flood"}}, led, []string{"syn_flood not found"}},
		{"six watches in an hour", Goal{WatchesPerHour: 6}, Outcome{Minutes: 60, Watches: 6}, []string{}},
		{"four watches in half an hour", Goal{WatchesPerHour: 6}, Outcome{Minutes: 30, Watches: 4}, []string{"8.0 watches an hour, goal 6"}},
		{"watches in no time", Goal{WatchesPerHour: 6}, Outcome{Watches: 4}, []string{}},
		{"a healthy day", Goal{}, Outcome{Healthy: true, Requests: 100, Failed: 50, Polls: Polls{100, 95}}, []string{}},
		{"a healthy day on which nobody asked", Goal{}, Outcome{Healthy: true, Polls: Polls{100, 100}}, []string{"no request: the load proves nothing"}},
		{"one on which most requests failed", Goal{}, Outcome{Healthy: true, Requests: 100, Failed: 51, Polls: Polls{100, 100}}, []string{"51 of 100 requests failed: no healthy day"}},
		{"one with a blind agent", Goal{}, Outcome{Healthy: true, Requests: 100, Polls: Polls{100, 94}}, []string{"the agent saw it in 94 of 100 polls"}},
		{"one on which the agent was not asked", Goal{}, Outcome{Healthy: true, Requests: 100}, []string{"the agent saw it in 0 of 0 polls"}},
		{"outside the chain", Goal{}, Outcome{Outside: []string{"a leak warning", "b leak critical"}}, []string{"outside the chain: a leak warning, b leak critical"}},
	} {
		if diff := cmp.Diff(test.want, test.goal.misses(test.outcome)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestTable(t *testing.T) {
	outcomes := []Outcome{
		{
			Cell: "gradual", Minutes: 4, Forecast: inSeconds(46.7), Warning: inSeconds(66.8), Critical: inSeconds(185), FirstSlow: inSeconds(180.7), FirstFailed: inSeconds(233), Watches: 1,
			Patterns: []string{"gradual_saturation"}, Found: map[string]string{"workers_full": "critical", "workers_filling": "warning"},
			Peers: map[string]time.Duration{"probe_slow": 204 * time.Second, "probe_failed": 234 * time.Second},
		},
		{Cell: "healthy-poisson-60", Healthy: true, Minutes: 120, Watches: 13, Missed: []string{"6.5 watches an hour, goal 6"}},
	}
	want := `| cell | forecast | warning | critical | first slow | first failed | warning before it | pattern | watches | causes found | goals missed | others, first fired |
|---|---|---|---|---|---|---|---|---|---|---|---|
| gradual | 47 | 67 | 185 | 181 | 233 | 166 | gradual_saturation | 1 | workers_filling (warning), workers_full (critical) | – | probe_slow 204, probe_failed 234 |
| healthy-poisson-60 | – | – | – | – | – | – | – | 6.5 per hour | – | 6.5 watches an hour, goal 6 | – |
`
	if diff := cmp.Diff(want, Table(outcomes)); diff != "" {
		t.Errorf("Table (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"healthy-poisson-60: 6.5 watches an hour, goal 6"}, Missed(outcomes)); diff != "" {
		t.Errorf("Missed (-want +got):\n%s", diff)
	}
}

func TestSpread(t *testing.T) {
	run := func(cell string, warning, failed float64) Outcome {
		o := Outcome{Cell: cell, Minutes: 30, Watches: 2, Warning: inSeconds(warning), FirstFailed: inSeconds(failed)}
		if warning == 0 {
			o.Warning, o.Missed = nil, []string{"no warning"}
		}
		return o
	}
	outcomes := []Outcome{run("fast", 17, 34), run("once", 1, 2), run("fast", 18, 33), run("burst", 31, 40), run("fast", 0, 30), run("burst", 31, 42)}
	want := `| cell | runs | forecast before the first failed | warning before it | critical before it | watches per hour | runs that missed a goal |
|---|---|---|---|---|---|---|
| fast | 3 | – | 15, 16, 17 (2 runs) | – | 4.0 | 1 |
| burst | 2 | – | 9, 10, 11 | – | 4.0 | 0 |
`
	if diff := cmp.Diff(want, Spread(outcomes)); diff != "" {
		t.Errorf("Spread (-want +got):\n%s", diff)
	}
	if got := Spread(outcomes[:2]); got != "" {
		t.Errorf("Spread of single runs is %q", got)
	}
}

package detect

import (
	"encoding/xml"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/lab"
)

// closedList are the causes there are.
func closedList() []string {
	var out []string
	for _, c := range judge.Causes() {
		out = append(out, c.String())
	}
	return out
}

// TestBackendCellsAreWellFormed holds the table to what a reader may expect of
// it.
func TestBackendCellsAreWellFormed(t *testing.T) {
	perBalancer := map[string]int{}
	for _, c := range BackendCells() {
		name := c.Balancer.Name + "-" + c.Fault
		if c.Healthy {
			name = "healthy-" + name
		}
		if c.Name != name {
			t.Errorf("cell %s should be called %s", c.Name, name)
		}
		if c.Balancer.Software == nil || c.Balancer.opinion.down == nil || c.Balancer.opinion.every <= 0 || len(c.Apps) != 3 || len(c.Load.Rate) == 0 {
			t.Errorf("cell %s is not whole: %+v", c.Name, c)
		}
		for i, e := range c.Events {
			if c.At+e.At >= c.Load.Duration || i > 0 && e.At < c.Events[i-1].At {
				t.Errorf("cell %s: %s at %s is out of order or after the load", c.Name, e.What, e.At)
			}
		}
		if c.Healthy {
			if len(c.Goal.Causes)+len(c.Goal.Chain) > 0 {
				t.Errorf("healthy cell %s expects %v", c.Name, c.Goal)
			}
			continue
		}
		perBalancer[c.Balancer.Name]++
		if len(c.Events) == 0 || len(c.Goal.Causes) == 0 || c.At+c.Goal.Within >= c.Load.Duration {
			t.Errorf("cell %s is no fault, or ends before its goal: %+v", c.Name, c)
		}
		if graveness(c.Goal.Least) <= 0 {
			t.Errorf("cell %s: least severity %q", c.Name, c.Goal.Least)
		}
		for _, cause := range append(c.Goal.Causes, c.Goal.Chain...) {
			if !slices.Contains(closedList(), cause) {
				t.Errorf("cell %s: %q is no cause", c.Name, cause)
			}
		}
		// A third of what is asked, with random arrivals.
		if share := c.Load.Rate[0].PerSecond / 3; share < 5 {
			t.Errorf("cell %s: %.1f requests/s to each backend are too few for its goal", c.Name, share)
		}
	}
	for _, b := range []string{"haproxy", "nginx", "nginx-kept", "apache", "traefik"} {
		if perBalancer[b] < 14 {
			t.Errorf("%d faults behind %s: some are missing", perBalancer[b], b)
		}
	}
}

func TestShifted(t *testing.T) {
	for _, c := range BackendCells() {
		phases := c.Phases()
		if (len(phases) == 3) != (c.Balancer.Timer > 0 && !c.Healthy) {
			t.Errorf("cell %s has the phases %v of %s", c.Name, phases, c.Balancer.Timer)
		}
		for _, phase := range phases {
			s := c.shifted(phase)
			if s.At != c.At+phase || s.Load.Duration-s.At != c.Load.Duration-c.At {
				t.Errorf("cell %s shifted by %s: fault at %s of %s", c.Name, phase, s.At, s.Load.Duration)
			}
		}
	}
}

// The fault of these tests comes a minute after the load; the first of three
// backends has it.
const faultSeen = `{"incidents": [
 {"id": 1, "state": "resolved", "cause": "peer_refusing", "scope": "backend/shop/a", "peak_severity": "critical", "suspected_at": "2026-11-21T04:01:00.5Z", "opened_at": "2026-11-21T04:01:01Z", "resolved_at": "2026-11-21T04:01:23Z",
  "timeline": [
   {"at": "2026-11-21T04:01:00.5Z", "what": "suspect: refused"},
   {"at": "2026-11-21T04:01:01Z", "what": "open, watch: refused", "severity": "watch"},
   {"at": "2026-11-21T04:01:02Z", "what": "now warning: refused", "severity": "warning"},
   {"at": "2026-11-21T04:01:10Z", "what": "now critical: refused for 10 s", "severity": "critical"},
   {"at": "2026-11-21T04:01:23Z", "what": "resolved: recovered"}]},
 {"id": 2, "state": "resolved", "cause": "orderly_stop", "scope": "backend/shop/a", "peak_severity": "watch", "suspected_at": "2026-11-21T04:01:00.7Z", "opened_at": "2026-11-21T04:01:00.7Z", "resolved_at": "2026-11-21T04:01:05Z",
  "timeline": [{"at": "2026-11-21T04:01:00.7Z", "what": "open, watch: FIN to all", "severity": "watch"}, {"at": "2026-11-21T04:01:05Z", "what": "resolved: came true"}]},
 {"id": 3, "state": "open", "cause": "peer_slow", "scope": "backend/shop/b", "peak_severity": "watch", "suspected_at": "2026-11-21T04:01:04Z", "opened_at": "2026-11-21T04:01:04Z", "resolved_at": null,
  "timeline": [{"at": "2026-11-21T04:01:04Z", "what": "open, watch: pending", "severity": "watch"}]},
 {"id": 4, "state": "open", "cause": "workers_full", "scope": "service/web", "peak_severity": "warning", "suspected_at": "2026-11-21T04:01:05Z", "opened_at": "2026-11-21T04:01:05Z", "resolved_at": null,
  "timeline": [{"at": "2026-11-21T04:01:05Z", "what": "open, warning: queue wait", "severity": "warning"}]},
 {"id": 5, "state": "resolved", "cause": "churn", "scope": "backend/shop/c", "peak_severity": "warning", "suspected_at": "2026-11-21T04:00:30Z", "opened_at": "2026-11-21T04:00:30Z", "resolved_at": "2026-11-21T04:00:40Z",
  "timeline": [{"at": "2026-11-21T04:00:30Z", "what": "open, warning: opens", "severity": "warning"}, {"at": "2026-11-21T04:00:40Z", "what": "resolved: recovered"}]},
 {"id": 6, "state": "suspect", "cause": "leak", "scope": "backend/shop/a", "suspected_at": "2026-11-21T04:01:09Z", "opened_at": null, "resolved_at": null,
  "timeline": [{"at": "2026-11-21T04:01:09Z", "what": "suspect: ageing"}]}
]}`

func TestBackendSum(t *testing.T) {
	remotes := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("192.0.2.2:80"), netip.MustParseAddrPort("192.0.2.3:80")}
	run := backendRun{courseRun: courseRun{
		fault: began.Add(time.Minute), answered: began.Add(80 * time.Second), verdict: began.Add(66 * time.Second),
		records: []lab.Record{
			request(0, time.Second, lab.Timeout), // before the fault
			request(61*time.Second, 20*time.Millisecond, lab.OK),
			request(58*time.Second, 5*time.Second, lab.Reset),
			request(62*time.Second, time.Second/2, lab.Status),
		},
		incidents: answer(t, faultSeen)},
		remotes: map[string]netip.AddrPort{"backend/shop/a": remotes[0], "backend/shop/b": remotes[1], "backend/shop/c": remotes[2]},
		members: remotes,
	}
	goal := want(withinAtOnce, "peer_refusing").then("orderly_stop")
	goal.Resolved = 5 * time.Second
	before, sibling, outside := "backend/shop/c churn warning", "backend/shop/b peer_slow watch", "service/web workers_full warning"
	whole := BackendOutcome{Remote: "192.0.2.1:80", Course: Course{
		Requests: 4, Failed: 2, Ends: map[lab.Outcome]int{lab.Reset: 1, lab.Status: 1}, FirstFailed: inSeconds(2.5),
		Suspect: inSeconds(0.5), Watch: inSeconds(0.7), Found: inSeconds(2), Cause: "peer_refusing", First: "peer_refusing",
		Answered: inSeconds(20), Resolved: inSeconds(23), Verdict: inSeconds(6),
		Siblings: []string{sibling}, Outside: []string{outside, before},
		Missed: []string{"on siblings: " + sibling, "outside the chain: " + outside + ", " + before},
	}}
	for _, test := range []struct {
		name   string
		goal   FaultGoal
		change func(*backendRun, *BackendOutcome)
	}{
		{"a restart", goal, func(*backendRun, *BackendOutcome) {}},
		{"all of it too late", func() FaultGoal {
			g := goal
			g.Within, g.Resolved = time.Second, 2*time.Second
			return g
		}(), func(_ *backendRun, o *BackendOutcome) {
			o.Missed = slices.Concat([]string{"found after 2.0 s, goal 1.0 s"}, o.Missed, []string{"resolved 3.0 s after the first request, goal 2 s"})
		}},
		{"a wrong name", want(withinAtOnce, "path_lost"), func(_ *backendRun, o *BackendOutcome) {
			o.Found, o.Cause = nil, ""
			wrong := "backend/shop/a peer_refusing critical"
			o.Outside = []string{wrong, outside, before}
			o.Missed = []string{"none of path_lost opened at warning", "named peer_refusing first", "on siblings: " + sibling, "outside the chain: " + strings.Join(o.Outside, ", ")}
		}},
		{"a watch is enough", watches("orderly_stop").then("peer_refusing"), func(_ *backendRun, o *BackendOutcome) {
			o.Found, o.Cause, o.First = inSeconds(0.7), "orderly_stop", "orderly_stop"
		}},
		{"every backend", func() FaultGoal { g := goal; g.All = true; return g }(), func(_ *backendRun, o *BackendOutcome) {
			o.Siblings = []string{} // the watch that lasts is not sent
			o.Missed = []string{"outside the chain: " + strings.Join(o.Outside, ", ")}
		}},
		{"nobody asked", goal, func(r *backendRun, o *BackendOutcome) {
			r.answered, o.Answered = time.Time{}, nil
			o.Missed = append(o.Missed, "the backend was asked nothing after its restart: the run proves nothing")
		}},
		{"silence", goal, func(r *backendRun, o *BackendOutcome) {
			r.incidents = nil
			o.Suspect, o.Watch, o.Found, o.Resolved, o.Cause, o.First = nil, nil, nil, nil, "", ""
			o.Siblings, o.Outside = []string{}, []string{}
			o.Missed = []string{"none of peer_refusing opened at warning", "not resolved"}
		}},
	} {
		run, want := run, whole
		want.Outside, want.Missed = slices.Clone(whole.Outside), slices.Clone(whole.Missed)
		test.change(&run, &want)
		var got BackendOutcome
		got.sum(BackendCell{Goal: test.goal}, run)
		got.Steps = nil
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
	healthy := BackendOutcome{Course: Course{Healthy: true}}
	run.polls = Polls{20, 20}
	healthy.sum(BackendCell{Healthy: true}, run)
	if len(healthy.Outside) != 3 || len(healthy.Missed) != 1 {
		t.Errorf("a healthy day: outside %v, missed %v", healthy.Outside, healthy.Missed)
	}
	if len(healthy.Steps) != 12 || !strings.HasPrefix(healthy.Steps[0], "+0.5s backend/shop/a peer_refusing: suspect") {
		t.Errorf("steps %q", healthy.Steps)
	}
}

// TestBlindDay: a day on which nothing was found is a goal missed when the agent
// saw nothing, not every backend, or nobody asked.
func TestBlindDay(t *testing.T) {
	members := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("192.0.2.2:80")}
	asked := []lab.Record{request(0, time.Second, lab.OK)}
	for name, test := range map[string]struct {
		run  backendRun
		want []string
	}{
		"seen":         {backendRun{courseRun: courseRun{records: asked, polls: Polls{20, 19}}}, []string{}},
		"nobody asked": {backendRun{courseRun: courseRun{polls: Polls{20, 20}}}, []string{"no request: the load proves nothing"}},
		"blind":        {backendRun{courseRun: courseRun{records: asked, polls: Polls{20, 18}}}, []string{"the agent saw it in 18 of 20 polls"}},
		"half blind":   {backendRun{courseRun: courseRun{records: asked, polls: Polls{20, 20}}, unseen: members[1:]}, []string{"the agent never saw [192.0.2.2:80]"}},
	} {
		test.run.members = members
		got := BackendOutcome{Course: Course{Healthy: true}}
		got.sum(BackendCell{Healthy: true}, test.run)
		if diff := cmp.Diff(test.want, got.Missed); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// runsOf are outcomes of one cell: found after those seconds, the balancer's
// verdict after these; negative is never.
func runsOf(cell string, found, verdict []float64) []BackendOutcome {
	at := func(s float64) *time.Duration {
		if s < 0 {
			return nil
		}
		return inSeconds(s)
	}
	var out []BackendOutcome
	for i := range found {
		out = append(out, BackendOutcome{Course: Course{Cell: cell, Found: at(found[i]), Verdict: at(verdict[i]), Cause: "path_lost", Requests: 100, Failed: 1}})
	}
	return out
}

func TestBackendTable(t *testing.T) {
	outcomes := slices.Concat(
		runsOf("haproxy-blackholed", []float64{1, 3, 2}, []float64{11, 12, 13}),
		runsOf("nginx-hang", []float64{2, -1}, []float64{-1, -1}),
		[]BackendOutcome{{Course: Course{Cell: "healthy-nginx-burst", Healthy: true, Requests: 50}}},
	)
	outcomes[4].Missed = []string{"none of path_lost opened at warning"}
	want := `| fault | runs | named as | found p50 | p95 | balancer p50 | p95 | lead p50 | probe p50 | first error p50 | lost of requests | goals missed |
|---|---|---|---|---|---|---|---|---|---|---|---|
| haproxy-blackholed | 3 | path_lost | 2.0 | 3.0 | 12.0 | 13.0 | 10.0 | never | never | 3 of 300 | – |
| nginx-hang | 2 | path_lost | 2.0 | never | never | never | – | never | never | 2 of 200 | none of path_lost opened at warning (1×) |

| healthy | runs | requests | failed | at warning or above |
|---|---|---|---|---|
| healthy-nginx-burst | 1 | 50 | 0 | – |
`
	if diff := cmp.Diff(want, BackendTable(outcomes)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := BackendTable(nil); got != "" {
		t.Errorf("of nothing: %q", got)
	}
}

// TestBackendPicture: it is XML, everything is within it, and each fault has
// its name and its marks.
func TestBackendPicture(t *testing.T) {
	picture := BackendPicture(slices.Concat(
		runsOf("haproxy-<blackholed>", []float64{1}, []float64{600}), runsOf("nginx-hang", []float64{-1}, []float64{-1}),
		[]BackendOutcome{{Course: Course{Cell: "healthy-nginx-burst", Healthy: true}}},
	))
	circles := 0
	for in := xml.NewDecoder(strings.NewReader(picture)); ; {
		token, err := in.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, picture)
		}
		element, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if element.Name.Local == "circle" {
			circles++
		}
		for _, a := range element.Attr {
			if a.Name.Local == "cx" && len(a.Value) > 3 || strings.HasPrefix(a.Value, "-") {
				t.Errorf("%s %s=%q is outside", element.Name.Local, a.Name.Local, a.Value)
			}
		}
	}
	if want := 4 + 2*3; circles != want {
		t.Errorf("%d marks, want %d: four of the legend, and three of each fault, as no client failed", circles, want)
	}
	if !strings.Contains(picture, "haproxy-&lt;blackholed&gt;") || strings.Contains(picture, "healthy") {
		t.Errorf("names are wrong in\n%s", picture)
	}
	if got := BackendPicture(nil); got != "" {
		t.Errorf("of nothing: %q", got)
	}
}

// TestContainedCells: each fault in a container is the same outside of one, and
// its name says so.
func TestContainedCells(t *testing.T) {
	all := map[string]BackendCell{}
	for _, c := range BackendCells() {
		all[c.Name] = c
	}
	contained := 0
	for _, inside := range all {
		if !inside.Contained {
			if strings.Contains(inside.Name, "contained") {
				t.Errorf("cell %s is not contained", inside.Name)
			}
			continue
		}
		contained++
		outside, ok := all[outsideOf(inside.Name)]
		if !ok || outside.Contained || outside.Fault != inside.Fault || outside.At != inside.At || len(outside.Events) != len(inside.Events) ||
			outside.Load.Duration != inside.Load.Duration || outside.Goal.Within != inside.Goal.Within {
			t.Errorf("cell %s has no twin outside: %+v", inside.Name, outside)
		}
	}
	if contained < 24 {
		t.Errorf("%d contained cells: some are missing", contained)
	}
}

func TestFollowedMisses(t *testing.T) {
	whole := Followed{What: "restart", Connected: inSeconds(0.2), Shown: inSeconds(0.6), Named: inSeconds(1)}
	tests := []struct {
		name   string
		change func(*Followed)
		want   string // in it
	}{
		{"followed", func(*Followed) {}, ""},
		{"one look was blind", func(f *Followed) { f.Blind = 1 }, ""},
		{"two were", func(f *Followed) { f.Blind = 2 }, "after 2 looks"},
		{"never shown", func(f *Followed) { f.Shown = nil }, "not followed"},
		{"the balancer did nothing", func(f *Followed) { f.Connected, f.Shown = nil, nil }, "proves nothing"},
		{"not measured", func(f *Followed) { f.Problem = "no agent" }, "no agent"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := whole
			tt.change(&f)
			got := f.misses()
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("misses %q, want %q in it", got, tt.want)
			}
			outcome := BackendOutcome{Followed: []Followed{whole, f}}
			if missed := outcome.blind(); slices.Contains(missed, got) != (got != "") {
				t.Errorf("missed %q of a restart that misses %q", missed, got)
			}
		})
	}
}

// TestLasts: a finding that ends while its backend is dead is a goal missed.
func TestLasts(t *testing.T) {
	goal := want(withinAtOnce, "peer_refusing")
	goal.Lasts = true
	outcome := Course{Found: inSeconds(1), First: "peer_refusing"}
	if missed := goal.misses(outcome); len(missed) > 0 {
		t.Errorf("it lasts, and misses %q", missed)
	}
	outcome.Resolved = inSeconds(20)
	if diff := cmp.Diff([]string{"resolved after 20.0 s, while the fault lasts"}, goal.misses(outcome)); diff != "" {
		t.Errorf("goals missed (-want +got):\n%s", diff)
	}
}

func TestContainedTables(t *testing.T) {
	outcomes := []BackendOutcome{
		{Course: Course{Cell: "haproxy-killed", Found: inSeconds(0.6)}},
		{Course: Course{Cell: "haproxy-hang", Found: inSeconds(2.6)}},
		{Course: Course{Cell: "haproxy-contained-killed", Found: inSeconds(0.8)}, Contained: true},
		{Course: Course{Cell: "haproxy-contained-killed", Missed: []string{"none of peer_refusing opened at warning"}}, Contained: true},
		{Course: Course{Cell: "traefik-contained-killed", Found: inSeconds(1)}, Contained: true}, // not played outside
		{Course: Course{Cell: "healthy-haproxy-restart", Healthy: true}, Followed: []Followed{
			{Connected: inSeconds(0.2), Shown: inSeconds(0.4), Named: inSeconds(1)}, {Connected: inSeconds(0.3), Shown: inSeconds(0.9), Blind: 1},
		}},
	}
	want := `| fault | runs outside | found p50 | p95 | runs in a container | found p50 | p95 | goals missed there |
|---|---|---|---|---|---|---|---|
| haproxy-killed | 1 | 0.6 | 0.6 | 2 | 0.8 | never | none of peer_refusing opened at warning (1×) |
`
	if diff := cmp.Diff(want, ContainedTable(outcomes)); diff != "" {
		t.Errorf("in and out of a container (-want +got):\n%s", diff)
	}
	want = `| balancer restarted | restarts | connected after | shown after | blind looks | process named after | goals missed |
|---|---|---|---|---|---|---|
| healthy-haproxy-restart | 2 | 0.3 | 0.9 | 1 | never | – |
`
	if diff := cmp.Diff(want, RestartTable(outcomes)); diff != "" {
		t.Errorf("restarts (-want +got):\n%s", diff)
	}
	if got := ContainedTable(outcomes[:2]) + RestartTable(outcomes[:2]); got != "" {
		t.Errorf("tables of nothing:\n%s", got)
	}
}

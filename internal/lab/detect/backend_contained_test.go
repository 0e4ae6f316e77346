package detect

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

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

func inSeconds(n float64) *time.Duration { return new(time.Duration(n * float64(time.Second))) }

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
			if missed := (BackendGoal{}).misses(outcome); slices.Contains(missed, got) != (got != "") {
				t.Errorf("the goal misses %q of a restart that misses %q", missed, got)
			}
		})
	}
}

// TestLasts: a finding that ends while its backend is dead is a goal missed.
func TestLasts(t *testing.T) {
	goal := want(withinAtOnce, "peer_refusing")
	goal.Lasts = true
	outcome := BackendOutcome{Found: inSeconds(1), First: "peer_refusing"}
	if missed := goal.misses(outcome); len(missed) > 0 {
		t.Errorf("it lasts, and misses %q", missed)
	}
	outcome.Resolved = inSeconds(20)
	if diff := cmp.Diff([]string{"resolved after 20.0 s, while the backend is dead"}, goal.misses(outcome)); diff != "" {
		t.Errorf("goals missed (-want +got):\n%s", diff)
	}
}

func TestContainedTables(t *testing.T) {
	outcomes := []BackendOutcome{
		{Cell: "haproxy-killed", Found: inSeconds(0.6)},
		{Cell: "haproxy-hang", Found: inSeconds(2.6)},
		{Cell: "haproxy-contained-killed", Contained: true, Found: inSeconds(0.8)},
		{Cell: "haproxy-contained-killed", Contained: true, Missed: []string{"none of peer_refusing opened at warning"}},
		{Cell: "traefik-contained-killed", Contained: true, Found: inSeconds(1)}, // not played outside
		{Cell: "healthy-haproxy-restart", Healthy: true, Followed: []Followed{
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

package judge

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestTroubles: each trouble has the life of an incident: its hold, its end once
// it has been gone for a while, and a new one when it comes back.
func TestTroubles(t *testing.T) {
	at := func(seconds int) time.Time { return scenarioStart.Add(time.Duration(seconds) * time.Second) }
	history := Trouble{What: "history", Severity: Warning, Sentence: "No.", Trigger: "it fails for 1 min", Hold: time.Minute}
	late := history
	late.Since = at(-50)
	config := Trouble{What: "configuration", Severity: Warning, Sentence: "No.", Trigger: "it was refused"}
	worse := config
	worse.Severity = Critical
	type tick struct {
		at       int
		troubles []Trouble
	}
	for _, tt := range []struct {
		name  string
		ticks []tick
		want  []string
	}{
		{"held", []tick{{0, []Trouble{history}}, {59, []Trouble{history}}, {60, []Trouble{history}}, {70, nil}, {80, nil}}, []string{
			"  0.00s  #1 agent/history agent_trouble: suspect: it fails for 1 min",
			" 60.00s  #1 agent/history agent_trouble: open, warning: it fails for 1 min",
			" 80.00s  #1 agent/history agent_trouble: resolved: recovered",
		}},
		{"since before it was seen", []tick{{0, []Trouble{late}}, {10, []Trouble{late}}}, []string{
			"  0.00s  #1 agent/history agent_trouble: suspect: it fails for 1 min",
			" 10.00s  #1 agent/history agent_trouble: open, warning: it fails for 1 min",
		}},
		{"over before it is told", []tick{{0, []Trouble{history}}, {30, nil}, {31, []Trouble{history}}, {80, []Trouble{history}}}, nil},
		{"gone for a moment", []tick{{0, []Trouble{config}}, {5, nil}, {14, []Trouble{config}}, {20, nil}, {29, nil}, {30, nil}}, []string{
			"  0.00s  #1 agent/configuration agent_trouble: suspect: it was refused",
			"  0.00s  #1 agent/configuration agent_trouble: open, warning: it was refused",
			" 30.00s  #1 agent/configuration agent_trouble: resolved: recovered",
		}},
		{"worse, beside another", []tick{{0, []Trouble{config, late}}, {10, []Trouble{worse, late}}}, []string{
			"  0.00s  #1 agent/configuration agent_trouble: suspect: it was refused",
			"  0.00s  #1 agent/configuration agent_trouble: open, warning: it was refused",
			"  0.00s  #2 agent/history agent_trouble: suspect: it fails for 1 min",
			" 10.00s  #1 agent/configuration agent_trouble: now critical: it was refused",
			" 10.00s  #2 agent/history agent_trouble: open, warning: it fails for 1 min",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := New(&Numbers{})
			var out strings.Builder
			told := map[uint64]int{}
			for _, tick := range tt.ticks {
				narrate(&out, j.StepTroubles(at(tick.at), tick.troubles), told)
			}
			got := map[string]bool{} // by incident they are told late: the order is the timeline's
			for line := range strings.Lines(out.String()) {
				got[strings.TrimSpace(line)] = true
			}
			want := map[string]bool{}
			for _, line := range tt.want {
				want[strings.TrimSpace(line)] = true
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	j := New(&Numbers{})
	inc := j.StepTroubles(at(0), []Trouble{config})[0]
	if !j.Acknowledge(at(1), inc.ID, "ann") || j.Acknowledge(at(1), 9, "ann") {
		t.Error("not that one was acknowledged")
	}
	want := Finding{
		Scope: inc.Finding.Scope, Cause: AgentTrouble, Severity: Warning, Certainty: Certain, Sentence: "No.", Hurt: "nobody by itself: what would be seen or told meanwhile may be missed", Trigger: "it was refused", Basis: "so for 0 s",
	}
	if diff := cmp.Diff(want, inc.Finding); diff != "" || inc.Finding.Scope.String() != "agent/configuration" {
		t.Errorf("%s (-want +got):\n%s", inc.Finding.Scope, diff)
	}
}

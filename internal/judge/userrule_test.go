package judge

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/scope"
)

func userRule(t *testing.T, name, text string, hold time.Duration) rule.Rule {
	t.Helper()
	when, err := rule.Compile(name, text)
	if err != nil {
		t.Fatal(err)
	}
	return rule.Rule{Name: name, When: when, Hold: hold, Severity: rule.Warning, Advice: "Look at " + name + "."}
}

// ruled plays one value of one signal per second and returns every step of
// every incident.
type ruled struct {
	t    *testing.T
	j    *Judge
	at   time.Time
	told map[uint64]int
	said []string
}

func newRuled(t *testing.T, rules ...rule.Rule) *ruled {
	r := &ruled{t: t, j: New(&Numbers{}), at: scenarioStart, told: map[uint64]int{}}
	r.j.SetRules(r.at, rules)
	return r
}

// seconds plays the accepted count for so many seconds; -1 is unknown, -2 that
// the service is gone.
func (r *ruled) seconds(n int, accepted float64) {
	r.t.Helper()
	for range n {
		view := measure.View{At: r.at, Scopes: []measure.ScopeSignals{{Scope: scope.Host}}}
		if accepted > -2 {
			web := measure.ScopeSignals{Scope: scope.ID{Kind: scope.KindService, Name: "web"}}
			if accepted >= 0 {
				web.Readings[measure.Accepted] = measure.Reading{Value: accepted, Seen: r.at, Good: 2500 * time.Millisecond, Validity: measure.Known}
			}
			view.Scopes = append(view.Scopes, web)
		}
		for _, inc := range r.j.Step(r.at, &view) {
			if inc.Finding.Cause != UserRule {
				continue
			}
			for _, step := range inc.Timeline[r.told[inc.ID]:] {
				r.said = append(r.said, fmt.Sprintf("%.0fs #%d %s %s: %s", step.At.Sub(scenarioStart).Seconds(), inc.ID, inc.Finding.Scope, inc.Finding.Rule, step.What))
			}
			r.told[inc.ID] = len(inc.Timeline)
			if worst := worstStep(&inc); worst != inc.Peak {
				r.t.Errorf("incident %d: its steps say %s, its peak is %s", inc.ID, worst, inc.Peak)
			}
		}
		r.at = r.at.Add(time.Second)
	}
}

func (r *ruled) want(lines ...string) {
	r.t.Helper()
	if diff := cmp.Diff(lines, r.said); diff != "" {
		r.t.Errorf("steps (-want +got):\n%s", diff)
	}
}

func TestUserRuleLives(t *testing.T) {
	r := newRuled(t, userRule(t, "busy", "service.accepted > 5", 5*time.Second))
	r.seconds(5, 1)
	r.seconds(3, 9) // not long enough
	r.seconds(5, 1)
	r.seconds(20, 9)
	inc := r.j.Step(r.at, &measure.View{})[0]
	r.seconds(20, 1)
	r.want(
		"5s #1 service/web busy: suspect: service.accepted > 5",
		"13s #2 service/web busy: suspect: service.accepted > 5",
		"18s #2 service/web busy: open, warning: service.accepted > 5",
		"43s #2 service/web busy: resolved: recovered",
	)
	if inc.Finding.Rule != "busy" || !strings.Contains(inc.Finding.Sentence, "service.accepted > 5") || len(inc.Finding.Evidence) != 1 ||
		inc.Finding.Evidence[0].Name() != "service.accepted" || inc.Finding.Evidence[0].Reading.Value != 9 || inc.Finding.Advice[0] != "Look at busy." {
		t.Errorf("the finding does not explain itself: %+v", inc.Finding)
	}
}

func TestUserRuleUnknownNeitherOpensNorClears(t *testing.T) {
	r := newRuled(t, userRule(t, "busy", "service.accepted > 5", 5*time.Second))
	r.seconds(10, 9)
	r.seconds(100, -1)
	if inc := r.j.Step(r.at, &measure.View{})[0]; inc.State != Open || inc.BlindSince.IsZero() {
		t.Errorf("after 100 s of blindness it is %s, blind since %s; want open and blind", inc.State, inc.BlindSince)
	}
	r.seconds(900, -1)
	if inc := r.j.Step(r.at, &measure.View{})[0]; inc.State != Resolved || inc.End != NoEvidence {
		t.Errorf("after 15 min of blindness it is %s, %s; want resolved for want of evidence", inc.State, inc.End)
	}
}

func TestUserRuleChanges(t *testing.T) {
	busy, idle := userRule(t, "busy", "service.accepted > 5", time.Second), userRule(t, "other", "service.accepted > 7", time.Second)
	r := newRuled(t, busy, idle)
	r.seconds(10, 9)
	r.j.SetRules(r.at, []rule.Rule{busy, userRule(t, "other", "service.accepted > 8", time.Second)})
	r.seconds(1, 9)
	states := func() (out []string) {
		for _, inc := range r.j.Incidents() {
			out = append(out, inc.Finding.Rule+" "+inc.State.String()+" "+inc.End.String())
		}
		return out
	}
	if diff := cmp.Diff([]string{"other suspect ", "busy open ", "other resolved rule_removed"}, states()); diff != "" {
		t.Errorf("after a change of one rule (-want +got):\n%s", diff)
	}
	r.seconds(3, 9)
	r.seconds(20, -2)
	if diff := cmp.Diff([]string{"other resolved scope_gone", "busy resolved scope_gone", "other resolved rule_removed"}, states()); diff != "" {
		t.Errorf("after the service went (-want +got):\n%s", diff)
	}
	if r.j.Acknowledge(r.at, 1, "ops") {
		t.Error("an incident that is over was acknowledged")
	}
}

func TestUserRuleOfTheHost(t *testing.T) {
	j := New(&Numbers{})
	j.SetRules(scenarioStart, []rule.Rule{userRule(t, "resets", "host.resets_sent_per_second > 10", 0)})
	host := measure.ScopeSignals{Scope: scope.Host}
	host.Readings[measure.ResetsSentRate] = measure.Reading{Value: 50, Seen: scenarioStart, Validity: measure.Known}
	got := j.Step(scenarioStart, &measure.View{At: scenarioStart, Scopes: []measure.ScopeSignals{host}})
	if len(got) != 1 || got[0].Finding.Scope != scope.Host || got[0].State != Open {
		t.Errorf("incidents %+v, want one of the host", got)
	}
	if !j.Acknowledge(scenarioStart, got[0].ID, "ops") {
		t.Error("it cannot be acknowledged")
	}
}

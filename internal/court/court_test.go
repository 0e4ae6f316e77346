package court_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/court"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/recording/recordingtest"
	"github.com/foreshock/foreshock/internal/rule"
)

// always opens an incident on each namespace's host.
func always(t *testing.T) []rule.Rule {
	t.Helper()
	when, err := rule.Compile("always", "host.active_opens_per_second >= 0")
	if err != nil {
		t.Fatal(err)
	}
	return []rule.Rule{{Name: "always", When: when, Severity: rule.Warning}}
}

// steps are the pulses of namespaces, by time.
func steps(span time.Duration, namespaces ...string) []measure.Step {
	var out []measure.Step
	for _, name := range namespaces {
		out = append(out, recordingtest.All(recordingtest.Config{Namespace: name, Services: 1, Span: span, Pulse: 250 * time.Millisecond})...)
	}
	slices.SortStableFunc(out, func(a, b measure.Step) int { return a.At.Compare(b.At) })
	return out
}

// said is the incidents in the court's order: "host@shop open".
func said(c *court.Court, at time.Time) []string {
	var out []string
	for _, i := range c.Incidents(at) {
		by := ""
		if i.AcknowledgedBy != "" {
			by = ", " + i.AcknowledgedBy
		}
		out = append(out, fmt.Sprintf("%d %s %s%s", i.ID, i.Finding.Scope, i.State, by))
	}
	return out
}

// TestNamespaces: incidents are numbered and listed together; one of a
// namespace that ended can still be taken, ends with the rule that found it,
// and is remembered.
func TestNamespaces(t *testing.T) {
	c := court.New(always(t), &judge.Numbers{})
	if got := said(c, recordingtest.Start); got != nil {
		t.Errorf("before the first step: %q", got)
	}
	var at time.Time
	for _, s := range steps(5*time.Second, "", "shop", "mail") {
		c.Step(s)
		at = s.At
	}
	check := func(name string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, said(c, at)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	check("three", "3 host@mail open", "2 host@shop open", "1 host open")
	life := c.Life()

	at = at.Add(time.Second)
	c.Step(measure.Step{Namespace: "shop", At: at, Left: true})
	c.Step(measure.Step{Namespace: "never seen", At: at, Left: true})
	if got := c.Gone(); !slices.Equal(got, []string{"shop"}) {
		t.Errorf("gone: %q", got)
	}
	if !c.Acknowledge(at, 2, "ann") || !c.Acknowledge(at, 3, "bob") || c.Acknowledge(at, 9, "ann") {
		t.Error("not those two were acknowledged")
	}
	check("taken", "3 host@mail open, bob", "2 host@shop open, ann", "1 host open")
	if c.Life() == life {
		t.Error("the life of the incidents does not tell that they were taken")
	}

	c.SetRules(at, nil)
	for _, s := range steps(time.Second, "", "mail") {
		at = s.At.Add(7 * time.Second)
		s.At, s.Tallies.Look.Begin = at, at
		c.Step(s)
	}
	if got := c.Gone(); got != nil {
		t.Errorf("still gone: %q", got)
	}
	check("over", "3 host@mail resolved, bob", "2 host@shop resolved, ann", "1 host resolved")
}

// TestOutside: the fault of the host's own namespace explains what fails in the
// others at the same time, and not the other way round.
func TestOutside(t *testing.T) {
	const from, to = 90 * time.Second, 110 * time.Second
	lost := func(namespace string, backends int) []measure.Step {
		cfg := recordingtest.Config{Namespace: namespace, Backends: backends, Span: 2 * time.Minute, Pulse: 250 * time.Millisecond, Focus: time.Second}
		for i := range backends {
			cfg.Faults = append(cfg.Faults, recordingtest.Fault{Kind: recordingtest.Blackhole, Scope: recordingtest.Backend(i).In(namespace), From: from, To: to})
		}
		return recordingtest.All(cfg)
	}
	play := func(own, pod int) (because map[string]string) {
		all := slices.Concat(lost("", own), lost("pod", pod))
		slices.SortStableFunc(all, func(a, b measure.Step) int { return a.At.Compare(b.At) })
		c := court.New(nil, &judge.Numbers{})
		because = map[string]string{}
		for _, s := range all {
			c.Step(s)
			for _, i := range c.Incidents(s.At) {
				if i.State != judge.Open || i.Finding.Cause != judge.PathLost && i.Finding.Cause != judge.LocalFault {
					continue
				}
				because[i.Finding.Scope.String()+" "+i.Finding.Cause.String()] = i.Because.String()
			}
		}
		return because
	}
	all := func(namespace string, n int, because string) map[string]string {
		out := map[string]string{}
		for i := range n {
			out[recordingtest.Backend(i).In(namespace).String()+" path_lost"] = because
		}
		return out
	}
	for _, tt := range []struct {
		name     string
		own, pod int
		want     []map[string]string
	}{
		{"the host's explains a pod's", 8, 4, []map[string]string{all("", 8, "local_fault"), all("pod", 4, "local_fault"), {"host local_fault": "none"}}},
		{"a pod's explains none of the host's", 4, 8, []map[string]string{all("", 4, "none"), all("pod", 8, "local_fault"), {"host@pod local_fault": "none"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := map[string]string{}
			for _, m := range tt.want {
				maps.Copy(want, m)
			}
			if diff := cmp.Diff(want, play(tt.own, tt.pod)); diff != "" {
				t.Errorf("what explains what (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTrouble: the agent's own trouble is among the incidents, numbered with
// them, and can be taken; it is nothing to any namespace.
func TestTrouble(t *testing.T) {
	c := court.New(always(t), &judge.Numbers{})
	var at time.Time
	for _, s := range steps(2*time.Second, "") {
		c.Step(s)
		at = s.At
	}
	c.Incidents(at)
	life := c.Life()
	full := judge.Trouble{What: "history", Severity: judge.Warning, Sentence: "It is full."}
	c.Trouble(at, []judge.Trouble{full})
	if diff := cmp.Diff([]string{"2 agent/history open", "1 host open"}, said(c, at)); diff != "" {
		t.Errorf("in trouble (-want +got):\n%s", diff)
	}
	if c.Life() == life {
		t.Error("the life of the incidents does not tell")
	}
	if !c.Acknowledge(at, 2, "ann") {
		t.Error("it cannot be taken")
	}
	c.Trouble(at.Add(time.Second), nil)
	c.Trouble(at.Add(20*time.Second), nil)
	if diff := cmp.Diff([]string{"1 host open", "2 agent/history resolved, ann"}, said(c, at.Add(20*time.Second))); diff != "" {
		t.Errorf("after it (-want +got):\n%s", diff)
	}
}

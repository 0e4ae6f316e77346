package demo

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/judge"
)

func TestScenarioNames(t *testing.T) {
	for _, want := range Scenarios() {
		if got, err := ParseScenario(want.String()); err != nil || got != want {
			t.Errorf("ParseScenario(%q) = %v, %v", want, got, err)
		}
		if d := want.Duration(); d < MinDuration || d > MaxDuration {
			t.Errorf("%s takes %s, outside of the bounds", want, d)
		}
	}
	if _, err := ParseScenario("invalid"); err == nil {
		t.Error("the invalid scenario has a name")
	}
}

func TestTableIsHonest(t *testing.T) {
	sum := Summary{
		Seen: []Seen{
			{Cause: judge.WorkersFull, Severity: judge.Warning, At: 10 * time.Second},
			{Cause: judge.WorkersFull, Severity: judge.Critical, At: 15 * time.Second},
		},
		Truth: Truth{FirstSlow: 8 * time.Second, FirstFailed: 12 * time.Second},
	}
	want := strings.Join([]string{
		"forecast               did not come",
		"warning                10.0 s",
		"critical               15.0 s",
		"first slow request     8.0 s",
		"first failed request   12.0 s",
		"The warning came 2.0 s before the first failed request.",
		"The critical finding came 3.0 s after the first failed request.",
		"",
	}, "\n")
	if diff := cmp.Diff(want, sum.Table()); diff != "" {
		t.Error(diff)
	}
}

func TestAddNotesEachSeverityOnce(t *testing.T) {
	inc := judge.Incident{State: judge.Open, Finding: judge.Finding{Cause: judge.WorkersFull, Severity: judge.Warning}}
	suspected := inc
	suspected.State = judge.Suspected
	var s Summary
	if got := s.add(Moment{Incidents: []judge.Incident{suspected}}); len(got) != 0 {
		t.Errorf("a suspicion is news: %v", got)
	}
	s.add(Moment{At: 1, Incidents: []judge.Incident{inc}})
	s.add(Moment{At: 2, Incidents: []judge.Incident{inc}})
	inc.Finding.Severity = judge.Critical
	s.add(Moment{At: 3, Incidents: []judge.Incident{inc}})
	inc.Finding.Severity = judge.Warning // it declines: no news
	s.add(Moment{At: 4, Incidents: []judge.Incident{inc}})
	want := []Seen{
		{Cause: judge.WorkersFull, Severity: judge.Warning, At: 1},
		{Cause: judge.WorkersFull, Severity: judge.Critical, At: 3},
	}
	if diff := cmp.Diff(want, s.Seen); diff != "" {
		t.Error(diff)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	looks := 0
	sum, err := Run(ctx, SlowClients, MaxDuration, func(Moment) {
		if looks++; looks == 3 {
			cancel()
		}
	}, func(Seen) {})
	if err != nil || sum.Lasted >= MaxDuration {
		t.Errorf("lasted %s, error %v", sum.Lasted, err)
	}
	if _, err := Run(t.Context(), Leak, time.Second, nil, nil); err == nil {
		t.Error("a run of 1 s is accepted")
	}
}

package judge

import (
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// TestBalancerSaysDown: the timeline says which of the two was first.
func TestBalancerSaysDown(t *testing.T) {
	for _, tt := range []struct {
		seen time.Duration // after it was suspected
		want string
	}{
		{-30 * time.Second, "its balancer calls it down, 30 s before"},
		{12 * time.Second, "its balancer calls it down, 12 s after this was suspected"},
	} {
		f := &caseFile{}
		f.dossiers[PathLost] = &dossier{incident: Incident{State: Open, SuspectedAt: scenarioStart}}
		s := &measure.ScopeSignals{}
		s.Readings[measure.BalancerUp] = measure.Reading{Seen: scenarioStart.Add(tt.seen), Validity: measure.Known}
		f.noteBalancer(scenarioStart.Add(time.Minute), subject{scope: s})
		if got := f.dossiers[PathLost].incident.Timeline[0].What; got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// TestSynFloodShowsItsLevel: beside several listeners the level of one backlog
// is what decides, and what is shown.
func TestSynFloodShowsItsLevel(t *testing.T) {
	known := func(v float64) measure.Reading { return measure.Reading{Value: v, Validity: measure.Known} }
	service, host := &measure.ScopeSignals{Scope: scope.ID{Kind: scope.KindService, Name: "web"}}, &measure.ScopeSignals{}
	service.Readings[measure.SynRecv], service.Readings[measure.QueueLimit] = known(480), known(4*511)
	service.Readings[measure.QueueDepth], service.Readings[measure.Listeners] = known(0), known(4)
	host.Readings[measure.SyncookiesSentRate] = known(100)
	s, f := subject{scope: service, host: host}, Finding{Scope: service.Scope}
	explainSynFlood(s, &f)
	if e := f.Evidence[0]; flooded(s) != yes || e.Reading.Value < e.Threshold || e.Threshold < 459 || e.Threshold > 460 {
		t.Errorf("flooded: %s, with %v half open against a threshold of %v; want 459.9", flooded(s), e.Reading.Value, e.Threshold)
	}
}

// TestTurningAwayOfWhatIsNotKnown: while the limit is not known nobody can say
// that the server is below it again, though somebody waits.
func TestTurningAwayOfWhatIsNotKnown(t *testing.T) {
	known := func(v float64) measure.Reading {
		return measure.Reading{Value: v, Samples: int(v), Validity: measure.Known}
	}
	service, host := &measure.ScopeSignals{}, &measure.ScopeSignals{}
	service.Readings[measure.WorkersOccupied], service.Readings[measure.QueueDepth] = known(30), known(2)
	host.Readings[measure.ResetsSentRate], host.Readings[measure.PassiveOpensRate] = known(20), known(50)
	for limit, want := range map[measure.Validity]truth{measure.Contradicted: cannotTell, measure.Stale: cannotTell, measure.NotSuch: no, measure.Known: no} {
		service.Readings[measure.TurnAwayLimit] = measure.Reading{Value: 30, Validity: limit}
		if got := turningAway(subject{scope: service, host: host}); got != want {
			t.Errorf("with a limit that is %s: %s, want %s", limit, got, want)
		}
	}
}

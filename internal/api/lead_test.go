package api

import (
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/scope"
)

func TestLead(t *testing.T) {
	at := func(seconds int) time.Time {
		if seconds == 0 {
			return time.Time{}
		}
		return now.Add(time.Duration(seconds) * time.Second)
	}
	inc := func(name string, suspected, resolved, down int, end judge.End) judge.Incident {
		return judge.Incident{SuspectedAt: at(suspected), ResolvedAt: at(resolved), BalancerDownAt: at(down), End: end, Finding: judge.Finding{Scope: scope.ID{Kind: scope.KindBackend, Name: name}}}
	}
	for _, tt := range []struct {
		name      string
		incidents []judge.Incident // the first is asked about
		want      time.Duration
		ok        bool
	}{
		{"alone", []judge.Incident{inc("a", 10, 0, 22, 0)}, 12 * time.Second, true},
		{"the balancer was first", []judge.Incident{inc("a", 10, 0, 8, 0)}, -2 * time.Second, true},
		{"it says nothing", []judge.Incident{inc("a", 10, 0, 0, 0)}, 0, false},
		{"it was another cause before", []judge.Incident{inc("a", 20, 0, 22, 0), inc("a", 10, 21, 0, judge.Superseded)}, 12 * time.Second, true},
		{"and another before that", []judge.Incident{inc("a", 20, 0, 22, 0), inc("a", 5, 12, 0, judge.Superseded), inc("a", 10, 21, 0, judge.Superseded)}, 17 * time.Second, true},
		{"called down while it was the other", []judge.Incident{inc("a", 20, 0, 20, 0), inc("a", 10, 21, 14, judge.Superseded)}, 4 * time.Second, true},
		{"one long over is another failure", []judge.Incident{inc("a", 100, 0, 103, 0), inc("a", 10, 21, 12, judge.Superseded)}, 3 * time.Second, true},
		{"one that recovered too", []judge.Incident{inc("a", 20, 0, 22, 0), inc("a", 10, 21, 0, judge.Recovered)}, 2 * time.Second, true},
		{"its sibling's is not its own", []judge.Incident{inc("a", 20, 0, 22, 0), inc("b", 10, 21, 0, judge.Superseded)}, 2 * time.Second, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &Snapshot{Incidents: tt.incidents}
			if got, ok := s.Lead(&s.Incidents[0]); ok != tt.ok || ok && got != tt.want {
				t.Errorf("lead %v, %v; want %v, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

package judge

import (
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// TestSlowLevel: the larger of the last hour's and what was learned over days;
// what is still being learned decides nothing.
func TestSlowLevel(t *testing.T) {
	norm := measure.Norm{Signal: measure.AnswerSlow, High: 3, Minutes: 720, Days: 12, Hours: 3}
	learning := norm
	learning.Learning = true
	tests := []struct {
		name   string
		usual  float64 // of the last hour; 0: not known
		norms  []measure.Norm
		level  float64
		origin string
		known  bool
	}{
		{"the last hour alone", 0.5, nil, 1, "twice its usual slowest over the last hour", true},
		{"a batch each night", 0.5, []measure.Norm{norm}, 3, "usual for weekdays at 2 h, from 12 days", true},
		{"slower since a while", 4, []measure.Norm{norm}, 8, "twice its usual slowest over the last hour", true},
		{"after a restart", 0, []measure.Norm{norm}, 3, "usual for weekdays at 2 h, from 12 days", true},
		{"still learning", 0.5, []measure.Norm{learning}, 1, "twice its usual slowest over the last hour", true},
		{"nothing", 0, []measure.Norm{learning}, 0, "twice its usual slowest over the last hour", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := measure.ScopeSignals{Scope: scope.ID{Kind: scope.KindBackend, Name: "shop/s1"}, Norms: tt.norms}
			if tt.usual > 0 {
				s.Readings[measure.AnswerUsual] = measure.Reading{Value: tt.usual, Good: time.Minute, Validity: measure.Known}
			}
			level, origin, known := subject{scope: &s}.slowLevel()
			if level != tt.level || origin != tt.origin || known != tt.known {
				t.Errorf("got %g, %q, %t; want %g, %q, %t", level, origin, known, tt.level, tt.origin, tt.known)
			}
		})
	}
}

// TestRegionLevels: the evidence of a share names the floor, or what was learned
// where that is higher.
func TestRegionLevels(t *testing.T) {
	norm := measure.Norm{Signal: measure.SynSentShare, High: 0.3, Minutes: 720, Days: 12, Hours: 3}
	low := norm
	low.High = 0.1
	tests := []struct {
		name   string
		norms  []measure.Norm
		level  float64
		origin string
	}{
		{"nothing learned", nil, 0.15, "default"},
		{"more is usual", []measure.Norm{norm}, 0.3, "usual for weekdays at 2 h, from 12 days"},
		{"less is usual", []measure.Norm{low}, 0.15, "default"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := measure.ScopeSignals{Scope: scope.ID{Kind: scope.KindRegion, Name: "east"}, Norms: tt.norms}
			s.Readings[measure.SynSentShare] = measure.Reading{Value: 0.4, Samples: 100, Good: time.Minute, Validity: measure.Known}
			var f Finding
			f.learnedAgainst(subject{scope: &s}, measure.SynSentShare, regionSynSent)
			if len(f.Evidence) != 1 || f.Evidence[0].Threshold != tt.level || f.Evidence[0].Origin != tt.origin {
				t.Errorf("evidence %+v, want level %g, %q", f.Evidence, tt.level, tt.origin)
			}
		})
	}
}

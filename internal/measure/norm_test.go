package measure

import (
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

var (
	normed   = scope.ID{Kind: scope.KindService, Name: "web"}
	anHour   = HoursOf(time.Date(2026, 3, 2, 14, 30, 0, 0, time.UTC))
	saturday = HoursOf(time.Date(2026, 3, 7, 14, 30, 0, 0, time.UTC))
)

// normLook is one look at a service, with what was learned before it.
func normLook(m *Measure, turn int, there bool, norms ...Norm) *ScopeSignals {
	at := time.Date(2026, 3, 2, 14, 30, turn, 0, time.UTC)
	t := Tallies{
		Look:     tcp.Look{Begin: at, Abilities: tcp.AllAbilities, Completeness: tcp.Complete, Request: tcp.Request{Tier: tcp.Full, States: tcp.AllStates, Info: true}},
		Interval: time.Second, Norms: norms,
	}
	if there {
		t.Scopes = []Tally{{Scope: normed, Queue: Queue{Listeners: 1}, Flows: Flows{Known: true, Since: time.Second, New: 4}}}
	}
	return m.Step(at, t).Scope(normed)
}

// TestNormsAreKept: also of a scope that is not there yet, or away for a while;
// who learned them takes them away.
func TestNormsAreKept(t *testing.T) {
	arrivals := Norm{Scope: normed, Signal: NewFlowsRate, Low: 20, Usual: 40, High: 80, Minutes: 300, Days: 5, Hours: anHour}
	shares := Norm{Scope: normed, Signal: CloseWaitShare, High: 0.15, Minutes: 300, Days: 5, Hours: anHour}
	less := arrivals
	less.Low = 10
	learning := arrivals
	learning.Minutes, learning.Learning = 10, true
	gone := Norm{Scope: normed, Signal: NewFlowsRate}
	m := New("")
	steps := []struct {
		name  string
		there bool
		norms []Norm
		want  []Norm
		low   float64
		known bool
	}{
		{"before it is there", false, []Norm{arrivals}, nil, 0, false},
		{"there", true, nil, []Norm{arrivals}, 20, true},
		{"another signal, and anew", true, []Norm{shares, less}, []Norm{shares, less}, 10, true},
		{"away", false, nil, nil, 0, false},
		{"back", true, nil, []Norm{shares, less}, 10, true},
		{"learning decides nothing", true, []Norm{learning}, []Norm{shares, learning}, 0, false},
		{"taken away", true, []Norm{gone}, []Norm{shares}, 0, false},
	}
	for i, s := range steps {
		got := normLook(m, i, s.there, s.norms...)
		if !s.there {
			if got != nil {
				t.Errorf("%s: it is there", s.name)
			}
			continue
		}
		if diff := cmp.Diff(s.want, got.Norms); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.name, diff)
		}
		if low, known := got.Get(NewFlowsLow).Get(); known != s.known || known && low != s.low {
			t.Errorf("%s: low is %g, %t; want %g, %t", s.name, low, known, s.low, s.known)
		}
	}
}

func TestNormsAreBounded(t *testing.T) {
	var n norms
	for i := range 2 * maxNorms {
		n.take(Norm{Scope: scope.ID{Kind: scope.KindService, Name: strconv.Itoa(i)}, Signal: NewFlowsRate, Minutes: 1})
	}
	if n.count != maxNorms || len(n.of) != n.count {
		t.Errorf("%d are kept of %d scopes", n.count, len(n.of))
	}
}

func TestOriginsInWords(t *testing.T) {
	for _, tt := range []struct {
		norm Norm
		want string
	}{
		{Norm{Minutes: 720, Days: 12, Hours: anHour}, "usual for weekdays at 14 h, from 12 days"},
		{Norm{Minutes: 120, Days: 2, Hours: saturday}, "usual for weekends at 14 h, from 2 days"},
		{Norm{Minutes: 200, Days: 1}, "usual for all hours, from 3 h"},
		{Norm{Minutes: 12, Days: 1}, "usual for all hours, from 12 min"},
	} {
		if got := tt.norm.Origin(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestWilson(t *testing.T) {
	// The values of Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
	for _, tt := range []struct{ part, whole, lower, upper float64 }{
		{81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0, 0.1611}, {1, 29, 0.0061, 0.1718}, {0, 0, 0, 1},
	} {
		lower, upper := Wilson(tt.part, tt.whole)
		if math.Abs(lower-tt.lower) > 1e-4 || math.Abs(upper-tt.upper) > 1e-4 {
			t.Errorf("Wilson(%g, %g) = %.4f, %.4f; want %g, %g", tt.part, tt.whole, lower, upper, tt.lower, tt.upper)
		}
	}
}

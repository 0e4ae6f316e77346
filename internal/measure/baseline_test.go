package measure

import (
	"testing"
	"time"
)

// TestBaseline gives a value a minute, ten times the usual from the 10th on.
func TestBaseline(t *testing.T) {
	b := baseline{past: NewWindow(usualSpan, 64), settled: 3 * time.Minute, strange: func(v, usual float64) bool { return v > 2*usual }}
	for minute := range 120 {
		now, value := begin.Add(time.Duration(minute)*time.Minute), 1.0
		if minute >= 10 {
			value = 10
		}
		b.learn(now, value)
		want, wantKnown := 1.0, true
		switch {
		case minute >= 90: // a new habit, once it was seen for 20 min
			want = 10
		case minute >= 70: // an hour of it is no fault
			want, wantKnown = 10, false
		}
		if got, known := b.usual(now); got != want || known != wantKnown {
			t.Fatalf("minute %d: usually %v (known: %v), want %v (%v)", minute, got, known, want, wantKnown)
		}
	}
}

// TestBaselineUnsettled: the first lesson may be of an idle backend; what comes
// in the next minutes is learned whatever it is.
func TestBaselineUnsettled(t *testing.T) {
	b := usualAnswers()
	for minute, seconds := range []float64{0.01, 2, 2} {
		b.learn(begin.Add(time.Duration(minute)*time.Minute), seconds)
	}
	if got, known := b.usual(begin.Add(3 * time.Minute)); got != 2 || !known {
		t.Errorf("usually %v (known: %v), want 2", got, known)
	}
}

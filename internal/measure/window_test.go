package measure

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// plainWindow is what a Window says, worked out anew from a list.
type plainWindow struct {
	span    time.Duration
	most    int
	samples []plainSample
}

type plainSample struct {
	at    time.Time
	value float64
}

func (p *plainWindow) add(at time.Time, value float64) {
	if len(p.samples) == p.most {
		p.samples = p.samples[1:]
	}
	p.samples = append(p.samples, plainSample{at, value})
	for len(p.samples) > 2 && at.Sub(p.samples[1].at) >= p.span {
		p.samples = p.samples[1:]
	}
}

func (p *plainWindow) values() []float64 {
	var out []float64
	for _, s := range p.samples {
		out = append(out, s.value)
	}
	return out
}

func (p *plainWindow) sinceAtMost(level float64) (time.Duration, bool) {
	for i, s := range slices.Backward(p.samples) {
		if s.value <= level {
			return p.samples[len(p.samples)-1].at.Sub(p.samples[i].at), true
		}
	}
	return 0, false
}

func (p *plainWindow) slope() float64 {
	var meanX, meanY, xx, xy float64
	n := float64(len(p.samples))
	x := func(s plainSample) float64 { return s.at.Sub(p.samples[0].at).Seconds() }
	for _, s := range p.samples {
		meanX += x(s) / n
		meanY += s.value / n
	}
	for _, s := range p.samples {
		xx += (x(s) - meanX) * (x(s) - meanX)
		xy += (x(s) - meanX) * (s.value - meanY)
	}
	return xy / xx
}

// TestWindowIsItsPlainTwin: what a window keeps up to date is what a walk over
// its samples would say.
func TestWindowIsItsPlainTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		span := time.Duration(rapid.IntRange(1, 40).Draw(t, "span")) * time.Second
		most := rapid.IntRange(3, 50).Draw(t, "most")
		w, plain := NewWindow(span, most), plainWindow{span: span, most: most}
		at := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
		for range rapid.IntRange(1, 120).Draw(t, "samples") {
			at = at.Add(time.Duration(rapid.IntRange(1, 5000).Draw(t, "after_ms")) * time.Millisecond)
			value := float64(rapid.IntRange(0, 6).Draw(t, "value"))
			if rapid.IntRange(0, 40).Draw(t, "reset") == 0 {
				w.Reset()
				plain.samples = nil
			}
			w.Add(at, value)
			plain.add(at, value)

			values := plain.values()
			if got := w.Len(); got != len(values) {
				t.Fatalf("%d samples, want %v", got, values)
			}
			if got, _ := w.Most(); got != slices.Max(values) {
				t.Fatalf("most %v of %v", got, values)
			}
			sum := 0.0
			for _, v := range values {
				sum += v
			}
			if got := w.Mean(); got != sum/float64(len(values)) {
				t.Fatalf("mean %v of %v", got, values)
			}
			level := float64(rapid.IntRange(-1, 6).Draw(t, "level"))
			since, ok := w.SinceAtMost(level)
			if want, wantOK := plain.sinceAtMost(level); since != want || ok != wantOK {
				t.Fatalf("since at most %v: %v %v, want %v %v, of %v", level, since, ok, want, wantOK, values)
			}
			if trend, ok := w.Trend(); ok && math.Abs(trend.PerSecond-plain.slope()) > 1e-9 {
				t.Fatalf("slope %v, want %v, of %v", trend.PerSecond, plain.slope(), values)
			}
		}
	})
}

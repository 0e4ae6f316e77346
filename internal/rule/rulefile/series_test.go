package rulefile

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// show writes a series out, a word for each sample.
func show(samples []Sample) string {
	var words []string
	for _, s := range samples {
		switch s.Kind {
		case Missing:
			words = append(words, "_")
		case Stale:
			words = append(words, "stale")
		default:
			words = append(words, fmt.Sprintf("%g", s.Value))
		}
	}
	return strings.Join(words, " ")
}

func TestParseSeries(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"5", "5"},
		{"5x3", "5 5 5 5"},
		{"1+2x3", "1 3 5 7"},
		{"9-2x3", "9 7 5 3"},
		{"-2+4x3", "-2 2 6 10"},
		{"1 _x3 stale", "1 _ _ _ stale"},
		{"_", "_"},
		{"0x2  0.1+0.1x2\n_", "0 0 0 0.1 0.2 0.30000000000000004 _"},
		{"1e-3 1e2+1e1x1", "0.001 100 110"},
		{"5x0 _x0", "5"},
	} {
		got, err := ParseSeries(tt.text)
		if err != nil || show(got) != tt.want {
			t.Errorf("%q: %q, %v; want %q", tt.text, show(got), err, tt.want)
		}
	}
	for _, text := range []string{"", " ", "x3", "1+2", "1x", "1x-1", "1xx2", "NaN", "inf", "0x1F", "1_000", "__", "stalex3", "1x100001", "_x99999 _x2", "1e999", "1+1e308x9", "+", "_x0"} {
		if got, err := ParseSeries(text); err == nil {
			t.Errorf("%q is taken as %q", text, show(got))
		}
	}
}

// FuzzParseSeries: no panic; either an error or samples; every value is a
// number; written out, a series parses to itself.
func FuzzParseSeries(f *testing.F) {
	for _, seed := range []string{"5x3", "1+2x3 _x2 stale", "-1e-3-1e2x4", "9-2x3", "-0-0x0", "x", "1x99999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseSeries(text)
		if err != nil {
			if got != nil {
				t.Fatalf("%q: samples and %v", text, err)
			}
			return
		}
		if len(got) == 0 || len(got) > MaxSamples {
			t.Fatalf("%q: %d samples", text, len(got))
		}
		for _, s := range got {
			if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
				t.Fatalf("%q has %v", text, s.Value)
			}
		}
		again, err := ParseSeries(show(got))
		if err != nil || show(again) != show(got) {
			t.Fatalf("%q is %q, and that is %q, %v", text, show(got), show(again), err)
		}
	})
}

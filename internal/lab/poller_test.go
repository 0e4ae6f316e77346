package lab

import (
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func TestParseSamples(t *testing.T) {
	got, err := parseSamples([]byte("# HELP up is up\n# TYPE up gauge\nup 1\n\nasked_total{code=\"200\",path=\"/a b\"} 1.5e+03\nslowest +Inf\nnone NaN\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"up": 1, `asked_total{code="200",path="/a b"}`: 1500, "slowest": math.Inf(1), "none": math.NaN()}
	if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("parseSamples (-want +got):\n%s", diff)
	}
	for _, text := range []string{"up", "up one", "<html> </html>"} {
		if got, err := parseSamples([]byte(text)); err == nil || got != nil {
			t.Errorf("parseSamples(%q) = %v, %v; want an error alone", text, got, err)
		}
	}
}

// FuzzParseSamples: an error comes alone, and what was read is there when it is
// written down again.
func FuzzParseSamples(f *testing.F) {
	f.Add([]byte("# TYPE up gauge\nup{a=\"b c\"} 1\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := parseSamples(raw)
		if err != nil {
			if got != nil {
				t.Fatalf("%v beside %v", got, err)
			}
			return
		}
		var text []byte
		for name, value := range got {
			if name == "" || name[0] == '#' {
				continue
			}
			text = fmt.Appendf(text, "%s %v\n", name, value)
		}
		again, err := parseSamples(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		for name, value := range again {
			if was, there := got[name]; !there || was != value && !(math.IsNaN(was) && math.IsNaN(value)) {
				t.Fatalf("%q was %v (%t), is %v", name, was, there, value)
			}
		}
	})
}

func TestShares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, room := rapid.IntRange(1, 200_000).Draw(t, "n"), rapid.IntRange(1, 20_000).Draw(t, "room")
		parts := shares(n, room)
		sum, least, most := 0, parts[0], parts[0]
		for _, p := range parts {
			sum, least, most = sum+p, min(least, p), max(most, p)
		}
		if sum != n || most > room || most-least > 1 || (len(parts)-1)*room >= n {
			t.Fatalf("shares(%d, %d) = %v", n, room, parts)
		}
	})
	if got := shares(10, 0); got != nil {
		t.Errorf("shares without room: %v", got)
	}
}

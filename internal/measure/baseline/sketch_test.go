package baseline

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/store"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func sketchOf(values ...float64) (s Sketch) {
	for _, v := range values {
		s.Add(v)
	}
	return s
}

// realistic are series as hosts show them, each with its own kind of values.
func realistic(random *rand.Rand) map[string][]float64 {
	series := map[string][]float64{}
	for range 20_000 {
		arrivals := 0.0 // Poisson over a window of 10 s, 20 a second
		for range 200 {
			arrivals += random.ExpFloat64()
		}
		series["arrivals"] = append(series["arrivals"], arrivals/10)
		series["answers"] = append(series["answers"], 0.02*math.Exp(random.NormFloat64()))
		series["pool"] = append(series["pool"], float64(8+random.IntN(20)))
		share := 0.0 // CLOSE_WAIT: none nine times of ten
		if random.IntN(10) == 0 {
			share = float64(1+random.IntN(5)) / 160
		}
		series["close_wait"] = append(series["close_wait"], share)
	}
	return series
}

// TestQuantilesAreWithinTheStatedError on series as hosts show them, beside the
// exact quantile.
func TestQuantilesAreWithinTheStatedError(t *testing.T) {
	for name, values := range realistic(rand.New(rand.NewPCG(1, 2))) {
		s := sketchOf(values...)
		slices.Sort(values)
		for _, q := range []float64{0, 0.05, 0.5, 0.95, 0.99, 1} {
			exact := values[int(q*float64(len(values)-1))]
			got := s.Quantile(q)
			if math.Abs(got-exact) > Accuracy*exact+1e-12 {
				t.Errorf("%s: quantile %g is %g, exactly %g", name, q, got, exact)
			}
			if q == 0.95 {
				t.Logf("%s: p95 %g, exactly %g: off by %.2f %%, %d bins", name, got, exact, 100*math.Abs(got-exact)/max(exact, 1e-12), len(s.Bins))
			}
		}
	}
}

// TestSketchIsADDSketch compares with the library's own, slower store.
func TestSketchIsADDSketch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOf(rapid.OneOf(rapid.Just(0.0), rapid.Float64Range(1e-6, 1e6))).Draw(t, "values")
		twin := ddsketch.NewDDSketch(bins, store.NewSparseStore(), store.NewSparseStore())
		for _, v := range values {
			if err := twin.Add(v); err != nil {
				t.Fatal(err)
			}
		}
		s := sketchOf(values...)
		if got, want := float64(s.Count()), twin.GetCount(); got != want {
			t.Fatalf("%g values, want %g", got, want)
		}
		if got, want := float64(s.Zeros), twin.GetZeroCount(); got != want {
			t.Fatalf("%g zeros, want %g", got, want)
		}
		if len(values) == 0 {
			return
		}
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		want, err := twin.GetValueAtQuantile(q)
		if err != nil {
			t.Fatal(err)
		}
		// The twin says the middle of the same bin.
		if got := s.Quantile(q); math.Abs(got-want) > Accuracy*want {
			t.Fatalf("quantile %g is %g, want %g", q, got, want)
		}
	})
}

func TestMergingOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.OneOf(rapid.Just(0.0), rapid.Float64Range(1e-12, 1e18)), 0, 200).Draw(t, "values")
		whole := sketchOf(values...)
		cut := rapid.IntRange(0, len(values)).Draw(t, "cut")
		a, b := sketchOf(values[:cut]...), sketchOf(values[cut:]...)
		ab, ba := Sketch{}, Sketch{}
		ab.Merge(&a)
		ab.Merge(&b)
		ba.Merge(&b)
		ba.Merge(&a)
		for _, got := range []Sketch{ab, ba} {
			if diff := cmp.Diff(whole, got, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("(-whole +merged):\n%s", diff)
			}
		}
	})
}

func TestWhatIsNoValueIsNotCounted(t *testing.T) {
	s := sketchOf(math.NaN(), math.Inf(1), math.Inf(-1), -1)
	if n := s.Count(); n != 0 {
		t.Errorf("counted %d", n)
	}
}

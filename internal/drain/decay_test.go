package drain_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/foreshock/foreshock/internal/drain"
)

// about reports whether a time is known and within a few seconds.
func about(got *float64, want, within float64) bool {
	if got == nil || math.IsNaN(want) {
		return (got == nil) == math.IsNaN(want)
	}
	return math.Abs(*got-want) <= within
}

func show(v *float64) any {
	if v == nil {
		return "nil"
	}
	return *v
}

// TestDecay: when half, 95 and 99 % had left, and when less than 1 % will be left.
func TestDecay(t *testing.T) {
	no := math.NaN()
	// then has a share of n connections on old; noise is that of chance.
	of := func(n int, noise *rand.Rand, share func(t float64) float64) func(float64) drain.Point {
		return func(t float64) drain.Point {
			x := share(t) * float64(n)
			if noise != nil {
				x += noise.NormFloat64() * math.Sqrt(x)
			}
			left := min(max(int(math.Round(x)), 0), n)
			return served(left, n-left)
		}
	}
	chance := func(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 8)) }
	falling := func(half float64) func(float64) float64 {
		return func(t float64) float64 { return math.Exp2(-max(t, 0) / half) }
	}
	plateau := func(t float64) float64 { return 0.4 + 0.6*math.Exp2(-max(t, 0)/10) }
	tests := []struct {
		name                  string
		since                 float64
		at                    func(float64) drain.Point
		half, left95, left99  float64
		ends, within, mostFar float64
	}{
		{"exponential", 300, of(100_000, nil, falling(60)), 60, 259, no, 99, 1, 10},
		{"exponential, at its end", 600, of(100_000, nil, falling(60)), 60, 259, 399, 0, 1, 0},
		{"exponential, with chance", 300, of(2000, chance(1), falling(60)), 60, 259, no, 99, 30, 60},
		{"all at once", 100, of(100, nil, func(t float64) float64 {
			if t < 35 {
				return 1
			}
			return 0
		}), 35, 40, 40, 0, 6, 0},
		{"a plateau has no end", 900, of(1000, nil, plateau), 22, no, no, no, 5, 0},
		{"a plateau with chance has none", 900, of(1000, chance(2), plateau), 25, no, no, no, 15, 0},
		{"a step within the last stretch has none", 300, of(1000, nil, func(t float64) float64 {
			if t < 230 {
				return 1
			}
			return 0.3
		}), 226, no, no, no, 5, 0},
		{"nothing leaves", 600, of(1000, chance(3), func(float64) float64 { return 1 }), no, no, no, no, 1, 0},
		{"too early to tell", 20, of(1000, nil, falling(60)), no, no, no, no, 1, 0},
		{"nothing was there", 300, of(1000, nil, func(float64) float64 { return 0 }), no, no, no, no, 1, 0},
		{"one look that is off is not the end", 300, of(1000, nil, func(t float64) float64 {
			if t == 100 {
				return 0
			}
			return 0.8
		}), no, no, no, no, 1, 0},
		{"one look that is off is no return", 300, of(1000, nil, func(t float64) float64 {
			if t <= 50 || t == 200 {
				return 1
			}
			return 0.1
		}), 55, no, no, no, 6, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := drain.Merge([]drain.Report{report("lb", tt.since, tt.at)})
			if !about(s.HalfLifeSeconds, tt.half, tt.within) || !about(s.Left95Seconds, tt.left95, tt.within) || !about(s.Left99Seconds, tt.left99, tt.within) {
				t.Errorf("half %v, 95 %% %v, 99 %% %v; want %g, %g, %g", show(s.HalfLifeSeconds), show(s.Left95Seconds), show(s.Left99Seconds), tt.half, tt.left95, tt.left99)
			}
			if !about(s.EndsInSeconds, tt.ends, tt.within) || s.EndsInSeconds != nil && *s.EndsErrorSeconds > tt.mostFar {
				t.Errorf("ends in %v ± %v, want %g", show(s.EndsInSeconds), show(s.EndsErrorSeconds), tt.ends)
			}
		})
	}
}

// TestForecastsHold: of many noisy drains, nearly all end within what their
// forecast says it may be off; and of many that stay, nearly none gets one.
func TestForecastsHold(t *testing.T) {
	const runs = 400
	told, held, plateaus := 0, 0, 0
	for seed := range uint64(runs) {
		noise := rand.New(rand.NewPCG(seed, 9))
		n, half := 200+noise.IntN(5000), 40+200*noise.Float64()
		now := half * (1 + 3*noise.Float64())
		chance := func(share float64) drain.Point {
			left := 0
			for range n {
				if noise.Float64() < share {
					left++
				}
			}
			return served(left, n-left)
		}
		s := drain.Merge([]drain.Report{report("lb", now, func(t float64) drain.Point { return chance(math.Exp2(-max(t, 0) / half)) })})
		if s.EndsInSeconds != nil {
			told++
			if end := half*math.Log2(100) - now; math.Abs(*s.EndsInSeconds-end) <= *s.EndsErrorSeconds+5 {
				held++
			}
		}
		s = drain.Merge([]drain.Report{report("lb", now+300, func(float64) drain.Point { return chance(0.3) })})
		if s.EndsInSeconds != nil {
			plateaus++
		}
	}
	if told < runs*3/4 || held < told*9/10 || plateaus > runs/20 {
		t.Errorf("%d of %d were told, %d of these held; %d of as many plateaus were told an end", told, runs, held, plateaus)
	}
	t.Logf("%d of %d were told, %d of these held; %d of as many plateaus were told an end", told, runs, held, plateaus)
}

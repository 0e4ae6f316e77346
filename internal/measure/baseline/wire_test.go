package baseline

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

var monday = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// someMinute is a minute of so many backends in use.
func someMinute(random *rand.Rand, scopes int) *Minute {
	m := &Minute{Start: monday.Add(time.Duration(random.IntN(40_000)) * time.Minute)}
	plan := NewMinutes().kinds[scope.KindBackend]
	for n := range scopes {
		row := Row{Scope: scope.ID{Kind: scope.KindBackend, Name: "shop/192.0.2." + strconv.Itoa(n) + ":8080"}, Group: "shop"}
		pool, arrivals := float64(random.IntN(40)), 30*random.Float64()
		for i, sig := range plan.signals {
			values := make([]float64, 60)
			for j := range values {
				switch sig {
				case measure.Established, measure.Sockets, measure.Accepted, measure.Pending, measure.Answering, measure.EstablishedRecent, measure.PortsUsed, measure.TimeWait:
					values[j] = pool + float64(random.IntN(4))
				case measure.NewFlowsRate, measure.GoneFlowsRate, measure.FinishedRate:
					values[j] = max(0, math.Round(10*arrivals+math.Sqrt(10*arrivals)*random.NormFloat64())/10)
				case measure.HeardAgo, measure.HeardGapUsual, measure.PendingLongest:
					values[j] = 0.3 * random.Float64()
				case measure.EstablishedShare:
					values[j] = 1 - float64(random.IntN(2))/max(1, pool)
				case measure.AnswerNow, measure.AnswerSlow:
					values[j] = []float64{0.1, 0.25}[random.IntN(2)]
				case measure.NewFlowsUsual, measure.NewFlowsNorm, measure.NewFlowsLow:
					values[j] = arrivals
				case measure.PortsLimit:
					values[j] = 28232
				}
			}
			r := Range{Signal: sig, Looks: 60, Least: values[0], Greatest: values[0]}
			var s Sketch
			for _, v := range values {
				r.Least, r.Greatest = min(r.Least, v), max(r.Greatest, v)
				r.Mean += v / 60
				s.Add(v)
			}
			r.Mean = min(max(r.Mean, r.Least), r.Greatest)
			row.Ranges = append(row.Ranges, r)
			if plan.lesson[i] >= 0 {
				row.Sketches = append(row.Sketches, Sampled{sig, s})
			}
		}
		m.Scopes = append(m.Scopes, row)
	}
	return m
}

// TestMinutesComeBack: names, looks and sketches as they were, and values within
// what is written of them.
func TestMinutesComeBack(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		want := someMinute(random, 30)
		want.Scopes[3].Ranges = want.Scopes[3].Ranges[5:9] // a scope that was hardly seen
		want.Scopes[3].Sketches = nil
		want.Scopes[4].Ranges[2].Looks = 7
		want.Scopes[5].Ranges[2] = Range{want.Scopes[5].Ranges[2].Signal, 60, -3.25, -1, 1e200}
		want.Scopes[6].Scope.Namespace = "shop"
		got, err := DecodeMinute(AppendMinute(nil, want))
		if err != nil {
			t.Fatal(err)
		}
		for i := range want.Scopes {
			for j := range want.Scopes[i].Ranges {
				w, g := &want.Scopes[i].Ranges[j], &got.Scopes[i].Ranges[j]
				wide := g.Greatest - g.Least
				if g.Least > w.Least || w.Least-g.Least > 0.017*math.Abs(w.Least) || g.Greatest < w.Greatest || g.Greatest-w.Greatest > 0.017*math.Abs(w.Greatest) || math.Abs(g.Mean-w.Mean) > wide/255 {
					t.Errorf("%v came back as %v", *w, *g)
				}
				g.Least, g.Mean, g.Greatest = w.Least, w.Mean, w.Greatest
			}
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
}

// TestBytesOfAMinute: 28 days of 100 scopes of which a quarter is in use take
// 300 MB before the history compresses them, and 700 MB with all in use.
func TestBytesOfAMinute(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	busy, idle := someMinute(random, 100), someMinute(random, 100)
	for i := range idle.Scopes[25:] {
		row := &idle.Scopes[25+i]
		for j := range row.Ranges {
			r := &row.Ranges[j]
			r.Least, r.Mean, r.Greatest = 0, 0, 0
			switch r.Signal {
			case measure.Established, measure.Sockets, measure.EstablishedMost, measure.EstablishedShare:
				r.Least, r.Mean, r.Greatest = 2, 2, 2 // kept open
			case measure.HeardAgo:
				r.Greatest = 9.9 // health checks
			}
		}
		for j := range row.Sketches {
			row.Sketches[j].Sketch = Sketch{Zeros: 60}
		}
	}
	for _, m := range []struct {
		name   string
		minute *Minute
		most   int // bytes
	}{{"100 backends, all in use", busy, 18_500}, {"25 of 100 in use", idle, 8_000}} {
		n := len(AppendMinute(nil, m.minute))
		t.Logf("%s: %d bytes a minute, %.0f MB in 28 days", m.name, n, float64(n)*60*24*28/1e6)
		if n > m.most {
			t.Errorf("%s: %d bytes, at most %d", m.name, n, m.most)
		}
	}
}

func someHour() *Hour {
	return HourOf(monday, func(yield func(*Minute) bool) {
		random := rand.New(rand.NewPCG(7, 8))
		for range 5 {
			yield(someMinute(random, 3))
		}
	}, nil)
}

func TestHoursComeBack(t *testing.T) {
	want := someHour()
	got, err := DecodeHour(AppendHour(nil, want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}

func TestBadBytesAreRefused(t *testing.T) {
	minute, hour := AppendMinute(nil, someMinute(rand.New(rand.NewPCG(9, 9)), 2)), AppendHour(nil, someHour())
	for _, whole := range [][]byte{minute, hour} {
		decode := func(data []byte) error {
			_, err := DecodeMinute(data)
			if &whole[0] == &hour[0] {
				_, err = DecodeHour(data)
			}
			return err
		}
		if err := decode(whole); err != nil {
			t.Fatal(err)
		}
		for n := range whole {
			if decode(whole[:n]) == nil {
				t.Fatalf("%d of %d bytes were taken for whole", n, len(whole))
			}
		}
		if decode(append(slices.Clip(whole), 0)) == nil {
			t.Error("a byte too many was taken")
		}
		other := append([]byte{wireVersion + 1}, whole[1:]...)
		if err := decode(other); !errors.Is(err, ErrVersion) {
			t.Errorf("another version gave %v", err)
		}
	}
}

func FuzzDecodeMinute(f *testing.F) {
	f.Add(AppendMinute(nil, someMinute(rand.New(rand.NewPCG(1, 1)), 2)))
	f.Add(AppendMinute(nil, &Minute{Start: monday}))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := DecodeMinute(data)
		if err != nil {
			if m != nil {
				t.Fatal("an error and a minute")
			}
			return
		}
		again, err := DecodeMinute(AppendMinute(nil, m))
		if err != nil {
			t.Fatal(err)
		}
		for i := range m.Scopes {
			for j := range m.Scopes[i].Ranges {
				w, g := &m.Scopes[i].Ranges[j], &again.Scopes[i].Ranges[j]
				if wide := w.Greatest - w.Least; math.Abs(g.Mean-w.Mean) > wide/200+math.Abs(w.Mean)*1e-9 {
					t.Errorf("mean %g came back as %g", w.Mean, g.Mean)
				}
				g.Mean = w.Mean
			}
		}
		if diff := cmp.Diff(m, again, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-first +second):\n%s", diff)
		}
	})
}

func FuzzDecodeHour(f *testing.F) {
	f.Add(AppendHour(nil, someHour()))
	f.Add(AppendHour(nil, &Hour{Start: monday}))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := DecodeHour(data)
		if err != nil {
			if h != nil {
				t.Fatal("an error and an hour")
			}
			return
		}
		again, err := DecodeHour(AppendHour(nil, h))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(h, again, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-first +second):\n%s", diff)
		}
	})
}

// someMinuteAt is the same minute each time it is asked for.
func someMinuteAt(i int) *Minute { return someMinute(rand.New(rand.NewPCG(uint64(i), 1)), 100) }

package baseline

import (
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// seen is a view of one scope with one signal.
func seen(at time.Time, id scope.ID, sig measure.Signal, value float64, samples int) *measure.View {
	s := measure.ScopeSignals{Scope: id, Fresh: true}
	s.Readings[sig] = measure.Reading{Value: value, Samples: samples, Seen: at, Good: time.Minute, Validity: measure.Known}
	return &measure.View{At: at, Scopes: []measure.ScopeSignals{s}}
}

func TestMinutes(t *testing.T) {
	type step struct {
		at     time.Duration // on the wall clock, from a Monday on
		seen   time.Duration // on the steady clock
		sig    measure.Signal
		value  float64
		number int
	}
	minute := func(n int, ranges []Range, sketches ...Sampled) *Minute {
		return &Minute{Start: monday.Add(time.Duration(n) * time.Minute), Scopes: []Row{{Scope: web, Ranges: ranges, Sketches: sketches}}}
	}
	rate, share := measure.NewFlowsRate, measure.CloseWaitShare
	tests := []struct {
		name  string
		steps []step
		want  []*Minute
	}{
		{
			"values of a minute", []step{{0, 0, rate, 4, 9}, {time.Second, 1, rate, 6, 9}, {2 * time.Second, 2, rate, 8, 9}, {time.Minute, 3, rate, 1, 9}},
			[]*Minute{minute(0, []Range{{rate, 3, 4, 6, 8}}, Sampled{rate, sketchOf(4, 6, 8)})},
		},
		{
			"one reading counts once", []step{{0, 0, rate, 4, 9}, {time.Second, 0, rate, 4, 9}, {time.Minute, 1, rate, 1, 9}},
			[]*Minute{minute(0, []Range{{rate, 1, 4, 4, 4}}, Sampled{rate, sketchOf(4)})},
		},
		{
			"nor over the minute", []step{{0, 0, rate, 4, 9}, {time.Minute, 0, rate, 4, 9}, {2 * time.Minute, 1, rate, 1, 9}},
			[]*Minute{minute(0, []Range{{rate, 1, 4, 4, 4}}, Sampled{rate, sketchOf(4)})},
		},
		{
			"a share of few sockets is no lesson", []step{{0, 0, share, 0.5, 2}, {time.Second, 1, share, 0.25, 20}, {time.Minute, 2, share, 0, 20}},
			[]*Minute{minute(0, []Range{{share, 2, 0.25, 0.375, 0.5}}, Sampled{share, sketchOf(0.25)})},
		},
		{
			"the clock is set back: cut short, and twice", []step{{time.Minute, 0, rate, 4, 9}, {0, 1, rate, 5, 9}, {time.Minute, 2, rate, 6, 9}, {2 * time.Minute, 3, rate, 7, 9}},
			[]*Minute{
				minute(1, []Range{{rate, 1, 4, 4, 4}}, Sampled{rate, sketchOf(4)}),
				minute(0, []Range{{rate, 1, 5, 5, 5}}, Sampled{rate, sketchOf(5)}),
				minute(1, []Range{{rate, 1, 6, 6, 6}}, Sampled{rate, sketchOf(6)}),
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := NewMinutes()
			var got []*Minute
			for _, s := range tt.steps {
				if ended := m.Take(monday.Add(s.at), seen(monday.Add(s.seen), web, s.sig, s.value, s.number)); ended != nil {
					again, err := DecodeMinute(AppendMinute(nil, ended)) // it is good until the next call
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, again)
				}
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateApprox(0.01, 0), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestHourlySamples: of what is sampled hourly one value is learned, the first of
// the hour's first minute; its range has every one.
func TestHourlySamples(t *testing.T) {
	east := scope.ID{Kind: scope.KindRegion, Name: "east"}
	share := measure.CloseWaitTotalShare
	m := NewMinutes()
	var got []Sampled
	for i := range 2*3600/10 + 1 {
		at := monday.Add(50*time.Minute + time.Duration(i)*10*time.Second) // to ten to three
		ended := m.Take(at, seen(at, east, share, float64(at.Hour())/100+float64(at.Minute()*60+at.Second())/1e6, 1))
		if ended == nil {
			continue
		}
		if looks := ended.Scopes[0].Ranges[0].Looks; looks != 6 {
			t.Errorf("%s: %d looks, want 6", ended.Start, looks)
		}
		for _, s := range ended.Scopes[0].Sketches {
			var again Sketch
			s.Sketch.copyTo(&again) // it is good until the next call
			got = append(got, Sampled{s.Signal, again})
		}
	}
	if diff := cmp.Diff([]Sampled{{share, sketchOf(0.01)}, {share, sketchOf(0.02)}}, got); diff != "" {
		t.Errorf("sampled (-want +got):\n%s", diff)
	}
}

// busyView is a view of so many backends whose signals are all fresh.
func busyView(at time.Time, scopes, turn int) *measure.View {
	v := &measure.View{At: at}
	for n := range scopes {
		s := measure.ScopeSignals{Scope: scope.ID{Kind: scope.KindBackend, Name: "shop/192.0.2." + strconv.Itoa(n) + ":8080"}, Group: "shop", Fresh: true}
		for _, sig := range measure.Signals() {
			if sig.AppliesTo(scope.KindBackend) {
				s.Readings[sig] = measure.Reading{Value: float64(20 + (turn*n+int(sig))%17), Samples: 20, Seen: at, Good: time.Minute, Validity: measure.Known}
			}
		}
		v.Scopes = append(v.Scopes, s)
	}
	return v
}

// TestMemoryIsBounded: what is followed of 100 backends takes less than a
// megabyte, and no more after an hour; beyond the bound scopes are counted.
func TestMemoryIsBounded(t *testing.T) {
	heap := func() float64 {
		var s runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&s)
		return float64(s.HeapAlloc) / (1 << 20)
	}
	views := make([]*measure.View, 60)
	for i := range views {
		views[i] = busyView(monday, 100, i)
	}
	before := heap()
	m := NewMinutes()
	at := monday
	hour := func() {
		for range 3600 {
			at = at.Add(time.Second)
			v := views[at.Second()]
			for i := range v.Scopes {
				for sig := range v.Scopes[i].Readings {
					v.Scopes[i].Readings[sig].Seen = at
				}
			}
			m.Take(at, v)
		}
	}
	hour()
	first := heap() - before
	hour()
	second := heap() - before
	t.Logf("100 backends: %.2f MB after an hour, %.2f after two", first, second)
	if first > 1 || second > first+0.1 {
		t.Errorf("%.2f MB after an hour, %.2f after two", first, second)
	}
	runtime.KeepAlive(m)
	runtime.KeepAlive(views)
	for i := range MostScopes + 5 {
		m.Take(at, seen(at, scope.ID{Kind: scope.KindService, Name: strconv.Itoa(i)}, measure.NewFlowsRate, 1, 9))
	}
	if got := m.LeftOut(); got != 105 { // 100 backends are there
		t.Errorf("%d were left out, want 105", got)
	}
}

func BenchmarkMinutes(b *testing.B) {
	for _, scopes := range []int{1, 100} {
		b.Run(strconv.Itoa(scopes)+" backends", func(b *testing.B) {
			m := NewMinutes()
			views := []*measure.View{busyView(monday, scopes, 1), busyView(monday, scopes, 2)}
			at := monday
			readings := len(m.kinds[scope.KindBackend].signals)
			b.ReportAllocs()
			for i := range b.N {
				at = at.Add(time.Second)
				v := views[i%2]
				b.StopTimer()
				for i := range v.Scopes {
					for sig := range v.Scopes[i].Readings {
						v.Scopes[i].Readings[sig].Seen = at
					}
				}
				b.StartTimer()
				m.Take(at, v)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*scopes*readings), "ns/reading")
		})
	}
}

// BenchmarkLearn is the norms of an hour of the week from 28 days of 100
// backends, and of ten regions beside them, which are sampled hourly too.
func BenchmarkLearn(b *testing.B) {
	for _, regions := range []int{0, 10} {
		b.Run(strconv.Itoa(regions)+" regions", func(b *testing.B) { benchmarkLearn(b, regions) })
	}
}

func benchmarkLearn(b *testing.B, regions int) {
	var hours [][]byte
	one := HourOf(monday, func(yield func(*Minute) bool) {
		for i := range 60 {
			m := someMinuteAt(i)
			for n := range regions {
				row := m.Scopes[n]
				row.Scope, row.Group = scope.ID{Kind: scope.KindRegion, Name: strconv.Itoa(n)}, scope.RegionGroup
				if i == 0 {
					row.Sketches = append(slices.Clip(row.Sketches), Sampled{measure.CloseWaitTotalShare, sketchOf(0)}, Sampled{measure.SynSentTotalShare, sketchOf(0)})
				}
				m.Scopes = append(m.Scopes, row)
			}
			yield(m)
		}
	}, nil)
	for i := range 28 * 24 {
		one.Start = monday.Add(time.Duration(i) * time.Hour)
		hours = append(hours, AppendHour(nil, one))
	}
	b.ReportAllocs()
	for b.Loop() {
		Learn(Config{}, monday.AddDate(0, 0, 28), 13, func(wanted func(time.Time) bool, keep func(scope.ID, measure.Signal) bool, yield func(*Hour) bool) {
			for i, data := range hours {
				if !wanted(monday.Add(time.Duration(i) * time.Hour)) {
					continue
				}
				h, err := DecodeRows(data, keep)
				if err != nil {
					b.Fatal(err)
				}
				yield(h)
			}
		}, nil)
	}
	b.ReportMetric(float64(len(hours[0])), "bytes/hour")
}

package baseline

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

var web = scope.ID{Kind: scope.KindService, Name: "web"}

// days is the hours of so many days, their arrivals from rate, in new
// connections a second, at each minute of each day.
func days(n int, rate func(at time.Time) float64, left []Interval) []*Hour {
	random := rand.New(rand.NewPCG(11, 12))
	var out []*Hour
	for start := monday; start.Before(monday.AddDate(0, 0, n)); start = start.Add(time.Hour) {
		out = append(out, HourOf(start, func(yield func(*Minute) bool) {
			for i := range 60 {
				at := start.Add(time.Duration(i) * time.Minute)
				var s Sketch
				usual := rate(at)
				for range 60 {
					s.Add(max(0, math.Round(10*usual+math.Sqrt(10*usual)*random.NormFloat64())/10))
				}
				yield(&Minute{Start: at, Scopes: []Row{{Scope: web, Sketches: []Sampled{{measure.NewFlowsRate, s}}}}})
			}
		}, left))
	}
	return out
}

// daily is the traffic of an office day: 10 a second at night, 60 at noon; half
// of that at the weekend.
func daily(at time.Time) float64 {
	hour := float64(at.Hour()) + float64(at.Minute())/60
	rate := 10 + 50*math.Max(0, math.Sin((hour-6)/14*math.Pi))
	if measure.HoursOf(at).Weekend() {
		rate /= 2
	}
	return rate
}

func between(t *testing.T, what string, got, least, most float64) {
	t.Helper()
	if got < least || got > most {
		t.Errorf("%s is %g, want %g to %g", what, got, least, most)
	}
}

func TestLearn(t *testing.T) {
	month := days(28, daily, nil)
	now := monday.AddDate(0, 0, 28)
	noon := measure.HoursOf(monday.Add(12 * time.Hour))
	tests := []struct {
		name        string
		hours       []*Hour
		now         time.Time
		of          measure.Hours
		want        measure.Norm // but for Low, Usual and High
		low, usual  [2]float64
		high        [2]float64
		nothingElse bool
	}{
		{
			name: "four weeks", hours: month, now: now, of: noon,
			want: measure.Norm{Minutes: 20 * 60, Days: 20, Hours: noon},
			low:  [2]float64{33, 37}, usual: [2]float64{57, 60}, high: [2]float64{92, 99},
		},
		{
			name: "a weekend's noon", hours: month, now: now, of: noon + 24,
			want: measure.Norm{Minutes: 8 * 60, Days: 8, Hours: noon + 24},
			low:  [2]float64{15, 19}, usual: [2]float64{28, 31}, high: [2]float64{46, 53},
		},
		{
			name: "one night: the widest of what there is", hours: month[:7], now: monday.Add(7 * time.Hour), of: noon,
			want: measure.Norm{Minutes: 7 * 60, Days: 1, Hours: measure.AllHours},
			low:  [2]float64{4, 7}, usual: [2]float64{9, 11}, high: [2]float64{18, 40},
		},
		{
			name: "the first Saturday: not the weekdays' noon alone", hours: month[:5*24], now: monday.AddDate(0, 0, 5), of: noon + 24,
			want: measure.Norm{Minutes: 5 * 24 * 60, Days: 5, Hours: measure.AllHours},
			low:  [2]float64{4, 7}, usual: [2]float64{10, 40}, high: [2]float64{90, 100},
		},
		{
			name: "a clock a year off", hours: month, now: now.AddDate(1, 0, 0), of: noon, nothingElse: true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			norms := Learn(Config{}, tt.now, tt.of, Held(tt.hours), nil)
			if tt.nothingElse {
				if len(norms) > 0 {
					t.Errorf("learned %v", norms)
				}
				return
			}
			want := tt.want
			want.Scope, want.Signal = web, measure.NewFlowsRate
			if diff := cmp.Diff([]measure.Norm{want}, norms, cmpopts.IgnoreFields(measure.Norm{}, "Low", "Usual", "High")); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
			between(t, "low", norms[0].Low, tt.low[0], tt.low[1])
			between(t, "usual", norms[0].Usual, tt.usual[0], tt.usual[1])
			between(t, "high", norms[0].High, tt.high[0], tt.high[1])
		})
	}
}

// TestHourlyNorms: 1.5 times the 0.95 quantile of hourly samples of all hours,
// whatever is configured, from 14 days on; zero where nearly all are.
func TestHourlyNorms(t *testing.T) {
	east := scope.ID{Kind: scope.KindRegion, Name: "east"}
	const share = measure.SynSentTotalShare
	samples := func(n int, of func(hour int) float64) (out []*Hour) {
		for i := range 24 * n {
			out = append(out, &Hour{Start: monday.Add(time.Duration(i) * time.Hour), Rows: []HourRow{
				{Scope: east, Signal: share, Minutes: 1, Days: 1, Sketch: sketchOf(of(i))},
			}})
		}
		return out
	}
	oneIn := func(n int) func(int) float64 {
		return func(hour int) float64 {
			if hour%n == n-1 {
				return 0.1
			}
			return 0
		}
	}
	tests := []struct {
		name  string
		hours []*Hour
		later int // days after the last sample
		want  []measure.Norm
	}{
		{"of 13 days", samples(13, oneIn(2)), 0, []measure.Norm{{Usual: 0, High: 0.15, Minutes: 13 * 24, Days: 13, Learning: true}}},
		{"of 15 days", samples(15, oneIn(2)), 0, []measure.Norm{{Usual: 0, High: 0.15, Minutes: 15 * 24, Days: 15}}},
		{"one hour in ten", samples(28, oneIn(10)), 0, []measure.Norm{{High: 0.15, Minutes: 28 * 24, Days: 28}}},
		{"one hour each day", samples(28, oneIn(24)), 0, []measure.Norm{{High: 0, Minutes: 28 * 24, Days: 28}}},
		{"not seen for a week", samples(20, oneIn(10)), 7, []measure.Norm{{High: 0.15, Minutes: 20 * 24, Days: 20}}},
		{"not seen for ten days", samples(18, oneIn(10)), 10, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for i := range tt.want {
				tt.want[i].Scope, tt.want[i].Signal = east, share
			}
			now := tt.hours[len(tt.hours)-1].Start.Add(time.Hour).AddDate(0, 0, tt.later)
			got := Learn(Config{Quantile: 0.5, Factor: 3}, now, 13, Held(tt.hours), nil)
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateApprox(Accuracy, 0), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestLowKnowsTheLullOfEachDay: a minute of each hour without arrivals is usual;
// one of every third day does not blind the hour.
func TestLowKnowsTheLullOfEachDay(t *testing.T) {
	lull := func(every int) float64 {
		month := days(28, func(at time.Time) float64 {
			if at.Hour() == 4 && at.Minute() == 0 && at.YearDay()%every == 0 {
				return 0
			}
			return 60
		}, nil)
		return Learn(Config{}, monday.AddDate(0, 0, 28), measure.HoursOf(monday.Add(4*time.Hour)), Held(month), nil)[0].Low
	}
	between(t, "low with a lull each day", lull(1), 0, 0)
	between(t, "low with one every third day", lull(3), 35, 40)
}

// TestFewMinutesGiveWideBounds: within the first hour it is said to be learning.
func TestFewMinutesGiveWideBounds(t *testing.T) {
	first := days(1, func(at time.Time) float64 { return 20 + 10*float64(at.Minute()%2) }, nil)[:1]
	first[0].Rows[0].Minutes = 10
	norms := Learn(Config{}, monday.Add(time.Hour), 1, Held(nil), first[0])
	if len(norms) != 1 || !norms[0].Learning || norms[0].Minutes != 10 {
		t.Fatalf("learned %v", norms)
	}
	if got := norms[0].Origin(); got != "usual for all hours, from 10 min" {
		t.Errorf("origin %q", got)
	}
	first[0].Rows[0].Minutes = 60
	known := Learn(Config{}, monday.Add(time.Hour), 1, Held(first), nil)
	if known[0].Learning || known[0].High >= norms[0].High {
		t.Errorf("after an hour %v, after ten minutes %v", known, norms)
	}
}

// TestLearningOrderDoesNotMatter: hours may come from anywhere.
func TestLearningOrderDoesNotMatter(t *testing.T) {
	month := days(9, daily, nil)
	now := monday.AddDate(0, 0, 9)
	rapid.Check(t, func(t *rapid.T) {
		of := measure.Hours(rapid.IntRange(1, measure.NumHours).Draw(t, "of"))
		want := Learn(Config{}, now, of, Held(month), nil)
		got := Learn(Config{}, now, of, Held(rapid.Permutation(month).Draw(t, "order")), nil)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

// TestAnIncidentIsNotLearned: what six hours of an outage that was left out do
// to the thresholds, beside the same weeks without it.
func TestAnIncidentIsNotLearned(t *testing.T) {
	from := monday.AddDate(0, 0, 15).Add(9 * time.Hour)
	outage := Interval{From: from, To: from.Add(6 * time.Hour), Scope: web}
	broken := func(at time.Time) float64 {
		if !at.Before(outage.From) && at.Before(outage.To) {
			return 0.05 * daily(at)
		}
		return daily(at)
	}
	now := monday.AddDate(0, 0, 28)
	good, left := days(28, daily, nil), days(28, broken, []Interval{outage})
	learned := days(28, broken, nil)
	worst, untreated := 0.0, 0.0
	for of := measure.Hours(1); of <= measure.NumHours; of++ {
		want, got := Learn(Config{}, now, of, Held(good), nil)[0], Learn(Config{}, now, of, Held(left), nil)[0]
		without := Learn(Config{}, now, of, Held(learned), nil)[0]
		for _, x := range [][3]float64{{want.Low, got.Low, without.Low}, {want.Usual, got.Usual, without.Usual}, {want.High, got.High, without.High}} {
			worst = max(worst, math.Abs(x[1]/x[0]-1))
			untreated = max(untreated, math.Abs(x[2]/x[0]-1))
		}
	}
	t.Logf("thresholds changed by %.2f %% at most; learned with the outage by %.0f %%", 100*worst, 100*untreated)
	if worst >= 0.01 {
		t.Errorf("thresholds changed by %.2f %%", 100*worst)
	}
	if untreated < 0.05 {
		t.Error("the outage does not show even where it is learned")
	}
}

// TestWhatIsLeftOut: an incident leaves out its scope and siblings, one of the
// host its namespace, and a span by hand everything.
func TestWhatIsLeftOut(t *testing.T) {
	backend := func(name string) scope.ID { return scope.ID{Kind: scope.KindBackend, Name: name} }
	rows := []Row{{Scope: backend("shop/a"), Group: "shop"}, {Scope: backend("shop/b"), Group: "shop"}, {Scope: backend("db/a"), Group: "db"}, {Scope: web.In("other")}}
	for i := range rows {
		rows[i].Sketches = []Sampled{{measure.NewFlowsRate, sketchOf(1)}}
	}
	minute := func(yield func(*Minute) bool) { yield(&Minute{Start: monday, Scopes: rows}) }
	span := func(id scope.ID) Interval {
		return Interval{From: monday.Add(50 * time.Second), To: monday.Add(time.Hour), Scope: id, Siblings: true}
	}
	tests := []struct {
		name string
		left Interval
		want []string // that are learned
	}{
		{"a backend and its siblings", span(rows[0].Scope), []string{"backend/db/a", "service/web@other"}},
		{"a namespace", span(scope.Host), []string{"service/web@other"}},
		{"everything", span(scope.ID{}), nil},
		{"another minute", Interval{From: monday.Add(time.Minute), To: monday.Add(time.Hour)}, []string{"backend/db/a", "backend/shop/a", "backend/shop/b", "service/web@other"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, row := range HourOf(monday, minute, []Interval{tt.left}).Rows {
				got = append(got, row.Scope.String())
			}
			slices.Sort(got)
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestHoursFollowLocalTime: where the clocks change, the repeated hour counts
// twice and the one that is left out is left out.
func TestHoursFollowLocalTime(t *testing.T) {
	dublin, err := time.LoadLocation("Europe/Dublin")
	if err != nil {
		t.Skipf("no time zones here: %v", err)
	}
	c := Config{Location: dublin}
	count := func(day time.Time) (hours map[int]int) {
		hours = map[int]int{}
		for at := day; at.Before(day.Add(26 * time.Hour)); at = at.Add(time.Hour) {
			if at.In(dublin).Day() == day.In(dublin).Day() {
				hours[c.Hours(at).Hour()]++
			}
		}
		return hours
	}
	if got := count(time.Date(2026, 10, 25, 0, 0, 0, 0, dublin).UTC())[1]; got != 2 {
		t.Errorf("in autumn the hour from one to two comes %d times, want 2", got)
	}
	if got := count(time.Date(2026, 3, 29, 0, 0, 0, 0, dublin).UTC())[1]; got != 0 {
		t.Errorf("in spring the hour from one to two comes %d times, want 0", got)
	}
}

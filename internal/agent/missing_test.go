package agent

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure/baseline"
	"github.com/foreshock/foreshock/internal/scope"
)

// missedOn plays arrivals at random with that rate, a look each four seconds,
// and returns when traffic was called missing.
func missedOn(from time.Time, span time.Duration, rate func(at time.Time) float64) []string {
	const every = 4 * time.Second
	h, random := newAHost(), rand.New(rand.NewPCG(1, 2))
	var out []string
	told := map[uint64]bool{}
	for at := from; at.Before(from.Add(span)); at = at.Add(every) {
		events := every.Seconds() * rate(at)
		events = math.Max(0, events+math.Sqrt(events)*random.NormFloat64())
		for _, i := range h.at(at, math.Round(events)/aLook.Seconds(), 100*time.Millisecond) {
			if i.Finding.Cause == judge.TrafficMissing && i.Peak >= judge.Warning && !told[i.ID] {
				told[i.ID] = true
				out = append(out, i.OpenedAt.Format("Mon 15"))
			}
		}
	}
	return out
}

// TestWhatRecursIsNotMissing: arrivals are held against what was learned, and
// what was called missing is not learned. Whatever comes at the same time of each
// day is called out twice at most, or it would be for ever.
func TestWhatRecursIsNotMissing(t *testing.T) {
	office := func(at time.Time) float64 { // 10 a second at night, 60 at one
		hour := float64(at.Hour()) + float64(at.Minute())/60
		return 10 + 50*math.Max(0, math.Sin((hour-6)/14*math.Pi))
	}
	const day = 24 * time.Hour
	tests := []struct {
		name string
		from time.Duration // since Monday's midnight
		span time.Duration
		rate func(at time.Time) float64
		want []string
	}{
		{"a new service, and its first evening", 10 * time.Hour, 34 * time.Hour, office, nil},
		{"office hours, from nine to six: once on the first evening", 0, day, func(at time.Time) float64 {
			if at.Hour() >= 9 && at.Hour() < 18 {
				return 60
			}
			return 5
		}, []string{"Mon 18"}},
		{"it serves only at night", 0, 3 * day, func(at time.Time) float64 {
			if at.Hour() >= 22 || at.Hour() < 4 {
				return 30
			}
			return 0
		}, []string{"Mon 04", "Tue 04"}},
		{"its clients restart at four, for a minute and a half", 0, 3*day + 5*time.Hour, func(at time.Time) float64 {
			if at.Hour() == 4 && 60*at.Minute()+at.Second() < 90 {
				return 0
			}
			return 60
		}, []string{"Mon 04", "Tue 04"}},
		{"a third of it for an hour on the third day", 0, 2*day + 14*time.Hour, func(at time.Time) float64 {
			if at.Sub(aMonday) >= 2*day+13*time.Hour {
				return office(at) / 3
			}
			return office(at)
		}, []string{"Wed 13"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, missedOn(aMonday.Add(tt.from), tt.span, tt.rate)); diff != "" {
				t.Errorf("called out (-want +got):\n%s", diff)
			}
		})
	}
}

// TestALastingDropIsLearned within some days, hour by hour.
func TestALastingDropIsLearned(t *testing.T) {
	dropped := aMonday.Add(34 * time.Hour)
	last := missedOn(aMonday, 5*24*time.Hour, func(at time.Time) float64 {
		rate := 60.0
		if at.Hour() < 8 {
			rate = 40
		}
		if !at.Before(dropped) {
			rate *= 0.3
		}
		return rate
	})
	if len(last) == 0 || last[0] != "Tue 10" {
		t.Fatalf("called out %v, want it at Tue 10 first", last)
	}
	for _, at := range last {
		if at[:3] == "Fri" {
			t.Errorf("called out %v: on Friday still", last)
			break
		}
	}
}

func TestStrangeIsWhatCameOnNoOtherDay(t *testing.T) {
	at := func(day int, hour float64) time.Time {
		return aMonday.AddDate(0, 0, day).Add(time.Duration(hour * float64(time.Hour)))
	}
	span := func(from, to time.Time, of scope.ID) baseline.Interval {
		return baseline.Interval{From: from, To: to, Scope: of}
	}
	tests := []struct {
		name string
		told []baseline.Interval
		want []baseline.Interval
	}{
		{"once", []baseline.Interval{span(at(0, 3), at(0, 5), aShop)}, []baseline.Interval{span(at(0, 3), at(0, 5), aShop)}},
		{"a day later, a little earlier", []baseline.Interval{span(at(0, 3), at(0, 5), aShop), span(at(1, 2.8), at(1, 5), aShop)}, []baseline.Interval{span(at(0, 3), at(0, 5), aShop)}},
		{
			"for longer",
			[]baseline.Interval{span(at(0, 3), at(0, 5), aShop), span(at(2, 1), at(2, 8), aShop)},
			[]baseline.Interval{span(at(0, 3), at(0, 5), aShop), span(at(2, 1), at(2, 2.75), aShop), span(at(2, 5.25), at(2, 8), aShop)},
		},
		{
			"another's",
			[]baseline.Interval{span(at(0, 3), at(0, 5), aShop), span(at(1, 3), at(1, 5), aStore)},
			[]baseline.Interval{span(at(0, 3), at(0, 5), aShop), span(at(1, 3), at(1, 5), aStore)},
		},
		{
			"at another time of the same day",
			[]baseline.Interval{span(at(0, 3), at(0, 5), aShop), span(at(0, 5.1), at(0, 6), aShop)},
			[]baseline.Interval{span(at(0, 3), at(0, 5), aShop), span(at(0, 5.1), at(0, 6), aShop)},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var m missed
			for i, x := range tt.told {
				m.note(incidentSpan{uint64(i), span(x.From, x.From, x.Scope), true}) // as it begins
				m.note(incidentSpan{uint64(i), x, true})
			}
			m.forget(at(9, 0))
			if diff := cmp.Diff(tt.want, m.strange(nil)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			m.forget(at(20, 0))
			if len(m.spans) > 0 {
				t.Errorf("%d are remembered for ever", len(m.spans))
			}
		})
	}
}

// TestMissedIsBounded.
func TestMissedIsBounded(t *testing.T) {
	var m missed
	for i := range mostMissed + 10 {
		m.note(incidentSpan{uint64(i), baseline.Interval{From: aMonday, To: aMonday.Add(time.Hour), Scope: aShop}, true})
	}
	if len(m.spans) != mostMissed || m.spans[0].id != 10 {
		t.Errorf("%d are remembered, the first is %d", len(m.spans), m.spans[0].id)
	}
}

package series_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/measure/baseline"
	"github.com/foreshock/foreshock/internal/recording/recordingtest"
	"github.com/foreshock/foreshock/internal/recording/series"
	"github.com/foreshock/foreshock/internal/scope"
)

var web = recordingtest.Service(0)

func at(d time.Duration) time.Time { return recordingtest.Start.Add(d) }

// play gives a host's steps but for those between two times.
func play(s *series.Series, cfg recordingtest.Config, without ...time.Duration) {
	host := recordingtest.New(cfg)
	for step, err := host.Next(); err == nil; step, err = host.Next() {
		since := step.At.Sub(recordingtest.Start)
		if len(without) == 2 && since >= without[0] && since < without[1] {
			continue
		}
		s.Step(step)
	}
}

func minute(n int, id scope.ID, ranges ...baseline.Range) *baseline.Minute {
	return &baseline.Minute{Start: at(time.Duration(n) * time.Minute), Scopes: []baseline.Row{{Scope: id, Ranges: ranges}}}
}

// spelled writes points: "+60s 1s 3..4..9", "+61s 1s stale".
func spelled(points []series.Point) []string {
	var out []string
	for _, p := range points {
		text := fmt.Sprintf("+%s %s ", p.At.Sub(recordingtest.Start), p.For)
		if p.Unknown != "" {
			text += p.Unknown
		} else {
			text += fmt.Sprintf("%.3g..%.3g..%.3g", p.Least, p.Mean, p.Greatest)
		}
		out = append(out, text)
	}
	return out
}

// TestRawTallies: a point for each second, what comes before only warms up, the
// host has what the service has not, and where nobody looked there is nothing.
func TestRawTallies(t *testing.T) {
	s := series.New(series.Wanted{
		Scope: web, From: at(2 * time.Minute), To: at(3 * time.Minute),
		Signals: []measure.Signal{measure.QueueDepth, measure.WorkersSlope, measure.PassiveOpensRate, measure.Silent},
	})
	play(s, recordingtest.Config{
		Services: 1, Span: 4 * time.Minute, Pulse: 250 * time.Millisecond, Focus: time.Second,
		Faults: []recordingtest.Fault{{Kind: recordingtest.Exhaust, Scope: web, From: 150 * time.Second, To: 4 * time.Minute}},
	}, 140*time.Second, 145*time.Second)
	got := s.Signals()
	if len(got) != 3 || got[2].Scope != scope.Host || got[0].Scope != web {
		t.Fatalf("signals %+v: want two of the service, and one of the host; a service owes no answers", got)
	}
	for _, x := range got {
		if len(x.Points) != 55 {
			t.Errorf("%s has %d points, want one for each second but five", x.Signal, len(x.Points))
		}
	}
	depth := got[0].Points
	if last := depth[len(depth)-1]; depth[0].At != at(2*time.Minute) || depth[0].Greatest != 0 || last.Least == 0 || last.Least > last.Mean || last.Mean > last.Greatest || last.For != time.Second {
		t.Errorf("queue depth begins with %+v and ends with %+v", depth[0], last)
	}
	if first := got[1].Points[0]; first.Unknown != "" {
		t.Errorf("the slope over 60 s begins with %+v: it was not warmed up", first)
	}
	want := []series.Span{{at(2 * time.Minute), at(140 * time.Second), series.Raw}, {at(145 * time.Second), at(3 * time.Minute), series.Raw}}
	if diff := cmp.Diff(want, s.Spans()); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
}

// TestNeedsNoOther: leaving out what the scope does not rest on changes no value:
// the same as measuring everything, look by look.
func TestNeedsNoOther(t *testing.T) {
	cfg := recordingtest.Config{
		Services: 3, Backends: 4, Span: 4 * time.Minute, Pulse: time.Second, Focus: time.Second,
		Faults: []recordingtest.Fault{
			{Kind: recordingtest.Exhaust, Scope: web, From: time.Minute, To: 3 * time.Minute},
			{Kind: recordingtest.Blackhole, Scope: recordingtest.Backend(1), From: 2 * time.Minute, To: 150 * time.Second},
		},
	}
	for _, id := range []scope.ID{web, recordingtest.Backend(1), scope.Host} {
		var of []measure.Signal
		for _, sig := range measure.Signals() {
			if sig.AppliesTo(id.Kind) {
				of = append(of, sig)
			}
		}
		s := series.New(series.Wanted{Scope: id, Signals: of, From: at(0), To: at(cfg.Span)})
		play(s, cfg)
		all := make([]map[time.Time][]float64, len(of)) // what was known in each second
		m, host := measure.New(""), recordingtest.New(cfg)
		for step, err := host.Next(); err == nil; step, err = host.Next() {
			view := m.Step(step.At, step.Tallies)
			for k, sig := range of {
				if all[k] == nil {
					all[k] = map[time.Time][]float64{}
				}
				if value, _ := view.Scope(id).Get(sig).Shown(); value != nil {
					second := step.At.UTC().Truncate(time.Second)
					all[k][second] = append(all[k][second], *value)
				}
			}
		}
		for k, x := range s.Signals() {
			for _, p := range x.Points {
				values := all[k][p.At]
				if (len(values) == 0) != (p.Unknown != "") || len(values) > 0 && (p.Least != slices.Min(values) || p.Greatest != slices.Max(values)) {
					t.Errorf("%s of %s at +%s: %+v, want %v", x.Signal, id, p.At.Sub(recordingtest.Start), p, values)
				}
			}
		}
	}
}

// TestUnknownIsNoZero: what could not be seen is a point that says why.
func TestUnknownIsNoZero(t *testing.T) {
	s := series.New(series.Wanted{Scope: web, From: at(0), To: at(3 * time.Second), Signals: []measure.Signal{measure.WorkersFullIn, measure.NewFlowsRate}})
	play(s, recordingtest.Config{Services: 1, Span: 3 * time.Second, Pulse: time.Second})
	for _, x := range s.Signals() {
		for _, p := range x.Points {
			if p.Unknown == "" || p != (series.Point{At: p.At, For: p.For, Unknown: p.Unknown}) {
				t.Errorf("%s: %+v, want a point that is not known", x.Signal, p)
			}
		}
	}
}

// TestMinutesAnswerForTheRest: they come after the raw tallies, do not take
// their place, and are told apart.
func TestMinutesAnswerForTheRest(t *testing.T) {
	s := series.New(series.Wanted{Scope: web, From: at(0), To: at(6 * time.Minute), Signals: []measure.Signal{measure.QueueDepth}})
	play(s, recordingtest.Config{Services: 1, Span: time.Second, Pulse: 250 * time.Millisecond})
	depth := func(least, greatest float64) baseline.Range {
		return baseline.Range{Signal: measure.QueueDepth, Looks: 10, Least: least, Mean: (least + greatest) / 2, Greatest: greatest}
	}
	for _, m := range []*baseline.Minute{
		minute(-1, web, depth(9, 9)), minute(0, web, depth(9, 9)), minute(1, web, depth(2, 4)), minute(2, web), minute(4, web, depth(6, 8)), minute(6, web, depth(9, 9)),
	} {
		s.Minute(m)
	}
	want := []string{"+0s 1s 0..0..0", "+1m0s 1m0s 2..3..4", "+2m0s 1m0s not_kept", "+4m0s 1m0s 6..7..8"}
	if diff := cmp.Diff(want, spelled(s.Signals()[0].Points)); diff != "" {
		t.Errorf("points (-want +got):\n%s", diff)
	}
	spans := []series.Span{
		{at(0), at(time.Second), series.Raw}, {at(time.Minute), at(3 * time.Minute), series.Minutes}, {at(4 * time.Minute), at(5 * time.Minute), series.Minutes},
	}
	if diff := cmp.Diff(spans, s.Spans()); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
}

// TestPointsAreBounded: a day is as many points as an hour, each the least, the
// mean and the greatest of what it stands for.
func TestPointsAreBounded(t *testing.T) {
	s := series.New(series.Wanted{Scope: web, From: at(0), To: at(24 * time.Hour), Signals: []measure.Signal{measure.Established}})
	for n := range 24 * 60 {
		s.Minute(minute(n, web, baseline.Range{Signal: measure.Established, Looks: 1, Least: float64(n), Mean: float64(n), Greatest: float64(n)}))
	}
	points := s.Signals()[0].Points
	if len(points) > series.MostPoints || s.Resolution() != 144*time.Second {
		t.Errorf("%d points of %s, want %d at most", len(points), s.Resolution(), series.MostPoints)
	}
	if diff := cmp.Diff([]string{"+0s 3m0s 0..1..2", "+3m0s 2m0s 3..3.5..4"}, spelled(points[:2])); diff != "" {
		t.Errorf("points (-want +got):\n%s", diff)
	}
}

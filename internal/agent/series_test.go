package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/measure/baseline"
	"github.com/foreshock/foreshock/internal/recording"
	"github.com/foreshock/foreshock/internal/recording/recordingtest"
)

// made are the segments and the minutes of a host that never was, as a source;
// raw says of which times the segments were kept.
func made(t testing.TB, cfg recordingtest.Config, raw func(since time.Duration) bool) SeriesSource {
	t.Helper()
	var segments []recording.Segment
	var minutes [][]byte
	encoder, gatherer, m := recording.NewEncoder(recording.Limits{}), baseline.NewMinutes(), measure.New("")
	keep := func(s *recording.Segment) {
		if s != nil {
			segments = append(segments, *s)
		}
	}
	host := recordingtest.New(cfg)
	for s, err := host.Next(); err == nil; s, err = host.Next() {
		if minute := gatherer.Take(s.At, m.Step(s.At, s.Tallies)); minute != nil {
			minutes = append(minutes, baseline.AppendMinute(nil, minute))
		}
		if !raw(s.At.Sub(recordingtest.Start)) {
			keep(encoder.Flush())
			continue
		}
		done, err := encoder.Add(s)
		if err != nil {
			t.Fatal(err)
		}
		keep(done)
	}
	keep(encoder.Flush())
	return SeriesSource{
		Segments: func(_ context.Context, from, to time.Time, each func(recording.Segment) error) error {
			for _, s := range segments {
				if !s.To.Before(from.Add(-normsWithin)) && !s.From.After(to) {
					if err := each(s); err != nil {
						return err
					}
				}
			}
			return nil
		},
		Minutes: func(_ context.Context, _, _ time.Time, each func([]byte) error) error {
			for _, data := range minutes {
				if err := each(data); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func since(d time.Duration) *time.Time { return new(recordingtest.Start.Add(d)) }

// TestSeriesOfALongIncident: raw tallies of its beginning and its end, minutes
// between them, and what cannot be drawn is named.
func TestSeriesOfALongIncident(t *testing.T) {
	const opened, resolved = 10 * time.Minute, 60 * time.Minute
	source := made(t, recordingtest.Config{
		Services: 1, Span: resolved + 2*time.Minute, Pulse: time.Second, Focus: 2 * time.Second,
		Faults: []recordingtest.Fault{{Kind: recordingtest.Exhaust, Scope: recordingtest.Service(0), From: opened, To: resolved}},
	}, func(d time.Duration) bool { return d < 25*time.Minute || d > 50*time.Minute })
	inc := api.Incident{
		ID: 3, Scope: "service/web0", SuspectedAt: since(opened), OpenedAt: since(opened), ResolvedAt: since(resolved),
		Evidence: []api.Evidence{{Signal: "queue_depth", Threshold: new(5.0)}, {Signal: "queue_depth"}, {Signal: "passive_opens_per_second"}, {Signal: "mean(busy, 1m)"}},
	}
	s, err := SeriesOf(t.Context(), &inc, *since(2 * resolved), source)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range s.Sources {
		got = append(got, fmt.Sprintf("%s +%s to +%s", x.Source, x.From.Sub(recordingtest.Start), x.To.Sub(recordingtest.Start)))
	}
	for _, x := range s.Signals {
		level := "no level"
		if x.Threshold != nil {
			level = fmt.Sprint(*x.Threshold)
		}
		got = append(got, fmt.Sprintf("%s of %s in %s against %s", x.Signal, x.Scope, x.Unit, level))
		if n := len(x.Points); n == 0 || n > 600 {
			t.Errorf("%s has %d points", x.Signal, n)
		}
		for _, p := range x.Points {
			if (p.Mean == nil) != (p.Unknown != "") || p.Mean != nil && (*p.Least > *p.Mean || *p.Mean > *p.Greatest) {
				t.Errorf("%s: point %+v", x.Signal, p)
			}
		}
	}
	want := []string{
		"raw +5m0s to +25m0s", "minutes +25m0s to +55m0s", "raw +55m0s to +1h1m0s",
		"queue_depth of service/web0 in count against 5", "passive_opens_per_second of host in per_second against no level",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
	if len(s.Notes) != 1 || !strings.HasPrefix(s.Notes[0], "mean(busy, 1m) ") {
		t.Errorf("notes %q", s.Notes)
	}
}

// TestSeriesOfNothing: what was not kept is no point, damage is passed over and
// noted, and who gives up is told.
func TestSeriesOfNothing(t *testing.T) {
	nothing := SeriesSource{
		Segments: func(_ context.Context, from, _ time.Time, each func(recording.Segment) error) error {
			return each(recording.Segment{From: from, To: from, Data: []byte("no segment")})
		},
		Minutes: func(_ context.Context, _, _ time.Time, each func([]byte) error) error {
			return each([]byte("no minute"))
		},
	}
	inc := api.Incident{ID: 3, Scope: "backend/shop/s1", SuspectedAt: since(0), Evidence: []api.Evidence{{Signal: "silent_seconds"}}}
	s, err := SeriesOf(t.Context(), &inc, *since(time.Minute), nothing)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Sources) != 0 || len(s.Signals) != 1 || len(s.Signals[0].Points) != 0 {
		t.Errorf("series %+v", s)
	}
	if diff := cmp.Diff([]string{"1 piece of raw tallies cannot be read", "1 minute cannot be read"}, s.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	for name, broken := range map[string]api.Incident{
		"no scope": {Scope: "cluster/x", SuspectedAt: since(0)}, "no beginning": {Scope: "host"},
		"an end before it": {Scope: "host", SuspectedAt: since(time.Hour), ResolvedAt: since(0)},
	} {
		if s, err := SeriesOf(t.Context(), &broken, *since(time.Minute), nothing); err == nil || len(s.Signals) > 0 {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	source := made(t, recordingtest.Config{Services: 1, Span: time.Minute, Pulse: time.Second}, func(time.Duration) bool { return true })
	if _, err := SeriesOf(ctx, &inc, *since(time.Minute), source); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
}

// TestSeriesIsServed by a running agent, of what goes on.
func TestSeriesIsServed(t *testing.T) {
	for _, dir := range []string{t.TempDir(), "none"} {
		t.Run(dir[:1], func(t *testing.T) {
			file := t.TempDir() + "/foreshock.yaml"
			write(t, file, "rules: [{name: always, when: host.passive_opens_per_second >= 0, hold: 1s}]\n")
			address, log := running(t, Options{Load: from(file), Version: "test", StateDir: dir})
			log.wait(t, "incident open")
			open := get[api.Incidents](t, address, "/api/v1/incidents?state=open").Incidents[0]
			s := get[api.Series](t, address, fmt.Sprintf("/api/v1/incidents/%d/series", open.ID))
			// Where a minute has ended since the agent began it is the first source.
			raw := slices.ContainsFunc(s.Sources, func(x api.SeriesSource) bool { return x.Source == "raw" })
			if len(s.Signals) != 1 || len(s.Signals[0].Points) == 0 || !raw {
				t.Errorf("series %+v", s)
			}
		})
	}
}

// BenchmarkSeries is the longest that is played of raw tallies: the beginning and
// the end of an incident of hours, on a host of 100 scopes.
func BenchmarkSeries(b *testing.B) {
	source := made(b, recordingtest.Config{Services: 20, Backends: 80, Span: 42 * time.Minute, Pulse: 250 * time.Millisecond, Focus: time.Second}, func(time.Duration) bool { return true })
	inc := api.Incident{ID: 3, Scope: "service/web0", SuspectedAt: since(10 * time.Minute), OpenedAt: since(11 * time.Minute), ResolvedAt: since(41 * time.Minute)}
	for _, sig := range []string{"queue_wait_seconds", "queue_depth", "workers_occupied", "listen_drops_per_second", "accepted_slope_per_second", "oldest_unaccepted_seconds"} {
		inc.Evidence = append(inc.Evidence, api.Evidence{Signal: sig})
	}
	for b.Loop() {
		if _, err := SeriesOf(b.Context(), &inc, *since(time.Hour), source); err != nil {
			b.Fatal(err)
		}
	}
}

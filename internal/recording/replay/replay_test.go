package replay_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/recording"
	"github.com/foreshock/foreshock/internal/recording/recordingtest"
	"github.com/foreshock/foreshock/internal/recording/replay"
)

// play plays a source to its end and returns its changes as JSON lines, and as
// short lines.
func play(t testing.TB, source replay.Source) (lines []byte, short []string) {
	t.Helper()
	p := replay.New(nil)
	for {
		s, err := source.Next()
		if errors.Is(err, io.EOF) {
			return lines, short
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range p.Changes(s) {
			line, err := c.JSON()
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line...)
			short = append(short, fmt.Sprintf("%s #%d %s %s %s %s", c.At.Format("15:04:05"), c.Incident.ID, c.Kind, c.Incident.Finding.Scope, c.Incident.Finding.Cause, c.Incident.Peak))
		}
	}
}

var faulty = recordingtest.Config{
	Services: 2, Backends: 4, Span: 6 * time.Minute, Pulse: 250 * time.Millisecond, Focus: time.Second, Offset: time.Hour,
	Faults: []recordingtest.Fault{
		{Kind: recordingtest.Blackhole, Scope: recordingtest.Backend(1), From: 2 * time.Minute, To: 2*time.Minute + 20*time.Second},
		{Kind: recordingtest.Exhaust, Scope: recordingtest.Service(0), From: 4 * time.Minute, To: 4*time.Minute + 20*time.Second},
	},
}

// TestChanges: each step of each life is told once, by the wall's clock, and
// every time the same byte for byte.
func TestChanges(t *testing.T) {
	lines, short := play(t, recordingtest.New(faulty))
	want := []string{
		"01:02:01 #1 suspect backend/pool0/s1 path_lost none",
		"01:02:02 #1 open backend/pool0/s1 path_lost critical",
		"01:02:23 #1 resolved backend/pool0/s1 path_lost critical",
		"01:02:23 #2 suspect backend/pool0/s1 heavy_loss none",
		"01:02:24 #2 dropped backend/pool0/s1 heavy_loss none",
		"01:04:01 #3 suspect service/web0 workers_full none",
		"01:04:05 #3 open service/web0 workers_full critical",
		"01:04:30 #3 resolved service/web0 workers_full critical",
	}
	if diff := cmp.Diff(want, short); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	again, _ := play(t, recordingtest.New(faulty))
	if !bytes.Equal(lines, again) {
		t.Errorf("the same steps gave two outcomes:\n%s", cmp.Diff(string(lines), string(again)))
	}
}

// TestFromFile: what was recorded plays as it did, though the reader uses its
// memory again.
func TestFromFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made.rec")
	if _, err := recordingtest.Write(path, recordingtest.New(faulty)); err != nil {
		t.Fatal(err)
	}
	r, err := recording.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	want, _ := play(t, recordingtest.New(faulty))
	got, _ := play(t, r)
	if len(want) == 0 || !bytes.Equal(want, got) {
		t.Errorf("changes (-made +read):\n%s", cmp.Diff(string(want), string(got)))
	}
}

// BenchmarkPlay is the cost of a tally in measure and judge, beside making it.
func BenchmarkPlay(b *testing.B) {
	cfg := recordingtest.Config{Services: 20, Backends: 80, Span: 5 * time.Minute, Focus: time.Second}
	for _, bench := range []struct {
		name string
		play func(measure.Step)
	}{{"made", func(measure.Step) {}}, {"played", nil}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			tallies := 0
			for b.Loop() {
				do := bench.play
				if do == nil {
					p := replay.New(nil)
					do = func(s measure.Step) { p.Changes(s) }
				}
				host := recordingtest.New(cfg)
				for s, err := host.Next(); err == nil; s, err = host.Next() {
					tallies += len(s.Tallies.Scopes)
					do(s)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(tallies), "ns/tally")
		})
	}
}

// slice is a source of steps in memory.
type slice []measure.Step

func (s *slice) Next() (measure.Step, error) {
	if len(*s) == 0 {
		return measure.Step{}, io.EOF
	}
	next := (*s)[0]
	*s = (*s)[1:]
	return next, nil
}

// TestNamespaceThatEnds: what is open in a namespace that ends is closed by the
// pulses of our own, ten seconds later; one that comes back goes on with it.
func TestNamespaceThatEnds(t *testing.T) {
	shop := faulty
	shop.Namespace, shop.Faults = "shop", []recordingtest.Fault{{Kind: recordingtest.Blackhole, Scope: recordingtest.Backend(1).In("shop"), From: time.Minute, To: time.Hour}}
	own := recordingtest.All(recordingtest.Config{Span: 2 * time.Minute, Pulse: 250 * time.Millisecond, Offset: time.Hour})
	other := recordingtest.All(shop)
	for _, tt := range []struct {
		name string
		back time.Duration // after the start
		want []string
	}{
		{"gone", time.Hour, []string{
			"01:01:01 #1 suspect backend/pool0/s1@shop path_lost none",
			"01:01:02 #1 open backend/pool0/s1@shop path_lost critical",
			"01:01:15 #1 resolved backend/pool0/s1@shop path_lost critical",
		}},
		{"back", 70 * time.Second, []string{
			"01:01:01 #1 suspect backend/pool0/s1@shop path_lost none",
			"01:01:02 #1 open backend/pool0/s1@shop path_lost critical",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const end = 65 * time.Second
			steps := slices.Clone(own)
			for _, s := range other {
				if at := s.At.Sub(recordingtest.Start); at < end || at >= tt.back {
					steps = append(steps, s)
				}
			}
			steps = append(steps, measure.Step{Namespace: "shop", At: recordingtest.Start.Add(end), Offset: time.Hour, Left: true})
			slices.SortStableFunc(steps, func(a, b measure.Step) int { return a.At.Compare(b.At) })
			source := slice(steps)
			if _, short := play(t, &source); !cmp.Equal(tt.want, short) {
				t.Errorf("changes (-want +got):\n%s", cmp.Diff(tt.want, short))
			}
		})
	}
}

// TestAnotherRun: where the clock goes back the agent was started anew, and where
// the step says so, also when the clock went on.
func TestAnotherRun(t *testing.T) {
	first := recordingtest.All(faulty)
	steps := slice(append(slices.Clip(first[:len(first)*3/8]), first...)) // to 2m15s, and from the start
	_, short := play(t, &steps)
	later := recordingtest.All(faulty)
	for i := range later {
		later[i].At, later[i].Began = later[i].At.Add(time.Hour), recordingtest.Start.Add(time.Minute)
		later[i].Tallies.Look.Begin = later[i].Tallies.Look.Begin.Add(time.Hour)
	}
	steps = slice(append(slices.Clip(first[:len(first)*3/8]), later...))
	sameMinute := func(a, b string) bool { return a[len("01:"):] == b[len("02:"):] }
	if _, told := play(t, &steps); !slices.EqualFunc(short, told, sameMinute) {
		t.Errorf("where the step says that it is of another run (-by the clock +by the step):\n%s", cmp.Diff(short, told))
	}
	want := []string{
		"01:02:01 #1 suspect backend/pool0/s1 path_lost none",
		"01:02:02 #1 open backend/pool0/s1 path_lost critical",
		"01:00:00 #1 resolved backend/pool0/s1 path_lost critical",
		"01:02:01 #2 suspect backend/pool0/s1 path_lost none",
		"01:02:02 #2 open backend/pool0/s1 path_lost critical",
	}
	if diff := cmp.Diff(want, short[:min(len(want), len(short))]); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// TestFailedLook: a look that failed is a step too, without evidence.
func TestFailedLook(t *testing.T) {
	steps := slice(recordingtest.All(faulty))
	for i := range steps {
		if after := steps[i].At.Sub(recordingtest.Start); after > 130*time.Second {
			look := steps[i].Tallies.Look
			look.Completeness = 0
			steps[i].Tallies = measure.Tallies{Look: look}
		}
	}
	_, short := play(t, &steps)
	if diff := cmp.Diff([]string{
		"01:02:01 #1 suspect backend/pool0/s1 path_lost none",
		"01:02:02 #1 open backend/pool0/s1 path_lost critical",
	}, short); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

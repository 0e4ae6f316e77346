package recording

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/foreshock/foreshock/internal/measure"
)

// TestStepsComeBack holds decode(encode(x)) to x for every exported field that a
// step has, in rows of steps that change a little, much or not at all, over
// segments of every length.
func TestStepsComeBack(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		steps := drawSteps(r)
		limits := Limits{Size: rapid.SampledFrom([]int{1, 500, 1 << 20}).Draw(r, "size"), Span: 1 << 62}
		if diff := cmp.Diff(steps, decode(t, encode(t, limits, steps)), same); diff != "" {
			r.Fatalf("what was read is not what was recorded (-recorded +read):\n%s", diff)
		}
	})
}

// TestOneDecoderForAll: what a decoder remembers of one segment shows in no
// other.
func TestOneDecoderForAll(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		steps := drawSteps(r)
		segments := encode(t, Limits{Size: 500, Span: 1 << 62}, steps)
		d := NewDecoder()
		var got []measure.Step
		for _, s := range segments {
			if err := d.Reset(s.Data); err != nil {
				r.Fatal(err)
			}
			for {
				rec, err := d.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					r.Fatal(err)
				}
				got = append(got, copyOf(rec.Step))
			}
		}
		if diff := cmp.Diff(steps, got, same); diff != "" {
			r.Fatal(diff)
		}
	})
}

// TestSegmentsEnd: a segment ends at its span, at its size, when the clock is set
// and with the run of the agent, and says when it is from.
func TestSegmentsEnd(t *testing.T) {
	at := func(after time.Duration) time.Time { return start.Add(after) }
	step := func(after, offset time.Duration) measure.Step { return measure.Step{At: at(after), Offset: offset} }
	steps := []measure.Step{step(0, 0), step(4*time.Second, 0), step(10*time.Second, 0), step(11*time.Second, time.Hour), step(12*time.Second, time.Hour), step(13*time.Second, time.Hour)}
	steps[5].Began = at(13 * time.Second)
	var got []string
	for _, s := range encode(t, Limits{}, steps) {
		got = append(got, fmt.Sprint(s.From.Sub(start), " ", s.To.Sub(start)))
	}
	want := []string{"0s 4s", "10s 10s", "1h0m11s 1h0m12s", "1h0m13s 1h0m13s"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := len(encode(t, Limits{Size: 1}, steps)); n != len(steps) {
		t.Errorf("%d segments of at most one byte, want %d: the step that reaches the size is the last", n, len(steps))
	}
}

// TestFirstVersion: segments that do not say which run they are of are read.
func TestFirstVersion(t *testing.T) {
	steps := []measure.Step{{At: start, Tallies: measure.Tallies{Interval: time.Second}}, {At: start.Add(time.Second), Namespace: "shop", Left: true}}
	old, err := os.ReadFile("testdata/version1.segment")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(steps, decode(t, []Segment{{Data: old}}), same); diff != "" {
		t.Errorf("-recorded +read:\n%s", diff)
	}
}

var start = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

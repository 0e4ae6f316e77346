package recordingtest

import (
	"errors"
	"fmt"
	"io"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/recording"
)

// Tape keeps what an encoder makes of steps and of the frames between them.
type Tape struct {
	encoder *recording.Encoder
	// Segments are those that are finished; all, after End.
	Segments []recording.Segment
}

// NewTape returns an empty one whose segments are within limits.
func NewTape(limits recording.Limits) *Tape {
	return &Tape{encoder: recording.NewEncoder(limits)}
}

// Step adds a step, of which it keeps nothing.
func (t *Tape) Step(s measure.Step) error { return t.add(t.encoder.Add(s)) }

// Frame adds a frame, of which it keeps nothing.
func (t *Tape) Frame(f recording.Frame) error { return t.add(t.encoder.AddFrame(f)) }

// End finishes the segment under way.
func (t *Tape) End() { _ = t.add(t.encoder.Flush(), nil) }

func (t *Tape) add(done *recording.Segment, err error) error {
	if done != nil {
		t.Segments = append(t.Segments, *done)
	}
	return err
}

// Records returns what gives the records of the segments, one after the other,
// and io.EOF after the last. A record is good until the next.
func (t *Tape) Records() func() (recording.Record, error) {
	left := t.Segments
	decoder := recording.NewDecoder()
	ended := true // there is no segment under way
	return func() (recording.Record, error) {
		for {
			if ended {
				if len(left) == 0 {
					return recording.Record{}, io.EOF
				}
				if err := decoder.Reset(left[0].Data); err != nil {
					return recording.Record{}, err
				}
				left, ended = left[1:], false
			}
			r, err := decoder.Next()
			if ended = errors.Is(err, io.EOF); !ended {
				return r, err
			}
		}
	}
}

// Recount counts the sockets of the frames among records again, until next
// returns io.EOF, and hands each step to do with the tallies that come out. Its
// opinions, norms and answers are in no frame: those are the step's. Both are
// good until do returns; an error of do ends it.
func Recount(next func() (recording.Record, error), do func(step measure.Step, counted measure.Tallies) error) error {
	player := recording.NewPlayer()
	counted := map[string]measure.Tallies{} // by namespace
	for n := 0; ; {
		r, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		switch {
		case err != nil:
			return fmt.Errorf("after %d steps: %w", n, err)
		case r.Frame != nil:
			if tallies, looked := player.Play(r.Frame); looked {
				counted[r.Frame.Namespace] = tallies
			}
			continue
		case r.Step.Left:
			continue
		}
		tallies := counted[r.Step.Namespace]
		said := &r.Step.Tallies
		tallies.Opinions, tallies.Norms, tallies.Answers = said.Opinions, said.Norms, said.Answers
		if err := do(r.Step, tallies); err != nil {
			return fmt.Errorf("step %d: %w", n, err)
		}
		n++
	}
}

package recording_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/recording"
	"github.com/foreshock/foreshock/internal/recording/recordingtest"
)

// recounted is an error where a step's tallies are not those that are counted
// again.
func recounted(step measure.Step, counted measure.Tallies) error {
	if diff := cmp.Diff(step.Tallies, counted, recording.Same); diff != "" {
		return errors.New("(-recorded +counted again):\n" + diff)
	}
	return nil
}

// TestFramesGiveTheTallies plays the socket frames of a recording to a Tallier,
// and holds what it counts to the tallies beside them.
func TestFramesGiveTheTallies(t *testing.T) {
	for _, size := range []int{1, 5000, 1 << 20} {
		tape := recordingtest.NewTape(recording.Limits{Size: size})
		var told, read []measure.Step
		took := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		recording.Watched(t, func(f recording.Frame) { took(tape.Frame(f)) }, func(s measure.Step) {
			took(tape.Step(s))
			told = append(told, recording.CopyOf(s))
		})
		tape.End()
		took(recordingtest.Recount(tape.Records(), func(step measure.Step, counted measure.Tallies) error {
			read = append(read, recording.CopyOf(step))
			return recounted(step, counted)
		}))
		if diff := cmp.Diff(told, read, recording.Same); diff != "" || len(told) != 11 {
			t.Errorf("size %d: %d steps, want 11 (-told +recorded):\n%s", size, len(told), diff)
		}
	}
}

// TestEpisodesSocketsGiveTheTallies plays the sockets of the episodes that have
// them: what is counted again is what was counted on the lab's kernel.
func TestEpisodesSocketsGiveTheTallies(t *testing.T) {
	files, err := filepath.Glob("../../testdata/episodes/*-sockets.rec")
	if err != nil || len(files) == 0 {
		t.Fatalf("no episode has sockets: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			r, err := recording.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			steps, sockets := 0, 0
			err = recordingtest.Recount(func() (recording.Record, error) {
				rec, err := r.NextRecord()
				if rec.Frame != nil {
					sockets += len(rec.Frame.Sockets)
				}
				return rec, err
			}, func(step measure.Step, counted measure.Tallies) error {
				steps++
				return recounted(step, counted)
			})
			if p := r.Problems(); err != nil || len(p) > 0 || steps == 0 || sockets == 0 {
				t.Errorf("%d steps, %d sockets, problems %v, %v", steps, sockets, p, err)
			}
		})
	}
}

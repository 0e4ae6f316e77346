package recording

import (
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/measure"
)

// TestEpisodesSocketsGiveTheTallies plays the sockets of the episodes that have
// them: what is counted again is what was counted on the lab's kernel.
func TestEpisodesSocketsGiveTheTallies(t *testing.T) {
	files, err := filepath.Glob("../../testdata/episodes/*-sockets.rec")
	if err != nil || len(files) == 0 {
		t.Fatalf("no episode has sockets: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			r, err := Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			player := NewPlayer()
			counted := map[string]measure.Tallies{} // again, by namespace
			steps, sockets := 0, 0
			for {
				rec, err := r.NextRecord()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if rec.Frame != nil {
					sockets += len(rec.Frame.Sockets)
					if tallies, looked := player.Play(rec.Frame); looked {
						counted[rec.Frame.Namespace] = tallies
					}
					continue
				}
				if rec.Step.Left {
					continue
				}
				again := counted[rec.Step.Namespace]
				// These come from elsewhere, and are in no frame.
				again.Opinions, again.Norms = rec.Step.Tallies.Opinions, rec.Step.Tallies.Norms
				if diff := cmp.Diff(rec.Step.Tallies, again, same); diff != "" {
					t.Fatalf("step %d (-recorded +counted again):\n%s", steps, diff)
				}
				steps++
			}
			if p := r.Problems(); len(p) > 0 || steps == 0 || sockets == 0 {
				t.Errorf("%d steps, %d sockets, problems %v", steps, sockets, p)
			}
		})
	}
}

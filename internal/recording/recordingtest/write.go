package recordingtest

import (
	"errors"
	"fmt"
	"io"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/recording"
)

// Write writes all steps of a source to a file, in place of one that is there,
// and returns its size in bytes.
func Write(path string, source interface {
	Next() (measure.Step, error)
}) (size int64, err error) {
	w, err := recording.Create(path, recording.Header{Host: "made", ScopeKinds: recording.ScopeKinds()}, true)
	if err != nil {
		return 0, err
	}
	e := recording.NewEncoder(recording.Limits{})
	put := func(s *recording.Segment) error {
		if s == nil {
			return nil
		}
		return w.Write(*s)
	}
	for {
		step, err := source.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, errors.Join(err, w.Close())
		}
		finished, err := e.Add(step)
		if err = errors.Join(err, put(finished)); err != nil {
			return 0, errors.Join(fmt.Errorf("write step at %s: %w", step.At, err), w.Close())
		}
	}
	err = errors.Join(put(e.Flush()), w.Close())
	return w.Size(), err
}

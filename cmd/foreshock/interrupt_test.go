package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/recording/recordingtest"
)

type oneStep struct{}

func (oneStep) Next() (measure.Step, error) {
	return measure.Step{At: recordingtest.Start}, nil
}

// An answer that is not whole is none: a script must not take it for one.
func TestReplayThatIsNotWhole(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&replaying{}).play(ctx, oneStep{}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("interrupted: %v", err)
	}
	if err := (&replaying{speed: 1}).play(ctx, oneStep{}, io.Discard, io.Discard); err != nil {
		t.Errorf("interrupted by who watches it: %v", err)
	}
	if err := (&replaying{}).play(t.Context(), oneStep{}, full{}, io.Discard); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a full disk: %v", err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// Package recording keeps what the pipeline took, so that it can be played
// again. What is kept is each [Step]: measure and judge are pure, so the same
// steps in the same order give the same incidents, bit for bit.
package recording

import (
	"time"

	"github.com/foreshock/foreshock/internal/measure"
)

// Step is all that one step of one namespace's measure and judge takes.
type Step struct {
	// Namespace is its name as scopes have it; empty for the agent's own.
	Namespace string
	// At is the time on the pipeline's clock, which never steps; Offset is what
	// to add for the wall clock, as far as it was known then.
	At     time.Time
	Offset time.Duration
	// Tallies is good until the next step is asked for.
	Tallies measure.Tallies
	// Left: the namespace has ended, and nothing was looked at. What was
	// measured there is forgotten; what is open there goes on to its end.
	Left bool
}

// Segment is steps in a row, encoded: what the history stores, the flight
// recorder holds and a file is made of. Each can be decoded alone.
type Segment struct {
	// From and To are the first and the last step's time on the wall clock.
	From, To time.Time
	Data     []byte
}

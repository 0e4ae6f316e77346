// Package recording keeps what the pipeline took, so that it can be played
// again. What is kept is each [Step]: measure and judge are pure, so the same
// steps in the same order give the same incidents, bit for bit.
//
// An [Encoder] turns steps into [Segment]s, each of which can be decoded alone. A
// [Writer] makes a file of them, a [Reader] reads one, whatever its size:
//
//	r, err := recording.Open("busy.rec")
//	for s, err := r.Next(); err == nil; s, err = r.Next() {
//		court.Step(s)
//	}
//	for _, p := range r.Problems() { // what was damaged, and passed over
//
// A [Ring] holds the last minutes. A recording with sockets has [Frame]s between
// its steps, which a [Player] counts again. docs/RECORDING.md has the format.
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
	// Began is when the run of the agent began that took it, on the wall clock:
	// another run knew nothing of what was before. Zero is not known.
	Began time.Time
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

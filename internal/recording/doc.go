// Package recording keeps what the pipeline took, so that it can be played
// again. What is kept is each [measure.Step]: measure and judge are pure, so the same
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

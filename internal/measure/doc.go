// Package measure turns looks into signals.
//
// A [Tallier] takes the sockets of one look in batches and keeps, for each
// scope, only a [Tally]: counts, histograms, queue depths and a few example
// sockets. [Measure.Step] takes those tallies and returns a [View]: every
// scope's signals at this instant, each with its sample size and the time it
// was seen, or the reason why it is unknown.
//
//	tallier.Begin(look)
//	look, err := reader.Read(look.Request, tallier.Add)
//	view := m.Step(now, tallier.End(look, interval))
//
// The package is pure: no clock, no goroutine, no file. Time is an argument,
// on any clock that never steps; the same inputs in the same order give the
// same outputs, so a recording replays through this very code.
package measure

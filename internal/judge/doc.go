// Package judge names causes. [Judge.Step] takes the signals of every scope at
// one instant and returns the incidents: what is suspected, open or lately
// resolved, each with the numbers it rests on.
//
//	incidents := j.Step(now, view)
//
// Each cause is a [causeRule]: triggers that open it, each with a level, a hold in
// time and a count of fresh observations, and one condition that clears it.
// What could not be seen is no observation: it neither opens nor clears, and
// pauses the holds.
//
// The package is pure: no clock, no goroutine, no file; time is an argument.
package judge

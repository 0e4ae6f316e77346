// Package silence says of which incidents nobody is told, and when.
//
// A [Silence] has a [Matcher] for incidents and a time: from one instant to
// another, each week in its [Window]s, or until something is resolved. A
// maintenance window of the configuration is a Silence like any other. What is
// silenced is still recorded and shown.
//
//	if s := silence.Silenced(silences, wall, silence.Subject{Scope: "backend/shop/s1", Cause: "path_lost", Severity: "critical"}); s != nil {
//		// s.ID and s.Why say what keeps it quiet
//	}
//
// A [List] is the silences of one host over time. The package is pure but for
// [ParseWindow], which looks a time zone up. Times are the wall clock's.
package silence

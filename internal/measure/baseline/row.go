// Package baseline learns what signals are when all is well, over days.
//
// [Minutes] gathers the views of a host and hands out a [Minute] each minute of
// the wall clock. [HourOf] adds sixty of them up, what was wrong left out, and
// [Learn] makes norms of the hours of weeks, for the hour of the week that it
// is:
//
//	minute := minutes.Take(wall, view)            // each step; nil until a minute is over
//	hour := baseline.HourOf(start, rows, leftOut) // each hour, an hour late
//	norms := baseline.Learn(config, now, hours, recent)
//
// Norms are an input of measure; nothing here reaches back by itself. The
// package is pure: time is an argument, and what is kept is bytes that others
// store ([AppendMinute], [AppendHour]).
package baseline

import (
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// Minute is what one minute was, for every scope of a host.
type Minute struct {
	// Start is the whole minute on the wall clock, UTC. Where that clock is set,
	// a minute may be cut short, and the same one may come twice.
	Start  time.Time
	Scopes []Row
}

// Row is what one scope was in one minute.
type Row struct {
	Scope scope.ID
	// Group ties a backend or a region to its siblings; empty for any other.
	Group  string
	Ranges []Range // by signal, only those that were known
	// Sketches are of the signals that are learned over days, by signal; each is
	// one of Ranges.
	Sketches []Sampled
}

// Range is what one signal of one scope was in one minute, in its unit.
type Range struct {
	Signal measure.Signal
	// Looks is how many fresh values it rests on, at least 1.
	Looks                 int
	Least, Mean, Greatest float64
}

// Sampled is every value of one signal of one scope in one minute.
type Sampled struct {
	Signal measure.Signal
	Sketch Sketch
}

// Package baseline learns what signals are when all is well, from minute rows
// over days. It is pure.
package baseline

import (
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// Minute is what one minute was, for every scope of a host.
type Minute struct {
	// Start is the whole minute on the wall clock, UTC.
	Start  time.Time
	Scopes []Row
}

// Row is what one scope was in one minute.
type Row struct {
	Scope scope.ID
	// Group ties a backend or a region to its siblings; empty for any other.
	Group  string
	Ranges []Range // by signal, only those that were known
}

// Range is what one signal of one scope was in one minute, in its unit.
type Range struct {
	Signal measure.Signal
	// Looks is how many fresh values it rests on, at least 1.
	Looks                 int
	Least, Mean, Greatest float64
}

package rule

import "github.com/foreshock/foreshock/internal/enum"

// Truth is the answer of a condition.
type Truth uint8

// The truths. The zero value is that it cannot be told.
const (
	Unknown Truth = iota
	No
	Yes
)

var truthNames = [...]string{"unknown", "no", "yes"}

// String names it: "unknown", "no", "yes".
func (t Truth) String() string { return enum.Name(t, "truth", truthNames[:]) }

// TruthOf is yes or no.
func TruthOf(b bool) Truth {
	if b {
		return Yes
	}
	return No
}

// And is true when both are, false when either is not, else unknown.
func (t Truth) And(other Truth) Truth {
	if t == No || other == No {
		return No
	}
	return min(t, other)
}

// Or is true when either is, false when both are not, else unknown.
func (t Truth) Or(other Truth) Truth { return t.Not().And(other.Not()).Not() }

// Not is unknown for unknown.
func (t Truth) Not() Truth {
	switch t {
	case Yes:
		return No
	case No:
		return Yes
	}
	return Unknown
}

package measure

import "math"

// Shown is the value as JSON can say it, or nil and why there is none: its
// validity, or "not_a_number", of which one would cost the whole answer.
func (r Reading) Shown() (value *float64, unknown string) {
	switch v, known := r.Get(); {
	case !known:
		return nil, r.Validity.String()
	case math.IsNaN(v) || math.IsInf(v, 0):
		return nil, "not_a_number"
	default:
		return &v, ""
	}
}

package measure

import "math"

// Wilson is the 95 % Wilson score interval of the share part ÷ whole: where the
// true share lies when part of whole were seen. Without any it is everything,
// from 0 to 1.
func Wilson(part, whole float64) (lower, upper float64) {
	const z = 1.96
	if whole <= 0 {
		return 0, 1
	}
	share := min(max(part/whole, 0), 1)
	middle := share + z*z/(2*whole)
	half := z * math.Sqrt(share*(1-share)/whole+z*z/(4*whole*whole))
	scale := 1 + z*z/whole
	return max(0, (middle-half)/scale), min(1, (middle+half)/scale)
}

package measure

import "time"

// Histogram counts durations in fixed buckets, so that two of them can be
// compared, added and recorded. Bucket i holds what is shorter than
// histogramBounds[i]; the last holds the rest.
type Histogram [len(histogramBounds) + 1]uint32

var histogramBounds = [...]time.Duration{
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second,
	5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute,
}

// Add counts d so many times.
func (h *Histogram) Add(d time.Duration, times uint32) {
	// Most sockets are either young or old; the bounds are few.
	i := 0
	for i < len(histogramBounds) && d >= histogramBounds[i] {
		i++
	}
	h[i] += times
}

// Count is the number of durations in the histogram.
func (h *Histogram) Count() int {
	n := 0
	for _, c := range h {
		n += int(c)
	}
	return n
}

func (h *Histogram) addAll(o *Histogram) {
	for i, n := range o {
		h[i] += n
	}
}

// atLeast counts the durations of at least bound, which must be one of the
// bounds.
func (h *Histogram) atLeast(bound time.Duration) int {
	n := 0
	for i := len(h) - 1; i > 0 && histogramBounds[i-1] >= bound; i-- {
		n += int(h[i])
	}
	return n
}

// quantile is the upper bound of the bucket that holds the quantile q, from 0
// to 1; twice the last bound in the bucket that has none, and zero for an empty
// histogram.
func (h *Histogram) quantile(q float64) time.Duration {
	total := h.Count()
	if total == 0 {
		return 0
	}
	below := 0
	for i, n := range h {
		below += int(n)
		if float64(below) >= q*float64(total) && i < len(histogramBounds) {
			return histogramBounds[i]
		}
	}
	return 2 * histogramBounds[len(histogramBounds)-1]
}

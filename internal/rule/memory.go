package rule

import (
	"math"
	"slices"
	"time"
)

// SamplePeriod is how often a span takes a sample, unless the rule samples
// less often.
const SamplePeriod = time.Second

// maxBuckets bounds what a span remembers: a longer one adds up the samples of
// several periods, so that 24 h takes no more memory than 5 minutes.
const maxBuckets = 300

// Memory is what the functions over time of one [Expression] remember of one
// scope: at most 20 KiB for each of them. See Expression.NewMemory.
type Memory struct {
	period time.Duration
	next   time.Time // when the next sample is due; zero: at once
	spans  []window
	values []Value
}

// NewMemory returns an empty memory whose spans take a sample each period;
// zero means SamplePeriod, and less is raised to it.
func (e *Expression) NewMemory(period time.Duration) *Memory {
	m := &Memory{period: max(period, SamplePeriod), spans: make([]window, len(e.spans))}
	for i, n := range e.spans {
		m.spans[i] = window{op: n.op, span: n.span, period: m.period, width: max(m.period, n.span/maxBuckets)}
	}
	return m
}

// due reports whether a sample is to be taken now.
func (m *Memory) due(now time.Time) bool { return due(&m.next, now, m.period) }

// early is how much before its time a sample may be taken.
const early = 100 * time.Millisecond

// due reports whether now is a period after the last time it was, and sets the
// next time. It keeps to a grid: looks come a little early or late, and a grid that
// moved with them would drift or leave every other one out.
func due(next *time.Time, now time.Time, period time.Duration) bool {
	if !next.IsZero() && now.Before(next.Add(-early)) {
		return false
	}
	*next = next.Add(period)
	if now.After(*next) { // the first sample, or a gap
		*next = now.Add(period)
	}
	return true
}

// window is one function over one span of time.
type window struct {
	op     op
	span   time.Duration
	period time.Duration
	width  time.Duration // of a bucket
	// buckets from the oldest.
	buckets []bucket
	samples int
	last    float64
	lastAt  time.Time
	scratch []float64
	// value is the function's, as of the last sample.
	value float64
	known bool
}

// bucket is one sample, or several of a long span.
type bucket struct {
	at               time.Time // of the first
	samples          int
	first, sum       float64
	lowest, greatest float64
}

// add takes one sample.
func (w *window) add(now time.Time, value float64) {
	w.trim(now)
	w.last, w.lastAt = value, now
	w.samples++
	half := w.period / 2 // samples come a little early or late
	if n := len(w.buckets); n > 0 && now.Sub(w.buckets[n-1].at) < w.width-half {
		b := &w.buckets[n-1]
		b.samples++
		b.sum += value
		b.lowest, b.greatest = min(b.lowest, value), max(b.greatest, value)
		return
	}
	w.buckets = append(w.buckets, bucket{at: now, samples: 1, first: value, sum: value, lowest: value, greatest: value})
	if len(w.buckets) > maxBuckets+1 {
		w.drop(1)
	}
}

// trim forgets what is older than the span. A sample exactly one span old is:
// five samples 30 s apart make a span of 2m30s.
func (w *window) trim(now time.Time) {
	old := 0
	for old < len(w.buckets) && now.Sub(w.buckets[old].at) > w.span-w.period/2 {
		old++
	}
	w.drop(old)
}

func (w *window) drop(n int) {
	for _, b := range w.buckets[:n] {
		w.samples -= b.samples
	}
	w.buckets = slices.Delete(w.buckets, 0, n)
}

// settle works the function out. It is known once half of the samples that a
// whole span has were seen.
func (w *window) settle(now time.Time) {
	w.trim(now)
	w.value, w.known = 0, false
	if len(w.buckets) == 0 || int64(w.samples)*2 < int64(w.span/w.period) {
		return
	}
	switch w.op {
	case opMean:
		for i := range w.buckets {
			w.value += w.buckets[i].sum / float64(w.samples)
		}
	case opMedian:
		w.value = w.median()
	case opMinOver:
		w.value = math.Inf(1)
		for i := range w.buckets {
			w.value = min(w.value, w.buckets[i].lowest)
		}
	case opMaxOver:
		w.value = math.Inf(-1)
		for i := range w.buckets {
			w.value = max(w.value, w.buckets[i].greatest)
		}
	case opFirst:
		w.value = w.buckets[0].first
	case opRate:
		over := w.lastAt.Sub(w.buckets[0].at)
		if over <= 0 {
			return
		}
		w.value = (w.last - w.buckets[0].first) / over.Seconds()
	}
	w.known = finite(w.value)
}

// median is the median of the buckets' means: exact where a bucket is one
// sample.
func (w *window) median() float64 {
	w.scratch = w.scratch[:0]
	for i := range w.buckets {
		w.scratch = append(w.scratch, w.buckets[i].sum/float64(w.buckets[i].samples))
	}
	slices.Sort(w.scratch)
	middle := len(w.scratch) / 2
	if len(w.scratch)%2 == 1 {
		return w.scratch[middle]
	}
	return w.scratch[middle-1]/2 + w.scratch[middle]/2
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

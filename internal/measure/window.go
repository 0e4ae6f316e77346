package measure

import (
	"math"
	"slices"
	"time"
)

// Window holds the samples of one number over a stretch of time. The zero
// value is not usable; see NewWindow.
//
// Every scope has a dozen of them and each look asks all of them, so what is
// asked at each look does not walk the samples where that can be helped.
type Window struct {
	span    time.Duration
	samples []sample // a ring, grown up to most as it fills
	most    int
	first   int
	count   int
	sum     float64 // of what Count added
	total   float64 // of the values
	// The largest and the smallest value.
	greatest, least extreme
	// line is the trend, once it was asked for; lined says that it is that of
	// the samples there are, and whether there is one.
	line  Trend
	lined trended
}

type sample struct {
	at    int64 // nanoseconds of the Unix epoch
	value float64
}

// extreme is the largest or the smallest value of a window. Once the last
// sample that had it is forgotten it is only known to be beyond all others.
type extreme struct {
	value float64
	times int // how many samples have it; 0: it is to be found anew
}

// take takes one more value, which is beyond the others or not.
func (e *extreme) take(value float64, beyond bool) {
	switch {
	case beyond:
		*e = extreme{value, 1}
	case value == e.value:
		e.times++
	}
}

// drop takes one value out.
func (e *extreme) drop(value float64) {
	if value == e.value && e.times > 0 {
		e.times--
	}
}

// trended is what is known of a window's trend.
type trended uint8

const (
	notAsked trended = iota // since the last sample
	noTrend
	hasTrend
)

// NewWindow returns a window that remembers span, and at most capacity
// samples of it. Its memory grows with the samples: most scopes of a host's
// many namespaces are looked at far less often than capacity allows for.
func NewWindow(span time.Duration, capacity int) *Window {
	return &Window{span: span, most: capacity}
}

// leastSamples is how many a window has room for at first.
const leastSamples = 4

// grow makes room for more samples, up to most.
func (w *Window) grow() {
	larger := make([]sample, min(w.most, max(leastSamples, 2*len(w.samples))))
	n := copy(larger, w.samples[w.first:])
	copy(larger[n:], w.samples[:w.first])
	w.samples, w.first = larger, 0
}

func (w *Window) at(i int) *sample {
	if i += w.first; i >= len(w.samples) {
		i -= len(w.samples)
	}
	return &w.samples[i]
}

// parts are the samples from the oldest to the newest, in two stretches.
func (w *Window) parts() [2][]sample {
	end := w.first + w.count
	if end <= len(w.samples) {
		return [2][]sample{w.samples[w.first:end], nil}
	}
	return [2][]sample{w.samples[w.first:], w.samples[:end-len(w.samples)]}
}

// Add appends a sample; at must not be before the last one's. What is older
// than the span is forgotten, but for the newest of it, so that the whole span
// stays covered.
func (w *Window) Add(at time.Time, value float64) {
	if w.count == len(w.samples) && w.count < w.most {
		w.grow()
	}
	if w.count == len(w.samples) {
		w.drop()
	}
	nanoseconds := at.UnixNano()
	*w.at(w.count) = sample{nanoseconds, value}
	w.greatest.take(value, w.count == 0 || value > w.greatest.value)
	w.least.take(value, w.count == 0 || value < w.least.value)
	w.total += value
	w.count++
	w.lined = notAsked
	for w.count > 2 && nanoseconds-w.at(1).at >= int64(w.span) {
		w.drop()
	}
}

// drop forgets the oldest sample.
func (w *Window) drop() {
	value := w.samples[w.first].value
	w.greatest.drop(value)
	w.least.drop(value)
	w.total -= value
	if w.first++; w.first == len(w.samples) {
		w.first = 0
	}
	w.count--
}

// Count adds events to those before and appends the sum, so that Change is how
// many there were.
func (w *Window) Count(at time.Time, events float64) {
	w.sum += events
	w.Add(at, w.sum)
}

// Reset forgets every sample.
func (w *Window) Reset() { w.first, w.count, w.total, w.lined = 0, 0, 0, notAsked }

// Len is the number of samples.
func (w *Window) Len() int { return w.count }

// Covers is the time between the oldest and the newest sample.
func (w *Window) Covers() time.Duration {
	if w.count < 2 {
		return 0
	}
	return time.Duration(w.at(w.count-1).at - w.at(0).at)
}

// Since is the time from the newest sample to now; meaningless without one.
func (w *Window) Since(now time.Time) time.Duration {
	return time.Duration(now.UnixNano() - w.at(w.count-1).at)
}

// Change is the newest value less the oldest, and the time between them.
func (w *Window) Change() (delta float64, over time.Duration) {
	if w.count < 2 {
		return 0, 0
	}
	return w.at(w.count-1).value - w.at(0).value, w.Covers()
}

// Trend is the straight line through a window.
type Trend struct {
	// PerSecond is the slope, Error its standard error.
	PerSecond, Error float64
	// Level is where the line is at the newest sample.
	Level float64
}

// Beyond reports whether the line rises by more than so many standard errors.
func (t Trend) Beyond(errors float64) bool { return t.PerSecond > 0 && t.PerSecond > errors*t.Error }

// Trend fits a line by least squares. Neighbouring samples of one crowd are
// alike, as most of it is still there; the standard error takes that from the
// residuals' correlation at a lag of one (an AR(1) process has
// (1 + r) ÷ (1 − r) times the variance). It is false with fewer than three
// samples or no time between them.
func (w *Window) Trend() (Trend, bool) {
	if w.lined == notAsked {
		w.lined = noTrend
		if w.count >= 3 && w.Covers() > 0 {
			w.line, w.lined = w.fit(), hasTrend
		}
	}
	if w.lined == noTrend {
		return Trend{}, false
	}
	return w.line, true
}

// fit works the line out, with three samples or more and time between them.
func (w *Window) fit() Trend {
	const perNanosecond = 1e-9
	n, origin, parts := float64(w.count), w.at(0).at, w.parts()
	var meanX, meanY float64
	for _, part := range parts {
		for _, s := range part {
			meanX += float64(s.at-origin) * perNanosecond
			meanY += s.value
		}
	}
	meanX, meanY = meanX/n, meanY/n
	var xx, xy float64
	for _, part := range parts {
		for _, s := range part {
			x := float64(s.at-origin)*perNanosecond - meanX
			xx, xy = xx+x*x, xy+x*(s.value-meanY)
		}
	}
	slope := xy / xx
	var squares, lagged, before float64
	for _, part := range parts {
		for _, s := range part {
			r := s.value - meanY - slope*(float64(s.at-origin)*perNanosecond-meanX)
			squares += r * r
			lagged += r * before
			before = r
		}
	}
	inflation := 1.0
	if squares > 0 {
		const most = 0.9 // a window this short cannot tell more from a bend in the line
		r := math.Min(math.Max(lagged/squares, 0), most)
		inflation = (1 + r) / (1 - r)
	}
	return Trend{
		PerSecond: slope,
		Error:     math.Sqrt(squares / (n - 2) / xx * inflation),
		Level:     meanY + slope*(w.Covers().Seconds()-meanX),
	}
}

// StillRising reports whether the values of a rising trend went on to rise in
// its last third, by at least a third of what the line says. A step, as when
// traffic is moved here, gives a line too; a third of the window later nothing
// rises any more.
func (w *Window) StillRising(t Trend) bool {
	begin, third := w.at(0).at, w.Covers()/3
	var sums, counts [3]float64
	for i := range w.count {
		part := min(int(time.Duration(w.at(i).at-begin)/max(third, 1)), 2)
		sums[part] += w.at(i).value
		counts[part]++
	}
	if counts[1] == 0 || counts[2] == 0 {
		return false
	}
	return sums[2]/counts[2]-sums[1]/counts[1] >= t.PerSecond*third.Seconds()/3
}

// Median is the middle of the values; false with none. It allocates.
func (w *Window) Median() (float64, bool) {
	if w.count == 0 {
		return 0, false
	}
	values := make([]float64, w.count)
	for i := range values {
		values[i] = w.at(i).value
	}
	slices.Sort(values)
	return values[len(values)/2], true
}

// Mean is the mean of the values, zero with none. They must be whole numbers,
// such as counts: of those a sum that is kept up stays exact.
func (w *Window) Mean() float64 { return w.total / float64(max(1, w.count)) }

// Most is the largest value; false with none.
func (w *Window) Most() (float64, bool) {
	if w.count == 0 {
		return 0, false
	}
	w.find(&w.greatest, func(value, than float64) bool { return value > than })
	return w.greatest.value, true
}

// find finds an extreme anew where it is not known any more.
func (w *Window) find(e *extreme, beyond func(value, than float64) bool) {
	if e.times > 0 {
		return
	}
	e.value = w.at(0).value
	for _, part := range w.parts() {
		for _, s := range part {
			e.take(s.value, beyond(s.value, e.value))
		}
	}
}

// SinceAtMost is how long before the newest sample the value was last at most
// level; false when no sample was.
func (w *Window) SinceAtMost(level float64) (time.Duration, bool) {
	if w.count == 0 {
		return 0, false
	}
	w.find(&w.least, func(value, than float64) bool { return value < than })
	if w.least.value > level {
		return 0, false
	}
	for i := w.count - 1; i >= 0; i-- {
		if w.at(i).value <= level {
			return time.Duration(w.at(w.count-1).at - w.at(i).at), true
		}
	}
	return 0, false
}

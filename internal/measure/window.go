package measure

import (
	"math"
	"slices"
	"time"
)

// Window holds the samples of one number over a stretch of time. The zero
// value is not usable; see NewWindow.
type Window struct {
	span    time.Duration
	samples []sample // a ring, grown up to most as it fills
	most    int
	first   int
	count   int
	sum     float64 // of what Count added
}

type sample struct {
	at    time.Time
	value float64
}

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

func (w *Window) at(i int) *sample { return &w.samples[(w.first+i)%len(w.samples)] }

// Add appends a sample; at must not be before the last one's. What is older
// than the span is forgotten, but for the newest of it, so that the whole span
// stays covered.
func (w *Window) Add(at time.Time, value float64) {
	if w.count == len(w.samples) && w.count < w.most {
		w.grow()
	}
	if w.count == len(w.samples) {
		w.first = (w.first + 1) % len(w.samples)
		w.count--
	}
	*w.at(w.count) = sample{at, value}
	w.count++
	for w.count > 2 && at.Sub(w.at(1).at) >= w.span {
		w.first = (w.first + 1) % len(w.samples)
		w.count--
	}
}

// Count adds events to those before and appends the sum, so that Change is how
// many there were.
func (w *Window) Count(at time.Time, events float64) {
	w.sum += events
	w.Add(at, w.sum)
}

// Reset forgets every sample.
func (w *Window) Reset() { w.first, w.count = 0, 0 }

// Len is the number of samples.
func (w *Window) Len() int { return w.count }

// Covers is the time between the oldest and the newest sample.
func (w *Window) Covers() time.Duration {
	if w.count < 2 {
		return 0
	}
	return w.at(w.count - 1).at.Sub(w.at(0).at)
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
	if w.count < 3 || w.Covers() <= 0 {
		return Trend{}, false
	}
	n := float64(w.count)
	origin := w.at(0).at
	var meanX, meanY float64
	for i := range w.count {
		meanX += w.at(i).at.Sub(origin).Seconds() / n
		meanY += w.at(i).value / n
	}
	var xx, xy float64
	for i := range w.count {
		x, y := w.at(i).at.Sub(origin).Seconds()-meanX, w.at(i).value-meanY
		xx, xy = xx+x*x, xy+x*y
	}
	if xx == 0 {
		return Trend{}, false
	}
	slope := xy / xx
	residual := func(i int) float64 {
		return w.at(i).value - meanY - slope*(w.at(i).at.Sub(origin).Seconds()-meanX)
	}
	var squares, lagged float64
	before := 0.0
	for i := range w.count {
		r := residual(i)
		squares += r * r
		lagged += r * before
		before = r
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
	}, true
}

// StillRising reports whether the values of a rising trend went on to rise in
// its last third, by at least a third of what the line says. A step, as when
// traffic is moved here, gives a line too; a third of the window later nothing
// rises any more.
func (w *Window) StillRising(t Trend) bool {
	begin, third := w.at(0).at, w.Covers()/3
	var sums, counts [3]float64
	for i := range w.count {
		part := min(int(w.at(i).at.Sub(begin)/max(third, 1)), 2)
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

// Mean is the mean of the values, zero with none.
func (w *Window) Mean() float64 {
	sum := 0.0
	for i := range w.count {
		sum += w.at(i).value
	}
	return sum / float64(max(1, w.count))
}

// Most is the largest value; false with none.
func (w *Window) Most() (float64, bool) {
	if w.count == 0 {
		return 0, false
	}
	most := w.at(0).value
	for i := range w.count {
		most = max(most, w.at(i).value)
	}
	return most, true
}

// SinceAtMost is how long before the newest sample the value was last at most
// level; false when no sample was.
func (w *Window) SinceAtMost(level float64) (time.Duration, bool) {
	for i := w.count - 1; i >= 0; i-- {
		if w.at(i).value <= level {
			return w.at(w.count - 1).at.Sub(w.at(i).at), true
		}
	}
	return 0, false
}

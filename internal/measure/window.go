package measure

import (
	"math"
	"time"
)

// Window holds the samples of one number over a stretch of time. The zero
// value is not usable; see NewWindow.
type Window struct {
	span    time.Duration
	samples []sample // a ring
	first   int
	count   int
}

type sample struct {
	at    time.Time
	value float64
}

// NewWindow returns a window that remembers span, and at most capacity
// samples of it.
func NewWindow(span time.Duration, capacity int) *Window {
	return &Window{span: span, samples: make([]sample, capacity)}
}

func (w *Window) at(i int) *sample { return &w.samples[(w.first+i)%len(w.samples)] }

// Add appends a sample; at must not be before the last one's. What is older
// than the span is forgotten, but for the newest of it, so that the whole span
// stays covered.
func (w *Window) Add(at time.Time, value float64) {
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

// Slope is the least-squares slope per second and its standard error. It is
// false with fewer than three samples or no time between them.
func (w *Window) Slope() (perSecond, standardError float64, ok bool) {
	if w.count < 3 || w.Covers() <= 0 {
		return 0, 0, false
	}
	n := float64(w.count)
	origin := w.at(0).at
	var meanX, meanY float64
	for i := range w.count {
		meanX += w.at(i).at.Sub(origin).Seconds() / n
		meanY += w.at(i).value / n
	}
	var xx, xy, yy float64
	for i := range w.count {
		x, y := w.at(i).at.Sub(origin).Seconds()-meanX, w.at(i).value-meanY
		xx, xy, yy = xx+x*x, xy+x*y, yy+y*y
	}
	if xx == 0 {
		return 0, 0, false
	}
	perSecond = xy / xx
	residual := math.Max(0, yy-perSecond*xy)
	return perSecond, math.Sqrt(residual / (n - 2) / xx), true
}

package measure

import "time"

// usualSpan is how long what leaves the usual is not learned.
const usualSpan = time.Hour

// usualAnew: once the usual had to be forgotten, it is unknown for longer than
// an incident lives without evidence, so that nothing "recovers" by getting
// used to it.
const usualAnew = 20 * time.Minute

// baseline learns what a number usually is: its median over a stretch of time.
// A fault must not become the usual: what is strange beside it is left out for
// usualSpan. What lasts longer is no fault but a new habit, and is learned
// anew.
type baseline struct {
	past   *Window
	median float64 // of past
	// least is how much must have been seen for the median to be known; settled
	// how much for it to say what is strange.
	least, settled time.Duration
	// strange reports whether a value is beyond what is usual; nil: none is.
	strange      func(value, usual float64) bool
	strangeSince time.Time
	unknownUntil time.Time
}

// learn takes the next value.
func (b *baseline) learn(now time.Time, value float64) {
	switch {
	case b.strange == nil || b.past.Len() == 0 || b.past.Covers() < b.settled || b.relearning(now) || !b.strange(value, b.median):
		b.strangeSince = time.Time{}
	case b.strangeSince.IsZero():
		b.strangeSince = now
		return
	case now.Sub(b.strangeSince) < usualSpan:
		return
	default:
		b.past.Reset()
		b.strangeSince, b.unknownUntil = time.Time{}, now.Add(usualAnew)
	}
	b.past.Add(now, value)
	b.median, _ = b.past.Median()
}

// usual is what the number usually is.
func (b *baseline) usual(now time.Time) (median float64, known bool) {
	return b.median, b.past.Len() > 0 && b.past.Covers() >= b.least && !b.relearning(now)
}

// relearning reports whether a new habit is being learned.
func (b *baseline) relearning(now time.Time) bool { return now.Before(b.unknownUntil) }

// setUsual sets the signal that says what is usual.
func (h *history) setUsual(sig Signal, b *baseline) {
	median, known := b.usual(h.now)
	h.setIf(known, sig, median, b.past.Len(), NotEnough)
}

package rule

import (
	"slices"
	"time"
)

// lookback is the minutes that one function over time looks back on.
type lookback struct {
	span    time.Duration
	minutes []pastMinute // the oldest first; the last is the one under way
}

// pastMinute is what the function's argument was in one minute.
type pastMinute struct {
	start  time.Time
	values bounds
	mean   bounds // of the values; a point where it is known exactly
	known  bool
}

// add takes the next minute, and forgets those that no instant of it looks
// back on.
func (l *lookback) add(m pastMinute) {
	oldest := m.start.Add(-l.span)
	l.minutes = slices.DeleteFunc(l.minutes, func(p pastMinute) bool { return !p.start.Add(minuteLength).After(oldest) })
	l.minutes = append(l.minutes, m)
}

// over is the range that the function has at the instants of the last minute,
// and whether it is known: half of its span was seen.
func (l *lookback) over(o op) (bounds, bool) {
	if len(l.minutes) == 0 {
		return bounds{}, false
	}
	now := l.minutes[len(l.minutes)-1]
	seen, all, any := 0, true, bounds{}
	for _, m := range l.minutes {
		if !m.known {
			all = false
			continue
		}
		if seen++; seen == 1 {
			any = m.values
		}
		any = bounds{min(any.low, m.values.low), max(any.high, m.values.high), any.unsure || m.values.unsure}
	}
	if !now.known || time.Duration(2*seen)*minuteLength < l.span {
		return bounds{}, false
	}
	// With the minute's first instant only those before it have been seen.
	any.unsure = any.unsure || !all || time.Duration(2*(len(l.minutes)-1))*minuteLength < l.span
	switch {
	case o == opRate:
		return l.rate(any, now.values), true
	case o == opMean && all && time.Duration(len(l.minutes))*minuteLength >= l.span:
		return l.mean(l.whole(now.start), any), true
	case o == opMinOver:
		for _, m := range l.whole(now.start) { // each has reached its least
			any.high = min(any.high, m.values.low)
		}
	case o == opMaxOver:
		for _, m := range l.whole(now.start) {
			any.low = max(any.low, m.values.high)
		}
	}
	return any, true // a median and the first lie between the least and the greatest
}

// whole are the minutes that every instant of the last one looks back on whole.
func (l *lookback) whole(now time.Time) []pastMinute {
	var out []pastMinute
	for _, m := range l.minutes {
		if m.known && m.start.Before(now) && !m.start.Before(now.Add(minuteLength-l.span)) {
			out = append(out, m)
		}
	}
	return out
}

// mean is the range of the mean: that of the whole minutes is known, the rest
// of the span lies in the minutes at its ends.
func (l *lookback) mean(whole []pastMinute, any bounds) bounds {
	rest := (l.span - time.Duration(len(whole))*minuteLength).Seconds()
	low, high := any.low*rest, any.high*rest
	for _, m := range whole {
		low += m.mean.low * minuteLength.Seconds()
		high += m.mean.high * minuteLength.Seconds()
	}
	any.low, any.high = low/l.span.Seconds(), high/l.span.Seconds()
	return any
}

// rate is the range of (last - first) over the time between. How long that is
// in a new span is not known; the least that is possible bounds it.
func (l *lookback) rate(any, last bounds) bounds {
	least := max(l.span/2-SamplePeriod, SamplePeriod).Seconds()
	any.low, any.high = min(0, (last.low-any.high)/least), max(0, (last.high-any.low)/least)
	return any
}

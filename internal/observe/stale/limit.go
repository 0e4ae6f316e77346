package stale

import "time"

// DefaultPerMinute is how many connections may be closed within a minute: all of
// them connect again at once, and the new address has to bear it.
const DefaultPerMinute = 100

// Limit bounds how many connections are closed within any minute. The zero value
// allows DefaultPerMinute. It is not safe for concurrent use.
type Limit struct {
	// PerMinute; zero: DefaultPerMinute.
	PerMinute int
	taken     []time.Time // of the last minute, the oldest first
}

// Free is how many may be closed at now, and when that is none, how long until
// one may.
func (l *Limit) Free(now time.Time) (n int, again time.Duration) {
	for len(l.taken) > 0 && now.Sub(l.taken[0]) >= time.Minute {
		l.taken = l.taken[1:]
	}
	most := l.PerMinute
	if most == 0 {
		most = DefaultPerMinute
	}
	if n := most - len(l.taken); n > 0 {
		return n, 0
	}
	return 0, l.taken[0].Add(time.Minute).Sub(now)
}

// Take notes that up to want are closed at now, and returns how many may be; of
// fewer than wanted, again is how long until a further one may.
func (l *Limit) Take(now time.Time, want int) (n int, again time.Duration) {
	free, _ := l.Free(now)
	n = min(max(want, 0), free)
	for range n {
		l.taken = append(l.taken, now)
	}
	if n < want {
		_, again = l.Free(now)
	}
	return n, again
}

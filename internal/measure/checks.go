package measure

import (
	"slices"
	"time"
)

const (
	// checksGaps is how many equal pauses in a row make single exchanges a
	// period: those of random arrivals are, by chance, once in a million.
	checksGaps = 10
	// checksWithin is how far a pause may be from their median, or one look, or
	// a tenth of it: checks keep their time to some milliseconds, and looks see
	// them late by up to one of theirs.
	checksWithin = time.Second
)

// checks finds out whether all that a backend is asked comes one at a time and
// in equal pauses: then it is its balancer's health checks, and no client's
// request. Somebody else who asks as evenly cannot be told from them.
type checks struct {
	last time.Time // when something was seen last
	busy bool      // by the last look, too
	gaps []time.Duration
}

// see takes what a look at all states saw; since is the time from the one
// before.
func (c *checks) see(now time.Time, since time.Duration, y *Tally) {
	p := &y.Peer
	begun := max(p.Answering, y.Flows.New)
	ended := max(p.Finished, p.Closed, p.Vanished)
	busy := c.busy
	c.busy = begun > 0
	switch {
	case max(begun, ended) == 0 && y.Pending <= 1:
		return
	case begun == 0 && ended == 1 && busy:
		return // the end of the one that was seen before
	case max(begun, ended, y.Pending) > 1 || busy:
		c.last, c.gaps = time.Time{}, c.gaps[:0] // several at once, or one on another
		return
	}
	if !c.last.IsZero() {
		if len(c.gaps) == checksGaps {
			c.gaps = slices.Delete(c.gaps, 0, 1)
		}
		c.gaps = append(c.gaps, now.Sub(c.last))
	}
	c.last = now
	if middle := c.middle(); middle > 0 {
		within := max(checksWithin, since, middle/10)
		if slices.ContainsFunc(c.gaps, func(gap time.Duration) bool { return (gap - middle).Abs() > within }) {
			c.gaps = c.gaps[len(c.gaps)-1:] // perhaps a new period
		}
	}
}

// every is the period; known once there were enough pauses. It goes on while
// nothing is seen: silence is no traffic.
func (c *checks) every() (period time.Duration, known bool) {
	if len(c.gaps) < checksGaps {
		return 0, false
	}
	var sum time.Duration
	for _, gap := range c.gaps {
		sum += gap
	}
	return sum / time.Duration(len(c.gaps)), true
}

func (c *checks) middle() time.Duration {
	if len(c.gaps) == 0 {
		return 0
	}
	sorted := slices.Clone(c.gaps)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

// takeChecks measures the period.
func (h *history) takeChecks(y *Tally) {
	if !y.Flows.Known {
		h.unknown(NotEnough, ChecksEvery)
		return
	}
	c := &h.backend.checks
	c.see(h.now, y.Flows.Since, y)
	period, known := c.every()
	h.setIf(known, ChecksEvery, period.Seconds(), len(c.gaps), NotSuch)
}

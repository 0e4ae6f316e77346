package agent

import "time"

// Clock gives the pipeline a time that never steps: the wall's time when the
// Clock was made plus what has passed since. Offset is what to add for people,
// when somebody has set the wall clock meanwhile.
type Clock struct {
	wall   func() time.Time
	since  func() time.Duration
	start  time.Time
	offset time.Duration
}

// stepTolerance is how far the wall clock may drift before it counts as
// stepped; time synchronisation slews by less.
const stepTolerance = 500 * time.Millisecond

// NewClock returns the machine's clock.
func NewClock() *Clock {
	begin := time.Now()
	return newClock(time.Now, func() time.Duration { return time.Since(begin) })
}

func newClock(wall func() time.Time, since func() time.Duration) *Clock {
	return &Clock{wall: wall, since: since, start: wall().Round(0).Add(-since())}
}

// Now returns the steady time. It carries no monotonic reading: comparing two
// of them is exact.
func (c *Clock) Now() time.Time { return c.start.Add(c.since()) }

// Check compares with the wall clock and returns by how much that was stepped
// since the last Check; zero when it was not.
func (c *Clock) Check() (stepped time.Duration) {
	offset := c.wall().Round(0).Sub(c.Now())
	if diff := offset - c.offset; diff > stepTolerance || diff < -stepTolerance {
		c.offset = offset
		return diff
	}
	return 0
}

// Offset is what to add to a steady time for a person.
func (c *Clock) Offset() time.Duration { return c.offset }

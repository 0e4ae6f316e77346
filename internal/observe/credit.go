package observe

import "time"

const (
	// creditShare is how fast the credit fills, as a share of the budget: what
	// suspicion costs on top of the budget in the long run, at most.
	creditShare = 0.25
	// keptGlances is how many glances a suspicion leaves in the credit: a
	// suspicion that lasts must not blind us to the next fault.
	keptGlances = 3
)

// credit is what looks made closer, for a suspicion or a glance, may spend on
// top of the budget: they go up to suspectShare of a core for as long as it
// lasts. The first whole look of each namespace is paid out of it too. It holds what one suspicion takes in suspectSpan and fills up with a
// quarter of the budget. The zero value is full.
type credit struct {
	owed time.Duration // what is missing until it is full
	paid time.Duration // out of it, since the start
	at   time.Time     // when it last grew
}

// beyond is the part of a closer look's cost that the budget does not bear.
func beyond(share float64) float64 { return max(0, 1-share/suspectShare) }

// whole is the credit when it is full.
func whole(share float64, span time.Duration) time.Duration {
	return time.Duration(beyond(share) * suspectShare * float64(span))
}

// pay takes a closer look's cost.
func (c *credit) pay(cost time.Duration, share float64) {
	part := time.Duration(beyond(share) * float64(cost))
	c.owed += part
	c.paid += part
}

// grow fills the credit up as time passes.
func (c *credit) grow(now time.Time, share float64) {
	if !c.at.IsZero() {
		c.owed = max(0, c.owed-time.Duration(creditShare*share*float64(now.Sub(c.at))))
	}
	c.at = now
}

// suspicion and glance report whether there is credit for one more look of
// theirs; a budget that bears them all needs none.
func (c *credit) suspicion(share float64) bool {
	return beyond(share) == 0 || c.owed < whole(share, suspectSpan)-whole(share, keptGlances*glanceSpan)
}

// first is the same for the first whole look of a namespace: they leave half of
// the credit, as many namespaces are found together when we start.
func (c *credit) first(share float64) bool {
	return beyond(share) == 0 || c.owed < whole(share, suspectSpan/2)
}

func (c *credit) glance(share float64) bool {
	return beyond(share) == 0 || c.owed < whole(share, suspectSpan)
}

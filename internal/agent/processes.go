package agent

import (
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/observe/discover"
	"github.com/foreshock/foreshock/internal/observe/owner"
)

// haste is how old a walk over the processes may be whose result is taken: so
// long, or so many times what it cost where that is longer.
type haste struct {
	age   time.Duration
	times time.Duration
}

// A walk each 10 s serves who only keeps up; sooner goes who has seen something
// that may be a pool's, and at once whose balancer may have been restarted.
var (
	routinely = haste{chooseEvery, 1000}
	soon      = haste{2 * time.Second, rediscoverTimes}
	urgently  = haste{500 * time.Millisecond, 20}
)

// processes are those that the pools choose, of all namespaces: one walk
// serves every pipeline.
type processes struct {
	// listeners are those of all namespaces; nil is none.
	listeners func() []owner.Listener
	selectors []owner.Selector
	chosen    [][]owner.Chosen // by selector
	limits    owner.Limits
	err       error     // why those chosen are not of the last walk
	at        time.Time // when they were walked, and what that cost
	cost      time.Duration
	tracked   tracked
	// read starts work that reads other people's files, and reports whether it
	// was started; nil does it at once.
	read func(work func()) bool
}

// choose returns the processes of each selector, as of no longer ago than the
// haste allows. walked: they are those of right now.
func (x *processes) choose(now time.Time, selectors []owner.Selector, h haste) (chosen [][]owner.Chosen, walked bool) {
	if !x.at.IsZero() && now.Sub(x.at) < max(h.age, h.times*x.cost) && slices.Equal(selectors, x.selectors) {
		return x.chosen, false
	}
	began := threadTime()
	var listeners []owner.Listener
	if x.listeners != nil {
		listeners = x.listeners()
	}
	found, limits, err := owner.Choose(procRoot, selectors, listeners)
	x.at, x.cost, x.err = now, threadTime()-began, err
	if err != nil && slices.Equal(selectors, x.selectors) {
		return x.chosen, false // who was chosen before stays
	}
	x.selectors, x.chosen, x.limits = selectors, found, limits
	return x.chosen, err == nil
}

// listeners are those of all namespaces.
func (h *Host) listeners() []owner.Listener {
	var out []owner.Listener
	for _, r := range h.of {
		out = append(out, discover.Listening(r.listeners.rows, r.place.namespace)...)
	}
	return out
}

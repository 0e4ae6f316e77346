package agent

import (
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/observe/discover"
	"github.com/foreshock/foreshock/internal/observe/owner"
)

const (
	// chooseAgain is how soon a walk over the processes may follow another,
	// unless it costs more.
	chooseAgain = 2 * time.Second
)

// processes are those that the pools choose, of all namespaces: one walk
// serves every pipeline.
type processes struct {
	// listeners are those of all namespaces; nil is none.
	listeners func() []owner.Listener
	selectors []owner.Selector
	chosen    [][]owner.Chosen // by selector
	limits    owner.Limits
	after     time.Time // when another walk may be made
}

// choose returns the processes of each selector, as of a short while ago.
func (x *processes) choose(now time.Time, selectors []owner.Selector) [][]owner.Chosen {
	if now.Before(x.after) && slices.Equal(selectors, x.selectors) {
		return x.chosen
	}
	began := threadTime()
	var listeners []owner.Listener
	if x.listeners != nil {
		listeners = x.listeners()
	}
	x.selectors = selectors
	x.chosen, x.limits = owner.Choose(procRoot, selectors, listeners)
	x.after = now.Add(max(chooseAgain, rediscoverTimes*(threadTime()-began)))
	return x.chosen
}

// listeners are those of all namespaces.
func (h *Host) listeners() []owner.Listener {
	var out []owner.Listener
	for _, r := range h.of {
		out = append(out, discover.Listening(r.listeners.rows, r.place.namespace)...)
	}
	return out
}

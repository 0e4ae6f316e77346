package resolve

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// The bounds of a name's memory.
const (
	// MaxBefore is how many addresses are remembered that a name had before.
	MaxBefore = 64
	// Forget is when an address that a name had before is forgotten. A day: a
	// switch and its way back are often in one.
	Forget = 24 * time.Hour
)

// Names remembers what each name stood for. The zero value is ready; it is not
// safe for concurrent use.
type Names struct {
	byName map[string]*History
}

// History is what one name stands for and stood for.
type History struct {
	// Now is the last good answer, sorted: at most MaxAddresses. It stays while
	// lookups fail.
	Now []Seen
	// Before are the addresses that the name had and has no more, the latest
	// first: at most MaxBefore, for at most Forget.
	Before []Seen
	// LeftOut is how many addresses the last good answer had beyond
	// MaxAddresses: the greatest ones, so that it is always the same that stay.
	LeftOut int
	// Asked is when the last lookup ended, Answered the last good one; zero
	// for none.
	Asked, Answered time.Time
	// Err is what was wrong with the last lookup; nil when it was good.
	Err error
	// Failures is how many lookups failed since the last good one.
	Failures int
}

// Seen is an address and when answers had it.
type Seen struct {
	Address     netip.Addr
	First, Last time.Time
}

// Change is what a lookup changed: addresses, sorted.
type Change struct {
	Added, Removed []netip.Addr
}

// Step takes the end of one lookup of name, at now: its answer, or its error.
// An answer without an address counts as ErrNoAddress. Names that were not
// asked for as long as Forget are forgotten.
func (n *Names) Step(now time.Time, name string, answer []netip.Addr, err error) Change {
	h := n.byName[name]
	if h == nil {
		h = &History{}
		if n.byName == nil {
			n.byName = map[string]*History{}
		}
		n.byName[name] = h
	}
	change := h.step(now, answer, err)
	maps.DeleteFunc(n.byName, func(_ string, h *History) bool { return now.Sub(h.Asked) > Forget })
	return change
}

// History returns a copy of what is known of name; ok is false when it was
// never asked for.
func (n *Names) History(name string) (h History, ok bool) {
	p := n.byName[name]
	if p == nil {
		return History{}, false
	}
	h = *p
	h.Now, h.Before = slices.Clone(p.Now), slices.Clone(p.Before)
	return h, true
}

// Addresses are those of the last good answer, and those that an answer had
// since then: resolvers that give out a few of many addresses in turn make
// each answer a part of the truth. Sorted.
func (h *History) Addresses(since time.Time) []netip.Addr {
	var out []netip.Addr
	for _, s := range h.Now {
		out = append(out, s.Address)
	}
	for _, s := range h.Before {
		if !s.Last.Before(since) {
			out = append(out, s.Address)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

func (h *History) step(now time.Time, answer []netip.Addr, err error) Change {
	h.Asked = now
	answer = tidy(answer)
	if err == nil && len(answer) == 0 {
		err = ErrNoAddress
	}
	h.Err = err
	if err != nil {
		h.Failures++
		h.forget(now)
		return Change{}
	}
	h.Failures, h.Answered = 0, now
	h.LeftOut = max(0, len(answer)-MaxAddresses)
	answer = answer[:len(answer)-h.LeftOut]

	var change Change
	known := map[netip.Addr]Seen{}
	for _, s := range h.Before {
		known[s.Address] = s
	}
	current := map[netip.Addr]bool{}
	for _, s := range h.Now {
		known[s.Address], current[s.Address] = s, true
	}
	h.Now = h.Now[:0]
	for _, addr := range answer {
		s, before := known[addr]
		if !before {
			s = Seen{Address: addr, First: now}
		}
		s.Last = now
		h.Now = append(h.Now, s)
		if !current[addr] {
			change.Added = append(change.Added, addr)
		}
		delete(current, addr)
		delete(known, addr)
	}
	change.Removed = slices.SortedFunc(maps.Keys(current), netip.Addr.Compare)
	h.Before = slices.SortedFunc(maps.Values(known), func(a, b Seen) int {
		return cmp.Or(b.Last.Compare(a.Last), a.Address.Compare(b.Address))
	})
	h.forget(now)
	return change
}

// forget drops the oldest of Before.
func (h *History) forget(now time.Time) {
	h.Before = slices.DeleteFunc(h.Before, func(s Seen) bool { return now.Sub(s.Last) > Forget })
	h.Before = h.Before[:min(len(h.Before), MaxBefore)]
}

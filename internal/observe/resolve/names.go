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
	// maxBefore is how many addresses are remembered that a name had before.
	maxBefore = 64
	// forget is when an address that a name had before is forgotten, and a name
	// that nobody asks for. A day: a switch and its way back are often in one.
	forget = 24 * time.Hour
)

// Names remembers what each name stood for. The zero value is ready; it is not
// safe for concurrent use.
type Names struct {
	byName map[string]*history
}

// history is what one name stands for and stood for.
type history struct {
	// last is when an answer last had each address: those of the last good
	// answer, at most MaxAddresses, and those before, at most maxBefore for at
	// most forget.
	last    map[netip.Addr]time.Time
	asked   time.Time    // the last look-up
	now     []netip.Addr // the last good answer
	leftOut int          // of that one
}

// Step takes the end of one look-up of name, at now: what [Resolve] answered,
// which is empty when it failed. A failed look-up takes no address away.
func (n *Names) Step(now time.Time, name string, answer []netip.Addr) {
	h := n.byName[name]
	if h == nil {
		h = &history{last: map[netip.Addr]time.Time{}}
		if n.byName == nil {
			n.byName = map[string]*history{}
		}
		n.byName[name] = h
	}
	h.asked = now
	if len(answer) > 0 {
		h.leftOut = max(0, len(answer)-MaxAddresses)
		h.now = slices.Clone(answer[:len(answer)-h.leftOut])
		for _, addr := range h.now {
			h.last[addr] = now
		}
	}
	h.forget(now)
	maps.DeleteFunc(n.byName, func(_ string, h *history) bool { return now.Sub(h.asked) > forget })
}

// forget drops the oldest of the addresses that the name has no more.
func (h *history) forget(now time.Time) {
	var before []netip.Addr
	for addr := range h.last {
		if !slices.Contains(h.now, addr) {
			before = append(before, addr)
		}
	}
	slices.SortFunc(before, func(a, b netip.Addr) int { return cmp.Or(h.last[b].Compare(h.last[a]), a.Compare(b)) })
	for i, addr := range before {
		if i >= maxBefore || now.Sub(h.last[addr]) > forget {
			delete(h.last, addr)
		}
	}
}

// Addresses are those of the last good answer, and those that an answer had
// since then: resolvers that give out a few of many addresses in turn make
// each answer a part of the truth. Sorted. leftOut is how many addresses the
// last good answer had beyond [MaxAddresses]: the greatest ones, so that it is
// always the same that stay.
func (n *Names) Addresses(name string, since time.Time) (addresses []netip.Addr, leftOut int) {
	h := n.byName[name]
	if h == nil {
		return nil, 0
	}
	for addr, last := range h.last {
		if slices.Contains(h.now, addr) || !last.Before(since) {
			addresses = append(addresses, addr)
		}
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	return addresses, h.leftOut
}

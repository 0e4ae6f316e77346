package measure

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// PrefixHeld is how many workers the clients of one prefix hold.
type PrefixHeld struct {
	// Prefix is a /24 of IPv4 or a /56 of IPv6: what one customer of an access
	// network commonly has.
	Prefix netip.Prefix
	// Held counts the workers it holds; Slow those of them whose client sends
	// so little, so slowly, that it looks meant. Held may be too large where a
	// scope has many prefixes, by at most a thirty-second of all workers.
	Held, Slow uint32
}

const (
	maxPrefixes = 32
	topPrefixes = 5
	topShare    = 20 // one in so many workers makes a prefix worth naming
)

// prefixes counts the heaviest prefixes of one look in bounded memory: the
// space-saving algorithm (Metwally, Agrawal, El Abbadi, 2005).
type prefixes struct {
	entries [maxPrefixes]prefixEntry
	used    int
	total   uint32
	last    int // most sockets come from the prefix before
	out     [topPrefixes]PrefixHeld
}

type prefixEntry struct {
	bits       uint64 // the first 64 bits of the masked address; IPv4 in the upper 32
	is4        bool
	held, slow uint32
}

func (p *prefixes) reset() { p.used, p.total, p.last = 0, 0, 0 }

func (p *prefixes) add(a netip.Addr, slow bool) {
	var bits uint64
	is4 := a.Is4()
	if is4 {
		raw := a.As4()
		bits = uint64(binary.BigEndian.Uint32(raw[:])) >> 8 << 40
	} else {
		raw := a.As16()
		bits = binary.BigEndian.Uint64(raw[:8]) >> 8 << 8
	}
	e := p.entry(bits, is4)
	e.held++
	if slow {
		e.slow++
	}
	p.total++
}

// entry returns the counter of a prefix; where none is free that of the
// lightest one, whose count the newcomer inherits.
func (p *prefixes) entry(bits uint64, is4 bool) *prefixEntry {
	if p.last < p.used && p.entries[p.last].bits == bits && p.entries[p.last].is4 == is4 {
		return &p.entries[p.last]
	}
	least := 0
	for i := range p.used {
		e := &p.entries[i]
		if e.bits == bits && e.is4 == is4 {
			p.last = i
			return e
		}
		if e.held < p.entries[least].held {
			least = i
		}
	}
	if p.used < maxPrefixes {
		least = p.used
		p.used++
		p.entries[least] = prefixEntry{}
	}
	p.last = least
	e := &p.entries[least]
	e.bits, e.is4, e.slow = bits, is4, 0
	return e
}

// top returns the prefixes worth naming, the largest first; good until the
// next call.
func (p *prefixes) top() []PrefixHeld {
	out := p.out[:0]
	for i := range p.used {
		e := &p.entries[i]
		if e.held*topShare < p.total {
			continue
		}
		h := PrefixHeld{Prefix: e.prefix(), Held: e.held, Slow: e.slow}
		at, _ := slices.BinarySearchFunc(out, h, heavier)
		if at == topPrefixes {
			continue
		}
		if len(out) == topPrefixes {
			out = out[:topPrefixes-1]
		}
		out = slices.Insert(out, at, h)
	}
	return out
}

func heavier(a, b PrefixHeld) int {
	return cmp.Or(cmp.Compare(b.Held, a.Held), a.Prefix.Compare(b.Prefix))
}

func (e *prefixEntry) prefix() netip.Prefix {
	if e.is4 {
		var raw [4]byte
		binary.BigEndian.PutUint32(raw[:], uint32(e.bits>>32))
		return netip.PrefixFrom(netip.AddrFrom4(raw), 24)
	}
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], e.bits)
	return netip.PrefixFrom(netip.AddrFrom16(raw), 56)
}

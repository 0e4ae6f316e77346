package scope

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Switch is a name whose answers went from one set of addresses to another.
type Switch struct {
	// Name is the DNS name in lower case without the last dot,
	// "shop.example"; of all switches each name is there once.
	Name string
	// Old are the addresses that went, New those that came, Kept those that
	// stayed: sorted, IPv4-mapped ones folded, each in one of them only. What
	// goes to a kept address says nothing of the switch and is not counted.
	Old, New, Kept []netip.Addr
	// Ports are those that count, sorted; none: every one.
	Ports []uint16
	// TTL is for how long the answers before the switch were good; zero when
	// that is not known.
	TTL time.Duration
	// Since is when it was, on the agent's steady clock; zero while it is only
	// expected (see Armed).
	Since time.Time
	// Source is who says so, for a person: "by hand", "configured", "noticed".
	Source string
}

// NewSwitch sorts the two sets of addresses into old, new and kept ones. The
// error says what is missing.
func NewSwitch(name string, before, after []netip.Addr) (Switch, error) {
	s := Switch{Name: strings.ToLower(strings.TrimSuffix(name, "."))}
	tidy := func(in []netip.Addr) []netip.Addr {
		out := make([]netip.Addr, 0, len(in))
		for _, a := range in {
			out = append(out, a.Unmap().WithZone(""))
		}
		slices.SortFunc(out, netip.Addr.Compare)
		return slices.Compact(out)
	}
	before, after = tidy(before), tidy(after)
	for _, a := range before {
		if slices.Contains(after, a) {
			s.Kept = append(s.Kept, a)
		} else {
			s.Old = append(s.Old, a)
		}
	}
	for _, a := range after {
		if !slices.Contains(before, a) {
			s.New = append(s.New, a)
		}
	}
	switch {
	case s.Name == "":
		return Switch{}, fmt.Errorf("a switch needs the name whose addresses changed")
	case len(before) == 0 || len(after) == 0:
		return Switch{}, fmt.Errorf("the switch of %s needs the addresses before and after it", s.Name)
	case len(s.Old) == 0:
		return Switch{}, fmt.Errorf("every old address of %s is a new one too: nothing has to drain", s.Name)
	}
	return s, nil
}

// Side is one of the two sets of addresses of a switch.
type Side uint8

// The sides.
const (
	OldSide Side = iota
	NewSide
)

// String names it: "old".
func (s Side) String() string {
	if s == OldSide {
		return "old"
	}
	return "new"
}

// ID returns the scope of one side in the namespace of that name:
// "address/shop.example/old". The group of both is the switch's name.
func (s *Switch) ID(side Side, namespace string) ID {
	return ID{KindAddress, s.Name + "/" + side.String(), namespace}
}

// Addresses are those of one side.
func (s *Switch) Addresses(side Side) []netip.Addr {
	if side == OldSide {
		return s.Old
	}
	return s.New
}

// Prefixes are the addresses of one side, each alone.
func (s *Switch) Prefixes(side Side) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range s.Addresses(side) {
		out = append(out, netip.PrefixFrom(a, a.BitLen()))
	}
	return out
}

// Armed reports whether it is only expected: what goes to its addresses is
// counted, so that what is usual there is known when it comes.
func (s *Switch) Armed() bool { return s.Since.IsZero() }

// Partial reports whether what went to the old addresses may go to ones that
// are on neither side: to those that stayed.
func (s *Switch) Partial() bool { return len(s.Kept) > 0 || len(s.New) == 0 }

// Side is which side of a switch a scope is; ok is false of any other scope.
func (id ID) Side() (side Side, ok bool) {
	if id.Kind != KindAddress {
		return OldSide, false
	}
	for _, side := range [...]Side{OldSide, NewSide} {
		if strings.HasSuffix(id.Name, "/"+side.String()) {
			return side, true
		}
	}
	return OldSide, false
}

// AddressIndex says which sides of which switches an address is on. It is
// immutable and safe for concurrent use. The zero value and nil have none.
type AddressIndex struct {
	// near has a bit for each hash of an address: one load decides for most.
	near [64]uint64
	at   map[netip.Addr][]Place
}

// Place is one side of the switch at a position of the slice that the index was
// built from.
type Place struct {
	Switch int
	Side   Side
}

// NewAddressIndex builds the index.
func NewAddressIndex(switches []Switch) *AddressIndex {
	ix := &AddressIndex{at: map[netip.Addr][]Place{}}
	for i := range switches {
		for _, side := range [...]Side{OldSide, NewSide} {
			for _, a := range switches[i].Addresses(side) {
				a = a.Unmap().WithZone("")
				if at := (Place{i, side}); !slices.Contains(ix.at[a], at) {
					ix.at[a] = append(ix.at[a], at)
				}
				bit := near(a)
				ix.near[bit/64] |= 1 << (bit % 64)
			}
		}
	}
	return ix
}

// near is the place of an address among 4,096 bits, by its second half, which
// tells most apart and is IPv4's whole.
func near(a netip.Addr) uint64 {
	b := a.As16()
	return binary.BigEndian.Uint64(b[8:]) * 0x9e3779b97f4a7c15 >> (64 - 12)
}

// Empty reports whether there are no switches.
func (ix *AddressIndex) Empty() bool { return ix == nil || len(ix.at) == 0 }

// Places returns where the address is, which must be as a socket has it: IPv4
// where it is, without a zone. What is returned must not be changed. Two names
// may have had the same address: what goes there then counts for both.
func (ix *AddressIndex) Places(a netip.Addr) []Place {
	if ix.Empty() || !a.IsValid() {
		return nil
	}
	if bit := near(a); ix.near[bit/64]&(1<<(bit%64)) == 0 {
		return nil
	}
	return ix.at[a]
}

// Counts reports whether a port is one of those that count.
func (s *Switch) Counts(port uint16) bool {
	return len(s.Ports) == 0 || slices.Contains(s.Ports, port)
}

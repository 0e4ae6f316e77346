package scope

import (
	"fmt"
	"net/netip"

	"github.com/gaissmai/bart"

	"github.com/foreshock/foreshock/internal/tcp"
)

// Region is remote prefixes that fail together: a site, a zone of a cloud.
type Region struct {
	Name string
	// Prefixes are sorted and masked, each once.
	Prefixes []netip.Prefix
	// Source is who named them, for a person: "configured", "ranges.json,
	// eu-west-1".
	Source string
	// Namespace is the network namespace its connections are in; empty for our
	// own.
	Namespace string
	// Limit is what is odd about it, for a person; empty when nothing is.
	Limit string
}

// RegionGroup is the group of all regions of a namespace: they are siblings.
const RegionGroup = "regions"

// ID returns the scope's name.
func (r *Region) ID() ID { return ID{KindRegion, r.Name, r.Namespace} }

// RegionIndex says which region a remote address belongs to: that of the
// longest prefix it is in. It is immutable and safe for concurrent use. The zero
// value and nil have none.
type RegionIndex struct {
	table   *bart.Table[int32] // prefix to the position of its region
	regions int
}

// NewRegionIndex builds the index; its answers are positions in that slice. Of
// regions with the same prefix the first has it.
func NewRegionIndex(regions []Region) *RegionIndex {
	ix := &RegionIndex{regions: len(regions)}
	if len(regions) == 0 {
		return ix
	}
	ix.table = &bart.Table[int32]{}
	for i := range regions {
		for _, p := range regions[i].Prefixes {
			if _, taken := ix.table.Get(p); !taken {
				ix.table.Insert(p, int32(i))
			}
		}
	}
	return ix
}

// Empty reports whether there are no regions.
func (ix *RegionIndex) Empty() bool { return ix == nil || ix.regions == 0 }

// Address returns the position of the region of an address, or None.
func (ix *RegionIndex) Address(a netip.Addr) int {
	if ix.Empty() {
		return None
	}
	if at, ok := ix.table.Lookup(a.Unmap()); ok {
		return int(at)
	}
	return None
}

// Region returns the position of the region that s goes to, or None. Whether s
// is a connection that we began is for the caller to know: a client of ours in
// the region's prefixes is none of its destinations.
func (ix *RegionIndex) Region(s *tcp.Socket) int {
	if s.State == tcp.Listen {
		return None
	}
	return ix.Address(s.Remote.Addr())
}

// Describe says what it is in a few words: "12 prefixes, configured".
func (r *Region) Describe() string {
	if len(r.Prefixes) == 1 {
		return fmt.Sprintf("%s, %s", r.Prefixes[0], r.Source)
	}
	return fmt.Sprintf("%d prefixes, %s", len(r.Prefixes), r.Source)
}

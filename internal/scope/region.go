package scope

import "net/netip"

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
}

// RegionGroup is the group of all regions of a namespace: they are siblings.
const RegionGroup = "regions"

// ID returns the scope's name.
func (r *Region) ID() ID { return ID{KindRegion, r.Name, r.Namespace} }

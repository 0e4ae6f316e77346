package measure

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// regions says which scope of a tallier a socket of a region counts in.
type regions struct {
	all   []scope.Region
	index *scope.RegionIndex
	// always: each is a scope though no socket of it was seen.
	always bool
	at     []int  // by region: 1 + its position in scopes, 0 while it is none
	met    []bool // by region: a socket of it was seen
	newly  bool   // of one that is no scope yet
}

// SetRegions changes the regions; index is of that slice. Where always is
// false a region becomes a scope with the first of its sockets, by AddMet.
// Those that stay, by name and prefixes, keep what is known about their
// connections. It must not be called between Begin and End.
func (t *Tallier) SetRegions(all []scope.Region, index *scope.RegionIndex, always bool) {
	met := map[string]bool{}
	for i := range t.regions.all {
		met[t.regions.all[i].Name] = t.regions.met[i]
	}
	t.regions = regions{all: all, index: index, always: always, met: make([]bool, len(all))}
	for i := range all {
		t.regions.met[i] = met[all[i].Name]
	}
	t.rebuild()
}

// AddMet makes scopes of the regions and the switches that a look has met for
// the first time, and reports whether there are any. It must not be called
// between Begin and End.
func (t *Tallier) AddMet() bool {
	if !t.regions.newly && !t.switches.newly {
		return false
	}
	t.rebuild()
	return true
}

// Regions appends the regions that are scopes to out.
func (t *Tallier) Regions(out []scope.Region) []scope.Region {
	for i := range t.regions.all {
		if t.regions.at[i] > 0 {
			out = append(out, t.regions.all[i])
		}
	}
	return out
}

// rebuild adds the scopes of the regions behind the first n of the tallier's.
func (r *regions) rebuild(n int, keep func(scope.ID) *counting) {
	r.at, r.newly = make([]int, len(r.all)), false
	for i := range r.all {
		if !r.always && !r.met[i] {
			continue
		}
		c := keep(r.all[i].ID())
		if !slices.Equal(c.prefixes, r.all[i].Prefixes) {
			// What is no longer in it has not vanished.
			c.flows, c.pending, c.far = flows{}, pending{}, nil
		}
		c.prefixes, c.tally.Group = r.all[i].Prefixes, scope.RegionGroup
		if c.far == nil {
			c.far = &destinations{}
		}
		n++
		r.at[i] = n
	}
}

// name is the name of the region of an address, empty for none.
func (r *regions) name(a netip.Addr) string {
	if at := r.index.Address(a); at != scope.None {
		return r.all[at].Name
	}
	return ""
}

// of finds the region of a socket of no service, and counts in the rest's tally
// whether there is one. counts is true where it is a scope.
func (r *regions) of(s *tcp.Socket, rest *Tally) (position int, counts bool) {
	if s.State == tcp.Listen || s.State == tcp.SynRecv {
		return 0, false // not ours to begin
	}
	region := r.index.Address(s.Remote.Addr())
	if region == scope.None && s.Remote.Addr().IsLoopback() {
		return 0, false
	}
	if s.State != tcp.TimeWait {
		rest.Outgoing++
		if region == scope.None {
			rest.Unclassified++
		}
	}
	if region == scope.None {
		return 0, false
	}
	if r.at[region] == 0 {
		r.met[region], r.newly = true, true
		return 0, false
	}
	return r.at[region] - 1, true
}

const (
	// maxDestinations are told apart in a region; a tally has the largest
	// toldDestinations of them.
	maxDestinations  = 64
	toldDestinations = 16
	// keptFull of them keep their place where there are more than maxDestinations:
	// the others make room, but for those that show a failure.
	keptFull = maxDestinations * 3 / 4
	// destinationPeak is how long a destination keeps the place that its most
	// connections gave it, so that one that is lost stays in the tally;
	// destinationKept how long one without any is kept.
	destinationPeak = 15 * time.Second
	destinationKept = time.Minute
	// lateDestination is from when an answer of a destination is late. What is
	// usual of its region is Measure's to know.
	lateDestination = time.Second
)

// destinations follows where a region's connections go. Nil has none.
type destinations struct {
	list []destination
	// slots holds 1 + a position in list: open addressing, linear probing.
	slots [4 * maxDestinations]uint8
	over  uint32
	told  []Destination
}

type destination struct {
	Destination
	peak  uint32    // the most connections since
	since time.Time // when peak was begun anew
	seen  time.Time // when it last had a connection
	// Since the last judged look at all states.
	resent, sent, answering uint32
}

// fails: in the last look it showed what makes a region fail, or had lost
// some of its connections.
func (x *destination) fails() bool {
	return x.Retransmitting+x.Connecting+x.CloseWait+x.PendingLate > 0 || x.peak > 1 && x.Established < x.peak
}

// slot is where remote is, or would be.
func (d *destinations) slot(remote netip.AddrPort) *uint8 {
	a := remote.Addr().As16()
	h := binary.LittleEndian.Uint64(a[:8]) ^ binary.LittleEndian.Uint64(a[8:])*0x9e3779b97f4a7c15 ^ uint64(remote.Port())<<32
	h = mix(h)
	for i := h % uint64(len(d.slots)); ; i = (i + 1) % uint64(len(d.slots)) {
		if at := &d.slots[i]; *at == 0 || d.list[*at-1].Remote == remote {
			return at
		}
	}
}

// begin starts a look.
func (d *destinations) begin() {
	if d == nil {
		return
	}
	d.over = 0
	for i := range d.list {
		d.list[i].Destination = Destination{Remote: d.list[i].Remote}
	}
}

// add counts a socket; scale is how many it stands for where it is one of a
// sample, since the time between the last look at all states and this one, which
// began at at.
func (d *destinations) add(s *tcp.Socket, seen sighting, scale uint32, since time.Duration, at time.Time) {
	if d == nil {
		return
	}
	slot := d.slot(s.Remote)
	if s.State == tcp.TimeWait {
		if *slot > 0 && seen.finished {
			d.list[*slot-1].answering++
		}
		return
	}
	if *slot == 0 {
		if len(d.list) == maxDestinations {
			d.over++
			return
		}
		d.list = append(d.list, destination{Destination: Destination{Remote: s.Remote}})
		*slot = uint8(len(d.list))
	}
	x := &d.list[*slot-1]
	x.seen = at
	x.Connections++
	switch s.State {
	case tcp.Established:
		x.Established++
	case tcp.SynSent:
		x.Connecting++
	case tcp.CloseWait:
		x.CloseWait++
	}
	if s.Retransmitting() {
		x.Retransmitting++
	}
	if s.Pending() && s.Info.LastDataSent >= lateDestination {
		x.PendingLate++
	}
	if came(s, since) {
		x.answering++
	}
	if !onlyFIN(s) {
		x.resent += seen.resent * scale
	}
	x.sent += seen.sent * scale
}

// handOn puts the destinations of a judged look at all states into its tally.
func (d *destinations) handOn(y *Tally, at time.Time) {
	if d == nil {
		return
	}
	seen := uint32(0)
	for i := range d.list {
		x := &d.list[i]
		if x.Connections > 0 {
			seen++
		}
		if x.Connections >= x.peak || at.Sub(x.since) >= destinationPeak {
			x.peak, x.since = x.Connections, at
		}
		x.Resent, x.Sent, x.Answering = x.resent, x.sent, x.answering
		x.resent, x.sent, x.answering = 0, 0, 0
	}
	// Of equals those that were there first: who is told of stays so.
	slices.SortStableFunc(d.list, func(a, b destination) int { return cmp.Compare(b.peak, a.peak) })
	d.told = d.told[:0]
	for i := range min(len(d.list), toldDestinations) {
		d.told = append(d.told, d.list[i].Destination)
	}
	y.Destinations, y.DestinationsSeen, y.DestinationsOver = d.told, seen, d.over
	full := d.over > 0
	d.list = slices.DeleteFunc(d.list, func(x destination) bool { return at.Sub(x.seen) >= destinationKept })
	if full && len(d.list) == maxDestinations {
		// Else the first that were ever met would be all that are. Looks meet the
		// largest first, more often than not.
		small := slices.DeleteFunc(d.list[keptFull:], func(x destination) bool { return !x.fails() })
		d.list = d.list[:keptFull+len(small)]
	}
	clear(d.slots[:])
	for i := range d.list {
		*d.slot(d.list[i].Remote) = uint8(i + 1)
	}
}

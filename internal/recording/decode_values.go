package recording

import (
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/tcp"
)

// lists reads those lists of a tally that changed.
func (d *Decoder) lists(y *measure.Tally, l *last, own uint64) {
	if own&listBehind != 0 {
		// Measure keeps the list, so it is never written again.
		l.behind = make([]netip.AddrPort, d.listLength(l))
		for i := range l.behind {
			l.behind[i] = d.addrPort()
		}
		y.Behind = l.behind
	}
	if own&listPrefixes != 0 {
		n := d.listLength(l)
		l.prefixes = slices.Grow(l.prefixes[:0], n)[:n]
		for i := range l.prefixes {
			l.prefixes[i] = d.held()
		}
		y.Prefixes = l.prefixes
	}
	if own&listExamples != 0 {
		n := d.listLength(l)
		next := slices.Grow(l.spare[:0], n)[:n]
		for i := range next {
			from := d.in.uvarint()
			next[i] = tcp.Socket{}
			if from > uint64(len(l.examples)) {
				d.in.fail(errMalformed)
			} else if from > 0 {
				next[i] = l.examples[from-1]
			}
			d.readSocket(&next[i])
		}
		l.examples, l.spare = next, l.examples
		y.Examples = l.examples
	}
	if own&listRegion != 0 {
		l.region = d.string()
		y.Region = l.region
	}
	if own&listDestinations != 0 {
		n := d.listLength(l)
		l.destinations = slices.Grow(l.destinations[:0], n)[:n]
		for i := range l.destinations {
			l.destinations[i] = d.destination()
		}
		y.Destinations = l.destinations
	}
}

func (d *Decoder) destination() measure.Destination {
	out := measure.Destination{Remote: d.addrPort()}
	for _, n := range destinationNumbers(&out) {
		value := d.in.uvarint()
		if value > math.MaxUint32 {
			d.in.fail(errMalformed)
		}
		*n = uint32(value)
	}
	return out
}

// listLength reads how long one of a tally's lists is.
func (d *Decoder) listLength(l *last) int {
	n := d.in.count(maxList)
	if !d.spend(l.grow(n)) {
		return 0
	}
	return n
}

// readSocket reads what is not as in s.
func (d *Decoder) readSocket(s *tcp.Socket) {
	var values [socketColumns]uint64
	x := columns{values: values[:]}
	x.socket(s)
	own, _ := d.in.columns(values[:], socketDurations, endBits)
	x = columns{values: values[:], load: true}
	x.socket(s)
	if x.lost != 0 {
		d.in.fail(errMalformed)
	}
	if own&endLocal != 0 {
		s.Local = d.addrPort()
	}
	if own&endRemote != 0 {
		s.Remote = d.addrPort()
	}
}

func (d *Decoder) addrPort() netip.AddrPort {
	addr, port := d.addr(), d.in.uvarint()
	if port > math.MaxUint16 {
		d.in.fail(errMalformed)
	}
	return netip.AddrPortFrom(addr, uint16(port))
}

func (d *Decoder) held() measure.PrefixHeld {
	prefix := d.prefix()
	held, slow := d.in.uvarint(), d.in.uvarint()
	if held > math.MaxUint32 || slow > math.MaxUint32 {
		d.in.fail(errMalformed)
	}
	return measure.PrefixHeld{Prefix: prefix, Held: uint32(held), Slow: uint32(slow)}
}

func (d *Decoder) prefix() netip.Prefix {
	addr, length := d.addr(), d.in.uvarint()
	if length > 129 {
		d.in.fail(errMalformed)
	}
	if !addr.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(addr, int(length)-1)
}

// prefixes reads those of a filter.
func (d *Decoder) prefixes() []netip.Prefix {
	n := d.in.count(maxMany)
	if n == 0 {
		return nil
	}
	out := make([]netip.Prefix, n)
	for i := range out {
		out[i] = d.prefix()
	}
	return out
}

func (d *Decoder) addr() netip.Addr {
	length := int(d.in.byte())
	n := min(length, 16)
	if n > len(d.in.b) {
		d.in.fail(errMalformed)
		return netip.Addr{}
	}
	raw := d.in.b[:n]
	d.in.b = d.in.b[n:]
	addr, ok := netip.AddrFromSlice(raw)
	switch {
	case length == 17:
		addr = addr.WithZone(d.string())
	case length != 0 && (!ok || length > 17):
		d.in.fail(errMalformed)
	}
	return addr
}

func (d *Decoder) readOpinions() []measure.Opinion {
	d.opinions = d.opinions[:0]
	before := -1
	for range d.in.count(maxMany) {
		before = d.scope(before)
		d.opinions = append(d.opinions, measure.Opinion{
			Scope: d.scopeID(before), Up: d.in.bool(), Seen: d.in.time(d.at), Good: time.Duration(d.in.varint()),
		})
	}
	return d.opinions
}

func (d *Decoder) readAnswers() []measure.Answered {
	d.answers = d.answers[:0]
	before := -1
	for range d.in.count(maxMany) {
		before = d.scope(before)
		asked, stale := d.in.uvarint(), d.in.uvarint()
		if asked > math.MaxUint32 || stale > math.MaxUint32 {
			d.in.fail(errMalformed)
		}
		d.answers = append(d.answers, measure.Answered{
			Scope: d.scopeID(before), Asked: uint32(asked), Stale: uint32(stale), Seen: d.in.time(d.at), Good: time.Duration(d.in.varint()),
		})
	}
	return d.answers
}

func (d *Decoder) readNorms() []measure.Norm {
	d.norms = d.norms[:0]
	before := -1
	for range d.in.count(maxMany) {
		before = d.scope(before)
		sig, known := measure.StoredSignal(int(d.in.byte()))
		norm := measure.Norm{
			Scope: d.scopeID(before), Signal: sig,
			Low: math.Float64frombits(d.in.fixed()), Usual: math.Float64frombits(d.in.fixed()), High: math.Float64frombits(d.in.fixed()),
			Minutes: int(d.in.varint()), Days: int(d.in.varint()), Hours: measure.Hours(d.in.byte()), Learning: d.in.bool(),
		}
		if known { // else a later foreshock measures it, and this one cannot use it
			d.norms = append(d.norms, norm)
		}
	}
	return d.norms
}

package recording

import (
	"math"
	"net/netip"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/tcp"
)

// lists writes those lists of a tally that changed, whole; but examples as what
// changed in each socket.
func (e *Encoder) lists(y *measure.Tally, before *last, own uint64) {
	if own&listBehind != 0 {
		e.memory += before.grow(len(y.Behind))
		before.behind = append(before.behind[:0], y.Behind...)
		e.out.uvarint(uint64(len(y.Behind)))
		for _, b := range y.Behind {
			e.addrPort(b)
		}
	}
	if own&listPrefixes != 0 {
		e.memory += before.grow(len(y.Prefixes))
		before.prefixes = append(before.prefixes[:0], y.Prefixes...)
		e.out.uvarint(uint64(len(y.Prefixes)))
		for _, p := range y.Prefixes {
			e.prefix(p.Prefix)
			e.out.uvarint(uint64(p.Held))
			e.out.uvarint(uint64(p.Slow))
		}
	}
	if own&listExamples != 0 {
		e.memory += before.grow(len(y.Examples))
		e.out.uvarint(uint64(len(y.Examples)))
		for i := range y.Examples {
			s := &y.Examples[i]
			from := sameSocket(before.examples, s, i)
			e.out.uvarint(uint64(from + 1))
			var was tcp.Socket
			if from >= 0 {
				was = before.examples[from]
			}
			e.putSocket(&was, s)
		}
		before.examples = append(before.examples[:0], y.Examples...)
	}
	if own&listRegion != 0 {
		before.region = y.Region
		e.string(y.Region)
	}
	if own&listDestinations != 0 {
		e.memory += before.grow(len(y.Destinations))
		before.destinations = append(before.destinations[:0], y.Destinations...)
		e.out.uvarint(uint64(len(y.Destinations)))
		for i := range y.Destinations {
			d := y.Destinations[i]
			e.addrPort(d.Remote)
			for _, n := range destinationNumbers(&d) {
				e.out.uvarint(uint64(*n))
			}
		}
	}
}

// prefix writes an address and 1 + the length; 0 is none.
func (e *Encoder) prefix(p netip.Prefix) {
	e.addr(p.Addr())
	e.out.uvarint(uint64(p.Bits() + 1))
}

// putSocket writes what of a socket is not as in another.
func (e *Encoder) putSocket(was, s *tcp.Socket) {
	var before, now [socketColumns]uint64
	x := columns{values: before[:]}
	x.socket(was)
	x = columns{values: now[:]}
	x.socket(s)
	own := uint64(0)
	if s.Local != was.Local {
		own |= endLocal
	}
	if s.Remote != was.Remote {
		own |= endRemote
	}
	e.out.columns(before[:], now[:], socketDurations, own, endBits)
	if own&endLocal != 0 {
		e.addrPort(s.Local)
	}
	if own&endRemote != 0 {
		e.addrPort(s.Remote)
	}
}

func (e *Encoder) addrPort(a netip.AddrPort) {
	e.addr(a.Addr())
	e.out.uvarint(uint64(a.Port()))
}

// addr writes how many bytes an address has, and these; 17 is an IPv6 address
// with a zone, which follows.
func (e *Encoder) addr(a netip.Addr) {
	raw := a.AsSlice()
	if zone := a.Zone(); zone != "" {
		e.out.byte(17)
		e.out.b = append(e.out.b, raw...)
		e.string(zone)
		return
	}
	e.out.byte(byte(len(raw)))
	e.out.b = append(e.out.b, raw...)
}

func (e *Encoder) opinions(opinions []measure.Opinion) {
	e.out.uvarint(uint64(len(opinions)))
	before := -1
	for _, o := range opinions {
		before = e.putScope(named{id: o.Scope}, before)
		e.out.byte(bit(o.Up))
		e.out.time(o.Seen, e.at)
		e.out.varint(int64(o.Good))
	}
}

func (e *Encoder) answers(answers []measure.Answered) {
	e.out.uvarint(uint64(len(answers)))
	before := -1
	for _, a := range answers {
		before = e.putScope(named{id: a.Scope}, before)
		e.out.uvarint(uint64(a.Asked))
		e.out.uvarint(uint64(a.Stale))
		e.out.time(a.Seen, e.at)
		e.out.varint(int64(a.Good))
	}
}

func (e *Encoder) norms(norms []measure.Norm) {
	e.out.uvarint(uint64(len(norms)))
	before := -1
	for _, n := range norms {
		before = e.putScope(named{id: n.Scope}, before)
		e.out.byte(byte(n.Signal.Stored()))
		for _, v := range [...]float64{n.Low, n.Usual, n.High} {
			e.out.fixed(math.Float64bits(v))
		}
		e.out.varint(int64(n.Minutes))
		e.out.varint(int64(n.Days))
		e.out.byte(byte(n.Hours))
		e.out.byte(bit(n.Learning))
	}
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

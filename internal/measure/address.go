package measure

import (
	"math"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

const (
	// failingSpan: SYN_SENT comes in pulses, with the clients' time-outs and
	// back-off (10 to 25 % of the connections to a dead address at any one time).
	failingSpan = 5 * time.Second
	// afterTTLSpan is for how long a connection that began late counts as new.
	afterTTLSpan = 30 * time.Second
	// arrivalsSpan is what arrivals are held against what is usual over;
	// arrivalsLeast the least of it.
	arrivalsSpan  = 30 * time.Second
	arrivalsLeast = 5 * time.Second
	// arrivalsPast is how far back what is usual of them goes, and usualStretches
	// how many stretches of arrivalsSpan must have been seen for it.
	arrivalsPast   = 10 * time.Minute
	usualStretches = 4
)

// AddressNow is what was at the two ends of the connections to one side of a
// switch, by the last look at all states.
type AddressNow struct {
	// Asked are the connections that we began, Served those that came to us.
	Asked, Served EndNow
	// ArrivalsServed: the signals of arrivals are of those that came to us, else of
	// those that we began. ArrivalsLearned: what is expected is what was learned
	// of this hour of the week, else what was before the switch. Of the new side.
	ArrivalsServed, ArrivalsLearned bool
}

// EndNow is what was at one of them.
type EndNow struct {
	// Connections are those in any state but LISTEN and TIME_WAIT, without those
	// that are closing and that no process has any more; Retransmitting those ESTABLISHED that send something again.
	Connections, Established, Retransmitting int
	// Connecting are those in SYN_SENT, the most at once in 5 s.
	Connecting int
	// Moving are those on which bytes moved within a minute; zero where the reader
	// has no tcp_info.
	Moving int
	// NewPerSecond and BytesPerSecond are over 10 s.
	NewPerSecond, BytesPerSecond float64
	// NewAfterTTL are those begun in the last 30 s, and after the TTL was over.
	NewAfterTTL int
}

// address is what Measure remembers of one side of a switch.
type address struct {
	failing       *Window
	asked, served addressEnd
	arrivals      *arrivals // of the new side
}

// addressEnd is what it does of one end.
type addressEnd struct {
	connecting, begun, bytes *Window
	late                     *Window // connections begun after the TTL, added up
}

func newAddress(id scope.ID) *address {
	end := func() addressEnd {
		return addressEnd{connecting: everyLook(failingSpan), begun: everyLook(flowRateSpan), bytes: everyLook(flowRateSpan), late: everyLook(afterTTLSpan)}
	}
	a := &address{failing: everyLook(failingSpan), asked: end(), served: end()}
	if side, ok := id.Side(); ok && side == scope.NewSide {
		a.arrivals = newArrivals()
	}
	return a
}

// take takes what a look at all states says of the end. over: the TTL is.
func (e *addressEnd) take(now time.Time, y *End, known, over bool) EndNow {
	if !known {
		e.begun.Reset()
		e.bytes.Reset()
	}
	if !over {
		e.late.Reset()
	}
	e.late.Count(now, float64(y.NewAfterTTL))
	late, _ := e.late.Change()
	e.connecting.Add(now, float64(y.Connecting))
	e.begun.Count(now, float64(y.New))
	e.bytes.Count(now, float64(y.Bytes))
	connecting, _ := e.connecting.Most()
	return EndNow{
		Connections: int(y.Connections), Established: int(y.Established), Retransmitting: int(y.Retransmitting),
		Connecting: int(connecting), Moving: int(y.Moving), NewPerSecond: rateOf(e.begun), BytesPerSecond: rateOf(e.bytes), NewAfterTTL: int(late),
	}
}

// rateOf is how many events a second a window has counted; zero before two looks.
func rateOf(w *Window) float64 {
	events, over := w.Change()
	if over <= 0 {
		return 0
	}
	return events / over.Seconds()
}

// takeAddress measures one side of a switch from a look at all states.
func (h *history) takeAddress(y *Tally, look *tcp.Look) {
	a, of := h.address, &y.Address
	switched := of.Since >= 0
	over := switched && of.TTL > 0 && of.Since >= of.TTL
	ends := &h.signals.Address
	ends.Asked = a.asked.take(h.now, &of.Asked, y.Flows.Known, over)
	ends.Served = a.served.take(h.now, &of.Served, y.Flows.Known, over)

	connections := int(of.Asked.Connections + of.Served.Connections)
	h.set(Connections, float64(connections), connections)
	a.failing.Add(h.now, float64(of.Asked.Connecting+of.Asked.Retransmitting+of.Served.Connecting+of.Served.Retransmitting))
	failing, _ := a.failing.Most()
	most := max(connections, int(failing)) // it may have been another look's
	h.set(Failing, failing, most)
	h.setIf(most > 0, FailingShare, failing/float64(max(1, most)), most, NoTraffic)
	moving := int(of.Asked.Moving + of.Served.Moving)
	h.setIf(look.Abilities.Has(tcp.CanInfo) && look.Request.Info, Moving, float64(moving), connections, NoAbility)

	h.setIf(switched, SwitchedAgo, of.Since.Seconds(), 1, NotEnough)
	late := ends.Asked.NewAfterTTL + ends.Served.NewAfterTTL
	older := of.Asked.Older + of.Served.Older
	why := NotEnough // it is not over yet
	if of.TTL <= 0 {
		why = NoLimit
	}
	h.setIf(over, TTLOver, (of.Since - of.TTL).Seconds(), 1, why)
	if over && late == 0 && a.asked.late.Covers() < afterTTLSpan {
		h.unknown(NotEnough, NewAfterTTL) // that none was seen for a moment is not that none comes
	} else {
		h.setIf(over, NewAfterTTL, float64(late), late, why)
	}
	h.setIf(over, OlderThanTTL, float64(older), int(older), why)
}

// takeSwitch measures what needs both sides of a switch, after each.
func takeSwitch(before, after *history, old, fresh *Tally) {
	switched := old.Address.Since >= 0
	oldEstablished, established := old.States[tcp.Established], old.States[tcp.Established]+fresh.States[tcp.Established]
	before.setShare(OldShare, switched, float64(oldEstablished), float64(established))
	oldBegun, _ := before.arrived.Change()
	begun, over := after.arrived.Change()
	before.setShare(OldNewShare, switched && over > 0, oldBegun, oldBegun+begun)
	after.takeArrivals(old, fresh)
}

// setShare sets the share of the old side; before the switch there is none.
func (h *history) setShare(sig Signal, switched bool, part, all float64) {
	if switched {
		h.setIf(all > 0, sig, part/max(1, all), int(all), NoTraffic)
	} else {
		h.unknown(NotEnough, sig)
	}
}

// arrivals are those at both sides of a switch together.
type arrivals struct {
	asked, served endArrivals
	switched      bool
	begun         time.Time // the stretch under way; zero before the first look
}

// endArrivals are those at one end.
type endArrivals struct {
	recent *Window // added up
	past   *Window // a second, over each stretch of arrivalsSpan before the switch
	sum    float64 // of the stretch under way
}

func newArrivals() *arrivals {
	end := func() endArrivals {
		return endArrivals{recent: everyLook(arrivalsSpan), past: NewWindow(arrivalsPast, int(arrivalsPast/arrivalsSpan)+2)}
	}
	return &arrivals{asked: end(), served: end()}
}

// takeArrivals holds what arrives at both sides against what did before the
// switch, or else against what was learned.
func (h *history) takeArrivals(old, fresh *Tally) {
	a, switched := h.address.arrivals, old.Address.Since >= 0
	if switched != a.switched {
		a.switched, a.begun = switched, time.Time{}
		for _, e := range []*endArrivals{&a.asked, &a.served} {
			e.recent.Reset() // what came before says nothing of after
			e.sum = 0
		}
	}
	a.asked.take(h.now, &old.Address.Asked, &fresh.Address.Asked)
	a.served.take(h.now, &old.Address.Served, &fresh.Address.Served)
	a.learn(h.now)

	end, served := a.end()
	rate, over := rateOf(end.recent), end.recent.Covers()
	events, _ := end.recent.Change()
	h.setIf(over >= arrivalsLeast, ArrivalsRate, rate, int(events), NotEnough)
	expected, spread, learned, known := h.expected(end)
	h.signals.Address.ArrivalsServed, h.signals.Address.ArrivalsLearned = served, learned
	// The fewer are counted, the more chance there is in them.
	spread = max(spread, math.Sqrt(expected/arrivalsSpan.Seconds()))
	spread *= math.Sqrt(arrivalsSpan.Seconds() / max(arrivalsLeast, min(over, arrivalsSpan)).Seconds())
	h.setIf(known, ArrivalsExpected, expected, end.past.Len(), NotEnough)
	h.setIf(known, ArrivalsExpectedError, 2*spread, end.past.Len(), NotEnough)
	switch {
	case old.Address.Partial && switched:
		h.unknown(NotSuch, ArrivalsMissing) // some may have gone where nobody counts
	case !known || expected <= 0 || !switched || over < arrivalsLeast:
		h.unknown(NotEnough, ArrivalsMissing)
	default:
		h.set(ArrivalsMissing, max(0, 1-rate/expected), int(expected*over.Seconds()))
	}
}

func (e *endArrivals) take(now time.Time, old, fresh *End) {
	events := float64(old.New + fresh.New)
	e.recent.Count(now, events)
	e.sum += events
}

// learn takes up what is usual, for as long as there was no switch.
func (a *arrivals) learn(now time.Time) {
	took := now.Sub(a.begun)
	switch {
	case a.switched:
		return
	case a.begun.IsZero():
	case took < arrivalsSpan:
		return
	default:
		a.asked.past.Add(now, a.asked.sum/took.Seconds())
		a.served.past.Add(now, a.served.sum/took.Seconds())
	}
	a.begun, a.asked.sum, a.served.sum = now, 0, 0
}

// end is the one at which arrivals are counted: where more came before the
// switch, else where more come now. A host that serves sees its users there.
func (a *arrivals) end() (end *endArrivals, served bool) {
	asked, _ := a.asked.past.Median()
	came, _ := a.served.past.Median()
	if asked == came {
		asked, came = rateOf(a.asked.recent), rateOf(a.served.recent)
	}
	if came >= asked {
		return &a.served, true
	}
	return &a.asked, false
}

// expected is what should arrive a second, and its standard deviation over
// arrivalsSpan.
func (h *history) expected(end *endArrivals) (perSecond, spread float64, learned, known bool) {
	if end.past.Len() >= usualStretches {
		usual, deviation := end.past.middle()
		return usual, deviation, false, true
	}
	n, known := h.signals.Norm(ArrivalsRate)
	return n.Usual, max(0, n.Usual-n.Low) / 2, true, known
}

// middle is the median of the values, and their standard deviation by the median
// of what they are off it, which a few that are far off do not move: the switch
// may have been a little before it was told. The factor is that of a normal
// distribution. It allocates.
func (w *Window) middle() (median, deviation float64) {
	median, _ = w.Median()
	off := make([]float64, 0, w.count)
	for _, part := range w.parts() {
		for _, s := range part {
			off = append(off, math.Abs(s.value-median))
		}
	}
	if len(off) == 0 {
		return 0, 0
	}
	slices.Sort(off)
	const normal = 1.4826
	return median, normal * off[len(off)/2]
}

// answered takes what the resolvers say of a switch's name. One that is not there
// is passed over.
func (m *Measure) answered(x Answered) {
	h := m.scopes[x.Scope]
	if h == nil || h.address == nil {
		return
	}
	h.begin(x.Seen, x.Good)
	h.set(ResolversAsked, float64(x.Asked), int(x.Asked))
	h.setIf(x.Asked > 0, ResolversStale, float64(x.Stale), int(x.Asked), NoTraffic)
}

package measure

import (
	"net/netip"
	"time"

	"github.com/foreshock/foreshock/internal/tcp"
)

const (
	// lostSpan is what the connections of a region are held against.
	lostSpan = 10 * time.Second
	// reachSpan is the half of what is remembered of a destination.
	reachSpan = 5 * time.Second
	// destinationShare of a destination's connections makes it one of those that
	// fail: about half of the level from which its whole region does.
	destinationShare = 0.1
	// resentShare of the segments to a destination, and resentLeast of them, make
	// it one that loses some: one is lost everywhere now and then.
	resentShare = 0.03
	resentLeast = 2
	// answersWithin: something comes from it, so that what is sent again is
	// lost on the way and not all of it.
	answersWithin = time.Second
	// lostAfter is how long something must have been sent again and nothing have
	// come for a destination to be lost.
	lostAfter = 1500 * time.Millisecond
)

// region is what Measure remembers of a region, beside what it does of any
// other end.
type region struct {
	established *Window
	reach       map[netip.AddrPort]reach
}

// reach is what a destination was in this stretch of reachSpan and in the one
// before.
type reach struct {
	turned, seen time.Time
	heard, owing time.Time // when anything came; since when nothing did though something is sent again
	most         [2]uint32 // ESTABLISHED at once
	resent, sent [2]uint32
}

func newRegion() *region {
	return &region{established: everyLook(lostSpan), reach: map[netip.AddrPort]reach{}}
}

// takeRegion measures a region from a look at all states, after takePeer.
func (h *history) takeRegion(y *Tally) {
	r := h.region
	connections := 0
	for state, n := range y.States {
		if s := tcp.State(state); s != tcp.Listen && s != tcp.TimeWait {
			connections += int(n)
		}
	}
	h.set(Connections, float64(connections), connections)
	late := h.signals.Readings[PendingLate]
	h.setIf(connections > 0, RetransmittingShare, float64(y.Retransmitting)/float64(max(1, connections)), connections, NoTraffic)
	switch {
	case late.Validity != Known:
		h.unknown(late.Validity, PendingLateShare)
	default:
		h.setIf(connections > 0, PendingLateShare, late.Value/float64(max(1, connections)), connections, NoTraffic)
	}
	if !y.Flows.Known { // it is new, or has other prefixes than before
		r.established.Reset()
		clear(r.reach)
	}
	established := float64(y.States[tcp.Established])
	r.established.Add(h.now, established)
	most, _ := r.established.Most()
	h.setIf(most > 0, EstablishedLost, 1-established/max(1, most), int(most), NoTraffic)
	h.takeDestinations(y)
	h.takeTotals(y, connections+int(y.States[tcp.TimeWait]))
}

// takeTotals takes the shares of an article, of all rows of the region and thus
// of TIME_WAIT too, and what its way of learning makes of them.
func (h *history) takeTotals(y *Tally, total int) {
	all := float64(max(1, total))
	h.setIf(total > 0, CloseWaitTotalShare, float64(y.AcceptedCloseWait)/all, total, NoTraffic)
	h.setIf(total > 0, SynSentTotalShare, float64(y.States[tcp.SynSent])/all, total, NoTraffic)
	h.setHigh(CloseWaitTotalHigh, CloseWaitTotalShare)
	h.setHigh(SynSentTotalHigh, SynSentTotalShare)
}

// takeDestinations counts the destinations of a region that show a failure.
func (h *history) takeDestinations(y *Tally) {
	r := h.region
	var retransmitting, connecting, unanswered, lost, closeWait, late, resending, fewer, gone int
	count := func(n *int, is bool) {
		if is {
			*n++
		}
	}
	for i := range y.Destinations {
		d := &y.Destinations[i]
		x := r.reach[d.Remote]
		x.take(h.now, d)
		r.reach[d.Remote] = x
		tenth := destinationShare * float64(d.Connections)
		part := func(n uint32) bool { return n > 0 && float64(n) >= tenth }
		count(&retransmitting, part(d.Retransmitting))
		count(&connecting, part(d.Connecting))
		count(&unanswered, d.Retransmitting > 0)
		count(&closeWait, part(d.CloseWait))
		count(&late, part(d.PendingLate))
		resent, sent := x.resent[0]+x.resent[1], x.sent[0]+x.sent[1]
		count(&resending, resent >= resentLeast && float64(resent) >= resentShare*float64(sent) && h.now.Sub(x.heard) <= answersWithin)
		count(&lost, !x.owing.IsZero() && h.now.Sub(x.owing) >= lostAfter)
		most := max(x.most[0], x.most[1])
		count(&fewer, most > d.Established && float64(most-d.Established) >= destinationShare*float64(most))
		count(&gone, most > 0 && d.Established == 0)
	}
	for remote, x := range r.reach {
		if h.now.Sub(x.seen) >= 2*reachSpan {
			delete(r.reach, remote)
		}
	}
	told := len(y.Destinations)
	h.set(Destinations, float64(y.DestinationsSeen), int(y.DestinationsSeen))
	h.set(DestinationsRetransmitting, float64(retransmitting), told)
	h.set(DestinationsConnecting, float64(connecting), told)
	h.set(DestinationsUnanswered, float64(unanswered), told)
	h.set(DestinationsLost, float64(lost), told)
	h.set(DestinationsCloseWait, float64(closeWait), told)
	h.set(DestinationsPendingLate, float64(late), told)
	h.set(DestinationsResending, float64(resending), told)
	h.set(DestinationsFewer, float64(fewer), told)
	h.set(DestinationsGone, float64(gone), told)
}

// take adds what a look says of the destination.
func (x *reach) take(now time.Time, d *Destination) {
	if now.Sub(x.turned) >= reachSpan {
		x.turned = now
		x.most[1], x.resent[1], x.sent[1] = x.most[0], x.resent[0], x.sent[0]
		x.most[0], x.resent[0], x.sent[0] = 0, 0, 0
	}
	x.seen = now
	switch {
	case d.Answering > 0:
		x.heard, x.owing = now, time.Time{}
	case d.Retransmitting == 0:
		x.owing = time.Time{}
	case x.owing.IsZero():
		x.owing = now
	}
	x.most[0] = max(x.most[0], d.Established)
	x.resent[0] += d.Resent
	x.sent[0] += d.Sent
}

// takeUnclassified says how much of what we began is in no region.
func (h *history) takeUnclassified(y *Tally) {
	if y.Outgoing == 0 {
		h.unknown(NoTraffic, Outgoing, UnclassifiedShare)
		return
	}
	h.set(Outgoing, float64(y.Outgoing), int(y.Outgoing))
	h.set(UnclassifiedShare, float64(y.Unclassified)/float64(y.Outgoing), int(y.Outgoing))
}

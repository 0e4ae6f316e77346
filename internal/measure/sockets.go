package measure

import (
	"slices"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// stateSignals are the signals that are a plain count of one state.
var stateSignals = [...]struct {
	signal Signal
	state  tcp.State
}{
	{SynRecv, tcp.SynRecv}, {SynSent, tcp.SynSent}, {FinWait1, tcp.FinWait1},
	{FinWait2, tcp.FinWait2}, {TimeWait, tcp.TimeWait}, {LastAck, tcp.LastAck},
	{Closing, tcp.Closing},
}

func (h *history) takeSockets(y *Tally, look *tcp.Look) {
	states := look.Request.States
	total := 0
	for _, n := range y.States {
		total += int(n)
	}
	for _, s := range stateSignals {
		if states.Has(s.state) {
			h.set(s.signal, float64(y.States[s.state]), total)
		}
	}
	if states.Has(tcp.CloseWait) {
		h.set(CloseWaitAccepted, float64(y.AcceptedCloseWait), total)
	}
	if states.Has(tcp.CloseWait) && CloseWaitUnaccepted.AppliesTo(y.Scope.Kind) {
		h.set(CloseWaitUnaccepted, float64(y.UnacceptedCloseWait), total)
		h.gaveUp.Add(h.now, float64(y.UnacceptedCloseWait))
		trend, ok := h.gaveUp.Trend()
		h.setIf(ok, CloseWaitUnacceptedGrowth, trend.PerSecond, h.gaveUp.Len(), NotEnough)
	}
	if !seesAll(states) {
		return // the rest needs to have seen every connection
	}
	h.signals.Examples = append(h.signals.Examples[:0], y.Examples...)
	h.set(Sockets, float64(total), total)
	h.set(Established, float64(y.States[tcp.Established]), total)
	h.set(Accepted, float64(y.Accepted), total)
	h.set(Retransmitting, float64(y.Retransmitting), total)
	h.set(ZeroWindow, float64(y.ZeroWindow), total)
	h.takeFlows(&y.Flows)
	h.takeShares(&y.States)
	if Unaccepted.AppliesTo(y.Scope.Kind) {
		h.set(Unaccepted, float64(y.Unaccepted), total)
		h.set(OldestUnaccepted, y.OldestUnaccepted.Seconds(), int(y.Unaccepted))
		h.setIf(look.Abilities.Has(tcp.CanInfo) && look.Request.Info, Busy, float64(y.Busy), int(y.Accepted), NoAbility)
		h.slope.Add(h.now, float64(y.Accepted))
		trend, ok := h.slope.Trend()
		h.setIf(ok, AcceptedSlope, trend.PerSecond, h.slope.Len(), NotEnough)
	}
	switch y.Scope.Kind {
	case scope.KindService:
		h.takeWorkers(y, look)
		h.signals.Prefixes = append(h.signals.Prefixes[:0], y.Prefixes...)
	case scope.KindBackend:
		h.signals.Group, h.signals.Region = y.Group, y.Region
		if !slices.Equal(h.signals.Behind, y.Behind) { // tallies are the caller's
			h.signals.Behind = slices.Clone(y.Behind)
		}
		h.takePeer(y, look)
		h.takePorts(y)
	case scope.KindRegion:
		h.signals.Group = y.Group
		h.takePeer(y, look)
		h.takeRegion(y)
	case scope.KindAddress:
		h.signals.Group = y.Group
		h.takeAddress(y, look)
	case scope.KindRest:
		h.takeUnclassified(y)
	}
}

// seesAll reports whether a look at these states sees every connection.
func seesAll(states tcp.StateMask) bool {
	connections := tcp.AllStates &^ tcp.MaskOf(tcp.Listen, tcp.Close)
	return states&connections == connections
}

// takeShares takes the shares that the articles judge by. Listeners are no
// connections, and TIME_WAIT only says how many have closed lately.
func (h *history) takeShares(states *[tcp.NumStates]uint32) {
	switch h.signals.Scope.Kind {
	case scope.KindService, scope.KindBackend, scope.KindRegion:
	default:
		return
	}
	connections := 0
	for state, n := range states {
		if tcp.State(state) != tcp.Listen && tcp.State(state) != tcp.TimeWait {
			connections += int(n)
		}
	}
	if connections == 0 {
		h.unknown(NoTraffic, EstablishedShare, SynSentShare, CloseWaitShare)
		return
	}
	all := float64(connections)
	h.set(EstablishedShare, float64(states[tcp.Established])/all, connections)
	h.set(SynSentShare, float64(states[tcp.SynSent])/all, connections)
	h.set(CloseWaitShare, float64(states[tcp.CloseWait])/all, connections)
}

func (h *history) takeFlows(f *Flows) {
	if !f.Known {
		h.arrived.Reset()
		h.left.Reset()
	}
	h.arrived.Count(h.now, float64(f.New))
	h.left.Count(h.now, float64(f.Gone))
	arrived, over := h.arrived.Change()
	left, _ := h.left.Change()
	if over <= 0 {
		h.unknown(NotEnough, NewFlowsRate, GoneFlowsRate)
		return
	}
	scale := float64(max(f.Scale, 1))
	h.set(NewFlowsRate, arrived/over.Seconds(), int(arrived/scale))
	h.set(GoneFlowsRate, left/over.Seconds(), int(left/scale))
}

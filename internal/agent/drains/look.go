package drains

import (
	"time"

	"github.com/foreshock/foreshock/internal/drain"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// Look takes what the last looks say of the sides of switches, in all
// namespaces: each call has all of them.
func (b *Book) Look(now time.Time, sides []*measure.ScopeSignals) {
	looked := make(map[string]bool, len(b.entries))
	for _, s := range sides {
		side, ok := s.Scope.Side()
		e := b.entries[s.Group]
		if !ok || e == nil || e.State() == Stopped {
			continue
		}
		if !looked[e.Name] {
			looked[e.Name], e.now, e.arrivals = true, drain.Point{}, nil
		}
		if at := s.Get(measure.Connections).Seen; s.Scope.Namespace == "" || e.lookedAt.IsZero() {
			e.lookedAt = at
		}
		e.add(side, s)
	}
	for name := range looked {
		e := b.entries[name]
		e.curve.add(now, e.Switch.Since, e.now)
	}
}

// add adds one side in one namespace.
func (e *Entry) add(side scope.Side, s *measure.ScopeSignals) {
	asked, served := &e.now.Asked.Old, &e.now.Served.Old
	if side == scope.NewSide {
		asked, served = &e.now.Asked.New, &e.now.Served.New
		e.arrive(s)
	}
	asked.Add(counted(&s.Address.Asked))
	served.Add(counted(&s.Address.Served))
}

func counted(end *measure.EndNow) drain.Count {
	return drain.Count{
		Connections: end.Connections, Established: end.Established, Connecting: end.Connecting, Retransmitting: end.Retransmitting,
		NewPerSecond: end.NewPerSecond, Moving: end.Moving, BytesPerSecond: end.BytesPerSecond,
	}
}

// arrive adds what arrives in one namespace against what should; it may be off
// by as much as all of them together. Where one counts at another end than the
// others, those that serve go before.
func (e *Entry) arrive(s *measure.ScopeSignals) {
	rate, known := s.Get(measure.ArrivalsRate).Get()
	expected, expects := s.Get(measure.ArrivalsExpected).Get()
	if !known || !expects {
		return
	}
	off, _ := s.Get(measure.ArrivalsExpectedError).Get()
	a := drain.Arrivals{PerSecond: rate, ExpectedPerSecond: expected, ErrorPerSecond: off, From: "before the switch", At: "asked"}
	if s.Address.ArrivalsLearned {
		a.From = "this hour of the week"
	}
	if s.Address.ArrivalsServed {
		a.At = "served"
	}
	switch has := e.arrivals; {
	case has == nil, has.At == "asked" && a.At == "served":
		e.arrivals = &a
	case has.At == a.At:
		has.PerSecond += a.PerSecond
		has.ExpectedPerSecond += a.ExpectedPerSecond
		has.ErrorPerSecond += a.ErrorPerSecond
	}
}

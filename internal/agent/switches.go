package agent

import (
	"net/netip"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// SetSwitches changes the switches that all namespaces count; none takes their
// scopes away. A switch that stays, by its name, addresses and ports, keeps what
// is known of its connections, and by its name what is usual of them: so one that
// is armed becomes one that was by its time alone. The slice is not changed
// afterwards.
func (h *Host) SetSwitches(all []scope.Switch) {
	h.switches = all
	for _, p := range h.pipelines() {
		p.setSwitches(all)
	}
}

// Answered hands on what resolvers have said; the next step of each namespace
// takes what is of its scopes.
func (h *Host) Answered(answers []measure.Answered) {
	for _, p := range h.pipelines() {
		for _, a := range answers {
			if a.Scope.Namespace == p.place.name {
				p.resolved = append(p.resolved, a)
			}
		}
	}
}

// Held is who was on the old addresses of a switch in one namespace.
type Held struct {
	Switch    string // its name
	Namespace string // its name as scopes have it; empty for our own
	// ID is the namespace for those who must find it.
	ID tcp.Namespace
	// Seen is when; zero before the first look.
	Seen time.Time
	// Sockets are connections, at most 2,048; Over counts further ones.
	Sockets []measure.HeldSocket
	Over    int
}

// Held returns who is on the old addresses of the switches, by the last judged
// look at all states of each namespace that has met them: in the order of the
// namespaces, our own first, and of the switches. It is the caller's own.
func (h *Host) Held() []Held {
	var out []Held
	for _, p := range h.pipelines() {
		if p != h.own && p.schedule.Idle() {
			continue // all connections there have gone, and no look says so any more
		}
		for i := range p.tallier.switches {
			of := Held{Switch: p.tallier.switches[i].Name, Namespace: p.place.name, ID: p.place.namespace}
			var rows []measure.HeldSocket
			if rows, of.Over, of.Seen = p.tallier.Held(i); of.Seen.IsZero() {
				continue
			}
			of.Sockets = slices.Clone(rows)
			out = append(out, of)
		}
	}
	return out
}

// setSwitches takes them over with the next pulse that knows who listens, as
// regions are.
func (p *Pipeline) setSwitches(all []scope.Switch) { p.newSwitches, p.switched = all, true }

// takeSwitches does, after a whole pulse, and reports whether there are other
// scopes than before.
func (p *Pipeline) takeSwitches() bool {
	if !p.switched || !p.knowsListeners() {
		return false
	}
	p.tallier.SetSwitches(p.newSwitches, p.place.name == "")
	p.newSwitches, p.switched = nil, false
	return true
}

// knowsListeners: a client of ours can be told from who connects to us.
func (p *Pipeline) knowsListeners() bool {
	return !p.discovered.IsZero() || !p.listeners.changed()
}

// drains reports whether connections are at a side of some switch.
func (p *Pipeline) drains() bool {
	return slices.ContainsFunc(p.switches, func(s scope.Switch) bool {
		return p.inUse[s.ID(scope.OldSide, p.place.name)] || p.inUse[s.ID(scope.NewSide, p.place.name)]
	})
}

// sides calls each with the scope and the addresses, as prefixes, of each side of
// the switches that are scopes.
func (p *Pipeline) sides(each func(id scope.ID, alone []netip.Prefix)) {
	for i := range p.switches {
		for _, side := range [...]scope.Side{scope.OldSide, scope.NewSide} {
			each(p.switches[i].ID(side, p.place.name), p.switches[i].Prefixes(side))
		}
	}
}

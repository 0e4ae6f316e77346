package agent

import (
	"net/netip"
	"slices"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// What each tier asks of the reader: focus what is in use.

// request is what a tier asks of the reader.
func (p *Pipeline) request(tier tcp.Tier) tcp.Request {
	req := tcp.Request{Tier: tier}
	switch tier {
	case tcp.Pulse:
		req.States = tcp.ListenOnly
	case tcp.Odd:
		req.States = tcp.OddStates
	case tcp.Focus:
		req.States, req.Info = tcp.AllStates, true
		req.Filter = p.focusFilter()
	default:
		req.States, req.Info = tcp.AllStates, true
	}
	return req
}

// focusFilter takes in the services in use, all backends, the regions, and the
// addresses of switches at both ends. With
// more ports or prefixes than a filter is worth it takes in everything.
func (p *Pipeline) focusFilter() tcp.Filter {
	f := tcp.Filter{LocalPorts: p.focusPorts(), RemotePorts: p.finder.ports()}
	fit := p.focusPrefixes(&f)
	if len(f.RemotePorts) > wideFocus || !fit {
		return tcp.Filter{}
	}
	return f
}

// wideRegions is how many remote prefixes a focus filter takes in: the kernel
// tries them one after the other for each socket, some 10 ns each.
const wideRegions = 32

// focusPrefixes adds those of the regions and of the switches that are in use, of
// all of them when they are few; false when they are more than a filter is worth.
func (p *Pipeline) focusPrefixes(f *tcp.Filter) (fit bool) {
	total := 0
	for i := range p.regions {
		total += len(p.regions[i].Prefixes)
	}
	p.sides(func(_ scope.ID, alone []netip.Prefix) { total += len(alone) })
	asks := func(id scope.ID) bool { return total <= wideRegions || p.inUse[id] }
	for i := range p.regions {
		if r := &p.regions[i]; asks(r.ID()) {
			f.RemotePrefixes = append(f.RemotePrefixes, r.Prefixes...)
		}
	}
	p.sides(func(id scope.ID, alone []netip.Prefix) {
		if asks(id) {
			f.RemotePrefixes, f.LocalPrefixes = append(f.RemotePrefixes, alone...), append(f.LocalPrefixes, alone...)
		}
	})
	return len(f.RemotePrefixes) <= wideRegions
}

// focusPorts are the ports of the services in use; all of them when they are
// few. Sorted as the services are.
func (p *Pipeline) focusPorts() []uint16 {
	total := 0
	for i := range p.services {
		total += len(p.services[i].Listen)
	}
	ports := make([]uint16, 0, total)
	for i := range p.services {
		if total > wideFocus && !p.inUse[p.services[i].ID()] {
			continue
		}
		own := len(ports) // where this service's begin
		for _, l := range p.services[i].Listen {
			if !slices.Contains(ports[own:], l.Port()) {
				ports = append(ports, l.Port())
			}
		}
	}
	return ports
}

// noteUse remembers which services have connections, and tells the schedule.
func (p *Pipeline) noteUse(t measure.Tallies) {
	states := t.Look.Request.States
	for i := range t.Scopes {
		y := &t.Scopes[i]
		sockets := uint32(0)
		for _, n := range y.States {
			sockets += n
		}
		if sockets > 0 || y.Queue.Depth > 0 {
			p.inUse[y.Scope] = true
		} else if states == tcp.AllStates {
			delete(p.inUse, y.Scope)
		}
	}
	use := observe.Unused
	switch {
	case p.finder.balances() || p.asksRegions() || p.drains():
		use = observe.Backends
	case slices.ContainsFunc(p.services, func(s scope.Service) bool { return p.inUse[s.ID()] }):
		use = observe.Services
	}
	p.schedule.SetUse(use)
}

package recording

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// FrameKind says which of a Tallier's methods a Frame is a call of.
type FrameKind uint8

// The kinds.
const (
	FrameScopes   FrameKind = iota + 1 // SetScopes
	FrameCapacity                      // SetCapacity
	FramePorts                         // SetPorts
	FrameBegin                         // Begin
	FrameBatch                         // Add
	FrameEnd                           // End
)

// Frame is one thing that a namespace's [measure.Tallier] was told: all of them
// in order give the tallies again, also of other scopes (see [Player]).
type Frame struct {
	Kind      FrameKind
	Namespace string
	// At is the time of the look on the pipeline's clock, Offset what to add
	// for the wall clock.
	At     time.Time
	Offset time.Duration
	// Scopes is of FrameScopes.
	Scopes *Scopes
	// Service and Capacity are of FrameCapacity.
	Service  int
	Capacity measure.Capacity
	// Ports is of FramePorts.
	Ports Ports
	// Look and Interval are of FrameBegin, which has the request and the time
	// alone, and of FrameEnd.
	Look     tcp.Look
	Interval time.Duration
	// Sockets is of FrameBatch; good until the next record.
	Sockets []tcp.Socket
}

// Scopes is what a Tallier is told to count by.
type Scopes struct {
	Services []scope.Service `json:"services,omitempty"`
	Backends []scope.Backend `json:"backends,omitempty"`
	// Regions are all that are configured; which of them are scopes follows from
	// the sockets.
	Regions []scope.Region `json:"regions,omitempty"`
	// Switches are all that are followed; of which there are scopes follows from
	// the sockets too.
	Switches []scope.Switch `json:"switches,omitempty"`
	// Repeated: it was told before. Each segment with frames says once what
	// holds, for who begins to read there; Capacities, by service, and Ports are
	// what came after the scopes.
	Repeated   bool               `json:"repeated,omitempty"`
	Capacities []measure.Capacity `json:"capacities,omitempty"`
	Ports      *Ports             `json:"ports,omitempty"`
}

// Ports is a measure.Ports as a value.
type Ports struct {
	Available int `json:"available"`
	// Reused are the addresses of backends for which measure.Ports.Reused says
	// yes.
	Reused []netip.Addr `json:"reused,omitempty"`
}

// PortsOf asks ports about the addresses of backends.
func PortsOf(ports measure.Ports, backends []scope.Backend) Ports {
	out := Ports{Available: ports.Available}
	for i := range backends {
		if a := backends[i].Remote.Addr(); ports.Reused != nil && ports.Reused(a) && !slices.Contains(out.Reused, a) {
			out.Reused = append(out.Reused, a)
		}
	}
	return out
}

func (p *Ports) measure() measure.Ports {
	return measure.Ports{Available: p.Available, Reused: func(a netip.Addr) bool { return slices.Contains(p.Reused, a) }}
}

// told is what holds in a namespace, to be said again in the next segment.
type told struct {
	scopes    Scopes
	inSegment bool
}

// maxBatch is how many sockets one record holds. Readers hand on 256 at a time;
// the listeners of a pulse that moved nothing come as one.
const maxBatch = maxMany

// AddFrame takes one frame, as Add takes a step. The scopes of a frame must not
// change afterwards.
func (e *Encoder) AddFrame(f Frame) (finished *Segment, err error) {
	if len(f.Sockets) > maxBatch {
		return nil, fmt.Errorf("record a frame: a batch of %d sockets, and at most %d are recorded: it was left out", len(f.Sockets), maxBatch)
	}
	finished = e.begin(f.At, f.Offset, e.began)
	bytes, records := len(e.out.b), e.records
	if err := e.putFrame(&f); err != nil {
		return finished, err
	}
	return e.end(finished, bytes, records)
}

func (e *Encoder) putFrame(f *Frame) error {
	t := e.told[f.Namespace]
	if t == nil {
		t = &told{}
		e.told[f.Namespace] = t
	}
	switch f.Kind {
	case FrameScopes:
		t.scopes = *f.Scopes
		t.inSegment = true
	case FrameCapacity:
		if f.Service < 0 || f.Service >= len(t.scopes.Services) {
			return fmt.Errorf("record a frame: service %d of %d", f.Service, len(t.scopes.Services))
		}
	}
	if !t.inSegment {
		t.inSegment = true
		again := t.scopes
		again.Repeated = true
		if err := e.putScopesFrame(f, &again); err != nil {
			return err
		}
	}
	switch f.Kind {
	case FrameScopes:
		return e.putScopesFrame(f, f.Scopes)
	case FrameCapacity:
		t.setCapacity(f.Service, f.Capacity)
		return e.putJSON(tagCapacity, f, serviceCapacity{f.Service, f.Capacity})
	case FramePorts:
		ports := f.Ports
		t.scopes.Ports = &ports
		return e.putJSON(tagPorts, f, f.Ports)
	case FrameBegin, FrameEnd:
		tag := byte(tagBegin)
		if f.Kind == FrameEnd {
			tag = tagEnd
		}
		e.record(tag, f.At)
		e.header(e.stream(stream{f.Namespace, f.Look.Request.Tier, tag}), &f.Look, &f.Interval, 0)
	case FrameBatch:
		e.record(tagBatch, f.At)
		e.string(f.Namespace)
		e.out.uvarint(uint64(len(f.Sockets)))
		for i := range f.Sockets {
			e.putSocket(&e.socket, &f.Sockets[i])
			e.socket = f.Sockets[i]
		}
	default:
		return fmt.Errorf("record a frame: there is no kind %d", f.Kind)
	}
	return nil
}

// setCapacity notes what came after the scopes.
func (t *told) setCapacity(service int, c measure.Capacity) {
	if t.scopes.Capacities == nil {
		t.scopes.Capacities = make([]measure.Capacity, len(t.scopes.Services))
		for i := range t.scopes.Services {
			t.scopes.Capacities[i] = measure.CapacityOf(&t.scopes.Services[i])
		}
	}
	t.scopes.Capacities[service] = c
}

// serviceCapacity is what a record of FrameCapacity says.
type serviceCapacity struct {
	Service  int              `json:"service"`
	Capacity measure.Capacity `json:"capacity"`
}

func (e *Encoder) putScopesFrame(f *Frame, s *Scopes) error { return e.putJSON(tagScopes, f, s) }

// putJSON writes a record of what is rare: its layout follows that of the Go
// types.
func (e *Encoder) putJSON(tag byte, f *Frame, what any) error {
	raw, err := json.Marshal(what)
	if err != nil {
		return fmt.Errorf("record a frame: %w", err)
	}
	if jsonMemory(raw) > maxMemory {
		return errors.New("record a frame: it has more services, backends and regions than a segment holds: it was left out")
	}
	e.record(tag, f.At)
	e.string(f.Namespace)
	e.out.bytes(raw)
	return nil
}

func (d *Decoder) frame(tag byte) *Frame {
	f := &Frame{}
	switch tag {
	case tagBegin, tagEnd:
		f.Kind = FrameBegin
		if tag == tagEnd {
			f.Kind = FrameEnd
		}
		of := d.stream(tag)
		t, own := d.header(of)
		if own&^(headerReader|headerFilter) != 0 {
			d.in.fail(errMalformed)
		}
		f.Namespace, f.Look, f.Interval = of.key.namespace, t.Look, t.Interval
	case tagBatch:
		f.Kind, f.Namespace = FrameBatch, d.string()
		n := d.in.count(maxBatch)
		d.batch = slices.Grow(d.batch[:0], n)[:n]
		for i := range d.batch {
			d.readSocket(&d.socket)
			d.batch[i] = d.socket
		}
		f.Sockets = d.batch
	case tagScopes:
		f.Kind, f.Namespace, f.Scopes = FrameScopes, d.string(), &Scopes{}
		d.json(f.Scopes)
	case tagCapacity:
		var c serviceCapacity
		f.Kind, f.Namespace = FrameCapacity, d.string()
		d.json(&c)
		f.Service, f.Capacity = c.Service, c.Capacity
	case tagPorts:
		f.Kind, f.Namespace = FramePorts, d.string()
		d.json(&f.Ports)
	}
	return f
}

func (d *Decoder) json(into any) {
	raw := d.in.bytes()
	if jsonMemory(raw) > maxMemory {
		d.in.fail(errLarge)
	}
	if d.in.err == nil && json.Unmarshal(raw, into) != nil {
		d.in.fail(errMalformed)
	}
}

// jsonMemory is about what JSON takes decoded at most: three bytes of it can be
// a whole service.
func jsonMemory(raw []byte) int { return bytes.Count(raw, []byte{','}) * entryMemory }

// Player plays frames to Talliers, one for each namespace. The zero value is
// not usable; see NewPlayer.
type Player struct{ namespaces map[string]*played }

type played struct {
	tallier  *measure.Tallier
	services int
	regions  []scope.Region
	switches int
	known    bool // its scopes are set
	begun    bool // a look, from its begin
}

// NewPlayer returns a Player that has been told nothing.
func NewPlayer() *Player { return &Player{map[string]*played{}} }

// Play does what a frame says. At the end of a look it returns the tallies, good
// until the namespace's next look begins, and true. The opinions, norms and
// answers of a step are not in frames.
func (p *Player) Play(f *Frame) (t measure.Tallies, looked bool) {
	n := p.namespaces[f.Namespace]
	if n == nil {
		n = &played{tallier: measure.NewTallier(f.Namespace)}
		p.namespaces[f.Namespace] = n
	}
	switch f.Kind {
	case FrameScopes:
		if f.Scopes.Repeated && n.known {
			break
		}
		n.known, n.services = true, len(f.Scopes.Services)
		if len(n.regions)+len(f.Scopes.Regions) > 0 {
			n.regions = f.Scopes.Regions
			n.tallier.SetRegions(n.regions, scope.NewRegionIndex(n.regions), f.Namespace == "")
		}
		if n.switches+len(f.Scopes.Switches) > 0 {
			n.switches = len(f.Scopes.Switches)
			n.tallier.SetSwitches(f.Scopes.Switches, f.Namespace == "")
		}
		n.tallier.SetScopes(f.Scopes.Services, f.Scopes.Backends)
		for i := range min(n.services, len(f.Scopes.Capacities)) {
			n.tallier.SetCapacity(i, f.Scopes.Capacities[i])
		}
		if f.Scopes.Ports != nil {
			n.tallier.SetPorts(f.Scopes.Ports.measure())
		}
	case FrameCapacity:
		if f.Service >= 0 && f.Service < n.services {
			n.tallier.SetCapacity(f.Service, f.Capacity)
		}
	case FramePorts:
		n.tallier.SetPorts(f.Ports.measure())
	case FrameBegin:
		n.begun = true
		n.tallier.Begin(f.Look)
	case FrameBatch:
		if n.begun {
			n.tallier.Add(f.Sockets)
		}
	case FrameEnd:
		if n.begun {
			n.begun = false
			t := n.tallier.End(f.Look, f.Interval)
			n.tallier.AddMet() // as the agent does
			return t, true
		}
	}
	return measure.Tallies{}, false
}

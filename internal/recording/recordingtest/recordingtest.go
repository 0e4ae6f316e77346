// Package recordingtest makes the steps of a host that never was: services and
// backends with a daily curve and faults, for tests and for measuring. The same
// [Config] gives the same steps.
//
//	host := recordingtest.New(recordingtest.Config{Services: 2, Backends: 3, Span: 5 * time.Minute, Focus: time.Second})
//	for step, err := host.Next(); err == nil; step, err = host.Next() { … }
//
// The numbers are plausible and no more: what real sockets look like under a
// fault is the labs' to say.
package recordingtest

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// Config says what to make.
type Config struct {
	// Seed makes one host differ from another.
	Seed uint64
	// Start is the time of the first step, and Offset what it lacks to the wall
	// clock. A zero Start is Start.
	Start  time.Time
	Offset time.Duration
	// Span is how long it goes on.
	Span time.Duration
	// Services and Backends are how many there are; the backends are in groups
	// of GroupSize: "pool0/s0" and so on.
	Services, Backends int
	// Pulse and Focus are the times between two such looks; zero makes none.
	// Both fall together where they can, the pulse first.
	Pulse, Focus time.Duration
	Faults       []Fault
	// Namespace is the name of the network namespace; empty for the agent's own.
	Namespace string
}

// Start is when a recording begins that does not say: a midnight.
var Start = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)

// GroupSize is how many backends a group has.
const GroupSize = 4

// Kind is what goes wrong in a fault.
type Kind uint8

// The kinds of faults.
const (
	Blackhole Kind = iota + 1 // what is sent to a backend is lost
	Hang                      // a backend acknowledges and answers nothing
	Exhaust                   // a service's workers are all taken: its queue grows
	Close                     // CLOSE_WAIT piles up at a service, and nothing else
)

// Fault is one thing that goes wrong.
type Fault struct {
	Kind  Kind
	Scope scope.ID
	// From and To are since the start.
	From, To time.Duration
}

// Host gives steps, one after the other. It is not safe for concurrent use.
type Host struct {
	cfg      Config
	random   *rand.Rand
	pulse    time.Duration // of the next pulse since the start; below 0: none
	focus    time.Duration
	services []source
	backends []source
	scopes   []measure.Tally
	arrived  uint64
}

// source is one scope with its size by day.
type source struct {
	id     scope.ID
	group  string
	size   float64
	phase  float64
	faults []Fault
}

// New returns a host at its first step.
func New(cfg Config) *Host {
	if cfg.Start.IsZero() {
		cfg.Start = Start
	}
	h := &Host{cfg: cfg, random: rand.New(rand.NewPCG(cfg.Seed, 0xf0)), pulse: -1, focus: -1}
	if cfg.Pulse > 0 {
		h.pulse = 0
	}
	if cfg.Focus > 0 {
		h.focus = 0
	}
	add := func(to *[]source, id scope.ID, group string) {
		s := source{id: id.In(cfg.Namespace), group: group, size: 30 + 90*h.random.Float64(), phase: h.random.Float64()}
		for _, f := range cfg.Faults {
			if f.Scope == s.id {
				s.faults = append(s.faults, f)
			}
		}
		*to = append(*to, s)
	}
	for i := range cfg.Services {
		add(&h.services, Service(i), "")
	}
	for i := range cfg.Backends {
		add(&h.backends, Backend(i), fmt.Sprintf("pool%d", i/GroupSize))
	}
	return h
}

// Service is the name of a service, counted from 0.
func Service(i int) scope.ID {
	return scope.ID{Kind: scope.KindService, Name: fmt.Sprintf("web%d", i)}
}

// Backend is the name of a backend, counted from 0.
func Backend(i int) scope.ID {
	return scope.ID{Kind: scope.KindBackend, Name: fmt.Sprintf("pool%d/s%d", i/GroupSize, i%GroupSize)}
}

// All returns every step, each a copy of its own.
func All(cfg Config) []measure.Step {
	var out []measure.Step
	for h := New(cfg); ; {
		s, err := h.Next()
		if err != nil {
			return out
		}
		s.Tallies.Scopes = slices.Clone(s.Tallies.Scopes)
		out = append(out, s)
	}
}

// Next returns the next step, io.EOF after the last. It is good until the next
// call.
func (h *Host) Next() (measure.Step, error) {
	tier, at := tcp.Pulse, h.pulse
	if h.pulse < 0 || h.focus >= 0 && h.focus < h.pulse {
		tier, at = tcp.Focus, h.focus
	}
	if at < 0 || at >= h.cfg.Span {
		return measure.Step{}, io.EOF
	}
	states, every := tcp.ListenOnly, h.cfg.Pulse
	if tier == tcp.Focus {
		states, every = tcp.AllStates, h.cfg.Focus
		h.focus += every
	} else {
		h.pulse += every
	}
	h.scopes = h.scopes[:0]
	look := tcp.Look{
		Request: tcp.Request{Tier: tier, States: states, Info: tier == tcp.Focus}, Reader: "sock_diag", Abilities: tcp.AllAbilities,
		Begin: h.cfg.Start.Add(at), Duration: 2 * time.Millisecond, CPU: 2 * time.Millisecond, Completeness: tcp.Complete,
	}
	for i := range h.services {
		h.scopes = append(h.scopes, h.service(&h.services[i], tier, at, every))
	}
	for i := range h.backends {
		h.scopes = append(h.scopes, h.backend(&h.backends[i], tier, at, every))
	}
	rest := measure.Tally{Scope: scope.Rest.In(h.cfg.Namespace)}
	if tier == tcp.Focus {
		rest.States[tcp.Established] = 12
		rest.Accepted = 12
		rest.Flows = measure.Flows{Known: at > 0, Since: every, Scale: 1}
	} else {
		h.count(&look.Counters, every)
	}
	h.scopes = append(h.scopes, rest)
	return measure.Step{
		Namespace: h.cfg.Namespace, At: h.cfg.Start.Add(at), Offset: h.cfg.Offset,
		Tallies: measure.Tallies{Look: look, Interval: every, Scopes: h.scopes},
	}, nil
}

// count moves the namespace's counters on.
func (h *Host) count(c *tcp.Counters, every time.Duration) {
	h.arrived += uint64(every.Seconds() * 20 * float64(len(h.services)+len(h.backends)))
	for n := range tcp.NumCounters {
		c.Set(tcp.Counter(n), 0)
	}
	c.Set(tcp.PassiveOpens, h.arrived)
	c.Set(tcp.ActiveOpens, h.arrived)
	c.Set(tcp.InSegs, 10*h.arrived)
	c.Set(tcp.OutSegs, 10*h.arrived)
	c.Set(tcp.CurrEstab, 60*uint64(len(h.scopes)))
}

// load is how many connections the source has: by night half of those by day,
// and some by chance.
func (h *Host) load(s *source, at time.Duration) float64 {
	day := 0.75 - 0.25*math.Cos(2*math.Pi*(at.Hours()/24+s.phase/12))
	return s.size * day * (0.95 + 0.1*h.random.Float64())
}

// fault is what is wrong with the source, and for how long it has been.
func (s *source) fault(at time.Duration) (kind Kind, since time.Duration) {
	for _, f := range s.faults {
		if at >= f.From && at < f.To {
			return f.Kind, at - f.From
		}
	}
	return 0, 0
}

// workers is how many a service has.
const workers = 150

func (h *Host) service(s *source, tier tcp.Tier, at, every time.Duration) measure.Tally {
	y := measure.Tally{Scope: s.id, Queue: measure.Queue{Listeners: 1, Limit: 511, Set: 1}}
	y.Capacity = measure.Capacity{Workers: workers, DescriptorsUsed: 200, DescriptorsLimit: 1 << 16}
	kind, since := s.fault(at)
	if kind == Exhaust {
		y.Queue.Depth = min(500, uint64(30*since.Seconds()))
	}
	if tier == tcp.Pulse {
		return y
	}
	y.Accepted = uint32(h.load(s, at))
	y.Busy = y.Accepted / 3
	switch kind {
	case Exhaust:
		y.Accepted, y.Busy = workers, workers
		y.Unaccepted = uint32(y.Queue.Depth)
		y.OldestUnaccepted = since
	case Close:
		y.AcceptedCloseWait = y.Accepted / 2
	}
	rate := uint32(y.Accepted/4) + h.random.Uint32N(3)
	y.States[tcp.CloseWait] = y.AcceptedCloseWait
	y.States[tcp.Established] = y.Accepted + y.Unaccepted - y.AcceptedCloseWait
	y.States[tcp.TimeWait] = y.Accepted / 5
	y.Flows = measure.Flows{Known: at > 0, New: rate, Gone: rate, Since: every, Scale: 1}
	return y
}

func (h *Host) backend(s *source, tier tcp.Tier, at, every time.Duration) measure.Tally {
	y := measure.Tally{Scope: s.id, Group: s.group}
	y.Capacity.Ports = 28232
	if tier == tcp.Pulse {
		return y
	}
	n := uint32(h.load(s, at))
	y.Accepted = n
	y.States[tcp.Established] = n
	y.States[tcp.TimeWait] = n / 10
	y.Flows = measure.Flows{Known: at > 0, New: n / 20, Gone: n / 20, Since: every, Scale: 1}
	kind, since := s.fault(at)
	if kind == 0 {
		y.Pending = n / 10
		y.PendingFor.Add(20*time.Millisecond, y.Pending)
		y.Peer = measure.Peer{
			Answering: n / 2, HeardAgo: time.Duration(h.random.IntN(40)) * time.Millisecond, LongestPending: 40 * time.Millisecond,
			Sent: 2 * n, Finished: n / 20, TimeWaitFree: n / 12,
		}
		y.Peer.Answers.Add(20*time.Millisecond, n/2)
		if h.random.IntN(10) == 0 {
			y.Peer.Resent = 1
		}
		return y
	}
	y.Flows.New, y.Flows.Gone = n/20, 0
	y.Pending = min(n, uint32(float64(n)*since.Seconds()/2))
	y.PendingFor.Add(since, y.Pending)
	y.Peer = measure.Peer{HeardAgo: since, LongestPending: since, Sent: n / 10}
	if kind == Blackhole {
		y.Retransmitting, y.Peer.Resent = y.Pending, y.Pending
	}
	if y.Pending > 0 {
		y.Examples = []tcp.Socket{{
			Local: netip.MustParseAddrPort("10.0.0.1:40000"), Remote: netip.MustParseAddrPort("10.0.0.2:80"), State: tcp.Established, Inode: 1, SendQueue: 200,
		}}
	}
	return y
}

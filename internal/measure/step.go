package measure

import (
	"time"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// Spans of the windows. The accept queue is judged in seconds, so its rates
// look back three; slopes over 60 s are what the lab measured
// (docs/SIGNALS.md).
const (
	rateSpan     = 3 * time.Second
	slopeSpan    = 60 * time.Second
	gaveUpSpan   = 10 * time.Second
	flowRateSpan = 10 * time.Second

	// fastestLook: 4 Hz, and at most four more looks a second while a finding is
	// suspected.
	fastestLook = 125 * time.Millisecond
)

// Measure turns tallies into signals. The zero value is not usable; see New.
type Measure struct {
	scopes   map[scope.ID]*history
	host     *history
	order    []*history
	counters *counterHistory
	view     View
}

// history is what Measure remembers of one scope.
type history struct {
	signals ScopeSignals
	// touched: a reading changed since the view was brought up to date;
	// stalesAt is when the next one grows stale.
	touched   bool
	stalesAt  time.Time
	drops     *Window
	dropSet   uint64
	dropped   float64 // listener drops since the start, over all sets of listeners
	lastSum   uint64
	slope     *Window // accepted
	gaveUp    *Window // un-accepted CLOSE_WAIT
	arrived   *Window // new flows, added up
	left      *Window
	newSum    float64
	goneSum   float64
	waiting   time.Time       // since when no pulse saw the queue empty
	workers   workers         // of a service
	backend   *backend        // of a backend
	namespace *counterHistory // of a backend, the counters of its namespace
}

// everyLook returns a window that takes a sample at each look and covers span
// whatever their pace.
func everyLook(span time.Duration) *Window { return NewWindow(span, int(span/fastestLook)+2) }

// New returns a Measure that has seen nothing, of our own namespace.
func New() *Measure { return NewIn("") }

// NewIn is New for the namespace of that name.
func NewIn(namespace string) *Measure {
	return &Measure{
		scopes:   make(map[scope.ID]*history),
		host:     newHistory(scope.Host.In(namespace)),
		counters: newCounterHistory(),
	}
}

func (m *Measure) newHistory(id scope.ID) *history {
	h := newHistory(id)
	h.namespace = m.counters
	return h
}

func newHistory(id scope.ID) *history {
	h := &history{
		signals: ScopeSignals{Scope: id},
		drops:   everyLook(rateSpan),
		slope:   everyLook(slopeSpan),
		gaveUp:  everyLook(gaveUpSpan),
		arrived: everyLook(flowRateSpan),
		left:    everyLook(flowRateSpan),
	}
	switch id.Kind {
	case scope.KindService:
		h.workers = newWorkers()
	case scope.KindBackend:
		h.workers = workers{leaked: everyLook(slopeSpan), usual: usualFlows(flowsLeast)}
		h.backend = newBackend()
	}
	return h
}

// Step takes the tallies of one look and returns every scope's signals at now.
// A look that may not be judged changes no signal: what it could not see
// grows stale. The view is good until the next Step.
func (m *Measure) Step(now time.Time, t Tallies) *View {
	if t.Look.Judgeable() {
		m.take(now, t)
	}
	m.view.At = now
	n := len(m.order) + 1
	if len(m.view.Scopes) != n {
		m.view.Scopes = make([]ScopeSignals, n)
	}
	for i, h := range m.order {
		h.show(now, &m.view.Scopes[i])
	}
	m.host.show(now, &m.view.Scopes[n-1])
	return &m.view
}

// show brings the view's copy of the signals up to date. Most scopes of most
// steps have nothing new: a pulse says nothing of backends.
func (h *history) show(now time.Time, to *ScopeSignals) {
	if !h.touched && now.Before(h.stalesAt) && to.Scope == h.signals.Scope {
		to.Fresh = false
		return
	}
	h.expire(now)
	h.signals.Fresh = true
	h.touched = false
	*to = h.signals
}

func (m *Measure) take(now time.Time, t Tallies) {
	states := t.Look.Request.States
	if states.Has(tcp.Listen) && t.Look.Request.Filter.IsZero() {
		m.keepOnly(t.Scopes)
	}
	ttl := time.Duration(StaleAfter * float64(t.Interval))
	var depth uint64
	for i := range t.Scopes {
		h := m.history(t.Scopes[i].Scope)
		if states.Has(tcp.Listen) && h.backend == nil {
			depth += t.Scopes[i].Queue.Depth // the rest's too: the kernel's counts are of all
		}
		if states.Has(tcp.Listen) && h.signals.Scope.Kind == scope.KindService {
			h.takeQueue(now, &t.Scopes[i], &t.Look, ttl)
		}
		if states != tcp.ListenOnly {
			h.takeSockets(now, &t.Scopes[i], &t.Look, ttl)
		}
	}
	if t.Look.Request.Tier == tcp.Pulse {
		m.counters.take(now, &t.Look.Counters, depth)
		m.counters.signals(now, m.host, ttl)
		for i := range t.Scopes {
			if h := m.scopes[t.Scopes[i].Scope]; h.signals.Scope.Kind == scope.KindService {
				h.judgeWait(now, m.counters, ttl)
			}
		}
	}
}

// Balancer takes what a load balancer itself says of a backend: up or not, as
// of seen. It stays good for ttl. A backend that is not there is passed over.
func (m *Measure) Balancer(id scope.ID, up bool, seen time.Time, ttl time.Duration) {
	h := m.scopes[id]
	if h == nil {
		return
	}
	value := 0.0
	if up {
		value = 1
	}
	h.set(seen, BalancerUp, value, 1, ttl)
}

func (m *Measure) history(id scope.ID) *history {
	h := m.scopes[id]
	if h == nil {
		h = m.newHistory(id)
		m.scopes[id] = h
		m.order = append(m.order, h)
	}
	return h
}

// keepOnly forgets the scopes that are no longer there and takes up the order
// of those that are.
func (m *Measure) keepOnly(tallies []Tally) {
	if len(tallies) == len(m.order) {
		same := true
		for i := range tallies {
			same = same && tallies[i].Scope == m.order[i].signals.Scope
		}
		if same {
			return
		}
	}
	kept := make(map[scope.ID]*history, len(tallies))
	m.order = m.order[:0]
	for i := range tallies {
		id := tallies[i].Scope
		h := m.scopes[id]
		if h == nil {
			h = m.newHistory(id)
		}
		kept[id] = h
		m.order = append(m.order, h)
	}
	m.scopes = kept
}

func (h *history) set(now time.Time, sig Signal, value float64, samples int, ttl time.Duration) {
	h.signals.Readings[sig] = Reading{Value: value, Samples: samples, Seen: now, Good: ttl, Validity: Known}
	h.touched = true
}

func (h *history) unknown(sig Signal, why Validity) {
	h.signals.Readings[sig].Validity = why
	h.touched = true
}

// expire marks what was seen too long ago, and notes when that is so next.
func (h *history) expire(now time.Time) {
	h.stalesAt = now.Add(time.Hour)
	for i := range h.signals.Readings {
		r := &h.signals.Readings[i]
		if r.Validity != Known && r.Validity != NotFilling {
			continue
		}
		stales := r.Until()
		if now.After(stales) {
			r.Validity = Stale
		} else if stales.Before(h.stalesAt) {
			h.stalesAt = stales
		}
	}
}

func (h *history) takeQueue(now time.Time, y *Tally, look *tcp.Look, ttl time.Duration) {
	q := &y.Queue
	h.set(now, Listeners, float64(q.Listeners), int(q.Listeners), ttl)
	if q.Listeners == 0 {
		for _, sig := range []Signal{QueueDepth, QueueLimit, QueueWait, ListenDropsRate} {
			h.unknown(sig, NoListener)
		}
		h.drops.Reset()
		return
	}
	h.set(now, QueueDepth, float64(q.Depth), int(q.Listeners), ttl)
	if look.Abilities.Has(tcp.CanQueueLimit) {
		h.set(now, QueueLimit, float64(q.Limit), int(q.Listeners), ttl)
	} else {
		h.unknown(QueueLimit, NoAbility)
	}
	if look.Request.Tier != tcp.Pulse {
		return // only the pulse asks for the drop counts
	}
	if !look.Abilities.Has(tcp.CanDrops) {
		h.unknown(ListenDropsRate, NoAbility)
		return
	}
	if q.Set == h.dropSet && h.drops.Len() > 0 {
		// The kernel's count is 32 bits wide per listener; it wraps upwards.
		h.dropped += float64(uint32(q.Drops - h.lastSum))
	}
	h.dropSet, h.lastSum = q.Set, q.Drops
	h.drops.Add(now, h.dropped)
	delta, over := h.drops.Change()
	if over <= 0 {
		h.unknown(ListenDropsRate, NotEnough)
		return
	}
	h.set(now, ListenDropsRate, delta/over.Seconds(), int(delta), ttl)
}

// stateSignals are the signals that are a plain count of one state.
var stateSignals = [...]struct {
	signal Signal
	state  tcp.State
}{
	{SynRecvCount, tcp.SynRecv}, {SynSentCount, tcp.SynSent}, {FinWait1Count, tcp.FinWait1},
	{FinWait2Count, tcp.FinWait2}, {TimeWaitCount, tcp.TimeWait}, {LastAckCount, tcp.LastAck},
	{ClosingCount, tcp.Closing},
}

func (h *history) takeSockets(now time.Time, y *Tally, look *tcp.Look, ttl time.Duration) {
	states := look.Request.States
	total := 0
	for _, n := range y.States {
		total += int(n)
	}
	for _, s := range stateSignals {
		if states.Has(s.state) {
			h.set(now, s.signal, float64(y.States[s.state]), total, ttl)
		}
	}
	if states.Has(tcp.CloseWait) {
		h.set(now, CloseWaitAccepted, float64(y.AcceptedCloseWait), total, ttl)
	}
	if states.Has(tcp.CloseWait) && h.backend == nil {
		h.set(now, CloseWaitUnaccepted, float64(y.UnacceptedCloseWait), total, ttl)
		h.gaveUp.Add(now, float64(y.UnacceptedCloseWait))
		if slope, _, ok := h.gaveUp.Slope(); ok {
			h.set(now, CloseWaitUnacceptedGrowth, slope, h.gaveUp.Len(), ttl)
		} else {
			h.unknown(CloseWaitUnacceptedGrowth, NotEnough)
		}
	}
	if states&^tcp.MaskOf(tcp.Listen, tcp.Close) != tcp.AllStates&^tcp.MaskOf(tcp.Listen, tcp.Close) {
		return // the rest needs to have seen every connection
	}
	h.signals.Examples = append(h.signals.Examples[:0], y.Examples...)
	h.set(now, Sockets, float64(total), total, ttl)
	h.set(now, EstablishedCount, float64(y.States[tcp.Established]), total, ttl)
	h.set(now, Accepted, float64(y.Accepted), total, ttl)
	h.set(now, Retransmitting, float64(y.Retransmitting), total, ttl)
	h.set(now, ZeroWindow, float64(y.ZeroWindow), total, ttl)
	h.takeFlows(now, &y.Flows, ttl)
	if h.backend == nil {
		h.set(now, Unaccepted, float64(y.Unaccepted), total, ttl)
		h.set(now, OldestUnaccepted, y.OldestUnaccepted.Seconds(), int(y.Unaccepted), ttl)
		if look.Abilities.Has(tcp.CanInfo) && look.Request.Info {
			h.set(now, Busy, float64(y.Busy), int(y.Accepted), ttl)
		} else {
			h.unknown(Busy, NoAbility)
		}
		h.takeSlope(now, float64(y.Accepted), ttl)
	}
	switch y.Scope.Kind {
	case scope.KindService:
		h.takeWorkers(now, y, look, ttl)
		h.signals.Prefixes = append(h.signals.Prefixes[:0], y.Prefixes...)
	case scope.KindBackend:
		h.signals.Group, h.signals.Behind = y.Group, y.Behind
		h.takePeer(now, y, look, ttl)
	}
}

func (h *history) takeSlope(now time.Time, accepted float64, ttl time.Duration) {
	h.slope.Add(now, accepted)
	if slope, _, ok := h.slope.Slope(); ok {
		h.set(now, AcceptedSlope, slope, h.slope.Len(), ttl)
	} else {
		h.unknown(AcceptedSlope, NotEnough)
	}
}

func (h *history) takeFlows(now time.Time, f *Flows, ttl time.Duration) {
	if f.Known {
		h.newSum += float64(f.New)
		h.goneSum += float64(f.Gone)
	} else {
		h.arrived.Reset()
		h.left.Reset()
	}
	h.arrived.Add(now, h.newSum)
	h.left.Add(now, h.goneSum)
	arrived, over := h.arrived.Change()
	left, _ := h.left.Change()
	if over <= 0 {
		h.unknown(NewFlowsRate, NotEnough)
		h.unknown(GoneFlowsRate, NotEnough)
		return
	}
	scale := float64(max(f.Scale, 1))
	h.set(now, NewFlowsRate, arrived/over.Seconds(), int(arrived/scale), ttl)
	h.set(now, GoneFlowsRate, left/over.Seconds(), int(left/scale), ttl)
}

// judgeWait works out how long a new connection waits to be accepted. It knows
// lower bounds only, and takes the largest:
//
//   - depth ÷ (what left all accept queues of the namespace per second): exact
//     when this service is the only one that accepts, low otherwise;
//   - for how long the queue has not been empty, when nothing at all was taken;
//   - the time the oldest one in the queue has waited already, seen by the
//     focus tier.
func (h *history) judgeWait(now time.Time, c *counterHistory, ttl time.Duration) {
	depth, known := h.signals.Readings[QueueDepth].Get()
	if !known {
		return // takeQueue said why
	}
	if depth == 0 {
		h.waiting = time.Time{}
		h.set(now, QueueWait, 0, 0, ttl)
		return
	}
	if h.waiting.IsZero() {
		h.waiting = now
	}
	wait, have := 0.0, false
	if drained, over, ok := c.drained(); ok {
		wait, have = now.Sub(h.waiting).Seconds(), true
		if drained >= 1 {
			wait = depth * over.Seconds() / drained
		}
	}
	if oldest := &h.signals.Readings[OldestUnaccepted]; oldest.Validity == Known && !now.After(oldest.Until()) {
		wait, have = max(wait, oldest.Value), true
	}
	if !have {
		h.unknown(QueueWait, NotEnough)
		return
	}
	h.set(now, QueueWait, wait, int(depth), ttl)
}

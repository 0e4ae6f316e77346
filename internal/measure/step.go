package measure

import (
	"slices"
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
	norms    norms
	view     View
}

// history is what Measure remembers of one scope.
type history struct {
	signals ScopeSignals
	// now is when the look in hand was made, and goodFor for how long what it
	// says may be relied on; see begin.
	now     time.Time
	goodFor time.Duration
	// touched: a reading changed since the view was brought up to date; none
	// grows stale before stalesAt.
	touched   bool
	stalesAt  time.Time
	drops     *Window
	dropSet   uint64
	lastSum   uint64
	slope     *Window // accepted
	gaveUp    *Window // un-accepted CLOSE_WAIT
	arrived   *Window // new flows, added up
	left      *Window
	waiting   time.Time       // since when no pulse saw the queue empty
	workers   workers         // of a service
	backend   *backend        // of a backend, and of a region
	region    *region         // of a region
	namespace *counterHistory // the counters of its namespace
}

// everyLook returns a window that takes a sample at each look and covers span
// whatever their pace.
func everyLook(span time.Duration) *Window { return NewWindow(span, int(span/fastestLook)+2) }

// New returns a Measure that has seen nothing, of the namespace of that name;
// empty for our own.
func New(namespace string) *Measure {
	counters := newCounterHistory()
	return &Measure{
		scopes:   make(map[scope.ID]*history),
		host:     newHistory(scope.Host.In(namespace), counters),
		counters: counters,
	}
}

func newHistory(id scope.ID, namespace *counterHistory) *history {
	h := &history{
		signals:   ScopeSignals{Scope: id},
		drops:     everyLook(rateSpan),
		slope:     everyLook(slopeSpan),
		gaveUp:    everyLook(gaveUpSpan),
		arrived:   everyLook(flowRateSpan),
		left:      everyLook(flowRateSpan),
		namespace: namespace,
	}
	switch id.Kind {
	case scope.KindService:
		h.workers = newWorkers()
	case scope.KindBackend, scope.KindRegion:
		h.workers = workers{leaked: everyLook(slopeSpan), usual: usualFlows(flowsLeast)}
		h.backend = newBackend()
		if id.Kind == scope.KindRegion {
			h.region = newRegion()
		}
	}
	return h
}

// Step takes the tallies of one look and returns every scope's signals at now.
// A look that may not be judged changes no signal of its own: what it could not
// see grows stale. The view is good until the next Step.
func (m *Measure) Step(now time.Time, t Tallies) *View {
	for _, o := range t.Opinions {
		m.opinion(o)
	}
	m.takeNorms(t.Norms)
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
	if !now.Before(h.stalesAt) {
		h.expire(now)
	}
	if !h.touched && now.Before(h.stalesAt) && to.Scope == h.signals.Scope {
		to.Fresh = false
		return
	}
	h.signals.Fresh = true
	h.touched = false
	*to = h.signals
}

func (m *Measure) take(now time.Time, t Tallies) {
	states := t.Look.Request.States
	if states.Has(tcp.Listen) && t.Look.Request.Filter.IsZero() {
		m.keepOnly(t.Scopes)
	}
	good := goodFor(&t)
	var depth uint64
	at := 0
	for i := range t.Scopes {
		h := m.next(&at, t.Scopes[i].Scope)
		h.begin(now, good)
		if states.Has(tcp.Listen) && h.backend == nil {
			depth += t.Scopes[i].Queue.Depth // the rest's too: the kernel's counts are of all
		}
		if states.Has(tcp.Listen) && h.signals.Scope.Kind == scope.KindService {
			h.takeQueue(&t.Scopes[i], &t.Look)
		}
		if states != tcp.ListenOnly {
			h.takeSockets(&t.Scopes[i], &t.Look)
		}
	}
	if t.Look.Request.Tier == tcp.Pulse {
		m.counters.take(now, &t.Look.Counters, depth)
		m.host.begin(now, good)
		m.counters.signals(m.host)
		at = 0
		for i := range t.Scopes {
			if t.Scopes[i].Scope.Kind == scope.KindService {
				m.next(&at, t.Scopes[i].Scope).judgeWait(m.counters)
			}
		}
	}
}

// goodFor is how long what a look says may be relied on. That one at connections
// comes more often while something is suspected makes it good for no less: on a
// busy host those looks come late, and none of them would count.
func goodFor(t *Tallies) time.Duration {
	interval := t.Interval
	if t.Look.Request.Tier != tcp.Pulse {
		interval = max(interval, usualLook)
	}
	return time.Duration(StaleAfter * float64(interval))
}

// opinion takes what a balancer says of a backend. One that is not there is
// passed over.
func (m *Measure) opinion(o Opinion) {
	h := m.scopes[o.Scope]
	if h == nil {
		return
	}
	value := 0.0
	if o.Up {
		value = 1
	}
	h.begin(o.Seen, o.Good)
	h.set(BalancerUp, value, 1)
}

// begin takes up what a look of now says, which may be relied on for so long.
func (h *history) begin(now time.Time, good time.Duration) {
	h.now, h.goodFor = now, good
	if until := now.Add(good); until.Before(h.stalesAt) {
		h.stalesAt = until
	}
}

// next returns the history of a scope. Looks have them in order, all or some:
// it is most often the one at a place that moves on, from zero in each look.
func (m *Measure) next(at *int, id scope.ID) *history {
	for i := *at; i < min(*at+2, len(m.order)); i++ {
		if m.order[i].signals.Scope == id {
			*at = i + 1
			return m.order[i]
		}
	}
	return m.history(id)
}

func (m *Measure) history(id scope.ID) *history {
	h := m.scopes[id]
	if h == nil {
		h = newHistory(id, m.counters)
		h.signals.Norms = m.norms.of[id]
		m.scopes[id] = h
		m.order = append(m.order, h)
	}
	return h
}

// keepOnly forgets the scopes that are no longer there and takes up the order
// of those that are.
func (m *Measure) keepOnly(tallies []Tally) {
	same := len(tallies) == len(m.order)
	for i := range tallies {
		same = same && tallies[i].Scope == m.order[i].signals.Scope
	}
	if same {
		return
	}
	kept := make(map[scope.ID]*history, len(tallies))
	m.order = m.order[:0]
	for i := range tallies {
		id := tallies[i].Scope
		h := m.scopes[id]
		if h == nil {
			h = newHistory(id, m.counters)
			h.signals.Norms = m.norms.of[id]
		}
		kept[id] = h
		m.order = append(m.order, h)
	}
	m.scopes = kept
}

// set takes what the look in hand says of a signal.
func (h *history) set(sig Signal, value float64, samples int) {
	h.signals.Readings[sig] = Reading{Value: value, Samples: samples, Seen: h.now, Good: h.goodFor, Validity: Known}
	h.touched = true
}

// unknown says why signals cannot be told.
func (h *history) unknown(why Validity, sigs ...Signal) {
	for _, sig := range sigs {
		h.signals.Readings[sig].Validity = why
	}
	h.touched = true
}

// setIf sets a signal where it is known, and says why not where it is not.
func (h *history) setIf(known bool, sig Signal, value float64, samples int, why Validity) {
	if known {
		h.set(sig, value, samples)
	} else {
		h.unknown(why, sig)
	}
}

// setRate sets a signal to how many events a second the window has counted.
func (h *history) setRate(sig Signal, w *Window) {
	events, over := w.Change()
	h.setIf(over > 0, sig, events/over.Seconds(), int(events), NotEnough)
}

// expire marks what was seen too long ago, and notes when that is so next. A
// reading that is seen again until then makes it later than that.
func (h *history) expire(now time.Time) {
	h.stalesAt = now.Add(time.Hour)
	for i := range h.signals.Readings {
		r := &h.signals.Readings[i]
		if r.Validity != Known && r.Validity != NotFilling {
			continue
		}
		stales := r.Until()
		if now.After(stales) {
			r.Validity, h.touched = Stale, true
		} else if stales.Before(h.stalesAt) {
			h.stalesAt = stales
		}
	}
}

func (h *history) takeQueue(y *Tally, look *tcp.Look) {
	q := &y.Queue
	h.set(Listeners, float64(q.Listeners), int(q.Listeners))
	if q.Listeners == 0 {
		h.unknown(NoListener, QueueDepth, QueueLimit, QueueWait, ListenDropsRate)
		h.drops.Reset()
		return
	}
	h.set(QueueDepth, float64(q.Depth), int(q.Listeners))
	h.setIf(look.Abilities.Has(tcp.CanQueueLimit), QueueLimit, float64(q.Limit), int(q.Listeners), NoAbility)
	if look.Request.Tier != tcp.Pulse {
		return // only the pulse asks for the drop counts
	}
	if !look.Abilities.Has(tcp.CanDrops) {
		h.unknown(NoAbility, ListenDropsRate)
		return
	}
	dropped := 0.0
	if q.Set == h.dropSet && h.drops.Len() > 0 {
		// The kernel's count is 32 bits wide per listener; it wraps upwards.
		dropped = float64(uint32(q.Drops - h.lastSum))
	}
	h.dropSet, h.lastSum = q.Set, q.Drops
	h.drops.Count(h.now, dropped)
	h.setRate(ListenDropsRate, h.drops)
}

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
	if states.Has(tcp.CloseWait) && h.backend == nil {
		h.set(CloseWaitUnaccepted, float64(y.UnacceptedCloseWait), total)
		h.gaveUp.Add(h.now, float64(y.UnacceptedCloseWait))
		trend, ok := h.gaveUp.Trend()
		h.setIf(ok, CloseWaitUnacceptedGrowth, trend.PerSecond, h.gaveUp.Len(), NotEnough)
	}
	if states&^tcp.MaskOf(tcp.Listen, tcp.Close) != tcp.AllStates&^tcp.MaskOf(tcp.Listen, tcp.Close) {
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
	if h.backend == nil {
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
	case scope.KindRest:
		h.takeUnclassified(y)
	}
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

// judgeWait works out how long a new connection waits to be accepted. It knows
// lower bounds only, and takes the largest:
//
//   - depth ÷ (what left all accept queues of the namespace per second): exact
//     when this service is the only one that accepts, low otherwise;
//   - for how long the queue has not been empty, when nothing at all was taken;
//   - the time the oldest one in the queue has waited already, seen by the
//     focus tier.
func (h *history) judgeWait(c *counterHistory) {
	now := h.now
	depth, known := h.signals.Readings[QueueDepth].Get()
	if !known {
		return // takeQueue said why
	}
	if depth == 0 {
		h.waiting = time.Time{}
		h.set(QueueWait, 0, 0)
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
		h.unknown(NotEnough, QueueWait)
		return
	}
	h.set(QueueWait, wait, int(depth))
}

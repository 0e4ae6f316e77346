package measure

import (
	"time"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
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

// Step takes the tallies of one look and returns every scope's signals at now.
// A look that may not be judged changes no signal of its own: what it could not
// see grows stale. The view is good until the next Step.
func (m *Measure) Step(now time.Time, t Tallies) *View {
	for _, o := range t.Opinions {
		m.opinion(o)
	}
	for _, a := range t.Answers {
		m.answered(a)
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
	if seesAll(states) {
		m.takeSwitches(t.Scopes)
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

// takeSwitches measures what needs both sides of one look.
func (m *Measure) takeSwitches(tallies []Tally) {
	for i := 1; i < len(tallies); i++ {
		old, fresh := &tallies[i-1], &tallies[i]
		if side, ok := old.Scope.Side(); !ok || side != scope.OldSide || fresh.Scope.Kind != scope.KindAddress || fresh.Group != old.Group {
			continue
		}
		takeSwitch(m.history(old.Scope), m.history(fresh.Scope), old, fresh)
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

package baseline

import (
	"math"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// MostScopes is how many scopes a Minutes follows. Each takes about 3 KB.
const MostScopes = 1000

// forgetAfter is how many minutes a scope may not be looked at before it is
// forgotten; one that is back then has a reading counted twice at worst.
const forgetAfter = 10

// Minutes gathers what signals are, minute by minute. The zero value is not
// usable; see NewMinutes.
type Minutes struct {
	kinds    [numKinds]kindPlan
	scopes   map[scope.ID]*gathered
	order    []*gathered
	start    time.Time // of the minute in hand
	leftOut  int
	finished Minute
}

const numKinds = int(scope.KindRest) + 1

// kindPlan is which signals a kind of scope has, and which of them are learned.
type kindPlan struct {
	signals []measure.Signal
	lessons []measure.Lesson // those of the kind
	lesson  []int8           // by place in signals: its place in lessons, or -1
}

// gathered is what the minute in hand has seen of one scope.
type gathered struct {
	scope    scope.ID
	group    string
	slots    []slot   // by place in the kind's signals
	sketches []Sketch // by place in the kind's lessons
	looked   bool
	idle     int // minutes since it was looked at
}

type slot struct {
	seen                 time.Time // of the last value that was counted
	looks                uint32
	least, sum, greatest float64
}

// NewMinutes returns a Minutes that has seen nothing.
func NewMinutes() *Minutes {
	m := &Minutes{scopes: make(map[scope.ID]*gathered)}
	for kind := range m.kinds {
		plan := &m.kinds[kind]
		for _, l := range measure.Lessons() {
			if l.AppliesTo(scope.Kind(kind)) {
				plan.lessons = append(plan.lessons, l)
			}
		}
		for _, sig := range measure.Signals() {
			if !sig.AppliesTo(scope.Kind(kind)) {
				continue
			}
			at := int8(-1)
			for i := range plan.lessons {
				if plan.lessons[i].Signal == sig {
					at = int8(i)
				}
			}
			plan.signals, plan.lesson = append(plan.signals, sig), append(plan.lesson, at)
		}
	}
	return m
}

// LeftOut is how many views had a scope beyond MostScopes since the last call.
func (m *Minutes) LeftOut() int {
	n := m.leftOut
	m.leftOut = 0
	return n
}

// Take takes a view, of one namespace or of all, at a time of the wall clock.
// The first one of another minute, later or earlier, ends the one in hand, which
// is returned and good until the next call; nil while none has ended.
func (m *Minutes) Take(wall time.Time, view *measure.View) *Minute {
	var ended *Minute
	if start := wall.UTC().Truncate(time.Minute); !start.Equal(m.start) {
		ended = m.finish()
		m.start = start
	}
	for i := range view.Scopes {
		if s := &view.Scopes[i]; s.Fresh {
			m.takeScope(s)
		}
	}
	return ended
}

func (m *Minutes) takeScope(s *measure.ScopeSignals) {
	g := m.scopes[s.Scope]
	if g == nil {
		if g = m.add(s.Scope); g == nil {
			m.leftOut++
			return
		}
	}
	plan := &m.kinds[s.Scope.Kind]
	for i, sig := range plan.signals {
		r, at := &s.Readings[sig], &g.slots[i]
		if r.Validity != measure.Known || r.Seen.Equal(at.seen) || math.IsNaN(r.Value) || math.IsInf(r.Value, 0) {
			continue
		}
		at.seen = r.Seen
		if at.looks == 0 {
			at.least, at.sum, at.greatest = r.Value, 0, r.Value
		}
		at.looks++
		at.least, at.sum, at.greatest = min(at.least, r.Value), at.sum+r.Value, max(at.greatest, r.Value)
		if n := plan.lesson[i]; n >= 0 && r.Samples >= plan.lessons[n].Samples && m.isSample(plan.lessons[n].Sampled, &g.sketches[n]) {
			g.sketches[n].Add(r.Value)
		}
		g.looked = true
	}
	g.group = s.Group
}

// isSample reports whether the next value is one that is learned, where the
// minute in hand has learned so much.
func (m *Minutes) isSample(how measure.Sampling, so *Sketch) bool {
	return how == measure.EveryLook || m.start.Minute() == 0 && so.isEmpty()
}

func (m *Minutes) add(id scope.ID) *gathered {
	if len(m.order) >= MostScopes || int(id.Kind) >= numKinds {
		return nil
	}
	plan := &m.kinds[id.Kind]
	g := &gathered{scope: id, slots: make([]slot, len(plan.signals)), sketches: make([]Sketch, len(plan.lessons))}
	m.scopes[id] = g
	m.order = append(m.order, g)
	return g
}

// finish hands out the minute in hand and begins the next; nil when nothing was
// seen in it.
func (m *Minutes) finish() *Minute {
	out := &m.finished
	out.Start, out.Scopes = m.start, out.Scopes[:0]
	kept := m.order[:0]
	for _, g := range m.order {
		if !g.looked {
			if g.idle++; g.idle >= forgetAfter {
				delete(m.scopes, g.scope)
				continue
			}
			kept = append(kept, g)
			continue
		}
		kept = append(kept, g)
		n := len(out.Scopes)
		if n < cap(out.Scopes) {
			out.Scopes = out.Scopes[:n+1] // with the room of an earlier minute
		} else {
			out.Scopes = append(out.Scopes, Row{})
		}
		g.hand(&m.kinds[g.scope.Kind], &out.Scopes[n])
	}
	clear(m.order[len(kept):])
	m.order = kept
	if len(out.Scopes) == 0 {
		return nil
	}
	return out
}

// hand makes a row of what was gathered, and begins anew.
func (g *gathered) hand(plan *kindPlan, to *Row) {
	to.Scope, to.Group, to.Ranges = g.scope, g.group, to.Ranges[:0]
	sketches := to.Sketches[:cap(to.Sketches)]
	used := 0
	for i, sig := range plan.signals {
		at := &g.slots[i]
		if at.looks == 0 {
			continue
		}
		mean := min(max(at.sum/float64(at.looks), at.least), at.greatest)
		to.Ranges = append(to.Ranges, Range{sig, int(at.looks), at.least, mean, at.greatest})
		at.looks = 0
		n := plan.lesson[i]
		if n < 0 {
			continue
		}
		if s := &g.sketches[n]; !s.isEmpty() {
			if used == len(sketches) {
				sketches = append(sketches, Sampled{})
			}
			sketches[used].Signal = sig
			s.copyTo(&sketches[used].Sketch)
			used++
			s.clear()
		}
	}
	to.Sketches = sketches[:used]
	g.looked, g.idle = false, 0
}

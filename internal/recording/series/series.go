// Package series makes graphs of the past: what some signals of one scope were
// over a span, in a bounded number of points.
//
//	s := series.New(wanted)
//	s.Warm(step)     // raw tallies of before, in order
//	s.Step(step)     // those to draw
//	s.Minute(minute) // minutes, in order, for what has no raw tallies
//	drawn := s.Signals()
//
// Raw tallies go through the agent's own measure, so that a point is what a rule
// was given. What was not known is a point that says so, and what nobody looked
// at is no point: neither is ever zero. It is pure.
package series

import (
	"math"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/measure/baseline"
	"github.com/foreshock/foreshock/internal/recording/replay"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

const (
	// MostPoints is how many points a signal has at most.
	MostPoints = 600
	// leastStep is the shortest time that a point stands for: a busy scope is
	// looked at each second.
	leastStep = time.Second
	// NotKept is why a signal is unknown in a minute: minutes do not keep why.
	NotKept = "not_kept"
)

// Wanted is what to draw. Times are the wall's.
type Wanted struct {
	Scope   scope.ID
	Signals []measure.Signal
	// From and To bound the span; To is not part of it. To after From.
	From, To time.Time
}

// Point is what a signal was for a while.
type Point struct {
	At                    time.Time // UTC
	For                   time.Duration
	Least, Mean, Greatest float64
	// Unknown says why there is no value, as measure.Validity does, or NotKept;
	// empty where there is one.
	Unknown string
}

// Signal is what one signal was. Where time is missing between two points
// nobody looked.
type Signal struct {
	Signal measure.Signal
	// Scope is the wanted one, or the host of its namespace for what only that
	// has.
	Scope  scope.ID
	Points []Point // in order of time, MostPoints at most
}

// Source is what points were made of.
type Source string

// The sources.
const (
	Raw     Source = "raw"
	Minutes Source = "minutes"
)

// Span is a time that was answered by one source.
type Span struct {
	From, To time.Time
	Source   Source
}

// Series draws. It is not safe for concurrent use.
type Series struct {
	wanted  Wanted
	step    time.Duration
	player  *replay.Player
	few     []measure.Tally // used again
	sources []Source        // of each place; empty: nobody looked
	drawn   []drawn
}

// drawn is one signal on its way.
type drawn struct {
	signal measure.Signal
	scope  scope.ID
	seen   time.Time // of the reading that was counted last
	places []place
}

// place is one point on its way.
type place struct {
	readings             int
	least, sum, greatest float64
	unknown              string
	begins               time.Time // of a minute; zero: with its place
	lasts                time.Duration
}

// New returns a Series without a point. Signals that neither the scope nor its
// host can have are left out.
func New(w Wanted) *Series {
	w.From, w.To = w.From.UTC().Truncate(leastStep), w.To.UTC()
	whole := max(leastStep, w.To.Sub(w.From))
	step := max(leastStep, time.Duration(math.Ceil(whole.Seconds()/MostPoints))*time.Second)
	s := &Series{wanted: w, step: step, player: replay.New(nil), sources: make([]Source, (whole+step-1)/step)}
	for _, sig := range w.Signals {
		d := drawn{signal: sig, scope: w.Scope, places: make([]place, len(s.sources))}
		if !sig.AppliesTo(w.Scope.Kind) {
			d.scope = scope.Host.In(w.Scope.Namespace)
		}
		if sig.AppliesTo(d.scope.Kind) {
			s.drawn = append(s.drawn, d)
		}
	}
	return s
}

// Resolution is the time that a point of raw tallies stands for.
func (s *Series) Resolution() time.Duration { return s.step }

// at is the place of a time; ok is false outside of the span.
func (s *Series) at(wall time.Time) (i int, ok bool) {
	if wall.Before(s.wanted.From) || !wall.Before(s.wanted.To) {
		return 0, false
	}
	return min(int(wall.Sub(s.wanted.From)/s.step), len(s.sources)-1), true
}

// Warm takes raw tallies, of any namespace, that are only to be remembered: what
// is drawn afterwards rests on them too.
func (s *Series) Warm(step measure.Step) {
	if step.Namespace != s.wanted.Scope.Namespace {
		return
	}
	step.Tallies.Scopes = s.needed(&step.Tallies)
	s.player.Step(step)
}

// needed are the tallies that the wanted signals rest on: those of the scope
// itself, and in a pulse all queues, whose sum a queue's wait comes of. It makes
// a host of a hundred scopes as cheap as one of a few.
func (s *Series) needed(t *measure.Tallies) []measure.Tally {
	s.few = s.few[:0]
	for i := range t.Scopes {
		id := t.Scopes[i].Scope
		queue := id.Kind != scope.KindBackend && id.Kind != scope.KindRegion && t.Look.Request.Tier == tcp.Pulse
		if id == s.wanted.Scope || queue {
			s.few = append(s.few, t.Scopes[i])
		}
	}
	return s.few
}

// Step takes raw tallies of any namespace, and draws those within the span.
func (s *Series) Step(step measure.Step) {
	s.Warm(step)
	i, ok := s.at(step.At.Add(step.Offset))
	view := s.player.View()
	if !ok || view == nil || step.Namespace != s.wanted.Scope.Namespace {
		return
	}
	s.sources[i] = Raw
	for d := range s.drawn {
		s.drawn[d].take(i, view)
	}
}

// take takes one reading: each once, and again where it still holds in the next
// place.
func (d *drawn) take(i int, view *measure.View) {
	p := &d.places[i]
	signals := view.Scope(d.scope)
	if signals == nil {
		if p.readings == 0 {
			p.unknown = measure.NeverSeen.String()
		}
		return
	}
	r := signals.Get(d.signal)
	value, unknown := r.Shown()
	switch {
	case value == nil:
		if p.readings == 0 {
			p.unknown = unknown
		}
	case p.readings == 0 || !r.Seen.Equal(d.seen):
		d.seen = r.Seen
		p.add(1, *value, *value, *value)
	}
}

// add adds so many readings.
func (p *place) add(readings int, least, mean, greatest float64) {
	if p.readings == 0 {
		p.least, p.sum, p.greatest, p.unknown = least, 0, greatest, ""
	}
	p.readings += readings
	p.least, p.greatest = min(p.least, least), max(p.greatest, greatest)
	p.sum += mean * float64(readings)
}

// Minute takes what a minute was, unless raw tallies have told of its beginning.
// It must come after these.
func (s *Series) Minute(m *baseline.Minute) {
	i, ok := s.at(m.Start)
	if !ok || s.sources[i] == Raw {
		return
	}
	s.sources[i] = Minutes
	for k := range s.drawn {
		d := &s.drawn[k]
		p := &d.places[i]
		if p.lasts == 0 {
			p.begins = m.Start
		}
		p.lasts = max(p.lasts, m.Start.Add(time.Minute).Sub(p.begins))
		x, known := ranged(m, d.scope, d.signal)
		if known {
			p.add(x.Looks, x.Least, x.Mean, x.Greatest)
		} else if p.readings == 0 {
			p.unknown = NotKept
		}
	}
}

func ranged(m *baseline.Minute, of scope.ID, sig measure.Signal) (x baseline.Range, known bool) {
	for i := range m.Scopes {
		if m.Scopes[i].Scope != of {
			continue
		}
		for _, x := range m.Scopes[i].Ranges {
			if x.Signal == sig && x.Looks > 0 {
				return x, true
			}
		}
	}
	return baseline.Range{}, false
}

// Signals is what was drawn, in the order in which it was wanted.
func (s *Series) Signals() []Signal {
	out := make([]Signal, 0, len(s.drawn))
	for k := range s.drawn {
		d := &s.drawn[k]
		x := Signal{Signal: d.signal, Scope: d.scope, Points: []Point{}}
		for i := range d.places {
			if s.sources[i] == "" {
				continue
			}
			p := &d.places[i]
			point := Point{At: s.wanted.From.Add(time.Duration(i) * s.step), For: s.step, Unknown: p.unknown}
			if s.sources[i] == Minutes {
				point.At, point.For = p.begins.UTC(), p.lasts
			}
			if p.readings > 0 {
				point.Least, point.Mean, point.Greatest, point.Unknown = p.least, p.sum/float64(p.readings), p.greatest, ""
			}
			if last := len(x.Points) - 1; last >= 0 {
				x.Points[last].For = min(x.Points[last].For, point.At.Sub(x.Points[last].At))
			}
			x.Points = append(x.Points, point)
		}
		out = append(out, x)
	}
	return out
}

// Spans says what answered for which time, in order; what is missing nobody
// looked at.
func (s *Series) Spans() []Span {
	out := []Span{}
	for i, source := range s.sources {
		if source == "" {
			continue
		}
		from := s.wanted.From.Add(time.Duration(i) * s.step)
		to := from.Add(s.step)
		if source == Minutes {
			to = from.Add(max(s.step, time.Minute))
		}
		if last := len(out) - 1; last >= 0 && out[last].Source == source && !from.After(out[last].To) {
			out[last].To = to
			continue
		} else if last >= 0 && out[last].To.After(from) {
			out[last].To = from
		}
		out = append(out, Span{from, to, source})
	}
	return out
}

// Package replay plays recorded steps through the agent's own measure and judge
// and tells what became of it, change by change. The same steps and rules give
// the same changes, byte for byte.
//
//	p := replay.New(rules)
//	for {
//		step, err := source.Next() // io.EOF at the end
//		…
//		for _, change := range p.Changes(step) { … }
//	}
//
// It is pure, and its memory grows with scopes, never with the recording.
package replay

import (
	"cmp"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/court"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/rule"
)

// Source gives the steps of a recording in order, and io.EOF at its end. A step
// is good until the next.
type Source interface {
	Next() (measure.Step, error)
}

// Player plays one recording. It is not safe for concurrent use.
type Player struct {
	rules    []rule.Rule
	numbers  *judge.Numbers
	court    *court.Court
	follower Follower
	view     *measure.View
	at       time.Time // of the last step
	began    time.Time // the run that it is of
}

// New returns a Player that judges by the causes and these rules, whose names
// must be unique.
func New(rules []rule.Rule) *Player {
	p := &Player{rules: rules, numbers: &judge.Numbers{}}
	p.court = court.New(rules, p.numbers)
	return p
}

// Step takes one step and returns the incidents of all namespaces: the
// suspected and the open ones, then the lately resolved, newest first. They are
// good until the next step. A step of another run of the agent begins anew: that
// one knew nothing of what was before. Where the run is not known, a step before
// the last one is of another, as the pipeline's clock never goes back.
func (p *Player) Step(s measure.Step) []judge.Incident {
	if s.At.Before(p.at) || !s.Began.Equal(p.began) && !p.at.IsZero() {
		p.court = court.New(p.rules, p.numbers)
	}
	_, p.view = p.court.Step(s)
	p.at, p.began = s.At, s.Began
	return p.court.Incidents(s.At)
}

// View is what the last step measured, of its namespace alone; good until the
// next one. It is nil before the first, and where the step says that the
// namespace was left.
func (p *Player) View() *measure.View { return p.view }

// Incidents are those of the last step.
func (p *Player) Incidents() []judge.Incident { return p.court.Incidents(p.at) }

// Kind is what happened to an incident.
type Kind string

// The kinds, in the order of a life.
const (
	Suspected Kind = "suspect"
	Dropped   Kind = "dropped" // it was nothing
	Opened    Kind = "open"
	Worse     Kind = "worse"
	Resolved  Kind = "resolved"
)

// entering is what a state that is new to an incident is called.
var entering = map[judge.State]Kind{judge.Suspected: Suspected, judge.Open: Opened, judge.Resolved: Resolved}

// Change is one step of an incident's life.
type Change struct {
	// At is when, on the wall's clock as far as it was known then; UTC.
	At   time.Time
	Kind Kind
	// Incident is as it then is, its times on the pipeline's clock; Offset
	// leads from that to the wall's.
	Incident judge.Incident
	Offset   time.Duration
}

// Changes takes one step and returns what it changed, in the order of the
// incidents' numbers. They are good until the next step, what they hold for
// ever.
func (p *Player) Changes(s measure.Step) []Change {
	incidents := p.Step(s)
	return p.follower.Changes(s.At, s.Offset, p.court.Life(), incidents)
}

// Follower tells the changes between one list of incidents and the next. The
// zero value has seen none.
type Follower struct {
	known   map[uint64]standing // those of the last list
	life    uint64
	round   uint64 // of comparing
	changes []Change
}

// standing is an incident as it was last.
type standing struct {
	incident judge.Incident
	round    uint64
}

// Changes takes a court's incidents as they are at a time, and their life; see
// court.Court. offset leads from the pipeline's clock to the wall's. The result
// is good until the next call.
func (f *Follower) Changes(at time.Time, offset time.Duration, life uint64, incidents []judge.Incident) []Change {
	if life == f.life {
		return nil
	}
	if f.known == nil {
		f.known = make(map[uint64]standing)
	}
	f.life, f.changes = life, f.changes[:0]
	f.round++
	tell := func(kind Kind, i *judge.Incident) {
		f.changes = append(f.changes, Change{At: at.Add(offset).UTC(), Kind: kind, Incident: *i, Offset: offset})
	}
	for i := range incidents {
		inc := &incidents[i]
		was := f.known[inc.ID].incident
		switch {
		case inc.State != was.State:
			tell(entering[inc.State], inc)
		case inc.State == judge.Open && inc.Peak > was.Peak:
			tell(Worse, inc)
		}
		f.known[inc.ID] = standing{*inc, f.round}
	}
	for id, was := range f.known {
		if was.round == f.round {
			continue
		}
		switch was.incident.State {
		case judge.Suspected:
			tell(Dropped, &was.incident)
		case judge.Open: // more ended at once than are remembered
			tell(Resolved, &was.incident)
		}
		delete(f.known, id)
	}
	slices.SortFunc(f.changes, func(a, b Change) int { return cmp.Compare(a.Incident.ID, b.Incident.ID) })
	return f.changes
}

package respond

import (
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/scope"
)

// Workflow is the response to what one scope suffers, under one key. Times are
// on the pipeline's steady clock.
type Workflow struct {
	// ID is unique among the workflows of a host.
	ID    string
	Scope scope.ID
	Key   string
	Began time.Time
	// OverSince is since when none of its incidents is open; zero while one is.
	OverSince time.Time
	// Incidents are the numbers of those it knows, the first one first; those
	// from before a restart too.
	Incidents []uint64
	// AcknowledgedBy is who took one of them; empty while nobody did.
	AcknowledgedBy string
	// Steps are what was taken, in that order, and then what is planned.
	Steps []Taken
}

// Taken is a step of a workflow.
type Taken struct {
	// Step is the id of the configured step, or what else happened: an
	// escalation at once, the end.
	Step  string
	Kind  Kind
	State State
	// At is when it was taken; when it is due while it is planned.
	At   time.Time
	What string // for a person
	// Detail is JSON of whoever did it; nil for none.
	Detail []byte
}

// Number is what an incident rests on, at one time.
type Number struct {
	Cause  string  `json:"cause"`
	Signal string  `json:"signal"`
	Unit   string  `json:"unit"`
	Value  float64 `json:"value"`
	Level  float64 `json:"level"` // that it is held against
	// Bad is the side of its level on which it was as this began: "above", which
	// is at it too, or "below".
	Bad string `json:"bad"`
}

// gap is how far it is on the bad side of its level; negative on the good one.
func (n Number) gap() float64 {
	if n.Bad == below {
		return n.Level - n.Value
	}
	return n.Value - n.Level
}

const (
	above = "above"
	below = "below"
)

// condition is how bad it is, to be held against a later time.
type condition struct {
	Severity judge.Severity
	Numbers  []Number
}

// workflow is a Workflow with what its planner must know beside.
type workflow struct {
	Workflow
	// before is how it was when the hook was taken, or without one at the start.
	before condition
	// told are the channels that this workflow itself has told; said the number
	// of the incident of each subject that they know of, 0 for one of before a
	// restart.
	told      []string
	said      map[string]uint64
	closed    bool      // a look has said that it is resolved
	escalated bool      // at once, for a step that failed or did not help
	restored  bool      // nothing of it has been seen since a restart
	since     time.Time // it is open again, or was last; zero: since its beginning
	dirty     bool
	now       []*judge.Incident // those of the list under look, the oldest first
	changed   map[string]bool   // steps to be recorded anew
	fresh     map[uint64]bool   // incidents that lack all records
}

func (w *workflow) step(id string) *Taken {
	at := slices.IndexFunc(w.Steps, func(t Taken) bool { return t.Step == id })
	if at < 0 {
		return nil
	}
	return &w.Steps[at]
}

// take notes a step, or its new state.
func (w *workflow) take(t Taken) {
	if known := w.step(t.Step); known != nil {
		t.At = known.At
		*known = t
	} else {
		w.Steps = append(w.Steps, t)
	}
	w.changed[t.Step] = true
	w.dirty = true
}

// knows reports whether a channel was told by this workflow.
func (w *workflow) knows(channel string) bool { return slices.Contains(w.told, channel) }

// ran reports whether a hook was taken, whatever came of it; empty: any.
func (w *workflow) ran(hook string) bool {
	return slices.ContainsFunc(w.Steps, func(t Taken) bool {
		return t.Kind == Hook && t.State != Skipped && (hook == "" || hookOf(t.Step) == hook)
	})
}

// running reports whether something of it runs.
func (w *workflow) running() bool {
	return slices.ContainsFunc(w.Steps, func(t Taken) bool { return t.State == Running })
}

// know adds an incident.
func (w *workflow) know(id uint64) {
	if slices.Contains(w.Incidents, id) {
		return
	}
	w.Incidents = append(w.Incidents, id)
	if over := len(w.Incidents) - mostIncidents; over > 0 {
		w.Incidents = slices.Delete(w.Incidents, 1, 1+over) // the first one stays
	}
	w.fresh[id], w.dirty = true, true
}

package respond

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/scope"
)

// Memory is what the planner must still know after a restart, by a key of its
// own. Nil Data forgets it.
type Memory struct {
	Key  string
	Data []byte
}

// Record is a step of a workflow as it stands in the record of one of its
// incidents. At is the wall's time.
type Record struct {
	Incident uint64
	// Name tells it from the incident's other ones; a later state of the same
	// step has the same name.
	Name string
	Taken
}

const (
	memoryVersion  = 1
	workflowPrefix = "workflow "
	hookPrefix     = "hook "
	// mostRestored is how many memories are read: each is a scope that suffers.
	mostRestored = 1000
)

// saved is a workflow as it is remembered. Times are the wall's.
type saved struct {
	Version        int         `json:"version"`
	ID             string      `json:"id"`
	Scope          string      `json:"scope"`
	Key            string      `json:"key"`
	Began          time.Time   `json:"began"`
	Incidents      []uint64    `json:"incidents"`
	AcknowledgedBy string      `json:"acknowledged_by,omitempty"`
	Steps          []savedStep `json:"steps"`
	Severity       string      `json:"severity"`
	Numbers        []Number    `json:"numbers"`
	Told           []string    `json:"told"`
	Said           []string    `json:"said"`
	Closed         bool        `json:"closed"`
	Escalated      bool        `json:"escalated"`
}

type savedStep struct {
	Step   string          `json:"step"`
	Kind   string          `json:"kind"`
	State  string          `json:"state"`
	At     time.Time       `json:"at"`
	What   string          `json:"what"`
	Detail json.RawMessage `json:"detail,omitempty"`
}

// savedRun is a run of a hook.
type savedRun struct {
	At  time.Time `json:"at"`
	Dry bool      `json:"dry"`
}

func (w *workflow) memoryKey() string { return workflowPrefix + w.Scope.String() + " " + w.Key }

// Renew has everything kept anew, as the store lacks what it was told.
func (p *Planner) Renew() {
	for _, w := range p.flows {
		w.dirty = true
		for _, inc := range w.Incidents {
			w.fresh[inc] = true
		}
	}
	for hook := range p.runs {
		p.runsDirty[hook] = true
	}
}

// Changed returns what is to be kept since it was asked last: memories, each in
// place of the one of its key, and records. It must be kept before the actions
// of the same Plan are carried out.
func (p *Planner) Changed(offset time.Duration) (memories []Memory, records []Record) {
	for _, key := range p.gone {
		memories = append(memories, Memory{Key: key})
	}
	records, p.gone, p.records = p.records, nil, nil
	for _, w := range p.flows {
		records = append(records, w.changes(offset)...)
		if !w.dirty {
			continue
		}
		w.dirty = false
		if data, err := json.Marshal(w.save(offset)); err == nil { // plain values: it always can be
			memories = append(memories, Memory{w.memoryKey(), data})
		}
	}
	for _, hook := range slices.Sorted(maps.Keys(p.runsDirty)) {
		m := Memory{Key: hookPrefix + hook}
		if runs := p.runs[hook]; len(runs) > 0 {
			all := make([]savedRun, len(runs))
			for i, r := range runs {
				all[i] = savedRun{r.at.Add(offset).UTC(), r.dry}
			}
			m.Data, _ = json.Marshal(all) // the same
		}
		memories = append(memories, m)
	}
	clear(p.runsDirty)
	return memories, records
}

// changes are the records that are not written yet.
func (w *workflow) changes(offset time.Duration) []Record {
	var out []Record
	for _, inc := range w.Incidents {
		for _, t := range w.Steps {
			if w.fresh[inc] || w.changed[t.Step] {
				t.At = t.At.Add(offset).UTC()
				out = append(out, Record{inc, w.ID + " " + t.Step, t})
			}
		}
	}
	clear(w.fresh)
	clear(w.changed)
	return out
}

func (w *workflow) save(offset time.Duration) saved {
	s := saved{
		Version: memoryVersion, ID: w.ID, Scope: w.Scope.String(), Key: w.Key, Began: w.Began.Add(offset).UTC(), Incidents: w.Incidents, AcknowledgedBy: w.AcknowledgedBy,
		Severity: w.before.Severity.String(), Numbers: w.before.Numbers, Told: w.told, Said: slices.Sorted(maps.Keys(w.said)), Closed: w.closed, Escalated: w.escalated,
	}
	for _, t := range w.Steps {
		s.Steps = append(s.Steps, savedStep{t.Step, t.Kind.String(), t.State.String(), t.At.Add(offset).UTC(), t.What, t.Detail})
	}
	return s
}

// Restore takes up what an earlier run of the agent remembered. What ran then
// is interrupted, and is not run again. An error joins what cannot be read; the
// rest is taken up.
func (p *Planner) Restore(now time.Time, offset time.Duration, memories []Memory) error {
	var errs []error
	for _, m := range memories[:min(len(memories), mostRestored)] {
		var err error
		if hook, ok := strings.CutPrefix(m.Key, hookPrefix); ok {
			err = p.restoreRuns(now, offset, hook, m.Data)
		} else {
			err = p.restoreWorkflow(now, offset, m.Data)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("read what is remembered of the response %q: %w", m.Key, err))
		}
	}
	return errors.Join(errs...)
}

func (p *Planner) restoreRuns(now time.Time, offset time.Duration, hook string, data []byte) error {
	var all []savedRun
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	for _, r := range all {
		p.runs[hook] = append(p.runs[hook], run{past(now, r.At.Add(-offset)), r.Dry})
	}
	return nil
}

// past is a time of an earlier run, which cannot be to come: the clock was set.
func past(now, at time.Time) time.Time {
	if at.After(now) {
		return now
	}
	return at.UTC()
}

func (p *Planner) restoreWorkflow(now time.Time, offset time.Duration, data []byte) error {
	var s saved
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	of, ok := scope.Parse(s.Scope)
	switch {
	case s.Version != memoryVersion:
		return fmt.Errorf("version %d of it is not known", s.Version)
	case !ok || s.ID == "" || s.Key == "":
		return fmt.Errorf("it is of no scope and no response: %.80q", s.Scope)
	}
	severity, err := rule.ParseSeverity(s.Severity)
	if err != nil {
		severity = judge.NoSeverity
	}
	at := slices.IndexFunc(p.flows, func(w *workflow) bool { return w.Scope == of && w.Key == s.Key })
	if at < 0 {
		at = len(p.flows)
		p.flows = append(p.flows, &workflow{
			Workflow: Workflow{ID: s.ID, Scope: of, Key: s.Key, Began: past(now, s.Began.Add(-offset)), OverSince: now},
			restored: true, changed: map[string]bool{}, fresh: map[uint64]bool{}, said: map[string]uint64{},
		})
	}
	// One that began meanwhile, as the memory came late, goes on as that.
	w := p.flows[at]
	w.dirty = true
	w.before = condition{severity, s.Numbers}
	w.AcknowledgedBy = cmp.Or(w.AcknowledgedBy, s.AcknowledgedBy)
	w.told = append(w.told, slices.DeleteFunc(s.Told, w.knows)...)
	for _, subject := range s.Said {
		if _, known := w.said[subject]; !known {
			w.said[subject] = 0
		}
	}
	w.closed, w.escalated = s.Closed, s.Escalated || w.escalated
	for _, inc := range s.Incidents[:min(len(s.Incidents), mostIncidents)] {
		if !slices.Contains(w.Incidents, inc) {
			w.Incidents = append(w.Incidents, inc)
		}
	}
	for _, x := range s.Steps {
		if w.step(x.Step) != nil {
			continue
		}
		kind, state := slices.Index(kindNames[:], x.Kind), slices.Index(stateNames[:], x.State)
		if kind < 0 || state < 0 {
			kind, state = int(NoKind), int(Interrupted) // of a later version: it was taken, whatever it was
		}
		t := Taken{x.Step, Kind(kind), State(state), past(now, x.At.Add(-offset)), x.What, x.Detail}
		if t.State == Running {
			t.State, t.What = Interrupted, "the agent ended while this ran: how it ended is not known"
			w.changed[t.Step] = true
		}
		w.Steps = append(w.Steps, t)
	}
	return nil
}

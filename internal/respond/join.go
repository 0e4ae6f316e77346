package respond

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/foreshock/foreshock/internal/judge"
)

// Which incidents are answered, and by which workflow.

// keyOf is the response that an incident calls for; empty for none. A cause is
// named more precisely than its pattern.
func (p *Planner) keyOf(i *judge.Incident) string {
	for _, key := range []string{i.Finding.Cause.String(), i.Finding.Pattern.String(), DefaultKey} {
		if _, there := p.steps[key]; there && key != "" {
			return key
		}
	}
	return ""
}

// join gives each incident that calls for a response its workflow, and each
// workflow its incidents.
func (t *turn) join() {
	for _, w := range t.flows {
		w.now = w.now[:0]
	}
	for i := range slices.Backward(t.Incidents) { // the list is newest first
		inc := &t.Incidents[i]
		w := t.of[inc.ID]
		if w == nil {
			if w = t.called(inc); w == nil {
				continue
			}
			t.of[inc.ID] = w
			w.know(inc.ID)
			w.restored = false
		}
		w.now = append(w.now, inc)
	}
	if len(t.of) > 2*len(t.Incidents)+16 { // those long forgotten
		maps.DeleteFunc(t.of, func(id uint64, w *workflow) bool {
			return !slices.ContainsFunc(w.now, func(i *judge.Incident) bool { return i.ID == id })
		})
	}
}

// called is the workflow that an incident without one calls for; nil for none.
func (t *turn) called(inc *judge.Incident) *workflow {
	if inc.State != judge.Open || inc.Finding.Severity < judge.Warning || t.quiet(inc) != "" {
		return nil
	}
	key := t.keyOf(inc)
	if key == "" {
		return nil
	}
	for _, w := range t.flows {
		if w.Key == key && w.Scope == inc.Finding.Scope {
			return w
		}
	}
	w := t.begin(inc, key)
	t.flows = append(t.flows, w)
	return w
}

func (t *turn) begin(inc *judge.Incident, key string) *workflow {
	wall := t.Now.Add(t.Offset).UnixMicro()
	w := &workflow{
		Workflow: Workflow{ID: fmt.Sprintf("%s %s %s", inc.Finding.Scope, key, strconv.FormatInt(wall, 36)), Scope: inc.Finding.Scope, Key: key, Began: t.Now},
		changed:  map[string]bool{}, fresh: map[uint64]bool{}, said: map[string]uint64{}, dirty: true,
	}
	w.before = t.conditionOf([]*judge.Incident{inc})
	return w
}

// quiet is why nothing is done about an incident; empty where something is.
func (t *turn) quiet(inc *judge.Incident) string {
	if inc.Because != judge.NoCause {
		return "it is explained by " + inc.Because.Words()
	}
	if inc.SilencedBy != "" {
		return "it is silenced by " + inc.SilencedBy
	}
	return ""
}

// quietAll is why nothing is done about any of them; empty where there is one
// about which something is, or none at all.
func (t *turn) quietAll(open []*judge.Incident) (why string) {
	for _, inc := range open {
		if why = t.quiet(inc); why == "" {
			return ""
		}
	}
	return why
}

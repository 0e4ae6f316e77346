package respond

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// Look is what there is to decide by at one instant.
type Look struct {
	// Now is the pipeline's steady time; Offset leads from it to the wall's.
	Now    time.Time
	Offset time.Duration
	// Incidents are all of the host, as judge hands them out.
	Incidents []judge.Incident
	// Signals are what is measured of a scope now; nil where nothing is. The
	// function itself may be nil: nothing is measured of any.
	Signals func(scope.ID) *measure.ScopeSignals
	// Gets reports whether a channel is told of an incident anyway, as of any
	// of its severity. nil: none is.
	Gets     func(channel string, i *judge.Incident) bool
	Outcomes []Outcome // of actions of earlier looks
}

// Action is one thing to be done now. Its step is noted as taken already; what
// a Gather or a Hook brings comes back as an [Outcome].
type Action struct {
	Workflow string // its ID
	Step     string
	Kind     Kind
	// Key names the action for ever; 32 hex digits.
	Key string
	// Scope, Response (the workflow's key), Began and Incidents are the
	// workflow's; Lead is the incident it is about now: the worst open one, or
	// the last.
	Scope     scope.ID
	Response  string
	Began     time.Time
	Incidents []uint64
	Lead      judge.Incident
	// Channels are told now, and Says what; empty for none.
	Channels []string
	Says     string
	// Hook is the name of what is to run; DryRun: it is only to be recorded.
	Hook   string
	DryRun bool
}

// Outcome is what came of an action.
type Outcome struct {
	Workflow, Step string
	State          State // Done, Failed or DryRun
	What           string
	Detail         []byte // JSON; nil for none
}

// Planner decides what is done. It is pure: no clock, no I/O; its memory is the
// workflows under way. Not safe for concurrent use.
type Planner struct {
	host  string
	steps map[string][]step // of each response
	flows []*workflow       // in the order they began
	// of says whose an incident is, for as long as it is in the list.
	of   map[uint64]*workflow
	runs map[string][]run // of each hook, within the last hour
	// Of Changed: what is to be forgotten or written.
	gone      []string
	runsDirty map[string]bool
	records   []Record // of workflows that are over
}

// step is a step with its ID, which is asked for in every look.
type step struct {
	Step
	id string
}

// run is one run of a hook.
type run struct {
	at  time.Time
	dry bool
}

// New returns a Planner that has begun nothing.
func New(cfg Config) *Planner {
	p := &Planner{of: map[uint64]*workflow{}, runs: map[string][]run{}, runsDirty: map[string]bool{}}
	p.Configure(cfg)
	return p
}

// Configure takes over other responses. A workflow under way goes on with the
// steps that its key has now; what it has taken stays taken.
func (p *Planner) Configure(cfg Config) {
	p.host, p.steps = cfg.Host, make(map[string][]step, len(cfg.Responses))
	for key, response := range cfg.Responses {
		steps := make([]step, len(response))
		for i, s := range response {
			steps[i] = step{s, s.ID()}
		}
		p.steps[key] = steps
	}
}

// Workflows are those under way, the first one first, with the steps that are
// still to come.
func (p *Planner) Workflows() []Workflow {
	out := make([]Workflow, 0, len(p.flows))
	for _, w := range p.flows {
		x := w.Workflow
		x.Incidents, x.Steps = slices.Clone(w.Incidents), slices.Clone(w.Steps)
		for _, s := range p.steps[w.Key] {
			if w.step(s.id) == nil {
				x.Steps = append(x.Steps, Taken{Step: s.id, Kind: s.Kind, At: p.due(w, &s)})
			}
		}
		out = append(out, x)
	}
	return out
}

// Idle reports that there is nothing to plan, whatever happens: no response is
// configured, and none of before is under way.
func (p *Planner) Idle() bool { return len(p.flows) == 0 && len(p.steps) == 0 }

// Plan returns what is to be done now, in order; nil when there is nothing.
func (p *Planner) Plan(l Look) []Action {
	if p.Idle() {
		return nil
	}
	p.forget(l.Now)
	t := turn{Planner: p, Look: l}
	t.join()
	t.absorb()
	for _, w := range p.flows {
		t.advance(w)
	}
	p.flows = slices.DeleteFunc(p.flows, func(w *workflow) bool { return t.over(w) })
	return t.actions
}

// turn is one Plan.
type turn struct {
	*Planner
	Look
	actions []Action
}

// absorb notes what came of actions.
func (t *turn) absorb() {
	for _, o := range t.Outcomes {
		at := slices.IndexFunc(t.flows, func(w *workflow) bool { return w.ID == o.Workflow })
		if at < 0 {
			continue
		}
		w := t.flows[at]
		known := w.step(o.Step)
		if known == nil || known.State != Running {
			continue
		}
		w.take(Taken{Step: o.Step, Kind: known.Kind, State: o.State, What: o.What, Detail: o.Detail})
		if known.Kind == Hook && o.State == Failed {
			t.escalate(w, o.Step, "the hook "+hookOf(o.Step)+" failed: "+o.What)
		}
	}
}

// open are the incidents of a workflow that are, the worst first.
func (w *workflow) open() []*judge.Incident {
	var out []*judge.Incident
	for _, inc := range w.now {
		if inc.State == judge.Open {
			out = append(out, inc)
		}
	}
	slices.SortStableFunc(out, func(a, b *judge.Incident) int { return cmp.Compare(b.Finding.Severity, a.Finding.Severity) })
	return out
}

// advance takes the steps of a workflow that are due.
func (t *turn) advance(w *workflow) {
	open := w.open()
	t.see(w, open)
	if w.restored && t.Now.Sub(w.OverSince) < settle {
		return // whether it goes on is not yet known
	}
	t.further(w, open)
	for _, s := range t.steps[w.Key] {
		taken := w.step(s.id)
		if taken != nil && taken.State == Interrupted && s.Kind == Hook && !s.DryRun && len(open) > 0 {
			t.escalate(w, s.id, "the agent ended while the hook "+s.Hook+" ran: whether it did its work is not known, and it is not run again")
		}
		if taken != nil || t.Now.Before(t.due(w, &s)) || s.Kind == FollowUp && w.waits(t.Now) {
			continue
		}
		if why := t.skips(w, &s, open); why != "" {
			w.take(Taken{Step: s.id, Kind: s.Kind, State: Skipped, At: t.Now, What: why})
			continue
		}
		t.take(w, &s, open)
	}
}

// see notes what the incidents of a workflow say.
func (t *turn) see(w *workflow, open []*judge.Incident) {
	for _, inc := range open {
		if by := inc.AcknowledgedBy; by != "" && w.AcknowledgedBy == "" {
			w.AcknowledgedBy, w.dirty = by, true
		}
	}
	switch {
	case len(open) > 0 && !w.OverSince.IsZero():
		w.OverSince, w.since, w.dirty = time.Time{}, t.Now, true
	case len(open) == 0 && w.OverSince.IsZero():
		w.OverSince, w.dirty = t.Now, true
	}
}

// due is when a step is. A follow-up leaves the hook before it the time that
// the configuration does, also where that ran late.
func (p *Planner) due(w *workflow, s *step) time.Time {
	due := w.Began.Add(s.After)
	if s.Kind != FollowUp {
		return due
	}
	for _, before := range p.steps[w.Key] {
		if before.Kind != Hook || before.After > s.After {
			continue
		}
		if taken := w.step(before.id); taken != nil && taken.State != Skipped {
			if late := taken.At.Add(s.After - before.After); late.After(due) {
				due = late
			}
		}
	}
	return due
}

// waits reports whether it is too early to look again: a hook runs, or it has
// been over for a moment only.
func (w *workflow) waits(now time.Time) bool {
	return w.running() || !w.OverSince.IsZero() && now.Sub(w.OverSince) < calm
}

// skips is why a step that is due is not taken; empty where it is.
func (t *turn) skips(w *workflow, s *step, open []*judge.Incident) string {
	if s.Kind == FollowUp {
		return ""
	}
	if len(open) == 0 {
		return fmt.Sprintf("nothing was open any more for %s", t.Now.Sub(w.OverSince).Round(time.Second))
	}
	quiet := t.quietAll(open)
	switch {
	case quiet != "":
		return quiet
	case s.Kind == Escalate && s.UnlessAcknowledged && w.AcknowledgedBy != "":
		return w.AcknowledgedBy + " has taken it"
	case (s.Kind == Escalate && w.escalated || s.Kind == Notify) && !slices.ContainsFunc(s.Channels, func(c string) bool { return !w.knows(c) }):
		return "they were told already" // of a Notify: before a reload
	case s.Kind == Hook && w.ran(s.Hook):
		return "it was run for this before"
	}
	return ""
}

// take takes a step.
func (t *turn) take(w *workflow, s *step, open []*judge.Incident) {
	a := t.action(w, s.id, s.Kind, open)
	taken := Taken{Step: s.id, Kind: s.Kind, State: Done, At: t.Now}
	switch s.Kind {
	case Notify:
		a.Channels, taken.What = t.notNews(slices.DeleteFunc(slices.Clone(s.Channels), w.knows), open)
		a.Says = fmt.Sprintf("%s: the response %s has begun.", w.Scope, w.Key)
		w.tells(a.Channels)
	case Escalate:
		a.Channels = s.Channels
		a.Says = fmt.Sprintf("%s: open for %s, and nobody has taken it.", w.Scope, inWords(t.Now.Sub(w.Began)))
		if w.AcknowledgedBy != "" {
			a.Says = fmt.Sprintf("%s: open for %s, though %s has taken it.", w.Scope, inWords(t.Now.Sub(w.Began)), w.AcknowledgedBy)
		}
		taken.What = "told " + strings.Join(s.Channels, ", ")
		w.tells(s.Channels)
	case Gather:
		taken.State, taken.What = Running, "gathering evidence"
	case Hook:
		if !t.mayRun(w, s) {
			return
		}
		a.Hook, a.DryRun = s.Hook, s.DryRun
		taken.State, taken.What = Running, "running "+s.Hook
		w.before = t.conditionAgain(w.before, open)
	case FollowUp:
		t.followUp(w, s, open)
		return
	}
	w.take(taken)
	t.send(w, a, open)
}

// mayRun reports whether a hook may run now, and notes the run. Where it ran
// too often the step is skipped, and people are told.
func (t *turn) mayRun(w *workflow, s *step) bool {
	all, same := 0, false
	for _, other := range t.flows {
		for i := range other.Steps {
			if x := &other.Steps[i]; x.Kind == Hook && x.State == Running {
				all++
				same = same || hookOf(x.Step) == s.Hook
			}
		}
	}
	if same || all >= mostRunning {
		return false // later
	}
	count := 0
	for _, r := range t.runs[s.Hook] { // forget has left those within an hour
		if r.dry == s.DryRun {
			count++
		}
	}
	if count >= s.MaxPerHour {
		why := fmt.Sprintf("%s ran %d times within an hour already, and max_per_hour is %d", s.Hook, count, s.MaxPerHour)
		w.take(Taken{Step: s.id, Kind: Hook, State: Skipped, At: t.Now, What: why})
		if !s.DryRun {
			t.escalate(w, s.id, "the hook was not run: "+why)
		}
		return false
	}
	t.runs[s.Hook] = append(t.runs[s.Hook], run{t.Now, s.DryRun})
	t.runsDirty[s.Hook] = true
	return true
}

// action is what every action of a workflow has.
func (t *turn) action(w *workflow, step string, kind Kind, open []*judge.Incident) Action {
	a := Action{
		Workflow: w.ID, Step: step, Kind: kind, Key: key(t.host, w.ID, step),
		Scope: w.Scope, Response: w.Key, Began: w.Began, Incidents: slices.Clone(w.Incidents),
	}
	if len(open) > 0 {
		a.Lead = *open[0]
		return a
	}
	if last := len(w.now) - 1; last >= 0 {
		a.Lead = *w.now[last]
	}
	return a
}

// over ends a workflow of which nothing is open and nothing is to come, and
// reports whether it did.
func (t *turn) over(w *workflow) bool {
	patience := calm
	if w.restored {
		patience = settle
	}
	if w.OverSince.IsZero() || t.Now.Sub(w.OverSince) < patience || w.running() {
		return false
	}
	left := slices.DeleteFunc(slices.Clone(t.steps[w.Key]), func(s step) bool { return w.step(s.id) != nil })
	if w.ran("") && !w.closed && slices.ContainsFunc(left, func(s step) bool { return s.Kind == FollowUp }) {
		return false // it shows whether that helped
	}
	for _, s := range left {
		w.take(Taken{Step: s.id, Kind: s.Kind, State: Skipped, At: t.Now, What: "it was over before"})
	}
	t.records = append(t.records, w.changes(t.Offset)...)
	t.gone = append(t.gone, w.memoryKey())
	maps.DeleteFunc(t.of, func(_ uint64, of *workflow) bool { return of == w })
	return true
}

// key hashes what makes an action the one it is.
func key(host, workflow, step string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "response|%d:%s|%d:%s|%s", len(host), host, len(workflow), workflow, step))
	return hex.EncodeToString(sum[:16])
}

// hookOf is the name of the hook of a step's id.
func hookOf(step string) string {
	name := strings.TrimPrefix(step, Hook.String()+" ")
	if at := strings.LastIndexByte(name, '@'); at >= 0 {
		return name[:at]
	}
	return name
}

// forget drops the hooks' runs of more than an hour ago.
func (p *Planner) forget(now time.Time) {
	for hook, runs := range p.runs {
		if p.runs[hook] = slices.DeleteFunc(runs, func(r run) bool { return now.Sub(r.at) >= time.Hour }); len(p.runs[hook]) == 0 {
			delete(p.runs, hook)
			p.runsDirty[hook] = true
		}
	}
}

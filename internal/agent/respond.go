package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/notify"
	"github.com/foreshock/foreshock/internal/respond"
	"github.com/foreshock/foreshock/internal/scope"
)

const (
	// memoryOfResponses is the kind of what their planner remembers.
	memoryOfResponses = "response"
	// recallWithin is how long nothing is done while the history does not say
	// what an earlier run had begun.
	recallWithin = 30 * time.Second
	// mostGathering is how many bundles are gathered at the same time.
	mostGathering = 2
	// mostUnkept is how many attachments are remembered where nothing is kept.
	mostUnkept = 8
)

// responder carries out what the planner of responses decides. The planner and
// what it says are the loop's; hooks and gatherers run in goroutines of their
// own, and what they bring comes back as a value.
type responder struct {
	planner *respond.Planner
	hooks   map[string]*boundHook // by name; changed as a whole
	log     *slog.Logger
	// start runs something beside the loop; set before the loop runs.
	start func(func(context.Context))

	outcomes chan outcome // whoever ran something waits until the loop takes it
	recalled chan []respond.Memory
	gathers  chan struct{} // has room for mostGathering

	// Of the loop alone.
	first    time.Time // look
	known    bool      // what an earlier run remembered was taken up, or there is none
	changed  bool      // since the last snapshot
	recorded map[uint64][]recorded
	runs     map[api.HookRuns]uint64 // with Runs zero

	mu     sync.Mutex
	unkept []unkept
}

// outcome is what came of an action, and of which hook where it is one.
type outcome struct {
	respond.Outcome
	hook string
}

// recorded is an action of an incident as it was written last.
type recorded struct {
	name string
	api.Action
}

// unkept is an attachment where nothing is kept.
type unkept struct {
	incident uint64
	api.Attachment
}

func newResponder(r boundResponses, log *slog.Logger) *responder {
	return &responder{
		planner: respond.New(r.config), hooks: r.hooks, log: log,
		outcomes: make(chan outcome), recalled: make(chan []respond.Memory, 1), gathers: make(chan struct{}, mostGathering),
		recorded: map[uint64][]recorded{}, runs: map[api.HookRuns]uint64{},
	}
}

// configure takes over other responses; the loop's.
func (r *responder) configure(b boundResponses) {
	r.planner.Configure(b.config)
	before := r.hooks
	r.hooks = b.hooks
	for _, h := range before {
		h.close()
	}
	r.changed = true
}

// recallResponses finds out what an earlier run of the agent had begun, however late the
// history opens.
func (a *agent) recallResponses(ctx context.Context) error {
	for {
		var found []history.Memory
		err := a.keeper.ask(ctx, func(s *history.Store) (err error) {
			found, err = s.Memories(memoryOfResponses)
			return err
		})
		if err == nil || errors.Is(err, api.ErrNoHistory) {
			all := make([]respond.Memory, len(found))
			for i, m := range found {
				all[i] = respond.Memory{Key: m.Key, Data: m.Data}
			}
			a.responses.recalled <- all
			return nil
		}
		if !sleep(ctx, time.Second) {
			return nil
		}
	}
}

// ready takes up what an earlier run remembered, and reports whether anything
// may be done: to act before that is known might do it twice.
func (r *responder) ready(now time.Time, offset time.Duration) bool {
	if r.first.IsZero() {
		r.first = now
	}
	select {
	case memories := <-r.recalled:
		if err := r.planner.Restore(now, offset, memories); err != nil {
			for line := range strings.Lines(err.Error()) {
				r.log.Error("response: left out", "problem", strings.TrimSuffix(line, "\n"))
			}
		}
		if len(memories) > 0 {
			r.log.Info("response: taken up from before", "workflows", len(r.planner.Workflows()))
		}
		r.known = true
	default:
		if !r.known && now.Sub(r.first) >= recallWithin {
			r.log.Warn("response: the history does not say what was begun before: going on without")
			r.known = true // and if it comes, it is taken up
		}
	}
	return r.known
}

// respond does what is due; the loop's. What is done is written first.
func (a *agent) respond(now time.Time, h *Host, incidents []judge.Incident) {
	r := a.responses
	offset := a.clock.Offset()
	if !r.ready(now, offset) || r.planner.Idle() {
		return
	}
	look := respond.Look{Now: now, Offset: offset, Incidents: incidents, Signals: h.signals, Gets: a.notices.planner.Gets}
	for waiting := true; waiting; {
		select {
		case o := <-r.outcomes:
			look.Outcomes = append(look.Outcomes, o.Outcome)
			if o.hook != "" {
				r.runs[api.HookRuns{Hook: o.hook, Result: o.State.String()}]++
			}
		default:
			waiting = false
		}
	}
	actions := r.planner.Plan(look)
	// Notices are written before what says that they were decided: a crash in
	// between decides them again, with the keys that they have.
	for i := range actions {
		a.inform(now, offset, &actions[i], incidents)
	}
	a.keepResponses(r.planner.Changed(offset))
	for i := range actions {
		a.carryOut(now, offset, &actions[i], incidents)
	}
}

// signals are what is measured of a scope now; nil where nothing is.
func (h *Host) signals(id scope.ID) *measure.ScopeSignals {
	for _, r := range h.of {
		if r.place.name == id.Namespace && r.view != nil {
			return r.view.Scope(id)
		}
	}
	return nil
}

// keepResponses lays down what was decided, all of it as one.
func (a *agent) keepResponses(memories []respond.Memory, records []respond.Record) {
	r := a.responses
	if len(memories)+len(records) == 0 {
		return
	}
	r.changed = true
	var kept []history.Memory
	var actions []history.Action
	size := 0
	for _, m := range memories {
		kept = append(kept, history.Memory{Kind: memoryOfResponses, Key: m.Key, Data: m.Data})
		size += len(m.Data)
	}
	said := map[string]bool{}
	for i := range records {
		x := &records[i]
		action := api.Action{At: x.At, Kind: x.Kind.String(), State: x.State.String(), What: x.What, Detail: x.Detail}
		document, err := json.Marshal(action)
		if err != nil {
			r.log.Error("response: an action is not kept", "step", x.Step, "error", err.Error())
			continue
		}
		actions = append(actions, history.Action{Incident: x.Incident, Name: x.Name, At: x.At, Data: document})
		size += len(document)
		r.note(x.Incident, recorded{x.Name, action})
		if !said[x.Name] {
			said[x.Name] = true
			r.log.Info("response", "step", x.Name, "state", action.State, "says", action.What)
		}
	}
	a.keeper.put(entry{memories: true, size: size, write: func(st *history.Store) error {
		if err := st.Remember(kept); err != nil {
			return err
		}
		for _, x := range actions {
			if err := st.PutAction(x); err != nil {
				return err
			}
		}
		return nil
	}})
}

// note remembers an action for as long as its incident is shown.
func (r *responder) note(incident uint64, x recorded) {
	all := r.recorded[incident]
	if at := slices.IndexFunc(all, func(o recorded) bool { return o.name == x.name }); at >= 0 {
		all = slices.Clone(all)
		all[at] = x
	} else {
		all = append(slices.Clip(all), x)
	}
	r.recorded[incident] = all
}

// inform tells those whom an action names.
func (a *agent) inform(now time.Time, offset time.Duration, x *respond.Action, incidents []judge.Incident) {
	reason := notify.News
	switch x.Kind {
	case respond.Escalate:
		reason = notify.Escalation
	case respond.FollowUp:
		reason = notify.FollowUp
	}
	about := aboutOf(x, incidents)
	var out []notify.Notice
	for _, channel := range x.Channels {
		if n, ok := a.notices.planner.Compose(now, offset, notify.Message{Channel: channel, Reason: reason, Key: x.Key, Says: x.Says, Incidents: about}); ok {
			out = append(out, n)
		}
	}
	a.notices.put(out, a.notices.changed())
}

// carryOut has begun what takes a while.
func (a *agent) carryOut(now time.Time, offset time.Duration, x *respond.Action, incidents []judge.Incident) {
	switch x.Kind {
	case respond.Gather:
		action := *x
		a.responses.start(func(ctx context.Context) { a.collect(ctx, action) })
	case respond.Hook:
		run := a.hookRun(now, offset, x, aboutOf(x, incidents), incidents)
		a.responses.start(func(ctx context.Context) { a.runHook(ctx, run) })
	}
}

// aboutOf are the incidents of an action, the worst open one first.
func aboutOf(x *respond.Action, incidents []judge.Incident) []judge.Incident {
	var out []judge.Incident
	for i := range incidents {
		if slices.Contains(x.Incidents, incidents[i].ID) {
			out = append(out, incidents[i])
		}
	}
	over := func(i judge.Incident) int {
		if i.State == judge.Resolved {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(out, func(a, b judge.Incident) int {
		return cmp.Or(cmp.Compare(over(a), over(b)), cmp.Compare(b.Finding.Severity, a.Finding.Severity))
	})
	return out
}

// done hands an outcome to the loop, and waits until it takes it or the agent
// stops.
func (r *responder) done(ctx context.Context, o outcome) {
	select {
	case r.outcomes <- o:
	case <-ctx.Done():
	}
}

// shown are the actions and workflows as the API has them; the loop's.
func (r *responder) shown(offset time.Duration, incidents []judge.Incident) (actions map[uint64][]api.Action, flows []api.Response, runs []api.HookRuns) {
	r.changed = false
	workflows := r.planner.Workflows()
	maps.DeleteFunc(r.recorded, func(id uint64, _ []recorded) bool {
		return !slices.ContainsFunc(incidents, func(i judge.Incident) bool { return i.ID == id }) &&
			!slices.ContainsFunc(workflows, func(w respond.Workflow) bool { return slices.Contains(w.Incidents, id) })
	})
	actions = make(map[uint64][]api.Action, len(r.recorded))
	for id, all := range r.recorded {
		for _, x := range all {
			actions[id] = append(actions[id], x.Action)
		}
	}
	for _, w := range workflows {
		f := api.Response{Scope: w.Scope.String(), Key: w.Key, BeganAt: w.Began.Add(offset).UTC(), Incidents: w.Incidents, AcknowledgedBy: w.AcknowledgedBy, Actions: []api.Action{}}
		if !w.OverSince.IsZero() {
			f.OverAt = new(w.OverSince.Add(offset).UTC())
		}
		for _, t := range w.Steps {
			x := api.Action{At: t.At.Add(offset).UTC(), Kind: t.Kind.String(), State: t.State.String(), What: cmp.Or(t.What, t.Step), Detail: t.Detail}
			f.Actions = append(f.Actions, x)
			if t.State == respond.Planned {
				for _, id := range w.Incidents {
					actions[id] = append(actions[id], x)
				}
			}
		}
		flows = append(flows, f)
	}
	for x, n := range r.runs {
		x.Runs = n
		runs = append(runs, x)
	}
	slices.SortFunc(runs, func(a, b api.HookRuns) int {
		return cmp.Or(cmp.Compare(a.Hook, b.Hook), cmp.Compare(a.Result, b.Result))
	})
	return actions, flows, runs
}

// attach keeps what an action brought.
func (a *agent) attach(incident uint64, name, kind string, at time.Time, data []byte) error {
	document, err := json.Marshal(api.Attachment{At: at, Kind: kind, Data: data})
	if err != nil {
		return err
	}
	if a.keeper.dir != "" {
		a.keeper.put(entry{size: len(document), write: func(st *history.Store) error {
			return st.PutAttachment(history.Action{Incident: incident, Name: name, At: at, Data: document})
		}})
		return nil
	}
	r := a.responses
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unkept = append(r.unkept, unkept{incident, api.Attachment{At: at, Kind: kind, Data: data}})
	if len(r.unkept) > mostUnkept {
		r.unkept = slices.Delete(r.unkept, 0, 1)
	}
	return nil
}

// Attachments implements api.Evidences. What was gathered for another incident
// of the same workflow is this one's too.
func (a *agent) Attachments(ctx context.Context, incident uint64) ([]api.Attachment, error) {
	of := a.evidenceOf(incident)
	if a.keeper.dir == "" {
		a.responses.mu.Lock()
		defer a.responses.mu.Unlock()
		var out []api.Attachment
		for _, x := range a.responses.unkept {
			if slices.Contains(of, x.incident) {
				out = append(out, x.Attachment)
			}
		}
		return out, nil
	}
	if err := a.keeper.settle(ctx); err != nil {
		return nil, err
	}
	var found []history.Action
	err := a.keeper.ask(ctx, func(s *history.Store) error {
		actions, err := s.Actions(incident)
		if err != nil {
			return err
		}
		for _, x := range actions {
			var action api.Action
			if json.Unmarshal(x.Data, &action) == nil { // one of a later version brings nothing
				of = append(of, evidenceIn(action)...)
			}
		}
		slices.Sort(of)
		for _, id := range slices.Compact(of) {
			more, err := s.Attachments(id)
			if err != nil {
				return err
			}
			found = append(found, more...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []api.Attachment
	for _, x := range found {
		var one api.Attachment
		if err := json.Unmarshal(x.Data, &one); err != nil {
			a.log.Error("history: what was gathered cannot be read", "incident", x.Incident, "error", err.Error())
			continue
		}
		out = append(out, one)
	}
	slices.SortStableFunc(out, func(a, b api.Attachment) int { return a.At.Compare(b.At) })
	return out, nil
}

// evidenceOf are the incidents under whose numbers what was gathered about one
// lies, as far as the last snapshot says.
func (a *agent) evidenceOf(incident uint64) []uint64 {
	of := []uint64{incident}
	for _, x := range a.latest().Actions[incident] {
		of = append(of, evidenceIn(x)...)
	}
	return of
}

// evidenceIn is the incident that an action's attachments lie with.
func evidenceIn(x api.Action) []uint64 {
	var detail struct {
		Incident uint64 `json:"evidence_of_incident"`
	}
	if json.Unmarshal(x.Detail, &detail) != nil || detail.Incident == 0 {
		return nil
	}
	return []uint64{detail.Incident}
}

package respond

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
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
	// Silenced says who wants to hear nothing of an incident, for a person;
	// empty where nobody does. nil: nobody silences anything.
	Silenced func(*judge.Incident) string
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
	// Over: nothing of it is open any more.
	Over bool
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
	cfg   Config
	flows []*workflow      // in the order they began
	runs  map[string][]run // of each hook, within the last hour
	// Of Changed: what is to be forgotten or written.
	gone      []string
	runsDirty map[string]bool
	records   []Record // of workflows that are over
}

// run is one run of a hook.
type run struct {
	at  time.Time
	dry bool
}

// New returns a Planner that has begun nothing.
func New(cfg Config) *Planner {
	return &Planner{cfg: cfg, runs: map[string][]run{}, runsDirty: map[string]bool{}}
}

// Configure takes over other responses. A workflow under way goes on with the
// steps that its key has now; what it has taken stays taken.
func (p *Planner) Configure(cfg Config) { p.cfg = cfg }

// Workflows are those under way, the first one first, with the steps that are
// still to come.
func (p *Planner) Workflows() []Workflow {
	out := make([]Workflow, 0, len(p.flows))
	for _, w := range p.flows {
		x := w.Workflow
		x.Incidents, x.Steps = slices.Clone(w.Incidents), slices.Clone(w.Steps)
		for _, s := range p.cfg.Responses[w.Key] {
			if w.step(s.ID()) == nil {
				x.Steps = append(x.Steps, Taken{Step: s.ID(), Kind: s.Kind, At: p.due(w, &s)})
			}
		}
		out = append(out, x)
	}
	return out
}

// Plan returns what is to be done now, in order; nil when there is nothing.
func (p *Planner) Plan(l Look) []Action {
	if len(p.flows) == 0 && len(l.Outcomes) == 0 && len(p.cfg.Responses) == 0 {
		return nil
	}
	p.forget(l.Now)
	t := turn{Planner: p, Look: l}
	t.absorb()
	t.join()
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

// keyOf is the response that an incident calls for; empty for none. A cause is
// named more precisely than its pattern.
func (p *Planner) keyOf(i *judge.Incident) string {
	for _, key := range []string{i.Finding.Cause.String(), i.Finding.Pattern.String(), DefaultKey} {
		if _, there := p.cfg.Responses[key]; there && key != "" {
			return key
		}
	}
	return ""
}

// join gives each incident that calls for a response its workflow.
func (t *turn) join() {
	for i := range slices.Backward(t.Incidents) { // the list is newest first
		inc := &t.Incidents[i]
		if inc.State != judge.Open || inc.Finding.Severity < judge.Warning || t.knows(inc.ID) || t.quiet(inc) != "" {
			continue
		}
		key := t.keyOf(inc)
		if key == "" {
			continue
		}
		at := slices.IndexFunc(t.flows, func(w *workflow) bool { return w.Scope == inc.Finding.Scope && w.Key == key })
		if at < 0 {
			at = len(t.flows)
			t.flows = append(t.flows, t.begin(inc, key))
		}
		t.flows[at].know(inc.ID)
		t.flows[at].restored = false
	}
}

func (p *Planner) knows(incident uint64) bool {
	return slices.ContainsFunc(p.flows, func(w *workflow) bool { return slices.Contains(w.Incidents, incident) })
}

func (t *turn) begin(inc *judge.Incident, key string) *workflow {
	wall := t.Now.Add(t.Offset).UnixMicro()
	w := &workflow{
		Workflow: Workflow{ID: fmt.Sprintf("%s %s %s", inc.Finding.Scope, key, strconv.FormatInt(wall, 36)), Scope: inc.Finding.Scope, Key: key, Began: t.Now},
		changed:  map[string]bool{}, fresh: map[uint64]bool{}, dirty: true,
	}
	w.before = t.conditionOf([]*judge.Incident{inc})
	return w
}

// quiet is why nothing is done about an incident; empty where something is.
func (t *turn) quiet(inc *judge.Incident) string {
	if inc.Because != judge.NoCause {
		return "it is explained by " + inc.Because.Words()
	}
	if t.Silenced != nil {
		if who := t.Silenced(inc); who != "" {
			return "it is silenced: " + who
		}
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

// open are the incidents of a workflow that are, the worst first.
func (t *turn) open(w *workflow) []*judge.Incident {
	var out []*judge.Incident
	for i := range t.Incidents {
		if inc := &t.Incidents[i]; inc.State == judge.Open && slices.Contains(w.Incidents, inc.ID) {
			out = append(out, inc)
		}
	}
	slices.SortStableFunc(out, func(a, b *judge.Incident) int { return cmp.Compare(b.Finding.Severity, a.Finding.Severity) })
	return out
}

// advance takes the steps of a workflow that are due.
func (t *turn) advance(w *workflow) {
	open := t.open(w)
	t.see(w, open)
	if w.restored && t.Now.Sub(w.OverSince) < settle {
		return // whether it goes on is not yet known
	}
	for _, s := range t.cfg.Responses[w.Key] {
		if taken := w.step(s.ID()); taken != nil && taken.State == Interrupted && s.Kind == Hook && !s.DryRun && len(open) > 0 {
			t.escalate(w, s.ID(), "the agent ended while the hook "+s.Hook+" ran: whether it did its work is not known, and it is not run again")
		}
		if w.step(s.ID()) != nil || t.Now.Before(t.due(w, &s)) || s.Kind == FollowUp && w.waits(t.Now) {
			continue
		}
		if why := t.skips(w, &s, open); why != "" {
			w.take(Taken{Step: s.ID(), Kind: s.Kind, State: Skipped, At: t.Now, What: why})
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
	for i := range t.Incidents {
		if inc := &t.Incidents[i]; !w.recovered && inc.End == judge.Recovered && slices.Contains(w.Incidents, inc.ID) {
			w.recovered, w.dirty = true, true
		}
	}
	switch {
	case len(open) > 0 && !w.OverSince.IsZero():
		w.OverSince, w.recovered, w.dirty = time.Time{}, false, true
	case len(open) == 0 && w.OverSince.IsZero():
		w.OverSince, w.dirty = t.Now, true
	}
}

// due is when a step is. A follow-up leaves the hook before it the time that
// the configuration does, also where that ran late.
func (p *Planner) due(w *workflow, s *Step) time.Time {
	due := w.Began.Add(s.After)
	if s.Kind != FollowUp {
		return due
	}
	for _, before := range p.cfg.Responses[w.Key] {
		if before.Kind != Hook || before.After > s.After {
			continue
		}
		if taken := w.step(before.ID()); taken != nil && taken.State != Skipped {
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
func (t *turn) skips(w *workflow, s *Step, open []*judge.Incident) string {
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
	case s.Kind == Escalate && w.escalated && !slices.ContainsFunc(s.Channels, func(c string) bool { return !slices.Contains(w.told, c) }):
		return "they were told already"
	case s.Kind == Hook && w.ran(s.Hook):
		return "it was run for this before"
	}
	return ""
}

// take takes a step.
func (t *turn) take(w *workflow, s *Step, open []*judge.Incident) {
	a := t.action(w, s.ID(), s.Kind, open)
	taken := Taken{Step: s.ID(), Kind: s.Kind, State: Done, At: t.Now}
	switch s.Kind {
	case Notify:
		a.Channels, taken.What = t.notNews(s.Channels, open)
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
		w.before = t.conditionOf(open)
	case FollowUp:
		t.followUp(w, s, open)
		return
	}
	w.take(taken)
	t.actions = append(t.actions, a)
}

// mayRun reports whether a hook may run now, and notes the run. Where it ran
// too often the step is skipped, and people are told.
func (t *turn) mayRun(w *workflow, s *Step) bool {
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
		w.take(Taken{Step: s.ID(), Kind: Hook, State: Skipped, At: t.Now, What: why})
		if !s.DryRun {
			t.escalate(w, s.ID(), "the hook was not run: "+why)
		}
		return false
	}
	t.runs[s.Hook] = append(t.runs[s.Hook], run{t.Now, s.DryRun})
	t.runsDirty[s.Hook] = true
	return true
}

// notNews are the channels that are not told anyway, and what that means.
func (t *turn) notNews(channels []string, open []*judge.Incident) (tell []string, says string) {
	var anyway []string
	for _, c := range channels {
		if t.gets(c, open) {
			anyway = append(anyway, c)
		} else {
			tell = append(tell, c)
		}
	}
	switch {
	case len(anyway) == 0:
		return tell, "told " + strings.Join(tell, ", ")
	case len(tell) == 0:
		return nil, strings.Join(anyway, ", ") + " is told of it as of any other"
	}
	return tell, fmt.Sprintf("told %s; %s is told of it as of any other", strings.Join(tell, ", "), strings.Join(anyway, ", "))
}

func (t *turn) gets(channel string, incidents []*judge.Incident) bool {
	return t.Gets != nil && slices.ContainsFunc(incidents, func(i *judge.Incident) bool { return t.Gets(channel, i) })
}

// tells notes that channels hear of the workflow through it.
func (w *workflow) tells(channels []string) {
	for _, c := range channels {
		if !slices.Contains(w.told, c) {
			w.told = append(w.told, c)
			w.dirty = true
		}
	}
}

// followUp takes a look at what became of it.
func (t *turn) followUp(w *workflow, s *Step, open []*judge.Incident) {
	v := t.verdict(w, open)
	detail := v.json()
	w.take(Taken{Step: s.ID(), Kind: FollowUp, State: Done, At: t.Now, What: v.Says, Detail: detail})
	if t.quietAll(open) != "" {
		return // it is only recorded
	}
	a := t.action(w, s.ID(), FollowUp, open)
	a.Says = fmt.Sprintf("%s, %s after its beginning: %s", w.Scope, inWords(t.Now.Sub(w.Began)), v.Says)
	a.Channels = t.audience(w)
	w.closed = w.closed || v.Result == Resolved
	if len(a.Channels) > 0 {
		t.actions = append(t.actions, a)
	}
	if v.Result == NotBetter {
		t.escalateTo(w, s.ID(), s.Channels, v.Says)
	}
}

// audience are those who hear what became of a workflow: whom its Notify steps
// name, and whom it has escalated to.
func (t *turn) audience(w *workflow) []string {
	var out []string
	for _, s := range t.cfg.Responses[w.Key] {
		if s.Kind == Notify && w.step(s.ID()) != nil {
			out = append(out, s.Channels...)
		}
	}
	out = append(out, w.told...)
	slices.Sort(out)
	return slices.Compact(out)
}

// escalate tells at once that a step did not do what it was to.
func (t *turn) escalate(w *workflow, step, why string) { t.escalateTo(w, step, nil, why) }

// escalateTo is escalate to given channels; without any to those of the Escalate
// steps, and without such steps to those that the Notify steps name. Once in a
// workflow.
func (t *turn) escalateTo(w *workflow, step string, channels []string, why string) {
	if w.escalated {
		return
	}
	for _, kind := range []Kind{Escalate, Notify} {
		for _, s := range t.cfg.Responses[w.Key] {
			if s.Kind == kind && len(channels) == 0 {
				channels = s.Channels
			}
		}
	}
	taken := Taken{Step: "escalate after " + step, Kind: Escalate, State: Done, At: t.Now}
	if len(channels) == 0 {
		taken.State, taken.What = Skipped, "nobody is named to be told: "+why
		w.take(taken)
		return
	}
	open := t.open(w)
	w.escalated = true
	if quiet := t.quietAll(open); quiet != "" {
		taken.State, taken.What = Skipped, quiet+"; "+why
		w.take(taken)
		return
	}
	w.tells(channels)
	taken.What = "told " + strings.Join(channels, ", ") + ": " + why
	w.take(taken)
	a := t.action(w, taken.Step, Escalate, open)
	a.Channels, a.Says = channels, fmt.Sprintf("%s: %s", w.Scope, why)
	t.actions = append(t.actions, a)
}

// action is what every action of a workflow has.
func (t *turn) action(w *workflow, step string, kind Kind, open []*judge.Incident) Action {
	a := Action{
		Workflow: w.ID, Step: step, Kind: kind, Key: key(t.cfg.Host, w.ID, step),
		Scope: w.Scope, Response: w.Key, Began: w.Began, Incidents: slices.Clone(w.Incidents), Over: len(open) == 0,
	}
	if len(open) > 0 {
		a.Lead = *open[0]
		return a
	}
	for i := range t.Incidents {
		if inc := &t.Incidents[i]; slices.Contains(w.Incidents, inc.ID) {
			a.Lead = *inc // the list is newest first
			break
		}
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
	steps := t.cfg.Responses[w.Key]
	left := slices.DeleteFunc(slices.Clone(steps), func(s Step) bool { return w.step(s.ID()) != nil })
	if w.ran("") && !w.closed && slices.ContainsFunc(left, func(s Step) bool { return s.Kind == FollowUp }) {
		return false // it shows whether that helped
	}
	for _, s := range left {
		w.take(Taken{Step: s.ID(), Kind: s.Kind, State: Skipped, At: t.Now, What: "it was over before"})
	}
	t.close(w)
	t.records = append(t.records, w.changes(t.Offset)...)
	t.gone = append(t.gone, w.memoryKey())
	return true
}

// close tells those who heard of it only here that it is over.
func (t *turn) close(w *workflow) {
	if w.closed || len(w.told) == 0 {
		return
	}
	a := t.action(w, "over", FollowUp, nil)
	a.Channels = slices.DeleteFunc(slices.Clone(w.told), func(c string) bool { return a.Lead.ID != 0 && t.gets(c, []*judge.Incident{&a.Lead}) })
	if len(a.Channels) == 0 {
		return
	}
	says := "it is over: nothing of it is open any more"
	if !w.recovered {
		says = "nothing of it is seen any more; whether it recovered is not known"
	}
	a.Says = fmt.Sprintf("%s: %s.", w.Scope, says)
	w.take(Taken{Step: "over", Kind: FollowUp, State: Done, At: t.Now, What: says + "; told " + strings.Join(a.Channels, ", ")})
	t.actions = append(t.actions, a)
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

// inWords writes a duration as people say it, to the second.
func inWords(d time.Duration) string {
	d = d.Round(time.Second)
	switch m := int(d / time.Minute); {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d/time.Second))
	case d%time.Minute == 0:
		return fmt.Sprintf("%d min", m)
	default:
		return fmt.Sprintf("%d min %d s", m, int(d%time.Minute/time.Second))
	}
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

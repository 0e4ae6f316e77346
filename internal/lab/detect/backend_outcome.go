package detect

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// BackendOutcome is when what was first seen, since the fault. Nil is never.
type BackendOutcome struct {
	Cell     string `json:"cell"`
	Balancer string `json:"balancer"`
	Fault    string `json:"fault"`
	Healthy  bool   `json:"healthy"`
	// Contained: the balancer ran in a container and the agent outside.
	Contained bool `json:"contained"`
	// Phase is how far into the balancer's timer the fault was put; where the
	// timer itself stands nobody knows.
	Phase    time.Duration `json:"phase_ns"`
	Remote   string        `json:"remote"` // the backend that fails
	Requests int           `json:"requests"`
	Failed   int           `json:"failed"` // since the fault
	// Polls is how often the agent saw the balancer's backends, Unseen are those
	// that it never saw.
	Polls  Polls               `json:"polls"`
	Unseen []netip.AddrPort    `json:"unseen,omitempty"`
	Ends   map[lab.Outcome]int `json:"failed_by_outcome,omitempty"`
	// FirstFailed is the clients' first error.
	FirstFailed *time.Duration `json:"first_failed_ns"`
	// Suspect is the first suspicion of the failing backend, Watch its first
	// finding of any severity, Found the first of a right cause at the goal's
	// severity; Cause is its name.
	Suspect *time.Duration `json:"suspect_ns"`
	Watch   *time.Duration `json:"watch_ns"`
	Found   *time.Duration `json:"found_ns"`
	Cause   string         `json:"cause,omitempty"`
	// First is the first cause named at that severity, right or wrong.
	First string `json:"first_cause,omitempty"`
	// Answered is when a backend that was started again got its first request,
	// Resolved when the last finding at warning or above of the failing backend
	// ended, if all did.
	Answered *time.Duration `json:"answered_ns"`
	Resolved *time.Duration `json:"resolved_ns"`
	// Verdict is when the balancer itself held the failing backend to be down;
	// Probe when blackbox_exporter first failed.
	Verdict *time.Duration `json:"verdict_ns"`
	Probe   *time.Duration `json:"probe_ns"`
	// Siblings are findings of any severity on the other backends, Outside
	// those at warning or above that are neither right nor in the chain; in a
	// healthy cell and before the fault, all of them.
	Siblings []string `json:"siblings"`
	Outside  []string `json:"outside"`
	// Followed is how the balancer's restarts were followed.
	Followed []Followed `json:"followed,omitempty"`
	// Missed is what of the cell's goal was not reached.
	Missed []string `json:"missed"`
	// Steps is the whole life of every incident, seconds since the fault.
	Steps []string `json:"steps"`
	// CPU is the agent's share of one core over the run.
	CPU float64 `json:"agent_cpu_share"`
}

// Lead is how long the agent was before the balancer; false where one of them
// said nothing.
func (o BackendOutcome) Lead() (time.Duration, bool) {
	if o.Found == nil || o.Verdict == nil {
		return 0, false
	}
	return *o.Verdict - *o.Found, true
}

// String is the outcome as one line for a person.
func (o BackendOutcome) String() string {
	var followed strings.Builder
	for _, f := range o.Followed {
		fmt.Fprintf(&followed, "; %s", f)
	}
	return fmt.Sprintf("%s: watch %s, found %s (%s), balancer %s, probe %s, clients' first error %s; %d of %d requests failed; siblings %v, outside %v; goals missed %v%s",
		o.Cell, at(o.Watch), at(o.Found), o.Cause, at(o.Verdict), at(o.Probe), at(o.FirstFailed), o.Failed, o.Requests, o.Siblings, o.Outside, o.Missed, &followed)
}

// backendRun is all that was seen in one run.
type backendRun struct {
	fault, answered time.Time
	records         []lab.Record
	incidents       []incident
	// remotes tells the backend of a scope by the scope's id.
	remotes        map[string]netip.AddrPort
	members        []netip.AddrPort // the first fails
	verdict, probe time.Time
	followed       []Followed
	// polls counts those, once the backends have had their time, in which
	// the agent knew of connections to any of them; unseen are those that it
	// never saw.
	polls  Polls
	unseen []netip.AddrPort
}

// finding is one incident that was opened.
type finding struct {
	scope, cause, peak string
	opened             time.Time
}

func (f finding) String() string { return f.scope + " " + f.cause + " " + f.peak }

// reach is when the incident first was as grave as least; zero for never.
func (i *incident) reach(least string) time.Time {
	for _, step := range i.Timeline {
		if graveness(step.Severity) >= graveness(least) {
			return step.At
		}
	}
	return time.Time{}
}

// sum puts everything on the clock that starts with the fault.
func (o *BackendOutcome) sum(cell BackendCell, run backendRun) {
	since := func(at time.Time) *time.Duration {
		if at.IsZero() {
			return nil
		}
		return new(at.Sub(run.fault))
	}
	o.Remote = run.members[0].String()
	o.Answered, o.Verdict, o.Probe = since(run.answered), since(run.verdict), since(run.probe)
	o.sumRequests(run)
	o.Siblings, o.Outside, o.Steps, o.Missed = []string{}, []string{}, []string{}, []string{}
	var watch, found, first, suspect, resolved time.Time
	lasting := false
	earliest := func(into *time.Time, at time.Time) bool {
		if at.IsZero() || !into.IsZero() && !at.Before(*into) {
			return false
		}
		*into = at
		return true
	}
	for i := range run.incidents {
		inc := &run.incidents[i]
		for _, step := range inc.Timeline {
			o.Steps = append(o.Steps, fmt.Sprintf("%+.1fs %s %s: %s", step.At.Sub(run.fault).Seconds(), inc.Scope, inc.Cause, step.What))
		}
		remote, isBackend := run.remotes[inc.Scope]
		member := slices.Index(run.members, remote)
		guilty := !cell.Healthy && (isBackend && (member == 0 || cell.Goal.All && member > 0) || cell.Goal.Host && strings.HasPrefix(inc.Scope, "host"))
		f := finding{scope: inc.Scope, cause: inc.Cause, peak: inc.Peak, opened: inc.OpenedAt}
		if guilty && !inc.SuspectedAt.Before(run.fault) {
			earliest(&suspect, inc.SuspectedAt)
		}
		if f.opened.IsZero() {
			continue // it never was more than a suspect
		}
		grave := graveness(inc.Peak) >= graveness("warning")
		switch {
		case cell.Healthy || f.opened.Before(run.fault):
			if grave {
				o.Outside = append(o.Outside, f.String())
			}
			continue
		case isBackend && !guilty && inc.Because == "local_fault":
			continue // recorded, not sent
		case isBackend && !guilty:
			o.Siblings = append(o.Siblings, f.String())
			continue
		case !guilty:
			if grave && !slices.Contains(cell.Goal.Chain, inc.Cause) {
				o.Outside = append(o.Outside, f.String())
			}
			continue
		}
		earliest(&watch, f.opened)
		reached := inc.reach(cell.Goal.Least)
		right := slices.Contains(cell.Goal.Causes, inc.Cause)
		if earliest(&first, reached) {
			o.First = inc.Cause
		}
		if right && earliest(&found, reached) {
			o.Cause = inc.Cause
		}
		if grave && !right && !slices.Contains(cell.Goal.Chain, inc.Cause) {
			o.Outside = append(o.Outside, f.String())
		}
		switch ended := inc.ResolvedAt; {
		case !grave: // a watch is not sent
		case ended.IsZero():
			lasting = true
		case ended.After(resolved):
			resolved = ended
		}
	}
	if lasting {
		resolved = time.Time{}
	}
	o.Followed, o.Polls, o.Unseen = run.followed, run.polls, run.unseen
	o.Watch, o.Found, o.Suspect, o.Resolved = since(watch), since(found), since(suspect), since(resolved)
	o.Missed = cell.Goal.misses(*o)
}

// sumRequests counts what the clients lost since the fault.
func (o *BackendOutcome) sumRequests(run backendRun) {
	o.Requests = len(run.records)
	o.Ends = map[lab.Outcome]int{}
	for _, r := range run.records {
		if r.Outcome == lab.OK || r.End().Before(run.fault) {
			continue
		}
		o.Failed++
		o.Ends[r.Outcome]++
		if d := r.End().Sub(run.fault); o.FirstFailed == nil || d < *o.FirstFailed {
			o.FirstFailed = &d
		}
	}
}

// misses says what of the goal the outcome does not reach.
func (g BackendGoal) misses(o BackendOutcome) []string {
	missed := []string{}
	say := func(format string, args ...any) { missed = append(missed, fmt.Sprintf(format, args...)) }
	if o.Healthy {
		missed = append(missed, provesNothing(o.Requests, o.Failed, o.Polls)...)
		if len(o.Unseen) > 0 {
			say("the agent never saw %v", o.Unseen)
		}
	} else {
		switch {
		case o.Found == nil:
			say("none of %s opened at %s", strings.Join(g.Causes, ", "), g.Least)
		case *o.Found > g.Within:
			say("found after %.1f s, goal %.1f s", o.Found.Seconds(), g.Within.Seconds())
		}
		if o.First != "" && !slices.Contains(g.Causes, o.First) && !slices.Contains(g.Chain, o.First) {
			say("named %s first", o.First)
		}
	}
	for _, f := range o.Followed {
		if m := f.misses(); m != "" {
			say("%s", m)
		}
	}
	if g.Lasts && o.Found != nil && o.Resolved != nil {
		say("resolved after %.1f s, while the backend is dead", o.Resolved.Seconds())
	}
	if len(o.Siblings) > 0 {
		say("on siblings: %s", strings.Join(o.Siblings, ", "))
	}
	if len(o.Outside) > 0 {
		say("outside the chain: %s", strings.Join(o.Outside, ", "))
	}
	if g.Resolved > 0 {
		switch {
		case o.Answered == nil:
			say("the backend was asked nothing after its restart: the run proves nothing")
		case o.Resolved == nil:
			say("not resolved")
		case *o.Resolved-*o.Answered > g.Resolved:
			say("resolved %.1f s after the first request, goal %.0f s", (*o.Resolved - *o.Answered).Seconds(), g.Resolved.Seconds())
		}
	}
	return missed
}

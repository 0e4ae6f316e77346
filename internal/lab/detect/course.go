package detect

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// FaultGoal is what a cell must show of what fails: a backend, or a region.
type FaultGoal struct {
	// Causes are the right names of the fault; one of them must be the first
	// that is opened at Least or above.
	Causes []string
	// Least is "watch" or "warning".
	Least string
	// Chain are causes that may follow, on what fails or on the host.
	Chain []string
	// Within is the latest that it may be opened after the fault.
	Within time.Duration
	// All: every one of its kind has the fault, so that there are no siblings.
	All bool
	// Host: the cause is the host's, not a backend's or a region's.
	Host bool
	// Lasts: the finding must not end, as the fault does not.
	Lasts bool
	// Resolved is the latest that it must have ended after the first request
	// that the restarted backend got; zero does not ask.
	Resolved time.Duration
}

// Course is how a fault, or a healthy day, went: when what was first seen, since
// the fault. Nil is never.
type Course struct {
	Cell     string `json:"cell"`
	Fault    string `json:"fault"`
	Healthy  bool   `json:"healthy"`
	Requests int    `json:"requests"`
	Failed   int    `json:"failed"` // since the fault
	// Polls is how often the agent saw what it is to judge.
	Polls Polls               `json:"polls"`
	Ends  map[lab.Outcome]int `json:"failed_by_outcome,omitempty"`
	// Usual is what 99 of 100 good answers took at most before the fault: on a
	// machine that is overloaded it is not what the cell means by usual.
	Usual *time.Duration `json:"usual_p99_ns,omitempty"`
	// FirstFailed is the clients' first error.
	FirstFailed *time.Duration `json:"first_failed_ns"`
	// Suspect is the first suspicion of what fails, Watch its first finding of
	// any severity, Found the first of a right cause at the goal's severity;
	// Cause is its name.
	Suspect *time.Duration `json:"suspect_ns"`
	Watch   *time.Duration `json:"watch_ns"`
	Found   *time.Duration `json:"found_ns"`
	Cause   string         `json:"cause,omitempty"`
	// First is the first cause named at that severity, right or wrong.
	First string `json:"first_cause,omitempty"`
	// Answered is when a backend that was started again got its first request,
	// Resolved when the last finding at warning or above of what fails ended, if
	// all did.
	Answered *time.Duration `json:"answered_ns"`
	Resolved *time.Duration `json:"resolved_ns"`
	// Verdict is when the balancer itself held the failing backend to be down;
	// Probe when blackbox_exporter first failed.
	Verdict *time.Duration `json:"verdict_ns"`
	Probe   *time.Duration `json:"probe_ns"`
	// Siblings are findings of any severity on the others of its kind, Outside
	// those at warning or above that are neither right nor in the chain; in a
	// healthy cell and before the fault, all of them.
	Siblings []string `json:"siblings"`
	Outside  []string `json:"outside"`
	// Missed is what of the cell's goal was not reached.
	Missed []string `json:"missed"`
	// Steps is the whole life of every incident, seconds since the fault.
	Steps []string `json:"steps"`
	// CPU is the agent's share of one core over the run.
	CPU float64 `json:"agent_cpu_share"`
}

func (c Course) course() Course { return c }

// courses are those of outcomes.
func courses[O interface{ course() Course }](outcomes []O) []Course {
	var all []Course
	for _, o := range outcomes {
		all = append(all, o.course())
	}
	return all
}

// Lead is how long the agent was before the balancer; false where one of them
// said nothing.
func (c Course) Lead() (time.Duration, bool) {
	if c.Found == nil || c.Verdict == nil {
		return 0, false
	}
	return *c.Verdict - *c.Found, true
}

// String is the course as one line for a person.
func (c Course) String() string {
	return fmt.Sprintf("%s: watch %s, found %s (%s), balancer %s, probe %s, clients' first error %s, their p99 before %s; %d of %d requests failed; siblings %v, outside %v; goals missed %v",
		c.Cell, at(c.Watch), at(c.Found), c.Cause, at(c.Verdict), at(c.Probe), at(c.FirstFailed), at(c.Usual), c.Failed, c.Requests, c.Siblings, c.Outside, c.Missed)
}

// courseRun is what was seen in one run, whatever failed.
type courseRun struct {
	fault, answered time.Time
	end             time.Time // when the agent was asked for its incidents
	verdict, probe  time.Time
	records         []lab.Record
	incidents       []incident
	polls           Polls
	heard           heard
}

// hostScope is the scope of the host's own incidents.
const hostScope = "host"

// part is what the scope of an incident has to do with the fault.
type part int

const (
	apart   part = iota
	guilty       // it has the fault
	inside       // it belongs to what has it, as a backend to its region
	sibling      // it is another of the kind that has it
)

// sum puts everything on the clock that starts with the fault. of says what part
// an incident's scope has; on a healthy day none has any.
func (c *Course) sum(goal FaultGoal, run courseRun, of func(incident) part) {
	since := func(at time.Time) *time.Duration {
		if at.IsZero() {
			return nil
		}
		return new(at.Sub(run.fault))
	}
	c.Answered, c.Verdict, c.Probe, c.Polls = since(run.answered), since(run.verdict), since(run.probe), run.polls
	c.sumRequests(run)
	c.Siblings, c.Outside, c.Steps, c.Missed = []string{}, []string{}, []string{}, []string{}
	var watch, found, first, suspect, resolved time.Time
	lasting := false
	for i := range run.incidents {
		inc := &run.incidents[i]
		for _, step := range inc.Timeline {
			c.Steps = append(c.Steps, fmt.Sprintf("%+.1fs %s %s: %s", step.At.Sub(run.fault).Seconds(), inc.Scope, inc.Cause, step.What))
		}
		part := apart
		if !c.Healthy {
			part = of(*inc)
		}
		if part == guilty && !inc.SuspectedAt.Before(run.fault) {
			earliest(&suspect, inc.SuspectedAt)
		}
		if inc.OpenedAt.IsZero() {
			continue // it never was more than a suspect
		}
		grave := graveness(inc.Peak) >= graveness("warning")
		right, chained := slices.Contains(goal.Causes, inc.Cause), slices.Contains(goal.Chain, inc.Cause)
		expected := chained || right && (part == guilty || part == inside)
		switch {
		case c.Healthy || inc.OpenedAt.Before(run.fault):
			if grave {
				c.Outside = append(c.Outside, inc.String())
			}
			continue
		case part == sibling && inc.Because == "local_fault": // recorded, not sent
			continue
		case part == sibling:
			c.Siblings = append(c.Siblings, inc.String())
			continue
		case grave && !expected:
			c.Outside = append(c.Outside, inc.String())
		}
		if part != guilty {
			continue
		}
		earliest(&watch, inc.OpenedAt)
		reached := inc.reach(goal.Least)
		if earliest(&first, reached) {
			c.First = inc.Cause
		}
		if right && earliest(&found, reached) {
			c.Cause = inc.Cause
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
	c.Watch, c.Found, c.Suspect, c.Resolved = since(watch), since(found), since(suspect), since(resolved)
	c.Missed = goal.misses(*c)
}

// earliest keeps the earlier of two times, and reports whether it is at.
func earliest(into *time.Time, at time.Time) bool {
	if at.IsZero() || !into.IsZero() && !at.Before(*into) {
		return false
	}
	*into = at
	return true
}

// String is the incident for a list of findings.
func (i *incident) String() string { return i.Scope + " " + i.Cause + " " + i.Peak }

// reach is when the incident first was as grave as least; zero for never.
func (i *incident) reach(least string) time.Time {
	for _, step := range i.Timeline {
		if graveness(step.Severity) >= graveness(least) {
			return step.At
		}
	}
	return time.Time{}
}

// sumRequests counts what the clients lost since the fault, and how long they
// waited before it.
func (c *Course) sumRequests(run courseRun) {
	c.Requests = len(run.records)
	c.Ends = map[lab.Outcome]int{}
	var before []time.Duration
	for _, r := range run.records {
		if r.Outcome == lab.OK && r.End().Before(run.fault) {
			before = append(before, r.Total())
		}
		if r.Outcome == lab.OK || r.End().Before(run.fault) {
			continue
		}
		c.Failed++
		c.Ends[r.Outcome]++
		if d := r.End().Sub(run.fault); c.FirstFailed == nil || d < *c.FirstFailed {
			c.FirstFailed = &d
		}
	}
	if n := len(before); n > 0 {
		slices.Sort(before)
		c.Usual = &before[(99*n-1)/100]
	}
}

// misses says what of the goal the course does not reach.
func (g FaultGoal) misses(c Course) []string {
	missed := []string{}
	say := func(format string, args ...any) { missed = append(missed, fmt.Sprintf(format, args...)) }
	if c.Healthy {
		missed = append(missed, provesNothing(c.Requests, c.Failed, c.Polls)...)
	} else {
		switch {
		case c.Found == nil:
			say("none of %s opened at %s", strings.Join(g.Causes, ", "), g.Least)
		case *c.Found > g.Within:
			say("found after %.1f s, goal %.1f s", c.Found.Seconds(), g.Within.Seconds())
		}
		if c.First != "" && !slices.Contains(g.Causes, c.First) && !slices.Contains(g.Chain, c.First) {
			say("named %s first", c.First)
		}
	}
	if g.Lasts && c.Found != nil && c.Resolved != nil {
		say("resolved after %.1f s, while the fault lasts", c.Resolved.Seconds())
	}
	if len(c.Siblings) > 0 {
		say("on siblings: %s", strings.Join(c.Siblings, ", "))
	}
	if len(c.Outside) > 0 {
		say("outside the chain: %s", strings.Join(c.Outside, ", "))
	}
	if g.Resolved > 0 {
		switch {
		case c.Answered == nil:
			say("the backend was asked nothing after its restart: the run proves nothing")
		case c.Resolved == nil:
			say("not resolved")
		case *c.Resolved-*c.Answered > g.Resolved:
			say("resolved %.1f s after the first request, goal %.0f s", (*c.Resolved - *c.Answered).Seconds(), g.Resolved.Seconds())
		}
	}
	return missed
}

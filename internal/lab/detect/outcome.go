package detect

import (
	"fmt"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// Outcome is when what was first seen, since the first request. Nil is never.
type Outcome struct {
	Cell     string  `json:"cell"`
	Healthy  bool    `json:"healthy"`
	Minutes  float64 `json:"load_minutes"`
	Requests int     `json:"requests"`
	Failed   int     `json:"failed"`
	// Polls is how often the agent knew the accept queue.
	Polls Polls `json:"polls"`
	// Queue is when the accept queue was first above 0 for 5 s on end.
	Queue *time.Duration `json:"queue_ns"`
	// Suspect is when the first workers_filling was suspected, Forecast when
	// one was opened; Warning and Critical are the first
	// finding of the cell's chain at that severity or above.
	Suspect     *time.Duration `json:"suspect_ns"`
	Forecast    *time.Duration `json:"forecast_ns"`
	Warning     *time.Duration `json:"warning_ns"`
	Critical    *time.Duration `json:"critical_ns"`
	FirstSlow   *time.Duration `json:"first_slow_ns"`
	FirstFailed *time.Duration `json:"first_failed_ns"`
	Recovered   *time.Duration `json:"recovered_ns"` // when the last one ended, if all did
	// Watches counts findings that never got beyond watch.
	Watches int `json:"watches"`
	// Found is the peak severity of each cause that was opened.
	Found map[string]string `json:"found"`
	// Outside are findings at warning or above that are not in the cell's
	// chain or were there before the load; in a healthy cell, all.
	Outside []string `json:"outside"`
	// Missed is what of the cell's goal was not reached.
	Missed []string `json:"missed"`
	// Patterns are those of the findings, each once.
	Patterns []string `json:"patterns"`
	// Peers is when the alerts of others first fired, a second saturation's
	// from its start on.
	Peers map[string]time.Duration `json:"peers_ns,omitempty"`
	// Steps is the whole life of every incident.
	Steps []string `json:"steps"`
	// CPU is the agent's share of one core over the run.
	CPU float64 `json:"agent_cpu_share"`
}

func at(d *time.Duration) string {
	if d == nil {
		return "never"
	}
	return fmt.Sprintf("%.1fs", d.Seconds())
}

// String is the outcome as one line for a person.
func (o Outcome) String() string {
	return fmt.Sprintf("%s: forecast %s, queue %s, warning %s, critical %s, first slow %s, first failed %s, recovered %s; %d watches, outside the chain %v; %d of %d requests failed; goals missed %v",
		o.Cell, at(o.Forecast), at(o.Queue), at(o.Warning), at(o.Critical), at(o.FirstSlow), at(o.FirstFailed), at(o.Recovered), o.Watches, o.Outside, o.Failed, o.Requests, o.Missed)
}

// Lead is how long the first warning came before the first failed request;
// false when there was no such pair.
func (o Outcome) Lead() (time.Duration, bool) {
	if o.Warning == nil || o.FirstFailed == nil {
		return 0, false
	}
	return *o.FirstFailed - *o.Warning, true
}

// sum puts everything on the clock that starts with the load.
func (o *Outcome) sum(cell Cell, run workersRun) {
	began := run.began
	from := began.Add(cell.Twice)
	records := slices.DeleteFunc(slices.Clone(run.records), func(r lab.Record) bool { return r.Start.Before(from) })
	s := lab.Summarize(records, cell.Slow)
	o.Requests, o.Failed, o.Polls = s.Requests, s.Requests-s.Outcomes[lab.OK], run.polls
	since := func(at time.Time) *time.Duration {
		if at.IsZero() {
			return nil
		}
		return new(at.Sub(began))
	}
	o.Queue, o.FirstSlow, o.FirstFailed = since(run.queue), since(s.FirstSlow), since(s.FirstFailed)
	earliest := func(into **time.Duration, at time.Time) {
		if d := since(at); *into == nil || d != nil && *d < **into {
			*into = d
		}
	}
	lasting := false
	o.Outside, o.Patterns, o.Steps, o.Found = []string{}, []string{}, []string{}, map[string]string{}
	for _, inc := range run.incidents {
		if inc.OpenedAt.IsZero() || cell.Twice > 0 && inc.OpenedAt.Before(from) {
			continue
		}
		if inc.Cause == "traffic_missing" && inc.OpenedAt.After(began.Add(cell.Load.Duration)) {
			continue // it is: the load has ended
		}
		// What was opened before anything happened is nothing that was caused.
		caused := !inc.OpenedAt.Before(began)
		inChain := caused && slices.Contains(cell.Chain, inc.Cause)
		forecast := caused && inc.Cause == "workers_filling"
		if forecast {
			earliest(&o.Suspect, inc.SuspectedAt)
		}
		for _, step := range inc.Timeline {
			o.Steps = append(o.Steps, fmt.Sprintf("%+.1fs %s %s: %s", step.At.Sub(began).Seconds(), inc.Scope, inc.Cause, step.What))
			if forecast && step.Severity != "" {
				earliest(&o.Forecast, step.At)
			}
			if inChain && graveness(step.Severity) >= graveness("warning") {
				earliest(&o.Warning, step.At)
			}
			if inChain && step.Severity == "critical" {
				earliest(&o.Critical, step.At)
			}
		}
		if ended := since(inc.ResolvedAt); ended != nil && (o.Recovered == nil || *ended > *o.Recovered) {
			o.Recovered = ended
		}
		if caused {
			graver(o.Found, inc.Cause, inc.Peak)
		}
		lasting = lasting || inc.State != "resolved"
		switch {
		case inc.Peak == "watch":
			o.Watches++
		case !inChain:
			o.Outside = append(o.Outside, inc.Scope+" "+inc.Cause+" "+inc.Peak)
		}
		if inc.Pattern != "" && !slices.Contains(o.Patterns, inc.Pattern) {
			o.Patterns = append(o.Patterns, inc.Pattern)
		}
	}
	if lasting {
		o.Recovered = nil
	}
	slices.Sort(o.Patterns)
	o.Missed = cell.Goal.misses(*o)
}

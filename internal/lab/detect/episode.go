package detect

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// With is what a cell is played with.
type With struct {
	// Agent is the program.
	Agent string
	// Beside lets the peers of the field watch too.
	Beside bool
	// Episode is the file for the agent's recording of the run, with what is to
	// be found in it beside it, in FILE.labels.yaml; empty keeps none.
	Episode string
	// Progress gets a line now and then.
	Progress func(string)
}

// label is one thing that is to be found in a recording.
type label struct {
	cause string
	or    []string // causes that are as right, or that follow from it
	scope string
	// from and to are when it began and ended, failed is the clients' first
	// error; zero where they saw none.
	from, to, failed time.Time
	least            string // the severity from which it counts as found
	note             string
}

// record returns the agent's recording from its start until now; nil where no
// episode is kept. What comes later would be the end of the load.
func (w With) record(ctx context.Context, a *agent) ([]byte, error) {
	if w.Episode == "" {
		return nil, nil
	}
	since := url.Values{"from": {a.started.UTC().Format(time.RFC3339Nano)}}
	recording, err := lab.Get(ctx, a.client, "http://"+agentAddress+"/api/v1/recording?"+since.Encode())
	if err == nil && len(recording) == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("ask the agent for its recording: %w", err)
	}
	return recording, nil
}

// keep writes a recording, and the labels of what is to be found in it: none is
// a healthy day. It does nothing where no episode is kept.
func (w With) keep(recording []byte, labels []label) error {
	if w.Episode == "" {
		return nil
	}
	err := os.WriteFile(w.Episode, recording, 0o644)
	if err == nil {
		err = os.WriteFile(w.Episode+".labels.yaml", []byte(sidecar(labels)), 0o644)
	}
	if err != nil {
		return fmt.Errorf("keep the episode: %w", err)
	}
	return nil
}

// sidecar writes labels as the file that stands beside a recording.
func sidecar(labels []label) string {
	const version = "version: 1\n"
	if len(labels) == 0 {
		return version + "healthy: true\n"
	}
	var b strings.Builder
	b.WriteString(version + "labels:\n")
	for _, l := range labels {
		fmt.Fprintf(&b, "  - cause: %s\n", l.cause)
		if len(l.or) > 0 {
			fmt.Fprintf(&b, "    or: [%s]\n", strings.Join(l.or, ", "))
		}
		fmt.Fprintf(&b, "    scope: %q\n", l.scope)
		for _, at := range []struct {
			key string
			at  time.Time
		}{{"from", l.from}, {"to", l.to}, {"first_failure", l.failed}} {
			if !at.at.IsZero() {
				fmt.Fprintf(&b, "    %s: %s\n", at.key, at.at.UTC().Format(time.RFC3339Nano))
			}
		}
		if l.least != "warning" {
			fmt.Fprintf(&b, "    severity: %s\n", l.least)
		}
		fmt.Fprintf(&b, "    note: %q\n", l.note)
	}
	return b.String()
}

// lastLook is more than the time since the last look of a recording: a label must
// be within it.
const lastLook = time.Second

// labels are those of a fault on scopes, none on a healthy day.
func (c Course) labels(goal FaultGoal, run courseRun, scopes ...string) []label {
	if c.Healthy {
		return nil
	}
	to := run.end.Add(-lastLook)
	if !run.answered.IsZero() {
		to = run.answered
	}
	var failed time.Time
	if c.FirstFailed != nil && run.fault.Add(*c.FirstFailed).Before(to) {
		failed = run.fault.Add(*c.FirstFailed)
	}
	var out []label
	for _, scope := range scopes {
		out = append(out, label{
			cause: goal.Causes[0], or: slices.Concat(goal.Causes[1:], goal.Chain), scope: scope,
			from: run.fault, to: to, failed: failed, least: goal.Least, note: c.Cell,
		})
	}
	return out
}

// labels are those of a server's trouble: what must be found each by itself, and
// what else its chain may show. It is false where the cell asks for nothing, and
// so knows of nothing.
func (c Cell) labels(scope string, run workersRun) ([]label, bool) {
	if c.Healthy {
		return nil, true
	}
	from := run.began
	if len(c.Events) > 0 {
		from = from.Add(c.Events[0].At)
	}
	failed := lab.Summarize(run.records, c.Slow).FirstFailed
	if failed.Before(from) {
		failed = time.Time{} // for another reason
	}
	rest := slices.DeleteFunc(slices.Clone(c.Chain), func(cause string) bool { return slices.Contains(c.Goal.Found, cause) })
	var out []label
	for _, cause := range c.Goal.Found {
		out = append(out, label{
			cause: cause, or: rest, scope: "service/" + scope, from: from, to: run.began.Add(c.Load.Duration),
			failed: failed, least: "watch", note: c.Name,
		})
	}
	return out, len(out) > 0
}

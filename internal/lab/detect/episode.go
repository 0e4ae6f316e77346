package detect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/recording"
	"github.com/foreshock/foreshock/internal/recording/label"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/scope"
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
	// Sockets records every socket too, with foreshock record beside the agent:
	// an episode of its own, whose file ends in -sockets.rec.
	Sockets bool
	// Progress gets a line now and then.
	Progress func(string)
}

// truth is one thing that is to be found in a recording, as a cell knows it.
type truth struct {
	cause string
	// or are causes that are as right, follows those that may come of it.
	or, follows []string
	scope       string
	// from and to are when it began and ended, failed is the clients' first
	// error; zero where they saw none.
	from, to, failed time.Time
	least            string // the severity from which it counts as found
	note             string
}

// heard is what an agent said of a run.
type heard struct {
	// incidents are all that it listed at that time. One that was suspected and
	// came to nothing is in no list from then on: a replay is to be asked for
	// the same instant.
	incidents []incident
	at        time.Time
	// recording begins with the agent and ends after at; nil where no episode is
	// kept.
	recording []byte
}

// hear asks the agent for its incidents, and for its recording where an episode
// is kept. What comes later would be the end of the load.
func (w With) hear(ctx context.Context, a *agent) (heard, error) {
	var answer incidentsAnswer
	if err := a.Get(ctx, "/api/v1/incidents", &answer); err != nil {
		return heard{}, err
	}
	h := heard{incidents: answer.Incidents, at: answer.At}
	if w.Episode == "" {
		return h, nil
	}
	if a.recorder != nil {
		if err := a.recorder.End(os.Interrupt); err != nil {
			return h, fmt.Errorf("record every socket: %w: %s", err, a.recorder.Said())
		}
	}
	since := url.Values{"from": {a.Started.UTC().Format(time.RFC3339Nano)}}
	var err error
	h.recording, err = a.Raw(ctx, "/api/v1/recording?"+since.Encode())
	if err == nil && len(h.recording) == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		return h, fmt.Errorf("ask the agent for its recording: %w", err)
	}
	return h, nil
}

// startAgent starts the agent of a cell, and beside it what records every
// socket.
func (w With) startAgent(ctx context.Context, host *lab.Host, dir, config string) (*agent, error) {
	a, err := startAgent(ctx, host, w.Agent, dir, config)
	if err != nil || !w.Sockets || w.Episode == "" {
		return a, err
	}
	recorder := host.Command(ctx, w.Agent, "record", "--force", "--sockets", "--config", filepath.Join(dir, lab.AgentFile), w.socketsFile())
	if a.recorder, err = recorder.Launch(); err != nil {
		a.stop()
		return nil, fmt.Errorf("record every socket: %w", err)
	}
	return a, nil
}

// socketsFile is where every socket is recorded.
func (w With) socketsFile() string { return strings.TrimSuffix(w.Episode, ".rec") + "-sockets.rec" }

// keep writes the recording of what was heard, and beside it what is to be found in it: nothing on a
// healthy day. It returns what a replay says otherwise than the agent did. It
// does nothing where no episode is kept.
func (w With) keep(live heard, healthy bool, truths []truth) (missed []string, err error) {
	if w.Episode == "" {
		return nil, nil
	}
	if !healthy && len(truths) == 0 {
		return []string{"no episode: the agent never knew what has the fault"}, nil
	}
	files := []string{w.Episode}
	if err = os.WriteFile(w.Episode, live.recording, 0o644); err == nil && w.Sockets {
		files = append(files, w.socketsFile())
	}
	for _, file := range files {
		if err == nil {
			err = describe(file, truths)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("keep the episode: %w", err)
	}
	return replayed(w.Episode, live)
}

// describe writes what is to be found in a recording beside it, as far as that
// was recorded, and sees that it reads back.
func describe(file string, truths []truth) error {
	r, err := recording.Open(file)
	if err != nil {
		return err
	}
	var survey label.Survey
	for {
		step, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return errors.Join(err, r.Close())
		}
		survey.Add(&step)
	}
	bounds := survey.Bounds()
	text, err := sidecar(within(truths, bounds.To))
	if err == nil {
		_, err = label.Parse(file+label.Suffix, text, bounds)
	}
	if err == nil {
		err = os.WriteFile(file+label.Suffix, text, 0o644)
	}
	return errors.Join(err, r.Close())
}

// within are the truths that end with the recording where they would later: its
// last look is a little before the end of the load.
func within(truths []truth, end time.Time) []truth {
	out := slices.Clone(truths)
	for i := range out {
		if out[i].to.After(end) {
			out[i].to = end
		}
		if out[i].failed.After(end) {
			out[i].failed = time.Time{}
		}
	}
	return out
}

// sidecar writes what is to be found as the file that stands beside a recording.
func sidecar(truths []truth) ([]byte, error) {
	file := label.File{Healthy: len(truths) == 0}
	for _, t := range truths {
		l, err := t.label()
		if err != nil {
			return nil, err
		}
		file.Labels = append(file.Labels, l)
	}
	return file.Text(), nil
}

// label is the truth with names that are known to be some.
func (t truth) label() (label.Label, error) {
	l := label.Label{From: t.from, To: t.to, FirstFailure: t.failed, Note: t.note}
	var known bool
	if l.Scope, known = scope.Parse(t.scope); !known {
		return l, fmt.Errorf("%q is no scope", t.scope)
	}
	var err error
	if l.Severity, err = rule.ParseSeverity(t.least); err != nil {
		return l, err
	}
	if l.Cause, err = label.Cause(t.cause); err != nil {
		return l, err
	}
	if l.Or, err = causes(t.or); err != nil {
		return l, err
	}
	l.Follows, err = causes(t.follows)
	return l, err
}

// causes are those of these names, without the rule's: a score does not ask a
// rule for its cause.
func causes(names []string) (out []judge.Cause, err error) {
	for _, name := range names {
		if name == judge.UserRule.String() {
			continue
		}
		c, err := label.Cause(name)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// lastLook is more than the time since the last look of a recording: a label must
// be within it.
const lastLook = time.Second

// truths are those of a fault on scopes, none on a healthy day.
func (c Course) truths(goal FaultGoal, run courseRun, scopes ...string) []truth {
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
	var out []truth
	for _, on := range scopes {
		out = append(out, truth{
			cause: goal.Causes[0], or: goal.Causes[1:], follows: goal.Chain, scope: on,
			from: run.fault, to: to, failed: failed, least: goal.Least, note: c.Cell,
		})
	}
	return out
}

// truths are those of a server's trouble: what must be found each by itself, and
// what else its chain may show. It is false where the cell asks for nothing, and
// so knows of nothing.
func (c Cell) truths(service string, run workersRun) ([]truth, bool) {
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
	var out []truth
	for _, cause := range c.Goal.Found {
		out = append(out, truth{
			cause: cause, follows: rest, scope: "service/" + service, from: from, to: run.began.Add(c.Load.Duration),
			failed: failed, least: "watch", note: c.Name,
		})
	}
	return out, len(out) > 0
}

package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/observe/busy"
	"github.com/foreshock/foreshock/internal/respond"
)

const (
	bundleVersion = 1
	// gatherWithin is how long a bundle may take.
	gatherWithin = 5 * time.Second
	// mostBundle is how large one is, in bytes.
	mostBundle = 256 << 10
	// recentIncidents is how far back those of a bundle go, mostRecent how many
	// there are at most.
	recentIncidents = time.Hour
	mostRecent      = 50
	// mostProcesses of a service are read: a prefork server has hundreds.
	mostProcesses = 64
)

// collect gathers the evidence there is about an incident's scope.
func (a *agent) collect(ctx context.Context, x respond.Action) {
	select {
	case a.responses.gathers <- struct{}{}:
		defer func() { <-a.responses.gathers }()
	case <-ctx.Done():
		return
	}
	limited, cancel := context.WithTimeout(ctx, gatherWithin)
	defer cancel()
	o := outcome{Outcome: respond.Outcome{Workflow: x.Workflow, Step: x.Step, State: respond.Failed}}
	data, b, err := a.bundle(limited, x)
	if err == nil {
		err = a.attach(x.Lead.ID, x.Workflow+" "+x.Step, api.AttachedBundle, b.At, data)
	}
	if err != nil {
		o.What = err.Error()
		a.responses.done(ctx, o)
		return
	}
	o.State = respond.Done
	o.What = fmt.Sprintf("gathered %s: %s, %s", plural((len(data)+1023)>>10, "KiB", "KiB"), plural(len(b.Processes), "process", "processes"), plural(len(b.Incidents), "incident of the last hour", "incidents of the last hour"))
	if n := len(b.NotRead); n > 0 {
		o.What += fmt.Sprintf("; %d could not be read", n)
	}
	o.Detail, err = json.Marshal(struct {
		Incident uint64   `json:"evidence_of_incident"`
		Bytes    int      `json:"bytes"`
		NotRead  []string `json:"not_read"`
		Cut      []string `json:"cut"`
	}{x.Lead.ID, len(data), b.NotRead, b.Cut})
	if err != nil {
		a.log.Error("response: the detail of what was gathered", "error", err.Error())
	}
	a.responses.done(ctx, o)
}

// bundle collects it, within what a bundle may be.
func (a *agent) bundle(ctx context.Context, x respond.Action) ([]byte, *api.Bundle, error) {
	began := time.Now()
	s := a.Snapshot() // waits for a fresh one, and not for long
	b := &api.Bundle{
		Version: bundleVersion, At: s.Wall(s.At), Host: s.Host,
		Siblings: []api.Sibling{}, Processes: []api.Process{}, Incidents: []api.Brief{}, NotRead: []string{}, Cut: []string{},
	}
	scopes, incidents := api.Views(s)
	id := x.Scope.String()
	for i := range scopes {
		if scopes[i].ID == id {
			b.Scope = &scopes[i]
		}
	}
	if b.Scope == nil {
		b.NotRead = append(b.NotRead, "signals: "+id+" is not there any more")
	} else {
		b.Siblings = siblingsOf(b.Scope, scopes)
		a.bundleProcesses(ctx, b)
	}
	bundleLoad(b)
	for i := range incidents {
		if inc := &incidents[i]; inc.OpenedAt != nil && (inc.ResolvedAt == nil || b.At.Sub(*inc.ResolvedAt) < recentIncidents) {
			b.Incidents = append(b.Incidents, api.Brief{ID: inc.ID, Scope: inc.Scope, Cause: inc.Cause, Severity: inc.Severity, State: inc.State, OpenedAt: inc.OpenedAt, ResolvedAt: inc.ResolvedAt, Sentence: inc.Sentence})
		}
	}
	if over := len(b.Incidents) - mostRecent; over > 0 {
		b.Incidents = b.Incidents[:mostRecent]
		b.Cut = append(b.Cut, fmt.Sprintf("%d more incidents of the last hour", over))
	}
	a.bundleRecording(b, x, s)
	b.TookSeconds = time.Since(began).Seconds()
	data, err := fit(b)
	return data, b, err
}

// bundleProcesses reads the processes of the scope, as far as ctx allows.
func (a *agent) bundleProcesses(ctx context.Context, b *api.Bundle) {
	pids := b.Scope.PIDs
	if over := len(pids) - mostProcesses; over > 0 {
		pids = pids[:mostProcesses]
		b.Cut = append(b.Cut, fmt.Sprintf("%d more processes", over))
	}
	for _, pid := range pids {
		if ctx.Err() != nil {
			b.NotRead = append(b.NotRead, "processes: there was no more time")
			return
		}
		p, err := busy.ReadProcess(procRoot, pid)
		if err != nil {
			b.NotRead = append(b.NotRead, fmt.Sprintf("process %d: %s", pid, err))
			continue
		}
		out := api.Process{PID: pid, Name: p.Name, Unit: b.Scope.Unit, CPUSeconds: new(p.CPU.Seconds()), Threads: new(p.Threads), RSSBytes: p.RSS, OpenFiles: p.OpenFiles}
		if !p.Started.IsZero() {
			out.StartedAt = &p.Started
		}
		if p.OpenFiles == nil {
			b.NotRead = append(b.NotRead, fmt.Sprintf("open files of process %d: not allowed", pid))
		}
		b.Processes = append(b.Processes, out)
	}
}

func bundleLoad(b *api.Bundle) {
	l, problems := busy.Read(procRoot)
	b.NotRead = append(b.NotRead, problems...)
	b.Load = api.Load{Pressure: l.Pressure, MemoryBytes: l.Memory, MemoryAvailBytes: l.Available, SwapFreeBytes: l.SwapFree}
	if len(l.Average) == 3 {
		b.Load.Average1m, b.Load.Average5m, b.Load.Average15m = &l.Average[0], &l.Average[1], &l.Average[2]
	}
}

// bundleRecording says which part of what was recorded is of it.
func (a *agent) bundleRecording(b *api.Bundle, x respond.Action, s *api.Snapshot) {
	from := x.Lead.SuspectedAt
	if from.IsZero() {
		from = x.Began
	}
	b.Recording = api.Recording{
		From: new(s.Wall(from).Add(-normsWithin)), To: new(b.At),
		Command: fmt.Sprintf("foreshock record incident-%[1]d.rec --incident %[1]d && foreshock replay incident-%[1]d.rec", x.Lead.ID),
		Note:    "it stays with the incident in the history",
	}
	if a.recorder.ring != nil {
		b.Recording.Note = fmt.Sprintf("only the last %s are there, in memory: the agent keeps no history", flightSpan)
	}
}

// siblingsOf are the other backends of the scope's group.
func siblingsOf(of *api.Scope, scopes []api.Scope) []api.Sibling {
	out := []api.Sibling{}
	if of.Backend == nil {
		return out
	}
	for i := range scopes {
		if s := &scopes[i]; s.Backend != nil && s.Backend.Group == of.Backend.Group && s.ID != of.ID {
			out = append(out, api.Sibling{ID: s.ID, Verdict: s.Backend.Verdict})
		}
	}
	return out
}

// fit encodes a bundle, leaving out what there is most of until it fits.
func fit(b *api.Bundle) ([]byte, error) {
	for {
		data, err := json.Marshal(b)
		if err != nil {
			return nil, fmt.Errorf("encode what was gathered: %w", err)
		}
		if len(data) <= mostBundle {
			return data, nil
		}
		switch {
		case b.Scope != nil && len(b.Scope.Examples) > 0:
			b.Cut = append(b.Cut, plural(len(b.Scope.Examples), "example socket", "example sockets"))
			b.Scope.Examples = []api.Socket{}
		case len(b.Siblings) > 0:
			b.Cut = append(b.Cut, plural(len(b.Siblings), "sibling", "siblings"))
			b.Siblings = []api.Sibling{}
		case len(b.Incidents) > 0:
			b.Cut = append(b.Cut, plural(len(b.Incidents), "incident", "incidents"))
			b.Incidents = []api.Brief{}
		case len(b.Processes) > 0:
			b.Cut = append(b.Cut, plural(len(b.Processes), "process", "processes"))
			b.Processes = []api.Process{}
		case b.Scope != nil:
			b.Cut = append(b.Cut, "the scope itself")
			b.Scope = nil
		default:
			b.NotRead = b.NotRead[:min(len(b.NotRead), 20)]
			b.Cut = slices.Clip(b.Cut)
			return json.Marshal(b)
		}
	}
}

package agent

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/dial"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/notify"
	"github.com/foreshock/foreshock/internal/respond"
)

// Trial is one run of a hook by hand.
type Trial struct {
	Hook   string `json:"hook"`
	DryRun bool   `json:"dry_run"`
	// Command is what was run, or would have been; Webhook the host that was
	// asked.
	Command []string        `json:"command,omitempty"`
	Webhook string          `json:"webhook,omitempty"`
	Input   json.RawMessage `json:"input"`
	State   string          `json:"state"` // done, failed or dry_run
	What    string          `json:"what"`
	// ExitCode is nil of what was not started.
	ExitCode    *int    `json:"exit_code"`
	TookSeconds float64 `json:"took_seconds"`
	Output      string  `json:"output"`
	OutputBytes int64   `json:"output_bytes"`
}

// TryHook runs a hook once, as the agent would, for an incident as the API has
// it: its input says that it is a trial. With dryRun nothing is started. Each
// trial has a key of its own.
func TryHook(ctx context.Context, cfg config.Config, h config.Hook, incident json.RawMessage, dryRun bool) (Trial, error) {
	host, err := hostName(cfg)
	if err != nil {
		return Trial{}, err
	}
	bound, err := bindHook(&h, dial.New())
	if err != nil {
		return Trial{}, err
	}
	defer bound.close()
	var about api.Incident
	if err := json.Unmarshal(incident, &about); err != nil {
		return Trial{}, err
	}
	key := make([]byte, 16)
	_, _ = rand.Read(key) // never fails
	now := time.Now().UTC()
	in := HookInput{
		Version: hookInputVersion, Key: hex.EncodeToString(key), Hook: h.Name, DryRun: dryRun, Trial: true, At: now, Deadline: now.Add(h.Timeout),
		Host: host, Labels: cfg.Labels, Scope: about.Scope, Response: cmp.Or(about.Pattern, about.Cause), BeganAt: now, Pattern: about.Pattern,
		Prefixes: about.Prefixes, Incidents: []json.RawMessage{incident},
	}
	if in.Labels == nil {
		in.Labels = map[string]string{}
	}
	if about.OpenedAt != nil {
		in.BeganAt = *about.OpenedAt
	}
	input, err := in.JSON()
	if err != nil {
		return Trial{}, err
	}
	var out ran
	switch {
	case dryRun:
		out = ran{state: respond.DryRun, what: "would run " + bound.words()}
	case bound.post != nil:
		out = bound.call(ctx, now, in.Key, input)
	default:
		out = bound.exec(ctx, in.Key, input)
	}
	return Trial{
		Hook: h.Name, DryRun: dryRun, Command: h.Exec, Webhook: bound.host(), Input: input, State: out.state.String(), What: out.what,
		ExitCode: out.ExitCode, TookSeconds: out.TookSeconds, Output: strings.ToValidUTF8(string(out.output), "?"), OutputBytes: out.OutputBytes,
	}, nil
}

// SampleIncident is a made-up incident, as the API shows one.
func SampleIncident(now time.Time) (json.RawMessage, error) {
	item := notify.Sample("", now).Incidents[0]
	since := now.Add(-3 * time.Minute).UTC()
	return json.Marshal(api.Incident{
		ID: max(1, item.Incident), State: judge.Open.String(), Scope: item.Scope, Cause: item.Cause, Severity: item.Severity, PeakSeverity: item.Severity,
		Certainty: item.Certainty, Basis: item.Basis, Sentence: item.Sentence, Hurt: item.Hurt, Trigger: item.Trigger, SuspectedAt: &since, OpenedAt: &since, UpdatedAt: &since,
		Evidence: []api.Evidence{}, Considered: []api.Considered{}, Advice: item.Advice, Timeline: []api.Step{}, Examples: []api.Socket{},
		Pattern: judge.GradualSaturation.String(), PatternEvidence: item.Basis, Response: item.Advice[0],
		Prefixes: []api.Prefix{{Prefix: "192.0.2.0/24", Held: 14, Slow: 3}}, Actions: []api.Action{},
	})
}

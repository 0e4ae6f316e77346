package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/dial"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/notify"
	"github.com/foreshock/foreshock/internal/respond"
	"github.com/foreshock/foreshock/internal/respond/hook"
	"github.com/foreshock/foreshock/internal/spelling"
)

// boundResponses are the responses of a configuration, with what their hooks
// need.
type boundResponses struct {
	config respond.Config
	hooks  map[string]*boundHook
}

// boundHook is a hook that can be run.
type boundHook struct {
	config.Hook
	post *notify.Post // of a webhook
}

func (h *boundHook) close() {
	if h.post != nil {
		h.post.Close()
	}
}

// CheckResponses says whether the responses of a configuration can be carried
// out. path is the file, for messages. Warnings are hooks that could not run
// now; one that others may change is an error.
func CheckResponses(cfg config.Config, path string) (warnings []string, err error) {
	known := []string{config.DefaultResponse}
	for _, c := range judge.Causes() {
		known = append(known, c.String())
	}
	for _, p := range []judge.Pattern{judge.GradualSaturation, judge.SuddenSpike, judge.ResourceLeak} {
		known = append(known, p.String())
	}
	var errs []error
	for i := range cfg.Respond {
		r := &cfg.Respond[i]
		if !slices.Contains(known, r.Key) {
			hint := "docs/SIGNALS.md lists the causes; the patterns are gradual_saturation, sudden_spike and resource_leak"
			if near, ok := spelling.Nearest(r.Key, known); ok {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			errs = append(errs, r.Refused(path, fmt.Sprintf("the response %q is neither a cause, a pattern nor default", r.Key), hint))
		}
		for _, s := range r.Steps {
			if s.Hook == nil || len(s.Hook.Exec) == 0 {
				continue
			}
			err := hook.Check(s.Hook.Exec[0])
			if _, unsafe := errors.AsType[*hook.UnsafeError](err); unsafe {
				errs = append(errs, s.Hook.Refused(path, err.Error(), "a hook is run with the agent's rights"))
			} else if err != nil {
				warnings = append(warnings, fmt.Sprintf("%s:%d:%d: %s: until that is mended the hook fails", path, s.Hook.Line, s.Hook.Column, err))
			}
		}
	}
	return warnings, errors.Join(errs...)
}

// bindResponses makes the responses of a configuration, and reads the secrets
// of their webhooks.
func bindResponses(cfg config.Config, host string, dialer *dial.Dialer) (boundResponses, error) {
	out := boundResponses{respond.Config{Host: host, Responses: map[string][]respond.Step{}}, map[string]*boundHook{}}
	for _, r := range cfg.Respond {
		var steps []respond.Step
		for _, s := range r.Steps {
			step := respond.Step{After: s.After, MaxPerHour: s.MaxPerHour, DryRun: s.DryRun, UnlessAcknowledged: s.UnlessAcknowledged}
			switch {
			case s.Gather:
				step.Kind = respond.Gather
			case s.FollowUp:
				step.Kind, step.Channels = respond.FollowUp, s.Escalate
			case s.Hook != nil:
				step.Kind, step.Hook = respond.Hook, s.Hook.Name
				bound, err := bindHook(s.Hook, dialer)
				if err != nil {
					return boundResponses{}, err
				}
				out.hooks[s.Hook.Name] = bound
			case len(s.Escalate) > 0:
				step.Kind, step.Channels = respond.Escalate, s.Escalate
			default:
				step.Kind, step.Channels = respond.Notify, s.Notify
			}
			steps = append(steps, step)
		}
		out.config.Responses[r.Key] = steps
	}
	return out, nil
}

func bindHook(h *config.Hook, dialer *dial.Dialer) (*boundHook, error) {
	out := &boundHook{Hook: *h}
	if h.Webhook == nil {
		return out, nil
	}
	to := notify.Webhook{URL: h.Webhook.URL, Dial: dialer.DialContext}
	if !h.Webhook.Secret.IsZero() {
		key, err := h.Webhook.Secret.Read()
		if err != nil {
			return nil, fmt.Errorf("hook %s: read the webhook's secret: %w", h.Name, err)
		}
		to.Key = []byte(key)
	}
	post, err := notify.NewPost(to, h.Timeout)
	out.post = post
	return out, err
}

// HookInput is what a hook gets, version 1: docs/RESPOND.md describes it.
type HookInput struct {
	Version int `json:"version"`
	// Key names this run for ever: the same key is the same run.
	Key    string `json:"key"`
	Hook   string `json:"hook"`
	DryRun bool   `json:"dry_run"`
	// Trial: somebody tries the hook by hand.
	Trial    bool              `json:"trial"`
	At       time.Time         `json:"at"`
	Deadline time.Time         `json:"deadline"` // when it is ended
	Host     string            `json:"host"`
	Labels   map[string]string `json:"labels"`
	Scope    string            `json:"scope"`
	// Response is the configuration's key; BeganAt when the workflow did.
	Response string    `json:"response"`
	BeganAt  time.Time `json:"began_at"`
	// Pattern and Prefixes are the first incident's: what to limit or scale.
	Pattern  string       `json:"pattern"`
	Prefixes []api.Prefix `json:"prefixes"`
	// Incidents are as the API shows them, the worst open one first; so many
	// more are left out.
	Incidents        []json.RawMessage `json:"incidents"`
	IncidentsLeftOut int               `json:"incidents_left_out"`
}

const (
	hookInputVersion = 1
	// mostInput is how large the input of a hook is, in bytes, as long as one
	// incident is in it.
	mostInput = 64 << 10
)

// JSON is what the hook gets.
func (i *HookInput) JSON() ([]byte, error) {
	raw, err := json.Marshal(i)
	if err != nil {
		return nil, fmt.Errorf("encode what the hook %s gets: %w", i.Hook, err)
	}
	return append(raw, '\n'), nil
}

// hookRun is a hook that is to be run, with all that it needs.
type hookRun struct {
	respond.Action
	hook  *boundHook // nil: the configuration no longer has it
	input HookInput
	now   time.Time // of the wall
}

// hookRun makes one, in the loop.
func (a *agent) hookRun(now time.Time, offset time.Duration, x *respond.Action, about, incidents []judge.Incident) hookRun {
	wall := now.Add(offset).UTC()
	run := hookRun{Action: *x, hook: a.responses.hooks[x.Hook], now: wall}
	in := HookInput{
		Version: hookInputVersion, Key: x.Key, Hook: x.Hook, DryRun: x.DryRun, At: wall, Host: a.host, Labels: a.config.Labels,
		Scope: x.Scope.String(), Response: x.Response, BeganAt: x.Began.Add(offset).UTC(), Pattern: x.Lead.Finding.Pattern.String(),
		Prefixes: []api.Prefix{}, Incidents: []json.RawMessage{},
	}
	if in.Labels == nil {
		in.Labels = map[string]string{}
	}
	if run.hook != nil {
		in.Deadline = wall.Add(run.hook.Timeout)
	}
	for _, p := range x.Lead.Finding.Prefixes {
		in.Prefixes = append(in.Prefixes, api.Prefix{Prefix: p.Prefix.String(), Held: p.Held, Slow: p.Slow})
	}
	size := 0
	for i := range about {
		document, err := api.Document(&about[i], incidents, offset)
		if size += len(document); err != nil || size > mostInput && len(in.Incidents) > 0 {
			in.IncidentsLeftOut++
			continue
		}
		in.Incidents = append(in.Incidents, document)
	}
	run.input = in
	return run
}

// hookDetail is the detail of a hook's action.
type hookDetail struct {
	Hook     string `json:"hook"`
	Incident uint64 `json:"evidence_of_incident"`
	DryRun   bool   `json:"dry_run"`
	// Command is what was run, or would have been; Webhook the host that was
	// asked.
	Command     []string `json:"command,omitempty"`
	Webhook     string   `json:"webhook,omitempty"`
	ExitCode    *int     `json:"exit_code,omitempty"`
	TookSeconds float64  `json:"took_seconds"`
	OutputBytes int64    `json:"output_bytes"`
	LastLine    string   `json:"last_line"`
	NotKept     string   `json:"not_kept,omitempty"`
}

// ran is how a hook ended.
type ran struct {
	state  respond.State
	what   string
	output []byte
	hookDetail
}

// runHook runs a hook, once what says so is written.
func (a *agent) runHook(ctx context.Context, run hookRun) {
	unkept := ""
	if err := a.keeper.settle(ctx); err != nil {
		unkept = "that it runs is not kept, so another run of the agent may run it again: " + err.Error()
	}
	input, err := run.input.JSON()
	var out ran
	switch {
	case err != nil:
		out = ran{state: respond.Failed, what: err.Error()}
	case run.hook == nil:
		out = ran{state: respond.Failed, what: "the configuration no longer has this hook"}
	case run.DryRun:
		out = ran{state: respond.DryRun, what: "would run " + run.hook.words() + "; dry_run is true"}
	case run.hook.post != nil:
		out = run.hook.call(ctx, run.now, run.Key, input)
	default:
		out = run.hook.exec(ctx, run.Key, input)
	}
	if ctx.Err() != nil {
		return // the next run of the agent says that it was interrupted
	}
	out.Hook, out.DryRun, out.NotKept, out.Incident = run.Hook, run.DryRun, unkept, run.Lead.ID
	if run.hook != nil {
		out.Command = run.hook.Exec
		out.Webhook = run.hook.host()
	}
	record, err := json.Marshal(api.HookRun{Hook: run.Hook, DryRun: run.DryRun, Input: input, Output: strings.ToValidUTF8(string(out.output), "?"), OutputBytes: out.OutputBytes})
	if err == nil {
		err = a.attach(run.Lead.ID, run.Workflow+" "+run.Step, api.AttachedRun, run.now, record)
	}
	if err != nil {
		a.log.Error("response: what a hook was given and said is not kept", "hook", run.Hook, "error", err.Error())
	}
	detail, err := json.Marshal(out.hookDetail)
	if err != nil {
		a.log.Error("response: the detail of a hook's run", "error", err.Error())
	}
	a.responses.done(ctx, outcome{respond.Outcome{Workflow: run.Workflow, Step: run.Step, State: out.state, What: out.what, Detail: detail}, run.Hook})
}

// words is what is run, for a person.
func (h *boundHook) words() string {
	if h.post != nil {
		return h.Name + ", a webhook on " + h.host()
	}
	return h.Name + ", " + strings.Join(h.Exec, " ")
}

// host is a webhook's; empty for a program.
func (h *boundHook) host() string {
	if h.post == nil {
		return ""
	}
	return h.post.Host()
}

// exec runs a program.
func (h *boundHook) exec(ctx context.Context, key string, input []byte) ran {
	result := hook.Exec(ctx, hook.Command{Path: h.Exec[0], Args: h.Exec[1:], Timeout: h.Timeout, Input: input, Key: key})
	out := ran{state: respond.Done, what: fmt.Sprintf("%s, in %.1f s", h.Name, result.Took.Seconds()), output: result.Output}
	out.TookSeconds, out.OutputBytes, out.LastLine = result.Took.Seconds(), result.Bytes, result.LastLine()
	if result.Err == nil {
		out.ExitCode = new(result.ExitCode)
	}
	if result.Left {
		out.what += "; something that it started goes on"
	}
	if why := result.Failure(); why != "" {
		out.state, out.what = respond.Failed, why
	}
	return out
}

// call calls a webhook.
func (h *boundHook) call(ctx context.Context, now time.Time, key string, input []byte) ran {
	limited, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	began := time.Now()
	answer, err := h.post.Send(limited, now, key, input)
	took := time.Since(began).Seconds()
	out := ran{state: respond.Done, what: fmt.Sprintf("%s, in %.1f s", h.Name, took), output: answer}
	out.TookSeconds, out.OutputBytes = took, int64(len(answer))
	said := hook.Result{Output: answer}
	out.LastLine = said.LastLine()
	if err != nil {
		out.state, out.what = respond.Failed, err.Error()
	}
	return out
}

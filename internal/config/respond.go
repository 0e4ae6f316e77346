package config

import (
	"cmp"
	"fmt"
	"net/url"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/invopop/jsonschema"

	"github.com/foreshock/foreshock/internal/spelling"
)

// Response is what is done about incidents of one kind, step by step.
type Response struct {
	// Key is a pattern, a cause or "default"; whoever knows the causes checks
	// it: this package knows none.
	Key   string
	Steps []ResponseStep // in the order of their times, at least one
	// Line and Column are where the file has the key, for messages.
	Line, Column int
}

// ResponseStep is one step: exactly one of Notify, Gather, Hook, FollowUp and
// Escalate is set, but that FollowUp may have an Escalate beside it.
type ResponseStep struct {
	After    time.Duration // from the beginning on
	Notify   []string      // channels
	Gather   bool
	Hook     *Hook
	FollowUp bool
	// Escalate are the channels that are told; beside a FollowUp, when nothing
	// got better.
	Escalate []string
	// UnlessAcknowledged: an Escalate is left out when somebody took it.
	UnlessAcknowledged bool
	// DryRun and MaxPerHour are a Hook's.
	DryRun     bool
	MaxPerHour int
}

// Hook is a program that is run, or a webhook that is called.
type Hook struct {
	Name    string   // unique but for the same hook in another response
	Exec    []string // absolute path and arguments; or
	Webhook *Webhook
	Timeout time.Duration
	// Line and Column are where the file has what is run, for messages.
	Line, Column int
}

// Refused is what Parse would say of a response whose key is none.
func (r *Response) Refused(file, problem, hint string) error {
	return &Error{File: file, Line: r.Line, Column: r.Column, Key: "respond." + shorten(r.Key), Text: shorten(r.Key), Problem: problem, Hint: hint}
}

// Refused is what Parse would say of a hook that cannot be run.
func (h *Hook) Refused(file, problem, hint string) error {
	return &Error{File: file, Line: h.Line, Column: h.Column, Key: "respond", Text: shorten(h.Name), Problem: "hook " + quote(h.Name) + ": " + problem, Hint: hint}
}

// DefaultResponse is the key of what no other one names.
const DefaultResponse = "default"

// The bounds and defaults of responses.
const (
	MaxAfter           = 24 * time.Hour
	MaxSteps           = 20
	DefaultHookTimeout = 20 * time.Second
	MinHookTimeout     = time.Second
	MaxHookTimeout     = 10 * time.Minute
	DefaultMaxPerHour  = 2
	MaxMaxPerHour      = 60
	maxArguments       = 32
	maxArgument        = 4096 // bytes
	maxHookName        = 64
)

// rawRespond keeps the order of the file, for stable messages.
type rawRespond []rawResponse

// spoil does nothing: no key is required.
func (*rawRespond) spoil() {}

type rawResponse struct {
	At    position
	Key   string
	Steps []rawStep
}

type rawStep struct {
	section
	After      rawAfter   `yaml:"after" jsonschema_description:"When, from the beginning of the first incident on, up to 24h. Default: 0s."`
	Notify     []rawText  `yaml:"notify" example:"[oncall]" jsonschema_description:"Tell these channels, unless they are told of it as of any other incident."`
	Gather     rawBool    `yaml:"gather" jsonschema_description:"Collect the evidence that there is, and keep it with the incident."`
	Hook       rawHook    `yaml:"hook" example:"{exec: [/usr/local/bin/add-workers]}" jsonschema_description:"Run a program, or call a webhook."`
	FollowUp   rawBool    `yaml:"follow_up" jsonschema_description:"Look again and say whether it is resolved, better or not."`
	Escalate   []rawText  `yaml:"escalate" example:"[boss]" jsonschema_description:"Tell these channels that it is still open; beside follow_up, only when nothing got better."`
	Unless     rawUnless  `yaml:"unless" jsonschema_description:"Leave an escalation out when somebody has acknowledged one of the incidents."`
	DryRun     rawBool    `yaml:"dry_run" jsonschema_description:"Of a hook: only record what would be run. Default: true."`
	MaxPerHour rawPerHour `yaml:"max_per_hour" jsonschema_description:"Of a hook: how often it may run within an hour, whatever for, from 1 to 60. Default: 2."`
}

type rawHook struct {
	section
	Name    rawText       `yaml:"name" jsonschema_description:"The hook's name. Default: that of its program, or the webhook's host."`
	Exec    []rawArgument `yaml:"exec" example:"[/usr/local/bin/add-workers]" jsonschema_description:"The program's absolute path, and its arguments; no shell. It gets JSON on stdin."`
	Webhook rawWebhook    `yaml:"webhook" example:"{url: https://ops.example/scale}" jsonschema_description:"Post the same JSON to a URL."`
	Timeout rawTimeout    `yaml:"timeout" jsonschema_description:"How long it may take, from 1s to 10m. Default: 20s."`
}

type (
	rawAfter    struct{ scalar }
	rawTimeout  struct{ scalar } // of a hook
	rawUnless   struct{ scalar }
	rawPerHour  struct{ scalar }
	rawArgument struct{ scalar }
)

const durationPattern = `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`

func (rawAfter) kind() kind { return kind{"a duration", "60s or 2m", text(durationPattern)} }

func (rawTimeout) kind() kind {
	s := text(durationPattern)
	s.Default = durationText(DefaultHookTimeout)
	return kind{"a duration", "20s", s}
}

func (rawUnless) kind() kind { return kind{"acknowledged", "acknowledged", oneOf("acknowledged")} }

func (rawPerHour) kind() kind {
	return kind{"a number", "2", &jsonschema.Schema{Type: "integer", Minimum: number(1), Maximum: number(MaxMaxPerHour), Default: DefaultMaxPerHour}}
}

func (rawArgument) kind() kind {
	return kind{"text", "/usr/local/bin/add-workers", &jsonschema.Schema{Type: "string", MaxLength: new(uint64(maxArgument))}}
}

// JSONSchema describes the responses.
func (rawRespond) JSONSchema() *jsonschema.Schema {
	steps := reflector().Reflect([]rawStep{})
	steps.Version = ""
	return &jsonschema.Schema{
		Type:                 "object",
		PropertyNames:        &jsonschema.Schema{Pattern: responseKey.String()},
		AdditionalProperties: steps,
	}
}

// JSONSchemaExtend says that a step does one thing.
func (rawStep) JSONSchemaExtend(s *jsonschema.Schema) {
	s.AnyOf = []*jsonschema.Schema{{Required: []string{"notify"}}, {Required: []string{"gather"}}, {Required: []string{"hook"}}, {Required: []string{"follow_up"}}, {Required: []string{"escalate"}}}
}

// JSONSchemaExtend says that a hook is one thing.
func (rawHook) JSONSchemaExtend(s *jsonschema.Schema) {
	s.OneOf = []*jsonschema.Schema{{Required: []string{"exec"}}, {Required: []string{"webhook"}}}
}

// responseKey is how causes and patterns are spelt.
var responseKey = regexp.MustCompile(`^[a-z_]+$`)

func decodeRespond(p *problems, path string, n ast.Node) rawRespond {
	var out rawRespond
	eachNamed(p, path, n, "{gradual_saturation: [{notify: [oncall]}]}", "the response", "make it one list of steps", func(key string, at position, value ast.Node) {
		r := rawResponse{At: at, Key: key}
		decodeValue(p, join(path, shorten(key)), value, at, field{example: "- {after: 0s, notify: [oncall]}"}, reflect.ValueOf(&r.Steps).Elem())
		out = append(out, r)
	})
	return out
}

// responses checks the responses: which channels there are, and the hooks seen
// so far.
type responses struct {
	*problems
	channels []string
	hooks    map[string]*Hook
}

func checkRespond(p *problems, raw rawRespond, channels []Channel) []Response {
	r := responses{problems: p, hooks: map[string]*Hook{}}
	for _, c := range channels {
		r.channels = append(r.channels, c.Name)
	}
	var out []Response
	for _, x := range raw {
		path := "respond." + shorten(x.Key)
		if !responseKey.MatchString(x.Key) {
			p.add(x.At, path, x.Key, "the response "+quote(x.Key)+" is neither a pattern, a cause nor default", "write one as gradual_saturation, workers_full or default")
			continue
		}
		switch {
		case len(x.Steps) == 0:
			p.add(x.At, path, x.Key, path+" has no steps", "add - {after: 0s, notify: [oncall]}, or remove the key")
		case len(x.Steps) > MaxSteps:
			p.add(x.At, path, x.Key, fmt.Sprintf("%s has more than %d steps", path, MaxSteps), "leave some out")
		default:
			out = append(out, Response{Key: x.Key, Steps: r.steps(path, x.Steps), Line: x.At.Line, Column: x.At.Column})
		}
	}
	return out
}

func (r *responses) steps(path string, raw []rawStep) []ResponseStep {
	var out []ResponseStep
	for i := range raw {
		if raw[i].Spoiled {
			continue
		}
		at, before := fmt.Sprintf("%s[%d]", path, i), len(r.found)
		s := r.step(at, &raw[i])
		if len(r.found) > before {
			continue // what else might be said of it follows from that
		}
		if len(out) > 0 && s.After < out[len(out)-1].After {
			r.add(raw[i].After.At, at+".after", raw[i].After.Text, fmt.Sprintf("%s.after %s comes before the step above it, after %s", at, durationText(s.After), durationText(out[len(out)-1].After)), "put the steps in the order of their times")
		}
		for _, before := range out {
			switch {
			case s.Hook != nil && before.Hook != nil && s.Hook.Name == before.Hook.Name:
				r.add(raw[i].At, at, s.Hook.Name, fmt.Sprintf("%s runs the hook %s again: a hook runs once for what is one problem", at, quote(s.Hook.Name)), "leave one of them out")
			case s.Hook == nil && s.equal(&before):
				r.add(raw[i].At, at, "", at+" is there twice", "keep one of them")
			}
		}
		out = append(out, s)
	}
	return out
}

// equal reports whether both do the same at the same time; neither has a hook.
func (s *ResponseStep) equal(o *ResponseStep) bool {
	return o.Hook == nil && s.After == o.After && s.Gather == o.Gather && s.FollowUp == o.FollowUp && slices.Equal(s.Notify, o.Notify) && slices.Equal(s.Escalate, o.Escalate)
}

func (r *responses) step(path string, raw *rawStep) ResponseStep {
	s := ResponseStep{Gather: r.isTrue(path+".gather", raw.Gather), FollowUp: r.isTrue(path+".follow_up", raw.FollowUp)}
	if raw.After.Good {
		s.After = checkDuration(r.problems, path+".after", raw.After.scalar, 0, MaxAfter)
	}
	s.Notify, s.Escalate = r.named(path+".notify", raw.Notify), r.named(path+".escalate", raw.Escalate)
	if raw.Hook.there() {
		s.Hook, s.DryRun, s.MaxPerHour = r.hook(path+".hook", &raw.Hook), raw.DryRun.Text != "false", DefaultMaxPerHour
		if raw.MaxPerHour.Good {
			s.MaxPerHour = r.perHour(path+".max_per_hour", raw.MaxPerHour.scalar)
		}
	}
	s.UnlessAcknowledged = raw.Unless.Good
	if raw.Unless.Good && raw.Unless.Text != "acknowledged" {
		r.add(raw.Unless.At, path+".unless", raw.Unless.Text, fmt.Sprintf("%s.unless %s is not known", path, quote(raw.Unless.Text)), "write unless: acknowledged")
	}
	r.oneThing(path, raw)
	return s
}

// oneThing checks that a step does one thing, and that what it says belongs to
// that.
func (r *responses) oneThing(path string, raw *rawStep) {
	things := 0
	for _, there := range []bool{len(raw.Notify) > 0, raw.Gather.Given, raw.Hook.there(), raw.FollowUp.Given, len(raw.Escalate) > 0 && !raw.FollowUp.Given} {
		if there {
			things++
		}
	}
	const one = "give it exactly one of notify, gather, hook, follow_up and escalate; a follow_up may have an escalate beside it"
	switch {
	case things == 0:
		r.add(raw.At, path, "", path+" does nothing", one)
	case things > 1:
		r.add(raw.At, path, "", fmt.Sprintf("%s does %d things", path, things), one)
	}
	for _, x := range []struct {
		key   string
		s     scalar
		there bool
		of    string
	}{
		{"dry_run", raw.DryRun.scalar, raw.Hook.there(), "a hook"},
		{"max_per_hour", raw.MaxPerHour.scalar, raw.Hook.there(), "a hook"},
		{"unless", raw.Unless.scalar, len(raw.Escalate) > 0 && !raw.FollowUp.Given, "a step that only escalates"},
	} {
		if x.s.Given && !x.there {
			r.add(x.s.At, path+"."+x.key, x.s.Text, fmt.Sprintf("%s.%s is for %s", path, x.key, x.of), "remove it")
		}
	}
}

func (r *responses) isTrue(path string, raw rawBool) bool {
	if raw.Good && raw.Text != "true" {
		r.add(raw.At, path, raw.Text, path+" is false, so the step does nothing", "write true, or remove the step")
	}
	return raw.Good && raw.Text == "true"
}

// named checks the names of channels.
func (r *responses) named(path string, raw []rawText) []string {
	var out []string
	for i, c := range raw {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case !c.Good:
		case slices.Contains(out, c.Text):
			r.add(c.At, at, c.Text, fmt.Sprintf("%s %s is there twice", at, quote(c.Text)), "keep one of them")
		case slices.Contains(r.channels, c.Text):
			out = append(out, c.Text)
		default:
			hint := "add it to notify: first"
			if near, ok := spelling.Nearest(c.Text, r.channels); ok {
				hint = fmt.Sprintf("did you mean %q?", near)
			} else if len(r.channels) > 0 {
				hint = "the channels are " + strings.Join(r.channels, ", ")
			}
			r.add(c.At, at, c.Text, fmt.Sprintf("%s %s is no channel of notify", at, quote(c.Text)), hint)
		}
	}
	return out
}

func (r *responses) perHour(path string, s scalar) int {
	n, err := strconv.Atoi(s.Text)
	if err != nil || n < 1 || n > MaxMaxPerHour {
		r.add(s.At, path, s.Text, fmt.Sprintf("%s %s is not from 1 to %d", path, quote(s.Text), MaxMaxPerHour), "choose one within; to run it never, remove the step")
		return 0
	}
	return n
}

// hookName is what may be a metric's label and a word of a table.
var hookName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func (r *responses) hook(path string, raw *rawHook) *Hook {
	h := &Hook{Timeout: DefaultHookTimeout, Line: raw.At.Line, Column: raw.At.Column}
	if raw.Spoiled {
		return h
	}
	if raw.Timeout.Good {
		h.Timeout = checkDuration(r.problems, path+".timeout", raw.Timeout.scalar, MinHookTimeout, MaxHookTimeout)
	}
	named := ""
	switch exec, webhook := len(raw.Exec) > 0, raw.Webhook.there(); {
	case exec == webhook:
		r.add(raw.At, path, "", path+" does not say what is to be run", "give it exactly one of exec: [/usr/local/bin/add-workers] and webhook: {url: …}")
		return h
	case exec:
		h.Exec, named = r.exec(path+".exec", h, raw.Exec)
	default:
		h.Webhook = checkWebhook(r.problems, path+".webhook", raw.Webhook)
		if u, err := url.Parse(h.Webhook.URL); err == nil {
			named = u.Hostname()
		}
	}
	h.Name = named
	if raw.Name.Good {
		h.Name = raw.Name.Text
	}
	switch known := r.hooks[h.Name]; {
	case h.Name == "" && !raw.Name.Given: // what is run is no good, and that was said
	case len(h.Name) > maxHookName || !hookName.MatchString(h.Name):
		r.add(cmp.Or(raw.Name.At, raw.At), path+".name", h.Name, fmt.Sprintf("%s.name %s is not made of letters, digits, dots and hyphens, at most %d", path, quote(h.Name), maxHookName), "give it a name: {name: add-workers, …}")
	case known == nil:
		r.hooks[h.Name] = h
	case !slices.Equal(known.Exec, h.Exec) || known.Timeout != h.Timeout || (known.Webhook == nil) != (h.Webhook == nil) || known.Webhook != nil && *known.Webhook != *h.Webhook:
		r.add(raw.At, path, h.Name, fmt.Sprintf("the hook %s is another one on line %d", quote(h.Name), known.Line), "give each its own name, or make them the same")
	}
	return h
}

// exec checks what is to be run, and returns it with its name.
func (r *responses) exec(at string, h *Hook, raw []rawArgument) (exec []string, name string) {
	for i, a := range raw {
		at := fmt.Sprintf("%s[%d]", at, i)
		switch {
		case !a.Good:
			continue
		case len(a.Text) > maxArgument || strings.ContainsRune(a.Text, 0):
			r.add(a.At, at, a.Text, fmt.Sprintf("%s is longer than %d bytes, or has a zero in it", at, maxArgument), "write a program that knows it")
		case i == 0 && (!strings.HasPrefix(a.Text, "/") || !printable(a.Text) || len(a.Text) >= maxPath):
			r.add(a.At, at, a.Text, fmt.Sprintf("%s %s is not an absolute path", at, quote(a.Text)), "write the program as /usr/local/bin/add-workers; no shell looks for it")
		case i == 0:
			h.Line, h.Column = a.At.Line, a.At.Column
			name = path.Base(path.Clean(a.Text))
			fallthrough
		default:
			exec = append(exec, a.Text)
		}
	}
	if len(raw) > maxArguments {
		r.add(raw[maxArguments].At, at, "", fmt.Sprintf("%s has more than %d arguments", at, maxArguments), "write a program that knows them")
	}
	return exec, name
}

func effectiveRespond(line writeLine, all []Response) {
	if len(all) == 0 {
		line("respond: {}")
		return
	}
	line("respond:")
	for _, r := range all {
		line("  %s:", yamlText(r.Key))
		for _, s := range r.Steps {
			line("    - after: %s", durationText(s.After))
			if len(s.Notify) > 0 {
				line("      notify: [%s]", yamlList(s.Notify))
			}
			if s.Gather {
				line("      gather: true")
			}
			if s.FollowUp {
				line("      follow_up: true")
			}
			if len(s.Escalate) > 0 {
				line("      escalate: [%s]", yamlList(s.Escalate))
			}
			if s.UnlessAcknowledged {
				line("      unless: acknowledged")
			}
			if s.Hook != nil {
				effectiveHook(line, &s)
			}
		}
	}
}

func effectiveHook(line writeLine, s *ResponseStep) {
	h := s.Hook
	line("      hook:")
	line("        name: %s", yamlText(h.Name))
	if h.Webhook == nil {
		line("        exec: [%s]", yamlList(h.Exec))
	} else {
		line("        webhook:")
		line("          url: %s", yamlText(h.Webhook.URL))
		if !h.Webhook.Secret.IsZero() {
			line("          secret: %s", h.Webhook.Secret)
		}
	}
	line("        timeout: %s", durationText(h.Timeout))
	line("      dry_run: %t", s.DryRun)
	line("      max_per_hour: %d", s.MaxPerHour)
}

package notify

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"time"
)

// maxText is how long a text may become, in bytes: a template's mistake is not
// to fill a mailbox.
const maxText = 64 << 10

// Template says in the user's words what is sent. Its data are those of the
// [Notice], with the words of [Notice.Words] as .Title and .Body.
type Template struct{ title, body *template.Template }

// TemplateError is what is wrong with a template.
type TemplateError struct {
	Part    string // "title" or "body"
	Line    int    // within the part, from 1; 0 where that is not known
	Problem string
}

func (e *TemplateError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s, line %d: %s", e.Part, e.Line, e.Problem)
	}
	return e.Part + ": " + e.Problem
}

// templateData is what a template sees.
type templateData struct {
	*Notice
	Title, Body string
}

var templateFuncs = template.FuncMap{
	"words": plainWords, "upper": strings.ToUpper, "lower": strings.ToLower, "join": strings.Join, "clock": clock,
	"resolved": func(i Item) bool { return i.Step == Resolved },
}

// ParseTemplate reads a template and tries it on notices of every kind, so that
// a wrong one is found when it is written and not when it is needed. An empty
// part is our own words. The error is a *TemplateError.
func ParseTemplate(title, body string) (*Template, error) {
	var t Template
	for _, part := range []struct {
		name, text string
		to         **template.Template
	}{{"title", title, &t.title}, {"body", body, &t.body}} {
		if part.text == "" {
			continue
		}
		parsed, err := template.New(part.name).Funcs(templateFuncs).Funcs(steps()).Option("missingkey=error").Parse(part.text)
		if err != nil {
			return nil, wrongTemplate(part.name, err)
		}
		counted(parsed)
		*part.to = parsed
		for _, n := range samples() {
			if _, err := execute(parsed, &n, n.Words()); err != nil {
				return nil, wrongTemplate(part.name, err)
			}
		}
	}
	return &t, nil
}

// templatePlace is how package template says where: "template: body:3:12: …",
// or "template: body:3: …".
var templatePlace = regexp.MustCompile(`^template: [a-z]+:([0-9]+):(?:[0-9]+:)? ?(.*)$`)

func wrongTemplate(part string, err error) error {
	out := &TemplateError{Part: part, Problem: plain(err.Error())}
	if found := templatePlace.FindStringSubmatch(out.Problem); found != nil {
		out.Line, _ = strconv.Atoi(found[1])
		out.Problem = found[2]
	}
	if errors.Is(err, errEndless) {
		out.Problem = errEndless.Error()
	}
	return out
}

// Words is the notice in the template's words. Where it fails on this one the
// part is in our own, and the error says why: no notice is lost to a template.
func (t *Template) Words(n *Notice) (Text, error) {
	ours := n.Words()
	out := ours
	if t == nil {
		return out, nil
	}
	var errs []error
	if t.title != nil {
		title, err := execute(t.title, n, ours)
		if title = strings.Join(strings.Fields(title), " "); err == nil && title != "" {
			out.Title = title
		}
		errs = append(errs, err)
	}
	if t.body != nil {
		body, err := execute(t.body, n, ours)
		if err == nil && strings.TrimSpace(body) != "" {
			out.Body = strings.TrimRight(body, "\n")
		}
		errs = append(errs, err)
	}
	return out, errors.Join(errs...)
}

// errLong ends a template that says too much.
var errLong = fmt.Errorf("it makes more than %d bytes", maxText)

// short is a buffer that takes maxText bytes.
type short struct{ bytes.Buffer }

func (s *short) Write(p []byte) (int, error) {
	if s.Len()+len(p) > maxText {
		return 0, errLong
	}
	return s.Buffer.Write(p)
}

func execute(t *template.Template, n *Notice, ours Text) (string, error) {
	own, err := t.Clone() // the steps are counted for each execution
	if err != nil {
		return "", err
	}
	var b short
	if err := own.Funcs(steps()).Execute(&b, templateData{n, ours.Title, ours.Body}); err != nil {
		return "", err
	}
	return b.String(), nil
}

// samples are notices of every kind: of one incident that opened and that is
// over, of several, and of none.
func samples() []Notice {
	at := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	one := Sample("example", at)
	over := one
	item := one.Incidents[0]
	item.Step, item.ResolvedAt, item.End = Resolved, &at, "recovered"
	over.Incidents = []Item{item}
	many := one
	many.Incidents = []Item{one.Incidents[0], item}
	many.More, many.Says = []More{{Opened, item.Cause, item.Severity, 7}}, "9 incidents."
	none := one
	none.Incidents = []Item{}
	return []Notice{one, over, many, none}
}

// Sample is a notice that tries a channel: of an incident that is made up, and
// says so.
func Sample(channel string, at time.Time) Notice {
	at = at.UTC()
	value, threshold := 1.52, 1.0
	return Notice{
		Version: Version, Channel: channel, Reason: Test, At: at, Labels: map[string]string{}, Severity: "warning", More: []More{},
		Key: key("", channel, []part{{0, at, Opened, 1}}),
		Incidents: []Item{{
			Step: Opened, Sequence: 1, Scope: "service/example", Cause: "workers_full", Severity: "warning", Certainty: "certain",
			Basis: "made up for this test", Sentence: "Connections to example wait at least 1.5 s to be accepted; 31 wait.", Trigger: "queue wait above 1 s for 3 s",
			Hurt:     "nobody: this is a test",
			Evidence: []Evidence{{Signal: "queue_wait_seconds", Unit: "seconds", Value: &value, Threshold: &threshold, Origin: "default"}},
			Advice:   []string{"Nothing: this is a test."}, Prefixes: []Prefix{}, OpenedAt: at, UpdatedAt: at, Earlier: []Told{},
		}},
	}
}

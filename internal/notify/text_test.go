package notify

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWords holds what people are sent to testdata/words.txt.
func TestWords(t *testing.T) {
	told := toldAll(t, Channel{Name: "oncall", Webhook: &Webhook{URL: "https://ops.example"}})
	told[0].Incidents[0].Hurt = "31 connections wait; clients of web wait 1.5 s or give up"
	several := told[0]
	several.Severity, several.Says = "critical", "23 incidents opened on web03, 1 is over."
	several.Incidents = nil
	for i := range 20 {
		item := told[i%3].Incidents[0]
		item.Scope = fmt.Sprintf("service/web%d", i)
		several.Incidents = append(several.Incidents, item)
	}
	several.More = []More{{Opened, "path_lost", "critical", 3}}
	escalated := told[1]
	escalated.Reason, escalated.Says = Escalation, "Nobody took this for 15 minutes."
	none := told[0]
	none.Incidents, none.Says = []Item{}, "Nothing to tell."
	var b strings.Builder
	for _, n := range []Notice{told[0], told[1], told[2], several, escalated, none, Sample("oncall", epoch)} {
		text := n.Words()
		fmt.Fprintf(&b, "%s\n\n%s\n----\n", text.Title, text.Body)
	}
	const path = "testdata/words.txt"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("%s (-want +got); with -update if it should be so:\n%s", path, diff)
	}
}

func TestTemplate(t *testing.T) {
	n := toldAll(t, Channel{Name: "oncall", Webhook: &Webhook{URL: "https://ops.example"}})[0]
	for _, tt := range []struct {
		title, body string
		want        Text
		wrong       *TemplateError
	}{
		{"", "", n.Words(), nil},
		{"{{upper .Severity}} {{.Host}}\n", "", Text{"WARNING web03", n.Words().Body}, nil},
		{"", "{{range .Incidents}}{{words .Cause}} since {{clock .OpenedAt}}{{end}}\n\n", Text{n.Words().Title, "workers full since 21 Nov 2026 09:00:00 UTC"}, nil},
		{"", "{{if false}}x{{end}}", n.Words(), nil}, // what says nothing is ours
		{"{{.Titel}}", "", Text{}, &TemplateError{"title", 1, "executing \"title\" at <.Titel>: can't evaluate field Titel in type notify.templateData"}},
		{"", "one\n{{end}}", Text{}, &TemplateError{"body", 2, "unexpected {{end}}"}},
		{"", "{{(index .Incidents 0).Scope}}", Text{}, &TemplateError{"body", 1, "executing \"body\" at <index .Incidents 0>: error calling index: reflect: slice index out of range"}},
		{"", strings.Repeat("x", maxText+1), Text{}, &TemplateError{"body", 0, "it makes more than 65536 bytes"}},
		{"", `{{define "a"}}{{template "a" .}}{{end}}{{template "a" .}}`, Text{}, &TemplateError{"body", 1, errEndless.Error()}},
		{"", `{{define "a"}}{{template "a" .}}{{template "a" .}}{{end}}{{if true}}{{template "a" .}}{{end}}`, Text{}, &TemplateError{"body", 1, errEndless.Error()}},
		{"", "one\n{{with .}}{{range 1000000000000}}{{end}}{{end}}", Text{}, &TemplateError{"body", 2, errEndless.Error()}},
		{"{{range 1000}}{{range 1000}}{{end}}{{end}}", "", Text{}, &TemplateError{"title", 1, errEndless.Error()}},
		{"{{range 40}}{{range 40}}{{end}}{{end}}fine", "", Text{"fine", n.Words().Body}, nil},
	} {
		parsed, err := ParseTemplate(tt.title, tt.body)
		got, ok := errors.AsType[*TemplateError](err)
		if diff := cmp.Diff(tt.wrong, got); diff != "" || !ok && err != nil {
			t.Errorf("%q %q: %v (-want +got):\n%s", tt.title, tt.body, err, diff)
		}
		if err != nil {
			continue
		}
		text, err := parsed.Words(&n)
		if diff := cmp.Diff(tt.want, text); diff != "" || err != nil {
			t.Errorf("%q %q: %v (-want +got):\n%s", tt.title, tt.body, err, diff)
		}
	}
}

// TestTemplateFails: a notice that a template fails on goes out in our words.
func TestTemplateFails(t *testing.T) {
	parsed, err := ParseTemplate("", `{{range .Incidents}}{{if eq .Scope "service/web"}}{{index $.Labels.rack 9}}{{end}}{{end}}`)
	if err != nil {
		t.Fatal(err)
	}
	n := toldAll(t, Channel{Name: "oncall", Webhook: &Webhook{URL: "https://ops.example"}})[0]
	text, err := parsed.Words(&n)
	if diff := cmp.Diff(n.Words(), text); diff != "" || err == nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
}

// TestEvents: a service that follows incidents hears the same key from the
// beginning to the end, also where the agent was restarted.
func TestEvents(t *testing.T) {
	told := toldAll(t, Channel{Name: "oncall", Webhook: &Webhook{URL: "https://ops.example"}})
	told[2].Incidents[0].Incident = 99
	var keys []string
	for i := range told {
		for _, e := range events(&told[i], told[i].Words()) {
			keys = append(keys, fmt.Sprintf("%s %v %s", e.Key, e.Over, e.Severity))
		}
	}
	want := []string{"web03|service/web|workers_full| false warning", "web03|service/web|workers_full| false critical", "web03|service/web|workers_full| true critical"}
	if diff := cmp.Diff(want, keys); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if key := eventKey(strings.Repeat("x", 300)); len(key) > maxEventKey {
		t.Errorf("a key of %d bytes", len(key))
	}
}

func TestCheckService(t *testing.T) {
	for address, want := range map[string]string{
		"slack://hook:T-B-hunter2@webhook": "", "smtp://u:hunter2@mail.example": "", "https://hooks.slack.com/services/T/B/hunter2": "",
		"https://ops.example/hunter2": "give it as webhook", "generic://hunter2": "no service that may be used", "hunter2": "does not begin with a service",
	} {
		err := CheckService(address)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats the secret: %v", err)
		}
	}
}

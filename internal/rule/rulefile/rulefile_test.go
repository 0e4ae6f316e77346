package rulefile

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/rule/presets"
	"github.com/foreshock/foreshock/internal/scope"
)

var errAbsent = errors.New("no such file")

func noFiles(string) ([]byte, error) { return nil, errAbsent }

// TestSuites runs the test files as `foreshock rule test` does.
func TestSuites(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		suite, err := ParseTests(file, data, noFiles)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range suite.Run() {
			for _, f := range r.Failures {
				t.Errorf("%s:%d: %s: at %s %s of %s is %s, want %s (%s)", file, f.Line, r.Test.Name, f.At, f.Rule, f.Scope, f.Got, f.Phase, f.Why)
			}
		}
	}
}

// TestPresets holds the presets' files to the numbers of their articles.
func TestPresets(t *testing.T) {
	const (
		closeWait   = "((service.close_wait_accepted + service.close_wait_unaccepted) / (service.sockets + service.listeners))"
		established = "(service.established / (service.sockets + service.listeners))"
		five        = `"2m30s"` // a window of the last 5 samples, 30 s apart
	)
	type row struct {
		Name, When  string
		Hold, Every time.Duration
		InARow      int
		Severity    rule.Severity
		Kind        scope.Kind
	}
	sampled := func(name, when string, severity rule.Severity) row {
		return row{name, when, 0, 30 * time.Second, 2, severity, scope.KindService}
	}
	confirmed := func(name, when string, severity rule.Severity) row {
		return row{name, when, 0, 30 * time.Second, 2, severity, scope.KindRegion}
	}
	held := func(name, when string, hold time.Duration) row {
		return row{name, when, hold, 0, 0, rule.Warning, scope.KindBackend}
	}
	for name, want := range map[string][]row{
		"workers-article": {
			sampled("article-close-wait-15", "(mean("+closeWait+", "+five+") > 0.15)", rule.Warning),
			sampled("article-close-wait-20", "(mean("+closeWait+", "+five+") > 0.2)", rule.Critical),
			sampled("article-established-60", "(mean("+established+", "+five+") < 0.6)", rule.Warning),
			sampled("article-established-baseline", "(mean(service.established, "+five+`) < (0.5 * median(service.established, "1h0m0s")))`, rule.Warning),
			sampled("article-acceptance", "(service.new_flows_per_second < (0.7 * first(service.new_flows_per_second, "+five+")))", rule.Critical),
		},
		"backends-article": {
			held("article-backend-close-wait", "(backend.close_wait_leaked > 0)", 50*time.Second), // counted from 10 s on: 60 s
			held("article-backend-time-wait", "((backend.time_wait / backend.sockets) > 0.2)", 10*time.Second),
			held("article-backend-no-established", "(backend.established == 0)", 10*time.Second),
		},
		"regions-article": {
			confirmed("article-region-close-wait", "((region.close_wait_accepted / region.sockets) > 0.15)", rule.Critical),
			confirmed("article-region-close-wait-learned", "(region.close_wait_total_share > region.close_wait_total_high_share)", rule.Critical),
			confirmed("article-region-established", "((region.established / region.sockets) < 0.85)", rule.Warning),
			confirmed("article-region-syn-sent", "((region.syn_sent / region.sockets) > 0.15)", rule.Warning),
			confirmed("article-region-syn-sent-learned", "(region.syn_sent_total_share > region.syn_sent_total_high_share)", rule.Warning),
		},
	} {
		f, err := Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		var got []row
		for _, r := range f.Rules {
			got = append(got, row{r.Name, r.When.String(), r.Hold, r.Every, r.InARow, r.Severity, r.When.Kind()})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestPresetsAreGood(t *testing.T) {
	for _, name := range presets.Names() {
		if f, err := Preset(name); err != nil || len(f.Warnings) > 0 {
			t.Errorf("preset %s: %v %q", name, err, f.Warnings)
		}
	}
	if _, err := Preset("../presets/workers-article"); err == nil {
		t.Error("a path is taken for a preset")
	}
}

func TestParseTestsRefuses(t *testing.T) {
	const good = "rules: [{name: r, when: service.busy > 1, severity: watch}]\n"
	const test = "tests: [{name: t, input: {service/web busy: \"1\"}, expect: [{at: 0s, rule: r, scope: service/web, state: open}]}]\n"
	for _, tt := range []struct {
		name, data string
		want       []string
	}{
		{"empty", "", []string{"f: the file is empty; write rules: and a list of them"}},
		{"a tab", "rules:\n\t- a", []string{"f:2:1: a tab; use spaces: YAML allows no tabs in the indentation and drops them elsewhere"}},
		{"too large", strings.Repeat("#", config.MaxSize+1), []string{"f: the file is larger than 1048576 bytes; make it smaller; is it the right file?"}},
		{"an alias", "rules: *a", []string{`f:1:8: an alias (*) is not supported; write the value out; for every address write ":80", text that starts with * goes in quotes`}},
		{"a key twice", good + "interval: 1s\n" + test + "interval: 2s\n", []string{`f:4:1: the key "interval" is there twice in the file; keep one of them`}},
		{"a list", "- 1", []string{"f:1:1: the file is no mapping; the keys here are rules, rule_files, presets, interval, tests"}},
		{"unknown key", "rulez: []\n" + good + test, []string{`f:1:1: unknown key "rulez" in the file; the keys here are rules, rule_files, presets, interval, tests`}},
		{"bad rule", "rules:\n  - name: r\n    when: service.bsy > 1\n    holds: 3s\n",
			[]string{
				`f:4:5: unknown key "holds" in a rule; the keys here are name, when, hold, every, in_a_row, severity, advice`,
				`f:3:19: rule r: unknown signal "service.bsy"; did you mean service.busy? foreshock rule signals lists them`,
			}},
		{"expression over lines", "rules:\n  - name: r\n    when: |\n      service.busy > 1 &&\n      service.bsy > 1\n    severity: watch\n",
			[]string{`f:3:11: rule r (line 2, column 9 of the expression): unknown signal "service.bsy"; did you mean service.busy? foreshock rule signals lists them`}},
		{"twice", "rules: [{name: r, when: service.busy > 1, severity: watch}, {name: r, when: service.busy > 1, severity: watch}]\n" + test,
			[]string{"f:1:61: two rules are called r; rename one"}},
		{"no tests", good, []string{"f: there are no tests; add tests with name, input and expect"}},
		{"empty tests", good + "tests: []", []string{"f:2:8: there are no tests; add one with name, input and expect"}},
		{"no rules", test, []string{"f: there are no rules to test; add rules, rule_files or presets"}},
		{"absent file", "rule_files: [x.yaml]\n" + test, []string{"f:1:14: read the rules: no such file; name a file of rules"}},
		{"unknown preset", "presets: [x]\n" + test, []string{`f:1:11: there is no preset "x": use backends-article, regions-article, workers-article`}},
		{"bad test", good + `tests:
  - name: t
    input:
      service/web bsy: "1"
      service/db busy: "1y3"
      db busy: "1"
    expect:
      - {at: 1, rule: r, scope: service/web, state: open}
      - {at: 1s, rule: r, scope: service/web, state: firing}
      - {at: 1s, rule: q, scope: service/db, state: open}
      - {at: 1s, rule: r, scope: host, state: open}
      - {at: 1s, rule: r, scope: service/db}
`, []string{
			`f:5:24: service/web has no signal "bsy"; foreshock rule signals lists what it has`,
			`f:6:24: "1y3" is no part of a series: write 5, 5x3, 1+2x3, 9-2x3, _, _x3 or stale`,
			`f:7:7: unknown key "db busy" in input; the keys here are as service/web queue_wait_seconds: "0x30"`,
			`f:9:14: at "1" is no duration; write it with its unit, as 30s or 5m`,
			`f:9:9: service/web has no series in input; add one or mend the scope`,
			`f:10:54: unknown state "firing"; use none, suspect or open`,
			`f:10:9: service/web has no series in input; add one or mend the scope`,
			`f:11:9: there is no rule "q"; the rules are r`,
			`f:12:9: rule r is evaluated for each service, not for host; mend the scope`,
			`f:13:9: the expectation has no state; it needs at, rule, scope, state`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ParseTests("f", []byte(tt.data), noFiles)
			if s != nil || err == nil {
				t.Fatalf("%v, %v; want an error", s, err)
			}
			if diff := cmp.Diff(tt.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	f, err := Rules("f", []byte("rules:\n  - {name: r, when: service.busy < 0, severity: watch}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"f:2:21: rule r: it can never be true, as a count is never below 0: the rule never reports anything"}
	if diff := cmp.Diff(want, f.Warnings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// FuzzParseTests: no panic, an error or a suite and never both, and each line
// of an error names the file. What parses, runs.
func FuzzParseTests(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("rules: [{name: r, when: 'service.busy > 1', severity: watch}]\ntests: [{name: t, input: {service/web busy: \"1\"}, expect: [{at: 0s, rule: r, scope: service/web, state: open}]}]\n"))
	f.Add([]byte("- - - - -\n? a\n: b"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseTests("f.yaml", data, noFiles)
		if (s == nil) != (err != nil) {
			t.Fatalf("%v, %v", s, err)
		}
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f.yaml") && !strings.HasPrefix(err.Error(), "preset") {
				t.Fatalf("%v does not name the file", err)
			}
			return
		}
		steps := time.Duration(0)
		for _, test := range s.Tests {
			for _, e := range test.Expect {
				steps = max(steps, e.At/s.Interval)
			}
		}
		if steps < 1000 && len(s.Run()) != len(s.Tests) {
			t.Fatal("not every test has a result")
		}
	})
}

// TestRulesOfAConfiguration: the same lines mean the same as in a configuration
// (agent holds the defaults to it), whose other keys are passed over.
func TestRulesOfAConfiguration(t *testing.T) {
	raw, err := os.ReadFile("../../../docs/foreshock.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct{ Properties map[string]any }
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	delete(schema.Properties, "rules")
	want := slices.Sorted(maps.Keys(schema.Properties))
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(configurationKeys))); diff != "" {
		t.Errorf("keys of a configuration (-want +got):\n%s", diff)
	}
	got, err := Rules("f", []byte("name: web1\nobserve: {cpu_budget: 1%}\nrules:\n  - {name: a, when: service.busy > 1}\n  - {name: b, when: service.busy > 1, in_a_row: 2}\n  - {name: c, when: service.busy > 1, hold: 0s, severity: critical}\n"))
	if err != nil {
		t.Fatal(err)
	}
	type settings struct {
		Hold     time.Duration
		Severity rule.Severity
	}
	var have []settings
	for _, r := range got.Rules {
		have = append(have, settings{r.Hold, r.Severity})
	}
	if diff := cmp.Diff([]settings{{10 * time.Second, rule.Warning}, {0, rule.Warning}, {0, rule.Critical}}, have); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

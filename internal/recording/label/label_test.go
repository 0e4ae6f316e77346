package label

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/recording/recordingtest"
	"github.com/foreshock/foreshock/internal/scope"
)

// bounds are those of a made recording of ten minutes.
func bounds() Bounds {
	var s Survey
	for _, step := range recordingtest.All(recordingtest.Config{Services: 1, Backends: 2, Span: 10*time.Minute + time.Second, Focus: time.Second}) {
		s.Add(&step)
	}
	return s.Bounds()
}

var from = recordingtest.Start

func TestSurvey(t *testing.T) {
	want := Bounds{
		From: from, To: from.Add(10 * time.Minute),
		Scopes: []scope.ID{recordingtest.Backend(0), recordingtest.Backend(1), scope.Host, scope.Rest, recordingtest.Service(0)},
	}
	if diff := cmp.Diff(want, bounds()); diff != "" {
		t.Errorf("bounds (-want +got):\n%s", diff)
	}
}

var two = File{Labels: []Label{
	{
		Cause: judge.PathLost, Or: []judge.Cause{judge.PeerFrozen, judge.PeerRefusing}, Follows: []judge.Cause{judge.StuckClosing}, Scope: recordingtest.Backend(1),
		From: from.Add(time.Minute), To: from.Add(2*time.Minute + 500*time.Millisecond), FirstFailure: from.Add(64 * time.Second),
		Severity: judge.Warning, Note: "the switch: \"rack 2\"\nwas pulled",
	},
	{Cause: judge.Churn, Scope: recordingtest.Backend(0), From: from, To: from.Add(time.Minute), Severity: judge.Watch},
}}

func TestTextReadsBack(t *testing.T) {
	for name, want := range map[string]File{
		"two": two, "healthy": {Healthy: true, Note: "a quiet day"},
	} {
		got, err := Parse(name, want.Text(), bounds())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestExtend: what somebody wrote by hand stays, and what cannot be added to is
// written anew.
func TestExtend(t *testing.T) {
	for name, tt := range map[string]struct {
		was   string
		keeps string
	}{
		"by hand":              {"version: 1\nlabels:\n  # the first\n  - {cause: churn, scope: backend/pool0/s0, from: +0s, to: +1m, severity: watch}\n", "# the first"},
		"the list is not last": {"labels: [{cause: churn, scope: backend/pool0/s0, from: +0s, to: +1m, severity: watch}]\nversion: 1\n", ""},
	} {
		f, err := Parse(name, []byte(tt.was), bounds())
		if err != nil {
			t.Fatal(err)
		}
		text := f.Extend(name, []byte(tt.was), two.Labels[0], bounds())
		got, err := Parse(name, text, bounds())
		if want := (File{Labels: []Label{two.Labels[1], two.Labels[0]}}); err != nil || !cmp.Equal(want, got) || !strings.Contains(string(text), tt.keeps) {
			t.Errorf("%s: %v (-want +got):\n%s\n%s", name, err, cmp.Diff(want, got), text)
		}
	}
}

// TestRefused: each mistake is told at its place, with the way out.
func TestRefused(t *testing.T) {
	const good = "version: 1\nlabels:\n  - cause: path_lost\n    scope: backend/pool0/s1\n    from: +1m\n    to: +2m\n"
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"empty", "", []string{"x: the file is empty; write labels: and a list of them, or healthy: true"}},
		{"no label", "version: 1\n", []string{"x:1:1: there is no label; write one, or healthy: true where nothing is to be found"}},
		{"no version", strings.TrimPrefix(good, "version: 1\n"), []string{"x:1:1: version is missing; write version: 1"}},
		{"another version", strings.Replace(good, "version: 1", "version: 2", 1), []string{"x:1:10: version \"2\" is not one that this program knows"}},
		{"unknown cause", strings.Replace(good, "path_lost", "path_los", 1), []string{"x:3:12: cause: unknown cause \"path_los\": did you mean path_lost?"}},
		{"a rule is no cause", strings.Replace(good, "path_lost", "user_rule", 1), []string{"x:3:12: cause: unknown cause \"user_rule\": the causes are workers_filling,"}},
		{"unknown scope", strings.Replace(good, "pool0/s1", "pool0/s7", 1), []string{"x:4:12: scope: the recording has no scope \"backend/pool0/s7\": did you mean backend/pool0/s0?"}},
		{"no scope", strings.Replace(good, "backend/pool0/s1", "database", 1), []string{"has no scope \"database\": it has backend/pool0/s0, backend/pool0/s1, host, rest, service/web0"}},
		{"before", strings.Replace(good, "from: +1m", "from: 2026-11-20T23:59:59Z", 1), []string{"x:5:11: from: 2026-11-20T23:59:59Z is not within the recording, which is from 2026-11-21T00:00:00Z to 2026-11-21T00:10:00Z"}},
		{"after", strings.Replace(good, "to: +2m", "to: +11m", 1), []string{"x:6:9: to: 2026-11-21T00:11:00Z is not within the recording"}},
		{"backwards", strings.Replace(good, "to: +2m", "to: +30s", 1), []string{"x:6:9: to: it ends at 2026-11-21T00:00:30Z, and begins at 2026-11-21T00:01:00Z: the end comes later"}},
		{"failed before", good + "    first_failure: +10s\n", []string{"x:7:20: first_failure: 2026-11-21T00:00:10Z is before the fault began"}},
		{"no time", strings.Replace(good, "+1m", "soon", 1), []string{"x:5:11: from: \"soon\" is no time; write it as 2026-11-21T00:00:00Z, or as +1m30s"}},
		{"no offset", strings.Replace(good, "+1m", "+soon", 1), []string{"x:5:11: from: \"+soon\" is no offset; write it as +1m30s"}},
		{"twice", good + "  - {cause: path_lost, scope: backend/pool0/s1, from: +90s, to: +3m}\n", []string{"there is a label already that says path_lost of backend/pool0/s1 from 2026-11-21T00:01:00Z to 2026-11-21T00:02:00Z"}},
		{"healthy too", good + "healthy: true\n", []string{"a healthy recording has no labels"}},
		{"unknown keys", good + "    sope: a\nhealthi: true\n", []string{"x:7:5: unknown key \"sope\" in a label", "x:8:1: unknown key \"healthi\" in the file"}},
		{"all at once", "version: 1\nlabels:\n  - {cause: x, or: [y], follows: [z], from: +1m}\n", []string{"x:3:13: cause: unknown", "x:3:21: or: unknown", "x:3:35: follows: unknown", "x:3:5: scope is missing", "x:3:5: to is missing"}},
	} {
		got, err := Parse("x", []byte(tt.text), bounds())
		if err == nil {
			t.Errorf("%s: read as %+v", tt.name, got)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", tt.name, err, want)
			}
		}
		if !reflect.DeepEqual(got, File{}) {
			t.Errorf("%s: %+v with an error", tt.name, got)
		}
	}
}

// FuzzParse: whatever is read is written so that it reads back, and nothing is
// read with an error.
func FuzzParse(f *testing.F) {
	f.Add([]byte("version: 1\nhealthy: true\n"))
	f.Add(two.Text())
	f.Add([]byte("version: 1\nlabels:\n  - {cause: leak, or: [churn], follows: [workers_full], scope: \"service/web0\", from: +1m, to: 2026-11-21T00:05:00+01:00, severity: critical, note: x}\n"))
	b := bounds()
	f.Fuzz(func(t *testing.T, data []byte) {
		read, err := Parse("x", data, b)
		if err != nil {
			if !reflect.DeepEqual(read, File{}) {
				t.Fatalf("%+v with %v", read, err)
			}
			return
		}
		again, err := Parse("x", read.Text(), b)
		if err != nil || !reflect.DeepEqual(read, again) {
			t.Fatalf("%v: %s", err, cmp.Diff(read, again))
		}
	})
}

package report_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/agent"
	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/recording"
	"github.com/foreshock/foreshock/internal/recording/replay"
	"github.com/foreshock/foreshock/internal/report"
)

var update = flag.Bool("update", false, "write the reports in testdata anew")

// episode plays a recording of the lab: its incidents at its end as the API has
// them, by number, and a source of its steps.
func episode(t *testing.T, name string) (documents map[uint64][]byte, end time.Time, source agent.SeriesSource) {
	t.Helper()
	path := filepath.Join("../../testdata/episodes", name)
	p := replay.New(nil)
	encoder := recording.NewEncoder(recording.Limits{})
	var segments []recording.Segment
	r, err := recording.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var incidents []judge.Incident
	var offset time.Duration
	for {
		step, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		incidents, offset, end = p.Step(step), step.Offset, step.At.Add(step.Offset)
		done, err := encoder.Add(step)
		if err != nil {
			t.Fatal(err)
		}
		if done != nil {
			segments = append(segments, *done)
		}
	}
	if last := encoder.Flush(); last != nil {
		segments = append(segments, *last)
	}
	documents = map[uint64][]byte{}
	for i := range incidents {
		raw, err := api.Document(&incidents[i], incidents, offset)
		if err != nil {
			t.Fatal(err)
		}
		documents[incidents[i].ID] = raw
	}
	return documents, end, agent.SeriesSource{
		Segments: func(_ context.Context, _, _ time.Time, each func(recording.Segment) error) error {
			for _, s := range segments {
				if err := each(s); err != nil {
					return err
				}
			}
			return nil
		},
		Minutes: func(context.Context, time.Time, time.Time, func([]byte) error) error { return nil },
	}
}

func parsed(t *testing.T, document []byte) api.Incident {
	t.Helper()
	i, err := api.ParseIncident(document)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// written is a report in one of its forms.
func written(t *testing.T, r *report.Report, format string) string {
	t.Helper()
	var b bytes.Buffer
	write := map[string]func(io.Writer) error{"md": r.Markdown, "html": r.HTML, "json": r.JSON}[format]
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestGolden: the report of Apache that fills up gradually, played out of its
// recording, is the same each time, byte for byte.
func TestGolden(t *testing.T) {
	documents, end, source := episode(t, "gradual.rec")
	inc := parsed(t, documents[2])
	series, err := agent.SeriesOf(t.Context(), &inc, end, source)
	if err != nil {
		t.Fatal(err)
	}
	r, err := report.Build(report.Values{
		Document: documents[2], Others: []api.Incident{parsed(t, documents[1])}, Series: &series, Host: "lab", MadeBy: "foreshock test", MadeAt: end.Truncate(time.Second),
		Limits: []api.Limit{{Subject: "QUIC and UDP", Reason: "not TCP: the kernel's TCP table does not hold them"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"md", "html"} {
		got, path := written(t, &r, format), "testdata/gradual."+format
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got), go test -update writes it anew:\n%s", path, diff)
		}
	}
	wellFormed(t, written(t, &r, "html"))
	if len(r.Lead) != 1 || r.Lead[0].WarningSeconds == nil || *r.Lead[0].WarningSeconds < 60 {
		t.Errorf("lead %+v: the forecast was more than a minute ahead", r.Lead)
	}
}

// wellFormed reads a page to its end: each tag closed, and nothing of a script or
// of elsewhere.
func wellFormed(t *testing.T, page string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(page, "<!doctype html>")))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	open := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the page is not well formed: %v", err)
		}
		switch x := token.(type) {
		case xml.StartElement:
			open++
			if x.Name.Local == "script" || x.Name.Local == "img" || x.Name.Local == "link" {
				t.Errorf("there is a %s in the page", x.Name.Local)
			}
			for _, a := range x.Attr {
				if a.Name.Local == "href" || a.Name.Local == "src" || strings.HasPrefix(a.Name.Local, "on") {
					t.Errorf("%s has %s=%q", x.Name.Local, a.Name.Local, a.Value)
				}
			}
		case xml.EndElement:
			open--
		}
	}
	if open != 0 {
		t.Errorf("%d elements are not closed", open)
	}
}

// TestJSONKeepsWhatIsNotKnown of a newer program, as it was.
func TestJSONKeepsWhatIsNotKnown(t *testing.T) {
	document := `{"id":7,"scope":"service/web","cause":"worse_than_all","mood":{"grim":[1,2]},"evidence":[{"signal":"new_signal","weight":3}]}`
	r, err := report.Build(report.Values{Document: []byte(document)})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Version  int `json:"report_version"`
		Incident any `json:"incident"`
		Lead     []any
		NotSeen  []string `json:"not_seen"`
	}
	if err := json.Unmarshal([]byte(written(t, &r, "json")), &got); err != nil {
		t.Fatal(err)
	}
	var want any
	if err := json.Unmarshal([]byte(document), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.Incident); diff != "" || got.Version != report.Version || got.Lead == nil || len(got.NotSeen) == 0 {
		t.Errorf("incident (-want +got):\n%s\n%+v", diff, got)
	}
	for _, bad := range []string{"", "{", "[]", "null", "{}", `{"id":7}`, `{"id":"seven","scope":"host","cause":"leak"}`} {
		if r, err := report.Build(report.Values{Document: []byte(bad)}); err == nil {
			t.Errorf("%q is reported as %q", bad, r.Title)
		}
	}
}

const evil = "<script>alert(1)</script> [x](javascript:1) `c` *b* _i_ | @all http://evil.example \x1b[31m\u202egnp\nnext # <!--"

// hostile is an incident whose every text is one that means something elsewhere.
func hostile() api.Incident {
	at := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	i := api.Incident{
		ID: 1, State: "open", Scope: "service/" + evil, Cause: "user_rule", Rule: evil, Severity: evil, PeakSeverity: evil, Certainty: evil, Basis: evil, Sentence: evil, Hurt: evil,
		Trigger: evil, SuspectedAt: &at, OpenedAt: &at, AcknowledgedAt: &at, AcknowledgedBy: evil, Pattern: evil, PatternEvidence: evil, Response: evil, Siblings: evil, Because: evil,
		Evidence:   []api.Evidence{{Signal: evil, Unit: evil, Reading: api.Value{Unknown: evil}, Threshold: new(1e300), Origin: evil}},
		Considered: []api.Considered{{Cause: evil, Why: evil}}, Advice: []string{evil}, Prefixes: []api.Prefix{{Prefix: evil}},
		Examples: []api.Socket{{Local: evil, Remote: evil, State: evil, Timer: evil}},
		Actions:  []api.Action{{At: at, Kind: evil, State: evil, What: evil, Detail: json.RawMessage(`"</code><script>"`)}},
	}
	for n := range 10_000 {
		i.Timeline = append(i.Timeline, api.Step{At: at.Add(time.Duration(n) * time.Second), What: fmt.Sprint(n, evil), Severity: evil})
	}
	return i
}

// TestHostileTexts: names come from other people's processes. None becomes
// markup, and a timeline without end does not either.
func TestHostileTexts(t *testing.T) {
	i := hostile()
	document, err := json.Marshal(i)
	if err != nil {
		t.Fatal(err)
	}
	points := []api.SeriesPoint{{At: *i.OpenedAt, Seconds: -5, Least: new(-1e308), Mean: new(0.0), Greatest: new(1e308)}, {At: i.OpenedAt.Add(-time.Hour), Seconds: 1e12, Unknown: evil}}
	r, err := report.Build(report.Values{
		Document: document, Host: evil, MadeBy: evil, Limits: []api.Limit{{Subject: evil, Reason: evil}},
		Series: &api.Series{From: i.OpenedAt.Add(-time.Minute), To: i.OpenedAt.Add(time.Minute), Signals: []api.SignalSeries{{Signal: evil, Scope: evil, Unit: evil, Help: evil, Threshold: new(1e308), Points: points}}, Notes: []string{evil}},
	})
	if err != nil {
		t.Fatal(err)
	}
	page, text := written(t, &r, "html"), written(t, &r, "md")
	wellFormed(t, page)
	for what, out := range map[string]string{"html": page, "md": text} {
		for _, bad := range []string{"<script", "\x1b", "\u202e", "\r"} {
			if strings.Contains(out, bad) {
				t.Errorf("%s has %q", what, bad)
			}
		}
		if !strings.Contains(out, "9801 more are left out") || len(out) > 1<<20 {
			t.Errorf("%s has %d bytes, and does not say that steps are left out", what, len(out))
		}
	}
	for _, bad := range []string{"[x](", "\nnext", " @all", "http://"} {
		if strings.Contains(text, bad) {
			t.Errorf("md has %q", bad)
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		if cells := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|"); strings.HasPrefix(line, "|") && (cells < 3 || cells > 8) {
			t.Errorf("a row of %d cells: %.200s", cells-1, line)
		}
	}
}

// TestLeadTime is told against the balancer, and against what was foretold.
func TestLeadTime(t *testing.T) {
	at := func(seconds float64) *time.Time {
		return new(time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second))))
	}
	filling := api.Incident{ID: 1, Scope: "service/web", Cause: "workers_filling", End: "came_true", SuspectedAt: at(0), OpenedAt: at(10), ResolvedAt: at(160), Timeline: []api.Step{{At: *at(10), Severity: "watch"}, {At: *at(30), Severity: "warning"}}}
	full := api.Incident{ID: 2, Scope: "service/web", Cause: "workers_full", SuspectedAt: at(150), OpenedAt: at(160)}
	other := filling
	other.ID, other.Scope = 3, "service/shop"
	lost := api.Incident{ID: 4, Scope: "backend/shop/s1", Cause: "path_lost", SuspectedAt: at(0), OpenedAt: at(0.5), BalancerDownAt: at(8.25), BalancerLagSeconds: new(9.0), Timeline: []api.Step{{At: *at(0.5), Severity: "critical"}}}
	late := lost
	late.BalancerDownAt, late.BalancerLagSeconds = at(-3), new(-3.0)
	tests := []struct {
		name   string
		of     api.Incident
		others []api.Incident
		want   []string
	}{
		{"came true", filling, nil, []string{"Before it came true: suspected 2 min 40 s, open 2 min 30 s, a warning 2 min 10 s."}},
		{"foretold", full, []api.Incident{other, filling, full}, []string{"Incident 1, workers filling, foretold it. Before it opened: suspected 2 min 40 s, open 2 min 30 s, a warning 2 min 10 s."}},
		{"nothing", full, []api.Incident{other}, nil},
		{"the balancer", lost, nil, []string{"Before its balancer called it down: suspected 9.0 s, open 7.8 s, a warning 7.8 s."}},
		{"the balancer was first", late, nil, []string{"Before its balancer called it down: suspected only 3.0 s after, open only 3.5 s after, a warning only 3.5 s after."}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			document, err := json.Marshal(tt.of)
			if err != nil {
				t.Fatal(err)
			}
			r, err := report.Build(report.Values{Document: document, Others: tt.others})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, l := range r.Lead {
				got = append(got, l.Says)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("lead (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzBuild: whatever is kept, there is a report in every form or an error.
func FuzzBuild(f *testing.F) {
	raw, err := json.Marshal(hostile())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw[:2000], []byte(`{}`))
	f.Add([]byte(`{"id":7,"scope":"host","cause":"leak","evidence":[{"signal":"x","reading":{"value":1}}]}`), []byte(`{"from":"2026-03-02T10:00:00Z","to":"2026-03-02T10:01:00Z","signals":[{"points":[{"at":"2026-03-02T10:00:00Z","seconds":1,"least":1,"mean":2,"greatest":3}]}]}`))
	f.Add([]byte(`{"id":7,"scope":"host","cause":"leak","opened_at":"2026-03-02T10:00:00Z"}`), []byte(`{"from":"2026-03-02T10:00:00Z","to":"2026-03-02T10:01:00Z","signals":[{"threshold":1,"points":[{"at":"2020-03-02T10:00:00Z","seconds":-1e300,"least":3,"mean":2,"greatest":1}]}]}`))
	f.Fuzz(func(t *testing.T, document, series []byte) {
		v := report.Values{Document: document}
		var s api.Series
		if json.Unmarshal(series, &s) == nil {
			v.Series = &s
		}
		r, err := report.Build(v)
		if err != nil {
			return
		}
		for _, format := range []string{"md", "html", "json"} {
			if out := written(t, &r, format); out == "" {
				t.Errorf("the report as %s is empty", format)
			}
		}
	})
}

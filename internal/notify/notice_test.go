package notify

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"math"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
)

var update = flag.Bool("update", false, "write the golden files anew")

// full is an incident with everything in it, as it opens, gets worse and ends.
func full() []judge.Incident {
	open := incident(7, judge.Open, judge.Warning)
	open.Finding = judge.Finding{
		Scope: open.Finding.Scope, Cause: judge.WorkersFull, Severity: judge.Warning, Certainty: judge.Likely,
		Basis:    "12 looks over 3 s",
		Sentence: "Connections to web wait at least 1.5 s to be accepted; 31 wait.",
		Hurt:     "31 connections wait to be accepted; clients of web wait 1.5 s or more, or give up",
		Trigger:  "queue wait above 1 s for 3 s",
		Evidence: []judge.Evidence{
			{Signal: measure.QueueWait, Reading: measure.Reading{Value: 1.52, Samples: 31, Validity: measure.Known}, Threshold: 1, HasThreshold: true, Origin: "default"},
			{Signal: measure.QueueLimit, Reading: measure.Reading{Validity: measure.Stale}},
			{Signal: measure.AcceptedSlope, Reading: measure.Reading{Value: math.Inf(1), Validity: measure.Known}},
		},
		Advice:  []string{"Add workers.", "Find what <they> wait for & why."},
		Pattern: judge.GradualSaturation, PatternEvidence: "+1.1 workers/s for 2 min", Response: "Scale.",
		Prefixes: []measure.PrefixHeld{{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Held: 14, Slow: 3}},
	}
	worse := open
	worse.Finding.Severity, worse.Peak = judge.Critical, judge.Critical
	worse.UpdatedAt, worse.AcknowledgedAt, worse.AcknowledgedBy = at(30), at(20), "ada"
	over := worse
	over.State, over.End, over.ResolvedAt = judge.Resolved, judge.Recovered, at(90)
	return []judge.Incident{open, worse, over}
}

// toldAll plans that life for one channel: opened, worse, resolved.
func toldAll(t *testing.T, c Channel) []Notice {
	t.Helper()
	p := NewPlanner(Config{
		Host: "web03", PublicURL: "https://web03.example:9748", Channels: []Channel{c},
		Labels: map[string]string{"team": "shop", "rack-row": "4", "severity": "ours", "7th": "é", "none": ""},
	})
	var out []Notice
	for i, inc := range full() {
		out = append(out, p.Plan(at(30*i), time.Hour, []judge.Incident{inc})...)
	}
	if len(out) != 3 {
		t.Fatalf("%d notices, want 3", len(out))
	}
	return out
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, got, "", "  "); err != nil {
		t.Fatal(err)
	}
	pretty.WriteByte('\n')
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, pretty.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), pretty.String()); diff != "" {
		t.Errorf("%s (-want +got); with -update if it should be so:\n%s", path, diff)
	}
}

func TestNoticeJSON(t *testing.T) {
	for _, n := range toldAll(t, Channel{Name: "hook", Webhook: &Webhook{URL: "https://ops.example"}}) {
		body, err := n.JSON()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "webhook-"+string(n.Incidents[0].Step)+".json", body)
		// An outbox on disk keeps what is to be sent: nothing of it is lost.
		var back Notice
		if err := json.Unmarshal(body, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(n, back); diff != "" {
			t.Errorf("%s: decoded again (-want +got):\n%s", brief(n), diff)
		}
	}
}

func TestAlertsJSON(t *testing.T) {
	for i, n := range toldAll(t, Channel{Name: "alarm", Alertmanager: &Alertmanager{URLs: []string{"http://a.example"}}}) {
		body, err := json.Marshal(alerts(&n, at(3600+30*i)))
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "alertmanager-"+string(n.Incidents[0].Step)+".json", body)
	}
}

// TestAlertsEndAfterTheyStart, also when the wall clock was set back.
func TestAlertsEndAfterTheyStart(t *testing.T) {
	p := NewPlanner(Config{Host: "web03", Channels: []Channel{{Name: "a", Alertmanager: &Alertmanager{URLs: []string{"http://a.example"}}}}})
	for i, inc := range full() {
		for _, n := range p.Plan(at(30*i), -time.Duration(i)*time.Hour, []judge.Incident{inc}) {
			for _, a := range alerts(&n, at(30*i)) {
				if a.EndsAt.Before(a.StartsAt) {
					t.Errorf("%s: ends at %s, before it starts at %s", brief(n), a.EndsAt, a.StartsAt)
				}
			}
		}
	}
}

func TestLabels(t *testing.T) {
	for _, tt := range []struct {
		name     string
		in, want map[string]string
	}{
		{"plain", map[string]string{"team": "shop"}, map[string]string{"team": "shop"}},
		{"odd letters", map[string]string{"a-b.c": "1", "ü": "2", "9x": "3"}, map[string]string{"a_b_c": "1", "_": "2", "_9x": "3"}},
		{"ours stay", map[string]string{"host": "other", "exported_host": "third"}, map[string]string{"exported_host": "third", "exported_host_2": "other"}},
		{"two become one name", map[string]string{"a-b": "1", "a.b": "2"}, map[string]string{"a_b": "1", "a_b_2": "2"}},
		{"bad value", map[string]string{"a": "x\xff", "b": ""}, map[string]string{"a": "x?"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := map[string]string{
				"alertname": "ForeshockClientsGaveUp", "cause": "clients_gave_up", "severity": "critical", "scope": "service/web",
				"host": "web03", "instance": "web03",
			}
			maps.Copy(want, tt.want)
			got := labels(&Notice{Host: "web03", Labels: tt.in}, &Item{Cause: "clients_gave_up", Severity: "critical", Scope: "service/web"})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

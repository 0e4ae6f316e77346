package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/api"
)

// TestListingOrder: what goes on first, the worst of it at the top, and what a
// newer program says is not hidden.
func TestListingOrder(t *testing.T) {
	now := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	document := func(id int, state, severity, peak string, over time.Duration) json.RawMessage {
		i := api.Incident{ID: uint64(id), State: state, Severity: severity, PeakSeverity: peak, Scope: "service/web", Cause: "leak"}
		if state == "resolved" {
			i.ResolvedAt = new(now.Add(-over))
		}
		raw, err := json.Marshal(i)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	found := []json.RawMessage{
		document(1, "resolved", "watch", "critical", 2*time.Hour), document(2, "open", "warning", "warning", 0), document(3, "suspect", "none", "none", 0),
		document(4, "open", "critical", "critical", 0), document(5, "resolved", "watch", "watch", time.Minute), document(6, "open", "watch", "dreadful", 0),
		document(7, "open", "warning", "warning", 0), []byte(`{"id": "eight"}`),
	}
	tests := []struct {
		name string
		l    listing
		want []int
	}{
		{"what goes on", listing{}, []int{4, 7, 2, 6, 3}},
		{"all", listing{over: true}, []int{4, 7, 2, 6, 3, 5, 1}},
		{"since an hour", listing{over: true, since: now.Add(-time.Hour)}, []int{4, 7, 2, 6, 3, 5}},
		{"grave ones", listing{over: true, least: 2}, []int{4, 6, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if unread := tt.l.choose(found); unread != 1 {
				t.Errorf("%d cannot be read, want 1", unread)
			}
			var got []int
			for _, x := range tt.l.chosen {
				got = append(got, int(x.ID))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("order (-want +got):\n%s", diff)
			}
		})
	}
}

// bareIncidents have one incident, and nothing else can be had.
type bareIncidents struct{ document json.RawMessage }

var errGone = errors.New("the disk fails")

func (b bareIncidents) some(context.Context, time.Time, time.Time) ([]json.RawMessage, error) {
	return nil, errGone
}
func (b bareIncidents) one(context.Context, uint64) (json.RawMessage, error) { return b.document, nil }
func (b bareIncidents) series(context.Context, *api.Incident) (api.Series, error) {
	return api.Series{}, errGone
}
func (b bareIncidents) limits(context.Context) ([]api.Limit, error) { return nil, errGone }
func (b bareIncidents) host() string                                { return "web03" }
func (b bareIncidents) close()                                      {}

// TestReportOfLittle: where only the incident can be had the report is of that,
// and says what it lacks. A broken one is an error that names it.
func TestReportOfLittle(t *testing.T) {
	var stderr, out bytes.Buffer
	r, err := gatherReport(t.Context(), bareIncidents{[]byte(`{"id":7,"scope":"service/web","cause":"leak","opened_at":"2026-03-02T10:00:00Z"}`)}, 7, &stderr)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(stderr.String(), "the report is without "); n != 3 {
		t.Errorf("stderr says so %d times, want 3:\n%s", n, &stderr)
	}
	if err := r.Markdown(&out); err != nil || !strings.Contains(out.String(), "There are no graphs: the disk fails.") {
		t.Errorf("%v\n%s", err, &out)
	}
	for _, broken := range []string{"", `{"id":7}`, `{"id":7,"scope":7}`} {
		if _, err := gatherReport(t.Context(), bareIncidents{[]byte(broken)}, 7, &stderr); err == nil || !strings.HasPrefix(err.Error(), "incident 7: ") {
			t.Errorf("%q: %v", broken, fmt.Sprint(err))
		}
	}
}

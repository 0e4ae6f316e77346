package web

import (
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	scopes "github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

type fixed struct{ s *api.Snapshot }

func (f fixed) Snapshot() *api.Snapshot { return f.s }

func get(t *testing.T, s *api.Snapshot) string {
	t.Helper()
	rec := httptest.NewRecorder()
	at(fixed{s}, func() time.Time { return s.Wall(s.At) }).ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
	if rec.Code != 200 {
		t.Fatalf("GET /: %d %s", rec.Code, rec.Body)
	}
	return rec.Body.String()
}

func TestPage(t *testing.T) {
	at := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	id := scopes.ID{Kind: scopes.KindService, Name: "<b>web</b>"}
	signals := measure.ScopeSignals{Scope: id}
	signals.Readings[measure.QueueWait] = measure.Reading{Value: 3.5, Validity: measure.Known}
	signals.Readings[measure.Accepted] = measure.Reading{Validity: measure.Stale}
	s := &api.Snapshot{
		Host: "web03", At: at, Ready: true, Reader: "sock_diag",
		Services: []scopes.Service{{Name: id.Name, Process: "apache2", Listen: []netip.AddrPort{netip.MustParseAddrPort("[::]:80")}}},
		View:     measure.View{At: at, Scopes: []measure.ScopeSignals{signals}},
		Incidents: []judge.Incident{{ID: 1, State: judge.Open, OpenedAt: at.Add(-9 * time.Second), Finding: judge.Finding{
			Scope: id, Cause: judge.WorkersFull, Severity: judge.Critical, Certainty: judge.Certain, Basis: "4 looks over 1s",
			Sentence: "Connections wait.", Advice: []string{"Add workers."}}}},
		Looks:  []api.LookStatus{{Tier: tcp.Pulse, Seen: at, Last: tcp.Look{Begin: at, Completeness: tcp.Complete}}, {Tier: tcp.Full, LastError: "refused"}},
		Limits: []api.Limit{{Subject: "QUIC", Reason: "not TCP"}},
	}
	page := get(t, s)
	for _, want := range []string{
		"<title>&lt;b&gt;web&lt;/b&gt;: workers full", "◆", "workers full", `<p class="fact">9 s</p>`, "Connections wait.", `<p class="fact">certain</p><p class="note">4 looks over 1s</p>`,
		"Add workers.", "&lt;b&gt;web", "3.5 s", `<td role="cell" class="n of">unknown</td>`, "failing: refused", "QUIC", "not TCP",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("page lacks %q", want)
		}
	}
	if strings.Contains(page, "<b>web") {
		t.Error("page holds a name unescaped")
	}
	s.Incidents = nil
	if page := get(t, s); !strings.Contains(page, "Unknown: 1 service cannot be seen") {
		t.Error("page of a service nobody sees does not say so")
	}
	s.Services, s.View = nil, measure.View{}
	if page := get(t, s); !strings.Contains(page, "Nothing found wrong in what can be seen") {
		t.Error("page without incidents does not say so")
	}
	if page := get(t, &api.Snapshot{}); !strings.Contains(page, "Looking for the first time") || !strings.Contains(page, "Nothing listens") {
		t.Error("the first page does not say what it waits for")
	}
}

// TestPageOfWhatIsOver: a picture nobody renews, and a finding nobody can see
// any more, are said to be that.
func TestPageOfWhatIsOver(t *testing.T) {
	taken := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	s := &api.Snapshot{Sequence: 9, Host: "web03", At: taken, ClockOffset: time.Hour, Ready: true}
	rec := httptest.NewRecorder()
	at(fixed{s}, func() time.Time { return taken.Add(time.Hour + 21*time.Second) }).ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
	if page := rec.Body.String(); !strings.Contains(page, "<title>No word from the agent for 21 s") || strings.Contains(page, "Nothing found wrong") {
		t.Errorf("an old picture is shown as new: %s", page)
	}
	s.Incidents = []judge.Incident{{ID: 1, State: judge.Open, OpenedAt: taken, BlindSince: taken, AcknowledgedAt: taken, AcknowledgedBy: "ann",
		Finding: judge.Finding{Cause: judge.WorkersFull, Severity: judge.Critical, Certainty: judge.Certain, Basis: "4 looks"}}}
	page := get(t, s)
	for _, want := range []string{`<p class="fact">unknown</p><p class="note">no evidence since 04:00:00 UTC; taken by ann</p>`} {
		if !strings.Contains(page, want) {
			t.Errorf("page lacks %q: %s", want, page)
		}
	}
	if strings.Contains(page, "certain, 4 looks") {
		t.Error("the page is certain of what it cannot see")
	}
}

// TestLinksOfNotices: the address that a notice carries leads to the row.
func TestLinksOfNotices(t *testing.T) {
	for path, want := range map[string]string{"/incidents/42": "/#incident-42", "/incidents/x": "", "/incidents/-1": ""} {
		rec := httptest.NewRecorder()
		New(fixed{&api.Snapshot{}}).ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		if got := rec.Header().Get("Location"); got != want || (want == "") != (rec.Code == 404) {
			t.Errorf("%s: %d to %q, want %q", path, rec.Code, got, want)
		}
	}
	s := &api.Snapshot{Ready: true, Incidents: []judge.Incident{{ID: 42, State: judge.Open, Finding: judge.Finding{Cause: judge.WorkersFull, Severity: judge.Critical}}}}
	if page := get(t, s); !strings.Contains(page, `id="incident-42"`) {
		t.Errorf("no row has the address: %s", page)
	}
}

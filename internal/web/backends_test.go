package web

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/api"
)

// TestBackends: the kernel's word, the balancer's beside it, and what is
// unknown in words.
func TestBackends(t *testing.T) {
	want := []group{
		{"group db", "db", "0 of 2 failing", []backend{
			{
				ID: "backend/db/192.0.2.20:5432", Name: "db/192.0.2.20:5432", What: "billing to 192.0.2.20:5432 · observed",
				Limit: "connections of other processes to the same address are counted too: process 7, cron, is in the same cgroup and has sockets too",
				Level: "unknown", Glyph: "◌", Verdict: "unknown", Reason: "no traffic", Since: "–", Balancer: "not asked",
				Pending: "0 of 2", Longest: "0.0 s", Answers: "no traffic", Usually: "unknown",
			},
			{
				ID: "backend/db/192.0.2.21:5432", Name: "db/192.0.2.21:5432", What: "unknown process to 192.0.2.21:5432 · observed",
				Level: "unknown", Glyph: "◌", Verdict: "unknown", Reason: "not visible to this reader", Since: "–", Balancer: "unknown",
				Pending: "unknown of 2", Longest: "unknown", Answers: "unknown", Usually: "unknown",
			},
		}},
		{"group shop", "shop", "2 of 3 failing", []backend{
			{
				ID: "backend/shop/s1", Name: "shop/s1", What: "haproxy to 192.0.2.10:8080 · haproxy /run/haproxy/admin.sock · also static/s1",
				Level: "critical", Glyph: "◆", Verdict: "peer frozen", Since: "7 s", Balancer: "up", Disputed: true,
				Pending: "48 of 48", Longest: "7.5 s", Answers: "no traffic", Usually: "250 ms",
			},
			{
				ID: "backend/shop/s2", Name: "shop/s2", What: "haproxy to 192.0.2.11:8080 · haproxy /run/haproxy/admin.sock",
				Level: "normal", Verdict: "answers", Since: "–", Balancer: "up", Pending: "3 of 12", Longest: "0.2 s", Answers: "100 ms", Usually: "250 ms",
			},
			{
				ID: "backend/shop/s3", Name: "shop/s3", What: "haproxy to 192.0.2.12:8080 · haproxy /run/haproxy/admin.sock",
				Level: "critical", Glyph: "◆", Verdict: "path lost", Since: "20 s", Balancer: "down",
				Pending: "6 of 6", Longest: "14.2 s", Answers: "no traffic", Usually: "2.5 s",
			},
		}},
	}
	if diff := cmp.Diff(want, viewOf(pictureOf(t, "backends"), 0).Groups); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

// TestNeedsOfBackends: what the balancer thinks, when it came to think so, what
// the siblings carry, and what another incident explains.
func TestNeedsOfBackends(t *testing.T) {
	type said struct {
		ID                uint64
		Balancer          string
		Disputed          bool
		Siblings, Because string
	}
	for name, want := range map[string][]said{
		"backends": {
			{9, "balancer: up", true, "Its 2 siblings carry 18 connections, at most 40 before.", ""},
			{10, "balancer: down since 03:12:16 UTC, 9 s after we suspected it", false, "Its 2 siblings carry 60 connections.", ""},
		},
		"called_up": {{9, "balancer: up", true, "", ""}, {11, "balancer: up", true, "", ""}},
		"local_fault": {
			{12, "", false, "", ""},
			{9, "balancer: down since 03:12:19 UTC, 1 s before we suspected it", false, "", "explained by local fault, and not sent"},
			{10, "balancer: up when last asked", false, "", "explained by local fault, and not sent"},
		},
	} {
		var got []said
		for _, n := range viewOf(pictureOf(t, name), 0).Needs {
			got = append(got, said{n.ID, n.Balancer, n.Disputed, n.Siblings, n.Because})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// manyBackends is a picture of so many backends, of which the last one fails.
func manyBackends(n int) api.Picture {
	p := api.Picture{Status: api.Status{At: time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC), Ready: true}}
	for i := range n {
		b := &api.Backend{Group: fmt.Sprintf("g%d", i%2)}
		b.Verdict.State = "ok"
		p.Scopes = append(p.Scopes, api.Scope{ID: fmt.Sprintf("backend/b%04d", i), Kind: "backend", Name: fmt.Sprintf("b%04d", i), Backend: b})
	}
	at := p.Status.At.Add(-time.Second)
	p.Incidents = []api.Incident{{ID: 1, State: "open", Scope: p.Scopes[n-1].ID, Cause: "path_lost", Severity: "critical", OpenedAt: &at}}
	return p
}

// TestManyBackends: the page stays short, and what fails is on it.
func TestManyBackends(t *testing.T) {
	v := viewOf(manyBackends(1000), 0)
	shown, fails := 0, false
	for _, g := range v.Groups {
		shown += len(g.Backends)
		for _, b := range g.Backends {
			fails = fails || b.ID == "backend/b0999" && b.Level == "critical"
		}
	}
	if shown != maxBackends || !fails || v.Rest != "and 900 more" {
		t.Errorf("%d shown, the failing one among them: %v; %q", shown, fails, v.Rest)
	}
	if last := v.Groups[len(v.Groups)-1]; last.Name != "g1" || last.Note != "1 of 500 failing" {
		t.Errorf("group %s: %s", last.Name, last.Note)
	}
}

// TestStaleBackendsAreNotCalm: where the looks of backends have stopped nothing
// is said to be well.
func TestStaleBackendsAreNotCalm(t *testing.T) {
	p := manyBackends(2)
	p.Incidents = nil
	p.Scopes[0].Backend.Verdict.State, p.Scopes[0].Backend.Verdict.Reason = "unknown", "no_traffic"
	if got := viewOf(p, 0).Title; got != "Nothing found wrong in what can be seen" {
		t.Errorf("idle: %q", got)
	}
	p.Scopes[1].Backend.Verdict.State, p.Scopes[1].Backend.Verdict.Reason = "unknown", "stale"
	if got := viewOf(p, 0).Title; got != "Unknown: 1 backend cannot be seen" {
		t.Errorf("stale: %q", got)
	}
}

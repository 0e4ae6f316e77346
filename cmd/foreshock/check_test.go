package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/drain"
)

func known(v float64) api.Value { return api.Value{Value: &v} }

// service is a scope as the agent answers it.
func service(name string, wait api.Value) api.Scope {
	return api.Scope{ID: "service/" + name, Kind: "service", Name: name, Signals: map[string]api.Value{
		"queue_wait_seconds": wait, "queue_depth": known(51), "queue_limit": known(511), "accepted": known(8), "unaccepted": known(51),
	}}
}

var (
	noListener = api.Value{Unknown: "no_listener"}
	neverSeen  = api.Value{Unknown: "never_seen"}
	stale      = api.Value{Unknown: "stale"}
	host       = api.Scope{ID: "host", Kind: "host", Name: "host"}
)

func failing(scope, state, severity string) api.Incident {
	return api.Incident{
		ID: 1, State: state, Scope: scope, Cause: "workers_full", Severity: severity,
		Sentence: "Connections to web wait at least 3.2 s to be accepted; 51 wait.", Advice: []string{"Add workers.", "Find what they wait for."},
	}
}

const webData = " | 'web_queue_wait'=3.25s;1;3;0 'web_queue_depth'=51;;;0;511 'web_accepted'=8;;;0 'web_unaccepted'=51;;;0 'web_workers_occupied'=U"

func TestVerdict(t *testing.T) {
	web := service("web", known(3.25))
	tests := []struct {
		name    string
		checked checked
		service string
		code    int
		text    string
	}{
		{"all well", checked{scopes: []api.Scope{host, web}}, "", nagiosOK, "FORESHOCK OK - 1 service, none short of workers" + webData + "\n"},
		{"a switch is stuck, another on its way", checked{scopes: []api.Scope{web}, drains: []api.FollowedSwitch{
			{Status: drain.Status{Name: "shop.example", Verdict: drain.Stuck, Sentence: "12 % are left after 1 h.", Advice: []string{"Restart php-fpm.", "Wait."}}},
			{Status: drain.Status{Name: "next.example", Verdict: drain.Draining}},
			{Status: drain.Status{Name: "last.example", Verdict: drain.Stuck}, Report: drain.Report{Stopped: true}},
		}}, "", nagiosWarning, "FORESHOCK WARNING - shop.example: the switch is stuck" + webData + "\n12 % are left after 1 h.\nRestart php-fpm.\n"},
		{"a switch is stuck, and a service was asked for", checked{scopes: []api.Scope{web}, drains: []api.FollowedSwitch{{Status: drain.Status{Verdict: drain.Stuck}}}}, "web", nagiosOK, "FORESHOCK OK - 1 service, none short of workers" + webData + "\n"},
		{"nothing listens", checked{scopes: []api.Scope{host}}, "", nagiosOK, "FORESHOCK OK - nothing listens here\n"},
		{"critical", checked{scopes: []api.Scope{web}, incidents: []api.Incident{failing("service/web", "open", "critical")}}, "", nagiosCritical,
			"FORESHOCK CRITICAL - web: workers full" + webData + "\nConnections to web wait at least 3.2 s to be accepted; 51 wait.\nAdd workers.\n"},
		{"the worst decides", checked{scopes: []api.Scope{web}, incidents: []api.Incident{
			failing("service/db", "open", "warning"), failing("service/web", "open", "critical"), failing("service/x", "open", "watch"),
		}}, "", nagiosCritical, "FORESHOCK CRITICAL - db: workers full; web: workers full; x: workers full" + webData + "\n" +
			strings.Repeat("Connections to web wait at least 3.2 s to be accepted; 51 wait.\nAdd workers.\n", 3)},
		{"another service's", checked{scopes: []api.Scope{web}, incidents: []api.Incident{failing("service/db", "open", "critical")}}, "web", nagiosOK,
			"FORESHOCK OK - 1 service, none short of workers" + webData + "\n"},
		{"a name that begins alike", checked{scopes: []api.Scope{web}, incidents: []api.Incident{failing("service/web2", "open", "critical")}}, "web", nagiosOK,
			"FORESHOCK OK - 1 service, none short of workers" + webData + "\n"},
		{"over", checked{scopes: []api.Scope{web}, incidents: []api.Incident{failing("service/web", "resolved", "critical")}}, "", nagiosOK,
			"FORESHOCK OK - 1 service, none short of workers" + webData + "\n"},
		{"suspected: the agent holds it", checked{scopes: []api.Scope{web}, incidents: []api.Incident{failing("service/web", "suspect", "warning")}}, "", nagiosOK,
			"FORESHOCK OK - 1 service, none short of workers" + webData + "\n"},
		{"suspected by looks of our own", checked{scopes: []api.Scope{web}, incidents: []api.Incident{failing("service/web", "suspect", "warning")}, glanced: true, notes: []string{"no agent"}}, "", nagiosWarning,
			"FORESHOCK WARNING - web: workers full" + webData + "\nConnections to web wait at least 3.2 s to be accepted; 51 wait.\nSuspected: so few looks cannot tell whether it lasts.\nAdd workers.\nno agent\n"},
		{"no such service", checked{scopes: []api.Scope{web}}, "nobody", nagiosUnknown, "FORESHOCK UNKNOWN - there is no service \"nobody\": foreshock look lists them\n"},
		{"unknown is never OK", checked{scopes: []api.Scope{web, service("db", stale)}}, "", nagiosUnknown,
			"FORESHOCK UNKNOWN - db: cannot tell whether anybody waits: stale" + webData + " 'db_queue_wait'=U 'db_queue_depth'=51;;;0;511 'db_accepted'=8;;;0 'db_unaccepted'=51;;;0 'db_workers_occupied'=U\n"},
		{"a listener that closed", checked{scopes: []api.Scope{web, service("db", noListener)}}, "", nagiosOK, "FORESHOCK OK - 2 services, none short of workers" + webData + "\n"},
		{"a listener that opened", checked{scopes: []api.Scope{web, service("db", neverSeen)}}, "", nagiosOK, "FORESHOCK OK - 2 services, none short of workers" + webData + "\n"},
		{"a listener that closed and was asked for", checked{scopes: []api.Scope{service("web", noListener)}}, "web", nagiosUnknown,
			"FORESHOCK UNKNOWN - web: cannot tell whether anybody waits: no listener | 'web_queue_wait'=U 'web_queue_depth'=51;;;0;511 'web_accepted'=8;;;0 'web_unaccepted'=51;;;0 'web_workers_occupied'=U\n"},
		{"a listener that the configuration names", checked{scopes: []api.Scope{{Kind: "service", Name: "web", Configured: true, Signals: map[string]api.Value{"queue_wait_seconds": noListener}}}}, "", nagiosUnknown,
			"FORESHOCK UNKNOWN - web: cannot tell whether anybody waits: no listener | 'web_queue_wait'=U 'web_queue_depth'=U 'web_accepted'=U 'web_unaccepted'=U 'web_workers_occupied'=U\n"},
		{"unknown beside what fails", checked{scopes: []api.Scope{service("db", stale)}, incidents: []api.Incident{failing("service/web", "open", "warning")}}, "", nagiosWarning,
			"FORESHOCK WARNING - web: workers full; db: cannot tell whether anybody waits: stale | 'db_queue_wait'=U 'db_queue_depth'=51;;;0;511 'db_accepted'=8;;;0 'db_unaccepted'=51;;;0 'db_workers_occupied'=U\nConnections to web wait at least 3.2 s to be accepted; 51 wait.\nAdd workers.\n"},
		{"a name full of traps", checked{scopes: []api.Scope{service("a|b='c'", stale)}}, "", nagiosUnknown,
			"FORESHOCK UNKNOWN - a/b='c': cannot tell whether anybody waits: stale | 'a_b__c__queue_wait'=U 'a_b__c__queue_depth'=51;;;0;511 'a_b__c__accepted'=8;;;0 'a_b__c__unaccepted'=51;;;0 'a_b__c__workers_occupied'=U\n"},
		{"an answer without signals", checked{scopes: []api.Scope{{Kind: "service", Name: "web"}}}, "", nagiosUnknown,
			"FORESHOCK UNKNOWN - web: cannot tell whether anybody waits: the agent does not say | 'web_queue_wait'=U 'web_queue_depth'=U 'web_accepted'=U 'web_unaccepted'=U 'web_workers_occupied'=U\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, text := verdict(tt.checked, narrowed{service: tt.service})
			if code != tt.code {
				t.Errorf("code %d, want %d", code, tt.code)
			}
			if diff := cmp.Diff(tt.text, text); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
		})
	}
}

func TestVerdictOfBlindIncident(t *testing.T) {
	blind := failing("service/web", "open", "critical")
	since := time.Date(2026, 11, 21, 3, 13, 0, 0, time.UTC)
	blind.BlindSince = &since
	code, text := verdict(checked{scopes: []api.Scope{service("web", noListener)}, incidents: []api.Incident{blind}}, narrowed{service: "web"})
	if want := "Nothing could be seen of it since 2026-11-21T03:13:00Z."; code != nagiosCritical || !strings.Contains(text, want) {
		t.Errorf("code %d, want %d and %q in:\n%s", code, nagiosCritical, want, text)
	}
}

func TestUnknownFitsOneLine(t *testing.T) {
	got := unknown(errors.New("f.yaml:1:1: bad | worse\nf.yaml:2:1: worst\n"))
	if want := "FORESHOCK UNKNOWN - f.yaml:1:1: bad / worse; f.yaml:2:1: worst\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// answering is an agent that answers what it is told to.
func answering(t *testing.T, answers map[string]any, date time.Time) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", date.UTC().Format(http.TimeFormat))
		answer, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			answer = answers["else"]
		}
		if text, ok := answer.(string); ok {
			_, _ = w.Write([]byte(text))
			return
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestAskAgent(t *testing.T) {
	long := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC) // the agent's clock is its own
	age := 0.2
	agent := func(change func(*api.Status, *api.Looks)) map[string]any {
		status, looks := api.Status{At: long, Ready: true}, api.Looks{Looks: []api.Look{{Tier: "pulse", AgeSeconds: &age}}}
		if change != nil {
			change(&status, &looks)
		}
		return map[string]any{
			"/api/v1/status": status, "/api/v1/looks": looks, "/api/v1/scopes": api.Scopes{Scopes: []api.Scope{host}},
			"/api/v1/incidents": api.Incidents{Incidents: []api.Incident{}}, "/api/v1/backends": api.Backends{},
			"else": api.Problem{Error: "there is no GET of that", Hint: "as in an agent that is older than switches"},
		}
	}
	tests := []struct {
		name    string
		answers map[string]any
		err     string
	}{
		{"well", agent(nil), ""},
		{"just started", agent(func(s *api.Status, _ *api.Looks) { s.Ready = false }), "has just started"},
		{"stuck", agent(func(s *api.Status, _ *api.Looks) { s.At = long.Add(-3 * time.Minute) }), "has not looked for 3m0s: see its log"},
		{"blind", agent(func(_ *api.Status, l *api.Looks) {
			l.Looks[0].AgeSeconds, l.Looks[0].LastError = nil, "dump sockets: permission denied"
		}), "cannot see accept queues: dump sockets: permission denied"},
		{"blind for long", agent(func(_ *api.Status, l *api.Looks) { l.Looks[0].AgeSeconds = new(11.0) }), "cannot see accept queues: its looks are not whole"},
		{"another program", map[string]any{"/api/v1/status": "<html>hello</html>"}, "no foreshock agent"},
		{"another program that knows no such path", map[string]any{"else": "404"}, "no foreshock agent"},
		{"it refuses", map[string]any{"else": api.Problem{Error: "this agent is not called \"x\"", Hint: "use an IP address"}}, "the agent refuses"},
		{"nothing at all", map[string]any{"/api/v1/status": ""}, "no foreshock agent"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := askAgent(t.Context(), calling(t, answering(t, tt.answers, long)+"/"))
			switch {
			case tt.err == "" && err != nil:
				t.Fatal(err)
			case tt.err == "":
				if diff := cmp.Diff(checked{scopes: []api.Scope{host}, incidents: []api.Incident{}}, c, cmp.AllowUnexported(checked{})); diff != "" {
					t.Errorf("checked (-want +got):\n%s", diff)
				}
			case err == nil || !strings.Contains(err.Error(), tt.err):
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
	if _, err := askAgent(t.Context(), calling(t, "::no address::")); err == nil || !strings.Contains(err.Error(), "is no address") {
		t.Errorf("error %v, want that it is no address", err)
	}
}

// calling is a connection to an agent at an address, without any flag.
func calling(t *testing.T, address string) connection {
	t.Helper()
	c, err := addCallerFlags(&cobra.Command{}).connect(address, config.Default(), config.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

func TestAskAgentGivesUp(t *testing.T) {
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-done }))
	defer server.Close()
	defer close(done)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := askAgent(ctx, calling(t, server.URL)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want that the time is over", err)
	}
}

package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/api"
)

// behind is a backend as the agent answers it.
func behind(name string, v api.Verdict) api.Scope {
	return api.Scope{
		ID: "backend/" + name, Kind: "backend", Name: name, Backend: &api.Backend{Group: "shop", Also: []string{"static/" + name}, Verdict: v},
		Signals: map[string]api.Value{"established": known(12), "pending": known(11), "pending_longest_seconds": known(7.5), "retransmits_per_connection_per_second": {Unknown: "not_enough"}},
	}
}

func frozen(name string) (api.Scope, api.Incident) {
	x := failing("backend/"+name, "open", "critical")
	x.Cause, x.Sentence, x.Siblings, x.Advice = "peer_frozen", name+" does not answer.", "2 siblings carry 9 connections.", []string{"Take it out."}
	return behind(name, api.Verdict{State: api.StateFailing, Cause: x.Cause, Severity: x.Severity}), x
}

func dataOf(names ...string) string {
	var out []string
	for _, n := range names {
		out = append(out, fmt.Sprintf("'%[1]s_established'=12;;;0 '%[1]s_pending'=11;;;0 '%[1]s_pending_longest'=7.5s;;;0 '%[1]s_retransmits'=U", n))
	}
	return " | " + strings.Join(out, " ")
}

func TestVerdictOfBackends(t *testing.T) {
	web := service("web", known(3.25))
	s1, dead := frozen("s1")
	well, idle := behind("s2", api.Verdict{State: api.StateOK}), behind("s3", api.Verdict{State: api.StateUnknown, Reason: "no_traffic"})
	stale := func(name string) api.Scope {
		return behind(name, api.Verdict{State: api.StateUnknown, Reason: "stale"})
	}
	explained := dead
	explained.Because = "local_fault"
	ours := api.Incident{State: "open", Scope: "host", Cause: "local_fault", Severity: "critical", Sentence: "It is us."}
	tests := []struct {
		name    string
		checked checked
		only    narrowed
		code    int
		text    string
	}{
		{"all well", checked{scopes: []api.Scope{well, behind("s4", api.Verdict{State: api.StateOK})}}, narrowed{}, nagiosOK, "FORESHOCK OK - 2 backends: 2 answer" + dataOf("s2", "s4") + "\n"},
		{"beside services", checked{scopes: []api.Scope{web, well}}, narrowed{}, nagiosOK,
			"FORESHOCK OK - 1 service, none short of workers; 1 backend: 1 answers" + webData + " " + strings.TrimPrefix(dataOf("s2"), " | ") + "\n"},
		{"one without traffic is no alarm", checked{scopes: []api.Scope{well, idle}}, narrowed{}, nagiosOK, "FORESHOCK OK - 2 backends: 1 answers, 1 no traffic" + dataOf("s2", "s3") + "\n"},
		{"and is unknown when it is asked for", checked{scopes: []api.Scope{well, idle}}, narrowed{backend: "s3"}, nagiosUnknown, "FORESHOCK UNKNOWN - s3: cannot tell whether it answers: no traffic" + dataOf("s3") + "\n"},
		{"one fails", checked{scopes: []api.Scope{well, s1}, incidents: []api.Incident{dead}}, narrowed{}, nagiosCritical,
			"FORESHOCK CRITICAL - s1: peer frozen" + dataOf("s2", "s1") + "\ns1 does not answer.\n2 siblings carry 9 connections.\nTake it out.\n"},
		{"another than was asked for", checked{scopes: []api.Scope{well, s1}, incidents: []api.Incident{dead}}, narrowed{backend: "s2"}, nagiosOK, "FORESHOCK OK - 1 backend: 1 answers" + dataOf("s2") + "\n"},
		{"by its other name", checked{scopes: []api.Scope{well, s1}, incidents: []api.Incident{dead}}, narrowed{backend: "static/s1"}, nagiosCritical,
			"FORESHOCK CRITICAL - s1: peer frozen" + dataOf("s1") + "\ns1 does not answer.\n2 siblings carry 9 connections.\nTake it out.\n"},
		{"a service of the same name is not meant", checked{scopes: []api.Scope{service("s2", known(0))}}, narrowed{backend: "s2"}, nagiosUnknown,
			"FORESHOCK UNKNOWN - there is no backend \"s2\": foreshock look --by backend lists them\n"},
		{"what a local fault explains is one with it", checked{scopes: []api.Scope{s1}, incidents: []api.Incident{ours, explained}}, narrowed{}, nagiosCritical,
			"FORESHOCK CRITICAL - host: local fault; 1 incident explained by local fault" + dataOf("s1") + "\nIt is us.\n"},
		{"unless it is asked for", checked{scopes: []api.Scope{s1}, incidents: []api.Incident{ours, explained}}, narrowed{backend: "s1"}, nagiosCritical,
			"FORESHOCK CRITICAL - s1: peer frozen" + dataOf("s1") + "\ns1 does not answer.\nExplained by local fault.\n2 siblings carry 9 connections.\nTake it out.\n"},
		{"a pool that cannot be seen", checked{scopes: []api.Scope{well}, pools: []api.Pool{{Name: "shop", Configured: true, Problem: "open /run/a_b.sock: no such file"}, {Name: "nginx", Problem: "x"}}}, narrowed{}, nagiosUnknown,
			"FORESHOCK UNKNOWN - shop: cannot tell whether its backends answer: open /run/a_b.sock: no such file" + dataOf("s2") + "\n"},
		{"is not asked for", checked{scopes: []api.Scope{well}, pools: []api.Pool{{Name: "shop", Configured: true, Problem: "x"}}}, narrowed{backend: "s2"}, nagiosOK, "FORESHOCK OK - 1 backend: 1 answers" + dataOf("s2") + "\n"},
		{"stale is never OK", checked{scopes: []api.Scope{well, stale("s5")}}, narrowed{}, nagiosUnknown, "FORESHOCK UNKNOWN - s5: cannot tell whether it answers: stale" + dataOf("s2", "s5") + "\n"},
		{"many that are stale are one sentence", checked{scopes: []api.Scope{stale("a"), stale("b"), stale("c"), stale("d")}}, narrowed{}, nagiosUnknown,
			"FORESHOCK UNKNOWN - 4 backends: cannot tell whether they answer: stale" + dataOf("a", "b", "c", "d") + "\n"},
		{"an agent that gives no verdict", checked{scopes: []api.Scope{{ID: "backend/b", Kind: "backend", Name: "b"}}}, narrowed{}, nagiosUnknown,
			"FORESHOCK UNKNOWN - b: cannot tell whether it answers: the agent does not say | 'b_established'=U 'b_pending'=U 'b_pending_longest'=U 'b_retransmits'=U\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, text := verdict(tt.checked, tt.only)
			if code != tt.code {
				t.Errorf("code %d, want %d", code, tt.code)
			}
			if diff := cmp.Diff(tt.text, text); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBackendDataIsBounded: Nagios cuts long output, wherever that falls.
func TestBackendDataIsBounded(t *testing.T) {
	var c checked
	for i := range 400 {
		c.scopes = append(c.scopes, behind(fmt.Sprintf("shop/server-%03d", i), api.Verdict{State: api.StateOK}))
	}
	_, text := verdict(c, narrowed{})
	if !strings.HasPrefix(text, "FORESHOCK OK - 400 backends: 400 answer | ") || !strings.Contains(text, "No performance data of 375 more backends") || len(text) > 8<<10 {
		t.Errorf("%d bytes: %.200s", len(text), text)
	}
}

// region is a region as the agent answers it.
func region(name string, v api.Verdict) api.Scope {
	return api.Scope{
		ID: "region/" + name, Kind: "region", Name: name, Region: &api.Region{Prefixes: 1, Source: "configured", Verdict: v},
		Signals: map[string]api.Value{"connections": known(160), "retransmitting_share": known(0.5), "pending_late_share": {Unknown: "not_enough"}, "destinations": known(4)},
	}
}

func TestVerdictOfRegions(t *testing.T) {
	well, idle := region("east", api.Verdict{State: api.StateOK}), region("west", api.Verdict{State: api.StateUnknown, Reason: "no_traffic"})
	lost := failing("region/east", "open", "critical")
	lost.Cause, lost.Sentence, lost.Siblings, lost.Advice = "path_lost", "The region east is out of reach.", "", nil
	dead := region("east", api.Verdict{State: api.StateFailing, Cause: "path_lost", Severity: "critical"})
	data := " | 'east_connections'=160;;;0 'east_retransmitting_share'=0.5;;;0;1 'east_pending_late_share'=U 'east_destinations'=4;;;0"
	both := data + strings.ReplaceAll(strings.TrimPrefix(data, " |"), "east", "west")
	tests := []struct {
		name    string
		checked checked
		code    int
		text    string
	}{
		{"one that nobody talks to is no alarm", checked{scopes: []api.Scope{well, idle}}, nagiosOK, "FORESHOCK OK - 2 regions: 1 answers, 1 no traffic" + both + "\n"},
		{"one is lost", checked{scopes: []api.Scope{dead, idle}, incidents: []api.Incident{lost}}, nagiosCritical, "FORESHOCK CRITICAL - east: path lost" + both + "\nThe region east is out of reach.\n"},
		{"stale is never OK", checked{scopes: []api.Scope{region("east", api.Verdict{State: api.StateUnknown, Reason: "stale"})}}, nagiosUnknown, "FORESHOCK UNKNOWN - east: cannot tell whether it answers: stale" + data + "\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, text := verdict(tt.checked, narrowed{})
			if code != tt.code {
				t.Errorf("code %d, want %d", code, tt.code)
			}
			if diff := cmp.Diff(tt.text, text); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
		})
	}
}

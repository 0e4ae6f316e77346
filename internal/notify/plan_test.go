package notify

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/scope"
)

// epoch is the pipeline's time when the tests begin.
var epoch = time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return epoch.Add(time.Duration(seconds) * time.Second) }

// incident is one of service/web that opened at epoch.
func incident(id uint64, state judge.State, severity judge.Severity) judge.Incident {
	inc := judge.Incident{
		ID: id, State: state, Peak: severity, SuspectedAt: at(-3), UpdatedAt: epoch,
		Finding: judge.Finding{
			Scope: scope.ID{Kind: scope.KindService, Name: "web"}, Cause: judge.WorkersFull,
			Severity: severity, Certainty: judge.Likely, Sentence: "Connections to web wait.",
		},
	}
	if state != judge.Suspected {
		inc.OpenedAt = epoch
	}
	if state == judge.Resolved {
		inc.ResolvedAt, inc.End = epoch, judge.Recovered
	}
	return inc
}

// of is the incident of another service.
func of(service string, inc judge.Incident) judge.Incident {
	inc.Finding.Scope.Name = service
	return inc
}

// trouble is the agent's own.
func trouble(id uint64, state judge.State, what string) judge.Incident {
	inc := incident(id, state, judge.Warning)
	inc.Finding.Scope, inc.Finding.Cause = scope.ID{Kind: scope.KindAgent, Name: what}, judge.AgentTrouble
	return inc
}

func because(inc judge.Incident, of uint64) judge.Incident {
	inc.Because, inc.BecauseOf = judge.LocalFault, of
	return inc
}

// brief is a notice in one line.
func brief(n Notice) string {
	i := n.Incidents[0]
	return fmt.Sprintf("%s #%d %s %d %s", n.Channel, i.Incident, i.Step, i.Sequence, i.Severity)
}

func briefs(notices []Notice) []string {
	var out []string
	for _, n := range notices {
		out = append(out, brief(n))
	}
	return out
}

func TestPlan(t *testing.T) {
	hook := Channel{Name: "hook", Webhook: &Webhook{URL: "https://ops.example/hook"}}
	alarm := Channel{Name: "alarm", Alertmanager: &Alertmanager{URLs: []string{"http://127.0.0.1:9093"}}}
	pager := Channel{Name: "pager", Severities: []judge.Severity{judge.Critical}, Webhook: hook.Webhook}
	mild := Channel{Name: "mild", Severities: []judge.Severity{judge.Watch, judge.Warning}, Webhook: hook.Webhook}
	type tick struct {
		at        int
		incidents []judge.Incident
		want      []string
	}
	list := func(in ...judge.Incident) []judge.Incident { return in }
	for _, tt := range []struct {
		name     string
		channels []Channel
		ticks    []tick
	}{
		{"a life", []Channel{hook}, []tick{
			{0, list(incident(1, judge.Suspected, judge.Warning)), nil},
			{1, list(incident(1, judge.Open, judge.Warning)), []string{"hook #1 opened 1 warning"}},
			{2, list(incident(1, judge.Open, judge.Warning)), nil},
			{3, list(incident(1, judge.Open, judge.Critical)), []string{"hook #1 worse 2 critical"}},
			{600, list(incident(1, judge.Open, judge.Critical)), nil},
			{601, list(incident(1, judge.Resolved, judge.Critical)), []string{"hook #1 resolved 3 critical"}},
			{602, list(incident(1, judge.Resolved, judge.Critical)), nil},
		}},
		{"a suspicion that was nothing", []Channel{hook, alarm}, []tick{
			{0, list(incident(1, judge.Suspected, judge.Critical)), nil},
			{1, nil, nil},
		}},
		{"what a local fault explains is not sent, and is when it goes on", []Channel{hook}, []tick{
			{0, list(of("s2", incident(2, judge.Open, judge.Critical)), because(incident(1, judge.Open, judge.Critical), 2)), []string{"hook #2 opened 1 critical"}},
			{1, list(of("s2", incident(2, judge.Open, judge.Critical)), because(incident(1, judge.Open, judge.Critical), 2)), nil},
			{2, list(because(incident(1, judge.Open, judge.Critical), 2), of("s2", incident(2, judge.Resolved, judge.Critical))), []string{"hook #2 resolved 2 critical"}},
			{3, list(incident(1, judge.Open, judge.Critical), of("s2", incident(2, judge.Resolved, judge.Critical))), []string{"hook #1 opened 1 critical"}},
			{4, list(because(of("s3", incident(3, judge.Resolved, judge.Critical)), 2), incident(1, judge.Open, judge.Critical)), nil},
		}},
		{"what was told before its explanation came stays told", []Channel{hook}, []tick{
			{0, list(incident(1, judge.Open, judge.Warning)), []string{"hook #1 opened 1 warning"}},
			{1, list(of("s2", incident(2, judge.Open, judge.Critical)), because(incident(1, judge.Open, judge.Warning), 2)), []string{"hook #2 opened 1 critical"}},
			{2, list(of("s2", incident(2, judge.Open, judge.Critical)), because(incident(1, judge.Resolved, judge.Warning), 2)), []string{"hook #1 resolved 2 warning"}},
		}},
		{"explained by what is explained", []Channel{hook}, []tick{
			{0, list(of("s3", incident(3, judge.Open, judge.Critical)), because(of("s2", incident(2, judge.Open, judge.Critical)), 3), because(incident(1, judge.Open, judge.Critical), 2)), []string{"hook #3 opened 1 critical"}},
		}},
		{"explained by what is less bad, or this channel is not told of", []Channel{hook, pager}, []tick{
			{0, list(of("s2", incident(2, judge.Open, judge.Warning)), because(incident(1, judge.Open, judge.Warning), 2)), []string{"hook #2 opened 1 warning"}},
			{1, list(of("s2", incident(2, judge.Open, judge.Warning)), because(incident(1, judge.Open, judge.Critical), 2)), []string{"hook #1 opened 1 critical", "pager #1 opened 1 critical"}},
			{2, list(of("s2", incident(2, judge.Open, judge.Critical)), because(incident(1, judge.Resolved, judge.Critical), 2)), []string{"hook #1 resolved 2 critical", "hook #2 worse 2 critical", "pager #1 resolved 2 critical", "pager #2 opened 1 critical"}},
		}},
		{"explained by what is forgotten", []Channel{hook}, []tick{
			{0, list(because(incident(1, judge.Open, judge.Critical), 7)), []string{"hook #1 opened 1 critical"}},
		}},
		{"a channel's own trouble is told by the others", []Channel{hook, {Name: "other", Webhook: hook.Webhook}}, []tick{
			{0, list(trouble(1, judge.Open, "channel/hook"), trouble(2, judge.Open, "channel/hook2")), []string{"hook #2 opened 1 warning", "other #1 opened 1 warning", "other #2 opened 1 warning"}},
			{1, list(trouble(1, judge.Resolved, "channel/hook"), trouble(2, judge.Open, "channel/hook2")), []string{"other #1 resolved 2 warning"}},
		}},
		{"a watch is not sent, until it is more", []Channel{hook}, []tick{
			{0, list(incident(1, judge.Open, judge.Watch)), nil},
			{1, list(incident(1, judge.Open, judge.Warning)), []string{"hook #1 opened 1 warning"}},
		}},
		{"a watch that ends was never told", []Channel{hook}, []tick{
			{0, list(incident(1, judge.Open, judge.Watch)), nil},
			{1, list(incident(1, judge.Resolved, judge.Watch)), nil},
		}},
		{"better, then as bad again", []Channel{hook}, []tick{
			{0, list(incident(1, judge.Open, judge.Critical)), []string{"hook #1 opened 1 critical"}},
			{1, list(incident(1, judge.Open, judge.Warning)), nil},
			{2, list(incident(1, judge.Open, judge.Critical)), nil},
			{3, list(incident(1, judge.Resolved, judge.Warning)), []string{"hook #1 resolved 2 critical"}},
		}},
		{"each channel has its own severities", []Channel{mild, hook, pager}, []tick{
			{0, list(incident(1, judge.Open, judge.Watch)), []string{"mild #1 opened 1 watch"}},
			{1, list(incident(1, judge.Open, judge.Warning)), []string{"mild #1 worse 2 warning", "hook #1 opened 1 warning"}},
			{2, list(incident(1, judge.Open, judge.Critical)), []string{"hook #1 worse 2 critical", "pager #1 opened 1 critical"}},
			{3, list(incident(1, judge.Resolved, judge.Critical)), []string{"mild #1 resolved 3 warning", "hook #1 resolved 3 critical", "pager #1 resolved 2 critical"}},
		}},
		{"who was not told is not told that it is over", []Channel{hook, pager}, []tick{
			{0, list(incident(1, judge.Open, judge.Warning)), []string{"hook #1 opened 1 warning"}},
			{1, list(incident(1, judge.Resolved, judge.Warning)), []string{"hook #1 resolved 2 warning"}},
		}},
		{"Alertmanager is told again each minute", []Channel{hook, alarm}, []tick{
			{0, list(incident(1, judge.Open, judge.Warning)), []string{"hook #1 opened 1 warning", "alarm #1 opened 1 warning"}},
			{59, list(incident(1, judge.Open, judge.Warning)), nil},
			{60, list(incident(1, judge.Open, judge.Warning)), []string{"alarm #1 lasting 2 warning"}},
			{90, list(incident(1, judge.Open, judge.Critical)), []string{"hook #1 worse 2 critical", "alarm #1 worse 3 critical"}},
			{120, list(incident(1, judge.Open, judge.Critical)), nil},
			{150, list(incident(1, judge.Open, judge.Critical)), []string{"alarm #1 lasting 4 critical"}},
			{160, list(incident(1, judge.Resolved, judge.Critical)), []string{"hook #1 resolved 3 critical", "alarm #1 resolved 5 critical"}},
			{900, list(incident(1, judge.Resolved, judge.Critical)), nil},
		}},
		{"the older incident first", []Channel{hook}, []tick{
			{0, list(of("db", incident(2, judge.Open, judge.Warning)), incident(1, judge.Open, judge.Critical)), []string{"hook #1 opened 1 critical", "hook #2 opened 1 warning"}},
		}},
		{"an incident that nobody follows any more", []Channel{hook, alarm}, []tick{
			{0, list(of("db", incident(2, judge.Open, judge.Warning)), incident(1, judge.Open, judge.Warning)), []string{
				"hook #1 opened 1 warning", "hook #2 opened 1 warning", "alarm #1 opened 1 warning", "alarm #2 opened 1 warning"}},
			{1, nil, []string{"hook #1 resolved 2 warning", "hook #2 resolved 2 warning", "alarm #1 resolved 2 warning", "alarm #2 resolved 2 warning"}},
			{2, nil, nil},
		}},
		{"no channel", nil, []tick{{0, list(incident(1, judge.Open, judge.Critical)), nil}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := NewPlanner(Config{Host: "web03", Channels: tt.channels})
			for _, tick := range tt.ticks {
				if diff := cmp.Diff(tick.want, briefs(p.Plan(at(tick.at), 0, tick.incidents))); diff != "" {
					t.Errorf("at %d s (-want +got):\n%s", tick.at, diff)
				}
			}
		})
	}
}

// TestPlanKeys: a notice's key is its own, and the same however often and
// with whatever wall clock it is planned.
func TestPlanKeys(t *testing.T) {
	plan := func(host string, offset time.Duration) []Notice {
		p := NewPlanner(Config{Host: host, Channels: []Channel{
			{Name: "a", Webhook: &Webhook{URL: "http://a.example"}}, {Name: "b", Alertmanager: &Alertmanager{URLs: []string{"http://b.example"}}},
		}})
		later := incident(1, judge.Open, judge.Warning) // the first one's number after a restart
		later.OpenedAt = at(7200)
		var out []Notice
		for i, inc := range []judge.Incident{
			incident(1, judge.Open, judge.Warning), incident(1, judge.Open, judge.Warning), incident(1, judge.Open, judge.Critical),
			incident(1, judge.Resolved, judge.Critical), of("db", incident(2, judge.Open, judge.Warning)), later,
		} {
			out = append(out, p.Plan(at(60*i), offset, []judge.Incident{inc})...)
		}
		return out
	}
	seen := map[string]string{}
	for _, host := range []string{"web03", "web04"} {
		first, again := plan(host, 0), plan(host, time.Hour)
		for i, n := range first {
			if other, taken := seen[n.Key]; taken {
				t.Errorf("%s and %s have one key", brief(n), other)
			}
			seen[n.Key] = brief(n)
			if again[i].Key != n.Key {
				t.Errorf("%s: another key when the wall clock is set", brief(n))
			}
		}
	}
	if want := 2 * 13; len(seen) != want {
		t.Errorf("%d notices, want %d", len(seen), want)
	}
}

// TestPlanWallClock: people's clock is shown, and setting it does not move the
// start of what they were told.
func TestPlanWallClock(t *testing.T) {
	p := NewPlanner(Config{Host: "web03", Channels: []Channel{{Name: "a", Alertmanager: &Alertmanager{URLs: []string{"http://a.example"}}}}})
	open := []judge.Incident{incident(1, judge.Open, judge.Warning)}
	first := p.Plan(at(1), time.Hour, open)[0]
	second := p.Plan(at(61), -time.Hour, open)[0]
	type times struct{ Opened, At time.Time }
	want := []times{{at(3600), at(3601)}, {at(3600), at(61 - 3600)}}
	if diff := cmp.Diff(want, []times{{first.Incidents[0].OpenedAt, first.At}, {second.Incidents[0].OpenedAt, second.At}}); diff != "" {
		t.Errorf("times (-want +got):\n%s", diff)
	}
}

// TestPlannerConfigure: what stays keeps its memory, what is new is told.
func TestPlannerConfigure(t *testing.T) {
	a := Channel{Name: "a", Webhook: &Webhook{URL: "http://a.example"}}
	b := Channel{Name: "b", Webhook: &Webhook{URL: "http://b.example"}}
	p := NewPlanner(Config{Host: "web03", Channels: []Channel{a}})
	open := []judge.Incident{incident(1, judge.Open, judge.Warning)}
	got := briefs(p.Plan(at(0), 0, open))
	p.Configure(Config{Host: "web03", Channels: []Channel{a, b}})
	got = append(got, briefs(p.Plan(at(1), 0, open))...)
	p.Configure(Config{Host: "web03", Channels: []Channel{b}})
	got = append(got, briefs(p.Plan(at(2), 0, open))...)
	// Of another kind it is another channel: the new receiver was told nothing.
	p.Configure(Config{Host: "web03", Channels: []Channel{{Name: "b", Alertmanager: &Alertmanager{URLs: []string{"http://b.example"}}}}})
	got = append(got, briefs(p.Plan(at(3), 0, open))...)
	got = append(got, briefs(p.Plan(at(4), 0, nil))...)
	if diff := cmp.Diff([]string{"a #1 opened 1 warning", "b #1 opened 1 warning", "b #1 opened 1 warning", "b #1 resolved 2 warning"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPlanAllocatesNothing when there is nothing to tell: it runs with every
// look.
func TestPlanAllocatesNothing(t *testing.T) {
	p := NewPlanner(Config{Host: "web03", Channels: []Channel{{Name: "a", Webhook: &Webhook{URL: "http://a.example"}}}})
	list := []judge.Incident{incident(2, judge.Open, judge.Warning), incident(1, judge.Resolved, judge.Warning)}
	p.Plan(at(0), 0, list)
	if got := testing.AllocsPerRun(100, func() { p.Plan(at(1), 0, list) }); got != 0 {
		t.Errorf("%.0f allocations", got)
	}
}

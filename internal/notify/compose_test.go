package notify

import (
	"crypto/hmac"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/judge"
)

// TestCompose: a message is a notice of its own, with a key of its own for each
// channel, and what it told of is followed to its end.
func TestCompose(t *testing.T) {
	p := NewPlanner(Config{Host: "web03", PublicURL: "https://web03.example", Channels: []Channel{{Name: "a"}, {Name: "boss", Severities: []judge.Severity{judge.NoSeverity}}}})
	life := full()
	if told := p.Plan(at(0), time.Hour, life[:1]); len(told) != 1 || told[0].Channel != "a" {
		t.Fatalf("a channel that gets nothing was told: %+v", told)
	}
	over := of("other", life[2])
	over.ID = 6
	n, ok := p.Compose(at(60), time.Hour, Message{Channel: "boss", Reason: Escalation, Key: "k", Says: "nobody took it", Incidents: []judge.Incident{life[1], over}})
	other, _ := p.Compose(at(60), time.Hour, Message{Channel: "a", Reason: Escalation, Key: "k"})
	if !ok || n.Key == other.Key || len(n.Key) != 32 {
		t.Errorf("keys %q and %q", n.Key, other.Key)
	}
	got := []any{n.Version, n.Channel, n.Reason, n.Says, n.Severity, n.At, n.Link, n.Incidents[0].Step, n.Incidents[0].Sequence, n.Incidents[0].Link, n.Incidents[1].Step, n.Incidents[1].Severity}
	want := []any{Version, "boss", Escalation, "nobody took it", "critical", at(60).Add(time.Hour).UTC(), "https://web03.example/", Opened, 1, "https://web03.example/incidents/7", Resolved, "critical"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, ok := p.Compose(at(60), 0, Message{Channel: "gone"}); ok {
		t.Error("a channel that is not there is told")
	}
	if told := p.Plan(at(61), time.Hour, life[:1]); told != nil {
		t.Errorf("told again: %+v", told)
	}
	if !p.Gets("a", &life[0]) || p.Gets("boss", &life[0]) || p.Gets("gone", &life[0]) {
		t.Error("who gets it anyway is wrong")
	}
}

// TestEndAfterMessage: whom a message alone told of an incident hears its end:
// PagerDuty under the key that the message had, Alertmanager of the very alert,
// which does not end by itself before; whatever the incident's severity became,
// whether the agent was restarted meanwhile, and whether the channel would not
// have been told of it as it opened again too soon.
func TestEndAfterMessage(t *testing.T) {
	none := []judge.Severity{judge.NoSeverity}
	for name, x := range map[string]struct {
		channel Channel
		restart bool
		reopens bool
	}{
		"pagerduty":            {channel: Channel{Severities: none, Library: &Library{URL: "pagerduty://key@"}}},
		"pagerduty, restarted": {channel: Channel{Severities: none, Library: &Library{URL: "pagerduty://key@"}}, restart: true},
		"pagerduty, cooldown":  {channel: Channel{Calm: Calm{Cooldown: time.Hour}, Library: &Library{URL: "pagerduty://key@"}}, reopens: true},
		"alertmanager":         {channel: Channel{Severities: none, Alertmanager: &Alertmanager{URLs: []string{"http://am"}}}},
		"webhook":              {channel: Channel{Severities: none, Webhook: &Webhook{URL: "http://hook"}}},
	} {
		t.Run(name, func(t *testing.T) {
			x.channel.Name = "boss"
			cfg := Config{Host: "web03", Channels: []Channel{x.channel}}
			p := NewPlanner(cfg)
			now := full()[1:2]
			if x.reopens { // a critical one waits for no cooldown
				now[0].Finding.Severity, now[0].Peak = judge.Warning, judge.Warning
				before := incident(6, judge.Open, judge.Critical)
				p.Plan(at(-20), 0, []judge.Incident{before})
				before.State, before.End, before.ResolvedAt = judge.Resolved, judge.Recovered, at(-10)
				p.Plan(at(-10), 0, []judge.Incident{before})
			}
			if told := p.Plan(at(60), 0, now); told != nil {
				t.Fatalf("told: %+v", told)
			}
			n, _ := p.Compose(at(60), 0, Message{Channel: "boss", Reason: Escalation, Key: "k", Says: "the hook failed", Incidents: now})
			if x.restart {
				kept := p.Changed()
				p = NewPlanner(cfg)
				if err := p.Restore(at(61), 0, kept); err != nil {
					t.Fatal(err)
				}
			}
			milder := now[0]
			milder.Finding.Severity = judge.Warning
			told := p.Plan(at(121), 0, []judge.Incident{milder})
			if repeats := x.channel.Alertmanager != nil; repeats != (len(told) == 1) {
				t.Errorf("repeated: %+v", told)
			}
			milder.State, milder.End, milder.ResolvedAt = judge.Resolved, judge.Recovered, at(130)
			told = append(told, p.Plan(at(130), 0, []judge.Incident{milder})...)
			told = append(told, p.Plan(at(131), 0, []judge.Incident{milder})...)
			if len(told) == 0 || told[len(told)-1].Incidents[0].Step != Resolved || len(told) > 1 && x.channel.Alertmanager == nil {
				t.Fatalf("its end was not told, or more: %+v", told)
			}
			last := &told[len(told)-1]
			begin, end := events(&n, n.Words()), events(last, last.Words())
			if len(begin) != 1 || len(end) != 1 || begin[0].Key != end[0].Key || begin[0].Over || !end[0].Over {
				t.Errorf("events %+v, then %+v", begin, end)
			}
			first, ended := alerts(&n, at(60)), alerts(last, at(131))
			if diff := cmp.Diff(first[0].Labels, ended[0].Labels); diff != "" || !first[0].EndsAt.After(at(121)) || !ended[0].EndsAt.Equal(at(130)) {
				t.Errorf("another alert, or no end (-want +got):\n%s%+v\n%+v", diff, first, ended)
			}
		})
	}
}

// TestMessageOfBoth: an incident that is over and one of the same thing that is
// open are one alert, which is open.
func TestMessageOfBoth(t *testing.T) {
	p := NewPlanner(Config{Host: "web03", Channels: []Channel{{Name: "boss"}}})
	open, over := incident(8, judge.Open, judge.Critical), incident(7, judge.Resolved, judge.Critical)
	n, _ := p.Compose(at(0), 0, Message{Channel: "boss", Reason: FollowUp, Key: "k", Incidents: []judge.Incident{open, over}})
	if all := events(&n, n.Words()); len(all) != 1 || all[0].Over {
		t.Errorf("events %+v", all)
	}
	n, _ = p.Compose(at(1), 0, Message{Channel: "boss", Reason: FollowUp, Key: "l"})
	if all := events(&n, n.Words()); len(all) != 1 || !all[0].Over {
		t.Errorf("an alert that nothing ends: %+v", all)
	}
}

// TestPost: signed, with its key, and what is answered is bounded.
func TestPost(t *testing.T) {
	status, answer := http.StatusOK, `{"accepted": true}`
	var keys []string
	address, host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if want := signature([]byte("key-"+secret), epoch, body); !hmac.Equal([]byte(want), []byte(r.Header.Get(signatureHeader))) {
			t.Errorf("signed %q, want %q", r.Header.Get(signatureHeader), want)
		}
		keys = append(keys, r.Header.Get(idempotencyHeader))
		w.Header().Set("Location", "https://elsewhere.example/"+secret)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	})
	p, err := NewPost(Webhook{URL: address, Key: []byte("key-" + secret)}, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	got, err := p.Send(t.Context(), epoch, "k1", []byte("{}"))
	if err != nil || string(got) != answer {
		t.Errorf("%q, %v", got, err)
	}
	answer = strings.Repeat("x", 2*MaxPostAnswer)
	if got, err := p.Send(t.Context(), epoch, "k2", []byte("{}")); err != nil || len(got) != MaxPostAnswer {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	for status, answer = range map[int]string{302: "", 404: "no such hook", 500: strings.Repeat("y", 1000)} {
		got, err := p.Send(t.Context(), epoch, "k3", []byte("{}"))
		if err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), host) || string(got) != answer {
			t.Errorf("%d: %q, %v", status, got, err)
		}
	}
	if diff := cmp.Diff([]string{"k1", "k2", "k3", "k3", "k3"}, keys); diff != "" {
		t.Error(diff)
	}
}

// TestPostGoesOnce: also where the connection breaks, behind one that was good.
func TestPostGoesOnce(t *testing.T) {
	calls := 0
	address, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		if calls++; calls > 1 {
			panic(http.ErrAbortHandler) // the connection breaks, after what was asked was done
		}
	})
	p, err := NewPost(Webhook{URL: address}, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Send(t.Context(), epoch, "k1", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Send(t.Context(), epoch, "k2", []byte("{}")); err == nil || calls != 2 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

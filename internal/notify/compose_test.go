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
// channel, and moves nothing of what the planner has told.
func TestCompose(t *testing.T) {
	p := NewPlanner(Config{Host: "web03", PublicURL: "https://web03.example", Channels: []Channel{{Name: "a"}, {Name: "boss", Severities: []judge.Severity{judge.NoSeverity}}}})
	life := full()
	if told := p.Plan(at(0), time.Hour, life[:1]); len(told) != 1 || told[0].Channel != "a" {
		t.Fatalf("a channel that gets nothing was told: %+v", told)
	}
	n, ok := p.Compose(at(60), time.Hour, Message{Channel: "boss", Reason: Escalation, Key: "k", Says: "nobody took it", Incidents: []judge.Incident{life[1], life[2]}})
	other, _ := p.Compose(at(60), time.Hour, Message{Channel: "a", Reason: Escalation, Key: "k"})
	if !ok || n.Key == other.Key || len(n.Key) != 32 {
		t.Errorf("keys %q and %q", n.Key, other.Key)
	}
	got := []any{n.Version, n.Channel, n.Reason, n.Says, n.Severity, n.At, n.Link, n.Incidents[0].Step, n.Incidents[0].Sequence, n.Incidents[0].Link, n.Incidents[1].Step, n.Incidents[1].Severity}
	want := []any{Version, "boss", Escalation, "nobody took it", "critical", at(60).Add(time.Hour).UTC(), "https://web03.example/", Lasting, 0, "https://web03.example/incidents/7", Resolved, "critical"}
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

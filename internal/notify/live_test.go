package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/notify/notifytest"
)

// startAlertmanager starts the real one on loopback, for as long as the test runs,
// and returns its address.
func startAlertmanager(t *testing.T) string {
	t.Helper()
	a, err := notifytest.StartAlertmanager(t.TempDir())
	labtest.Need(t, err)
	t.Cleanup(func() {
		if said := a.Stop(); t.Failed() {
			t.Logf("Alertmanager said:\n%s", said)
		}
	})
	return a.URL()
}

// eventually polls until the condition holds, or fails the test.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		case <-poll.C:
		}
	}
}

// active are the open alerts that Alertmanager shows: severity to summary.
func active(t *testing.T, address string) map[string]string {
	t.Helper()
	answer, err := http.Get(address + "/api/v2/alerts?active=true&filter=alertname%3DForeshockWorkersFull")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var alerts []struct{ Labels, Annotations map[string]string }
	if err := json.NewDecoder(answer.Body).Decode(&alerts); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, a := range alerts {
		out[a.Labels["severity"]+" on "+a.Labels["instance"]+", rack "+a.Labels["rack_row"]] = a.Annotations["summary"]
	}
	return out
}

// TestRealAlertmanager: an alert appears, is replaced when it gets worse, and
// ends; a member that is not there holds up nothing.
func TestRealAlertmanager(t *testing.T) {
	address := startAlertmanager(t)
	channels := []Channel{{Name: "alarm", Alertmanager: &Alertmanager{URLs: []string{"http://127.0.0.1:1", address}}}}
	p := NewPlanner(Config{Host: "web03", Labels: map[string]string{"rack-row": "4", "9": "é", "severity": "mine"}, PublicURL: "https://web03.example", Channels: channels})
	o, lanes := NewOutbox(chance(), nil, channels)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for _, l := range lanes {
		wg.Go(func() { _ = l.Run(ctx) })
	}
	now := time.Now()
	for i, inc := range full() {
		inc.OpenedAt = now
		if inc.State == judge.Resolved {
			inc.ResolvedAt = now.Add(time.Millisecond)
		}
		want := map[string]string{}
		if inc.State == judge.Open {
			want[fmt.Sprintf("%s on web03, rack 4", inc.Finding.Severity)] = inc.Finding.Sentence
		}
		o.Put(p.Plan(now.Add(time.Duration(i)*time.Millisecond), 0, []judge.Incident{inc}), nil)
		eventually(t, fmt.Sprintf("step %d is taken", i), func() bool { return o.Status()[0].Delivered == uint64(i+1) })
		eventually(t, fmt.Sprintf("alerts %v", want), func() bool { return cmp.Equal(want, active(t, address)) })
	}
	s := o.Status()[0]
	if s.Undelivered != 0 || s.LastError == "" || s.Failing {
		t.Errorf("status %+v", s)
	}
}

// TestRealAlertmanagerForgetsTheDead: an alert that nobody repeats ends by
// itself. What a notice of almost expireAfter ago left there is about to.
func TestRealAlertmanagerForgetsTheDead(t *testing.T) {
	address := startAlertmanager(t)
	c := Channel{Name: "alarm", Alertmanager: &Alertmanager{URLs: []string{address}}}
	n := toldAll(t, c)[0]
	now := time.Now()
	n.Incidents[0].OpenedAt = now.Add(-time.Hour)
	lastWord := now.Add(2*time.Second - expireAfter)
	if err := receivers(&c)[0].sender.send(t.Context(), lastWord, &n); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the alert is there", func() bool { return len(active(t, address)) == 1 })
	eventually(t, "the alert is gone", func() bool { return len(active(t, address)) == 0 })
}

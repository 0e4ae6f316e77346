package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/notify"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/silence"
)

// TestCausesOfTheConfiguration: the configuration, which knows no judge, names
// the causes that there are.
func TestCausesOfTheConfiguration(t *testing.T) {
	if diff := cmp.Diff(causeNames(), config.Causes()); diff != "" {
		t.Errorf("config.Causes (-judge +config):\n%s", diff)
	}
}

func weekly(t *testing.T, text string) silence.Window {
	t.Helper()
	w, err := silence.ParseWeekly(text)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestMark: an incident has the silence that holds, is free of it when that
// ends or it is too bad for it, and keeps it when it is over.
func TestMark(t *testing.T) {
	wall := time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC) // a Saturday
	var s silences
	cfg := config.Config{Maintenance: []config.Maintenance{{
		Name: "backups", Window: weekly(t, "sat 02:01-02:02 UTC"), Match: silence.Matcher{Scope: "service/*", Severity: "warning"}, Why: "backups",
	}}}
	s.list.Configure(configuredSilences(cfg))
	web := judge.Incident{ID: 1, State: judge.Open, OpenedAt: wall, Finding: judge.Finding{Scope: scope.ID{Kind: scope.KindService, Name: "web"}, Cause: judge.WorkersFull, Severity: judge.Warning}}
	db := web
	db.ID, db.Finding.Scope.Name, db.Finding.Severity = 2, "db", judge.Critical
	incidents := []judge.Incident{db, web}
	var got []string
	look := func(after time.Duration) {
		s.step(wall.Add(after), incidents)
		s.mark(wall.Add(after), incidents)
		got = append(got, fmt.Sprintf("%s %q %q", after, incidents[0].SilencedBy, incidents[1].SilencedBy))
	}
	look(0)
	look(time.Minute)
	incidents[1].Finding.Severity = judge.Critical
	look(61 * time.Second)
	incidents[1].Finding.Severity = judge.Warning
	look(62 * time.Second)
	incidents[1].State, incidents[1].SilencedBy = judge.Resolved, "" // the judge's own copy
	look(63 * time.Second)
	look(2 * time.Minute)
	want := []string{
		`0s "" ""`, `1m0s "" "maintenance/backups"`, `1m1s "" ""`, `1m2s "" "maintenance/backups"`, `1m3s "" "maintenance/backups"`, `2m0s "" "maintenance/backups"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := testing.AllocsPerRun(100, func() { s.mark(wall.Add(2*time.Minute), incidents) }); n != 0 {
		t.Errorf("%.0f allocations where nothing changes", n)
	}
}

// TestMarkAfterAReload: a window that keeps its name and means others now frees
// what it kept quiet, and keeps the others quiet, at once.
func TestMarkAfterAReload(t *testing.T) {
	wall := time.Date(2026, 11, 21, 2, 1, 0, 0, time.UTC) // a Saturday
	var s silences
	window := config.Maintenance{Name: "backups", Window: weekly(t, "sat 00:00-24:00 UTC"), Match: silence.Matcher{Scope: "service/web"}, Why: "backups"}
	incidents := []judge.Incident{openOf(2, "db"), openOf(1, "web")}
	var got []string
	for _, of := range []string{"service/web", "service/db"} {
		window.Match.Scope = of
		s.configure(config.Config{Maintenance: []config.Maintenance{window}})
		s.step(wall, incidents)
		s.mark(wall, incidents)
		got = append(got, fmt.Sprintf("%q %q", incidents[0].SilencedBy, incidents[1].SilencedBy))
	}
	if diff := cmp.Diff([]string{`"" "maintenance/backups"`, `"maintenance/backups" ""`}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func openOf(id uint64, service string) judge.Incident {
	return judge.Incident{ID: id, State: judge.Open, Finding: judge.Finding{Scope: scope.ID{Kind: scope.KindService, Name: service}, Cause: judge.WorkersFull, Severity: judge.Warning}}
}

// BenchmarkSilences is one look of a thousand open incidents and a thousand
// silences that wait for one of them each, where the silences are the same as
// before and where they are not.
func BenchmarkSilences(b *testing.B) {
	wall := time.Date(2026, 11, 21, 2, 1, 0, 0, time.UTC)
	for _, changed := range []bool{false, true} {
		b.Run(fmt.Sprintf("changed=%v", changed), func(b *testing.B) {
			var s silences
			var incidents []judge.Incident
			for i := range uint64(silence.MaxSilences) {
				inc := openOf(i+1, fmt.Sprintf("web%d", i))
				incidents = append(incidents, inc)
				of := threadOf(&inc)
				x := silence.Silence{ID: fmt.Sprint(i), Match: silence.Matcher{Scope: of.Scope}, From: wall, Until: wall.Add(silence.MaxSpan), UntilResolved: inc.ID, Of: &of}
				if err := s.list.Add(wall, x); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				wall = wall.Add(time.Second)
				if changed {
					s.version++
				}
				s.step(wall, incidents)
				s.mark(wall, incidents)
			}
		})
	}
}

// TestSilencesAreRestored, and what cannot be read is said and left out.
func TestSilencesAreRestored(t *testing.T) {
	now := time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC)
	var s, again silences
	want := silence.Silence{
		ID: "3fa90c", Match: silence.Matcher{Scope: "service/web"}, From: now, Until: now.Add(time.Hour), UntilResolved: 7,
		Of: &silence.Subject{Scope: "service/web", Cause: "workers_full"}, Weekly: []silence.Window{weekly(t, "sat 22:00-04:00 Europe/Dublin")}, Why: "a move", By: "ada",
	}
	if err := s.list.Add(now, want); err != nil {
		t.Fatal(err)
	}
	err := again.restore(append(s.own(), history.Memory{Kind: silenceKind, Key: "bad", Data: []byte(`{`)}, history.Memory{Kind: silenceKind, Key: "none", Data: []byte(`{}`)}))
	if err == nil || !strings.Contains(err.Error(), `"bad"`) || !strings.Contains(err.Error(), `"none"`) {
		t.Errorf("%v", err)
	}
	if diff := cmp.Diff([]silence.Silence{want}, again.list.All()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSilencedIsNotLearned: the scopes that a silence names, at its times; one
// of causes alone leaves nothing out.
func TestSilencedIsNotLearned(t *testing.T) {
	h := newAHost()
	from := aMonday.Add(70 * time.Minute)
	span := func(m silence.Matcher) silence.Silence {
		return silence.Silence{ID: "1", Match: m, From: from, Until: from.Add(10 * time.Minute)}
	}
	h.learner.quiet = []silence.Silence{
		span(silence.Matcher{Scope: "service/sh*", Cause: "leak"}),
		span(silence.Matcher{Cause: "*"}),
		{ID: "2", Match: silence.Matcher{Scope: "backend/store/*"}, Weekly: []silence.Window{weekly(t, "mon 02:30-02:35 UTC")}},
	}
	now := aMonday.Add(6 * time.Hour)
	for at := aMonday; at.Before(now); at = at.Add(aLook) {
		h.at(at, 30, 100*time.Millisecond)
	}
	plain := newAHost()
	for at := aMonday; at.Before(now); at = at.Add(aLook) {
		plain.at(at, 30, 100*time.Millisecond)
	}
	for _, tt := range []struct {
		of     scope.ID
		signal measure.Signal
		want   int // minutes less
	}{{aShop, measure.NewFlowsRate, 10}, {aStore, measure.AnswerSlow, 5}} {
		k := normKey{tt.of, tt.signal}
		if got := plain.learner.norms[k].Minutes - h.learner.norms[k].Minutes; got != tt.want {
			t.Errorf("%s rests on %d minutes less, want %d", tt.of, got, tt.want)
		}
	}
}

// receiver takes notices and notes their steps.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	steps []string
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		var n notify.Notice
		if err := json.NewDecoder(req.Body).Decode(&n); err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, i := range n.Incidents {
			r.steps = append(r.steps, fmt.Sprintf("%s %s", i.Rule, i.Step))
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// wait waits until these steps came, and no others.
func (r *receiver) wait(t *testing.T, want ...string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		r.mu.Lock()
		got := strings.Join(r.steps, ", ")
		r.mu.Unlock()
		if got == strings.Join(want, ", ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("notices %s, want %v", got, want)
		}
	}
}

const alwaysTrue = "rules: [{name: always, when: host.passive_opens_per_second >= 0, hold: 1s}]\n"

// telling is a configuration with a webhook that is told at once of one rule.
func telling(r *receiver) string {
	return `notify: [{name: ops, only: [{rule: always}], group: {wait: 0s, interval: 0s}, recovery: 0s, cooldown: 0s, webhook: {url: "` + r.URL + `"}}]
token: {env: FORESHOCK_TEST_TOKEN}
observe: {namespaces: host}
`
}

// TestToldOutlivesARestart: what a channel was told is not told again by the
// next run of the agent, and its end is told once.
func TestToldOutlivesARestart(t *testing.T) {
	t.Setenv("FORESHOCK_TEST_TOKEN", "let me in")
	r, file := newReceiver(t), filepath.Join(t.TempDir(), "foreshock.yaml")
	write(t, file, alwaysTrue+telling(r))
	o := Options{Load: from(file), Version: "test", StateDir: t.TempDir()}
	t.Run("first", func(t *testing.T) {
		running(t, o)
		r.wait(t, "always opened")
	})
	address, log := running(t, o)
	log.wait(t, "incident open")
	write(t, file, telling(r)) // without the rule
	call(t, address, "POST", "/api/v1/reload", "", http.StatusNoContent)
	r.wait(t, "always opened", "always resolved")
}

// TestSilence: what is silenced is marked and not told, also after a restart,
// and told when the silence ends.
func TestSilence(t *testing.T) {
	t.Setenv("FORESHOCK_TEST_TOKEN", "let me in")
	r, file := newReceiver(t), filepath.Join(t.TempDir(), "foreshock.yaml")
	write(t, file, telling(r))
	o := Options{Load: from(file), Version: "test", StateDir: t.TempDir()}
	var made api.Silence
	t.Run("first", func(t *testing.T) {
		address, _ := running(t, o)
		answer := call(t, address, "POST", "/api/v1/silences", `{"match": {"rule": "alw*"}, "for_seconds": 3600, "why": "a move", "by": "ada"}`, http.StatusOK)
		if err := json.Unmarshal(answer, &made); err != nil {
			t.Fatal(err)
		}
		call(t, address, "POST", "/api/v1/silences", `{"match": {"rule": "x"}, "why": "a move", "by": "ada"}`, http.StatusBadRequest)
		call(t, address, "POST", "/api/v1/silences", `{"until_resolved": 1000, "why": "a move", "by": "ada"}`, http.StatusNotFound)
		call(t, address, "DELETE", "/api/v1/silences/000000", "", http.StatusNotFound)
	})
	write(t, file, alwaysTrue+telling(r)+`maintenance: [{name: "all day", weekdays: [mon, tue, wed, thu, fri, sat, sun], from: "00:00", to: "24:00", zone: UTC, match: {rule: other}}]
`)
	address, log := running(t, o)
	log.wait(t, "incident open")
	list := get[api.Silences](t, address, "/api/v1/silences").Silences
	if len(list) != 2 || !list[0].Configured || !list[0].Active || list[1].ID != made.ID || !list[1].Active || list[1].Why != "a move" {
		t.Fatalf("silences after the restart: %+v", list)
	}
	var silenced []api.Incident
	for _, i := range get[api.Incidents](t, address, "/api/v1/incidents?state=open").Incidents {
		if i.Rule == "always" {
			silenced = append(silenced, i)
		}
	}
	if len(silenced) == 0 || silenced[0].SilencedBy != made.ID {
		t.Fatalf("incidents %+v, silenced by %s", silenced, made.ID)
	}
	call(t, address, "DELETE", "/api/v1/silences/maintenance%2Fall%20day", "", http.StatusConflict)
	call(t, address, "DELETE", "/api/v1/silences/"+made.ID, "", http.StatusNoContent)
	r.wait(t, "always opened")
}

// call makes one changing call and returns its answer.
func call(t *testing.T, address, method, path, body string, want int) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer let me in")
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		t.Fatalf("%s %s: %s, want %d: %s, %v", method, path, resp.Status, want, answer, err)
	}
	return answer
}

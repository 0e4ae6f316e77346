package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/notify"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// fake is a source of one snapshot at a time, and an actor that notes what it
// was asked.
type fake struct {
	mu           sync.Mutex
	snapshot     *Snapshot
	changed      chan struct{}
	acknowledged []string
	reload       error
}

func newFake(s *Snapshot) *fake { return &fake{snapshot: s, changed: make(chan struct{})} }

func (f *fake) Snapshot() *Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.snapshot
}

func (f *fake) Status() *Snapshot { return f.Snapshot() }

func (f *fake) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

func (f *fake) publish(s *Snapshot) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.snapshot = s
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fake) Acknowledge(_ context.Context, id uint64, by string) error {
	if id != 7 {
		return ErrNoIncident
	}
	f.acknowledged = append(f.acknowledged, by)
	return nil
}

func (f *fake) Reload(context.Context) error { return f.reload }

// Recording has something of 2026, and stops when it is asked for 2024.
func (f *fake) Recording(_ context.Context, w io.Writer, from, to time.Time) error {
	switch to.Year() {
	case 2024:
		return errors.New("the agent is stopping")
	case 2025:
		return ErrNoRecording
	}
	_, err := fmt.Fprintf(w, "since %s until %s", from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339))
	return err
}

// Series has points of incident 7, and trouble with some others.
func (f *fake) Series(_ context.Context, of *Incident) (Series, error) {
	switch of.ID {
	case 3:
		return Series{}, ErrSeriesBusy
	case 5:
		return Series{}, errors.New("read the history: the disk fails")
	case 8:
		return Series{}, fmt.Errorf("play: %w", context.DeadlineExceeded)
	}
	points := []SeriesPoint{}
	if of.ID == 7 {
		points = []SeriesPoint{{At: now, Seconds: 1, Least: new(1.0), Mean: new(2.0), Greatest: new(3.0)}, {At: now.Add(time.Second), Seconds: 1, Unknown: "stale"}}
	}
	return Series{
		Incident: of.ID, From: now, To: now.Add(time.Minute), Sources: []SeriesSource{{now, now.Add(time.Minute), "raw"}},
		Signals: []SignalSeries{{Signal: "queue_wait_seconds", Scope: webID.String(), Unit: "seconds", Threshold: new(1.0), Points: points}}, Notes: []string{},
	}, nil
}

// Attachments are a bundle of 7; 6 cannot be read.
func (f *fake) Attachments(_ context.Context, incident uint64) ([]Attachment, error) {
	switch incident {
	case 6:
		return nil, errSlow
	case 7:
		return []Attachment{{At: now, Kind: AttachedBundle, Data: []byte(`{"version":1}`)}}, nil
	}
	return nil, ErrNoHistory
}

var webID = scope.ID{Kind: scope.KindService, Name: "nginx:80"}

// sample is a snapshot with a known and an unknown reading, an open and a
// resolved incident, and a clock that was set by an hour.
func sample(at time.Time) *Snapshot {
	socket := tcp.Socket{
		Local: netip.MustParseAddrPort("192.0.2.1:80"), Remote: netip.MustParseAddrPort("[2001:db8::7]:4711"),
		State: tcp.CloseWait, Has: tcp.HasInfo, Info: tcp.Info{LastDataSent: time.Second, RTT: time.Millisecond},
	}
	web := measure.ScopeSignals{Scope: webID, Examples: []tcp.Socket{socket}}
	web.Readings[measure.QueueWait] = measure.Reading{Value: 3.5, Samples: 40, Seen: at, Validity: measure.Known}
	web.Readings[measure.Accepted] = measure.Reading{Value: 20, Seen: at.Add(-time.Minute), Validity: measure.Stale}
	finding := judge.Finding{
		Scope: webID, Cause: judge.WorkersFull, Severity: judge.Critical, Certainty: judge.Certain, Basis: "4 looks over 1s",
		Sentence: "Connections to nginx:80 wait at least 3.5 s to be accepted; 40 wait.", Hurt: "40 connections wait to be accepted", Trigger: "queue wait above 3 s",
		Evidence: []judge.Evidence{
			{Signal: measure.QueueWait, Reading: web.Readings[measure.QueueWait], Threshold: 1, HasThreshold: true, Origin: "default"},
			{Signal: measure.Accepted, Reading: web.Readings[measure.Accepted]},
		},
		Considered: []judge.Considered{{Cause: "syn_flood", Why: "no, syn_recv 0"}},
		Advice:     []string{"Add workers."}, Examples: []tcp.Socket{socket},
	}
	return &Snapshot{
		Sequence: 3, Host: "web03", Labels: map[string]string{"site": "cork"}, Version: "v1", StartedAt: at.Add(-time.Hour), At: at,
		ClockOffset: time.Hour, Ready: true, Reader: "sock_diag",
		Services: []scope.Service{{Name: "nginx:80", Process: "nginx", PIDs: []int{12}, Listen: []netip.AddrPort{netip.MustParseAddrPort("[::]:80")}}},
		View:     measure.View{At: at, Scopes: []measure.ScopeSignals{web, {Scope: scope.Rest}, {Scope: scope.Host}}},
		Incidents: []judge.Incident{
			{ID: 7, State: judge.Open, Finding: finding, Peak: judge.Critical, SuspectedAt: at, OpenedAt: at, UpdatedAt: at, Timeline: []judge.Step{{At: at, What: "open, critical", Severity: judge.Critical}}},
			{ID: 3, State: judge.Resolved, Finding: judge.Finding{Scope: webID, Cause: judge.ClientsGaveUp, Severity: judge.Critical}, Peak: judge.Critical, ResolvedAt: at, End: judge.Recovered},
		},
		Looks: []LookStatus{
			{Tier: tcp.Pulse, Wanted: time.Second, Interval: time.Second, Seen: at, Last: tcp.Look{Begin: at, Reader: "sock_diag", Completeness: tcp.Complete}},
			{Tier: tcp.Full, LastError: "full look: out of memory", Failed: 1},
		},
		Actions: map[uint64][]Action{7: {{At: at, Kind: "hook", State: "dry_run", What: "would run add-workers", Detail: []byte(`{"hook":"add-workers"}`)}}},
		Responses: []Response{{
			Scope: "service/nginx:80", Key: "gradual_saturation", BeganAt: at, Incidents: []uint64{7},
			Actions: []Action{{At: at, Kind: "hook", State: "dry_run", What: "would run add-workers"}, {At: at.Add(time.Minute), Kind: "follow_up", State: "planned"}},
		}},
		Hooks:    []HookRuns{{"add-workers", "dry_run", 1}},
		Budget:   Budget{Allowed: 0.01, Used: 0.002},
		Limits:   []Limit{{Subject: "QUIC and UDP", Reason: "not TCP"}},
		Channels: []notify.Status{{Name: "oncall", Kind: "webhook", Delivered: 3, Undelivered: 1, LastError: "oncall: hooks.example: 500", LastErrorAt: at, LastDeliveredAt: at}},
	}
}

var now = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

const token = "correct horse"

func handler(t *testing.T, f *fake, token string) http.Handler {
	t.Helper()
	h, err := New(Config{Source: f, Actor: f, Past: &past{t}, Outbox: &outbox{t}, Recorder: f, Evidences: f, Player: f, Learner: taught{}, Silencer: quieted{}, Drainer: followsSome{}, Token: token, AllowedHosts: []string{"web03"}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// contract is openapi.yaml, made strict: what it does not name is an error.
func contract(t *testing.T) (*openapi3.T, routers.Router) {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range doc.Components.Schemas {
		s.Value.AdditionalProperties = openapi3.AdditionalProperties{Has: new(false)}
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return doc, router
}

// TestAnswersKeepTheContract holds every answer, good and bad, to openapi.yaml.
func TestAnswersKeepTheContract(t *testing.T) {
	doc, router := contract(t)
	unready := sample(now)
	unready.Ready, unready.At = false, now.Add(-24*time.Hour)
	fresh := sample(time.Now().UTC().Add(-time.Hour)) // its clock was set by an hour
	bearer := map[string]string{"Authorization": "Bearer " + token, "Content-Type": "application/json"}
	tests := []struct {
		name, method, path, body string
		headers                  map[string]string
		snapshot                 *Snapshot
		token                    string
		want                     int
		has                      string
	}{
		{"status", "GET", "/api/v1/status", "", nil, nil, token, 200, `"critical":1`},
		{"scopes", "GET", "/api/v1/scopes", "", nil, nil, token, 200, `"accepted":{"value":null,"unknown":"stale"`},
		{"times are the wall's", "GET", "/api/v1/scopes", "", nil, nil, token, 200, `"at":"2026-11-21T04:00:00Z"`},
		{"scope with a colon", "GET", "/api/v1/scopes/service/nginx:80", "", nil, nil, token, 200, `"queue_wait_seconds":{"value":3.5`},
		{"rest", "GET", "/api/v1/scopes/rest/rest", "", nil, nil, token, 200, `"kind":"rest"`},
		{"no such scope", "GET", "/api/v1/scopes/service/nobody", "", nil, nil, token, 404, "nobody"},
		{"scopes of backends", "GET", "/api/v1/scopes/backend/shop%2Fs1", "", nil, behind(now), token, 200, `"disputed":true`},
		{"backends", "GET", "/api/v1/backends", "", nil, behind(now), token, 200, `"reason":"no_traffic"`},
		{"backends of a group that fail", "GET", "/api/v1/backends?group=shop&failing=true", "", nil, behind(now), token, 200, `"pending_longest_seconds":{"value":7.5`},
		{"no backends", "GET", "/api/v1/backends", "", nil, nil, token, 200, `"groups":[]`},
		{"no such group", "GET", "/api/v1/backends?group=shap", "", nil, behind(now), token, 404, "shap"},
		{"neither true nor false", "GET", "/api/v1/backends?failing=yes", "", nil, behind(now), token, 400, "true or false"},
		{"unknown parameter of backends", "GET", "/api/v1/backends?groups=shop", "", nil, behind(now), token, 400, "group and failing"},
		{"incidents of backends", "GET", "/api/v1/incidents", "", nil, behind(now), token, 200, `"balancer_lag_seconds":8`},
		{"incidents that we explain", "GET", "/api/v1/incidents/8", "", nil, behind(now), token, 200, `"because":"local_fault"`},
		{"incidents that were another", "GET", "/api/v1/incidents/5", "", nil, behind(now), token, 200, `"end":"superseded"`},
		{"incidents", "GET", "/api/v1/incidents", "", nil, nil, token, 200, `"end":"recovered"`},
		{"open incidents", "GET", "/api/v1/incidents?state=open&severity=critical", "", nil, nil, token, 200, `"id":7`},
		{"unknown state", "GET", "/api/v1/incidents?state=opened", "", nil, nil, token, 400, "suspect, open, resolved"},
		{"unknown parameter of incidents", "GET", "/api/v1/incidents?stat=open", "", nil, nil, token, 400, "state, severity, since, until, before and limit"},
		{"unknown severity", "GET", "/api/v1/incidents?severity=bad", "", nil, nil, token, 400, "watch, warning, critical"},
		{"incident", "GET", "/api/v1/incidents/7", "", nil, nil, token, 200, `"hurt":"40 connections`},
		{"no such incident", "GET", "/api/v1/incidents/8", "", nil, nil, token, 404, "8"},
		{"incidents of the past", "GET", "/api/v1/incidents?since=2026-11-20T00:00:00Z&until=2026-11-21T00:00:00Z&limit=1", "", nil, nil, token, 200, `"next_before":41`},
		{"the next page", "GET", "/api/v1/incidents?before=41&severity=critical", "", nil, nil, token, 200, `"incidents":[]`},
		{"a past that does not answer", "GET", "/api/v1/incidents?limit=1&state=suspect", "", nil, nil, token, 503, "in time"},
		{"no time", "GET", "/api/v1/incidents?since=yesterday", "", nil, nil, token, 400, "yesterday"},
		{"no page", "GET", "/api/v1/incidents?limit=0", "", nil, nil, token, 400, "from 1 to 500"},
		{"no place to go on", "GET", "/api/v1/incidents?before=first", "", nil, nil, token, 400, "next_before"},
		{"incident of the past", "GET", "/api/v1/incidents/2", "", nil, nil, token, 200, `"end":"agent_stopped"`},
		{"incident of the past that is broken", "GET", "/api/v1/incidents/4", "", nil, nil, token, 404, "cannot be read"},
		{"incident of a past that does not answer", "GET", "/api/v1/incidents/6", "", nil, nil, token, 404, "cannot be asked"},
		{"series", "GET", "/api/v1/incidents/7/series", "", nil, nil, token, 200, `"unknown":"stale"`},
		{"series of the past", "GET", "/api/v1/incidents/2/series", "", nil, nil, token, 200, `"points":[]`},
		{"series while another is made", "GET", "/api/v1/incidents/3/series", "", nil, nil, token, 503, "in a moment"},
		{"series that take too long", "GET", "/api/v1/incidents/8/series", "", nil, behind(now), token, 503, "within 2s"},
		{"series of a history that fails", "GET", "/api/v1/incidents/5/series", "", nil, behind(now), token, 503, "disk"},
		{"series of no incident", "GET", "/api/v1/incidents/8/series", "", nil, nil, token, 404, "there is no incident 8"},
		{"series of no number", "GET", "/api/v1/incidents/seven/series", "", nil, nil, token, 400, "seven"},
		{"incident that is no number", "GET", "/api/v1/incidents/seven", "", nil, nil, token, 400, "seven"},
		{"actions of an incident", "GET", "/api/v1/incidents/7", "", nil, nil, token, 200, `"detail":{"hook":"add-workers"}`},
		{"evidence", "GET", "/api/v1/incidents/7/evidence", "", nil, nil, token, 200, `"data":{"version":1}`},
		{"evidence where nothing was gathered", "GET", "/api/v1/incidents/3/evidence", "", nil, nil, token, 200, `"evidence":[]`},
		{"evidence of no incident", "GET", "/api/v1/incidents/9/evidence", "", nil, nil, token, 404, "9"},
		{"evidence of no number", "GET", "/api/v1/incidents/x/evidence", "", nil, nil, token, 400, "x"},
		{"evidence that cannot be read", "GET", "/api/v1/incidents/6/evidence", "", nil, nil, token, 503, "in time"},
		{"responses", "GET", "/api/v1/responses", "", nil, nil, token, 200, `"state":"planned"`},
		{"regions", "GET", "/api/v1/regions", "", nil, apart(), token, 200, `"unclassified_share":{"value":0.15`},
		{"no regions", "GET", "/api/v1/regions", "", nil, nil, token, 200, `"regions":[],"outgoing":{"value":null,"unknown":"never_seen"`},
		{"looks", "GET", "/api/v1/looks", "", nil, nil, token, 200, `"last_error":"full look: out of memory"`},
		{"namespaces", "GET", "/api/v1/namespaces", "", nil, nil, token, 200, `"namespaces":[`},
		{"channels", "GET", "/api/v1/channels", "", nil, nil, token, 200, "oncall"},
		{"undelivered", "GET", "/api/v1/channels/oncall/undelivered", "", nil, nil, token, 200, `"next_before":41`},
		{"the last page of undelivered", "GET", "/api/v1/channels/oncall/undelivered?before=41&limit=1", "", nil, nil, token, 200, `"notice":{"version":2`},
		{"undelivered to a channel that is gone", "GET", "/api/v1/channels/gone/undelivered", "", nil, nil, token, 200, `"notice":null`},
		{"undelivered to no channel", "GET", "/api/v1/channels/nobody/undelivered", "", nil, nil, token, 404, "nobody"},
		{"undelivered of a history that does not answer", "GET", "/api/v1/channels/slow/undelivered", "", nil, nil, token, 503, "in time"},
		{"unknown parameter of undelivered", "GET", "/api/v1/channels/oncall/undelivered?since=1", "", nil, nil, token, 400, "before and limit"},
		{"no page of undelivered", "GET", "/api/v1/channels/oncall/undelivered?limit=many", "", nil, nil, token, 400, "from 1 to 500"},
		{"retry", "POST", "/api/v1/channels/oncall/retry", `{"by":" ann "}`, bearer, nil, token, 200, `"queued":1`},
		{"retry two", "POST", "/api/v1/channels/oncall/retry", `{"by":"ann","keys":["0123","4567"]}`, bearer, nil, token, 200, `"queued":2`},
		{"retry one that is not there", "POST", "/api/v1/channels/oncall/retry", `{"by":"ann","keys":["9999"]}`, bearer, nil, token, 404, "9999"},
		{"retry to no channel", "POST", "/api/v1/channels/nobody/retry", `{"by":"ann"}`, bearer, nil, token, 404, "nobody"},
		{"retry by nobody", "POST", "/api/v1/channels/oncall/retry", `{}`, bearer, nil, token, 400, "by is a name"},
		{"retry with more", "POST", "/api/v1/channels/oncall/retry", `{"by":"ann","all":true}`, bearer, nil, token, 400, "unknown field"},
		{"retry of a history that does not answer", "POST", "/api/v1/channels/slow/retry", `{"by":"ann"}`, bearer, nil, token, 503, "in time"},
		{"retry without a token", "POST", "/api/v1/channels/oncall/retry", `{"by":"ann"}`, map[string]string{"Content-Type": "application/json"}, nil, token, 401, "bearer"},
		{"limits", "GET", "/api/v1/limits", "", nil, nil, token, 200, "QUIC"},
		{"recording", "GET", "/api/v1/recording", "", nil, nil, token, 200, "since 0001-01-01T00:00:00Z"},
		{"a part of the recording", "GET", "/api/v1/recording?from=2026-11-21T03:00:00Z&to=2026-11-21T04:00:00%2B01:00", "", nil, nil, token, 200, "since 2026-11-21T03:00:00Z until 2026-11-21T03:00:00Z"},
		{"recording of another time", "GET", "/api/v1/recording?to=2025-11-21T03:00:00Z", "", nil, nil, token, 404, "nothing was recorded then"},
		{"recording when the agent stops", "GET", "/api/v1/recording?to=2024-11-21T03:00:00Z", "", nil, nil, token, 503, "stopping"},
		{"recording from a time that is none", "GET", "/api/v1/recording?from=yesterday", "", nil, nil, token, 400, "yesterday"},
		{"recording back to front", "GET", "/api/v1/recording?from=2026-11-21T03:00:00Z&to=2026-11-21T02:00:00Z", "", nil, nil, token, 400, "the earlier time is from"},
		{"unknown parameter of the recording", "GET", "/api/v1/recording?since=1", "", nil, nil, token, 400, "from and to"},
		{"openapi", "GET", "/api/v1/openapi.yaml", "", nil, nil, token, 200, "openapi: 3"},
		{"healthy", "GET", "/healthz", "", nil, fresh, token, 200, "true"},
		{"not looking", "GET", "/healthz", "", nil, unready, token, 503, "has not looked"},
		{"ready", "GET", "/readyz", "", nil, nil, token, 200, "true"},
		{"not ready", "GET", "/readyz", "", nil, unready, token, 503, "every tier"},
		{"acknowledge", "POST", "/api/v1/incidents/7/acknowledge", `{"by":"ann"}`, bearer, nil, token, 204, ""},
		{"acknowledge nobody's", "POST", "/api/v1/incidents/9/acknowledge", `{"by":"ann"}`, bearer, nil, token, 404, "9"},
		{"acknowledge by nobody", "POST", "/api/v1/incidents/7/acknowledge", `{"by":" "}`, bearer, nil, token, 400, "name"},
		{"acknowledge with more", "POST", "/api/v1/incidents/7/acknowledge", `{"by":"ann","x":1}`, bearer, nil, token, 400, "unknown field"},
		{"acknowledge twice over", "POST", "/api/v1/incidents/7/acknowledge", `{"by":"ann"}{}`, bearer, nil, token, 400, "follows"},
		{"acknowledge at length", "POST", "/api/v1/incidents/7/acknowledge", `{"by":"` + strings.Repeat("a", maxBody) + `"}`, bearer, nil, token, 413, "larger"},
		{"acknowledge as text", "POST", "/api/v1/incidents/7/acknowledge", `by=ann`, map[string]string{"Authorization": "Bearer " + token, "Content-Type": "text/plain"}, nil, token, 415, "application/json"},
		{"acknowledge without a token", "POST", "/api/v1/incidents/7/acknowledge", `{"by":"ann"}`, map[string]string{"Content-Type": "application/json"}, nil, token, 401, "bearer"},
		{"acknowledge with a wrong token", "POST", "/api/v1/incidents/7/acknowledge", `{"by":"ann"}`, map[string]string{"Content-Type": "application/json", "Authorization": "Bearer x"}, nil, token, 401, "bearer"},
		{"no token configured", "POST", "/api/v1/reload", "", bearer, nil, "", 403, "token:"},
		{"the empty token is none", "POST", "/api/v1/reload", "", map[string]string{"Authorization": "Bearer "}, nil, "", 403, "token:"},
		{"reload", "POST", "/api/v1/reload", "", bearer, nil, token, 204, ""},
		{"baseline of this hour", "GET", "/api/v1/baseline", "", nil, nil, token, 200, `"state":"known"`},
		{"baseline of one signal", "GET", "/api/v1/baseline?scope=service/web&signal=established", "", nil, nil, token, 200, `"norms":[]`},
		{"baseline of no scope", "GET", "/api/v1/baseline?scope=web", "", nil, nil, token, 400, "service/web"},
		{"export", "GET", "/api/v1/baseline/export", "", nil, nil, token, 200, `"format":"foreshock-baseline"`},
		{"import", "PUT", "/api/v1/baseline/import", `{"file":{"host":"web03"}}`, bearer, nil, token, 200, `"absent":["service/old"]`},
		{"import of another host", "PUT", "/api/v1/baseline/import", `{"file":{"host":"web04"}}`, bearer, nil, token, 409, "web04"},
		{"import without a token", "PUT", "/api/v1/baseline/import", `{}`, map[string]string{"Content-Type": "application/json"}, nil, token, 401, "bearer"},
		{"leave out", "POST", "/api/v1/baseline/leave-out", `{"from":"2026-03-02T09:00:00Z","to":"2026-03-02T15:00:00Z","why":"a move"}`, bearer, nil, token, 204, ""},
		{"leave out nothing", "POST", "/api/v1/baseline/leave-out", `{"from":"2026-03-02T09:00:00Z","to":"2026-03-02T09:00:00Z","why":"a move"}`, bearer, nil, token, 400, "later"},
		{"leave out for no reason", "POST", "/api/v1/baseline/leave-out", `{"from":"2026-03-02T09:00:00Z","to":"2026-03-02T10:00:00Z","why":""}`, bearer, nil, token, 400, "why"},
		{"leave out of no scope", "POST", "/api/v1/baseline/leave-out", `{"from":"2026-03-02T09:00:00Z","to":"2026-03-02T10:00:00Z","why":"x","scope":"web"}`, bearer, nil, token, 400, "service/web"},
		{"reset", "POST", "/api/v1/baseline/reset", `{"scope":"service/web"}`, bearer, nil, token, 204, ""},
		{"reset too much", "POST", "/api/v1/baseline/reset", `{"scopes":"all"}`, bearer, nil, token, 400, "unknown field"},
		{"silences", "GET", "/api/v1/silences", "", nil, quiet(), token, 200, `"active":true`},
		{"no silences", "GET", "/api/v1/silences", "", nil, nil, token, 200, `"silences":[]`},
		{"a silenced incident", "GET", "/api/v1/incidents/7", "", nil, quiet(), token, 200, `"silenced_by":"3fa90c"`},
		{"unknown parameter of silences", "GET", "/api/v1/silences?all=1", "", nil, nil, token, 400, "it takes none"},
		{"silence", "POST", "/api/v1/silences", `{"match":{"scope":"service/*"},"for_seconds":60,"why":"a move","by":"ada"}`, bearer, nil, token, 200, `"id":"3fa90c"`},
		{"silence each week", "POST", "/api/v1/silences", `{"match":{"everything":true},"weekly":[{"weekdays":["sat"],"from":"22:00","to":"04:00","zone":"Europe/Dublin"}],"why":"a move","by":"ada"}`, bearer, nil, token, 200, `"zone":"Europe/Dublin"`},
		{"silence at no time", "POST", "/api/v1/silences", `{"match":{"everything":true},"weekly":[{"weekdays":["sat"],"from":"22:00","to":"25:00","zone":"UTC"}],"why":"a move","by":"ada"}`, bearer, nil, token, 400, "25:00"},
		{"silence nothing", "POST", "/api/v1/silences", `{"why":"a move","by":"ada","for_seconds":60}`, bearer, nil, token, 400, "which incidents"},
		{"silence until nothing is over", "POST", "/api/v1/silences", `{"until_resolved":99,"why":"a move","by":"ada"}`, bearer, nil, token, 404, "not open"},
		{"silence with a typing mistake", "POST", "/api/v1/silences", `{"mach":{}}`, bearer, nil, token, 400, "unknown field"},
		{"silence without a token", "POST", "/api/v1/silences", `{}`, map[string]string{"Content-Type": "application/json"}, nil, token, 401, "bearer"},
		{"silence as text", "POST", "/api/v1/silences", `x`, map[string]string{"Authorization": "Bearer " + token, "Content-Type": "text/plain"}, nil, token, 415, "application/json"},
		{"silence when the agent stops", "POST", "/api/v1/silences", `{"until_resolved":503,"why":"a move","by":"ada"}`, bearer, nil, token, 503, "stopping"},
		{"remove a silence", "DELETE", "/api/v1/silences/3fa90c", "", bearer, nil, token, 204, ""},
		{"remove no silence", "DELETE", "/api/v1/silences/000000", "", bearer, nil, token, 404, "000000"},
		{"remove a maintenance window", "DELETE", "/api/v1/silences/maintenance%2Fbackups", "", bearer, nil, token, 409, "reload"},
		{"remove a silence without a token", "DELETE", "/api/v1/silences/3fa90c", "", nil, nil, token, 401, "bearer"},
		{"drains", "GET", "/api/v1/drains", "", nil, nil, token, 200, `"curve":[]`},
		{"unknown parameter of drains", "GET", "/api/v1/drains?all=1", "", nil, nil, token, 400, "it takes none"},
		{"drain", "GET", "/api/v1/drains/shop.example", "", nil, nil, token, 200, `"kept":[]`},
		{"drain by another spelling", "GET", "/api/v1/drains/Shop.EXAMPLE.", "", nil, nil, token, 200, `"pids":[]`},
		{"no such drain", "GET", "/api/v1/drains/shap.example", "", nil, nil, token, 404, "shap.example"},
		{"unknown parameter of a drain", "GET", "/api/v1/drains/shop.example?x=1", "", nil, nil, token, 400, "it takes none"},
		{"start a drain", "POST", "/api/v1/drains", `{"name":"Next.Example.","old":["192.0.2.10"],"new":["198.51.100.7"],"by":"ann"}`, bearer, nil, token, 200, `"name":"next.example"`},
		{"start one that is there", "POST", "/api/v1/drains", `{"name":"shop.example","old":["192.0.2.10"],"new":["198.51.100.7"],"by":"ann"}`, bearer, nil, token, 409, "followed already"},
		{"start one too many", "POST", "/api/v1/drains", `{"name":"over.example","old":["192.0.2.10"],"new":["198.51.100.7"],"by":"ann"}`, bearer, nil, token, 400, "32"},
		{"start one that the agent does not understand", "POST", "/api/v1/drains", `{"name":"odd.example","old":["192.0.2.10"],"new":["198.51.100.7"],"by":"ann"}`, bearer, nil, token, 400, "odd"},
		{"start when the agent stops", "POST", "/api/v1/drains", `{"name":"slow.example","old":["192.0.2.10"],"new":["198.51.100.7"],"by":"ann"}`, bearer, nil, token, 503, "canceled"},
		{"start nothing", "POST", "/api/v1/drains", `{"name":".","by":"ann"}`, bearer, nil, token, 400, "name is empty"},
		{"start by nobody", "POST", "/api/v1/drains", `{"name":"next.example","by":"\n"}`, bearer, nil, token, 400, "by is a name"},
		{"start with a typing mistake", "POST", "/api/v1/drains", `{"nam":"next.example"}`, bearer, nil, token, 400, "unknown field"},
		{"start at length", "POST", "/api/v1/drains", `{"name":"` + strings.Repeat("a", maxBody) + `"}`, bearer, nil, token, 413, "larger"},
		{"start as text", "POST", "/api/v1/drains", "x", map[string]string{"Authorization": "Bearer " + token, "Content-Type": "text/plain"}, nil, token, 415, "application/json"},
		{"start without a token", "POST", "/api/v1/drains", `{}`, map[string]string{"Content-Type": "application/json"}, nil, token, 401, "bearer"},
		{"stop a drain", "DELETE", "/api/v1/drains/SHOP.example?by=ann", "", bearer, nil, token, 204, ""},
		{"stop no drain", "DELETE", "/api/v1/drains/shap.example?by=ann", "", bearer, nil, token, 404, "shap.example"},
		{"stop one of the configuration", "DELETE", "/api/v1/drains/kept.example?by=ann", "", bearer, nil, token, 409, "reload"},
		{"stop by nobody", "DELETE", "/api/v1/drains/shop.example", "", bearer, nil, token, 400, "by is a name"},
		{"stop without a token", "DELETE", "/api/v1/drains/shop.example?by=ann", "", nil, nil, token, 401, "bearer"},
		{"what would be closed", "POST", "/api/v1/drains/shop.example./close-stale", `{"by":"ann"}`, bearer, nil, token, 200, `"outcome":"would_close"`},
		{"close", "POST", "/api/v1/drains/shop.example/close-stale", `{"by":"ann","really":true,"most":1}`, bearer, nil, token, 200, `"closed":1`},
		{"close without the privilege", "POST", "/api/v1/drains/kept.example/close-stale", `{"by":"ann","really":true}`, bearer, nil, token, 409, "CAP_NET_ADMIN"},
		{"close of no drain", "POST", "/api/v1/drains/shap.example/close-stale", `{"by":"ann"}`, bearer, nil, token, 404, "shap.example"},
		{"close too many", "POST", "/api/v1/drains/shop.example/close-stale", `{"by":"ann","most":1000000}`, bearer, nil, token, 400, "100000"},
		{"close with a typing mistake", "POST", "/api/v1/drains/shop.example/close-stale", `{"by":"ann","real":true}`, bearer, nil, token, 400, "unknown field"},
		{"close without a token", "POST", "/api/v1/drains/shop.example/close-stale", `{"by":"ann"}`, map[string]string{"Content-Type": "application/json"}, nil, token, 401, "bearer"},
		{"route", "GET", "/api/v1/route/shop.EXAMPLE.", "", nil, nil, token, 200, `"addresses":["198.51.100.7"]`},
		{"route to nobody", "GET", "/api/v1/route/shap.example", "", nil, nil, token, 404, "go by DNS"},
		{"route to no good address", "GET", "/api/v1/route/kept.example", "", nil, nil, token, 503, "go by DNS"},
		{"unknown parameter of a route", "GET", "/api/v1/route/shop.example?x=1", "", nil, nil, token, 400, "it takes none"},
		{"another origin", "POST", "/api/v1/reload", "", map[string]string{"Authorization": "Bearer " + token, "Origin": "http://evil.example"}, nil, token, 403, "origin"},
		{"another host", "GET", "/api/v1/status", "", map[string]string{"Host": "evil.example"}, nil, token, 421, "evil.example"},
	}
	covered := map[string]bool{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.snapshot
			if s == nil {
				s = sample(now)
			}
			req := httptest.NewRequest(tt.method, "http://127.0.0.1:9748"+tt.path, strings.NewReader(tt.body))
			for k, v := range tt.headers {
				req.Header.Set(k, v)
			}
			route, params, err := router.FindRoute(req)
			if err != nil {
				t.Fatalf("openapi.yaml does not know %s %s: %v", tt.method, tt.path, err)
			}
			covered[route.Method+" "+route.Path] = true
			if host := tt.headers["Host"]; host != "" {
				req.Host = host
			}
			rec := httptest.NewRecorder()
			handler(t, newFake(s), tt.token).ServeHTTP(rec, req)
			if rec.Code != tt.want {
				t.Fatalf("%s %s: %d, want %d: %s", tt.method, tt.path, rec.Code, tt.want, rec.Body)
			}
			if !strings.Contains(rec.Body.String(), tt.has) {
				t.Errorf("answer lacks %q: %s", tt.has, rec.Body)
			}
			if rec.Header().Get("Content-Security-Policy") == "" || rec.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("answer lacks its guards: %v", rec.Header())
			}
			input := &openapi3filter.ResponseValidationInput{
				RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
				Status:                 rec.Code, Header: rec.Header(), Options: &openapi3filter.Options{IncludeResponseStatus: true},
			}
			openapi3filter.RegisterBodyDecoder("application/octet-stream", openapi3filter.FileBodyDecoder)
			openapi3filter.RegisterBodyDecoder("application/yaml", openapi3filter.PlainBodyDecoder)
			input.SetBodyBytes(rec.Body.Bytes())
			if err := openapi3filter.ValidateResponse(t.Context(), input); err != nil {
				t.Errorf("answer breaks the contract: %v", err)
			}
		})
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if name := method + " " + path; !covered[name] && path != "/api/v1/events" && path != "/metrics" {
				t.Errorf("no test asks %s", name)
			}
		}
	}
}

// TestRoutesAndContractAreTheSame: every route is in openapi.yaml, and the
// other way round.
func TestRoutesAndContractAreTheSame(t *testing.T) {
	doc, _ := contract(t)
	written := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			written[method+" "+path] = true
		}
	}
	for _, r := range routes() {
		name := r.method + " " + r.path
		if !written[name] {
			t.Errorf("openapi.yaml lacks %s", name)
		}
		delete(written, name)
	}
	for name := range written {
		t.Errorf("openapi.yaml has %s, which nobody serves", name)
	}
}

func TestUnknownPath(t *testing.T) {
	rec := httptest.NewRecorder()
	handler(t, newFake(sample(now)), token).ServeHTTP(rec, httptest.NewRequest("GET", "http://localhost/api/v2/x", nil))
	var p Problem
	if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil || rec.Code != 404 || p.Hint == "" {
		t.Errorf("%d %s %v", rec.Code, rec.Body, err)
	}
}

func TestReloadThatIsRefused(t *testing.T) {
	f := newFake(sample(now))
	f.reload = errors.New("foreshock.yaml:3:1: unknown key")
	req := httptest.NewRequest("POST", "http://localhost/api/v1/reload", nil)
	req.Header.Set("Authorization", "Bearer "+token)
	rec := httptest.NewRecorder()
	handler(t, f, token).ServeHTTP(rec, req)
	if rec.Code != http.StatusConflict || !strings.Contains(rec.Body.String(), "foreshock.yaml:3:1") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func FuzzAcknowledgement(f *testing.F) {
	for _, s := range []string{`{"by":"ann"}`, `{"by":""}`, `{`, `[]`, `{"by":"\u0000"}`, `{"by":"a"} `} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		a, err := decodeAcknowledgement(strings.NewReader(body))
		if err != nil {
			if a != (Acknowledgement{}) {
				t.Fatalf("refused body gave %+v", a)
			}
			return
		}
		if a.By == "" || utf8.RuneCountInString(a.By) > maxName || strings.ContainsAny(a.By, "\x00\n\r") {
			t.Fatalf("accepted %q", a.By)
		}
		again, _ := json.Marshal(a)
		if b, err := decodeAcknowledgement(io.Reader(strings.NewReader(string(again)))); err != nil || b != a {
			t.Fatalf("%q does not survive: %v", a.By, err)
		}
	})
}

// TestThresholdThatIsNoNumber: JSON cannot say it, and one must not cost the
// whole answer.
func TestThresholdThatIsNoNumber(t *testing.T) {
	evidence := []judge.Evidence{{HasThreshold: true, Threshold: math.NaN()}, {HasThreshold: true, Threshold: math.Inf(1)}, {HasThreshold: true, Threshold: 2}}
	raw, err := json.Marshal(PictureOf(&Snapshot{Incidents: []judge.Incident{{ID: 1, State: judge.Open, Finding: judge.Finding{Evidence: evidence}}}}))
	if err != nil {
		t.Fatal(err)
	}
	var p Picture
	if err := json.Unmarshal(raw, &p); err != nil {
		t.Fatal(err)
	}
	var got []bool
	for _, e := range p.Incidents[0].Evidence {
		got = append(got, e.Threshold != nil)
	}
	if want := []bool{false, false, true}; !slices.Equal(got, want) {
		t.Errorf("thresholds that are numbers: %v, want %v", got, want)
	}
}

package metrics

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/notify"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

type fixed struct{ s *api.Snapshot }

func (f fixed) Snapshot() *api.Snapshot { return f.s }

var at = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

func reading(v float64) measure.Reading {
	return measure.Reading{Value: v, Seen: at, Validity: measure.Known}
}

func snapshot(services int) *api.Snapshot {
	s := &api.Snapshot{
		At: at, Ready: true, Reader: "sock_diag", Budget: api.Budget{Allowed: 0.01, Used: 0.005},
		Looks: []api.LookStatus{
			{Tier: tcp.Pulse, Interval: 250 * time.Millisecond, Cost: 150 * time.Microsecond, Seen: at.Add(-time.Second), Looks: 8, Partial: 1, Last: tcp.Look{Begin: at.Add(-time.Second), Sockets: 3}},
			{Tier: tcp.Full, Interval: time.Minute},
		},
		Limits:    []api.Limit{{Subject: "QUIC"}},
		Host:      "web03",
		Labels:    map[string]string{"site": "cork", "host": "h"},
		History:   api.History{State: api.HistoryWorking, Bytes: 4096, Waiting: 3, Dropped: 2, Failures: 1},
		Channels:  []notify.Status{{Name: "ops", Kind: "webhook", Queued: 2, Kept: 2, Held: 1, OldestAt: at.Add(-time.Minute), DeadLetters: 4, Unkept: 5, Delivered: 3, Undelivered: 1, Failing: true}},
		Responses: []api.Response{{Scope: "service/web", Key: "default"}}, Hooks: []api.HookRuns{{Hook: "add-workers", Result: "failed", Runs: 2}},
	}
	for i := range services {
		id := scope.ID{Kind: scope.KindService, Name: fmt.Sprintf("svc%03d", i)}
		sig := measure.ScopeSignals{Scope: id}
		sig.Readings[measure.QueueDepth] = reading(2)
		sig.Readings[measure.QueueWait] = reading(float64(i))
		sig.Readings[measure.Accepted] = measure.Reading{Value: 9, Validity: measure.Stale}
		s.View.Scopes = append(s.View.Scopes, sig)
	}
	host := measure.ScopeSignals{Scope: scope.Host}
	host.Readings[measure.PassiveOpensRate] = reading(20)
	s.View.Scopes = append(s.View.Scopes, host)
	s.Incidents = []judge.Incident{{ID: 1, State: judge.Open, Finding: judge.Finding{
		Scope: scope.ID{Kind: scope.KindService, Name: "svc000"}, Cause: judge.WorkersFull, Severity: judge.Critical}}}
	return s
}

func gather(t *testing.T, s *api.Snapshot) (map[string]float64, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	c := New(fixed{s}, "v1")
	c.now = func() time.Time { return at }
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				if l.GetValue() == "" {
					continue // to Prometheus an empty label is none
				}
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			out[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return out, registry
}

// hold checks that the series are there, with their values.
func hold(t *testing.T, got, want map[string]float64) {
	t.Helper()
	for name, v := range want {
		if g, ok := got[name]; !ok || g != v {
			t.Errorf("%s = %v (there: %v), want %v", name, g, ok, v)
		}
	}
}

// lint checks names, units and help texts.
func lint(t *testing.T, registry *prometheus.Registry) {
	t.Helper()
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// series counts those whose name begins so.
func series(got map[string]float64, prefix string) (n int) {
	for name := range got {
		if strings.HasPrefix(name, prefix) {
			n++
		}
	}
	return n
}

func TestMetrics(t *testing.T) {
	got, registry := gather(t, snapshot(2))
	hold(t, got, map[string]float64{
		"foreshock_build_info{version=v1}":                                                   1,
		"foreshock_ready{reader=sock_diag}":                                                  1,
		"foreshock_cpu_used_ratio{}":                                                         0.005,
		"foreshock_service_queue_depth{service=svc000}":                                      2,
		"foreshock_service_queue_wait_seconds{service=svc001}":                               1,
		"foreshock_host_passive_opens_per_second{}":                                          20,
		"foreshock_incident_open{cause=workers_full,scope=service/svc000,severity=critical}": 1,
		"foreshock_incidents{severity=critical,state=open}":                                  1,
		"foreshock_incidents{severity=critical,state=resolved}":                              0,
		"foreshock_look_age_seconds{tier=pulse}":                                             1,
		"foreshock_looks_total{result=partial,tier=pulse}":                                   1,
		"foreshock_services{}":                                                               2,
		"foreshock_host_info{exported_host=h,host=web03,site=cork}":                          1,
		"foreshock_history_working{}":                                                        1,
		"foreshock_history_bytes{}":                                                          4096,
		"foreshock_history_waiting{}":                                                        3,
		"foreshock_history_entries_total{result=dropped}":                                    2,
		"foreshock_history_failures_total{}":                                                 1,
		"foreshock_notices_queued{channel=ops,kind=webhook}":                                 2,
		"foreshock_notices_held{channel=ops,kind=webhook}":                                   1,
		"foreshock_notices_oldest_seconds{channel=ops,kind=webhook}":                         60,
		"foreshock_notices_dead_letters{channel=ops,kind=webhook}":                           4,
		"foreshock_notices_unkept_total{channel=ops,kind=webhook}":                           5,
		"foreshock_notices_failing{channel=ops,kind=webhook}":                                1,
		"foreshock_notices_total{channel=ops,kind=webhook,result=delivered}":                 3,
		"foreshock_notices_total{channel=ops,kind=webhook,result=undelivered}":               1,
		"foreshock_services_folded{}":                                                        0,
		"foreshock_responses{}":                                                              1,
		"foreshock_hook_runs_total{hook=add-workers,result=failed}":                          2,
	})
	for _, absent := range []string{
		"foreshock_service_accepted{service=svc000}", // stale: unknown is no number
		"foreshock_look_age_seconds{tier=full}",      // never looked
	} {
		if v, ok := got[absent]; ok {
			t.Errorf("%s = %v, and should not be there", absent, v)
		}
	}
	if got["foreshock_service_unknown_signals{service=svc000}"] < 10 {
		t.Errorf("unknown signals are not counted: %v", got["foreshock_service_unknown_signals{service=svc000}"])
	}
	lint(t, registry)
}

// TestNamespaces: services of one name in two namespaces are two, and hundreds
// of namespaces are a handful of series.
func TestNamespaces(t *testing.T) {
	s := snapshot(2)
	s.View.Scopes[1].Scope = scope.ID{Kind: scope.KindService, Name: "svc000", Namespace: "shop"}
	s.View.Scopes[1].Readings[measure.QueueDepth] = reading(7)
	s.Namespaces = api.NamespacesStatus{Read: 300, Idle: 1, Refused: 2}
	for i := range 300 {
		s.Namespaces.Each = append(s.Namespaces.Each, api.NamespaceStatus{
			Idle: i == 0, PulseSeen: at.Add(-time.Duration(i) * time.Millisecond), WholeSeen: at.Add(-time.Duration(300-i) * time.Second),
		})
	}
	got, _ := gather(t, s)
	hold(t, got, map[string]float64{
		"foreshock_service_queue_depth{service=svc000}":                2,
		"foreshock_service_queue_depth{namespace=shop,service=svc000}": 7,
		"foreshock_namespaces{state=read}":                             300,
		"foreshock_namespaces{state=refused}":                          2,
		"foreshock_namespaces_look_age_seconds{what=pulse}":            0.299,
		"foreshock_namespaces_look_age_seconds{what=whole}":            299, // the idle one is older
	})
	if series := series(got, "foreshock_namespaces"); series > 7 {
		t.Errorf("%d series about namespaces", series)
	}
}

// TestCardinalityIsCapped: services beyond the bound share one set of series;
// counts add up, and the worst wait stands for all.
func TestCardinalityIsCapped(t *testing.T) {
	got, _ := gather(t, snapshot(MaxServices+50))
	if series := series(got, "foreshock_service_queue_depth"); series != MaxServices+1 {
		t.Errorf("%d series of queue depth, want %d", series, MaxServices+1)
	}
	if v := got["foreshock_service_queue_depth{service=other}"]; v != 100 {
		t.Errorf("depth of the others %v, want 50 × 2", v)
	}
	if v := got["foreshock_service_queue_wait_seconds{service=other}"]; v != MaxServices+49 {
		t.Errorf("wait of the others %v, want the longest", v)
	}
	if v := got["foreshock_services_folded{}"]; v != 50 {
		t.Errorf("folded %v, want 50", v)
	}
}

func TestHandler(t *testing.T) {
	rec := httptest.NewRecorder()
	Handler(fixed{snapshot(1)}, "v1").ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{"foreshock_service_queue_depth", "go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("%d, no %s in the answer", rec.Code, want)
		}
	}
}

// TestNamesThatWouldSpoilAScrape: service names come from programs. None may
// cost the whole answer, by being what we call the rest, or no text, or alike
// once made text.
func TestNamesThatWouldSpoilAScrape(t *testing.T) {
	s := snapshot(4)
	for i, name := range []string{"other", "a\xff", "a\xfe"} {
		s.View.Scopes[i].Scope.Name = name
	}
	s.Incidents[0].Finding.Scope.Name = "a\xff"
	got, _ := gather(t, s)
	hold(t, got, map[string]float64{
		"foreshock_service_queue_depth{service=other}":                                        4, // other and the second a
		"foreshock_service_queue_depth{service=a\uFFFD}":                                      2,
		"foreshock_service_queue_depth{service=svc003}":                                       2,
		"foreshock_incident_open{cause=workers_full,scope=service/a\uFFFD,severity=critical}": 1,
		"foreshock_services{}":                                                                4,
		"foreshock_services_folded{}":                                                         2,
	})
}

// TestAgesGrowWhenTheLoopIsDead: the last snapshot stays, and its ages do not.
func TestAgesGrowWhenTheLoopIsDead(t *testing.T) {
	s := snapshot(0)
	s.ClockOffset = time.Hour
	c := New(fixed{s}, "v1")
	c.now = func() time.Time { return at.Add(time.Hour + time.Minute) }
	want := `
# HELP foreshock_look_age_seconds time since something saw what the tier sees: itself, or a full look
# TYPE foreshock_look_age_seconds gauge
foreshock_look_age_seconds{tier="pulse"} 61
`
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), "foreshock_look_age_seconds"); err != nil {
		t.Error(err)
	}
}

// Package metrics shows the agent's snapshots to Prometheus.
//
// Every scrape makes its metrics from the latest snapshot; nothing is kept in
// between. A reading that is unknown is left out, never zero; how many are
// unknown is a metric of its own. At most [MaxServices] services, and as many
// backends, regions and switches, have series of their own: the rest are folded
// into service="other", backend="other" and so on.
//
//	handler := metrics.Handler(agent, version)
package metrics

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// MaxServices is how many services have series of their own, and how many
// backends.
const MaxServices = 200

// Source gives the snapshots to show.
type Source interface {
	Snapshot() *api.Snapshot
}

// Handler returns the handler of /metrics.
func Handler(source Source, version string) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		New(source, version),
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics()),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// Collector makes metrics from snapshots.
type Collector struct {
	source  Source
	version string
	now     func() time.Time
}

// New returns a collector over source.
func New(source Source, version string) *Collector { return &Collector{source, version, time.Now} }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe implements prometheus.Collector. It describes nothing, which makes
// the collector an unchecked one: its series come and go with the services.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	s := c.source.Snapshot()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	counter := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, value, labels...)
	}
	gauge(desc("foreshock_build_info", "always 1; the version is a label", "version"), 1, c.version)
	names, values := hostLabels(s)
	gauge(desc("foreshock_host_info", "always 1; the host's name and the labels of the configuration", names...), 1, values...)
	gauge(desc("foreshock_ready", "1 when every tier has looked", "reader"), boolean(s.Ready), s.Reader)
	gauge(desc("foreshock_snapshot_timestamp_seconds", "when the agent's loop last said something; it does each second"), float64(s.Wall(s.At).UnixMilli())/1e3)
	gauge(desc("foreshock_cpu_budget_ratio", "processor time the agent may use, as a share of one core"), s.Budget.Allowed)
	gauge(desc("foreshock_cpu_used_ratio", "processor time the agent used over the last 10 s, as a share of one core"), s.Budget.Used)
	gauge(desc("foreshock_limits", "things this agent says it cannot see"), float64(len(s.Limits)))
	services(s, gauge)
	backends(s, gauge)
	regions(s, gauge)
	drains(s, gauge)
	host(s, gauge)
	c.namespaces(s, gauge)
	incidents(s, gauge)
	looks(c.now(), s, gauge, counter)
	notices(s, gauge, counter)
	responses(s, gauge, counter)
	history(s, gauge, counter)
	heartbeat(s, gauge, counter)
}

// heartbeat is how telling a dead man's switch does, where there is one.
func heartbeat(s *api.Snapshot, gauge, counter emit) {
	h := &s.Heartbeat
	if h.State == "" || h.State == api.HeartbeatOff {
		return
	}
	gauge(desc("foreshock_heartbeat_failing", "1 while the dead man's switch is not told, as attempts fail or no look succeeds"), boolean(h.State == api.HeartbeatFailing || h.State == api.HeartbeatWithheld))
	total := desc("foreshock_heartbeat_attempts_total", "attempts to tell the dead man's switch, by how they ended", "result")
	counter(total, float64(h.Sent), "sent")
	counter(total, float64(h.Failures), "failed")
	counter(desc("foreshock_heartbeat_withheld_total", "how often it began that the switch was not told, as no look succeeded"), float64(h.Withheld))
	if !h.LastSentAt.IsZero() {
		gauge(desc("foreshock_heartbeat_last_sent_timestamp_seconds", "when the dead man's switch was last told"), float64(h.LastSentAt.UnixMilli())/1e3)
	}
}

// history is how what outlives the agent is kept.
func history(s *api.Snapshot, gauge, counter emit) {
	h := &s.History
	gauge(desc("foreshock_history_working", "1 while the history is written; 0 also where nothing is to be kept"), boolean(h.State == api.HistoryWorking))
	gauge(desc("foreshock_history_bytes", "size of the history's file, as of the last minute"), float64(h.Bytes))
	gauge(desc("foreshock_history_used_bytes", "what of the history's file holds something"), float64(h.UsedBytes))
	gauge(desc("foreshock_history_waiting", "what is not yet written"), float64(h.Waiting))
	total := desc("foreshock_history_entries_total", "what was to be kept, by how it ended; dropped is lost", "result")
	counter(total, float64(h.Written), "written")
	counter(total, float64(h.Dropped), "dropped")
	counter(desc("foreshock_history_failures_total", "writes and openings of the history that failed"), float64(h.Failures))
}

// hostLabels are the labels of the host: its name, and those that the
// configuration gives it. One of theirs called host gives way as Prometheus's
// own would.
func hostLabels(s *api.Snapshot) (names, values []string) {
	names, values = []string{"host"}, []string{text(s.Host)}
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		values = append(values, text(s.Labels[name]))
		if name == "host" {
			name = "exported_host"
		}
		names = append(names, name)
	}
	return names, values
}

// notices is what became of the notices of each channel.
func notices(s *api.Snapshot, gauge, counter emit) {
	queued := desc("foreshock_notices_queued", "notices that nobody has taken yet", "channel", "kind")
	failing := desc("foreshock_notices_failing", "1 when the last attempt at every receiver of the channel failed", "channel", "kind")
	held := desc("foreshock_notices_held", "queued notices that wait for the channel's rate alone", "channel", "kind")
	oldest := desc("foreshock_notices_oldest_seconds", "for how long the first queued notice has waited", "channel", "kind")
	dead := desc("foreshock_notices_dead_letters", "undelivered notices that are kept and can be tried again", "channel", "kind")
	unkept := desc("foreshock_notices_unkept_total", "notices that were sent before the history had them", "channel", "kind")
	total := desc("foreshock_notices_total", "notices by how they ended; undelivered ones were given up", "channel", "kind", "result")
	for i := range s.Channels {
		c := &s.Channels[i]
		gauge(queued, float64(c.Queued), text(c.Name), c.Kind)
		gauge(failing, boolean(c.Failing), text(c.Name), c.Kind)
		gauge(held, float64(c.Held), text(c.Name), c.Kind)
		gauge(dead, float64(c.DeadLetters), text(c.Name), c.Kind)
		counter(unkept, float64(c.Unkept), text(c.Name), c.Kind)
		if !c.OldestAt.IsZero() { // the outbox keeps the wall's time
			gauge(oldest, max(0, s.At.Add(s.ClockOffset).Sub(c.OldestAt).Seconds()), text(c.Name), c.Kind)
		}
		counter(total, float64(c.Delivered), text(c.Name), c.Kind, "delivered")
		counter(total, float64(c.Undelivered), text(c.Name), c.Kind, "undelivered")
		counter(total, float64(c.Superseded), text(c.Name), c.Kind, "superseded")
	}
}

// responses is what is being done about incidents, and how hooks ended.
func responses(s *api.Snapshot, gauge, counter emit) {
	gauge(desc("foreshock_responses", "workflows under way: what is being done about incidents"), float64(len(s.Responses)))
	runs := desc("foreshock_hook_runs_total", "runs of hooks by how they ended; a dry run started nothing", "hook", "result")
	for _, h := range s.Hooks {
		counter(runs, float64(h.Runs), text(h.Hook), h.Result)
	}
}

type emit func(d *prometheus.Desc, value float64, labels ...string)

func host(s *api.Snapshot, gauge emit) {
	if host := s.View.Scope(scope.Host); host != nil {
		for _, s := range measure.Signals() {
			if value, known := host.Get(s).Get(); known && s.AppliesTo(scope.KindHost) {
				d := s.Definition()
				gauge(desc("foreshock_host_"+d.Name, d.Help), value)
			}
		}
	}
	if rest := s.View.Scope(scope.Rest); rest != nil {
		if value, known := rest.Get(measure.Sockets).Get(); known {
			gauge(desc("foreshock_rest_sockets", "sockets that no scope claims"), value)
		}
	}
}

// namespaces counts the host's other network namespaces. Their ages are one
// series each, the greatest of all: hundreds of namespaces come and go.
func (c *Collector) namespaces(s *api.Snapshot, gauge emit) {
	n := &s.Namespaces
	count := desc("foreshock_namespaces", "network namespaces other than the agent's own; idle ones are read too, and have neither a listener nor a socket", "state")
	for _, x := range []struct {
		state string
		n     int
	}{{"read", n.Read}, {"idle", n.Idle}, {"waiting", n.Waiting}, {"refused", n.Refused}, {"over_the_most", n.Over}} {
		gauge(count, float64(x.n), x.state)
	}
	age := desc("foreshock_namespaces_look_age_seconds", "the longest time since listeners and counters (pulse), or all sockets (whole), of another namespace were seen", "what")
	worst := func(what string, seen func(*api.NamespaceStatus) time.Time) {
		var oldest time.Time
		for i := range n.Each {
			if at := seen(&n.Each[i]); !at.IsZero() && (oldest.IsZero() || at.Before(oldest)) {
				oldest = at
			}
		}
		if !oldest.IsZero() {
			gauge(age, max(0, c.now().Sub(s.Wall(oldest))).Seconds(), what)
		}
	}
	worst("pulse", func(x *api.NamespaceStatus) time.Time { return x.PulseSeen })
	worst("whole", func(x *api.NamespaceStatus) time.Time {
		if x.Idle {
			return time.Time{}
		}
		return x.WholeSeen
	})
}

func incidents(s *api.Snapshot, gauge emit) {
	counted := desc("foreshock_incidents", "incidents the agent knows, suspected and lately resolved ones too", "state", "severity")
	open := desc("foreshock_incident_open", "1 for each open incident, by cause, scope and severity; rule is the user's, because the cause of another incident that explains this one", "cause", "scope", "severity", "rule", "because")
	type key struct{ state, severity string }
	counts := map[key]int{}
	for _, state := range []judge.State{judge.Suspected, judge.Open, judge.Resolved} {
		for _, severity := range []judge.Severity{judge.Watch, judge.Warning, judge.Critical} {
			counts[key{state.String(), severity.String()}] = 0
		}
	}
	shown := map[[5]string]bool{} // the same twice would spoil the scrape
	for i := range s.Incidents {
		inc := &s.Incidents[i]
		counts[key{inc.State.String(), inc.Finding.Severity.String()}]++
		if inc.State != judge.Open || len(shown) == MaxServices {
			continue
		}
		f := &inc.Finding
		labels := [5]string{f.Cause.String(), text(f.Scope.String()), f.Severity.String(), text(f.Rule)}
		if inc.Because != judge.NoCause {
			labels[4] = inc.Because.String()
		}
		if !shown[labels] {
			shown[labels] = true
			gauge(open, 1, labels[:]...)
		}
	}
	keys := make([]key, 0, len(counts))
	for k := range counts {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b key) int { return strings.Compare(a.state+a.severity, b.state+b.severity) })
	for _, k := range keys {
		gauge(counted, float64(counts[k]), k.state, k.severity)
	}
}

func looks(now time.Time, s *api.Snapshot, gauge, counter emit) {
	age := desc("foreshock_look_age_seconds", "time since something saw what the tier sees: itself, or a full look", "tier")
	interval := desc("foreshock_look_interval_seconds", "interval the tier has now", "tier")
	cost := desc("foreshock_look_cost_seconds", "learned processor time of one look", "tier")
	duration := desc("foreshock_look_duration_seconds", "time the last look took on the clock", "tier")
	sockets := desc("foreshock_look_sockets", "sockets the last look passed", "tier")
	total := desc("foreshock_looks_total", "looks made, by how they ended", "tier", "result")
	for i := range s.Looks {
		l := &s.Looks[i]
		tier := l.Tier.String()
		gauge(interval, l.Interval.Seconds(), tier)
		gauge(cost, l.Cost.Seconds(), tier)
		counter(total, float64(l.Looks), tier, "complete")
		counter(total, float64(l.Partial), tier, "partial")
		counter(total, float64(l.Failed), tier, "failed")
		if !l.Seen.IsZero() {
			// By the machine's clock: it grows also when the loop has died.
			gauge(age, max(0, now.Sub(s.Wall(l.Seen))).Seconds(), tier)
		}
		if l.Last.Begin.IsZero() {
			continue // it has not looked itself
		}
		gauge(duration, l.Last.Duration.Seconds(), tier)
		gauge(sockets, float64(l.Last.Sockets), tier)
	}
}

// text makes a label of a name: a label must be UTF-8, a program's name need
// not be.
func text(name string) string { return strings.ToValidUTF8(name, "\uFFFD") }

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

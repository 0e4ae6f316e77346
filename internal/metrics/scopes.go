package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// other is the label of what is folded. A scope of this very name is folded
// too: two series of one name would spoil the whole scrape.
const other = "other"

// fold is how the values of many scopes become one.
type fold uint8

const (
	foldSum  fold = iota // counts, and rates of the whole
	foldMost             // waits, shares, and rates of each connection: the worst stands for all
	foldMin              // what is less the worse it is: 1 or all while it is well
)

// foldOf says how a signal of a kind is folded.
func foldOf(s measure.Signal) fold {
	switch {
	case s == measure.BalancerUp, s == measure.EstablishedShare:
		return foldMin
	case s == measure.RetransmitsPerConnectionRate, s.Definition().Unit == measure.UnitSeconds, s.Definition().Unit == measure.UnitShare:
		return foldMost
	}
	return foldSum
}

func (f fold) both(a, b float64) float64 {
	switch f {
	case foldMost:
		return max(a, b)
	case foldMin:
		return min(a, b)
	}
	return a + b
}

// signalMetric is one signal as a metric of its scope's kind.
type signalMetric struct {
	signal measure.Signal
	desc   *prometheus.Desc
	fold   fold
}

// kindMetrics are the metrics of one kind of scope, and what it needs to be
// folded under the bound.
type kindMetrics struct {
	signals []signalMetric
	unknown *prometheus.Desc
	// labels are of a scope with series of its own; no two scopes have the same.
	labels func(*measure.ScopeSignals) []string
	// others are the labels of those folded.
	others []string

	own           map[string]bool
	folded        map[measure.Signal]float64
	foldedUnknown int
	count, folds  int
}

func newKind(kind scope.Kind, labels []string, of func(*measure.ScopeSignals) []string) *kindMetrics {
	prefix := "foreshock_" + kind.String() + "_"
	k := newMetrics(prefix, "signals of the "+kind.String()+" that cannot be told now", labels, of)
	for _, label := range labels {
		if label == "namespace" {
			k.others = append(k.others, "")
		} else {
			k.others = append(k.others, other)
		}
	}
	k.own[key(k.others)] = true
	for _, s := range measure.Signals() {
		if s.AppliesTo(kind) {
			k.show(s, prefix+s.String(), labels)
		}
	}
	return k
}

// newMetrics has no signals yet, nor labels for what is folded.
func newMetrics(prefix, unknown string, labels []string, of func(*measure.ScopeSignals) []string) *kindMetrics {
	return &kindMetrics{
		unknown: desc(prefix+"unknown_signals", unknown, labels...),
		labels:  of, own: map[string]bool{}, folded: map[measure.Signal]float64{},
	}
}

// show adds a signal under that name.
func (k *kindMetrics) show(s measure.Signal, name string, labels []string) {
	k.signals = append(k.signals, signalMetric{s, desc(name, s.Definition().Help, labels...), foldOf(s)})
}

// key tells the series of one scope from those of another.
func key(labels []string) string { return strings.Join(labels, "\x00") }

// alone reports whether the next scope of those labels has series of its own.
func (k *kindMetrics) alone(labels []string) bool {
	name := key(labels)
	if k.own[name] || len(k.own) > MaxServices { // own holds other too
		return false
	}
	k.own[name] = true
	return true
}

// add takes one scope.
func (k *kindMetrics) add(sig *measure.ScopeSignals, gauge emit) {
	k.count++
	labels := k.labels(sig)
	alone := k.alone(labels)
	if !alone {
		k.folds++
	}
	missing := 0
	for _, m := range k.signals {
		value, known := sig.Get(m.signal).Get()
		if !known {
			missing++
			continue
		}
		if alone {
			gauge(m.desc, value, labels...)
			continue
		}
		if before, ok := k.folded[m.signal]; ok {
			value = m.fold.both(before, value)
		}
		k.folded[m.signal] = value
	}
	if alone {
		gauge(k.unknown, float64(missing), labels...)
	} else {
		k.foldedUnknown += missing
	}
}

// end shows those that were folded.
func (k *kindMetrics) end(gauge emit) {
	if k.folds == 0 {
		return
	}
	for _, m := range k.signals {
		if value, ok := k.folded[m.signal]; ok {
			gauge(m.desc, value, k.others...)
		}
	}
	gauge(k.unknown, float64(k.foldedUnknown), k.others...)
}

func services(s *api.Snapshot, gauge emit) {
	k := newKind(scope.KindService, []string{"service", "namespace"}, func(sig *measure.ScopeSignals) []string {
		return []string{text(sig.Scope.Name), text(sig.Scope.Namespace)}
	})
	for i := range s.View.Scopes {
		if s.View.Scopes[i].Scope.Kind == scope.KindService {
			k.add(&s.View.Scopes[i], gauge)
		}
	}
	k.end(gauge)
	gauge(desc("foreshock_services", "services found or configured"), float64(k.count))
	gauge(desc("foreshock_services_folded", `services that are counted under service="other"`), float64(k.folds))
}

// lastLead is the newest incident of a backend that its balancer has seen too.
type lastLead struct {
	seconds float64
	at      uint64 // the incident's number
}

// leads are how long before its balancer each backend was suspected last,
// seconds.
func leads(s *api.Snapshot) map[scope.ID]lastLead {
	out := map[scope.ID]lastLead{}
	for i := range s.Incidents {
		inc := &s.Incidents[i]
		id := inc.Finding.Scope
		if id.Kind != scope.KindBackend || inc.BalancerDownAt.IsZero() || inc.ID < out[id].at {
			continue
		}
		if lead, ok := s.Lead(inc); ok {
			out[id] = lastLead{lead.Seconds(), inc.ID}
		}
	}
	return out
}

func backends(s *api.Snapshot, gauge emit) {
	labels := []string{"backend", "group", "namespace"}
	k := newKind(scope.KindBackend, labels, func(sig *measure.ScopeSignals) []string {
		return []string{text(sig.Scope.Name), text(sig.Group), text(sig.Scope.Namespace)}
	})
	lead := desc("foreshock_backend_lead_seconds", "how long before its balancer called it down the backend was suspected, the last time; negative when the balancer was first", labels...)
	led := leads(s)
	for i := range s.View.Scopes {
		sig := &s.View.Scopes[i]
		if sig.Scope.Kind != scope.KindBackend {
			continue
		}
		folds := k.folds
		k.add(sig, gauge)
		if l, ok := led[sig.Scope]; ok && k.folds == folds { // of those folded no one lead can be told
			gauge(lead, l.seconds, k.labels(sig)...)
		}
	}
	k.end(gauge)
	gauge(desc("foreshock_backends", "backends found or configured"), float64(k.count))
	gauge(desc("foreshock_backends_folded", `backends that are counted under backend="other"`), float64(k.folds))
}

func regions(s *api.Snapshot, gauge emit) {
	k := newKind(scope.KindRegion, []string{"region", "namespace"}, func(sig *measure.ScopeSignals) []string {
		return []string{text(sig.Scope.Name), text(sig.Scope.Namespace)}
	})
	for i := range s.View.Scopes {
		switch sig := &s.View.Scopes[i]; {
		case sig.Scope.Kind == scope.KindRegion:
			k.add(sig, gauge)
		case sig.Scope == scope.Rest:
			for _, m := range []measure.Signal{measure.Outgoing, measure.UnclassifiedShare} {
				if value, known := sig.Get(m).Get(); known {
					gauge(desc("foreshock_"+m.String(), m.Definition().Help), value)
				}
			}
		}
	}
	k.end(gauge)
	gauge(desc("foreshock_regions", "regions configured, once more for each further namespace that has connections to them"), float64(k.count))
	gauge(desc("foreshock_regions_folded", `regions that are counted under region="other"`), float64(k.folds))
}

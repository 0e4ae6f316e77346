package metrics

import (
	"strings"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// drainSignals are the signals of a switch and what their metrics are called;
// of one side where only that has them.
var drainSignals = []struct {
	signal   measure.Signal
	name     string
	old, new bool
}{
	{measure.Connections, "foreshock_drain_connections", true, true},
	{measure.SynSent, "foreshock_drain_syn_sent", true, true},
	{measure.Retransmitting, "foreshock_drain_retransmitting", true, true},
	{measure.Failing, "foreshock_drain_failing", true, true},
	{measure.FailingShare, "foreshock_drain_failing_ratio", true, true},
	{measure.Moving, "foreshock_drain_moving", true, true},
	{measure.NewFlowsRate, "foreshock_drain_new_per_second", true, true},
	{measure.SwitchedAgo, "foreshock_drain_switched_seconds", true, true},
	{measure.TTLOver, "foreshock_drain_ttl_over_seconds", true, true},
	{measure.OldShare, "foreshock_drain_old_share_ratio", true, false},
	{measure.OldNewShare, "foreshock_drain_old_new_share_ratio", true, false},
	{measure.NewAfterTTL, "foreshock_drain_new_after_ttl", true, false},
	{measure.OlderThanTTL, "foreshock_drain_older_than_ttl", true, false},
	{measure.ResolversAsked, "foreshock_drain_resolvers_asked", true, false},
	{measure.ResolversStale, "foreshock_drain_resolvers_stale", true, false},
	{measure.ArrivalsRate, "foreshock_drain_arrivals_per_second", false, true},
	{measure.ArrivalsExpected, "foreshock_drain_arrivals_expected_per_second", false, true},
	{measure.ArrivalsExpectedError, "foreshock_drain_arrivals_expected_error_per_second", false, true},
	{measure.ArrivalsMissing, "foreshock_drain_arrivals_missing_ratio", false, true},
}

// drainSide are the metrics of one side of all switches.
func drainSide(side scope.Side) *kindMetrics {
	labels := []string{"name", "side", "namespace"}
	k := newMetrics("foreshock_drain_", "signals of the side of the switch that cannot be told now", labels, func(sig *measure.ScopeSignals) []string {
		return []string{text(strings.TrimSuffix(sig.Scope.Name, "/"+side.String())), side.String(), text(sig.Scope.Namespace)}
	})
	k.others = []string{other, side.String(), ""}
	k.own[key(k.others)] = true
	for _, s := range drainSignals {
		if side == scope.OldSide && s.old || side == scope.NewSide && s.new {
			k.show(s.signal, s.name, labels)
		}
	}
	return k
}

// drains are the switches from old addresses to new ones.
func drains(s *api.Snapshot, gauge emit) {
	sides := [...]*kindMetrics{scope.OldSide: drainSide(scope.OldSide), scope.NewSide: drainSide(scope.NewSide)}
	established := desc("foreshock_drain_established", `ESTABLISHED to one side of the switch; end="asked" are those that this host began, end="served" those that came to it. Who adds hosts up keeps the ends apart: a connection has both`,
		"name", "side", "end", "namespace")
	ends := func(labels []string, asked, served int) {
		gauge(established, float64(asked), labels[0], labels[1], "asked", labels[2])
		gauge(established, float64(served), labels[0], labels[1], "served", labels[2])
	}
	var asked, served [len(sides)]int // of those folded
	for i := range s.View.Scopes {
		sig := &s.View.Scopes[i]
		side, ok := sig.Scope.Side()
		if !ok {
			continue
		}
		k := sides[side]
		folds := k.folds
		k.add(sig, gauge)
		_, known := sig.Get(measure.Established).Get()
		switch {
		case k.folds > folds:
			asked[side] += sig.Address.Asked.Established
			served[side] += sig.Address.Served.Established
		case known:
			ends(k.labels(sig), sig.Address.Asked.Established, sig.Address.Served.Established)
		}
	}
	for side, k := range sides {
		k.end(gauge)
		if k.folds > 0 {
			ends(k.others, asked[side], served[side])
		}
	}
	gauge(desc("foreshock_drains", "switches from old addresses to new ones that are followed, once more for each further namespace that has connections to them"), float64(sides[scope.OldSide].count))
	gauge(desc("foreshock_drains_folded", `switches that are counted under name="other"`), float64(sides[scope.OldSide].folds))
}

package judge

import (
	"fmt"
	"math"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
)

const (
	usualAtLeast   = 1.0 // new connections a second: fewer come and go by chance
	missingShare   = 0.5 // of the usual
	returnedShare  = 0.7
	arrivalsWithin = 10.0 // seconds that new_flows_per_second looks back
)

// trafficMissing: new connections no longer come as they did over the last
// hour, while everything here looks well.
func trafficMissing() causeRule {
	return causeRule{
		cause: TrafficMissing,
		triggers: []trigger{
			// A drained deploy moves traffic away for less than this.
			{condition{"less than half of the last hour's usual arrivals for 60 s", time.Minute, 15, measure.NewFlowsRate, missing}, Critical},
		},
		clear:   condition{"70 % of the usual arrivals for 20 s", 20 * time.Second, 6, measure.NewFlowsRate, returned},
		explain: explainTrafficMissing,
	}
}

// missing: so few arrive that chance alone does not explain it: the upper 95 %
// bound of a Poisson count lies below half of the usual.
func missing(s subject) truth {
	v, ok := s.numbers(measure.NewFlowsRate, measure.NewFlowsUsual, measure.Listeners)
	if !ok {
		return cannotTell
	}
	now, usual, listeners := v[0], v[1], v[2]
	count := now * arrivalsWithin
	atMostLikely := count + 2*math.Sqrt(count+1) + 1
	return isTrue(listeners > 0 && usual >= usualAtLeast && atMostLikely < missingShare*usual*arrivalsWithin)
}

func returned(s subject) truth {
	return s.isShare(measure.NewFlowsRate, atLeast, returnedShare, measure.NewFlowsUsual)
}

func explainTrafficMissing(s subject, f *Finding) {
	now, usual := s.scope.Get(measure.NewFlowsRate), s.scope.Get(measure.NewFlowsUsual)
	share := 1 - now.Value/math.Max(usual.Value, usualAtLeast)
	f.Sentence = fmt.Sprintf("%.0f %% of the usual new connections to %s do not arrive: %.1f a second, %.1f over the last hour.", 100*share, f.Scope.Name, now.Value, usual.Value)
	f.Certainty = Likely
	f.against(s.scope, measure.NewFlowsRate, missingShare*usual.Value, "half of the last hour's median")
	f.shows(s.scope, measure.NewFlowsUsual, measure.QueueDepth, measure.Established)
	f.considers(WorkersFull, rejected(s, measure.QueueWait, s.is(measure.QueueWait, above, waitSlowly)))
	f.Advice = []string{
		"Look upstream: a load balancer that took this host out, DNS that points elsewhere, a route that is gone.",
		"Nothing on this host shows why: the connections that are missing never reached it.",
	}
}

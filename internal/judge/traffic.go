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
	// normDays: before the second day the evening is not known.
	normDays = 2
)

// trafficMissing: new connections no longer come as they usually do, while
// everything here looks well. What was learned of this hour of the week decides
// alone; the last hour, until a day was.
func trafficMissing() causeRule {
	return causeRule{
		cause: TrafficMissing,
		triggers: []trigger{
			// A drained deploy moves traffic away for less than this.
			{condition{"less than half of the last hour's usual arrivals for 60 s", time.Minute, 15, measure.NewFlowsRate, missingOfLately}, Critical},
			{condition{"fewer arrivals than are ever usual at this hour for 60 s", time.Minute, 15, measure.NewFlowsRate, missingOfNorm}, Critical},
		},
		clear:   condition{"the usual arrivals, or 70 % of the last hour's, for 20 s", 20 * time.Second, 6, measure.NewFlowsRate, returned},
		explain: explainTrafficMissing,
	}
}

// arrivalsNorm is what was learned of arrivals at this hour; known is false until
// that rests on a day and more.
func (s subject) arrivalsNorm() (n measure.Norm, known bool) {
	n, known = s.scope.Norm(measure.NewFlowsRate)
	return n, known && n.Days >= normDays
}

func missingOfLately(s subject) truth {
	if _, learned := s.arrivalsNorm(); learned {
		return cannotTell // not for this one to say
	}
	usual, known := s.scope.Get(measure.NewFlowsUsual).Get()
	if !known {
		return cannotTell
	}
	return missing(s, usual, missingShare*usual)
}

func missingOfNorm(s subject) truth {
	norm, learned := s.arrivalsNorm()
	if !learned {
		return cannotTell
	}
	return missing(s, norm.Usual, norm.Low)
}

// missing: so few arrive that chance alone does not explain it: the upper 95 %
// bound of a Poisson count lies below the level.
func missing(s subject, usual, level float64) truth {
	v, ok := s.numbers(measure.NewFlowsRate, measure.Listeners)
	if !ok {
		return cannotTell
	}
	now, listeners := v[0], v[1]
	return isTrue(listeners > 0 && usual >= usualAtLeast && atMostLikely(now, arrivalsWithin) < level)
}

// atMostLikely is the upper 95 % bound of a rate that was counted over so many
// seconds.
func atMostLikely(rate, seconds float64) float64 {
	count := rate * seconds
	return (count + 2*math.Sqrt(count+1) + 1) / seconds
}

// returned: what opened it is over. What was learned since the first hour must
// agree, as an outage of hours becomes usual of the last one.
func returned(s subject) truth {
	lately := s.isShare(measure.NewFlowsRate, atLeast, returnedShare, measure.NewFlowsUsual)
	norm, learned := s.scope.Norm(measure.NewFlowsRate)
	if !learned {
		return lately
	}
	asLearned := s.is(measure.NewFlowsRate, atLeast, norm.Low)
	if _, decides := s.arrivalsNorm(); decides {
		return asLearned
	}
	return lately.And(asLearned)
}

func explainTrafficMissing(s subject, f *Finding) {
	now := s.scope.Get(measure.NewFlowsRate).Value
	usual, level := s.value(measure.NewFlowsUsual), missingShare*s.value(measure.NewFlowsUsual)
	origin, when := "half of the last hour's median", "over the last hour"
	norm, learned := s.arrivalsNorm()
	if learned {
		usual, level, origin, when = norm.Usual, norm.Low, norm.Origin(), "at this hour"
	}
	share := 1 - min(1, now/math.Max(usual, usualAtLeast))
	f.Sentence = fmt.Sprintf("%.0f %% of the usual new connections to %s do not arrive: %.1f a second, %.1f %s.", 100*share, f.Scope.Name, now, usual, when)
	f.Certainty = Likely
	f.against(s.scope, measure.NewFlowsRate, level, origin)
	if learned {
		f.shows(s.scope, measure.NewFlowsNorm)
	}
	f.shows(s.scope, measure.NewFlowsUsual, measure.QueueDepth, measure.Established)
	f.considers(WorkersFull, rejected(s, measure.QueueWait, s.is(measure.QueueWait, above, waitSlowly)))
	f.Advice = []string{
		"Look upstream: a load balancer that took this host out, DNS that points elsewhere, a route that is gone.",
		"Nothing on this host shows why: the connections that are missing never reached it.",
	}
}

package judge

import (
	"fmt"
	"strings"

	"github.com/foreshock/foreshock/internal/measure"
)

const (
	// spikeWithin: workers that went from half to now in less than this did not
	// fill up gradually.
	spikeWithin = 30.0 // seconds
	// leakedShare of what is occupied makes a leak the reason.
	leakedShare = 0.5
	// prefixShare of what is occupied makes a prefix worth limiting.
	prefixShare = 0.2
)

// fail fills in the pattern of a service that runs out of something, what
// makes it that pattern, and the response it calls for.
func (f *Finding) fail(s subject) {
	f.Pattern, f.PatternEvidence = patternOf(f.Cause, s)
	f.Prefixes = standOut(s)
	switch f.Pattern {
	case GradualSaturation:
		f.Response = "Scale: add workers or instances, or move load away."
	case SuddenSpike:
		f.Response = limitRates(f.Prefixes)
	case ResourceLeak:
		f.Response = "Restart the service, one instance at a time, and find out which connections it never closes."
	}
}

// patternOf tells the three patterns of the workers article apart.
func patternOf(cause Cause, s subject) (p Pattern, evidence string) {
	occupied, known := s.scope.Get(measure.WorkersOccupied).Get()
	leaked := s.scope.Get(measure.CloseWaitLeaked)
	rise := s.scope.Get(measure.WorkersRise)
	switch cause {
	case Leak:
		return ResourceLeak, fmt.Sprintf("%.0f connections their clients closed are still held", leaked.Value)
	case SynFlood:
		return SuddenSpike, fmt.Sprintf("%.0f half-open connections", s.scope.Get(measure.SynRecv).Value)
	case SlowClients:
		return SuddenSpike, fmt.Sprintf("%.0f connections whose clients hardly send anything", s.scope.Get(measure.SlowClients).Value)
	}
	if leaked.Validity == measure.Known && known && leaked.Value >= gaveUpAtLeast && leaked.Value >= leakedShare*occupied {
		return ResourceLeak, fmt.Sprintf("%.0f of %.0f occupied workers hold connections their clients closed", leaked.Value, occupied)
	}
	if fullIn, slow := s.scope.Get(measure.WorkersFullIn).Get(); cause == WorkersFilling && slow {
		return GradualSaturation, fmt.Sprintf("steady growth over the last minute: %+.2f workers a second, full in %s", s.scope.Get(measure.WorkersSlope).Value, inWords(fullIn))
	}
	if seconds, risen := rise.Get(); risen && seconds <= spikeWithin {
		return SuddenSpike, fmt.Sprintf("occupied workers doubled to %.0f within %s", occupied, inWords(seconds))
	} else if risen {
		return GradualSaturation, fmt.Sprintf("occupied workers took %s to double to %.0f", inWords(seconds), occupied)
	}
	if slope, enough := s.scope.Get(measure.WorkersSlope).Get(); enough && known {
		return GradualSaturation, fmt.Sprintf("no jump in the last 5 minutes: %.0f occupied, %+.2f a second", occupied, slope)
	}
	return NoPattern, ""
}

// standOut are the prefixes that hold enough to be worth limiting.
func standOut(s subject) []measure.PrefixHeld {
	occupied, known := s.scope.Get(measure.WorkersOccupied).Get()
	if !known {
		return nil
	}
	var out []measure.PrefixHeld
	for _, p := range s.scope.Prefixes {
		if float64(p.Held) >= prefixShare*occupied && p.Held >= gaveUpAtLeast {
			out = append(out, p)
		}
	}
	return out
}

func limitRates(prefixes []measure.PrefixHeld) string {
	if len(prefixes) == 0 {
		return "Limit the rate of new connections as a whole: no client prefix stands out."
	}
	names := make([]string, 0, len(prefixes))
	for _, p := range prefixes {
		names = append(names, fmt.Sprintf("%s (holds %d)", p.Prefix, p.Held))
	}
	return "Limit the rate of new connections from " + strings.Join(names, ", ") + "."
}

package web

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/foreshock/foreshock/internal/api"
)

// reasons words why a value is not known; measure.Validity has the same.
var reasons = map[string]string{
	"never_seen": "never seen", "stale": "stale", "no_listener": "no listener",
	"no_ability": "not visible to this reader", "not_enough": "not enough looks yet",
	"not_filling": "not filling", "no_limit": "limit not known", "not_such": "not that kind of server", "contradicted": "contradicted by what is occupied",
	"no_traffic": "no traffic", "not_answered": "no answer for a minute, and no cause found", "no_evidence": "no evidence",
}

func reason(v api.Value) string { return cmp.Or(reasons[v.Unknown], spaced(v.Unknown)) }

func count(v api.Value) string {
	if v.Value == nil {
		return "unknown"
	}
	return whole(*v.Value)
}

// share is a part of a whole in words, "7 of 20"; "unknown" alone when neither
// is known.
func share(part, of api.Value) string {
	if part.Value == nil && of.Value == nil {
		return "unknown"
	}
	return count(part) + " of " + count(of)
}

func seconds(v api.Value) string {
	if v.Value == nil {
		return "unknown"
	}
	return tenth(*v.Value) + " s"
}

func number(v api.Value) float64 {
	if v.Value == nil {
		return 0
	}
	return max(*v.Value, 0)
}

// span words a duration with two units at most: "2 min 27 s".
func span(seconds float64) string {
	s := int64(math.Floor(max(seconds, 0) + 0.5))
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%d h %d min", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%d d %d h", s/86400, s%86400/3600)
}

// Halves are rounded up, as browsers do; fmt rounds them to even.
func whole(v float64) string   { return strconv.FormatFloat(math.Floor(v+0.5), 'f', -1, 64) }
func tenths(v float64) float64 { return math.Floor(v*10+0.5) / 10 }
func tenth(v float64) string   { return strconv.FormatFloat(tenths(v), 'f', 1, 64) }
func hundredth(v float64) string {
	return strconv.FormatFloat(math.Floor(v*100+0.5)/100, 'f', 2, 64)
}
func percent(share float64) string { return hundredth(share*100) + " %" }

func spaced(s string) string { return strings.ReplaceAll(s, "_", " ") }

package detect

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Table writes outcomes as Markdown: seconds since the load began, and how
// long before the first failed request the first warning came.
func Table(outcomes []Outcome) string {
	var b strings.Builder
	fmt.Fprintln(&b, "| cell | forecast | warning | critical | first slow | first failed | warning before it | pattern | watches | causes found | goals missed | others, first fired |")
	fmt.Fprintln(&b, "|---|---|---|---|---|---|---|---|---|---|---|---|")
	for _, o := range outcomes {
		lead := "–"
		if d, ok := o.Lead(); ok {
			lead = seconds(&d)
		}
		watches := fmt.Sprint(o.Watches)
		if o.Minutes >= 60 {
			watches = fmt.Sprintf("%.1f per hour", o.watchesPerHour())
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", o.Cell, seconds(o.Forecast), seconds(o.Warning), seconds(o.Critical),
			seconds(o.FirstSlow), seconds(o.FirstFailed), lead, list(o.Patterns), watches, list(o.causes()), list(o.Missed), o.others())
	}
	return b.String()
}

func seconds(d *time.Duration) string {
	if d == nil {
		return "–"
	}
	return fmt.Sprintf("%.0f", d.Seconds())
}

func list(words []string) string {
	if len(words) == 0 {
		return "–"
	}
	return strings.Join(words, ", ")
}

// others are the peers' alerts in the order they fired.
func (o Outcome) others() string {
	names := slices.SortedFunc(maps.Keys(o.Peers), func(a, b string) int { return int(o.Peers[a] - o.Peers[b]) })
	for i, n := range names {
		names[i] = fmt.Sprintf("%s %.0f", n, o.Peers[n].Seconds())
	}
	return list(names)
}

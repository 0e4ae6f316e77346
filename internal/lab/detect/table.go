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

// Spread writes, as Markdown, how the runs of one cell differ: the least, the
// median and the most seconds before the first failed request. Cells with one
// run are left out; without any other it is empty.
func Spread(outcomes []Outcome) string {
	var b strings.Builder
	for _, of := range byCell(outcomes) {
		if len(of) < 2 {
			continue
		}
		if b.Len() == 0 {
			fmt.Fprintln(&b, "| cell | runs | forecast before the first failed | warning before it | critical before it | watches per hour | runs that missed a goal |")
			fmt.Fprintln(&b, "|---|---|---|---|---|---|---|")
		}
		var watches, minutes float64
		missed := 0
		for _, o := range of {
			watches += float64(o.Watches)
			minutes += o.Minutes
			if len(o.Missed) > 0 {
				missed++
			}
		}
		perHour := "–"
		if minutes > 0 {
			perHour = fmt.Sprintf("%.1f", watches*60/minutes)
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %s | %d |\n", of[0].Cell, len(of),
			spread(of, func(o Outcome) *time.Duration { return o.Forecast }),
			spread(of, func(o Outcome) *time.Duration { return o.Warning }),
			spread(of, func(o Outcome) *time.Duration { return o.Critical }),
			perHour, missed)
	}
	return b.String()
}

// byCell gathers the runs of each cell, in the order of their first.
func byCell[O interface{ goals() (string, []string) }](outcomes []O) (cells [][]O) {
	place := map[string]int{}
	for _, o := range outcomes {
		cell, _ := o.goals()
		i, known := place[cell]
		if !known {
			i = len(cells)
			place[cell] = i
			cells = append(cells, nil)
		}
		cells[i] = append(cells[i], o)
	}
	return cells
}

// spread is the least, the median and the most time from what is asked for to
// the first failed request; and in how many runs, where that is not all.
func spread(of []Outcome, from func(Outcome) *time.Duration) string {
	var leads []time.Duration
	for _, o := range of {
		if at := from(o); at != nil && o.FirstFailed != nil {
			leads = append(leads, *o.FirstFailed-*at)
		}
	}
	if len(leads) == 0 {
		return "–"
	}
	slices.Sort(leads)
	text := fmt.Sprintf("%.0f, %.0f, %.0f", leads[0].Seconds(), median(leads).Seconds(), leads[len(leads)-1].Seconds())
	if len(leads) < len(of) {
		text += fmt.Sprintf(" (%d runs)", len(leads))
	}
	return text
}

// median of a sorted list that is not empty.
func median(sorted []time.Duration) time.Duration {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

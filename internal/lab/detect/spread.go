package detect

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Spread writes, as Markdown, how the runs of one cell differ: the least, the
// median and the most seconds before the first failed request. Cells with one
// run are left out; without any other it is empty.
func Spread(outcomes []Outcome) string {
	var order []string
	runs := map[string][]Outcome{}
	for _, o := range outcomes {
		if runs[o.Cell] == nil {
			order = append(order, o.Cell)
		}
		runs[o.Cell] = append(runs[o.Cell], o)
	}
	var b strings.Builder
	for _, cell := range order {
		of := runs[cell]
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
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %s | %d |\n", cell, len(of),
			spread(of, func(o Outcome) *time.Duration { return o.Forecast }),
			spread(of, func(o Outcome) *time.Duration { return o.Warning }),
			spread(of, func(o Outcome) *time.Duration { return o.Critical }),
			perHour, missed)
	}
	return b.String()
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

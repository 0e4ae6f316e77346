package detect

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// outsideOf is the name of a contained cell's twin, whose balancer runs beside
// the agent.
func outsideOf(cell string) string { return strings.Replace(cell, "-contained", "", 1) }

// ContainedTable writes, as Markdown, when faults were found behind a balancer
// in a container and when outside of one, in seconds since the fault; empty
// when no cell was played both ways.
func ContainedTable(outcomes []BackendOutcome) string {
	all := summaries(outcomes)
	var b strings.Builder
	for _, inside := range all {
		i := slices.IndexFunc(all, func(s summary) bool { return s.cell == outsideOf(inside.cell) })
		if inside.healthy || i < 0 || outsideOf(inside.cell) == inside.cell {
			continue
		}
		if b.Len() == 0 {
			fmt.Fprintln(&b, "| fault | runs outside | found p50 | p95 | runs in a container | found p50 | p95 | goals missed there |")
			fmt.Fprintln(&b, "|---|---|---|---|---|---|---|---|")
		}
		outside := all[i]
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %d | %s | %s | %s |\n", outside.cell,
			len(outside.runs), tenths(outside.quantile(0.5, foundAt)), tenths(outside.quantile(0.95, foundAt)),
			len(inside.runs), tenths(inside.quantile(0.5, foundAt)), tenths(inside.quantile(0.95, foundAt)), list(inside.missed()))
	}
	return b.String()
}

// RestartTable writes, as Markdown, how restarts of the balancer were followed:
// seconds from the new process's first connection to a backend, at worst. Empty
// when none happened.
func RestartTable(outcomes []BackendOutcome) string {
	var b strings.Builder
	for _, s := range summaries(outcomes) {
		restarts, blind := 0, 0
		var connected, shown, named []*time.Duration
		for _, o := range s.runs {
			for _, f := range o.Followed {
				restarts++
				blind = max(blind, f.Blind)
				connected, shown, named = append(connected, f.Connected), append(shown, f.Shown), append(named, f.Named)
			}
		}
		if restarts == 0 {
			continue
		}
		if b.Len() == 0 {
			fmt.Fprintln(&b, "| balancer restarted | restarts | connected after | shown after | blind looks | process named after | goals missed |")
			fmt.Fprintln(&b, "|---|---|---|---|---|---|---|")
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %d | %s | %s |\n",
			s.cell, restarts, tenths(worst(connected)), tenths(worst(shown)), blind, tenths(worst(named)), list(s.missed()))
	}
	return b.String()
}

// worst is the longest of them; nil, which is never, is longer than any.
func worst(times []*time.Duration) *time.Duration {
	var out *time.Duration
	for _, d := range times {
		if d == nil {
			return nil
		}
		if out == nil || *d > *out {
			out = d
		}
	}
	return out
}

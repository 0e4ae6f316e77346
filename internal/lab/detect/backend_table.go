package detect

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// summary is what the runs of one cell have in common.
type summary struct {
	cell, balancer, fault string
	healthy               bool
	runs                  []BackendOutcome
}

// summaries gathers the runs of each cell, in the order of their first.
func summaries(outcomes []BackendOutcome) []summary {
	var all []summary
	for _, o := range outcomes {
		i := slices.IndexFunc(all, func(s summary) bool { return s.cell == o.Cell })
		if i < 0 {
			i = len(all)
			all = append(all, summary{cell: o.Cell, balancer: o.Balancer, fault: o.Fault, healthy: o.Healthy})
		}
		all[i].runs = append(all[i].runs, o)
	}
	return all
}

// times are those of the runs that have one, sorted.
func (s summary) times(of func(BackendOutcome) *time.Duration) []time.Duration {
	var out []time.Duration
	for _, o := range s.runs {
		if d := of(o); d != nil {
			out = append(out, *d)
		}
	}
	slices.Sort(out)
	return out
}

// quantile of a sorted list by the nearest rank; nil without any. A share of
// the runs that never saw it counts as later than all.
func (s summary) quantile(q float64, of func(BackendOutcome) *time.Duration) *time.Duration {
	times := s.times(of)
	rank := max(int(math.Ceil(q*float64(len(s.runs)))), 1)
	if rank > len(times) {
		return nil
	}
	return &times[rank-1]
}

// What is asked of an outcome.
func foundAt(o BackendOutcome) *time.Duration   { return o.Found }
func verdictAt(o BackendOutcome) *time.Duration { return o.Verdict }
func probeAt(o BackendOutcome) *time.Duration   { return o.Probe }
func failedAt(o BackendOutcome) *time.Duration  { return o.FirstFailed }
func leadOf(o BackendOutcome) *time.Duration {
	if d, ok := o.Lead(); ok {
		return &d
	}
	return nil
}

// BackendTable writes outcomes as Markdown: seconds since the fault, half of
// the runs and 95 % of them; "never" where so many runs did not see it.
func BackendTable(outcomes []BackendOutcome) string {
	var b strings.Builder
	var faults, healthy []summary
	for _, s := range summaries(outcomes) {
		if s.healthy {
			healthy = append(healthy, s)
		} else {
			faults = append(faults, s)
		}
	}
	if len(faults) > 0 {
		fmt.Fprintln(&b, "| fault | runs | named as | found p50 | p95 | balancer p50 | p95 | lead p50 | probe p50 | first error p50 | lost of requests | goals missed |")
		fmt.Fprintln(&b, "|---|---|---|---|---|---|---|---|---|---|---|---|")
	}
	for _, s := range faults {
		lost, asked := 0, 0
		var named []string
		for _, o := range s.runs {
			lost, asked = lost+o.Failed, asked+o.Requests
			if o.Cause != "" && !slices.Contains(named, o.Cause) {
				named = append(named, o.Cause)
			}
		}
		slices.Sort(named)
		lead := "–"
		if d := s.quantile(0.5, leadOf); d != nil {
			lead = tenths(d)
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %s | %s | %s | %s | %s | %d of %d | %s |\n", s.cell, len(s.runs), list(named),
			tenths(s.quantile(0.5, foundAt)), tenths(s.quantile(0.95, foundAt)), tenths(s.quantile(0.5, verdictAt)), tenths(s.quantile(0.95, verdictAt)),
			lead, tenths(s.quantile(0.5, probeAt)), tenths(s.quantile(0.5, failedAt)), lost, asked, list(s.missed()))
	}
	if len(healthy) > 0 {
		if len(faults) > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintln(&b, "| healthy | runs | requests | failed | at warning or above |")
		fmt.Fprintln(&b, "|---|---|---|---|---|")
	}
	for _, s := range healthy {
		failed, asked := 0, 0
		for _, o := range s.runs {
			failed, asked = failed+o.Failed, asked+o.Requests
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %s |\n", s.cell, len(s.runs), asked, failed, list(s.missed()))
	}
	return b.String()
}

// missed is each goal that a run missed, with how many runs did where that is
// not the only one.
func (s summary) missed() []string {
	var order []string
	times := map[string]int{}
	for _, o := range s.runs {
		for _, m := range o.Missed {
			if times[m]++; times[m] == 1 {
				order = append(order, m)
			}
		}
	}
	for i, m := range order {
		if len(s.runs) > 1 {
			order[i] = fmt.Sprintf("%s (%d×)", m, times[m])
		}
	}
	return order
}

func tenths(d *time.Duration) string {
	if d == nil {
		return "never"
	}
	return fmt.Sprintf("%.1f", d.Seconds())
}

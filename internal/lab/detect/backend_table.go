package detect

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// runs are courses of one cell, at least one.
type runs []Course

// split gathers the runs of each cell, in the order of their first: those of
// faults, and those of healthy days.
func split(all []Course) (faults, healthy []runs) {
	for _, s := range byCell(all) {
		if s[0].Healthy {
			healthy = append(healthy, s)
		} else {
			faults = append(faults, s)
		}
	}
	return faults, healthy
}

// times are those of the runs that have one, sorted.
func (s runs) times(of func(Course) *time.Duration) []time.Duration {
	var out []time.Duration
	for _, o := range s {
		if d := of(o); d != nil {
			out = append(out, *d)
		}
	}
	slices.Sort(out)
	return out
}

// quantile of a sorted list by the nearest rank; nil without any. A share of
// the runs that never saw it counts as later than all.
func (s runs) quantile(q float64, of func(Course) *time.Duration) *time.Duration {
	times := s.times(of)
	rank := max(int(math.Ceil(q*float64(len(s)))), 1)
	if rank > len(times) {
		return nil
	}
	return &times[rank-1]
}

// What is asked of a course.
func foundAt(c Course) *time.Duration   { return c.Found }
func verdictAt(c Course) *time.Duration { return c.Verdict }
func probeAt(c Course) *time.Duration   { return c.Probe }
func failedAt(c Course) *time.Duration  { return c.FirstFailed }
func leadOf(c Course) *time.Duration {
	if d, ok := c.Lead(); ok {
		return &d
	}
	return nil
}

// BackendTable writes outcomes as Markdown: seconds since the fault, half of
// the runs and 95 % of them; "never" where so many runs did not see it.
func BackendTable(outcomes []BackendOutcome) string {
	var b strings.Builder
	faults, healthy := split(courses(outcomes))
	if len(faults) > 0 {
		fmt.Fprintln(&b, "| fault | runs | named as | found p50 | p95 | balancer p50 | p95 | lead p50 | probe p50 | first error p50 | lost of requests | goals missed |")
		fmt.Fprintln(&b, "|---|---|---|---|---|---|---|---|---|---|---|---|")
	}
	for _, s := range faults {
		lost, asked := s.lost()
		lead := "–"
		if d := s.quantile(0.5, leadOf); d != nil {
			lead = tenths(d)
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %s | %s | %s | %s | %s | %d of %d | %s |\n", s[0].Cell, len(s), list(s.named()),
			tenths(s.quantile(0.5, foundAt)), tenths(s.quantile(0.95, foundAt)), tenths(s.quantile(0.5, verdictAt)), tenths(s.quantile(0.95, verdictAt)),
			lead, tenths(s.quantile(0.5, probeAt)), tenths(s.quantile(0.5, failedAt)), lost, asked, list(s.missed()))
	}
	writeHealthy(&b, healthy)
	return b.String()
}

// writeHealthy writes the table of healthy days, below what there is.
func writeHealthy(b *strings.Builder, healthy []runs) {
	if len(healthy) == 0 {
		return
	}
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	fmt.Fprintln(b, "| healthy | runs | requests | failed | at warning or above |")
	fmt.Fprintln(b, "|---|---|---|---|---|")
	for _, s := range healthy {
		failed, asked := s.lost()
		fmt.Fprintf(b, "| %s | %d | %d | %d | %s |\n", s[0].Cell, len(s), asked, failed, list(s.missed()))
	}
}

// lost is how many requests of all failed.
func (s runs) lost() (failed, asked int) {
	for _, c := range s {
		failed, asked = failed+c.Failed, asked+c.Requests
	}
	return failed, asked
}

// named are the right causes that were found, each once.
func (s runs) named() []string {
	var named []string
	for _, c := range s {
		if c.Cause != "" && !slices.Contains(named, c.Cause) {
			named = append(named, c.Cause)
		}
	}
	slices.Sort(named)
	return named
}

// missed is each goal that a run missed, with how many runs did where that is
// not the only one.
func (s runs) missed() []string {
	var order []string
	times := map[string]int{}
	for _, c := range s {
		for _, m := range c.Missed {
			if times[m]++; times[m] == 1 {
				order = append(order, m)
			}
		}
	}
	for i, m := range order {
		if len(s) > 1 {
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

// outsideOf is the name of a contained cell's twin, whose balancer runs beside
// the agent.
func outsideOf(cell string) string { return strings.Replace(cell, "-contained", "", 1) }

// ContainedTable writes, as Markdown, when faults were found behind a balancer
// in a container and when outside of one, in seconds since the fault; empty
// when no cell was played both ways.
func ContainedTable(outcomes []BackendOutcome) string {
	faults, _ := split(courses(outcomes))
	var b strings.Builder
	for _, inside := range faults {
		twin := outsideOf(inside[0].Cell)
		i := slices.IndexFunc(faults, func(s runs) bool { return s[0].Cell == twin })
		if i < 0 || twin == inside[0].Cell {
			continue
		}
		if b.Len() == 0 {
			fmt.Fprintln(&b, "| fault | runs outside | found p50 | p95 | runs in a container | found p50 | p95 | goals missed there |")
			fmt.Fprintln(&b, "|---|---|---|---|---|---|---|---|")
		}
		outside := faults[i]
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %d | %s | %s | %s |\n", twin,
			len(outside), tenths(outside.quantile(0.5, foundAt)), tenths(outside.quantile(0.95, foundAt)),
			len(inside), tenths(inside.quantile(0.5, foundAt)), tenths(inside.quantile(0.95, foundAt)), list(inside.missed()))
	}
	return b.String()
}

// RestartTable writes, as Markdown, how restarts of the balancer were followed:
// seconds from the new process's first connection to a backend, at worst. Empty
// when none happened.
func RestartTable(outcomes []BackendOutcome) string {
	var b strings.Builder
	for _, s := range byCell(outcomes) {
		restarts, blind := 0, 0
		var connected, shown, named []*time.Duration
		for _, o := range s {
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
			s[0].Cell, restarts, tenths(worst(connected)), tenths(worst(shown)), blind, tenths(worst(named)), list(runs(courses(s)).missed()))
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

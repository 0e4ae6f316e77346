package detect

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Goal is what a cell must show. The zero value asks for nothing; that no
// cause outside its chain reaches warning is asked of every cell.
type Goal struct {
	// Found are causes that must be opened, at whatever severity.
	Found []string
	// Lead is the least time from the first warning to the first failed
	// request.
	Lead time.Duration
	// By is the latest that the first warning may come, since the load began.
	By time.Duration
	// WatchesPerHour is how many findings an hour may stay a watch. A watch
	// is not sent.
	WatchesPerHour float64
}

// misses says what of the goal the outcome does not reach.
func (g Goal) misses(o Outcome) []string {
	missed := []string{}
	if o.Healthy {
		missed = append(missed, provesNothing(o.Requests, o.Failed, o.Polls)...)
	}
	say := func(format string, args ...any) { missed = append(missed, fmt.Sprintf(format, args...)) }
	for _, cause := range g.Found {
		if o.Found[cause] == "" {
			say("%s not found", cause)
		}
	}
	if g.Lead > 0 {
		switch lead, ok := o.Lead(); {
		case o.FirstFailed == nil:
			say("no request failed: the load proves nothing")
		case !ok:
			say("no warning")
		case lead < g.Lead:
			say("warning %.1f s before the first failed request, goal %.0f s", lead.Seconds(), g.Lead.Seconds())
		}
	}
	if g.By > 0 {
		switch {
		case o.Warning == nil:
			say("no warning")
		case *o.Warning > g.By:
			say("warning at %.1f s, goal %.0f s", o.Warning.Seconds(), g.By.Seconds())
		}
	}
	if rate := o.watchesPerHour(); g.WatchesPerHour > 0 && rate > g.WatchesPerHour {
		say("%.1f watches an hour, goal %g", rate, g.WatchesPerHour)
	}
	if len(o.Outside) > 0 {
		say("outside the chain: %s", strings.Join(o.Outside, ", "))
	}
	return missed
}

// watchesPerHour is 0 for an outcome without a load.
func (o Outcome) watchesPerHour() float64 {
	if o.Minutes == 0 {
		return 0
	}
	return float64(o.Watches) * 60 / o.Minutes
}

// Missed lists the goals that outcomes missed, a line each.
func Missed[O interface{ goals() (string, []string) }](outcomes []O) []string {
	var lines []string
	for _, o := range outcomes {
		cell, missed := o.goals()
		for _, m := range missed {
			lines = append(lines, cell+": "+m)
		}
	}
	return lines
}

func (o Outcome) goals() (cell string, missed []string) { return o.Cell, o.Missed }
func (c Course) goals() (cell string, missed []string)  { return c.Cell, c.Missed }

// Report is the outcome for a person: a line, and the life of every incident.
func (o Outcome) Report() []string { return report(o.String(), o.Steps) }

// Report is the course for a person: a line, and the life of every incident.
func (c Course) Report() []string { return report(c.String(), c.Steps) }

// Report is the outcome for a person: a line, and the life of every incident.
func (o BackendOutcome) Report() []string { return report(o.String(), o.Steps) }

func report(line string, steps []string) []string {
	lines := []string{line}
	for _, step := range steps {
		lines = append(lines, "    "+step)
	}
	return lines
}

// severities in their order; the place of a word is how grave it is.
var severities = []string{"", "watch", "warning", "critical"}

func graveness(severity string) int { return slices.Index(severities, severity) }

// graver keeps the graver peak of each cause.
func graver(found map[string]string, cause, peak string) {
	if graveness(peak) > graveness(found[cause]) {
		found[cause] = peak
	}
}

// causes are those found, each with its peak, in the order of their names.
func (o Outcome) causes() []string {
	var out []string
	for _, cause := range slices.Sorted(maps.Keys(o.Found)) {
		out = append(out, cause+" ("+o.Found[cause]+")")
	}
	return out
}

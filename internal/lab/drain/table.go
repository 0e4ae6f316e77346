package drain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/drain"
)

// Goals of the issue, in points, connections' shares and seconds.
const (
	shareGoal   = 2.0
	blameGoal   = 0.95
	missingGoal = 5.0
)

// shownWithin is when agents must show the switch: one look after they are told,
// and the second of our own asking; or when they have asked the name servers again.
func (c *Cell) shownWithin() time.Duration {
	if c.How == ByHand {
		return 3 * time.Second
	}
	return 35 * time.Second
}

// Missed says which goals a run missed, a sentence each.
func (o Outcome) Missed(c Cell) (missed []string) {
	say := func(format string, args ...any) { missed = append(missed, fmt.Sprintf(format, args...)) }
	if o.Unanswered != "" {
		say("an agent did not answer: %s", o.Unanswered)
	}
	// What nobody is told of is not shown.
	if !c.OnlyA && (o.Shown == nil || *o.Shown > c.shownWithin().Seconds()) {
		say("shown %s after the switch", seconds(o.Shown))
	}
	if o.Share.MaxInSecond > shareGoal {
		say("share on old off by %.1f points", o.Share.MaxInSecond)
	}
	for _, f := range o.Found {
		if f.After == nil || *f.After > f.Within.Seconds() {
			say("%s after %s", f.Cause, seconds(f.After))
		}
	}
	for _, other := range o.Others {
		say("found too: %s", other)
	}
	if o.Blamed.Of > 0 && float64(o.Blamed.Right) < blameGoal*float64(o.Blamed.Of) {
		say("%d of %d connections blamed rightly: %v", o.Blamed.Right, o.Blamed.Of, o.Blamed.Wrong)
	}
	for _, r := range o.Classes {
		// One that serves stale does not answer at all now and then.
		if r.Got != r.Want && (r.Kind != KindStale || r.FoundAfter == nil) {
			say("%s is %s and was said to be %s", r.Resolver, r.Want, r.Got)
		}
		if r.Accused {
			say("%s was accused", r.Resolver)
		}
	}
	if c.Wrong.IsValid() && o.WrongFound == nil {
		say("the wrong application was not found")
	}
	if o.SettledEarly > 0 {
		say("settled %d times while more than 1 %% was on old", o.SettledEarly)
	}
	if o.SafeEarly > 0 {
		say("the old address may go, it was said %d times while somebody was connected to it", o.SafeEarly)
	}
	if c.Settles && o.Settled == nil {
		say("never settled")
	}
	if c.Never && (o.Settled != nil || o.Safe != nil) {
		say("settled %s and safe %s after the switch, which nobody can know", seconds(o.Settled), seconds(o.Safe))
	}
	for _, words := range o.Unsaid {
		say("nobody said %q", words)
	}
	if m := o.Merged; m != nil && (m.Agents != len(c.Agents) || m.Off != nil && *m.Off > shareGoal || m.Verdict == drain.Settled && !c.Settles) {
		say("merged: %+v", *m)
	}
	if m := o.Merged; m != nil && (m.Silent == drain.Settled || m.Sure || !m.Named || m.Exit != 3) {
		say("merged without one: %+v", *m)
	}
	if m := o.Missing; m != nil && (m.N == 0 || m.MaxError > missingGoal) {
		say("missing off by %.1f points in %d answers", m.MaxError, m.N)
	}
	if c.Article && o.Green.From == nil {
		say("people's own checks were never green")
	}
	if x := o.Closed; x != nil && (!x.Same || x.Closed == 0 || x.Aborted != x.Closed || x.Others > 0 || x.Back != x.Aborted) {
		say("closing: %+v", *x)
	}
	return missed
}

// Row is the outcome as a line of the table, below Head.
func (o Outcome) Row() string {
	var found, others []string
	for _, f := range o.Found {
		from := "flip"
		if f.AfterTTL {
			from = "TTL"
		}
		found = append(found, fmt.Sprintf("%s %s+%s", f.Cause, from, seconds(f.After)))
	}
	right := 0
	for _, c := range o.Classes {
		if c.Got == c.Want {
			right++
		}
	}
	blamed := "-"
	if o.Blamed.Of > 0 {
		blamed = fmt.Sprintf("%.1f %%", 100*float64(o.Blamed.Right)/float64(o.Blamed.Of))
	}
	for _, c := range o.CPU {
		others = append(others, fmt.Sprintf("%.1f", 100*c.Share))
	}
	green := "never"
	if o.Green.From != nil {
		green = fmt.Sprintf("+%.0f s: %.0f %% on old, %d failures after", *o.Green.From, 100*o.Green.OldShare, o.Green.Failures)
	}
	return fmt.Sprintf("%-9s %7s %5.1f %5.1f %5.1f %8s %6d/%-3d %8s %6.1f  %-44s %s  CPU %s %%",
		o.Cell, seconds(o.Shown), o.Share.P95, o.Share.Max, o.Share.MaxInSecond, blamed, right, len(o.Classes), seconds(o.Settled), 100*o.OldAtEnd,
		strings.Join(found, ", "), green, strings.Join(others, "/"))
}

// Head is the table's.
func Head() string {
	return fmt.Sprintf("%-9s %7s %5s %5s %5s %8s %10s %8s %6s  %-44s %s", "cell", "shown", "p95", "max", "in 1s", "blamed", "classes", "settled", "old %", "found", "checks green")
}

// Report is all that is worth a line.
func (o Outcome) Report(c Cell) []string {
	lines := []string{o.Row()}
	for _, r := range o.Classes {
		lines = append(lines, fmt.Sprintf("  %-16s %-13s want %-13s got %-13s %s after the TTL", r.Resolver, r.Kind, r.Want, r.Got, seconds(r.FoundAfter)))
	}
	for _, f := range o.Found {
		lines = append(lines, fmt.Sprintf("  %s: incident %s, first named as somebody's %s", f.Cause, seconds(f.After), seconds(f.Named)))
	}
	if o.Blamed.Unnamed > 0 {
		lines = append(lines, fmt.Sprintf("  of %d connections on the old address the program was not known of %d", o.Blamed.Of, o.Blamed.Unnamed))
	}
	if len(o.Blamed.Wrong) > 0 {
		lines = append(lines, fmt.Sprintf("  blamed wrongly: %v", o.Blamed.Wrong))
	}
	if o.Connecting.N > 0 {
		lines = append(lines, fmt.Sprintf("  SYN_SENT, most in 5 s: off by %.0f (p95) and %.0f connections at most", o.Connecting.P95, o.Connecting.Max))
	}
	if m := o.Missing; m != nil {
		lines = append(lines, fmt.Sprintf("  missing: %.1f %% in truth, %.1f %% said; off by %.1f points at most in %d answers from 60 s on", 100*m.Truth, 100*m.Said, m.MaxError, m.N))
	}
	if m := o.Merged; m != nil {
		lines = append(lines, fmt.Sprintf("  merged: %s of %d agents, off by %s points; one silent: %s, named %t, exit %d", m.Verdict, m.Agents, points(m.Off), m.Silent, m.Named, m.Exit))
	}
	if x := o.Closed; x != nil {
		lines = append(lines, fmt.Sprintf("  closing: %+v", *x))
	}
	if c.Wrong.IsValid() {
		lines = append(lines, "  wrong application found "+seconds(o.WrongFound)+" after the switch")
	}
	for _, e := range o.Elsewhere {
		lines = append(lines, "  elsewhere: "+e)
	}
	for _, m := range o.Missed(c) {
		lines = append(lines, "  MISSED: "+m)
	}
	return slices.Clip(lines)
}

func points(p *float64) string {
	if p == nil {
		return "no"
	}
	return fmt.Sprintf("%.1f", *p)
}

func seconds(s *float64) string {
	if s == nil {
		return "never"
	}
	return fmt.Sprintf("%.1f s", *s)
}

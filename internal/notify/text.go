package notify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
)

// Text is a notice for people: one line, and the rest.
type Text struct{ Title, Body string }

const (
	// mostDetailed is how many incidents of a notice are told at length in a
	// text, mostListed how many in a line.
	mostDetailed = 3
	mostListed   = 15
	// mostEvidence is how many numbers of an incident are told.
	mostEvidence = 4
)

// Words is the notice as text, as it is sent where no template says otherwise.
func (n *Notice) Words() Text {
	var b strings.Builder
	if n.Reason == Test {
		b.WriteString("This is a test of the channel " + n.Channel + "; nothing is wrong.\n\n")
	}
	if n.Says != "" {
		b.WriteString(n.Says + "\n\n")
	}
	switch count := len(n.Incidents); {
	case count <= mostDetailed:
		for k := range n.Incidents {
			if k > 0 {
				b.WriteString("\n")
			}
			n.Incidents[k].detail(&b, n)
		}
	default:
		for k := range n.Incidents[:min(count, mostListed)] {
			n.Incidents[k].line(&b)
		}
		if count > mostListed {
			fmt.Fprintf(&b, "and %d more\n", count-mostListed)
		}
	}
	for _, m := range n.More {
		fmt.Fprintf(&b, "and %d × %s, %s, %s\n", m.Count, plainWords(m.Cause), m.Severity, m.Step)
	}
	if n.Link != "" && len(n.Incidents) != 1 {
		b.WriteString("All of them: " + n.Link + "\n")
	}
	return Text{n.title(), strings.TrimRight(b.String(), "\n")}
}

// title is "[critical] web03: workers full, service/web".
func (n *Notice) title() string {
	mark := n.Severity
	if n.Over() {
		mark = "resolved"
	}
	switch n.Reason {
	case Escalation:
		mark = "escalated, " + mark
	case FollowUp:
		mark = "follow-up, " + mark
	case Test:
		mark = "test"
	case News:
	}
	what := "no incident"
	switch total := n.count(); {
	case total > 1:
		what = fmt.Sprintf("%d incidents: %s", total, strings.Join(n.causes(), ", "))
	case len(n.Incidents) == 1:
		i := &n.Incidents[0]
		what = i.cause() + ", " + i.Scope
		if i.Step == Resolved && i.End != "" && i.End != judge.Recovered.String() {
			what += " (" + plainWords(i.End) + ")"
		}
	}
	return fmt.Sprintf("[%s] %s: %s", mark, n.Host, what)
}

func (n *Notice) count() int {
	total := len(n.Incidents)
	for _, m := range n.More {
		total += m.Count
	}
	return total
}

// causes are "12 × path lost", the most frequent first.
func (n *Notice) causes() []string {
	counts := map[string]int{}
	for k := range n.Incidents {
		counts[n.Incidents[k].cause()]++
	}
	for _, m := range n.More {
		counts[plainWords(m.Cause)] += m.Count
	}
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	const most = 4
	var out []string
	for k, name := range names {
		if k == most && len(names) > most+1 {
			return append(out, fmt.Sprintf("%d other causes", len(names)-most))
		}
		if counts[name] > 1 {
			name = fmt.Sprintf("%d × %s", counts[name], name)
		}
		out = append(out, name)
	}
	return out
}

func plainWords(name string) string { return strings.ReplaceAll(name, "_", " ") }

// cause is the cause in words, or the user's rule.
func (i *Item) cause() string {
	if i.Rule != "" {
		return i.Rule
	}
	return plainWords(i.Cause)
}

// line tells of an incident in one line.
func (i *Item) line(b *strings.Builder) {
	mark := i.Severity
	switch i.Step {
	case Resolved:
		mark = "over"
	case Flapping:
		mark += ", flapping"
	case Opened, Worse, Lasting:
	}
	fmt.Fprintf(b, "%s: %s, %s. %s\n", mark, i.Scope, i.cause(), i.Sentence)
}

// detail tells of an incident: what, where, since when, how sure, who is hurt,
// why, and what to do first.
func (i *Item) detail(b *strings.Builder, n *Notice) {
	if i.ResolvedAt != nil {
		b.WriteString("It is over. What it was: ")
	}
	b.WriteString(i.Sentence + "\n")
	if i.Note != "" {
		b.WriteString("Note: " + i.Note + "\n")
	}
	fmt.Fprintf(b, "Where: %s on %s%s\n", i.Scope, n.Host, labelWords(n.Labels))
	until := ""
	if i.ResolvedAt != nil {
		until = fmt.Sprintf(", until %s (%s): %s", clock(*i.ResolvedAt), i.ResolvedAt.Sub(i.OpenedAt).Round(time.Second), endWords(i.End))
	}
	fmt.Fprintf(b, "Since: %s%s\n", clock(i.OpenedAt), until)
	fmt.Fprintf(b, "How sure: %s\n", strings.Join(slices.DeleteFunc([]string{i.Certainty, i.Basis}, func(s string) bool { return s == "" }), ", "))
	if i.Hurt != "" && i.ResolvedAt == nil {
		b.WriteString("Who is hurt: " + i.Hurt + "\n")
	}
	if i.BlindSince != nil {
		fmt.Fprintf(b, "Not seen since %s: nothing is known of it since.\n", clock(*i.BlindSince))
	}
	if i.Trigger != "" {
		b.WriteString("Because: " + i.Trigger + "\n")
	}
	for k := range i.Evidence[:min(len(i.Evidence), mostEvidence)] {
		b.WriteString("  " + i.Evidence[k].words() + "\n")
	}
	if i.PatternEvidence != "" {
		fmt.Fprintf(b, "Pattern: %s; %s\n", plainWords(i.Pattern), i.PatternEvidence)
	}
	for _, p := range i.Prefixes {
		fmt.Fprintf(b, "  %s holds %d workers, %d of them slowly\n", p.Prefix, p.Held, p.Slow)
	}
	if i.ResolvedAt == nil {
		steps := slices.DeleteFunc(append([]string{i.Response}, i.Advice...), func(s string) bool { return s == "" })
		if len(steps) > 0 {
			b.WriteString("Do first:\n")
		}
		for _, s := range steps {
			b.WriteString("  - " + s + "\n")
		}
	}
	if i.AcknowledgedBy != "" {
		b.WriteString("Taken by: " + i.AcknowledgedBy + "\n")
	}
	if i.Link != "" {
		b.WriteString("More: " + i.Link + "\n")
	}
}

func endWords(end string) string {
	if end == judge.AgentStopped.String() {
		return "the agent stopped, whether it recovered is not known"
	}
	return plainWords(end)
}

func labelWords(labels map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if labels[k] != "" {
			out = append(out, k+"="+labels[k])
		}
	}
	if out == nil {
		return ""
	}
	return " (" + strings.Join(out, ", ") + ")"
}

// clock is a time as people read it, in UTC: hosts and readers are in more than
// one zone.
func clock(t time.Time) string { return t.UTC().Format("2 Jan 2006 15:04:05 UTC") }

package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/foreshock/foreshock/internal/drain"
	"github.com/foreshock/foreshock/internal/report"
)

// mostRows is how many culprits, resolvers and probes are printed; the JSON has all.
const mostRows = 20

// drainText is all that is known of one switch, for a terminal.
func drainText(g *gathered) string {
	t := &page{}
	s := &g.Status
	t.line("%s", s.Sentence)
	if s.PowerOff != "" {
		t.line("%s%s", strings.ToUpper(s.PowerOff[:1]), s.PowerOff[1:])
	}
	for i := range g.Reports {
		r := &g.Reports[i]
		words := switchWords(r)
		if r.Stopped {
			words += ", ended: nothing is looked at any more"
		}
		t.line("%s: %s", r.Agent, words)
	}
	t.list("Not settled, as", s.Why)
	t.counts(&s.Now)
	t.shares(s)
	t.culprits(s)
	t.advice(s)
	t.resolvers(s)
	t.probes(s)
	t.list("Not seen", s.Limits)
	return t.b.String()
}

// page is text while it is put together. What comes from agents is made plain
// where it is written.
type page struct{ b strings.Builder }

func (t *page) line(format string, args ...any) {
	t.b.WriteString(report.Plain(fmt.Sprintf(format, args...)) + "\n")
}

func (t *page) list(title string, items []string) {
	if len(items) == 0 {
		return
	}
	t.line("")
	t.line("%s", title)
	for _, x := range items {
		t.line("- %s", x)
	}
}

// table prints rows below a title, the first as their head; nothing where there
// are no others. More are those that are left out.
func (t *page) table(title string, left int, rows [][]string, more string) {
	if len(rows) < 2 {
		return
	}
	t.line("")
	if title != "" {
		t.line("%s", title)
	}
	for _, row := range rows {
		for c := range row {
			row[c] = report.Plain(row[c])
		}
	}
	_ = writeColumns(&t.b, left, rows) // a Builder takes everything
	if more != "" {
		t.line("%s", more)
	}
}

// counts is the table of the connections. An end of which nothing is seen is left
// out.
func (t *page) counts(now *drain.Point) {
	rows := [][]string{{"CONNECTIONS", "ALL", "WORKING", "RESENDING", "CONNECTING", "NEW/S", "MOVING", "BYTES/S"}}
	for _, end := range []struct {
		name  string
		sides drain.Sides
	}{{"asked here", now.Asked}, {"served here", now.Served}} {
		if end.sides == (drain.Sides{}) {
			continue
		}
		for _, side := range []struct {
			name string
			of   drain.Count
		}{{"old", end.sides.Old}, {"new", end.sides.New}} {
			c := side.of
			rows = append(rows, []string{
				end.name + ", " + side.name, thousands(c.Connections), thousands(max(0, c.Established-c.Retransmitting)), thousands(c.Retransmitting), thousands(c.Connecting),
				significant(c.NewPerSecond), thousands(c.Moving), significant(c.BytesPerSecond),
			})
		}
	}
	if len(rows) == 1 {
		t.line("")
		t.line("No connection to any of the addresses is seen.")
		return
	}
	t.table("", 1, rows, "")
}

// shares are the shares on the old addresses, how they fell, and what is missing.
func (t *page) shares(s *drain.Status) {
	if s.OldShare != nil || s.OldNewShare != nil {
		t.line("")
		t.line("On old: %s of the established, %s of the new connections%s", percent(s.OldShare), percent(s.OldNewShare), seenFrom(s.Basis))
	}
	if bars := curve(s.Curve, s.Basis, curveColumns); bars != "" {
		t.line("0s %s %s   of 100 %%", bars, lasting(s.SinceSeconds))
	}
	var times []string
	for _, x := range []struct {
		words string
		at    *float64
	}{{"half-life %s", s.HalfLifeSeconds}, {"95 %% left after %s", s.Left95Seconds}, {"99 %% after %s", s.Left99Seconds}} {
		if x.at != nil {
			times = append(times, fmt.Sprintf(x.words, lasting(*x.at)))
		}
	}
	if s.EndsInSeconds != nil && s.Verdict != drain.Settled {
		ends := "less than 1 % is left in " + lasting(*s.EndsInSeconds)
		if s.EndsErrorSeconds != nil {
			ends += " ± " + lasting(*s.EndsErrorSeconds)
		}
		times = append(times, ends)
	}
	if len(times) > 0 {
		t.line("%s", strings.Join(times, ", "))
	}
	if s.MissingSentence != "" {
		t.line("Arrivals: %s", s.MissingSentence)
	}
}

func seenFrom(basis string) string {
	switch basis {
	case "asked":
		return ", by those who began them"
	case "served":
		return ", by those who serve them"
	}
	return ""
}

// percent is a share in words: "41.2 %", "-" where it is not known. What is not
// nothing is not shown as nothing, and what is not all not as all.
func percent(share *float64) string {
	if share == nil || math.IsNaN(*share) {
		return "-"
	}
	v := math.Round(*share*1000) / 10
	switch {
	case v == 0 && *share > 0:
		return "< 0.1 %"
	case v == 100 && *share < 1:
		return "> 99.9 %"
	}
	return fmt.Sprintf("%g %%", v)
}

// curveColumns is how wide a curve is drawn.
const curveColumns = 60

// curve draws the share on the old addresses from the switch until now: a column
// is as high as the highest share in its time, and blank before the first is known.
// It is empty without a point.
func curve(points []drain.Point, basis string, columns int) string {
	last := 0.0
	for i := range points {
		last = max(last, points[i].SinceSeconds)
	}
	if last <= 0 {
		return ""
	}
	high := slices.Repeat([]float64{-1}, columns)
	known := false
	for i := range points {
		p := &points[i]
		sides := p.Asked
		if basis == "served" {
			sides = p.Served
		}
		all := sides.Old.Established + sides.New.Established
		if p.SinceSeconds < 0 || all == 0 {
			continue
		}
		at := min(columns-1, int(p.SinceSeconds/last*float64(columns)))
		high[at] = max(high[at], float64(sides.Old.Established)/float64(all))
		known = true
	}
	if !known {
		return ""
	}
	// Points are further apart than columns where there are few: each holds until
	// the next.
	var b strings.Builder
	held := -1.0
	for _, share := range high {
		if share >= 0 {
			held = share
		}
		b.WriteRune(bar(held))
	}
	return b.String()
}

// bar is a share as a block of so many eighths; one that is not nothing has one, and
// nothing is a dot.
func bar(share float64) rune {
	if share < 0 {
		return ' '
	}
	return []rune("·▁▂▃▄▅▆▇█")[int(math.Ceil(min(share, 1)*8))]
}

// culprit names one.
func culprit(l *drain.Laggard) string {
	if l.Prefix != "" || l.ASN != 0 {
		words := l.Prefix
		if l.ASN != 0 {
			words = strings.TrimSpace(fmt.Sprintf("%s AS%d %s", words, l.ASN, l.Network))
		}
		if l.Service != "" {
			words += " at " + l.Service
		}
		return words
	}
	words := cmp.Or(l.Process, l.Unit, l.Container, l.Service, "a process that cannot be named")
	if len(l.PIDs) > 0 {
		words += fmt.Sprintf(" (%s)", strings.Trim(strings.Join(strings.Fields(fmt.Sprint(l.PIDs)), ", "), "[]"))
	}
	if place := cmp.Or(l.Container, l.Unit); place != "" && place != words {
		words += " in " + place
	}
	if l.Namespace != "" {
		words += " @" + l.Namespace
	}
	return words
}

// causeOf is a culprit's cause, and its place where it has one.
func causeOf(l *drain.Laggard) string {
	words := cmp.Or(spaced(l.Cause), "-")
	if l.Place != "" {
		words += ", " + l.Place
	}
	return words
}

func (t *page) culprits(s *drain.Status) {
	rows := [][]string{{"AGENT", "ON THE OLD ADDRESS", "CAUSE", "ADDRESS", "CONNECTIONS", "FAILING", "MOVING", "NEW SINCE TTL", "OLDEST"}}
	over := s.LaggardsOver
	for i := range s.Laggards {
		l := &s.Laggards[i]
		if i >= mostRows {
			over += l.Connections
			continue
		}
		rows = append(rows, []string{
			l.Agent, culprit(l), causeOf(l), l.Old.String(), thousands(l.Connections), thousands(l.Failing), thousands(l.Moving), thousands(l.NewAfterTTL), lasting(l.OldestSeconds),
		})
	}
	more := ""
	if over > 0 {
		more = fmt.Sprintf("and %s of others", count(over, "connection", "connections"))
	}
	t.byAgent(s, 4, rows, more)
}

// byAgent is a table whose first column says which agent reports a row: it is left
// out where there is one alone.
func (t *page) byAgent(s *drain.Status, left int, rows [][]string, more string) {
	if len(s.Agents) < 2 {
		left--
		for i := range rows {
			rows[i] = rows[i][1:]
		}
	}
	t.table("", left, rows, more)
}

// advice is what to do: about all, then about the culprits, the same words once.
func (t *page) advice(s *drain.Status) {
	items := slices.Clone(s.Advice)
	var words []string // in the order in which they come first
	whose := map[string][]string{}
	for i := range s.Laggards[:min(len(s.Laggards), mostRows)] {
		l := &s.Laggards[i]
		if l.Advice == "" {
			continue
		}
		if whose[l.Advice] == nil {
			words = append(words, l.Advice)
		}
		if name := culprit(l); !slices.Contains(whose[l.Advice], name) {
			whose[l.Advice] = append(whose[l.Advice], name)
		}
	}
	for _, w := range words {
		items = append(items, strings.Join(whose[w], ", ")+": "+w)
	}
	t.list("What to do", items)
}

func (t *page) resolvers(s *drain.Status) {
	rows := [][]string{{"AGENT", "RESOLVER", "ROLE", "SAYS", "ADDRESSES", "TTL LEFT", "NEW AFTER", "WHY"}}
	for i := range s.Resolvers[:min(len(s.Resolvers), mostRows)] {
		r := &s.Resolvers[i]
		name := r.Label
		if r.Server != "" && !strings.Contains(name, r.Server) {
			name = strings.TrimSpace(name + " " + r.Server)
		}
		says, left, after := "-", "-", "-"
		if len(r.Addresses) > 0 {
			says, left = join(r.Addresses), lasting(r.TTLSeconds)
		}
		if r.NewAfterSeconds != nil {
			after = lasting(*r.NewAfterSeconds)
		}
		rows = append(rows, []string{r.Agent, name, r.Role, spaced(string(r.Class)), says, left, after, r.Why})
	}
	t.byAgent(s, len(rows[0]), rows, andMore(len(s.Resolvers)))
	if s.Agreement != nil && len(rows) > 1 {
		t.line("%s of the resolvers answer with new addresses alone", percent(s.Agreement))
	}
}

func (t *page) probes(s *drain.Status) {
	rows := [][]string{{"AGENT", "TRIED AS A USER", "SIDE", "WENT", "FOUND"}}
	for i := range s.Probes[:min(len(s.Probes), mostRows)] {
		p := &s.Probes[i]
		went := "well"
		switch {
		case p.Wrong:
			went = "another application"
		case p.Failed != "":
			went = "failed at " + p.Failed
		}
		rows = append(rows, []string{p.Agent, p.Address.String(), p.Side, went, p.Words})
	}
	t.byAgent(s, len(rows[0]), rows, andMore(len(s.Probes)))
}

// andMore says how many of so many rows are left out.
func andMore(rows int) string {
	if rows <= mostRows {
		return ""
	}
	return fmt.Sprintf("and %d more", rows-mostRows)
}

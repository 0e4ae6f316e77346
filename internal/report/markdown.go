package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// markdown gathers a report as Markdown.
type markdown struct{ strings.Builder }

// Markdown writes the report as Markdown, as GitHub and GitLab read it. Its graphs
// are lines of text: most readers take pictures out.
func (r *Report) Markdown(w io.Writer) error {
	var m markdown
	m.line("# " + escaped(r.Title))
	if r.Host != "" {
		m.line("Host " + escaped(r.Host) + ". Times are UTC.")
	} else {
		m.line("Times are UTC.")
	}
	var rows [][]string
	for _, f := range r.Facts() {
		rows = append(rows, []string{"**" + f.Name + "**", escaped(f.Says)})
	}
	m.table([]string{"", ""}, rows)
	m.section("Lead time")
	for _, l := range r.Lead {
		m.item("- ", l.Says)
	}
	if len(r.Lead) == 0 {
		m.line("None to tell: nothing foretold it, and no balancer called it down.")
	}
	m.WriteString("\n")
	r.happened(&m)
	r.numbers(&m)
	m.section("What to do")
	for k, a := range r.Advice() {
		m.item(fmt.Sprintf("%d. ", k+1), a)
	}
	if len(r.Advice()) == 0 {
		m.line("No advice was kept.")
	}
	m.WriteString("\n")
	r.beside(&m)
	m.section("What could not be seen")
	for _, says := range r.NotSeen {
		m.item("- ", says)
	}
	if len(r.NotSeen) == 0 {
		m.line("Nothing is known to be missing.")
	}
	by := ""
	if r.MadeBy != "" {
		by = " by " + escaped(r.MadeBy)
	}
	m.WriteString("\n")
	m.line("Written " + moment(r.MadeAt) + by + ".")
	if _, err := io.WriteString(w, strings.TrimSuffix(m.String(), "\n")); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// happened is the timeline.
func (r *Report) happened(m *markdown) {
	m.section("What happened")
	var rows [][]string
	for _, e := range shortened(r.Timeline) {
		what := e.What
		if e.Action != "" {
			what = fmt.Sprintf("%s, %s: %s", spaced(e.Action), spaced(e.State), what)
		}
		rows = append(rows, []string{after(e.Seconds), moment(e.At), escaped(what)})
	}
	m.table([]string{">After the suspicion", "At", "What"}, rows)
}

// numbers are the evidence, and what the signals were.
func (r *Report) numbers(m *markdown) {
	m.section("Evidence")
	var rows [][]string
	for _, e := range r.Evidence() {
		rows = append(rows, []string{code(e.Signal), escaped(e.Value), e.Threshold, escaped(e.Origin)})
	}
	if len(rows) == 0 {
		m.line("None was kept.")
	} else {
		m.table([]string{"Signal", ">Value", ">Threshold", "Where that comes from"}, rows)
	}
	rows = nil
	for _, g := range r.Graphs() {
		threshold := "–"
		if g.ThresholdLabel != "" {
			threshold = g.ThresholdLabel
		}
		rows = append(rows, []string{code(g.Signal), g.Least, g.Then, g.Greatest, threshold, "`" + g.Sparkline + "`"})
	}
	if len(rows) > 0 {
		m.section("What the signals were")
		m.line(fmt.Sprintf("The greatest value of each part of %s to %s; a dot is a time without a value.", moment(r.Series.From), moment(r.Series.To)))
		m.table([]string{"Signal", ">Least", ">When it opened", ">Greatest", ">Threshold", "Course"}, rows)
	}
}

// beside is what else belongs to the incident.
func (r *Report) beside(m *markdown) {
	var rows [][]string
	part := func(title string, head ...string) {
		if len(rows) > 0 {
			m.section(title)
			m.table(head, rows)
		}
		rows = nil
	}
	for _, a := range r.Actions() {
		what := escaped(a.What)
		if d := detail(a); d != "" {
			what += " " + code(d)
		}
		rows = append(rows, []string{moment(a.At), escaped(spaced(a.Kind)), escaped(spaced(a.State)), what})
	}
	part("What was done", "At", "Action", "State", "What")
	for _, c := range r.Considered() {
		rows = append(rows, []string{escaped(spaced(c.Cause)), escaped(c.Why)})
	}
	part("What else was considered", "Cause", "Why not")
	for _, p := range r.Prefixes() {
		rows = append(rows, []string{code(p.Prefix), strconv.Itoa(int(p.Held)), strconv.Itoa(int(p.Slow))})
	}
	part("Clients that hold most workers", "Prefix", ">Workers held", ">Of them slow")
	for _, s := range r.Examples() {
		rows = append(rows, []string{
			code(s.Local), code(s.Remote), escaped(spaced(s.State)), escaped(spaced(s.Timer)),
			strconv.Itoa(int(s.Retransmits)), strconv.Itoa(int(s.ReceiveQueueBytes)), strconv.Itoa(int(s.SendQueueBytes)),
		})
	}
	part("Sockets as examples", "Local", "Remote", "State", "Timer", ">Sent again", ">Receive queue", ">Send queue")
}

func (m *markdown) line(text string)       { m.WriteString(text + "\n\n") }
func (m *markdown) section(title string)   { m.line("## " + title) }
func (m *markdown) item(mark, text string) { m.WriteString(mark + escaped(text) + "\n") }
func (m *markdown) row(cells []string)     { m.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
func (m *markdown) table(head []string, rows [][]string) {
	names, marks := make([]string, len(head)), make([]string, len(head))
	for i, h := range head {
		name, right := strings.CutPrefix(h, ">")
		names[i], marks[i] = name, "---"
		if right {
			marks[i] = "---:"
		}
	}
	m.row(names)
	m.row(marks)
	for _, cells := range rows {
		m.row(cells)
	}
	m.WriteString("\n")
}

// escaped is a text that Markdown shows as it is, on one line, also in a table: no
// mark of it can begin anything. An underscore within a word begins nothing.
func escaped(text string) string {
	runes := []rune(Plain(text))
	wordy := func(i int) bool {
		return i >= 0 && i < len(runes) && (unicode.IsLetter(runes[i]) || unicode.IsDigit(runes[i]))
	}
	var out strings.Builder
	for i, r := range runes {
		switch {
		case r == '&':
			out.WriteString("&amp;")
		case r == '<':
			out.WriteString("&lt;")
		case r == '>':
			out.WriteString("&gt;")
		case r == '_' && wordy(i-1) && wordy(i+1):
			out.WriteRune(r)
		case r == ':' && i+2 < len(runes) && runes[i+1] == '/' && runes[i+2] == '/':
			out.WriteString("&#58;") // no link comes of a name
		case r == '@':
			out.WriteString("&#64;") // and nobody is called
		case strings.ContainsRune("\\`*_[]|~$#", r):
			out.WriteString("\\" + string(r))
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

// code is a text as code, where that can hold it.
func code(text string) string {
	text = Plain(text)
	if text == "" || strings.ContainsAny(text, "`|\\") {
		return escaped(text)
	}
	return "`" + text + "`"
}

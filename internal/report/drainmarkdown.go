package report

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/foreshock/foreshock/internal/drain"
)

// Section is a part of a drain's report that is a table.
type Section struct {
	Title string
	// Head are the columns' names; one that begins with ">" has numbers.
	Head []string
	Rows [][]string
	// None says so where there are no rows.
	None string
}

// Right reports whether a column has numbers.
func (s Section) Right(column int) bool { return strings.HasPrefix(s.Head[column], ">") }

// Name is a column's name.
func (s Section) Name(column int) string { return strings.TrimPrefix(s.Head[column], ">") }

// MinuteTable is the drain minute by minute.
func (d *Drain) MinuteTable() Section {
	return Section{Title: "Minute by minute", Head: []string{"After the switch", ">Old, of all", ">Old, of new ones", ">On old", ">On new", ">Failing", ">Missing"}, Rows: d.Rows(), None: "No agent has a curve yet."}
}

// Tables are those of who and what is still on the old addresses.
func (d *Drain) Tables() []Section {
	return []Section{d.laggards(), d.resolvers(), d.probes()}
}

func (d *Drain) laggards() Section {
	s := Section{Title: "Who is on the old addresses", Head: []string{"Who", ">Connections", "Of these", "Why", "What to do"}, None: "Nobody was seen there."}
	for i := range d.Status.Laggards {
		l := &d.Status.Laggards[i]
		cause := strings.TrimSuffix(spaced(l.Cause)+": "+l.Place, ": ")
		s.Rows = append(s.Rows, []string{
			strings.TrimSuffix(who(l)+"; seen by "+l.Agent, "; seen by "), strconv.Itoa(l.Connections),
			fmt.Sprintf("%d fail, %d moved bytes within a minute, %d begun late; the oldest %s", l.Failing, l.Moving, l.NewAfterTTL, seconds(l.OldestSeconds)), cmp.Or(cause, "–"), l.Advice,
		})
	}
	if n := d.Status.LaggardsOver; n > 0 {
		s.Rows = append(s.Rows, []string{"others", strconv.Itoa(n), "", "", ""})
	}
	return s
}

// who names a laggard by all that is known of it.
func who(l *drain.Laggard) string {
	var parts []string
	add := func(format, text string) {
		if text != "" {
			parts = append(parts, fmt.Sprintf(format, text))
		}
	}
	add("%s", l.Process)
	if len(l.PIDs) > 0 {
		parts = append(parts, "pid "+strings.Trim(fmt.Sprint(l.PIDs), "[]"))
	}
	add("%s", l.Unit)
	add("container %s", l.Container)
	add("namespace %s", l.Namespace)
	add("%s", l.Prefix)
	if l.ASN != 0 {
		parts = append(parts, fmt.Sprintf("AS%d", l.ASN))
	}
	add("%s", l.Network)
	add("at %s", l.Service)
	if len(parts) == 0 {
		parts = []string{"unknown"}
	}
	if l.Old.IsValid() {
		parts = append(parts, "on "+l.Old.String())
	}
	return strings.Join(parts, ", ")
}

func (d *Drain) resolvers() Section {
	s := Section{Title: "Resolvers", Head: []string{"Resolver", "Answer", "Addresses", ">TTL left", ">New after"}, None: "None was asked."}
	for i := range d.Status.Resolvers {
		r := &d.Status.Resolvers[i]
		name := strings.TrimSpace(r.Label + " " + r.Server)
		if r.Label == r.Server {
			name = r.Server
		}
		name += ", " + r.Role
		if len(d.Status.Agents) > 1 {
			name += ", asked by " + r.Agent
		}
		answer := []string{spaced(string(r.Class))}
		for _, more := range append([]string{r.Why}, r.Extended...) {
			if more != "" {
				answer = append(answer, more)
			}
		}
		if r.Serial != 0 {
			answer = append(answer, fmt.Sprintf("serial %d", r.Serial))
		}
		after := "–"
		if r.NewAfterSeconds != nil {
			after = seconds(*r.NewAfterSeconds)
		}
		s.Rows = append(s.Rows, []string{name, strings.Join(answer, "; "), told(r.Addresses), seconds(r.TTLSeconds), after})
	}
	return s
}

func (d *Drain) probes() Section {
	s := Section{Title: "What answers at the addresses", Head: []string{"Address", "Side", "Probed by", "Found", ">Status", ">Ago"}, None: "None was connected to."}
	for i := range d.Status.Probes {
		p := &d.Status.Probes[i]
		found := "as expected"
		switch {
		case p.Wrong:
			found = "another application"
		case p.Failed != "":
			found = "fails: " + p.Failed
		}
		if p.Words != "" {
			found += "; " + p.Words
		}
		status := "–"
		if p.Status != 0 {
			status = strconv.Itoa(p.Status)
		}
		s.Rows = append(s.Rows, []string{p.Address.String(), p.Side, p.Agent, found, status, seconds(p.AgoSeconds)})
	}
	return s
}

// Markdown writes the report as Markdown; its graphs are lines of text.
func (d *Drain) Markdown(w io.Writer) error {
	var m markdown
	m.line("# " + escaped(d.Title))
	m.line("Times are UTC, and since the switch.")
	var rows [][]string
	for _, f := range d.Facts() {
		rows = append(rows, []string{"**" + f.Name + "**", escaped(f.Says)})
	}
	m.table([]string{"", ""}, rows)
	list := func(title, mark string, all []string) {
		if len(all) == 0 {
			return
		}
		m.section(title)
		for i, says := range all {
			if mark == "1." {
				m.item(fmt.Sprintf("%d. ", i+1), says)
			} else {
				m.item("- ", says)
			}
		}
		m.WriteString("\n")
	}
	list("Why it is not settled", "-", d.Status.Why)
	list("What to do", "1.", d.Status.Advice)
	list("What users lost", "-", d.Lost.Says())
	m.sectionTable(d.MinuteTable())
	rows = nil
	for _, g := range d.Graphs() {
		rows = append(rows, []string{code(g.Signal), g.Least, g.Then, g.Greatest, "`" + g.Sparkline + "`"})
	}
	if len(rows) > 0 {
		m.section("How it went")
		m.line("The greatest value of each part of the time; a dot is a time without a value.")
		m.table([]string{"Signal", ">Least", ">At the switch", ">Greatest", "Course"}, rows)
	}
	for _, s := range d.Tables() {
		m.sectionTable(s)
	}
	list("What could not be seen", "-", d.NotSeen)
	by := ""
	if d.MadeBy != "" {
		by = " by " + escaped(d.MadeBy)
	}
	m.line("Written " + moment(d.MadeAt) + by + ".")
	if _, err := io.WriteString(w, strings.TrimSuffix(m.String(), "\n")); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// sectionTable is a part that is a table, each text escaped.
func (m *markdown) sectionTable(s Section) {
	m.section(s.Title)
	if len(s.Rows) == 0 {
		m.line(s.None)
		return
	}
	rows := make([][]string, len(s.Rows))
	for i, cells := range s.Rows {
		for _, c := range cells {
			rows[i] = append(rows[i], escaped(c))
		}
	}
	m.table(s.Head, rows)
}

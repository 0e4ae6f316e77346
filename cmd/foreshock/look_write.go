package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// labels is how many columns a group's name takes.
func (c *counted) labels() int {
	if c.apart() {
		return 2
	}
	return 1
}

// apart reports whether sockets may belong to no group: they come last, as the
// rest.
func (c *counted) apart() bool {
	return c.options.by == "service" || c.options.by == "backend" || c.options.by == "region"
}

// isRest reports whether k is the group of what belongs to no other.
func (c *counted) isRest(k key) bool {
	switch c.options.by {
	case "service":
		return k.service == scope.None
	case "backend":
		return k.backend == scope.None
	}
	return c.options.by == "region" && k.region < 0
}

// label is a group's name for a person.
func (c *counted) label(k key) []string {
	switch c.options.by {
	case "service":
		switch {
		case k.service != scope.None:
			s := &c.services[k.service]
			return []string{s.Name, s.Describe()}
		case k.remote.IsValid():
			return []string{"(rest)", k.remote.String()}
		}
		return []string{"(rest)", "of no service"}
	case "backend":
		if k.backend == scope.None {
			return []string{"(rest)", "of no backend"}
		}
		b := &c.backends[k.backend]
		if b.Namespace != "" {
			return []string{b.Name + "@" + b.Namespace, who(b)}
		}
		return []string{b.Name, who(b)}
	case "region":
		return c.regionLabel(k)
	case "state":
		return []string{k.state.String()}
	case "remote":
		return []string{cmp.Or(remoteText(k), "(listeners)")}
	case "prefix":
		if k.prefix.IsValid() {
			return []string{k.prefix.String()}
		}
		return []string{"(listeners)"}
	case "process":
		if k.nobody != "" {
			return []string{k.nobody}
		}
		return []string{fmt.Sprintf("%s (%d)", k.process, k.pid)}
	}
	n := c.names[k.namespace]
	if n.Own {
		return []string{n.Name + " (this one)"}
	}
	return []string{n.Name}
}

func writeTable(out io.Writer, c counted) error {
	rows, rest, groups := c.breakdown.Rows(c.options.top, compareKeys)
	whole := "complete"
	if !c.complete {
		whole = "NOT complete"
	}
	total := &c.breakdown.Total
	seen := count(total.Sockets, "socket", "sockets")
	if c.options.by == "namespace" {
		seen += ", " + count(len(c.names), "namespace", "namespaces")
	}
	fmt.Fprintf(out, "%s  %s   1 look by %s, %.1f ms, %s, %s\n\n", c.host, c.at.UTC().Format("2 Jan 2006 15:04:05 UTC"),
		c.reader, c.took.Seconds()*1e3, seen, whole)
	if c.apart() {
		slices.SortStableFunc(rows, func(a, b measure.Row[key]) int { return boolean(c.isRest(a.Key)) - boolean(c.isRest(b.Key)) })
	}
	table := [][]string{c.head()}
	for _, r := range rows {
		table = append(table, append(c.label(r.Key), c.cells(r.Key, r.Counts, c.waits[r.Key], c.seesInfo(r.Key))...))
	}
	if left := groups - len(rows); left > 0 || rest.Sockets > 0 {
		label := make([]string, c.labels())
		label[0] = fmt.Sprintf("(%s more)", thousands(left))
		if groups == maxGroups { // what came later was not told apart
			label[0] = fmt.Sprintf("(at least %s more)", thousands(left))
		}
		table = append(table, append(label, c.cells(key{region: unclassified}, rest, c.waitBut(rows), c.seesInfoBut(rows))...))
	}
	if len(rows) == 0 {
		table = [][]string{{"no sockets"}}
	}
	if err := writeColumns(out, c.labels(), table); err != nil {
		return err
	}
	fmt.Fprintln(out)
	if !c.apart() && total.Connections() > 0 {
		fmt.Fprintf(out, "Shares are of %s: LISTEN and TIME_WAIT are left out.\n", count(total.Connections(), "socket", "sockets"))
	}
	for _, r := range rows {
		if c.options.by == "service" && c.isRest(r.Key) && !c.options.rest && r.Connections() > 0 {
			fmt.Fprintf(out, "%s (%.1f %%) of no service: --rest lists them.\n",
				count(r.Connections(), "connection", "connections"), 100*float64(r.Connections())/float64(total.Connections()))
		}
	}
	if c.options.by == "region" {
		fmt.Fprint(out, c.unclassifiedText())
	}
	fmt.Fprintln(out, "Not seen:")
	for _, limit := range c.limits {
		fmt.Fprintf(out, "  %s\n", limit)
	}
	_, err := fmt.Fprintln(out, "One look counts; it does not judge. `foreshock check` or the agent says what is wrong.")
	return err
}

func plural(by string) string {
	if by == "process" {
		return "processes"
	}
	if by == "prefix" {
		return "prefixes"
	}
	return by + "s"
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (c *counted) head() []string {
	first := strings.ToUpper(plural(c.options.by))
	columns := []string{"estab", "accepted", "waiting", "limit", "close_wait", "time_wait", "syn_recv", "syn_sent", "retrans"}
	switch c.options.by {
	case "state":
		return []string{first, "sockets", "share"}
	case "service":
		return append([]string{first, ""}, columns...)
	case "backend":
		return append([]string{first, "process"}, backendColumns...)
	case "region":
		return append([]string{first, ""}, regionColumns...)
	}
	return append([]string{first, "sockets", "share"}, columns...)
}

// cells are a group's numbers; info is whether tcp_info was there for all of it.
func (c *counted) cells(k key, n measure.Counts, wait time.Duration, info bool) []string {
	switch c.options.by {
	case "backend":
		return c.backendCells(&n, wait, info)
	case "region":
		return c.regionCells(k, &n, wait, info)
	}
	share := "–"
	if all := c.breakdown.Total.Connections(); all > 0 && n.Connections() > 0 {
		share = fmt.Sprintf("%.1f %%", 100*float64(n.Connections())/float64(all))
	}
	sized := []string{thousands(n.Sockets), share}
	if c.options.by == "state" {
		return sized
	}
	limit, waiting := "–", strconv.Itoa(n.Unaccepted)
	if n.States[tcp.Listen] > 0 {
		waiting = strconv.FormatUint(n.QueueDepth, 10)
		if info {
			limit = strconv.FormatUint(n.QueueLimit, 10)
		}
	}
	cells := []string{strconv.Itoa(n.States[tcp.Established]), strconv.Itoa(n.Accepted), waiting, limit}
	for _, number := range []int{n.States[tcp.CloseWait], n.States[tcp.TimeWait], n.States[tcp.SynRecv], n.States[tcp.SynSent], n.Retransmitting} {
		cells = append(cells, strconv.Itoa(number))
	}
	if c.options.by == "service" {
		return cells
	}
	return append(sized, cells...)
}

// count prints "1 socket" or "4,812 sockets".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(n) + " " + many
}

// thousands prints 4812 as "4,812".
func thousands(n int) string {
	text := strconv.Itoa(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

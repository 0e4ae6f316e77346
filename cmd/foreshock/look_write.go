package main

import (
	"cmp"
	"encoding/json"
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

// lookJSON is the contract of look --output json. It only grows.
type lookJSON struct {
	At       time.Time     `json:"at"`
	Reader   string        `json:"reader"`
	Complete bool          `json:"complete"`
	Limits   []string      `json:"limits"`
	Rows     []lookRowJSON `json:"rows"`
	// Rest sums the groups that --top leaves out.
	Rest            *lookRowJSON `json:"rest,omitempty"`
	Groups          int          `json:"groups"`
	DurationSeconds float64      `json:"duration_seconds"`
}

type lookRowJSON struct {
	Key                 map[string]any `json:"key"`
	Sockets             int            `json:"sockets"`
	States              map[string]int `json:"states"`
	Accepted            int            `json:"accepted"`
	Unaccepted          int            `json:"unaccepted"`
	UnacceptedCloseWait int            `json:"close_wait_unaccepted"`
	Busy                *int           `json:"busy"` // null when the reader cannot see it
	Pending             *int           `json:"pending"`
	Retransmitting      int            `json:"retransmitting"`
	ZeroWindow          int            `json:"zero_window"`
	QueueDepth          uint64         `json:"queue_depth"`
	QueueLimit          *uint64        `json:"queue_limit"`
	// Share is of all sockets that are neither LISTEN nor TIME_WAIT.
	Share *float64 `json:"share_ratio"`
}

func writeJSON(out io.Writer, c counted) error {
	rows, rest, groups := c.breakdown.Rows(c.options.top, compareKeys)
	doc := lookJSON{
		At: c.at.UTC(), Reader: c.reader, Complete: c.complete, Limits: c.limits, Rows: []lookRowJSON{},
		Groups: groups, DurationSeconds: c.took.Seconds(),
	}
	for _, r := range rows {
		doc.Rows = append(doc.Rows, c.rowJSON(c.keyJSON(r.Key), r.Counts))
	}
	if rest.Sockets > 0 {
		r := c.rowJSON(map[string]any{}, rest)
		doc.Rest = &r
	}
	return json.NewEncoder(out).Encode(doc)
}

func (c *counted) rowJSON(name map[string]any, n measure.Counts) lookRowJSON {
	row := lookRowJSON{
		Key: name, Sockets: n.Sockets, States: map[string]int{}, Accepted: n.Accepted, Unaccepted: n.Unaccepted,
		UnacceptedCloseWait: n.UnacceptedCloseWait, Retransmitting: n.Retransmitting, ZeroWindow: n.ZeroWindow, QueueDepth: n.QueueDepth,
	}
	for _, s := range tcp.States() {
		row.States[s.String()] = n.States[s]
	}
	if c.reader == sourceWithInfo {
		row.QueueLimit = &n.QueueLimit
		if c.options.by != "namespace" {
			row.Busy, row.Pending = &n.Busy, &n.Pending
		}
	}
	if all := c.breakdown.Total.Connections(); all > 0 {
		row.Share = new(float64(n.Connections()) / float64(all))
	}
	return row
}

// sourceWithInfo is the reader that sees tcp_info and queue limits.
const sourceWithInfo = "sock_diag"

func (c *counted) keyJSON(k key) map[string]any {
	switch c.options.by {
	case "service":
		if k.service == scope.None {
			m := map[string]any{"rest": true}
			if k.remote.IsValid() {
				m["remote"] = k.remote.String()
			}
			return m
		}
		s := &c.services[k.service]
		m := map[string]any{"service": s.Name, "process": s.Process, "unit": s.Unit}
		var listen []string
		for _, l := range s.Listen {
			listen = append(listen, l.String())
		}
		m["listen"] = listen
		return m
	case "state":
		return map[string]any{"state": k.state.String()}
	case "remote":
		return map[string]any{"remote": remoteText(k)}
	case "prefix":
		if !k.prefix.IsValid() {
			return map[string]any{"prefix": nil}
		}
		return map[string]any{"prefix": k.prefix.String()}
	case "process":
		m := map[string]any{"process": k.process, "pid": nil}
		if k.pid > 0 {
			m["pid"] = k.pid
		}
		return m
	}
	n := c.names[k.namespace]
	return map[string]any{"namespace": strconv.FormatUint(uint64(k.namespace), 10), "name": n.Name, "path": n.Path, "processes": n.Processes, "own": n.Own}
}

func remoteText(k key) string {
	switch {
	case !k.remote.Addr().IsValid():
		return ""
	case k.remote.Port() == 0:
		return k.remote.Addr().String()
	}
	return k.remote.String()
}

// labels is how many columns a group's name takes.
func (c *counted) labels() int {
	if c.options.by == "service" {
		return 2
	}
	return 1
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
		if k.pid > 0 {
			return []string{fmt.Sprintf("%s (%d)", k.process, k.pid)}
		}
		return []string{k.process}
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
	fmt.Fprintf(out, "%s  %s   1 look by %s, %.1f ms, %s, %s\n\n", c.host, c.at.UTC().Format("2 Jan 2006 15:04:05 UTC"),
		c.reader, c.took.Seconds()*1e3, count(c.breakdown.Total.Sockets, "socket", "sockets"), whole)
	if c.options.by == "service" {
		slices.SortStableFunc(rows, func(a, b measure.Row[key]) int {
			return boolean(a.Key.service == scope.None) - boolean(b.Key.service == scope.None)
		})
	}
	table := [][]string{c.head()}
	for _, r := range rows {
		table = append(table, append(c.label(r.Key), c.cells(r.Counts)...))
	}
	if left := groups - len(rows); left > 0 {
		label := make([]string, c.labels())
		label[0] = fmt.Sprintf("(%d more)", left)
		table = append(table, append(label, c.cells(rest)...))
	}
	if len(rows) == 0 {
		table = [][]string{{"no sockets"}}
	}
	if err := writeColumns(out, c.labels(), table); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nNot seen: %s.\n", strings.Join(c.limits, "; "))
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
	}
	return append([]string{first, "sockets", "share"}, columns...)
}

func (c *counted) cells(n measure.Counts) []string {
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
		if c.reader == sourceWithInfo {
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

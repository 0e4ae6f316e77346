package main

import (
	"encoding/json"
	"io"
	"strconv"
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
	Rest *lookRowJSON `json:"rest,omitempty"`
	// Groups is how many there are, shown or not.
	Groups          int     `json:"groups"`
	DurationSeconds float64 `json:"duration_seconds"`
	// Outgoing is, by region only, the connections that this host began in all
	// namespaces that were read, and UnclassifiedRatio the share of them in no
	// region; left out without any.
	Outgoing          *int     `json:"outgoing,omitempty"`
	UnclassifiedRatio *float64 `json:"unclassified_ratio,omitempty"`
	// Namespaces is by region only: the same for each, our own first, with those
	// that could not be read.
	Namespaces []lookNamespaceJSON `json:"namespaces,omitempty"`
}

type lookNamespaceJSON struct {
	Namespace string `json:"namespace"` // as in a row's key; "" is our own
	Read      bool   `json:"read"`
	Reason    string `json:"reason,omitempty"` // why it was not read
	// Those of lookJSON, of this namespace; left out where it was not read.
	Outgoing          *int     `json:"outgoing,omitempty"`
	UnclassifiedRatio *float64 `json:"unclassified_ratio,omitempty"`
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
	// Destinations is by region only: addresses with their port that have a
	// connection.
	Destinations *int `json:"destinations,omitempty"`
	// PendingLongest is by backend and region only, and where something is
	// pending.
	PendingLongest *float64 `json:"pending_longest_seconds,omitempty"`
	Retransmitting int      `json:"retransmitting"`
	ZeroWindow     int      `json:"zero_window"`
	QueueDepth     uint64   `json:"queue_depth"`
	QueueLimit     *uint64  `json:"queue_limit"`
	// Share is of all sockets that are neither LISTEN nor TIME_WAIT.
	Share *float64 `json:"share_ratio"`
}

func writeJSON(out io.Writer, c counted) error {
	rows, rest, groups := c.breakdown.Rows(c.options.top, compareKeys)
	doc := lookJSON{
		At: c.at.UTC(), Reader: c.reader, Complete: c.complete, Limits: append([]string{}, c.limits...), Rows: []lookRowJSON{},
		Groups: groups, DurationSeconds: c.took.Seconds(),
	}
	for _, r := range rows {
		info := c.seesInfo(r.Key)
		row := c.rowJSON(c.keyJSON(r.Key), r.Counts, info)
		if wait, ok := c.waits[r.Key]; ok && info {
			row.PendingLongest = new(wait.Seconds())
		}
		if c.options.by == "region" && r.Key.region >= 0 {
			row.Destinations = new(len(c.destinations[r.Key]))
		}
		doc.Rows = append(doc.Rows, row)
	}
	if c.options.by == "region" {
		c.unclassifiedJSON(&doc)
	}
	if rest.Sockets > 0 {
		r := c.rowJSON(map[string]any{}, rest, c.seesInfoBut(rows))
		doc.Rest = &r
	}
	return json.NewEncoder(out).Encode(doc)
}

// rowJSON is one row; info is whether tcp_info was there for all of it.
func (c *counted) rowJSON(name map[string]any, n measure.Counts, info bool) lookRowJSON {
	row := lookRowJSON{
		Key: name, Sockets: n.Sockets, States: map[string]int{}, Accepted: n.Accepted, Unaccepted: n.Unaccepted,
		UnacceptedCloseWait: n.UnacceptedCloseWait, Retransmitting: n.Retransmitting, ZeroWindow: n.ZeroWindow, QueueDepth: n.QueueDepth,
	}
	for _, s := range tcp.States() {
		row.States[s.String()] = n.States[s]
	}
	if info {
		row.QueueLimit = &n.QueueLimit
		if c.options.by != "namespace" { // which is looked at without tcp_info
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
		listen := []string{}
		for _, l := range s.Listen {
			listen = append(listen, l.String())
		}
		return map[string]any{"service": s.Name, "listen": listen, "process": s.Process, "unit": s.Unit}
	case "backend":
		if k.backend == scope.None {
			return map[string]any{"rest": true}
		}
		b := &c.backends[k.backend]
		return map[string]any{
			"backend": b.Name, "group": b.Group, "remote": b.Remote.String(), "process": b.Process, "pids": append([]int{}, b.PIDs...),
			"also": append([]string{}, b.Also...), "limit": b.Limit, "namespace": b.Namespace,
		}
	case "region":
		return c.regionJSON(k)
	case "state":
		return map[string]any{"state": k.state.String()}
	case "remote":
		if !k.remote.Addr().IsValid() {
			return map[string]any{"remote": nil} // a listener
		}
		return map[string]any{"remote": remoteText(k)}
	case "prefix":
		if !k.prefix.IsValid() {
			return map[string]any{"prefix": nil}
		}
		return map[string]any{"prefix": k.prefix.String()}
	case "process":
		if k.nobody != "" {
			return map[string]any{"process": nil, "pid": nil, "reason": k.nobody}
		}
		return map[string]any{"process": k.process, "pid": k.pid}
	}
	n := c.names[k.namespace]
	return map[string]any{"namespace": strconv.FormatUint(uint64(k.namespace), 10), "names": []string{n.Name}, "path": n.Path, "processes": n.Processes, "own": n.Own}
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

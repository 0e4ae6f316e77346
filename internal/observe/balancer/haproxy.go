package balancer

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// HAProxy asks the runtime socket at path, which any level of rights may: on
// "level user" addresses come from a second question. It waits until ctx ends.
//
// The error says what to do. With members missing there is none, and the
// answer is Partial. HAProxy: management guide, section 9.3.
func HAProxy(ctx context.Context, path string) (Answer, error) {
	fail := func(err error) (Answer, error) {
		return Answer{}, fmt.Errorf("ask HAProxy at %s: %w", path, err)
	}
	// -1 4 -1 is: every proxy, only servers.
	text, cut := converse(ctx, path, "show stat -1 4 -1\n")
	if len(text) == 0 && cut != nil {
		return fail(cut)
	}
	g := newGathering()
	servers, err := g.stat(text)
	if err != nil && cut != nil {
		return fail(cut)
	} else if err != nil {
		return fail(err)
	}
	if cut != nil {
		g.missing("the answer breaks off: %v", cut)
	}
	var places map[[2]string]place
	if slices.ContainsFunc(servers, func(s server) bool { return s.addr == "" }) {
		text, cut := converse(ctx, path, "show servers state\n")
		if cut != nil {
			g.missing("addresses are missing: show servers state: %v", cut)
		}
		places = state(text)
	}
	g.servers(servers, places)
	return g.done(), nil
}

// converse asks one question and reads until HAProxy hangs up. The error is
// why the text is not whole.
func converse(ctx context.Context, path, question string) ([]byte, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, reason(err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	// A cancelled ctx wakes the read.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(conn, question); err != nil {
		return nil, reason(err)
	}
	text, err := io.ReadAll(io.LimitReader(conn, MaxAnswer+1))
	if err != nil {
		return text, reason(err)
	}
	if len(text) > MaxAnswer {
		return text[:MaxAnswer], fmt.Errorf("it is larger than %d bytes; is this HAProxy's stats socket?", MaxAnswer)
	}
	return text, nil
}

// reason adds the way out to what went wrong with the socket.
func reason(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fmt.Errorf("no whole answer in time (%w); HAProxy is stopped or very busy, or something else listens there", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; give HAProxy a line \"stats socket\" with this path, or correct the path", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; let Foreshock in: \"stats socket PATH mode 660 group foreshock level user\"", err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w; nobody listens there: is HAProxy running?", err)
	case errors.Is(err, syscall.EAGAIN):
		return fmt.Errorf("%w; its queue of connections is full: HAProxy hangs or is very busy", err)
	}
	return err
}

// server is a row of show stat.
type server struct {
	group, name, addr string
	status, check     string
}

// place is a row of show servers state.
type place struct{ host, port, fqdn string }

// stat reads the answer to "show stat". Without an error, rows that
// could not be read are noted.
func (g *gathering) stat(text []byte) ([]server, error) {
	rows, found := cutHeader(text, "# pxname,")
	if !found {
		return nil, notStat(text)
	}
	r := csv.NewReader(bytes.NewReader(rows))
	r.FieldsPerRecord = -1 // each version has more columns; a row may break off
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("the columns cannot be read: %w; is this HAProxy's stats socket?", err)
	}
	column := func(name string) int { return slices.Index(header, name) }
	group, name, status := 0, column("svname"), column("status")
	if name < 0 || status < 0 {
		return nil, errors.New("the columns svname and status are missing; is this HAProxy's stats socket?")
	}
	kind, addr, check := column("type"), column("addr"), column("check_status")
	width := len(header) // of the slice that the next row overwrites
	var out []server
	for len(out) <= MaxMembers {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			g.missing("show stat cannot be read to its end: %v", err)
			return out, nil
		}
		field := func(i int) string {
			if i < 0 || i >= len(row) {
				return ""
			}
			return strings.Clone(row[i]) // so that one field does not keep its row
		}
		s := server{group: field(group), name: field(name), addr: field(addr), status: field(status), check: field(check)}
		switch {
		case len(row) == 1 && row[0] == "":
		case kind >= 0 && kind < len(row) && row[kind] != "2":
			// Frontends, backends and listeners, from what does not know -1 4 -1.
		case kind < 0 && (s.name == "FRONTEND" || s.name == "BACKEND"):
		case len(row) < width-1: // the header ends with a comma, as rows do
			g.missing("the row of %s has %d columns of %d, and is left out", quote(s.group+"/"+s.name), len(row), width)
		default:
			out = append(out, s)
		}
	}
	return out, nil
}

// cutHeader returns text from the line on that begins with header, without its
// "# ".
func cutHeader(text []byte, header string) (rows []byte, found bool) {
	at := 0
	if !bytes.HasPrefix(text, []byte(header)) {
		at = bytes.Index(text, []byte("\n"+header)) + 1
		if at == 0 {
			return nil, false
		}
	}
	return text[at+len("# "):], true
}

// notStat says what it was that came instead of the table.
func notStat(text []byte) error {
	switch {
	case bytes.Contains(text, []byte("Unknown command")):
		return errors.New("it does not know show stat; this is the master's socket or not HAProxy's: name the one of a \"stats socket\" line")
	case bytes.Contains(text, []byte("Permission denied")):
		return errors.New("permission denied; give the \"stats socket\" line level user or more")
	case len(bytes.TrimSpace(text)) == 0:
		return errors.New("it hung up without an answer; is this HAProxy's stats socket?")
	}
	return fmt.Errorf("the answer begins %s, not with the table of show stat; is this HAProxy's stats socket?", quote(string(text[:min(len(text), 100)])))
}

// state reads the answer to "show servers state": where each server is, by
// group and name. Rows that cannot be read are left out.
// HAProxy: management guide, "show servers state"; srv_addr is "-" for none.
func state(text []byte) map[[2]string]place {
	rows, found := cutHeader(text, "# be_id ")
	if !found {
		return nil
	}
	var header []string
	out := map[[2]string]place{}
	for line := range bytes.Lines(rows) {
		fields := strings.Fields(string(line))
		if header == nil {
			header = fields
			continue
		}
		if len(out) > MaxMembers {
			break
		}
		field := func(name string) string {
			i := slices.Index(header, name)
			if i < 0 || i >= len(fields) || fields[i] == "-" {
				return ""
			}
			return fields[i]
		}
		out[[2]string{field("be_name"), field("srv_name")}] = place{field("srv_addr"), field("srv_port"), field("srv_fqdn")}
	}
	return out
}

// servers adds what show stat had, with the places that it left out.
func (g *gathering) servers(servers []server, places map[[2]string]place) {
	for _, s := range servers {
		m := Member{Group: s.group, Name: s.name, Status: haproxyStatus(s.status), Says: s.status}
		// "* L4TOUT" is the last result while the next check runs.
		if check := strings.TrimPrefix(s.check, "* "); check != "" {
			m.Says += " " + check
		}
		host, port, err := net.SplitHostPort(s.addr)
		if err != nil {
			host, port = s.addr, ""
		}
		if s.addr == "" {
			p, known := places[[2]string{s.group, s.name}]
			host, port = p.host, p.port
			switch {
			case host == "" && p.fqdn != "":
				host = p.fqdn
			case known && host == "":
				host, port = "unix", "" // show servers state knows IP addresses only
			case !known:
				g.missing("%s/%s has no address; allow show servers state on this socket, or give it level operator", word(s.group), word(s.name))
				continue
			}
		}
		if port == "" && (host == "unix" || strings.HasPrefix(host, "/") || strings.HasPrefix(host, "unix@") || strings.HasPrefix(host, "abns@")) {
			g.problem("%s/%s is reached by a unix socket, which the TCP table does not show", word(s.group), word(s.name))
			continue
		}
		g.add(m, host, port)
	}
}

// haproxyStatus understands the column status. A word may be followed by the
// count of checks on the way to the other state ("UP 1/3"), or by where it
// came from ("MAINT (via shop/s1)", "DRAIN (agent)").
// HAProxy: src/stats.c, srv_hlt_st; management guide, section 9.1, field 17.
func haproxyStatus(s string) Status {
	first, _, _ := strings.Cut(s, " ")
	switch first {
	case "UP":
		return Up
	case "DOWN":
		return Down
	case "MAINT":
		return Maintenance
	case "DRAIN", "NOLB":
		return Draining
	case "no":
		return NoCheck
	}
	return Unknown
}

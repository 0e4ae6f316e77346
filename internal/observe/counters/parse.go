package counters

import (
	"bytes"
	"fmt"

	"github.com/foreshock/foreshock/internal/observe/words"
	"github.com/foreshock/foreshock/internal/tcp"
)

// The parsers below set counters only when the whole of their section was
// understood: a column too few would shift every value after it, and a
// shifted value is worse than none.

// parseSNMP sets the counters of /proc/net/snmp's "Tcp:" section.
// Kernel: net/ipv4/proc.c, snmp_seq_show_tcp_udp.
func parseSNMP(data []byte, c *tcp.Counters) error {
	return parsePairs("snmp", "Tcp:", data, tcp.ActiveOpens, tcp.OutRsts, c)
}

// parseNetstat sets the counters of /proc/net/netstat's "TcpExt:" section.
// Kernel: net/ipv4/proc.c, netstat_seq_show.
func parseNetstat(data []byte, c *tcp.Counters) error {
	return parsePairs("netstat", "TcpExt:", data, tcp.SyncookiesSent, tcp.TCPAbortOnTimeout, c)
}

// reading collects a section's values until all of it is understood.
type reading struct {
	values [tcp.NumCounters]uint64
	named  uint64 // by bit: the counter has been named
	seen   uint64 // and its value can be held
}

// put notes one column. Negative values are left out: MaxConn's -1 means
// "dynamic", and a level may be below zero for a moment, when its per-CPU
// parts are summed while they move.
func (r *reading) put(name, value []byte, first, last tcp.Counter) error {
	for n := first; n <= last; n++ {
		if string(name) != n.String() {
			continue
		}
		if r.named&(1<<n) != 0 {
			return fmt.Errorf("%s is there twice", n)
		}
		r.named |= 1 << n
		v, negative, ok := number(value)
		if !ok {
			return fmt.Errorf("%s is %q, not a number", n, words.Shown(value))
		}
		if !negative {
			r.values[n] = v
			r.seen |= 1 << n
		}
		return nil
	}
	return nil
}

func (r *reading) setAll(c *tcp.Counters, first, last tcp.Counter) {
	for n := first; n <= last; n++ {
		if r.seen&(1<<n) != 0 {
			c.Set(n, r.values[n])
		}
	}
}

// parsePairs reads the first section that begins with prefix: a line of
// names, then a line of as many values.
func parsePairs(file, prefix string, data []byte, first, last tcp.Counter, c *tcp.Counters) error {
	for lineNo := 1; len(data) > 0; lineNo++ {
		names, rest, ended := cutLine(data)
		data = rest
		word, names := words.Cut(names)
		if string(word) != prefix {
			continue
		}
		if !ended {
			return fmt.Errorf("parse %s: line %d: ends within the names of %q", file, lineNo, prefix)
		}
		values, _, ended := cutLine(data)
		word, values = words.Cut(values)
		if string(word) != prefix {
			return fmt.Errorf("parse %s: line %d: %q where the values of %q were expected", file, lineNo+1, words.Shown(word), prefix)
		}
		if !ended { // the last number may lack digits
			return fmt.Errorf("parse %s: line %d: ends within the values of %q", file, lineNo+1, prefix)
		}
		r, err := zip(names, values, first, last)
		if err != nil {
			return fmt.Errorf("parse %s: line %d: %w", file, lineNo+1, err)
		}
		r.setAll(c, first, last)
		return nil
	}
	return fmt.Errorf("parse %s: no section %q", file, prefix)
}

func zip(names, values []byte, first, last tcp.Counter) (reading, error) {
	var r reading
	var name, value []byte
	restNames, restValues := names, values
	for {
		name, restNames = words.Cut(restNames)
		value, restValues = words.Cut(restValues)
		if len(name) == 0 || len(value) == 0 {
			break
		}
		if err := r.put(name, value, first, last); err != nil {
			return reading{}, err
		}
	}
	if len(name)+len(value) > 0 {
		return reading{}, fmt.Errorf("%d names and %d values", fields(names), fields(values))
	}
	return r, nil
}

// parseSockstat sets the levels of /proc/net/sockstat's "TCP:" line, which
// holds names and values in turn.
// Kernel: net/ipv4/proc.c, sockstat_seq_show.
func parseSockstat(data []byte, c *tcp.Counters) error {
	r, err := parseLevels("sockstat", "TCP:", data)
	if err != nil {
		return err
	}
	r.setAll(c, tcp.SockInUse, tcp.SockTimeWait)
	return nil
}

// parseSockstat6 sets the level of /proc/net/sockstat6's "TCP6:" line.
// Kernel: net/ipv6/proc.c, sockstat6_seq_show.
func parseSockstat6(data []byte, c *tcp.Counters) error {
	r, err := parseLevels("sockstat6", "TCP6:", data)
	if err != nil {
		return err
	}
	if r.seen&(1<<tcp.SockInUse) != 0 {
		c.Set(tcp.Sock6InUse, r.values[tcp.SockInUse])
	}
	return nil
}

// parseLevels reads the first line that begins with prefix: names and values in
// turn.
func parseLevels(file, prefix string, data []byte) (reading, error) {
	for lineNo := 1; len(data) > 0; lineNo++ {
		line, rest, ended := cutLine(data)
		data = rest
		word, line := words.Cut(line)
		if string(word) != prefix {
			continue
		}
		if !ended {
			return reading{}, fmt.Errorf("parse %s: line %d: ends within %q", file, lineNo, prefix)
		}
		r, err := alternate(line, tcp.SockInUse, tcp.SockTimeWait)
		if err != nil {
			return reading{}, fmt.Errorf("parse %s: line %d: %w", file, lineNo, err)
		}
		return r, nil
	}
	return reading{}, fmt.Errorf("parse %s: no line %q", file, prefix)
}

func alternate(line []byte, first, last tcp.Counter) (reading, error) {
	var r reading
	for {
		var name, value []byte
		name, line = words.Cut(line)
		if len(name) == 0 {
			return r, nil
		}
		value, line = words.Cut(line)
		if len(value) == 0 {
			return reading{}, fmt.Errorf("%q without a value", words.Shown(name))
		}
		if err := r.put(name, value, first, last); err != nil {
			return reading{}, err
		}
	}
}

// cutLine returns the first line and what follows; ended is false when the
// line lacks its newline.
func cutLine(b []byte) (line, rest []byte, ended bool) {
	return bytes.Cut(b, []byte{'\n'})
}

func fields(b []byte) int {
	for n := 0; ; n++ {
		var f []byte
		if f, b = words.Cut(b); len(f) == 0 {
			return n
		}
	}
}

// number reads a decimal number of 64 bits with an optional minus.
func number(b []byte) (v uint64, negative, ok bool) {
	b, negative = bytes.CutPrefix(b, []byte("-"))
	v, ok = words.Number(b)
	return v, negative, ok
}

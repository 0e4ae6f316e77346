package conntrack

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"

	"github.com/foreshock/foreshock/internal/observe/words"
)

// maxLine bounds a line of the text; one of IPv6 has about 300 bytes.
const maxLine = 4 << 10

// readText reads /proc/net/nf_conntrack, limit lines at most.
func readText(r io.Reader, limit int) (Table, error) {
	var t Table
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, maxLine), maxLine)
	for lines.Scan() {
		if t.Read == limit {
			t.Cut = true
			return t, nil
		}
		t.Read++
		original, reply, kind := parseLine(lines.Bytes())
		switch kind {
		case tracked:
			t.add(original, reply)
		case malformed:
			t.Malformed++
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong): // what follows cannot be told from its rest
		t.Malformed++
		t.Cut = true
	case err != nil:
		return Table{}, fmt.Errorf("read tracked connections: %w", err)
	}
	return t, nil
}

// entry is what reading one entry of the table comes to.
type entry uint8

const (
	malformed entry = iota
	other           // another protocol's
	tracked
)

// parseLine understands one entry as the kernel prints it:
//
//	ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.2 dst=10.96.0.1 sport=51000 dport=443 src=192.0.2.5 dst=10.0.0.2 sport=6443 dport=51000 [ASSURED] mark=0 zone=0 use=2
//
// First the tuple of the original direction, then that of the reply; words
// between them say more.
// Kernel: net/netfilter/nf_conntrack_standalone.c, ct_seq_show and print_tuple.
func parseLine(line []byte) (original, reply tuple, kind entry) {
	var word []byte
	word, line = words.Cut(line) // the family
	if len(word) == 0 {
		return tuple{}, tuple{}, malformed
	}
	_, line = words.Cut(line)    // and its number
	word, line = words.Cut(line) // the protocol
	switch {
	case len(word) == 0:
		return tuple{}, tuple{}, malformed
	case string(word) != "tcp":
		return tuple{}, tuple{}, other
	}
	var ok bool
	if original, line, ok = cutTuple(line); !ok {
		return tuple{}, tuple{}, malformed
	}
	if reply, _, ok = cutTuple(line); !ok {
		return tuple{}, tuple{}, malformed
	}
	return original, reply, tracked
}

// cutTuple reads the next src=, dst=, sport= and dport=, which stand in this
// order, and returns what follows.
func cutTuple(line []byte) (t tuple, rest []byte, ok bool) {
	var addrs [2]netip.Addr
	var ports [2]uint16
	for i, key := range []string{"src=", "dst=", "sport=", "dport="} {
		value, after, found := cutValue(line, key)
		if !found {
			return tuple{}, nil, false
		}
		line = after
		if i < 2 {
			a, err := netip.ParseAddr(string(value))
			if err != nil || a.Zone() != "" {
				return tuple{}, nil, false
			}
			addrs[i] = a.Unmap()
			continue
		}
		port, err := strconv.ParseUint(string(value), 10, 16)
		if err != nil {
			return tuple{}, nil, false
		}
		ports[i-2] = uint16(port)
	}
	if addrs[0].Is4() != addrs[1].Is4() {
		return tuple{}, nil, false
	}
	return tuple{netip.AddrPortFrom(addrs[0], ports[0]), netip.AddrPortFrom(addrs[1], ports[1])}, line, true
}

// cutValue finds the next word that begins with key.
func cutValue(line []byte, key string) (value, rest []byte, ok bool) {
	for len(line) > 0 {
		var word []byte
		word, line = words.Cut(line)
		if value, ok := bytes.CutPrefix(word, []byte(key)); ok {
			return value, line, true
		}
	}
	return nil, nil, false
}

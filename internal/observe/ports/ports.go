// Package ports says how many local ports connections of a network namespace
// may choose from: toward one destination there can be no more of them than
// that, those in TIME_WAIT included.
//
//	r, err := ports.Read()
//	if err != nil {
//		return err
//	}
//	left := r.Available() - towardIt // sockets to one address and port
//
// Reading takes no privilege and about 20 µs. The figures change only when
// somebody sets them.
package ports

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Directory is where the kernel keeps its settings. That of IPv6 is the same.
// What is read there is of the network namespace of the thread that opens it.
// Kernel: net/sysctl_net.c, net_ctl_header_lookup.
const Directory = "/proc/sys/net/ipv4"

// Range is what the kernel takes local ports from when a program asks for none
// in particular.
type Range struct {
	// Low and High are the first and the last. Kernel: ip_local_port_range,
	// Documentation/networking/ip-sysctl.rst.
	Low, High uint16
	// Reserved is how many between them are never taken: ip_local_reserved_ports.
	Reserved int
}

// Available returns how many connections to one destination there can be from
// one local address; zero when the range is not known.
func (r Range) Available() int {
	if r.High == 0 {
		return 0
	}
	return max(int(r.High)-int(r.Low)+1-r.Reserved, 0)
}

// Read reads the range of the calling thread's network namespace, below
// [Directory]. The error says which of the settings could not be read or
// understood; the range is then zero.
func Read() (Range, error) { return read(Directory) }

func read(directory string) (Range, error) {
	text, err := os.ReadFile(filepath.Join(directory, "ip_local_port_range"))
	if err != nil {
		return Range{}, fmt.Errorf("read the range of local ports: %w", err)
	}
	low, high, err := parseRange(text)
	if err != nil {
		return Range{}, fmt.Errorf("read the range of local ports: %w", err)
	}
	text, err = os.ReadFile(filepath.Join(directory, "ip_local_reserved_ports"))
	if err != nil {
		return Range{}, fmt.Errorf("read the reserved local ports: %w", err)
	}
	reserved, err := countReserved(text, low, high)
	if err != nil {
		return Range{}, fmt.Errorf("read the reserved local ports: %w", err)
	}
	return Range{Low: low, High: high, Reserved: reserved}, nil
}

// parseRange understands "32768\t60999".
// Kernel: net/ipv4/sysctl_net_ipv4.c, ipv4_local_port_range; the least is 1.
func parseRange(text []byte) (low, high uint16, err error) {
	fields := bytes.Fields(text)
	if len(fields) == 2 {
		low, lowErr := port(fields[0])
		high, highErr := port(fields[1])
		if lowErr == nil && highErr == nil && 0 < low && low <= high {
			return low, high, nil
		}
	}
	return 0, 0, fmt.Errorf("%.40q is not two ports, the lower first", text)
}

// countReserved counts the ports of a list, "8080,9148,30000-32767", between
// low and high. The kernel prints a bitmap, so each is there once and in order.
// Kernel: kernel/sysctl.c, proc_do_large_bitmap.
func countReserved(text []byte, low, high uint16) (int, error) {
	n := 0
	next := 0 // the least port that may follow
	list := bytes.TrimSpace(text)
	for part := range bytes.SplitSeq(list, []byte(",")) {
		if len(list) == 0 {
			return 0, nil
		}
		from, to, isRange := bytes.Cut(part, []byte("-"))
		if !isRange {
			to = from
		}
		first, err := port(from)
		if err != nil {
			return 0, fmt.Errorf("%.40q is no port", from)
		}
		last, err := port(to)
		if err != nil {
			return 0, fmt.Errorf("%.40q is no port", to)
		}
		if last < first || int(first) < next {
			return 0, fmt.Errorf("%.40q is out of order", part)
		}
		next = int(last) + 1
		n += max(int(min(last, high))-int(max(first, low))+1, 0)
	}
	return n, nil
}

func port(text []byte) (uint16, error) {
	n, err := strconv.ParseUint(string(text), 10, 16)
	return uint16(n), err
}

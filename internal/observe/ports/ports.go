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
// Some of those in TIME_WAIT give their ports back early: see [Reuse].
//
// Reading takes no privilege and about 40 µs. The figures change only when
// somebody sets them.
package ports

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
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
	// Reuse says where the port of a connection in TIME_WAIT is taken again.
	Reuse Reuse
}

// Reuse says toward whom a connection in TIME_WAIT gives its port to a new one
// to the same destination, after ReusedAfter. It takes TCP timestamps at both
// ends; whether the other end sends them is not known here.
// Kernel: tcp_tw_reuse and tcp_timestamps, Documentation/networking/ip-sysctl.rst;
// net/ipv4/tcp_ipv4.c, tcp_twsk_unique.
type Reuse uint8

// The values of tcp_tw_reuse. It is ReuseNever too where we send no timestamps.
const (
	ReuseNever Reuse = iota
	ReuseAlways
	ReuseLoopback // the kernel's default since 4.19
)

// Toward reports whether a connection in TIME_WAIT to that address gives its
// port back early.
func (r Reuse) Toward(remote netip.Addr) bool {
	return r == ReuseAlways || r == ReuseLoopback && remote.IsLoopback()
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
	reuse, err := readReuse(directory)
	if err != nil {
		return Range{}, fmt.Errorf("read how ports in TIME_WAIT are taken again: %w", err)
	}
	return Range{Low: low, High: high, Reserved: reserved, Reuse: reuse}, nil
}

// readReuse reads tcp_tw_reuse and what it takes. Where a kernel keeps neither
// in the namespace, nothing is taken again.
func readReuse(directory string) (Reuse, error) {
	timestamps, err := readNumber(directory, "tcp_timestamps", 2)
	if err != nil || timestamps == 0 {
		return ReuseNever, err
	}
	n, err := readNumber(directory, "tcp_tw_reuse", int(ReuseLoopback))
	return Reuse(n), err
}

// readNumber reads a setting from 0 to most; a missing one is 0.
func readNumber(directory, name string, most int) (int, error) {
	text, err := os.ReadFile(filepath.Join(directory, name))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%s is %.40q, not a number from 0 to %d", name, text, most)
	}
	return n, nil
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

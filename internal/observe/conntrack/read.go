package conntrack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The files of the calling thread's namespace. /proc/self/net would be the
// main thread's; /proc/sys/net is that of whoever opens it.
const (
	textFile  = "/proc/thread-self/net/nf_conntrack"
	countFile = "/proc/sys/net/netfilter/nf_conntrack_count"
)

// maxText entries of the text are read at most; beyond that netlink comes
// first. Linux 6.18 reads both in 2–3 µs per entry, and netlink takes a lock
// for each bucket of the hash table besides, 10 ms with 262,144. Older kernels
// find their place in the text anew from the first entry for each page of
// 4 KiB (net/netfilter/nf_conntrack_standalone.c, ct_get_idx): there it costs
// the square of its length.
const maxText = 1 << 14

// Read reads the table of the calling thread's network namespace, limit
// entries at most, of all protocols. The error is ErrNotThere, ErrRefused, or
// says what broke; a table beside an error is empty.
func Read(limit int) (Table, error) { return read(limit, countFile, textFile, readNetlink) }

func read(limit int, countFile, textFile string, netlink func(limit int) (Table, error)) (Table, error) {
	// Netlink would load what is missing, and an observer starts nothing.
	text, err := os.ReadFile(countFile)
	if errors.Is(err, fs.ErrNotExist) {
		return Table{}, ErrNotThere
	}
	count, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err == nil && count == 0 {
		return Table{}, nil
	}
	ways := []func(limit int) (Table, error){func(limit int) (Table, error) { return readFile(textFile, limit) }, netlink}
	if count > maxText {
		slices.Reverse(ways)
	}
	why := ErrNotThere
	for _, way := range ways {
		t, err := way(limit)
		switch {
		case errors.Is(err, ErrRefused):
			why = ErrRefused // and so the other need not be there
		case errors.Is(err, ErrNotThere):
		default:
			return t, err
		}
	}
	return Table{}, why
}

// readFile reads the text of the table.
func readFile(name string, limit int) (Table, error) {
	f, err := os.Open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Table{}, ErrNotThere
	case errors.Is(err, fs.ErrPermission):
		return Table{}, ErrRefused
	case err != nil:
		return Table{}, fmt.Errorf("read tracked connections: %w", err)
	}
	defer f.Close()
	return readText(f, min(limit, maxText))
}

const (
	// bufferSize is what the kernel fills at most per receive
	// (net/netlink/af_netlink.c, netlink_recvmsg caps max_recvmsg_len so).
	bufferSize = 32 << 10
	// receiveTimeout bounds a receive; a dump's next part is made while we ask
	// for it, so waiting at all means something is broken.
	receiveTimeout = 2 * time.Second
	sequence       = 1 // each reading has a socket of its own
)

// readNetlink asks the kernel for its entries.
func readNetlink(limit int) (Table, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT):
		return Table{}, ErrNotThere
	case refusal(err):
		return Table{}, ErrRefused
	case err != nil:
		return Table{}, os.NewSyscallError("open netlink socket", err)
	}
	defer unix.Close(fd)
	timeout := unix.NsecToTimeval(receiveTimeout.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return Table{}, os.NewSyscallError("set netlink receive time-out", err)
	}
	request := appendRequest(nil, sequence)
	if _, err := retry(func() (int, error) { return unix.Write(fd, request) }); err != nil {
		return Table{}, os.NewSyscallError("ask for tracked connections", err)
	}
	buffer := make([]byte, bufferSize)
	return collect(limit, func() ([]byte, error) {
		n, err := retry(func() (int, error) {
			n, _, err := unix.Recvfrom(fd, buffer, unix.MSG_TRUNC)
			return n, err
		})
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil, fmt.Errorf("%w: no answer for %s", errTruncated, receiveTimeout)
		case err != nil:
			return nil, os.NewSyscallError("receive tracked connections", err)
		case n > len(buffer): // MSG_TRUNC gives the true length
			return nil, fmt.Errorf("%w: datagram of %d bytes in a buffer of %d", errTruncated, n, len(buffer))
		}
		return buffer[:n], nil
	})
}

// collect makes a table of the datagrams of one dump.
func collect(limit int, receive func() ([]byte, error)) (Table, error) {
	var t Table
	for {
		datagram, err := receive()
		if errors.Is(err, errTruncated) || err == nil && len(datagram) == 0 {
			t.Cut = true
			return t, nil
		}
		if err != nil {
			return Table{}, err
		}
		done, err := walk(datagram, sequence, func(payload []byte) bool {
			if t.Read == limit {
				t.Cut = true
				return false
			}
			t.Read++
			original, reply, kind := decode(payload)
			switch kind {
			case tracked:
				t.add(original, reply)
			case malformed:
				t.Malformed++
			}
			return true
		})
		switch {
		case errors.Is(err, errTruncated):
			t.Cut = true
			return t, nil
		case refusal(err):
			return Table{}, ErrRefused
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
			// nfnetlink_rcv_msg: nobody answers for connection tracking
			return Table{}, fmt.Errorf("%w: %w", ErrNotThere, err)
		case err != nil:
			return Table{}, fmt.Errorf("dump tracked connections: %w", err)
		case done || t.Cut:
			return t, nil
		}
	}
}

func refusal(err error) bool { return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) }

func retry(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if !errors.Is(err, syscall.EINTR) {
			return n, err
		}
	}
}

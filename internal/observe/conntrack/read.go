package conntrack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/observe/netlink"
	"github.com/foreshock/foreshock/internal/observe/privilege"
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
func Read(limit int) (Table, error) {
	return read(limit, countFile, textFile, func(limit int) (t Table, err error) {
		err = privilege.With(unix.CAP_NET_ADMIN, func() error {
			t, err = readNetlink(limit)
			return err
		})
		return t, err
	})
}

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

// readNetlink asks the kernel for its entries.
func readNetlink(limit int) (Table, error) {
	conn, err := netlink.Open(unix.NETLINK_NETFILTER, make([]byte, netlink.BufferSize))
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT):
		return Table{}, ErrNotThere
	case refusal(err):
		return Table{}, ErrRefused
	case err != nil:
		return Table{}, err
	}
	defer conn.Close()
	return collect(limit, func(row func(payload []byte) bool) error {
		_, _, err := conn.Dump(request(), row)
		return err
	})
}

// collect makes a table of one dump.
func collect(limit int, dump func(row func(payload []byte) bool) error) (Table, error) {
	var t Table
	err := dump(func(payload []byte) bool {
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
	case errors.Is(err, netlink.ErrTruncated):
		t.Cut = true
	case refusal(err):
		return Table{}, ErrRefused
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		// nfnetlink_rcv_msg: nobody answers for connection tracking
		return Table{}, fmt.Errorf("%w: %w", ErrNotThere, err)
	case err != nil:
		return Table{}, fmt.Errorf("dump tracked connections: %w", err)
	}
	return t, nil
}

func refusal(err error) bool { return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) }

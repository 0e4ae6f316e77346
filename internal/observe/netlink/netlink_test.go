package netlink

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

const seq = 7

// message is a netlink message as the kernel lays it out.
func message(msgType, flags uint16, seq uint32, payload ...byte) []byte {
	b := append(AppendHeader(nil, msgType, flags), payload...)
	native.PutUint32(b, uint32(len(b)))
	native.PutUint32(b[8:], seq)
	return append(b, make([]byte, align4(len(b))-len(b))...)
}

func minus(errno unix.Errno) []byte { return native.AppendUint32(nil, uint32(-int32(errno))) }

var (
	zero  = make([]byte, 4)
	row   = message(20, unix.NLM_F_MULTI, seq, 1, 2, 3, 4, 5)
	stale = message(20, unix.NLM_F_MULTI, seq-1, 1, 2, 3, 4, 5)
	done  = message(unix.NLMSG_DONE, unix.NLM_F_MULTI, seq, zero...)
)

func TestWalk(t *testing.T) {
	overlong := slices.Clone(row)
	native.PutUint32(overlong, 1<<31)
	undersized := message(20, 0, seq)
	native.PutUint32(undersized, 3)
	tests := []struct {
		name string
		in   []byte
		rows int
		want verdict
		err  error
	}{
		{"two rows, more to come", slices.Concat(row, row), 2, verdict{}, nil},
		{"rows and the end", slices.Concat(row, done), 1, verdict{done: true}, nil},
		{"nothing behind the end counts", slices.Concat(done, row), 0, verdict{done: true}, nil},
		{"no more rows than are wanted", slices.Concat(row, row, row, row), 3, verdict{done: true}, nil},
		{"a stale answer is passed over", slices.Concat(stale, row, done), 1, verdict{done: true}, nil},
		{"interrupted row", slices.Concat(message(20, unix.NLM_F_DUMP_INTR, seq), done), 1, verdict{true, true}, nil},
		{"interruption told by the end mark", message(unix.NLMSG_DONE, unix.NLM_F_DUMP_INTR, seq, zero...), 0, verdict{true, true}, nil},
		{"refused", message(unix.NLMSG_ERROR, 0, seq, minus(unix.ENOENT)...), 0, verdict{done: true}, unix.ENOENT},
		{"end mark with an error", message(unix.NLMSG_DONE, 0, seq, minus(unix.ENOMEM)...), 0, verdict{done: true}, unix.ENOMEM},
		{"acknowledged", message(unix.NLMSG_ERROR, 0, seq, zero...), 0, verdict{done: true}, nil},
		{"error cut short", message(unix.NLMSG_ERROR, 0, seq, 1), 0, verdict{}, ErrTruncated},
		{"header cut short", row[:sizeHeader-1], 0, verdict{}, ErrTruncated},
		{"row cut short", row[:len(row)-4], 0, verdict{}, ErrTruncated},
		{"length beyond the datagram", overlong, 0, verdict{}, ErrTruncated},
		{"length below a header", undersized, 0, verdict{}, ErrTruncated},
		{"netlink's own are passed over", slices.Concat(message(unix.NLMSG_NOOP, 0, seq, 1, 2), row), 1, verdict{}, nil},
		{"empty", nil, 0, verdict{}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rows := 0
			got, err := walk(tt.in, seq, func([]byte) bool { rows++; return rows < 3 })
			if got != tt.want || !errors.Is(err, tt.err) || (err != nil) != (tt.err != nil) || rows != tt.rows {
				t.Errorf("walk = %+v, %v with %d rows; want %+v, %v with %d", got, err, rows, tt.want, tt.err, tt.rows)
			}
		})
	}
}

// FuzzWalk: no panic; rows lie inside the datagram; what follows the end mark,
// an error or a refusal of more is never passed on.
func FuzzWalk(f *testing.F) {
	f.Add(slices.Concat(row, done))
	f.Add(message(unix.NLMSG_DONE, unix.NLM_F_DUMP_INTR, seq, zero...))
	f.Add(message(unix.NLMSG_ERROR, 0, seq, zero...)[:18])
	f.Fuzz(func(t *testing.T, b []byte) {
		total, rows := 0, 0
		v, err := walk(b, seq, func(payload []byte) bool {
			rows++
			total += sizeHeader + len(payload)
			return rows < 3
		})
		if total > len(b) || rows > 3 {
			t.Fatalf("%d bytes in %d rows of a datagram of %d", total, rows, len(b))
		}
		if errors.Is(err, ErrTruncated) && v.done {
			t.Fatalf("a cut datagram also ended the dump: %+v, %v", v, err)
		}
	})
}

// TestDump has a socket's other end answer in the kernel's place, with what it
// sends when it is asked for the first time.
func TestDump(t *testing.T) {
	first := func(of []byte) []byte { b := slices.Clone(of); native.PutUint32(b[8:], 1); return b }
	for _, tt := range []struct {
		name        string
		datagrams   [][]byte
		rows        int
		interrupted bool
		err         error
	}{
		{"two parts and the end", [][]byte{first(row), first(row), first(done)}, 2, false, nil},
		{"interrupted in the first part", [][]byte{first(message(20, unix.NLM_F_DUMP_INTR, 1)), first(done)}, 1, true, nil},
		{"breaks off without an end", [][]byte{first(row), nil}, 1, false, ErrTruncated},
		{"longer than the buffer", [][]byte{make([]byte, BufferSize+4)}, 0, false, ErrTruncated},
		{"no end in time", nil, 0, false, ErrTruncated},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(ends[1])
			c := Conn{fd: ends[0], buffer: make([]byte, BufferSize)}
			soon := unix.Timeval{Usec: 1000}
			if err := unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &soon); err != nil {
				t.Fatal(err)
			}
			for _, b := range tt.datagrams {
				if _, err := unix.Write(ends[1], b); err != nil {
					t.Fatal(err)
				}
			}
			rows := 0
			_, interrupted, err := c.Dump(AppendHeader(nil, 20, 0), func([]byte) bool { rows++; return true })
			if rows != tt.rows || interrupted != tt.interrupted || !errors.Is(err, tt.err) || (err != nil) != (tt.err != nil) {
				t.Errorf("%d rows, interrupted %t, %v; want %d, %t, %v", rows, interrupted, err, tt.rows, tt.interrupted, tt.err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Package netlink asks the kernel for dumps by netlink and takes the answers
// apart.
//
//	conn, err := netlink.Open(unix.NETLINK_SOCK_DIAG, make([]byte, netlink.BufferSize))
//	if err != nil {
//		return err
//	}
//	defer conn.Close()
//	request := netlink.AppendHeader(nil, 20, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
//	request = append(request, …)
//	_, interrupted, err := conn.Dump(request, func(payload []byte) bool { …; return true })
//
// A dump allocates nothing. A [Conn] stays in the network namespace of the
// thread that opened it, and may be used from any thread, by one at a time.
package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// BufferSize is what the kernel fills at most per receive
	// (net/netlink/af_netlink.c, netlink_recvmsg caps max_recvmsg_len so).
	BufferSize = 32 << 10
	// receiveTimeout bounds a receive; a dump's next part is made while we ask
	// for it, so waiting at all means something is broken.
	receiveTimeout = 2 * time.Second
	// maxDrain bounds the datagrams drained: 2 GiB of answers, more than two
	// million sockets with tcp_info.
	maxDrain = 1 << 16

	sizeHeader   = 16     // struct nlmsghdr, include/uapi/linux/netlink.h
	sizeAttr     = 4      // struct nlattr
	attrTypeMask = 0x3fff // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
	minType      = 0x10   // NLMSG_MIN_TYPE: those below are netlink's own
)

var native = binary.NativeEndian

// ErrTruncated is an answer that was cut short or broke off. What follows
// cannot be trusted.
var ErrTruncated = errors.New("netlink message cut short")

// Refusal is the kernel's own answer to a request, or the error that its dump
// ended with.
type Refusal struct{ Errno syscall.Errno }

func (e Refusal) Error() string { return "the kernel refused: " + e.Errno.Error() }
func (e Refusal) Unwrap() error { return e.Errno }

// IsRefusal reports whether an error is the kernel's answer: then nothing of it
// is left to be received.
func IsRefusal(err error) bool {
	if err == nil {
		return false // before the variable, which the heap would hold
	}
	var refused Refusal
	return errors.As(err, &refused)
}

// Conn is a netlink socket.
type Conn struct {
	fd     int // -1: closed
	seq    uint32
	buffer []byte
}

// Open opens a socket of a protocol, unix.NETLINK_…. It receives into buffer,
// of [BufferSize], which may be shared with whoever is not used meanwhile.
func Open(protocol int, buffer []byte) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, os.NewSyscallError("open netlink socket", err)
	}
	timeout := unix.NsecToTimeval(receiveTimeout.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("set netlink receive time-out", err)
	}
	// A refusal need not repeat the request, which may be longer than the buffer;
	// before Linux 4.3 it does.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	return &Conn{fd: fd, buffer: buffer}, nil
}

// Close closes the socket. A second one is os.ErrClosed.
func (c *Conn) Close() error {
	if c.fd < 0 {
		return os.ErrClosed
	}
	err := unix.Close(c.fd)
	c.fd = -1
	return os.NewSyscallError("close netlink socket", err)
}

// AppendHeader appends the header of a message to the kernel, to which the
// caller appends what belongs to it. Dump fills in length and number.
func AppendHeader(b []byte, msgType, flags uint16) []byte {
	b = append(b, 0, 0, 0, 0)
	b = native.AppendUint16(b, msgType)
	b = native.AppendUint16(b, flags)
	return append(b, make([]byte, 8)...)
}

// Dump sends one request, a dump or one that asks for an acknowledgement
// (NLM_F_ACK), which then ends its answer, and calls row with the payload of each message of the
// answer, in the buffer; row returns false when it wants no more, and then the
// Conn is good for Close only. received is the number of bytes; interrupted,
// that the kernel's table changed under the dump in a way that may have hidden
// rows (NLM_F_DUMP_INTR). The error is a Refusal, ErrTruncated, or of the
// operating system.
func (c *Conn) Dump(request []byte, row func(payload []byte) bool) (received int64, interrupted bool, err error) {
	c.seq++
	native.PutUint32(request, uint32(len(request)))
	native.PutUint32(request[8:], c.seq)
	received, interrupted, err = c.exchange(request, row)
	if err != nil && !IsRefusal(err) {
		c.drain()
	}
	return received, interrupted, err
}

func (c *Conn) exchange(request []byte, row func(payload []byte) bool) (received int64, interrupted bool, err error) {
	if err := c.send(request); err != nil {
		return 0, false, err
	}
	for {
		n, err := c.receive(0)
		if err != nil {
			return received, interrupted, err
		}
		if n > len(c.buffer) {
			return received, interrupted, fmt.Errorf("%w: datagram of %d bytes in a buffer of %d", ErrTruncated, n, len(c.buffer))
		}
		received += int64(n)
		v, err := walk(c.buffer[:n], c.seq, row)
		interrupted = interrupted || v.interrupted
		if err != nil || v.done {
			return received, interrupted, err
		}
		if n == 0 {
			return received, interrupted, fmt.Errorf("%w: empty datagram before the end mark", ErrTruncated)
		}
	}
}

// drain throws away what is left of an unfinished dump: the kernel refuses the
// next one on this socket until then (EBUSY, netlink_dump_start). A late answer
// that slips through is told by its sequence number.
func (c *Conn) drain() {
	for range maxDrain {
		if _, err := c.receive(unix.MSG_DONTWAIT); err != nil {
			return
		}
	}
}

func (c *Conn) send(b []byte) error {
	for {
		_, err := unix.Write(c.fd, b)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("send netlink request", err)
		}
	}
}

// receive reads one datagram and returns its true length, which is more than
// the buffer's when it did not fit: MSG_TRUNC asks netlink for that. It is a
// plain Syscall: the kernel makes the next part of the dump inside it, so the
// scheduler must know.
func (c *Conn) receive(flags uintptr) (int, error) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(c.fd), uintptr(unsafe.Pointer(&c.buffer[0])), uintptr(len(c.buffer)), unix.MSG_TRUNC|flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return 0, fmt.Errorf("%w: no answer for %s", ErrTruncated, receiveTimeout)
		default:
			return 0, os.NewSyscallError("receive netlink answer", errno)
		}
	}
}

// verdict is what one datagram of a dump said about the dump as a whole: done
// is true at its end, and when row wants no more.
type verdict struct {
	done        bool
	interrupted bool
}

// walk calls row with the payload of each message in datagram b that answers
// request seq. Messages of an earlier request are passed over.
func walk(b []byte, seq uint32, row func(payload []byte) bool) (verdict, error) {
	var v verdict
	for len(b) > 0 {
		if len(b) < sizeHeader {
			return v, fmt.Errorf("%w: %d bytes left of a header", ErrTruncated, len(b))
		}
		length := native.Uint32(b)
		if length < sizeHeader || uint64(length) > uint64(len(b)) {
			return v, fmt.Errorf("%w: length %d in %d bytes", ErrTruncated, length, len(b))
		}
		msgType, flags := native.Uint16(b[4:]), native.Uint16(b[6:])
		payload := b[sizeHeader:length]
		if native.Uint32(b[8:]) == seq {
			v.interrupted = v.interrupted || flags&unix.NLM_F_DUMP_INTR != 0
			switch {
			case msgType >= minType:
				if !row(payload) {
					v.done = true
					return v, nil
				}
			case msgType == unix.NLMSG_ERROR && len(payload) < 4:
				return v, fmt.Errorf("%w: error message of %d bytes", ErrTruncated, len(payload))
			case msgType == unix.NLMSG_ERROR, msgType == unix.NLMSG_DONE:
				v.done = true
				return v, errnoOf(payload)
			}
		}
		b = b[min(align4(int(length)), len(b)):]
	}
	return v, nil
}

// errnoOf reads the code that an error message begins with, and the end of a
// dump since it carries its own (netlink_dump_done): a negative errno.
func errnoOf(payload []byte) error {
	if len(payload) >= 4 {
		if code := int32(native.Uint32(payload)); code < 0 {
			return Refusal{syscall.Errno(-code)}
		}
	}
	return nil
}

func align4(n int) int { return (n + 3) &^ 3 }

// Attributes calls each with the attributes in b, and reports whether all were
// whole and each said so.
func Attributes(b []byte, each func(kind uint16, value []byte) bool) bool {
	for len(b) >= sizeAttr {
		length := int(native.Uint16(b))
		if length < sizeAttr || length > len(b) {
			return false
		}
		if !each(native.Uint16(b[2:])&attrTypeMask, b[sizeAttr:length]) {
			return false
		}
		b = b[min(align4(length), len(b)):]
	}
	return len(b) == 0
}

package sockdiag

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/tcp"
)

// Errors a caller branches on.
var (
	// ErrRefused: the kernel, a sandbox or a security module does not let us
	// use sock_diag at all. procfs may still work. What could not be told, as
	// when there are no descriptors left, is no refusal.
	ErrRefused = errors.New("sock_diag is refused here")
	// ErrClosed: the Reader was closed.
	ErrClosed = errors.New("sock_diag reader is closed")
)

const (
	// receiveTimeout bounds a receive; a dump's next part is made while we
	// ask for it, so waiting at all means something is broken.
	receiveTimeout = 2 * time.Second
)

// Reader reads the socket table of one namespace.
type Reader struct {
	fd        int
	seq       uint32
	oneWalk   bool // the legacy type works: both families in one walk
	request   []byte
	buffer    []byte
	batch     []tcp.Socket
	add       func([]tcp.Socket) // of the Read under way
	appendRow func([]byte)       // bound once, so that a look allocates nothing
	look      tcp.Look
}

// Open opens a Reader for the calling thread's network namespace and asks the
// kernel one question, so that a refusal shows here: it is then ErrRefused.
// Any other error says nothing of whether sock_diag would work.
func Open() (*Reader, error) { return OpenWith(tcp.NewScratch()) }

// OpenWith is Open for a Reader that takes its memory from scratch, which it
// may share with readers that are never used at the same time.
func OpenWith(scratch *tcp.Scratch) (*Reader, error) {
	r := &Reader{
		fd:      -1,
		oneWalk: true,
		request: make([]byte, 0, 64), // a filter grows it
		buffer:  scratch.Buffer,
		batch:   scratch.Batch[:0],
	}
	r.appendRow = r.row
	fd, err := openSocket()
	if err != nil {
		return nil, refused(err)
	}
	r.fd = fd
	if _, err := r.Read(tcp.Request{States: tcp.ListenOnly}, func([]tcp.Socket) {}); err != nil {
		_ = r.Close()
		return nil, refused(err)
	}
	return r, nil
}

// refused makes ErrRefused of the answers that mean no: not allowed, or not
// there. Kernel: net/netlink/af_netlink.c, netlink_create; net/core/sock_diag.c,
// __sock_diag_cmd and sock_diag_rcv_msg; a filter of system calls answers EPERM,
// EACCES or ENOSYS.
func refused(err error) error {
	for _, no := range []error{
		unix.EPERM, unix.EACCES, unix.ENOSYS, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT,
		unix.EOPNOTSUPP, unix.ENOENT, unix.EINVAL, unix.ECONNREFUSED,
	} {
		if errors.Is(err, no) {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
	}
	return err
}

func openSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return -1, os.NewSyscallError("open netlink socket", err)
	}
	timeout := unix.NsecToTimeval(receiveTimeout.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		_ = unix.Close(fd)
		return -1, os.NewSyscallError("set netlink receive time-out", err)
	}
	return fd, nil
}

// Abilities is everything sock_diag can do.
func (r *Reader) Abilities() tcp.Ability { return tcp.AllAbilities }

// Close closes the netlink socket and so lets go of the namespace.
func (r *Reader) Close() error {
	if r.fd < 0 {
		return ErrClosed
	}
	err := unix.Close(r.fd)
	r.fd = -1
	if err != nil {
		return os.NewSyscallError("close netlink socket", err)
	}
	return nil
}

// Read makes one look and passes the sockets to add in batches; add must not
// keep the slice. The header's Begin, Namespace and Counters are the caller's
// to fill. A look that was interrupted or cut short is returned without an
// error, marked by its Completeness. An error means that nothing can be said.
func (r *Reader) Read(req tcp.Request, add func(batch []tcp.Socket)) (tcp.Look, error) {
	if r.fd < 0 {
		return tcp.Look{}, ErrClosed
	}
	if !fitsBytecode(req.Filter) {
		return tcp.Look{}, fmt.Errorf("filter of more than %d terms does not fit the kernel's program: look without it", maxFilterTerms)
	}
	begin := time.Now()
	r.look = tcp.Look{Request: req, Reader: "sock_diag", Abilities: r.Abilities(), Completeness: tcp.Complete}
	r.add = add
	err := r.dumpBoth(req)
	r.flush()
	r.add = nil
	r.look.Duration = time.Since(begin)
	if errors.Is(err, errTruncated) {
		r.look.Completeness = tcp.Truncated
		err = nil
	}
	if err != nil {
		return tcp.Look{}, fmt.Errorf("dump sockets by sock_diag: %w", err)
	}
	return r.look, nil
}

func (r *Reader) dumpBoth(req tcp.Request) error {
	if r.oneWalk {
		err := r.dump(typeLegacy, unix.AF_UNSPEC, req)
		if !withoutLegacy(err) || r.look.Sockets > 0 {
			return err
		}
	}
	if err := r.dump(typeByFamily, unix.AF_INET, req); err != nil {
		return err
	}
	if err := r.dump(typeByFamily, unix.AF_INET6, req); err != nil {
		return err
	}
	// Only now it is known that the type was refused, and not the request: a
	// kernel without the legacy type takes two walks from now on.
	r.oneWalk = false
	return nil
}

// withoutLegacy reports whether an answer may mean that the kernel knows no
// legacy type. Kernel: net/core/sock_diag.c, sock_diag_rcv_msg.
func withoutLegacy(err error) bool {
	return isRefusal(err) && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP))
}

// dump asks once and receives until the end mark. After an error that left
// the dump unfinished the rest of it is drained: the kernel refuses the next
// dump on this socket until then (EBUSY, netlink_dump_start).
func (r *Reader) dump(msgType uint16, family uint8, req tcp.Request) error {
	r.seq++
	r.request = appendRequest(r.request[:0], msgType, family, r.seq, req)
	err := r.exchange()
	if err != nil && !isRefusal(err) {
		r.drain()
	}
	return err
}

func isRefusal(err error) bool {
	if err == nil {
		return false // before the variable, which the heap would hold
	}
	var refused refusal
	return errors.As(err, &refused)
}

// maxDrain bounds the datagrams drained: 2 GiB of answers, more than two
// million sockets with tcp_info.
const maxDrain = 1 << 16

// drain throws away what is left of an unfinished dump. A late answer that
// slips through is told by its sequence number.
func (r *Reader) drain() {
	for range maxDrain {
		if _, err := receive(r.fd, r.buffer, unix.MSG_DONTWAIT); err != nil {
			return
		}
	}
}

func (r *Reader) exchange() error {
	if err := send(r.fd, r.request); err != nil {
		return err
	}
	for {
		n, err := receive(r.fd, r.buffer, 0)
		if err != nil {
			return err
		}
		if n > len(r.buffer) {
			return fmt.Errorf("%w: datagram of %d bytes in a buffer of %d", errTruncated, n, len(r.buffer))
		}
		r.look.Bytes += int64(n)
		v, err := walk(r.buffer[:n], r.seq, r.appendRow)
		if v.interrupted {
			r.look.Completeness = tcp.Interrupted
		}
		if err != nil || v.done {
			return err
		}
		if n == 0 {
			return fmt.Errorf("%w: empty datagram before the end mark", errTruncated)
		}
	}
}

func (r *Reader) row(payload []byte) {
	if len(r.batch) == cap(r.batch) {
		r.flush()
	}
	r.batch = r.batch[:len(r.batch)+1]
	if !decode(payload, &r.batch[len(r.batch)-1]) {
		r.batch = r.batch[:len(r.batch)-1]
		r.look.Malformed++
		return
	}
	r.look.Sockets++
}

func (r *Reader) flush() {
	if len(r.batch) > 0 {
		r.add(r.batch)
		r.batch = r.batch[:0]
	}
}

func send(fd int, b []byte) error {
	for {
		_, err := unix.Write(fd, b)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("send netlink request", err)
		}
	}
}

// receive reads one datagram and returns its true length, which is more than
// len(b) when it did not fit: MSG_TRUNC asks netlink for that. It is a plain
// Syscall: the kernel makes the next part of the dump inside it, so the
// scheduler must know.
func receive(fd int, b []byte, flags uintptr) (int, error) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_TRUNC|flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return 0, fmt.Errorf("%w: no answer for %s", errTruncated, receiveTimeout)
		default:
			return 0, os.NewSyscallError("receive netlink answer", errno)
		}
	}
}

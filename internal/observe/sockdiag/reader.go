package sockdiag

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/observe/netlink"
	"github.com/foreshock/foreshock/internal/tcp"
)

// ErrRefused: the kernel, a sandbox or a security module does not let us use
// sock_diag at all. procfs may still work. What could not be told, as when
// there are no descriptors left, is no refusal.
var ErrRefused = errors.New("sock_diag is refused here")

// Reader reads the socket table of one namespace.
type Reader struct {
	conn      *netlink.Conn
	oneWalk   bool // the legacy type works: both families in one walk
	request   []byte
	batch     []tcp.Socket
	add       func([]tcp.Socket) // of the Read under way
	appendRow func([]byte) bool  // bound once, so that a look allocates nothing
	look      tcp.Look
}

// Open opens a Reader for the calling thread's network namespace and asks the
// kernel one question, so that a refusal shows here: it is then ErrRefused.
// Any other error says nothing of whether sock_diag would work. It takes its
// memory from scratch, which it may share with readers that are never used at
// the same time.
func Open(scratch *tcp.Scratch) (*Reader, error) {
	conn, err := netlink.Open(unix.NETLINK_SOCK_DIAG, scratch.Buffer)
	if err != nil {
		return nil, refused(err)
	}
	r := &Reader{
		conn:    conn,
		oneWalk: true,
		request: make([]byte, 0, 64), // a filter grows it
		batch:   scratch.Batch[:0],
	}
	r.appendRow = r.row
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

// Abilities is everything sock_diag can do.
func (r *Reader) Abilities() tcp.Ability { return tcp.AllAbilities }

// Close closes the netlink socket and so lets go of the namespace.
func (r *Reader) Close() error {
	if r.conn == nil {
		return os.ErrClosed
	}
	err := r.conn.Close()
	r.conn = nil
	return err
}

// Read makes one look, as observe.Reader has it. One that was interrupted or cut
// short is returned without an error, marked by its Completeness.
func (r *Reader) Read(req tcp.Request, add func(batch []tcp.Socket)) (tcp.Look, error) {
	if r.conn == nil {
		return tcp.Look{}, os.ErrClosed
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
	if errors.Is(err, netlink.ErrTruncated) {
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
	return netlink.IsRefusal(err) && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP))
}

func (r *Reader) dump(msgType uint16, family uint8, req tcp.Request) error {
	r.request = appendRequest(r.request[:0], msgType, family, req)
	received, interrupted, err := r.conn.Dump(r.request, r.appendRow)
	r.look.Bytes += received
	if interrupted {
		r.look.Completeness = tcp.Interrupted
	}
	return err
}

func (r *Reader) row(payload []byte) bool {
	if len(r.batch) == cap(r.batch) {
		r.flush()
	}
	r.batch = r.batch[:len(r.batch)+1]
	if !decode(payload, &r.batch[len(r.batch)-1]) {
		r.batch = r.batch[:len(r.batch)-1]
		r.look.Malformed++
		return true
	}
	r.look.Sockets++
	return true
}

func (r *Reader) flush() {
	if len(r.batch) > 0 {
		r.add(r.batch)
		r.batch = r.batch[:0]
	}
}

package sockdiag

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/observe/netlink"
	"github.com/foreshock/foreshock/internal/tcp"
)

const (
	typeDestroy = 21 // SOCK_DESTROY, include/uapi/linux/sock_diag.h, since Linux 4.5

	// Where struct inet_diag_sockid is in struct inet_diag_msg, and the cookie in it.
	offsetSockID = 4
	offsetCookie = 40
)

// What keeps a socket from being closed, whichever it is.
var (
	// ErrNotPermitted: it takes CAP_NET_ADMIN in the user namespace that the
	// network namespace belongs to. Kernel: net/core/sock_diag.c,
	// sock_diag_destroy.
	ErrNotPermitted = errors.New("closing sockets of other programs takes CAP_NET_ADMIN")
	// ErrNoDestroy: the kernel was built without CONFIG_INET_DIAG_DESTROY.
	ErrNoDestroy = errors.New("this kernel cannot close sockets of other programs (CONFIG_INET_DIAG_DESTROY is off)")
)

// Exact is one socket: its two ends, and the cookie that no other socket of this
// boot has.
type Exact struct {
	Local, Remote netip.AddrPort
	Cookie        uint64
}

// Fate is what became of one socket that was to be closed.
type Fate struct {
	// Gone: it was not there any more, or no program held it any more.
	Gone bool
	// Closed: it was closed, and a look afterwards did not find it. Its program
	// gets ECONNABORTED, the other end a reset.
	Closed bool
	// Err is why it is neither.
	Err error
}

// Closable are the states of the sockets that Destroy closes: a program holds
// them and waits for something. The others end by themselves.
const Closable tcp.StateMask = 1<<tcp.Established | 1<<tcp.SynSent | 1<<tcp.CloseWait

// Destroy closes the sockets and returns what became of each, in their order.
// The socket at the same two ends with another cookie is another one, and left
// alone. The error says why none was closed: ErrNotPermitted, ErrNoDestroy, or
// what kept it from looking for them.
//
// It looks for all of them in one walk first: what the kernel says there of each
// is what it is asked to close, with the interface it may be bound to. It needs
// the privilege on the thread that calls it, see ErrNotPermitted.
func (r *Reader) Destroy(sockets []Exact) ([]Fate, error) {
	if r.conn == nil {
		return nil, os.ErrClosed
	}
	if len(sockets) == 0 {
		return nil, nil
	}
	there, err := r.find(sockets)
	if err != nil {
		return nil, fmt.Errorf("look for the sockets to close: %w", err)
	}
	fates := make([]Fate, len(sockets))
	for i, s := range sockets {
		id, found := there[s]
		if !found {
			fates[i].Gone = true
			continue
		}
		fates[i] = r.destroy(id)
		if err := fates[i].Err; errors.Is(err, ErrNotPermitted) || errors.Is(err, ErrNoDestroy) {
			return nil, err // as it will be of the others
		}
	}
	return fates, nil
}

// sockID names one socket to the kernel, as it named it itself: the family and
// struct inet_diag_sockid.
type sockID struct {
	family uint8
	id     [sizeSockID]byte
}

// find returns those of the sockets that are there and closable.
func (r *Reader) find(sockets []Exact) (map[Exact]sockID, error) {
	wanted := make(map[Exact]bool, len(sockets))
	req := tcp.Request{States: Closable}
	remotes := make(map[netip.Addr]bool)
	for _, s := range sockets {
		if s.Cookie == 0 || s.Cookie == noCookie {
			return nil, fmt.Errorf("%s to %s has no cookie: another socket could be meant", s.Local, s.Remote)
		}
		wanted[s] = true
		if a := s.Remote.Addr(); !remotes[a] && a.IsValid() {
			remotes[a] = true
			req.Filter.RemotePrefixes = append(req.Filter.RemotePrefixes, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	if !fitsBytecode(req.Filter) {
		req.Filter = tcp.Filter{}
	}
	there := make(map[Exact]sockID, len(sockets))
	look := func(msgType uint16, family uint8) error {
		request := appendRequest(nil, msgType, family, req)
		_, _, err := r.conn.Dump(request, func(payload []byte) bool {
			var s tcp.Socket
			if decode(payload, &s) && Closable.Has(s.State) {
				if e := (Exact{s.Local, s.Remote, s.Cookie}); wanted[e] {
					there[e] = sockID{payload[0], [sizeSockID]byte(payload[offsetSockID:])}
				}
			}
			return true
		})
		return err
	}
	walk := func() error {
		if r.oneWalk {
			return look(typeLegacy, unix.AF_UNSPEC)
		}
		return errors.Join(look(typeByFamily, unix.AF_INET), look(typeByFamily, unix.AF_INET6))
	}
	// A walk goes on by the number of the socket in its bucket, and passes one
	// over when another one there ends meanwhile (inet_diag_dump_icsk).
	err := walk()
	if err == nil && len(there) < len(wanted) {
		err = walk()
	}
	return there, err
}

// noCookie makes the kernel close whichever socket it finds, a listener even.
// Kernel: net/core/sock_diag.c, sock_diag_check_cookie; INET_DIAG_NOCOOKIE.
const noCookie = 1<<64 - 1

// destroy closes one socket and looks for it again.
func (r *Reader) destroy(id sockID) Fate {
	switch err := r.exact(typeDestroy, id); {
	case err == nil:
	case !netlink.IsRefusal(err):
		return Fate{Err: fmt.Errorf("close a socket by sock_diag: %w", err)}
	default:
		return refusedClose(err)
	}
	switch err := r.exact(typeByFamily, id); {
	case err == nil:
		return Fate{Err: errors.New("the kernel closed it, and it is there still")}
	case errors.Is(err, unix.ENOENT):
		return Fate{Closed: true}
	default:
		return Fate{Err: fmt.Errorf("look whether the socket is closed: %w", err)}
	}
}

// refusedClose says what the kernel's answer to SOCK_DESTROY means. Kernel:
// net/ipv4/inet_diag.c, inet_diag_find_one_icsk (ENOENT, also where the cookie
// is another's); net/core/sock_diag.c, __sock_diag_cmd and sock_diag_destroy;
// net/ipv4/tcp.c, tcp_abort (ENOENT where it is closed already).
func refusedClose(err error) Fate {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESTALE):
		return Fate{Gone: true}
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return Fate{Err: fmt.Errorf("%w: %w", ErrNotPermitted, err)}
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL): // before Linux 4.5 no such message
		return Fate{Err: fmt.Errorf("%w: %w", ErrNoDestroy, err)}
	}
	return Fate{Err: fmt.Errorf("close a socket by sock_diag: %w", err)}
}

// exact sends a request for one socket; the kernel's yes is its acknowledgement.
func (r *Reader) exact(msgType uint16, id sockID) error {
	_, _, err := r.conn.Dump(appendExact(nil, msgType, id), func([]byte) bool { return true })
	return err
}

// appendExact appends a whole netlink message about one socket: struct
// inet_diag_req_v2. The end of its answer is an acknowledgement.
func appendExact(b []byte, msgType uint16, id sockID) []byte {
	b = netlink.AppendHeader(b, msgType, unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	b = append(b, id.family, unix.IPPROTO_TCP, 0, 0)
	b = native.AppendUint32(b, 1<<32-1) // every state
	return append(b, id.id[:]...)
}

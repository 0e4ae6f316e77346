package sockdiag

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/tcp"
)

// Operations of the kernel's filter program, include/uapi/linux/inet_diag.h.
// The kernel runs it for each socket (net/ipv4/inet_diag.c,
// inet_diag_bc_run): each operation jumps ahead by yes or by no bytes; to land
// exactly behind the program is a match, four bytes further a rejection.
const (
	opJump          = 1  // INET_DIAG_BC_JMP: always by no
	opLocalPrefix   = 7  // INET_DIAG_BC_S_COND
	opRemotePrefix  = 8  // INET_DIAG_BC_D_COND
	opLocalPortEQ   = 11 // INET_DIAG_BC_S_EQ, since Linux 4.16
	opRemotePortEQ  = 12 // INET_DIAG_BC_D_EQ
	sizeOp          = 4
	sizeAttr        = 4 // struct nlattr
	sizeHostCond    = 8
	anyPort         = ^uint32(0)
	maxBytecode     = 1<<16 - 1 - sizeAttr - sizeOp // jumps and the attribute's length are 16 bits wide
	sizeLargestTerm = 2*sizeOp + sizeHostCond + 16
	maxFilterTerms  = maxBytecode / sizeLargestTerm
)

// fitsBytecode reports whether the kernel's program can hold f.
func fitsBytecode(f tcp.Filter) bool {
	return len(f.LocalPorts)+len(f.RemotePorts)+len(f.LocalPrefixes)+len(f.RemotePrefixes) <= maxFilterTerms
}

// appendBytecode appends the program that matches when any term of f does:
// test a, or else test b, and so on. A matching term meets a jump behind the
// program's end; the last term falls there by itself, or is rejected.
//
// The kernel audits the program by following yes alone (inet_diag_bc_audit),
// so yes always leads to the next operation, the jump's too.
func appendBytecode(b []byte, f tcp.Filter) []byte {
	var terms [][2]int // of each term: offset of its test, offset of its jump
	term := func(write func([]byte) []byte) {
		at := len(b)
		b = write(b)
		b[at+1] = uint8(len(b) - at)
		terms = append(terms, [2]int{at, len(b)})
		b = append(b, opJump, sizeOp, 0, 0)
	}
	port := func(op uint8, p uint16) {
		term(func(b []byte) []byte {
			b = append(b, op, 0, 0, 0)
			b = append(b, 0, 0) // the second word carries the port in its no
			return native.AppendUint16(b, p)
		})
	}
	prefix := func(op uint8, p netip.Prefix) {
		term(func(b []byte) []byte {
			b = append(b, op, 0, 0, 0)
			return appendHostCond(b, p)
		})
	}
	for _, p := range f.LocalPorts {
		port(opLocalPortEQ, p)
	}
	for _, p := range f.RemotePorts {
		port(opRemotePortEQ, p)
	}
	for _, p := range f.LocalPrefixes {
		prefix(opLocalPrefix, p)
	}
	for _, p := range f.RemotePrefixes {
		prefix(opRemotePrefix, p)
	}
	if len(terms) == 0 {
		return b
	}
	b = b[:terms[len(terms)-1][1]] // the last term needs no jump
	end := len(b)
	for i, t := range terms {
		if i == len(terms)-1 {
			native.PutUint16(b[t[0]+2:], uint16(end-t[0]+sizeOp))
			break
		}
		native.PutUint16(b[t[0]+2:], uint16(terms[i+1][0]-t[0]))
		native.PutUint16(b[t[1]+2:], uint16(end-t[1]))
	}
	return b
}

// appendHostCond appends struct inet_diag_hostcond. An IPv4 prefix also
// matches v4-mapped addresses of IPv6 sockets (inet_diag_bc_run).
func appendHostCond(b []byte, p netip.Prefix) []byte {
	family := uint8(unix.AF_INET)
	if p.Addr().Is6() {
		family = unix.AF_INET6
	}
	b = append(b, family, uint8(p.Bits()), 0, 0)
	b = native.AppendUint32(b, anyPort)
	return append(b, p.Masked().Addr().AsSlice()...)
}

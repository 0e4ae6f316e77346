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
	opJump         = 1  // INET_DIAG_BC_JMP: always by no
	opLocalHost    = 7  // INET_DIAG_BC_S_COND: an address and its prefix, a port or any
	opRemoteHost   = 8  // INET_DIAG_BC_D_COND
	opLocalPortEQ  = 11 // INET_DIAG_BC_S_EQ, since Linux 4.16
	opRemotePortEQ = 12 // INET_DIAG_BC_D_EQ
	sizeOp         = 4
	sizeTest       = 2 * sizeOp // the second operation carries the port in its no
	sizeTerm       = sizeTest + sizeOp
	sizeHostCond   = 8 // struct inet_diag_hostcond without its address
	// maxFilterTerms is well below what jumps of 16 bits reach: the kernel's audit
	// costs the square of it (inet_diag_bc_audit, valid_cc).
	maxFilterTerms = 2047
)

// fitsBytecode reports whether the kernel's program can hold f.
func fitsBytecode(f tcp.Filter) bool { return f.Terms() <= maxFilterTerms }

// appendBytecode appends the program that matches when any term of f does:
// test a, or else test b, and so on. A matching term meets a jump behind the
// program's end; the last term falls there by itself, or is rejected.
//
// The kernel audits the program by following yes alone (inet_diag_bc_audit),
// so yes always leads to the next operation, the jump's too.
func appendBytecode(b []byte, f tcp.Filter) []byte {
	left := sizeTerm*(len(f.LocalPorts)+len(f.RemotePorts)) - sizeOp // bytes to the end: the last term needs no jump
	for _, list := range [][]netip.Prefix{f.RemotePrefixes, f.LocalPrefixes} {
		for _, p := range list {
			left += sizeOp + sizeHostCond + p.Addr().BitLen()/8 + sizeOp
		}
	}
	// test begins a term whose test takes size bytes, jump ends it.
	test := func(op uint8, size int) {
		b = append(b, op, uint8(size))
		b = native.AppendUint16(b, uint16(size+sizeOp))
		left -= size
	}
	jump := func() {
		if left > 0 {
			b = append(b, opJump, sizeOp)
			b = native.AppendUint16(b, uint16(left))
			left -= sizeOp
		}
	}
	port := func(op uint8, port uint16) {
		test(op, sizeTest)
		b = append(b, 0, 0)
		b = native.AppendUint16(b, port)
		jump()
	}
	host := func(op uint8, p netip.Prefix) {
		// An IPv4 condition takes IPv4-mapped addresses of AF_INET6 sockets too
		// (inet_diag_bc_run, INET_DIAG_BC_S_COND and INET_DIAG_BC_D_COND).
		family := uint8(unix.AF_INET6)
		if p.Addr().Is4() {
			family = unix.AF_INET
		}
		test(op, sizeOp+sizeHostCond+p.Addr().BitLen()/8)
		b = append(b, family, uint8(p.Bits()), 0, 0)
		b = native.AppendUint32(b, 1<<32-1) // port -1: any
		b = append(b, p.Addr().AsSlice()...)
		jump()
	}
	for _, p := range f.LocalPorts {
		port(opLocalPortEQ, p)
	}
	for _, p := range f.RemotePorts {
		port(opRemotePortEQ, p)
	}
	for _, p := range f.RemotePrefixes {
		host(opRemoteHost, p)
	}
	for _, p := range f.LocalPrefixes {
		host(opLocalHost, p)
	}
	return b
}

package sockdiag

import "github.com/foreshock/foreshock/internal/tcp"

// Operations of the kernel's filter program, include/uapi/linux/inet_diag.h.
// The kernel runs it for each socket (net/ipv4/inet_diag.c,
// inet_diag_bc_run): each operation jumps ahead by yes or by no bytes; to land
// exactly behind the program is a match, four bytes further a rejection.
const (
	opJump         = 1  // INET_DIAG_BC_JMP: always by no
	opLocalPortEQ  = 11 // INET_DIAG_BC_S_EQ, since Linux 4.16
	opRemotePortEQ = 12 // INET_DIAG_BC_D_EQ
	sizeOp         = 4
	sizeTest       = 2 * sizeOp // the second operation carries the port in its no
	sizeTerm       = sizeTest + sizeOp
	// maxFilterTerms is well below what jumps of 16 bits reach: the kernel's audit
	// costs the square of it (inet_diag_bc_audit, valid_cc).
	maxFilterTerms = 2047
)

// fitsBytecode reports whether the kernel's program can hold f.
func fitsBytecode(f tcp.Filter) bool { return len(f.LocalPorts)+len(f.RemotePorts) <= maxFilterTerms }

// appendBytecode appends the program that matches when any term of f does:
// test a, or else test b, and so on. A matching term meets a jump behind the
// program's end; the last term falls there by itself, or is rejected.
//
// The kernel audits the program by following yes alone (inet_diag_bc_audit),
// so yes always leads to the next operation, the jump's too.
func appendBytecode(b []byte, f tcp.Filter) []byte {
	left := sizeTerm*(len(f.LocalPorts)+len(f.RemotePorts)) - sizeOp // bytes to the end: the last term needs no jump
	term := func(op uint8, port uint16) {
		b = append(b, op, sizeTest)
		b = native.AppendUint16(b, sizeTerm)
		b = append(b, 0, 0)
		b = native.AppendUint16(b, port)
		if left -= sizeTest; left > 0 {
			b = append(b, opJump, sizeOp)
			b = native.AppendUint16(b, uint16(left))
			left -= sizeOp
		}
	}
	for _, port := range f.LocalPorts {
		term(opLocalPortEQ, port)
	}
	for _, port := range f.RemotePorts {
		term(opRemotePortEQ, port)
	}
	return b
}

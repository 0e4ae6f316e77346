package tcp

import (
	"net/netip"
	"time"
)

// BatchSize is the largest number of sockets passed at once.
const BatchSize = 256

// Namespace is a network namespace: the inode number of its nsfs file, the
// number in /proc/PID/ns/net. Zero is unknown.
type Namespace uint64

// Has tells which optional parts of a Socket the reader saw. A part that was
// not seen is zero and must not be read as "none".
type Has uint8

// The optional parts.
const (
	HasCookie Has = 1 << iota
	HasCgroup
	HasInfo
	HasDrops
	HasQueueLimit
)

// Socket is one row of the kernel's TCP table. IPv4 peers of dual-stack
// sockets are folded from ::ffff:a.b.c.d into plain IPv4.
type Socket struct {
	// Local and Remote are the two ends; Remote of a listener is the zero
	// address and port 0. Link-local IPv6 carries no zone.
	Local, Remote netip.AddrPort
	// Cookie names the socket for its whole life (sock_diag only).
	Cookie uint64
	// Inode is the socket's file; zero when no process holds it: TIME_WAIT,
	// SYN_RECV, orphaned, or waiting in an accept queue.
	Inode uint64
	// CgroupID is the cgroup v2 inode of the owner (attribute
	// INET_DIAG_CGROUP_ID, since Linux 5.7; sock_diag only).
	CgroupID uint64
	// ReceiveQueue is bytes not yet read; for a listener the number of
	// connections waiting in the accept queue.
	ReceiveQueue uint32
	// SendQueue is bytes sent or queued and not yet acknowledged; for a
	// listener the accept queue's limit (sock_diag only; HasQueueLimit). The
	// queue is full when ReceiveQueue exceeds it: sk_acceptq_is_full,
	// include/net/sock.h.
	SendQueue uint32
	// Drops counts what this socket threw away since it was made; on a
	// listener each connection lost to a full accept queue is one
	// (tcp_listendrop, include/net/tcp.h; SK_MEMINFO_DROPS).
	Drops uint32
	// TimerExpires is the time left on Timer.
	TimerExpires time.Duration
	State        State
	Timer        Timer
	// Retransmits is the number of unrecovered retransmission time-outs, or
	// of probes sent on the zero-window and keepalive timers, or of SYN-ACKs
	// sent again in SYN_RECV. Kernel: idiag_retrans.
	Retransmits uint8
	// V6Only: a listener on an IPv6 address that takes no IPv4 connection; false
	// also where that is not known (sock_diag only, INET_DIAG_SKV6ONLY).
	V6Only bool
	Has    Has
	// Info is the kernel's tcp_info, when HasInfo.
	Info Info
}

// Info is the part of the kernel's tcp_info that Foreshock uses. A field the
// running kernel does not know is zero.
// Kernel: struct tcp_info, include/uapi/linux/tcp.h.
type Info struct {
	// LastDataSent, LastDataReceived and LastAckReceived are how long ago;
	// on a fresh connection sent and received are equal. Kernel: milliseconds.
	LastDataSent, LastDataReceived, LastAckReceived time.Duration
	// RTT is the smoothed round-trip time; zero means no sample yet. Kernel:
	// microseconds.
	RTT time.Duration
	// BytesAcked counts bytes the peer acknowledged, the SYN included, so it
	// is 1 on a connection that has sent nothing.
	BytesAcked uint64
	// BytesReceived counts bytes received in order.
	BytesReceived uint64
	// TotalRetransmits counts retransmitted segments over the whole life.
	TotalRetransmits uint32
	// DataSegsIn and DataSegsOut count the segments with data.
	DataSegsIn, DataSegsOut uint32
}

// Unaccepted reports whether s waits in an accept queue: the handshake is
// done, and no process has it yet. A process that closed its descriptor with
// data unsent leaves FIN_WAIT1 or LAST_ACK, never these two states.
func (s *Socket) Unaccepted() bool {
	return s.Inode == 0 && (s.State == Established || s.State == CloseWait)
}

// Accepted reports whether a process holds the connection.
func (s *Socket) Accepted() bool {
	return s.Inode != 0 && s.State != Listen && s.State != Close
}

// Abandoned reports whether s is closing, no process has it any more, and there
// is nothing left to deliver but its FIN, which counts as one byte of the send
// queue, or what there is gets nowhere.
func (s *Socket) Abandoned() bool {
	switch s.State {
	case FinWait2:
		return s.Inode == 0
	case FinWait1, LastAck, Closing:
		return s.Inode == 0 && (s.SendQueue <= 1 || s.Retransmitting() || s.ZeroWindow())
	}
	return false
}

// Busy reports whether the process that serves s owes an answer: the client
// spoke last, or sent what nobody has read yet. Only meaningful on the
// server's side of a connection; needs Info unless the receive queue tells.
func (s *Socket) Busy() bool {
	if s.Inode == 0 || s.State != Established && s.State != CloseWait {
		return false
	}
	unread := s.ReceiveQueue
	if s.State == CloseWait && unread > 0 {
		unread-- // the client's FIN counts as one byte until it is read (tcp_diag_get_info, net/ipv4/tcp_diag.c)
	}
	if unread > 0 {
		return true
	}
	return s.Has&HasInfo != 0 && s.Info.BytesReceived > 0 && s.Info.LastDataReceived < s.Info.LastDataSent ||
		s.freshlyAsked()
}

// freshlyAsked: the client's first request arrived and nothing was sent back.
// The kernel starts last_data_sent at the time the connection was made
// (tcp_create_openreq_child), so equal times do not mean an answer.
func (s *Socket) freshlyAsked() bool {
	return s.Has&HasInfo != 0 && s.Info.BytesReceived > 0 && s.Info.DataSegsOut == 0
}

// Pending reports whether the peer owes us an answer: we spoke last. Only
// meaningful on the client's side; needs Info.
func (s *Socket) Pending() bool {
	if s.Has&HasInfo == 0 || s.State != Established {
		return false
	}
	if s.Info.BytesReceived == 0 {
		return s.Info.BytesAcked > 1
	}
	return s.Info.LastDataSent < s.Info.LastDataReceived
}

// Retransmitting reports whether a retransmission time-out has fired and is
// not yet recovered. A half-open connection whose SYN-ACK was sent again is
// not one: nobody may ever have been at the other end.
func (s *Socket) Retransmitting() bool {
	return s.Timer == TimerRetransmit && s.Retransmits > 0 && s.State != SynRecv
}

// ZeroWindow reports whether the peer has stopped reading and we probe it.
func (s *Socket) ZeroWindow() bool {
	return s.Timer == TimerZeroWindow && s.SendQueue > 0 && s.State != Listen
}

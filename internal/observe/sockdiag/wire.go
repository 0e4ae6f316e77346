package sockdiag

import (
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/observe/netlink"
	"github.com/foreshock/foreshock/internal/tcp"
)

// Sizes and numbers of include/uapi/linux/inet_diag.h.
const (
	typeLegacy   = 18 // TCPDIAG_GETSOCK
	typeByFamily = 20 // SOCK_DIAG_BY_FAMILY

	sizeSockID      = 48 // struct inet_diag_sockid
	sizeLegacyReq   = 4 + sizeSockID + 8
	sizeFamilyReq   = 8 + sizeSockID
	sizeDiagMessage = 4 + sizeSockID + 20 // struct inet_diag_msg

	attrBytecode  = 1  // INET_DIAG_REQ_BYTECODE
	attrInfo      = 2  // INET_DIAG_INFO: struct tcp_info
	attrSkMemInfo = 7  // INET_DIAG_SKMEMINFO: u32 of enum sk_meminfo_vars
	attrV6Only    = 11 // INET_DIAG_SKV6ONLY: u8, of IPv6 sockets (net/ipv4/inet_diag.c, inet_diag_msg_attrs_fill)
	attrCgroupID  = 21 // INET_DIAG_CGROUP_ID: u64, since Linux 5.7
	memInfoDrops  = 8  // SK_MEMINFO_DROPS, include/uapi/linux/sock_diag.h
)

var native = binary.NativeEndian

// appendRequest appends a whole netlink message that asks for a dump. family
// is AF_UNSPEC for the legacy type, which answers both families in one walk
// (net/ipv4/inet_diag.c, inet_diag_dump_compat).
func appendRequest(b []byte, msgType uint16, family uint8, req tcp.Request) []byte {
	b = netlink.AppendHeader(b, msgType, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	ext := extensions(req)
	if msgType == typeLegacy {
		b = append(b, family, 0, 0, ext)
		b = append(b, make([]byte, sizeSockID)...)
		b = native.AppendUint32(b, uint32(req.States))
		b = native.AppendUint32(b, 0) // idiag_dbs
	} else {
		b = append(b, family, unix.IPPROTO_TCP, ext, 0)
		b = native.AppendUint32(b, uint32(req.States))
		b = append(b, make([]byte, sizeSockID)...)
	}
	if !req.Filter.IsZero() {
		attr := len(b)
		b = append(b, 0, 0, 0, 0)
		b = appendBytecode(b, req.Filter)
		native.PutUint16(b[attr:], uint16(len(b)-attr))
		native.PutUint16(b[attr+2:], attrBytecode)
	}
	return b
}

// extensions is idiag_ext: bit n-1 asks for attribute n. The listener's drop
// count rides in its memory figures.
func extensions(req tcp.Request) uint8 {
	var ext uint8
	if req.Info {
		ext |= 1 << (attrInfo - 1)
	}
	if req.States == tcp.ListenOnly {
		ext |= 1 << (attrSkMemInfo - 1)
	}
	return ext
}

// decode reads one inet_diag_msg with its attributes into s. It reports false
// and leaves s zero when the message cannot be a socket: too short, an address
// family or a state the kernel does not have, an attribute that overruns.
func decode(b []byte, s *tcp.Socket) bool {
	*s = tcp.Socket{}
	if len(b) < sizeDiagMessage {
		return false
	}
	state := tcp.State(b[1])
	if state == tcp.NewSynRecv {
		state = tcp.SynRecv
	}
	if state == tcp.StateUnknown || int(state) >= tcp.NumStates {
		return false
	}
	localPort, remotePort := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	switch b[0] {
	case unix.AF_INET:
		s.Local = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[8:12])), localPort)
		s.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[24:28])), remotePort)
	case unix.AF_INET6:
		s.Local = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])).Unmap(), localPort)
		s.Remote = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[24:40])).Unmap(), remotePort)
	default:
		return false
	}
	if state == tcp.Listen {
		s.Remote = netip.AddrPort{}
	}
	s.State = state
	s.Timer = tcp.Timer(b[2])
	s.Retransmits = b[3]
	s.Cookie = uint64(native.Uint32(b[44:])) | uint64(native.Uint32(b[48:]))<<32
	s.TimerExpires = time.Duration(native.Uint32(b[52:])) * time.Millisecond
	s.ReceiveQueue = native.Uint32(b[56:])
	s.SendQueue = native.Uint32(b[60:])
	s.Inode = uint64(native.Uint32(b[68:]))
	s.Has = tcp.HasCookie
	if state == tcp.Listen {
		s.Has |= tcp.HasQueueLimit
	}
	if !decodeAttributes(b[sizeDiagMessage:], s) {
		*s = tcp.Socket{}
		return false
	}
	return true
}

func decodeAttributes(b []byte, s *tcp.Socket) bool {
	return netlink.Attributes(b, func(kind uint16, value []byte) bool {
		switch kind {
		case attrInfo:
			decodeInfo(value, &s.Info)
			s.Has |= tcp.HasInfo
		case attrSkMemInfo:
			if len(value) >= 4*(memInfoDrops+1) {
				s.Drops = native.Uint32(value[4*memInfoDrops:])
				s.Has |= tcp.HasDrops
			}
		case attrV6Only:
			s.V6Only = len(value) >= 1 && value[0] != 0 && s.State == tcp.Listen
		case attrCgroupID:
			if len(value) >= 8 {
				s.CgroupID = native.Uint64(value)
				s.Has |= tcp.HasCgroup
			}
		}
		return true
	})
}

// currentInfo is the end of the last field decodeInfo reads,
// tcpi_data_segs_out.
const currentInfo = 160

// decodeInfo reads struct tcp_info. The struct only ever grows at its end: an
// older kernel's is shorter, and what it lacks stays zero; a newer one's is
// longer, and the rest is passed over.
func decodeInfo(b []byte, in *tcp.Info) {
	if len(b) < currentInfo {
		var whole [currentInfo]byte
		copy(whole[:], b)
		decodeWholeInfo(whole[:], in)
		return
	}
	decodeWholeInfo(b, in)
}

// decodeWholeInfo reads at least currentInfo bytes. Offsets are those of
// struct tcp_info in include/uapi/linux/tcp.h.
func decodeWholeInfo(b []byte, in *tcp.Info) {
	_ = b[currentInfo-1] // one bounds check for all
	in.LastDataSent = time.Duration(native.Uint32(b[44:])) * time.Millisecond
	in.LastDataReceived = time.Duration(native.Uint32(b[52:])) * time.Millisecond
	in.LastAckReceived = time.Duration(native.Uint32(b[56:])) * time.Millisecond
	in.RTT = time.Duration(native.Uint32(b[68:])) * time.Microsecond
	in.TotalRetransmits = native.Uint32(b[100:])
	in.BytesAcked = native.Uint64(b[120:])
	in.BytesReceived = native.Uint64(b[128:])
	in.DataSegsIn = native.Uint32(b[152:])
	in.DataSegsOut = native.Uint32(b[156:])
}

package conntrack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Numbers of include/uapi/linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h
// and nf_conntrack_common.h. Values of attributes are in network byte order,
// their lengths and types are not.
const (
	typeGet = 1<<8 | 1 // NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET
	typeNew = 1 << 8   // …, IPCTNL_MSG_CT_NEW: an entry

	sizeHeader = 16 // struct nlmsghdr
	sizeFamily = 4  // struct nfgenmsg
	sizeAttr   = 4  // struct nlattr

	ctaTupleOrig  = 1 // CTA_TUPLE_ORIG
	ctaTupleReply = 2 // CTA_TUPLE_REPLY

	ctaTupleIP    = 1 // CTA_TUPLE_IP
	ctaTupleProto = 2 // CTA_TUPLE_PROTO

	ctaIPv4Source      = 1 // CTA_IP_V4_SRC
	ctaIPv4Destination = 2
	ctaIPv6Source      = 3
	ctaIPv6Destination = 4

	ctaProtoNumber      = 1 // CTA_PROTO_NUM
	ctaProtoSource      = 2 // CTA_PROTO_SRC_PORT
	ctaProtoDestination = 3

	attrTypeMask = 0x3fff // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
)

var (
	native = binary.NativeEndian
	big    = binary.BigEndian
)

// appendRequest appends the request for all entries. The kernel could leave
// out those that NAT has not touched, and with them those of IPVS, which
// translates without it (net/netfilter/ipvs/ip_vs_nfct.c).
func appendRequest(b []byte, seq uint32) []byte {
	b = native.AppendUint32(b, sizeHeader+sizeFamily)
	b = native.AppendUint16(b, typeGet)
	b = native.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	b = native.AppendUint32(b, seq)
	b = native.AppendUint32(b, 0)                    // to the kernel
	return append(b, unix.AF_UNSPEC, 0 /*V0*/, 0, 0) // struct nfgenmsg
}

// errTruncated is a message cut short. The stream behind it cannot be trusted.
var errTruncated = errors.New("netlink message cut short")

// walk calls row with the payload of each entry in datagram b that answers
// request seq, until row returns false. done is true at the end of the dump.
// The error is the kernel's, a syscall.Errno, or errTruncated.
func walk(b []byte, seq uint32, row func(payload []byte) bool) (done bool, err error) {
	for len(b) > 0 {
		if len(b) < sizeHeader {
			return false, fmt.Errorf("%w: %d bytes left of a header", errTruncated, len(b))
		}
		length := native.Uint32(b)
		if length < sizeHeader || uint64(length) > uint64(len(b)) {
			return false, fmt.Errorf("%w: length %d in %d bytes", errTruncated, length, len(b))
		}
		payload := b[sizeHeader:length]
		if native.Uint32(b[8:]) == seq {
			switch native.Uint16(b[4:]) {
			case typeNew:
				if !row(payload) {
					return false, nil
				}
			case unix.NLMSG_DONE:
				return true, errnoOf(payload)
			case unix.NLMSG_ERROR:
				if len(payload) < 4 {
					return false, fmt.Errorf("%w: error message of %d bytes", errTruncated, len(payload))
				}
				return true, errnoOf(payload)
			}
		}
		b = b[min(align4(int(length)), len(b)):]
	}
	return false, nil
}

// errnoOf reads the code that an error message, and the end of a dump, begins
// with: a negative errno, in the host's byte order.
func errnoOf(payload []byte) error {
	if len(payload) < 4 {
		return nil
	}
	if code := int32(native.Uint32(payload)); code < 0 {
		return syscall.Errno(-code)
	}
	return nil
}

func align4(n int) int { return (n + 3) &^ 3 }

// decode understands one entry.
func decode(b []byte) (original, reply tuple, kind entry) {
	if len(b) < sizeFamily {
		return tuple{}, tuple{}, malformed
	}
	var protocols [2]uint8
	var tuples [2]tuple
	ok := attributes(b[sizeFamily:], func(kind uint16, value []byte) bool {
		if kind != ctaTupleOrig && kind != ctaTupleReply {
			return true
		}
		i := kind - ctaTupleOrig
		var ok bool
		tuples[i], protocols[i], ok = decodeTuple(value)
		return ok
	})
	switch {
	case !ok:
		return tuple{}, tuple{}, malformed
	case protocols[0] != unix.IPPROTO_TCP && protocols[0] != 0 && protocols[1] == protocols[0]:
		return tuple{}, tuple{}, other
	case protocols[0] != unix.IPPROTO_TCP || protocols[1] != unix.IPPROTO_TCP || !tuples[0].whole() || !tuples[1].whole():
		return tuple{}, tuple{}, malformed
	}
	return tuples[0], tuples[1], tracked
}

// whole reports whether both ends are there and of one family.
func (t tuple) whole() bool {
	return t.source.IsValid() && t.destination.IsValid() && t.source.Addr().Is4() == t.destination.Addr().Is4()
}

// decodeTuple understands CTA_TUPLE_ORIG and CTA_TUPLE_REPLY. What is missing
// is not valid.
// Kernel: nf_conntrack_netlink.c, ctnetlink_dump_tuples.
func decodeTuple(b []byte) (t tuple, protocol uint8, ok bool) {
	var source, destination netip.Addr
	var ports [2]uint16
	ok = attributes(b, func(kind uint16, value []byte) bool {
		switch kind {
		case ctaTupleIP:
			return attributes(value, func(kind uint16, value []byte) bool {
				a, isAddr := netip.AddrFromSlice(value)
				switch kind {
				case ctaIPv4Source, ctaIPv6Source:
					source = a.Unmap()
				case ctaIPv4Destination, ctaIPv6Destination:
					destination = a.Unmap()
				default:
					return true
				}
				return isAddr && (len(value) == 4) == (kind <= ctaIPv4Destination)
			})
		case ctaTupleProto:
			return attributes(value, func(kind uint16, value []byte) bool {
				switch kind {
				case ctaProtoNumber:
					if len(value) < 1 {
						return false
					}
					protocol = value[0]
				case ctaProtoSource, ctaProtoDestination:
					if len(value) < 2 {
						return false
					}
					ports[kind-ctaProtoSource] = big.Uint16(value)
				}
				return true
			})
		}
		return true
	})
	return tuple{netip.AddrPortFrom(source, ports[0]), netip.AddrPortFrom(destination, ports[1])}, protocol, ok
}

// attributes calls each with the attributes in b, and reports whether all were
// whole and each said so.
func attributes(b []byte, each func(kind uint16, value []byte) bool) bool {
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

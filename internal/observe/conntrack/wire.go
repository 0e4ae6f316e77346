package conntrack

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/observe/netlink"
)

// Numbers of include/uapi/linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h
// and nf_conntrack_common.h. Values of attributes are in network byte order,
// their lengths and types are not.
const (
	typeGet = 1<<8 | 1 // NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET

	sizeFamily = 4 // struct nfgenmsg

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
)

var big = binary.BigEndian

// request asks for all entries. The kernel could leave
// out those that NAT has not touched, and with them those of IPVS, which
// translates without it (net/netfilter/ipvs/ip_vs_nfct.c).
func request() []byte {
	b := netlink.AppendHeader(nil, typeGet, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	return append(b, unix.AF_UNSPEC, 0 /*V0*/, 0, 0) // struct nfgenmsg
}

// decode understands one entry.
func decode(b []byte) (original, reply tuple, kind entry) {
	if len(b) < sizeFamily {
		return tuple{}, tuple{}, malformed
	}
	var protocols [2]uint8
	var tuples [2]tuple
	ok := netlink.Attributes(b[sizeFamily:], func(kind uint16, value []byte) bool {
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
	ok = netlink.Attributes(b, func(kind uint16, value []byte) bool {
		switch kind {
		case ctaTupleIP:
			return netlink.Attributes(value, func(kind uint16, value []byte) bool {
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
			return netlink.Attributes(value, func(kind uint16, value []byte) bool {
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

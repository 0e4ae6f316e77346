package lab

import (
	"encoding/binary"
	"net/netip"
)

// synPacketLen is an IPv4 header and a TCP header, both without options.
const synPacketLen = 20 + 20

// synPacket returns a SYN from one IPv4 address to another. The kernel fills
// in the IP header's checksum and length (raw(7), IP_HDRINCL).
func synPacket(from, to netip.AddrPort, seq uint32) [synPacketLen]byte {
	var p [synPacketLen]byte
	src, dst := from.Addr().As4(), to.Addr().As4()
	p[0] = 4<<4 | 5 // version, header length in words
	binary.BigEndian.PutUint16(p[2:], synPacketLen)
	p[8] = 64 // time to live
	p[9] = 6  // TCP
	copy(p[12:], src[:])
	copy(p[16:], dst[:])

	t := p[20:]
	binary.BigEndian.PutUint16(t[0:], from.Port())
	binary.BigEndian.PutUint16(t[2:], to.Port())
	binary.BigEndian.PutUint32(t[4:], seq)
	t[12] = 5 << 4 // header length in words
	t[13] = 0x02   // SYN
	binary.BigEndian.PutUint16(t[14:], 64240)
	// RFC 9293, section 3.1: the checksum covers the addresses, the protocol
	// and the length too.
	sum := checksum(0, src[:])
	sum = checksum(sum, dst[:])
	sum = checksum(sum, []byte{0, 6, 0, 20})
	sum = checksum(sum, t)
	binary.BigEndian.PutUint16(t[16:], ^uint16(sum))
	return p
}

// checksum adds words to a ones' complement sum, RFC 1071.
func checksum(sum uint32, words []byte) uint32 {
	for i := 0; i+1 < len(words); i += 2 {
		sum += uint32(words[i])<<8 | uint32(words[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return sum
}

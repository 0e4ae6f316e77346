package lab

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
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

// synSender sends SYNs to target from addresses that it is told.
type synSender struct {
	fd     int
	target netip.AddrPort
}

// newSYNSender opens a sender in the calling thread's namespace. Close it.
func newSYNSender(target netip.AddrPort) (synSender, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return synSender{}, fmt.Errorf("open raw socket: %w", err)
	}
	return synSender{fd, target}, nil
}

func (s synSender) Close() error { return unix.Close(s.fd) }

func (s synSender) send(from netip.AddrPort) error {
	packet := synPacket(from, s.target, rand.Uint32())
	if err := unix.Sendto(s.fd, packet[:], 0, sockaddr(netip.AddrPortFrom(s.target.Addr(), 0))); err != nil {
		return fmt.Errorf("send SYN from %v: %w", from, err)
	}
	return nil
}

// MaxFlood is the most SYNs that FloodSYN sends.
const MaxFlood = 1_000_000

// FloodSYN sends so many SYNs a second to target for span, from ever new
// addresses of Void, which never answer. It returns when they are sent or ctx
// is done.
func (h *Host) FloodSYN(ctx context.Context, target netip.AddrPort, perSecond int, span time.Duration) error {
	n := int(float64(perSecond) * span.Seconds())
	if perSecond < 1 || n < 1 || n > MaxFlood {
		return fmt.Errorf("flood %v from %s: %d a second for %v is not 1 to %d SYNs", target, h.name, perSecond, span, MaxFlood)
	}
	var syns synSender
	err := h.Do(func() (err error) {
		syns, err = newSYNSender(target)
		return err
	})
	if err != nil {
		return fmt.Errorf("flood %v from %s: %w", target, h.name, err)
	}
	defer syns.Close()
	const batches = 20 // a second
	ticker := time.NewTicker(time.Second / batches)
	defer ticker.Stop()
	void := Void().Addr()
	for sent, began := 0, time.Now(); sent < n; {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		for due := min(n, int(time.Since(began).Seconds()*float64(perSecond))); sent < due; sent++ {
			from := netip.AddrPortFrom(addrPlus(void, 2+sent%60_000), uint16(1024+rand.IntN(60_000)))
			if err := syns.send(from); err != nil {
				return fmt.Errorf("flood %v from %s: %w", target, h.name, err)
			}
		}
	}
	return nil
}

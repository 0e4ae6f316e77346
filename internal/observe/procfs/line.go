package procfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/foreshock/foreshock/internal/observe/words"
	"github.com/foreshock/foreshock/internal/tcp"
)

// columns are the headings that rows are read by. tcp6 spells the third
// differently. Kernel: net/ipv4/tcp_ipv4.c, tcp4_seq_show, and
// net/ipv6/tcp_ipv6.c, tcp6_seq_show. Columns to the right may come and go;
// the ones named here may not. Rows have fewer fields than the header has
// names: tx_queue and rx_queue share one, as do tr and tm->when.
var columns = [...]string{
	"sl", "local_address", "rem_address", "st", "tx_queue", "rx_queue",
	"tr", "tm->when", "retrnsmt", "uid", "timeout", "inode",
}

// parseHeader checks that line is the header of a table whose rows parse
// understands.
func parseHeader(line []byte) error {
	rest := line
	for i, want := range columns {
		var name []byte
		name, rest = words.Cut(rest)
		if string(name) != want && (i != 2 || string(name) != "remote_address") {
			return fmt.Errorf("header %q has %q where column %q was expected", words.Shown(line), words.Shown(name), want)
		}
	}
	return nil
}

// clockTick is the unit of tm->when: USER_HZ is 100 on every architecture Go
// runs on. Kernel: include/asm-generic/param.h; jiffies_delta_to_clock_t.
const clockTick = time.Second / 100

// parse understands one row of /proc/net/tcp or tcp6, without its newline, of a
// kernel that keeps the bytes of a word in this order: it prints network-order
// addresses as words of its own. It fills s and returns the name of the field
// that is wrong, or "". It makes no error value, so that a table full of garbage
// costs no memory either.
//
// Rows of TIME_WAIT and SYN_RECV have twelve fields, others seventeen; the
// first ten are read and more do no harm. Retransmits is what sock_diag would
// say: time-outs while the retransmission timer runs, probes while the
// zero-window or keepalive timer does, and zero otherwise.
// Kernel: get_tcp4_sock, get_openreq4, get_timewait4_sock in
// net/ipv4/tcp_ipv4.c; inet_sk_diag_fill in net/ipv4/inet_diag.c.
func parse(s *tcp.Socket, line []byte, bigEndian bool) (wrong string) {
	sl, rest := words.Cut(line)
	if len(sl) < 2 || sl[len(sl)-1] != ':' || !decimalDigits(sl[:len(sl)-1]) {
		return "sl"
	}
	local, rest := words.Cut(rest)
	remote, rest := words.Cut(rest)
	state, rest := words.Cut(rest)
	queues, rest := words.Cut(rest)
	timer, rest := words.Cut(rest)
	retrnsmt, rest := words.Cut(rest)
	uid, rest := words.Cut(rest)
	probes, rest := words.Cut(rest)
	inode, _ := words.Cut(rest)

	var ok bool
	if s.Local, ok = addrPort(local, bigEndian); !ok {
		return "local_address"
	}
	if s.Remote, ok = addrPort(remote, bigEndian); !ok || len(remote) != len(local) {
		return "rem_address"
	}
	st, ok := hexWord(state, 2, 2)
	if !ok || st == 0 || int(st) >= tcp.NumStates {
		return "st"
	}
	s.State = tcp.State(st)
	if s.State == tcp.NewSynRecv {
		s.State = tcp.SynRecv
	}
	tx, rx, ok := hexPair(queues, 8, 8)
	if !ok {
		return "tx_queue:rx_queue"
	}
	s.SendQueue, s.ReceiveQueue = uint32(tx), uint32(rx)
	tr, when, ok := hexPair(timer, 2, 16) // %02X:%08lX, and a long may need more than eight digits
	if !ok || tr > uint64(tcp.TimerZeroWindow) || when > maxTicks {
		return "tr:tm->when"
	}
	s.Timer, s.TimerExpires = tcp.Timer(tr), time.Duration(when)*clockTick
	timeouts, ok := hexWord(retrnsmt, 8, 8)
	if !ok {
		return "retrnsmt"
	}
	if user, ok := words.Number(uid); !ok || user > 1<<32-1 {
		return "uid"
	}
	probed, ok := words.Number(probes)
	if !ok {
		return "timeout"
	}
	if s.Inode, ok = words.Number(inode); !ok {
		return "inode"
	}
	switch s.Timer {
	case tcp.TimerRetransmit:
		s.Retransmits = uint8(min(timeouts, 255))
	case tcp.TimerZeroWindow, tcp.TimerKeepalive:
		s.Retransmits = uint8(min(probed, 255))
	}
	if s.State == tcp.Listen {
		s.Remote = netip.AddrPort{}
		s.SendQueue, s.Retransmits = 0, 0 // the limit of the queue in sock_diag; here it is not known
	}
	return ""
}

// maxTicks is the largest tm->when that a time.Duration holds.
const maxTicks = uint64(1<<63-1) / uint64(clockTick)

// addrPort reads "0100007F:0050", or the same with four words for IPv6.
func addrPort(b []byte, bigEndian bool) (netip.AddrPort, bool) {
	at := len(b) - 5
	if at != 8 && at != 32 || b[at] != ':' {
		return netip.AddrPort{}, false
	}
	port, ok := hexWord(b[at+1:], 4, 4)
	if !ok {
		return netip.AddrPort{}, false
	}
	var raw [16]byte
	for i := 0; i < at/8; i++ {
		word, ok := hexWord(b[8*i:8*i+8], 8, 8)
		if !ok {
			return netip.AddrPort{}, false
		}
		if bigEndian {
			binary.BigEndian.PutUint32(raw[4*i:], uint32(word))
		} else {
			binary.LittleEndian.PutUint32(raw[4*i:], uint32(word))
		}
	}
	if at == 8 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(raw[:4])), uint16(port)), true
	}
	return netip.AddrPortFrom(netip.AddrFrom16(raw).Unmap(), uint16(port)), true
}

// hexPair reads "00000000:00000002": first of exactly, second of exactly that
// many digits or up to atMost.
func hexPair(b []byte, exactly, atMost int) (first, second uint64, ok bool) {
	left, right, ok := bytes.Cut(b, []byte{':'})
	if !ok {
		return 0, 0, false
	}
	if first, ok = hexWord(left, exactly, exactly); !ok {
		return 0, 0, false
	}
	second, ok = hexWord(right, 8, atMost)
	return first, second, ok
}

// hexWord reads a hexadecimal number of at least and at most so many digits;
// at most 16 fit.
func hexWord(b []byte, atLeast, atMost int) (v uint64, ok bool) {
	if len(b) < atLeast || len(b) > atMost {
		return 0, false
	}
	for _, c := range b {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		default:
			return 0, false
		}
		v = v<<4 | uint64(c)
	}
	return v, true
}

func decimalDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

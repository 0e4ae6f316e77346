package procfs

import (
	"bytes"
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/tcp"
)

const fixtures = "../../../testdata/fixtures/two-clients"

// parseLine is parse with what is wrong as an error; the socket is zero then.
func parseLine(line []byte, big bool) (tcp.Socket, error) {
	var s tcp.Socket
	if wrong := parse(&s, line, big); wrong != "" {
		return tcp.Socket{}, fmt.Errorf("row %q: %s is not understood", line, wrong)
	}
	return s, nil
}

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// The rows of real kernels below are cut after the fields that are read where
// nothing hangs on the rest.
func TestParseLine(t *testing.T) {
	tests := []struct {
		name, line string
		big        bool
		want       tcp.Socket
	}{
		{
			"listener with two waiting",
			"   0: 0100007F:0050 00000000:0000 0A 00000000:00000002 00:00000000 00000000     0        0 4682755 3 00000000d06dd01c 100 0 0 10 0                   ",
			false,
			tcp.Socket{State: tcp.Listen, Local: ap("127.0.0.1:80"), ReceiveQueue: 2, Inode: 4682755},
		},
		{
			"a listener's queue limit, retransmits and remote end mean nothing here",
			"   0: 0100007F:0050 00000000:0000 0A 00000007:00000002 01:00000000 00000003     0        0 4682755 3 0 100 0 0 10 0",
			false,
			tcp.Socket{State: tcp.Listen, Local: ap("127.0.0.1:80"), ReceiveQueue: 2, Inode: 4682755, Timer: tcp.TimerRetransmit},
		},
		{
			"un-accepted, half closed, 19 bytes unread",
			"   4: 0100007F:0050 0100007F:860C 08 00000000:00000013 00:00000000 00000000     0        0 0 1 00000000f6f1bdd4 20 4 28 10 -1                        ",
			false,
			tcp.Socket{State: tcp.CloseWait, Local: ap("127.0.0.1:80"), Remote: ap("127.0.0.1:34316"), ReceiveQueue: 19},
		},
		{
			"FIN_WAIT2 minisock: twelve fields, TIME_WAIT's timer",
			"   2: 0100007F:860C 0100007F:0050 05 00000000:00000000 03:0000176A 00000000     0        0 0 3 00000000c08ea2c3                                      ",
			false,
			tcp.Socket{State: tcp.FinWait2, Local: ap("127.0.0.1:34316"), Remote: ap("127.0.0.1:80"), Timer: tcp.TimerTimeWait, TimerExpires: 59940 * time.Millisecond},
		},
		{
			"SYN_SENT, one byte of sequence out, one time-out",
			"  10: 0100007F:8654 0100007F:0050 02 00000001:00000000 01:00000048 00000001  1000        0 4682838 2 000000005977fecb 100 0 0 1 -1                   ",
			false,
			tcp.Socket{
				State: tcp.SynSent, Local: ap("127.0.0.1:34388"), Remote: ap("127.0.0.1:80"), SendQueue: 1, Inode: 4682838,
				Timer: tcp.TimerRetransmit, TimerExpires: 720 * time.Millisecond, Retransmits: 1,
			},
		},
		{
			"half-open connection: twelve fields, no inode, the retransmission timer (captured as the fixtures were, its SYN-ACK dropped)",
			"   1: 0100007F:0050 0100007F:969C 03 00000000:00000000 01:00000028 00000000     0        0 0 0 00000000c8414e22                                      ",
			false,
			tcp.Socket{
				State: tcp.SynRecv, Local: ap("127.0.0.1:80"), Remote: ap("127.0.0.1:38556"),
				Timer: tcp.TimerRetransmit, TimerExpires: 400 * time.Millisecond,
			},
		},
		{
			"NEW_SYN_RECV is SYN_RECV",
			"   7: 0A00020F:01BB 0202000A:C350 0C 00000000:00000000 00:00000000 00000000     0        0 0",
			false,
			tcp.Socket{State: tcp.SynRecv, Local: ap("15.2.0.10:443"), Remote: ap("10.0.2.2:50000")},
		},
		{
			"zero-window probes are counted in the timeout column",
			"   7: 0100007F:0050 0100007F:C350 01 0000FFFF:00000000 04:00000014 00000009     0        6 77 2 0 20 4 30 10 -1",
			false,
			tcp.Socket{
				State: tcp.Established, Local: ap("127.0.0.1:80"), Remote: ap("127.0.0.1:50000"), SendQueue: 65535, Inode: 77,
				Timer: tcp.TimerZeroWindow, TimerExpires: 200 * time.Millisecond, Retransmits: 6,
			},
		},
		{
			"more time-outs than a byte holds",
			"   7: 0100007F:0050 0100007F:C350 04 00000001:00000000 01:00000014 00000109     0        0 0 2 0 20 4 30 10 -1",
			false,
			tcp.Socket{
				State: tcp.FinWait1, Local: ap("127.0.0.1:80"), Remote: ap("127.0.0.1:50000"), SendQueue: 1,
				Timer: tcp.TimerRetransmit, TimerExpires: 200 * time.Millisecond, Retransmits: 255,
			},
		},
		{
			"IPv6 listener on every address",
			"   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5001 1 0 100 0 0 10 0",
			false,
			tcp.Socket{State: tcp.Listen, Local: ap("[::]:80"), Inode: 5001},
		},
		{
			"IPv6",
			"   1: B80D0120000000000000000001000000:01BB B80D0120010000000000000002000000:D431 01 00000000:00000000 02:000002D1 00000000    33        0 5002 1 0 20 4 30 10 -1",
			false,
			tcp.Socket{
				State: tcp.Established, Local: ap("[2001:db8::1]:443"), Remote: ap("[2001:db8:0:1::2]:54321"), Inode: 5002,
				Timer: tcp.TimerKeepalive, TimerExpires: 7210 * time.Millisecond,
			},
		},
		{
			"v4-mapped peers of a dual-stack server are IPv4",
			"   1: 0000000000000000FFFF00000100007F:0050 0000000000000000FFFF00000100007F:D431 01 00000000:00000000 00:00000000 00000000    33        0 5002 1 0 20 4 30 10 -1",
			false,
			tcp.Socket{State: tcp.Established, Local: ap("127.0.0.1:80"), Remote: ap("127.0.0.1:54321"), Inode: 5002},
		},
		{
			"big-endian: the second fixture row with the bytes of its address words swapped",
			"   1: 7F000001:0050 7F000001:8610 01 00000000:00000000 00:00000000 00000000     0        0 0 1 000000003386062f 20 0 0 10 -1                         ",
			true,
			tcp.Socket{State: tcp.Established, Local: ap("127.0.0.1:80"), Remote: ap("127.0.0.1:34320")},
		},
		{
			"big-endian IPv6, v4-mapped",
			"   1: 00000000000000000000FFFF7F000001:0050 20010DB8000000010000000000000002:D431 01 00000000:00000000 00:00000000 00000000    33        0 5002",
			true,
			tcp.Socket{State: tcp.Established, Local: ap("127.0.0.1:80"), Remote: ap("[2001:db8:0:1::2]:54321"), Inode: 5002},
		},
		{
			"columns that grew to the right",
			"   1: 0100007F:0050 0100007F:8610 01 00000000:00000000 00:00000000 00000000     0        0 9 1 000000003386062f 20 0 0 10 -1 new 12 0xdead :::",
			false,
			tcp.Socket{State: tcp.Established, Local: ap("127.0.0.1:80"), Remote: ap("127.0.0.1:34320"), Inode: 9},
		},
		{
			"a million rows widen the first column, long timers the sixth",
			"1000000: 0100007F:0050 0100007F:8610 01 00000000:00000000 02:0000000100000000 00000000 4294967295        0 18446744073709551615",
			false,
			tcp.Socket{
				State: tcp.Established, Local: ap("127.0.0.1:80"), Remote: ap("127.0.0.1:34320"), Inode: math.MaxUint64,
				Timer: tcp.TimerKeepalive, TimerExpires: (1 << 32) * 10 * time.Millisecond,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseLine([]byte(tt.line), tt.big)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestParseLineRefuses(t *testing.T) {
	const good = "   1: 0100007F:0050 0100007F:8610 01 00000000:00000000 00:00000000 00000000     0        0 9 1 0 20 0 0 10 -1"
	if _, err := parseLine([]byte(good), false); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, old, new, field string }{
		{"empty", good, "", "sl"},
		{"no row number", "   1:", "    ", "sl"},
		{"row number is a word", "   1:", "  x1:", "sl"},
		{"address a digit short", "0100007F:0050", "100007F:0050", "local_address"},
		{"address with a letter too far", "0100007F:0050", "0100007G:0050", "local_address"},
		{"port a digit long", "0100007F:8610", "0100007F:86100", "rem_address"},
		{"families mixed by width", "0100007F:8610", "0000000000000000FFFF00000100007F:8610", "rem_address"},
		{"state 0", " 01 ", " 00 ", "st"},
		{"state beyond the last", " 01 ", " 0D ", "st"},
		{"state of one digit", " 01 ", " 1 ", "st"},
		{"no colon between the queues", "00000000:00000000", "0000000000000000", "tx_queue:rx_queue"},
		{"unknown timer", "00:00000000", "05:00000000", "tr:tm->when"},
		{"timer beyond what a duration holds", "00:00000000 ", "02:FFFFFFFFFFFFFFFF ", "tr:tm->when"},
		{"negative uid", "     0        0 9", "    -1        0 9", "uid"},
		{"uid beyond 32 bits", "     0        0 9", " 4294967296        0 9", "uid"},
		{"inode beyond 64 bits", " 9 1", " 18446744073709551616 1", "inode"},
		{"cut before the inode", " 9 1 0 20 0 0 10 -1", "", "inode"},
		{"cut in the queues", good, good[:50], "tx_queue:rx_queue"},
		{"binary", good, "\x00\xff\x7fELF", "sl"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// The last occurrence: zeros stand in the queues before the timer.
			at := strings.LastIndex(good, tt.old)
			line := good[:at] + tt.new + good[at+len(tt.old):]
			got, err := parseLine([]byte(line), false)
			if err == nil || !strings.Contains(err.Error(), ": "+tt.field+" is not understood") {
				t.Errorf("%q: error %v, want one about %s", line, err, tt.field)
			}
			if got != (tcp.Socket{}) {
				t.Errorf("socket beside an error: %+v", got)
			}
		})
	}
}

func TestParseHeader(t *testing.T) {
	for _, name := range append(labtest.Fixtures(t, fixtures, "*.tcp.txt"), labtest.Fixtures(t, fixtures, "*.tcp6.txt")...) {
		line, _, _ := bytes.Cut(labtest.Read(t, name), []byte("\n"))
		if err := parseHeader(line); err != nil {
			t.Errorf("%s: %v", filepath.Base(name), err)
		}
		if err := parseHeader(append(line, "  new_column"...)); err != nil {
			t.Errorf("%s: grown by a column: %v", filepath.Base(name), err)
		}
	}
	err := parseHeader([]byte("  sl  local_address rem_address   state tx_queue"))
	want := `header "  sl  local_address rem_address   state tx_queue" has "state" where column "st" was expected`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// kernelLine prints s the way the kernel does: get_tcp4_sock in
// net/ipv4/tcp_ipv4.c, get_tcp6_sock in net/ipv6/tcp_ipv6.c.
func kernelLine(s tcp.Socket, big bool) []byte {
	v6 := !s.Local.Addr().Is4() || s.Remote.Addr().Is6()
	end := func(a netip.AddrPort) string {
		var raw []byte
		switch {
		case !a.IsValid() && v6:
			raw = make([]byte, 16)
		case !a.IsValid():
			raw = make([]byte, 4)
		case v6:
			b := a.Addr().As16()
			raw = b[:]
		default:
			raw = a.Addr().AsSlice()
		}
		var b strings.Builder
		for i := 0; i < len(raw); i += 4 {
			w := raw[i : i+4]
			if !big {
				w = []byte{w[3], w[2], w[1], w[0]}
			}
			fmt.Fprintf(&b, "%08X", w)
		}
		return fmt.Sprintf("%s:%04X", b.String(), a.Port())
	}
	var timeouts, probes uint8
	if s.Timer == tcp.TimerRetransmit {
		timeouts = s.Retransmits
	} else {
		probes = s.Retransmits
	}
	return fmt.Appendf(nil, "%4d: %s %s %02X %08X:%08X %02X:%08X %08X %5d %8d %d 1 0000000000000000 20 0 0 10 -1",
		0, end(s.Local), end(s.Remote), uint8(s.State), s.SendQueue, s.ReceiveQueue, uint8(s.Timer), int64(s.TimerExpires/clockTick), timeouts, 0, probes, s.Inode)
}

// Properties: no panic; an error comes with a zero Socket; what is accepted
// has a state a reader may return and a place in the protocol; printed the way
// the kernel prints and parsed again it is the same Socket.
func FuzzParseLine(f *testing.F) {
	for _, name := range labtest.Fixtures(f, fixtures, "*.tcp.txt") {
		for line := range bytes.Lines(labtest.Read(f, name)) {
			f.Add(bytes.TrimSuffix(line, []byte("\n")), false)
			f.Add(bytes.TrimSuffix(line, []byte("\n")), true)
		}
	}
	f.Add([]byte("   1: B80D0120000000000000000001000000:01BB 0000000000000000FFFF00000100007F:D431 0C 00000000:00000000 02:000002D1 00000000    33        0 5002"), false)
	f.Add([]byte("   1: 0100007F:0050 0100007F:C350 01 0000FFFF:00000000 04:00000014 00000009     0      999 77"), true)
	f.Fuzz(func(t *testing.T, line []byte, big bool) {
		s, err := parseLine(line, big)
		if err != nil {
			if s != (tcp.Socket{}) {
				t.Fatalf("socket beside the error %v: %+v", err, s)
			}
			return
		}
		if s.State == tcp.StateUnknown || s.State >= tcp.NewSynRecv {
			t.Fatalf("state %s", s.State)
		}
		if !s.Local.IsValid() || s.Remote.IsValid() == (s.State == tcp.Listen) || s.Local.Addr().Is4In6() || s.Remote.Addr().Is4In6() {
			t.Fatalf("ends %s and %s in state %s", s.Local, s.Remote, s.State)
		}
		again, err := parseLine(kernelLine(s, big), big)
		if err != nil || again != s {
			t.Fatalf("printed and parsed again: %+v, %v\nwas %+v", again, err, s)
		}
	})
}

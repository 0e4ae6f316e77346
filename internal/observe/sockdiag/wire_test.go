package sockdiag

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/tcp"
)

var capture = flag.Bool("capture", false, "write testdata/dump-*.bin from this machine's own table")

// sameAddrs compares netip values by ==.
var sameAddrs = cmpopts.EquateComparable(netip.AddrPort{})

// encode is decode's slow inverse, for what a current kernel would send.
func encode(s tcp.Socket) []byte {
	b := make([]byte, 0, 512)
	family := uint8(unix.AF_INET)
	if s.Local.Addr().Is6() {
		family = unix.AF_INET6
	}
	remote := s.Remote
	if !remote.IsValid() {
		remote = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	}
	b = append(b, family, uint8(s.State), uint8(s.Timer), s.Retransmits)
	b = append(b, uint8(s.Local.Port()>>8), uint8(s.Local.Port()), uint8(remote.Port()>>8), uint8(remote.Port()))
	b = appendAddr16(b, s.Local.Addr())
	b = appendAddr16(b, remote.Addr())
	b = native.AppendUint32(b, 2) // the interface
	b = native.AppendUint64(b, s.Cookie)
	b = native.AppendUint32(b, uint32(s.TimerExpires/time.Millisecond))
	b = native.AppendUint32(b, s.ReceiveQueue)
	b = native.AppendUint32(b, s.SendQueue)
	b = native.AppendUint32(b, 33) // the user
	b = native.AppendUint32(b, uint32(s.Inode))
	attr := func(kind uint16, value []byte) {
		b = native.AppendUint16(b, uint16(sizeAttr+len(value)))
		b = native.AppendUint16(b, kind)
		b = append(b, value...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
	}
	attr(8, []byte{1}) // INET_DIAG_SHUTDOWN, which is passed over
	if s.V6Only {
		attr(attrV6Only, []byte{1})
	}
	if s.Has&tcp.HasCgroup != 0 {
		attr(attrCgroupID, native.AppendUint64(nil, s.CgroupID))
	}
	if s.Has&tcp.HasDrops != 0 {
		mem := make([]byte, 4*(memInfoDrops+1))
		native.PutUint32(mem[4*memInfoDrops:], s.Drops)
		attr(attrSkMemInfo, mem)
	}
	if s.Has&tcp.HasInfo != 0 {
		in := make([]byte, currentInfo)
		native.PutUint32(in[44:], uint32(s.Info.LastDataSent/time.Millisecond))
		native.PutUint32(in[52:], uint32(s.Info.LastDataReceived/time.Millisecond))
		native.PutUint32(in[56:], uint32(s.Info.LastAckReceived/time.Millisecond))
		native.PutUint32(in[68:], uint32(s.Info.RTT/time.Microsecond))
		native.PutUint32(in[100:], s.Info.TotalRetransmits)
		native.PutUint64(in[120:], s.Info.BytesAcked)
		native.PutUint64(in[128:], s.Info.BytesReceived)
		native.PutUint32(in[152:], s.Info.DataSegsIn)
		native.PutUint32(in[156:], s.Info.DataSegsOut)
		attr(attrInfo, in)
	}
	return b
}

func message(msgType, flags uint16, seq uint32, payload []byte) []byte {
	b := appendHeader(nil, msgType, flags, seq)
	b = append(b, payload...)
	native.PutUint32(b, uint32(len(b)))
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

var established = tcp.Socket{
	Local: netip.MustParseAddrPort("192.0.2.1:443"), Remote: netip.MustParseAddrPort("198.51.100.7:51515"),
	Cookie: 1 << 40, Inode: 4711, CgroupID: 99, ReceiveQueue: 7, SendQueue: 1448,
	TimerExpires: 1500 * time.Millisecond, State: tcp.Established, Timer: tcp.TimerRetransmit, Retransmits: 3,
	Has: tcp.HasCookie | tcp.HasCgroup | tcp.HasInfo,
	Info: tcp.Info{
		LastDataSent: time.Second, LastDataReceived: 2 * time.Second, LastAckReceived: 3 * time.Second,
		RTT: 4 * time.Millisecond, BytesAcked: 6, BytesReceived: 7, TotalRetransmits: 12, DataSegsIn: 17, DataSegsOut: 18,
	},
}

func TestDecode(t *testing.T) {
	listener := tcp.Socket{
		Local: netip.MustParseAddrPort("[::]:80"), State: tcp.Listen, ReceiveQueue: 5, SendQueue: 511, Inode: 1, Drops: 42, V6Only: true,
		Has: tcp.HasCookie | tcp.HasQueueLimit | tcp.HasDrops,
	}
	mapped := encode(tcp.Socket{Local: netip.MustParseAddrPort("[::ffff:192.0.2.1]:80"), Remote: netip.MustParseAddrPort("[::ffff:198.51.100.7]:9"), State: tcp.CloseWait})
	shortInfo := encode(established)
	longInfo := append(encode(established), 0, 0, 0, 0, 0, 0, 0, 0)
	native.PutUint16(longInfo[len(longInfo)-8-currentInfo-sizeAttr:], sizeAttr+currentInfo+8)
	older := established
	older.Info.DataSegsOut = 0
	native.PutUint16(shortInfo[len(shortInfo)-currentInfo-sizeAttr:], sizeAttr+currentInfo-4)
	shortInfo = shortInfo[:len(shortInfo)-4]
	overrun := encode(established)
	native.PutUint16(overrun[sizeDiagMessage:], 60000)
	noState := encode(established)
	noState[1] = 13
	newSynRecv := encode(established)
	newSynRecv[1] = uint8(tcp.NewSynRecv)
	half := established
	half.State = tcp.SynRecv
	tests := []struct {
		name string
		in   []byte
		want tcp.Socket
		ok   bool
	}{
		{"established with everything", encode(established), established, true},
		{"listener", encode(listener), listener, true},
		{"v4-mapped is folded", mapped, tcp.Socket{Local: netip.MustParseAddrPort("192.0.2.1:80"), Remote: netip.MustParseAddrPort("198.51.100.7:9"), State: tcp.CloseWait, Has: tcp.HasCookie}, true},
		{"tcp_info of an older kernel", shortInfo, older, true},
		{"tcp_info of a newer kernel", longInfo, established, true},
		{"NEW_SYN_RECV is SYN_RECV", newSynRecv, half, true},
		{"cut message", encode(established)[:sizeDiagMessage-1], tcp.Socket{}, false},
		{"attribute overruns", overrun, tcp.Socket{}, false},
		{"unknown state", noState, tcp.Socket{}, false},
		{"unknown family", append([]byte{99}, encode(established)[1:]...), tcp.Socket{}, false},
		{"nothing", nil, tcp.Socket{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tcp.Socket{Inode: 1} // left over from the batch's last use
			if ok := decode(tt.in, &got); ok != tt.ok {
				t.Errorf("decode reported %v, want %v", ok, tt.ok)
			}
			if diff := cmp.Diff(tt.want, got, sameAddrs); diff != "" {
				t.Errorf("socket (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWalk(t *testing.T) {
	const seq = 7
	row := message(typeLegacy, unix.NLM_F_MULTI, seq, encode(established))
	stale := message(typeLegacy, unix.NLM_F_MULTI, seq-1, encode(established))
	done := message(unix.NLMSG_DONE, unix.NLM_F_MULTI, seq, make([]byte, 4))
	minus := func(errno unix.Errno) []byte { return native.AppendUint32(nil, uint32(-int32(errno))) }
	join := func(parts ...[]byte) (b []byte) {
		for _, p := range parts {
			b = append(b, p...)
		}
		return b
	}
	overlong := message(typeLegacy, 0, seq, encode(established))
	native.PutUint32(overlong, 1<<31)
	undersized := message(typeLegacy, 0, seq, nil)
	native.PutUint32(undersized, 3)
	tests := []struct {
		name string
		in   []byte
		rows int
		want verdict
		err  error
	}{
		{"two rows, more to come", join(row, row), 2, verdict{}, nil},
		{"rows and the end", join(row, done), 1, verdict{done: true}, nil},
		{"nothing behind the end counts", join(done, row), 0, verdict{done: true}, nil},
		{"a stale answer is passed over", join(stale, row, done), 1, verdict{done: true}, nil},
		{"interrupted row", join(message(typeByFamily, unix.NLM_F_DUMP_INTR, seq, encode(established)), done), 1, verdict{true, true}, nil},
		{"interruption told by the end mark", message(unix.NLMSG_DONE, unix.NLM_F_DUMP_INTR, seq, make([]byte, 4)), 0, verdict{true, true}, nil},
		{"refused", message(unix.NLMSG_ERROR, 0, seq, minus(unix.ENOENT)), 0, verdict{done: true}, unix.ENOENT},
		{"end mark with an error", message(unix.NLMSG_DONE, 0, seq, minus(unix.ENOMEM)), 0, verdict{done: true}, unix.ENOMEM},
		{"acknowledged", message(unix.NLMSG_ERROR, 0, seq, make([]byte, 4)), 0, verdict{done: true}, nil},
		{"error cut short", message(unix.NLMSG_ERROR, 0, seq, []byte{1}), 0, verdict{}, errTruncated},
		{"header cut short", row[:sizeHeader-1], 0, verdict{}, errTruncated},
		{"row cut short", row[:len(row)-8], 0, verdict{}, errTruncated},
		{"length beyond the datagram", overlong, 0, verdict{}, errTruncated},
		{"length below a header", undersized, 0, verdict{}, errTruncated},
		{"unknown type is passed over", join(message(99, 0, seq, []byte{1, 2}), row), 1, verdict{}, nil},
		{"empty", nil, 0, verdict{}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rows := 0
			got, err := walk(tt.in, seq, func([]byte) { rows++ })
			if got != tt.want || !errors.Is(err, tt.err) || (err != nil) != (tt.err != nil) || rows != tt.rows {
				t.Errorf("walk = %+v, %v with %d rows; want %+v, %v with %d", got, err, rows, tt.want, tt.err, tt.rows)
			}
		})
	}
}

// TestCapturedDumps decodes what real kernels sent; testdata/README.md says
// which and how.
func TestCapturedDumps(t *testing.T) {
	if *capture {
		writeCaptures(t)
	}
	files, err := filepath.Glob("testdata/dump-*.bin")
	if err != nil || len(files) == 0 {
		t.Fatalf("no captured dumps in testdata: %v", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			states := map[tcp.State]int{}
			v, err := walk(b, captureSeq, func(payload []byte) {
				var s tcp.Socket
				if !decode(payload, &s) {
					t.Errorf("row not understood: %x", payload)
				}
				states[s.State]++
				if s.Has&tcp.HasCookie == 0 || s.Cookie == 0 {
					t.Errorf("%s to %s has no cookie", s.Local, s.Remote)
				}
				if full := s.State != tcp.TimeWait && s.State != tcp.SynRecv; full != (s.Has&tcp.HasInfo != 0) {
					t.Errorf("%v socket: tcp_info seen is %v", s.State, !full)
				}
			})
			if err != nil || !v.done {
				t.Errorf("walk = %+v, %v; want a whole dump", v, err)
			}
			for _, want := range []tcp.State{tcp.Listen, tcp.Established, tcp.TimeWait, tcp.CloseWait, tcp.FinWait2} {
				if states[want] == 0 {
					t.Errorf("no %v in the dump, which was captured with one", want)
				}
			}
		})
	}
}

const captureSeq = 1

// writeCaptures makes one socket of each kind and stores the kernel's answer.
func writeCaptures(t *testing.T) {
	connect(t, "tcp4", "127.0.0.1:0")
	connect(t, "tcp6", "[::1]:0")
	half := connect(t, "tcp4", "127.0.0.1:0")
	if err := half.client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	gone := connect(t, "tcp", ":0")
	_, _ = gone.client.Close(), gone.server.Close()
	r := open(t)
	var whole []byte
	if err := send(r.fd, appendRequest(nil, typeLegacy, unix.AF_UNSPEC, captureSeq, tcp.Request{States: tcp.AllStates, Info: true})); err != nil {
		t.Fatal(err)
	}
	for {
		n, err := receive(r.fd, r.buffer, 0)
		if err != nil {
			t.Fatal(err)
		}
		whole = append(whole, r.buffer[:n]...)
		if v, err := walk(r.buffer[:n], captureSeq, func([]byte) {}); v.done || err != nil {
			break
		}
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	release := strings.SplitN(unix.ByteSliceToString(name.Release[:]), ".", 3)
	file := filepath.Join("testdata", "dump-linux-"+release[0]+"."+release[1]+".bin")
	if err := os.WriteFile(file, whole, 0o644); err != nil {
		t.Fatal(err)
	}
}

// FuzzDecode: no panic; a refused row leaves the socket zero; an accepted one
// has a known state and survives encode and decode.
func FuzzDecode(f *testing.F) {
	f.Add(encode(established))
	f.Add([]byte{})
	files, _ := filepath.Glob("testdata/dump-*.bin")
	if len(files) == 0 {
		f.Fatal("no captured dumps in testdata to start from")
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		_, _ = walk(b, captureSeq, func(payload []byte) { f.Add(payload) })
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s tcp.Socket
		if !decode(b, &s) {
			if s != (tcp.Socket{}) {
				t.Fatalf("refused row left %+v", s)
			}
			return
		}
		if s.State == tcp.StateUnknown || int(s.State) >= tcp.NumStates || s.Local.Addr().Is4In6() {
			t.Fatalf("accepted %+v", s)
		}
		var again tcp.Socket
		if s.Local.Addr().Is4() != s.Remote.Addr().Is4() && s.Remote.IsValid() {
			return // one end v4-mapped: no kernel sends that, and encode has no word for it
		}
		if !decode(encode(s), &again) {
			t.Fatalf("what was accepted is refused after encoding: %+v", s)
		}
		if again != s {
			t.Fatalf("changed by encode and decode:\n%+v\n%+v", s, again)
		}
	})
}

// FuzzWalk: no panic; rows lie inside the datagram; what follows an error or
// the end mark is never passed on.
func FuzzWalk(f *testing.F) {
	f.Add(message(typeLegacy, 0, 7, encode(established)))
	f.Add(message(unix.NLMSG_DONE, unix.NLM_F_DUMP_INTR, 7, make([]byte, 4)))
	f.Add(message(unix.NLMSG_ERROR, 0, 7, make([]byte, 4))[:18])
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		v, err := walk(b, 7, func(payload []byte) { total += sizeHeader + len(payload) })
		if total > len(b) {
			t.Fatalf("%d bytes of rows in a datagram of %d", total, len(b))
		}
		if errors.Is(err, errTruncated) && v.done {
			t.Fatalf("a cut datagram also ended the dump: %+v, %v", v, err)
		}
	})
}

// appendAddr16 appends the address in the 16 bytes of inet_diag_sockid.
func appendAddr16(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		four := a.As4()
		return append(append(b, four[:]...), make([]byte, 12)...)
	}
	sixteen := a.As16()
	return append(b, sixteen[:]...)
}

package sockdiag

import (
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
		b = native.AppendUint16(b, uint16(4+len(value)))
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
	native.PutUint16(longInfo[len(longInfo)-8-currentInfo-4:], 4+currentInfo+8)
	older := established
	older.Info.DataSegsOut = 0
	native.PutUint16(shortInfo[len(shortInfo)-currentInfo-4:], 4+currentInfo-4)
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
			for _, payload := range rows(t, b) {
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
			}
			for _, want := range []tcp.State{tcp.Listen, tcp.Established, tcp.TimeWait, tcp.CloseWait, tcp.FinWait2} {
				if states[want] == 0 {
					t.Errorf("no %v in the dump, which was captured with one", want)
				}
			}
		})
	}
}

// rows are the sockets of a captured dump, which must be whole.
func rows(t testing.TB, dump []byte) (payloads [][]byte) {
	t.Helper()
	for b := dump; len(b) >= sizeHeader; {
		length := native.Uint32(b)
		if native.Uint16(b[4:]) == unix.NLMSG_DONE {
			return payloads
		}
		payloads = append(payloads, b[sizeHeader:length])
		b = b[(length+3)&^3:]
	}
	t.Fatal("the dump has no end")
	return nil
}

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
	var whole []byte
	bare(t, openSocket(t), tcp.Request{States: tcp.AllStates, Info: true}, func(datagram []byte) { whole = append(whole, datagram...) })
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
		for _, payload := range rows(f, b) {
			f.Add(payload)
		}
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

// appendAddr16 appends the address in the 16 bytes of inet_diag_sockid.
func appendAddr16(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		four := a.As4()
		return append(append(b, four[:]...), make([]byte, 12)...)
	}
	sixteen := a.As16()
	return append(b, sixteen[:]...)
}

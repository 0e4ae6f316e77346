package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/tcp"
)

const (
	header4 = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     \n"
	header6 = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
)

// directory makes a /proc/PID/net with the given files.
func directory(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func newReader(t testing.TB, dir string) *Reader {
	t.Helper()
	r := New(dir, tcp.NewScratch())
	r.bigEndian = false // the fixtures'
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func readAll(t testing.TB, r *Reader, req tcp.Request) (tcp.Look, []tcp.Socket) {
	t.Helper()
	var rows []tcp.Socket
	look, err := r.Read(req, func(batch []tcp.Socket) {
		if len(batch) == 0 || len(batch) > tcp.BatchSize {
			t.Errorf("batch of %d", len(batch))
		}
		rows = append(rows, batch...)
	})
	if err != nil {
		t.Fatal(err)
	}
	if look.Sockets != len(rows) {
		t.Errorf("look counts %d sockets, %d came", look.Sockets, len(rows))
	}
	return look, rows
}

// ssRow is the part of a socket that both ss and procfs tell.
type ssRow struct {
	Local, Remote netip.AddrPort
	State         tcp.State
	ReceiveQueue  uint32
	SendQueue     uint32
	Inode         uint64
	Timer         tcp.Timer
	Retransmits   uint8
}

var (
	ssStates = map[string]tcp.State{
		"LISTEN": tcp.Listen, "ESTAB": tcp.Established, "SYN-SENT": tcp.SynSent, "SYN-RECV": tcp.SynRecv, "FIN-WAIT-1": tcp.FinWait1,
		"FIN-WAIT-2": tcp.FinWait2, "TIME-WAIT": tcp.TimeWait, "CLOSE-WAIT": tcp.CloseWait, "LAST-ACK": tcp.LastAck, "CLOSING": tcp.Closing,
	}
	ssTimers = map[string]tcp.Timer{"on": tcp.TimerRetransmit, "keepalive": tcp.TimerKeepalive, "timewait": tcp.TimerTimeWait, "persist": tcp.TimerZeroWindow}
)

// parseSS reads the output of ss -tanoieO.
func parseSS(t *testing.T, text []byte) []ssRow {
	t.Helper()
	number := func(s string) uint64 {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("ss: %v", err)
		}
		return n
	}
	var rows []ssRow
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if f[0] == "State" {
			continue
		}
		row := ssRow{State: ssStates[f[0]], ReceiveQueue: uint32(number(f[1])), SendQueue: uint32(number(f[2])), Local: ap(f[3])}
		if row.State == tcp.Listen {
			row.SendQueue = 0 // its limit, which procfs does not tell
		} else {
			row.Remote = ap(f[4])
		}
		for _, word := range f[5:] {
			if ino, ok := strings.CutPrefix(word, "ino:"); ok {
				row.Inode = number(ino)
			}
			if timer, ok := strings.CutPrefix(word, "timer:("); ok {
				parts := strings.Split(strings.TrimSuffix(timer, ")"), ",")
				row.Timer = ssTimers[parts[0]]
				row.Retransmits = uint8(number(parts[2]))
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func TestFixturesAgreeWithSS(t *testing.T) {
	for _, name := range labtest.Fixtures(t, fixtures, "*.tcp.txt") {
		base := strings.TrimSuffix(filepath.Base(name), ".tcp.txt")
		t.Run(base, func(t *testing.T) {
			tcp4, tcp6 := labtest.Read(t, name), labtest.Read(t, filepath.Join(fixtures, base+".tcp6.txt"))
			r := newReader(t, directory(t, map[string]string{"tcp": string(tcp4), "tcp6": string(tcp6)}))
			look, sockets := readAll(t, r, tcp.Request{Tier: tcp.Full, States: tcp.AllStates})
			var got []ssRow
			for _, s := range sockets {
				got = append(got, ssRow{
					Local: s.Local, Remote: s.Remote, State: s.State, ReceiveQueue: s.ReceiveQueue, SendQueue: s.SendQueue,
					Inode: s.Inode, Timer: s.Timer, Retransmits: s.Retransmits,
				})
			}
			want := parseSS(t, labtest.Read(t, filepath.Join(fixtures, base+".ss.txt")))
			if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
				t.Errorf("ss and procfs differ (-ss +procfs)\n%s", diff)
			}
			wantLook := tcp.Look{
				Request: tcp.Request{Tier: tcp.Full, States: tcp.AllStates}, Reader: "procfs", Completeness: tcp.Complete,
				Sockets: len(want), Bytes: int64(len(tcp4) + len(tcp6)),
			}
			if look.Duration <= 0 {
				t.Error("no duration")
			}
			look.Duration = 0
			if diff := cmp.Diff(wantLook, look, cmp.AllowUnexported(tcp.Counters{})); diff != "" {
				t.Errorf("look (-want +got)\n%s", diff)
			}
		})
	}
}

// row prints a socket of 192.0.2.1 toward 198.51.100.7.
func row(n int, state tcp.State, local, remote uint16, inode uint64) string {
	s := tcp.Socket{State: state, Local: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), local), Inode: inode}
	if state != tcp.Listen {
		s.Remote = netip.AddrPortFrom(netip.MustParseAddr("198.51.100.7"), remote)
	}
	return fmt.Sprintf("%4d%-145s\n", n, kernelLine(s, false)[4:])
}

func inodes(rows []tcp.Socket) []uint64 {
	var out []uint64
	for _, s := range rows {
		out = append(out, s.Inode)
	}
	return out
}

func TestReadSelects(t *testing.T) {
	text := header4 + row(0, tcp.Listen, 80, 0, 1) + row(1, tcp.Close, 81, 9, 2) + row(2, tcp.Listen, 443, 0, 3) +
		row(3, tcp.Established, 80, 1000, 4) + row(4, tcp.CloseWait, 443, 1001, 5) + row(5, tcp.SynSent, 40000, 443, 6) +
		row(6, tcp.Listen, 8080, 0, 7) // no kernel prints a listener here
	six := header6 + string(kernelLine(tcp.Socket{State: tcp.Listen, Local: ap("[::]:80"), Inode: 8}, false)) + "\n"
	r := newReader(t, directory(t, map[string]string{"tcp": text, "tcp6": six}))
	tests := []struct {
		name string
		req  tcp.Request
		want []uint64
	}{
		{"all", tcp.Request{States: tcp.AllStates}, []uint64{1, 2, 3, 4, 5, 6, 7, 8}},
		{"odd", tcp.Request{States: tcp.OddStates}, []uint64{2, 5, 6}},
		{"nothing", tcp.Request{}, nil},
		{"listeners: stops at the first connection", tcp.Request{States: tcp.ListenOnly}, []uint64{1, 3, 8}},
		{"local port", tcp.Request{States: tcp.AllStates, Filter: tcp.Filter{LocalPorts: []uint16{443}}}, []uint64{3, 5}},
		{"remote or local port", tcp.Request{States: tcp.AllStates, Filter: tcp.Filter{RemotePorts: []uint16{1000}, LocalPorts: []uint16{443}}}, []uint64{3, 4, 5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, rows := readAll(t, r, tt.req)
			if diff := cmp.Diff(tt.want, inodes(rows)); diff != "" {
				t.Errorf("inodes (-want +got)\n%s", diff)
			}
		})
	}
}

func TestReadBadInput(t *testing.T) {
	good := row(0, tcp.Established, 80, 1, 7)
	type outcome struct {
		Sockets, Malformed int
		Completeness       tcp.Completeness
		Err                string
	}
	tests := []struct {
		name  string
		files map[string]string
		want  outcome
	}{
		{"no tcp6: IPv6 is off", map[string]string{"tcp": header4 + good}, outcome{1, 0, tcp.Complete, ""}},
		{"no rows", map[string]string{"tcp": header4, "tcp6": header6}, outcome{0, 0, tcp.Complete, ""}},
		{"garbled rows are counted and the look goes on", map[string]string{"tcp": header4 + "   0: nonsense\n" + good + "\n" + good}, outcome{2, 2, tcp.Complete, ""}},
		{"ends within a row", map[string]string{"tcp": header4 + good + good[:80]}, outcome{1, 1, tcp.Truncated, ""}},
		{"ends after a row that lacks only its newline", map[string]string{"tcp": header4 + strings.TrimSuffix(good, "\n")}, outcome{0, 1, tcp.Truncated, ""}},
		{"a row longer than the buffer", map[string]string{"tcp": header4 + good + strings.Repeat("x", 3*tcp.ScratchSize) + "\n" + row(1, tcp.Established, 80, 2, 8)}, outcome{2, 1, tcp.Complete, ""}},
		{"a row longer than the buffer without an end", map[string]string{"tcp": header4 + good + strings.Repeat("x", 2*tcp.ScratchSize)}, outcome{1, 2, tcp.Truncated, ""}},
		{"no tcp", map[string]string{"tcp6": header6}, outcome{Err: "read sockets from DIR/tcp: open: no such file or directory"}},
		{"empty", map[string]string{"tcp": ""}, outcome{Err: "read sockets from DIR/tcp: is empty, without even a header"}},
		{"half a header", map[string]string{"tcp": header4[:20]}, outcome{Err: `read sockets from DIR/tcp: ends within its header "  sl  local_address "`}},
		{"another file", map[string]string{"tcp": header4 + good, "tcp6": "Iface Destination\n"}, outcome{Err: `read sockets from DIR/tcp6: header "Iface Destination" has "Iface" where column "sl" was expected`}},
		{"endless header", map[string]string{"tcp": strings.Repeat("x", 2*tcp.ScratchSize)}, outcome{
			Err: fmt.Sprintf(`read sockets from DIR/tcp: header "%s" has "%[1]s" where column "sl" was expected`, strings.Repeat("x", 120)),
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := directory(t, tt.files)
			r := newReader(t, dir)
			for range 2 { // the second look is on kept files
				rows := 0
				look, err := r.Read(tcp.Request{States: tcp.AllStates}, func(batch []tcp.Socket) { rows += len(batch) })
				got := outcome{look.Sockets, look.Malformed, look.Completeness, ""}
				if err != nil {
					got.Err = strings.ReplaceAll(err.Error(), dir, "DIR")
				} else if rows != look.Sockets {
					t.Errorf("%d rows came, the look says %d", rows, look.Sockets)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			}
		})
	}
}

func TestReadManyInBatches(t *testing.T) {
	const n = 3*tcp.BatchSize + 17
	var b bytes.Buffer
	b.WriteString(header4)
	var want []uint64
	for i := range n {
		b.WriteString(row(i, tcp.Established, 80, uint16(i+1), uint64(i+1)))
		want = append(want, uint64(i+1))
	}
	r := newReader(t, directory(t, map[string]string{"tcp": b.String()}))
	_, rows := readAll(t, r, tcp.Request{States: tcp.AllStates})
	if !slices.Equal(want, inodes(rows)) {
		t.Errorf("rows lost, doubled or out of order: %d of %d", len(rows), n)
	}
}

func TestReadReopens(t *testing.T) {
	dir := directory(t, map[string]string{"tcp": header4 + row(0, tcp.Listen, 80, 0, 1)})
	r := newReader(t, dir)
	readAll(t, r, tcp.Request{States: tcp.AllStates})
	if err := unix.Close(r.tables[0].fd); err != nil { // the kept file goes bad
		t.Fatal(err)
	}
	if _, rows := readAll(t, r, tcp.Request{States: tcp.AllStates}); len(rows) != 1 {
		t.Errorf("%d rows after the kept file failed, want 1", len(rows))
	}

	// A header that was wrong once is looked at anew.
	if err := os.WriteFile(filepath.Join(dir, "tcp"), []byte("garbage\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(tcp.Request{States: tcp.AllStates}, func([]tcp.Socket) {}); err == nil {
		t.Error("garbage was accepted")
	}
	if err := os.WriteFile(filepath.Join(dir, "tcp"), []byte(header4), 0o600); err != nil {
		t.Fatal(err)
	}
	readAll(t, r, tcp.Request{States: tcp.AllStates})

	// IPv6 arrives later.
	if err := os.WriteFile(filepath.Join(dir, "tcp6"), []byte(header6+string(kernelLine(tcp.Socket{State: tcp.Listen, Local: ap("[::]:80")}, false))+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	seen := false
	for range 2*absentLooks + 2 {
		_, rows := readAll(t, r, tcp.Request{States: tcp.AllStates})
		seen = seen || len(rows) == 1
	}
	if !seen {
		t.Error("a tcp6 that appeared later is never read")
	}
}

func TestClose(t *testing.T) {
	r := New(directory(t, map[string]string{"tcp": header4}), tcp.NewScratch())
	readAll(t, r, tcp.Request{States: tcp.AllStates})
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := r.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	if _, err := r.Read(tcp.Request{}, func([]tcp.Socket) {}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read after Close: %v", err)
	}
}

// TestLive finds this process' own sockets in the kernel's table.
func TestLive(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	r := New("/proc/thread-self/net", tcp.NewScratch())
	defer r.Close()
	at := ap(ln.Addr().String())
	_, rows := readAll(t, r, tcp.Request{States: tcp.AllStates, Filter: tcp.Filter{LocalPorts: []uint16{at.Port()}, RemotePorts: []uint16{at.Port()}}})
	type seen struct {
		State    tcp.State
		Local    netip.AddrPort
		Remote   netip.AddrPort
		Queue    uint32
		HasInode bool
	}
	got := map[seen]int{}
	for _, s := range rows {
		got[seen{s.State, s.Local, s.Remote, s.ReceiveQueue, s.Inode != 0}]++
	}
	from := ap(client.LocalAddr().String())
	want := map[seen]int{
		{tcp.Listen, at, netip.AddrPort{}, 1, true}: 1, // one waits in the accept queue
		{tcp.Established, at, from, 0, false}:       1, // un-accepted: nobody's inode
		{tcp.Established, from, at, 0, true}:        1,
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	labtest.SkipUnderRace(t)
	var big strings.Builder
	big.WriteString(header4)
	for i := range 1000 {
		big.WriteString(row(i, tcp.Established, 80, uint16(i+1), uint64(i+1)))
	}
	withGarbage := big.String() + "garbage\n" + big.String()
	for name, dir := range map[string]string{
		"the live table": "/proc/thread-self/net",
		"without tcp6":   directory(t, map[string]string{"tcp": big.String()}),
		"with garbage":   directory(t, map[string]string{"tcp": withGarbage, "tcp6": header6}),
	} {
		t.Run(name, func(t *testing.T) {
			r := New(dir, tcp.NewScratch())
			defer r.Close()
			req := tcp.Request{States: tcp.AllStates, Filter: tcp.Filter{LocalPorts: []uint16{80}}}
			count := 0
			add := func(batch []tcp.Socket) { count += len(batch) }
			look := func() {
				if _, err := r.Read(req, add); err != nil {
					t.Fatal(err)
				}
			}
			look() // opens the files
			if n := testing.AllocsPerRun(20, look); n != 0 {
				t.Errorf("%g allocations per look", n)
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		var text strings.Builder
		text.WriteString(header4)
		for i := range n {
			text.WriteString(row(i, tcp.Established, 80, uint16(i+1), uint64(i+1)))
		}
		b.Run(fmt.Sprintf("sockets=%d", n), func(b *testing.B) {
			r := newReader(b, directory(b, map[string]string{"tcp": text.String()}))
			req := tcp.Request{States: tcp.AllStates}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Read(req, func([]tcp.Socket) {}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/socket")
		})
	}
}

// BenchmarkReadLive reads the table of the namespace it runs in, with 100
// connections of its own: all but nothing beside the walk through the buckets.
func BenchmarkReadLive(b *testing.B) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	for range 100 {
		c, err := net.Dial("tcp4", ln.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
	}
	r := New("/proc/thread-self/net", tcp.NewScratch())
	defer r.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Read(tcp.Request{States: tcp.AllStates}, func([]tcp.Socket) {}); err != nil {
			b.Fatal(err)
		}
	}
}

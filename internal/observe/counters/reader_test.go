package counters

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/tcp"
)

// directory makes a /proc/PID/net with the given files.
func directory(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, files)
	return dir
}

func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func open(t testing.TB, dir string) *Reader {
	t.Helper()
	r, err := Open(dir, tcp.NewScratch())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

const (
	goodSNMP     = "Tcp: ActiveOpens PassiveOpens\nTcp: 1 2\n"
	goodNetstat  = "TcpExt: ListenOverflows\nTcpExt: 3\n"
	goodSockstat = "TCP: inuse 4\n"
)

func TestRead(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  map[string]uint64
		err   string
	}{
		{
			"all", map[string]string{"snmp": goodSNMP, "netstat": goodNetstat, "sockstat": goodSockstat},
			map[string]uint64{"ActiveOpens": 1, "PassiveOpens": 2, "ListenOverflows": 3, "inuse": 4}, "",
		},
		{
			"one file is missing: the others count", map[string]string{"snmp": goodSNMP, "sockstat": goodSockstat},
			map[string]uint64{"ActiveOpens": 1, "PassiveOpens": 2, "inuse": 4}, "read TCP counters: open DIR/netstat: no such file or directory",
		},
		{
			"one file is garbled: the others count", map[string]string{"snmp": "Tcp: ActiveOpens PassiveOpens\nTcp: 1\n", "netstat": goodNetstat, "sockstat": goodSockstat},
			map[string]uint64{"ListenOverflows": 3, "inuse": 4}, "read TCP counters: DIR/snmp: parse snmp: line 2: 2 names and 1 values",
		},
		{
			"a netstat larger than the buffer", map[string]string{
				"snmp": goodSNMP, "sockstat": goodSockstat,
				"netstat": "TcpExt: " + strings.Repeat("New ", tcp.ScratchSize) + "ListenOverflows\nTcpExt: " + strings.Repeat("0 ", tcp.ScratchSize) + "3\n",
			},
			map[string]uint64{"ActiveOpens": 1, "PassiveOpens": 2, "ListenOverflows": 3, "inuse": 4}, "",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := directory(t, tt.files)
			r := open(t, dir)
			for range 2 { // the second reading is on kept files
				var c tcp.Counters
				c.Set(tcp.TCPTimeouts, 99) // of an earlier reading: must not stay
				message := ""
				if err := r.Read(&c); err != nil {
					message = strings.ReplaceAll(err.Error(), dir, "DIR")
				}
				if message != tt.err {
					t.Errorf("error %q\nwant  %q", message, tt.err)
				}
				if diff := cmp.Diff(tt.want, levels(&c)); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			}
		})
	}
}

// TestReadSince: netstat is read again only where something moved.
func TestReadSince(t *testing.T) {
	snmp := func(inSegs, retransmitted string) string {
		return "Tcp: ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts\n" +
			"Tcp: 1 2 0 0 5 " + inSegs + " 70 " + retransmitted + " 0 0\n"
	}
	const sockstat6 = "TCP6: inuse 6\nUDP6: inuse 9\n"
	tests := []struct {
		name  string
		then  map[string]string // what the files hold at the second reading
		moved bool
	}{
		{"nothing", nil, false},
		{"only what is not of this namespace, and TIME_WAIT", map[string]string{"sockstat": "TCP: inuse 4 orphan 1 tw 3 alloc 99 mem 98\n"}, false},
		{"a segment came", map[string]string{"snmp": snmp("61", "0")}, true},
		{"a segment was sent again", map[string]string{"snmp": snmp("60", "1")}, true},
		{"a listener closed", map[string]string{"sockstat": "TCP: inuse 3 orphan 0 tw 4 alloc 8 mem 9\n"}, true},
		{"one of IPv6 came", map[string]string{"sockstat6": "TCP6: inuse 7\n"}, true},
		{"a counter cannot be read any more", map[string]string{"snmp": "Tcp: ActiveOpens\nTcp: 1\n"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := directory(t, map[string]string{
				"snmp": snmp("60", "0"), "netstat": goodNetstat,
				"sockstat": "TCP: inuse 4 orphan 0 tw 4 alloc 8 mem 9\n", "sockstat6": sockstat6,
			})
			r := open(t, dir)
			var nothing, before, after tcp.Counters
			if moved, err := r.ReadSince(&nothing, &before); err != nil || !moved {
				t.Fatalf("the first reading: moved %t, %v", moved, err)
			}
			if got, _ := before.Get(tcp.Sock6InUse); got != 6 {
				t.Errorf("%d sockets of IPv6 in use, want 6", got)
			}
			write(t, dir, tt.then)
			write(t, dir, map[string]string{"netstat": "TcpExt: ListenOverflows\nTcpExt: 4\n"})
			moved, err := r.ReadSince(&before, &after)
			if err != nil || moved != tt.moved {
				t.Fatalf("moved %t, %v; want %t", moved, err, tt.moved)
			}
			want := map[bool]uint64{false: 3, true: 4}[tt.moved]
			if got, known := after.Get(tcp.ListenOverflows); got != want || !known {
				t.Errorf("ListenOverflows is %d (known: %t), want %d", got, known, want)
			}
		})
	}
}

func TestReadRecovers(t *testing.T) {
	dir := directory(t, map[string]string{"snmp": goodSNMP, "netstat": goodNetstat})
	r := open(t, dir)
	var c tcp.Counters
	if err := r.Read(&c); err == nil {
		t.Error("a missing sockstat is no error")
	}
	write(t, dir, map[string]string{"sockstat": goodSockstat})
	if err := unix.Close(r.files[0].fd); err != nil { // a kept file goes bad
		t.Fatal(err)
	}
	if err := r.Read(&c); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(map[string]uint64{"ActiveOpens": 1, "PassiveOpens": 2, "ListenOverflows": 3, "inuse": 4}, levels(&c)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestOpenWithoutAnyFile(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "gone"), tcp.NewScratch())
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want one that matches os.ErrNotExist", err)
	}
}

func TestClose(t *testing.T) {
	r := open(t, directory(t, map[string]string{"snmp": goodSNMP}))
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := r.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	var c tcp.Counters
	if err := r.Read(&c); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read after Close: %v", err)
	}
}

// TestLive: the kernel has every counter we name, and counts our connection.
func TestLive(t *testing.T) {
	r := open(t, "/proc/thread-self/net")
	var before, after tcp.Counters
	if err := r.Read(&before); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := r.Read(&after); err != nil {
		t.Fatal(err)
	}
	for n := range tcp.Counter(tcp.NumCounters) {
		if _, ok := after.Get(n); !ok {
			t.Errorf("this kernel has no %s", n)
		}
	}
	deltas := after.Since(&before)
	for _, n := range []tcp.Counter{tcp.ActiveOpens, tcp.PassiveOpens} {
		if moved, ok := deltas.Get(n); !ok || moved < 1 {
			t.Errorf("%s moved by %d (known: %t), want at least 1", n, moved, ok)
		}
	}
}

// TestRatesSurviveResetsAndWraps reads real text twice and takes the
// difference, as the agent does.
func TestRatesSurviveResetsAndWraps(t *testing.T) {
	const max32, max64 = 1<<32 - 1, 1<<64 - 1
	tests := []struct {
		name          string
		before, after string // PassiveOpens; empty: the file cannot be read
		want          uint64
		known         bool
	}{
		{"usual", "1000", "1007", 7, true},
		{"still", "1000", "1000", 0, true},
		{"a 32-bit kernel's counter wraps", fmt.Sprint(uint64(max32) - 4), "5", 10, true},
		{"a 32-bit kernel's counter wraps onto zero", fmt.Sprint(uint64(max32)), "0", 1, true},
		{"a 64-bit kernel's counter wraps", fmt.Sprint(uint64(max64) - 4), "5", 10, true},
		{"a 64-bit kernel passes 2³² without wrapping", fmt.Sprint(uint64(max32) - 4), fmt.Sprint(uint64(max32) + 6), 10, true},
		{"reset: no delta, never a huge one", "1000000", "3", 0, false},
		{"reset to zero", "1000000", "0", 0, false},
		{"reset far from both limits", fmt.Sprint(uint64(1) << 40), "3", 0, false},
		{"no reading before", "", "1007", 0, false},
		{"no reading after", "1000", "", 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := directory(t, map[string]string{"netstat": goodNetstat})
			r := open(t, dir)
			reading := func(value string) (c tcp.Counters) {
				text := "cut\n"
				if value != "" {
					text = "Tcp: PassiveOpens CurrEstab\nTcp: " + value + " 5\n"
				}
				write(t, dir, map[string]string{"snmp": text})
				_ = r.Read(&c) // sockstat is missing throughout
				return c
			}
			before := reading(tt.before)
			after := reading(tt.after)
			deltas := after.Since(&before)
			if got, ok := deltas.Get(tcp.PassiveOpens); got != tt.want || ok != tt.known {
				t.Errorf("got %d (known: %t), want %d (known: %t)", got, ok, tt.want, tt.known)
			}
			if _, ok := deltas.Get(tcp.CurrEstab); ok {
				t.Error("a level has a delta")
			}
		})
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	labtest.SkipUnderRace(t)
	r := open(t, "/proc/thread-self/net")
	var c tcp.Counters
	read := func() {
		if err := r.Read(&c); err != nil {
			t.Fatal(err)
		}
	}
	var last tcp.Counters
	since := func() {
		if _, err := r.ReadSince(&last, &c); err != nil {
			t.Fatal(err)
		}
		last = c
	}
	for _, read := range []func(){read, since} {
		read()
		if n := testing.AllocsPerRun(50, read); n != 0 {
			t.Errorf("%g allocations per reading", n)
		}
	}
}

// BenchmarkReadSince is a reading of a namespace where nothing moves; this
// machine's own may.
func BenchmarkReadSince(b *testing.B) {
	r := open(b, "/proc/thread-self/net")
	var last tcp.Counters
	_ = r.Read(&last)
	b.ReportAllocs()
	for b.Loop() {
		var c tcp.Counters
		if _, err := r.ReadSince(&last, &c); err != nil {
			b.Fatal(err)
		}
		last = c
	}
}

func BenchmarkRead(b *testing.B) {
	r := open(b, "/proc/thread-self/net")
	var c tcp.Counters
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Read(&c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseNetstat(b *testing.B) {
	data := labtest.Read(b, labtest.Fixtures(b, fixtures, "1-*.netstat.txt")[0])
	var c tcp.Counters
	b.ReportAllocs()
	for b.Loop() {
		if err := parseNetstat(data, &c); err != nil {
			b.Fatal(err)
		}
	}
}

// TestReadRefusesAnotherNamespace: a path that leads elsewhere by now, as
// /proc/PID/net does when the pid was given to another process.
func TestReadRefusesAnotherNamespace(t *testing.T) {
	dir := directory(t, map[string]string{"snmp": goodSNMP, "netstat": goodNetstat, "sockstat": goodSockstat, "other": goodSNMP})
	r := open(t, dir)
	if err := os.Rename(filepath.Join(dir, "other"), filepath.Join(dir, "snmp")); err != nil {
		t.Fatal(err)
	}
	var c tcp.Counters
	if err := r.Read(&c); err != nil {
		t.Errorf("the kept files: %v", err)
	}
	if err := r.files[0].close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Read(&c); !errors.Is(err, errOther) {
		t.Errorf("opened again: error %v", err)
	}
	if diff := cmp.Diff(map[string]uint64{"ListenOverflows": 3, "inuse": 4}, levels(&c)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

package procfs

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/foreshock/foreshock/internal/tcp"
)

// seqFile is a table as the kernel gives it out. Kernel: net/ipv4/tcp_ipv4.c,
// tcp_seq_start; fs/seq_file.c, seq_read_iter.
type seqFile struct {
	header string
	page   int
	rows   []seqRow // in the order of their buckets
	before func()   // is called before each read
	reads  int      // of this look
	index  int      // lines printed in it
	next   int      // the bucket of the row that comes next
	rest   []byte   // printed and not yet given out
}

// seqRow is the one socket of a bucket.
type seqRow struct {
	bucket int
	text   string
}

// insert adds a socket whose inode and ports are made of its bucket, unless
// there is one.
func (f *seqFile) insert(bucket int, state tcp.State) bool {
	at, taken := slices.BinarySearchFunc(f.rows, bucket, byBucket)
	if taken {
		return false
	}
	text := row(at, state, uint16(bucket), uint16(bucket>>16), uint64(bucket))
	if f.header == header6 {
		text = string(kernelLine(tcp.Socket{
			State: state, Inode: uint64(bucket),
			Local:  netip.AddrPortFrom(netip.MustParseAddr("2001:db8::1"), uint16(bucket)),
			Remote: netip.AddrPortFrom(netip.MustParseAddr("2001:db8::2"), uint16(bucket>>16)),
		}, false)) + "\n"
	}
	f.rows = slices.Insert(f.rows, at, seqRow{bucket, text})
	return true
}

func byBucket(r seqRow, bucket int) int { return cmp.Compare(r.bucket, bucket) }

func (f *seqFile) remove(bucket int) {
	f.rows = slices.DeleteFunc(f.rows, func(r seqRow) bool { return r.bucket == bucket })
}

// start returns the lines that a read has to print.
func (f *seqFile) start() []seqRow {
	if f.index == 0 {
		return append([]seqRow{{0, f.header}}, f.rows...)
	}
	at, _ := slices.BinarySearchFunc(f.rows, f.next, byBucket)
	if at == len(f.rows) { // none is left: the table again, past what was printed
		at = min(f.index-1, at)
	}
	return f.rows[at:]
}

func (f *seqFile) pread(_ int, buffer []byte, offset int64) (int, error) {
	if offset == 0 {
		f.reads, f.index, f.rest = 0, 0, nil
	}
	f.before()
	f.reads++
	n := copy(buffer, f.rest)
	if f.rest = f.rest[n:]; n == len(buffer) {
		return n, nil
	}
	var text []byte
	lines := f.start()
	f.next = math.MaxInt // beyond the last bucket
	for _, r := range lines {
		if n+len(text) >= len(buffer) || len(text)+len(r.text) >= f.page {
			f.next = r.bucket
			break
		}
		text = append(text, r.text...)
		f.index++
	}
	m := copy(buffer[n:], text)
	f.rest = text[m:]
	return n + m, nil
}

// reader returns a Reader whose tcp is f, without a tcp6.
func (f *seqFile) reader(t testing.TB) *Reader {
	t.Helper()
	r := newReader(t, directory(t, map[string]string{"tcp": ""}))
	r.page, r.pread = f.page, f.pread
	return r
}

func TestReadEnds(t *testing.T) {
	const p4, p16, p64 = 4 << 10, 16 << 10, 64 << 10
	tests := []struct {
		name       string
		header     string
		page, rows int
		// Rows added when all were printed: in front of them, before the last
		// three, behind them.
		first, among, last int
		reads, want        int // want: sockets
	}{
		{"nothing", header4, p4, 0, 0, 0, 0, 1, 0},
		{"room", header4, p4, 10, 3, 0, 3, 1, 10},
		{"room for the longest row", header4, p4, 24, 3, 0, 3, 1, 24},
		{"room for a row, not for the longest", header4, p4, 25, 0, 0, 0, 2, 25},
		{"room for a row, not for the longest, and rows repeated", header4, p4, 25, 3, 0, 0, 2, 25},
		{"at the page", header4, p4, 26, 0, 0, 0, 2, 26},
		{"at the page, rows repeated", header4, p4, 26, 3, 0, 0, 2, 26},
		{"at the page, rows repeated and new ones among them", header4, p4, 26, 3, 0, 2, 2, 28},
		{"at the page, many new ones before those repeated", header4, p4, 26, 3, 5, 0, 2, 31},
		{"at the page, new rows only", header4, p4, 26, 0, 0, 3, 2, 29},
		{"at the page, the whole page repeated", header4, p4, 26, 26, 0, 0, 3, 26},
		{"one row beyond the page", header4, p4, 27, 3, 0, 0, 2, 27},
		{"at the second page", header4, p4, 26 + 27, 0, 0, 0, 3, 53},
		{"at the second page, more than a page repeated", header4, p4, 26 + 27, 30, 0, 0, 4, 53},
		{"at the tenth page, repeated are rows of two batches", header4, p4, 26 + 9*27, 20, 0, 0, 11, 269},
		{"many pages", header4, p4, 26 + 100*27 + 13, 0, 0, 0, 102, 2739},
		{"tcp6, room", header6, p4, 18, 3, 0, 3, 1, 18},
		{"tcp6, at the page", header6, p4, 21, 0, 0, 0, 2, 21},
		{"tcp6, at the page, rows repeated", header6, p4, 21, 3, 0, 1, 2, 22},
		{"tcp6, at the second page", header6, p4, 44, 0, 0, 0, 3, 44},
		{"pages of 16 KiB, room", header4, p16, 106, 3, 0, 0, 1, 106},
		{"pages of 16 KiB, at the page", header4, p16, 108, 3, 0, 0, 2, 108},
		{"a page longer than the buffer, room", header4, p64, 215, 3, 0, 0, 1, 215},
		{"a page longer than the buffer, a row left in it", header4, p64, 218, 3, 0, 0, 2, 218},
		{"a page longer than the buffer, two reads", header4, p64, 300, 3, 0, 0, 2, 300},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &seqFile{header: tt.header, page: tt.page}
			for i := range tt.rows {
				f.insert(1_000_000+10*i, tcp.Established)
			}
			f.before = func() {
				if f.index > tt.rows && len(f.rows) == tt.rows {
					for i := range tt.first {
						f.insert(1+i, tcp.Established)
					}
					for i := range tt.among {
						f.insert(1_000_000+10*(tt.rows-3)-1-i, tcp.Established)
					}
					for i := range tt.last {
						f.insert(2_000_000+i, tcp.Established)
					}
				}
			}
			look, rows := readAll(t, f.reader(t), tcp.Request{States: tcp.AllStates})
			if f.reads != tt.reads || len(rows) != tt.want || look.Completeness != tcp.Complete || look.Malformed != 0 {
				t.Errorf("%d sockets after %d reads, want %d after %d: %+v", len(rows), f.reads, tt.want, tt.reads, look)
			}
			if twice := repeats(rows); len(twice) > 0 {
				t.Errorf("there twice: %v", twice)
			}
		})
	}
}

type ends struct{ local, remote netip.AddrPort }

// repeats returns what more than one row is of, listeners apart.
func repeats(rows []tcp.Socket) []ends {
	var twice []ends
	seen := map[ends]bool{}
	for _, s := range rows {
		if s.State == tcp.Listen {
			continue
		}
		k := ends{s.Local, s.Remote}
		if seen[k] {
			twice = append(twice, k)
		}
		seen[k] = true
	}
	return twice
}

// A file may end a read at the end of a row and have more.
func TestReadFullBuffer(t *testing.T) {
	const width, rows = 256, 200
	text := fmt.Sprintf("%-*s\n", width-1, strings.TrimSpace(header4))
	for i := range rows {
		text += fmt.Sprintf("%-*s\n", width-1, strings.TrimSpace(row(i, tcp.Established, 80, uint16(i+1), 1)))
	}
	for _, page := range []int{4 << 10, 64 << 10} {
		r := newReader(t, directory(t, map[string]string{"tcp": text}))
		r.page = page
		if _, got := readAll(t, r, tcp.Request{States: tcp.AllStates}); len(got) != rows {
			t.Errorf("pages of %d: %d rows of %d", page, len(got), rows)
		}
	}
}

func TestReadKnowsAgain(t *testing.T) {
	conn := func(state tcp.State, remote uint16, inode uint64) string { return row(0, state, 80, remote, inode) }
	tests := []struct {
		name, before, after string
		want                []uint64
	}{
		{"the same", conn(tcp.Established, 1, 7), conn(tcp.Established, 1, 7), []uint64{7}},
		{"closed since", conn(tcp.Established, 1, 7), conn(tcp.TimeWait, 1, 0), []uint64{7}},
		{"accepted since", conn(tcp.Established, 1, 0), conn(tcp.Established, 1, 7), []uint64{0}},
		{"another of the same ends, as on another device", conn(tcp.Established, 1, 7), conn(tcp.Established, 1, 8), []uint64{7, 8}},
		{"another port", conn(tcp.Established, 1, 0), conn(tcp.Established, 2, 0), []uint64{0, 0}},
		{"listeners share an address", conn(tcp.Listen, 0, 0), conn(tcp.Listen, 0, 0), []uint64{0, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &seqFile{header: header4, page: 4 << 10}
			var want []uint64
			for i := range 25 {
				f.insert(1000+i, tcp.Established)
				want = append(want, uint64(1000+i))
			}
			f.rows = append(f.rows, seqRow{5000, tt.before})
			f.before = func() {
				if f.index > 0 {
					f.rows = append(f.rows, seqRow{6000, tt.after})
				}
			}
			_, rows := readAll(t, f.reader(t), tcp.Request{States: tcp.AllStates})
			if diff := gocmp.Diff(append(want, tt.want...), inodes(rows)); diff != "" {
				t.Errorf("inodes (-want +got)\n%s", diff)
			}
		})
	}
}

// TestReadPassesEachOnce: what stays is passed, whatever comes and goes between
// the reads, and nothing is passed twice where fewer than 16 come.
func TestReadPassesEachOnce(t *testing.T) {
	bucket := rapid.IntRange(1, 1<<31)
	sizes := make([]int, 300)
	for i := range sizes {
		sizes[i] = i
	}
	size := rapid.SampledFrom(sizes) // IntRange prefers small ones
	states := rapid.SampledFrom([]tcp.State{tcp.Established, tcp.TimeWait, tcp.SynRecv})
	rapid.Check(t, func(rt *rapid.T) {
		f := &seqFile{
			header: rapid.SampledFrom([]string{header4, header6}).Draw(rt, "header"),
			page:   rapid.SampledFrom([]int{4 << 10, 16 << 10, 64 << 10}).Draw(rt, "page"),
		}
		var stays []uint64
		n := size.Draw(rt, "size")
		for _, b := range rapid.SliceOfNDistinct(bucket, n, n, rapid.ID).Draw(rt, "stays") {
			f.insert(b, tcp.Established)
			stays = append(stays, uint64(b))
		}
		var passing []int
		left := 15
		f.before = func() {
			for _, b := range rapid.SliceOfN(bucket, 0, left).Draw(rt, "comes") {
				if f.insert(b, states.Draw(rt, "state")) {
					passing = append(passing, b)
					left--
				}
			}
			for range rapid.IntRange(0, min(3, len(passing))).Draw(rt, "goes") {
				f.remove(passing[0])
				passing = passing[1:]
			}
		}
		r := f.reader(t)
		defer r.Close()
		_, rows := readAll(t, r, tcp.Request{States: tcp.AllStates})
		if twice := repeats(rows); len(twice) > 0 {
			rt.Errorf("there twice: %v", twice)
		}
		got := map[uint64]bool{}
		for _, s := range rows {
			got[s.Inode] = true
		}
		for _, inode := range stays {
			if !got[inode] {
				rt.Errorf("%d of %d is missing", inode, len(stays))
			}
		}
	})
}

package sockdiag

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/tcp"
)

// TestReadAllocatesNothing: a look reuses everything.
func TestReadAllocatesNothing(t *testing.T) {
	labtest.SkipUnderRace(t)
	r := open(t)
	p := connect(t, "tcp4", "127.0.0.1:0")
	sockets := 0
	add := func(batch []tcp.Socket) { sockets += len(batch) }
	for _, req := range []tcp.Request{
		{States: tcp.ListenOnly},
		{States: tcp.OddStates},
		{States: tcp.AllStates, Info: true},
		{States: tcp.AllStates, Info: true, Filter: tcp.Filter{LocalPorts: []uint16{p.remote().Port()}}},
	} {
		got := testing.AllocsPerRun(50, func() {
			if _, err := r.Read(req, add); err != nil {
				t.Fatal(err)
			}
		})
		if got > 0 {
			t.Errorf("look %+v allocates %v times, want 0", req, got)
		}
	}
	if sockets == 0 {
		t.Error("no sockets passed")
	}
}

// BenchmarkDecode is the price of understanding one socket with tcp_info.
func BenchmarkDecode(b *testing.B) {
	row := encode(established)
	var s tcp.Socket
	b.ReportAllocs()
	for b.Loop() {
		if !decode(row, &s) {
			b.Fatal("refused")
		}
	}
}

// BenchmarkRead reads this machine's table as it stands, beside the bare
// receive loop; `make bench` does it on populations of known size.
func BenchmarkRead(b *testing.B) {
	r := open(b)
	req := tcp.Request{States: tcp.AllStates, Info: true}
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.Read(req, func([]tcp.Socket) {}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			r.seq++
			r.request = appendRequest(r.request[:0], typeLegacy, unix.AF_UNSPEC, r.seq, req)
			if err := send(r.fd, r.request); err != nil {
				b.Fatal(err)
			}
			for done := false; !done; {
				n, err := receive(r.fd, r.buffer, 0)
				if err != nil {
					b.Fatal(err)
				}
				done = endsDump(r.buffer[:n])
			}
		}
	})
}

// endsDump reports whether the datagram holds the end mark, reading headers
// only.
func endsDump(b []byte) bool {
	for len(b) >= sizeHeader {
		if t := native.Uint16(b[4:]); t == unix.NLMSG_DONE || t == unix.NLMSG_ERROR {
			return true
		}
		b = b[min(align4(int(native.Uint32(b))), len(b)):]
	}
	return false
}

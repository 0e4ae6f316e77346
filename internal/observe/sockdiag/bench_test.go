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
		fd := openSocket(b)
		for b.Loop() {
			bare(b, fd, req, func([]byte) {})
		}
	})
}

const sizeHeader = 16 // struct nlmsghdr

func openSocket(t testing.TB) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// bare asks by a socket and passes the datagrams of the answer as they come.
func bare(t testing.TB, fd int, req tcp.Request, each func(datagram []byte)) {
	t.Helper()
	b := appendRequest(nil, typeLegacy, unix.AF_UNSPEC, req)
	native.PutUint32(b, uint32(len(b)))
	if _, err := unix.Write(fd, b); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, tcp.ScratchSize)
	for done := false; !done; {
		n, err := unix.Read(fd, buffer)
		if err != nil {
			t.Fatal(err)
		}
		each(buffer[:n])
		done = endsDump(buffer[:n])
	}
}

// endsDump reports whether the datagram holds the end mark, reading headers
// only.
func endsDump(b []byte) bool {
	for len(b) >= sizeHeader {
		if t := native.Uint16(b[4:]); t == unix.NLMSG_DONE || t == unix.NLMSG_ERROR {
			return true
		}
		b = b[min(int(native.Uint32(b)+3)&^3, len(b)):]
	}
	return false
}

package observe

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/observe/sockdiag"
	"github.com/foreshock/foreshock/internal/tcp"
)

// refuseNetlink makes the calling thread one that may not open netlink
// sockets, as in many sandboxes. It cannot be undone: the thread must end.
func refuseNetlink() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	const (
		number   = 0  // offsetof(struct seccomp_data, nr)
		firstArg = 16 // offsetof(struct seccomp_data, args[0]), low half, little-endian
		errno    = 0x00050000
		allow    = 0x7fff0000
	)
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SOCKET, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: firstArg},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.AF_NETLINK, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: errno | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: allow},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
}

// TestFallback: where netlink is refused, procfs takes its place, sees the
// same listener and names what is lost.
func TestFallback(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	want := netip.MustParseAddrPort(l.Addr().String())
	type outcome struct {
		reader           Reader
		fallback, err    error
		strict, unsecure error
	}
	var o outcome
	labtest.OnThread(func() {
		if o.unsecure = refuseNetlink(); o.unsecure == nil {
			o.reader, o.fallback, o.err = Open(Auto, tcp.NewScratch())
			_, _, o.strict = Open(SockDiag, tcp.NewScratch())
		}
	})
	if o.unsecure != nil {
		t.Skipf("seccomp filters are not available in this sandbox: %v", o.unsecure)
	}
	if o.err != nil || !errors.Is(o.fallback, sockdiag.ErrRefused) || !errors.Is(o.fallback, unix.EPERM) {
		t.Fatalf("Open(Auto) = %v, %v; want a fallback because of EPERM", o.fallback, o.err)
	}
	if !errors.Is(o.strict, sockdiag.ErrRefused) {
		t.Errorf("Open(SockDiag) = %v; want ErrRefused: it was asked for by name", o.strict)
	}
	defer o.reader.Close()
	found := false
	look, err := o.reader.Read(tcp.Request{States: tcp.ListenOnly}, func(batch []tcp.Socket) {
		for i := range batch {
			found = found || batch[i].Local == want
		}
	})
	if err != nil || !found || look.Reader != string(Procfs) {
		t.Errorf("look by %s: %v; listener found: %v", look.Reader, err, found)
	}
	if lost := o.reader.Abilities().Missing(); len(lost) < 5 {
		t.Errorf("only %q are named as lost", lost)
	}
}

// TestOutOfDescriptors: that sock_diag could not be tried is no refusal, which
// would leave /proc in its place for good.
func TestOutOfDescriptors(t *testing.T) {
	var reader Reader
	var fallback, err error
	labtest.WithoutDescriptors(t, func() { reader, fallback, err = Open(Auto, tcp.NewScratch()) })
	if reader != nil || fallback != nil || !errors.Is(err, unix.EMFILE) || errors.Is(err, sockdiag.ErrRefused) {
		t.Errorf("%T, fallback %v, %v; want %v", reader, fallback, err, unix.EMFILE)
	}
}

package sockdiag

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/observe/netlink"
	"github.com/foreshock/foreshock/internal/tcp"
)

// open opens a Reader on this machine's own table.
func open(t testing.TB) *Reader {
	t.Helper()
	r, err := Open(tcp.NewScratch())
	if err != nil {
		t.Skipf("sock_diag is not available in this sandbox: %v", err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// collect makes one look and copies what it passes.
func collect(t testing.TB, r *Reader, req tcp.Request) (tcp.Look, []tcp.Socket) {
	t.Helper()
	var all []tcp.Socket
	look, err := r.Read(req, func(batch []tcp.Socket) {
		if len(batch) > tcp.BatchSize {
			t.Errorf("batch of %d sockets, at most %d allowed", len(batch), tcp.BatchSize)
		}
		all = append(all, batch...)
	})
	if err != nil {
		t.Fatalf("Read(%+v): %v", req, err)
	}
	return look, all
}

// pair is a loopback connection and the listener it came through.
type pair struct {
	listener       *net.TCPListener
	client, server *net.TCPConn
}

func (p pair) local() netip.AddrPort  { return p.client.LocalAddr().(*net.TCPAddr).AddrPort() }
func (p pair) remote() netip.AddrPort { return p.client.RemoteAddr().(*net.TCPAddr).AddrPort() }

func connect(t testing.TB, network, address string) pair {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Skipf("cannot listen on %s %s: %v", network, address, err)
	}
	c, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); _ = s.Close(); _ = l.Close() })
	return pair{l.(*net.TCPListener), c.(*net.TCPConn), s.(*net.TCPConn)}
}

func TestReadFindsBothFamiliesInOneWalk(t *testing.T) {
	r := open(t)
	four, six := connect(t, "tcp4", "127.0.0.1:0"), connect(t, "tcp6", "[::1]:0")
	for _, oneWalk := range []bool{true, false} {
		r.oneWalk = oneWalk
		look, sockets := collect(t, r, tcp.Request{States: tcp.AllStates, Info: true})
		if look.Completeness != tcp.Complete || look.Malformed != 0 || look.Sockets != len(sockets) {
			t.Fatalf("oneWalk=%v: look %+v with %d sockets", oneWalk, look, len(sockets))
		}
		if r.oneWalk != oneWalk {
			t.Errorf("this kernel refused the legacy request; Linux 6.18 answers it")
		}
		for _, p := range []pair{four, six} {
			i := slices.IndexFunc(sockets, func(s tcp.Socket) bool { return s.Local == p.local() && s.Remote == p.remote() })
			if i < 0 {
				t.Fatalf("oneWalk=%v: %s to %s is not in the look", oneWalk, p.local(), p.remote())
			}
			s := sockets[i]
			if s.State != tcp.Established || s.Inode == 0 || s.Cookie == 0 || s.Has&tcp.HasInfo == 0 || s.Info.BytesAcked == 0 {
				t.Errorf("oneWalk=%v: %+v lacks what sock_diag knows", oneWalk, s)
			}
		}
	}
}

func TestReadMasksStates(t *testing.T) {
	r := open(t)
	p := connect(t, "tcp4", "127.0.0.1:0")
	_, listeners := collect(t, r, tcp.Request{States: tcp.ListenOnly})
	found := false
	for _, s := range listeners {
		if s.State != tcp.Listen {
			t.Errorf("a LISTEN look returned %v", s.State)
		}
		if s.Remote.IsValid() {
			t.Errorf("listener %s has remote %s", s.Local, s.Remote)
		}
		if s.Local == p.remote() {
			found = true
			if s.Has&tcp.HasQueueLimit == 0 || s.Has&tcp.HasDrops == 0 || s.SendQueue == 0 {
				t.Errorf("listener %+v lacks its limit or drop count", s)
			}
		}
	}
	if !found {
		t.Errorf("listener %s is not in the look", p.remote())
	}
	_, odd := collect(t, r, tcp.Request{States: tcp.OddStates})
	for _, s := range odd {
		if s.State == tcp.Established || s.State == tcp.Listen {
			t.Errorf("an odd look returned %v", s.State)
		}
	}
}

// TestFilterAgreesWithTheSlowTwin holds the kernel's program against
// tcp.Filter.Match over a table that holds still.
func TestFilterAgreesWithTheSlowTwin(t *testing.T) {
	r := open(t)
	a, b := connect(t, "tcp4", "127.0.0.1:0"), connect(t, "tcp4", "127.0.0.2:0")
	six := connect(t, "tcp6", "[::1]:0")
	dual := connect(t, "tcp", ":0")
	manyPorts := []uint16{a.remote().Port(), dual.remote().Port()}
	for p := uint16(1); p <= 200; p++ {
		manyPorts = append(manyPorts, p)
	}
	tests := []struct {
		name   string
		filter tcp.Filter
	}{
		{"one local port", tcp.Filter{LocalPorts: []uint16{a.remote().Port()}}},
		{"two local ports", tcp.Filter{LocalPorts: []uint16{a.remote().Port(), six.remote().Port()}}},
		{"202 local ports", tcp.Filter{LocalPorts: manyPorts}},
		{"one remote port", tcp.Filter{RemotePorts: []uint16{b.remote().Port()}}},
		{"local and remote port", tcp.Filter{LocalPorts: []uint16{a.remote().Port()}, RemotePorts: []uint16{b.remote().Port()}}},
		{"one remote prefix, of dual-stack sockets too", tcp.Filter{RemotePrefixes: prefixes("127.0.0.0/8")}},
		{"a prefix that ends within a byte", tcp.Filter{RemotePrefixes: prefixes("127.0.0.0/9")}},
		{"prefixes of both families", tcp.Filter{RemotePrefixes: prefixes("10.0.0.0/8", "::1/128", "2001:db8::/32")}},
		{"a port and prefixes", tcp.Filter{LocalPorts: []uint16{a.remote().Port()}, RemotePrefixes: prefixes("::1/128", "192.0.2.0/24")}},
		{"one local prefix, of dual-stack sockets too", tcp.Filter{LocalPrefixes: prefixes("127.0.0.0/8")}},
		{"one local address", tcp.Filter{LocalPrefixes: prefixes("127.0.0.2/32")}},
		{"addresses at both ends", tcp.Filter{LocalPrefixes: prefixes("127.0.0.2/32", "::1/128"), RemotePrefixes: prefixes("127.0.0.2/32", "::1/128")}},
		{"a port, and prefixes at both ends", tcp.Filter{RemotePorts: []uint16{a.remote().Port()}, RemotePrefixes: prefixes("192.0.2.0/24"), LocalPrefixes: prefixes("::1/128")}},
		{"nobody's prefix", tcp.Filter{RemotePrefixes: prefixes("192.0.2.0/24")}},
		{"nobody", tcp.Filter{LocalPorts: []uint16{1}}},
	}
	mine := func(s *tcp.Socket) bool { // other programs' sockets may come and go between the looks
		for _, p := range []pair{a, b, six, dual} {
			if s.Local == p.local() || s.Local == p.remote() {
				return true
			}
		}
		return false
	}
	name := func(s *tcp.Socket) string { return s.Local.String() + " " + s.Remote.String() + " " + s.State.String() }
	_, all := collect(t, r, tcp.Request{States: tcp.AllStates})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var want, got []string
			for i := range all {
				if mine(&all[i]) && tt.filter.Match(&all[i]) {
					want = append(want, name(&all[i]))
				}
			}
			_, filtered := collect(t, r, tcp.Request{States: tcp.AllStates, Filter: tt.filter})
			for i := range filtered {
				if !tt.filter.Match(&filtered[i]) {
					t.Errorf("the kernel passed %s, the filter does not", name(&filtered[i]))
				}
				if mine(&filtered[i]) {
					got = append(got, name(&filtered[i]))
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("kernel passed %v, want %v", got, want)
			}
		})
	}
}

func TestFilterTooLong(t *testing.T) {
	r := open(t)
	f := tcp.Filter{LocalPorts: make([]uint16, maxFilterTerms+1)}
	if _, err := r.Read(tcp.Request{States: tcp.AllStates, Filter: f}, func([]tcp.Socket) {}); err == nil {
		t.Fatal("a filter beyond the kernel's program was not refused")
	}
	f.LocalPorts = f.LocalPorts[:maxFilterTerms]
	if _, err := r.Read(tcp.Request{States: tcp.AllStates, Filter: f}, func([]tcp.Socket) {}); err != nil {
		t.Fatalf("the longest filter: %v", err)
	}
}

func TestUnacceptedAndOverflow(t *testing.T) {
	r := open(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	const backlog = 1
	if err := unix.Listen(fd, backlog); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(name.(*unix.SockaddrInet4).Port)
	for range backlog + 1 { // the queue holds one more than the backlog
		c, err := net.Dial("tcp4", netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port).String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	_, sockets := collect(t, r, tcp.Request{States: tcp.AllStates, Info: true, Filter: tcp.Filter{LocalPorts: []uint16{port}}})
	var unaccepted int
	for i := range sockets {
		if sockets[i].Unaccepted() {
			unaccepted++
		}
		if sockets[i].State == tcp.Listen && (sockets[i].ReceiveQueue != backlog+1 || sockets[i].SendQueue != backlog) {
			t.Errorf("listener's queue is %d of %d, want %d of %d", sockets[i].ReceiveQueue, sockets[i].SendQueue, backlog+1, backlog)
		}
	}
	if unaccepted != backlog+1 {
		t.Errorf("%d un-accepted sockets, want %d", unaccepted, backlog+1)
	}
}

func TestClosedReader(t *testing.T) {
	r := open(t)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(tcp.Request{States: tcp.AllStates}, func([]tcp.Socket) {}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read on a closed reader: %v, want os.ErrClosed", err)
	}
	if err := r.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("second Close: %v, want os.ErrClosed", err)
	}
}

// TestOneRefusedRequestIsNotTheKernels: a request that is refused by both types
// says nothing of the legacy one, which stays in use.
func TestOneRefusedRequestIsNotTheKernels(t *testing.T) {
	r := open(t)
	nothing := func([]tcp.Socket) {}
	long := tcp.Filter{LocalPorts: make([]uint16, 1<<16/sizeTerm+1)} // its length does not fit the attribute
	if err := r.dumpBoth(tcp.Request{States: tcp.AllStates, Filter: long}); !errors.Is(err, unix.EINVAL) {
		t.Fatalf("a program cut short: %v", err)
	}
	if look, err := r.Read(tcp.Request{States: tcp.AllStates}, nothing); err != nil || look.Completeness != tcp.Complete {
		t.Errorf("the next look: %v, %v", look.Completeness, err)
	}
	if !r.oneWalk {
		t.Error("two walks for good, for one refusal")
	}
}

func TestRefusedOrNotTold(t *testing.T) {
	for err, want := range map[error]bool{
		unix.EPERM: true, unix.EACCES: true, unix.ENOSYS: true, unix.EPROTONOSUPPORT: true, netlink.Refusal{Errno: unix.ENOENT}: true, netlink.Refusal{Errno: unix.EOPNOTSUPP}: true,
		unix.EMFILE: false, unix.ENFILE: false, unix.ENOMEM: false, unix.ENOBUFS: false, netlink.Refusal{Errno: unix.EBUSY}: false, netlink.ErrTruncated: false,
	} {
		if got := refused(err); errors.Is(got, ErrRefused) != want || !errors.Is(got, err) {
			t.Errorf("%v: %v, refused: want %v", err, got, want)
		}
	}
}

// TestV6Only: the kernel tells of each IPv6 listener whether it takes IPv4 too.
func TestV6Only(t *testing.T) {
	r := open(t)
	for only := range 2 {
		config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			var set error
			err := c.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only) })
			return errors.Join(err, set)
		}}
		l, err := config.Listen(t.Context(), "tcp6", "[::]:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).AddrPort().Port()
		_, sockets := collect(t, r, tcp.Request{States: tcp.ListenOnly, Filter: tcp.Filter{LocalPorts: []uint16{port}}})
		if len(sockets) != 1 || sockets[0].V6Only != (only == 1) {
			t.Errorf("IPV6_V6ONLY %d: %+v", only, sockets)
		}
		_ = l.Close()
	}
}

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

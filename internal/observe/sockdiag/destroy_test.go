package sockdiag

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/observe/netlink"
	"github.com/foreshock/foreshock/internal/tcp"
)

// scene is connections in a network namespace of the test's own, made on the
// thread that is in it. The first error ends it.
type scene struct {
	reader *Reader
	closer []func() error
	err    error
}

func (s *scene) note(err error) bool {
	s.err = errors.Join(s.err, err)
	return s.err == nil
}

func (s *scene) close() {
	for _, c := range s.closer {
		_ = c()
	}
}

// inScene runs f in a namespace; f's and the scene's errors fail the test.
func inScene(t *testing.T, f func(s *scene)) {
	t.Helper()
	var s scene
	labtest.InNamespace(t, func() {
		defer s.close()
		reader, err := Open(tcp.NewScratch())
		if s.note(err) {
			s.reader = reader
			s.closer = append(s.closer, reader.Close)
			f(&s)
		}
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
}

// link is a connection and what its client socket is.
type link struct {
	client, server *net.TCPConn
	Exact
}

// connect makes a connection to a new listener at an address; control sets
// options of the client's socket before it connects.
func (s *scene) connect(network, address string, control func(fd int) error) *link {
	if s.err != nil {
		return nil
	}
	listener, err := net.Listen("tcp", address)
	if !s.note(err) {
		return nil
	}
	s.closer = append(s.closer, listener.Close)
	return s.connectTo(listener, network, control)
}

func (s *scene) connectTo(listener net.Listener, network string, control func(fd int) error) *link {
	if s.err != nil {
		return nil
	}
	dialer := net.Dialer{Timeout: 5 * time.Second, Control: func(_, _ string, raw syscall.RawConn) error {
		var set error
		err := raw.Control(func(fd uintptr) {
			if control != nil {
				set = control(int(fd))
			}
		})
		return errors.Join(err, set)
	}}
	client, err := dialer.Dial(network, listener.Addr().String())
	if !s.note(err) {
		return nil
	}
	server, err := listener.Accept()
	if !s.note(err) {
		return nil
	}
	s.closer = append(s.closer, client.Close, server.Close)
	l := &link{client: client.(*net.TCPConn), server: server.(*net.TCPConn)}
	l.Exact = s.find(endOf(client.LocalAddr()), endOf(client.RemoteAddr()))
	return l
}

func endOf(a net.Addr) netip.AddrPort {
	at := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
}

// find is the socket with two ends, as a look has it.
func (s *scene) find(local, remote netip.AddrPort) Exact {
	var found Exact
	for _, socket := range s.sockets() {
		if socket.Local == local && socket.Remote == remote {
			found = Exact{local, remote, socket.Cookie}
		}
	}
	if found.Cookie == 0 {
		s.note(fmt.Errorf("%s to %s is not in the look", local, remote))
	}
	return found
}

func (s *scene) sockets() (all []tcp.Socket) {
	_, err := s.reader.Read(tcp.Request{States: tcp.AllStates}, func(batch []tcp.Socket) { all = append(all, batch...) })
	s.note(err)
	return all
}

// works reports whether a byte gets from client to server.
func (l *link) works() error {
	deadline := time.Now().Add(5 * time.Second)
	_ = l.client.SetDeadline(deadline)
	_ = l.server.SetDeadline(deadline)
	if _, err := l.client.Write([]byte{1}); err != nil {
		return err
	}
	_, err := l.server.Read(make([]byte, 1))
	return err
}

func bindToLoopback(fd int) error { return unix.BindToDevice(fd, "lo") }

func TestDestroy(t *testing.T) {
	inScene(t, func(s *scene) {
		four := s.connect("tcp4", "127.0.0.1:0", nil)
		six := s.connect("tcp6", "[::1]:0", nil)
		bound := s.connect("tcp4", "127.0.0.2:0", bindToLoopback)
		halfClosed := s.connect("tcp4", "127.0.0.1:0", nil)
		spared := s.connect("tcp4", "127.0.0.1:0", nil)
		if s.err != nil {
			return
		}
		_ = halfClosed.server.Close()
		_ = halfClosed.client.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := halfClosed.client.Read(make([]byte, 1)); err == nil { // CLOSE_WAIT from here on
			s.note(errors.New("the end of what a server sends was not seen"))
		}
		other := spared.Exact
		other.Cookie++

		fates, err := s.reader.Destroy([]Exact{four.Exact, six.Exact, other, bound.Exact, halfClosed.Exact})
		if !s.note(err) {
			return
		}
		if diff := cmp.Diff([]Fate{{Closed: true}, {Closed: true}, {Gone: true}, {Closed: true}, {Closed: true}}, fates, cmpopts.EquateErrors()); diff != "" {
			t.Errorf("fates (-want +got):\n%s", diff)
		}
		for _, l := range []*link{four, six, bound} {
			if err := l.works(); !errors.Is(err, unix.ECONNABORTED) {
				t.Errorf("%s to %s: %v, want ECONNABORTED", l.Local, l.Remote, err)
			}
			_ = l.server.SetReadDeadline(time.Now().Add(5 * time.Second))
			if _, err := l.server.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("the other end of %s: %v, want ECONNRESET", l.Local, err)
			}
		}
		s.note(spared.works())

		again, err := s.reader.Destroy([]Exact{four.Exact})
		if err != nil || len(again) != 1 || !again[0].Gone {
			t.Errorf("a second time: %+v, %v; want gone", again, err)
		}
	})
}

// TestDestroyByTwoWalks: a kernel without the legacy type.
func TestDestroyByTwoWalks(t *testing.T) {
	inScene(t, func(s *scene) {
		mapped := s.connect("tcp", "127.0.0.1:0", nil)
		six := s.connect("tcp6", "[::1]:0", nil)
		if s.err != nil {
			return
		}
		s.reader.oneWalk = false
		fates, err := s.reader.Destroy([]Exact{mapped.Exact, six.Exact})
		if err != nil || len(fates) != 2 || !fates[0].Closed || !fates[1].Closed {
			t.Errorf("%+v, %v; want both closed", fates, err)
		}
	})
}

// TestDestroyMapped: an IPv4 connection of a socket of AF_INET6.
func TestDestroyMapped(t *testing.T) {
	inScene(t, func(s *scene) {
		listener, err := net.Listen("tcp4", "127.0.0.1:0")
		if !s.note(err) {
			return
		}
		s.closer = append(s.closer, listener.Close)
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if !s.note(err) {
			return
		}
		s.closer = append(s.closer, func() error { return unix.Close(fd) })
		to := &unix.SockaddrInet6{Port: int(endOf(listener.Addr()).Port()), Addr: netip.MustParseAddr("::ffff:127.0.0.1").As16()}
		if !s.note(unix.Connect(fd, to)) {
			return
		}
		name, err := unix.Getsockname(fd)
		if !s.note(err) {
			return
		}
		local := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(name.(*unix.SockaddrInet6).Port))
		fates, err := s.reader.Destroy([]Exact{s.find(local, endOf(listener.Addr()))})
		if err != nil || len(fates) != 1 || !fates[0].Closed {
			t.Errorf("%+v, %v; want it closed", fates, err)
		}
	})
}

// TestDestroyConnecting: SYNs that nobody answers, as to a dead old address.
func TestDestroyConnecting(t *testing.T) {
	inScene(t, func(s *scene) {
		queue, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if !s.note(err) {
			return
		}
		s.closer = append(s.closer, func() error { return unix.Close(queue) })
		if !s.note(errors.Join(unix.Bind(queue, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(queue, 0))) {
			return
		}
		name, err := unix.Getsockname(queue)
		if !s.note(err) {
			return
		}
		for range 4 { // the queue takes one, and what comes then is dropped
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			if !s.note(err) {
				return
			}
			s.closer = append(s.closer, func() error { return unix.Close(fd) })
			if err := unix.Connect(fd, name); err != nil && !errors.Is(err, unix.EINPROGRESS) {
				s.note(err)
			}
		}
		var connecting []Exact
		for _, socket := range s.sockets() {
			if socket.State == tcp.SynSent {
				connecting = append(connecting, Exact{socket.Local, socket.Remote, socket.Cookie})
			}
		}
		if len(connecting) == 0 {
			s.note(errors.New("nothing is in SYN_SENT"))
			return
		}
		fates, err := s.reader.Destroy(connecting)
		s.note(err)
		for i, f := range fates {
			if !f.Closed {
				t.Errorf("%s to %s: %+v, want closed", connecting[i].Local, connecting[i].Remote, f)
			}
		}
	})
}

// TestDestroyIsOfOneSocket: one that took the place of another, with the same
// two ends, is not the one that was chosen.
func TestDestroyIsOfOneSocket(t *testing.T) {
	inScene(t, func(s *scene) {
		listener, err := net.Listen("tcp4", "127.0.0.1:0")
		if !s.note(err) {
			return
		}
		s.closer = append(s.closer, listener.Close)
		var port int
		samePort := func(fd int) error {
			return errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
				unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port}))
		}
		first := s.connectTo(listener, "tcp4", samePort)
		if s.err != nil {
			return
		}
		port = int(first.Local.Port())
		s.note(errors.Join(first.client.SetLinger(0), first.client.Close(), first.server.Close())) // a reset: no TIME_WAIT
		second := s.connectTo(listener, "tcp4", samePort)
		if s.err != nil {
			return
		}
		if first.Local != second.Local || first.Remote != second.Remote || first.Cookie == second.Cookie {
			s.note(fmt.Errorf("%+v did not take the place of %+v", second.Exact, first.Exact))
			return
		}
		fates, err := s.reader.Destroy([]Exact{first.Exact})
		if err != nil || len(fates) != 1 || !fates[0].Gone {
			t.Errorf("%+v, %v; want gone", fates, err)
		}
		s.note(second.works())
	})
}

// TestDestroyLeavesWhatEnds: what its program has closed, up to TIME_WAIT.
func TestDestroyLeavesWhatEnds(t *testing.T) {
	inScene(t, func(s *scene) {
		ending := s.connect("tcp4", "127.0.0.1:0", nil)
		if s.err != nil {
			return
		}
		for _, step := range []struct {
			end    *net.TCPConn
			states tcp.StateMask
		}{{ending.client, 1<<tcp.FinWait1 | 1<<tcp.FinWait2}, {ending.server, 1 << tcp.TimeWait}} {
			if !s.note(step.end.Close()) {
				return
			}
			now := s.find(ending.Local, ending.Remote)
			if s.err != nil {
				return
			}
			fates, err := s.reader.Destroy([]Exact{now})
			if err != nil || len(fates) != 1 || !fates[0].Gone {
				t.Errorf("%+v, %v; want gone", fates, err)
			}
			left := slices.ContainsFunc(s.sockets(), func(k tcp.Socket) bool {
				return k.Local == ending.Local && k.Remote == ending.Remote && step.states.Has(k.State)
			})
			if !left {
				t.Errorf("nothing is in states %b any more", step.states)
			}
		}
	})
}

func TestDestroyNotPermitted(t *testing.T) {
	inScene(t, func(s *scene) {
		l := s.connect("tcp4", "127.0.0.1:0", nil)
		if s.err != nil {
			return
		}
		labtest.BecomeNobody(t) // this thread ends with the scene
		fates, err := s.reader.Destroy([]Exact{l.Exact})
		if fates != nil || !errors.Is(err, ErrNotPermitted) {
			t.Errorf("%+v, %v; want ErrNotPermitted", fates, err)
		}
		s.note(l.works())
	})
}

func TestDestroyRefuses(t *testing.T) {
	r := open(t)
	ends := netip.MustParseAddrPort("127.0.0.1:1")
	for _, cookie := range []uint64{0, noCookie} {
		if fates, err := r.Destroy([]Exact{{ends, ends, cookie}}); err == nil {
			t.Errorf("cookie %#x: %+v, want an error", cookie, fates)
		}
	}
	if fates, err := r.Destroy(nil); fates != nil || err != nil {
		t.Errorf("nothing: %+v, %v", fates, err)
	}
	_ = r.Close()
	if _, err := r.Destroy([]Exact{{ends, ends, 1}}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a closed reader: %v", err)
	}
}

func TestRefusedClose(t *testing.T) {
	for errno, want := range map[syscall.Errno]struct {
		gone bool
		err  error
	}{
		unix.ENOENT:     {gone: true},
		unix.ESTALE:     {gone: true},
		unix.EPERM:      {err: ErrNotPermitted},
		unix.EACCES:     {err: ErrNotPermitted},
		unix.EOPNOTSUPP: {err: ErrNoDestroy},
		unix.EINVAL:     {err: ErrNoDestroy},
		unix.EIO:        {err: unix.EIO},
	} {
		got := refusedClose(netlink.Refusal{Errno: errno})
		if got.Closed || got.Gone != want.gone || !errors.Is(got.Err, want.err) || (want.err == nil) != (got.Err == nil) {
			t.Errorf("%v: %+v, want %+v", errno, got, want)
		}
	}
}

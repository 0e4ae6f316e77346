package stale

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/observe/sockdiag"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

const (
	oldSite = "127.0.0.10:8443"
	newSite = "127.0.0.7:8443"
	here    = "127.0.0.1:9000" // a service of this host
	patient = 5 * time.Second
)

// town is a network namespace with the old site, the new one, and a service of
// its own; all of them echo. Its functions run on the thread that is in it.
type town struct {
	space  netns.Found
	closer []func() error
}

// newTown makes one on the calling thread's namespace.
func newTown() (*town, error) {
	tn := &town{space: netns.Found{Path: fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())}}
	for _, address := range []string{oldSite, newSite, here} {
		l, err := net.Listen("tcp4", address)
		if err != nil {
			return tn, err
		}
		tn.closer = append(tn.closer, l.Close)
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(conn, conn); _ = conn.Close() }()
			}
		}()
	}
	return tn, nil
}

func (tn *town) close() {
	for _, c := range tn.closer {
		_ = c()
	}
}

// connect makes a connection from an address, any where it is empty.
func (tn *town) connect(from, to string) (*net.TCPConn, error) {
	dialer := net.Dialer{Timeout: patient}
	if from != "" {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))
	}
	conn, err := dialer.Dial("tcp4", to)
	if err != nil {
		return nil, err
	}
	tn.closer = append(tn.closer, conn.Close)
	return conn.(*net.TCPConn), nil
}

// answers sends a byte and waits for it to come back.
func answers(conn net.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(patient))
	if _, err := conn.Write([]byte{1}); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

// held is what a look says of the connections, as the agent's does: asked where
// the local end is nobody's who listens.
func (tn *town) held(name string, firstSeen time.Time) (rows []Socket, err error) {
	err = tn.space.Do(func() error {
		r, err := sockdiag.Open(tcp.NewScratch())
		if err != nil {
			return err
		}
		defer r.Close()
		listens := map[netip.AddrPort]bool{}
		var sockets []tcp.Socket
		_, err = r.Read(tcp.Request{States: tcp.AllStates}, func(batch []tcp.Socket) { sockets = append(sockets, batch...) })
		for _, s := range sockets {
			if s.State == tcp.Listen {
				listens[s.Local] = true
			}
		}
		for _, s := range sockets {
			rows = append(rows, Socket{
				Local: s.Local, Remote: s.Remote, Cookie: s.Cookie, State: s.State, Asked: !listens[s.Local],
				FirstSeen: firstSeen, Namespace: name,
			})
		}
		return err
	})
	return rows, err
}

// inTown runs f in a namespace of its own.
func inTown(t *testing.T, f func(tn *town) error) {
	t.Helper()
	var err error
	labtest.InNamespace(t, func() {
		tn, makeErr := newTown()
		defer tn.close()
		if err = makeErr; err == nil {
			err = f(tn)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func site(t *testing.T) scope.Switch {
	t.Helper()
	s, err := scope.NewSwitch("shop.example", []netip.Addr{netip.MustParseAddr("127.0.0.10")}, []netip.Addr{netip.MustParseAddr("127.0.0.7")})
	if err != nil {
		t.Fatal(err)
	}
	s.Since = since
	return s
}

// TestClose: of two namespaces, with connections to both sites and from the old
// one, exactly those that were chosen end, and who had them connects to the new
// site.
func TestClose(t *testing.T) {
	sw := site(t)
	inTown(t, func(ours *town) error {
		var pool []*net.TCPConn
		for range 4 {
			conn, err := ours.connect("", oldSite)
			if err != nil {
				return err
			}
			pool = append(pool, conn)
		}
		moved, err1 := ours.connect("", newSite)
		served, err2 := ours.connect("127.0.0.10:0", here) // from the old site to a service of ours
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		var neighbours error
		labtest.InNamespace(t, func() { neighbours = beside(ours, &sw, pool, moved, served) })
		return neighbours
	})
}

// beside does that with another namespace in sight.
func beside(ours *town, sw *scope.Switch, pool []*net.TCPConn, moved, served *net.TCPConn) error {
	theirs, err := newTown()
	defer theirs.close()
	if err != nil {
		return err
	}
	theirConn, err := theirs.connect("", oldSite)
	if err != nil {
		return err
	}
	rows, err := ours.held("", since)
	if err != nil {
		return err
	}
	chosen, err := Choose(since.Add(time.Hour), sw, rows)
	if err != nil || len(chosen) != len(pool) {
		return fmt.Errorf("%d are chosen of %d: %v, %w", len(chosen), len(rows), chosen, err)
	}
	n, _ := (&Limit{PerMinute: 3}).Take(since, len(chosen))
	fates, err := Close(ours.space, chosen[:n])
	if err != nil {
		return err
	}
	ended := map[uint16]bool{}
	for i, fate := range fates {
		if !fate.Closed {
			return fmt.Errorf("%s to %s: %+v", chosen[i].Local, chosen[i].Remote, fate)
		}
		ended[chosen[i].Local.Port()] = true
	}
	closed := 0
	for _, conn := range pool {
		port := uint16(conn.LocalAddr().(*net.TCPAddr).Port)
		switch err := answers(conn); {
		case ended[port] && errors.Is(err, unix.ECONNABORTED):
			closed++
		case ended[port]:
			return fmt.Errorf("a closed connection answers %w", err)
		case err != nil:
			return fmt.Errorf("one beyond the limit: %w", err)
		}
	}
	if closed != 3 {
		return fmt.Errorf("%d are closed, want 3", closed)
	}
	for name, conn := range map[string]*net.TCPConn{"to the new site": moved, "that is served": served, "of the neighbours": theirConn} {
		if err := answers(conn); err != nil {
			return fmt.Errorf("the connection %s: %w", name, err)
		}
	}
	return ours.space.Do(func() error { // who has lost one connects again
		again, err := ours.connect("", newSite)
		if err != nil {
			return err
		}
		return answers(again)
	})
}

// TestCloseRaises: the privilege is permitted and not in force, and is so again
// afterwards.
func TestCloseRaises(t *testing.T) {
	sw := site(t)
	inTown(t, func(tn *town) error {
		conn, err := tn.connect("", oldSite)
		if err != nil {
			return err
		}
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var rights [2]unix.CapUserData
		if err := unix.Capget(&header, &rights[0]); err != nil {
			return err
		}
		rights[0].Effective &^= 1 << unix.CAP_NET_ADMIN
		if err := unix.Capset(&header, &rights[0]); err != nil {
			return err
		}
		fates, err := closeAll(tn, &sw)
		if err != nil || len(fates) != 1 || !fates[0].Closed {
			return fmt.Errorf("%+v, %w", fates, err)
		}
		if err := answers(conn); !errors.Is(err, unix.ECONNABORTED) {
			return fmt.Errorf("the connection answers %w", err)
		}
		var after [2]unix.CapUserData
		if err := unix.Capget(&header, &after[0]); err != nil || after != rights {
			return fmt.Errorf("rights are %+v afterwards, and were %+v: %w", after, rights, err)
		}
		return nil
	})
}

func TestCloseNotPermitted(t *testing.T) {
	sw := site(t)
	inTown(t, func(tn *town) error {
		conn, err := tn.connect("", oldSite)
		if err != nil {
			return err
		}
		labtest.BecomeNobody(t)
		tn.space.Path = "/proc/thread-self/ns/net"
		fates, err := closeAll(tn, &sw)
		if fates != nil || !errors.Is(err, sockdiag.ErrNotPermitted) || !strings.Contains(err.Error(), "deploy/close-stale.conf") {
			return fmt.Errorf("%+v, %w; want ErrNotPermitted with what to do", fates, err)
		}
		return answers(conn)
	})
}

// closeAll closes what is stale, without a limit.
func closeAll(tn *town, sw *scope.Switch) ([]sockdiag.Fate, error) {
	rows, err := tn.held("", since)
	if err != nil {
		return nil, err
	}
	chosen, err := Choose(since.Add(time.Hour), sw, rows)
	if err != nil {
		return nil, err
	}
	return Close(tn.space, chosen)
}

func TestCloseOfAGoneNamespace(t *testing.T) {
	if _, err := Close(netns.Found{Path: "/proc/self/ns/none"}, nil); !errors.Is(err, netns.ErrGone) {
		t.Errorf("%v, want ErrGone", err)
	}
}

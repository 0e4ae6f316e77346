package procfs

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/observe/sockdiag"
	"github.com/foreshock/foreshock/internal/tcp"
)

// asChild makes the test binary a process that listens and waits for the end
// of its input.
const asChild = "FORESHOCK_TEST_PROCFS_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		ln, err := net.Listen("tcp4", "0.0.0.0:80")
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("up")
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		_ = ln.Close()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestReadOutlivesProcess: the kept files read their namespace on after the
// process has ended, and never another's.
func TestReadOutlivesProcess(t *testing.T) {
	labtest.NeedRoot(t)
	child := labtest.Start(t, asChild, unix.CLONE_NEWNET)
	r := New(fmt.Sprintf("/proc/%d/net", child.PID), tcp.NewScratch())
	defer r.Close()
	if _, rows := readAll(t, r, tcp.Request{States: tcp.AllStates}); len(rows) != 1 || rows[0].Local != ap("0.0.0.0:80") {
		t.Errorf("while it lives: %+v", rows)
	}
	child.Stop()
	if look, rows := readAll(t, r, tcp.Request{States: tcp.AllStates}); len(rows) != 0 || look.Completeness != tcp.Complete {
		t.Errorf("after it ended: %+v, %+v", look, rows)
	}
}

func TestReadRefusesAnotherNamespace(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.OnThread(func() {
		r := New("/proc/thread-self/net", tcp.NewScratch())
		defer r.Close()
		nothing := func([]tcp.Socket) {}
		if _, err := r.Read(tcp.Request{States: tcp.AllStates}, nothing); err != nil {
			t.Error(err)
			return
		}
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		if _, err := r.Read(tcp.Request{States: tcp.AllStates}, nothing); err != nil {
			t.Errorf("the kept files: %v", err)
		}
		_ = r.tables[0].close()
		if _, err := r.Read(tcp.Request{States: tcp.AllStates}, nothing); err == nil || !strings.Contains(err.Error(), "another namespace") {
			t.Errorf("opened again: error %v", err)
		}
	})
}

// TestAgreesWithSockDiag reads one live namespace both ways.
func TestAgreesWithSockDiag(t *testing.T) {
	labtest.InNamespace(t, func() {
		defer populate(t)()
		text := New("/proc/thread-self/net", tcp.NewScratch())
		defer text.Close()
		netlink, err := sockdiag.Open(tcp.NewScratch())
		if err != nil {
			t.Error(err)
			return
		}
		defer netlink.Close()
		var diff string
		for range 50 { // until nothing moves any more: a busy kernel takes its time over a FIN
			time.Sleep(time.Millisecond)
			var a, b []tcp.Socket
			_, errA := text.Read(tcp.Request{States: tcp.AllStates}, func(batch []tcp.Socket) { a = append(a, batch...) })
			_, errB := netlink.Read(tcp.Request{States: tcp.AllStates &^ tcp.MaskOf(tcp.Close)}, func(batch []tcp.Socket) { b = append(b, batch...) })
			if errA != nil || errB != nil {
				t.Error(errA, errB)
				return
			}
			states := map[tcp.State]bool{}
			for _, s := range a {
				states[s.State] = true
			}
			diff = gocmp.Diff(shared(b), shared(a), cmpopts.EquateComparable(netip.AddrPort{}))
			for _, want := range []tcp.State{tcp.Listen, tcp.Established, tcp.CloseWait, tcp.FinWait2, tcp.TimeWait} {
				if !states[want] {
					diff += fmt.Sprintf("the namespace has no socket in %s\n", want)
				}
			}
			if diff == "" {
				return
			}
		}
		t.Errorf("(-sock_diag +procfs)\n%s", diff)
	})
}

// TestReadWhileConnectionsCome: before the first reads of a look a connection
// comes each time, most end at once, and the table grows from look to look, so that it ends at
// every place of a page. What stays is there, and nothing is there twice.
func TestReadWhileConnectionsCome(t *testing.T) {
	labtest.InNamespace(t, func() {
		ln, err := net.Listen("tcp", "[::]:80")
		if err != nil {
			t.Error(err)
			return
		}
		defer ln.Close()
		var open []io.Closer
		defer func() {
			for _, c := range open {
				_ = c.Close()
			}
		}()
		var failed error
		connect := func(at string) (near, far net.Conn) {
			near, err := net.Dial("tcp", at)
			if err == nil {
				open = append(open, near)
				if far, err = ln.Accept(); err == nil {
					open = append(open, far)
				}
			}
			failed = errors.Join(failed, err)
			return near, far
		}
		r := New("/proc/thread-self/net", tcp.NewScratch())
		defer r.Close()
		reads, at := 0, [...]string{"127.0.0.1:80", "[::1]:80"}
		r.pread = func(fd int, buffer []byte, offset int64) (int, error) {
			if reads++; reads > 10 {
				return pread(fd, buffer, offset)
			}
			if near, far := connect(at[reads%2]); failed == nil && reads%4 > 0 {
				_, _ = near.Close(), far.Close() // leaves TIME_WAIT
			}
			return pread(fd, buffer, offset)
		}
		const looks = 80
		repeating := 0
		var stay []ends
		for range looks {
			near, _ := connect(at[0])
			if failed != nil {
				break
			}
			stay = append(stay, ends{ap(near.LocalAddr().String()), ap(near.RemoteAddr().String())})
			reads = 0
			var rows []tcp.Socket
			_, err := r.Read(tcp.Request{States: tcp.AllStates}, func(batch []tcp.Socket) { rows = append(rows, batch...) })
			if failed = errors.Join(failed, err); failed != nil {
				break
			}
			if len(repeats(rows)) > 0 {
				repeating++
			}
			there := map[ends]bool{}
			for _, s := range rows {
				there[ends{s.Local, s.Remote}] = true
			}
			for _, e := range stay {
				if !there[e] {
					t.Errorf("%v to %v is missing", e.local, e.remote)
				}
			}
		}
		if failed != nil || repeating > 0 {
			t.Errorf("%d of %d looks had a connection twice: %v", repeating, looks, failed)
		}
	})
}

// shared is what both readers tell, in one order.
func shared(rows []tcp.Socket) []tcp.Socket {
	var out []tcp.Socket
	for _, s := range rows {
		seen := tcp.Socket{
			Local: s.Local, Remote: s.Remote, State: s.State, Inode: s.Inode,
			ReceiveQueue: s.ReceiveQueue, SendQueue: s.SendQueue, Timer: s.Timer, Retransmits: s.Retransmits,
		}
		if s.State == tcp.Listen {
			seen.SendQueue = 0 // the limit, which text does not have
		}
		out = append(out, seen)
	}
	slices.SortFunc(out, func(a, b tcp.Socket) int {
		return cmp.Or(a.Local.Compare(b.Local), a.Remote.Compare(b.Remote), cmp.Compare(a.State, b.State))
	})
	return out
}

// populate makes sockets of IPv4, IPv6 and v4-mapped IPv6 in many states in
// the thread's namespace.
func populate(t *testing.T) (closeAll func()) {
	var open []io.Closer
	must := func(c io.Closer, err error) {
		if err != nil {
			t.Error(err)
			return
		}
		open = append(open, c)
	}
	for _, at := range []struct{ network, listen, dial string }{
		{"tcp4", "127.0.0.1:80", "127.0.0.1:80"},
		{"tcp", "[::]:81", "127.0.0.1:81"},
		{"tcp6", "[::1]:82", "[::1]:82"},
	} {
		ln, err := net.Listen(at.network, at.listen)
		must(ln, err)
		dial := func() net.Conn {
			c, err := net.Dial("tcp", at.dial)
			must(c, err)
			return c
		}
		accept := func() net.Conn {
			c, err := ln.Accept()
			must(c, err)
			return c
		}
		if t.Failed() {
			break
		}
		dial() // accepted and idle, its keepalive timer on
		accept()
		_, _ = dial().Write([]byte("unread")) // accepted, its bytes unread
		accept()
		left, right := dial(), accept() // closed by us first: TIME_WAIT
		_ = left.Close()
		_ = right.Close()
		_ = dial().(*net.TCPConn).CloseWrite() // half closed: FIN_WAIT2, and CLOSE_WAIT beyond
		accept()
		dial() // never accepted
	}
	return func() {
		for _, c := range open {
			_ = c.Close()
		}
	}
}

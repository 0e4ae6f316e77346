package conntrack

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestReadChooses: which way is taken, and what is said when there is none.
func TestReadChooses(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	gone := filepath.Join(dir, "gone")
	some, none, text := file("some", "1\n"), file("none", "0\n"), file("text", lineTranslated)
	broken := errors.New("broken")
	answers := func(t Table, err error) func(int) (Table, error) {
		return func(int) (Table, error) { return t, err }
	}
	var never func(int) (Table, error) // panics
	tests := []struct {
		name, count, text string
		netlink           func(int) (Table, error)
		read              int
		err               error
	}{
		{"the kernel tracks nothing", gone, text, never, 0, ErrNotThere},
		{"nothing is tracked right now", none, text, never, 0, nil},
		{"netlink", some, gone, answers(Table{Read: 7}, nil), 7, nil},
		{"netlink breaks", some, text, answers(Table{}, broken), 0, broken},
		{"netlink refuses, there is the text", some, text, answers(Table{}, ErrRefused), 1, nil},
		{"no netlink, there is the text", some, text, answers(Table{}, ErrNotThere), 1, nil},
		{"netlink refuses, and there is no text", some, gone, answers(Table{}, ErrRefused), 0, ErrRefused},
		{"neither is there", some, gone, answers(Table{}, ErrNotThere), 0, ErrNotThere},
		{"the number cannot be read", dir, text, answers(Table{}, ErrRefused), 1, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := read(100, tt.count, tt.text, tt.netlink)
			if !errors.Is(err, tt.err) || tt.err == nil && err != nil || got.Read != tt.read {
				t.Errorf("read %d, %v; want %d, %v", got.Read, err, tt.read, tt.err)
			}
		})
	}
}

// inNamespace runs f on a thread in a network namespace of its own, which is
// gone with the thread and what f opened. The main thread cannot be thrown
// away: while f's turn falls on it, another takes its place.
func inNamespace(t *testing.T, f func() error) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: cannot make network namespaces")
	}
	errs := make(chan error, 1)
	go func() {
		err := errors.New("the test's function left its goroutine")
		defer func() { errs <- err }()
		runtime.LockOSThread() // and never unlocked
		if unix.Gettid() == unix.Getpid() {
			inner := make(chan error, 1)
			go func() {
				runtime.LockOSThread()
				inner <- unshared(f)
			}()
			err = <-inner
			runtime.UnlockOSThread()
			return
		}
		err = unshared(f)
	}()
	if err := <-errs; errors.Is(err, errUnavailable) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
}

// errUnavailable: the machine cannot do what the test needs.
var errUnavailable = errors.New("unavailable here")

func unshared(f func() error) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("%w: make a network namespace: %w", errUnavailable, err)
	}
	return f()
}

// command runs a program of the test's needs in the thread's namespace.
func command(input, name string, args ...string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnavailable, err)
	}
	cmd := exec.Command(path, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// becomeNobody takes every privilege from the calling thread, and lets it read
// files as another user, of no group of ours.
func becomeNobody() error {
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		return os.NewSyscallError("setgroups", errno)
	}
	_ = unix.Setfsgid(65534)
	_ = unix.Setfsuid(65534)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return os.NewSyscallError("capset", unix.Capset(&header, &none[0]))
}

const (
	vip    = "10.96.0.1:443"
	server = "192.0.2.1"
	rules  = `
table ip services {
	chain output {
		type nat hook output priority -100
		ip daddr 10.96.0.1 tcp dport 443 dnat to %s
	}
}
`
)

// dial connects by a plain call: the runtime's own would be on any thread.
func dial(to netip.AddrPort) (fd int, local netip.AddrPort, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, netip.AddrPort{}, err
	}
	if err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err == nil {
		var name unix.Sockaddr
		if name, err = unix.Getsockname(fd); err == nil {
			in := name.(*unix.SockaddrInet4)
			return fd, netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port)), nil
		}
	}
	_ = unix.Close(fd)
	return -1, netip.AddrPort{}, fmt.Errorf("connect to %s: %w", to, err)
}

// TestReadLive: a connection to a service address that nftables translates,
// and one that goes where it says, as netlink, the text and Read tell them.
func TestReadLive(t *testing.T) {
	inNamespace(t, func() error {
		for _, args := range []string{"link set lo up", "addr add " + server + "/32 dev lo", "route add 10.96.0.0/24 dev lo src " + server} {
			if err := command("", "ip", strings.Fields(args)...); err != nil {
				return err
			}
		}
		ln, err := net.Listen("tcp4", server+":0")
		if err != nil {
			return err
		}
		defer ln.Close()
		to := ln.Addr().(*net.TCPAddr).AddrPort()
		to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
		if err := command(fmt.Sprintf(rules, to), "nft", "-f", "-"); err != nil {
			if strings.Contains(err.Error(), "Operation not supported") || strings.Contains(err.Error(), "No such file") {
				return fmt.Errorf("%w: this kernel translates no addresses: %w", errUnavailable, err)
			}
			return err
		}
		byVIP, localVIP, err := dial(at(vip))
		if err != nil {
			return err
		}
		defer unix.Close(byVIP)
		direct, localDirect, err := dial(to)
		if err != nil {
			return err
		}
		defer unix.Close(direct)

		ways := map[string]func() (Table, error){
			"Read":    func() (Table, error) { return Read(1000) },
			"netlink": func() (Table, error) { return readNetlink(1000) },
			"text": func() (Table, error) {
				f, err := os.Open(textFile)
				if errors.Is(err, os.ErrNotExist) { // the kernel may be built without
					return Read(1000)
				}
				if err != nil {
					return Table{}, err
				}
				defer f.Close()
				return readText(f, 1000)
			},
		}
		for name, way := range ways {
			table, err := way()
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if got, ok := table.Undo(localVIP, at(vip)); !ok || got != to {
				t.Errorf("%s: %s from %s goes to %s, %t; want %s", name, vip, localVIP, got, ok, to)
			}
			if got, ok := table.Undo(localDirect, to); ok {
				t.Errorf("%s: a direct connection is translated to %s", name, got)
			}
			want := Table{Read: 2}
			table.flows = nil
			if diff := cmp.Diff(want, table, cmp.AllowUnexported(Table{})); diff != "" {
				t.Errorf("%s (-want +got)\n%s", name, diff)
			}
		}
		if table, err := Read(1); err != nil || !table.Cut || table.Read != 1 {
			t.Errorf("one of two: %+v, %v", table, err)
		}

		// Without a privilege it says so, and does not take it for none.
		if err := becomeNobody(); err != nil {
			return err
		}
		if table, err := Read(1000); !errors.Is(err, ErrRefused) || table.Len() != 0 {
			t.Errorf("unprivileged: %+v, %v; want ErrRefused", table, err)
		}
		return nil
	})
}

// TestReadFreshNamespace: in a namespace where nothing was ever tracked there
// is nothing to undo, and that is no error.
func TestReadFreshNamespace(t *testing.T) {
	inNamespace(t, func() error {
		table, err := Read(1000)
		if errors.Is(err, ErrNotThere) {
			return nil
		}
		if err != nil || table.Len() != 0 || table.Cut {
			t.Errorf("%+v, %v", table, err)
		}
		return nil
	})
}

// endless is a text of many entries.
type endless struct {
	line string
	left int
}

func (e *endless) Read(b []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := 0
	for e.left > 0 && n+len(e.line) <= len(b) {
		n += copy(b[n:], e.line)
		e.left--
	}
	return n, nil
}

// BenchmarkText reads 10,000 entries of the text, the kernel's part left out.
func BenchmarkText(b *testing.B) {
	for b.Loop() {
		if t, err := readText(&endless{linePlain, 10_000}, 1<<20); err != nil || t.Read != 10_000 {
			b.Fatal(t.Read, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/entry")
}

// BenchmarkNetlink understands 10,000 entries, the kernel's part left out.
func BenchmarkNetlink(b *testing.B) {
	entry := message(typeNew, sequence, encode(plain, unix.IPPROTO_TCP))
	var datagram []byte
	for range 100 {
		datagram = append(datagram, entry...)
	}
	for b.Loop() {
		left := 100
		t, err := collect(1<<20, func() ([]byte, error) {
			if left == 0 {
				return done(0), nil
			}
			left--
			return datagram, nil
		})
		if err != nil || t.Read != 10_000 {
			b.Fatal(t.Read, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/entry")
}

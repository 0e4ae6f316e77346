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
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/observe/netlink"
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
	many := file("many", strconv.Itoa(maxText+1)+"\n")
	tests := []struct {
		name, count, text string
		netlink           func(int) (Table, error)
		read              int
		err               error
	}{
		{"the kernel tracks nothing", gone, text, never, 0, ErrNotThere},
		{"nothing is tracked right now", none, text, never, 0, nil},
		{"the text", some, text, never, 1, nil},
		{"no text", some, gone, answers(Table{Read: 7}, nil), 7, nil},
		{"the text breaks", some, dir, never, 0, unix.EISDIR},
		{"no text, and netlink refuses", some, gone, answers(Table{}, ErrRefused), 0, ErrRefused},
		{"no text, and netlink breaks", some, gone, answers(Table{}, broken), 0, broken},
		{"neither is there", some, gone, answers(Table{}, ErrNotThere), 0, ErrNotThere},
		{"a long text: netlink", many, text, answers(Table{Read: 7}, nil), 7, nil},
		{"a long text, and netlink refuses", many, text, answers(Table{}, ErrRefused), 1, nil},
		{"a long text, and no netlink", many, text, answers(Table{}, ErrNotThere), 1, nil},
		{"a long one, netlink refuses, and there is no text", many, gone, answers(Table{}, ErrRefused), 0, ErrRefused},
		{"the number cannot be read", dir, text, never, 1, nil},
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

// inNamespace runs f on a thread in a network namespace of its own.
func inNamespace(t testing.TB, f func() error) {
	t.Helper()
	var err error
	labtest.InNamespace(t, func() { err = f() })
	if errors.Is(err, errUnavailable) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
}

// errUnavailable: the machine cannot do what the test needs.
var errUnavailable = errors.New("unavailable here")

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
		for _, args := range []string{"addr add " + server + "/32 dev lo", "route add 10.96.0.0/24 dev lo src " + server} {
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
			"text":    func() (Table, error) { return textOf(1000) },
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
		labtest.BecomeNobody(t)
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

// nth is one of many translated connections.
func nth(i int) connection {
	client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 40000)
	real := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + i%200)}), 8080)
	return connection{tuple{client, at(vip)}, tuple{real, client}}
}

// track puts n connections into the table of the thread's namespace.
func track(n int) error {
	conn, err := netlink.Open(unix.NETLINK_NETFILTER, make([]byte, netlink.BufferSize))
	if err != nil {
		return fmt.Errorf("%w: %w", errUnavailable, err)
	}
	defer conn.Close()
	const typeNew = 1 << 8 // NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_NEW
	for i := range n {
		c := nth(i)
		b := netlink.AppendHeader(nil, typeNew, unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
		b = append(b, unix.AF_INET, 0, 0, 0)
		b = append(b, encodeTuple(ctaTupleOrig, c.original, unix.IPPROTO_TCP)...)
		b = append(b, encodeTuple(ctaTupleReply, c.reply, unix.IPPROTO_TCP)...)
		b = append(b, attr(7, big.AppendUint32(nil, 300)...)...) // CTA_TIMEOUT, seconds
		if _, _, err := conn.Dump(b, func([]byte) bool { return true }); err != nil {
			return fmt.Errorf("%w: put a connection into the table: %w", errUnavailable, err)
		}
	}
	return nil
}

// textOf reads the text, and netlink where the kernel is built without.
func textOf(limit int) (Table, error) {
	t, err := readFile(textFile, limit)
	if errors.Is(err, ErrNotThere) {
		return readNetlink(limit)
	}
	return t, err
}

// TestReadManyLive: a table of many datagrams and pages is read whole.
func TestReadManyLive(t *testing.T) {
	const n = 2000
	inNamespace(t, func() error {
		if err := track(n); err != nil {
			return err
		}
		for name, way := range map[string]func(int) (Table, error){"netlink": readNetlink, "text": textOf} {
			table, err := way(n)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if table.Read != n || table.Len() != n || table.Cut || table.Malformed+table.Ambiguous != 0 {
				t.Errorf("%s: read %d, translated %d, of %d; cut %t, malformed %d, ambiguous %d",
					name, table.Read, table.Len(), n, table.Cut, table.Malformed, table.Ambiguous)
			}
			for i := range n {
				c := nth(i)
				if got, ok := table.Undo(c.original.source, c.original.destination); !ok || got != c.reply.source {
					return fmt.Errorf("%s: %s goes to %s, %t; want %s", name, c.original.source, got, ok, c.reply.source)
				}
			}
			if table, err := way(n - 1); err != nil || !table.Cut || table.Read != n-1 {
				t.Errorf("%s: one less than there are: read %d, cut %t, %v", name, table.Read, table.Cut, err)
			}
		}
		return nil
	})
}

// BenchmarkLive reads tables of the kernel's, each way.
func BenchmarkLive(b *testing.B) {
	for _, n := range []int{1000, 8000} {
		for name, way := range map[string]func(int) (Table, error){"netlink": readNetlink, "text": textOf} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				inNamespace(b, func() error {
					if err := track(n); err != nil {
						return err
					}
					for b.Loop() {
						if table, err := way(n); err != nil || table.Read != n {
							return fmt.Errorf("read %d of %d: %w", table.Read, n, err)
						}
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/entry")
					return nil
				})
			})
		}
	}
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
	entry := encode(plain, unix.IPPROTO_TCP)
	for b.Loop() {
		t, err := collect(1<<20, func(row func([]byte) bool) error {
			for range 10_000 {
				row(entry)
			}
			return nil
		})
		if err != nil || t.Read != 10_000 {
			b.Fatal(t.Read, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/entry")
}

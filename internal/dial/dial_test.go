package dial

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func listener(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

func connect(t *testing.T, d *Dialer, to string) (net.Conn, tcp.Socket) {
	t.Helper()
	conn, err := d.DialContext(t.Context(), "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, tcp.Socket{Local: netip.MustParseAddrPort(conn.LocalAddr().String()), Remote: netip.MustParseAddrPort(to), State: tcp.Established}
}

// TestLife follows one connection from its beginning until it is forgotten.
func TestLife(t *testing.T) {
	ln := listener(t)
	d := New()
	conn, s := connect(t, d, ln.Addr().String())
	seen := func(state tcp.State) bool {
		s.State = state
		return d.Probes().Has(&s)
	}
	if !seen(tcp.Established) {
		t.Fatalf("%s to %s is not known as ours", s.Local, s.Remote)
	}
	d.Begin(start)
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if !seen(tcp.Established) {
		t.Error("the look under way may have been shown it open")
	}
	d.Begin(start.Add(time.Second))
	if seen(tcp.Established) || !seen(tcp.TimeWait) {
		t.Error("a look that begins later must know its remains, and they alone")
	}
	d.Begin(start.Add(time.Second + remains - 1))
	if !seen(tcp.TimeWait) {
		t.Error("its remains are forgotten too early")
	}
	d.Begin(start.Add(time.Second + remains))
	if seen(tcp.TimeWait) || len(d.probes) != 0 {
		t.Errorf("%d connections are remembered for good", len(d.probes))
	}
	if err := conn.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
}

// TestKnownBeforeItConnects: the server's end may be seen before DialContext
// returns.
func TestKnownBeforeItConnects(t *testing.T) {
	ln := listener(t)
	d := New()
	for range 50 {
		connected := make(chan error, 1)
		go func() {
			conn, err := d.DialContext(t.Context(), "tcp", ln.Addr().String())
			if err == nil {
				defer conn.Close()
			}
			connected <- err
		}()
		served, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		s := tcp.Socket{Local: netip.MustParseAddrPort(served.LocalAddr().String()), Remote: netip.MustParseAddrPort(served.RemoteAddr().String()), State: tcp.Established}
		if !d.Probes().Has(&s) {
			t.Fatalf("the server's end %s from %s is not known as ours", s.Local, s.Remote)
		}
		if err := <-connected; err != nil {
			t.Fatal(err)
		}
		_ = served.Close()
	}
	if got, want := d.Counts(), (Counts{Opened: 50, Served: 50}); got != want {
		t.Error(cmp.Diff(want, got))
	}
}

// TestProbesHavePortsOfTheirOwn: who looks at the other end knows a probe by it,
// and one more than there are ports is made all the same.
func TestProbesHavePortsOfTheirOwn(t *testing.T) {
	ln := listener(t)
	d := New()
	known := 0
	for range scope.ProbePorts + 1 {
		conn, err := d.DialProbe(t.Context(), "tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		s := tcp.Socket{Local: netip.MustParseAddrPort(conn.LocalAddr().String()), Remote: netip.MustParseAddrPort(ln.Addr().String()), State: tcp.Established}
		if !d.Probes().Has(&s) {
			t.Fatalf("%v is not known as ours", s.Local)
		}
		if scope.OfAgent(s.Local) {
			known++
		}
	}
	if known == 0 || known > scope.ProbePorts {
		t.Errorf("%d of %d probes are from the probes' ports", known, scope.ProbePorts+1)
	}
}

func TestFailures(t *testing.T) {
	ln := listener(t)
	refused := ln.Addr().String()
	_ = ln.Close()
	given, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name    string
		ctx     context.Context
		network string
		address string
		want    Counts
		is      error
	}{
		{"refused", t.Context(), "tcp", refused, Counts{Opened: 1, Failed: 1}, syscall.ECONNREFUSED},
		{"given up before it began", given, "tcp", refused, Counts{}, context.Canceled},
		{"no address", t.Context(), "tcp", "127.0.0.1", Counts{}, nil},
		{"not TCP", t.Context(), "unix", "/nonexistent", Counts{}, syscall.ENOENT},
		{"no such network", t.Context(), "tcp9", refused, Counts{}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := New()
			conn, err := d.DialContext(tt.ctx, tt.network, tt.address)
			if err == nil || conn != nil {
				t.Fatalf("connected: %v", conn)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v, want %v", err, tt.is)
			}
			if got := d.Counts(); got != tt.want {
				t.Error(cmp.Diff(tt.want, got))
			}
			d.Begin(start)
			d.Begin(start.Add(remains))
			if len(d.probes) != 0 {
				t.Errorf("%d connections are remembered for good", len(d.probes))
			}
		})
	}
}

// TestManyAreForgotten: whoever connects a thousand times in a minute is not
// remembered a thousand times, and what is open always is.
func TestManyAreForgotten(t *testing.T) {
	ln := listener(t)
	d := New()
	_, open := connect(t, d, ln.Addr().String())
	for range maxRemembered + 100 {
		conn, _ := connect(t, d, ln.Addr().String())
		_ = conn.Close()
		served, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = served.Close()
	}
	d.Begin(start)
	if len(d.probes) != maxRemembered+1 || !d.Probes().Has(&open) {
		t.Errorf("%d connections are remembered, want %d and the open one", len(d.probes), maxRemembered)
	}
}

func BenchmarkBegin(b *testing.B) {
	d := New()
	for range 20 {
		d.probes = append(d.probes, &probe{})
	}
	b.ReportAllocs()
	for b.Loop() {
		d.Begin(start)
	}
}

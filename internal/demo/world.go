package demo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Truth is what the clients saw. Times are since the world's start; zero means
// that it did not happen.
type Truth struct {
	OK, Slow, Failed       int
	FirstSlow, FirstFailed time.Duration
}

// leakDescriptors is how many files this process may open while it plays the
// leak, so that their end is near enough to be told.
const leakDescriptors = 1024

// World is the server and its load. Its goroutines end when Run returns.
type World struct {
	scenario Scenario
	duration time.Duration
	listener net.Listener
	began    time.Time

	mu     sync.Mutex
	truth  Truth
	leaked []net.Conn // kept in reach, or the garbage collector would close them
}

// NewWorld opens the server's listener on a free port of 127.0.0.1; Run closes it.
func NewWorld(ctx context.Context, s Scenario, d time.Duration) (*World, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the demo's server: %w", err)
	}
	raw, err := l.(syscall.Conn).SyscallConn()
	if err == nil {
		// A second listen(2) only changes the backlog.
		cerr := raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), backlog) })
		if err == nil {
			err = cerr
		}
	}
	if err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("set the backlog of the demo's server: %w", err)
	}
	return &World{scenario: s, duration: d, listener: l, began: time.Now()}, nil
}

// Addr is where the server listens.
func (w *World) Addr() netip.AddrPort { return w.listener.Addr().(*net.TCPAddr).AddrPort() }

// Truth is what the clients have seen so far; safe for concurrent use.
func (w *World) Truth() Truth {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.truth
}

// Run serves and loads until ctx ends, and then waits for everything it
// started.
func (w *World) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if w.scenario == Leak {
		defer limitDescriptors(leakDescriptors)()
	}
	stop := context.AfterFunc(ctx, func() { _ = w.listener.Close() })
	defer stop()
	var all sync.WaitGroup
	for range Workers {
		all.Go(func() { w.work(ctx) })
	}
	w.arrive(ctx, &all)
	all.Wait()
	for _, c := range w.leaked {
		_ = c.Close()
	}
}

// limitDescriptors lowers the soft limit of open files and returns what puts it
// back. Where that is refused the limit stays as it is, and what is shown is
// true of that.
func limitDescriptors(most uint64) (restore func()) {
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil || was.Cur <= most {
		return func() {}
	}
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: most, Max: was.Max})
	return func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &was) }
}

// arrive starts requests, evenly spaced, and slow clients as they are due.
func (w *World) arrive(ctx context.Context, all *sync.WaitGroup) {
	next, held := w.began, 0
	for n := 0; ; n++ {
		done := float64(time.Since(w.began)) / float64(w.duration)
		if w.scenario == SlowClients && held < w.scenario.dawdlers(done) {
			held++
			all.Go(func() { w.dawdle(ctx, client(7, held)) })
		}
		from := client(n%5, n)
		all.Go(func() { w.request(ctx, from) })
		next = next.Add(time.Duration(float64(time.Second) / w.scenario.rate(done)))
		if !wait(ctx, time.Until(next)) {
			return
		}
	}
}

// client is an address of the loopback network: 127.0.subnet.1–200.
func client(subnet, n int) net.IP { return net.IPv4(127, 0, byte(subnet), byte(1+n%200)) }

// work is one worker: it serves one connection at a time.
func (w *World) work(ctx context.Context) {
	for {
		conn, err := w.listener.Accept()
		if err != nil {
			return // closed, as ctx is over
		}
		w.serve(ctx, conn)
	}
}

func (w *World) serve(ctx context.Context, conn net.Conn) {
	forgotten := false
	defer func() {
		if !forgotten {
			_ = conn.Close()
		}
	}()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
		return
	}
	if !wait(ctx, serviceTime) {
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
	forgotten = w.forget(conn)
}

// forget reports whether this connection is one that the server never closes:
// the bug of the scenario.
func (w *World) forget(conn net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.leaked) >= w.scenario.leaked(float64(time.Since(w.began))/float64(w.duration)) {
		return false
	}
	w.leaked = append(w.leaked, conn)
	return true
}

// request is one client's request; what became of it goes into the truth.
func (w *World) request(ctx context.Context, from net.IP) {
	began := time.Now()
	err := w.ask(ctx, from, began.Add(clientTimeout))
	if end, ok := ctx.Deadline(); ctx.Err() != nil || ok && !time.Now().Before(end) {
		return // cut off by the end, not by the server
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	at := time.Since(w.began)
	switch {
	case err != nil:
		w.truth.Failed++
		first(&w.truth.FirstFailed, at)
	case time.Since(began) >= slowAfter:
		w.truth.Slow++
		first(&w.truth.FirstSlow, at)
	default:
		w.truth.OK++
	}
}

func first(d *time.Duration, at time.Duration) {
	if *d == 0 {
		*d = at
	}
}

func (w *World) dial(ctx context.Context, from net.IP) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}
	return d.DialContext(ctx, "tcp4", w.Addr().String())
}

func (w *World) ask(ctx context.Context, from net.IP, deadline time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	conn, err := w.dial(ctx, from)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: demo\r\n\r\n"); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// dawdle sends a header that never ends, a byte each second.
func (w *World) dawdle(ctx context.Context, from net.IP) {
	conn, err := w.dial(ctx, from)
	if err != nil {
		return
	}
	defer conn.Close()
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nX: ")
	for err == nil && wait(ctx, time.Second) {
		_, err = io.WriteString(conn, "a")
	}
}

// wait reports whether the time passed; false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

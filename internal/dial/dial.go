// Package dial makes the agent's own outgoing TCP connections, and knows them
// again in the kernel's table: what Foreshock itself does is left out of every
// count.
//
//	d := dial.New()
//	transport := &http.Transport{DialContext: d.DialContext}
//	…
//	d.Begin(now) // a look begins
//	read(func(batch []tcp.Socket) {
//		probes := d.Probes()
//		batch = slices.DeleteFunc(batch, func(s tcp.Socket) bool { return probes.Has(&s) })
//	})
//
// A socket takes its local port before it connects, and is noted by it: no look
// can see a connection of ours that is not noted yet. That takes no privilege,
// as a mark on the socket would (SO_MARK: CAP_NET_ADMIN), and works with every
// reader. A connection made on our behalf by somebody else, such as a proxy or
// a name server that asks on, is theirs.
package dial

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/scope"
)

const (
	// remains is how long a closed connection is remembered. What is left of
	// one is gone after TIME_WAIT's 60 s, or FIN_WAIT2's 60 s and that (kernel:
	// TCP_TIMEWAIT_LEN, tcp_fin_timeout); one whose FIN nobody acknowledges
	// lasts up to 100 s longer (tcp_orphan_retries). One that hangs in the
	// accept queue of a server that is stopped lasts until that goes on.
	remains = 5 * time.Minute
	// maxRemembered bounds the closed ones; the oldest are forgotten first.
	maxRemembered = 512
)

// Dialer connects for the agent. It is safe for concurrent use. The zero value
// is not usable; see New.
type Dialer struct {
	index  atomic.Pointer[scope.Probes]
	mu     sync.Mutex
	probes []*probe
	counts Counts
}

// probe is one connection of ours.
type probe struct {
	scope.Probe
	closed  bool
	endedAt time.Time // when the first look after that began; zero before
}

// Counts is what the connections added to the counters of the agent's network
// namespace, since its start.
type Counts struct {
	// Opened are attempts, in ActiveOpens. Failed are those that were refused
	// or timed out, in AttemptFails. Served went to a server of the same
	// address as ours, and so of this namespace, in PassiveOpens.
	Opened, Failed, Served uint64
}

// New returns a Dialer that has made no connection.
func New() *Dialer { return &Dialer{} }

// DialContext connects as net.Dialer does, and notes TCP connections. Closing
// what it returns ends the note, some minutes later.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return d.dial(ctx, network, address, bindAny)
}

// DialProbe does the same from one of the ports by which agents on other hosts
// know a probe: see [scope.OfAgent]. Where none is free it is from any.
func (d *Dialer) DialProbe(ctx context.Context, network, address string) (net.Conn, error) {
	return d.dial(ctx, network, address, bindProbe)
}

// binder takes a local port for a socket that will connect to an address.
type binder func(fd int, to netip.Addr) (uint16, error)

func (d *Dialer) dial(ctx context.Context, network, address string, bind binder) (net.Conn, error) {
	var tried []*probe // one for each address that was tried, some at once
	var mu sync.Mutex
	dialer := net.Dialer{Control: func(network, address string, raw syscall.RawConn) error {
		p := d.note(network, address, raw, bind)
		if p != nil {
			mu.Lock()
			tried = append(tried, p)
			mu.Unlock()
		}
		return nil // a probe that is counted is better than none
	}}
	conn, err := dialer.DialContext(ctx, network, address)
	mu.Lock()
	defer mu.Unlock()
	if err != nil {
		d.failed(tried, err)
		return nil, err
	}
	p := d.connected(tried, conn)
	if p == nil {
		return conn, nil
	}
	return &noted{conn, d, p}, nil
}

// note gives a socket that will connect a local port, and remembers it. A nil
// answer is a socket that is not TCP. Without a port, as when all are taken,
// the connection is noted once it is made.
func (d *Dialer) note(network, address string, raw syscall.RawConn, bind binder) *probe {
	if network != "tcp4" && network != "tcp6" && network != "tcp" {
		return nil
	}
	remote, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil
	}
	p := &probe{Probe: scope.Probe{Remote: plain(remote)}}
	_ = raw.Control(func(fd uintptr) { // the socket is ours alone: it cannot be closed
		port, err := bind(int(fd), remote.Addr())
		if err == nil {
			p.Local = netip.AddrPortFrom(netip.Addr{}, port)
		}
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts.Opened++
	d.probes = append(d.probes, p)
	d.publish()
	return p
}

// portsTried is how many of the probes' ports are tried before any will do. One
// that was used lies in TIME_WAIT for a minute.
const portsTried = 16

// bindProbe takes one of the probes' ports, at any address.
func bindProbe(fd int, to netip.Addr) (uint16, error) {
	for range portsTried {
		port, err := bindPort(fd, to, scope.FirstProbePort+rand.N(scope.ProbePorts))
		if !errors.Is(err, syscall.EADDRINUSE) {
			return port, err
		}
	}
	return bindAny(fd, to)
}

// bindAny takes any local port, at any address.
func bindAny(fd int, to netip.Addr) (uint16, error) { return bindPort(fd, to, 0) }

// bindPort takes a local port, zero: any, at any address: which address it will be
// is up to the route. It returns the port.
func bindPort(fd int, to netip.Addr, port int) (uint16, error) {
	var any unix.Sockaddr = &unix.SockaddrInet4{Port: port}
	if !to.Is4() {
		any = &unix.SockaddrInet6{Port: port}
	}
	if err := unix.Bind(fd, any); err != nil {
		return 0, err
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	switch at := at.(type) {
	case *unix.SockaddrInet4:
		return uint16(at.Port), nil
	case *unix.SockaddrInet6:
		return uint16(at.Port), nil
	}
	return 0, errors.ErrUnsupported
}

// connected finds which of the sockets that were tried is the connection; the
// others are closed.
func (d *Dialer) connected(tried []*probe, conn net.Conn) *probe {
	local, remote := endOf(conn.LocalAddr()), endOf(conn.RemoteAddr())
	d.mu.Lock()
	defer d.mu.Unlock()
	var out *probe
	for _, p := range tried {
		if out == nil && p.Remote == remote && (p.Local.Port() == 0 || p.Local.Port() == local.Port()) {
			out, p.Local = p, local
			if local.Addr() == remote.Addr() {
				d.counts.Served++
			}
			continue
		}
		p.closed = true
	}
	d.publish()
	return out
}

// failed notes the end of attempts. One that was given up may have been
// answered all the same, so that something is left of it.
func (d *Dialer) failed(tried []*probe, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range tried {
		p.closed = true
	}
	// Of several addresses the error is the first one's.
	n := uint64(len(tried))
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ETIMEDOUT):
		d.counts.Failed += n
	case !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded):
		d.counts.Opened -= n // no route, or no port: nothing was sent
	}
	d.publish()
}

func endOf(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return plain(t.AddrPort())
	}
	return netip.AddrPort{}
}

// plain is an address as the kernel's table has it: IPv4 unmapped, and the
// interface of a link-local one apart.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// publish makes the index anew; the caller holds mu.
func (d *Dialer) publish() {
	list := make([]scope.Probe, 0, len(d.probes))
	for _, p := range d.probes {
		if p.Local.Port() != 0 {
			list = append(list, p.Probe)
		}
	}
	d.index.Store(scope.NewProbes(list))
}

// Probes are the connections as they are now. Ask again with each batch of
// sockets: what the kernel has shown is noted by then.
func (d *Dialer) Probes() *scope.Probes { return d.index.Load() }

// Counts is what the connections have added to the namespace's counters.
func (d *Dialer) Counts() Counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts
}

// Begin says that a look begins at now. Connections that were closed before
// count as ended from here on, and are forgotten some minutes later. While it
// is quiet this costs a few nanoseconds for each connection remembered.
func (d *Dialer) Begin(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	changed := false
	ended := 0
	for _, p := range d.probes {
		if p.closed && p.endedAt.IsZero() {
			p.endedAt, p.Ended, changed = now, true, true
		}
		if p.Ended {
			ended++
		}
	}
	kept := d.probes[:0]
	for _, p := range d.probes {
		if p.Ended && (ended > maxRemembered || now.Sub(p.endedAt) >= remains || p.Local.Port() == 0) {
			ended--
			changed = true
			continue
		}
		kept = append(kept, p)
	}
	clear(d.probes[len(kept):])
	if d.probes = kept; changed {
		d.publish()
	}
}

// close notes that a connection has ended.
func (d *Dialer) close(p *probe) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p.closed = true
}

// noted is a connection that is noted.
type noted struct {
	net.Conn
	dialer *Dialer
	probe  *probe
}

// Close closes the connection. It may be called twice, as of any net.Conn.
func (c *noted) Close() error {
	err := c.Conn.Close()
	c.dialer.close(c.probe)
	return err
}

package lab

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// The children of a population work with bare system calls and keep their
// sockets as numbers: nothing per connection is allocated, and no garbage
// collector closes one. The kernel does when the process ends.

// runEstablished is the child that holds established connections.
func runEstablished(ctx context.Context, c establishedConfig, _ <-chan json.RawMessage, ready func(any) error) error {
	for i := range c.Pairs {
		if i%256 == 0 && ctx.Err() != nil {
			return nil
		}
		// All children accept from the same queues, so this may accept
		// another's connection; the numbers still match.
		n := i % len(c.Listeners)
		if _, err := connectFrom(addrPlus(c.Source, i/connectionsPerSource), c.Listeners[n]); err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
		if _, err := accept(3 + n); err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
	}
	if err := ready(populationReport{Established: 2 * c.Pairs}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// runOdd is the child that makes sockets in other states.
func runOdd(ctx context.Context, c oddConfig, _ <-chan json.RawMessage, ready func(any) error) error {
	report := populationReport{Odd: c.Odd}
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	ring := &sourceRing{first: c.Source}
	busy := netip.AddrPortFrom(loopback, c.Port)
	busyListener := -1
	if c.Odd.CloseWait > 0 || c.Odd.TimeWait > 0 {
		var err error
		if busyListener, err = listenOn(busy, 4096); err != nil {
			return err
		}
		report.Listeners++
	}
	closeWaits := make([]int, 0, c.Odd.CloseWait)
	for i := range c.Odd.CloseWait {
		fd, err := makeCloseWait(ring.next(), busy, busyListener)
		if err != nil {
			return fmt.Errorf("CLOSE_WAIT socket %d: %w", i, err)
		}
		closeWaits = append(closeWaits, fd)
	}
	for i := range c.Odd.SynSent {
		if err := makeSynSent(c.Void, i); err != nil {
			return fmt.Errorf("SYN_SENT socket %d: %w", i, err)
		}
	}
	if c.Odd.SynRecv > 0 {
		half := netip.AddrPortFrom(c.Host, c.Port+1)
		// Room for twice as many, or the kernel drops the oldest early.
		if _, err := listenOn(half, min(2*c.Odd.SynRecv+64, 65_535), retryForHours); err != nil {
			return err
		}
		report.Listeners++
		if err := sendSYNs(c.Void, half, c.Odd.SynRecv); err != nil {
			return err
		}
	}
	waits := &timeWaits{want: c.Odd.TimeWait, target: busy, listener: busyListener, ring: ring}
	if err := waits.fill(ctx); err != nil {
		return err
	}
	for len(closeWaits) > 0 {
		lost, err := remakeCloseWaits(ctx, closeWaits, ring, busy, busyListener)
		if err != nil {
			return err
		}
		if lost == 0 {
			break
		}
	}
	if err := ready(report); err != nil {
		return err
	}
	return waits.keep(ctx)
}

// sourceRing gives source addresses, each for connectionsPerSource connections.
type sourceRing struct {
	first netip.Addr
	given int
}

func (r *sourceRing) next() netip.Addr {
	r.given++
	return addrPlus(r.first, (r.given-1)/connectionsPerSource)
}

// timeWaitLife is how long a TIME_WAIT socket lasts.
// Kernel: TCP_TIMEWAIT_LEN, include/net/tcp.h.
const timeWaitLife = 60 * time.Second

// timeWaits keeps a number of TIME_WAIT sockets standing.
type timeWaits struct {
	want     int
	target   netip.AddrPort
	listener int
	ring     *sourceRing
	batches  []timeWaitBatch // oldest first
	stand    int
}

type timeWaitBatch struct {
	begun time.Time
	n     int
}

// timeWaitStep bounds a batch, and so by how much its last socket outlives its
// first.
const timeWaitStep = 1000

// fill makes what is missing.
func (w *timeWaits) fill(ctx context.Context) error {
	for w.stand < w.want && ctx.Err() == nil {
		b := timeWaitBatch{begun: time.Now(), n: min(w.want-w.stand, timeWaitStep)}
		for range b.n {
			if err := makeTimeWait(w.ring.next(), w.target, w.listener); err != nil {
				return fmt.Errorf("TIME_WAIT socket: %w", err)
			}
		}
		w.batches = append(w.batches, b)
		w.stand += b.n
	}
	return nil
}

// keep replaces batches as their time ends, until ctx is done.
func (w *timeWaits) keep(ctx context.Context) error {
	if w.want == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for len(w.batches) > 0 && time.Since(w.batches[0].begun) >= timeWaitLife {
			w.stand -= w.batches[0].n
			w.batches = w.batches[1:]
		}
		// Two minutes of source addresses are this child's own; by the time
		// they come round again theirs have been free for a minute.
		if w.ring.given > 2*w.want+connectionsPerSource {
			w.ring.given = 0
		}
		if err := w.fill(ctx); err != nil {
			return err
		}
	}
}

// makeTimeWait leaves one TIME_WAIT socket, the client's, and nothing else.
func makeTimeWait(source netip.Addr, target netip.AddrPort, listener int) error {
	client, err := connectFrom(source, target)
	if err != nil {
		return err
	}
	server, err := accept(listener)
	if err != nil {
		return err
	}
	return errors.Join(unix.Close(client), unix.Close(server))
}

// closeWaitPeer is how long the closed end of a CLOSE_WAIT socket waits for
// its peer's FIN, instead of 60 s.
const closeWaitPeer = time.Second

// makeCloseWait leaves one CLOSE_WAIT socket, the server's, which it returns,
// and until closeWaitPeer has passed the client's in FIN_WAIT2.
func makeCloseWait(source netip.Addr, target netip.AddrPort, listener int) (int, error) {
	client, err := connectFrom(source, target)
	if err != nil {
		return -1, err
	}
	if err := unix.SetsockoptInt(client, unix.IPPROTO_TCP, unix.TCP_LINGER2, int(closeWaitPeer/time.Second)); err != nil {
		return -1, fmt.Errorf("set TCP_LINGER2: %w", err)
	}
	server, err := accept(listener)
	if err != nil {
		return -1, err
	}
	// The FIN's ACK would otherwise wait 40 ms, and the FIN may be sent again
	// by then; see remakeCloseWaits.
	if err := unix.SetsockoptInt(server, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1); err != nil {
		return -1, fmt.Errorf("set TCP_QUICKACK: %w", err)
	}
	return server, unix.Close(client)
}

// remakeCloseWaits waits until the peers are gone and replaces the sockets that
// went with them; it returns how many. On a busy machine a FIN is sent twice,
// the second is answered when the client has gone, and that gives a reset.
func remakeCloseWaits(ctx context.Context, fds []int, ring *sourceRing, target netip.AddrPort, listener int) (lost int, err error) {
	timer := time.NewTimer(closeWaitPeer + closeWaitPeer/4)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return 0, nil
	case <-timer.C:
	}
	for i, fd := range fds {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return lost, fmt.Errorf("read state of CLOSE_WAIT socket: %w", err)
		}
		if info.State == unix.BPF_TCP_CLOSE_WAIT {
			continue
		}
		lost++
		if err := unix.Close(fd); err != nil {
			return lost, err
		}
		if fds[i], err = makeCloseWait(ring.next(), target, listener); err != nil {
			return lost, fmt.Errorf("replace CLOSE_WAIT socket: %w", err)
		}
	}
	return lost, nil
}

// makeSynSent leaves one SYN_SENT socket; i tells it from the others.
func makeSynSent(void netip.Prefix, i int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	if err := retryForHours(fd); err != nil {
		return fmt.Errorf("set TCP_SYNCNT: %w", err)
	}
	// Void's first two addresses are the network's and the gateway's.
	to := netip.AddrPortFrom(addrPlus(void.Addr(), 2+i/connectionsPerSource), 443)
	if err := unix.Connect(fd, sockaddr(to)); !errors.Is(err, unix.EINPROGRESS) {
		return fmt.Errorf("connect to %v: %w", to, cmp.Or(err, errors.New("it answered")))
	}
	return nil
}

// sendSYNs opens n half-open connections to target from addresses in void,
// which never answer.
func sendSYNs(void netip.Prefix, target netip.AddrPort, n int) error {
	syns, err := newSYNSender(target)
	if err != nil {
		return err
	}
	defer syns.Close()
	for i := range n {
		from := netip.AddrPortFrom(addrPlus(void.Addr(), 2+i/connectionsPerSource), uint16(1024+i%connectionsPerSource))
		if err := syns.send(from); err != nil {
			return err
		}
	}
	return nil
}

// connectFrom opens a connection from that source address. Its port is chosen
// by connect, so that one port serves many targets.
func connectFrom(source netip.Addr, target netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open socket: %w", err)
	}
	err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	if err == nil {
		err = unix.Bind(fd, sockaddr(netip.AddrPortFrom(source, 0)))
	}
	if err == nil {
		err = retry(func() error { return unix.Connect(fd, sockaddr(target)) })
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("connect from %v to %v: %w", source, target, err)
	}
	return fd, nil
}

// listenOn opens a listener with the options that opts sets on it.
func listenOn(addr netip.AddrPort, backlog int, opts ...func(fd int) error) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open socket: %w", err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	for _, opt := range opts {
		if err == nil {
			err = opt(fd)
		}
	}
	if err == nil {
		err = unix.Bind(fd, sockaddr(addr))
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("listen on %v: %w", addr, err)
	}
	return fd, nil
}

// resetOnClose makes closing an accepted connection reset it, which accepted
// sockets inherit: a population that ends shall not leave one of TIME_WAIT.
func resetOnClose(fd int) error {
	return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// retryForHours makes SYNs, or a listener's SYN-ACKs, be sent again as often as
// may be asked for, at last every 120 s.
// Kernel: MAX_TCP_SYNCNT, include/net/tcp.h.
func retryForHours(fd int) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_SYNCNT, 127)
}

func accept(listener int) (int, error) {
	var fd int
	err := retry(func() (err error) {
		fd, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("accept: %w", err)
	}
	return fd, nil
}

// retry repeats a call that a signal interrupted: the runtime's own preemption
// uses one. An interrupted connect may have come through meanwhile.
func retry(call func() error) error {
	err := call()
	interrupted := false
	for errors.Is(err, unix.EINTR) {
		interrupted = true
		err = call()
	}
	if interrupted && errors.Is(err, unix.EISCONN) {
		return nil
	}
	return err
}

func sockaddr(a netip.AddrPort) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}

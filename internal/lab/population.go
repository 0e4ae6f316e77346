package lab

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"strconv"
	"time"
)

// Population describes a crowd of sockets inside one host's namespace.
type Population struct {
	// Sockets is how many kernel sockets shall stand, listeners left out,
	// at most MaxPopulation. Both ends of a connection are inside, so each
	// counts two. What Odd does not take is ESTABLISHED; an odd one left
	// over is not made.
	Sockets int
	// Listeners is how many the ESTABLISHED sockets are spread over, the i-th
	// at PopulationListener(i). Zero is 4.
	Listeners int
	// Odd are the sockets that are not plain ESTABLISHED ones.
	Odd OddSockets
	// OddShare fills an empty Odd with this share of Sockets, 0 to 1: of ten
	// odd ones six in TIME_WAIT, two in CLOSE_WAIT, one in SYN_SENT and one
	// half-open.
	OddShare float64
}

// OddSockets counts connections in states other than ESTABLISHED.
type OddSockets struct {
	// TimeWait are made anew as the kernel drops them after 60 s; their
	// number dips for as long as that takes (20 µs each).
	TimeWait int
	// CloseWait are held by a process that does not close; their peers are
	// gone.
	CloseWait int
	// SynSent are on their way to addresses of Void.
	SynSent int
	// SynRecv are half-open: their clients, in Void, never answer.
	SynRecv int
}

// sockets returns how many kernel sockets o is.
func (o OddSockets) sockets() int {
	return o.TimeWait + o.CloseWait + o.SynSent + o.SynRecv
}

func (o OddSockets) plus(p OddSockets) OddSockets {
	return OddSockets{o.TimeWait + p.TimeWait, o.CloseWait + p.CloseWait, o.SynSent + p.SynSent, o.SynRecv + p.SynRecv}
}

const (
	// MaxPopulation is the most sockets of one population: about 4 GB of
	// kernel memory.
	MaxPopulation = 2_000_000
	// PopulationPort is the port of a population's first listener.
	PopulationPort = 20_000
	// maxSynRecv is the most half-open connections of one listener. Kernel:
	// net.core.somaxconn bounds its backlog, 65,535 at most, and half-open
	// ones are dropped early once they are more than half of the backlog
	// (net/ipv4/inet_connection_sock.c, reqsk_timer_handler).
	maxSynRecv = 20_000
)

// Standing is what a population has made.
type Standing struct {
	Established int // sockets in ESTABLISHED, both ends
	Listeners   int // of Population.Listeners and one or two per process of odd ones
	Odd         OddSockets
	Processes   int           // that hold them
	Took        time.Duration // to make
	// Kernel is what the namespace's own counters gained meanwhile. InUse
	// counts Established, Listeners, CloseWait and SynSent.
	Kernel SockStat
}

// Crowd is a population that stands. Its sockets are reset as it ends.
type Crowd struct {
	*Running
	standing Standing
}

// establishedConfig is one child's part of the ESTABLISHED sockets. It has the
// listeners from descriptor 3 on.
type establishedConfig struct {
	Pairs     int
	Listeners []netip.AddrPort
	Source    netip.Addr // the first of the addresses that are this child's own
}

// oddConfig is one child's part of the odd sockets.
type oddConfig struct {
	Odd    OddSockets
	Host   netip.Addr // an address of the host outside loopback
	Port   uint16     // the first of two for its listeners
	Source netip.Addr
	Void   netip.Prefix
}

// populationReport is what a child says once its sockets stand.
type populationReport struct {
	Established, Listeners int
	Odd                    OddSockets
}

// connectionsPerSource spreads connections over source addresses, so that
// looking for a free port stays short.
const connectionsPerSource = 2000

// PopulationListener is where a population's i-th listener is, from 0: each has
// an address and a port of its own.
func PopulationListener(i int) netip.AddrPort {
	return netip.AddrPortFrom(addrPlus(netip.AddrFrom4([4]byte{127, 0, 0, 1}), i), uint16(PopulationPort+i))
}

// PopulationSource is the first of the addresses that a population's connections
// come from.
func PopulationSource() netip.Addr { return netip.AddrFrom4([4]byte{127, 1, 0, 1}) }

// Populate makes a population on the host and returns once it stands. ctx
// bounds the making only. The namespace's settings for queue lengths and
// TIME_WAIT are raised as needed.
func (h *Host) Populate(ctx context.Context, p Population) (*Crowd, error) {
	c := &Crowd{Running: &Running{host: h}}
	if err := c.make(ctx, p); err != nil {
		return nil, errors.Join(fmt.Errorf("populate %s: %w", h.name, err), c.halt())
	}
	if err := h.world.adopt(c.Running); err != nil {
		return nil, err
	}
	return c, nil
}

func (p Population) withDefaults() (Population, error) {
	if p.Sockets < 0 || p.Sockets > MaxPopulation {
		return p, fmt.Errorf("%d sockets is not within 0 to %d", p.Sockets, MaxPopulation)
	}
	if !(p.OddShare >= 0 && p.OddShare <= 1) {
		return p, fmt.Errorf("odd share %v is not within 0 to 1", p.OddShare)
	}
	var err error
	if p.Listeners, err = countOr(p.Listeners, 4, 1000, "listeners"); err != nil {
		return p, err
	}
	if p.Odd == (OddSockets{}) {
		odd := int(math.Round(p.OddShare * float64(p.Sockets)))
		p.Odd = OddSockets{CloseWait: odd / 5, SynSent: odd / 10, SynRecv: odd / 10}
		p.Odd.TimeWait = odd - p.Odd.sockets()
	}
	for _, n := range []int{p.Odd.TimeWait, p.Odd.CloseWait, p.Odd.SynSent, p.Odd.SynRecv} {
		if n < 0 || n > MaxPopulation {
			return p, fmt.Errorf("odd sockets %+v: %d is not within 0 to %d", p.Odd, n, MaxPopulation)
		}
	}
	if p.Odd.sockets() > p.Sockets {
		return p, fmt.Errorf("odd sockets are %d, more than the %d of all", p.Odd.sockets(), p.Sockets)
	}
	return p, nil
}

func (c *Crowd) make(ctx context.Context, p Population) error {
	began := time.Now()
	p, err := p.withDefaults()
	if err != nil {
		return err
	}
	room, err := descriptorRoom()
	if err != nil {
		return err
	}
	before, err := c.host.SockStat()
	if err != nil {
		return err
	}
	if err := c.raiseSettings(p); err != nil {
		return err
	}
	if err := c.startChildren(ctx, p, room); err != nil {
		return err
	}
	for _, child := range c.children {
		var report populationReport
		if err := child.read(ctx, &report); err != nil {
			return err
		}
		c.standing.Established += report.Established
		c.standing.Listeners += report.Listeners
		c.standing.Odd = c.standing.Odd.plus(report.Odd)
	}
	c.standing.Processes = len(c.children)
	if err := c.settle(ctx, before); err != nil {
		return err
	}
	c.standing.Took = time.Since(began)
	return nil
}

// raiseSettings makes room in the namespace.
func (c *Crowd) raiseSettings(p Population) error {
	raise := map[string]int{"net.core.somaxconn": 65_535}
	if p.Odd.TimeWait > 0 {
		// The default is half the buckets of the hash table.
		raise["net.ipv4.tcp_max_tw_buckets"] = 2*p.Odd.TimeWait + 65_536
	}
	for name, least := range raise {
		text, err := c.host.Sysctl(name)
		if err != nil {
			return err
		}
		if now, err := strconv.Atoi(text); err == nil && now >= least {
			continue
		}
		if err := c.host.SetSysctl(name, strconv.Itoa(least)); err != nil {
			return err
		}
	}
	if p.Odd.TimeWait == 0 {
		return nil
	}
	// By default connects over loopback take over TIME_WAIT sockets.
	return c.host.SetSysctl("net.ipv4.tcp_tw_reuse", "0")
}

// startChildren starts the processes that share p, each with at most room
// descriptors, all at once.
func (c *Crowd) startChildren(ctx context.Context, p Population, room int) error {
	source := PopulationSource()
	launch := func(role string, config any, connections int, extra ...*os.File) error {
		source = addrPlus(source, connections/connectionsPerSource+2)
		return c.launch(ctx, c.host, role, config, extra...)
	}

	if pairs := (p.Sockets - p.Odd.sockets()) / 2; pairs > 0 {
		listeners, files, err := c.listen(p.Listeners)
		defer func() {
			for _, f := range files {
				_ = f.Close()
			}
		}()
		if err != nil {
			return err
		}
		c.standing.Listeners = len(listeners)
		each := (room - len(files)) / 2
		if each < 1 {
			return fmt.Errorf("descriptor limit leaves room for %d sockets beside %d listeners", room, len(files))
		}
		for ; pairs > 0; pairs -= each {
			n := min(each, pairs)
			if err := launch("established", establishedConfig{Pairs: n, Listeners: listeners, Source: source}, n, files...); err != nil {
				return err
			}
		}
	}

	port := PopulationPort + p.Listeners
	for left := p.Odd; left != (OddSockets{}); port += 2 {
		part := left.take(room - 10)
		config := oddConfig{Odd: part, Host: c.host.Addr(), Port: uint16(port), Source: source, Void: Void()}
		// A TIME_WAIT keeps its port for a minute, and is made anew beside
		// the ports of its predecessors.
		if err := launch("odd", config, part.CloseWait+3*part.TimeWait); err != nil {
			return err
		}
	}
	return nil
}

// take moves what one process can hold out of o: CloseWait and SynSent cost a
// descriptor each.
func (o *OddSockets) take(room int) OddSockets {
	move := func(from *int, most int) int {
		n := max(min(*from, most), 0)
		*from -= n
		return n
	}
	var part OddSockets
	part.CloseWait = move(&o.CloseWait, room)
	room -= part.CloseWait
	part.SynSent = move(&o.SynSent, room)
	part.SynRecv = move(&o.SynRecv, maxSynRecv)
	part.TimeWait = move(&o.TimeWait, 200_000)
	return part
}

// listen opens the listeners that all processes share.
func (c *Crowd) listen(n int) (addrs []netip.AddrPort, files []*os.File, err error) {
	err = c.host.Do(func() error {
		for i := range n {
			addr := PopulationListener(i)
			fd, err := listenOn(addr, 4096, resetOnClose)
			if err != nil {
				return err
			}
			addrs = append(addrs, addr)
			files = append(files, os.NewFile(uintptr(fd), addr.String()))
		}
		return nil
	})
	return addrs, files, err
}

// settleWait bounds the wait for the kernel's counters to agree with the
// children. The peers of CLOSE_WAIT sockets take 1 s to go.
const settleWait = 5 * time.Second

// settle waits for the namespace's counters to show what the children made and
// notes what they show in the end.
func (c *Crowd) settle(ctx context.Context, before SockStat) error {
	s := &c.standing
	want := SockStat{InUse: s.Established + s.Listeners + s.Odd.CloseWait + s.Odd.SynSent, TimeWait: s.Odd.TimeWait}
	deadline := time.Now().Add(settleWait)
	for {
		now, err := c.host.SockStat()
		if err != nil {
			return err
		}
		s.Kernel = SockStat{InUse: now.InUse - before.InUse, TimeWait: now.TimeWait - before.TimeWait}
		if s.Kernel == want || time.Now().After(deadline) {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Standing returns what stood when Populate returned.
func (c *Crowd) Standing() Standing { return c.standing }

// addrPlus returns the IPv4 address n further.
func addrPlus(a netip.Addr, n int) netip.Addr {
	b := a.As4()
	v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	v += uint32(n)
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/prometheus/procfs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/measure"
	ourprocfs "github.com/foreshock/foreshock/internal/observe/procfs"
	"github.com/foreshock/foreshock/internal/observe/sockdiag"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// method is one way to look.
type method struct {
	name     string
	against  string
	external bool // another program: its heap is not ours to count
	look     func() (sockets int, err error)
}

// The baselines of ratios.
const (
	bare  = "bare receive loop, tcp_info"
	ssAll = "ss -tanH"
)

// openMethods opens every reader in the calling thread's namespace.
func openMethods() ([]method, func(), error) {
	reader, err := sockdiag.Open(tcp.NewScratch())
	if err != nil {
		return nil, nil, err
	}
	loop, err := openBareLoop()
	if err != nil {
		return nil, nil, errors.Join(err, reader.Close())
	}
	text := ourprocfs.New("/proc/thread-self/net", tcp.NewScratch())
	stop := func() { _, _, _ = reader.Close(), unix.Close(loop.fd), text.Close() }

	services := make([]scope.Service, 4)
	for i := range services {
		services[i] = scope.Service{Name: fmt.Sprintf("lab%d", i), Listen: []netip.AddrPort{lab.PopulationListener(i)}}
	}
	read := func(req tcp.Request) func() (int, error) {
		return func() (int, error) {
			look, err := reader.Read(req, func([]tcp.Socket) {})
			return look.Sockets, err
		}
	}
	count := newCounter(reader, services).look
	whole := tcp.Request{Tier: tcp.Full, States: tcp.AllStates, Info: true}
	fs, err := procfs.NewFS("/proc/thread-self")
	if err != nil {
		stop()
		return nil, nil, err
	}
	methods := []method{
		{bare, bare, false, loop.look},
		{"foreshock, decode", bare, false, read(whole)},
		{"foreshock full: decode, classify, tally, signals", bare, false, count(whole)},
	}
	methods = append(methods, withRegions(reader, services, whole)...)
	methods = append(methods, withSwitches(reader, services, whole)...)
	methods = append(methods, []method{
		{"foreshock focus on one of four listeners", ssAll, false, count(tcp.Request{Tier: tcp.Focus, States: tcp.AllStates, Info: true, Filter: tcp.Filter{LocalPorts: []uint16{lab.PopulationPort}}})},
		{"foreshock focus that matches nothing", ssAll, false, count(tcp.Request{Tier: tcp.Focus, States: tcp.AllStates, Info: true, Filter: tcp.Filter{LocalPorts: []uint16{1}}})},
		{"foreshock odd", ssAll, false, count(tcp.Request{Tier: tcp.Odd, States: tcp.OddStates})},
		{"foreshock pulse", ssAll, false, count(tcp.Request{Tier: tcp.Pulse, States: tcp.ListenOnly})},
		{"foreshock full", ssAll, false, count(whole)},
		{"foreshock, /proc/net/tcp", ssAll, false, func() (int, error) {
			look, err := text.Read(tcp.Request{States: tcp.AllStates}, func([]tcp.Socket) {})
			return look.Sockets, err
		}},
		{ssAll, ssAll, true, external("ss", "-tanH")},
		{"the articles' awk, sort, uniq", ssAll, true, articles},
		{"prometheus/procfs", ssAll, false, func() (int, error) {
			four, err := fs.NetTCP()
			if err != nil {
				return 0, err
			}
			six, err := fs.NetTCP6()
			return len(four) + len(six), err
		}},
		{"vishvananda/netlink, tcp_info", ssAll, false, func() (int, error) {
			four, err := netlink.SocketDiagTCPInfo(unix.AF_INET)
			if err != nil {
				return 0, err
			}
			six, err := netlink.SocketDiagTCPInfo(unix.AF_INET6)
			return len(four) + len(six), err
		}},
	}...)
	return methods, stop, nil
}

// counter looks, classifies, counts and measures, as the agent does.
type counter struct {
	reader  *sockdiag.Reader
	tallier *measure.Tallier
	measure *measure.Measure
	now     time.Time
}

func newCounter(reader *sockdiag.Reader, services []scope.Service) *counter {
	c := &counter{reader: reader, tallier: measure.NewTallier(""), measure: measure.New(""), now: time.Now()}
	c.tallier.SetScopes(services, nil)
	return c
}

// look is such a look, a second after the one before.
func (c *counter) look(req tcp.Request) func() (int, error) {
	add := c.tallier.Add
	return func() (int, error) {
		c.now = c.now.Add(time.Second)
		c.tallier.Begin(tcp.Look{Request: req, Begin: c.now})
		look, err := c.reader.Read(req, add)
		look.Begin = c.now
		tallies := c.tallier.End(look, time.Second)
		c.measure.Step(c.now, tallies)
		for i := range tallies.Scopes {
			if n := tallies.Scopes[i].Unclassified; n > 0 && err == nil {
				err = fmt.Errorf("%d connections are in no region", n)
			}
		}
		return look.Sockets, err
	}
}

// withRegions are full looks of a host that has regions. One looks up what no
// service has, half of the population. One that serves nothing looks up all but
// the listeners, and half of these go to a destination of their own, more than a
// region tells apart: the most that regions can cost.
func withRegions(reader *sockdiag.Reader, services []scope.Service, whole tcp.Request) []method {
	var out []method
	for _, prefixes := range []int{100, 10_000} {
		for _, serving := range []bool{true, false} {
			name, of := fmt.Sprintf("foreshock full, %d prefixes of regions", prefixes), services
			if !serving {
				name, of = name+", nothing served", nil
			}
			c, all := newCounter(reader, of), regions(prefixes)
			c.tallier.SetRegions(all, scope.NewRegionIndex(all), true)
			out = append(out, method{name, bare, false, c.look(whole)})
		}
	}
	return out
}

// withSwitches are looks of a host that follows a switch: one to whose addresses
// nothing goes, with the whole table read and with both ends' addresses asked
// for, and one whose old address has a quarter of all sockets, client's and
// server's ends.
func withSwitches(reader *sockdiag.Reader, services []scope.Service, whole tcp.Request) []method {
	nowhere, busy := netip.MustParseAddr("192.0.2.10"), lab.PopulationListener(0).Addr()
	of := func(old netip.Addr) (*counter, scope.Switch) {
		s := scope.Switch{Name: "shop.example", Old: []netip.Addr{old}, New: []netip.Addr{netip.MustParseAddr("198.51.100.7")}, TTL: time.Second, Since: time.Now()}
		c := newCounter(reader, services)
		c.tallier.SetSwitches([]scope.Switch{s}, true)
		return c, s
	}
	none, s := of(nowhere)
	quarter, _ := of(busy)
	focused, _ := of(nowhere)
	focus := whole
	focus.Tier = tcp.Focus
	for _, side := range []scope.Side{scope.OldSide, scope.NewSide} {
		focus.Filter.RemotePrefixes = append(focus.Filter.RemotePrefixes, s.Prefixes(side)...)
		focus.Filter.LocalPrefixes = append(focus.Filter.LocalPrefixes, s.Prefixes(side)...)
	}
	return []method{
		{"foreshock full, a switch with nobody at it", bare, false, none.look(whole)},
		{"foreshock full, a quarter at a switch's old address", bare, false, quarter.look(whole)},
		{"foreshock focus on a switch with nobody at it", bare, false, focused.look(focus)},
	}
}

// regions are four with so many prefixes in all, which hold every remote address
// of the population: those of its listeners and of its sources one by one, and
// for what is beyond these the whole of both.
func regions(prefixes int) []scope.Region {
	all := make([]scope.Region, 4)
	add := func(i int, p netip.Prefix) { all[i%len(all)].Prefixes = append(all[i%len(all)].Prefixes, p) }
	listener, source := lab.PopulationListener(0).Addr(), lab.PopulationSource()
	add(0, lab.Void())
	add(1, netip.PrefixFrom(listener, 16).Masked())
	add(2, netip.PrefixFrom(source, 16).Masked())
	for i := range 4 {
		add(i, netip.PrefixFrom(lab.PopulationListener(i).Addr(), 32))
	}
	for i := range prefixes - 7 {
		add(i, netip.PrefixFrom(source, 32))
		source = source.Next()
	}
	for i := range all {
		all[i].Name = fmt.Sprintf("region%d", i)
		slices.SortFunc(all[i].Prefixes, netip.Prefix.Compare)
	}
	return all
}

// articles is the pipeline that the articles print, at its word: one line per
// remote address and state.
func articles() (int, error) {
	return external("sh", "-c", `awk 'NR>1 {print $3, $4}' /proc/net/tcp | sort | uniq -c`)()
}

// bareLoop asks for the same dump as a full look and throws the answer away:
// what any reader of sock_diag must pay.
type bareLoop struct {
	fd      int
	request []byte
	buffer  []byte
}

func openBareLoop() (*bareLoop, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	// TCPDIAG_GETSOCK, both families, every state, INET_DIAG_INFO;
	// include/uapi/linux/inet_diag.h.
	var b bytes.Buffer
	for _, field := range []any{
		uint32(16 + 60), uint16(18), uint16(unix.NLM_F_REQUEST | unix.NLM_F_DUMP), uint32(1), uint32(0),
		[4]uint8{unix.AF_UNSPEC, 0, 0, 1 << 1}, [48]byte{}, uint32(tcp.AllStates), uint32(0),
	} {
		if err := binary.Write(&b, binary.NativeEndian, field); err != nil {
			return nil, err
		}
	}
	return &bareLoop{fd: fd, request: b.Bytes(), buffer: make([]byte, 32<<10)}, nil
}

// look counts no sockets: it reads one header per datagram, for the end mark.
func (l *bareLoop) look() (int, error) {
	if _, err := unix.Write(l.fd, l.request); err != nil {
		return 0, err
	}
	for {
		n, err := unix.Read(l.fd, l.buffer)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if n < 16 {
			return 0, errors.New("datagram without a header")
		}
		switch binary.NativeEndian.Uint16(l.buffer[4:]) {
		case unix.NLMSG_DONE:
			return 0, nil
		case unix.NLMSG_ERROR:
			return 0, errors.New("the kernel refused the dump")
		}
	}
}

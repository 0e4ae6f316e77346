package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/observe/discover"
	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// groupings are the values of look --by.
var groupings = [...]string{"service", "state", "remote", "prefix", "process", "namespace"}

// maxGroups bounds the memory of one look.
const maxGroups = 100_000

// lookOptions is one call of look, checked.
type lookOptions struct {
	by     string
	source observe.Source
	filter tcp.Filter
	// listen narrows to one listening address; zero is none.
	listen netip.AddrPort
	top    int
	rest   bool
}

// key names a group; only the fields of its grouping are set.
type key struct {
	state     tcp.State
	service   int // position, or scope.None for the rest
	remote    netip.AddrPort
	prefix    netip.Prefix
	process   string
	pid       int
	namespace tcp.Namespace
}

// counted is what a look found.
type counted struct {
	at        time.Time
	host      string
	options   lookOptions
	took      time.Duration
	reader    string
	complete  bool
	limits    []string
	services  []scope.Service
	names     map[tcp.Namespace]netns.Found
	breakdown *measure.Breakdown[key]
}

func lookCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "look",
		Short: "Count this host's sockets, once",
		Long: `Takes one look at the kernel's socket table and counts it: by service, state,
remote address, prefix, process or network namespace. It counts; it does not
judge, and always ends with code 0 when it could look.

IPv6 is in it, and IPv4 peers of dual-stack servers count as IPv4. Shares leave
out listeners and TIME_WAIT. Processes are told by who holds the socket, not by
/proc/PID/net, which shows the whole namespace.`,
		Example: `  foreshock look
  foreshock look --by remote --port 443 --top 10
  foreshock look --by state --watch=5s --output json`,
		Args: noArgs,
	}
	flags := cmd.Flags()
	by := flags.String("by", "service", "group by "+strings.Join(groupings[:], ", "))
	source := flags.String("reader", "auto", "auto, sock_diag or procfs")
	listen := flags.String("listen", "", "only what is connected to the listener there, as :80 or 192.0.2.1:80")
	port := flags.Uint16("port", 0, "only sockets with this local or remote port")
	top := flags.Int("top", 20, "how many groups to show; the others are summed; 0 shows all")
	rest := flags.Bool("rest", false, "by service: also list what belongs to none, by remote address")
	watch := flags.Duration("watch", 0, "look again and again, each so long")
	flags.Lookup("watch").NoOptDefVal = "2s"
	asJSON := outputFlag(cmd)
	_ = cmd.RegisterFlagCompletionFunc("by", cobra.FixedCompletions(groupings[:], cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("reader", cobra.FixedCompletions([]string{"auto", "sock_diag", "procfs"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		o, err := checkLook(*by, *source, *listen, *port, *top, *rest)
		if err != nil {
			return err
		}
		if flags.Changed("watch") && *watch < 100*time.Millisecond {
			return usage{fmt.Errorf("--watch %s: look at most ten times a second", *watch)}
		}
		write := writeTable
		if inJSON {
			write = writeJSON
		}
		return repeat(cmd.Context(), cmd.OutOrStdout(), o, *watch, inJSON, write)
	}
	return cmd
}

func checkLook(by, source, listen string, port uint16, top int, rest bool) (lookOptions, error) {
	o := lookOptions{by: by, top: top, rest: rest}
	known := false
	for _, g := range groupings {
		known = known || g == by
	}
	if !known {
		return o, usage{fmt.Errorf("unknown grouping %q: use %s", by, strings.Join(groupings[:], ", "))}
	}
	var err error
	if o.source, err = observe.ParseSource(source); err != nil {
		return o, usage{err}
	}
	if top < 0 {
		return o, usage{fmt.Errorf("--top %d: use a number of groups, or 0 for all", top)}
	}
	if listen != "" && port != 0 {
		return o, usage{errors.New("--listen and --port are two ways to say the same: use one")}
	}
	if rest && by != "service" {
		return o, usage{fmt.Errorf("--rest belongs to --by service, not to --by %s", by)}
	}
	if port != 0 {
		o.filter = tcp.Filter{LocalPorts: []uint16{port}, RemotePorts: []uint16{port}}
	}
	if listen != "" {
		if o.listen, err = parseListen(listen); err != nil {
			return o, usage{err}
		}
		o.filter = tcp.Filter{LocalPorts: []uint16{o.listen.Port()}}
	}
	return o, nil
}

// parseListen reads ":80", "192.0.2.1:80" or "[::1]:80".
func parseListen(text string) (netip.AddrPort, error) {
	if digits, ok := strings.CutPrefix(text, ":"); ok {
		if p, err := strconv.ParseUint(digits, 10, 16); err == nil && p > 0 {
			return netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(p)), nil
		}
	}
	at, err := netip.ParseAddrPort(text)
	if err != nil || at.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("--listen %q is no address and port: use :80, 192.0.2.1:80 or [::1]:80", text)
	}
	return at, nil
}

// repeat looks once, or until ctx ends. On a terminal each table takes the
// place of the one before.
func repeat(ctx context.Context, out io.Writer, o lookOptions, every time.Duration, inJSON bool, write func(io.Writer, counted) error) error {
	for {
		c, err := look(o)
		if err != nil {
			return err
		}
		if every > 0 && !inJSON && isTerminal(out) {
			fmt.Fprint(out, "\x1b[H\x1b[2J")
		}
		if err := write(out, c); err != nil {
			return err
		}
		if every == 0 {
			return nil
		}
		timer := time.NewTimer(every)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		if !inJSON && !isTerminal(out) {
			fmt.Fprintln(out)
		}
	}
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// look counts once.
func look(o lookOptions) (counted, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "this host"
	}
	c := counted{at: time.Now(), host: host, options: o, complete: true, breakdown: measure.NewBreakdown[key](maxGroups)}
	begin := time.Now()
	if o.by == "namespace" {
		err = c.everyNamespace(o)
	} else {
		err = c.ownNamespace(o)
	}
	c.took = time.Since(begin)
	c.limits = append(c.limits, "QUIC, UDP and unix sockets: not in the kernel's TCP table")
	return c, err
}

// add notes what a finished look says about itself.
func (c *counted) add(l tcp.Look, where string) {
	c.reader = l.Reader
	if !l.Judgeable() {
		c.complete = false
		c.limits = append(c.limits, fmt.Sprintf("%sthe look is not whole: %s, %d rows not understood; look again", where, l.Completeness, l.Malformed))
	}
}

func (c *counted) ownNamespace(o lookOptions) error {
	reader, fallback, err := observe.Open(o.source)
	if err != nil {
		return fmt.Errorf("%w; try --reader procfs", err)
	}
	defer reader.Close()
	if fallback != nil {
		c.limits = append(c.limits, "sock_diag is refused, /proc is read instead: "+fallback.Error())
	}
	c.limits = append(c.limits, reader.Abilities().Missing()...)

	var listeners []tcp.Socket
	if _, err := reader.Read(tcp.Request{States: tcp.ListenOnly}, func(batch []tcp.Socket) {
		listeners = append(listeners, batch...)
	}); err != nil {
		return err
	}
	find, err := c.keyOf(o, reader, listeners)
	if err != nil {
		return err
	}
	l, err := reader.Read(tcp.Request{States: tcp.AllStates, Info: true, Filter: o.filter}, func(batch []tcp.Socket) {
		for i := range batch {
			s := &batch[i]
			if o.listen.IsValid() && !sameListener(o.listen, s.Local) {
				continue
			}
			c.breakdown.Add(find(s), s)
		}
	})
	if err != nil {
		return err
	}
	c.add(l, "")
	return nil
}

// sameListener reports whether a socket's local end belongs to a listening
// address.
func sameListener(listen, local netip.AddrPort) bool {
	return listen.Port() == local.Port() && (listen.Addr().IsUnspecified() || listen.Addr() == local.Addr())
}

// keyOf returns the function that names a socket's group, and gathers what it
// needs: the services, or who holds which socket.
func (c *counted) keyOf(o lookOptions, reader observe.Reader, listeners []tcp.Socket) (func(*tcp.Socket) key, error) {
	switch o.by {
	case "service":
		owners := c.owners(inodes(listeners))
		c.services, _ = discover.Services(listeners, owners, nil)
		index := scope.NewIndex(c.services)
		return func(s *tcp.Socket) key {
			at := index.Service(s)
			if at == scope.None && o.rest {
				return key{service: at, remote: remoteOf(s, nil)}
			}
			return key{service: at}
		}, nil
	case "state":
		return func(s *tcp.Socket) key { return key{state: s.State} }, nil
	case "remote":
		listening := map[uint16]bool{}
		for i := range listeners {
			listening[listeners[i].Local.Port()] = true
		}
		return func(s *tcp.Socket) key { return key{remote: remoteOf(s, listening)} }, nil
	case "prefix":
		return func(s *tcp.Socket) key { return key{prefix: prefixOf(s.Remote.Addr())} }, nil
	case "process":
		var all []tcp.Socket
		if _, err := reader.Read(tcp.Request{States: tcp.AllStates, Filter: o.filter}, func(batch []tcp.Socket) {
			for i := range batch {
				all = append(all, tcp.Socket{Inode: batch[i].Inode})
			}
		}); err != nil {
			return nil, err
		}
		owners := c.owners(inodes(all))
		return func(s *tcp.Socket) key { return processOf(s, owners) }, nil
	}
	return nil, fmt.Errorf("no grouping by %s", o.by)
}

func inodes(sockets []tcp.Socket) []uint64 {
	var out []uint64
	for i := range sockets {
		if sockets[i].Inode != 0 {
			out = append(out, sockets[i].Inode)
		}
	}
	return out
}

func (c *counted) owners(inodes []uint64) map[uint64][]owner.Process {
	found, limits := owner.Find("/proc", inodes)
	if limits.Err != nil {
		c.limits = append(c.limits, "owners of sockets: "+limits.Err.Error())
	}
	if limits.Unreadable > 0 {
		c.limits = append(c.limits, "owners of sockets: "+count(limits.Unreadable, "process", "processes")+" may not be inspected; run as root to name them")
	}
	if limits.Cut > 0 {
		c.limits = append(c.limits, fmt.Sprintf("owners of sockets: %d processes have too many descriptors to search all", limits.Cut))
	}
	return found
}

// remoteOf is the peer: its address alone where we serve, as its port means
// nothing then; with the port where we are the client.
func remoteOf(s *tcp.Socket, listening map[uint16]bool) netip.AddrPort {
	if s.State == tcp.Listen || listening[s.Local.Port()] {
		return netip.AddrPortFrom(s.Remote.Addr(), 0)
	}
	return s.Remote
}

// prefixOf is the /24 or the /48 of an address.
func prefixOf(a netip.Addr) netip.Prefix {
	bits := 24
	if a.Is6() {
		bits = 48
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // a listener: it has no peer
	}
	return p
}

// processOf names who holds the socket: the first of several, or why nobody
// does.
func processOf(s *tcp.Socket, owners map[uint64][]owner.Process) key {
	switch held := owners[s.Inode]; {
	case len(held) > 0:
		return key{process: held[0].Name, pid: held[0].PID}
	case s.Unaccepted():
		return key{process: "(waiting to be accepted)"}
	case s.Inode == 0:
		return key{process: "(closed by its process)"}
	}
	return key{process: "(unknown)"}
}

// everyNamespace reads each namespace that may be entered, in itself.
func (c *counted) everyNamespace(o lookOptions) error {
	found, limits, err := netns.List("/proc")
	if err != nil {
		return err
	}
	c.limits = append(c.limits, limits.Reasons...)
	c.names = make(map[tcp.Namespace]netns.Found, len(found))
	for _, n := range found {
		read := func() error { return c.readNamespace(o, n) }
		if !n.Own {
			inner := read
			read = func() error { return n.Do(inner) }
		}
		switch err := read(); {
		case errors.Is(err, netns.ErrStuck):
			return err
		case err != nil:
			c.complete = false
			c.limits = append(c.limits, fmt.Sprintf("namespace %s (%s): %v", n.Name, n.Path, err))
		default:
			c.names[n.ID] = n
		}
	}
	return nil
}

func (c *counted) readNamespace(o lookOptions, n netns.Found) error {
	reader, fallback, err := observe.Open(o.source)
	if err != nil {
		return err
	}
	defer reader.Close()
	if fallback != nil {
		c.limits = append(c.limits, fmt.Sprintf("namespace %s: sock_diag is refused, /proc is read instead: %v", n.Name, fallback))
	}
	c.breakdown.Touch(key{namespace: n.ID})
	l, err := reader.Read(tcp.Request{States: tcp.AllStates, Filter: o.filter}, func(batch []tcp.Socket) {
		for i := range batch {
			s := &batch[i]
			if !o.listen.IsValid() || sameListener(o.listen, s.Local) {
				c.breakdown.Add(key{namespace: n.ID}, s)
			}
		}
	})
	if err != nil {
		return err
	}
	c.add(l, "namespace "+n.Name+": ")
	return nil
}

// compareKeys orders groups of the same size.
func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.state, b.state), cmp.Compare(a.service, b.service), a.remote.Compare(b.remote),
		comparePrefix(a.prefix, b.prefix), cmp.Compare(a.process, b.process), cmp.Compare(a.pid, b.pid), cmp.Compare(a.namespace, b.namespace))
}

func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

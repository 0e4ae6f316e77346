package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Config describes a world.
type Config struct {
	// Hosts are the namespaces to make, at least one.
	Hosts []HostConfig
	// Buckets is the size of each host's own TCP hash table, rounded up to a
	// power of two by the kernel, at most 1<<24. Zero is 4096: a look then
	// does not walk a big empty table. Negative shares the machine's table,
	// with the sockets of all its namespaces.
	Buckets int
}

// HostConfig describes one host.
type HostConfig struct {
	// Name is one to sixteen of a-z and 0-9, a letter first.
	Name string
	// Addrs are the host's addresses; hosts reach each other at all of them,
	// whatever their prefixes. None is 10.77.0.N. The range Void is taken. Only
	// hosts behind a router may have IPv6 ones.
	Addrs []netip.Addr
	// Router names the host, earlier in the list, that stands between this one
	// and all others: a link of their own joins the two, and the router forwards.
	// Empty joins the host to all others by the bridge. See [Host.Treat].
	Router string
	// Contained starts each of the host's programs in a container of its own,
	// as in a pod: a cgroup v2, named as a container's, a pid and a mount
	// namespace. Where no cgroup v2 is mounted the error wraps ErrUnavailable.
	Contained bool
}

const (
	defaultBuckets = 4096
	maxBuckets     = 1 << 24 // net/ipv4/sysctl_net_ipv4.c, tcp_child_ehash_entries_max
)

// Void returns the range of addresses that no host has and no router answers
// for: what is sent there is lost without a word, as behind a cut cable. It is
// the benchmarking range of RFC 2544.
func Void() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, 0, 0}), 15)
}

// ErrUnavailable is wrapped by the error that says why no world can be made
// here.
var ErrUnavailable = errors.New("lab is not available here")

// ErrMissing says that a program a lab needs is not installed.
type ErrMissing struct {
	Program string // the program that was looked for
	Package string // the Debian package that has it
	Build   string // the command that builds it, where no package does
}

func (e *ErrMissing) Error() string {
	if e.Build != "" {
		return fmt.Sprintf("%s is missing: build it with %s", e.Program, e.Build)
	}
	return fmt.Sprintf("%s is missing: install %s", e.Program, e.Package)
}

// available says why no world can be made here, or nil: worlds need root, the
// program ip, and a kernel and sandbox that allow network namespaces.
func available() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: needs root, not user %d", ErrUnavailable, os.Geteuid())
	}
	if _, err := program("ip", "iproute2"); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err := onThread(func() error { return unix.Unshare(unix.CLONE_NEWNET) }, func() error { return nil }); err != nil {
		return fmt.Errorf("%w: make a network namespace: %w", ErrUnavailable, err)
	}
	return nil
}

// program finds an installed program, also where a user's PATH does not look.
func program(name, pkg string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", &ErrMissing{Program: name, Package: pkg}
}

// World is a set of hosts and everything that runs on them. Close removes it.
type World struct {
	name  string
	hosts []*Host

	mu      sync.Mutex
	closed  bool
	running []stopper // in the order of their start
	faults  map[fault]float64
	serial  int
}

// stopper is something that runs in a world and ends with it.
type stopper interface{ halt() error }

// New removes the worlds of dead owners and makes a new one. ctx bounds the
// making only. The error wraps ErrUnavailable where no world can be made.
func New(ctx context.Context, cfg Config) (*World, error) {
	if role := os.Getenv(roleVariable); role != "" {
		return nil, fmt.Errorf("make world: this process is a lab child with role %q: call lab.Child first thing in main or TestMain", role)
	}
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("make world: %w", err)
	}
	if err := available(); err != nil {
		return nil, err
	}
	if _, err := Reap(); err != nil {
		return nil, err
	}
	me, err := self()
	if err != nil {
		return nil, fmt.Errorf("make world: %w", err)
	}
	var salt [2]byte
	_, _ = rand.Read(salt[:]) // never fails, crypto/rand
	w := &World{name: me.name(binary.BigEndian.Uint16(salt[:])), faults: map[fault]float64{}}
	for i, h := range cfg.Hosts {
		host := &Host{world: w, name: h.Name, addrs: h.Addrs}
		if h.Router != "" {
			host.router = w.Host(h.Router)
		}
		if len(host.addrs) == 0 {
			host.addrs = []netip.Addr{netip.AddrFrom4([4]byte{10, 77, byte((i + 1) >> 8), byte(i + 1)})}
		}
		w.hosts = append(w.hosts, host)
	}
	err = w.build(ctx, cfg.Buckets)
	for i, h := range cfg.Hosts {
		if err == nil && h.Contained {
			err = w.hosts[i].addCgroup()
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make world: %w", err), w.Close())
	}
	return w, nil
}

var hostName = regexp.MustCompile(`^[a-z][a-z0-9]{0,15}$`)

func (c Config) validate() error {
	if len(c.Hosts) == 0 || len(c.Hosts) > 1000 {
		return fmt.Errorf("%d hosts; a world has 1 to 1000", len(c.Hosts))
	}
	if c.Buckets > maxBuckets {
		return fmt.Errorf("hash table of %d buckets is too large; at most %d", c.Buckets, maxBuckets)
	}
	names, addrs := map[string]bool{}, map[netip.Addr]bool{}
	behind := map[string]bool{}
	for _, h := range c.Hosts {
		if !hostName.MatchString(h.Name) {
			return fmt.Errorf("host name %q: use 1 to 16 of a-z and 0-9, a letter first", h.Name)
		}
		if names[h.Name] {
			return fmt.Errorf("host name %q is used twice", h.Name)
		}
		if h.Router != "" && (!names[h.Router] || behind[h.Router]) {
			return fmt.Errorf("router %q of host %q is no earlier host on the bridge", h.Router, h.Name)
		}
		names[h.Name], behind[h.Name] = true, h.Router != ""
		for _, a := range h.Addrs {
			switch {
			case !a.Is4() && h.Router == "":
				return fmt.Errorf("address %v of host %q is not IPv4, and the host is behind no router", a, h.Name)
			case !a.IsGlobalUnicast() || a.Is4In6() || a.Zone() != "" || Void().Contains(a):
				return fmt.Errorf("address %v of host %q is not one a host can have", a, h.Name)
			case addrs[a]:
				return fmt.Errorf("address %v is used twice", a)
			}
			addrs[a] = true
		}
	}
	return nil
}

// Host returns the host with that name. It panics when the world's Config did
// not name it.
func (w *World) Host(name string) *Host {
	for _, h := range w.hosts {
		if h.name == name {
			return h
		}
	}
	panic(fmt.Sprintf("lab: the world has no host %q", name))
}

// Dir returns the world's run directory, which Close removes: configuration,
// logs, records.
func (w *World) Dir() string { return filepath.Join(runDir, w.name) }

// Name returns fs-PID-STARTTIME-xxxx; a host's namespace is called
// NAME-HOST in `ip netns`.
func (w *World) Name() string { return w.name }

// namespaces returns the names of all namespaces of the world.
func (w *World) namespaces() []string {
	names := []string{w.name}
	for _, h := range w.hosts {
		names = append(names, h.namespace())
	}
	return names
}

// Close stops what runs in the world, kills what is left inside it and removes
// the namespaces and the run directory. Calling it again does nothing.
func (w *World) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	w.closed = true
	running := slices.Clone(w.running)
	w.mu.Unlock()

	var errs []error
	for _, r := range slices.Backward(running) {
		errs = append(errs, r.halt())
	}
	errs = append(errs, withNames(func() error { return demolish(w.namespaces(), []string{w.name}) }))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove world %s: %w", w.name, err)
	}
	return nil
}

// adopt makes s end with the world. In a world that is closed it ends now.
func (w *World) adopt(s stopper) error {
	w.mu.Lock()
	closed := w.closed
	if !closed {
		w.running = append(w.running, s)
	}
	w.mu.Unlock()
	if closed {
		return errors.Join(fmt.Errorf("world %s is closed", w.name), s.halt())
	}
	return nil
}

// disown forgets s, which has ended.
func (w *World) disown(s stopper) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running = slices.DeleteFunc(w.running, func(r stopper) bool { return r == s })
}

// next returns a number that is new in this world, from 1.
func (w *World) next() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.serial++
	return w.serial
}

// subdir makes a directory of its own for something called name. Servers that
// give up root must be able to enter it.
func (w *World) subdir(name string) (string, error) {
	dir := filepath.Join(w.Dir(), fmt.Sprintf("%d-%s", w.next(), name))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", fmt.Errorf("make run directory: %w", err)
	}
	return dir, nil
}

func (w *World) build(ctx context.Context, buckets int) error {
	if err := os.Mkdir(w.Dir(), 0o755); err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	parent := filepath.Join(netnsDir, w.name)
	err := withNames(func() error {
		if err := addNamespace("", w.name); err != nil {
			return err
		}
		if buckets >= 0 {
			if buckets == 0 {
				buckets = defaultBuckets
			}
			err := inNamespace(parent, func() error {
				return writeSysctl("net.ipv4.tcp_child_ehash_entries", strconv.Itoa(buckets))
			})
			if err != nil {
				return fmt.Errorf("set the size of the hosts' hash tables: %w", err)
			}
		}
		for _, h := range w.hosts {
			if err := addNamespace(parent, h.namespace()); err != nil {
				return fmt.Errorf("host %s: %w", h.name, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, h := range w.hosts {
		got, err := h.Buckets()
		if err != nil {
			return err
		}
		// The kernel falls back to the shared table when it has no memory
		// for another; a bench must not believe it has its own.
		if buckets >= 0 && got < 0 {
			return fmt.Errorf("host %s shares the machine's hash table; wanted one of %d buckets", h.name, buckets)
		}
	}
	return w.connect(ctx, parent)
}

// connect joins the hosts by a bridge. Each host has a default route straight
// onto the link, so it finds every address of the others by ARP, whatever the
// prefix. Only Void goes to a bridge without ports, which takes everything and
// says nothing. A veth pair would refuse packets beyond 1000 at once, and the
// kernel forgets a half-open connection whose SYN-ACK it cannot send again
// (net/ipv4/inet_connection_sock.c, reqsk_timer_handler).
func (w *World) connect(ctx context.Context, parent string) error {
	var batch strings.Builder
	fmt.Fprintln(&batch, "link set lo up")
	fmt.Fprintln(&batch, "link add br0 type bridge")
	fmt.Fprintln(&batch, "link set br0 addrgenmode none up")
	for i, h := range w.hosts {
		if h.router != nil {
			continue
		}
		fmt.Fprintf(&batch, "link add v%d type veth peer name eth0 netns %s\n", i, h.namespace())
		fmt.Fprintf(&batch, "link set v%d addrgenmode none master br0 up\n", i)
	}
	if err := runIP(ctx, parent, batch.String()); err != nil {
		return fmt.Errorf("join the hosts: %w", err)
	}
	for _, h := range w.hosts {
		if h.router != nil {
			if err := h.joinRouter(ctx); err != nil {
				return err
			}
			continue
		}
		batch.Reset()
		fmt.Fprintln(&batch, "link set lo up")
		fmt.Fprintln(&batch, "link set eth0 addrgenmode none up")
		for _, a := range h.addrs {
			fmt.Fprintf(&batch, "address add %v/32 dev eth0\n", a)
		}
		fmt.Fprintf(&batch, "route add default dev eth0 src %v\n", h.addrs[0])
		void := Void()
		nobody := void.Addr().Next()
		fmt.Fprintln(&batch, "link add void0 type bridge")
		fmt.Fprintln(&batch, "link set void0 addrgenmode none up")
		fmt.Fprintf(&batch, "neighbor add %v lladdr 02:00:00:00:00:01 dev void0 nud permanent\n", nobody)
		fmt.Fprintf(&batch, "route add %v via %v dev void0 onlink src %v\n", void, nobody, h.addrs[0])
		if err := runIP(ctx, h.Path(), batch.String()); err != nil {
			return fmt.Errorf("set up host %s: %w", h.name, err)
		}
	}
	return nil
}

// runIP runs a batch of ip commands inside the namespace at path.
func runIP(ctx context.Context, path, batch string) error {
	ip, err := program("ip", "iproute2")
	if err != nil {
		return err
	}
	return feed(ctx, path, batch, ip, "-batch", "-")
}

// feed runs a program inside the namespace at path with text on its standard
// input; its error quotes what the program said.
func feed(ctx context.Context, path, text, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(text)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = dieWithParent(nil)
	if err := inNamespace(path, cmd.Start); err != nil {
		return fmt.Errorf("start %s: %w", filepath.Base(name), err)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, bytes.TrimSpace(said.Bytes()))
	}
	return nil
}

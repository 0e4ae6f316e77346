package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Host is one namespace of a world.
type Host struct {
	world *World
	name  string
	addrs []netip.Addr
	// router forwards all that the host sends and gets; nil on the bridge.
	router *Host
	// cgroup holds the containers in which the host's processes run; "" where
	// they run in none.
	cgroup string
}

// Addr returns the host's first address.
func (h *Host) Addr() netip.Addr { return h.addrs[0] }

// Addrs returns all addresses of the host, loopback left out.
func (h *Host) Addrs() []netip.Addr { return slices.Clone(h.addrs) }

// Path returns the file that stands for the host's network namespace.
func (h *Host) Path() string { return filepath.Join(netnsDir, h.namespace()) }

func (h *Host) namespace() string { return h.world.name + "-" + h.name }

// Do runs f on a thread inside the host's namespace and returns its error.
// Sockets that f itself opens belong to the namespace for good; what f leaves
// to other goroutines, such as a dial to a name with several addresses, does
// not happen there. Inside f read /proc/thread-self/net: /proc/net is the
// process' own. f must not call t.Fatal.
func (h *Host) Do(f func() error) error {
	if err := inNamespace(h.Path(), f); err != nil {
		return fmt.Errorf("host %s: %w", h.name, err)
	}
	return nil
}

// Cmd is an exec.Cmd that starts inside a host's namespace and is killed when
// this process dies.
type Cmd struct {
	*exec.Cmd
	host      *Host
	container container // from Start on
}

// Command prepares a program to run inside the host's namespace. As with
// exec.CommandContext, it is killed when ctx is done.
func (h *Host) Command(ctx context.Context, name string, args ...string) *Cmd {
	return &Cmd{Cmd: exec.CommandContext(ctx, name, args...), host: h}
}

// Start is exec.Cmd.Start inside the namespace, and on a contained host inside a
// container of its own, which goes when the program has been waited for.
func (c *Cmd) Start() (err error) {
	c.SysProcAttr = dieWithParent(c.SysProcAttr)
	if c.container, err = c.host.newContainer(); err != nil {
		return err
	}
	done, err := c.container.enter(c)
	if err == nil {
		defer done()
		err = c.host.Do(c.Cmd.Start)
	}
	if err != nil {
		c.container.remove()
	}
	return err
}

// Wait is exec.Cmd.Wait.
func (c *Cmd) Wait() error {
	err := c.Cmd.Wait()
	c.container.remove()
	return err
}

// CombinedOutput is exec.Cmd.CombinedOutput inside the namespace.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Start()
	if err == nil {
		err = c.Wait()
	}
	return out.Bytes(), err
}

// dieWithParent asks for SIGKILL when the thread that starts the process ends.
// The runtime ends no thread but one whose goroutine exits locked, which
// onThread does only after a failure.
func dieWithParent(attr *syscall.SysProcAttr) *syscall.SysProcAttr {
	if attr == nil {
		attr = &syscall.SysProcAttr{}
	}
	attr.Pdeathsig = syscall.SIGKILL
	return attr
}

// Sysctl reads a setting of the host's namespace, such as
// "net.ipv4.tcp_fin_timeout".
func (h *Host) Sysctl(name string) (string, error) {
	var value string
	err := h.Do(func() error {
		text, err := os.ReadFile(sysctlFile(name))
		value = strings.TrimSpace(string(text))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read setting %q: %w", name, err)
	}
	return value, nil
}

// SetSysctl changes a setting of the host's namespace.
func (h *Host) SetSysctl(name, value string) error {
	return h.Do(func() error { return writeSysctl(name, value) })
}

func writeSysctl(name, value string) error {
	if err := os.WriteFile(sysctlFile(name), []byte(value), 0); err != nil {
		return fmt.Errorf("set %s to %q: %w", name, value, err)
	}
	return nil
}

// sysctlFile is resolved by the opening thread's namespace.
// Kernel: net/sysctl_net.c, net_ctl_header_lookup.
func sysctlFile(name string) string {
	return filepath.Join("/proc/sys", filepath.Clean("/"+strings.ReplaceAll(name, ".", "/")))
}

// Buckets returns the size of the TCP hash table that the host's sockets are
// in. Negative: it is shared with the machine's other namespaces.
// Kernel: net.ipv4.tcp_ehash_entries.
func (h *Host) Buckets() (int, error) {
	text, err := h.Sysctl("net.ipv4.tcp_ehash_entries")
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("size of the hash table: %w", err)
	}
	return n, nil
}

// SockStat is what the host's namespace counts of its IPv4 TCP sockets.
// Kernel: /proc/net/sockstat, net/ipv4/proc.c, sockstat_seq_show.
type SockStat struct {
	InUse    int // hashed sockets, listeners too; without TIME_WAIT and half-open ones
	TimeWait int // TIME_WAIT, and FIN_WAIT2 whose process has gone
}

// SockStat reads the counts.
func (h *Host) SockStat() (SockStat, error) {
	var stat SockStat
	err := h.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/sockstat")
		if err != nil {
			return err
		}
		stat, err = parseSockStat(text)
		return err
	})
	if err != nil {
		return SockStat{}, fmt.Errorf("count sockets: %w", err)
	}
	return stat, nil
}

// parseSockStat reads the line "TCP: inuse 5 orphan 0 tw 2 alloc 9 mem 1".
func parseSockStat(text []byte) (SockStat, error) {
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "TCP:") {
			continue
		}
		var stat SockStat
		var orphans int
		if _, err := fmt.Sscanf(line, "TCP: inuse %d orphan %d tw %d", &stat.InUse, &orphans, &stat.TimeWait); err != nil || stat.InUse < 0 || stat.TimeWait < 0 {
			return SockStat{}, fmt.Errorf("sockstat line %q is not of two counts", line)
		}
		return stat, nil
	}
	return SockStat{}, errors.New("sockstat has no TCP line")
}

package nameserver

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/reply"
)

const (
	resolvConf = "/etc/resolv.conf"
	// behindStub is where systemd-resolved writes the servers that its own
	// answers come from. systemd-resolved.service(8), "/ETC/RESOLV.CONF".
	behindStub = "/run/systemd/resolve/resolv.conf"
	// maxConf bounds a resolv.conf, in bytes.
	maxConf = 64 << 10
	// maxSystem is how many servers the C library takes: resolv.conf(5), MAXNS.
	maxSystem = 3
)

// stubs are where systemd-resolved listens.
var stubs = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 53}), netip.AddrFrom4([4]byte{127, 0, 0, 54})}

// System returns the resolvers of this host: those of /etc/resolv.conf, and
// where that is systemd-resolved the ones behind it. problems are lines that
// were passed over.
func System() (servers []reply.Server, problems []string, err error) {
	return systemAt("/")
}

func systemAt(root string) (servers []reply.Server, problems []string, err error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("the system's resolvers: %w", &os.PathError{Op: "open", Path: root, Err: err})
	}
	defer unix.Close(dir)
	conf, err := readIn(dir, resolvConf)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("the system's resolvers: %w", err)
	}
	servers, problems = SystemServers(conf)
	at := slices.IndexFunc(servers, func(s reply.Server) bool { return slices.Contains(stubs, s.Address.Addr()) })
	if at < 0 {
		return servers, problems, nil
	}
	stub := servers[at].Address.Addr()
	conf, err = readIn(dir, behindStub)
	if err != nil {
		problems = append(problems, fmt.Sprintf("the resolvers behind %s: %v", stub, err))
		return servers, problems, nil
	}
	behind, more := parse(conf)
	for _, addr := range behind {
		if !slices.Contains(stubs, addr) && !slices.ContainsFunc(servers, func(s reply.Server) bool { return s.Address.Addr() == addr }) {
			servers = append(servers, server(addr, fmt.Sprintf("system (behind %s)", stub)))
		}
	}
	return servers, append(problems, more...), nil
}

// SystemServers are the resolvers that a resolv.conf names; without any that is
// the one of this host, 127.0.0.1. Further ones than the three that the C
// library asks are left out. problems are the lines that cannot be used.
func SystemServers(conf []byte) (servers []reply.Server, problems []string) {
	addrs, problems := parse(conf)
	if len(addrs) == 0 {
		addrs = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	if over := len(addrs) - maxSystem; over > 0 {
		problems = append(problems, fmt.Sprintf("%d of %d servers are left out: programs ask the first %d", over, len(addrs), maxSystem))
		addrs = addrs[:maxSystem]
	}
	for _, addr := range addrs {
		servers = append(servers, server(addr, "system"))
	}
	return servers, problems
}

func server(addr netip.Addr, label string) reply.Server {
	return reply.Server{Address: netip.AddrPortFrom(addr, 53), Label: label, Role: reply.System}
}

// parse reads the nameserver lines, each address once. What else the file says
// is of names that are not fully qualified, or of time-outs. At most 16
// problems are told.
func parse(conf []byte) (addrs []netip.Addr, problems []string) {
	n := 0
	for line := range strings.Lines(string(conf)) {
		n++
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "nameserver" {
			continue
		}
		if len(words) < 2 {
			problems = note(problems, "line %d: nameserver without an address", n)
			continue
		}
		addr, err := netip.ParseAddr(words[1])
		if err != nil {
			problems = note(problems, "line %d: %s is not an IP address", n, strconv.QuoteToASCII(words[1][:min(len(words[1]), 64)]))
			continue
		}
		if addr.IsUnspecified() { // this host: resolv.conf(5)
			addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		if addr = addr.Unmap(); !slices.Contains(addrs, addr) && len(addrs) < maxServers {
			addrs = append(addrs, addr)
		}
	}
	return addrs, problems
}

func note(problems []string, format string, args ...any) []string {
	if len(problems) >= 16 {
		return problems
	}
	return append(problems, fmt.Sprintf(format, args...))
}

// readIn reads a regular file below the directory root; links, absolute ones too, lead inside
// it: the kernel sees to that with openat2's RESOLVE_IN_ROOT (Linux 5.6).
func readIn(root int, name string) (data []byte, err error) {
	// It is found before it is opened: opening a FIFO waits, and opening a device
	// may do anything.
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	var found int
	for range 16 { // names may change meanwhile: openat2(2), EAGAIN
		if found, err = unix.Openat2(root, name, &how); !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(found)
	var st unix.Stat_t
	if err := unix.Fstat(found, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := os.Open("/proc/self/fd/" + strconv.Itoa(found))
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: errors.Unwrap(err)}
	}
	defer f.Close()
	data, err = io.ReadAll(io.LimitReader(f, maxConf+1))
	if err == nil && len(data) > maxConf {
		err = fmt.Errorf("%s is larger than %d KiB", name, maxConf>>10)
	}
	return data, err
}

package owner

import (
	"net/netip"
	"path"
	"path/filepath"
	"strings"

	"github.com/foreshock/foreshock/internal/tcp"
)

// Selector chooses processes; each field that is set must match, and the zero
// value chooses none.
type Selector struct {
	// Name is the short name, /proc/PID/comm; of a longer one the first 15
	// bytes count, as the kernel keeps no more.
	Name string
	// Exe is the program's path; a symbolic link means where it leads.
	Exe string
	// Unit is the service unit; ".service" may be left out.
	Unit string
	// Container is the container's id or the beginning of it.
	Container string
	// Cgroup is the cgroup's path, or that of one above it, with or without
	// the directory where the tree is mounted.
	Cgroup string
	// Listens chooses whoever listens there, and of a known balancer the rest
	// of that server: its master, and workers that drain after a reload and
	// listen no more. An unspecified address is any.
	Listens netip.AddrPort
	// Software chooses a known balancer by its program: "haproxy" (see
	// [Balancer]).
	Software string
}

// IsZero reports whether nothing is chosen.
func (s Selector) IsZero() bool { return s == Selector{} }

// Listener is a socket that listens, of any network namespace.
type Listener struct {
	Inode     uint64 // unique on the host
	Local     netip.AddrPort
	Namespace tcp.Namespace
}

// selector is a Selector ready to be compared with processes.
type selector struct {
	Selector
	target string // where Exe leads, Exe itself when it is no link
}

func (s Selector) prepare(h *hierarchy) selector {
	const commLength = 15 // TASK_COMM_LEN 16, with the zero at the end
	s.Name = s.Name[:min(len(s.Name), commLength)]
	if s.Unit != "" && !isUnit(s.Unit) {
		s.Unit += ".service"
	}
	if s.Cgroup != "" {
		s.Cgroup = path.Clean(h.path(s.Cgroup))
	}
	out := selector{Selector: s, target: s.Exe}
	if s.Exe != "" {
		if target, err := filepath.EvalSymlinks(s.Exe); err == nil {
			out.target = target
		}
	}
	return out
}

// match is what comparing a process with a selector comes to.
type match uint8

const (
	no match = iota
	yes
	unreadable // the program would decide, and may not be read
)

// matches compares everything but Listens, what is cheap to read first.
func (s selector) matches(p *seen) match {
	if s.IsZero() || s.Name != "" && s.Name != p.name() {
		return no
	}
	if s.Unit != "" && s.Unit != p.membership().Unit {
		return no
	}
	if s.Container != "" && !strings.HasPrefix(p.membership().Container, s.Container) {
		return no
	}
	if s.Cgroup != "" && !below(p.membership().Path, s.Cgroup) {
		return no
	}
	if s.Software != "" && s.Software != p.software() {
		return no
	}
	if s.Exe != "" {
		exe, readable := p.exe()
		switch {
		case !readable:
			return unreadable
		case exe != s.Exe && exe != s.target:
			return no
		}
	}
	return yes
}

// below reports whether a group is the one at top or in it. An empty path is
// the root.
func below(group, top string) bool {
	if top == "/" {
		return true
	}
	rest, ok := strings.CutPrefix(group, top)
	return ok && (rest == "" || rest[0] == '/')
}

// listening returns the inodes of the listeners that serve the address. In
// each namespace a listener on the very address comes before one on all
// addresses, as it does for the kernel (net/ipv4/inet_hashtables.c,
// compute_score). One on :: serves IPv4 too.
func listening(listeners []Listener, at netip.AddrPort) []uint64 {
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	var exact, all []uint64
	precise := map[tcp.Namespace]bool{}
	for _, l := range listeners {
		if l.Inode != 0 && l.Local.Port() == at.Port() && l.Local.Addr().Unmap() == at.Addr() && !at.Addr().IsUnspecified() {
			exact = append(exact, l.Inode)
			precise[l.Namespace] = true
		}
	}
	for _, l := range listeners {
		if l.Inode == 0 || l.Local.Port() != at.Port() || precise[l.Namespace] {
			continue
		}
		wild := l.Local.Addr().IsUnspecified() && (l.Local.Addr().Is6() || at.Addr().Is4())
		if at.Addr().IsUnspecified() || wild {
			all = append(all, l.Inode)
		}
	}
	return append(exact, all...)
}

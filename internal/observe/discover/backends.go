package discover

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/foreshock/foreshock/internal/scope"
)

// Pool is one process, or several that are one server, and the backends it
// talks to.
type Pool struct {
	// Name is the configured name, else what the balancer is called:
	// "haproxy".
	Name       string
	Configured bool
	// Process is the short name of the program, PIDs its processes, Cgroups
	// their ids where those alone tell its sockets; Shared says why they do not.
	Process string
	PIDs    []int
	Cgroups []uint64
	Shared  string
	// Members are the backends it is said to have, by Source. Observed are the
	// addresses it is seen to talk to, used where there are no members.
	Members  []Member
	Source   string
	Observed []netip.AddrPort
}

// Member is a backend as a balancer, a list or a name server gives it.
type Member struct {
	Group, Name string // Group may be empty: the pool's name then
	Remote      netip.AddrPort
}

// GroupIn is the group of the member's backend in a pool.
func (m Member) GroupIn(pool string) string {
	if m.Group == "" || m.Group == pool {
		return pool
	}
	return pool + "/" + m.Group
}

// NameIn is the name of the member's backend in a pool.
func (m Member) NameIn(pool string) string {
	return m.GroupIn(pool) + "/" + cmp.Or(m.Name, m.Remote.String())
}

// Backends returns the backends of all pools in a fixed order. Where two have
// the same address, and no cgroup tells their sockets apart, they are one
// backend, that of the first pool, which says so.
func Backends(pools []Pool) []scope.Backend {
	var out []scope.Backend
	var pool []int // of each of out
	named := map[string]bool{}
	at := map[netip.AddrPort][]int{} // those with the address
	for i := range pools {
		p := &pools[i]
		for _, b := range p.backends() {
			same := at[b.Remote]
			if which := slices.IndexFunc(same, func(k int) bool { return !apart(out[k].Cgroups, b.Cgroups) }); which >= 0 {
				k := same[which]
				out[k] = merged(out[k], b, pool[k] == i)
				continue
			}
			for base, n := b.Name, 2; named[b.Name]; n++ {
				b.Name = fmt.Sprintf("%s#%d", base, n)
			}
			named[b.Name] = true
			at[b.Remote] = append(same, len(out))
			out, pool = append(out, b), append(pool, i)
		}
	}
	return out
}

// merged is two backends of one address as one. Who has no process here has no
// connection either, and takes nothing away from telling the other's.
func merged(o, b scope.Backend, samePool bool) scope.Backend {
	if o.Name != b.Name && !slices.Contains(o.Also, b.Name) {
		o.Also = append(slices.Clip(o.Also), b.Name)
	}
	if samePool || b.Process == "" {
		return o
	}
	if len(o.Cgroups) == 0 || len(b.Cgroups) == 0 {
		o.Cgroups = nil // it takes every socket to the address
	} else {
		o.Cgroups = slices.Compact(slices.Sorted(slices.Values(slices.Concat(o.Cgroups, b.Cgroups))))
	}
	who := b.Process
	if who == o.Process {
		who = b.Group // another pool of the same program
	}
	o.Limit = who + " talks to the same address; their connections cannot be told apart and are judged together"
	return o
}

// apart reports whether both are known and have nothing in common.
func apart(a, b []uint64) bool {
	return len(a) > 0 && len(b) > 0 && !slices.ContainsFunc(a, func(id uint64) bool { return slices.Contains(b, id) })
}

func (p *Pool) backends() []scope.Backend {
	b := scope.Backend{Process: p.Process, PIDs: p.PIDs, Cgroups: p.Cgroups, Configured: p.Configured, Limit: p.Shared}
	var out []scope.Backend
	if len(p.Members) > 0 {
		b.Source = p.Source
		for _, m := range p.Members {
			b.Group, b.Name, b.Remote = m.GroupIn(p.Name), m.NameIn(p.Name), m.Remote
			out = append(out, b)
		}
		return out
	}
	b.Source, b.Group = "observed", p.Name
	for _, remote := range p.Observed {
		b.Remote, b.Name = remote, p.Name+"/"+remote.String()
		out = append(out, b)
	}
	return out
}

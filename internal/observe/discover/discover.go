package discover

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// Configured is a service that the user's file names. Names are unique.
type Configured struct {
	Name string
	// Listen holds addresses and ports; "::" stands for every address, IPv4
	// too, 0.0.0.0 for every IPv4 one.
	Listen []netip.AddrPort
}

// Services returns the configured services and then the found ones, and what
// is wrong with the configured ones.
//
// listeners are the rows in state LISTEN (others are passed over), owners the
// processes by inode, lowest pid first. A configured service takes the
// listeners it covers; one without any is still a service. What is left is
// grouped by the program that holds it, and named by that program and its
// lowest port: "nginx:80"; where the program is unknown, by the port alone:
// "port:8080". Programs that share an address and port (SO_REUSEPORT) are one
// service, as their connections cannot be told apart by address.
func Services(listeners []tcp.Socket, owners map[uint64][]owner.Process, configured []Configured) ([]scope.Service, []Problem) {
	rows := listening(listeners)
	named := configuredServices(configured)
	index := scope.NewIndex(named)
	taken := make([][]tcp.Socket, len(named))
	var free []tcp.Socket
	for i := range rows {
		if at := index.Service(&rows[i]); at != scope.None {
			taken[at] = append(taken[at], rows[i])
		} else {
			free = append(free, rows[i])
		}
	}
	for i := range named {
		own(&named[i], taken[i], owners)
	}
	found := foundServices(free, owners)
	unique(found, named)
	services := slices.Concat(named, inOrder(found))
	return services, problems(services, len(named), taken, rows, owners)
}

// listening returns the listeners in a fixed order.
func listening(sockets []tcp.Socket) []tcp.Socket {
	var rows []tcp.Socket
	for _, s := range sockets {
		if s.State == tcp.Listen {
			rows = append(rows, s)
		}
	}
	slices.SortFunc(rows, func(a, b tcp.Socket) int {
		return cmp.Or(byPort(a.Local, b.Local), cmp.Compare(a.Inode, b.Inode), cmp.Compare(a.Cookie, b.Cookie))
	})
	return rows
}

// byPort orders by port, and IPv4 before IPv6 within a port.
func byPort(a, b netip.AddrPort) int {
	return cmp.Or(cmp.Compare(a.Port(), b.Port()), a.Addr().Compare(b.Addr()))
}

func sortedOnce(listen []netip.AddrPort) []netip.AddrPort {
	slices.SortFunc(listen, byPort)
	return slices.Compact(listen)
}

func configuredServices(configured []Configured) []scope.Service {
	var out []scope.Service
	for _, c := range configured {
		s := scope.Service{Name: c.Name, Configured: true}
		for _, l := range c.Listen {
			s.Listen = append(s.Listen, netip.AddrPortFrom(l.Addr().Unmap(), l.Port()))
		}
		s.Listen = sortedOnce(s.Listen)
		out = append(out, s)
	}
	return inOrder(out)
}

// own fills in who holds the rows.
func own(s *scope.Service, rows []tcp.Socket, owners map[uint64][]owner.Process) {
	var all []owner.Process
	for _, r := range rows {
		all = append(all, owners[r.Inode]...)
	}
	holders := serving(all)
	if len(holders) == 0 {
		return
	}
	slices.SortStableFunc(holders, func(a, b owner.Process) int { return cmp.Compare(a.PID, b.PID) })
	s.Process, s.Exe, s.Unit, s.PIDs = holders[0].Name, holders[0].Exe, holders[0].Unit, nil
	for _, p := range holders {
		if len(s.PIDs) == 0 || s.PIDs[len(s.PIDs)-1] != p.PID {
			s.PIDs = append(s.PIDs, p.PID)
		}
	}
}

// serving leaves out the service manager where another program holds the
// socket too: with socket activation the manager keeps every listener it
// opened, and serves none.
func serving(holders []owner.Process) []owner.Process {
	var out []owner.Process
	for _, p := range holders {
		if !activator(p) {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return holders
	}
	return out
}

// activator reports whether p is a service manager, the host's or a user's.
func activator(p owner.Process) bool { return p.Name == "systemd" }

// program is what listeners are grouped by: the lowest pid that holds them,
// usually the parent of all. The unit is not: one unit may hold programs that
// have nothing to do with each other (a login's scope, the proxies a container
// engine starts per published port), and a program that listens twice holds
// both listeners in its first process. Where there is no program to go by, the
// port is.
type program struct {
	pid  int
	port uint16
}

func programOf(row *tcp.Socket, owners map[uint64][]owner.Process) program {
	holders := serving(owners[row.Inode])
	if len(holders) == 0 {
		return program{port: row.Local.Port()}
	}
	lead := slices.MinFunc(holders, func(a, b owner.Process) int { return cmp.Compare(a.PID, b.PID) })
	if activator(lead) {
		return program{lead.PID, row.Local.Port()}
	}
	return program{pid: lead.PID}
}

// foundServices groups rows by program, and programs by shared addresses.
func foundServices(rows []tcp.Socket, owners map[uint64][]owner.Process) []scope.Service {
	group := make([]int, len(rows)) // by row: an earlier row of the same group, or itself
	root := func(i int) int {
		for group[i] != i {
			i = group[i]
		}
		return i
	}
	byProgram := map[program]int{}
	byAddress := map[netip.AddrPort]int{}
	for i := range rows {
		group[i] = i
		program := programOf(&rows[i], owners)
		if first, ok := byProgram[program]; ok {
			group[i] = root(first)
		} else {
			byProgram[program] = i
		}
		if first, ok := byAddress[rows[i].Local]; ok {
			a, b := root(first), root(i)
			group[max(a, b)] = min(a, b)
		} else {
			byAddress[rows[i].Local] = i
		}
	}
	members := make([][]tcp.Socket, len(rows))
	for i := range rows {
		at := root(i)
		members[at] = append(members[at], rows[i])
	}
	var out []scope.Service
	for _, rows := range members { // in the order of their lowest ports, as the rows are
		if len(rows) == 0 {
			continue
		}
		var s scope.Service
		for _, r := range rows {
			s.Listen = append(s.Listen, r.Local)
		}
		s.Listen = sortedOnce(s.Listen)
		for _, l := range s.Listen {
			if l.Addr().IsUnspecified() && !slices.ContainsFunc(rows, func(r tcp.Socket) bool { return r.Local == l && !r.V6Only }) {
				s.V6Only = append(s.V6Only, l)
			}
		}
		own(&s, rows, owners)
		out = append(out, s)
	}
	return out
}

// unique names the found services. When two of one name would clash the later
// is named by its address too, which no other has.
func unique(found, named []scope.Service) {
	used := map[string]bool{}
	for _, s := range named {
		used[s.Name] = true
	}
	for i := range found {
		s := &found[i]
		who, first := cmp.Or(s.Process, "port"), s.Listen[0]
		s.Name = fmt.Sprintf("%s:%d", who, first.Port())
		if used[s.Name] {
			s.Name = fmt.Sprintf("%s@%s", who, first)
		}
		for base, n := s.Name, 2; used[s.Name]; n++ { // the user's file has such a name
			s.Name = fmt.Sprintf("%s#%d", base, n)
		}
		used[s.Name] = true
	}
}

// inOrder keeps the order of services, but puts one with 0.0.0.0:P before one
// with [::]:P: of two wildcards of one port a scope.Index asks the first
// service first, and "::" claims IPv4 too. Where two services stand both ways
// on two ports no order serves both.
func inOrder(services []scope.Service) []scope.Service {
	waiting := map[uint16]int{} // by port: services with 0.0.0.0 not yet placed
	for i := range services {
		for _, l := range services[i].Listen {
			if l.Addr() == netip.IPv4Unspecified() {
				waiting[l.Port()]++
			}
		}
	}
	ready := func(s *scope.Service) bool {
		for _, l := range s.Listen {
			if l.Addr() != netip.IPv6Unspecified() {
				continue
			}
			others := waiting[l.Port()]
			if slices.Contains(s.Listen, netip.AddrPortFrom(netip.IPv4Unspecified(), l.Port())) {
				others--
			}
			if others > 0 {
				return false
			}
		}
		return true
	}
	left := make([]int, len(services))
	for i := range left {
		left[i] = i
	}
	var out []scope.Service
	for len(left) > 0 {
		at := max(0, slices.IndexFunc(left, func(i int) bool { return ready(&services[i]) }))
		next := services[left[at]]
		left = slices.Delete(left, at, at+1)
		for _, l := range next.Listen {
			if l.Addr() == netip.IPv4Unspecified() {
				waiting[l.Port()]--
			}
		}
		out = append(out, next)
	}
	return out
}

// problems compares the first n services, the configured ones, with what
// listens. A service that has no listener of its own but is served by a wider
// one gets that one's owner.
func problems(services []scope.Service, n int, taken [][]tcp.Socket, rows []tcp.Socket, owners map[uint64][]owner.Process) []Problem {
	index := scope.NewIndex(services)
	var out []Problem
	first := map[netip.AddrPort]string{}
	for i := range services[:n] {
		s := &services[i]
		var wider []tcp.Socket
		for _, l := range s.Listen {
			if other, ok := first[l]; ok {
				out = append(out, Problem{Kind: Taken, Service: s.Name, Listen: l, Other: other})
				continue
			}
			first[l] = s.Name
			if slices.ContainsFunc(taken[i], func(r tcp.Socket) bool { return covers(l, r.Local) }) {
				continue
			}
			at := slices.IndexFunc(rows, func(r tcp.Socket) bool { return r.Local != l && covers(r.Local, l) && (!r.V6Only || l.Addr().Is6()) })
			if at < 0 {
				out = append(out, Problem{Kind: NothingListens, Service: s.Name, Listen: l})
				continue
			}
			has := index.Service(&rows[at])
			if has == i {
				continue // by another of its own addresses
			}
			wider = append(wider, rows[at])
			p := Problem{Kind: Shared, Service: s.Name, Listen: l, Via: rows[at].Local}
			if has != scope.None { // an Index holds 65,535 addresses
				p.Other = services[has].Name
			}
			out = append(out, p)
		}
		if len(taken[i]) == 0 {
			own(s, wider, owners)
		}
	}
	return out
}

// covers reports whether every connection that b takes is one that a claims.
func covers(a, b netip.AddrPort) bool {
	if a.Port() != b.Port() {
		return false
	}
	return a.Addr() == b.Addr() || a.Addr().IsUnspecified() && (a.Addr().Is6() || b.Addr().Is4())
}

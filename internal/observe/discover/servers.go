package discover

import (
	"net/netip"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/tcp"
)

// Server is the processes of one server of ours, and how its sockets are told
// from those of others.
type Server struct {
	Chosen []owner.Chosen
	Owners owner.Attribution
	Asked  time.Time // when its neighbours were asked for
}

// askAgain is how long the neighbours of a server are believed to be the same.
// A container starts its programs one after the other.
const askAgain = time.Minute

// Servers makes a server of the processes that each selector chose, as
// [owner.Choose] returns them, of those in namespace. A process belongs to the
// first server that chooses it; one whose namespace may not be read counts as
// here. before are the servers of the last time by the same selectors, nil for
// none: where the processes are the same as then, it is asked once a minute who
// else is in their cgroups.
func Servers(proc string, chosen [][]owner.Chosen, namespace tcp.Namespace, before []Server, now time.Time) []Server {
	servers := make([]Server, len(chosen))
	taken := map[int]bool{}
	for i := range chosen {
		here := slices.DeleteFunc(slices.Clone(chosen[i]), func(c owner.Chosen) bool {
			return c.Namespace != 0 && c.Namespace != namespace || taken[c.PID]
		})
		for _, c := range here {
			taken[c.PID] = true
		}
		if i < len(before) && slices.Equal(here, before[i].Chosen) && now.Sub(before[i].Asked) < askAgain {
			servers[i] = before[i]
			continue
		}
		neighbours, crowded := owner.Neighbours(proc, here)
		servers[i] = Server{here, owner.Attribute(here, neighbours, crowded), now}
	}
	return servers
}

// Listening are listeners as [owner.Choose] takes them.
func Listening(listeners []tcp.Socket, namespace tcp.Namespace) []owner.Listener {
	out := make([]owner.Listener, 0, len(listeners))
	for i := range listeners {
		out = append(out, owner.Listener{Inode: listeners[i].Inode, Local: listeners[i].Local, Namespace: namespace})
	}
	return out
}

// maxJoins bounds how many descriptors one search for the holders of sockets
// reads, at 0.1 s of them each.
const maxJoins = 4

// TalksTo returns which of the peers the server talks to: by the cgroup of
// their sockets where that decides, else by the descriptors of its processes.
func (s *Server) TalksTo(proc string, peers []Peer) ([]netip.AddrPort, owner.Limits) {
	var out []netip.AddrPort
	if len(s.Chosen) == 0 {
		return nil, owner.Limits{}
	}
	if s.Owners.Decides {
		for _, peer := range peers {
			if slices.ContainsFunc(peer.Cgroups, func(id uint64) bool { return slices.Contains(s.Owners.Cgroups, id) }) {
				out = append(out, peer.Remote)
			}
		}
		return out, owner.Limits{}
	}
	var asked []uint64
	for _, peer := range peers {
		asked = append(asked, peer.Inodes...)
	}
	if len(asked) == 0 {
		return nil, owner.Limits{}
	}
	held := map[uint64]bool{}
	var limits owner.Limits
	for at, rounds := (owner.Place)(nil), 0; rounds < maxJoins; rounds++ {
		some, next, l := owner.Join(proc, s.Chosen, asked, at)
		for inode := range some {
			held[inode] = true
		}
		limits.Unreadable += l.Unreadable
		limits.Vanished += l.Vanished
		if at = next; at == nil {
			break
		}
		if rounds+1 == maxJoins {
			limits.Cut = len(s.Chosen)
		}
	}
	for _, peer := range peers {
		if slices.ContainsFunc(peer.Inodes, func(inode uint64) bool { return held[inode] }) {
			out = append(out, peer.Remote)
		}
	}
	return out, limits
}

// Runs says in the pool which processes are its server.
func (p *Pool) Runs(s *Server) {
	p.Process, p.PIDs, p.Cgroups, p.Shared = "", nil, nil, ""
	if len(s.Chosen) == 0 {
		return
	}
	p.Process = s.Chosen[0].Name
	for _, c := range s.Chosen {
		p.PIDs = append(p.PIDs, c.PID)
	}
	if s.Owners.Decides {
		p.Cgroups = s.Owners.Cgroups
	} else {
		p.Shared = "connections of other processes to the same address are counted too: " + s.Owners.Why
	}
}

package scope

import (
	"net/netip"
	"slices"

	"github.com/foreshock/foreshock/internal/tcp"
)

// Probe is a connection that Foreshock itself makes: to a balancer's API, a
// name server, a receiver of notices. It belongs to no scope.
type Probe struct {
	// Local is our end. Until the connection is made its port alone may be
	// known: the address is then not valid.
	Local netip.AddrPort
	// Remote is where it goes.
	Remote netip.AddrPort
	// Ended: our end is closed. What is left in the table is then only what
	// closing leaves; an open connection between the same ends is somebody
	// else's, as TIME_WAIT may be taken over after a second.
	// Kernel: net.ipv4.tcp_tw_reuse.
	Ended bool
}

// The ports that an agent's probes of a switch's addresses come from: beyond those
// that a kernel chooses from by itself (Linux: net.ipv4.ip_local_port_range, 32768
// to 60999).
const (
	FirstProbePort = 61000
	ProbePorts     = 256
)

// OfAgent reports whether a connection that came from there is another agent's
// probe, as far as can be told: what an address translator gave another port is
// not known again, and of clients whose kernels choose from 49152 to 65535 (RFC
// 6335, 6) 1.6 % are taken for one. So it may excuse, and never leave out of a
// count who is there.
func OfAgent(remote netip.AddrPort) bool {
	return remote.Port() >= FirstProbePort && remote.Port() < FirstProbePort+ProbePorts
}

// Probes says which sockets are Foreshock's own, at both ends where both are on
// this host. It is immutable and safe for concurrent use. Nil has none.
type Probes struct {
	// ports has a bit for each of our ports, by its low six bits: it decides
	// for most sockets.
	ports uint64
	list  []Probe
}

// NewProbes builds the index of a few probes.
func NewProbes(list []Probe) *Probes {
	x := &Probes{list: slices.Clone(list)}
	for i := range list {
		x.ports |= 1 << (list[i].Local.Port() % 64)
	}
	return x
}

// Has reports whether a socket of the agent's own network namespace is one of
// the probes, or the end that a server on this host has of one.
func (x *Probes) Has(s *tcp.Socket) bool {
	if x == nil || x.ports&(1<<(s.Local.Port()%64)|1<<(s.Remote.Port()%64)) == 0 {
		return false
	}
	for i := range x.list {
		if p := &x.list[i]; p.covers(s.State) && (p.joins(s.Local, s.Remote) || p.joins(s.Remote, s.Local)) {
			return true
		}
	}
	return false
}

// HasServed reports whether a socket of another namespace is the end that a
// server there has of a probe. Of loopback addresses it cannot be: each
// namespace has its own.
func (x *Probes) HasServed(s *tcp.Socket) bool {
	if x == nil || x.ports&(1<<(s.Remote.Port()%64)) == 0 {
		return false
	}
	for i := range x.list {
		if p := &x.list[i]; p.covers(s.State) && !p.Remote.Addr().IsLoopback() && p.joins(s.Remote, s.Local) {
			return true
		}
	}
	return false
}

// joins reports whether the probe goes from ours to theirs.
func (p *Probe) joins(ours, theirs netip.AddrPort) bool {
	return p.Local.Port() == ours.Port() && p.Remote == theirs && (!p.Local.Addr().IsValid() || p.Local.Addr() == ours.Addr())
}

// covers reports whether the probe can be in that state.
func (p *Probe) covers(state tcp.State) bool {
	switch state {
	case tcp.Listen:
		return false
	case tcp.Established, tcp.SynSent, tcp.SynRecv:
		return !p.Ended
	}
	return true
}

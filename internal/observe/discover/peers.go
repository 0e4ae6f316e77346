package discover

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

const (
	// maxPeers bounds the remote ends remembered of one look. A balancer has
	// hundreds at most; a crawler or a proxy to the whole internet has more,
	// and no backends.
	maxPeers = 4096
	// maxKnown bounds the backends that are remembered beyond them.
	maxKnown = 16_384
	// maxWitnesses is how many sockets of one peer are kept to find out whose
	// they are.
	maxWitnesses = 4
)

// Peer is a remote address and port that processes of this namespace talk to.
type Peer struct {
	Remote  netip.AddrPort
	Sockets int
	// Inodes and Cgroups are of some of its sockets, at most four each.
	Inodes  []uint64
	Cgroups []uint64
	// Locals are our ends of some of its sockets, at most four.
	Locals []netip.AddrPort
}

// Peers gathers the peers of one look: the remote ends of connections that
// began here and that a process holds. The zero value is ready.
type Peers struct {
	peers     map[netip.AddrPort]*Peer
	listening map[uint16]bool // local ports that the look saw listeners on
	known     func(netip.AddrPort) bool
	// Left counts the sockets left out because there were too many peers.
	Left int
}

// Begin starts a look. known says which addresses are backends already, nil
// none: these are gathered also where there are too many peers, so that what is
// at work is not taken to be gone.
func (p *Peers) Begin(known func(netip.AddrPort) bool) {
	if p.peers == nil {
		p.peers, p.listening = make(map[netip.AddrPort]*Peer), make(map[uint16]bool)
	}
	clear(p.peers)
	clear(p.listening)
	p.Left, p.known = 0, known
}

// Add takes a batch. services says which sockets are our services' own: their
// remote ends are clients, and so are those of what a listener accepted that the
// look sees itself, as services are known some time after their listeners.
func (p *Peers) Add(batch []tcp.Socket, services *scope.Index) {
	for i := range batch {
		s := &batch[i]
		if s.State == tcp.Listen {
			p.listening[s.Local.Port()] = true
		}
		if s.Inode == 0 || s.State != tcp.Established && s.State != tcp.SynSent && s.State != tcp.CloseWait || services.Service(s) != scope.None {
			continue
		}
		peer := p.peers[s.Remote]
		if peer == nil {
			if len(p.peers) >= maxPeers && (len(p.peers) >= maxPeers+maxKnown || p.known == nil || !p.known(s.Remote)) {
				p.Left++
				continue
			}
			peer = &Peer{Remote: s.Remote}
			p.peers[s.Remote] = peer
		}
		peer.Sockets++
		if len(peer.Inodes) < maxWitnesses {
			peer.Inodes = append(peer.Inodes, s.Inode)
			peer.Locals = append(peer.Locals, s.Local)
		}
		if s.CgroupID != 0 && len(peer.Cgroups) < maxWitnesses && !slices.Contains(peer.Cgroups, s.CgroupID) {
			peer.Cgroups = append(peer.Cgroups, s.CgroupID)
		}
	}
}

// List returns the peers in the order of their addresses.
func (p *Peers) List() []Peer {
	out := make([]Peer, 0, len(p.peers))
	began := func(local netip.AddrPort) bool { return !p.listening[local.Port()] }
	for _, peer := range p.peers {
		if slices.ContainsFunc(peer.Locals, began) {
			out = append(out, *peer)
		}
	}
	slices.SortFunc(out, func(a, b Peer) int {
		return cmp.Or(a.Remote.Addr().Compare(b.Remote.Addr()), cmp.Compare(a.Remote.Port(), b.Remote.Port()))
	})
	return out
}

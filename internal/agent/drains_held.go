package agent

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/foreshock/foreshock/internal/agent/drains"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe/asn"
	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

const (
	// heldFor is how old the rows of a report may be.
	heldFor = time.Second
	// Owners of sockets that nobody was found for are searched again after
	// ownersAgain, and after ownersTimes what the last search took: it is made when
	// somebody asks for a report, and walks the descriptors of many processes.
	ownersAgain = 5 * time.Second
	ownersTimes = 50
)

// heldRows are the connections on old addresses, of all switches, and what else
// a report takes of the host.
type heldRows struct {
	at     time.Time
	of     map[string][]drains.Row
	over   map[string]int
	local  map[netip.Addr]bool // this host's addresses; nil: not known
	limits []string
}

// heldSocket is one, with what only the loop can say of it.
type heldSocket struct {
	measure.HeldSocket
	namespace string
	id        tcp.Namespace
	service   string // that serves it
}

// networks is who has which addresses; nil inside where nobody knows.
type networks struct {
	mu sync.Mutex
	db *asn.Database
}

func (n *networks) set(db *asn.Database) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.db = db
}

func (n *networks) get() *asn.Database {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.db
}

// heldNow are the connections on old addresses, not older than a second where
// the loop answers in time.
func (a *agent) heldNow() heldRows {
	f := a.follower
	f.owners.mu.Lock() // one at a time: the others find what it found
	defer f.owners.mu.Unlock()
	now := a.clock.Now()
	if !f.rows.at.IsZero() && now.Sub(f.rows.at) < heldFor {
		return f.rows
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	type found struct {
		sockets map[string][]heldSocket
		over    map[string]int
	}
	held := make(chan found, 1)
	out := heldRows{at: now, of: map[string][]drains.Row{}, over: map[string]int{}}
	err := a.askQuietly(ctx, func(h *Host) error {
		sockets, over := h.heldSockets()
		held <- found{sockets, over}
		return nil
	})
	if err != nil {
		stale := f.rows
		stale.limits = append(slices.Clip(stale.limits), "the agent is busy: who is on the old addresses is of a while ago")
		return stale
	}
	is := <-held
	sockets := is.sockets
	out.over = is.over
	whose := f.owners.find(a.clock, sockets)
	out.limits = f.owners.unseen
	db := f.networks.get()
	if db != nil {
		if _, err := db.Reload(); err != nil {
			out.limits = append(out.limits, err.Error())
		}
	}
	for name, list := range sockets {
		for i := range list {
			out.of[name] = append(out.of[name], row(&list[i], whose, db))
		}
	}
	out.local = localAddresses(sockets)
	f.rows = out
	return out
}

// row is one connection, and whose it is.
func row(s *heldSocket, whose map[uint64]owner.Process, db *asn.Database) drains.Row {
	r := drains.Row{
		Namespace: s.namespace, Asked: !s.Served, Old: s.Remote.Addr(), Failing: s.State == tcp.SynSent || s.Retransmitting, Moving: s.Moving, NewAfterTTL: s.NewAfterTTL, FirstSeen: s.FirstSeen,
	}
	if s.Served {
		r.Old, r.Client, r.Service = s.Local.Addr(), s.Remote.Addr(), s.service
		if db != nil {
			r.ASN, r.Network, _ = db.Lookup(r.Client)
		}
		return r
	}
	p := whose[s.Inode]
	r.Process, r.Unit, r.Container, r.PID = p.Name, p.Unit, p.Container, p.PID
	return r
}

// localAddresses are this host's own: those of its interfaces, and those in
// other namespaces to which connections came.
func localAddresses(sockets map[string][]heldSocket) map[netip.Addr]bool {
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	out := make(map[netip.Addr]bool, len(found))
	for _, f := range found {
		if p, err := netip.ParsePrefix(f.String()); err == nil {
			out[p.Addr().Unmap()] = true
		}
	}
	for _, list := range sockets {
		for i := range list {
			if list[i].Served {
				out[list[i].Local.Addr()] = true
			}
		}
	}
	return out
}

// heldSockets are the connections on the old addresses, by switch, with the
// services that serve them, and how many further ones there are.
func (h *Host) heldSockets() (out map[string][]heldSocket, over map[string]int) {
	out, over = map[string][]heldSocket{}, map[string]int{}
	byName := map[string]*Pipeline{}
	for _, p := range h.pipelines() {
		byName[p.place.name] = p
	}
	for _, held := range h.Held() {
		over[held.Switch] += held.Over
		p := byName[held.Namespace]
		for _, s := range held.Sockets {
			x := heldSocket{HeldSocket: s, namespace: held.Namespace, id: held.ID}
			if s.Served && p.index != nil {
				if i := p.index.Service(&tcp.Socket{Local: s.Local, Remote: s.Remote, State: s.State}); i != scope.None {
					x.service = p.services[i].ID().String()
				}
			}
			out[held.Switch] = append(out[held.Switch], x)
		}
	}
	return out, over
}

// ownersSeen remembers who holds which socket.
type ownersSeen struct {
	mu     sync.Mutex
	of     map[uint64]owner.Process // by inode
	nextAt time.Time
	unseen []string
}

// find returns who holds the sockets that this host began. It searches for those
// that it does not know, not too often, and forgets those that are gone.
func (x *ownersSeen) find(clock *Clock, sockets map[string][]heldSocket) map[uint64]owner.Process {
	known := make(map[uint64]owner.Process, len(x.of))
	lacks := map[tcp.Namespace][]uint64{}
	for _, list := range sockets {
		for i := range list {
			s := &list[i]
			if s.Served || s.Inode == 0 {
				continue
			}
			if p, is := x.of[s.Inode]; is {
				known[s.Inode] = p
			} else {
				lacks[s.id] = append(lacks[s.id], s.Inode)
			}
		}
	}
	x.of = known
	if len(lacks) == 0 || clock.Now().Before(x.nextAt) {
		return known
	}
	began := clock.Now()
	x.unseen = search(lacks, known)
	x.nextAt = clock.Now().Add(max(ownersAgain, ownersTimes*clock.Now().Sub(began)))
	return known
}

// search finds the holders of sockets among the processes of their namespaces,
// and adds them to known. It returns what could not be seen.
func search(lacks map[tcp.Namespace][]uint64, known map[uint64]owner.Process) (unseen []string) {
	of := make(map[tcp.Namespace]bool, len(lacks))
	for id := range lacks {
		of[id] = true
	}
	members, err := netns.Members(procRoot, of)
	if err != nil {
		return []string{"who holds connections to the old addresses is not known: " + err.Error()}
	}
	for id, inodes := range lacks {
		depth := owner.Thorough
		if members[id] == nil { // among all processes, then
			depth = owner.Brief
		}
		held, limits, err := owner.Find(procRoot, members[id], inodes, depth)
		if err != nil {
			return append(unseen, "not all who hold connections to the old addresses are known: "+err.Error())
		}
		for inode, holders := range held {
			known[inode] = holders[0]
		}
		if len(held) < len(inodes) {
			unseen = append(unseen, limits.Reasons()...)
		}
	}
	return unseen
}

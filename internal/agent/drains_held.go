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
	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// heldFor is how old the rows of a report may be.
const heldFor = time.Second

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

package agent

import (
	"maps"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/tcp"
)

// search finds the owners of sockets for all namespaces whose listeners
// changed, at once: first among the processes that are there, and then, for
// sockets that nobody there holds, briefly among all. A walk over all
// descriptors of a busy host would take a second.
func (h *Host) search(now time.Time) {
	wanting := h.wantOwners(now)
	if len(wanting) == 0 || now.Before(h.searchAt) {
		return
	}
	began := threadTime()
	owners, unseen, left, err := searchMembers(wanting)
	h.searchAt = now.Add(max(rediscoverAfter, rediscoverTimes*(threadTime()-began)))
	left = slices.DeleteFunc(left, func(inode uint64) bool { return h.nobodys[inode] })
	if err == nil && len(left) > 0 && !now.Before(h.wideAt) {
		began = threadTime()
		var more map[uint64][]owner.Process
		var limits owner.Limits
		more, limits, err = owner.Find(procRoot, nil, left, owner.Brief)
		maps.Copy(owners, more)
		for _, p := range wanting {
			if p.listens(left) {
				unseen[p] = limits
			}
		}
		h.wideAt = now.Add(max(rediscoverAfter, wideTimes*(threadTime()-began)))
		if err == nil { // else it is not known that nobody holds them
			h.disown(left, owners)
			left = nil
		}
	}
	for _, p := range wanting {
		// Those with a socket nobody there holds wait a while for the next wide
		// walk: a service without a program has another name.
		if now.Sub(p.wanting) >= unownedAfter || !p.listens(left) {
			p.adopt(now, owners, unseen[p], err)
		}
	}
}

// searchMembers finds the owners of the listeners of each of these namespaces
// among the processes that are in it, with what was not seen there, and returns
// the listeners that nobody there holds.
func searchMembers(wanting []*Pipeline) (owners map[uint64][]owner.Process, unseen map[*Pipeline]owner.Limits, left []uint64, err error) {
	owners, unseen = map[uint64][]owner.Process{}, map[*Pipeline]owner.Limits{}
	of := make(map[tcp.Namespace]bool, len(wanting))
	for _, p := range wanting {
		of[p.place.namespace] = true
	}
	members, err := netns.Members(procRoot, of)
	if err != nil {
		return owners, unseen, nil, err
	}
	for _, p := range wanting {
		inodes := make([]uint64, 0, len(p.listeners.rows))
		for i := range p.listeners.rows {
			inodes = append(inodes, p.listeners.rows[i].Inode)
		}
		if pids := members[p.place.namespace]; pids != nil {
			var found map[uint64][]owner.Process
			if found, unseen[p], err = owner.Find(procRoot, pids, inodes, owner.Thorough); err != nil {
				return owners, unseen, nil, err
			}
			maps.Copy(owners, found)
		}
		for _, inode := range inodes {
			if owners[inode] == nil {
				left = append(left, inode)
			}
		}
	}
	return owners, unseen, left, nil
}

// listens reports whether one of the namespace's listeners is among inodes.
func (p *Pipeline) listens(inodes []uint64) bool {
	return slices.ContainsFunc(p.listeners.rows, func(s tcp.Socket) bool { return slices.Contains(inodes, s.Inode) })
}

// disown remembers the listeners that nobody seen holds, for as long as they
// are there, so that they do not call for the same search again.
func (h *Host) disown(sought []uint64, owners map[uint64][]owner.Process) {
	nobodys := make(map[uint64]bool)
	for _, inode := range sought {
		if owners[inode] == nil {
			nobodys[inode] = true
		}
	}
	for _, r := range h.of {
		for i := range r.listeners.rows {
			if inode := r.listeners.rows[i].Inode; h.nobodys[inode] {
				nobodys[inode] = true
			}
		}
	}
	h.nobodys = nobodys
}

// wantOwners returns the pipelines whose listeners changed. While namespaces
// that were just found have not looked yet it waits for them, so that one
// search serves all, but not for long.
func (h *Host) wantOwners(now time.Time) []*Pipeline {
	var out []*Pipeline
	fresh := false
	for _, r := range h.of {
		if !r.wanting.IsZero() {
			out = append(out, r.Pipeline)
		}
		fresh = fresh || r.status[tcp.Pulse].last.Begin.IsZero() && r.failures == 0
	}
	if len(out) == 0 {
		h.wanting = time.Time{}
		return nil
	}
	if h.wanting.IsZero() {
		h.wanting = now
	}
	if fresh && now.Sub(h.wanting) < rediscoverAfter {
		return nil
	}
	h.wanting = time.Time{}
	return out
}

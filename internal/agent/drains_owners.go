package agent

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/tcp"
)

const (
	// Owners of sockets that nobody was found for are searched again after
	// ownersAgain, and after ownersTimes what the last search took: it is made when
	// somebody asks for a report, and walks the descriptors of many processes.
	ownersAgain = 5 * time.Second
	ownersTimes = 50
	// Who was found to hold one is looked at first, and each time: he who has
	// connected to an old address does so again, and may hold it for a second or
	// two only. At most nearMost processes, those found last, for as long as
	// nearFor after it, nearDepth descriptors in all (some 10 ms), and after
	// nearTimes what that took.
	nearMost  = 64
	nearFor   = 2 * time.Minute
	nearDepth = 1 << 12
	nearTimes = 100
)

// ownersSeen remembers who holds which socket.
type ownersSeen struct {
	mu             sync.Mutex
	of             map[uint64]owner.Process // by inode
	found          map[int]time.Time        // when a process was found to hold one last
	nearAt, nextAt time.Time
	unseen         []string // by the last search; none while all are known
}

// find returns who holds the sockets that this host began. It searches for those
// that it does not know, not too often, and forgets those that are gone.
func (x *ownersSeen) find(clock *Clock, sockets map[string][]heldSocket) map[uint64]owner.Process {
	before := x.of
	x.of = make(map[uint64]owner.Process, len(before))
	heldHere(sockets, func(s *heldSocket) {
		if p, is := before[s.Inode]; is {
			x.of[s.Inode] = p
		}
	})
	lacks := x.lacks(sockets)
	began := clock.Now()
	if pids := x.near(began); len(lacks) > 0 && len(pids) > 0 && !began.Before(x.nearAt) {
		held, _, err := owner.Find(procRoot, pids, slices.Concat(slices.Collect(maps.Values(lacks))...), nearDepth)
		if err == nil { // else all are asked below
			x.take(began, held)
		}
		x.nearAt = clock.Now().Add(nearTimes * clock.Now().Sub(began))
		lacks = x.lacks(sockets)
	}
	if began = clock.Now(); len(lacks) > 0 && !began.Before(x.nextAt) {
		var held map[uint64][]owner.Process
		held, x.unseen = search(lacks)
		x.take(began, held)
		x.nextAt = clock.Now().Add(max(ownersAgain, ownersTimes*clock.Now().Sub(began)))
	}
	if len(lacks) == 0 {
		x.unseen = nil
	}
	return x.of
}

// lacks are the sockets that nobody was found for, by namespace.
func (x *ownersSeen) lacks(sockets map[string][]heldSocket) map[tcp.Namespace][]uint64 {
	out := map[tcp.Namespace][]uint64{}
	heldHere(sockets, func(s *heldSocket) {
		if _, is := x.of[s.Inode]; !is {
			out[s.id] = append(out[s.id], s.Inode)
		}
	})
	return out
}

// heldHere calls do with each that this host began and that somebody holds.
func heldHere(sockets map[string][]heldSocket, do func(*heldSocket)) {
	for _, list := range sockets {
		for i := range list {
			if s := &list[i]; !s.Served && s.Inode != 0 {
				do(s)
			}
		}
	}
}

// take notes who holds which.
func (x *ownersSeen) take(now time.Time, held map[uint64][]owner.Process) {
	if x.found == nil {
		x.found = map[int]time.Time{}
	}
	for inode, holders := range held {
		x.of[inode] = holders[0]
		x.found[holders[0].PID] = now
	}
}

// near are the processes that are looked at first, in ascending order; those that
// were found too long ago are forgotten.
func (x *ownersSeen) near(now time.Time) []int {
	maps.DeleteFunc(x.found, func(_ int, at time.Time) bool { return now.Sub(at) > nearFor })
	pids := slices.SortedFunc(maps.Keys(x.found), func(a, b int) int { return x.found[b].Compare(x.found[a]) })
	pids = pids[:min(len(pids), nearMost)]
	slices.Sort(pids)
	return pids
}

// search finds the holders of sockets among the processes of their namespaces,
// and says what could not be seen.
func search(lacks map[tcp.Namespace][]uint64) (found map[uint64][]owner.Process, unseen []string) {
	of := make(map[tcp.Namespace]bool, len(lacks))
	for id := range lacks {
		of[id] = true
	}
	members, err := netns.Members(procRoot, of)
	if err != nil {
		return nil, []string{"who holds connections to the old addresses is not known: " + err.Error()}
	}
	found = map[uint64][]owner.Process{}
	for id, inodes := range lacks {
		depth := owner.Thorough
		if members[id] == nil { // among all processes, then
			depth = owner.Brief
		}
		held, limits, err := owner.Find(procRoot, members[id], inodes, depth)
		if err != nil {
			return found, append(unseen, "not all who hold connections to the old addresses are known: "+err.Error())
		}
		maps.Copy(found, held)
		if len(held) < len(inodes) {
			unseen = append(unseen, limits.Reasons()...)
		}
	}
	return found, unseen
}

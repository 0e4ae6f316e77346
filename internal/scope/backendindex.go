package scope

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/foreshock/foreshock/internal/tcp"
)

// BackendIndex says which backend a socket belongs to by its remote end, and
// by its cgroup where backends share one. It is immutable and safe for
// concurrent use. The zero value has none.
type BackendIndex struct {
	// ports has a bit for each remote port that some backend has: one load
	// decides for most sockets.
	ports []uint64
	// table holds 1 + the position of the first backend of an address, open
	// addressing, a power of two long; next chains those of the same address.
	table    []int32
	next     []int32
	backends []Backend
}

// NewBackendIndex builds the index; Backend answers with positions in that
// slice.
func NewBackendIndex(backends []Backend) *BackendIndex {
	ix := &BackendIndex{}
	if len(backends) == 0 {
		return ix
	}
	size := 8
	for size < 2*len(backends) {
		size *= 2
	}
	ix.ports, ix.table, ix.next, ix.backends = make([]uint64, 1<<16/64), make([]int32, size), make([]int32, len(backends)), backends
	for i := range slices.Backward(backends) { // chains grow at the front: the first backend of an address goes first
		port := backends[i].Remote.Port()
		ix.ports[port/64] |= 1 << (port % 64)
		at := ix.place(backends[i].Remote)
		ix.next[i], ix.table[at] = ix.table[at], int32(i)+1
	}
	return ix
}

// place is where the chain of remote begins, or where it would.
func (ix *BackendIndex) place(remote netip.AddrPort) int {
	a := remote.Addr().As16()
	h := binary.LittleEndian.Uint64(a[:8]) ^ binary.LittleEndian.Uint64(a[8:])*0x9e3779b97f4a7c15 ^ uint64(remote.Port())<<32
	h = (h ^ h>>29) * 0xbf58476d1ce4e5b9
	mask := uint64(len(ix.table) - 1)
	for i := h >> 32 & mask; ; i = (i + 1) & mask {
		if first := ix.table[i]; first == 0 || ix.backends[first-1].Remote == remote {
			return int(i)
		}
	}
}

// Backend returns the position of the backend that s belongs to, or None. Of
// several at one address it is the one with the socket's cgroup, else the
// first that takes any. A socket that nobody owns any more (TIME_WAIT) has no
// cgroup and goes to the first of its address.
func (ix *BackendIndex) Backend(s *tcp.Socket) int {
	port := s.Remote.Port()
	if ix.ports == nil || ix.ports[port/64]&(1<<(port%64)) == 0 {
		return None
	}
	first := ix.table[ix.place(s.Remote)] - 1
	known := s.Has&tcp.HasCgroup != 0 && s.CgroupID != 0
	any := int32(None)
	for i := first; i >= 0; i = ix.next[i] - 1 {
		switch cgroups := ix.backends[i].Cgroups; {
		case known && slices.Contains(cgroups, s.CgroupID):
			return int(i)
		case any < 0 && (!known || len(cgroups) == 0):
			any = i
		}
	}
	return int(any)
}

// Strange reports whether s goes to a backend's address from a cgroup that no
// backend there has, so that it belongs to none of them.
func (ix *BackendIndex) Strange(s *tcp.Socket) bool {
	port := s.Remote.Port()
	if ix.ports == nil || ix.ports[port/64]&(1<<(port%64)) == 0 || s.Has&tcp.HasCgroup == 0 || s.CgroupID == 0 {
		return false
	}
	return ix.table[ix.place(s.Remote)] != 0 && ix.Backend(s) == None
}

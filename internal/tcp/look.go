package tcp

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Tier is one of the four kinds of look of the agent's schedule, cheapest
// first.
type Tier uint8

// The tiers. The zero value is no tier: a look that a person asked for.
const (
	NoTier   Tier = iota
	Pulse         // counters and listeners
	Focus         // the sockets of the scopes in use, all states
	Odd           // every state but ESTABLISHED
	Full          // every socket
	NumTiers = int(Full) + 1
)

var tierNames = [NumTiers]string{"none", "pulse", "focus", "odd", "full"}

// String names the tier: "pulse", "focus", "odd", "full".
func (t Tier) String() string {
	if int(t) < NumTiers {
		return tierNames[t]
	}
	return fmt.Sprintf("tier_%d", uint8(t))
}

// Request says which sockets a look wants.
type Request struct {
	Tier   Tier
	States StateMask
	Filter Filter
	// Info asks for tcp_info: +0.15–0.2 µs per socket.
	Info bool
}

// Filter narrows a look. Where the reader can, the kernel applies it, so
// sockets that do not match cost only the walk. The zero Filter matches all.
// A socket matches when either of its ports is one of these, or the address of
// that end is in one of the prefixes.
type Filter struct {
	LocalPorts  []uint16
	RemotePorts []uint16
	// The prefixes are masked, and IPv4 where the address is.
	RemotePrefixes, LocalPrefixes []netip.Prefix
}

// IsZero reports whether the filter matches every socket.
func (f Filter) IsZero() bool { return f.Terms() == 0 }

// Terms is how many conditions the filter has.
func (f Filter) Terms() int {
	return len(f.LocalPorts) + len(f.RemotePorts) + len(f.RemotePrefixes) + len(f.LocalPrefixes)
}

// Match reports whether s passes the filter. Readers without a filter in the
// kernel use it; tests hold the kernel's filter against it.
func (f Filter) Match(s *Socket) bool {
	return f.IsZero() || slices.Contains(f.LocalPorts, s.Local.Port()) || slices.Contains(f.RemotePorts, s.Remote.Port()) ||
		slices.ContainsFunc(f.RemotePrefixes, func(p netip.Prefix) bool { return p.Contains(s.Remote.Addr()) }) ||
		slices.ContainsFunc(f.LocalPrefixes, func(p netip.Prefix) bool { return p.Contains(s.Local.Addr()) })
}

// Completeness says whether a look may be judged. Only Complete may.
type Completeness uint8

// The ways a look can end.
const (
	// Unread is a look that never happened or failed at once.
	Unread Completeness = iota
	Complete
	// Interrupted: the table changed under the dump in a way that may have
	// hidden rows. Kernel: NLM_F_DUMP_INTR, include/uapi/linux/netlink.h.
	Interrupted
	// Truncated: the stream ended before its end mark, or a message was cut.
	Truncated
)

var completenessNames = [...]string{"unread", "complete", "interrupted", "truncated"}

// String names it: "complete", "interrupted", "truncated".
func (c Completeness) String() string {
	if int(c) < len(completenessNames) {
		return completenessNames[c]
	}
	return fmt.Sprintf("completeness_%d", uint8(c))
}

// Ability is one thing a reader can do that another cannot.
type Ability uint16

// The abilities.
const (
	CanQueueLimit Ability = 1 << iota // the limit of a listener's accept queue
	CanCookie                         // a name for each socket that outlives its ports
	CanCgroup                         // the owner's cgroup
	CanInfo                           // tcp_info: pending, busy, round-trip times
	CanDrops                          // connections dropped, per listener
	CanMaskStates                     // the kernel leaves unwanted states out
	CanFilter                         // the kernel leaves unwanted ports out

	// AllAbilities is what sock_diag has on a current kernel.
	AllAbilities = CanFilter<<1 - 1
)

var abilityLosses = []struct {
	ability Ability
	loss    string
}{
	{CanQueueLimit, "no accept-queue limit: a full queue shows only by its overflow"},
	{CanCookie, "no socket cookie: a reused port pair looks like the same connection"},
	{CanCgroup, "no cgroup: owners only by inode, where /proc/PID/fd is readable"},
	{CanInfo, "no tcp_info: busy, pending and round-trip times are unknown"},
	{CanDrops, "no drop count per listener: an overflow is attributed by queue depth"},
	{CanMaskStates, "no state filter: each look reads the whole table"},
	{CanFilter, "no kernel-side filter: a look at one service costs as much as a full one"},
}

// Has reports whether all of want are there.
func (a Ability) Has(want Ability) bool { return a&want == want }

// Missing names, for a person, what a reader with these abilities cannot see.
func (a Ability) Missing() []string {
	var out []string
	for _, l := range abilityLosses {
		if !a.Has(l.ability) {
			out = append(out, l.loss)
		}
	}
	return out
}

// Look is the header of one reading of one namespace's socket table.
type Look struct {
	Namespace Namespace
	Request   Request
	// Reader names the source: "sock_diag" or "procfs".
	Reader    string
	Abilities Ability
	// Begin is when the look began, on the agent's steady clock.
	Begin time.Time
	// Duration is the time on the wall; CPU the processor time of the reading
	// thread, zero when it was not measured.
	Duration, CPU time.Duration
	Completeness  Completeness
	// Sockets is the number of rows passed on; Bytes what the kernel wrote.
	Sockets int
	Bytes   int64
	// Malformed counts rows that could not be understood and were left out.
	Malformed int
	Counters  Counters
}

// Judgeable reports whether causes may be judged from this look.
func (l *Look) Judgeable() bool { return l.Completeness == Complete && l.Malformed == 0 }

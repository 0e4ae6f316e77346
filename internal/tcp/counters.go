package tcp

import "math"

// Counter names one number of a namespace's TCP statistics.
type Counter uint8

// The counters Foreshock reads: those of the signals, and those that tell
// whether anything moved (see Moved). Kernel names: net/ipv4/proc.c,
// snmp4_tcp_list and snmp4_net_list; sockstat's are gauges.
const (
	ActiveOpens Counter = iota
	PassiveOpens
	AttemptFails
	EstabResets
	CurrEstab // gauge
	InSegs
	OutSegs
	RetransSegs
	InErrs
	OutRsts
	SyncookiesSent
	ListenOverflows
	TCPTimeouts
	TCPSynRetrans
	TCPAbortOnTimeout
	SockInUse    // gauge: sockstat TCP inuse
	SockOrphan   // gauge: sockstat TCP orphan
	SockTimeWait // gauge: sockstat TCP tw
	Sock6InUse   // gauge: sockstat6 TCP6 inuse; SockInUse counts IPv4 alone

	NumCounters = int(Sock6InUse) + 1
)

var counterNames = [NumCounters]string{
	"ActiveOpens", "PassiveOpens", "AttemptFails", "EstabResets", "CurrEstab", "InSegs", "OutSegs",
	"RetransSegs", "InErrs", "OutRsts", "SyncookiesSent", "ListenOverflows", "TCPTimeouts", "TCPSynRetrans",
	"TCPAbortOnTimeout", "inuse", "orphan", "tw", "inuse6",
}

// String is the kernel's name for the counter; sockstat6 calls inuse6 inuse.
func (c Counter) String() string { return counterNames[c] }

// Gauge reports whether the number is a level and not a count of events.
func (c Counter) Gauge() bool { return c == CurrEstab || c >= SockInUse }

// Counters is one reading of a namespace's TCP statistics, or the movement
// between two. The zero value has seen nothing.
type Counters struct {
	values [NumCounters]uint64
	seen   uint64
}

// Set records a reading.
func (c *Counters) Set(name Counter, value uint64) {
	c.values[name] = value
	c.seen |= 1 << name
}

// Get returns a reading, and false when this kernel does not have it or the
// file could not be read.
func (c *Counters) Get(name Counter) (value uint64, ok bool) {
	return c.values[name], c.seen&(1<<name) != 0
}

// Moved reports whether a segment came or went between two readings of one
// namespace, a connection was opened, failed or ended, or a socket that is no
// TIME_WAIT came or went. Without one of the numbers that tell it cannot know,
// and says yes.
// Kernel: include/uapi/linux/snmp.h; what /proc/net/netstat counts goes with one
// of these, but for a time-out whose segment finds no route.
func Moved(prev, c *Counters) bool {
	const tell = 1<<(OutRsts+1) - 1 | 1<<SockInUse
	if c.seen&prev.seen&tell != tell || (c.seen^prev.seen)&(1<<Sock6InUse) != 0 {
		return true
	}
	for n := ActiveOpens; n <= OutRsts; n++ {
		if c.values[n] != prev.values[n] {
			return true
		}
	}
	return c.values[SockInUse] != prev.values[SockInUse] || c.values[Sock6InUse] != prev.values[Sock6InUse]
}

// wrapMargin is how close to 2³² a reading must have been for a smaller
// successor to be a wrap and not a reset: 2²⁸ events between two looks.
const wrapMargin = 1 << 28

// Since returns the number of events since prev, of those counters where it can
// be known: both readings have it, and it was not reset. The kernel keeps them
// in an unsigned long: 32-bit kernels wrap at 2³², which is told apart from a
// reset by being near it. Gauges have none.
func (c *Counters) Since(prev *Counters) Counters {
	var d Counters
	for i := range c.values {
		name := Counter(i)
		both := c.seen & prev.seen & (1 << name)
		if both == 0 || name.Gauge() {
			continue
		}
		now, before := c.values[i], prev.values[i]
		switch {
		case now >= before:
			d.values[i] = now - before
		case before <= math.MaxUint32 && before > math.MaxUint32-wrapMargin && now < wrapMargin:
			d.values[i] = now + 1<<32 - before
		case before > math.MaxUint64-wrapMargin && now < wrapMargin:
			d.values[i] = now - before // unsigned arithmetic carries over 2⁶⁴
		default:
			continue
		}
		d.seen |= both
	}
	return d
}

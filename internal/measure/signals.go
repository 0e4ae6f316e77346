package measure

import (
	"fmt"
	"time"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// Signal is the name of one number about a scope.
type Signal uint8

// The signals. docs/SIGNALS.md defines each; a test holds it to this list.
const (
	// Of a service, seen by the pulse.
	Listeners Signal = iota
	QueueDepth
	QueueLimit
	QueueWait
	ListenDropsRate
	// Of a service, seen by every look at all states.
	WorkersOccupied
	WorkersLimit
	WorkersSlope
	WorkersFullIn
	WorkersFullInError
	WorkersFullInFast
	WorkersRise
	TurnAwayLimit
	SlowClients
	CloseWaitLeaked
	CloseWaitLeakedSlope
	DescriptorsUsed
	DescriptorsLimit
	DescriptorsSlope
	StuckClosing
	NewFlowsUsual
	// Of a service or of the rest, seen by every look at all states.
	Sockets
	EstablishedCount
	Accepted
	AcceptedSlope
	Unaccepted
	OldestUnaccepted
	Busy
	CloseWaitAccepted
	CloseWaitUnaccepted
	CloseWaitUnacceptedGrowth
	SynRecvCount
	SynSentCount
	FinWait1Count
	FinWait2Count
	TimeWaitCount
	LastAckCount
	ClosingCount
	Retransmitting
	ZeroWindow
	NewFlowsRate
	GoneFlowsRate
	// Of the host, from the counters of the namespace.
	PassiveOpensRate
	ActiveOpensRate
	AttemptFailsRate
	EstabResetsRate
	RetransSegsRate
	TimeoutsRate
	OutRstsRate
	ListenOverflowsRate
	SyncookiesSentRate
	AcceptRate

	NumSignals = int(AcceptRate) + 1
)

// Unit is what a signal's value counts.
type Unit string

// The units.
const (
	UnitCount     Unit = "count"
	UnitSeconds   Unit = "seconds"
	UnitPerSecond Unit = "per_second"
)

// Definition says what a signal is.
type Definition struct {
	// Name is the signal's name in the API, in rules and in metrics; it ends
	// in the unit unless it counts things.
	Name string
	Unit Unit
	// Tier is the cheapest tier that sees it.
	Tier tcp.Tier
	// Help is one line for a person.
	Help string
}

var definitions = [NumSignals]Definition{
	Listeners:                 {"listeners", UnitCount, tcp.Pulse, "listening sockets of the service"},
	QueueDepth:                {"queue_depth", UnitCount, tcp.Pulse, "connections waiting to be accepted"},
	QueueLimit:                {"queue_limit", UnitCount, tcp.Pulse, "how many may wait: the listeners' backlogs"},
	QueueWait:                 {"queue_wait_seconds", UnitSeconds, tcp.Pulse, "how long a new connection waits to be accepted, at least"},
	ListenDropsRate:           {"listen_drops_per_second", UnitPerSecond, tcp.Pulse, "connections this service's listeners threw away"},
	WorkersOccupied:           {"workers_occupied", UnitCount, tcp.Focus, "workers that hold a connection, or a request where the server is event-driven"},
	WorkersLimit:              {"workers_limit", UnitCount, tcp.Focus, "how many workers there are: configured, read from the server's configuration, or learned"},
	WorkersSlope:              {"workers_slope_per_second", UnitPerSecond, tcp.Focus, "how fast occupied workers grow, over 60 s"},
	WorkersFullIn:             {"workers_full_in_seconds", UnitSeconds, tcp.Focus, "when all workers will be occupied, at the growth of the last 60 s"},
	WorkersFullInError:        {"workers_full_in_error_seconds", UnitSeconds, tcp.Focus, "how far that forecast may be off, either way"},
	WorkersFullInFast:         {"workers_full_in_fast_seconds", UnitSeconds, tcp.Focus, "when all workers will be occupied, at the growth of the last 15 s"},
	WorkersRise:               {"workers_rise_seconds", UnitSeconds, tcp.Focus, "how long ago half as many workers were occupied as now, within 5 min"},
	TurnAwayLimit:             {"turn_away_limit", UnitCount, tcp.Focus, "how many connections the server holds before it closes new ones at once; only for servers that do"},
	SlowClients:               {"slow_clients", UnitCount, tcp.Focus, "accepted connections whose client has taken 10 s or more over its request"},
	CloseWaitLeaked:           {"close_wait_leaked", UnitCount, tcp.Focus, "CLOSE_WAIT that a process has held for 10 s or more"},
	CloseWaitLeakedSlope:      {"close_wait_leaked_slope_per_second", UnitPerSecond, tcp.Focus, "how fast those grow, over 60 s; zero unless beyond chance"},
	DescriptorsUsed:           {"descriptors_used", UnitCount, tcp.Focus, "open descriptors of the process of the service that is nearest its limit"},
	DescriptorsLimit:          {"descriptors_limit", UnitCount, tcp.Focus, "how many that process may open"},
	DescriptorsSlope:          {"descriptors_slope_per_second", UnitPerSecond, tcp.Focus, "how fast its descriptors grow, over 5 min"},
	StuckClosing:              {"stuck_closing", UnitCount, tcp.Focus, "FIN_WAIT1, LAST_ACK or CLOSING that retransmits, probes, or has lasted 30 s"},
	NewFlowsUsual:             {"new_flows_usual_per_second", UnitPerSecond, tcp.Focus, "the median of new_flows_per_second over the last hour"},
	Sockets:                   {"sockets", UnitCount, tcp.Focus, "sockets of the scope, listeners left out"},
	EstablishedCount:          {"established", UnitCount, tcp.Focus, "ESTABLISHED"},
	Accepted:                  {"accepted", UnitCount, tcp.Focus, "connections a process holds: ESTABLISHED or CLOSE_WAIT with an inode"},
	AcceptedSlope:             {"accepted_slope_per_second", UnitPerSecond, tcp.Focus, "how fast accepted grows, over 60 s"},
	Unaccepted:                {"unaccepted", UnitCount, tcp.Focus, "ESTABLISHED or CLOSE_WAIT that no process has accepted"},
	OldestUnaccepted:          {"oldest_unaccepted_seconds", UnitSeconds, tcp.Focus, "age of the connection that has waited longest, at least"},
	Busy:                      {"busy", UnitCount, tcp.Focus, "accepted connections whose client spoke last"},
	CloseWaitAccepted:         {"close_wait_accepted", UnitCount, tcp.Focus, "CLOSE_WAIT that a process holds"},
	CloseWaitUnaccepted:       {"close_wait_unaccepted", UnitCount, tcp.Focus, "CLOSE_WAIT in the accept queue: the client gave up waiting"},
	CloseWaitUnacceptedGrowth: {"close_wait_unaccepted_growth_per_second", UnitPerSecond, tcp.Focus, "how fast clients give up in the queue, over 10 s"},
	SynRecvCount:              {"syn_recv", UnitCount, tcp.Focus, "half-open connections"},
	SynSentCount:              {"syn_sent", UnitCount, tcp.Focus, "connections we opened that nobody has answered"},
	FinWait1Count:             {"fin_wait1", UnitCount, tcp.Focus, "FIN_WAIT1"},
	FinWait2Count:             {"fin_wait2", UnitCount, tcp.Focus, "FIN_WAIT2"},
	TimeWaitCount:             {"time_wait", UnitCount, tcp.Focus, "TIME_WAIT"},
	LastAckCount:              {"last_ack", UnitCount, tcp.Focus, "LAST_ACK"},
	ClosingCount:              {"closing", UnitCount, tcp.Focus, "CLOSING"},
	Retransmitting:            {"retransmitting", UnitCount, tcp.Focus, "sockets in an unrecovered retransmission time-out"},
	ZeroWindow:                {"zero_window", UnitCount, tcp.Focus, "sockets whose peer has stopped reading"},
	NewFlowsRate:              {"new_flows_per_second", UnitPerSecond, tcp.Focus, "connections first seen, estimated from a sample when there are many"},
	GoneFlowsRate:             {"gone_flows_per_second", UnitPerSecond, tcp.Focus, "connections last seen, estimated likewise"},
	PassiveOpensRate:          {"passive_opens_per_second", UnitPerSecond, tcp.Pulse, "connections the kernel completed for our listeners"},
	ActiveOpensRate:           {"active_opens_per_second", UnitPerSecond, tcp.Pulse, "connections we opened"},
	AttemptFailsRate:          {"attempt_fails_per_second", UnitPerSecond, tcp.Pulse, "attempts that were refused or timed out"},
	EstabResetsRate:           {"estab_resets_per_second", UnitPerSecond, tcp.Pulse, "established connections that were reset"},
	RetransSegsRate:           {"retransmitted_segments_per_second", UnitPerSecond, tcp.Pulse, "segments sent again"},
	TimeoutsRate:              {"retransmission_timeouts_per_second", UnitPerSecond, tcp.Pulse, "retransmission timers that fired"},
	OutRstsRate:               {"resets_sent_per_second", UnitPerSecond, tcp.Pulse, "resets we sent"},
	ListenOverflowsRate:       {"listen_overflows_per_second", UnitPerSecond, tcp.Pulse, "connections lost to a full accept queue, all listeners"},
	SyncookiesSentRate:        {"syncookies_sent_per_second", UnitPerSecond, tcp.Pulse, "SYN cookies sent: a half-open queue is full"},
	AcceptRate:                {"accepts_per_second", UnitPerSecond, tcp.Pulse, "connections taken from all accept queues"},
}

// Signals returns every signal in order.
func Signals() []Signal {
	out := make([]Signal, NumSignals)
	for i := range out {
		out[i] = Signal(i)
	}
	return out
}

// AppliesTo reports whether a scope of that kind can have the signal: queues
// belong to services, the namespace's counters to the host.
func (s Signal) AppliesTo(kind scope.Kind) bool {
	switch kind {
	case scope.KindService:
		return s < PassiveOpensRate
	case scope.KindRest:
		return s >= Sockets && s < PassiveOpensRate
	case scope.KindHost:
		return s >= PassiveOpensRate
	}
	return false
}

// Definition returns what the signal is.
func (s Signal) Definition() Definition { return definitions[s] }

// String is the signal's name: "queue_wait_seconds".
func (s Signal) String() string { return definitions[s].Name }

// Validity says whether a reading is a number, and if not, why.
type Validity uint8

// The validities. The zero value is unknown.
const (
	NeverSeen    Validity = iota // no look has seen it yet
	Known                        // Value holds
	Stale                        // last seen more than 2.5 intervals of its tier ago
	NoListener                   // nothing listens, so there is no queue to see
	NoAbility                    // this reader cannot see it
	NotEnough                    // too few looks, or too few sockets, to say
	NotFilling                   // there is no such time: nothing fills up
	NoLimit                      // the limit is not known
	NotSuch                      // the server does not have it
	Contradicted                 // many more are occupied than the limit says
)

var validityNames = [...]string{"never_seen", "known", "stale", "no_listener", "no_ability", "not_enough", "not_filling", "no_limit", "not_such", "contradicted"}

var validityWords = [...]string{"never seen", "known", "stale", "no listener", "not visible to this reader", "not enough looks yet", "not filling", "limit not known", "not that kind of server", "contradicted by what is occupied"}

// Words says why, for a person.
func (v Validity) Words() string {
	if int(v) < len(validityWords) {
		return validityWords[v]
	}
	return v.String()
}

// String names it as the API does: "stale", "no_listener".
func (v Validity) String() string {
	if int(v) < len(validityNames) {
		return validityNames[v]
	}
	return fmt.Sprintf("validity_%d", uint8(v))
}

// Reading is a signal's value at an instant. Unknown is a value of its own:
// never zero, never healthy.
type Reading struct {
	Value float64
	// Samples is the number of sockets, events or looks that Value rests on.
	Samples  int
	Seen     time.Time
	Validity Validity
}

// Get returns the value, and whether it is known.
func (r Reading) Get() (value float64, known bool) { return r.Value, r.Validity == Known }

// StaleAfter is how many intervals of its tier a reading stays good.
const StaleAfter = 2.5

// ScopeSignals are all readings of one scope. Signals that do not apply to
// the kind of scope are NeverSeen.
type ScopeSignals struct {
	Scope    scope.ID
	Readings [NumSignals]Reading
	// Examples are sockets worth showing: those that failures leave behind
	// first. They are copies and stay valid.
	Examples []tcp.Socket
	// Prefixes are the clients that hold most workers, the largest first.
	Prefixes []PrefixHeld
}

// Get returns one reading.
func (s *ScopeSignals) Get(sig Signal) Reading { return s.Readings[sig] }

// View is every scope's signals at one instant, the host's and the rest's
// included.
type View struct {
	At     time.Time
	Scopes []ScopeSignals
}

// Scope returns the signals of one scope, and nil when the view has none.
func (v *View) Scope(id scope.ID) *ScopeSignals {
	for i := range v.Scopes {
		if v.Scopes[i].Scope == id {
			return &v.Scopes[i]
		}
	}
	return nil
}

// Host returns the signals of the namespace the view is of, our own's where it
// holds several; nil when the view has none.
func (v *View) Host() *ScopeSignals {
	for i := range v.Scopes {
		if v.Scopes[i].Scope.Kind == scope.KindHost {
			return &v.Scopes[i]
		}
	}
	return nil
}

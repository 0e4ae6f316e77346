package measure

import (
	"net/netip"
	"time"

	"github.com/foreshock/foreshock/internal/enum"
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
	NewFlowsNorm
	NewFlowsLow
	// Of a service or of the rest, seen by every look at all states.
	Sockets
	Established
	Accepted
	AcceptedSlope
	Unaccepted
	OldestUnaccepted
	Busy
	CloseWaitAccepted
	CloseWaitUnaccepted
	CloseWaitUnacceptedGrowth
	SynRecv
	SynSent
	FinWait1
	FinWait2
	TimeWait
	LastAck
	Closing
	Retransmitting
	ZeroWindow
	NewFlowsRate
	GoneFlowsRate
	EstablishedShare
	SynSentShare
	CloseWaitShare
	// Of a backend, seen by every look at all states.
	Pending
	PendingLongest
	PendingLate
	LateAfter
	Answering
	HeardAgo
	HeardGapUsual
	HeardByChance
	FailedAfterHeard
	ResetAfterHeard
	Silent
	AnswerNow
	AnswerSlow
	AnswerUsual
	AnswerHigh
	ConnectRetrying
	RetransmitsPerConnectionRate
	RetransmitShare
	EstablishedRecent
	EstablishedMost
	VanishedRate
	VanishedUsual
	FinishedRate
	CloseWaitLingering
	PortsUsed
	PortsLimit
	BalancerUp
	ChecksEvery
	// Of a region, seen by every look at all states.
	Connections
	EstablishedLost
	RetransmittingShare
	PendingLateShare
	CloseWaitTotalShare
	SynSentTotalShare
	CloseWaitTotalHigh
	SynSentTotalHigh
	Destinations
	DestinationsRetransmitting
	DestinationsConnecting
	DestinationsUnanswered
	DestinationsLost
	DestinationsCloseWait
	DestinationsPendingLate
	DestinationsResending
	DestinationsFewer
	DestinationsGone
	// Of one side of a switch, seen by every look at all states.
	SwitchedAgo
	TTLOver
	Failing
	FailingShare
	OldShare
	OldNewShare
	NewAfterTTL
	OlderThanTTL
	Moving
	ArrivalsRate
	ArrivalsExpected
	ArrivalsExpectedError
	ArrivalsMissing
	ResolversAsked
	ResolversStale
	// Of the rest, seen by every look at everything.
	Outgoing
	UnclassifiedShare
	// Of the host, from the counters of the namespace.
	PassiveOpensRate
	ActiveOpensRate
	AttemptFailsRate
	EstabResetsRate
	RetransmittedSegmentsRate
	RetransmissionTimeoutsRate
	ResetsSentRate
	ListenOverflowsRate
	SyncookiesSentRate
	AcceptsRate
	AttemptFailsUsual
	ResetsReceivedRate
	ResetsReceivedUsual
	ActiveOpensUsual
	RetransmittedSegmentsUsual
	AttemptFailedAgo
	ResetReceivedAgo

	NumSignals = int(ResetReceivedAgo) + 1
)

// Unit is what a signal's value counts.
type Unit string

// The units.
const (
	UnitCount     Unit = "count"
	UnitSeconds   Unit = "seconds"
	UnitPerSecond Unit = "per_second"
	UnitShare     Unit = "share" // from 0 to 1, and above where more is sent again than once
)

// Definition says what a signal is.
type Definition struct {
	// Name is the signal's name in the API, in rules and in metrics; it ends
	// in the unit unless it counts things.
	Name string
	Unit Unit
	// Tier is the cheapest tier that sees it.
	Tier tcp.Tier
	// Scopes has the bit 1<<kind for each kind of scope that can have it.
	Scopes uint8
	// Help is one line for a person.
	Help string
}

// Which scopes have a signal.
const (
	ofService  = 1 << scope.KindService
	ofBackend  = 1 << scope.KindBackend
	ofRegion   = 1 << scope.KindRegion
	ofHost     = 1 << scope.KindHost
	ofRest     = 1 << scope.KindRest
	ofAddress  = 1 << scope.KindAddress
	ofPeers    = ofBackend | ofRegion // connections that we began
	ofBoth     = ofService | ofPeers
	ofIncoming = ofService | ofRest // what is accepted
	ofAll      = ofBoth | ofIncoming | ofAddress
)

var definitions = [NumSignals]Definition{
	Listeners:                    {"listeners", UnitCount, tcp.Pulse, ofService, "listening sockets of the service"},
	QueueDepth:                   {"queue_depth", UnitCount, tcp.Pulse, ofService, "connections waiting to be accepted"},
	QueueLimit:                   {"queue_limit", UnitCount, tcp.Pulse, ofService, "how many may wait: the listeners' backlogs"},
	QueueWait:                    {"queue_wait_seconds", UnitSeconds, tcp.Pulse, ofService, "how long a new connection waits to be accepted, at least"},
	ListenDropsRate:              {"listen_drops_per_second", UnitPerSecond, tcp.Pulse, ofService, "segments this service's listeners threw away: lost connections, and with TCP_DEFER_ACCEPT (Apache) the first acknowledgement of each good one"},
	WorkersOccupied:              {"workers_occupied", UnitCount, tcp.Focus, ofService, "workers that hold a connection, or a request where the server is event-driven"},
	WorkersLimit:                 {"workers_limit", UnitCount, tcp.Focus, ofService, "how many workers there are: configured, read from the server's configuration, or learned"},
	WorkersSlope:                 {"workers_slope_per_second", UnitPerSecond, tcp.Focus, ofService, "how fast occupied workers grow, over 60 s"},
	WorkersFullIn:                {"workers_full_in_seconds", UnitSeconds, tcp.Focus, ofService, "when all workers will be occupied, at the growth of the last 60 s"},
	WorkersFullInError:           {"workers_full_in_error_seconds", UnitSeconds, tcp.Focus, ofService, "how far that forecast may be off, either way"},
	WorkersFullInFast:            {"workers_full_in_fast_seconds", UnitSeconds, tcp.Focus, ofService, "when all workers will be occupied, at the growth of the last 15 s"},
	WorkersRise:                  {"workers_rise_seconds", UnitSeconds, tcp.Focus, ofService, "how long ago half as many workers were occupied as now, within 5 min"},
	TurnAwayLimit:                {"turn_away_limit", UnitCount, tcp.Focus, ofService, "how many connections the server holds before it closes new ones at once; only for servers that do"},
	SlowClients:                  {"slow_clients", UnitCount, tcp.Focus, ofService, "accepted connections whose client has taken 10 s or more over its request"},
	CloseWaitLeaked:              {"close_wait_leaked", UnitCount, tcp.Focus, ofBoth, "CLOSE_WAIT that a process has held for 10 s or more"},
	CloseWaitLeakedSlope:         {"close_wait_leaked_slope_per_second", UnitPerSecond, tcp.Focus, ofBoth, "how fast those grow, over 60 s; zero unless beyond chance"},
	DescriptorsUsed:              {"descriptors_used", UnitCount, tcp.Focus, ofService, "open descriptors of the process of the service that is nearest its limit"},
	DescriptorsLimit:             {"descriptors_limit", UnitCount, tcp.Focus, ofService, "how many that process may open"},
	DescriptorsSlope:             {"descriptors_slope_per_second", UnitPerSecond, tcp.Focus, ofService, "how fast its descriptors grow, over 5 min"},
	StuckClosing:                 {"stuck_closing", UnitCount, tcp.Focus, ofBoth, "FIN_WAIT1, LAST_ACK or CLOSING that retransmits, probes, or has lasted 30 s"},
	NewFlowsUsual:                {"new_flows_usual_per_second", UnitPerSecond, tcp.Focus, ofBoth, "the median of new_flows_per_second over the last hour"},
	NewFlowsNorm:                 {"new_flows_norm_per_second", UnitPerSecond, tcp.Focus, ofBoth, "the median of new_flows_per_second at this hour of the week, learned over days"},
	NewFlowsLow:                  {"new_flows_low_per_second", UnitPerSecond, tcp.Focus, ofBoth, "what new_flows_per_second is below only when something is wrong, at this hour of the week, learned over days"},
	Sockets:                      {"sockets", UnitCount, tcp.Focus, ofAll, "sockets of the scope, listeners left out"},
	Established:                  {"established", UnitCount, tcp.Focus, ofAll, "ESTABLISHED"},
	Accepted:                     {"accepted", UnitCount, tcp.Focus, ofAll, "connections a process holds: ESTABLISHED or CLOSE_WAIT with an inode"},
	AcceptedSlope:                {"accepted_slope_per_second", UnitPerSecond, tcp.Focus, ofIncoming, "how fast accepted grows, over 60 s"},
	Unaccepted:                   {"unaccepted", UnitCount, tcp.Focus, ofIncoming, "ESTABLISHED or CLOSE_WAIT that no process has accepted"},
	OldestUnaccepted:             {"oldest_unaccepted_seconds", UnitSeconds, tcp.Focus, ofIncoming, "age of the connection that has waited longest, at least"},
	Busy:                         {"busy", UnitCount, tcp.Focus, ofIncoming, "accepted connections whose client spoke last"},
	CloseWaitAccepted:            {"close_wait_accepted", UnitCount, tcp.Focus, ofAll, "CLOSE_WAIT that a process holds"},
	CloseWaitUnaccepted:          {"close_wait_unaccepted", UnitCount, tcp.Focus, ofIncoming, "CLOSE_WAIT in the accept queue: the client gave up waiting"},
	CloseWaitUnacceptedGrowth:    {"close_wait_unaccepted_growth_per_second", UnitPerSecond, tcp.Focus, ofIncoming, "how fast clients give up in the queue, over 10 s"},
	SynRecv:                      {"syn_recv", UnitCount, tcp.Focus, ofAll, "half-open connections"},
	SynSent:                      {"syn_sent", UnitCount, tcp.Focus, ofAll, "connections we opened that nobody has answered"},
	FinWait1:                     {"fin_wait1", UnitCount, tcp.Focus, ofAll, "FIN_WAIT1"},
	FinWait2:                     {"fin_wait2", UnitCount, tcp.Focus, ofAll, "FIN_WAIT2"},
	TimeWait:                     {"time_wait", UnitCount, tcp.Focus, ofAll, "TIME_WAIT"},
	LastAck:                      {"last_ack", UnitCount, tcp.Focus, ofAll, "LAST_ACK"},
	Closing:                      {"closing", UnitCount, tcp.Focus, ofAll, "CLOSING"},
	Retransmitting:               {"retransmitting", UnitCount, tcp.Focus, ofAll, "sockets in an unrecovered retransmission time-out"},
	ZeroWindow:                   {"zero_window", UnitCount, tcp.Focus, ofAll, "sockets whose peer has stopped reading"},
	NewFlowsRate:                 {"new_flows_per_second", UnitPerSecond, tcp.Focus, ofAll, "connections first seen, estimated from a sample when there are many"},
	GoneFlowsRate:                {"gone_flows_per_second", UnitPerSecond, tcp.Focus, ofAll, "connections last seen, estimated likewise"},
	EstablishedShare:             {"established_share", UnitShare, tcp.Focus, ofBoth, "ESTABLISHED, of the sockets that are neither LISTEN nor TIME_WAIT"},
	SynSentShare:                 {"syn_sent_share", UnitShare, tcp.Focus, ofBoth, "SYN_SENT, of the same"},
	CloseWaitShare:               {"close_wait_share", UnitShare, tcp.Focus, ofBoth, "CLOSE_WAIT, of the same"},
	Pending:                      {"pending", UnitCount, tcp.Focus, ofPeers, "connections on which the backend owes an answer: we spoke last"},
	PendingLongest:               {"pending_longest_seconds", UnitSeconds, tcp.Focus, ofPeers, "how long the oldest of them has waited, at least"},
	PendingLate:                  {"pending_late", UnitCount, tcp.Focus, ofPeers, "connections pending for longer than late_after_seconds"},
	LateAfter:                    {"late_after_seconds", UnitSeconds, tcp.Focus, ofPeers, "from when an answer is late: 1 s, or five times the usual"},
	Answering:                    {"answering", UnitCount, tcp.Focus, ofPeers, "connections on which data came since the last look"},
	HeardAgo:                     {"heard_ago_seconds", UnitSeconds, tcp.Focus, ofPeers, "time since anything came from the backend: data, or the end of a connection"},
	HeardGapUsual:                {"heard_gap_usual_seconds", UnitSeconds, tcp.Focus, ofPeers, "the longest time without anything from it in the last 2 min"},
	HeardByChance:                {"heard_by_chance", UnitShare, tcp.Focus, ofPeers, "the share of its signs in the last 2 min that a look met by chance, on connections that end with their answer"},
	FailedAfterHeard:             {"failed_after_heard_seconds", UnitSeconds, tcp.Focus, ofPeers, "how long after the last sign of the backend an attempt to connect, to whomever, failed first"},
	ResetAfterHeard:              {"reset_after_heard_seconds", UnitSeconds, tcp.Focus, ofPeers, "how long after the last sign of the backend the other end of a connection, whoever's, reset it first"},
	Silent:                       {"silent_seconds", UnitSeconds, tcp.Focus, ofPeers, "for how long it has owed answers, or the handshake, and nothing came"},
	AnswerNow:                    {"answer_now_seconds", UnitSeconds, tcp.Focus, ofPeers, "the median time of an answer over the last 10 s"},
	AnswerSlow:                   {"answer_slow_seconds", UnitSeconds, tcp.Focus, ofPeers, "the 99th percentile of the time of an answer over the last 10 s"},
	AnswerUsual:                  {"answer_usual_seconds", UnitSeconds, tcp.Focus, ofPeers, "its usual slowest answers: the median over the last hour of each minute's 99th percentile"},
	AnswerHigh:                   {"answer_high_seconds", UnitSeconds, tcp.Focus, ofPeers, "what answer_slow_seconds is above only when something is wrong, at this hour of the week, learned over days"},
	ConnectRetrying:              {"connect_retrying", UnitCount, tcp.Focus, ofPeers, "SYN_SENT whose SYN was sent again"},
	RetransmitsPerConnectionRate: {"retransmits_per_connection_per_second", UnitPerSecond, tcp.Focus, ofPeers, "segments sent again, for each connection, over 5 s"},
	RetransmitShare:              {"retransmit_share", UnitShare, tcp.Focus, ofPeers, "segments sent again, of those with data, over 5 s"},
	EstablishedRecent:            {"established_recent", UnitCount, tcp.Focus, ofPeers, "the most ESTABLISHED at once in the last 5 s"},
	EstablishedMost:              {"established_most", UnitCount, tcp.Focus, ofPeers, "the most ESTABLISHED at once in the last hour, the last 30 s left out"},
	VanishedRate:                 {"vanished_per_second", UnitPerSecond, tcp.Focus, ofPeers, "connections gone without a trace: reset, or closed by the backend first"},
	VanishedUsual:                {"vanished_usual_per_second", UnitPerSecond, tcp.Focus, ofPeers, "the median of vanished_per_second over the last 10 min, the last 30 s left out"},
	FinishedRate:                 {"finished_per_second", UnitPerSecond, tcp.Focus, ofPeers, "connections that both ends have closed, ours first"},
	CloseWaitLingering:           {"close_wait_lingering", UnitCount, tcp.Focus, ofPeers, "CLOSE_WAIT that a process has held for 5 s or more"},
	PortsUsed:                    {"ports_used", UnitCount, tcp.Focus, ofBackend, "local ports in use toward the backend: TIME_WAIT too, unless its port may be taken again"},
	PortsLimit:                   {"ports_limit", UnitCount, tcp.Focus, ofBackend, "local ports there are: net.ipv4.ip_local_port_range less the reserved"},
	BalancerUp:                   {"balancer_up", UnitCount, tcp.Focus, ofBackend, "1 while its balancer calls it up, 0 while it does not"},
	ChecksEvery:                  {"checks_every_seconds", UnitSeconds, tcp.Focus, ofBackend, "the period of its balancer's health checks, where nothing else is asked of it"},
	Connections:                  {"connections", UnitCount, tcp.Focus, ofRegion | ofAddress, "connections in any state but TIME_WAIT: what the shares are of"},
	EstablishedLost:              {"established_lost_share", UnitShare, tcp.Focus, ofRegion, "of the most ESTABLISHED at once in the last 10 s, those that are gone"},
	RetransmittingShare:          {"retransmitting_share", UnitShare, tcp.Focus, ofRegion, "sockets in an unrecovered retransmission time-out"},
	PendingLateShare:             {"pending_late_share", UnitShare, tcp.Focus, ofRegion, "connections pending for longer than late_after_seconds"},
	CloseWaitTotalShare:          {"close_wait_total_share", UnitShare, tcp.Focus, ofRegion, "CLOSE_WAIT that a process holds, of all sockets, TIME_WAIT among them"},
	SynSentTotalShare:            {"syn_sent_total_share", UnitShare, tcp.Focus, ofRegion, "SYN_SENT, of the same"},
	CloseWaitTotalHigh:           {"close_wait_total_high_share", UnitShare, tcp.Focus, ofRegion, "150 % of the 95th percentile of hourly samples of close_wait_total_share over weeks: what an article calls too much"},
	SynSentTotalHigh:             {"syn_sent_total_high_share", UnitShare, tcp.Focus, ofRegion, "the same of syn_sent_total_share"},
	Destinations:                 {"destinations", UnitCount, tcp.Focus, ofRegion, "addresses with their port that have a connection, 64 at most"},
	DestinationsRetransmitting:   {"destinations_retransmitting", UnitCount, tcp.Focus, ofRegion, "destinations to which a tenth of the connections retransmits; like those below of the 16 largest"},
	DestinationsConnecting:       {"destinations_connecting", UnitCount, tcp.Focus, ofRegion, "destinations of which a tenth of the connections is SYN_SENT"},
	DestinationsUnanswered:       {"destinations_unanswered", UnitCount, tcp.Focus, ofRegion, "destinations to which anything is sent again"},
	DestinationsLost:             {"destinations_lost", UnitCount, tcp.Focus, ofRegion, "destinations to which something has been sent again for 1.5 s, and nothing has come"},
	DestinationsCloseWait:        {"destinations_close_wait", UnitCount, tcp.Focus, ofRegion, "destinations that have closed a tenth of the connections, and we have not"},
	DestinationsPendingLate:      {"destinations_pending_late", UnitCount, tcp.Focus, ofRegion, "destinations that have owed an answer for a second on a tenth of the connections"},
	DestinationsResending:        {"destinations_resending", UnitCount, tcp.Focus, ofRegion, "destinations to which 3 % of the segments, and two at least, were sent again, over 5 to 10 s, and that answer"},
	DestinationsFewer:            {"destinations_fewer", UnitCount, tcp.Focus, ofRegion, "destinations that have lost a tenth of their connections, over 5 to 10 s"},
	DestinationsGone:             {"destinations_gone", UnitCount, tcp.Focus, ofRegion, "destinations that have lost all of them, over 5 to 10 s"},
	SwitchedAgo:                  {"switched_seconds", UnitSeconds, tcp.Focus, ofAddress, "time since the switch"},
	TTLOver:                      {"ttl_over_seconds", UnitSeconds, tcp.Focus, ofAddress, "time since the answers before the switch are not good any more: since the switch and their TTL"},
	Failing:                      {"failing", UnitCount, tcp.Focus, ofAddress, "SYN_SENT, and ESTABLISHED that retransmits: the most at once in the last 5 s"},
	FailingShare:                 {"failing_share", UnitShare, tcp.Focus, ofAddress, "of the connections, those that fail"},
	OldShare:                     {"old_share", UnitShare, tcp.Focus, ofAddress, "ESTABLISHED to the old addresses, of those to old and new ones"},
	OldNewShare:                  {"old_new_share", UnitShare, tcp.Focus, ofAddress, "of the connections begun in the last 10 s, those to the old addresses"},
	NewAfterTTL:                  {"new_after_ttl", UnitCount, tcp.Focus, ofAddress, "connections begun in the last 30 s, and after the answers before the switch were not good any more"},
	OlderThanTTL:                 {"older_than_ttl", UnitCount, tcp.Focus, ofAddress, "ESTABLISHED that began before that"},
	Moving:                       {"moving", UnitCount, tcp.Focus, ofAddress, "connections on which bytes moved within a minute"},
	ArrivalsRate:                 {"arrivals_per_second", UnitPerSecond, tcp.Focus, ofAddress, "connections begun to old and new addresses together, over 30 s"},
	ArrivalsExpected:             {"arrivals_expected_per_second", UnitPerSecond, tcp.Focus, ofAddress, "what that was before the switch, or is at this hour of the week where that was learned"},
	ArrivalsExpectedError:        {"arrivals_expected_error_per_second", UnitPerSecond, tcp.Focus, ofAddress, "how far that may be off, either way: two standard deviations"},
	ArrivalsMissing:              {"arrivals_missing_share", UnitShare, tcp.Focus, ofAddress, "of the expected arrivals, those that did not come"},
	ResolversAsked:               {"resolvers_asked", UnitCount, tcp.Focus, ofAddress, "resolvers of this host that answered for the name"},
	ResolversStale:               {"resolvers_stale", UnitCount, tcp.Focus, ofAddress, "those of them that answer with an old address though it is not good any more"},
	Outgoing:                     {"outgoing", UnitCount, tcp.Full, ofRest, "connections that this host began, loopback left out, where there are regions"},
	UnclassifiedShare:            {"unclassified_share", UnitShare, tcp.Full, ofRest, "of those, the ones in no region"},
	AttemptFailsUsual:            {"attempt_fails_usual_per_second", UnitPerSecond, tcp.Pulse, ofHost, "the median of attempt_fails_per_second over the last 10 min, the last 30 s left out"},
	RetransmittedSegmentsUsual:   {"retransmitted_segments_usual_per_second", UnitPerSecond, tcp.Pulse, ofHost, "the median of retransmitted_segments_per_second over the last 10 min, the last 30 s left out"},
	AttemptFailedAgo:             {"attempt_failed_ago_seconds", UnitSeconds, tcp.Pulse, ofHost, "time since an attempt to connect failed"},
	ResetReceivedAgo:             {"reset_received_ago_seconds", UnitSeconds, tcp.Pulse, ofHost, "time since the other end reset a connection"},
	ActiveOpensUsual:             {"active_opens_usual_per_second", UnitPerSecond, tcp.Pulse, ofHost, "the median of active_opens_per_second over the last 10 min, the last 30 s left out"},
	ResetsReceivedRate:           {"resets_received_per_second", UnitPerSecond, tcp.Pulse, ofHost, "connections that the other end reset, at least: EstabResets less OutRsts"},
	ResetsReceivedUsual:          {"resets_received_usual_per_second", UnitPerSecond, tcp.Pulse, ofHost, "the median of resets_received_per_second over the last 10 min, the last 30 s left out"},
	PassiveOpensRate:             {"passive_opens_per_second", UnitPerSecond, tcp.Pulse, ofHost, "connections the kernel completed for our listeners"},
	ActiveOpensRate:              {"active_opens_per_second", UnitPerSecond, tcp.Pulse, ofHost, "connections we opened"},
	AttemptFailsRate:             {"attempt_fails_per_second", UnitPerSecond, tcp.Pulse, ofHost, "attempts that were refused or timed out"},
	EstabResetsRate:              {"estab_resets_per_second", UnitPerSecond, tcp.Pulse, ofHost, "established connections that were reset"},
	RetransmittedSegmentsRate:    {"retransmitted_segments_per_second", UnitPerSecond, tcp.Pulse, ofHost, "segments sent again"},
	RetransmissionTimeoutsRate:   {"retransmission_timeouts_per_second", UnitPerSecond, tcp.Pulse, ofHost, "retransmission timers that fired"},
	ResetsSentRate:               {"resets_sent_per_second", UnitPerSecond, tcp.Pulse, ofHost, "resets we sent"},
	ListenOverflowsRate:          {"listen_overflows_per_second", UnitPerSecond, tcp.Pulse, ofHost, "connections lost to a full accept queue, all listeners"},
	SyncookiesSentRate:           {"syncookies_sent_per_second", UnitPerSecond, tcp.Pulse, ofHost, "SYN cookies sent: a half-open queue is full"},
	AcceptsRate:                  {"accepts_per_second", UnitPerSecond, tcp.Pulse, ofHost, "connections taken from all accept queues"},
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
// belong to services, answers to backends, the namespace's counters to the
// host.
func (s Signal) AppliesTo(kind scope.Kind) bool { return definitions[s].Scopes&(1<<kind) != 0 }

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
	NoTraffic                    // nothing is asked of it, so nothing shows
)

var validityNames = [...]string{"never_seen", "known", "stale", "no_listener", "no_ability", "not_enough", "not_filling", "no_limit", "not_such", "contradicted", "no_traffic"}

var validityWords = [...]string{"never seen", "known", "stale", "no listener", "not visible to this reader", "not enough looks yet", "not filling", "limit not known", "not that kind of server", "contradicted by what is occupied", "no traffic"}

// Words says why, for a person.
func (v Validity) Words() string { return enum.Name(v, "validity", validityWords[:]) }

// String names it as the API does: "stale", "no_listener".
func (v Validity) String() string { return enum.Name(v, "validity", validityNames[:]) }

// Reading is a signal's value at an instant. Unknown is a value of its own:
// never zero, never healthy.
type Reading struct {
	Value float64
	// Samples is the number of sockets, events or looks that Value rests on.
	Samples int
	Seen    time.Time
	// Good is for how long after Seen it may be relied on: 2.5 intervals of the
	// looks that see it.
	Good     time.Duration
	Validity Validity
}

// Until is when the reading grows stale, unless it is seen again before.
func (r Reading) Until() time.Time { return r.Seen.Add(r.Good) }

// Get returns the value, and whether it is known.
func (r Reading) Get() (value float64, known bool) { return r.Value, r.Validity == Known }

// StaleAfter is how many intervals of its tier a reading stays good.
const StaleAfter = 2.5

// ScopeSignals are all readings of one scope. Signals that do not apply to
// the kind of scope are NeverSeen.
type ScopeSignals struct {
	Scope scope.ID
	// Group ties a backend or a region to its siblings, and the two sides of a
	// switch; empty for any other scope.
	Group string
	// Region is the name of the region that a backend is in; empty for any
	// other scope, and where it is in none.
	Region string
	// Behind is what is behind a backend that is a service address; empty for
	// any other scope, and where that is not known.
	Behind []netip.AddrPort
	// Fresh is true when this step saw something of the scope, or marked a
	// reading of it as stale.
	Fresh    bool
	Readings [NumSignals]Reading
	// Examples are sockets worth showing: those that failures leave behind
	// first. They and Prefixes are good until the next Step.
	Examples []tcp.Socket
	// Prefixes are the clients that hold most workers, the largest first.
	Prefixes []PrefixHeld
	// Norms are what was learned of its signals over days, for this hour; never
	// changed in place.
	Norms []Norm
	// Address is what was at both ends of one side of a switch; zero for any other
	// scope.
	Address AddressNow
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

package measure

import (
	"net/netip"
	"time"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// Tally is what one look says about one scope: the cut of the pipeline.
// Everything later stages know about sockets is in it, so it can be recorded
// and replayed. Counts are exact; ages, new and gone flows come from a sample
// of the connections when a scope has more than 4,096.
type Tally struct {
	Scope scope.ID
	// Group ties a backend or a region to its siblings, and the two sides of a
	// switch; empty for any other scope.
	Group string
	// Region is the name of the region that a backend's address is in; empty
	// where it is in none.
	Region string
	// States counts sockets per state, for the states the look asked for.
	States [tcp.NumStates]uint32
	// Accepted and Unaccepted are ESTABLISHED and CLOSE_WAIT with and without
	// an inode; the CloseWait ones are their part in CLOSE_WAIT.
	Accepted, Unaccepted                   uint32
	AcceptedCloseWait, UnacceptedCloseWait uint32
	// Busy: the client spoke last. Pending: we did. Both need tcp_info.
	Busy, Pending              uint32
	Retransmitting, ZeroWindow uint32
	// SlowClients counts accepted connections whose client takes slowAfter or
	// longer over its request, or does not read the answer.
	SlowClients uint32
	// Leaked counts CLOSE_WAIT that a process has held for leakedAfter.
	Leaked uint32
	// StuckClosing counts FIN_WAIT1, LAST_ACK and CLOSING that retransmit,
	// probe, or have lasted stuckAfter.
	StuckClosing uint32
	// Queue is the state of the accept queues.
	Queue Queue
	// OldestUnaccepted is how long the first in the queue has waited, at least.
	OldestUnaccepted time.Duration
	// PendingFor is time since we last sent on a pending connection.
	PendingFor Histogram
	Flows      Flows
	Peer       Peer
	Capacity   Capacity
	// Behind is what is behind a backend that is a service address.
	Behind []netip.AddrPort
	// Prefixes are the clients that hold most workers, the largest first, at
	// most 5; each holds at least a twentieth of them.
	Prefixes []PrefixHeld
	// Examples holds up to 20 sockets that show a failure, the worst first.
	Examples []tcp.Socket
	// Destinations are those of a region, the largest first, at most 16 of the
	// 64 that are told apart; of a judged look at all states only.
	Destinations []Destination
	// DestinationsSeen counts those with a connection, at most 64;
	// DestinationsOver the connections to further ones.
	DestinationsSeen, DestinationsOver uint32
	// Outgoing counts, of the rest alone and where there are regions, the
	// connections that we began to addresses beyond loopback, whichever scope
	// they are in, LISTEN and TIME_WAIT left out; Unclassified those of them in
	// no region.
	Outgoing, Unclassified uint32
	// Address is what is told of one side of a switch; zero for any other scope.
	Address Address
}

// Address is what a look says of the connections at one side of a switch.
type Address struct {
	// Since is how long before the look the switch was, negative while it is only
	// expected; TTL for how long the answers before it were good, zero when that
	// is not known.
	Since, TTL time.Duration
	// Asked are the connections that we began to it, Served those that came to
	// it: its address is one of this host. They are whole in looks at all states.
	Asked, Served End
	// Partial: what went to the old addresses may go to ones that are on neither
	// side.
	Partial bool
}

// End counts connections at one of their ends. What is new and what moved is
// of looks at all states, estimated from a sample where there are many.
type End struct {
	// Connections are those in any state but LISTEN and TIME_WAIT, without those
	// that are abandoned: see tcp.Socket.Abandoned.
	Connections, Established uint32
	// Connecting are those in SYN_SENT; Retransmitting those ESTABLISHED that
	// send something again.
	Connecting, Retransmitting uint32
	// Moved are those on which bytes moved since the look before; Bytes how
	// many, both ways.
	Moved uint32
	Bytes uint64
	// New were not there at the look before; NewAfterTTL is their part that
	// came when the answers before the switch were not good any more.
	New, NewAfterTTL uint32
	// Older are those ESTABLISHED that began before that, and those of which
	// nobody saw when they began that have been there for 30 s.
	Older uint32
	// Moving are those on which bytes moved within a minute.
	Moving uint32
}

// Answered is what the resolvers of a host say of a switch's name.
type Answered struct {
	// Scope is the switch's old side.
	Scope scope.ID
	// Asked are those that answered, Stale those of them whose answer has an old
	// address though the answers before the switch are not good any more.
	Asked, Stale uint32
	// Seen is when the last of them was asked, on the clock of the looks; it
	// stays good for Good.
	Seen time.Time
	Good time.Duration
}

// Destination is what the sockets of a region say of one address and port.
// Counts are of connections, TIME_WAIT left out.
type Destination struct {
	Remote      netip.AddrPort
	Connections uint32
	Established uint32
	// Retransmitting counts those that send something again, SYNs among it;
	// Connecting those in SYN_SENT.
	Retransmitting, Connecting uint32
	// PendingLate counts those that have waited for an answer for a second or
	// longer.
	PendingLate uint32
	CloseWait   uint32
	// Answering counts those on which data came since then, or that finished.
	Answering uint32
	// Resent is the segments sent again since the last judged look at all
	// states, Sent those with data.
	Resent, Sent uint32
}

// Capacity is what a service has to serve with, as far as it is known.
type Capacity struct {
	Held scope.Held
	// Workers is the limit; 0 when it is not known. TurnsAway: beyond it
	// connections are accepted and closed at once.
	Workers   uint32
	TurnsAway bool
	// DescriptorsUsed and DescriptorsLimit are of the process nearest its
	// limit; zero when they could not be read.
	DescriptorsUsed, DescriptorsLimit uint32
	// Ports is how many local ports there are toward a backend; zero when it
	// could not be read.
	Ports uint32
	// TimeWaitReused: a connection in TIME_WAIT toward the backend gives its
	// port to a new one after a second.
	TimeWaitReused bool
}

// Queue adds up the accept queues of a scope's listeners.
type Queue struct {
	Listeners uint32
	// Depth is connections waiting, Limit the backlogs; a queue is full when it
	// holds one more than its limit.
	Depth, Limit uint64
	// Drops adds up the listeners' own drop counts; Set tells one set of
	// listeners from another, so that drops of different ones are never
	// subtracted.
	Drops, Set uint64
}

// Flows counts connections that came and went since the last look at all
// states. Known is false for the first such look.
type Flows struct {
	Known     bool
	New, Gone uint32
	// Since is the time between the two looks. One tracked flow stands for
	// Scale connections.
	Since time.Duration
	Scale uint32
}

// Peer is what the sockets of a backend or of a region say of the other end. Whatever came
// "since" came since the last look at all states; nothing did when Flows is not
// known.
type Peer struct {
	// Answering counts the connections on which data came since then, Answers
	// says how long after our last data: the time of a request, where it is
	// sent at once and the answer too.
	Answering uint32
	Answers   Histogram
	// HeardAgo is how long before the look the last data came, or a connection
	// finished; meaningless where none did.
	HeardAgo time.Duration
	// ByChance counts those Answering that this look saw first: of connections
	// that end with their answer a look meets a few.
	ByChance uint32
	// LongestPending is since when the oldest pending connection waits; less
	// where segments were sent again, as the kernel then forgets when they were
	// sent first (tcp_event_data_sent, net/ipv4/tcp_output.c).
	LongestPending time.Duration
	// ConnectRetrying counts SYN_SENT whose SYN was sent again.
	ConnectRetrying uint32
	// Resent is the segments sent again since then, Sent those with data.
	Resent, Sent uint32
	// Vanished counts connections that were ESTABLISHED at the last look and
	// are gone without a trace: reset, or closed by the peer first. Finished
	// counts those that came to TIME_WAIT: closed by us first, and by the peer.
	// Closed counts those that came to LAST_ACK or CLOSING: the peer's FIN has
	// come, and ours is not acknowledged yet.
	Vanished, Finished, Closed uint32
	// TimeWaitFree counts TIME_WAIT whose port a new connection may take.
	TimeWaitFree uint32
	// Lingering counts CLOSE_WAIT that a process has held for lingersAfter.
	Lingering uint32
}

// Tallies is all that one step of Measure takes: what one look says about every
// scope it covered, and what was learned by other ways since the step before.
type Tallies struct {
	Look tcp.Look
	// Interval is how often the schedule makes this kind of look now; readings
	// older than 2.5 of it are stale.
	Interval time.Duration
	Scopes   []Tally
	// Opinions are what balancers have said since the step before.
	Opinions []Opinion
	// Norms are those learned since the step before; each takes the place of
	// the one that its scope and signal had.
	Norms []Norm
	// Answers are what resolvers have said since the step before.
	Answers []Answered
}

// Opinion is what a load balancer itself says of one backend.
type Opinion struct {
	Scope scope.ID
	Up    bool
	// Seen is when it said so, on the clock of the looks; it stays good for Good.
	Seen time.Time
	Good time.Duration
}

// Step is all that one step of one namespace's measure and judge takes, live or
// played again.
type Step struct {
	// Namespace is its name as scopes have it; empty for the agent's own.
	Namespace string
	// At is the time on the pipeline's clock, which never steps; Offset is what
	// to add for the wall clock, as far as it was known then.
	At     time.Time
	Offset time.Duration
	// Began is when the run of the agent began that took it, on the wall clock:
	// another run knew nothing of what was before. Zero is not known.
	Began time.Time
	// Tallies is good until the next step is asked for.
	Tallies Tallies
	// Left: the namespace has ended, and nothing was looked at. What was
	// measured there is forgotten; what is open there goes on to its end.
	Left bool
}

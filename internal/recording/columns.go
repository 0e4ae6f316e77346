package recording

import (
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/tcp"
)

// A tally, the header of a look and a socket are rows of numbers to the codec.
// The functions of this file name each number once, for both ways: the order
// is the format (docs/RECORDING.md, held to it by a test). What is not a number,
// or a list, is not among them.
//
// Numbers are added at the end, with the next segmentVersion: earlier segments
// have none there, and none is zero. One added in the middle, or taken out, ends
// the reading of all that was recorded before.
const (
	tallyColumns    = 105
	tallyDurations  = 4
	lookColumns     = 15 + tcp.NumCounters
	socketColumns   = 21
	socketDurations = 4
)

// columns is a row of numbers, and which way they go.
type columns struct {
	values []uint64
	at     int
	// load puts the numbers into the fields; otherwise they are taken from them.
	load bool
	// lost is not zero when a number did not fit into its field.
	lost uint64
}

func number[T ~uint8 | ~uint16 | ~uint32 | ~uint64](x *columns, p *T) {
	v := &x.values[x.at]
	x.at++
	if x.load {
		*p = T(*v)
		x.lost |= *v ^ uint64(*p)
	} else {
		*v = uint64(*p)
	}
}

func signed[T ~int | ~int64](x *columns, p *T) {
	v := &x.values[x.at]
	x.at++
	if x.load {
		*p = T(int64(*v))
		x.lost |= *v ^ uint64(*p)
	} else {
		*v = uint64(*p)
	}
}

func truth(x *columns, p *bool) {
	v := &x.values[x.at]
	x.at++
	if x.load {
		*p = *v != 0
		x.lost |= *v >> 1
		return
	}
	*v = 0
	if *p {
		*v = 1
	}
}

func (x *columns) histogram(h *measure.Histogram) {
	for i := range h {
		number(x, &h[i])
	}
}

// tally names the numbers of a tally: the durations, then what changes at most
// looks, then the rest.
func (x *columns) tally(y *measure.Tally) {
	signed(x, &y.Flows.Since)
	signed(x, &y.Peer.HeardAgo)
	signed(x, &y.Peer.LongestPending)
	signed(x, &y.OldestUnaccepted)

	number(x, &y.Accepted)
	number(x, &y.Busy)
	number(x, &y.Pending)
	number(x, &y.Flows.New)
	number(x, &y.Flows.Gone)
	number(x, &y.Peer.Answering)
	number(x, &y.Peer.ByChance)
	number(x, &y.Peer.Sent)
	number(x, &y.Peer.Finished)
	number(x, &y.Peer.TimeWaitFree)
	number(x, &y.Queue.Depth)
	number(x, &y.SlowClients)
	x.histogram(&y.Peer.Answers)
	x.histogram(&y.PendingFor)
	for i := range y.States {
		number(x, &y.States[i])
	}

	number(x, &y.Unaccepted)
	number(x, &y.AcceptedCloseWait)
	number(x, &y.UnacceptedCloseWait)
	number(x, &y.Retransmitting)
	number(x, &y.ZeroWindow)
	number(x, &y.Leaked)
	number(x, &y.StuckClosing)
	number(x, &y.Queue.Listeners)
	number(x, &y.Queue.Limit)
	number(x, &y.Queue.Drops)
	number(x, &y.Queue.Set)
	truth(x, &y.Flows.Known)
	number(x, &y.Flows.Scale)
	number(x, &y.Peer.ConnectRetrying)
	number(x, &y.Peer.Resent)
	number(x, &y.Peer.Vanished)
	number(x, &y.Peer.Closed)
	number(x, &y.Peer.Lingering)
	number(x, &y.Capacity.Held)
	number(x, &y.Capacity.Workers)
	truth(x, &y.Capacity.TurnsAway)
	number(x, &y.Capacity.DescriptorsUsed)
	number(x, &y.Capacity.DescriptorsLimit)
	number(x, &y.Capacity.Ports)
	truth(x, &y.Capacity.TimeWaitReused)
	number(x, &y.DestinationsSeen)
	number(x, &y.DestinationsOver)
	number(x, &y.Outgoing)
	number(x, &y.Unclassified)
	signed(x, &y.Address.Since)
	signed(x, &y.Address.TTL)
	x.end(&y.Address.Asked)
	x.end(&y.Address.Served)
	truth(x, &y.Address.Partial)
}

func (x *columns) end(e *measure.End) {
	number(x, &e.Connections)
	number(x, &e.Established)
	number(x, &e.Connecting)
	number(x, &e.Retransmitting)
	number(x, &e.Moved)
	number(x, &e.Bytes)
	number(x, &e.New)
	number(x, &e.NewAfterTTL)
	number(x, &e.Older)
	number(x, &e.Moving)
}

// look names the numbers of a look's header and of its tallies' interval. The
// time it began is told from at, which mostly is the same.
func (x *columns) look(l *tcp.Look, interval *time.Duration, at time.Time) {
	seconds, nanoseconds := l.Begin.Unix()-at.Unix(), int64(l.Begin.Nanosecond()-at.Nanosecond())
	signed(x, &seconds)
	signed(x, &nanoseconds)
	if x.load {
		l.Begin = time.Unix(at.Unix()+seconds, int64(at.Nanosecond())+nanoseconds).UTC()
	}
	signed(x, &l.Duration)
	signed(x, &l.CPU)
	signed(x, &l.Sockets)
	signed(x, &l.Bytes)
	number(x, &l.Namespace)
	number(x, &l.Request.Tier)
	number(x, &l.Request.States)
	truth(x, &l.Request.Info)
	number(x, &l.Abilities)
	number(x, &l.Completeness)
	signed(x, &l.Malformed)
	signed(x, interval)
	x.counters(&l.Counters)
}

// counters names which counters were seen, as a mask, and their values.
func (x *columns) counters(c *tcp.Counters) {
	seen := &x.values[x.at]
	x.at++
	if !x.load {
		*seen = 0
	}
	for n := range tcp.Counter(tcp.NumCounters) {
		v := &x.values[x.at]
		x.at++
		if x.load {
			if *seen&(1<<n) != 0 {
				c.Set(n, *v)
			}
			continue
		}
		value, ok := c.Get(n)
		*v = value
		if ok {
			*seen |= 1 << n
		}
	}
	if x.load {
		x.lost |= *seen >> tcp.NumCounters
	}
}

// socket names the numbers of a socket, but for its ends.
func (x *columns) socket(s *tcp.Socket) {
	signed(x, &s.TimerExpires)
	signed(x, &s.Info.LastDataSent)
	signed(x, &s.Info.LastDataReceived)
	signed(x, &s.Info.LastAckReceived)

	signed(x, &s.Info.RTT)
	number(x, &s.Cookie)
	number(x, &s.Inode)
	number(x, &s.CgroupID)
	number(x, &s.ReceiveQueue)
	number(x, &s.SendQueue)
	number(x, &s.Drops)
	number(x, &s.State)
	number(x, &s.Timer)
	number(x, &s.Retransmits)
	truth(x, &s.V6Only)
	number(x, &s.Has)
	number(x, &s.Info.BytesAcked)
	number(x, &s.Info.BytesReceived)
	number(x, &s.Info.TotalRetransmits)
	number(x, &s.Info.DataSegsIn)
	number(x, &s.Info.DataSegsOut)
}

// destinationNumbers are the numbers of a destination, in the order of the
// format.
func destinationNumbers(d *measure.Destination) [9]*uint32 {
	return [...]*uint32{&d.Connections, &d.Established, &d.Retransmitting, &d.Connecting, &d.PendingLate, &d.CloseWait, &d.Answering, &d.Resent, &d.Sent}
}

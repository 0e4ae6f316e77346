package measure

import (
	"time"

	"github.com/foreshock/foreshock/internal/tcp"
)

// addPeer counts what a socket says of the other end, to which we are the
// client.
func (c *counting) addPeer(s *tcp.Socket, seen sighting, t *Tallier) {
	p := &c.tally.Peer
	c.pending.add(s, seen, c.flows.countScale(), t.at)
	if seen.known && s.State == tcp.CloseWait && s.Inode != 0 && seen.stateAge >= lingersAfter {
		p.Lingering += c.flows.scale()
	}
	switch s.State {
	case tcp.SynSent:
		if s.Retransmits > 0 {
			p.ConnectRetrying++
			c.example(s, scoreConnecting+uint64(s.Retransmits))
		}
		return
	case tcp.Established, tcp.CloseWait:
	default:
		return
	}
	if s.Has&tcp.HasInfo == 0 {
		return
	}
	if s.Pending() {
		if s.Info.LastDataSent > p.LongestPending {
			p.LongestPending = s.Info.LastDataSent
		}
		if s.Info.LastDataSent >= time.Second {
			c.example(s, scorePending+uint64(s.Info.LastDataSent/time.Millisecond))
		}
	}
	if came(s, c.since(t.at)) {
		heard := s.Info.LastDataReceived
		if p.Answering == 0 || heard < p.HeardAgo {
			p.HeardAgo = heard
		}
		p.Answering++
		if seen.new {
			p.ByChance++
		}
		if s.Info.LastDataSent >= heard && s.Info.BytesAcked > 1 {
			p.Answers.Add(s.Info.LastDataSent-heard, 1)
		}
	}
}

// since is how long ago the last judged look at all states was, at the time of
// another; zero where there was none.
func (c *counting) since(at time.Time) time.Duration {
	if c.flows.looked.IsZero() {
		return 0
	}
	return at.Sub(c.flows.looked)
}

// came: data arrived on an open connection in that time.
func came(s *tcp.Socket, since time.Duration) bool {
	return (s.State == tcp.Established || s.State == tcp.CloseWait) && s.Has&tcp.HasInfo != 0 && s.Info.BytesReceived > 0 && s.Info.LastDataReceived <= since
}

// pending is what happened since the last judged look at all states. Every look
// adds to it, also one at the odd states alone and one that is interrupted, as
// the flows move on with each; only a judged look at all states hands it on.
type pending struct {
	arrived, finished, closed, resent, sent uint32
	ended                                   time.Time // when the last of the finished came to TIME_WAIT
}

// add takes a socket of a backend; scale is how many it stands for, at when the
// look began.
func (d *pending) add(s *tcp.Socket, seen sighting, scale uint32, at time.Time) {
	if !onlyFIN(s) {
		d.resent += seen.resent * scale
	}
	d.sent += seen.sent * scale
	if seen.finished {
		d.finished += scale
		d.ended = later(d.ended, at.Add(-timeWaitAge(s)))
	}
	if seen.turned && (s.State == tcp.LastAck || s.State == tcp.Closing) {
		d.closed += scale
	}
}

// handOn puts it into the tally of a look that began at at, and begins anew.
// known is false when there was no look before to count from.
func (d *pending) handOn(y *Tally, at time.Time, known bool) {
	if known {
		p := &y.Peer
		y.Flows.New = d.arrived
		if ago := max(0, at.Sub(d.ended)); d.finished > 0 && (p.Answering == 0 || ago < p.HeardAgo) {
			p.HeardAgo = ago
		}
		p.Finished, p.Closed, p.Resent, p.Sent = d.finished, d.closed, d.resent, d.sent
	}
	*d = pending{}
}

// timeWaitLength is how long TIME_WAIT lasts: TCP_TIMEWAIT_LEN,
// include/net/tcp.h. A FIN that comes again begins it anew
// (tcp_timewait_state_process, net/ipv4/tcp_minisocks.c).
const timeWaitLength = time.Minute

// timeWaitAge is how long ago a socket in TIME_WAIT came to it, by the time
// that is left; zero where that is not known.
func timeWaitAge(s *tcp.Socket) time.Duration {
	if s.Timer != tcp.TimerTimeWait {
		return 0
	}
	return max(0, timeWaitLength-s.TimerExpires)
}

// onlyFIN: all that is outstanding is our FIN, which takes one number of the
// sequence. That nobody answers it says nothing of the way that data takes.
func onlyFIN(s *tcp.Socket) bool {
	switch s.State {
	case tcp.FinWait1, tcp.LastAck, tcp.Closing:
		return s.SendQueue <= 1
	}
	return false
}

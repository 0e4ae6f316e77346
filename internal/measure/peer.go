package measure

import (
	"time"

	"github.com/foreshock/foreshock/internal/tcp"
)

// addPeer counts what a socket says of the other end, to which we are the
// client.
func (c *counting) addPeer(s *tcp.Socket, seen sighting, t *Tallier) {
	p := &c.tally.Peer
	if seen.known {
		scale := c.flows.scale()
		if !onlyFIN(s) {
			p.Resent += seen.resent * scale
		}
		p.Sent += seen.sent * scale
		if seen.finished {
			p.heard(timeWaitAge(s))
			p.Finished += scale
		}
		if seen.turned && (s.State == tcp.LastAck || s.State == tcp.Closing) {
			p.Closed += scale
		}
		if s.State == tcp.CloseWait && s.Inode != 0 && seen.stateAge >= lingersAfter {
			p.Lingering += scale
		}
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
	since := time.Duration(0)
	if !c.flows.looked.IsZero() {
		since = t.at.Sub(c.flows.looked)
	}
	if heard := s.Info.LastDataReceived; s.Info.BytesReceived > 0 && heard <= since {
		p.heard(heard)
		p.Answering++
		if seen.new {
			p.ByChance++
		}
		if s.Info.LastDataSent >= heard && s.Info.BytesAcked > 1 {
			p.Answers.add(s.Info.LastDataSent-heard, 1)
		}
	}
}

// heard takes a sign of the backend before it is counted.
func (p *Peer) heard(ago time.Duration) {
	if p.Answering+p.Finished == 0 || ago < p.HeardAgo {
		p.HeardAgo = ago
	}
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

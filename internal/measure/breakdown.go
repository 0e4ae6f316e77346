package measure

import (
	"cmp"
	"slices"

	"github.com/foreshock/foreshock/internal/tcp"
)

// Counts is what one look says about a group of sockets.
type Counts struct {
	// Sockets is all rows of the group, listeners included.
	Sockets int
	States  [tcp.NumStates]int
	// Accepted and Unaccepted are ESTABLISHED and CLOSE_WAIT with and without
	// a process.
	Accepted, Unaccepted, UnacceptedCloseWait int
	// Busy: we owe an answer; Pending: the peer does. Both are seen with
	// tcp_info only.
	Busy, Pending              int
	Retransmitting, ZeroWindow int
	// QueueDepth and QueueLimit add up the group's listeners.
	QueueDepth, QueueLimit uint64
}

// Add counts one socket.
func (c *Counts) Add(s *tcp.Socket) {
	c.Sockets++
	if int(s.State) < tcp.NumStates {
		c.States[s.State]++
	}
	switch s.State {
	case tcp.Listen:
		c.QueueDepth += uint64(s.ReceiveQueue)
		c.QueueLimit += uint64(s.SendQueue)
		return
	case tcp.Established, tcp.CloseWait:
		if s.Inode != 0 {
			c.Accepted++
		} else {
			c.Unaccepted++
			if s.State == tcp.CloseWait {
				c.UnacceptedCloseWait++
			}
		}
	}
	if s.Busy() {
		c.Busy++
	}
	if s.Pending() {
		c.Pending++
	}
	if s.Retransmitting() {
		c.Retransmitting++
	}
	if s.ZeroWindow() {
		c.ZeroWindow++
	}
}

// merge adds what other counted.
func (c *Counts) merge(other *Counts) {
	for i, n := range other.States {
		c.States[i] += n
	}
	c.Sockets += other.Sockets
	c.Accepted += other.Accepted
	c.Unaccepted += other.Unaccepted
	c.UnacceptedCloseWait += other.UnacceptedCloseWait
	c.Busy += other.Busy
	c.Pending += other.Pending
	c.Retransmitting += other.Retransmitting
	c.ZeroWindow += other.ZeroWindow
	c.QueueDepth += other.QueueDepth
	c.QueueLimit += other.QueueLimit
}

// Connections is the sockets that shares are taken of: those that are neither
// listeners nor TIME_WAIT, which only says how many have closed lately.
func (c *Counts) Connections() int {
	return c.Sockets - c.States[tcp.Listen] - c.States[tcp.TimeWait]
}

// Breakdown counts the sockets of looks by a key. It keeps at most a given
// number of keys; what comes later under others is counted in Other. It is not
// safe for concurrent use.
type Breakdown[K comparable] struct {
	rows map[K]*Counts
	most int
	// Other counts the sockets of keys beyond the bound, and Total all.
	Other, Total Counts
}

// NewBreakdown returns a Breakdown of at most most keys.
func NewBreakdown[K comparable](most int) *Breakdown[K] {
	return &Breakdown[K]{rows: make(map[K]*Counts), most: most}
}

// Add counts one socket under key.
func (b *Breakdown[K]) Add(key K, s *tcp.Socket) {
	b.Total.Add(s)
	b.row(key).Add(s)
}

// Touch makes a row for key even when no socket comes under it.
func (b *Breakdown[K]) Touch(key K) { b.row(key) }

func (b *Breakdown[K]) row(key K) *Counts {
	c := b.rows[key]
	if c == nil {
		if len(b.rows) >= b.most {
			return &b.Other
		}
		c = new(Counts)
		b.rows[key] = c
	}
	return c
}

// Row is one group.
type Row[K comparable] struct {
	Key K
	Counts
}

// Rows returns the top groups by sockets, all of them when top is zero, ties in
// the order of compare; what all others add up to, Other included; and how many
// groups were kept, shown or not.
func (b *Breakdown[K]) Rows(top int, compare func(a, b K) int) (rows []Row[K], rest Counts, groups int) {
	rows = make([]Row[K], 0, len(b.rows))
	for key, c := range b.rows {
		rows = append(rows, Row[K]{key, *c})
	}
	slices.SortFunc(rows, func(x, y Row[K]) int {
		return cmp.Or(cmp.Compare(y.Sockets, x.Sockets), compare(x.Key, y.Key))
	})
	rest = b.Other
	groups = len(rows)
	if top > 0 && len(rows) > top {
		for i := range rows[top:] {
			rest.merge(&rows[top+i].Counts)
		}
		rows = rows[:top]
	}
	return rows, rest, groups
}

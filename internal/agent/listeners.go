package agent

import "github.com/foreshock/foreshock/internal/tcp"

// listenerSet holds the listeners of the last pulse and tells when they change.
type listenerSet struct {
	rows  []tcp.Socket
	depth uint64 // of their accept queues together
	sum   uint64
	known uint64 // the sum that discovery has seen
}

func (l *listenerSet) begin() { l.rows, l.depth, l.sum = l.rows[:0], 0, 0 }

func (l *listenerSet) add(batch []tcp.Socket) {
	for i := range batch {
		s := &batch[i]
		l.rows = append(l.rows, *s)
		l.depth += uint64(s.ReceiveQueue)
		// A sum of products, so that order does not matter and no two
		// listeners cancel out.
		a := s.Local.Addr().As16()
		h := uint64(s.Local.Port())*0x9e3779b97f4a7c15 ^ s.Inode
		for _, b := range a {
			h = h*0x100000001b3 ^ uint64(b)
		}
		l.sum += h*h | 1
	}
}

func (l *listenerSet) changed() bool { return l.sum != l.known }
func (l *listenerSet) accept()       { l.known = l.sum }

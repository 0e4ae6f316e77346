package agent

import "github.com/foreshock/foreshock/internal/tcp"

// listenerSet holds the listeners of the last whole pulse and tells when they
// change. What a pulse under way, or one that failed, has seen is nobody's
// business: half of the listeners would end the services of the other half.
type listenerSet struct {
	listened
	gathering listened
	known     uint64 // the sum that discovery has seen
}

// listened is the listeners that one pulse saw.
type listened struct {
	rows  []tcp.Socket
	depth uint64 // of their accept queues together
	sum   uint64
}

func (l *listenerSet) begin() { l.gathering = listened{rows: l.gathering.rows[:0]} }

func (l *listenerSet) add(batch []tcp.Socket) {
	g := &l.gathering
	for i := range batch {
		s := &batch[i]
		g.rows = append(g.rows, *s)
		g.depth += uint64(s.ReceiveQueue)
		// A sum of products, so that order does not matter and no two
		// listeners cancel out.
		a := s.Local.Addr().As16()
		h := uint64(s.Local.Port())*0x9e3779b97f4a7c15 ^ s.Inode
		for _, b := range a {
			h = h*0x100000001b3 ^ uint64(b)
		}
		g.sum += h*h | 1
	}
}

// whole says that the pulse since begin has seen all there are.
func (l *listenerSet) whole() { l.listened, l.gathering = l.gathering, l.listened }

func (l *listenerSet) changed() bool { return l.sum != l.known }
func (l *listenerSet) accept()       { l.known = l.sum }

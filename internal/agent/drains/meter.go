package drains

import (
	"time"

	"github.com/foreshock/foreshock/internal/drain"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// What is said of connections begun and of bytes is over window; SYN_SENT is
// the most at once in pulse, as it comes in pulses with the clients' time-outs.
const (
	window    = 10 * time.Second
	pulse     = 5 * time.Second
	seconds10 = int(window / time.Second)
)

// meter has what the looks of all namespaces say of one switch. The zero value
// has seen nothing.
type meter struct {
	ends map[endKey]*end
	last time.Time // of the last look
}

// endKey is one end of one side in one namespace.
type endKey struct {
	namespace string
	side      scope.Side
	served    bool
}

// end is what is known of it.
type end struct {
	now    measure.End
	at     time.Time // when that was
	begun  time.Time // of the first look
	second [seconds10]bucket
}

// bucket is one second.
type bucket struct {
	at         int64 // unix
	began      uint64
	bytes      uint64
	connecting uint32
}

// take takes what a look at all states says of a side.
func (m *meter) take(at time.Time, namespace string, side scope.Side, a *measure.Address) {
	m.last = at
	m.end(at, endKey{namespace, side, false}, &a.Asked)
	m.end(at, endKey{namespace, side, true}, &a.Served)
}

func (m *meter) end(at time.Time, key endKey, is *measure.End) {
	e := m.ends[key]
	if e == nil {
		if *is == (measure.End{}) {
			return
		}
		if m.ends == nil {
			m.ends = map[endKey]*end{}
		}
		e = &end{begun: at}
		m.ends[key] = e
	}
	e.now, e.at = *is, at
	b := &e.second[at.Unix()%int64(len(e.second))]
	if b.at != at.Unix() {
		*b = bucket{at: at.Unix()}
	}
	b.began += uint64(is.New)
	b.bytes += is.Bytes
	b.connecting = max(b.connecting, is.Connecting)
}

// leave forgets a namespace that is gone.
func (m *meter) leave(namespace string) {
	for key := range m.ends {
		if key.namespace == namespace {
			delete(m.ends, key)
		}
	}
}

// point is all ends together, without a time.
func (m *meter) point(now time.Time) (p drain.Point) {
	for key, e := range m.ends {
		of := &p.Asked
		if key.served {
			of = &p.Served
		}
		c := &of.Old
		if key.side == scope.NewSide {
			c = &of.New
		}
		e.addTo(c, now)
	}
	return p
}

func (e *end) addTo(c *drain.Count, now time.Time) {
	c.Connections += int(e.now.Connections)
	c.Established += int(e.now.Established)
	c.Retransmitting += int(e.now.Retransmitting)
	c.Moving += int(e.now.Moved)
	connecting := e.now.Connecting
	var began, bytes uint64
	for _, b := range e.second {
		ago := now.Unix() - b.at
		if ago < 0 || ago >= int64(seconds10) {
			continue
		}
		began, bytes = began+b.began, bytes+b.bytes
		if ago < int64(pulse/time.Second) {
			connecting = max(connecting, b.connecting)
		}
	}
	c.Connecting += int(connecting)
	over := min(max(now.Sub(e.begun), time.Second), window).Seconds()
	c.NewPerSecond += float64(began) / over
	c.BytesPerSecond += float64(bytes) / over
}

package measure

import "time"

// moments remembers the last readings of a counter that found it moved: 8 s of
// them where it moves at each pulse. What moved it happened between the reading
// before and that one.
type moments struct {
	ring [32]moment
	next int
}

type moment struct{ after, until time.Time }

func (m *moments) add(after, until time.Time) {
	m.ring[m.next] = moment{after, until}
	m.next = (m.next + 1) % len(m.ring)
}

// last is when the latest was seen; zero before the first.
func (m *moments) last() time.Time {
	return m.ring[(m.next+len(m.ring)-1)%len(m.ring)].until
}

// since returns the first moment that was seen after t; zero without one.
func (m *moments) since(t time.Time) moment {
	if !m.last().After(t) {
		return moment{}
	}
	for i := range m.ring {
		if o := m.ring[(m.next+i)%len(m.ring)]; o.until.After(t) {
			return o
		}
	}
	return moment{}
}

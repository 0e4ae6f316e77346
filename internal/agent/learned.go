package agent

import (
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/history"
)

// mostRemembered bounds what is learned without a history, in bytes: about a
// day and a half of 100 scopes in use, and four weeks of five.
const mostRemembered = 2 << 20

// memory keeps what was learned for as long as the agent runs. Minutes are not
// kept: the learner has those that it needs.
type memory struct {
	hours []unmade // by start
	bytes int
	out   []history.LeftOut
}

func (*memory) PutMinute(time.Time, []byte) {}

func (*memory) Minutes(_, _ time.Time, _ func(time.Time, []byte) error) error { return nil }

func (m *memory) PutHour(start time.Time, data []byte) {
	at, found := slices.BinarySearchFunc(m.hours, start, func(h unmade, start time.Time) int { return h.start.Compare(start) })
	if found {
		m.bytes -= len(m.hours[at].data)
		m.hours[at].data = data
	} else {
		m.hours = slices.Insert(m.hours, at, unmade{start, data})
	}
	m.bytes += len(data)
	for m.bytes > mostRemembered && len(m.hours) > 1 {
		m.bytes -= len(m.hours[0].data)
		m.hours = slices.Delete(m.hours, 0, 1)
	}
}

func (m *memory) Hours(from, to time.Time, wanted func(time.Time) bool, each func(time.Time, []byte) error) error {
	for _, h := range slices.Clone(m.hours) { // each may put one
		if h.start.Before(from) || !h.start.Before(to) || !wanted(h.start) {
			continue
		}
		if err := each(h.start, h.data); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) has(start time.Time) bool {
	return slices.ContainsFunc(m.hours, func(h unmade) bool { return h.start.Equal(start) })
}

func (m *memory) PutLeftOut(x history.LeftOut) { m.out = append(m.out, x) }

func (m *memory) LeftOuts() ([]history.LeftOut, error) { return slices.Clone(m.out), nil }

func (*memory) Trouble(time.Time) ([]incidentSpan, error) { return nil, nil }

func (*memory) Rest() {}

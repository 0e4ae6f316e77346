package agent

import (
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/measure/baseline"
)

const (
	// habitSpan is how many days back an incident makes the same one a habit.
	habitSpan = 8
	// habitMargin is how much earlier or later it may come on another day.
	habitMargin = 15 * time.Minute
	// mostMissed bounds how many spans of traffic that was missing are remembered;
	// the oldest go first.
	mostMissed = 1024
)

// missed are the spans for which arrivals were called missing. That is held
// against what was learned, so what comes at the same time of another day too
// must be learned: else who serves only at night, or whose traffic was halved for
// good, is called out each day for ever.
type missed struct {
	spans []incidentSpan // by when they were first told of
}

// note takes the span as it is now.
func (m *missed) note(s incidentSpan) {
	if at := slices.IndexFunc(m.spans, func(x incidentSpan) bool { return x.id == s.id }); at >= 0 {
		m.spans[at] = s
		return
	}
	if len(m.spans) == mostMissed {
		m.spans = slices.Delete(m.spans, 0, 1)
	}
	m.spans = append(m.spans, s)
}

// forget drops what ended more than habitSpan days before now.
func (m *missed) forget(now time.Time) {
	m.spans = slices.DeleteFunc(m.spans, func(x incidentSpan) bool { return x.To.Before(now.AddDate(0, 0, -habitSpan-1)) })
}

// strange appends to out what of the spans came at no such time of a day before.
func (m *missed) strange(out []baseline.Interval) []baseline.Interval {
	for i := range m.spans {
		parts := []baseline.Interval{m.spans[i].Interval}
		for j := range m.spans {
			if x := &m.spans[j]; i != j && x.Scope == m.spans[i].Scope {
				for day := 1; day <= habitSpan; day++ {
					after := time.Duration(day) * 24 * time.Hour
					parts = without(parts, x.From.Add(after-habitMargin), x.To.Add(after+habitMargin))
				}
			}
		}
		out = append(out, parts...)
	}
	return out
}

// without cuts [from, to) out of the intervals.
func without(parts []baseline.Interval, from, to time.Time) []baseline.Interval {
	var out []baseline.Interval
	for _, p := range parts {
		if !p.From.Before(to) || !p.To.After(from) {
			out = append(out, p)
			continue
		}
		if before := p; before.From.Before(from) {
			before.To = from
			out = append(out, before)
		}
		if after := p; after.To.After(to) {
			after.From = to
			out = append(out, after)
		}
	}
	return out
}

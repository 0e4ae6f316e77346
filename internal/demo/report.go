package demo

import (
	"fmt"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
)

// reading is a signal's value, and whether it is known.
func (m Moment) reading(sig measure.Signal) (float64, bool) {
	if m.Signals == nil {
		return 0, false
	}
	return m.Signals.Get(sig).Get()
}

// Line is a moment in one line of at most 100 columns.
func (m Moment) Line() string {
	occupied, known := m.reading(measure.WorkersOccupied)
	workers := "workers unknown"
	if known {
		full := min(Workers, max(0, int(occupied)))
		workers = fmt.Sprintf("[%s%s] %.0f of %d", strings.Repeat("#", full), strings.Repeat(".", Workers-full), occupied, Workers)
	}
	line := fmt.Sprintf("%5.1f s  %s", m.At.Seconds(), workers)
	if depth, ok := m.reading(measure.QueueDepth); ok {
		line += fmt.Sprintf("  queue %.0f", depth)
	}
	if wait, ok := m.reading(measure.QueueWait); ok {
		line += fmt.Sprintf("  wait %.1f s", wait)
	}
	if in, ok := m.reading(measure.WorkersFullIn); ok && in >= 1 {
		line += fmt.Sprintf("  full in %.0f s", in)
		if e, ok := m.reading(measure.WorkersFullInError); ok {
			line += fmt.Sprintf(" (± %.0f s)", e)
		}
	}
	if slow, ok := m.reading(measure.SlowClients); ok && slow > 0 {
		line += fmt.Sprintf("  slow clients %.0f", slow)
	}
	if leaked, ok := m.reading(measure.CloseWaitLeaked); ok && leaked > 0 {
		line += fmt.Sprintf("  never closed %.0f", leaked)
	}
	t := m.Truth
	return line + fmt.Sprintf("  requests %d ok %d slow %d failed", t.OK, t.Slow, t.Failed)
}

var shapes = map[judge.Severity]string{judge.Watch: "○", judge.Warning: "▲", judge.Critical: "◆"}

// Lines is the news for a person: the sentence, then the first advice.
func (s Seen) Lines() []string {
	lines := []string{fmt.Sprintf("%5.1f s  %s %s: %s. %s", s.At.Seconds(), shapes[s.Severity], s.Severity, s.Cause.Words(), s.Sentence)}
	for _, a := range s.Advice[:min(1, len(s.Advice))] {
		lines = append(lines, "         "+a)
	}
	for _, more := range []string{s.PatternEvidence, s.Response} {
		if more != "" {
			lines = append(lines, "         "+more)
		}
	}
	for _, p := range s.Prefixes {
		lines = append(lines, fmt.Sprintf("         %s holds %d", p.Prefix, p.Held))
	}
	return lines
}

// Table is the summary for a person.
func (s *Summary) Table() string {
	var b strings.Builder
	row := func(what string, at time.Duration, ok bool) {
		when := "did not come"
		if ok {
			when = fmt.Sprintf("%.1f s", at.Seconds())
		}
		fmt.Fprintf(&b, "%-22s %s\n", what, when)
	}
	forecast, hasForecast := s.forecast()
	warning, hasWarning := s.firstOf(judge.Warning)
	critical, hasCritical := s.firstOf(judge.Critical)
	row("forecast", forecast, hasForecast)
	row("warning", warning, hasWarning)
	row("critical", critical, hasCritical)
	row("first slow request", s.Truth.FirstSlow, s.Truth.FirstSlow > 0)
	row("first failed request", s.Truth.FirstFailed, s.Truth.FirstFailed > 0)
	lead := func(what string, at time.Duration, ok bool) {
		switch before := (s.Truth.FirstFailed - at).Seconds(); {
		case !ok || s.Truth.FirstFailed == 0:
		case before >= 0:
			fmt.Fprintf(&b, "The %s came %.1f s before the first failed request.\n", what, before)
		default:
			fmt.Fprintf(&b, "The %s came %.1f s after the first failed request.\n", what, -before)
		}
	}
	lead("forecast", forecast, hasForecast)
	lead("warning", warning, hasWarning)
	lead("critical finding", critical, hasCritical)
	return b.String()
}

// JSON is the summary as `--output json` prints it; null is "did not happen".
func (s *Summary) JSON() any {
	type event struct {
		Cause    string  `json:"cause"`
		Severity string  `json:"severity"`
		At       float64 `json:"at_seconds"`
		Sentence string  `json:"sentence"`
	}
	at := func(d time.Duration, ok bool) *float64 {
		if !ok {
			return nil
		}
		v := d.Seconds()
		return &v
	}
	events := []event{}
	for _, e := range s.Seen {
		events = append(events, event{e.Cause.String(), e.Severity.String(), e.At.Seconds(), e.Sentence})
	}
	return struct {
		Scenario    string   `json:"scenario"`
		Lasted      float64  `json:"lasted_seconds"`
		Forecast    *float64 `json:"forecast_at_seconds"`
		Warning     *float64 `json:"warning_at_seconds"`
		Critical    *float64 `json:"critical_at_seconds"`
		FirstSlow   *float64 `json:"first_slow_at_seconds"`
		FirstFailed *float64 `json:"first_failed_at_seconds"`
		OK          int      `json:"requests_ok"`
		Slow        int      `json:"requests_slow"`
		Failed      int      `json:"requests_failed"`
		Events      []event  `json:"events"`
	}{
		s.Scenario.String(), s.Lasted.Seconds(), at(s.forecast()), at(s.firstOf(judge.Warning)), at(s.firstOf(judge.Critical)),
		at(s.Truth.FirstSlow, s.Truth.FirstSlow > 0), at(s.Truth.FirstFailed, s.Truth.FirstFailed > 0),
		s.Truth.OK, s.Truth.Slow, s.Truth.Failed, events,
	}
}

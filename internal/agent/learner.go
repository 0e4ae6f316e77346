package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/measure/baseline"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/silence"
)

const (
	// leftMargin is left out before and after an incident.
	leftMargin = 5 * time.Minute
	// mostLeft is the most of one incident that is left out: what lasts longer is
	// no fault but a new habit.
	mostLeft = 24 * time.Hour
	// recentAfter is how old a minute must be to count before its hour is made.
	recentAfter = 5 * time.Minute
	// learnsOften: with less than a day behind it the learner learns each
	// learnsEvery, and then each hour.
	learnsOften = 24
	learnsEvery = 5 * time.Minute
	// leastSeen is for how many minutes of an hour a signal must have been seen to
	// be kept: hosts where containers come and go would keep the names of all.
	leastSeen = 5
	// mostUnmadeFor is how old minutes may be whose hour the run that took them
	// did not come to make: an agent that stood still for longer begins anew.
	mostUnmadeFor = 48 * time.Hour
	// mostUnmade bounds the minutes whose hours are not made, in bytes; the oldest
	// go first.
	mostUnmade = 4 << 20
)

// learnedStore is where minutes and hours are kept: the history, or memory for
// as long as the agent runs. Times are the wall clock's, UTC; data is opaque.
type learnedStore interface {
	PutMinute(start time.Time, data []byte)
	// Minutes and Hours call each with those that begin in [from, to), in order;
	// data is good until each returns.
	Minutes(from, to time.Time, each func(start time.Time, data []byte) error) error
	// PutHour takes the place of an hour that is there.
	PutHour(start time.Time, data []byte)
	// Hours calls each with those that are wanted.
	Hours(from, to time.Time, wanted func(start time.Time) bool, each func(start time.Time, data []byte) error) error
	PutLeftOut(history.LeftOut)
	LeftOuts() ([]history.LeftOut, error)
	// Trouble is the incidents that are not to be learned and lasted beyond a
	// time, of earlier runs too.
	Trouble(since time.Time) ([]incidentSpan, error)
	// Rest lets go of what reading took. It is called after each lesson and each
	// question.
	Rest()
}

// learner learns what is usual from finished minutes. It has no goroutine and no
// clock; it reads and writes its store, so the loop never calls it.
type learner struct {
	config baseline.Config
	store  learnedStore
	log    *slog.Logger

	minutes []unmade // of hours that are not made yet, by start
	bytes   int
	out     []history.LeftOut
	quiet   []silence.Silence            // what they cover is not learned
	trouble map[uint64]baseline.Interval // of incidents, by number, but for those missed has
	missed  missed
	begun   bool                     // what is stored of earlier runs was taken up
	made    time.Time                // the end of the last hour that was made
	hours   int                      // how many are stored, about
	learned time.Time                // when norms were made last
	norms   map[normKey]measure.Norm // as handed on
	failed  string                   // what the log has said of the store
}

type unmade struct {
	start time.Time
	data  []byte
}

type normKey struct {
	scope  scope.ID
	signal measure.Signal
}

func learnConfig(c config.Baseline) baseline.Config {
	return baseline.Config{Learn: c.Learn, Quantile: c.Quantile, Factor: c.Factor, Location: time.Local}
}

func newLearner(c baseline.Config, store learnedStore, log *slog.Logger) *learner {
	return &learner{config: c, store: store, log: log, trouble: make(map[uint64]baseline.Interval), norms: make(map[normKey]measure.Norm)}
}

// begin takes up what is stored from earlier runs, and returns what is usual.
// Where that cannot be read it is to be called again; what was taken meanwhile
// stays.
func (l *learner) begin(now time.Time) []measure.Norm {
	if err := l.remember(now); err != nil {
		l.say(err)
		return nil
	}
	l.begun = true
	l.make(now)
	return l.renew(now)
}

// remember reads all that begin takes up before it changes anything.
func (l *learner) remember(now time.Time) error {
	out, err := l.store.LeftOuts()
	if err != nil {
		return fmt.Errorf("read what was left out: %w", err)
	}
	hours, made := 0, now.Add(-mostUnmadeFor).Truncate(time.Hour)
	err = l.whole(l.store.Hours(now.Add(-l.config.Learn), now, func(start time.Time) bool {
		hours++
		if end := start.Add(time.Hour); end.After(made) {
			made = end
		}
		return false
	}, nil))
	if err != nil {
		return fmt.Errorf("read the hours learned: %w", err)
	}
	until := now
	if len(l.minutes) > 0 {
		until = l.minutes[0].start // those that follow are here
	}
	var minutes []unmade
	err = l.whole(l.store.Minutes(made, until, func(start time.Time, data []byte) error {
		minutes = append(minutes, unmade{start, slices.Clone(data)})
		return nil
	}))
	if err != nil {
		return fmt.Errorf("read the last minutes: %w", err)
	}
	trouble, err := l.store.Trouble(now.AddDate(0, 0, -habitSpan-1))
	if err != nil {
		return fmt.Errorf("read the incidents of the last days: %w", err)
	}
	taken := l.minutes
	l.out, l.hours, l.made, l.minutes, l.bytes = out, hours, made, nil, 0
	for _, m := range slices.Concat(minutes, taken) {
		l.keep(m)
	}
	known := l.trouble // of this run, and later
	l.trouble = make(map[uint64]baseline.Interval, len(known))
	before := l.missed.spans
	l.missed.spans = nil
	l.note(trouble)
	l.note(before)
	maps.Copy(l.trouble, known)
	return nil
}

// whole takes an error of reading that left out what is damaged: it is said, and
// the rest goes on.
func (l *learner) whole(err error) error {
	if bad, ok := errors.AsType[*history.UnreadableError](err); ok {
		l.say(bad)
		return nil
	}
	return err
}

// take takes a minute that is over. One of an hour that was made already, as
// after the clock was set back, is stored and not learned.
func (l *learner) take(now time.Time, minute unmade, incidents []incidentSpan) {
	l.store.PutMinute(minute.start, minute.data)
	if l.made.After(now) { // it was a year ahead
		l.made = now.Truncate(time.Hour).Add(-2 * time.Hour)
	}
	if !minute.start.Before(l.made) {
		l.keep(minute)
	}
	l.note(incidents)
	l.missed.forget(now)
	maps.DeleteFunc(l.trouble, func(_ uint64, x baseline.Interval) bool { return x.To.Before(l.made) })
}

// note takes what is to be left out of incidents, as they are now.
func (l *learner) note(incidents []incidentSpan) {
	for _, s := range incidents {
		if s.missing {
			l.missed.note(s)
		} else {
			l.trouble[s.id] = s.Interval
		}
	}
}

func (l *learner) keep(m unmade) {
	l.minutes = append(l.minutes, m)
	l.bytes += len(m.data)
	for l.bytes > mostUnmade {
		l.bytes -= len(l.minutes[0].data)
		l.minutes = slices.Delete(l.minutes, 0, 1)
	}
}

// intervals is all that is left out of the minutes in hand.
func (l *learner) intervals() []baseline.Interval {
	out := l.missed.strange(slices.Collect(maps.Values(l.trouble)))
	for i := range l.out {
		if x, ok := intervalOf(&l.out[i]); ok {
			out = append(out, x)
		}
	}
	for i := range l.quiet {
		out = append(out, l.silenced(&l.quiet[i])...)
	}
	return out
}

// silenced is what a silence leaves out of the minutes in hand: the scopes that
// it covers by name, at its times.
func (l *learner) silenced(s *silence.Silence) []baseline.Interval {
	some := func(id scope.ID) bool { return s.Match.Covers(id.String(), id.Namespace) }
	if len(s.Weekly) == 0 {
		return []baseline.Interval{{From: s.From, To: s.Until, Some: some}}
	}
	var out []baseline.Interval
	for i := range l.minutes {
		if start := l.minutes[i].start; s.Active(start) {
			out = append(out, baseline.Interval{From: start, To: start.Add(time.Minute), Some: some})
		}
	}
	return out
}

// intervalOf is a span that somebody left out by hand, as it is learned around. It
// is none where the scope is of a kind that this program does not know.
func intervalOf(x *history.LeftOut) (baseline.Interval, bool) {
	out := baseline.Interval{From: x.From, To: x.To}
	if x.Scope == "" {
		return out, true
	}
	id, ok := scope.Parse(x.Scope)
	out.Scope = id
	return out, ok
}

// each decodes those of the minutes in hand that begin in [from, to).
func (l *learner) each(from, to time.Time) func(func(*baseline.Minute) bool) {
	return func(yield func(*baseline.Minute) bool) {
		for i := range l.minutes {
			if m := &l.minutes[i]; m.start.Before(from) || !m.start.Before(to) {
				continue
			}
			m, err := baseline.DecodeMinute(l.minutes[i].data)
			if err != nil {
				l.say(err)
				continue
			}
			if !yield(m) {
				return
			}
		}
	}
}

// make makes the hours that ended an hour ago: by then it is known what of them
// was wrong.
func (l *learner) make(now time.Time) {
	until := now.Truncate(time.Hour).Add(-time.Hour)
	for len(l.minutes) > 0 {
		start := slices.MinFunc(l.minutes, func(a, b unmade) int { return a.start.Compare(b.start) }).start.Truncate(time.Hour)
		end := start.Add(time.Hour)
		if end.After(until) {
			break
		}
		hour := baseline.HourOf(start, l.each(start, end), l.intervals()).Filter(func(row *baseline.HourRow) bool {
			return row.Minutes >= leastSeen || row.Signal.Sampled() == measure.Hourly
		})
		if len(hour.Rows) > 0 {
			l.store.PutHour(start, baseline.AppendHour(nil, hour))
			l.hours++
		}
		l.minutes = slices.DeleteFunc(l.minutes, func(m unmade) bool { return m.start.Before(end) })
	}
	// Those of a clock that was ahead would wait for their time to come.
	l.minutes = slices.DeleteFunc(l.minutes, func(m unmade) bool { return m.start.After(now.Add(time.Hour)) })
	l.bytes = 0
	for i := range l.minutes {
		l.bytes += len(l.minutes[i].data)
	}
	if until.After(l.made) {
		l.made = until
	}
}

// learn makes the hours that are due and, where the hour of the week is another,
// returns the norms that changed; one that is gone rests on no minutes.
func (l *learner) learn(now time.Time) []measure.Norm {
	l.make(now)
	often := l.hours < learnsOften && now.Sub(l.learned) >= learnsEvery
	if now.Truncate(time.Hour).Equal(l.learned.Truncate(time.Hour)) && !often {
		return nil
	}
	return l.renew(now)
}

// renew makes all norms anew. Where what is stored cannot be read they stay as
// they are until the next time.
func (l *learner) renew(now time.Time) []measure.Norm {
	l.learned = now
	failed := false
	stored := func(wanted func(time.Time) bool, keep func(scope.ID, measure.Signal) bool, yield func(*baseline.Hour) bool) {
		failed = !l.walk(now.Add(-l.config.Learn), now, wanted, keep, yield) || failed
	}
	norms := baseline.Learn(l.config, now, l.config.Hours(now), stored, l.recent(now))
	if failed {
		return nil
	}
	gone := l.norms
	l.norms = make(map[normKey]measure.Norm, len(norms))
	var changed []measure.Norm
	for _, n := range norms {
		k := normKey{n.Scope, n.Signal}
		if gone[k] != n {
			changed = append(changed, n)
		}
		delete(gone, k)
		l.norms[k] = n
	}
	for k := range gone {
		changed = append(changed, measure.Norm{Scope: k.scope, Signal: k.signal})
	}
	return changed
}

// stored gives the hours that are stored. One that cannot be read is left out.
func (l *learner) stored(now time.Time) baseline.Source {
	return func(wanted func(time.Time) bool, keep func(scope.ID, measure.Signal) bool, yield func(*baseline.Hour) bool) {
		l.walk(now.Add(-l.config.Learn), now, wanted, keep, yield)
	}
}

// between walks the whole hours that begin in [from, to).
func (l *learner) between(from, to time.Time, yield func(*baseline.Hour) bool) (read bool) {
	return l.walk(from, to, func(time.Time) bool { return true }, nil, yield)
}

var errEnough = errors.New("enough")

// walk reports whether they could be read.
func (l *learner) walk(from, to time.Time, wanted func(time.Time) bool, keep func(scope.ID, measure.Signal) bool, yield func(*baseline.Hour) bool) bool {
	err := l.store.Hours(from, to, wanted, func(_ time.Time, data []byte) error {
		h, err := baseline.DecodeRows(data, keep)
		if err != nil {
			l.say(err)
			return nil
		}
		if !yield(h) {
			return errEnough
		}
		return nil
	})
	if err := l.whole(err); err != nil && !errors.Is(err, errEnough) {
		l.say(fmt.Errorf("read the hours learned: %w", err))
		return false
	}
	return true
}

// recent is what was seen since the last hour that was made.
func (l *learner) recent(now time.Time) *baseline.Hour {
	return baseline.HourOf(now.Truncate(time.Hour), l.each(time.Time{}, now.Add(-recentAfter)), l.intervals())
}

// say logs what went wrong with the store, once for as long as it is the same.
func (l *learner) say(err error) {
	if text := err.Error(); text != l.failed {
		l.failed = text
		l.log.Warn("baselines: learning goes on with what there is", "error", text)
	}
}

// incidentSpan is when one incident lasted, on the wall clock.
type incidentSpan struct {
	id uint64
	baseline.Interval
	missing bool // arrivals were
}

// spansOf are the incidents that are not to be learned: of warning and above, and
// not of users' own rules, which may be true all day.
func spansOf(now time.Time, offset time.Duration, incidents []judge.Incident) []incidentSpan {
	var out []incidentSpan
	for i := range incidents {
		inc := &incidents[i]
		if inc.Peak < judge.Warning || inc.Finding.Cause == judge.UserRule {
			continue
		}
		end := inc.ResolvedAt
		if end.IsZero() {
			end = now
		}
		out = append(out, spanOf(inc.ID, inc.Finding.Scope, inc.SuspectedAt.Add(offset), end.Add(offset), inc.Finding.Cause == judge.TrafficMissing))
	}
	return out
}

// spanOf is what is left out for an incident that lasted from one time on the
// wall clock to another.
func spanOf(id uint64, of scope.ID, from, to time.Time, missing bool) incidentSpan {
	if last := from.Add(mostLeft); to.After(last) {
		to = last
	}
	return incidentSpan{id, baseline.Interval{From: from.Add(-leftMargin), To: to.Add(leftMargin), Scope: of, Siblings: true}, missing}
}

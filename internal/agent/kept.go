package agent

import (
	"maps"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/notify"
	"github.com/foreshock/foreshock/internal/recording"
)

// What others lay down for the keeper.

// entry is one thing to be written.
type entry struct {
	incident uint64 // its number, where it is one: a later state takes its place
	// segment is what it holds, where that is raw tallies: they go first where
	// there is no room, and can be read while they wait.
	segment *recording.Segment
	bulk    bool // it can wait for others
	// memories: it has what planners remember, and they can say it again.
	memories bool
	size     int // in bytes
	write    func(*history.Store) error

	// Of notices alone.

	// accepts: it has notices that wait for it to be written; over, that all of
	// them only say what is over; since is when it was laid down.
	accepts, over bool
	since         time.Time
	// ends is the notice whose end it is.
	ends notify.Ref
	// done, unless nil, is called by work when it is written, and with false when
	// it was dropped.
	done func(written bool)
}

// put lays something down to be written.
func (k *keeper) put(e entry) {
	if k.dir == "" {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.add(e)
}

// accept is put for notices, which are written at once. It reports whether that
// is to be waited for: not while the history fails, or is slow to take others.
func (k *keeper) accept(e entry) bool {
	e.accepts, e.since = true, time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.add(e)
	late := func(x entry) bool { return x.accepts && e.since.Sub(x.since) > notify.KeepWithin }
	if !k.accepting || slices.ContainsFunc(k.waiting, late) || slices.ContainsFunc(k.writing, late) {
		return false
	}
	k.nudge()
	return true
}

// nudge wakes work.
func (k *keeper) nudge() {
	select {
	case k.wake <- struct{}{}:
	default: // it will
	}
}

// ending reports whether the end of a notice waits to be written.
func (k *keeper) ending(r notify.Ref) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	is := func(e entry) bool { return e.ends == r }
	return slices.ContainsFunc(k.waiting, is) || slices.ContainsFunc(k.writing, is)
}

// add is put, with the lock held. A later state of an incident takes the place
// of the one before. Where there is no room what is worth least goes.
func (k *keeper) add(e entry) {
	if at := slices.IndexFunc(k.waiting, func(x entry) bool { return e.incident != 0 && x.incident == e.incident }); at >= 0 {
		k.bytes += e.size - k.waiting[at].size
		k.waiting[at] = e
	} else {
		k.waiting = append(k.waiting, e)
		k.bytes += e.size
	}
	for k.bytes > mostWaiting {
		at := k.leastWorth()
		gone := k.waiting[at]
		k.bytes -= gone.size
		k.gap = k.gap || gone.incident != 0 || gone.memories
		if gone.done != nil {
			k.dropped = append(k.dropped, gone.done)
		}
		k.waiting = slices.Delete(k.waiting, at, at+1)
		k.status.Dropped++
	}
}

// leastWorth is the oldest of what goes first: raw tallies, what else is bulk,
// what is neither a notice nor its end, notices that only say what is over.
func (k *keeper) leastWorth() int {
	for _, is := range []func(entry) bool{
		func(e entry) bool { return e.segment != nil },
		func(e entry) bool { return e.bulk },
		func(e entry) bool { return e.done == nil },
		func(e entry) bool { return e.over },
	} {
		if at := slices.IndexFunc(k.waiting, is); at >= 0 {
			return at
		}
	}
	return 0
}

// segment keeps raw tallies.
func (k *keeper) segment(s recording.Segment) {
	k.put(entry{segment: &s, bulk: true, size: len(s.Data), write: func(st *history.Store) error { return st.PutSegment(s) }})
}

// minute keeps what a minute was.
func (k *keeper) minute(start time.Time, data []byte) {
	k.put(entry{bulk: true, size: len(data), write: func(st *history.Store) error { return st.PutMinute(start, data) }})
}

// hour keeps the sketches of an hour.
func (k *keeper) hour(start time.Time, data []byte) {
	k.put(entry{bulk: true, size: len(data), write: func(st *history.Store) error { return st.PutHour(start, data) }})
}

// leftOut keeps that a span is not learned.
func (k *keeper) leftOut(x history.LeftOut) {
	k.put(entry{size: len(x.Scope) + len(x.Why) + len(x.By), write: func(st *history.Store) error { return st.PutLeftOut(x) }})
}

// remember keeps what planners must know after a restart.
func (k *keeper) remember(memories []history.Memory) {
	if len(memories) == 0 {
		return
	}
	size := 0
	for i := range memories {
		size += len(memories[i].Key) + len(memories[i].Data)
	}
	k.put(entry{memories: true, size: size, write: func(st *history.Store) error { return st.Remember(memories) }})
}

// change keeps who changed what.
func (k *keeper) change(c history.Change) {
	k.put(entry{size: len(c.Who) + len(c.What) + len(c.Detail), write: func(st *history.Store) error { return st.Audit(c) }})
}

// mark is what the keeper was told of an incident: any other is worth writing.
type mark struct {
	state          judge.State
	severity, peak judge.Severity
	acknowledged   bool
	steps          int
	lastStep       time.Time
	balancerDown   time.Time
	silencedBy     string
}

func markOf(i *judge.Incident) mark {
	m := mark{
		state: i.State, severity: i.Finding.Severity, peak: i.Peak, acknowledged: !i.AcknowledgedAt.IsZero(),
		steps: len(i.Timeline), balancerDown: i.BalancerDownAt, silencedBy: i.SilencedBy,
	}
	if m.steps > 0 {
		m.lastStep = i.Timeline[m.steps-1].At
	}
	return m
}

// note keeps the incidents that opened and changed. It is the loop's; last is
// the highest number that one has, offset what people add to its times.
func (k *keeper) note(offset time.Duration, incidents []judge.Incident, last uint64) {
	if k.dir == "" {
		return
	}
	k.number.Store(last)
	if k.afresh.Swap(false) {
		clear(k.marks)
	}
	if len(k.marks) > 2*len(incidents)+16 { // those long forgotten
		maps.DeleteFunc(k.marks, func(id uint64, _ mark) bool {
			return !slices.ContainsFunc(incidents, func(i judge.Incident) bool { return i.ID == id })
		})
	}
	for i := range incidents {
		inc := &incidents[i]
		if inc.OpenedAt.IsZero() {
			continue // only suspected
		}
		now := markOf(inc)
		if k.marks[inc.ID] == now {
			continue
		}
		k.marks[inc.ID] = now
		document, err := api.Document(inc, incidents, offset)
		if err != nil {
			k.log.Error("history: an incident is not kept", "error", err.Error())
			continue
		}
		row := historyIncident(inc, offset)
		row.Document = document
		k.put(entry{incident: inc.ID, size: len(document), write: func(st *history.Store) error { return st.PutIncidents([]history.Incident{row}) }})
	}
}

func historyIncident(i *judge.Incident, offset time.Duration) history.Incident {
	at := func(t time.Time) time.Time {
		if t.IsZero() {
			return t
		}
		return t.Add(offset)
	}
	return history.Incident{
		ID: i.ID, Scope: i.Finding.Scope.String(), Cause: i.Finding.Cause.String(), State: i.State.String(),
		Severity: i.Finding.Severity.String(), Peak: i.Peak.String(), Over: i.State == judge.Resolved, Keeps: i.Peak >= judge.Warning,
		SuspectedAt: at(i.SuspectedAt), OpenedAt: at(i.OpenedAt), ResolvedAt: at(i.ResolvedAt), UpdatedAt: at(i.UpdatedAt),
	}
}

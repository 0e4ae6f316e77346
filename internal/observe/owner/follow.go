package owner

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is what happened to the processes of a selector between two choices.
type Kind uint8

// The kinds. The zero value is no change.
const (
	Same Kind = iota
	// Began: there are processes where there were none, or none for long.
	Began
	// Grew, Shrank: some came, some went, and the others stayed.
	Grew
	Shrank
	// Renewed: some went and others came within the time given, while at least
	// one stayed: a reload, or workers that take turns.
	Renewed
	// Reexecuted: the same processes run another program: an upgrade in place.
	Reexecuted
	// Restarted: all are others now, within the time given.
	Restarted
	// Vanished: all went, just now. It may be the middle of a restart.
	Vanished
	// Ended: all went, and nobody followed within the time given.
	Ended
)

var kindNames = [...]string{"same", "began", "grew", "shrank", "renewed", "reexecuted", "restarted", "vanished", "ended"}

// String names the kind: "restarted".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind_%d", uint8(k))
}

// Followed reports whether the same server goes on under other processes:
// what its sockets did meanwhile is no fault of its backends.
func (k Kind) Followed() bool { return k == Renewed || k == Reexecuted || k == Restarted }

// Change is what happened between two choices.
type Change struct {
	Kind Kind
	// Started and Ended are the processes that came and went since the last
	// choice, Reexecuted those that run another program now, as they are now.
	// A pid given to another process is in both of the first two.
	Started, Ended, Reexecuted []Chosen
	// Gap is for how long nobody was seen, at most; zero unless Restarted.
	Gap time.Duration
}

// String says it for a person: "restarted: process 12 gone, 34 began".
func (c Change) String() string {
	var parts []string
	for _, list := range []struct {
		processes []Chosen
		what      string
	}{{c.Ended, "gone"}, {c.Started, "began"}, {c.Reexecuted, "re-executed"}} {
		if text := pidList(list.processes); text != "" {
			parts = append(parts, text+" "+list.what)
		}
	}
	if len(parts) == 0 {
		return c.Kind.String()
	}
	return c.Kind.String() + ": " + strings.Join(parts, ", ")
}

// pidList names a few processes: "process 12", "processes 12, 13 and 40 more".
func pidList(processes []Chosen) string {
	const most = 3
	switch n := len(processes); n {
	case 0:
		return ""
	case 1:
		return "process " + strconv.Itoa(processes[0].PID)
	default:
		var pids []string
		for _, p := range processes[:min(n, most)] {
			pids = append(pids, strconv.Itoa(p.PID))
		}
		text := "processes " + strings.Join(pids, ", ")
		if n > most {
			text += fmt.Sprintf(" and %d more", n-most)
		}
		return text
	}
}

// Course is what is remembered of a selector's processes from one choice to
// the next. The zero value has seen none yet. It is a value: Follow returns a
// new one and leaves the old as it was.
type Course struct {
	// Processes are those of the last choice, sorted by pid.
	Processes []Chosen
	// At is the time of that choice.
	At time.Time
	// Came and Went are the times of the last coming and going that may still
	// belong together; zero when they are too long ago.
	Came, Went time.Time
	// Waiting is true from Vanished on, until somebody follows or it is Ended.
	Waiting bool
}

// Follow compares the processes chosen at a time with those before: pure.
// within is how long after the old ones went new ones are still the same
// server's: what a restart may take.
//
// limits are those of the choice. One that saw no processes at all changes
// nothing; after one that was cut short, those missing are taken to be there.
func Follow(before Course, at time.Time, chosen []Chosen, limits Limits, within time.Duration) (Course, Change) {
	if limits.Err != nil {
		return before, Change{}
	}
	after := Course{
		Processes: slices.SortedFunc(slices.Values(chosen), byPID), At: at,
		Came: recent(before.Came, at, within), Went: recent(before.Went, at, within), Waiting: before.Waiting,
	}
	var change Change
	for _, old := range before.Processes {
		i, known := slices.BinarySearchFunc(after.Processes, old, byPID)
		switch {
		case known && after.Processes[i].Started == old.Started:
			if now := after.Processes[i]; now.Name != old.Name || now.Exe != old.Exe && now.Exe != "" && old.Exe != "" {
				change.Reexecuted = append(change.Reexecuted, now)
			}
		case !known && limits.Cut > 0:
			after.Processes = slices.Insert(after.Processes, i, old)
		default:
			change.Ended = append(change.Ended, old)
		}
	}
	for _, now := range after.Processes {
		i, known := slices.BinarySearchFunc(before.Processes, now, byPID)
		if !known || before.Processes[i].Started != now.Started {
			change.Started = append(change.Started, now)
		}
	}
	change.Kind = kindOf(before, after, change, within)
	switch change.Kind {
	case Restarted:
		change.Gap = at.Sub(before.At)
		if before.Waiting {
			change.Gap = at.Sub(before.Went)
		}
		after.Came, after.Went, after.Waiting = time.Time{}, time.Time{}, false
	case Began, Ended:
		after.Came, after.Went, after.Waiting = time.Time{}, time.Time{}, false
	default:
		if len(change.Started) > 0 {
			after.Came = at
		}
		if len(change.Ended) > 0 {
			after.Went = at
		}
		after.Waiting = after.Waiting || change.Kind == Vanished
	}
	return after, change
}

// kindOf says what the comings and goings come to. What came or went a moment
// before belongs to them: a worker ends some choices after its successor began.
func kindOf(before, after Course, c Change, within time.Duration) Kind {
	came, went := len(c.Started) > 0, len(c.Ended) > 0
	switch {
	case len(before.Processes) == 0 && len(after.Processes) == 0:
		if after.Waiting && after.Went.IsZero() {
			return Ended
		}
		return Same
	case len(before.Processes) == 0:
		if after.Waiting && !after.Went.IsZero() {
			return Restarted
		}
		return Began
	case len(after.Processes) == 0:
		return Vanished
	case len(c.Started) == len(after.Processes): // nobody stayed
		if after.At.Sub(before.At) <= within {
			return Restarted
		}
		return Began
	case came && (went || !after.Went.IsZero()), went && !after.Came.IsZero():
		return Renewed
	case len(c.Reexecuted) > 0:
		return Reexecuted
	case came:
		return Grew
	case went:
		return Shrank
	}
	return Same
}

// recent returns t, or zero when it is longer ago than within.
func recent(t, at time.Time, within time.Duration) time.Time {
	if at.Sub(t) > within {
		return time.Time{}
	}
	return t
}

func byPID(a, b Chosen) int { return cmp.Compare(a.PID, b.PID) }

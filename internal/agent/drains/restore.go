package drains

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Memory is a record as the history keeps it.
type Memory struct {
	Name string
	Data []byte
}

// Unsaved is what changed of one switch: to be written as a whole, as a record
// must not have the curve of the switch before.
type Unsaved struct {
	Memory // Data is nil where the record is as it was
	// Forget: the history is to forget it, with its curve.
	Forget bool
	// Points are those of its curve that the history has not; Anew: in place of all
	// that it has.
	Points []SavedPoint
	Anew   bool
}

// mostUnsaved is how many points are handed on in one call, or those of one
// switch: what waits to be written has little room.
const mostUnsaved = 2 * mostPoints

// kept reports whether the history remembers it: what is only armed or watched is
// the configuration's.
func (e *Entry) kept() bool {
	s := e.State()
	return s == Running || s == Stopped
}

// Unsaved is what changed since the last call, as the history remembers it. What
// was never kept is not forgotten: it may be there and not be read yet. Where
// there is much, some is left for the next call.
func (b *Book) Unsaved() (out []Unsaved) {
	points := 0
	for _, e := range b.Entries() {
		if !e.kept() {
			continue
		}
		if fresh := e.curve.fresh(); fresh > 0 && points > 0 && points+fresh > mostUnsaved {
			continue
		}
		u := Unsaved{Memory: Memory{Name: e.Name}}
		if e.unsaved {
			e.unsaved = false
			u.Data, _ = json.Marshal(&e.Record) // what was checked can be written
		}
		if !e.Switch.Since.IsZero() {
			u.Points, u.Anew = e.curve.unsaved(e.Switch.Since)
		}
		if points += len(u.Points); u.Data != nil || u.Anew || len(u.Points) > 0 {
			out = append(out, u)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.forget)) {
		out = append(out, Unsaved{Memory: Memory{Name: name}, Forget: true})
	}
	clear(b.forget)
	return out
}

// Renew has all of them unsaved: the history has lost what it was told.
func (b *Book) Renew() {
	for _, e := range b.entries {
		e.unsaved, e.curve.anew, e.curve.saved = true, true, 0
	}
}

// Restore takes up what was remembered, with its curves by name. Where the
// configuration has other addresses meanwhile, it goes before. What cannot be
// read is left out, and the error says so.
func (b *Book) Restore(now time.Time, offset time.Duration, memories []Memory, curves map[string][]SavedPoint) error {
	var errs []error
	for _, m := range memories {
		e, err := restored(m, now, offset, curves[m.Name])
		if e == nil {
			errs = append(errs, fmt.Errorf("the switch %.50q cannot be read: %w", m.Name, err))
			continue
		}
		old := b.entries[e.Name]
		switch {
		case old == nil && e.State() == Running && b.followed() >= Most:
			errs = append(errs, fmt.Errorf("the switch of %s is left out: %d are the most", e.Name, Most))
			continue
		case old != nil && old.kept():
			continue // it was begun since, and is remembered in its place
		case old != nil && !b.keeps(e, &old.Record):
			b.forget[e.Name] = true
			continue
		}
		if errs = append(errs, err); old != nil {
			e.configured, e.Watch, e.says = old.configured, old.Watch, old.says
			e.adopt(&old.Record)
		}
		if b.entries[e.Name] = e; e.says == nil {
			e.says = new(says)
		}
		b.changed = true
		e.follow()
	}
	return errors.Join(errs...)
}

// restored is one that was remembered; nil where it cannot be read. The error is
// that, or what of its curve cannot.
func restored(m Memory, now time.Time, offset time.Duration, curve []SavedPoint) (*Entry, error) {
	e := &Entry{Restored: "the agent was started again after the switch: the time since it is by this host's clock; connections are as old as they were seen since, and what resolvers said before is not known"}
	if err := json.Unmarshal(m.Data, &e.Record); err != nil {
		return nil, fmt.Errorf("read it: %w", err)
	}
	if e.Name != m.Name || !e.kept() {
		return nil, errors.New("it is none")
	}
	var since time.Time // of one that was stopped before it had been: none
	if !e.SwitchedAt.IsZero() {
		// It is as long ago as its curve is long, whatever the clock says.
		ago, least := now.Add(offset).Sub(e.SwitchedAt), time.Duration(0)
		if n := len(curve); n > 0 {
			least = max(0, curve[n-1].Since)
		}
		if ago < least && e.State() == Running {
			ago = least
			e.Restored = "the agent was started again, and this host's clock was set back since the switch: it is longer ago than is said here"
		}
		since = now.Add(-ago)
	}
	var err error
	if e.Switch, err = newSwitch(&e.Record, since); err != nil {
		return nil, err
	}
	return e, e.curve.restore(since, curve)
}

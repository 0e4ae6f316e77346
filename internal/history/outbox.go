package history

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Waiting is the state of a notice that is on its way, Undelivered of one that
// was given up. The other ends have the words of their owner.
const (
	Waiting     = "waiting"
	Undelivered = "undelivered"
)

// NoRoom is why notices are given up that had to make room in the file.
const NoRoom = "no room in the history: it only said what is over, and was the oldest"

// OutboxRow is one notice to one channel, on its way or at its end.
type OutboxRow struct {
	// ID is the order in which notices go; the store gives it.
	ID  int64
	Key string // the notice's own: it is there once for each channel
	// Channel and Kind say whose it is. A channel of the same name and another
	// kind is another one.
	Channel, Kind string
	Over          bool // it only says what is over
	Notice        []byte

	// What follows is the store's to say.

	State     string    // Waiting, Undelivered, or as EndNotice was told
	CreatedAt time.Time // when it was accepted, or queued again
	EndedAt   time.Time // zero while it waits
	// Waited is for how long agents ran since it was accepted; zero unless it
	// waits.
	Waited   time.Duration
	Attempts int
	Error    string // of the last attempt
}

// OutboxEnd is how a notice's way ended.
type OutboxEnd struct {
	Key, Channel string
	State        string
	At           time.Time
	Attempts     int
	Error        string
	// Forget deletes it instead: nobody will ask for it.
	Forget bool
}

// OutboxCount is what there is for one channel.
type OutboxCount struct {
	Channel, Kind        string
	Waiting, Undelivered int
}

// Accept writes notices as waiting, behind those that are there. One that is
// there already stays as it is.
func (s *Store) Accept(notices []OutboxRow) error {
	return s.Batch(func() error {
		for i := range notices {
			n := &notices[i]
			err := s.exec(`INSERT INTO outbox (lived_ms, key, channel, kind, over, state, created_us, ended_us, attempts, error, notice) VALUES (?, ?, ?, ?, ?, 'waiting', ?, 0, 0, '', ?)
ON CONFLICT (key, channel) DO NOTHING`, s.age().Milliseconds(), n.Key, n.Channel, n.Kind, n.Over, micros(n.CreatedAt), append([]byte{}, n.Notice...))
			if err != nil {
				return fmt.Errorf("write notice %s to %s: %w", n.Key, n.Channel, err)
			}
		}
		return nil
	})
}

// EndNotice writes how a notice's way ended; one that is not there is left out.
func (s *Store) EndNotice(e OutboxEnd) error {
	return s.Batch(func() error {
		var err error
		if e.Forget {
			err = s.exec("DELETE FROM outbox WHERE key = ? AND channel = ?", e.Key, e.Channel)
		} else {
			err = s.exec("UPDATE outbox SET state = ?, lived_ms = ?, ended_us = ?, attempts = ?, error = ? WHERE key = ? AND channel = ?",
				e.State, s.age().Milliseconds(), micros(e.At), e.Attempts, e.Error, e.Key, e.Channel)
		}
		if err != nil {
			return fmt.Errorf("write the end of notice %s to %s: %w", e.Key, e.Channel, err)
		}
		return nil
	})
}

// EndWaiting gives up all that waits for a channel, and says how many that were.
func (s *Store) EndWaiting(channel, kind, why string) (gone int64, err error) {
	err = s.Batch(func() error {
		gone, err = s.delete("UPDATE outbox SET state = 'undelivered', lived_ms = ?, ended_us = ?, error = ? WHERE state = 'waiting' AND channel = ? AND kind = ?",
			s.age().Milliseconds(), micros(s.config.Wall()), why, channel, kind)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("give up what waits for %s: %w", channel, err)
	}
	return gone, nil
}

const outboxColumns = "id, lived_ms, key, channel, kind, over, state, created_us, ended_us, attempts, error, notice"

// outboxRows reads rows; age is the store's.
func (f *file) outboxRows(age time.Duration, query string, args ...any) ([]OutboxRow, error) {
	var out []OutboxRow
	err := f.each("SELECT "+outboxColumns+" FROM outbox "+query, args, func(rows *sql.Rows) error {
		var r OutboxRow
		var lived, created, ended int64
		if err := rows.Scan(&r.ID, &lived, &r.Key, &r.Channel, &r.Kind, &r.Over, &r.State, &created, &ended, &r.Attempts, &r.Error, &r.Notice); err != nil {
			return err
		}
		r.CreatedAt, r.EndedAt = wall(created), wall(ended)
		if r.State == Waiting {
			r.Waited = max(0, age-time.Duration(lived)*time.Millisecond)
		}
		out = append(out, r)
		return nil
	})
	return out, err
}

// Waiting returns the first notices that wait for a channel, in their order.
func (s *Store) Waiting(channel, kind string, limit int) ([]OutboxRow, error) {
	out, err := s.outboxRows(s.age(), "WHERE state = 'waiting' AND channel = ? AND kind = ? ORDER BY id LIMIT ?", channel, kind, limit)
	if err != nil {
		return nil, fmt.Errorf("read what waits for %s: %w", channel, err)
	}
	return out, nil
}

// Undelivered returns the notices to a channel that were given up, the newest
// first: those before an ID, or the first ones where that is zero.
func (f *file) Undelivered(channel string, before int64, limit int) ([]OutboxRow, error) {
	if before == 0 {
		before = 1<<63 - 1
	}
	out, err := f.outboxRows(0, "WHERE state = 'undelivered' AND channel = ? AND id < ? ORDER BY id DESC LIMIT ?", channel, before, limit)
	if err != nil {
		return nil, fmt.Errorf("read what was not delivered to %s: %w", channel, err)
	}
	return out, nil
}

// Outbox counts what there is for each channel, by name and kind.
func (f *file) Outbox() ([]OutboxCount, error) {
	var out []OutboxCount
	err := f.each(`SELECT channel, kind, sum(waiting), sum(undelivered) FROM (
SELECT channel, kind, 1 AS waiting, 0 AS undelivered FROM outbox WHERE state = 'waiting' UNION ALL
SELECT channel, kind, 0, 1 FROM outbox WHERE state = 'undelivered') GROUP BY channel, kind ORDER BY channel, kind`, nil, func(rows *sql.Rows) error {
		var c OutboxCount
		if err := rows.Scan(&c.Channel, &c.Kind, &c.Waiting, &c.Undelivered); err != nil {
			return err
		}
		out = append(out, c)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count what is in the outbox: %w", err)
	}
	return out, nil
}

// ErrNotUndelivered says that a notice that is to be queued again is not among
// those that were given up.
var ErrNotUndelivered = errors.New("no undelivered notice has this key")

// Requeue makes notices to a channel that were given up wait again, behind all
// others and in their old order: those of the keys, or without any the oldest so
// many. It returns them, or an ErrNotUndelivered and changes nothing.
func (s *Store) Requeue(channel, kind string, keys []string, limit int) (again []OutboxRow, err error) {
	err = s.Batch(func() error {
		again = nil
		if len(keys) == 0 {
			if again, err = s.outboxRows(0, "WHERE state = 'undelivered' AND channel = ? AND kind = ? ORDER BY id LIMIT ?", channel, kind, limit); err != nil {
				return err
			}
		}
		for _, key := range keys {
			found, err := s.outboxRows(0, "WHERE state = 'undelivered' AND channel = ? AND kind = ? AND key = ?", channel, kind, key)
			if err != nil {
				return err
			}
			if len(found) == 0 {
				return fmt.Errorf("%.40q: %w", key, ErrNotUndelivered)
			}
			again = append(again, found...)
		}
		slices.SortFunc(again, func(a, b OutboxRow) int { return int(a.ID - b.ID) })
		again = slices.CompactFunc(again, func(a, b OutboxRow) bool { return a.ID == b.ID })
		now := s.config.Wall()
		for i := range again {
			r := &again[i]
			r.State, r.CreatedAt, r.EndedAt, r.Error, r.Attempts = Waiting, now, time.Time{}, "", 0
			err := s.exec(`UPDATE outbox SET id = (SELECT max(id) + 1 FROM outbox), state = 'waiting', lived_ms = ?, created_us = ?, ended_us = 0, attempts = 0, error = '' WHERE id = ?`,
				s.age().Milliseconds(), micros(now), r.ID)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("queue notices to %s again: %w", channel, err)
	}
	return again, nil
}

// CrowdedOut returns the notices that Retain gave up for want of room since it
// was asked last, without what they say.
func (s *Store) CrowdedOut() []OutboxRow {
	out := s.crowded
	s.crowded = nil
	return out
}

// deleteEnded deletes the first notices that ended before the store was at an
// age.
func (s *Store) deleteEnded(age time.Duration) (int64, error) {
	return s.delete("DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE state <> 'waiting' AND lived_ms <= ? ORDER BY lived_ms LIMIT ?)", age.Milliseconds(), stepRows)
}

// deleteLeast deletes the first notices that ended, those that were given up
// last: they can be tried again.
func (s *Store) deleteLeast() (gone int64, err error) {
	gone, err = s.delete("DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE state <> 'waiting' AND state <> 'undelivered' ORDER BY lived_ms LIMIT ?)", stepRows)
	if err != nil || gone > 0 {
		return gone, err
	}
	return s.deleteEnded(s.age())
}

// crowdOut gives up the oldest notices that only say what is over, and returns
// them. What they say goes; that they were not delivered stays.
func (s *Store) crowdOut() ([]OutboxRow, error) {
	found, err := s.outboxRows(s.age(), "WHERE state = 'waiting' AND over = 1 ORDER BY id LIMIT ?", stepRows)
	if err != nil {
		return nil, err
	}
	for i := range found {
		found[i].Notice, found[i].Error = nil, NoRoom
		if err := s.exec("UPDATE outbox SET state = 'undelivered', lived_ms = ?, ended_us = ?, error = ?, notice = x'' WHERE id = ?", s.age().Milliseconds(), micros(s.config.Wall()), NoRoom, found[i].ID); err != nil {
			return nil, err
		}
	}
	return found, nil
}

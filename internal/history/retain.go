package history

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

const (
	// What one step of Retain deletes at most: some megabytes, a few
	// milliseconds of work.
	stepSegments  = 16
	stepRows      = 64
	stepIncidents = 16
	stepPages     = 512 // given back to the file system, 2 MiB
	// Raw tallies of the last quarter of an hour stay whatever the size, for
	// the flight recorder; minutes of a week go after anything older.
	leastRaw     = 15 * time.Minute
	leastMinutes = 7 * 24 * time.Hour
	// Where the file is too large it is brought to this share of what it may be.
	lowWater = 0.95
	// slack is how many free pages a file keeps: what goes each minute is taken
	// by what comes.
	slack = 1024
	// Notices that ended stay for that long, and so many.
	keepEnded = 7 * 24 * time.Hour
	mostEnded = 10_000
	// mostChanges is how many changes are kept, and as many spans left out.
	mostChanges = 10_000
)

// Retain deletes what is too old or too much, in one small transaction, and
// reports whether there is more to do.
//
// Age is the time that agents ran since a row was written, with an hour at most
// for each time that none ran: a wall clock that is a year ahead, or steps back,
// deletes nothing. Where the file is larger than it may be, raw tallies go
// first, then notices that ended, then minutes and hours beyond a week, then
// resolved incidents with their raw tallies, the oldest first, then what is left
// of the minutes, then the last quarter of an hour of raw tallies. At the very
// last notices are given up that wait and only say what is over, see
// [Store.CrowdedOut]. Open incidents never go, nor other notices that wait, nor
// does what an incident keeps while it is there.
func (s *Store) Retain() (more bool, err error) {
	for _, step := range []func() (int64, error){s.expire, s.shrink, s.vacuum} {
		gone, err := step()
		if err != nil {
			return false, fmt.Errorf("delete what is too old or too much: %w", err)
		}
		if gone > 0 {
			return true, nil
		}
	}
	return false, nil
}

// expire deletes what is too old. Where nothing is it writes nothing.
func (s *Store) expire() (gone int64, err error) {
	for _, x := range []struct {
		oldest string // its age is the store's at that time; no row is none
		keep   time.Duration
		delete func(time.Duration) (int64, error)
	}{
		{"SELECT lived_ms FROM segments WHERE kept = 0 ORDER BY id LIMIT 1", s.config.Raw, s.deleteRaw},
		{"SELECT lived_ms FROM minutes ORDER BY id LIMIT 1", s.config.Minutes, s.deleteMinutes},
		{"SELECT lived_ms FROM hours ORDER BY id LIMIT 1", s.config.Minutes, s.deleteHours},
		{"SELECT lived_ms FROM outbox WHERE state <> 'waiting' ORDER BY lived_ms LIMIT 1", keepEnded, s.deleteEnded},
	} {
		before := s.age() - x.keep
		oldest, err := s.column(x.oldest)
		if err != nil {
			return 0, err
		}
		if len(oldest) == 0 || oldest[0] > before.Milliseconds() {
			continue
		}
		err = s.Batch(func() error {
			gone, err = x.delete(before)
			return err
		})
		if err != nil || gone > 0 {
			return gone, err
		}
	}
	many, err := s.number("SELECT count(*) FROM outbox WHERE state <> 'waiting'")
	if err != nil || many <= mostEnded {
		return 0, err
	}
	err = s.Batch(func() error {
		gone, err = s.deleteLeast()
		return err
	})
	return gone, err
}

// shrink deletes something where the file holds too much.
func (s *Store) shrink() (gone int64, err error) {
	_, used, err := s.Size()
	if err != nil {
		return 0, err
	}
	// Once it is too much it becomes a little less, so that not each minute
	// brings it over again.
	if most := float64(s.config.MaxSize); s.shrinking {
		s.shrinking = float64(used) > lowWater*most
	} else {
		s.shrinking = float64(used) > most
	}
	if !s.shrinking {
		return 0, nil
	}
	var crowded []OutboxRow
	err = s.Batch(func() error {
		if gone, err = s.deleteRaw(s.age() - min(leastRaw, s.config.Raw)); err != nil || gone > 0 {
			return err
		}
		if gone, err = s.deleteLeast(); err != nil || gone > 0 {
			return err
		}
		if gone, err = s.deleteMinutes(s.age() - leastMinutes); err != nil || gone > 0 {
			return err
		}
		if gone, err = s.deleteHours(s.age() - leastMinutes); err != nil || gone > 0 {
			return err
		}
		if gone, err = s.deleteIncidents(); err != nil || gone > 0 {
			return err
		}
		if gone, err = s.deleteMinutes(s.age()); err != nil || gone > 0 {
			return err
		}
		if gone, err = s.deleteRaw(s.age()); err != nil || gone > 0 {
			return err
		}
		crowded, err = s.crowdOut()
		gone = int64(len(crowded))
		return err
	})
	if err == nil {
		s.crowded = append(s.crowded, crowded...)
	}
	return gone, err
}

// deleteRaw deletes the first segments that are older than the store was at an
// age. Those that an incident keeps it marks, so that they are not found again.
// It returns how many it dealt with.
func (s *Store) deleteRaw(age time.Duration) (done int64, err error) {
	type segment struct{ id, from, to int64 }
	var found []segment
	err = s.each("SELECT id, lived_ms, from_us, to_us FROM segments WHERE kept = 0 ORDER BY id LIMIT ?", []any{stepSegments}, func(rows *sql.Rows) error {
		var x segment
		var lived int64
		if err := rows.Scan(&x.id, &lived, &x.from, &x.to); err != nil {
			return err
		}
		if lived <= age.Milliseconds() {
			found = append(found, x)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for _, x := range found {
		keepers, err := s.number(`SELECT (SELECT count(*) FROM incidents WHERE keep_to_us > 0 AND keep_from_us <= ?1 AND keep_to_us >= ?2)
+ (SELECT count(*) FROM incidents WHERE tail_to_us > 0 AND tail_from_us <= ?1 AND tail_to_us >= ?2)`, x.to, x.from)
		if err != nil {
			return done, err
		}
		what := "DELETE FROM segments WHERE id = ?"
		if keepers > 0 {
			what = "UPDATE segments SET kept = 1 WHERE id = ?"
		}
		if err := s.exec(what, x.id); err != nil {
			return done, err
		}
		done++
	}
	return done, nil
}

func (s *Store) deleteMinutes(age time.Duration) (int64, error) {
	return s.deleteBefore("minutes", age)
}

func (s *Store) deleteHours(age time.Duration) (int64, error) { return s.deleteBefore("hours", age) }

// deleteBefore deletes the first rows of a table that are older than the store
// was at an age. Rows are written in the order of both id and age.
func (s *Store) deleteBefore(table string, age time.Duration) (int64, error) {
	return s.delete("DELETE FROM "+table+" WHERE id IN (SELECT id FROM (SELECT id, lived_ms FROM "+table+" ORDER BY id LIMIT ?) WHERE lived_ms <= ?)", stepRows, age.Milliseconds())
}

// deleteIncidents deletes the first incidents that are over, with the raw
// tallies that only they keep.
func (s *Store) deleteIncidents() (gone int64, err error) {
	gone, err = s.delete("DELETE FROM incidents WHERE seq IN (SELECT seq FROM incidents WHERE resolved = 1 ORDER BY seq LIMIT ?)", stepIncidents)
	if err != nil || gone == 0 {
		return gone, err
	}
	// An incident's number is its own for ever, so that what was done about it
	// is nobody else's.
	if err := s.exec("DELETE FROM actions WHERE incident NOT IN (SELECT number FROM incidents)"); err != nil {
		return gone, err
	}
	// They are loose again, and go as the next ones.
	err = s.exec(`UPDATE segments SET kept = 0 WHERE kept = 1 AND NOT EXISTS
(SELECT 1 FROM incidents WHERE keep_to_us > 0 AND keep_from_us <= segments.to_us AND keep_to_us >= segments.from_us) AND NOT EXISTS
(SELECT 1 FROM incidents WHERE tail_to_us > 0 AND tail_from_us <= segments.to_us AND tail_to_us >= segments.from_us)`)
	return gone, err
}

func (s *Store) delete(query string, args ...any) (int64, error) {
	result, err := s.conn.ExecContext(context.Background(), query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// vacuum gives free pages back to the file system, where there are many.
func (s *Store) vacuum() (given int64, err error) {
	all, used, err := s.Size()
	if err != nil {
		return 0, err
	}
	page, err := s.number("PRAGMA page_size")
	if err != nil || (all-used)/page <= slack {
		return 0, err
	}
	// Within no transaction of ours: it is one of its own.
	if err := s.each(fmt.Sprintf("PRAGMA incremental_vacuum(%d)", stepPages), nil, func(*sql.Rows) error { return nil }); err != nil {
		return 0, err
	}
	now, _, err := s.Size()
	return all - now, err
}

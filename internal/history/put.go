package history

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/foreshock/foreshock/internal/recording"
)

// What of the raw tallies an incident of a warning and above keeps: how it came
// about, what it looked like, and how it ended. Signals rest on no more than the
// last minutes; what one that lasts for hours looked like in between goes.
const (
	keepBefore = 5 * time.Minute  // before the first suspicion
	keepAfter  = 15 * time.Minute // after it opened
	keepEnd    = 5 * time.Minute  // before it was resolved
	keepOver   = time.Minute      // after that
)

// Incident is one incident as it was written last.
type Incident struct {
	// Seq is the store's own order, by when incidents were first written; Run
	// the run of the agent. PutIncidents gives both.
	Seq, Run int64
	// ID is the incident's number, once in a run.
	ID    uint64
	Scope string
	Cause string
	State string // "open" or "resolved", as the API has it
	// Severity is the one it has, Peak the worst it had.
	Severity, Peak string
	Over           bool // it is resolved
	// Keeps is true where the raw tallies of its beginning and its end are to
	// stay.
	Keeps bool
	// The times are zero where that has not happened.
	SuspectedAt, OpenedAt, ResolvedAt, UpdatedAt time.Time
	// Document is the JSON of the API, which only grows: what this program
	// does not know of is kept.
	Document []byte
}

// span is part of an incident whose raw tallies it keeps; zeros for none.
type span struct{ from, to time.Time }

// spans are those of its beginning and of its end.
func (i *Incident) spans() (head, tail span) {
	if i.Keeps {
		head = span{i.SuspectedAt.Add(-keepBefore), i.OpenedAt.Add(keepAfter)}
		if i.Over {
			tail = spanOfEnd(i.ResolvedAt)
		}
	}
	return head, tail
}

func spanOfEnd(end time.Time) span { return span{end.Add(-keepEnd), end.Add(keepOver)} }

// PutIncidents writes incidents of this run, each in place of what was written
// of it before.
func (s *Store) PutIncidents(incidents []Incident) error {
	return s.Batch(func() error {
		for i := range incidents {
			inc := &incidents[i]
			head, tail := inc.spans()
			err := s.exec(`INSERT INTO incidents (run, number, scope, cause, state, severity, peak, resolved, suspected_us, opened_us, resolved_us, updated_us, keep_from_us, keep_to_us, tail_from_us, tail_to_us, document)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run, number) DO UPDATE SET scope = excluded.scope, cause = excluded.cause, state = excluded.state, severity = excluded.severity, peak = excluded.peak,
resolved = excluded.resolved, suspected_us = excluded.suspected_us, opened_us = excluded.opened_us, resolved_us = excluded.resolved_us, updated_us = excluded.updated_us,
keep_from_us = excluded.keep_from_us, keep_to_us = excluded.keep_to_us, tail_from_us = excluded.tail_from_us, tail_to_us = excluded.tail_to_us, document = excluded.document`,
				s.run, int64(inc.ID), inc.Scope, inc.Cause, inc.State, inc.Severity, inc.Peak, inc.Over,
				micros(inc.SuspectedAt), micros(inc.OpenedAt), micros(inc.ResolvedAt), micros(inc.UpdatedAt), micros(head.from), micros(head.to), micros(tail.from), micros(tail.to), inc.Document)
			if err != nil {
				return fmt.Errorf("write incident %d: %w", inc.ID, err)
			}
			s.last = max(s.last, inc.ID)
		}
		return nil
	})
}

// NoteNumber notes that an incident had this number, though it is not written:
// no later one shall have it.
func (s *Store) NoteNumber(id uint64) { s.last = max(s.last, id) }

// endOpen closes what is open, of whatever run, at a time.
func (s *Store) endOpen(at time.Time) error {
	open, err := s.column("SELECT seq FROM incidents WHERE resolved = 0 ORDER BY seq")
	if err != nil {
		return err
	}
	for _, seq := range open {
		var document []byte
		var updated int64
		if err := s.conn.QueryRowContext(context.Background(), "SELECT document, updated_us FROM incidents WHERE seq = ?", seq).Scan(&document, &updated); err != nil {
			return err
		}
		end := at
		if last := wall(updated); end.Before(last) {
			end = last
		}
		changed, err := s.config.Ended(document, end.UTC())
		if err != nil {
			changed = document // it cannot be read: the columns say that it is over
		}
		tail := spanOfEnd(end)
		err = s.exec(`UPDATE incidents SET resolved = 1, state = 'resolved', resolved_us = ?, document = ?,
tail_from_us = CASE WHEN keep_to_us > 0 THEN ? ELSE 0 END, tail_to_us = CASE WHEN keep_to_us > 0 THEN ? ELSE 0 END WHERE seq = ?`, micros(end), changed, micros(tail.from), micros(tail.to), seq)
		if err != nil {
			return err
		}
	}
	return nil
}

// PutSegment writes raw tallies. They are compressed already.
func (s *Store) PutSegment(seg recording.Segment) error {
	return s.Batch(func() error {
		data := append([]byte{}, seg.Data...) // nil would be no value
		err := s.exec("INSERT INTO segments (lived_ms, from_us, to_us, kept, data) VALUES (?, ?, ?, 0, ?)", s.age().Milliseconds(), micros(seg.From), micros(seg.To), data)
		if err != nil {
			return fmt.Errorf("write raw tallies: %w", err)
		}
		return nil
	})
}

// PutMinute writes what a minute was. One that is written twice, as when a
// clock was set back, is there twice.
func (s *Store) PutMinute(start time.Time, data []byte) error { return s.put("minutes", start, data) }

// PutHour writes what an hour was, in place of what was written of it before.
func (s *Store) PutHour(start time.Time, data []byte) error {
	return s.Batch(func() error {
		if err := s.exec("DELETE FROM hours WHERE start_us = ?", micros(start)); err != nil {
			return fmt.Errorf("write hours: %w", err)
		}
		return s.put("hours", start, data)
	})
}

func (s *Store) put(table string, start time.Time, data []byte) error {
	packed, err := s.packer.pack(data)
	if err != nil {
		return fmt.Errorf("write %s: %w", table, err)
	}
	return s.Batch(func() error {
		if err := s.exec("INSERT INTO "+table+" (lived_ms, start_us, data) VALUES (?, ?, ?)", s.age().Milliseconds(), micros(start), packed); err != nil {
			return fmt.Errorf("write %s: %w", table, err)
		}
		return nil
	})
}

// LeftOut is a span that nothing is to be learned from.
type LeftOut struct {
	At       time.Time // when that was said
	From, To time.Time
	// Scope is of what, as its owner spells it; empty is of every one.
	Scope   string
	Why, By string
}

// PutLeftOut writes that a span is left out.
func (s *Store) PutLeftOut(l LeftOut) error {
	return s.Batch(func() error {
		if err := s.exec("INSERT INTO left_out (at_us, from_us, to_us, scope, why, who) VALUES (?, ?, ?, ?, ?, ?)", micros(l.At), micros(l.From), micros(l.To), l.Scope, l.Why, l.By); err != nil {
			return fmt.Errorf("write what is left out: %w", err)
		}
		return s.exec("DELETE FROM left_out WHERE id <= (SELECT max(id) FROM left_out) - ?", mostChanges)
	})
}

// Change is who changed what, and when.
type Change struct {
	At        time.Time
	Who, What string
	Detail    string // may be empty
}

// Audit writes a change.
func (s *Store) Audit(c Change) error {
	return s.Batch(func() error {
		if err := s.exec("INSERT INTO audit (at_us, who, what, detail) VALUES (?, ?, ?, ?)", micros(c.At), c.Who, c.What, c.Detail); err != nil {
			return fmt.Errorf("write who changed what: %w", err)
		}
		return s.exec("DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?", mostChanges)
	})
}

// LeftOuts returns the spans that are left out, as they were written.
func (f *file) LeftOuts() ([]LeftOut, error) {
	var out []LeftOut
	err := f.each("SELECT at_us, from_us, to_us, scope, why, who FROM left_out ORDER BY id", nil, func(rows *sql.Rows) error {
		var l LeftOut
		var at, from, to int64
		if err := rows.Scan(&at, &from, &to, &l.Scope, &l.Why, &l.By); err != nil {
			return err
		}
		l.At, l.From, l.To = wall(at), wall(from), wall(to)
		out = append(out, l)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what is left out: %w", err)
	}
	return out, nil
}

// Changes returns who changed what, the last so many, as they were written.
func (f *file) Changes(most int) ([]Change, error) {
	var out []Change
	err := f.each("SELECT at_us, who, what, detail FROM (SELECT * FROM audit ORDER BY id DESC LIMIT ?) ORDER BY id", []any{most}, func(rows *sql.Rows) error {
		var c Change
		var at int64
		if err := rows.Scan(&at, &c.Who, &c.What, &c.Detail); err != nil {
			return err
		}
		c.At = wall(at)
		out = append(out, c)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read who changed what: %w", err)
	}
	return out, nil
}

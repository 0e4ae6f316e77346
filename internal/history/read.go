package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/foreshock/foreshock/internal/recording"
)

// Query chooses incidents. The zero value is all of them.
type Query struct {
	// Since and Until choose those that were there between the two: with any of
	// their times at or after Since, and opened before Until. Zero is no bound.
	Since, Until time.Time
	// State and Severity are as the API has them; empty is any.
	State, Severity string
	// ID chooses by number, also of earlier runs; 0 is any.
	ID uint64
	// Before is a Seq: only those that were written first before that one.
	// Zero begins with the newest.
	Before int64
	// Limit is how many are returned at most; 0 is all.
	Limit int
}

// where is the query in SQL.
func (q *Query) where() (where string, args []any) {
	where = "1"
	add := func(condition string, values ...any) {
		where += " AND " + condition
		args = append(args, values...)
	}
	if !q.Since.IsZero() {
		add("(resolved = 0 OR max(opened_us, updated_us, resolved_us) >= ?)", micros(q.Since))
	}
	if !q.Until.IsZero() {
		add("opened_us < ?", micros(q.Until))
	}
	if q.State != "" {
		add("state = ?", q.State)
	}
	if q.Severity != "" {
		add("severity = ?", q.Severity)
	}
	if q.ID != 0 {
		add("number = ?", int64(q.ID))
	}
	if q.Before != 0 {
		add("seq < ?", q.Before)
	}
	return where, args
}

// Incidents returns the incidents that a query chooses, the newest first by
// the order in which they were first written.
func (f *file) Incidents(q Query) ([]Incident, error) {
	limit := -1 // SQLite's word for none
	if q.Limit > 0 {
		limit = q.Limit
	}
	where, args := q.where()
	var out []Incident
	err := f.each(`SELECT seq, run, number, scope, cause, state, severity, peak, resolved, suspected_us, opened_us, resolved_us, updated_us, keep_to_us, document
FROM incidents WHERE `+where+` ORDER BY seq DESC LIMIT ?`, append(args, limit), func(rows *sql.Rows) error {
		var i Incident
		var number, suspected, opened, resolved, updated, keeps int64
		err := rows.Scan(&i.Seq, &i.Run, &number, &i.Scope, &i.Cause, &i.State, &i.Severity, &i.Peak, &i.Over, &suspected, &opened, &resolved, &updated, &keeps, &i.Document)
		if err != nil {
			return err
		}
		i.ID, i.Keeps = uint64(number), keeps != 0
		i.SuspectedAt, i.OpenedAt, i.ResolvedAt, i.UpdatedAt = wall(suspected), wall(opened), wall(resolved), wall(updated)
		out = append(out, i)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read incidents: %w", err)
	}
	return out, nil
}

// EachIncident hands the incidents that a query chooses to each, the oldest
// first and whatever its limit, one read after the other, until each returns an
// error.
func (f *file) EachIncident(q Query, each func(*Incident) error) error {
	where, args := q.where()
	all, err := f.column("SELECT seq FROM incidents WHERE "+where+" ORDER BY seq", args...)
	if err != nil {
		return fmt.Errorf("read incidents: %w", err)
	}
	for _, seq := range all {
		found, err := f.Incidents(Query{Before: seq + 1, Limit: 1})
		if err != nil {
			return err
		}
		if len(found) == 1 && found[0].Seq == seq { // else it was deleted meanwhile
			if err := each(&found[0]); err != nil {
				return err
			}
		}
	}
	return nil
}

// Segments hands the raw tallies that overlap a span of the wall clock to each,
// in the order in which they were written, until each returns an error. Zero
// times are no bound.
func (f *file) Segments(from, to time.Time, each func(recording.Segment) error) error {
	ids, err := f.column("SELECT id FROM segments WHERE from_us <= ? AND to_us >= ? ORDER BY id", upper(to), micros(from))
	if err != nil {
		return fmt.Errorf("read raw tallies: %w", err)
	}
	return f.fetch("SELECT from_us, to_us, data FROM segments WHERE id = ?", ids, func(row *sql.Row) error {
		var begin, end int64
		var data []byte
		if err := row.Scan(&begin, &end, &data); err != nil {
			return fmt.Errorf("read raw tallies: %w", err)
		}
		return each(recording.Segment{From: wall(begin), To: wall(end), Data: data})
	})
}

// Minutes hands the minutes that began in a span of the wall clock, its end not
// included, to each, in the order in which they were written, until each
// returns an error. Zero times are no bound. Where rows are damaged all others
// are handed on, and the error is an *UnreadableError.
func (f *file) Minutes(from, to time.Time, each func(start time.Time, data []byte) error) error {
	return f.rows("minutes", from, to, nil, each)
}

// Hours is Minutes for hours: of those that are wanted by when they began; nil is
// all. The others are not read.
func (f *file) Hours(from, to time.Time, wanted func(start time.Time) bool, each func(start time.Time, data []byte) error) error {
	return f.rows("hours", from, to, wanted, each)
}

func (f *file) rows(table string, from, to time.Time, wanted func(time.Time) bool, each func(time.Time, []byte) error) error {
	var ids []int64
	err := f.each("SELECT id, start_us FROM "+table+" WHERE start_us >= ? AND start_us < ? ORDER BY id", []any{micros(from), upper(to)}, func(row *sql.Rows) error {
		var id, start int64
		err := row.Scan(&id, &start)
		if err == nil && (wanted == nil || wanted(wall(start))) {
			ids = append(ids, id)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", table, err)
	}
	var bad UnreadableError
	err = f.fetch("SELECT start_us, data FROM "+table+" WHERE id = ?", ids, func(row *sql.Row) error {
		var start int64
		var packed []byte
		if err := row.Scan(&start, &packed); err != nil {
			return fmt.Errorf("read %s: %w", table, err)
		}
		data, err := unpack(packed)
		if err != nil {
			if bad.Rows++; bad.First == nil {
				bad.First = fmt.Errorf("%s of %s: %w", table, wall(start).Format(time.RFC3339), err)
			}
			return nil
		}
		return each(wall(start), data)
	})
	if err == nil && bad.Rows > 0 {
		return &bad
	}
	return err
}

// upper is an upper bound; zero is none.
func upper(t time.Time) int64 {
	if t.IsZero() {
		return 1<<63 - 1
	}
	return micros(t)
}

// fetch reads one row after the other: a statement that stays open for long
// would keep the writer's log from being taken over, and hold all the data. A
// row that was deleted meanwhile is left out.
func (f *file) fetch(query string, ids []int64, do func(*sql.Row) error) error {
	one, err := f.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return fmt.Errorf("read the history: %w", err)
	}
	defer one.Close()
	for _, id := range ids {
		if err := do(one.QueryRow(id)); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	return nil
}

// Stock is what is there of one kind.
type Stock struct {
	What string // "raw", "minutes", "hours", "incidents", "notices", "left_out", "audit"
	Rows int64
	// From and To are its first and last time on the wall clock; zero without
	// rows.
	From, To time.Time
	// Bytes is the data alone; the file has its own beside.
	Bytes int64
	// Lived is for how long agents ran while it came about; zero where that is
	// not noted.
	Lived time.Duration
}

// PerDay is how many bytes come each day, as far as it can be told: zero within
// the first ten minutes.
func (s Stock) PerDay() float64 {
	if s.Lived < 10*time.Minute {
		return 0
	}
	return float64(s.Bytes) / s.Lived.Hours() * 24
}

// Stocks counts all that is there. It reads something of every row.
func (f *file) Stocks() ([]Stock, error) {
	var out []Stock
	for _, x := range []struct{ what, query string }{
		{"incidents", "SELECT count(*), min(suspected_us), max(max(updated_us, resolved_us)), sum(length(document)), 0 FROM incidents"},
		{"raw", "SELECT count(*), min(from_us), max(to_us), sum(length(data)), max(lived_ms) - min(lived_ms) FROM segments"},
		{"minutes", "SELECT count(*), min(start_us), max(start_us), sum(length(data)), max(lived_ms) - min(lived_ms) FROM minutes"},
		{"hours", "SELECT count(*), min(start_us), max(start_us), sum(length(data)), max(lived_ms) - min(lived_ms) FROM hours"},
		{"notices", "SELECT count(*), min(created_us), max(max(created_us, ended_us)), sum(length(notice)), 0 FROM outbox"},
		{"left_out", "SELECT count(*), min(from_us), max(to_us), sum(length(scope) + length(why) + length(who)), 0 FROM left_out"},
		{"audit", "SELECT count(*), min(at_us), max(at_us), sum(length(who) + length(what) + length(detail)), 0 FROM audit"},
	} {
		s := Stock{What: x.what}
		var from, to, size, lived sql.NullInt64
		if err := f.conn.QueryRowContext(context.Background(), x.query).Scan(&s.Rows, &from, &to, &size, &lived); err != nil {
			return nil, fmt.Errorf("count what the history has of %s: %w", x.what, err)
		}
		s.From, s.To, s.Bytes, s.Lived = wall(from.Int64), wall(to.Int64), size.Int64, time.Duration(lived.Int64)*time.Millisecond
		out = append(out, s)
	}
	return out, nil
}

// Size is how large the file is in bytes, and how much of that holds something.
func (f *file) Size() (all, used int64, err error) {
	var sizes [3]int64
	for i, what := range []string{"page_size", "page_count", "freelist_count"} {
		if sizes[i], err = f.number("PRAGMA " + what); err != nil {
			return 0, 0, fmt.Errorf("read the history's %s: %w", what, err)
		}
	}
	return sizes[0] * sizes[1], sizes[0] * (sizes[1] - sizes[2]), nil
}

package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// errDamaged is what the check of a file finds, beside what SQLite itself says.
var errDamaged = errors.New("the file is damaged")

// Corrupt reports whether an error says that the file is no good any more, so
// that it is to be set aside.
func Corrupt(err error) bool {
	if errors.Is(err, errDamaged) {
		return true
	}
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() & 0xff { // the primary code: https://www.sqlite.org/rescode.html
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return true
	}
	return false
}

// file is one open database. All of it goes over one connection.
type file struct {
	path string
	db   *sql.DB
	conn *sql.Conn
}

// openFile opens a database with settings, each "name=value". It does nothing
// to a file but to make an empty one where there is none, unless it is opened
// read-only.
func openFile(path, query string, settings ...string) (*file, error) {
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: query}).String())
	if err != nil {
		return nil, fmt.Errorf("open the history: %w", err)
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(context.Background())
	if err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("open the history: %w", err)
	}
	f := &file{path: path, db: db, conn: conn}
	if err := f.set(settings); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// set makes settings, each "name=value".
func (f *file) set(settings []string) error {
	for _, s := range settings {
		if err := f.exec("PRAGMA " + s); err != nil {
			return fmt.Errorf("open the history %s: set %s: %w", f.path, s, err)
		}
	}
	return nil
}

func (f *file) close() error { return errors.Join(f.conn.Close(), f.db.Close()) }

func (f *file) exec(query string, args ...any) error {
	_, err := f.conn.ExecContext(context.Background(), query, args...)
	return err
}

// number is the single value of a query.
func (f *file) number(query string, args ...any) (int64, error) {
	var n sql.NullInt64
	err := f.conn.QueryRowContext(context.Background(), query, args...).Scan(&n)
	return n.Int64, err
}

// transact makes what do writes one transaction.
func (f *file) transact(do func() error) error {
	if err := f.exec("BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("begin to write: %w", err)
	}
	err := do()
	if err == nil {
		if err = f.exec("COMMIT"); err == nil {
			return nil
		}
	}
	if undo := f.exec("ROLLBACK"); undo != nil && !strings.Contains(undo.Error(), "no transaction is active") { // SQLite has done it, as on a full disk
		return errors.Join(err, undo)
	}
	return err
}

// each hands every row of a query to do, which must not use the file.
func (f *file) each(query string, args []any, do func(*sql.Rows) error) error {
	rows, err := f.conn.QueryContext(context.Background(), query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := do(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// column is the first column of a query, whole numbers.
func (f *file) column(query string, args ...any) ([]int64, error) {
	var out []int64
	err := f.each(query, args, func(rows *sql.Rows) error {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return err
		}
		out = append(out, n)
		return nil
	})
	return out, err
}

// micros is a time as it is stored, and wall the other way round: zero is none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func wall(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

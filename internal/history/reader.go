package history

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Reader reads a history, also while an agent writes to it. It changes nothing.
// It is not safe for concurrent use.
type Reader struct {
	*file
	// Path is the file, Version that of its schema.
	Path    string
	Version int
}

// reading are the settings of a reader.
var reading = []string{"query_only = ON", "busy_timeout = 2000", "cache_size = -512", "mmap_size = 0", "temp_store = MEMORY", "trusted_schema = OFF"}

// OpenReader opens the history of a directory for reading. The error wraps
// fs.ErrNotExist where there is none, and is a *NewerError for one of a newer
// version.
func OpenReader(dir string) (*Reader, error) {
	path := filepath.Join(dir, fileName)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open the history: %w", err)
	}
	r, err := openReader(path, "mode=ro")
	if cannotOpen(err) && atRest(path) {
		// Beside a file that nobody writes, SQLite makes an index of its log,
		// which it may not here. There is no log: it needs none.
		r, err = openReader(path, "immutable=1")
	}
	if cannotOpen(err) {
		return nil, fmt.Errorf("open the history: %w: read it as the user that the agent runs as, or as root", err)
	}
	return r, err
}

func openReader(path, query string) (*Reader, error) {
	f, err := openFile(path, query, reading...)
	if err != nil {
		return nil, err
	}
	r := &Reader{file: f, Path: path}
	if err := r.look(); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return r, nil
}

// look sees whether the file is one that we know.
func (r *Reader) look() error {
	id, err := r.number("PRAGMA application_id")
	if err != nil {
		return fmt.Errorf("open the history: %w", err)
	}
	version, err := r.number("PRAGMA user_version")
	switch {
	case err != nil:
		return fmt.Errorf("open the history: %w", err)
	case id != applicationID || version == 0:
		return fmt.Errorf("%s is not a history of ours", r.Path)
	case int(version) > len(migrations):
		return &NewerError{Path: r.Path, Have: int(version), Know: len(migrations)}
	case int(version) < len(migrations):
		return fmt.Errorf("%s has version %d of the history's schema: start the agent of this program once, which leads it to version %d", r.Path, version, len(migrations))
	}
	r.Version = int(version)
	return nil
}

// Close lets go of the file.
func (r *Reader) Close() error { return r.close() }

// cannotOpen reports whether SQLite was not let open one of its files.
func cannotOpen(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY:
		return true
	}
	return false
}

// atRest reports whether a file has no log beside it: nobody writes to it, and
// the last one ended in good order.
func atRest(path string) bool {
	fi, err := os.Stat(path + "-wal")
	return errors.Is(err, fs.ErrNotExist) || err == nil && fi.Size() == 0
}

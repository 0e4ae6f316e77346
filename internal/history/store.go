package history

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	// checkFor is how long the file is looked over for damage at the start.
	checkFor = 500 * time.Millisecond
	// mostAway is how much of the time between two runs counts as age: nobody
	// can tell a long night from a clock that somebody set.
	mostAway = time.Hour
	// mostRuns is how many runs of agents without incidents are remembered.
	mostRuns = 100
)

// ErrMoved says that the file, or the lock beside it, was deleted, renamed or
// replaced while it was open: it is to be left, and the directory opened anew.
var ErrMoved = errors.New("was deleted or replaced while the history was open")

// Config is what Open needs. All of it is required.
type Config struct {
	Limits
	// Version is the program's, for the list of runs.
	Version string
	// Ended rewrites the document of an incident that was open when its agent
	// ended: it is over, and nobody knows whether it recovered.
	Ended func(document []byte, at time.Time) ([]byte, error)
	// Wall is the time as people have it, which may step; Steady is what has
	// passed since any one instant, which does not.
	Wall   func() time.Time
	Steady func() time.Duration
}

// Limits is how much is kept.
type Limits struct {
	// Raw is for how long segments are kept that belong to no incident,
	// Minutes the same for minutes and hours. The time is what agents ran.
	Raw, Minutes time.Duration
	// MaxSize is what the file may hold, in bytes. SQLite's log beside it has a
	// few MiB more.
	MaxSize int64
}

func (c *Config) validate() error {
	if c.Raw <= 0 || c.Minutes <= 0 || c.MaxSize <= 0 {
		return errors.New("history: Raw, Minutes and MaxSize must be positive")
	}
	if c.Ended == nil || c.Wall == nil || c.Steady == nil {
		return errors.New("history: Ended, Wall and Steady are required")
	}
	return nil
}

// Store is the history of one directory, open for writing. It is not safe for
// concurrent use.
type Store struct {
	*file
	config Config
	dir    string
	lock   *os.File
	opened os.FileInfo // the file that path was
	aside  string
	run    int64
	// lived is the store's age when it was opened, began the steady time then.
	lived, began time.Duration
	last         uint64 // the highest number of an incident
	packer       packer
	inBatch      bool
	// shrinking: the file was too large, and is brought below that.
	shrinking bool
	crowded   []OutboxRow // see CrowdedOut
}

// writing are the settings of the one writer. The page cache is small, as is
// the log: the agent's memory is bounded, and SQLite's own is not on Go's heap
// but of the same process. A reader beside us holds the log for moments only.
var writing = []string{
	"journal_mode = WAL", "synchronous = FULL",
	"cache_size = -256", "mmap_size = 0", "temp_store = MEMORY", "cache_spill = 1",
	"wal_autocheckpoint = 256", "journal_size_limit = 4194304", // 1 MiB, 4 MiB
	"trusted_schema = OFF", "foreign_keys = OFF",
}

// Open opens the history in dir, makes both where they are missing, and begins
// a run. Incidents that were open when the last one ended are closed.
//
// A corrupt file is set aside, see [Store.SetAside], and a new one begun. The
// error is an *InUseError when another agent has the directory, and a
// *NewerError when the file is of a newer version; that and a foreign one are
// left as they are.
func Open(dir string, c Config) (*Store, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{config: c, dir: dir, lock: lock}
	if err = s.open(); Corrupt(err) {
		var aside error
		if s.aside, aside = setAside(dir, c.Wall()); aside == nil {
			err = s.open()
		} else {
			err = errors.Join(err, aside)
		}
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

// open opens the file as it is; what it opened is closed when it fails.
func (s *Store) open() (err error) {
	path := filepath.Join(s.dir, fileName)
	// SQLite gives its files the mode of this one.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open the history: %w", err)
	}
	fi, err := f.Stat()
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("open the history: %w", err)
	}
	s.opened = fi
	settings := writing
	if fi.Size() == 0 { // once there is a table it cannot be changed, and setting it writes
		settings = append([]string{"auto_vacuum = INCREMENTAL"}, writing...)
	}
	if s.file, err = openFile(path, "", "busy_timeout = 2000"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = s.close()
		}
	}()
	// What is not ours is left as it is: the journal's mode is kept in the file.
	if _, _, err := s.version(len(migrations)); err != nil {
		return err
	}
	if err := s.set(settings); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), checkFor)
	defer cancel()
	if err := s.check(ctx); err != nil {
		return err
	}
	if err := s.migrate(migrations); err != nil {
		return err
	}
	return s.begin()
}

// begin closes what the last run left open, and begins one.
func (s *Store) begin() error {
	now := s.config.Wall()
	last, err := s.lastRun()
	if err != nil {
		return fmt.Errorf("read the last run: %w", err)
	}
	s.lived = last.lived + min(max(now.Sub(last.at), 0), mostAway)
	if last.id == 0 {
		s.lived = 0
	}
	s.began = s.config.Steady()
	number, err := s.number("SELECT max(coalesce((SELECT max(last_incident) FROM runs), 0), coalesce((SELECT max(number) FROM incidents), 0))")
	if err != nil {
		return fmt.Errorf("read the last incident's number: %w", err)
	}
	s.last = uint64(number)
	return s.transact(func() error {
		if err := s.endOpen(last.at); err != nil {
			return fmt.Errorf("end the incidents of the last run: %w", err)
		}
		if err := s.exec("DELETE FROM runs WHERE id <= ? AND id NOT IN (SELECT run FROM incidents)", last.id-mostRuns); err != nil {
			return fmt.Errorf("forget old runs: %w", err)
		}
		s.run = last.id + 1
		err := s.exec("INSERT INTO runs (id, version, began_us, last_us, ended, lived_ms, last_incident) VALUES (?, ?, ?, ?, 0, ?, ?)",
			s.run, s.config.Version, micros(now), micros(now), s.age().Milliseconds(), number)
		if err != nil {
			return fmt.Errorf("begin a run: %w", err)
		}
		return nil
	})
}

type run struct {
	id    int64
	at    time.Time
	lived time.Duration
}

func (s *Store) lastRun() (run, error) {
	var out run
	id, err := s.number("SELECT max(id) FROM runs")
	if err != nil || id == 0 {
		return out, err
	}
	var at, lived int64
	err = s.conn.QueryRowContext(context.Background(), "SELECT last_us, lived_ms FROM runs WHERE id = ?", id).Scan(&at, &lived)
	return run{id, wall(at), time.Duration(lived) * time.Millisecond}, err
}

// age is for how long agents ran with this store.
func (s *Store) age() time.Duration { return s.lived + s.config.Steady() - s.began }

// SetAside is where a corrupt file is now that Open found; empty for none.
func (s *Store) SetAside() string { return s.aside }

// Run is the number of this run of the agent, from 1.
func (s *Store) Run() int64 { return s.run }

// LastIncident is the highest number that any incident had; 0 for none.
func (s *Store) LastIncident() uint64 { return s.last }

// Configure takes over new limits.
func (s *Store) Configure(l Limits) { s.config.Limits = l }

// Batch makes all that do writes one transaction: all of it is there for good
// when Batch returns nil, and nothing of it when it returns an error.
func (s *Store) Batch(do func() error) error {
	if s.inBatch {
		return do()
	}
	s.inBatch = true
	defer func() { s.inBatch = false }()
	if err := s.inPlace(); err != nil {
		return err
	}
	return s.transact(func() error {
		if err := do(); err != nil {
			return err
		}
		return s.exec("UPDATE runs SET last_us = ?, lived_ms = ?, last_incident = ? WHERE id = ?", micros(s.config.Wall()), s.age().Milliseconds(), int64(s.last), s.run)
	})
}

// Close ends the run, and with it what is open. The file is closed in any case.
func (s *Store) Close() error {
	err := s.Batch(func() error {
		if err := s.endOpen(s.config.Wall()); err != nil {
			return err
		}
		return s.exec("UPDATE runs SET ended = 1 WHERE id = ?", s.run)
	})
	if err != nil {
		err = fmt.Errorf("end the run: %w", err)
	}
	return errors.Join(err, s.close(), s.lock.Close())
}

// inPlace sees whether what is open is what others find by its name: SQLite
// goes on in a file that was deleted, and all that it confirms ends with us.
func (s *Store) inPlace() error {
	lock, err := s.lock.Stat()
	if err != nil {
		return fmt.Errorf("look at the lock: %w", err)
	}
	for path, opened := range map[string]os.FileInfo{s.path: s.opened, s.lock.Name(): lock} {
		switch now, err := os.Stat(path); {
		case errors.Is(err, fs.ErrNotExist), err == nil && (!os.SameFile(now, opened) || now.Size() == 0 && path == s.path):
			return fmt.Errorf("%s: %w", path, ErrMoved)
		case err != nil:
			return fmt.Errorf("look at the history: %w", err)
		}
	}
	return nil
}

// Leave closes a store after ErrMoved, and writes nothing. Where another file
// has the name now the log of ours is renamed: SQLite would take it for that
// one's, https://www.sqlite.org/howtocorrupt.html section 1.3.
func (s *Store) Leave() error {
	err := s.close()
	if now, e := os.Stat(s.path); e == nil && !os.SameFile(now, s.opened) {
		e = os.Rename(s.path+"-wal", s.path+".left-"+s.config.Wall().UTC().Format("20060102T150405.000000000Z")+"-wal")
		if !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return errors.Join(err, s.lock.Close())
}

// Abandon closes a store whose file turned out to be corrupt, and sets it
// aside. It returns where the file is now.
func (s *Store) Abandon() (aside string, err error) {
	_ = s.close() // it is no good
	aside, err = setAside(s.dir, s.config.Wall())
	return aside, errors.Join(err, s.lock.Close())
}

package history

import (
	"context"
	"fmt"
)

// applicationID marks the file as ours: "FSHK". It is in the file's header, at
// offset 68. https://www.sqlite.org/fileformat2.html#application_id
const applicationID = 0x4653484b

// NewerError says that the file was written by a newer program.
type NewerError struct {
	Path       string
	Have, Know int // versions of the schema
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("%s has version %d of the history's schema, and this program knows up to %d: use the newer program that wrote it, or move the file away to begin a new one", e.Path, e.Have, e.Know)
}

// migrations lead from each version of the schema to the next: the first makes
// version 1 of an empty file. One that was released is never changed.
//
// Times (…_us) are microseconds since 1970 on the wall clock, UTC; 0 is none.
// lived_ms is the store's own age at the time of writing, in milliseconds that
// agents ran: it never steps. Identifiers of rows rise with time.
var migrations = []string{
	`CREATE TABLE runs (
	id INTEGER PRIMARY KEY,
	version TEXT NOT NULL,               -- of the program
	began_us INTEGER NOT NULL,
	last_us INTEGER NOT NULL,            -- when it last wrote
	ended INTEGER NOT NULL,              -- 1: in good order
	lived_ms INTEGER NOT NULL,           -- the store's age then
	last_incident INTEGER NOT NULL       -- the highest number given
);
CREATE TABLE segments (
	id INTEGER PRIMARY KEY,
	lived_ms INTEGER NOT NULL,
	from_us INTEGER NOT NULL,
	to_us INTEGER NOT NULL,
	kept INTEGER NOT NULL,               -- 1: for an incident
	data BLOB NOT NULL                   -- as package recording encodes it
);
CREATE INDEX segments_span ON segments (from_us, to_us);
CREATE INDEX segments_loose ON segments (id) WHERE kept = 0;
CREATE TABLE minutes (
	id INTEGER PRIMARY KEY,
	lived_ms INTEGER NOT NULL,
	start_us INTEGER NOT NULL,
	data BLOB NOT NULL                   -- packed, as package baseline encodes it
);
CREATE INDEX minutes_start ON minutes (start_us);
CREATE TABLE hours (
	id INTEGER PRIMARY KEY,
	lived_ms INTEGER NOT NULL,
	start_us INTEGER NOT NULL,
	data BLOB NOT NULL                   -- packed sketches, as package baseline encodes them
);
CREATE INDEX hours_start ON hours (start_us);
CREATE TABLE incidents (
	seq INTEGER PRIMARY KEY,
	run INTEGER NOT NULL,
	number INTEGER NOT NULL,             -- within the run
	scope TEXT NOT NULL,
	cause TEXT NOT NULL,
	state TEXT NOT NULL,
	severity TEXT NOT NULL,
	peak TEXT NOT NULL,
	resolved INTEGER NOT NULL,           -- 1: it is over
	suspected_us INTEGER NOT NULL,
	opened_us INTEGER NOT NULL,
	resolved_us INTEGER NOT NULL,
	updated_us INTEGER NOT NULL,
	keep_from_us INTEGER NOT NULL,       -- segments that overlap are kept; 0: none
	keep_to_us INTEGER NOT NULL,
	document BLOB NOT NULL,              -- JSON, as the API shows it
	UNIQUE (run, number)
);
CREATE INDEX incidents_resolved ON incidents (resolved, seq);
CREATE INDEX incidents_keep ON incidents (keep_from_us, keep_to_us) WHERE keep_to_us > 0;
CREATE TABLE outbox (
	id INTEGER PRIMARY KEY,
	created_us INTEGER NOT NULL,
	channel TEXT NOT NULL,
	receiver TEXT NOT NULL,
	notice BLOB NOT NULL                 -- JSON
);
CREATE TABLE left_out (
	id INTEGER PRIMARY KEY,
	at_us INTEGER NOT NULL,              -- when that was said
	from_us INTEGER NOT NULL,
	to_us INTEGER NOT NULL,
	scope TEXT NOT NULL,                 -- empty: every one
	why TEXT NOT NULL,
	who TEXT NOT NULL
);
CREATE TABLE audit (
	id INTEGER PRIMARY KEY,
	at_us INTEGER NOT NULL,
	who TEXT NOT NULL,
	what TEXT NOT NULL,
	detail TEXT NOT NULL
);`,
	// What an incident keeps of its end, beside keep_…, its beginning.
	`ALTER TABLE incidents ADD COLUMN tail_from_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE incidents ADD COLUMN tail_to_us INTEGER NOT NULL DEFAULT 0;
CREATE INDEX incidents_tail ON incidents (tail_from_us, tail_to_us) WHERE tail_to_us > 0;`,
	// The outbox as it is used, what planners remember, and what was done about
	// incidents. Nothing was ever in the outbox before.
	`DROP TABLE outbox;
CREATE TABLE outbox (
	id INTEGER PRIMARY KEY,              -- the order in which they go
	lived_ms INTEGER NOT NULL,           -- when it came into its state
	key TEXT NOT NULL,                   -- the notice's own
	channel TEXT NOT NULL,
	kind TEXT NOT NULL,                  -- the channel's: of another kind it is another one
	over INTEGER NOT NULL,               -- 1: it only says what is over
	state TEXT NOT NULL,                 -- waiting, delivered, undelivered, superseded
	created_us INTEGER NOT NULL,
	ended_us INTEGER NOT NULL,
	attempts INTEGER NOT NULL,
	error TEXT NOT NULL,                 -- of the last attempt
	notice BLOB NOT NULL,                -- JSON
	UNIQUE (key, channel)
);
CREATE INDEX outbox_waiting ON outbox (channel, id) WHERE state = 'waiting';
CREATE INDEX outbox_undelivered ON outbox (channel, id) WHERE state = 'undelivered';
CREATE INDEX outbox_ended ON outbox (lived_ms) WHERE state <> 'waiting';
CREATE TABLE memory (
	kind TEXT NOT NULL,                  -- whose it is
	key TEXT NOT NULL,
	data BLOB NOT NULL,                  -- its owner's
	PRIMARY KEY (kind, key)
) WITHOUT ROWID;
CREATE TABLE actions (
	id INTEGER PRIMARY KEY,
	incident INTEGER NOT NULL,           -- its number
	name TEXT NOT NULL,                  -- of the action, within the incident
	at_us INTEGER NOT NULL,
	data BLOB NOT NULL,                  -- JSON, as the API shows it
	UNIQUE (incident, name)
);`,
	// How the connections of a switch went. The switch itself is a memory.
	`CREATE TABLE drain_points (
	name TEXT NOT NULL,                  -- of the switch
	since_ms INTEGER NOT NULL,           -- after it; negative: before
	data BLOB NOT NULL,                  -- JSON, its owner's
	PRIMARY KEY (name, since_ms)
) WITHOUT ROWID;`,
}

// migrate leads the schema up to what steps lead to, each in a transaction of
// its own. A newer file, and one that is not ours, is left as it is.
func (f *file) migrate(steps []string) error {
	version, fresh, err := f.version(len(steps))
	if err == nil && fresh {
		err = f.exec(fmt.Sprintf("PRAGMA application_id = %d", applicationID))
	}
	if err != nil {
		return err
	}
	for ; version < len(steps); version++ {
		err := f.transact(func() error {
			return f.exec(steps[version] + fmt.Sprintf("\n;PRAGMA user_version = %d", version+1))
		})
		if err != nil {
			return fmt.Errorf("lead the history from version %d of its schema to the next: %w", version, err)
		}
	}
	return nil
}

// version is that of the file's schema; fresh is an empty file. It writes
// nothing.
func (f *file) version(know int) (version int, fresh bool, err error) {
	id, err := f.number("PRAGMA application_id")
	if err != nil {
		return 0, false, err
	}
	have, err := f.number("PRAGMA user_version")
	if err != nil {
		return 0, false, err
	}
	tables, err := f.number("SELECT count(*) FROM sqlite_schema")
	switch {
	case err != nil:
		return 0, false, err
	case id == 0 && have == 0 && tables == 0:
		return 0, true, nil
	case id != applicationID:
		return 0, false, fmt.Errorf("%s is a database, and not a history of ours: move it away", f.path)
	case int(have) > know:
		return 0, false, &NewerError{Path: f.path, Have: int(have), Know: know}
	}
	return int(have), false, nil
}

// check looks for damage for as long as ctx allows: what it does not come to is
// found when it is read.
func (f *file) check(ctx context.Context) error {
	var says string
	err := f.conn.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&says)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return fmt.Errorf("check the history: %w", err)
	case says != "ok":
		return fmt.Errorf("check the history: %w: %s", errDamaged, says)
	}
	return nil
}

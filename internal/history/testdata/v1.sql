-- A history of version 1 of the schema, with something in every table.
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA application_id = 1179863115;
CREATE TABLE runs (
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
);
PRAGMA user_version = 1;
INSERT INTO runs VALUES (4, 'v0.6.0', 1772442000000000, 1772445600000000, 0, 3600000, 41);
INSERT INTO segments VALUES (1, 60000, 1772442000000000, 1772442060000000, 0, x'00010203');
INSERT INTO minutes VALUES (1, 60000, 1772442000000000, x'0001');
INSERT INTO hours VALUES (1, 3600000, 1772442000000000, x'0002');
INSERT INTO incidents VALUES (1, 4, 40, 'service/web', 'workers_full', 'resolved', 'critical', 'critical', 1,
	1772442000000000, 1772442001000000, 1772442060000000, 1772442060000000, 1772441700000000, 1772442601000000, CAST('{"id":40,"state":"resolved"}' AS BLOB));
INSERT INTO incidents VALUES (2, 4, 41, 'backend/pool/b', 'path_lost', 'open', 'warning', 'warning', 0,
	1772443000000000, 1772443001000000, 0, 1772443060000000, 1772442700000000, 1772443601000000, CAST('{"id":41,"state":"open"}' AS BLOB));
INSERT INTO outbox VALUES (1, 1772442000000000, 'ops', 'https://ops.example/hook', CAST('{}' AS BLOB));
INSERT INTO left_out VALUES (1, 1772449200000000, 1772442000000000, 1772445600000000, '', 'a backup', 'ann');
INSERT INTO audit VALUES (1, 1772442000000000, 'ann', 'acknowledge', 'incident 40');

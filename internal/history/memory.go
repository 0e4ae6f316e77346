package history

import (
	"database/sql"
	"fmt"
	"time"
)

// Memory is what a planner of the roof must still know after a restart: whom it
// told what, what is silenced, which steps of a response were taken.
type Memory struct {
	Kind string // whose it is: "told", "silence", "response"
	Key  string // unique within its kind
	Data []byte // its owner's; nil forgets it
}

// Remember writes memories, each in place of the one of its kind and key.
func (s *Store) Remember(memories []Memory) error {
	return s.Batch(func() error {
		for _, m := range memories {
			var err error
			if m.Data == nil {
				err = s.exec("DELETE FROM memory WHERE kind = ? AND key = ?", m.Kind, m.Key)
			} else {
				err = s.exec("INSERT INTO memory (kind, key, data) VALUES (?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET data = excluded.data", m.Kind, m.Key, m.Data)
			}
			if err != nil {
				return fmt.Errorf("remember %s %s: %w", m.Kind, m.Key, err)
			}
		}
		return nil
	})
}

// Memories returns what is remembered of a kind, by key.
func (f *file) Memories(kind string) ([]Memory, error) {
	var out []Memory
	err := f.each("SELECT key, data FROM memory WHERE kind = ? ORDER BY key", []any{kind}, func(rows *sql.Rows) error {
		m := Memory{Kind: kind}
		if err := rows.Scan(&m.Key, &m.Data); err != nil {
			return err
		}
		out = append(out, m)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what is remembered of %s: %w", kind, err)
	}
	return out, nil
}

// Action is one thing that was done about an incident, or is being done.
type Action struct {
	Incident uint64
	// Name tells it from the incident's other ones; what is written again
	// under a name takes the place of what was there.
	Name string
	At   time.Time
	Data []byte // JSON, as the API shows it
}

// PutAction writes what was done.
func (s *Store) PutAction(a Action) error {
	return s.Batch(func() error {
		err := s.exec(`INSERT INTO actions (incident, name, at_us, data) VALUES (?, ?, ?, ?)
ON CONFLICT (incident, name) DO UPDATE SET at_us = excluded.at_us, data = excluded.data`, int64(a.Incident), a.Name, micros(a.At), a.Data)
		if err != nil {
			return fmt.Errorf("write what was done about incident %d: %w", a.Incident, err)
		}
		return nil
	})
}

// attached begins the names of attachments, which are in the same table.
const attached = "attached "

// PutAttachment writes what an action brought that is too much for the list:
// gathered evidence, what a hook was given and what it printed.
func (s *Store) PutAttachment(a Action) error {
	a.Name = attached + a.Name
	return s.PutAction(a)
}

// Attachments returns what the actions about an incident brought.
func (f *file) Attachments(incident uint64) ([]Action, error) {
	out, err := f.actions(incident, "name LIKE '"+attached+"%'")
	for i := range out {
		out[i].Name = out[i].Name[len(attached):]
	}
	return out, err
}

// Actions returns what was done about an incident, as it was first written.
func (f *file) Actions(incident uint64) ([]Action, error) {
	return f.actions(incident, "name NOT LIKE '"+attached+"%'")
}

func (f *file) actions(incident uint64, which string) ([]Action, error) {
	var out []Action
	err := f.each("SELECT name, at_us, data FROM actions WHERE incident = ? AND "+which+" ORDER BY id", []any{int64(incident)}, func(rows *sql.Rows) error {
		a := Action{Incident: incident}
		var at int64
		if err := rows.Scan(&a.Name, &at, &a.Data); err != nil {
			return err
		}
		a.At = wall(at)
		out = append(out, a)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what was done about incident %d: %w", incident, err)
	}
	return out, nil
}

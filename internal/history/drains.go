package history

import (
	"database/sql"
	"fmt"
	"time"
)

// DrainPoint is one point of how the connections of a switch went.
type DrainPoint struct {
	Since time.Duration // after the switch, to a millisecond; negative: before it
	Data  []byte        // its owner's
}

// PutDrainPoints writes points of the switch of that name; anew: in place of
// all that are there.
func (s *Store) PutDrainPoints(name string, points []DrainPoint, anew bool) error {
	return s.Batch(func() error {
		if anew {
			if err := s.exec("DELETE FROM drain_points WHERE name = ?", name); err != nil {
				return fmt.Errorf("forget how the switch of %s went: %w", name, err)
			}
		}
		for _, p := range points {
			err := s.exec("INSERT INTO drain_points (name, since_ms, data) VALUES (?, ?, ?) ON CONFLICT (name, since_ms) DO UPDATE SET data = excluded.data", name, p.Since.Milliseconds(), p.Data)
			if err != nil {
				return fmt.Errorf("write how the switch of %s goes: %w", name, err)
			}
		}
		return nil
	})
}

// DrainPoints returns the points of the switch of that name, in order.
func (f *file) DrainPoints(name string) ([]DrainPoint, error) {
	var out []DrainPoint
	err := f.each("SELECT since_ms, data FROM drain_points WHERE name = ? ORDER BY since_ms", []any{name}, func(rows *sql.Rows) error {
		var p DrainPoint
		var ms int64
		if err := rows.Scan(&ms, &p.Data); err != nil {
			return err
		}
		p.Since = time.Duration(ms) * time.Millisecond
		out = append(out, p)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read how the switch of %s went: %w", name, err)
	}
	return out, nil
}

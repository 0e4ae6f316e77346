package history

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMigrations: a file of version 1 is led up, and a step that fails leaves
// the version before it.
func TestMigrations(t *testing.T) {
	script, err := os.ReadFile("testdata/v1.sql")
	need(t, err)
	dir := t.TempDir()
	need(t, os.WriteFile(filepath.Join(dir, fileName), made(t, string(script)), 0o600))
	c := &times{wall: start}
	s := opened(t, dir, c.config())
	want := map[string]int64{"incidents": 2, "raw": 1, "minutes": 1, "hours": 1, "notices": 0, "left_out": 1, "audit": 1}
	if diff := cmp.Diff(want, rows(t, s.file)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if s.LastIncident() != 41 {
		t.Errorf("last incident %d, want 41", s.LastIncident())
	}
	got, err := s.Incidents(Query{})
	need(t, err)
	for _, i := range got {
		if !i.Over || !json.Valid(bytes.Split(i.Document, []byte(" ended"))[0]) {
			t.Errorf("incident %+v, document %s", i, i.Document)
		}
	}
	broken := append(append([]string{}, migrations...), "CREATE TABLE fine (x)", "CREATE TABLE more (x); nonsense")
	if err := s.migrate(broken); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("from version %d", len(migrations)+1)) {
		t.Errorf("a broken step: %v", err)
	}
	version, err := s.number("PRAGMA user_version")
	need(t, err)
	left, err := s.number("SELECT count(*) FROM sqlite_schema WHERE name = 'more'")
	need(t, err)
	if int(version) != len(migrations)+1 || left != 0 {
		t.Errorf("after the broken step: version %d, %d tables of it left", version, left)
	}
}

// TestFixture holds the script of version 1 to the schema it was made from: a
// released migration is never changed.
func TestFixture(t *testing.T) {
	script, err := os.ReadFile("testdata/v1.sql")
	need(t, err)
	if !strings.Contains(string(script), migrations[0]) {
		t.Error("testdata/v1.sql does not hold the first migration as it is: a released one must not change")
	}
}

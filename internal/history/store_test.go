package history

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foreshock/foreshock/internal/recording"
)

var start = time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)

// times are clocks that a test sets.
type times struct {
	wall   time.Time
	steady time.Duration
}

// pass lets time pass on both.
func (c *times) pass(d time.Duration) {
	c.wall = c.wall.Add(d)
	c.steady += d
}

func ended(document []byte, at time.Time) ([]byte, error) {
	return fmt.Appendf(nil, "%s ended %s", document, at.Format(time.RFC3339)), nil
}

func (c *times) config() Config {
	return Config{
		Limits:  Limits{Raw: 24 * time.Hour, Minutes: 28 * 24 * time.Hour, MaxSize: 1 << 30},
		Version: "test", Ended: ended,
		Wall: func() time.Time { return c.wall }, Steady: func() time.Duration { return c.steady },
	}
}

func need(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// opened opens a directory until the test ends.
func opened(t *testing.T, dir string, c Config) *Store {
	t.Helper()
	s, err := Open(dir, c)
	need(t, err)
	t.Cleanup(func() { _ = s.Close() }) // twice, in some tests
	return s
}

// retain deletes until nothing is left to do.
func retain(t *testing.T, s *Store) {
	t.Helper()
	for range 10_000 {
		more, err := s.Retain()
		need(t, err)
		if !more {
			return
		}
	}
	t.Fatal("Retain never comes to an end")
}

func rows(t *testing.T, f *file) map[string]int64 {
	t.Helper()
	stocks, err := f.Stocks()
	need(t, err)
	out := map[string]int64{}
	for _, s := range stocks {
		out[s.What] = s.Rows
	}
	return out
}

func incident(id uint64, at time.Time) Incident {
	return Incident{
		ID: id, Scope: "service/web", Cause: "workers_full", State: "open", Severity: "critical", Peak: "critical", Keeps: true,
		SuspectedAt: at, OpenedAt: at.Add(time.Second), UpdatedAt: at.Add(2 * time.Second), Document: fmt.Appendf(nil, `{"id":%d}`, id),
	}
}

func over(i Incident, at time.Time) Incident {
	i.State, i.Over, i.ResolvedAt, i.UpdatedAt = "resolved", true, at, at
	return i
}

// TestRoundTrip: what is written is read again, also by a reader beside the
// store and after it.
func TestRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "state")
	c := &times{wall: start}
	s := opened(t, dir, c.config())
	inc := incident(7, start)
	seg := recording.Segment{From: start, To: start.Add(time.Minute), Data: []byte("tallies")}
	left := LeftOut{At: start, From: start, To: start.Add(time.Hour), Scope: "service/web", Why: "a backup", By: "ann"}
	change := Change{At: start, Who: "ann", What: "acknowledge", Detail: "incident 7"}
	need(t, s.Batch(func() error {
		return errors.Join(s.PutIncidents([]Incident{inc}), s.PutSegment(seg), s.PutMinute(start, []byte("minute")), s.PutHour(start, []byte("replaced")), s.PutHour(start, []byte("hour")), s.PutLeftOut(left), s.Audit(change))
	}))
	check := func(f *file, want Incident) {
		t.Helper()
		incidents, err := f.Incidents(Query{})
		need(t, err)
		var segments []recording.Segment
		need(t, f.Segments(time.Time{}, time.Time{}, func(s recording.Segment) error { segments = append(segments, s); return nil }))
		var data []string
		keep := func(at time.Time, d []byte) error {
			data = append(data, at.Format(time.RFC3339)+" "+string(d))
			return nil
		}
		need(t, f.Minutes(start, start.Add(time.Minute), keep))
		need(t, f.Hours(time.Time{}, time.Time{}, nil, keep))
		need(t, f.Hours(time.Time{}, time.Time{}, func(at time.Time) bool { return !at.Equal(start) }, keep)) // not wanted: none
		need(t, f.Minutes(start.Add(time.Second), time.Time{}, keep))                                         // later: none
		lefts, err := f.LeftOuts()
		need(t, err)
		changes, err := f.Changes(10)
		need(t, err)
		want.Seq, want.Run = 1, 1
		got := []any{incidents, segments, data, lefts, changes}
		if diff := cmp.Diff([]any{[]Incident{want}, []recording.Segment{seg}, []string{"2026-03-02T10:00:00Z minute", "2026-03-02T10:00:00Z hour"}, []LeftOut{left}, []Change{change}}, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	check(s.file, inc)
	r, err := OpenReader(dir)
	need(t, err)
	check(r.file, inc)
	if err := r.exec("DELETE FROM incidents"); err == nil {
		t.Error("a reader may delete")
	}
	need(t, r.Close())
	c.pass(time.Minute)
	need(t, s.Close())
	r, err = OpenReader(dir)
	need(t, err)
	defer r.Close()
	inc = over(inc, c.wall)
	inc.UpdatedAt, inc.Document = start.Add(2*time.Second), []byte(`{"id":7} ended 2026-03-02T10:01:00Z`)
	check(r.file, inc)
	for name, want := range map[string]fs.FileMode{".": 0o700, fileName: 0o600, lockName: 0o600} {
		fi, err := os.Stat(filepath.Join(dir, name))
		need(t, err)
		if fi.Mode().Perm() != want {
			t.Errorf("%s has the mode %v, want %v", name, fi.Mode().Perm(), want)
		}
	}
}

// TestSettings holds the store to what its promises rest on.
func TestSettings(t *testing.T) {
	dir := t.TempDir()
	c := &times{wall: start}
	for _, when := range []string{"a new file", "again"} {
		s := opened(t, dir, c.config())
		for name, want := range map[string]int64{"synchronous": 2, "auto_vacuum": 2, "cache_size": -256, "mmap_size": 0, "wal_autocheckpoint": 256} {
			if got, err := s.number("PRAGMA " + name); err != nil || got != want {
				t.Errorf("%s: %s is %d, want %d; %v", when, name, got, want, err)
			}
		}
		var mode string
		if err := s.conn.QueryRowContext(t.Context(), "PRAGMA journal_mode").Scan(&mode); err != nil || mode != "wal" {
			t.Errorf("%s: journal_mode is %s; %v", when, mode, err)
		}
		need(t, s.Close())
	}
}

// TestNumbersGoOn after a restart, and those of a run before are not taken for
// those of this one.
func TestNumbersGoOn(t *testing.T) {
	dir := t.TempDir()
	c := &times{wall: start}
	s := opened(t, dir, c.config())
	need(t, s.PutIncidents([]Incident{incident(3, start)}))
	s.NoteNumber(9) // suspected, and never open
	need(t, s.Close())
	s = opened(t, dir, c.config())
	if s.LastIncident() != 9 || s.Run() != 2 {
		t.Errorf("last incident %d in run %d, want 9 in 2", s.LastIncident(), s.Run())
	}
	need(t, s.PutIncidents([]Incident{incident(3, start.Add(time.Hour))}))
	got, err := s.Incidents(Query{ID: 3})
	need(t, err)
	if len(got) != 2 || got[0].Run != 2 || got[1].Run != 1 {
		t.Errorf("incidents %+v, want both of number 3, the newer first", got)
	}
}

// TestCrashEndsIncidents: what was open when the agent was killed ended with
// it, at the last time that is known.
func TestCrashEndsIncidents(t *testing.T) {
	dir := t.TempDir()
	c := &times{wall: start}
	s := opened(t, dir, c.config())
	need(t, s.PutIncidents([]Incident{incident(1, start), over(incident(2, start), start.Add(time.Minute))}))
	c.pass(time.Hour)
	need(t, s.PutMinute(start, []byte{1})) // the last sign of life
	killed(t, s)
	c.pass(time.Hour)
	got, err := opened(t, dir, c.config()).Incidents(Query{})
	need(t, err)
	first := over(incident(1, start), start.Add(time.Hour))
	first.UpdatedAt, first.Document = start.Add(2*time.Second), []byte(`{"id":1} ended 2026-03-02T11:00:00Z`)
	want := []Incident{over(incident(2, start), start.Add(time.Minute)), first}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Incident{}, "Seq", "Run")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// killed ends a store as the end of its process does.
func killed(t *testing.T, s *Store) {
	t.Helper()
	need(t, errors.Join(s.close(), s.lock.Close()))
}

func TestQueries(t *testing.T) {
	c := &times{wall: start}
	s := opened(t, t.TempDir(), c.config())
	var all []Incident
	for id := uint64(1); id <= 5; id++ {
		at := start.Add(time.Duration(id) * time.Hour)
		all = append(all, over(incident(id, at), at.Add(time.Minute)))
	}
	all[4] = incident(5, start.Add(5*time.Hour))
	all[1].Severity = "watch"
	need(t, s.PutIncidents(all))
	for _, x := range []struct {
		name  string
		query Query
		want  []uint64
	}{
		{"all", Query{}, []uint64{5, 4, 3, 2, 1}},
		{"since a time: what is open is of any", Query{Since: start.Add(4 * time.Hour)}, []uint64{5, 4}},
		{"since later", Query{Since: start.Add(40 * time.Hour)}, []uint64{5}},
		{"until a time", Query{Until: start.Add(2 * time.Hour)}, []uint64{1}},
		{"a page", Query{Limit: 2}, []uint64{5, 4}},
		{"the next page", Query{Limit: 2, Before: 4}, []uint64{3, 2}},
		{"a state", Query{State: "open"}, []uint64{5}},
		{"a severity", Query{Severity: "watch"}, []uint64{2}},
		{"a number", Query{ID: 3}, []uint64{3}},
	} {
		got, err := s.Incidents(x.query)
		need(t, err)
		var ids []uint64
		for _, i := range got {
			ids = append(ids, i.ID)
		}
		if diff := cmp.Diff(x.want, ids); diff != "" {
			t.Errorf("%s: -want +got:\n%s", x.name, diff)
		}
	}
}

func TestOpenReaderWithout(t *testing.T) {
	if _, err := OpenReader(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("OpenReader: %v", err)
	}
}

// TestBatchIsAllOrNothing: an error in the middle undoes what was before it.
func TestBatchIsAllOrNothing(t *testing.T) {
	s := opened(t, t.TempDir(), (&times{wall: start}).config())
	stop := errors.New("stop")
	err := s.Batch(func() error {
		need(t, s.PutMinute(start, []byte{1}))
		return stop
	})
	if !errors.Is(err, stop) || rows(t, s.file)["minutes"] != 0 {
		t.Errorf("Batch: %v, %v", err, rows(t, s.file))
	}
	need(t, s.PutMinute(start, []byte{1}))
}

// What is another program's is left to the byte, and a history that was put in
// the place of ours is not mixed with our log.
func TestOthersFilesAreLeft(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, fileName)
	want := made(t, "CREATE TABLE theirs (a)", "INSERT INTO theirs VALUES (1)")
	need(t, os.WriteFile(path, want, 0o600))
	if _, err := Open(dir, (&times{}).config()); err == nil || !strings.Contains(err.Error(), "not a history of ours") {
		t.Fatalf("got %v", err)
	}
	got, err := os.ReadFile(path)
	need(t, err)
	if !bytes.Equal(got, want) {
		t.Error("the file was changed")
	}

	ours, theirs := t.TempDir(), t.TempDir()
	c := (&times{wall: start}).config()
	other := opened(t, theirs, c)
	need(t, other.PutMinute(c.Wall(), []byte("theirs")))
	need(t, other.Close())
	s, err := Open(ours, c)
	need(t, err)
	need(t, s.PutMinute(c.Wall(), []byte("ours")))
	need(t, os.Rename(filepath.Join(theirs, fileName), filepath.Join(ours, fileName)))
	if err := s.PutMinute(c.Wall(), []byte("more")); !errors.Is(err, ErrMoved) {
		t.Fatalf("got %v, want ErrMoved", err)
	}
	need(t, s.Leave())
	s = opened(t, ours, c)
	var minutes []string
	need(t, s.Minutes(time.Time{}, time.Time{}, func(_ time.Time, data []byte) error { minutes = append(minutes, string(data)); return nil }))
	if len(minutes) != 1 || minutes[0] != "theirs" {
		t.Errorf("the restored history has %q", minutes)
	}
}

package history

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestInUse: the second agent on a directory is told who the first one is; a
// process that ended holds nothing, whatever the file says.
func TestInUse(t *testing.T) {
	dir := t.TempDir()
	c := &times{wall: start}
	s := opened(t, dir, c.config())
	_, err := Open(dir, c.config())
	var used *InUseError
	if !errors.As(err, &used) || used.PID != os.Getpid() || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
		t.Errorf("the second got %v", err)
	}
	need(t, s.Close())
	for _, stale := range []string{"1\n", "-4", "no number", strings.Repeat("9", 100)} {
		need(t, os.WriteFile(filepath.Join(dir, lockName), []byte(stale), 0o600))
		need(t, opened(t, dir, c.config()).Close())
	}
}

func TestHolder(t *testing.T) {
	for said, want := range map[string]int{"12\n": 12, "": 0, "-4": 0, "x": 0, strings.Repeat("9", 100): 0} {
		if got := holder(strings.NewReader(said)); got != want {
			t.Errorf("holder(%q) = %d, want %d", said, got, want)
		}
	}
}

// TestSetAside: damage of any kind is set aside, with the log, and never
// deleted; what is not ours or newer stays where it is.
func TestSetAside(t *testing.T) {
	flip := func(from, to int) func(*testing.T, []byte) []byte {
		return func(_ *testing.T, b []byte) []byte {
			for i := max(0, from); i < min(to, len(b)); i++ {
				b[i] ^= 0xa5
			}
			return b
		}
	}
	for _, x := range []struct {
		name  string
		spoil func(*testing.T, []byte) []byte
		aside bool
		says  string // of the error; empty opens
	}{
		{"whole", flip(0, 0), false, ""},
		{"empty", func(*testing.T, []byte) []byte { return nil }, false, ""},
		{"no database", func(*testing.T, []byte) []byte { return bytes.Repeat([]byte("nonsense"), 1000) }, true, ""},
		{"cut short", func(_ *testing.T, b []byte) []byte { return b[:len(b)/2] }, true, ""},
		{"the schema", flip(100, 4096), true, ""},
		{"a page in the middle", flip(20_000, 60_000), true, ""},
		{"another program's", func(t *testing.T, _ []byte) []byte {
			return made(t, "CREATE TABLE songs (name TEXT)", "PRAGMA user_version = 7")
		}, false, "not a history of ours"},
		{"a newer version", func(t *testing.T, _ []byte) []byte {
			return made(t, fmt.Sprintf("PRAGMA application_id = %d", applicationID), "CREATE TABLE later (x)", "PRAGMA user_version = 99")
		}, false, fmt.Sprintf("version 99 of the history's schema, and this program knows up to %d: use the newer program", len(migrations))},
	} {
		t.Run(x.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, fileName)
			c := &times{wall: start}
			s := opened(t, dir, c.config())
			for id := range uint64(100) {
				need(t, s.PutIncidents([]Incident{over(incident(id+1, start), start)}))
				need(t, s.PutMinute(start, bytes.Repeat([]byte("m"), 1000)))
			}
			need(t, s.Close())
			before, err := os.ReadFile(path)
			need(t, err)
			spoiled := x.spoil(t, bytes.Clone(before))
			need(t, os.WriteFile(path, spoiled, 0o600))
			need(t, os.WriteFile(path+"-wal", []byte("log"), 0o600))
			s, err = Open(dir, c.config())
			if x.says != "" {
				if err == nil || !strings.Contains(err.Error(), x.says) {
					t.Fatalf("Open: %v, want one that says %q", err, x.says)
				}
				if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, spoiled) {
					t.Errorf("the file was changed: %v", err)
				}
				return
			}
			need(t, err)
			defer s.Close()
			if got := s.SetAside() != ""; got != x.aside {
				t.Fatalf("set aside: %q", s.SetAside())
			}
			if !x.aside {
				return
			}
			if want := path + ".corrupt-20260302T100000Z"; s.SetAside() != want {
				t.Errorf("set aside as %s, want %s", s.SetAside(), want)
			}
			if kept, err := os.ReadFile(s.SetAside()); err != nil || !bytes.Equal(kept, spoiled) {
				t.Errorf("what was set aside is not what was there: %v", err)
			}
			if got := rows(t, s.file)["incidents"]; got != 0 {
				t.Errorf("the new file has %d incidents", got)
			}
			need(t, s.PutIncidents([]Incident{incident(1, start)}))
		})
	}
}

// made is the file of a database that statements make.
func made(t *testing.T, statements ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "made.db")
	f, err := openFile(path, "")
	need(t, err)
	for _, s := range statements {
		need(t, f.exec(s))
	}
	need(t, f.close())
	data, err := os.ReadFile(path)
	need(t, err)
	return data
}

// TestAbandon: damage that is found later is set aside too, under a name of its
// own, and at some point no new file is begun.
func TestAbandon(t *testing.T) {
	dir := t.TempDir()
	c := &times{wall: start}
	for range mostAside {
		s := opened(t, dir, c.config())
		need(t, s.PutIncidents([]Incident{incident(1, start)}))
		if _, err := s.Abandon(); err != nil {
			t.Fatal(err)
		}
	}
	aside, err := Aside(dir)
	need(t, err)
	if len(aside) != mostAside {
		t.Errorf("set aside: %q", aside)
	}
	s := opened(t, dir, c.config())
	if _, err := s.Abandon(); !errors.Is(err, ErrTooManyAside) {
		t.Errorf("the sixth time: %v", err)
	}
	if !exists(filepath.Join(dir, fileName)) {
		t.Error("the file is gone")
	}
}

// TestReadOnly: a directory that cannot be written to is an error that wraps the
// system's, and a reader reads there.
func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	c := &times{wall: start}
	need(t, opened(t, dir, c.config()).Close())
	need(t, os.Chmod(dir, 0o500))
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	asNobody(t, dir)
	if _, err := Open(filepath.Join(dir, "below"), c.config()); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Open: %v", err)
	}
	r, err := OpenReader(dir)
	need(t, err)
	need(t, r.Close())
}

// asNobody takes root's right to every file from the calling goroutine, and
// gives it the directory and what is in it: as for any user, what the modes say
// holds. The thread ends with the test.
// Kernel: setfsuid(2) drops the capabilities on files with the id,
// cap_task_fix_setuid, security/commoncap.c.
func asNobody(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	const nobody = 65534
	need(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, nobody, nobody))
	}))
	for above := filepath.Dir(dir); above != os.TempDir() && above != "/"; above = filepath.Dir(above) {
		need(t, os.Chmod(above, 0o755))
	}
	runtime.LockOSThread() // and never unlocked
	_, err := unix.SetfsuidRetUid(nobody)
	need(t, err)
	t.Cleanup(func() { _, _ = unix.SetfsuidRetUid(0) }) // to remove the directory
}

func TestForOthersToWrite(t *testing.T) {
	dir := t.TempDir()
	need(t, os.Chmod(dir, 0o777))
	if _, err := Open(dir, (&times{wall: start}).config()); err == nil || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("Open where everybody may write: %v", err)
	}
}

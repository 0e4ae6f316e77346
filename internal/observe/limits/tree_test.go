package limits

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// tree is a fake machine: a root with files and a proc beside it.
type tree struct {
	t    *testing.T
	root string
	proc string
}

// fakeProcess is what proc shows of a process.
type fakeProcess struct {
	pid, parent int
	comm, exe   string   // exe is a path in the root
	args        []string // or one title
	env         []string
	cwd         string
	children    []int
	ticks       int // of its start
	uid         int // and gid; 0 has all capabilities
	more        map[string]string
}

// newTree lays out testdata/NAME.txtar, in which "-- LINK -> TARGET --" is a
// symbolic link. Later files take the place of earlier ones; a text that is
// "(absent)" removes one.
func newTree(t *testing.T, name string, changes map[string]string) *tree {
	t.Helper()
	dir := t.TempDir()
	m := &tree{t: t, root: filepath.Join(dir, "root"), proc: filepath.Join(dir, "proc")}
	m.must(os.MkdirAll(m.root, 0o755))
	m.must(os.MkdirAll(m.proc, 0o755))
	if name != "" {
		archive, err := txtar.ParseFile("testdata/" + name + ".txtar")
		m.must(err)
		if len(archive.Files) == 0 {
			t.Fatalf("testdata/%s.txtar holds no files", name)
		}
		for _, f := range archive.Files {
			m.put(f.Name, string(f.Data))
		}
	}
	for name, text := range changes {
		m.put(name, text)
	}
	return m
}

func (m *tree) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *tree) put(name, text string) {
	m.t.Helper()
	name, target, link := strings.Cut(name, " -> ")
	at := filepath.Join(m.root, name)
	m.must(os.MkdirAll(filepath.Dir(at), 0o755))
	switch {
	case link:
		m.must(os.Symlink(target, at))
	case text == "(absent)":
		m.must(os.Remove(at))
	default:
		m.must(os.WriteFile(at, []byte(text), 0o644))
	}
}

func (m *tree) run(p fakeProcess) {
	m.t.Helper()
	dir := filepath.Join(m.proc, fmt.Sprint(p.pid))
	task := filepath.Join(dir, "task", fmt.Sprint(p.pid))
	m.must(os.MkdirAll(task, 0o755))
	capabilities := 0
	if p.uid == 0 {
		capabilities = 1<<41 - 1
	}
	files := map[string]string{
		"comm":    p.comm + "\n",
		"cmdline": strings.Join(p.args, "\x00") + "\x00",
		"environ": strings.Join(p.env, "\x00") + "\x00",
		"status":  fmt.Sprintf("Name:\t%s\nPPid:\t%d\nUid:\t%[3]d\t%[3]d\t%[3]d\t%[3]d\nGid:\t%[3]d\t%[3]d\t%[3]d\t%[3]d\nGroups:\t%[3]d\nCapEff:\t%016x\nCpus_allowed:\t0000,0000000f\n", p.comm, p.parent, p.uid, capabilities),
		"stat":    fmt.Sprintf("%d (a) b) S %d 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d 0 0\n", p.pid, p.parent, p.ticks),
	}
	maps.Copy(files, p.more)
	for name, text := range files {
		m.must(os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	m.must(os.WriteFile(filepath.Join(task, "children"), []byte(strings.Trim(fmt.Sprint(p.children), "[]")), 0o644))
	for name, target := range map[string]string{
		"root": m.root,
		"cwd":  filepath.Join(m.root, p.cwd),
		"exe":  filepath.Join(m.root, cmp.Or(p.exe, "/usr/sbin/"+p.comm)),
	} {
		at := filepath.Join(dir, name)
		_ = os.Remove(at)
		m.must(os.Symlink(target, at))
	}
}

// boot sets the time from which ticks count.
func (m *tree) boot(at time.Time) {
	m.t.Helper()
	m.must(os.WriteFile(filepath.Join(m.proc, "stat"), fmt.Appendf(nil, "cpu 0\nbtime %d\n", at.Unix()), 0o644))
}

// touch sets when a file was changed.
func (m *tree) touch(name string, at time.Time) {
	m.t.Helper()
	m.must(os.Chtimes(filepath.Join(m.root, name), at, at))
}

// touchAll sets it of every file.
func (m *tree) touchAll(at time.Time) {
	m.t.Helper()
	m.must(filepath.WalkDir(m.root, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.Type()&os.ModeSymlink != 0 {
			return err
		}
		return os.Chtimes(name, at, at)
	}))
}

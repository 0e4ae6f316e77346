package limits

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/scope"
)

func TestRootReads(t *testing.T) {
	m := newTree(t, "", map[string]string{
		"etc/a":                        "inside",
		"etc/up -> ../../../../etc/a":  "",
		"etc/absolute -> /etc/a":       "",
		"etc/round -> /etc/round":      "",
		"etc/magic -> /proc/self/root": "",
		"etc/huge":                     strings.Repeat("#", maxFile+1),
		"etc/nul":                      "a\x00b",
		"dir/x":                        "",
	})
	m.must(unix.Mkfifo(filepath.Join(m.root, "etc/fifo"), 0o644))
	// Beside the root, where no link may lead.
	m.must(os.WriteFile(filepath.Join(m.root, "../outside"), []byte("outside"), 0o644))
	m.put("etc/out -> ../../outside", "")
	r, err := openRoot(m.root, rights{known: true, all: true})
	m.must(err)
	defer r.close()
	for name, want := range map[string]error{
		"/etc/a": nil, "/etc/up": nil, "/etc/absolute": nil, "/../../etc/a": nil,
		"/etc/out": fs.ErrNotExist, "/etc/magic": fs.ErrNotExist, "/etc/gone": fs.ErrNotExist, "/etc/round": unix.ELOOP,
		"/etc/fifo": errNotRegular, "/dir": errNotRegular, "/etc/huge": errTooLarge, "/etc/nul": errBinary,
	} {
		data, err := r.read(name)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if want == nil && string(data) != "inside" || want != nil && data != nil {
			t.Errorf("%s: read %.20q", name, data)
		}
	}
}

func TestRootGlobs(t *testing.T) {
	m := newTree(t, "", map[string]string{"a/1.conf": "", "a/2.conf": "", "a/.3.conf": "", "b/1.conf": "", "b/x": "", "c": ""})
	r, err := openRoot(m.root, rights{known: true, all: true})
	m.must(err)
	defer r.close()
	for pattern, want := range map[string][]string{
		"/a/*.conf":  {"/a/1.conf", "/a/2.conf"},
		"/*/1.conf":  {"/a/1.conf", "/b/1.conf", "/c/1.conf"},
		"/?/[!1]*":   {"/a/2.conf", "/b/x"},
		"/a/.*":      {"/a/.3.conf"},
		"/gone":      {"/gone"},
		"/gone/*":    nil,
		"/a/[":       nil,
		"/../b/./x*": {"/b/x"},
	} {
		got, err := r.glob(pattern)
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", pattern, diff)
		}
	}
}

func TestReadingIsBounded(t *testing.T) {
	changes := map[string]string{rhelExtra: strings.Repeat("Include conf.d/big.inc\n", 10), "etc/httpd/conf.d/big.inc": strings.Repeat("# filler\n", maxFile/9)}
	m := newTree(t, "rhel-httpd", changes)
	m.run(rhelApache)
	got, _, _ := Of(m.proc, 100, "httpd", "", nil)
	if got.Limit != 0 || !strings.Contains(got.Problem, errTooMuch.Error()) {
		t.Errorf("%+v", got)
	}
}

func TestUnknownServers(t *testing.T) {
	for _, p := range [][2]string{{"java", "/usr/bin/java"}, {"nginx", "/usr/bin/evil"}, {"httpd", "/bin/busybox"}, {"", ""}, {"php-cgi", ""}} {
		if w, stamp, ok := Of("/proc", os.Getpid(), p[0], p[1], nil); ok || w != (scope.Workers{}) || stamp.Changed() {
			t.Errorf("%q: %+v", p, w)
		}
	}
}

// A process that is gone, or not ours to look into.
func TestRootOutOfReach(t *testing.T) {
	m := newTree(t, "nginx", nil)
	got, stamp, ok := Of(m.proc, 100, "nginx", "", nil)
	want := scope.Workers{Software: "nginx", Held: scope.HeldByRequest, Problem: "the files of process 100 cannot be reached: no such file or directory"}
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Errorf("%v (-want +got):\n%s", ok, diff)
	}
	if stamp.Changed() {
		t.Error("changed while it is still out of reach")
	}
	m.run(nginxMaster("nginx"))
	if !stamp.Changed() {
		t.Error("not changed when it can be reached")
	}
}

func TestRefusalSaysWhatHelps(t *testing.T) {
	r := &reading{}
	r.doubt("x cannot be read: %s%s", reason(&os.PathError{Err: unix.EACCES}), forOthers(&os.PathError{Err: unix.EACCES}))
	want := "x cannot be read: permission denied; run foreshock as root or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, or write the limit into workers_from"
	if diff := cmp.Diff([]string{want}, r.doubts); diff != "" {
		t.Error(diff)
	}
}

func TestStamp(t *testing.T) {
	const site = "etc/nginx/conf.d/default.conf"
	for name, change := range map[string]func(*tree){
		"a file is written":        func(m *tree) { m.put(site, "server {}") },
		"a file is touched":        func(m *tree) { m.touch(site, time.Unix(1e9, 0)) },
		"a file goes":              func(m *tree) { m.put(site, "(absent)") },
		"a file comes":             func(m *tree) { m.put("etc/nginx/conf.d/more.conf", "") },
		"another process":          func(m *tree) { m.run(fakeProcess{pid: 100, comm: "nginx", args: []string{"nginx"}, ticks: 7}) },
		"the process goes":         func(m *tree) { m.must(os.RemoveAll(m.proc + "/100")) },
		"a file is put in instead": func(m *tree) { m.must(os.Rename(m.root+"/etc/nginx/mime.types", m.root+"/"+site)) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newTree(t, "nginx", nil)
			m.touchAll(time.Unix(1.5e9, 0))
			m.run(nginxMaster("nginx"))
			_, stamp, _ := Of(m.proc, 100, "nginx", "", nil)
			if stamp.Changed() {
				t.Error("changed at once")
			}
			change(m)
			if !stamp.Changed() {
				t.Error("not noticed")
			}
		})
	}
}

// A file that is newer than the last reload is said to be so until the reload.
func TestFileNewerThanServer(t *testing.T) {
	boot := time.Unix(1_700_000_000, 0)
	const newer = "/etc/nginx/conf.d/default.conf is newer than the running server: it may not be in use yet; reload the server"
	m := newTree(t, "nginx", nil)
	m.boot(boot)
	m.touchAll(boot)
	m.touch("etc/nginx/conf.d/default.conf", boot.Add(100*time.Second))
	worker := func(pid, ticks int) {
		m.run(fakeProcess{pid: pid, parent: 100, comm: "nginx", exe: "/usr/sbin/nginx", args: []string{"nginx: worker process"}, ticks: ticks})
		master := nginxMaster("nginx: master process nginx")
		master.ticks, master.children = 1000, []int{pid}
		m.run(master)
	}
	worker(101, 1001)
	got, stamp, _ := Of(m.proc, 100, "nginx", "", nil)
	if got.Problem != newer || got.Limit != 1021 {
		t.Errorf("before the reload: %+v", got)
	}
	if stamp.Changed() {
		t.Error("changed before the reload")
	}
	worker(102, 20_000)
	if !stamp.Changed() {
		t.Error("the reload went unnoticed")
	}
	if got, _, _ := Of(m.proc, 100, "nginx", "", nil); got.Problem != "" {
		t.Errorf("after the reload: %+v", got)
	}
}

// Apache's and PHP-FPM's pid file tells the reload; ServerLimit outlasts it.
func TestPidFileTellsReload(t *testing.T) {
	boot := time.Unix(1_700_000_000, 0)
	m := newTree(t, "debian-apache2", map[string]string{debianPrefork: "ServerLimit 30\nMaxRequestWorkers 20\n", "var/run/apache2/apache2.pid": "100\n"})
	m.boot(boot)
	m.touchAll(boot)
	p := debianApache
	p.ticks = 1000
	m.run(p)
	of := func() string {
		got, _, _ := Of(m.proc, 100, "apache2", "", nil)
		return got.Problem
	}
	if got := of(); got != "" {
		t.Errorf("unchanged: %s", got)
	}
	m.touch(debianPrefork, boot.Add(100*time.Second))
	if got, want := of(), "/etc/apache2/mods-enabled/mpm_prefork.conf is newer than the running server: it may not be in use yet; reload the server"; got != want {
		t.Errorf("changed: %q", got)
	}
	m.touch("var/run/apache2/apache2.pid", boot.Add(200*time.Second))
	if got, want := of(), "/etc/apache2/mods-enabled/mpm_prefork.conf is newer than the server: a new ServerLimit is only taken up by a restart, not by a reload"; got != want {
		t.Errorf("reloaded: %q", got)
	}
}

package limits

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// stranger is a uid that owns none of the files of a test.
const stranger = 61_234

// Any user may run a program of a server's name, and give it whatever command
// line. It must not have root's files read, nor learn what is in them.
func TestImpostorLearnsNothing(t *testing.T) {
	const secret, hidden = "hunter2", "plan_b" // a text, and a name that not all may list
	files := map[string]string{
		"root/.my.cnf":            "[" + secret + "]\npassword=\"" + secret + " and more\nuser = " + secret + "\n",
		"root/secret/" + hidden:   "Dear board,\n",
		"tmp/all.conf":            "include /root/secret/*;\n",
		"tmp/one.conf":            "include /root/secret/" + hidden + ";\n",
		"tmp/apache.conf":         "Include /root/secret\nInclude /root/secret/*\n",
		"tmp/link -> /root":       "",
		"tmp/direct.conf":         "include /tmp/open/" + hidden + ";\n",
		"tmp/open/" + hidden:      "worker_processes " + secret + ";\n",
		"var/lib/shut/" + hidden:  "worker_connections " + secret + ";\n",
		"tmp/shut.conf":           "events { include /var/lib/shut/" + hidden + "; }\n",
		"home/eve/own.conf":       "worker_processes 2;\n",
		"home/eve/fpm.conf":       "[" + secret + "]\nlisten = 80\npm.max_children = " + secret + "\n",
		"home/eve/httpd.conf":     "LoadModule mpm_" + secret + "_module x.so\nMaxRequestWorkers " + secret + "\n",
		"home/eve/nosuch.conf":    "include /root/" + secret + ";\n",
		"home/eve/up.conf":        "include ../../tmp/../root/.my.cnf;\n",
		"home/eve/fpm-other.conf": "include = /root/.my.cnf\n",
	}
	m := newTree(t, "", files)
	shut := func(name string, mode os.FileMode) { m.must(os.Chmod(filepath.Join(m.root, name), mode)) }
	shut("tmp/open/"+hidden, 0o600)
	// The root directory may not be searched, nor that of shut be listed.
	shut("root", 0o700)
	shut("var/lib/shut", 0o711)
	shut("var/lib/shut/"+hidden, 0o640)
	for _, p := range []fakeProcess{
		{comm: "php-fpm", args: []string{"php-fpm: master process (/root/.my.cnf)"}},
		{comm: "php-fpm", args: []string{"php-fpm: master process (/tmp/link/.my.cnf)"}},
		{comm: "php-fpm", args: []string{"php-fpm", "-y", "/home/eve/fpm.conf"}},
		{comm: "php-fpm", args: []string{"php-fpm", "-y", "/home/eve/fpm-other.conf"}},
		{comm: "nginx", args: []string{"nginx: master process nginx -c /tmp/all.conf"}},
		{comm: "nginx", args: []string{"nginx: master process nginx -c /tmp/one.conf"}},
		{comm: "nginx", args: []string{"nginx: master process nginx -c /tmp/direct.conf"}},
		{comm: "nginx", args: []string{"nginx: master process nginx -c /tmp/shut.conf"}},
		{comm: "nginx", args: []string{"nginx", "-c", "/home/eve/nosuch.conf"}},
		{comm: "nginx", args: []string{"nginx", "-c", "/home/eve/up.conf"}},
		{comm: "httpd", args: []string{"httpd", "-f", "/tmp/apache.conf"}},
		{comm: "httpd", args: []string{"httpd", "-f", "/root/.my.cnf"}},
		{comm: "httpd", args: []string{"httpd", "-f", "/home/eve/httpd.conf"}},
	} {
		p.pid, p.uid = 7, stranger
		m.run(p)
		for _, who := range []string{"eve", "root"} {
			// What root itself misspelt is not for everybody's eyes either.
			if who == "root" {
				p.uid = 0
				m.run(p)
			}
			got, stamp, ok := Of(m.proc, 7, p.comm, "", []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:80")})
			all := fmt.Sprintf("%+v", got)
			if !ok || got.Limit != 0 || got.Problem == "" || strings.Contains(all, secret) || who == "eve" && strings.Contains(all, hidden) {
				t.Errorf("%s as %s: %s", p.args, who, all)
			}
			if stamp.Changed() {
				t.Errorf("%s as %s: changed at once", p.args, who)
			}
		}
	}
}

// Who may read a configuration, by the modes alone.
func TestRights(t *testing.T) {
	m := newTree(t, "", map[string]string{"dir/file": "x", "link -> dir": "", "far -> /link/../link/file": "", "round -> /round": "", "etc/out -> ../../outside": ""})
	m.must(os.WriteFile(filepath.Join(m.root, "../outside"), []byte("outside"), 0o644))
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
	owner := rights{known: true, uid: uid, gids: []uint32{gid}}
	group := rights{known: true, uid: stranger, gids: []uint32{stranger, gid}}
	other := rights{known: true, uid: stranger, gids: []uint32{stranger}}
	denied, gone := errDenied(stranger).Error(), "no such file or directory"
	for _, test := range []struct {
		name      string
		dir, file os.FileMode
		as        rights
		path      string
		want      string // error
	}{
		{"everybody's", 0o755, 0o644, other, "/dir/file", ""},
		{"through links", 0o755, 0o644, other, "/far", ""},
		{"above the root", 0o755, 0o644, other, "/../../dir/./file", ""},
		{"out of the root", 0o755, 0o644, other, "/etc/out", gone},
		{"a link to itself", 0o755, 0o644, other, "/round", unix.ELOOP.Error()},
		{"below a file", 0o755, 0o644, other, "/dir/file/x", unix.ENOTDIR.Error()},
		{"not there", 0o755, 0o644, other, "/dir/none", gone},
		{"not there, behind a door", 0o700, 0o644, other, "/dir/none", denied},
		{"the owner's", 0o700, 0o600, owner, "/dir/file", ""},
		{"the owner's, not for the owner", 0o755, 0o044, owner, "/dir/file", errDenied(uid).Error()},
		{"the group's", 0o750, 0o640, group, "/dir/file", ""},
		{"the group's, not for the group", 0o755, 0o604, group, "/dir/file", denied},
		{"the group's, for another", 0o755, 0o640, other, "/dir/file", denied},
		{"a door on the way", 0o750, 0o644, other, "/dir/file", denied},
		{"a door behind a link", 0o750, 0o644, other, "/far", denied},
		{"nobody known", 0o755, 0o644, rights{}, "/dir/file", errUnknownOwner.Error()},
	} {
		t.Run(test.name, func(t *testing.T) {
			m.must(os.Chmod(filepath.Join(m.root, "dir/file"), test.file))
			m.must(os.Chmod(filepath.Join(m.root, "dir"), test.dir))
			defer func() { m.must(os.Chmod(filepath.Join(m.root, "dir"), 0o755)) }()
			r := &root{rights: test.as}
			var err error
			r.dir, err = os.Open(m.root)
			m.must(err)
			defer r.close()
			_, err = r.read(test.path)
			got := ""
			if err != nil {
				got = reason(err)
			}
			// As root we may read what our own mode denies.
			if got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// A directory that may be searched but not read gives no names away.
func TestListingNeedsToBeAllowed(t *testing.T) {
	m := newTree(t, "", map[string]string{"dir/file": "x"})
	m.must(os.Chmod(filepath.Join(m.root, "dir"), 0o711))
	r, err := openRoot(m.root, rights{known: true, uid: stranger})
	m.must(err)
	defer r.close()
	if names, err := r.glob("/dir/*"); err == nil || len(names) > 0 {
		t.Errorf("%v, %v", names, err)
	}
	if data, err := r.read("/dir/file"); err != nil {
		t.Errorf("%q, %v", data, err)
	}
}

func TestProcessRights(t *testing.T) {
	all := fmt.Sprintf("%016x", 1<<41-1)
	for name, test := range map[string]struct {
		uid, gid, groups, capabilities string
		want                           rights
	}{
		"root":                  {"0 0 0 0", "0 0 0 0", "", all, rights{known: true, all: true, gids: []uint32{0}}},
		"root without the caps": {"0 0 0 0", "0 0 0 0", "", "0000000000000400", rights{known: true, gids: []uint32{0}}},
		"set-uid root":          {"1000 0 0 0", "1000 1000 1000 1000", "4 27", all, rights{known: true, uid: 1000, gids: []uint32{4, 27, 1000}}},
		"nobody special":        {"33 33 33 33", "33 33 33 33", "33", "0", rights{known: true, uid: 33, gids: []uint32{33, 33}}},
		"root in a container":   {"100000 100000 100000 100000", "100000 100000 100000 100000", "", all, rights{known: true, uid: 100000, gids: []uint32{100000}}},
		"junk":                  {"0 0 0 x", "0 0 0 0", "", all, rights{}},
		"short":                 {"0 0", "0 0 0 0", "", all, rights{}},
	} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "7"), 0o755); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("Name:\tx\nUid:\t%s\nGid:\t%s\nGroups:\t%s \nCapEff:\t%s\n", test.uid, test.gid, test.groups, test.capabilities)
		if err := os.WriteFile(filepath.Join(dir, "7/status"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, process{dir, 7}.rights(), cmp.AllowUnexported(rights{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got := (process{"/proc", os.Getpid()}).rights(); !got.known || got.uid != uint32(os.Getuid()) {
		t.Errorf("our own: %+v", got)
	}
}

// A live one: a process of another user, where we may start one, that is called
// nginx and names a file of ours that only we may read.
func TestLiveImpostor(t *testing.T) {
	dir := t.TempDir()
	for at := dir; at != "/" && at != os.TempDir(); at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(dir, "secret.conf")
	if err := os.WriteFile(secret, []byte("worker_processes 4;\nevents { worker_connections 77; }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(cat)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "nginx")
	if err := os.WriteFile(program, data, 0o755); err != nil {
		t.Fatal(err)
	}
	of := func(as *syscall.Credential) (limit int, problem string) {
		cmd := exec.Command(program)
		cmd.Args = []string{"nginx: master process nginx -c " + secret}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = in.Close()
			_ = cmd.Wait()
		}()
		// It answers: so it has executed the program.
		if _, err := io.WriteString(in, "x"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		w, _, _ := Of("/proc", cmd.Process.Pid, "nginx", program, nil)
		return w.Limit, w.Problem
	}
	if limit, problem := of(nil); limit == 0 {
		t.Errorf("our own is not read: %s", problem)
	}
	if os.Getuid() != 0 {
		return // of another user's process the kernel shows us nothing
	}
	if limit, problem := of(&syscall.Credential{Uid: stranger, Gid: stranger}); limit != 0 || !strings.Contains(problem, errDenied(stranger).Error()) {
		t.Errorf("%d, %q", limit, problem)
	}
}

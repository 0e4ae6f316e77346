package limits

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/scope"
)

var (
	debianApache = fakeProcess{
		pid: 100, parent: 1, comm: "apache2", exe: "/usr/sbin/apache2", args: []string{"/usr/sbin/apache2", "-k", "start"},
		env: []string{"APACHE_RUN_DIR=/var/run/apache2", "APACHE_PID_FILE=/var/run/apache2/apache2.pid", "APACHE_LOG_DIR=/var/log/apache2"},
	}
	rhelApache = fakeProcess{pid: 100, parent: 1, comm: "httpd", exe: "/usr/sbin/httpd", args: []string{"/usr/sbin/httpd", "-DFOREGROUND"}}
)

const (
	debianPrefork = "etc/apache2/mods-available/mpm_prefork.conf"
	rhelMPM       = "etc/httpd/conf.modules.d/00-mpm.conf"
	rhelExtra     = "etc/httpd/conf.d/limits.conf"
	rhelMain      = "etc/httpd/conf/httpd.conf"
	loadPrefork   = "LoadModule mpm_prefork_module modules/mod_mpm_prefork.so\n"
	loadWorker    = "LoadModule mpm_worker_module modules/mod_mpm_worker.so\n"
)

func prefork(limit int, origin, problem string) scope.Workers {
	return scope.Workers{Software: "apache prefork", Held: scope.HeldByConnection, Limit: limit, Origin: origin, Problem: problem}
}

func event(limit int, origin, problem string) scope.Workers {
	return scope.Workers{Software: "apache event", Held: scope.HeldByRequest, Limit: limit, Origin: origin, Problem: problem}
}

func TestApache(t *testing.T) {
	const at = "/etc/httpd/conf.d/limits.conf"
	for _, test := range []struct {
		name    string
		tree    string
		process fakeProcess
		changes map[string]string
		want    scope.Workers
	}{
		{
			name: "Debian, through symbolic links", tree: "debian-apache2", process: debianApache,
			want: prefork(150, "MaxRequestWorkers 150, /etc/apache2/mods-enabled/mpm_prefork.conf:5", ""),
		},
		{
			name: "prefork's default", tree: "debian-apache2", process: debianApache, changes: map[string]string{debianPrefork: "StartServers 5\n"},
			want: prefork(256, "Apache's built-in default for prefork, 256: MaxRequestWorkers is not set", ""),
		},
		{
			name: "the old name, any case, a joined line, quotes", tree: "debian-apache2", process: debianApache,
			changes: map[string]string{debianPrefork: "# a comment \\\nMaxRequestWorkers 9\nmaxCLIENTS \\\n   \"20\"\n"},
			want:    prefork(20, "MaxClients 20, /etc/apache2/mods-enabled/mpm_prefork.conf:3", ""),
		},
		{
			name: "the last one holds", tree: "debian-apache2", process: debianApache, changes: map[string]string{debianPrefork: "MaxRequestWorkers 20\nMaxRequestWorkers 30\n"},
			want: prefork(30, "MaxRequestWorkers 30, /etc/apache2/mods-enabled/mpm_prefork.conf:2", ""),
		},
		{
			name: "above the default ServerLimit", tree: "debian-apache2", process: debianApache, changes: map[string]string{debianPrefork: "MaxRequestWorkers 500\n"},
			want: prefork(256, "MaxRequestWorkers 500, /etc/apache2/mods-enabled/mpm_prefork.conf:1, lowered to ServerLimit 256 (Apache's default)",
				"MaxRequestWorkers 500 is above ServerLimit 256 (Apache's default): Apache serves 256; raise ServerLimit"),
		},
		{
			name: "ServerLimit below the default", tree: "debian-apache2", process: debianApache, changes: map[string]string{debianPrefork: "ServerLimit 40\n"},
			want: prefork(40, "Apache's built-in default for prefork, 256: MaxRequestWorkers is not set, lowered to ServerLimit 40", ""),
		},
		{
			name: "a number from the environment", tree: "debian-apache2", changes: map[string]string{debianPrefork: "MaxRequestWorkers ${WORKERS}\n"},
			process: func() fakeProcess { p := debianApache; p.env = []string{"WORKERS=33"}; return p }(),
			want:    prefork(33, "MaxRequestWorkers 33, /etc/apache2/mods-enabled/mpm_prefork.conf:1", ""),
		},
		{
			name: "a variable that nobody sets", tree: "debian-apache2", process: debianApache, changes: map[string]string{debianPrefork: "MaxRequestWorkers ${WORKERS}\n"},
			want: prefork(0, "", `/etc/apache2/mods-enabled/mpm_prefork.conf:1: MaxRequestWorkers: not a whole number from 1 to 1073741824`),
		},
		{
			name: "Red Hat: event at its defaults", tree: "rhel-httpd", process: rhelApache,
			want: event(400, "Apache's built-in default for event, 400: MaxRequestWorkers is not set", ""),
		},
		{
			name: "no whole processes", tree: "rhel-httpd", process: rhelApache, changes: map[string]string{rhelExtra: "MaxRequestWorkers 90\n"},
			want: event(75, "MaxRequestWorkers 90, "+at+":1, lowered to 75, a multiple of ThreadsPerChild 25 (Apache's default)", ""),
		},
		{
			name: "fewer than one process has", tree: "rhel-httpd", process: rhelApache, changes: map[string]string{rhelExtra: "MaxRequestWorkers 20\n"},
			want: event(25, "MaxRequestWorkers 20, "+at+":1, raised to ThreadsPerChild 25 (Apache's default)",
				"MaxRequestWorkers 20 is below ThreadsPerChild 25 (Apache's default): Apache serves 25"),
		},
		{
			name: "more processes than ServerLimit", tree: "rhel-httpd", process: rhelApache, changes: map[string]string{rhelExtra: "ServerLimit 4\nThreadsPerChild 10\nMaxRequestWorkers 100\n"},
			want: event(40, "MaxRequestWorkers 100, "+at+":3, lowered to 40 by ServerLimit 4 × ThreadsPerChild 10",
				"MaxRequestWorkers 100 needs 10 processes and ServerLimit 4 is lower: Apache serves 40; raise ServerLimit"),
		},
		{
			name: "more threads than ThreadLimit", tree: "rhel-httpd", process: rhelApache, changes: map[string]string{rhelExtra: "ThreadsPerChild 100\nMaxRequestWorkers 128\n"},
			want: event(128, "MaxRequestWorkers 128, "+at+":2", "ThreadsPerChild 100 is above ThreadLimit 64 (Apache's default): Apache uses 64; raise ThreadLimit"),
		},
		{
			name: "worker holds a thread for a connection", tree: "rhel-httpd", process: rhelApache, changes: map[string]string{rhelMPM: loadWorker + "MaxRequestWorkers 50\n"},
			want: scope.Workers{Software: "apache worker", Held: scope.HeldByConnection, Limit: 50, Origin: "MaxRequestWorkers 50, /etc/httpd/conf.modules.d/00-mpm.conf:2"},
		},
		{
			name: "sections: the MPM's own, by identifier, by source, negated, nested", tree: "rhel-httpd", process: rhelApache,
			changes: map[string]string{rhelExtra: `<IfModule mpm_prefork_module>
MaxRequestWorkers 1
</IfModule>
<IfModule event.c>
  <IfModule !worker.c>
    MaxRequestWorkers 100
  </IfModule>
</IfModule>
<IfModule !mpm_event_module>
MaxRequestWorkers 2
<IfModule mpm_event_module>
MaxRequestWorkers 3
</IfModule>
</IfModule>
`},
			want: event(100, "MaxRequestWorkers 100, "+at+":6", ""),
		},
		{
			name: "defined on the command line, and not defined", tree: "rhel-httpd", process: rhelApache,
			changes: map[string]string{rhelExtra: "<IfDefine FOREGROUND>\nMaxRequestWorkers 50\n</IfDefine>\n<IfDefine SSL>\nMaxRequestWorkers 75\n</IfDefine>\n<IfDefine !SSL>\nDefine N 8\n</IfDefine>\nServerLimit ${N}\n"},
			want:    event(50, "MaxRequestWorkers 50, "+at+":2", ""),
		},
		{
			name: "a condition that cannot be told", tree: "rhel-httpd", process: rhelApache, changes: map[string]string{rhelExtra: "<IfVersion >= 2.4.50>\nMaxRequestWorkers 50\n</IfVersion>\n"},
			want: event(0, "", at+":2: whether MaxRequestWorkers 50 holds depends on a condition that cannot be told"),
		},
		{
			name: "the version, told by the program", tree: "rhel-httpd", process: rhelApache,
			changes: map[string]string{rhelExtra: "<IfVersion >= 2.4.50>\nMaxRequestWorkers 50\n</IfVersion>\n", "usr/sbin/httpd": "\x7fELF\x00Apache/2.4.62 (Red Hat)\x00"},
			want:    event(50, "MaxRequestWorkers 50, "+at+":2", ""),
		},
		{
			name: "an MPM that is built in, and paths of the build", tree: "", process: rhelApache,
			changes: map[string]string{"opt/web/conf/my.conf": "Include extra/\n", "opt/web/extra/a/mpm.conf": "MaxRequestWorkers 7\n",
				"usr/sbin/httpd": "\x00prefork.c\x00 -D HTTPD_ROOT=\"/opt/web\"\x00 -D SERVER_CONFIG_FILE=\"conf/my.conf\"\x00"},
			want: prefork(7, "MaxRequestWorkers 7, /opt/web/extra/a/mpm.conf:1", ""),
		},
		{
			name: "no MPM to be seen", tree: "rhel-httpd", process: rhelApache, changes: map[string]string{rhelMPM: "MaxRequestWorkers 10\n"},
			want: scope.Workers{Software: "apache", Problem: "/etc/httpd/conf/httpd.conf loads no prefork, worker or event MPM, and which one the program has built in cannot be told"},
		},
		{
			name: "a file of its own, relative to the server's root, and directives on the command line", tree: "",
			process: fakeProcess{pid: 100, comm: "apache2", exe: "/usr/sbin/apache2", cwd: "/srv", args: []string{"apache2", "-d", "web", "-fmy.conf", "-C", "Define SIZE 12", "-c", "MaxRequestWorkers 13", "-X"}},
			changes: map[string]string{"srv/web/my.conf": loadPrefork + "MaxRequestWorkers ${SIZE}\n"},
			want:    prefork(13, "MaxRequestWorkers 13, command line", ""),
		},
		{
			name: "an included file is missing", tree: "rhel-httpd", process: rhelApache, changes: map[string]string{rhelExtra: "Include conf.d/gone.inc\nIncludeOptional conf.d/may-be-gone.inc\nIncludeOptional none/*.conf\nMaxRequestWorkers 50\n"},
			want: event(0, "", "what "+at+":1 includes cannot be read: no such file or directory"),
		},
		{
			name: "no file matches", tree: "rhel-httpd", process: rhelApache, changes: map[string]string{rhelExtra: "Include none/*.inc\n"},
			want: event(0, "", at+":1: Include: no file matches"),
		},
		{
			name: "a file that includes itself", tree: "rhel-httpd", process: rhelApache, changes: map[string]string{rhelExtra: "Include conf.d/limits.conf\nInclude conf.d/limits.conf\n"},
			want: event(0, "", "includes go deeper than 128 files at "+at+":1: a loop?"),
		},
		{
			name: "two MPMs", tree: "rhel-httpd", process: rhelApache, changes: map[string]string{rhelExtra: loadPrefork},
			want: prefork(0, "", at+":1: a second MPM is loaded, prefork beside event"),
		},
		{
			name: "zero and junk", tree: "rhel-httpd", process: rhelApache, changes: map[string]string{rhelExtra: "MaxRequestWorkers 0\n"},
			want: event(0, "", at+`:1: MaxRequestWorkers: 0 is not from 1 to 1073741824`),
		},
		{
			name: "what could garble a terminal", tree: "rhel-httpd", process: fakeProcess{pid: 100, comm: "httpd", exe: "/usr/sbin/httpd", args: []string{"httpd", "-f", "\x1b[2Jx"}},
			want: scope.Workers{Software: "apache", Problem: "/etc/apache2/?[2Jx cannot be read: no such file or directory"},
		},
		{
			name: "a file with NULs", tree: "rhel-httpd", process: rhelApache, changes: map[string]string{rhelExtra: "Max\x00"},
			want: event(0, "", "what /etc/httpd/conf/httpd.conf:13 includes cannot be read: not a text file: it holds NUL bytes"),
		},
		{
			name: "no configuration at all", tree: "", process: rhelApache,
			want: scope.Workers{Software: "apache", Problem: "/etc/httpd/conf/httpd.conf cannot be read: no such file or directory"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newTree(t, test.tree, test.changes)
			m.run(test.process)
			got, stamp, ok := Of(m.proc, test.process.pid, test.process.comm, test.process.exe, nil)
			if !ok {
				t.Fatal("not known")
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if stamp.Changed() {
				t.Error("changed at once")
			}
		})
	}
}

func FuzzApacheLines(f *testing.F) {
	f.Add("MaxRequestWorkers 20\n<IfModule !a.c>\nServerLimit \\\n 3\n</IfModule>\n# \\\nx")
	f.Add("a \"b\\\" c\" 'd'\\")
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Count(text, "\n") + 1
		last := 0
		for _, l := range apacheLines([]byte(text)) {
			if l.line <= last || l.line > lines {
				t.Errorf("line %d after %d of %d", l.line, last, lines)
			}
			last = l.line
			if l.name == "" || l.name[0] == '#' || l.name != strings.ToLower(l.name) || strings.ContainsAny(l.name, " \t\n") {
				t.Errorf("name %q", l.name)
			}
			size := 0
			for _, word := range apacheWords(l.rest) {
				size += len(word)
			}
			if size > len(l.rest) {
				t.Errorf("words of %q are longer than it", l.rest)
			}
		}
	})
}

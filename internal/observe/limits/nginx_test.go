package limits

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/scope"
)

func nginxMaster(args ...string) fakeProcess {
	return fakeProcess{pid: 100, parent: 1, comm: "nginx", exe: "/usr/sbin/nginx", cwd: "/", args: args}
}

func TestNginx(t *testing.T) {
	const (
		main  = "etc/nginx/nginx.conf"
		site  = "etc/nginx/conf.d/default.conf"
		small = "worker_processes 2;\nevents { worker_connections 10; }\n"
	)
	plain := nginxMaster("nginx: master process nginx -g daemon off;", "", "")
	workers := func(limit int, origin, problem string) scope.Workers {
		return scope.Workers{Software: "nginx", Held: scope.HeldByRequest, TurnsAway: true, Limit: limit, Origin: origin, Problem: problem}
	}
	for _, test := range []struct {
		name     string
		process  fakeProcess
		children []string // their titles
		changes  map[string]string
		want     scope.Workers
	}{
		{
			name: "as installed; the workers are not to be seen", process: plain,
			want: workers(4*1021, "4 worker_processes (auto: processors of the process; /etc/nginx/nginx.conf:2) × (worker_connections 1024, /etc/nginx/nginx.conf:7, less 3 of nginx's own)", ""),
		},
		{
			name: "auto, counted; those that end and helpers are none", process: plain,
			children: []string{"nginx: worker process", "nginx: worker process", "nginx: worker process is shutting down", "nginx: cache manager process"},
			want:     workers(2*1021, "2 worker_processes (auto, /etc/nginx/nginx.conf:2) × (worker_connections 1024, /etc/nginx/nginx.conf:7, less 3 of nginx's own)", ""),
		},
		{
			name: "requests are passed on", process: plain, changes: map[string]string{main: small + "http { include conf.d/*.conf; }", site: "server { location / { proxy_pass http://app; } }"},
			want: workers(8, "worker_processes 2 (/etc/nginx/nginx.conf:1) × (worker_connections 10, /etc/nginx/nginx.conf:2, less 2 of nginx's own), halved: a request that is passed on holds two connections (proxy_pass, /etc/nginx/conf.d/default.conf:1)", ""),
		},
		{
			name: "all defaults", process: plain, changes: map[string]string{main: "events {} http { server { listen 80; listen *:80; listen 0.0.0.0:80 reuseport; } server { } }"},
			want: workers(510, "nginx's default of 1 worker_processes × (nginx's default of 512 worker_connections less 2 of nginx's own)", ""),
		},
		{
			name: "fewer open files than connections", process: plain, changes: map[string]string{main: "worker_rlimit_nofile 8;" + small},
			want: workers(14, "worker_processes 2 (/etc/nginx/nginx.conf:1) × (worker_rlimit_nofile 8 less 1 of nginx's own)",
				"worker_rlimit_nofile 8 is below worker_connections 10: each process can hold 8 connections at most"),
		},
		{
			name: "the process' own limit of open files", changes: map[string]string{main: small},
			process: func() fakeProcess {
				p := plain
				p.more = map[string]string{"limits": "Limit  Soft Limit  Hard Limit  Units\nMax open files            6                    4096                 files     \n"}
				return p
			}(),
			want: workers(10, "worker_processes 2 (/etc/nginx/nginx.conf:1) × (the limit of open files 6 less 1 of nginx's own)",
				"the limit of open files 6 is below worker_connections 10: each process can hold 6 connections at most"),
		},
		{
			name: "not enough for itself", process: plain, changes: map[string]string{main: "events { worker_connections 3; } http { server { listen 80; listen 81; } }"},
			want: workers(0, "", "worker_connections 3 does not suffice for nginx's own 3 (listeners and the channel to its master)"),
		},
		{
			name: "other workers than configured", process: plain, children: []string{"nginx: worker process"}, changes: map[string]string{main: small},
			want: workers(18, "worker_processes 2 (/etc/nginx/nginx.conf:1) × (worker_connections 10, /etc/nginx/nginx.conf:2, less 1 of nginx's own)",
				"1 workers run where worker_processes says 2: the configuration may not be in use yet"),
		},
		{
			name: "the title's options", process: nginxMaster("nginx: master process /usr/sbin/nginx -p /srv/web -g daemon off; worker_processes 3; -c my.conf"),
			changes: map[string]string{"srv/web/my.conf": "events { worker_connections 11; }"},
			want:    workers(30, "worker_processes 3 (nginx -g:1) × (worker_connections 11, /srv/web/my.conf:1, less 1 of nginx's own)", ""),
		},
		{
			name: "one process, from its arguments", process: nginxMaster("nginx", "-c", "/srv/my.conf", "-g", "daemon off; master_process off;"),
			changes: map[string]string{"srv/my.conf": small},
			want:    workers(10, "one process (master_process off) × (worker_connections 10, /srv/my.conf:2, less 0 of nginx's own)", ""),
		},
		{
			name: "paths of the build", process: plain,
			changes: map[string]string{"usr/sbin/nginx": "configure arguments: --prefix=/opt/n --conf-path=conf/n.conf --x\x00", "opt/n/conf/n.conf": small},
			want:    workers(18, "worker_processes 2 (/opt/n/conf/n.conf:1) × (worker_connections 10, /opt/n/conf/n.conf:2, less 1 of nginx's own)", ""),
		},
		{
			name: "Lua, quotes, variables and comments", process: plain, changes: map[string]string{main: small + `http {
  # server {
  log_format x '{;"' "a\"b;";
  server {
    listen unix:/run/x.sock;
    set $a ${b}c;
    content_by_lua_block { local s = "}" -- }
      if s then return end
      local t = { 1, { 2 } }
    }
  }
}`},
			want: workers(16, "worker_processes 2 (/etc/nginx/nginx.conf:1) × (worker_connections 10, /etc/nginx/nginx.conf:2, less 2 of nginx's own)", ""),
		},
		{
			name: "a block that never ends", process: plain, changes: map[string]string{main: "http {\n"},
			want: workers(0, "", "/etc/nginx/nginx.conf: line 2: the file ends inside a block"),
		},
		{
			name: "an include that is gone, and one that matches nothing", process: plain, changes: map[string]string{main: small + "include none/*.conf;\ninclude gone.conf;\n"},
			want: workers(0, "", "what /etc/nginx/nginx.conf:4 includes cannot be read: no such file or directory"),
		},
		{
			name: "a file that includes itself", process: plain, changes: map[string]string{main: small + "include nginx.conf;\ninclude nginx.conf;\n"},
			want: workers(0, "", "includes go deeper than 128 files at /etc/nginx/nginx.conf:3: a loop?"),
		},
		{
			name: "no number", process: plain, changes: map[string]string{main: "worker_processes many;\nevents { worker_connections -1; }\n"},
			want: workers(0, "", `/etc/nginx/nginx.conf:2: worker_connections: -1 is not from 1 to 1073741824`),
		},
		{
			name: "more than there can be", process: plain, changes: map[string]string{main: "worker_processes 1000000;\nevents { worker_connections 1000000; }\n"},
			want: workers(0, "", "1000000 × 1000000 connections are more than any machine has"),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newTree(t, "nginx", test.changes)
			master := test.process
			for i, title := range test.children {
				child := fakeProcess{pid: 101 + i, parent: 100, comm: "nginx", exe: master.exe, args: []string{title}}
				m.run(child)
				master.children = append(master.children, child.pid)
			}
			m.run(master)
			asked := 100 + min(1, len(test.children)) // a child will do
			got, stamp, ok := Of(m.proc, asked, "nginx", "", nil)
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

func TestNginxTitle(t *testing.T) {
	for title, want := range map[string]nginxLine{
		"nginx":                           {},
		"nginx -g daemon off;":            {globals: "daemon off;"},
		"nginx -g a b; c -d; -c x -p y":   {globals: "a b; c -d;", file: "x", prefix: "y"},
		"nginx -c x -g":                   {file: "x"},
		"nginx -px -cy -e stderr -g a b;": {prefix: "x", file: "y", globals: "a b;"},
	} {
		m := newTree(t, "", nil)
		m.run(nginxMaster("nginx: master process " + title))
		if diff := cmp.Diff(want, nginxOptions(process{proc: m.proc, pid: 100}), cmp.AllowUnexported(nginxLine{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", title, diff)
		}
	}
}

func FuzzNginxItems(f *testing.F) {
	f.Add("a b; c { d 'e;' \"f\\\"\"; } # g\n")
	f.Add("x_by_lua_block { '}' -- }\n }")
	f.Add("set $a ${b}c;")
	f.Fuzz(func(t *testing.T, text string) {
		items, err := nginxItems([]byte(text))
		if err != nil {
			if items != nil || !strings.HasPrefix(err.Error(), "line ") {
				t.Errorf("items %v with error %v", items, err)
			}
			return
		}
		depth, last, lines := 0, 1, strings.Count(text, "\n")+1
		for _, item := range items {
			if item.line < last || item.line > lines {
				t.Errorf("line %d after %d of %d", item.line, last, lines)
			}
			last = item.line
			switch {
			case item.name == "" && len(item.args) == 0 && !item.block && depth > 0:
				depth--
			case item.block:
				depth++
			}
		}
	})
}

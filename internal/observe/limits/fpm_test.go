package limits

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/scope"
)

func TestFPM(t *testing.T) {
	const (
		dir  = "/etc/php/8.2/fpm"
		main = "etc/php/8.2/fpm/php-fpm.conf"
		www  = "etc/php/8.2/fpm/pool.d/www.conf"
		blog = "etc/php/8.2/fpm/pool.d/blog.conf"
	)
	debian := fakeProcess{pid: 100, parent: 1, comm: "php-fpm8.2", exe: "/usr/sbin/php-fpm8.2", args: []string{"php-fpm: master process (" + dir + "/php-fpm.conf)", "", ""}}
	workers := func(limit int, origin, problem string) scope.Workers {
		return scope.Workers{Software: "php-fpm", Held: scope.HeldByConnection, Limit: limit, Origin: origin, Problem: problem}
	}
	shop := "pm.max_children 12 of pool shop, " + dir + "/pool.d/shop.conf:4"
	for _, test := range []struct {
		name    string
		process fakeProcess
		listen  string
		changes map[string]string
		want    scope.Workers
	}{
		{name: "a pool at an address", process: debian, listen: "127.0.0.1:9000", want: workers(12, shop, "")},
		{name: "a pool at a port", process: debian, listen: "[::]:9001", want: workers(8, "pm.max_children 8 of pool blog, "+dir+"/pool.d/blog.conf:4", "")},
		{
			name: "two pools are one service", process: debian, listen: "127.0.0.1:9000 [::]:9001",
			want: workers(20, "pm.max_children 8 of pool blog, "+dir+"/pool.d/blog.conf:4 + "+shop,
				"2 pools are one service here: they share this limit, but not their workers; name each pool's address as a service of its own"),
		},
		{name: "nobody there", process: debian, listen: "127.0.0.2:9000", want: workers(0, "", "no pool in "+dir+"/php-fpm.conf listens on the service's addresses")},
		{
			name: "unix sockets only", process: debian, listen: "127.0.0.1:9000", changes: map[string]string{main: "include = pool.d/www.conf\n", "usr/local/pool.d/www.conf": "[www]\nlisten = /run/$pool.sock\npm.max_children = 3\n"},
			want: workers(0, "", "the pools in "+dir+"/php-fpm.conf listen on unix sockets only, which are not TCP"),
		},
		{
			name: "process.max below the pools", process: debian, listen: "127.0.0.1:9000", changes: map[string]string{main: "[global]\nprocess.max = 10\ninclude=" + dir + "/pool.d/*.conf\n"},
			want: workers(10, "process.max 10, "+dir+"/php-fpm.conf:2",
				"process.max 10 ("+dir+"/php-fpm.conf:2) is below the pools' pm.max_children together, 25: pools take workers from each other"),
		},
		{
			name: "a pool in two files, quotes, the environment", listen: "127.0.0.1:9000",
			process: func() fakeProcess { p := debian; p.env = []string{"N=30"}; return p }(),
			changes: map[string]string{blog: "[Shop]\npm.max_children = \"${N}\"\n", www: "[www]\nlisten = \"127.0.0.1:9005\"\npm.max_children = 4\n[SHOP]\npm.max_children = 31\n"},
			want:    workers(31, "pm.max_children 31 of pool Shop, "+dir+"/pool.d/www.conf:5", ""),
		},
		{
			name: "no pm.max_children", process: debian, listen: "127.0.0.1:9001", changes: map[string]string{blog: "[blog]\nlisten = 9001\n"},
			want: workers(0, "", dir+"/pool.d/blog.conf:1: pm.max_children of this pool is not set"),
		},
		{
			name: "no number", process: debian, listen: "127.0.0.1:9001", changes: map[string]string{blog: "[blog]\nlisten = 9001\npm.max_children = lots\n"},
			want: workers(0, "", dir+`/pool.d/blog.conf:3: pm.max_children: not a whole number from 1 to 1073741824; `+dir+"/pool.d/blog.conf:1: pm.max_children of this pool is not set"),
		},
		{
			name: "arguments", process: fakeProcess{pid: 100, comm: "php-fpm", exe: "/usr/local/sbin/php-fpm", cwd: "/srv", args: []string{"php-fpm", "--nodaemonize", "--prefix=/opt", "-y", "fpm.conf"}},
			listen: "0.0.0.0:9000", changes: map[string]string{"srv/fpm.conf": "include=pools/*\n", "opt/pools/a": "[a]\nlisten = *:9000\npm.max_children = 2\n"},
			want: workers(2, "pm.max_children 2 of pool a, /opt/pools/a:3", ""),
		},
		{
			name: "a section without an end", process: debian, listen: "127.0.0.1:9000", changes: map[string]string{main: "[global\n"},
			want: workers(0, "", dir+`/php-fpm.conf: line 1: "[" without "]"`),
		},
		{
			name: "a file that includes itself", process: debian, listen: "127.0.0.1:9000", changes: map[string]string{main: "include=" + dir + "/php-fpm.conf\n"},
			want: workers(0, "", "includes go deeper than 128 files at "+dir+"/php-fpm.conf:1: a loop?"),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newTree(t, "php-fpm", test.changes)
			m.run(test.process)
			var listen []netip.AddrPort
			for text := range strings.FieldsSeq(test.listen) {
				listen = append(listen, netip.MustParseAddrPort(text))
			}
			got, stamp, ok := Of(m.proc, 100, test.process.comm, test.process.exe, listen)
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

func FuzzIniLines(f *testing.F) {
	f.Add("[global]\ninclude=/etc/*.conf ; x\n[www]\nlisten = \"127.0.0.1:9000\"\n")
	f.Add("a='b\n")
	f.Fuzz(func(t *testing.T, text string) {
		lines, err := iniLines([]byte(text))
		if err != nil {
			if lines != nil || !strings.HasPrefix(err.Error(), "line ") {
				t.Errorf("lines %v with error %v", lines, err)
			}
			return
		}
		last := 0
		for _, l := range lines {
			if l.line <= last || l.line > strings.Count(text, "\n")+1 {
				t.Errorf("line %d after %d", l.line, last)
			}
			last = l.line
			if l.section && l.value != "" {
				t.Errorf("a section with a value: %+v", l)
			}
		}
	})
}

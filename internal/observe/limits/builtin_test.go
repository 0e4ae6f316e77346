package limits

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// A window's end must not hide a marker nor cut a value, wherever it falls.
func TestSearchAcrossWindows(t *testing.T) {
	const marker = "--conf-path="
	for _, at := range []int{0, 1, searchWindow - maxBuiltIn - maxMarker - 1, searchWindow - maxBuiltIn - maxMarker, searchWindow - 3, searchWindow, 3*searchWindow - 7} {
		text := strings.Repeat("x", at) + marker + "/etc/nginx.conf \x00" + strings.Repeat("y", searchWindow) + marker + "/later "
		got := search(iotest.HalfReader(strings.NewReader(text)), []string{marker, "absent"})
		if diff := cmp.Diff(map[string]string{marker: "/etc/nginx.conf"}, got); diff != "" {
			t.Errorf("at %d (-want +got):\n%s", at, diff)
		}
	}
}

// Programs are tens of megabytes; the agent is to have 16.
func TestSearchKeepsLittle(t *testing.T) {
	program := bytes.NewReader(make([]byte, 20<<20))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	search(program, []string{"absent"})
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 4*searchWindow {
		t.Errorf("%d bytes", took)
	}
}

func TestMarkersFit(t *testing.T) {
	for _, k := range kinds() {
		for _, marker := range k.markers {
			if len(marker) > maxMarker {
				t.Errorf("%s: %q is longer than %d", k.software, marker, maxMarker)
			}
		}
	}
}

func TestKinds(t *testing.T) {
	for exe, want := range map[string]string{
		"/usr/sbin/nginx": "nginx", "/usr/sbin/nginx-debug": "nginx", "/opt/openresty": "nginx", "/x/nginx (deleted)": "nginx", "/x/nginx2": "",
		"/usr/sbin/apache2": "apache", "/usr/sbin/httpd": "apache", "/usr/sbin/httpd2-prefork": "apache", "/usr/sbin/apache2.event": "apache", "/x/httpd-x": "",
		"/usr/sbin/php-fpm": "php-fpm", "/usr/sbin/php-fpm8.2": "php-fpm", "/usr/sbin/php8.2-fpm": "php-fpm", "/usr/bin/php8.2": "", "/usr/bin/php-cgi": "", "/x/php-fpm-x": "",
	} {
		got := ""
		if k := kindOf("nginx", exe); k != nil {
			got = k.software
		}
		if got != want {
			t.Errorf("%s: %q, want %q", exe, got, want)
		}
	}
}

package balancer

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// traefikMembers are those of testdata/traefik-3.6-*.json. These are written
// after the API's own tests and types (traefik v3.6.12, pkg/api/testdata,
// pkg/api/handler_http.go, pkg/config/dynamic), not captured.
func traefikMembers() []Member {
	return []Member{
		{Group: "shop@file", Name: "192.0.2.10:8080", Address: at("192.0.2.10:8080"), Status: Up, Says: "UP"},
		{Group: "shop@file", Name: "192.0.2.11:8080", Address: at("192.0.2.11:8080"), Status: Down, Says: "DOWN"},
		{Group: "shop@file", Name: "192.0.2.12:8080", Address: at("192.0.2.12:8080"), Status: Up, Says: "UP"},
		{Group: "next@docker", Name: "app.internal:80", Host: "app.internal", Port: 80, Status: NoCheck, Says: "UP, no health check"},
		{Group: "next@docker", Name: "[2001:db8::1]:443", Address: at("[2001:db8::1]:443"), Status: NoCheck, Says: "UP, no health check"},
		{Group: "next@docker", Name: "192.0.2.20:80", Address: at("192.0.2.20:80"), Status: NoCheck, Says: "UP, no health check"},
		{Group: "shop-shop-80@kubernetes", Name: "10.42.0.7:80", Address: at("10.42.0.7:80"), Status: NoCheck, Says: "UP, no health check"},
		{Group: "shop-shop-80@kubernetes", Name: "10.42.0.8:80", Address: at("10.42.0.8:80"), Status: Draining, Says: "UP, fenced"},
		{Group: "broken@file", Name: "192.0.2.30:80", Address: at("192.0.2.30:80"), Says: "disabled"},
		{Group: "db@file", Name: "192.0.2.40:5432", Address: at("192.0.2.40:5432"), Status: NoCheck, Says: "UP, no health check"},
		{Group: "db@file", Name: "db.internal:5432", Host: "db.internal", Port: 5432, Status: NoCheck, Says: "UP, no health check"},
		{Group: "cache@file", Name: "192.0.2.41:6379", Address: at("192.0.2.41:6379"), Status: Down, Says: "DOWN"},
		{Group: "cache@file", Name: "192.0.2.42:6379", Address: at("192.0.2.42:6379"), Status: Up, Says: "UP"},
	}
}

// traefik serves an API whose answers are functions by path.
func traefik(t *testing.T, paths map[string]http.HandlerFunc) string {
	t.Helper()
	mux := http.NewServeMux()
	for path, handler := range paths {
		mux.HandleFunc("GET "+path, handler)
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

// list answers with one page.
func list(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Next-Page", "1")
		_, _ = fmt.Fprint(w, body)
	}
}

func TestTraefikFixtures(t *testing.T) {
	base := traefik(t, map[string]http.HandlerFunc{
		"/edge/api/http/services": func(w http.ResponseWriter, r *http.Request) {
			page := r.URL.Query().Get("page")
			w.Header().Set("X-Next-Page", map[string]string{"1": "2", "2": "1"}[page])
			_, _ = w.Write(fixture(t, "traefik-3.6-http-"+page+".json"))
		},
		"/edge/api/tcp/services": list(string(fixture(t, "traefik-3.6-tcp.json"))),
	})
	got, err := Traefik(t.Context(), base+"/edge/", nil) // with a basePath
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Answer{Members: traefikMembers()}, got, addresses); diff != "" {
		t.Errorf("Traefik (-want +got):\n%s", diff)
	}
}

func TestTraefikBadAnswers(t *testing.T) {
	const shop = `{"name":"shop@file","loadBalancer":{"servers":[{"url":"http://192.0.2.1:80"}],"healthCheck":{}},"serverStatus":{"http://192.0.2.1:80":"UP"}}`
	s1 := Member{Group: "shop@file", Name: "192.0.2.1:80", Address: at("192.0.2.1:80"), Status: Up, Says: "UP"}
	servers := func(s string) string {
		return `[{"name":"a@file","loadBalancer":{"servers":[` + s + `]}},` + shop + `]`
	}
	tests := []struct {
		name, in string
		members  []Member
		problems []string
		partial  bool
		err      string // part of the error
	}{
		{name: "none", in: "[]"},
		{name: "one", in: "[" + shop + "]", members: []Member{s1}},
		{name: "null for everything", in: `[null,{"name":null,"loadBalancer":null},{"name":"x@file","loadBalancer":{"servers":null}},` + shop + `]`, members: []Member{s1}},
		{name: "the list breaks off", in: "[" + shop + `,{"name":"b@fi`, members: []Member{s1}, partial: true,
			problems: []string{"the list breaks off: unexpected EOF; is this the address of Traefik's API?"}},
		{name: "the list is not closed", in: "[" + shop, members: []Member{s1}, partial: true,
			problems: []string{"the list breaks off: EOF; is this the address of Traefik's API?"}},
		{name: "wrong types", in: `[{"name":"a@file","loadBalancer":"yes"},{"name":7},` + shop + `]`, members: []Member{s1}, partial: true,
			problems: []string{
				`the service "a@file" has a wrong type, "string", in "loadBalancer"`, `the service "" has a wrong type, "number", in "name"`,
			}},
		{name: "addresses that are none", in: servers(`{"url":"http://"},{"url":"::"},{"url":"fcgi://192.0.2.9"},{"url":"tcp://u:hunter2@192.0.2.9"},{"url":"http://192.0.2.9:99999"},{"url":"http://192.0.2.9:0"},{},{"address":"192.0.2.9"}`), members: []Member{s1}, partial: true,
			problems: []string{
				`a server of "a@file" is left out: its address "http://" is not a URL with a host`,
				`a server of "a@file" is left out: its address "::" is not a URL with a host`,
				`a server of "a@file" is left out: its address "fcgi://192.0.2.9" has no port`,
				`a server of "a@file" is left out: its address (not shown, as it has a user) has no port`,
				`a@file/192.0.2.9:99999 has the port "99999", and is left out`,
				`a@file/192.0.2.9:0 has no port of its own, and is left out`,
				`a server of "a@file" is left out: its address "" has no host and port`,
				`a server of "a@file" is left out: its address "192.0.2.9" has no host and port`,
			}},
		{name: "twice", in: "[" + shop + "," + shop + "]", members: []Member{s1}, problems: []string{"shop@file/192.0.2.1:80 is there twice: the first is taken"}},
		{name: "a status nobody knows", in: `[{"name":"a@file","loadBalancer":{"servers":[{"url":"http://192.0.2.1:80"}]},"serverStatus":{"http://192.0.2.1:80":"SO\u001bSO"}}]`,
			members: []Member{{Group: "a@file", Name: "192.0.2.1:80", Address: at("192.0.2.1:80"), Says: "SO?SO"}}},
		{name: "a page of HTML", in: "<!DOCTYPE html>", err: "the answer is not JSON (invalid character '<' looking for beginning of value); is this the address of Traefik's API, without /dashboard?"},
		{name: "an object", in: `{"message":"no"}`, err: "the answer is not a list of services; is this the address of Traefik's API?"},
		{name: "nothing", in: "", err: "EOF; is this the address of Traefik's API?"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := traefik(t, map[string]http.HandlerFunc{"/api/http/services": list(tt.in), "/api/tcp/services": list("[]")})
			got, err := Traefik(t.Context(), base, nil)
			if tt.err != "" {
				if want := "ask Traefik at " + base + ": " + tt.err; err == nil || err.Error() != want {
					t.Fatalf("error %v, want %q", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := Answer{Members: tt.members, Problems: tt.problems, Partial: tt.partial}
			if diff := cmp.Diff(want, got, addresses); diff != "" {
				t.Errorf("Traefik (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTraefikRefuses(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	elsewhere := traefik(t, map[string]http.HandlerFunc{"/": func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }})
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    string
	}{
		{"a redirect", http.RedirectHandler(elsewhere, http.StatusFound).ServeHTTP, "is redirected to \"" + elsewhere + "\", which is not followed"},
		{"a password", status(http.StatusUnauthorized), `/api/http/services: "401 Unauthorized"; let this host read the API without a password`},
		{"no API", status(http.StatusNotFound), `/api/http/services: "404 Not Found"; switch Traefik's API on`},
		{"an error", status(http.StatusInternalServerError), `"500 Internal Server Error"; is this the address of Traefik's API?`},
		{"something else", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = fmt.Fprintf(conn, "\x1b%s\r\n\r\n", strings.Repeat("x", 10_000))
			_ = conn.Close()
		}, "x; is this the address of Traefik's API?"},
		{"a connection that breaks", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF; is this the address of Traefik's API?"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := traefik(t, map[string]http.HandlerFunc{"/api/http/services": tt.handler})
			_, err := Traefik(t.Context(), base, nil)
			if err == nil || !strings.HasPrefix(err.Error(), "ask Traefik at "+base+": ") || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 1000 {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}

	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	if _, err := Traefik(t.Context(), gone.URL, nil); err == nil || !strings.Contains(err.Error(), "nobody listens there: is Traefik running, and its API switched on?") {
		t.Errorf("a server that is gone gives %v", err)
	}
	if _, err := Traefik(t.Context(), "http://\x00", nil); err == nil || !strings.Contains(err.Error(), "write the address as http://127.0.0.1:8080") {
		t.Errorf("no address gives %v", err)
	}
}

// TestTraefikKeepsNothing waits until every connection is closed.
func TestTraefikKeepsNothing(t *testing.T) {
	s := httptest.NewUnstartedServer(list("[]"))
	opened, closed := make(chan struct{}, 10), make(chan struct{}, 10)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			opened <- struct{}{}
		case http.StateClosed:
			closed <- struct{}{}
		}
	}
	s.Start()
	defer s.Close()
	if _, err := Traefik(t.Context(), s.URL, nil); err != nil {
		t.Fatal(err)
	}
	for range len(opened) {
		<-closed
	}
	if len(opened) != 1 {
		t.Errorf("%d connections for one look, want 1", len(opened))
	}
}

// TestTraefikPartly keeps the HTTP services when the rest does not come.
func TestTraefikPartly(t *testing.T) {
	release := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	base := traefik(t, map[string]http.HandlerFunc{
		"/api/http/services": list(`[{"name":"a@file","loadBalancer":{"servers":[{"url":"http://192.0.2.1:80"}]}}]`),
		"/api/tcp/services": func(http.ResponseWriter, *http.Request) {
			cancel() // the question is there: enough waited
			<-release
		},
	})
	defer close(release)
	got, err := Traefik(ctx, base, nil)
	if err != nil || len(got.Members) != 1 || !got.Partial || len(got.Problems) != 1 || !strings.HasPrefix(got.Problems[0], "TCP services are missing: no whole answer in time") {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestTraefikHuge has a list, and a number of pages, without an end.
func TestTraefikHuge(t *testing.T) {
	long := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, "[")
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(w, `{"name":"s%d@file","loadBalancer":{"servers":[{"url":"http://192.0.2.1:80"}]},"x":"%s"},`, i, strings.Repeat("x", 500)); err != nil {
				return
			}
		}
	}
	got, err := Traefik(t.Context(), traefik(t, map[string]http.HandlerFunc{"/api/http/services": long, "/api/tcp/services": list("[]")}), nil)
	if err != nil || len(got.Members) != MaxMembers || !got.Partial {
		t.Errorf("%d members, partial %v, %v", len(got.Members), got.Partial, err)
	}
	holds(t, got)

	pages := 0
	endless := func(w http.ResponseWriter, r *http.Request) {
		pages++
		var page int
		_, _ = fmt.Sscan(r.URL.Query().Get("page"), &page)
		w.Header().Set("X-Next-Page", fmt.Sprint(page+1))
		_, _ = fmt.Fprint(w, "[]")
	}
	got, err = Traefik(t.Context(), traefik(t, map[string]http.HandlerFunc{"/api/http/services": endless, "/api/tcp/services": list("[]")}), nil)
	if err != nil || !got.Partial || pages != maxPages {
		t.Errorf("%d pages, %+v, %v", pages, got, err)
	}
}

func FuzzTraefik(f *testing.F) {
	for _, name := range []string{"traefik-3.6-http-1.json", "traefik-3.6-http-2.json", "traefik-3.6-tcp.json"} {
		f.Add(string(fixture(f, name)))
	}
	f.Add(`[{"name":"a","loadBalancer":{"servers":[{"url":"http://[::1%25eth0]"}]}}]`)
	f.Fuzz(func(t *testing.T, body string) {
		a := &api{gathering: newGathering(), left: MaxAnswer}
		if err := a.list(strings.NewReader(body)); err != nil && len(a.answer.Members) > 0 {
			t.Fatalf("members beside the error %v", err)
		}
		holds(t, a.done())
	})
}

func fileMembers() []Member {
	return []Member{
		{Group: "shop@file", Name: "192.0.2.10:8080", Address: at("192.0.2.10:8080")},
		{Group: "shop@file", Name: "192.0.2.11:8080", Address: at("192.0.2.11:8080")},
		{Group: "shop@file", Name: "shop.internal:443", Host: "shop.internal", Port: 443},
		{Group: "copy@file", Name: "[2001:db8::1]:8080", Address: at("[2001:db8::1]:8080")},
		{Group: "again@file", Name: "[2001:db8::1]:8080", Address: at("[2001:db8::1]:8080")},
		{Group: "db@file", Name: "192.0.2.40:5432", Address: at("192.0.2.40:5432")},
		{Group: "db@file", Name: "db.internal:5432", Host: "db.internal", Port: 5432},
	}
}

func TestTraefikFile(t *testing.T) {
	path := filepath.Join("testdata", "traefik-3.6-dyn.yml")
	got, err := TraefikFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Answer{Members: fileMembers()}, got, addresses); diff != "" {
		t.Errorf("TraefikFile (-want +got):\n%s", diff)
	}
}

func TestTraefikFileContents(t *testing.T) {
	r := strings.Repeat
	one := []Member{{Group: "a@file", Name: "192.0.2.1:80", Address: at("192.0.2.1:80")}}
	tests := []struct {
		name, in string
		members  []Member
		problems []string
		partial  bool
		err      string // part of the error
	}{
		{name: "empty"},
		{name: "comments", in: "# nothing yet\n"},
		{name: "null", in: "~\n"},
		{name: "other things", in: "http:\n  routers: {}\ntls: {}\n"},
		{name: "a service", in: "http: {services: {a: {loadBalancer: {servers: [{url: \"http://192.0.2.1\"}]}}}}", members: one},
		{name: "brackets on a long line", in: "x: [" + r("y, ", 200) + "z]\nhttp: {services: {a: {loadBalancer: {x: \"" + r("y", 300) + "\", servers: [{url: \"http://192.0.2.1\"}]}}}}", members: one},
		{name: "a merged load balancer", in: "x: &x\n  servers: [{url: \"http://192.0.2.1\"}]\ny: &y {<<: [*x]}\nhttp: {services: {a: {loadBalancer: {<<: *y}}}}", members: one},
		{name: "an alias of nothing", in: "http: *none\n"},
		{name: "an alias of itself", in: "x: &x {y: *x}\nhttp: {services: {a: {loadBalancer: *x}}}\n"},
		{name: "not a list", in: "http: {services: {a: {loadBalancer: {servers: yes}}}}", partial: true,
			problems: []string{`the servers of "a" are not a list, and are left out`}},
		{name: "services merged in", in: "x: &x {}\nhttp:\n  services:\n    <<: *x\n    a: {loadBalancer: {servers: [{url: \"http://192.0.2.1\"}]}}", partial: true, members: one,
			problems: []string{"http.services has a key that is no name, and is left out"}},
		{name: "no address", in: "tcp: {services: {a: {loadBalancer: {servers: [{url: \"http://192.0.2.1\"}, {address: \"192.0.2.1:80\"}]}}}}", partial: true, members: one,
			problems: []string{`a server of "a" is left out: its address "" has no host and port`}},
		{name: "a list", in: "- a\n", err: "it does not begin with keys such as http and tcp"},
		{name: "a template", in: "http:\n  services:\n{{ range $i, $e := until 3 }}\n", err: "it is a template, which only Traefik can fill in; ask Traefik's API instead"},
		{name: "not YAML", in: "http: [", err: "it is not valid YAML: "},
		{name: "nested lists", in: r("[", 5000), err: "it is nested deeper than"},
		{name: "dashes on one line", in: r("- ", 5000), err: "it is nested deeper than"},
		{name: "keys on one line", in: r("a: ", 5000), err: "it is nested deeper than"},
		{name: "too many keys", in: r("a: 1\n", maxFile/5), err: "it has more than 50000 keys, values and marks"},
		{name: "blank lines", in: "a: |\n" + r("\n", 500_000), err: "it has more than 200 blank lines in a row"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := traefikFile([]byte(tt.in))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := Answer{Members: tt.members, Problems: tt.problems, Partial: tt.partial}
			if diff := cmp.Diff(want, got, addresses); diff != "" {
				t.Errorf("traefikFile (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTraefikFileAliases has one long list that many services stand for.
func TestTraefikFileAliases(t *testing.T) {
	var b strings.Builder
	b.WriteString("x: &x\n")
	for range 5000 {
		b.WriteString("- {}\n")
	}
	b.WriteString("http:\n  services:\n")
	for i := range 2000 {
		fmt.Fprintf(&b, "    s%d: {loadBalancer: {servers: *x}}\n", i)
	}
	got, err := traefikFile([]byte(b.String()))
	if err != nil || !got.Partial || got.Problems[len(got.Problems)-1] == "" {
		t.Errorf("got %+v, %v", got, err)
	}
	holds(t, got)
}

func TestTraefikFileIsNotThere(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large.yml")
	if err := os.WriteFile(large, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none.yml"): "no such file or directory; name the file that Traefik's file provider reads",
		dir:                            "it is a directory; name one file of it, or ask Traefik's API instead",
		"/dev/null":                    "it is not a plain file",
		"/etc/traefik/dyn.TOML":        "only YAML is read; ask Traefik's API instead",
		large:                          "it is larger than 1048576 bytes",
	} {
		_, err := TraefikFile(path)
		if err == nil || !strings.HasPrefix(err.Error(), "read Traefik's file "+path+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func FuzzTraefikFile(f *testing.F) {
	f.Add(fixture(f, "traefik-3.6-dyn.yml"))
	f.Add([]byte("x: &x {<<: *x}\nhttp: {services: {<<: *x, ? [a] : b, \"\": {loadBalancer: !!map *x}}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := traefikFile(data)
		if err != nil {
			if diff := cmp.Diff(Answer{}, a, addresses); diff != "" {
				t.Fatalf("an answer beside the error %v:\n%s", err, diff)
			}
			return
		}
		holds(t, a)
	})
}

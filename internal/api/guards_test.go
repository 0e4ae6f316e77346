package api

import (
	"encoding/json"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// TestOtherMethods: each route says which method it takes.
func TestOtherMethods(t *testing.T) {
	h := handler(t, newFake(sample(now)), token)
	for _, route := range routes() {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} {
			var takes []string
			for _, r := range routes() {
				if r.path == route.path {
					takes = append(takes, r.method)
				}
			}
			if slices.Contains(takes, method) {
				continue
			}
			path := strings.NewReplacer("{kind}", "service", "{name}", "web", "{id}", "7").Replace(route.path)
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest(method, "http://localhost"+path, nil))
			var p Problem
			if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil || rec.Code != http.StatusMethodNotAllowed || rec.Header().Get("Allow") != strings.Join(takes, ", ") {
				t.Errorf("%s %s: %d, Allow %q, %v", method, path, rec.Code, rec.Header().Get("Allow"), err)
			}
		}
	}
}

func TestWhoIsAsked(t *testing.T) {
	h := handler(t, newFake(sample(now)), token)
	for _, tt := range []struct {
		host string
		want int
	}{
		{"127.0.0.1:9748", 200}, {"[::1]:9748", 200}, {"[::1]", 200}, {"192.0.2.1", 200}, {"LocalHost:9748", 200}, {"web03:9748", 200},
		{"", 200}, // HTTP/1.0, as balancers' health checks are
		{"evil.example", 421}, {"evil.example:9748", 421}, {"web03.evil.example", 421}, {"localhost.evil.example", 421}, {"127.0.0.1.evil.example", 421},
	} {
		req := httptest.NewRequest("GET", "http://localhost/api/v1/status", nil)
		req.Host = tt.host
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		if rec.Code != tt.want {
			t.Errorf("Host %q: %d, want %d", tt.host, rec.Code, tt.want)
		}
	}
}

func TestWhoMayChange(t *testing.T) {
	for _, tt := range []struct {
		name, authorization, origin string
		want                        int
	}{
		{"the token", "Bearer " + token, "", 204},
		{"the scheme in any case", "bearer " + token, "", 204},
		{"from our own page", "Bearer " + token, "http://localhost", 204},
		{"another scheme", "Basic " + token, "", 401},
		{"the token alone", token, "", 401},
		{"a part of it", "Bearer " + token[:5], "", 401},
		{"more than it", "Bearer " + token + "x", "", 401},
		{"from a sandboxed page", "Bearer " + token, "null", 403},
		{"from another port", "Bearer " + token, "http://localhost:81", 403},
		{"from another page, without the token", "", "https://evil.example", 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := httptest.NewRequest("POST", "http://localhost/api/v1/reload", nil)
			req.Header.Set("Authorization", tt.authorization)
			if tt.origin != "" {
				req.Header.Set("Origin", tt.origin)
			}
			rec := httptest.NewRecorder()
			handler(t, newFake(sample(now)), token).ServeHTTP(rec, req)
			if rec.Code != tt.want || (tt.want == 401) != (rec.Header().Get("WWW-Authenticate") != "") {
				t.Errorf("%d, want %d; WWW-Authenticate %q", rec.Code, tt.want, rec.Header().Get("WWW-Authenticate"))
			}
		})
	}
}

// TestUnknownIsSaid: what is not looked at yet, and what is no number, are
// there and unknown.
func TestUnknownIsSaid(t *testing.T) {
	s := sample(now)
	s.Services = append(s.Services, scope.Service{Name: "new"})
	s.View.Scopes[0].Readings[measure.QueueWait].Value = math.Inf(1)
	h := handler(t, newFake(s), token)
	for path, want := range map[string]string{
		"service/new":      `"queue_depth":{"value":null,"unknown":"never_seen"`,
		"service/nginx:80": `"queue_wait_seconds":{"value":null,"unknown":"not_a_number"`,
	} {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", "http://localhost/api/v1/scopes/"+path, nil))
		if rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), want) {
			t.Errorf("%s: %d, want %s in %s", path, rec.Code, want, rec.Body)
		}
	}
}

// TestBesideTheAPI: the page and the metrics are served, and what is neither
// is a problem in JSON.
func TestBesideTheAPI(t *testing.T) {
	say := func(what string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, what) })
	}
	f := newFake(sample(now))
	h, err := New(Config{Source: f, Actor: f, Log: slog.New(slog.DiscardHandler), Web: say("page"), Metrics: say("metrics")})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/": "page", "/page.css": "page", "/page.js": "page", "/words.js": "page", "/metrics": "metrics", "/nothing": `{"error":`} {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", "http://localhost"+path, nil))
		if !strings.HasPrefix(rec.Body.String(), want) {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
		}
	}
}

// FuzzPath: any path is answered, never with a fault of ours, and errors are
// problems with a hint.
func FuzzPath(f *testing.F) {
	for _, p := range []string{"/api/v1/scopes/service/nginx:80", "/api/v1/incidents/18446744073709551616", "/api/v1/incidents/-1", "/api/v1/scopes/%2f/%00", "/api/../metrics", "//", "/api/v1/scopes/host/host/"} {
		f.Add(p)
	}
	source := newFake(sample(now))
	h, err := New(Config{Source: source, Actor: source, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.ParseRequestURI("/" + strings.TrimPrefix(path, "/"))
		if err != nil || u.Path == "/api/v1/events" || u.Path == "/healthz" {
			return
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, &http.Request{Method: "GET", URL: u, Host: "localhost", RequestURI: u.RequestURI(), Header: http.Header{}, Body: http.NoBody})
		switch {
		case rec.Code < 400:
		case rec.Code >= 500:
			t.Fatalf("%q: %d %s", path, rec.Code, rec.Body)
		default:
			var p Problem
			if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil || p.Error == "" || p.Hint == "" {
				t.Fatalf("%q: %d %s, %v", path, rec.Code, rec.Body, err)
			}
		}
	})
}

// FuzzScopeName: a scope can be asked for by its name, whatever the name is.
func FuzzScopeName(f *testing.F) {
	for _, n := range []string{"nginx:80", "a/b", "a b", "%2f", "ä", "..x", "?", "#"} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if slices.Contains([]string{"", ".", "..", "/"}, name) || strings.ToValidUTF8(name, "") != name {
			return // no path says the first three, ServeMux takes the fourth for a trailing slash, and JSON cannot say the last
		}
		s := sample(now)
		s.Services, s.View.Scopes = nil, []measure.ScopeSignals{{Scope: scope.ID{Kind: scope.KindService, Name: name}}}
		rec := httptest.NewRecorder()
		handler(t, newFake(s), "").ServeHTTP(rec, httptest.NewRequest("GET", "http://localhost/api/v1/scopes/service/"+url.PathEscape(name), nil))
		var got Scope
		if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || rec.Code != http.StatusOK || got.Name != name {
			t.Fatalf("%q: %d %s, %v", name, rec.Code, rec.Body, err)
		}
	})
}

package api

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const readToken = "hunter3-hunter3-hunter3"

func basic(user, password string) string {
	r := httptest.NewRequest("GET", "/", nil)
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

// TestWhoMayRead: by each way to say who reads, page, metrics and API alike;
// health checks are open, and what is refused names the way out.
func TestWhoMayRead(t *testing.T) {
	verified := &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{}}}}
	shown := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}} // shown is not verified
	none := Config{Token: token}
	read := Config{Token: token, ReadToken: readToken}
	certs := Config{Token: token, ClientCertificates: true}
	both := Config{Token: token, ReadToken: readToken, ClientCertificates: true}
	for _, tt := range []struct {
		name          string
		config        Config
		authorization string
		tls           *tls.ConnectionState
		want          int
	}{
		{"nothing asked for, nothing given", none, "", nil, 200},
		{"nothing asked for, something given", none, "Bearer x", nil, 200},
		{"the read token", read, "Bearer " + readToken, nil, 200},
		{"in any case", read, "BEARER " + readToken, nil, 200},
		{"as a password", read, basic("ann", readToken), nil, 200},
		{"as a password of nobody", read, basic("", readToken), nil, 200},
		{"as a user", read, basic(readToken, ""), nil, 401},
		{"the token of changes", read, "Bearer " + token, nil, 200},
		{"the token of changes as a password", read, basic("ann", token), nil, 200},
		{"none", read, "", nil, 401},
		{"a wrong one", read, "Bearer " + readToken + "x", nil, 401},
		{"a part of it", read, "Bearer " + readToken[:8], nil, 401},
		{"an empty one", read, "Bearer ", nil, 401},
		{"a wrong password", read, basic("ann", "x"), nil, 401},
		{"another scheme", read, "Token " + readToken, nil, 401},
		{"no base64", read, "Basic !", nil, 401},
		{"a certificate that nobody asked for", read, "", verified, 401},
		{"a client certificate", certs, "", verified, 200},
		{"one that was not verified", certs, "", shown, 403},
		{"TLS without one", certs, "", &tls.ConnectionState{}, 403},
		{"the token of changes in its place", certs, "Bearer " + token, nil, 403},
		{"an empty token in its place", certs, "Bearer ", nil, 403},
		{"either: a certificate", both, "", verified, 200},
		{"either: the read token", both, "Bearer " + readToken, &tls.ConnectionState{}, 200},
		{"either: neither", both, "", &tls.ConnectionState{}, 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			say := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "said") })
			c := tt.config
			f := newFake(sample(now))
			c.Source, c.Actor, c.Log, c.Web, c.Metrics = f, f, slog.New(slog.DiscardHandler), say, say
			h, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			ask := func(path string) *httptest.ResponseRecorder {
				req := httptest.NewRequest("GET", "http://localhost"+path, nil)
				req.TLS = tt.tls
				if tt.authorization != "" {
					req.Header.Set("Authorization", tt.authorization)
				}
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, req)
				return rec
			}
			for _, path := range []string{"/", "/page.js", "/metrics", "/api/v1/status", "/api/v1/incidents", "/api/v1/openapi.yaml"} {
				rec := ask(path)
				if rec.Code != tt.want {
					t.Errorf("%s: %d, want %d", path, rec.Code, tt.want)
				}
				if asks := len(rec.Header().Values("WWW-Authenticate")); (asks == 2) != (tt.want == 401) {
					t.Errorf("%s: %d times WWW-Authenticate beside %d", path, asks, rec.Code)
				}
				var p Problem
				if tt.want != 200 && (json.Unmarshal(rec.Body.Bytes(), &p) != nil || p.Error == "" || p.Hint == "") {
					t.Errorf("%s: no problem with a way out: %s", path, rec.Body)
				}
			}
			if rec := ask("/api/v1/events"); tt.want != 200 && rec.Code != tt.want {
				t.Errorf("the event stream: %d, want %d", rec.Code, tt.want)
			}
			if rec := ask("/nothing"); tt.want != 200 && rec.Code != tt.want {
				t.Errorf("what is not there is told apart: %d, want %d", rec.Code, tt.want)
			}
			for _, path := range open {
				if rec := ask(path); rec.Code == 401 || rec.Code == 403 {
					t.Errorf("%s: %d", path, rec.Code)
				}
			}
		})
	}
}

// TestChangesTakeMore: who may read may not change; where only certificates let
// read, a change takes one too.
func TestChangesTakeMore(t *testing.T) {
	verified := &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{}}}}
	for _, tt := range []struct {
		name          string
		config        Config
		authorization string
		tls           *tls.ConnectionState
		want          int
	}{
		{"the token, which lets read too", Config{Token: token, ReadToken: readToken}, "Bearer " + token, nil, 204},
		{"the read token", Config{Token: token, ReadToken: readToken}, "Bearer " + readToken, nil, 403},
		{"the token as a password, as a browser would send it of itself", Config{Token: token, ReadToken: readToken}, basic("ann", token), nil, 401},
		{"a certificate alone", Config{Token: token, ClientCertificates: true}, "", verified, 401},
		{"a certificate and the token", Config{Token: token, ClientCertificates: true}, "Bearer " + token, verified, 204},
		{"the token without a certificate", Config{Token: token, ClientCertificates: true}, "Bearer " + token, nil, 403},
		{"no token to be had", Config{ReadToken: readToken}, "Bearer " + readToken, nil, 403},
		{"an empty one where there is none", Config{ReadToken: readToken}, "Bearer ", nil, 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(sample(now))
			tt.config.Source, tt.config.Actor, tt.config.Log = f, f, slog.New(slog.DiscardHandler)
			h, err := New(tt.config)
			if err != nil {
				t.Fatal(err)
			}
			req := httptest.NewRequest("POST", "http://localhost/api/v1/reload", nil)
			req.TLS = tt.tls
			req.Header.Set("Authorization", tt.authorization)
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, req)
			if rec.Code != tt.want {
				t.Errorf("%d, want %d: %s", rec.Code, tt.want, rec.Body)
			}
		})
	}
}

// TestNamesOfTheCertificate: over TLS an agent is also called as its certificate
// says.
func TestNamesOfTheCertificate(t *testing.T) {
	f := newFake(sample(now))
	h, err := New(Config{Source: f, Actor: f, Log: slog.New(slog.DiscardHandler), Vouches: func(host string) bool { return host == "agent.example" }})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{"agent.example": 200, "agent.example:9748": 200, "evil.example": 421} {
		req := httptest.NewRequest("GET", "https://localhost/api/v1/status", nil)
		req.Host = host
		rec := httptest.NewRecorder()
		if h.ServeHTTP(rec, req); rec.Code != want {
			t.Errorf("%s: %d, want %d", host, rec.Code, want)
		}
	}
}

// TestRefusalsAreLogged: the first, without what was presented, and not each of
// a flood.
func TestRefusalsAreLogged(t *testing.T) {
	var log bytes.Buffer
	f := newFake(sample(now))
	h, err := New(Config{Source: f, Actor: f, Token: token, ReadToken: readToken, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		for _, method := range []string{"GET", "POST"} {
			req := httptest.NewRequest(method, "http://localhost/api/v1/reload", nil)
			req.Header.Set("Authorization", "Bearer wrong-wrong-wrong")
			h.ServeHTTP(httptest.NewRecorder(), req)
		}
		req := httptest.NewRequest("POST", "http://localhost/api/v1/reload", nil)
		req.Header.Set("Authorization", "Bearer "+readToken)
		h.ServeHTTP(httptest.NewRecorder(), req)
	}
	said := log.String()
	if n := strings.Count(said, "\n"); n != 2 || !strings.Contains(said, "wrong token") || !strings.Contains(said, "a changing call") {
		t.Errorf("%d lines, want one for reads and one for changes:\n%s", n, said)
	}
	for _, hidden := range []string{token, readToken, "wrong-wrong"} {
		if strings.Contains(said, hidden) {
			t.Errorf("the log has %q", hidden)
		}
	}
}

func TestRefusals(t *testing.T) {
	var x refusals
	type said struct {
		unsaid int
		due    bool
	}
	for i, step := range []struct {
		after time.Duration
		want  said
	}{
		{0, said{0, true}},
		{time.Second, said{0, false}},
		{59 * time.Second, said{0, false}},
		{time.Minute, said{2, true}},
		{time.Minute, said{0, false}},
		{time.Hour, said{1, true}},
	} {
		var got said
		if got.unsaid, got.due = x.due(now.Add(step.after)); got != step.want {
			t.Errorf("step %d: %+v, want %+v", i, got, step.want)
		}
	}
}

package notify

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// secret is in every address and key: no error may have it.
const secret = "s3cret"

// serve answers with handle, and returns the address with a password and a
// secret path in it.
func serve(t *testing.T, handle http.HandlerFunc) (address, host string) {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	return withSecret(t, server.URL)
}

func withSecret(t *testing.T, text string) (address, host string) {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	u.User, u.Path = url.UserPassword("user", secret), "/"+secret
	return u.String(), u.Host
}

func hookTo(t *testing.T, address string, roots *x509.CertPool) *webhook {
	t.Helper()
	c := Channel{Name: "hook", Webhook: &Webhook{URL: address, Key: []byte("key-" + secret), RootCAs: roots}}
	w := receivers(&c)[0].sender.(*webhook)
	t.Cleanup(w.close)
	return w
}

func TestWebhookRequest(t *testing.T) {
	type request struct {
		Method, Path, ContentType, Key, User, Password string
		Body                                           Notice
	}
	var got request
	var body []byte
	var signed string
	address, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		signed = r.Header.Get(signatureHeader)
		got = request{Method: r.Method, Path: r.URL.Path, ContentType: r.Header.Get("Content-Type"), Key: r.Header.Get("Idempotency-Key")}
		got.User, got.Password, _ = r.BasicAuth()
		if err := json.Unmarshal(body, &got.Body); err != nil {
			t.Error(err)
		}
	})
	n := toldAll(t, Channel{Name: "hook", Webhook: &Webhook{URL: address}})[0]
	if err := hookTo(t, address, nil).send(t.Context(), epoch, &n); err != nil {
		t.Fatal(err)
	}
	want := request{Method: "POST", Path: "/" + secret, ContentType: "application/json", Key: n.Key, User: "user", Password: secret, Body: n}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	mac := hmac.New(sha256.New, []byte("key-"+secret))
	fmt.Fprintf(mac, "%d.%s", epoch.Unix(), body)
	if want := fmt.Sprintf("t=%d,v1=%s", epoch.Unix(), hex.EncodeToString(mac.Sum(nil))); signed != want {
		t.Errorf("signature %s, want %s", signed, want)
	}
}

// TestSignature is held to a value that openssl made:
// printf '1795248000.{}' | openssl dgst -sha256 -hmac key
func TestSignature(t *testing.T) {
	const want = "t=1795248000,v1=351b37a7bdb432b1725fc5db6fdd57356e7b0ee0722799c59f4eed915c66aa66"
	if got := signature([]byte("key"), time.Unix(1795248000, 0), []byte("{}")); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestUnsignedWithoutKey(t *testing.T) {
	var header http.Header
	address, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) { header = r.Header })
	w := hookTo(t, address, nil)
	w.key = nil
	if err := w.send(t.Context(), epoch, &Notice{}); err != nil {
		t.Fatal(err)
	}
	if _, there := header[signatureHeader]; there {
		t.Errorf("signed with no key: %v", header)
	}
}

func TestWebhookRefusals(t *testing.T) {
	status := func(code int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			fmt.Fprint(w, r.URL, secret) // what it says may be anything
		}
	}
	for _, tt := range []struct {
		name   string
		handle http.HandlerFunc
		want   Refusal
	}{
		{"500", status(500), Refusal{Words: "HOST answered 500 Internal Server Error"}},
		{"503, seconds", status(503, "Retry-After", "7"), Refusal{Words: "HOST answered 503 Service Unavailable", Outage: true, RetryAfter: 7 * time.Second}},
		{"429, date", status(429, "Retry-After", "Sat, 21 Nov 2026 08:02:00 GMT"), Refusal{Words: "HOST answered 429 Too Many Requests", Outage: true, RetryAfter: 2 * time.Minute}},
		{"408", status(408), Refusal{Words: "HOST answered 408 Request Timeout", Outage: true}},
		{"425", status(425), Refusal{Words: "HOST answered 425 Too Early", Outage: true}},
		{"502", status(502), Refusal{Words: "HOST answered 502 Bad Gateway", Outage: true}},
		{"504", status(504), Refusal{Words: "HOST answered 504 Gateway Timeout", Outage: true}},
		{"200 with an error", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"ok": false, "error": %q}`, secret) }, Refusal{Words: "HOST answered 200, and an error in the body"}},
		{"400", status(400), Refusal{Words: "HOST answered 400 Bad Request", ForGood: true}},
		{"413", status(413), Refusal{Words: "HOST answered 413 Request Entity Too Large", ForGood: true}},
		{"401", status(401), Refusal{Words: "HOST answered 401 Unauthorized"}},
		{"404", status(404), Refusal{Words: "HOST answered 404 Not Found"}},
		{"no such status", status(799), Refusal{Words: "HOST answered 799"}},
		{"redirect", status(302, "Location", "https://u:"+secret+"@elsewhere.example/"+secret),
			Refusal{Words: "HOST answered 302 to https://elsewhere.example/…: redirects are not followed, give that address itself"}},
		{"redirect on the same host", status(308, "Location", "/"+secret),
			Refusal{Words: "HOST answered 308 to http://HOST/…: redirects are not followed, give that address itself"}},
		{"redirect to nowhere", status(301), Refusal{Words: "HOST answered 301: redirects are not followed, give that address itself"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address, host := serve(t, tt.handle)
			err := hookTo(t, address, nil).send(t.Context(), epoch, &Notice{})
			refusal, ok := errors.AsType[*Refusal](err)
			if !ok {
				t.Fatalf("error %v, want a refusal", err)
			}
			tt.want.Words = strings.ReplaceAll(tt.want.Words, "HOST", host)
			if diff := cmp.Diff(tt.want, *refusal); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestWebhookBrokenConnections: no answer is an error that names the host and
// keeps the secret, and the connection is not trusted further than it should.
func TestWebhookBrokenConnections(t *testing.T) {
	raw := func(t *testing.T, talk func(net.Conn)) string {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					talk(conn)
				}
				conn.Close()
			}
		}()
		return "http://" + listener.Addr().String()
	}
	for _, tt := range []struct {
		name string
		url  func(t *testing.T) string
		want string // after the host
	}{
		{"nobody listens", func(t *testing.T) string {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			return "http://" + listener.Addr().String()
		}, "connection refused"},
		{"reset", func(t *testing.T) string {
			return raw(t, func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) })
		}, ""}, // reset or EOF, as the kernel has it
		{"not HTTP", func(t *testing.T) string {
			return raw(t, func(c net.Conn) { fmt.Fprint(c, "220 mail\x1b[2J\r\n\r\n") })
		}, "malformed HTTP"},
		{"endless header", func(t *testing.T) string {
			return raw(t, func(c net.Conn) {
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\n")
				line := []byte("X: " + strings.Repeat("a", 1000) + "\r\n")
				for {
					if _, err := c.Write(line); err != nil {
						return
					}
				}
			})
		}, "exceeded"},
		{"unknown authority", func(t *testing.T) string {
			server := httptest.NewUnstartedServer(http.NotFoundHandler())
			server.Config.ErrorLog = quiet()
			server.StartTLS()
			t.Cleanup(server.Close)
			return server.URL
		}, "certificate signed by unknown authority"},
		{"TLS to a plain server", func(t *testing.T) string {
			server := httptest.NewServer(http.NotFoundHandler())
			t.Cleanup(server.Close)
			return "https" + strings.TrimPrefix(server.URL, "http")
		}, "HTTP response to HTTPS client"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address, host := withSecret(t, tt.url(t))
			err := hookTo(t, address, nil).send(t.Context(), epoch, &Notice{})
			if err == nil {
				t.Fatal("no error")
			}
			text := err.Error()
			if !strings.HasPrefix(text, host+": ") || !strings.Contains(text, tt.want) || strings.Contains(text, secret) || strings.ContainsAny(text, "\n\x1b") {
				t.Errorf("error %q, want %s: … %s", text, host, tt.want)
			}
		})
	}
}

// TestWebhookHang: an answer that does not come ends with the attempt's time,
// which is shortened here by the client's own setting.
func TestWebhookHang(t *testing.T) {
	release := make(chan struct{})
	address, host := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	})
	defer close(release)
	w := hookTo(t, address, nil)
	if w.client.http.Timeout != AttemptTimeout {
		t.Errorf("an attempt may take %s, want %s", w.client.http.Timeout, AttemptTimeout)
	}
	w.client.http.Timeout = time.Millisecond
	if err := w.send(t.Context(), epoch, &Notice{}); err == nil || err.Error() != host+" did not answer within 1ms" {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.client.http.Timeout = AttemptTimeout
	if err := w.send(ctx, epoch, &Notice{}); err == nil {
		t.Error("a cancelled attempt gave no error")
	}
}

// TestWebhookHugeAnswer: a yes is a yes before its endless body is there, and
// a no is read so far and no further.
func TestWebhookHugeAnswer(t *testing.T) {
	for _, code := range []int{200, 400} {
		ended := make(chan struct{})
		address, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			defer close(ended)
			w.WriteHeader(code)
			for chunk := make([]byte, 64<<10); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		})
		err := (&member{hookTo(t, address, nil).client}).send(t.Context(), epoch, &Notice{})
		if (err == nil) != (code == 200) {
			t.Errorf("%d: error %v", code, err)
		}
		<-ended // we hung up
	}
}

// TestWebhookTLS verifies with the roots it is given.
func TestWebhookTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	if err := hookTo(t, server.URL, roots).send(t.Context(), epoch, &Notice{}); err != nil {
		t.Error(err)
	}
}

// TestAlertmanagerSaysWhy: what Alertmanager itself says is told, and nobody
// else's words.
func TestAlertmanagerSaysWhy(t *testing.T) {
	for answer, want := range map[string]string{
		`"bad\nstart"`:           "HOST answered 400 Bad Request: bad start",
		`<html>` + secret:        "HOST answered 400 Bad Request",
		`{"x":"` + secret + `"}`: "HOST answered 400 Bad Request",
		``:                       "HOST answered 400 Bad Request",
	} {
		address, host := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			fmt.Fprint(w, answer)
		})
		err := (&member{hookTo(t, address, nil).client}).send(t.Context(), epoch, &Notice{})
		if want = strings.ReplaceAll(want, "HOST", host); err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %s", answer, err, want)
		}
	}
}

// quiet swallows what a test server says of our hanging up.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

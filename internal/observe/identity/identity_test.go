package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foreshock/foreshock/internal/dial"
	"github.com/foreshock/foreshock/internal/reply"
)

// secret is in every body and header of the tests' servers, and must be in no
// words.
const secret = "sesame-7788"

// authority signs certificates.
type authority struct {
	key   *ecdsa.PrivateKey
	cert  *x509.Certificate
	roots *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key, cert, x509.NewCertPool()}
	a.roots.AddCert(cert)
	return a
}

// issue makes a certificate that is good until a time.
func (a *authority) issue(t testing.TB, until time.Time, names ...string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: names, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: a.key}
}

// site answers as an application does.
func site(status int, header, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Secret", secret)
		if name, value, found := strings.Cut(header, ": "); found {
			w.Header().Set(name, value)
		}
		if r.Host != "shop.example" && !strings.HasPrefix(r.Host, "shop.example:") || r.URL.RequestURI() != "/healthz?full=1" || r.Header.Get("Cookie") != "" {
			status = http.StatusTeapot
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body+secret)
	})
}

// serve starts an HTTP server of Go's, with TLS where there is a configuration.
func serve(t testing.TB, address string, h http.Handler, config *tls.Config) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("cannot listen on %s: %v", address, err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}, TLS: config}
	if config != nil {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// serveRaw answers each connection by a function, which ends with the test.
func serveRaw(t testing.TB, answer func(conn net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			answer(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-ended })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func probeAt(t *testing.T, ctx context.Context, roots *x509.CertPool, scheme string, at netip.AddrPort, status int, body, header string) reply.Probe {
	t.Helper()
	expect, err := NewExpect(fmt.Sprintf("%s://shop.example:%d/healthz?full=1", scheme, at.Port()), status, body, header)
	if err != nil {
		t.Fatal(err)
	}
	p := Prober{Dial: dial.New().DialContext, Now: time.Now, Roots: roots}
	got := p.Probe(ctx, Target{Name: "shop.example", Address: at.Addr(), Expect: expect})
	if got.Name != "shop.example" || got.Address != at || got.At.IsZero() || got.Took < 0 {
		t.Errorf("%+v is not of shop.example at %s", got, at)
	}
	if strings.Contains(got.Words, secret) {
		t.Errorf("the words repeat what a server said: %s", got.Words)
	}
	return got
}

var whatCameOfIt = cmpopts.IgnoreFields(reply.Probe{}, "Name", "Address", "At", "Took")

func TestProbe(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	later := time.Now().Add(time.Hour)
	certified := func(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }
	right := certified(ours.issue(t, later, "shop.example"))
	expired := time.Now().Add(-time.Hour)
	tests := []struct {
		name    string
		handler http.Handler
		tls     *tls.Config
		want    reply.Probe
	}{
		{"the right application", site(200, "X-Site: shop", "all is well"), right,
			reply.Probe{Failed: reply.Done, Status: 200, Words: "status 200, as expected"}},
		{"without TLS, where none is expected", site(200, "X-Site: shop", "all is well"), nil,
			reply.Probe{Failed: reply.Done, Status: 200, Words: "status 200, as expected"}},
		{"another name's certificate", site(200, "X-Site: shop", "all is well"), certified(ours.issue(t, later, "blog.example", "www.blog.example")),
			reply.Probe{Failed: reply.TLS, Wrong: true, Words: "the certificate is for blog.example, www.blog.example, not for shop.example"}},
		{"one that nobody trusts", site(200, "", ""), certified(theirs.issue(t, later, "a.example", "b.example", "c.example", "d.example", "e.example")),
			reply.Probe{Failed: reply.TLS, Wrong: true, Words: "the certificate is for a.example, b.example, c.example and 2 more, not for shop.example"}},
		{"one of no name", site(200, "", ""), certified(theirs.issue(t, later)),
			reply.Probe{Failed: reply.TLS, Wrong: true, Words: "the certificate is for no name, not for shop.example"}},
		{"one of another name, and over", site(200, "", ""), certified(ours.issue(t, expired, "blog.example")),
			reply.Probe{Failed: reply.TLS, Wrong: true, Words: "the certificate is for blog.example, not for shop.example"}},
		{"the right name, over", site(200, "", ""), certified(ours.issue(t, expired, "shop.example")),
			reply.Probe{Failed: reply.TLS, Words: fmt.Sprintf("the certificate is good from %s to %s, and that is not now", day(time.Now().Add(-2*time.Hour)), day(expired))}},
		{"the right name, by somebody else", site(200, "", ""), certified(theirs.issue(t, later, "shop.example")),
			reply.Probe{Failed: reply.TLS, Words: "this host does not trust who issued the certificate"}},
		{"another body", site(200, "X-Site: shop", "welcome to the blog"), right,
			reply.Probe{Failed: reply.Identity, Wrong: true, Status: 200, Words: "status 200, and the body does not contain what is expected"}},
		{"a body that is too long", site(200, "X-Site: shop", strings.Repeat("x", maxBody)+"all is well"), right,
			reply.Probe{Failed: reply.Identity, Wrong: true, Status: 200, Words: "status 200, and the first 64 KiB of the body do not contain what is expected"}},
		{"no header", site(200, "", "all is well"), right,
			reply.Probe{Failed: reply.Identity, Wrong: true, Status: 200, Words: "status 200 without the header X-Site"}},
		{"another header", site(200, "X-Site: "+secret, "all is well"), right,
			reply.Probe{Failed: reply.Identity, Wrong: true, Status: 200, Words: "status 200 with another value of the header X-Site"}},
		{"headers without end", site(200, "X-Long: "+strings.Repeat("x", 2*maxHeaders), "all is well"), right,
			reply.Probe{Failed: reply.HTTP, Words: "the answer has more than 64 KiB of headers"}},
		{"another status", site(404, "X-Site: shop", "all is well"), right,
			reply.Probe{Failed: reply.Identity, Wrong: true, Status: 404, Words: "status 404, and 200 is expected"}},
		{"it fails", site(503, "X-Site: shop", "all is well"), right,
			reply.Probe{Failed: reply.HTTP, Status: 503, Words: "status 503: it answers, and fails"}},
		{"a redirect is a status", site(301, "Location: https://www.blog.example/?"+secret, "all is well"), right,
			reply.Probe{Failed: reply.Identity, Wrong: true, Status: 301, Words: "status 301, a redirect to https://www.blog.example, and 200 is expected"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			scheme := "https"
			if tt.tls == nil {
				scheme = "http"
			}
			got := probeAt(t, t.Context(), ours.roots, scheme, serve(t, "127.0.0.1:0", tt.handler, tt.tls.Clone()), 200, "is well", "X-Site: shop")
			if diff := cmp.Diff(tt.want, got, whatCameOfIt); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestProbeAnyStatus: without an expectation any status below 400 will do, and
// IPv6 addresses are reached as others are.
func TestProbeAnyStatus(t *testing.T) {
	for status, want := range map[int]reply.Probe{
		204: {Failed: reply.Done, Status: 204, Words: "status 204, as expected"},
		302: {Failed: reply.Done, Status: 302, Words: "status 302, as expected"},
		403: {Failed: reply.Identity, Wrong: true, Status: 403, Words: "status 403, and one below 400 is expected"},
		500: {Failed: reply.HTTP, Status: 500, Words: "status 500: it answers, and fails"},
	} {
		got := probeAt(t, t.Context(), nil, "http", serve(t, "[::1]:0", site(status, "Location: /login?"+secret, ""), nil), 0, "", "")
		if diff := cmp.Diff(want, got, whatCameOfIt); diff != "" {
			t.Errorf("status %d (-want +got):\n%s", status, diff)
		}
	}
}

// TestProbeOfWhatMisbehaves: servers that hang, drip, break off or speak
// something else. The test's own patience ends before the probe's.
func TestProbeOfWhatMisbehaves(t *testing.T) {
	drip := func(first, each string) func(net.Conn) {
		return func(conn net.Conn) {
			_, err := io.WriteString(conn, first)
			for err == nil {
				_, err = io.WriteString(conn, each)
				time.Sleep(10 * time.Millisecond)
			}
		}
	}
	hang := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	says := func(text string) func(net.Conn) {
		return func(conn net.Conn) { _, _ = io.WriteString(conn, text); hang(conn) }
	}
	asked := func(answer string) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, answer)
		}
	}
	overInTime := "the 10s for the whole were over"
	tests := []struct {
		name, scheme string
		answer       func(conn net.Conn)
		want         reply.Probe
	}{
		{"TLS: hangs", "https", hang, reply.Probe{Failed: reply.TLS, Words: overInTime + " in the TLS handshake"}},
		{"TLS: knows no such name", "https", func(conn net.Conn) {
			_ = tls.Server(conn, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }}).Handshake()
		}, reply.Probe{Failed: reply.TLS, Wrong: true, Words: "the server ended the TLS handshake for shop.example: unrecognized name"}},
		{"TLS: plain HTTP", "https", asked("HTTP/1.1 400 Bad Request\r\n\r\n" + secret), reply.Probe{Failed: reply.TLS, Wrong: true, Words: "what answers does not speak TLS"}},
		{"TLS: closes", "https", asked(""), reply.Probe{Failed: reply.TLS, Words: "the server closed the connection in the TLS handshake"}},
		{"TLS: drips", "https", drip("\x16\x03\x03\x40\x00", "x"), reply.Probe{Failed: reply.TLS, Words: overInTime + " in the TLS handshake"}},
		{"hangs", "http", hang, reply.Probe{Failed: reply.HTTP, Words: overInTime + " before the answer was complete"}},
		{"drips headers", "http", drip("HTTP/1.1 200 OK\r\n", "X: y\r\n"), reply.Probe{Failed: reply.HTTP, Words: overInTime + " before the answer was complete"}},
		{"drips its body", "http", drip("HTTP/1.1 200 OK\r\nX-Site: shop\r\n\r\n", "x"), reply.Probe{Failed: reply.HTTP, Status: 200, Words: overInTime + " before the answer was complete"}},
		{"breaks off its body", "http", asked("HTTP/1.1 200 OK\r\nX-Site: shop\r\nContent-Length: 500\r\n\r\nall"), reply.Probe{Failed: reply.HTTP, Status: 200, Words: "the server closed the connection before the answer was complete"}},
		{"closes", "http", asked(""), reply.Probe{Failed: reply.HTTP, Words: "the server closed the connection before the answer was complete"}},
		{"speaks first, and something else", "http", says("SSH-2.0-" + secret + "\r\n"), reply.Probe{Failed: reply.HTTP, Wrong: true, Words: "what answers does not speak HTTP/1.1"}},
		{"answers, and something else", "http", asked("-ERR unknown command " + secret + "\r\n"), reply.Probe{Failed: reply.HTTP, Wrong: true, Words: "what answers does not speak HTTP/1.1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			got := probeAt(t, ctx, nil, tt.scheme, serveRaw(t, tt.answer), 200, "is well", "X-Site: shop")
			if diff := cmp.Diff(tt.want, got, whatCameOfIt); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestProbeConnects: without an expectation a connection is enough, to the first
// port that takes one.
func TestProbeConnects(t *testing.T) {
	taken := serveRaw(t, func(net.Conn) {})
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().(*net.TCPAddr).AddrPort()
	_ = l.Close()
	p := Prober{Dial: dial.New().DialContext, Now: time.Now}
	tests := []struct {
		name  string
		ports []uint16
		want  reply.Probe
	}{
		{"the second", []uint16{closed.Port(), taken.Port()}, reply.Probe{Address: taken, Failed: reply.Done, Words: fmt.Sprintf("port %d takes connections; which application answers was not asked", taken.Port())}},
		{"none", []uint16{closed.Port()}, reply.Probe{Address: closed, Failed: reply.Connect, Words: "the connection is refused: nothing listens there"}},
		{"none of two", []uint16{closed.Port(), closed.Port()}, reply.Probe{Address: closed, Failed: reply.Connect, Words: fmt.Sprintf("none of the ports %[1]d, %[1]d takes connections: the connection is refused: nothing listens there", closed.Port())}},
	}
	for _, tt := range tests {
		got := p.Probe(t.Context(), Target{Name: "shop.example", Address: closed.Addr(), Ports: tt.ports})
		if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(reply.Probe{}, "Name", "At", "Took"), cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	refused := probeAt(t, t.Context(), nil, "https", closed, 200, "", "")
	if diff := cmp.Diff(reply.Probe{Failed: reply.Connect, Words: "the connection is refused: nothing listens there"}, refused, whatCameOfIt); diff != "" {
		t.Errorf("with an expectation (-want +got):\n%s", diff)
	}
}

// TestProbesAreKnown: what the agent connects itself is left out of its counts.
func TestProbesAreKnown(t *testing.T) {
	d := dial.New()
	p := Prober{Dial: d.DialContext, Now: time.Now}
	at := serveRaw(t, func(net.Conn) {})
	p.Probe(t.Context(), Target{Name: "shop.example", Address: at.Addr(), Ports: []uint16{at.Port()}})
	if got := d.Counts().Opened; got != 1 {
		t.Errorf("%d connections are known, want 1", got)
	}
}

func TestGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	at := serveRaw(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1)) // the handshake has begun
		cancel()
		_, _ = io.Copy(io.Discard, conn)
	})
	if got := probeAt(t, ctx, nil, "https", at, 200, "", ""); got.Failed != reply.TLS || got.Wrong || !strings.HasPrefix(got.Words, "given up") {
		t.Errorf("%+v", got)
	}
}

func TestNewExpectRefuses(t *testing.T) {
	tests := []struct {
		url    string
		status int
		body   string
		header string
		want   string
	}{
		{url: "", want: `identity URL "" is not of the form https://shop.example/healthz`},
		{url: "shop.example", want: `identity URL "shop.example" is not of the form https://shop.example/healthz`},
		{url: "ftp://shop.example/", want: `identity URL "ftp://shop.example/" is not of the form https://shop.example/healthz`},
		{url: "https:///healthz", want: `identity URL "https:///healthz" is not of the form https://shop.example/healthz`},
		{url: "https://shop.example:0/", want: `identity URL "https://shop.example:0/": the port is from 1 to 65535`},
		{url: "https://shop.example:65536/", want: `identity URL "https://shop.example:65536/": the port is from 1 to 65535`},
		{url: "https://me:" + secret + "@shop.example/", want: "identity URL has a user or password: leave it out, a probe only asks what everybody may see"},
		{url: "me:" + secret + "@shop.example/", want: "identity URL has a user or password: leave it out, a probe only asks what everybody may see"},
		{url: "https://me:" + secret + "/@shop.example/", want: "identity URL cannot be read: it is of the form https://shop.example/healthz"},
		{url: "https://shop.example/", status: 99, want: "expected status 99 is none: it is from 200 to 599, or 0 for any below 400"},
		{url: "https://shop.example/", body: strings.Repeat("x", maxBody+1), want: "the expected text has 65537 bytes, and 65536 of a body are read"},
		{url: "https://shop.example/", header: "X-Site", want: `expected header "X-Site" is not of the form "X-Site: shop"`},
		{url: "https://shop.example/", header: "X Site: shop", want: `expected header "X Site: shop" is not of the form "X-Site: shop"`},
		{url: "https://shop.example/", header: "X-Site: ", want: `expected header "X-Site: " is not of the form "X-Site: shop"`},
	}
	for _, tt := range tests {
		e, err := NewExpect(tt.url, tt.status, tt.body, tt.header)
		if err == nil || err.Error() != tt.want || e != nil {
			t.Errorf("NewExpect(%q, %d, %d bytes, %q): %v, want %s", tt.url, tt.status, len(tt.body), tt.header, err, tt.want)
		}
	}
}

package certificate

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/certificate/certificatetest"
	"github.com/foreshock/foreshock/internal/config"
)

// serve serves with a store on loopback and says whether a client certificate
// was verified.
func serve(t *testing.T, s *Store) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		says := "nobody"
		if len(r.TLS.VerifiedChains) > 0 {
			says = "known"
		}
		_, _ = io.WriteString(w, says)
	}))
	_ = server.Listener.Close()
	server.Listener = tls.NewListener(listener, s.Server())
	server.Start()
	t.Cleanup(server.Close)
	return "https://" + listener.Addr().String()
}

// ask makes one call on a connection of its own.
func ask(t *testing.T, url string, c *tls.Config) (string, error) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{TLSClientConfig: c, DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

func client(t *testing.T, c Caller) *tls.Config {
	t.Helper()
	out, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestConnections: real TLS, with each way to be turned away.
func TestConnections(t *testing.T) {
	dir := t.TempDir()
	ours, theirs := certificatetest.New(t, "ours"), certificatetest.New(t, "theirs")
	ca := certificatetest.Put(t, dir, "ca.pem", ours.PEM())
	otherCA := certificatetest.Put(t, dir, "other-ca.pem", theirs.PEM())
	cert, key := ours.Write(dir, "server", certificatetest.Wish{})
	oldCert, oldKey := ours.Write(dir, "expired-server", certificatetest.Wish{From: -48 * time.Hour, Until: -24 * time.Hour})
	goodCert, goodKey := ours.Write(dir, "client", certificatetest.Wish{})
	wrongCert, wrongKey := theirs.Write(dir, "wrong-client", certificatetest.Wish{})
	lateCert, lateKey := ours.Write(dir, "late-client", certificatetest.Wish{From: -48 * time.Hour, Until: -24 * time.Hour})
	plain := config.TLS{Cert: cert, Key: key}
	asking := config.TLS{Cert: cert, Key: key, ClientCA: ca}
	for _, tt := range []struct {
		name   string
		serves config.TLS
		caller Caller
		change func(*tls.Config)
		want   string // what the server says
		fails  string // a part of the error
	}{
		{name: "the right authority", serves: plain, caller: Caller{CA: ca}, want: "nobody"},
		{name: "a client certificate that nobody asks for", serves: plain, caller: Caller{CA: ca, Cert: goodCert, Key: goodKey}, want: "nobody"},
		{name: "another authority", serves: plain, caller: Caller{CA: otherCA}, fails: "unknown authority"},
		{name: "the system's authorities", serves: plain, fails: "unknown authority"},
		{name: "an expired server", serves: config.TLS{Cert: oldCert, Key: oldKey}, caller: Caller{CA: ca}, fails: "expired"},
		{name: "TLS 1.1", serves: plain, caller: Caller{CA: ca}, change: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, fails: "protocol version"},
		{name: "TLS 1.2", serves: plain, caller: Caller{CA: ca}, change: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, want: "nobody"},
		{name: "asked for, given", serves: asking, caller: Caller{CA: ca, Cert: goodCert, Key: goodKey}, want: "known"},
		{name: "asked for, none", serves: asking, caller: Caller{CA: ca}, want: "nobody"},
		{name: "a client certificate of another authority", serves: asking, caller: Caller{CA: ca, Cert: wrongCert, Key: wrongKey}, change: func(c *tls.Config) { insist(c) }, fails: "unknown certificate authority"},
		{name: "an expired client certificate", serves: asking, caller: Caller{CA: ca, Cert: lateCert, Key: lateKey}, fails: "expired"},
		{name: "our own agent", serves: plain, caller: Caller{Own: cert}, want: "nobody"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Open(tt.serves)
			if err != nil {
				t.Fatal(err)
			}
			c := client(t, tt.caller)
			if tt.change != nil {
				tt.change(c)
			}
			got, err := ask(t, serve(t, s), c)
			if got != tt.want || (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%q, %v; want %q, %q", got, err, tt.want, tt.fails)
			}
		})
	}
}

// insist sends the client certificate whatever authorities the server names; as
// it is, one of none of them is left out.
func insist(c *tls.Config) {
	pair := c.Certificates[0]
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
}

// TestOwnAgent: what this host's agent serves with is trusted by its file, by any
// name; what another serves with is not.
func TestOwnAgent(t *testing.T) {
	dir := t.TempDir()
	ours := certificatetest.New(t, "ours")
	for _, names := range [][]string{{"web03.example"}, {"*.example"}, nil} {
		cert, key := ours.Write(dir, "server", certificatetest.Wish{Names: names})
		other, _ := ours.Write(dir, "other", certificatetest.Wish{Names: names})
		s, err := Open(config.TLS{Cert: cert, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		url := serve(t, s)
		if got, err := ask(t, url, client(t, Caller{Own: cert})); err != nil || got != "nobody" {
			t.Errorf("%q: %q, %v", names, got, err)
		}
		if _, err := ask(t, url, client(t, Caller{Own: other})); err == nil {
			t.Errorf("%q: a certificate of no authority that is trusted was taken for ours", names)
		}
	}
}

// TestRenew: new files are served with at once, bad ones never.
func TestRenew(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	ours, theirs := certificatetest.New(t, "ours"), certificatetest.New(t, "theirs")
	files := config.TLS{ClientCA: certificatetest.Put(t, dir, "clients.pem", ours.PEM())}
	files.Cert, files.Key = ours.Write(dir, "server", certificatetest.Wish{})
	ca := certificatetest.Put(t, dir, "ca.pem", append(ours.PEM(), theirs.PEM()...))
	clientCert, clientKey := theirs.Write(dir, "client", certificatetest.Wish{})
	s, err := Open(files)
	if err != nil {
		t.Fatal(err)
	}
	url := serve(t, s)
	by := func() string {
		t.Helper()
		var issuer string
		c := client(t, Caller{CA: ca})
		c.VerifyConnection = func(s tls.ConnectionState) error {
			issuer = s.PeerCertificates[0].Issuer.CommonName
			return nil
		}
		if _, err := ask(t, url, c); err != nil {
			t.Fatal(err)
		}
		return issuer
	}
	renew := func(want bool, fails string) {
		t.Helper()
		renewed, err := s.Renew(now)
		if renewed != want || (err == nil) != (fails == "") || err != nil && !strings.Contains(err.Error(), fails) {
			t.Fatalf("renewed %t, %v; want %t, %q", renewed, err, want, fails)
		}
	}

	renew(false, "") // nothing changed
	good, goodKey := theirs.Issue(certificatetest.Wish{})
	certificatetest.Put(t, dir, "server.pem", good)
	renew(false, "private key does not match") // the key comes a moment later
	if got := by(); got != "ours" {
		t.Errorf("half a pair: served by %q", got)
	}
	certificatetest.Put(t, dir, "server.key", goodKey)
	renew(true, "")
	if got := by(); got != "theirs" {
		t.Errorf("renewed: served by %q", got)
	}
	ours.Write(dir, "server", certificatetest.Wish{From: -2 * time.Hour, Until: -time.Hour})
	renew(false, "expired")
	ours.Write(dir, "server", certificatetest.Wish{From: time.Hour})
	renew(false, "good from")
	certificatetest.Put(t, dir, "server.pem", nil)
	renew(false, "find any PEM data")
	if err := os.Remove(files.Cert); err != nil {
		t.Fatal(err)
	}
	renew(false, "no such file")
	if got := by(); got != "theirs" {
		t.Errorf("after bad files: served by %q", got)
	}

	certificatetest.Put(t, dir, "server.pem", good)
	certificatetest.Put(t, dir, "server.key", goodKey)
	renew(false, "")
	caller := client(t, Caller{CA: ca, Cert: clientCert, Key: clientKey})
	insist(caller)
	if _, err := ask(t, url, caller); err == nil {
		t.Error("a client certificate of another authority was let in")
	}
	certificatetest.Put(t, dir, "clients.pem", theirs.PEM())
	renew(true, "")
	if got, err := ask(t, url, caller); got != "known" {
		t.Errorf("after new authorities: %q, %v", got, err)
	}
	certificatetest.Put(t, dir, "clients.pem", []byte("nothing"))
	renew(false, "no certificate is there")
	if got, err := ask(t, url, caller); got != "known" {
		t.Errorf("after bad authorities: %q, %v", got, err)
	}
}

// TestOpenRefuses: each error names the file and repeats no key.
func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	ours := certificatetest.New(t, "ours")
	cert, key := ours.Write(dir, "server", certificatetest.Wish{})
	_, other := ours.Write(dir, "other", certificatetest.Wish{})
	open := certificatetest.Put(t, dir, "open.key", []byte("x"))
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	junk := certificatetest.Put(t, dir, "junk", []byte("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n"))
	badCA := certificatetest.Put(t, dir, "bad-ca", []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	huge := certificatetest.Put(t, dir, "huge", make([]byte, maxFile+1))
	for name, tt := range map[string]struct {
		files config.TLS
		want  string
	}{
		"no certificate":           {config.TLS{Cert: filepath.Join(dir, "none"), Key: key}, "no such file"},
		"no key":                   {config.TLS{Cert: cert, Key: filepath.Join(dir, "none")}, "no such file"},
		"a directory":              {config.TLS{Cert: dir, Key: key}, "not a plain file"},
		"the key of another":       {config.TLS{Cert: cert, Key: other}, "does not match"},
		"a key that all may read":  {config.TLS{Cert: cert, Key: open}, "chmod o-r"},
		"a key that is none":       {config.TLS{Cert: cert, Key: junk}, "PEM"},
		"a certificate too large":  {config.TLS{Cert: huge, Key: key}, "larger than"},
		"the key as authority":     {config.TLS{Cert: cert, Key: key, ClientCA: key}, "no certificate is there"},
		"an authority that is bad": {config.TLS{Cert: cert, Key: key, ClientCA: badCA}, "certificate 1 there"},
	} {
		_, err := Open(tt.files)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	if _, err := (Caller{Cert: cert}).Client(); err == nil || !strings.Contains(err.Error(), "belong together") {
		t.Errorf("half a client certificate: %v", err)
	}
}

// TestFading: in the last tenth of its time, whatever that is.
func TestFading(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificatetest.New(t, "ours").Write(dir, "server", certificatetest.Wish{Names: []string{"web03.example"}, From: -time.Hour, Until: 99 * time.Hour})
	s, err := Open(config.TLS{Cert: cert, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	for left, want := range map[time.Duration]string{99 * time.Hour: "", 11 * time.Hour: "", 9 * time.Hour: "expires at", -time.Second: "expired at"} {
		if got := s.Fading(s.Expires().Add(-left)); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s before its end: %q, want %q", left, got, want)
		}
	}
	for host, want := range map[string]bool{"web03.example": true, "WEB03.example": true, "web04.example": false, "": false} {
		if got := s.Vouches(host); got != want {
			t.Errorf("%q: %t", host, got)
		}
	}
}

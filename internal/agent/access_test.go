package agent

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/certificate"
	"github.com/foreshock/foreshock/internal/certificate/certificatetest"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
)

const (
	aToken     = "a token that is long enough"
	aReadToken = "another that only lets read"
)

// guarded is a directory with all that a guarded agent takes, and its
// configuration.
type guarded struct {
	dir, file string
	authority *certificatetest.Authority
	// ca is its authority's file; cert and key a client's.
	ca, cert, key string
}

func newGuarded(t *testing.T) guarded {
	t.Helper()
	dir := t.TempDir()
	g := guarded{dir: dir, file: filepath.Join(dir, "foreshock.yaml"), authority: certificatetest.New(t, "ours")}
	g.authority.Write(dir, "server", certificatetest.Wish{})
	g.cert, g.key = g.authority.Write(dir, "client", certificatetest.Wish{})
	g.ca = certificatetest.Put(t, dir, "ca.pem", g.authority.PEM())
	write(t, filepath.Join(dir, "token"), aToken+"\n")
	write(t, filepath.Join(dir, "read-token"), aReadToken+"\n")
	write(t, g.file, g.text(""))
	return g
}

// text is its configuration, with more of tls.
func (g *guarded) text(more string) string {
	return fmt.Sprintf("name: web03\ntoken: {file: %[1]s/token}\ntls: {cert: %[1]s/server.pem, key: %[1]s/server.key%[2]s}\n", g.dir, more)
}

// calls makes one call on a connection of its own, and says the status and the
// issuer of what was presented.
func calls(t *testing.T, method, url, token string, caller certificate.Caller, dial func(context.Context, string, string) (net.Conn, error)) (code int, issuer string, err error) {
	t.Helper()
	c, err := caller.Client()
	if err != nil {
		t.Fatal(err)
	}
	c.VerifyConnection = func(s tls.ConnectionState) error {
		issuer = s.PeerCertificates[0].Issuer.CommonName
		return nil
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: c, DisableKeepAlives: true, DialContext: dial}, Timeout: 10 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	if !strings.HasSuffix(url, "/events") {
		_, err = io.Copy(io.Discard, resp.Body)
	}
	return resp.StatusCode, issuer, err
}

// TestGuardedAgent: a real agent with TLS, a read token and client certificates,
// and what follows when its certificate is renewed on disk, well and badly.
func TestGuardedAgent(t *testing.T) {
	g := newGuarded(t)
	write(t, g.file, g.text(", client_ca: "+g.ca)+"read_token: {file: "+g.dir+"/read-token}\n")
	base, log := running(t, Options{Version: "test", Load: from(g.file)})
	if !strings.HasPrefix(base, "https://127.0.0.1:") {
		t.Fatalf("it is announced at %q", base)
	}
	trusting := certificate.Caller{CA: g.ca}
	known := certificate.Caller{CA: g.ca, Cert: g.cert, Key: g.key}
	for _, tt := range []struct {
		name, method, path, token string
		caller                    certificate.Caller
		want                      int
	}{
		{"health, of anybody", "GET", "/healthz", "", trusting, 200},
		{"nothing presented", "GET", "/api/v1/status", "", trusting, 401},
		{"a wrong token", "GET", "/api/v1/status", "x", trusting, 401},
		{"the read token", "GET", "/api/v1/status", aReadToken, trusting, 200},
		{"the token", "GET", "/api/v1/status", aToken, trusting, 200},
		{"a client certificate", "GET", "/api/v1/status", "", known, 200},
		{"the page, with nothing", "GET", "/", "", trusting, 401},
		{"the page", "GET", "/", aReadToken, trusting, 200},
		{"metrics, with nothing", "GET", "/metrics", "", trusting, 401},
		{"metrics, by certificate", "GET", "/metrics", "", known, 200},
		{"events, with nothing", "GET", "/api/v1/events", "", trusting, 401},
		{"events", "GET", "/api/v1/events", aReadToken, trusting, 200},
		{"a change by the read token", "POST", "/api/v1/reload", aReadToken, trusting, 403},
		{"a change by a certificate", "POST", "/api/v1/reload", "", known, 401},
		{"a change by the token", "POST", "/api/v1/reload", aToken, trusting, 204},
	} {
		if got, _, err := calls(t, tt.method, base+tt.path, tt.token, tt.caller, nil); err != nil || got != tt.want {
			t.Errorf("%s: %d, %v; want %d", tt.name, got, err, tt.want)
		}
	}
	if _, _, err := calls(t, "GET", base+"/healthz", "", certificate.Caller{}, nil); err == nil {
		t.Error("a certificate of no authority that the system knows was trusted")
	}
	resp, err := http.Get("http" + strings.TrimPrefix(base, "https") + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("in clear it answers %s", resp.Status)
	}

	reload := func() {
		t.Helper()
		if got, _, err := calls(t, "POST", base+"/api/v1/reload", aToken, trusting, nil); err != nil || got != 204 {
			t.Fatalf("reload: %d, %v", got, err)
		}
	}
	next := certificatetest.New(t, "next")
	certificatetest.Put(t, g.dir, "ca.pem", append(g.authority.PEM(), next.PEM()...))
	write(t, filepath.Join(g.dir, "server.pem"), "nothing")
	reload()
	log.wait(t, "find any PEM data")
	if got, issuer, err := calls(t, "GET", base+"/healthz", "", trusting, nil); err != nil || got != 200 || issuer != "ours" {
		t.Errorf("after a bad certificate: %d by %q, %v", got, issuer, err)
	}
	next.Write(g.dir, "server", certificatetest.Wish{})
	reload()
	log.wait(t, "another certificate is served with")
	if got, issuer, err := calls(t, "GET", base+"/healthz", "", trusting, nil); err != nil || got != 200 || issuer != "next" {
		t.Errorf("after a renewal: %d by %q, %v", got, issuer, err)
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	for _, line := range log.lines {
		if strings.Contains(line, aToken) || strings.Contains(line, aReadToken) {
			t.Errorf("a token in the log: %s", line)
		}
	}
}

// TestWhereItMayListen: beyond loopback in a namespace of its own, with a client
// certificate alone; and not without what that takes.
func TestWhereItMayListen(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "agent"}, {Name: "reader"}}})
	at := netip.AddrPortFrom(w.Host("agent").Addr(), 9748)
	g := newGuarded(t)
	g.authority.Write(g.dir, "server", certificatetest.Wish{Names: []string{"web03.example"}})
	// By the option, which goes before the configuration, nothing less will do.
	for _, text := range []string{"name: web03\n", g.text("")} {
		write(t, g.file, text)
		err := Run(t.Context(), Options{Load: from(g.file), Listen: at, StateDir: config.NoStateDir, Log: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.HasPrefix(err.Error(), "--listen ") || !strings.Contains(err.Error(), "beyond loopback") {
			t.Fatalf("it listens: %v", err)
		}
	}

	write(t, g.file, g.text(", client_ca: "+g.ca)+"listen: "+at.String()+"\n")
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- w.Host("agent").Do(func() error { // the listener is made on this thread
			return Run(ctx, Options{Load: from(g.file), StateDir: config.NoStateDir, Log: slog.New(slog.DiscardHandler), Announce: func(_ *api.Snapshot, base string) { ready <- base }})
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case base := <-ready:
		if base != "https://"+at.String() {
			t.Errorf("announced at %q", base)
		}
	case err := <-ended:
		ended <- nil
		t.Fatalf("Run ended at its start: %v", err)
	}
	for _, tt := range []struct {
		name, path, token string
		caller            certificate.Caller
		want              int
	}{
		{"health, of anybody", "/healthz", "", certificate.Caller{CA: g.ca}, 200},
		{"no certificate", "/api/v1/status", "", certificate.Caller{CA: g.ca}, 403},
		{"the token in its place", "/api/v1/status", aToken, certificate.Caller{CA: g.ca}, 403},
		{"a certificate", "/api/v1/status", "", certificate.Caller{CA: g.ca, Cert: g.cert, Key: g.key}, 200},
	} {
		dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
			return w.Host("reader").Dial(ctx, network, at.String())
		}
		if got, _, err := calls(t, "GET", "https://web03.example:9748"+tt.path, tt.token, tt.caller, dial); err != nil || got != tt.want {
			t.Errorf("%s: %d, %v; want %d", tt.name, got, err, tt.want)
		}
	}
}

// TestReadTokens: what is too short, or lets change too, is refused, and never
// repeated.
func TestReadTokens(t *testing.T) {
	for _, tt := range []struct{ name, token, read, want string }{
		{"both", aToken, aReadToken, ""},
		{"none", "", "", ""},
		{"the read token alone", "", aReadToken, ""},
		{"too short", aToken, "hunter2-hunter2", "shorter than 16 characters"},
		{"the same", aToken, aToken, "the same as token"},
		{"empty", aToken, " ", "is empty"},
	} {
		dir := t.TempDir()
		var cfg config.Config
		for file, x := range map[string]struct {
			text string
			to   *config.Secret
		}{"token": {tt.token, &cfg.Token}, "read": {tt.read, &cfg.ReadToken}} {
			if x.text != "" {
				x.to.File = filepath.Join(dir, file)
				write(t, x.to.File, x.text)
			}
		}
		change, read, err := readTokens(cfg)
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if err == nil && (change != tt.token || read != tt.read) {
			t.Errorf("%s: %q and %q", tt.name, change, read)
		}
	}
}

// TestCertificateTrouble: files that are no good are trouble until they are, and
// so is a certificate in the last tenth of its time.
func TestCertificateTrouble(t *testing.T) {
	g := newGuarded(t)
	cfg, _, err := from(g.file)()
	if err != nil {
		t.Fatal(err)
	}
	served, err := openCertificate(cfg)
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{startConfig: cfg, certificate: served, log: slog.New(slog.DiscardHandler)}
	now := time.Now()
	var got []string
	try := func(at time.Time) {
		a.tryCertificate(at)
		says := ""
		if bad := a.certificateBad.Load(); bad != nil {
			says = *bad
		}
		got = append(got, says)
	}
	try(now)
	write(t, filepath.Join(g.dir, "server.pem"), "")
	try(now)
	g.authority.Write(g.dir, "server", certificatetest.Wish{Until: 48 * time.Hour})
	try(now)
	try(now.Add(47 * time.Hour))
	for i, want := range []string{"", "server.pem", "", "server.pem expires at "} {
		if (got[i] == "") != (want == "") || !strings.Contains(got[i], want) {
			t.Errorf("step %d: %q, want %q", i, got[i], want)
		}
	}
}

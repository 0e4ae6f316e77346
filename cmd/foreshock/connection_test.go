package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/certificate"
	"github.com/foreshock/foreshock/internal/certificate/certificatetest"
	"github.com/foreshock/foreshock/internal/config"
)

// certificates makes a directory with what agents and their callers take: ca.pem
// and another authority's other-ca.pem, and pairs of server, client, stranger
// (of the other authority) and late, which expired.
func certificates(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	ours, theirs := certificatetest.New(t, "ours"), certificatetest.New(t, "theirs")
	certificatetest.Put(t, dir, "ca.pem", ours.PEM())
	certificatetest.Put(t, dir, "other-ca.pem", theirs.PEM())
	ours.Write(dir, "server", certificatetest.Wish{})
	ours.Write(dir, "named", certificatetest.Wish{Names: []string{"web03.example"}})
	ours.Write(dir, "client", certificatetest.Wish{})
	ours.Write(dir, "late", certificatetest.Wish{From: -48 * time.Hour, Until: -24 * time.Hour})
	theirs.Write(dir, "stranger", certificatetest.Wish{})
	return dir
}

// waitTLS waits until the agent with TLS at an address is ready: waittls HOST:PORT.
func waitTLS(certs string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 1 {
			ts.Fatalf("usage: waittls HOST:PORT")
		}
		settings, err := certificate.Caller{Own: filepath.Join(certs, "server.pem")}.Client()
		ts.Check(err)
		client := http.Client{Transport: &http.Transport{TLSClientConfig: settings, DisableKeepAlives: true}}
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			if resp, err := client.Get("https://" + args[0] + "/readyz"); err == nil {
				_ = resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					return
				}
			}
		}
		ts.Fatalf("the agent at %s is not ready", args[0])
	}
}

// TestWhichTokenIsSent: to whom, from where; and none in clear.
func TestWhichTokenIsSent(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return certificatetest.Put(t, dir, name, []byte(name)) }
	flag, change, ours := file("from the flag"), file("the one for changes"), file("the configuration's")
	gone := filepath.Join(dir, "gone")
	own := config.Default()
	own.ReadToken.File = ours
	lost := config.Default()
	lost.ReadToken.File = gone
	for _, tt := range []struct {
		name, address string
		args          []string
		env           string
		change        string
		cfg           config.Config
		want, err     string
	}{
		{name: "none anywhere", cfg: config.Default()},
		{name: "our own agent", cfg: own, want: "the configuration's"},
		{name: "another by TLS", address: "https://192.0.2.3:9748", cfg: own, want: "the configuration's"},
		{name: "another in clear", address: "http://192.0.2.3:9748", cfg: own},
		{name: "loopback in clear", address: "http://localhost:9748", cfg: own, want: "the configuration's"},
		{name: "IPv6's too", address: "http://[::1]:9748/", cfg: own, want: "the configuration's"},
		{name: "the flag before all", args: []string{"--read-token-file", flag}, env: gone, change: change, cfg: own, want: "from the flag"},
		{name: "the environment", env: flag, cfg: own, want: "from the flag"},
		{name: "the one for changes, where it was named", change: change, cfg: own, want: "the one for changes"},
		{name: "named, in clear", address: "http://192.0.2.3:9748", args: []string{"--read-token-file", flag}, cfg: own, err: "in clear"},
		{name: "named, to a name in clear", address: "http://localhost.example", args: []string{"--read-token-file", flag}, cfg: own, err: "in clear"},
		{name: "named and gone", args: []string{"--read-token-file", gone}, cfg: own, err: "no such file"},
		{name: "ours cannot be read", cfg: lost, err: "--read-token-file"},
		{name: "ours cannot be read, and another is asked", address: "https://192.0.2.3:9748", cfg: lost},
		{name: "a certificate in its place", args: []string{"--client-cert", "c", "--client-key", "k"}, cfg: lost},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("FORESHOCK_READ_TOKEN_FILE", tt.env)
			cmd := &cobra.Command{}
			flags := addCallerFlags(cmd)
			if err := cmd.ParseFlags(tt.args); err != nil {
				t.Fatal(err)
			}
			if tt.address != "" && strings.HasPrefix(tt.address, "https") {
				t.Setenv("FORESHOCK_CA", "")
			}
			c, err := flags.connect(tt.address, tt.cfg, config.Secret{File: tt.change})
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("%v, want %q", err, tt.err)
			}
			if c.read != tt.want {
				t.Errorf("%q, want %q", c.read, tt.want)
			}
		})
	}
}

// TestNoChangeInClear: the token for changes goes nowhere in clear.
func TestNoChangeInClear(t *testing.T) {
	err := connection{address: "http://192.0.2.3:9748", client: http.DefaultClient}.change(t.Context(), "POST", "/api/v1/reload", "hunter2", nil, nil)
	if err == nil || !strings.Contains(err.Error(), "in clear") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}

// TestWhyNotAnswered: what goes wrong with TLS says what to do.
func TestWhyNotAnswered(t *testing.T) {
	asked := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer elsewhere.Close()
	plain := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusMovedPermanently))
	defer plain.Close()
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }))
	secure.Config.ErrorLog = nil
	secure.StartTLS()
	defer secure.Close()
	for _, tt := range []struct{ name, address, want string }{
		{"TLS, of an authority that nobody knows", secure.URL, "name its authority with --ca"},
		{"TLS where none is", "https" + strings.TrimPrefix(plain.URL, "http"), "use http://"},
		{"none where TLS is", "http" + strings.TrimPrefix(secure.URL, "https"), "speaks TLS: use https://"},
		{"a redirect", plain.URL, "sends elsewhere"},
	} {
		_, err := calling(t, tt.address).get(t.Context(), "/api/v1/status", nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if asked {
		t.Error("a redirect was followed")
	}
}

// TestBrokenConfigurationBeside: one that nobody named keeps nobody from asking an
// agent that somebody did.
func TestBrokenConfigurationBeside(t *testing.T) {
	file := filepath.Join(t.TempDir(), "foreshock.yaml")
	if err := os.WriteFile(file, []byte("nme: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := configBeside("https://192.0.2.3:9748", file); err == nil {
		t.Error("the one that was named is broken, and that is not said")
	}
	if _, err := configBeside("", file); err == nil {
		t.Error("the one that says where the agent is is broken, and that is not said")
	}
}

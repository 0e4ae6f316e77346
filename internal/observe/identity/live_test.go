package identity

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/reply"
)

// TestNginx probes a real nginx: the site that is asked for, and, as on a host
// that serves others, the one that answers for every name.
func TestNginx(t *testing.T) {
	ours := newAuthority(t)
	const shop = `return 200 "all is well"; add_header X-Site shop;`
	tests := []struct {
		name, certified, answer string
		want                    reply.Probe
	}{
		{"the site", "shop.example", shop, reply.Probe{Failed: reply.Done, Status: 200, Words: "status 200, as expected"}},
		{"another site's host", "blog.example", shop, reply.Probe{Failed: reply.TLS, Wrong: true, Words: "the certificate is for blog.example, not for shop.example"}},
		{"another application behind the same name", "shop.example", `return 200 "` + secret + `";`, reply.Probe{Failed: reply.Identity, Wrong: true, Status: 200, Words: "status 200 without the header X-Site"}},
		{"a redirect", "shop.example", `return 301 https://www.shop.example/` + secret + `;`, reply.Probe{Failed: reply.Identity, Wrong: true, Status: 301, Words: "status 301, a redirect to https://www.shop.example, and 200 is expected"}},
		{"without its application", "shop.example", `return 502;`, reply.Probe{Failed: reply.HTTP, Status: 502, Words: "status 502: it answers, and fails"}},
		{"that ends the connection", "shop.example", `return 444;`, reply.Probe{Failed: reply.HTTP, Words: "the server closed the connection before the answer was complete"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at := nginx(t, ours, tt.certified, tt.answer)
			got := probeAt(t, t.Context(), ours.roots, "https", at, 200, "is well", "X-Site: shop")
			if diff := cmp.Diff(tt.want, got, whatCameOfIt); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// nginx starts a real one that answers each request with TLS for a name. It
// takes the test's listener over, as from an nginx before it, so that a
// connection waits for it from the start.
func nginx(t *testing.T, a *authority, name, answer string) netip.AddrPort {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		program = "/usr/sbin/nginx" // not everybody's PATH has it
	}
	if _, err := os.Stat(program); err != nil {
		t.Skip("nginx is not installed: install the package nginx-light")
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()

	cert := a.issue(t, time.Now().Add(time.Hour), name)
	key, err := x509.MarshalECPrivateKey(cert.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for file, text := range map[string][]byte{
		"cert.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}),
		"key.pem":  pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key}),
		"nginx.conf": fmt.Appendf(nil, `
daemon off;
worker_processes 1;
pid %[1]s/pid;
error_log %[1]s/error.log;
events {}
http {
    access_log off;
    client_body_temp_path %[1]s/1; proxy_temp_path %[1]s/2; fastcgi_temp_path %[1]s/3; uwsgi_temp_path %[1]s/4; scgi_temp_path %[1]s/5;
    server {
        listen %[2]s ssl;
        ssl_certificate %[1]s/cert.pem;
        ssl_certificate_key %[1]s/key.pem;
        location / { %[3]s }
    }
}
`, dir, listener.Addr(), answer),
	} {
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "-c", filepath.Join(dir, "nginx.conf"), "-e", filepath.Join(dir, "error.log"))
	cmd.Env = append(os.Environ(), "NGINX=3;") // the descriptors of an nginx before it
	cmd.ExtraFiles = []*os.File{file}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // the master ends its worker
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "error.log"))
			t.Logf("nginx: %s", log)
		}
	})
	return listener.Addr().(*net.TCPAddr).AddrPort()
}

package balancer

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestHAProxyLive asks a real HAProxy. The test listens on the sockets and
// hands them over, so that a question waits for the answer from the start and
// nothing is polled.
func TestHAProxyLive(t *testing.T) {
	program, err := exec.LookPath("haproxy")
	if err != nil {
		program = "/usr/sbin/haproxy" // not everybody's PATH has it
	}
	if _, err := os.Stat(program); err != nil {
		t.Skip("haproxy is not installed: install the package haproxy")
	}
	dir := t.TempDir()
	admin, adminFile := handOver(t, filepath.Join(dir, "admin"))
	user, userFile := handOver(t, filepath.Join(dir, "user"))
	config := filepath.Join(dir, "haproxy.cfg")
	// The kernel answers HAProxy's check of s1, though nobody accepts.
	alive, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	if err := os.WriteFile(config, fmt.Appendf(nil, `
global
    stats socket fd@3 level admin
    stats socket fd@4 level user
    maxconn 20
defaults
    mode tcp
    timeout connect 1s
    timeout client 1s
    timeout server 1s
backend shop
    server s1 %s check inter 1h
    server s2 127.0.0.1:10 check inter 1h
    server s3 [::1]:11
    server s4 127.0.0.1:12
    server s5 nonexist.invalid:13 init-addr none
`, alive.Addr()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-db", "-f", config)
	cmd.ExtraFiles = []*os.File{adminFile, userFile} // 3 and 4
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	for _, f := range cmd.ExtraFiles { // HAProxy alone answers from here on
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}

	// s2 is set down by hand, as its check may or may not have run.
	for _, command := range []string{"set server shop/s2 health down", "set server shop/s3 state drain", "set server shop/s4 state maint"} {
		if text, err := converse(t.Context(), admin, command+"\n"); err != nil || len(strings.TrimSpace(string(text))) > 0 {
			t.Fatalf("%s: %q, %v", command, text, err)
		}
	}
	want := []Member{
		{Group: "shop", Name: "s1", Address: at(alive.Addr().String()), Status: Up},
		{Group: "shop", Name: "s2", Address: at("127.0.0.1:10"), Status: Down},
		{Group: "shop", Name: "s3", Address: at("[::1]:11"), Status: Draining},
		{Group: "shop", Name: "s4", Address: at("127.0.0.1:12"), Status: Maintenance},
		{Group: "shop", Name: "s5", Host: "nonexist.invalid", Port: 13, Status: Maintenance},
	}
	for _, path := range []string{admin, user} {
		got, err := HAProxy(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Members, addresses, cmpopts.IgnoreFields(Member{}, "Says")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", filepath.Base(path), diff)
		}
		if len(got.Problems) > 0 || got.Partial {
			t.Errorf("%s: %+v", filepath.Base(path), got)
		}
	}
}

// handOver listens on a unix socket and returns its path and the file to hand
// to another process.
func handOver(t *testing.T, path string) (string, *os.File) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	if err != nil {
		t.Fatal(fmt.Errorf("the file of a socket: %w", err))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return path, f
}

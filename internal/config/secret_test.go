package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestSecretRead(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) Secret {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		return Secret{File: path}
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FORESHOCK_TEST_TOKEN", "hunter2\n")
	t.Setenv("FORESHOCK_TEST_EMPTY", "")
	tests := []struct {
		name    string
		in      Secret
		want    string
		problem string // part of the error
	}{
		{"plain", file("plain", "hunter2", 0o600), "hunter2", ""},
		{"one newline goes", file("newline", "hunter2\n", 0o640), "hunter2", ""},
		{"of Windows too", file("crlf", "hunter2\r\n", 0o400), "hunter2", ""},
		{"only one", file("newlines", "hunter2\n\n", 0o600), "hunter2\n", ""},
		{"spaces stay", file("spaces", " hunter2 ", 0o600), " hunter2 ", ""},
		{"environment", Secret{Env: "FORESHOCK_TEST_TOKEN"}, "hunter2", ""},
		{"empty file", file("empty", "", 0o600), "", "is empty; put the secret there"},
		{"a newline alone", file("blank", " \n", 0o600), "", "is empty; put the secret there"},
		{"everybody may read", file("open", "hunter2", 0o644), "", "has mode 0644, so everybody on this host may read it; run chmod o-r"},
		{"too large", file("large", strings.Repeat("x", maxSecret+1), 0o600), "", "is larger than 65536 bytes"},
		{"missing file", Secret{File: filepath.Join(dir, "nothing")}, "", "no such file or directory; put it into a plain file"},
		{"folder", Secret{File: dir}, "", "is not a plain file"},
		{"pipe", Secret{File: fifo}, "", "is not a plain file"},
		{"empty variable", Secret{Env: "FORESHOCK_TEST_EMPTY"}, "", "the environment variable FORESHOCK_TEST_EMPTY is empty"},
		{"missing variable", Secret{Env: "FORESHOCK_TEST_MISSING"}, "", "the environment variable FORESHOCK_TEST_MISSING is not set"},
		{"none", Secret{}, "", "there is none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.in.Read()
			if tt.problem == "" {
				if err != nil || got != tt.want {
					t.Errorf("Read() = %q, %v; want %q", got, err, tt.want)
				}
				return
			}
			if err == nil || got != "" || !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("Read() = %q, %v; want an error with %q", got, err, tt.problem)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error has the secret: %v", err)
			}
		})
	}
}

func TestSecretPrintsItsPlace(t *testing.T) {
	s := Secret{File: "/etc/foreshock/token"}
	tests := []struct{ got, want string }{
		{s.String(), "{file: /etc/foreshock/token}"},
		{fmt.Sprintf("%v %+v", s, s), "{file: /etc/foreshock/token} {file: /etc/foreshock/token}"},
		{Secret{Env: "X1"}.String(), "{env: X1}"},
		{Secret{}.String(), "none"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("got %s, want %s", tt.got, tt.want)
		}
	}
}

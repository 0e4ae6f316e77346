package nameserver

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/reply"
)

// system are servers of role system: "192.0.2.53 system".
func system(lines ...string) (out []reply.Server) {
	for _, line := range lines {
		address, label, _ := strings.Cut(line, " ")
		out = append(out, reply.Server{Address: netip.AddrPortFrom(netip.MustParseAddr(address), 53), Label: label, Role: reply.System})
	}
	return out
}

func TestSystemServers(t *testing.T) {
	tests := []struct {
		name, conf string
		want       []reply.Server
		problems   []string
	}{
		{"none", "", system("127.0.0.1 system"), nil},
		{"usual", "# made\nsearch example\nnameserver 192.0.2.53\n nameserver\t2001:db8::53 # second\noptions ndots:5 timeout:1\n", system("192.0.2.53 system", "2001:db8::53 system"), nil},
		{"interface", "nameserver fe80::1%eth0", system("fe80::1%eth0 system"), nil},
		{"twice, mapped, any", "nameserver 192.0.2.53\nnameserver ::ffff:192.0.2.53\nnameserver 0.0.0.0\n", system("192.0.2.53 system", "127.0.0.1 system"), nil},
		{"comment", "#nameserver 192.0.2.53\n;nameserver 192.0.2.54\nnameserverx 192.0.2.55\n", system("127.0.0.1 system"), nil},
		{"bad", "nameserver\r\nnameserver ns1.example\r\nnameserver 192.0.2.53\r\n", system("192.0.2.53 system"),
			[]string{"line 1: nameserver without an address", `line 2: "ns1.example" is not an IP address`}},
		{"four", "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4", system("192.0.2.1 system", "192.0.2.2 system", "192.0.2.3 system"),
			[]string{"1 of 4 servers are left out: programs ask the first 3"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, problems := SystemServers([]byte(tt.conf))
			if diff := cmp.Diff(tt.want, got, compare); diff != "" {
				t.Errorf("servers (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.problems, problems, compare); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSystemAt reads file systems as a host or a container may have them.
func TestSystemAt(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("nameserver 203.0.113.66\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name     string
		files    map[string]string // "-> " and a name: a link
		fifo     bool
		want     []reply.Server
		problems []string
		err      string
	}{
		{"no file", nil, false, system("127.0.0.1 system"), nil, ""},
		{"plain", map[string]string{resolvConf: "nameserver 192.0.2.53\n"}, false, system("192.0.2.53 system"), nil, ""},
		{"behind the stub", map[string]string{resolvConf: "-> ../run/systemd/resolve/stub-resolv.conf", "/run/systemd/resolve/stub-resolv.conf": "nameserver 127.0.0.53\n", behindStub: "nameserver 192.0.2.53\nnameserver 127.0.0.53\nnameserver x\n"},
			false, system("127.0.0.53 system", "192.0.2.53 system (behind 127.0.0.53)"), []string{`line 3: "x" is not an IP address`}, ""},
		{"behind a stub that hides it", map[string]string{resolvConf: "nameserver 127.0.0.53\n"}, false, system("127.0.0.53 system"),
			[]string{"the resolvers behind 127.0.0.53: open /run/systemd/resolve/resolv.conf: no such file or directory"}, ""},
		{"a link out", map[string]string{resolvConf: "-> " + outside}, false, system("127.0.0.1 system"), nil, ""},
		{"a fifo", nil, true, nil, nil, "the system's resolvers: /etc/resolv.conf is not a regular file"},
		{"huge", map[string]string{resolvConf: strings.Repeat("#", maxConf+1)}, false, nil, nil, "the system's resolvers: /etc/resolv.conf is larger than 64 KiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			if err := os.MkdirAll(filepath.Join(root, "etc"), 0o700); err != nil {
				t.Fatal(err)
			}
			for name, content := range tt.files {
				name = filepath.Join(root, name)
				err := os.MkdirAll(filepath.Dir(name), 0o700)
				if target, ok := strings.CutPrefix(content, "-> "); ok && err == nil {
					err = os.Symlink(target, name)
				} else if err == nil {
					err = os.WriteFile(name, []byte(content), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if tt.fifo {
				if err := unix.Mkfifo(filepath.Join(root, resolvConf), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, problems, err := systemAt(root)
			if diff := cmp.Diff(tt.want, got, compare); diff != "" {
				t.Errorf("servers (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.problems, problems, compare); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if err == nil && tt.err != "" || err != nil && err.Error() != tt.err {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}

func FuzzSystemServers(f *testing.F) {
	f.Add([]byte("nameserver 192.0.2.53\noptions ndots:5\n"))
	f.Add([]byte("nameserver fe80::1%eth0\nnameserver \x00\nnameserver"))
	f.Fuzz(func(t *testing.T, conf []byte) {
		servers, problems := SystemServers(conf)
		if len(servers) == 0 || len(servers) > maxSystem || len(problems) > 17 {
			t.Fatalf("%d servers, %d problems", len(servers), len(problems))
		}
		again := ""
		for _, s := range servers {
			again += fmt.Sprintf("nameserver %s\n", s.Address.Addr())
		}
		same, _ := SystemServers([]byte(again))
		if diff := cmp.Diff(servers, same, compare); diff != "" {
			t.Fatalf("written again (-want +got):\n%s", diff)
		}
	})
}

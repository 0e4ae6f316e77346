package config

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// addresses lets cmp compare netip's values, which keep their fields private.
var addresses = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{})

// places lets cmp pass over where the file has something.
var places = cmp.Options{cmpopts.IgnoreFields(Response{}, "Line", "Column"), cmpopts.IgnoreFields(Hook{}, "Line", "Column"), cmpopts.IgnoreFields(ASNDatabase{}, "Line", "Column")}

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

func addrs(ss ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range ss {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func addrPorts(ss ...string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range ss {
		out = append(out, netip.MustParseAddrPort(s))
	}
	return out
}

// with returns the defaults, changed.
func with(change func(*Config)) Config {
	c := Default()
	change(&c)
	return c
}

func TestParse(t *testing.T) {
	tests := []struct {
		name, in string
		want     Config
	}{
		{"empty", "", Default()},
		{"blank lines", "\n \n\n", Default()},
		{"comments", "# one\n  # two\n", Default()},
		{"document mark only", "---\n", Default()},
		{"null", "null\n", Default()},
		{"empty mapping", "{}\n", Default()},
		{"sections with everything commented out", "labels:\n  # site: cork\nobserve:\nservices:\n", Default()},
		{"empty sections", "labels: {}\nobserve: {}\nservices: []\nname: \"\"\n", Default()},
		{"byte order mark", "\ufeffname: web03\n", with(func(c *Config) { c.Name = "web03" })},
		{"tabs that mean nothing", "\t\n# a\tb\n\t# c\nname: web03\t# d\te\t\nlabels: \t\n  site: cork\t\n", with(func(c *Config) {
			c.Name, c.Labels = "web03", map[string]string{"site": "cork"}
		})},
		{"line ends of Windows", "name: web03\r\nlabels:\r\n  site: cork\r\n", with(func(c *Config) {
			c.Name, c.Labels = "web03", map[string]string{"site": "cork"}
		})},
		{"one document with both marks", "---\nname: web03\n...\n", with(func(c *Config) { c.Name = "web03" })},
		{"flow style throughout", `{name: web03, observe: {cpu_budget: 2%}, services: [{name: web, listen: [":80"]}]}`, with(func(c *Config) {
			c.Name, c.Observe.CPUBudget = "web03", 0.02
			c.Services = []Service{{Name: "web", Listen: addrPorts("[::]:80")}}
		})},
		{"everything", `
name: web03
labels: {site: cork, role: web}
listen: 192.0.2.1:9000
token: {file: /etc/foreshock/token}
tls: {cert: /etc/tls/cert.pem, key: /etc/tls/key.pem, client_ca: /etc/tls/ca.pem}
read_token: {env: READ}
observe:
  cpu_budget: 1.5%
baseline: {learn: 14d, factor: 2, quantile: 0.99}
services:
  - name: web
    listen: [":80", "192.0.2.1:443", "[::1]:80"]
  - name: admin
    listen:
      - 192.0.2.1:80
`, Config{
			Name:   "web03",
			Labels: map[string]string{"site": "cork", "role": "web"},
			Listen: netip.MustParseAddrPort("192.0.2.1:9000"),
			Token:  Secret{File: "/etc/foreshock/token"},
			TLS:    TLS{Cert: "/etc/tls/cert.pem", Key: "/etc/tls/key.pem", ClientCA: "/etc/tls/ca.pem"}, ReadToken: Secret{Env: "READ"},
			Observe: Observe{CPUBudget: 0.015},
			Services: []Service{
				{Name: "web", Listen: addrPorts("[::]:80", "192.0.2.1:443", "[::1]:80")},
				{Name: "admin", Listen: addrPorts("192.0.2.1:80")},
			},
			Baseline: Baseline{Learn: 14 * day, Factor: 2, Quantile: 0.99},
			History:  Default().History,
		}},
		{"a heartbeat", "heartbeat: {url: {env: BEAT}, every: 10s}\n", with(func(c *Config) { c.Heartbeat = &Heartbeat{Secret{Env: "BEAT"}, 10 * time.Second} })},
		{"a heartbeat, all of it commented out", "heartbeat:\n", Default()},
		{"colons in flow style", "services: [{name: nginx:80, listen: [\"192.0.2.1:80\"]}]\nlabels: {\"a\":b, c: d:e}\n", with(func(c *Config) {
			c.Labels = map[string]string{"a": "b", "c": "d:e"}
			c.Services = []Service{{Name: "nginx:80", Listen: addrPorts("192.0.2.1:80")}}
		})},
		{"listeners without quotes", "services:\n- name: web\n  listen: [192.0.2.1:80, :81]\n", with(func(c *Config) {
			c.Services = []Service{{Name: "web", Listen: addrPorts("192.0.2.1:80", "[::]:81")}}
		})},
		{"a name that is watched", "drain:\n- name: Shop.Example.\nasn_database: asn.mmdb\n", with(func(c *Config) {
			c.Drain = []Drain{{Name: "shop.example", Resolvers: DefaultResolvers()}}
			c.ASNDatabase = ASNDatabase{File: "asn.mmdb", Path: "asn.mmdb"}
		})},
		{"a switch that keeps an address, mapped ones and resolvers", "drain: [{name: a.example, old: [192.0.2.1, \"::ffff:192.0.2.2\"], new: [192.0.2.2], resolvers: [public, 192.0.2.53, \"[2001:db8::53]:53\", \"192.0.2.53:5353\", \"::ffff:192.0.2.9\"]}]\n", with(func(c *Config) {
			c.Drain = []Drain{{Name: "a.example", Old: addrs("192.0.2.1", "192.0.2.2"), New: addrs("192.0.2.2"), Resolvers: []Resolver{
				{Which: PublicResolvers}, {Server: addrPorts("192.0.2.53:53")[0]}, {Server: addrPorts("[2001:db8::53]:53")[0]}, {Server: addrPorts("192.0.2.53:5353")[0]}, {Server: addrPorts("192.0.2.9:53")[0]},
			}}}
		})},
		{"localhost", "listen: localhost:9000\n", with(func(c *Config) { c.Listen = netip.MustParseAddrPort("127.0.0.1:9000") })},
		{"IPv6", "listen: \"[2001:db8::1]:9000\"\nbehind_proxy: true\n", with(func(c *Config) {
			c.Listen, c.BehindProxy = netip.MustParseAddrPort("[2001:db8::1]:9000"), true
		})},
		{"TLS with a read token", "listen: 0.0.0.0:9748\ntls: {cert: /c, key: /k}\nread_token: {file: /r}\n", with(func(c *Config) {
			c.Listen, c.TLS, c.ReadToken = netip.MustParseAddrPort("0.0.0.0:9748"), TLS{Cert: "/c", Key: "/k"}, Secret{File: "/r"}
		})},
		{"TLS with client certificates", "listen: 192.0.2.1:9748\ntls: {cert: /c, key: /k, client_ca: /a}\n", with(func(c *Config) {
			c.Listen, c.TLS = netip.MustParseAddrPort("192.0.2.1:9748"), TLS{Cert: "/c", Key: "/k", ClientCA: "/a"}
		})},
		{"TLS to a proxy that says who may read", "listen: 192.0.2.1:9748\ntls: {cert: /c, key: /k}\nbehind_proxy: true\n", with(func(c *Config) {
			c.Listen, c.TLS, c.BehindProxy = netip.MustParseAddrPort("192.0.2.1:9748"), TLS{Cert: "/c", Key: "/k"}, true
		})},
		{"a read token on loopback, without TLS", "listen: 127.9.9.9:1\nread_token: {env: R}\nbehind_proxy: false\n", with(func(c *Config) {
			c.Listen, c.ReadToken = netip.MustParseAddrPort("127.9.9.9:1"), Secret{Env: "R"}
		})},
		{"any port", "listen: 127.0.0.1:0\n", with(func(c *Config) { c.Listen = netip.MustParseAddrPort("127.0.0.1:0") })},
		{"v4-mapped is folded", "services:\n- {name: a, listen: [\"[::ffff:192.0.2.1]:80\"]}\n", with(func(c *Config) {
			c.Services = []Service{{Name: "a", Listen: addrPorts("192.0.2.1:80")}}
		})},
		{"one service on both wildcards", "services:\n- {name: a, listen: [\"0.0.0.0:80\", \"[::]:80\"]}\n", with(func(c *Config) {
			c.Services = []Service{{Name: "a", Listen: addrPorts("0.0.0.0:80", "[::]:80")}}
		})},
		{"token from the environment", "token:\n  env: FORESHOCK_TOKEN\n", with(func(c *Config) { c.Token = Secret{Env: "FORESHOCK_TOKEN"} })},
		{"budget as a number", "observe: {cpu_budget: 0.02}\n", with(func(c *Config) { c.Observe.CPUBudget = 0.02 })},
		{"all namespaces", "observe: {namespaces: all}\n", Default()},
		{"the host's own namespace", "observe: {namespaces: host}\n", with(func(c *Config) { c.Observe.Namespaces = HostNamespace })},
		{"budget in quotes", "observe: {cpu_budget: \"0.02\"}\n", with(func(c *Config) { c.Observe.CPUBudget = 0.02 })},
		{"nothing is kept", "state_dir: none\n", with(func(c *Config) { c.StateDir = NoStateDir })},
		{"little is kept", "state_dir: /srv/state\nhistory: {raw: 15m, minutes: 1.5d, max_size: 0.5GiB}\n", with(func(c *Config) {
			c.StateDir, c.History = "/srv/state", History{Raw: 15 * time.Minute, Minutes: 36 * time.Hour, MaxSize: 512 << 20}
		})},
		{"least budget", "observe: {cpu_budget: 0.1%}\n", with(func(c *Config) { c.Observe.CPUBudget = MinCPUBudget })},
		{"greatest budget", "observe: {cpu_budget: 50%}\n", with(func(c *Config) { c.Observe.CPUBudget = MaxCPUBudget })},
		{"words that are no words to YAML 1.2", "name: yes\nlabels: {on: off, rack: \"12\"}\n", with(func(c *Config) {
			c.Name, c.Labels = "yes", map[string]string{"on": "off", "rack": "12"}
		})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse("test.yaml", []byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, addresses, places); diff != "" {
				t.Errorf("Parse (-want +got):\n%s", diff)
			}
		})
	}
}

// TestParseRefuses reads testdata/refused.txt: files, and what is said of them.
func TestParseRefuses(t *testing.T) {
	data, err := os.ReadFile("testdata/refused.txt")
	if err != nil {
		t.Fatal(err)
	}
	cases := strings.Split(string(data), "\n=== ")[1:]
	if len(cases) == 0 {
		t.Fatal("testdata/refused.txt has no cases")
	}
	for _, c := range cases {
		name, rest, _ := strings.Cut(c, "\n")
		in, want, ok := strings.Cut(rest, "\n--- \n")
		if !ok {
			t.Fatalf("case %q has no line \"--- \"", name)
		}
		t.Run(name, func(t *testing.T) {
			cfg, err := Parse("f", []byte(in+"\n"))
			if err == nil {
				t.Fatalf("accepted as\n%s", Effective(cfg))
			}
			if diff := cmp.Diff(Config{}, cfg, addresses); diff != "" {
				t.Errorf("a Config beside the error:\n%s", diff)
			}
			if diff := cmp.Diff(strings.TrimSpace(want), err.Error()); diff != "" {
				t.Errorf("message (-want +got):\n%s\ngot:\n%s", diff, err)
			}
			for _, e := range each(t, err) {
				if e.File != "f" || e.Problem == "" || e.Hint == "" {
					t.Errorf("an incomplete error: %+v", e)
				}
				if strings.Contains(e.Text+e.Key+e.Error(), "hunter2") {
					t.Errorf("a secret in the message: %+v", e)
				}
			}
		})
	}
}

// each returns the single errors of err.
func each(t *testing.T, err error) []*Error {
	t.Helper()
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("%T is not joined errors: %v", err, err)
	}
	var out []*Error
	for _, err := range joined.Unwrap() {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			t.Fatalf("%T is not *Error: %v", err, err)
		}
		out = append(out, e)
	}
	return out
}

func TestParseErrorFields(t *testing.T) {
	_, err := Parse("/etc/foreshock.yaml", []byte("name: web\n\nobserve:\n    cpu_budgte: 1%\n"))
	want := []*Error{{
		File: "/etc/foreshock.yaml", Line: 4, Column: 5,
		Key: "observe.cpu_budgte", Text: "cpu_budgte",
		Problem: `unknown key "cpu_budgte" in observe`,
		Hint:    `did you mean "cpu_budget"? Run "foreshock config reference" for every key.`,
	}}
	if diff := cmp.Diff(want, each(t, err)); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

// TestParseBounds gives Parse what is no text, and files that cost the YAML
// library minutes, or its stack, when it is let loose on them.
func TestParseBounds(t *testing.T) {
	r := strings.Repeat
	tests := []struct{ name, in, want string }{
		{"too large", r("#", MaxSize+1), "f: the file is larger than 1048576 bytes;"},
		{"too many keys", r("a: 1\n", MaxSize/5), "f:10001:1: the file has more than 30000 keys"},
		{"nested lists", r("[", MaxSize), "f:1:30001: the file has more than 30000 keys"},
		{"nested lists, fewer", r("[", 5000), "f:1:33: nested more than 32 deep;"},
		{"nested mappings", r("{a: ", 5000), "f:1:129: nested more than 32 deep;"},
		{"list items on one line", r("- ", 5000), "f:1:65: nested more than 32 deep;"},
		{"keys on one line", r("a: ", 5000), "f:1:98: nested more than 32 deep;"},
		{"blank lines in a block of text", "name: |\n" + r("\n", MaxSize/2), "f:202:1: more than 200 blank lines in a row;"},
		{"blank lines with spaces", "name: |\n" + r("  \n", MaxSize/4), "f:202:1: more than 200 blank lines in a row;"},
		{"an alias bomb", "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n", "f:1:4: an anchor (&) is not supported;"},
		{"NUL", "name: a\x00b", "f:1:8: control character U+0000 in the file; remove it"},
		{"escape sequence", "# é\nlabels: {é: \x1b[2J}", "f:2:13: control character U+001B in the file; remove it"},
		{"Latin-1", "# \xc3\xa9\xe9", "f:1:4: byte 0xe9 is not UTF-8; save the file as UTF-8"},
		{"UTF-16", "\xff\xfen\x00a\x00", "f:1:1: byte 0xff is not UTF-8; save the file as UTF-8"},
		{"a line of tabs", r("\t", MaxSize-1) + "a", "f:1:1: a tab; use spaces"},
		{"one long line", "nam: " + r("x", MaxSize-10), `f:1:1: unknown key "nam"; did you mean "name"?`},
		{"a long key", r("x", MaxSize-10) + ": 1", `f:1:1: unknown key "xxxxxxx`},
		{"many problems", r("nam: 1\n", 5000), "f: 4980 more problems are not shown; mend the ones above first"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			began := time.Now()
			cfg, err := Parse("f", []byte(tt.in))
			if err == nil {
				t.Fatalf("accepted as %+v", cfg)
			}
			t.Logf("%d bytes took %v", len(tt.in), time.Since(began)) // for the log: nothing is asserted on it
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("message %.300q does not contain %q", err, tt.want)
			}
			if n := len(err.Error()); n > 10_000 {
				t.Errorf("the message is %d bytes long", n)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "foreshock.yaml")
	if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file gives %v, want fs.ErrNotExist", err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("a folder was accepted")
	}
	if err := os.WriteFile(path, []byte("name: web03\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(with(func(c *Config) { c.Name = "web03" }), got, addresses); diff != "" {
		t.Errorf("Load (-want +got):\n%s", diff)
	}
	if err := os.WriteFile(path, []byte("#"+strings.Repeat("x", MaxSize)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.HasPrefix(err.Error(), path+": the file is larger than") {
		t.Errorf("a file too large gives %v", err)
	}
}

package config

import (
	"net/netip"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// What is refused is in testdata/refused.txt.
func TestParseBackends(t *testing.T) {
	haproxy := Process{Unit: "haproxy.service"}
	tests := []struct {
		name, in string
		want     []Backends
	}{
		{"observed peers", `{name: db, process: {name: orders}}`, []Backends{{Name: "db", Process: Process{Name: "orders"}}}},
		{"everything of a discovery commented out", "name: db\n    process: {name: orders}\n    discover:\n      # dns: []", []Backends{{Name: "db", Process: Process{Name: "orders"}}}},
		{"every way to choose a process", `
    name: all
    process:
      name: haproxy
      exe: /usr/sbin/haproxy
      unit: haproxy@edge.service
      container: 4f66ad9a0b2e
      cgroup: /system.slice/haproxy.service
      listens: "192.0.2.1:443"`, []Backends{{Name: "all", Process: Process{
			Name: "haproxy", Exe: "/usr/sbin/haproxy", Unit: "haproxy@edge.service", Container: "4f66ad9a0b2e",
			Cgroup: "/system.slice/haproxy.service", Listens: addrPorts("192.0.2.1:443")[0],
		}}}},
		{"any address", `{name: a, process: {listens: ":443"}}`, []Backends{{Name: "a", Process: Process{Listens: addrPorts("[::]:443")[0]}}}},
		{"HAProxy is asked by default", `{name: a, process: {unit: haproxy.service}, discover: {haproxy: {socket: /run/haproxy/admin.sock}}}`,
			[]Backends{{Name: "a", Process: haproxy, Discover: Discover{HAProxySocket: "/run/haproxy/admin.sock"}, Status: DefaultStatus}}},
		{"HAProxy is not asked", `{name: a, process: {unit: haproxy.service}, discover: {haproxy: {socket: /s}}, status: off}`,
			[]Backends{{Name: "a", Process: haproxy, Discover: Discover{HAProxySocket: "/s"}}}},
		{"off in quotes", `{name: a, process: {unit: haproxy.service}, discover: {haproxy: {socket: /s}}, status: "off"}`,
			[]Backends{{Name: "a", Process: haproxy, Discover: Discover{HAProxySocket: "/s"}}}},
		{"off where there is nobody to ask", `{name: a, process: {unit: haproxy.service}, status: off}`, []Backends{{Name: "a", Process: haproxy}}},
		{"Traefik's API is asked as often as said", `{name: a, process: {name: traefik}, discover: {traefik: {api: "http://127.0.0.1:8080/"}}, status: 1m}`,
			[]Backends{{Name: "a", Process: Process{Name: "traefik"}, Discover: Discover{TraefikAPI: "http://127.0.0.1:8080"}, Status: time.Minute}}},
		{"Traefik's file has no opinion", `{name: a, process: {name: traefik}, discover: {traefik: {file: /etc/traefik/dyn.yml}}}`,
			[]Backends{{Name: "a", Process: Process{Name: "traefik"}, Discover: Discover{TraefikFile: "/etc/traefik/dyn.yml"}}}},
		{"names", `{name: a, process: {name: php}, discover: {dns: ["db.internal:5432", "my_db-1.:65535", "x:1"]}}`,
			[]Backends{{Name: "a", Process: Process{Name: "php"}, Discover: Discover{DNS: []string{"db.internal:5432", "my_db-1.:65535", "x:1"}}}}},
		{"members alone, named and folded", `{name: a, process: {name: php}, discover: {static: ["192.0.2.10:80", {name: s1, address: "192.0.2.11:80"}, {address: "[::ffff:192.0.2.12]:80"}]}}`,
			[]Backends{{Name: "a", Process: Process{Name: "php"}, Discover: Discover{Static: []Member{
				{"192.0.2.10:80", addrPorts("192.0.2.10:80")[0]}, {"s1", addrPorts("192.0.2.11:80")[0]}, {"192.0.2.12:80", addrPorts("192.0.2.12:80")[0]},
			}}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse("test.yaml", []byte("backends:\n  - "+strings.TrimSpace(tt.in)+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(with(func(c *Config) { c.Backends = tt.want }), got, addresses); diff != "" {
				t.Errorf("Parse (-want +got):\n%s", diff)
			}
			sameAgain(t, got)
		})
	}
}

// pools draws the backends section.
func pools(text *rapid.Generator[string], address *rapid.Generator[netip.Addr]) *rapid.Generator[[]Backends] {
	absolute := rapid.Map(text, func(s string) string { return path.Clean("/" + s) }).Filter(func(s string) bool {
		return s != "/" && len(s) <= maxSocket && !strings.HasPrefix(s, "/sys/fs/cgroup/")
	})
	maybe := func(g *rapid.Generator[string]) *rapid.Generator[string] { return rapid.OneOf(rapid.Just(""), g) }
	name := text.Filter(func(s string) bool { return s != "" && !strings.Contains(s, "/") })
	return rapid.Custom(func(t *rapid.T) []Backends {
		var out []Backends
		for _, n := range rapid.SliceOfDistinct(name, rapid.ID).Draw(t, "pools") {
			b := Backends{Name: n, Process: Process{
				Name:      maybe(text.Filter(func(s string) bool { return len(s) <= maxComm })).Draw(t, "comm"),
				Exe:       maybe(absolute).Draw(t, "exe"),
				Unit:      maybe(rapid.StringMatching(`[a-z][a-z0-9@.\\:_-]{0,9}\.(service|scope)`)).Draw(t, "unit"),
				Container: maybe(rapid.StringMatching(`[0-9a-f]{12,64}`)).Draw(t, "container"),
				Cgroup:    maybe(absolute).Draw(t, "cgroup"),
			}}
			if b.Process.IsZero() || rapid.Bool().Draw(t, "listens") {
				b.Process.Listens = netip.AddrPortFrom(address.Draw(t, "address"), rapid.Uint16Min(1).Draw(t, "port"))
			}
			switch rapid.IntRange(0, 5).Draw(t, "source") {
			case 0:
				b.Discover.HAProxySocket = absolute.Draw(t, "socket")
			case 1:
				b.Discover.TraefikAPI = "http://" + rapid.StringMatching("[a-z]{1,9}(:80)?(/x)?").Draw(t, "api")
			case 2:
				b.Discover.TraefikFile = absolute.Draw(t, "file")
			case 3:
				b.Discover.DNS = rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,3}\.[a-z_]{1,3}:[1-9]`), 1, -1, rapid.ID).Draw(t, "dns")
			case 4:
				b.Discover.Static = members(t, text, address)
			}
			if b.Discover.HAProxySocket != "" || b.Discover.TraefikAPI != "" {
				b.Status = rapid.SampledFrom([]time.Duration{0, MinStatus, 1500 * time.Millisecond, DefaultStatus, MaxStatus}).Draw(t, "status")
			}
			out = append(out, b)
		}
		return out
	})
}

// members draws the members of a pool: each has a port of its own, so that no
// address is there twice.
func members(t *rapid.T, text *rapid.Generator[string], address *rapid.Generator[netip.Addr]) []Member {
	var out []Member
	specific := address.Filter(func(a netip.Addr) bool { return !a.IsUnspecified() })
	used := map[string]bool{}
	for i := range rapid.IntRange(1, 4).Draw(t, "members") {
		m := Member{Remote: netip.AddrPortFrom(specific.Draw(t, "member"), uint16(1+i))}
		m.Name = rapid.OneOf(rapid.Just(m.Remote.String()), text).Draw(t, "member name")
		if m.Name == "" || used[m.Name] {
			m.Name = m.Remote.String()
		}
		used[m.Name] = true
		out = append(out, m)
	}
	return out
}

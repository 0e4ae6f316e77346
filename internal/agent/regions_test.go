package agent

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// inDirectory parses a configuration that lies in dir beside its files of
// ranges.
func inDirectory(t *testing.T, dir, text string) config.Config {
	t.Helper()
	cfg, err := config.Parse(filepath.Join(dir, "foreshock.yaml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const cloud = `{"prefixes": [
	{"ip_prefix": "192.0.2.0/24", "region": "east", "service": "EC2"},
	{"ip_prefix": "192.0.2.64/26", "region": "west", "service": "EC2"},
	{"ip_prefix": "198.51.100.0/24", "region": "west", "service": "EC2"}]}`

func TestRegions(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "cloud.json"), cloud)
	writeFile(t, filepath.Join(dir, "office.txt"), "203.0.113.0/24\n198.51.100.0/24 # ours now\n")
	const text = `
regions:
  - {name: east, file: cloud.json, select: {region: east}}
  - {name: west, file: cloud.json, select: {region: west, service: EC2}}
  - {name: office, cidrs: [198.51.100.0/24, 203.0.113.64/26], file: office.txt}
`
	got, err := Regions(inDirectory(t, dir, text), "f")
	if err != nil {
		t.Fatal(err)
	}
	prefixes := func(texts ...string) (out []netip.Prefix) {
		for _, text := range texts {
			out = append(out, netip.MustParsePrefix(text))
		}
		return out
	}
	want := []scope.Region{
		{Name: "east", Source: "cloud.json (AWS), east", Prefixes: prefixes("192.0.2.0/24")},
		{Name: "west", Source: "cloud.json (AWS), west EC2", Prefixes: prefixes("192.0.2.64/26")}, // cidrs go first
		{Name: "office", Source: "office.txt and configured", Prefixes: prefixes("198.51.100.0/24", "203.0.113.0/24", "203.0.113.64/26")},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("regions (-want +got):\n%s", diff)
	}
}

func TestRegionsRefused(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "cloud.json"), cloud)
	writeFile(t, filepath.Join(dir, "list.txt"), "203.0.113.0/24\n")
	writeFile(t, filepath.Join(dir, "same.txt"), "203.0.113.0/24\n")
	tests := []struct{ name, text, want string }{
		{"no such file", "regions: [{name: a, file: nowhere.txt}]", `f:1:27: region "a": nowhere.txt: open DIR/nowhere.txt: no such file or directory; name a plain file that is there; a relative path begins at the directory of the configuration`},
		{"no such region", "regions: [{name: a, file: cloud.json, select: {region: wets}}]", `f:1:27: region "a": cloud.json: it is a file of AWS and has no region "wets"; did you mean "west"?`},
		{"nothing selected", "regions: [{name: a, file: cloud.json}]", `f:1:27: region "a": cloud.json: it is a file of AWS, and no region of it is selected; add select: {region: …}; the regions are east, west`},
		{"in two files", "regions: [{name: a, file: list.txt}, {name: b, file: same.txt}]", `f:1:54: region "b": same.txt: 203.0.113.0/24 is in the region "a" too; select other services or regions, or give the prefix to one of them with cidrs:`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Regions(inDirectory(t, dir, tt.text), "f")
			if err == nil {
				t.Fatal("it was taken")
			}
			if diff := cmp.Diff(tt.want, strings.ReplaceAll(err.Error(), dir, "DIR")); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRegionsStay: a file that is no good at a reload leaves the region as it
// was, and says so; one that was never any good is refused.
func TestRegionsStay(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "list.txt")
	cfg := inDirectory(t, dir, "regions: [{name: a, file: list.txt}]")
	writeFile(t, list, "203.0.113.0/24\n")
	var files rangeFiles
	read := func() string {
		t.Helper()
		got, err := files.regions(cfg, "f")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join([]string{got[0].Prefixes[0].String(), got[0].Limit}, " ")
	}
	if got := read(); got != "203.0.113.0/24 " {
		t.Errorf("at first %q", got)
	}
	writeFile(t, list, "203.0.113.0/24\nhalf writ")
	if got, want := read(), `203.0.113.0/24 list.txt: line 2 "half writ" is no prefix: the ranges that it had before stay`; got != want {
		t.Errorf("half written: %q, want %q", got, want)
	}
	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	if got := read(); !strings.Contains(got, "no such file") || !strings.HasPrefix(got, "203.0.113.0/24") {
		t.Errorf("vanished: %q", got)
	}
	writeFile(t, list, "198.51.100.0/24\n")
	if got := read(); got != "198.51.100.0/24 " {
		t.Errorf("good again: %q", got)
	}
	if _, err := files.regions(inDirectory(t, dir, "regions: [{name: a, file: other.txt}]"), "f"); err == nil {
		t.Error("a file that never was is taken")
	}
	if got := read(); got != "198.51.100.0/24 " {
		t.Errorf("a refused reload changed it to %q", got)
	}
}

// TestPipelineCountsARegion over real sockets: what this host began counts, who
// connects to it from there does not.
func TestPipelineCountsARegion(t *testing.T) {
	for _, source := range []observe.Source{observe.Auto, observe.Procfs} {
		t.Run(string(source), func(t *testing.T) {
			var listeners []net.Listener
			for _, address := range []string{"127.8.1.1:0", "127.8.1.2:0"} {
				l, err := net.Listen("tcp4", address)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = l.Close() })
				listeners = append(listeners, l)
			}
			cfg := config.Default()
			cfg.Regions = []config.Region{
				{Name: "near", CIDRs: []netip.Prefix{netip.MustParsePrefix("127.8.1.0/24")}},
				{Name: "far", CIDRs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
			}
			p := pipeline(t, cfg, source)
			run(t, p, start, 2*time.Second) // who listens is known by then
			for i := range 6 {
				connect(t, netip.MustParseAddrPort(listeners[i%2].Addr().String()))
			}
			near, far := scope.ID{Kind: scope.KindRegion, Name: "near"}, scope.ID{Kind: scope.KindRegion, Name: "far"}
			var view *measure.View
			established := func() float64 { return view.Scope(near).Get(measure.Established).Value }
			now := start.Add(2 * time.Second)
			for view == nil || established() != 6 && now.Sub(start) < time.Minute { // other tests' sockets spoil a look now and then
				_, view = run(t, p, now, 2*time.Second)
				now = now.Add(2 * time.Second)
			}
			if got := established(); got != 6 {
				t.Fatalf("%v connections to near, want 6", got)
			}
			if got := view.Scope(near).Get(measure.Destinations).Value; got != 2 {
				t.Errorf("%v destinations, want 2", got)
			}
			if got := view.Scope(far).Get(measure.Connections); got.Seen.IsZero() || got.Value != 0 {
				t.Errorf("far has %+v connections", got)
			}
			if f := p.focusFilter(); !slices.Equal(f.RemotePrefixes, []netip.Prefix{cfg.Regions[0].CIDRs[0], cfg.Regions[1].CIDRs[0]}) {
				t.Errorf("focus asks for %v", f.RemotePrefixes)
			}
			many := make([]netip.Prefix, wideRegions+1)
			for i := range many {
				many[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 0, byte(i), 0}), 24)
			}
			p.regions[1].Prefixes = many
			if f := p.focusFilter(); len(f.RemotePrefixes) != 1 {
				t.Errorf("beside many that nobody uses focus asks for %v", f.RemotePrefixes)
			}
			p.inUse[far] = true
			if f := p.focusFilter(); !f.IsZero() {
				t.Errorf("with many in use focus asks for %v, and not for everything", f)
			}
			if _, _, err := tick(p, now, tcp.Full); err != nil {
				t.Fatal(err)
			}
		})
	}
}

package asn

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// entry is what a database says of one prefix.
type entry struct {
	prefix string
	record []pair
}

// pair is a key with its value, a string or a uint32.
type pair struct {
	key   string
	value any
}

// database writes a file in MaxMind's format with 24-bit records: the search
// tree, 16 zero bytes, the data, the marker and the metadata
// (https://maxmind.github.io/MaxMind-DB/).
func database(kind string, version int, entries ...entry) []byte {
	type node struct{ next, data [2]int } // a place in nodes; a place in data + 1
	nodes := []node{{}}
	var data bytes.Buffer
	for _, e := range entries {
		p := netip.MustParsePrefix(e.prefix)
		key, bits := p.Addr().AsSlice(), p.Bits()
		if version == 6 && p.Addr().Is4() { // IPv4 lies at ::/96
			key, bits = append(make([]byte, 12), key...), bits+96
		}
		at := 0
		for i := range bits - 1 {
			b := key[i/8] >> (7 - i%8) & 1
			if nodes[at].next[b] == 0 {
				nodes = append(nodes, node{})
				nodes[at].next[b] = len(nodes) - 1
			}
			at = nodes[at].next[b]
		}
		b := key[(bits-1)/8] >> (7 - (bits-1)%8) & 1
		nodes[at].data[b] = data.Len() + 1
		data.Write(mapped(e.record))
	}
	var out bytes.Buffer
	for _, n := range nodes {
		for side := range 2 {
			value := len(nodes) // nothing
			switch {
			case n.data[side] > 0:
				value = len(nodes) + 16 + n.data[side] - 1
			case n.next[side] > 0:
				value = n.next[side]
			}
			out.Write([]byte{byte(value >> 16), byte(value >> 8), byte(value)})
		}
	}
	out.Write(make([]byte, 16))
	out.Write(data.Bytes())
	out.WriteString("\xab\xcd\xefMaxMind.com")
	out.Write(mapped([]pair{
		{"binary_format_major_version", uint32(2)}, {"binary_format_minor_version", uint32(0)}, {"build_epoch", uint32(1)},
		{"database_type", kind}, {"ip_version", uint32(version)}, {"node_count", uint32(len(nodes))}, {"record_size", uint32(24)},
	}))
	return out.Bytes()
}

// mapped is a map as the format has it: a byte with the type, 7, and the number
// of pairs.
func mapped(pairs []pair) []byte {
	out := []byte{7<<5 | byte(len(pairs))}
	for _, p := range pairs {
		out = append(out, value(p.key)...)
		out = append(out, value(p.value)...)
	}
	return out
}

// value is a string, type 2, or a uint32, type 6.
func value(v any) []byte {
	switch v := v.(type) {
	case string:
		if len(v) < 29 {
			return append([]byte{2<<5 | byte(len(v))}, v...)
		}
		if len(v) < 285 {
			return append([]byte{2<<5 | 29, byte(len(v) - 29)}, v...)
		}
		return append([]byte{2<<5 | 30, byte((len(v) - 285) >> 8), byte(len(v) - 285)}, v...)
	case uint32:
		return binary.BigEndian.AppendUint32([]byte{6<<5 | 4}, v)
	}
	panic(fmt.Sprintf("%T cannot be written", v))
}

func maxmind(number uint32, name string) []pair {
	return []pair{{"autonomous_system_number", number}, {"autonomous_system_organization", name}}
}

func write(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "asn.mmdb")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestFixtures: the databases that other packages' tests open are as they are
// written here; a missing one is made.
func TestFixtures(t *testing.T) {
	for name, want := range map[string][]byte{
		"one.mmdb": database("ASN", 4, entry{"127.0.0.0/8", maxmind(64500, "One")}),
		"two.mmdb": database("ASN", 4, entry{"127.0.0.0/8", maxmind(64501, "Two")}),
	} {
		path := filepath.Join("testdata", name)
		got, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			err = os.WriteFile(path, want, 0o600)
		}
		if err != nil || got != nil && !bytes.Equal(got, want) {
			t.Errorf("%s: %v, or not as it is written here: remove it", path, err)
		}
	}
}

type said struct {
	Number  uint32
	Network string
	Prefix  string
}

func ask(d *Database, address string) said {
	number, network, prefix := d.Lookup(netip.MustParseAddr(address))
	if !prefix.IsValid() {
		return said{number, network, ""}
	}
	return said{number, network, prefix.String()}
}

func TestLookup(t *testing.T) {
	long := strings.Repeat("é", 200)
	d, err := Open(write(t, database("GeoLite2-ASN", 6,
		entry{"192.0.2.0/24", maxmind(64500, "Example Net")},
		entry{"203.0.113.0/25", []pair{{"asn", "AS64501"}, {"name", "Info Net"}}},
		entry{"203.0.113.128/25", []pair{{"asn", "as4200000000"}, {"as_name", "Lite\x1b[31m\nNet"}}},
		entry{"198.51.100.0/24", []pair{{"asn", "none"}, {"name", "Nobody"}}},
		entry{"2001:db8::/32", maxmind(64502, long)},
	)))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]said{
		"192.0.2.10":        {64500, "Example Net", "192.0.2.0/24"},
		"::ffff:192.0.2.10": {64500, "Example Net", "192.0.2.0/24"},
		"203.0.113.1":       {64501, "Info Net", "203.0.113.0/25"},
		"203.0.113.200":     {4200000000, "Lite [31m Net", "203.0.113.128/25"},
		"198.51.100.1":      {},
		"192.0.3.1":         {},
		"2001:db8::1%eth0":  {64502, strings.Repeat("é", maxName) + "…", "2001:db8::/32"},
		"2001:db9::1":       {},
	}
	got := map[string]said{}
	for address := range want {
		got[address] = ask(d, address)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if number, network, prefix := d.Lookup(netip.Addr{}); number != 0 || network != "" || prefix.IsValid() {
		t.Error("no address has a number")
	}
	four, err := Open(write(t, database("dbip-asn-lite", 4, entry{"192.0.2.0/24", maxmind(64500, "")})))
	if err != nil {
		t.Fatal(err)
	}
	if got := [2]said{ask(four, "192.0.2.1"), ask(four, "2001:db8::1")}; got != [2]said{{64500, "", "192.0.2.0/24"}, {}} {
		t.Errorf("%+v", got)
	}
}

// TestReload: a new file is taken over, however it comes; a bad one is not, and
// the last good one stays.
func TestReload(t *testing.T) {
	one, two := database("a", 4, entry{"192.0.2.0/24", maxmind(1, "one")}), database("a", 4, entry{"192.0.2.0/24", maxmind(2, "two, and longer")})
	path := write(t, one)
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	step := func(what string, change func() error, changed bool, problem string, number uint32) {
		t.Helper()
		if err := change(); err != nil {
			t.Fatal(err)
		}
		for again := range 2 { // the second time nothing has changed
			got, err := d.Reload()
			if got != (changed && again == 0) || (err != nil) != (problem != "") || err != nil && !strings.Contains(err.Error(), problem) {
				t.Errorf("%s: changed %t, %v; want %t, %q", what, got, err, changed, problem)
			}
			if got := ask(d, "192.0.2.1").Number; got != number {
				t.Errorf("%s: AS%d, want AS%d", what, got, number)
			}
		}
	}
	step("as it was", func() error { return nil }, false, "", 1)
	step("cut short", func() error { return os.Truncate(path, 40) }, false, "not written to its end: fetch it again", 1)
	step("written over", func() error { return os.WriteFile(path, two, 0o600) }, true, "", 2)
	step("gone", func() error { return os.Remove(path) }, false, "give the path of a database", 2)
	step("a pipe", func() error { return syscall.Mkfifo(path, 0o600) }, false, "no regular file", 2)
	step("put in its place", func() error {
		next := path + ".new"
		if err := os.WriteFile(next, one, 0o600); err != nil {
			return err
		}
		return os.Rename(next, path)
	}, true, "", 1)
}

func TestRefused(t *testing.T) {
	good := database("a", 4, entry{"192.0.2.0/24", maxmind(1, "one")})
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "no database in MaxMind's format"},
		{"text", []byte("192.0.2.0/24,64500\n"), "no database in MaxMind's format"},
		{"its end", good[len(good)-60:], "fetch it again"},
		{"cities", database("GeoLite2-City", 4, entry{"192.0.2.0/24", []pair{{"city", "Cork"}}}), `it has no AS numbers, its type is "GeoLite2-City": take a database of AS numbers`},
		{"nothing in it", database("GeoLite2-ASN", 4), "it has no AS numbers"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Open(write(t, tt.data)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
	endless := database("GeoLite2-ASN", 6, entry{"::/127", maxmind(1, "one")}) // each node leads to the next one twice
	for at := range 126 {
		copy(endless[6*at+3:6*at+6], endless[6*at:6*at+3])
	}
	copy(endless[6*126:], []byte{0, 0, 127, 0, 0, 127}) // and the last one nowhere
	if _, err := parse(endless); err == nil || !strings.Contains(err.Error(), "it has no AS numbers") {
		t.Errorf("endless: %v", err)
	}
	large := write(t, nil)
	if err := os.Truncate(large, MaxSize+1); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{large: "at most 128 are read", t.TempDir(): "no regular file", "/nowhere/asn.mmdb": "or leave it out"} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

// FuzzParse: of whatever bytes, an error or a database that answers, and no panic.
func FuzzParse(f *testing.F) {
	good := database("a", 6, entry{"192.0.2.0/24", maxmind(64500, "Example Net")}, entry{"2001:db8::/32", []pair{{"asn", "AS1"}}})
	f.Add(good)
	f.Add(database("a", 4, entry{"0.0.0.0/1", maxmind(1, "one")}))
	for i := 0; i < len(good); i += 97 {
		bad := bytes.Clone(good)
		bad[i] ^= 0xff
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parse(data)
		if err != nil {
			if r != nil {
				t.Fatal("a database with an error")
			}
			return
		}
		for _, a := range []string{"192.0.2.1", "2001:db8::1", "255.255.255.255", "::"} {
			number, name, prefix := lookup(r, netip.MustParseAddr(a))
			if number == 0 && (name != "" || prefix.IsValid()) || len([]rune(name)) > maxName+1 {
				t.Fatalf("%s: AS%d %q %s", a, number, name, prefix)
			}
		}
	})
}

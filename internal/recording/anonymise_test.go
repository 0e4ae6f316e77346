package recording

import (
	"encoding/json"
	"math/bits"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

func anonymiser(t testing.TB, key byte) *Anonymiser {
	t.Helper()
	raw := make([]byte, KeySize)
	raw[0] = key
	a, err := NewAnonymiser(raw)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// shared is how many bits two addresses begin alike with.
func shared(a, b netip.Addr) int {
	x, y := a.AsSlice(), b.AsSlice()
	for i := range x {
		if x[i] != y[i] {
			return 8*i + bits.LeadingZeros8(x[i]^y[i])
		}
	}
	return 8 * len(x)
}

// TestAddressesKeepTheirPrefixes, and only these: by the same key the same, by
// another others.
func TestAddressesKeepTheirPrefixes(t *testing.T) {
	a, same, other := anonymiser(t, 1), anonymiser(t, 1), anonymiser(t, 2)
	cases, differ := 0, 0 // rapid makes fewer with -short
	rapid.Check(t, func(r *rapid.T) {
		cases++
		draw := func(name string, like []byte) netip.Addr {
			n := rapid.SampledFrom([]int{4, 16}).Draw(r, "length")
			if like != nil {
				n = len(like)
			}
			raw := rapid.SliceOfN(rapid.Byte(), n, n).Draw(r, name)
			copy(raw, like[:rapid.IntRange(0, len(like)).Draw(r, "as before")])
			addr, _ := netip.AddrFromSlice(raw)
			return addr
		}
		x := draw("x", nil)
		y := draw("y", x.AsSlice())
		if got, want := shared(a.Addr(x), a.Addr(y)), shared(x, y); got != want {
			r.Errorf("%s and %s share %d bits, and what they become %d", x, y, want, got)
		}
		if a.Addr(x) != same.Addr(x) {
			r.Errorf("%s becomes two by the same key", x)
		}
		if a.Addr(x) != other.Addr(x) {
			differ++
		}
	})
	if differ < cases/2 {
		t.Errorf("by another key only %d of %d are others", differ, cases)
	}
	for _, text := range []string{"127.0.0.1", "127.255.0.9", "0.0.0.0", "::", "::1"} {
		if addr := netip.MustParseAddr(text); a.Addr(addr) != addr {
			t.Errorf("%s becomes %s", addr, a.Addr(addr))
		}
	}
	if x := netip.MustParseAddr("192.0.2.1"); a.Addr(x) == x {
		t.Errorf("%s stays", x)
	}
}

// TestNothingIsLeft fills every field of steps and frames, by reflection, with
// names and addresses that must not be found afterwards, so that a field that
// somebody adds and does not anonymise fails it.
func TestNothingIsLeft(t *testing.T) {
	const secret = "secret-name"
	address := netip.MustParseAddr("203.0.113.77")
	var s measure.Step
	plant(reflect.ValueOf(&s).Elem(), secret, address)
	var f Frame
	plant(reflect.ValueOf(&f).Elem(), secret, address)
	for i := range s.Tallies.Scopes {
		s.Tallies.Scopes[i].Scope.Kind = scope.KindBackend
	}
	s.Tallies.Opinions[0].Scope.Kind, s.Tallies.Norms[0].Scope.Kind = scope.KindService, scope.KindRegion
	a := anonymiser(t, 1)
	before := copyOf(s)
	got := a.Step(s)
	got.Tallies.Look.Reader, f.Look.Reader = "", "" // "sock_diag": which reader it was
	f.Scopes.Services[0].Workers.Software = ""      // "apache prefork": which software it is
	for name, v := range map[string]any{"step": got, "frame": a.Frame(f), "header": a.Header(Header{Host: secret, Labels: map[string]string{secret: secret}})} {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		for _, left := range []string{secret, "203.0.113"} {
			if at := strings.Index(string(raw), left); at >= 0 {
				t.Errorf("%s: %q is left: …%s", name, left, raw[max(0, at-80):at+20])
			}
		}
	}
	if diff := cmp.Diff(before, s, same); diff != "" {
		t.Errorf("the step that was given is changed:\n%s", diff)
	}
}

// plant fills a value: one entry in each list, the name in each string, the
// address in each address.
func plant(v reflect.Value, name string, address netip.Addr) {
	switch v.Interface().(type) {
	case netip.Addr:
		v.Set(reflect.ValueOf(address))
		return
	case netip.AddrPort:
		v.Set(reflect.ValueOf(netip.AddrPortFrom(address, 80)))
		return
	case netip.Prefix:
		v.Set(reflect.ValueOf(netip.PrefixFrom(address, 24).Masked()))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, field := range v.Fields() {
			if field.CanSet() {
				plant(field, name, address)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		plant(v.Index(0), name, address)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		plant(v.Elem(), name, address)
	case reflect.String:
		v.SetString(name)
	}
}

// TestNamesKeepTheirParts: siblings stay siblings, and what every namespace has
// keeps its name.
func TestNamesKeepTheirParts(t *testing.T) {
	a := anonymiser(t, 1)
	group, one, two := a.Name("shop"), a.Name("shop/s1"), a.Name("shop/s2")
	if !strings.HasPrefix(one, group+"/") || !strings.HasPrefix(two, group+"/") || one == two || len(group) != 10 || group == "shop" {
		t.Errorf("shop is %s, its backends %s and %s", group, one, two)
	}
	s := a.Step(measure.Step{Tallies: measure.Tallies{Scopes: []measure.Tally{{Scope: scope.Rest.In("shop")}, {Scope: scope.ID{Kind: scope.KindRegion, Name: "eu"}, Group: scope.RegionGroup}, {Scope: (&scope.Switch{Name: "shop"}).ID(scope.OldSide, "shop"), Group: "shop"}}}})
	if got := s.Tallies.Scopes[0].Scope; got != scope.Rest.In(group) {
		t.Errorf("the rest of shop is %s", got)
	}
	if got := s.Tallies.Scopes[1].Group; got != scope.RegionGroup {
		t.Errorf("the regions' group is %s", got)
	}
	if got := s.Tallies.Scopes[2]; got.Scope != (&scope.Switch{Name: group}).ID(scope.OldSide, group) || got.Group != group {
		t.Errorf("the old side of shop is %s, of %s", got.Scope, got.Group)
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	key, made, err := KeyFile(path)
	if err != nil || !made || len(key) != KeySize {
		t.Fatalf("%d bytes, made %v, %v", len(key), made, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	again, made, err := KeyFile(path)
	if err != nil || made || string(again) != string(key) {
		t.Errorf("read again: made %v, %v", made, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := KeyFile(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others may read: %v", err)
	}
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := KeyFile(short); err == nil || !strings.Contains(err.Error(), "does not hold one") {
		t.Errorf("no key: %v", err)
	}
	if _, err := NewAnonymiser([]byte("abc")); err == nil {
		t.Error("a short key is taken")
	}
}

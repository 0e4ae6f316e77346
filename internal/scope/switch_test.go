package scope

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func addresses(texts ...string) (out []netip.Addr) {
	for _, text := range texts {
		out = append(out, netip.MustParseAddr(text))
	}
	return out
}

func TestNewSwitch(t *testing.T) {
	tests := []struct {
		name, of      string
		before, after []netip.Addr
		want          Switch
		err           string
	}{
		{name: "one for one", of: "Shop.Example.", before: addresses("192.0.2.10"), after: addresses("198.51.100.7"),
			want: Switch{Name: "shop.example", Old: addresses("192.0.2.10"), New: addresses("198.51.100.7")}},
		{name: "one stays, twice and mapped", of: "shop.example", before: addresses("192.0.2.11", "192.0.2.10", "::ffff:192.0.2.10"), after: addresses("::ffff:192.0.2.10", "2001:db8::7"),
			want: Switch{Name: "shop.example", Old: addresses("192.0.2.11"), New: addresses("2001:db8::7"), Kept: addresses("192.0.2.10")}},
		{name: "one goes", of: "a", before: addresses("192.0.2.11", "192.0.2.10"), after: addresses("192.0.2.10"),
			want: Switch{Name: "a", Old: addresses("192.0.2.11"), Kept: addresses("192.0.2.10")}},
		{name: "no name", of: ".", before: addresses("192.0.2.10"), after: addresses("192.0.2.11"), err: "a switch needs the name whose addresses changed"},
		{name: "nothing before", of: "a", after: addresses("192.0.2.11"), err: "the switch of a needs the addresses before and after it"},
		{name: "nothing after", of: "a", before: addresses("192.0.2.11"), err: "the switch of a needs the addresses before and after it"},
		{name: "one more", of: "a", before: addresses("192.0.2.11"), after: addresses("192.0.2.11", "192.0.2.12"), err: "every old address of a is a new one too: nothing has to drain"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := NewSwitch(tt.of, tt.before, tt.after)
			if text := fmt.Sprint(err); err != nil && text != tt.err || err == nil && tt.err != "" {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("switch (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSwitchScopes(t *testing.T) {
	s := Switch{Name: "shop.example", Ports: []uint16{80, 443}}
	for side, want := range map[Side]string{OldSide: "address/shop.example/old@pod", NewSide: "address/shop.example/new@pod"} {
		got := s.ID(side, "pod")
		if got.String() != want {
			t.Errorf("the %s side is %s, want %s", side, got, want)
		}
		if of, ok := got.Side(); !ok || of != side {
			t.Errorf("%s is the side %s, %v", got, of, ok)
		}
		if parsed, ok := Parse(got.String()); !ok || parsed != got {
			t.Errorf("Parse(%s) = %v, %v", got, parsed, ok)
		}
	}
	if !s.Counts(443) || s.Counts(8443) || !(&Switch{}).Counts(8443) {
		t.Error("the ports that count: want 80 and 443, and every one where none is named")
	}
}

// TestAddressIndexIsTheSides holds the index to a walk over all sides.
func TestAddressIndexIsTheSides(t *testing.T) {
	if got := (*AddressIndex)(nil).Places(netip.MustParseAddr("192.0.2.1")); got != nil {
		t.Errorf("none has %v", got)
	}
	address := rapid.Custom(func(t *rapid.T) netip.Addr { // few, so that they meet
		last := rapid.ByteRange(0, 9).Draw(t, "last")
		if rapid.Bool().Draw(t, "IPv6") {
			return netip.AddrFrom16([16]byte{0x20, 1, 15: last})
		}
		return netip.AddrFrom4([4]byte{192, 0, 2, last})
	})
	rapid.Check(t, func(t *rapid.T) {
		switches := make([]Switch, rapid.IntRange(0, 4).Draw(t, "switches"))
		for i := range switches {
			switches[i].Old = rapid.SliceOfN(address, 0, 4).Draw(t, "old")
			switches[i].New = rapid.SliceOfN(address, 0, 4).Draw(t, "new")
		}
		ix := NewAddressIndex(switches)
		for range 10 {
			a := address.Draw(t, "address")
			var want []Place
			for i := range switches {
				for _, side := range []Side{OldSide, NewSide} {
					if slices.Contains(switches[i].Addresses(side), a) {
						want = append(want, Place{i, side})
					}
				}
			}
			if diff := cmp.Diff(want, ix.Places(a)); diff != "" {
				t.Fatalf("places of %s (-want +got):\n%s", a, diff)
			}
		}
	})
}

// BenchmarkAddressIndex looks up the addresses of sockets of which one in a
// hundred is on a side.
func BenchmarkAddressIndex(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		random := rand.New(rand.NewPCG(1, uint64(n)))
		switches := make([]Switch, n)
		for i := range switches {
			switches[i].Old = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})}
			switches[i].New = []netip.Addr{netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})}
		}
		ix := NewAddressIndex(switches)
		remotes := make([]netip.Addr, 8192)
		for i := range remotes {
			remotes[i] = netip.AddrFrom4([4]byte{10, byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32())})
			if i%100 == 0 {
				remotes[i] = switches[random.IntN(n)].Old[0]
			}
		}
		b.Run(fmt.Sprintf("switches=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			found := 0
			for b.Loop() {
				for i := range remotes {
					found += len(ix.Places(remotes[i]))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(remotes)), "ns/socket")
		})
	}
}

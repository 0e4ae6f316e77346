package scope

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/foreshock/foreshock/internal/tcp"
)

func TestRegionIndex(t *testing.T) {
	prefixes := func(texts ...string) (out []netip.Prefix) {
		for _, text := range texts {
			out = append(out, netip.MustParsePrefix(text))
		}
		return out
	}
	ix := NewRegionIndex([]Region{
		{Name: "east", Prefixes: prefixes("192.0.2.0/24", "2001:db8:1::/48")},
		{Name: "west", Prefixes: prefixes("198.51.100.0/24", "2001:db8:2::/48")},
		{Name: "rack", Prefixes: prefixes("192.0.2.64/26", "198.51.100.7/32")},
		{Name: "twin of east", Prefixes: prefixes("192.0.2.0/24")},
	})
	tests := []struct {
		name, remote string
		want         int
	}{
		{"IPv4", "192.0.2.1:443", 0},
		{"the longest prefix", "192.0.2.65:443", 2},
		{"beyond the longest prefix", "192.0.2.128:443", 0},
		{"one address", "198.51.100.7:443", 2},
		{"beside it", "198.51.100.8:443", 1},
		{"IPv6", "[2001:db8:2::7]:443", 1},
		{"IPv4-mapped", "[::ffff:192.0.2.1]:443", 0},
		{"nobody's", "203.0.113.1:443", None},
		{"nobody's IPv6", "[2001:db8:3::1]:443", None},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := tcp.Socket{State: tcp.Established, Remote: netip.MustParseAddrPort(tt.remote)}
			if got := ix.Region(&s); got != tt.want {
				t.Errorf("Region(%s) = %d, want %d", tt.remote, got, tt.want)
			}
		})
	}
	if got := ix.Region(&tcp.Socket{State: tcp.Listen, Remote: netip.MustParseAddrPort("192.0.2.1:0")}); got != None {
		t.Errorf("a listener is in region %d", got)
	}
	for _, none := range []*RegionIndex{nil, {}, NewRegionIndex(nil)} {
		if got := none.Address(netip.MustParseAddr("192.0.2.1")); got != None || !none.Empty() {
			t.Errorf("no regions answer %d", got)
		}
	}
}

// TestRegionIndexIsTheLongestMatch holds the table against a walk of all
// prefixes.
func TestRegionIndexIsTheLongestMatch(t *testing.T) {
	address := rapid.Custom(func(t *rapid.T) netip.Addr { // few bits vary, so that prefixes nest
		b := rapid.SliceOfN(rapid.ByteRange(0, 3), 4, 4).Draw(t, "bytes")
		return netip.AddrFrom4([4]byte(b))
	})
	rapid.Check(t, func(t *rapid.T) {
		regions := make([]Region, rapid.IntRange(0, 6).Draw(t, "regions"))
		for i := range regions {
			for range rapid.IntRange(0, 8).Draw(t, "prefixes") {
				p := netip.PrefixFrom(address.Draw(t, "prefix"), rapid.IntRange(0, 32).Draw(t, "bits")).Masked()
				regions[i].Prefixes = append(regions[i].Prefixes, p)
			}
		}
		ix := NewRegionIndex(regions)
		for range 20 {
			a := address.Draw(t, "address")
			want, longest := None, -1
			for i := range regions {
				for _, p := range regions[i].Prefixes {
					if p.Contains(a) && p.Bits() > longest {
						want, longest = i, p.Bits()
					}
				}
			}
			if got := ix.Address(a); got != want {
				t.Fatalf("Address(%s) = %d, want %d", a, got, want)
			}
		}
	})
}

// BenchmarkRegionIndex classifies sockets that go to as many addresses as there
// are prefixes, half of them in one.
func BenchmarkRegionIndex(b *testing.B) {
	for _, n := range []int{10, 1_000, 10_000, 100_000} {
		random := rand.New(rand.NewPCG(1, uint64(n)))
		regions := make([]Region, 20)
		for i := range n {
			a := netip.AddrFrom4([4]byte{byte(1 + random.IntN(100)), byte(random.Uint32()), byte(random.Uint32()), 0})
			regions[i%20].Prefixes = append(regions[i%20].Prefixes, netip.PrefixFrom(a, 24))
		}
		ix := NewRegionIndex(regions)
		sockets := make([]tcp.Socket, 8192)
		for i := range sockets {
			r := &regions[i%min(20, n)]
			a := r.Prefixes[random.IntN(len(r.Prefixes))].Addr().As4()
			if i%2 == 0 {
				a[0] += 100
			}
			a[3] = byte(random.Uint32())
			sockets[i] = tcp.Socket{State: tcp.Established, Remote: netip.AddrPortFrom(netip.AddrFrom4(a), 443)}
		}
		b.Run(fmt.Sprintf("prefixes=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for i := range sockets {
					ix.Region(&sockets[i])
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(sockets)), "ns/socket")
		})
	}
}

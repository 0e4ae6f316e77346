package drain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// every is answers from second to second, one each step: "every(0, 60, 10,
// "ns1 old 10")".
func every(from, to, step float64, what string) (out []string) {
	for s := from; s <= to; s += step {
		out = append(out, fmt.Sprintf("%g %s", s, what))
	}
	return out
}

// TestWatcher plays answers and lists what is noticed: "SERVER at N: BEFORE →
// AFTER, TTL", and when it was said.
func TestWatcher(t *testing.T) {
	steady := every(0, 60, 10, "ns1 old 10")
	tests := []struct {
		name  string
		armed bool
		play  []string
		want  []string
	}{
		{"a switch", false, slices.Concat(steady, []string{"70 ns1 new 10", "80 ns1 new 10", "90 ns1 new 10"}), []string{"80: ns1 at 70: 192.0.2.10 → 198.51.100.7, 10s"}},
		{"one answer is none", false, slices.Concat(steady, []string{"70 ns1 new 10", "80 ns1 old 10", "90 ns1 old 10"}), nil},
		{"too early to tell", false, []string{"0 ns1 old 10", "10 ns1 old 10", "20 ns1 new 10", "30 ns1 new 10", "40 ns1 new 10"}, nil},
		{"with a long TTL it takes longer", false, slices.Concat(every(0, 60, 10, "ns1 old 300"), every(70, 200, 10, "ns1 new 300")), nil},
		{"there and back", false, slices.Concat(steady, every(70, 80, 10, "ns1 new 10"), every(90, 110, 10, "ns1 old 10")),
			[]string{"80: ns1 at 70: 192.0.2.10 → 198.51.100.7, 10s", "100: ns1 at 90: 198.51.100.7 → 192.0.2.10, 10s"}},
		{"an address comes, then one goes", false, slices.Concat(steady, every(70, 80, 10, "ns1 both 10"), every(90, 110, 10, "ns1 new 10")),
			[]string{"100: ns1 at 90: 192.0.2.10,198.51.100.7 → 198.51.100.7, 10s"}},
		{"failures say nothing", false, slices.Concat(steady, every(65, 200, 10, "ns1 timed_out"), every(210, 300, 10, "ns1 no_such_name"), []string{"310 ns1 old 10"}), nil},
		{"to and fro: three within ten minutes, and then what stands", false, slices.Concat(steady, flaps(70, 900, 60), every(910, 1400, 10, "ns1 other 10")), []string{
			"80: ns1 at 70: 192.0.2.10 → 198.51.100.7, 10s", "140: ns1 at 130: 198.51.100.7 → 192.0.2.10, 10s", "200: ns1 at 190: 192.0.2.10 → 198.51.100.7, 10s",
			"740: ns1 at 730: 198.51.100.7 → 192.0.2.10, 10s", "800: ns1 at 790: 192.0.2.10 → 198.51.100.7, 10s", "860: ns1 at 850: 198.51.100.7 → 192.0.2.10, 10s", "1340: ns1 at 910: 192.0.2.10 → 203.0.113.9, 10s"}},
		{"half an answer takes nothing away", false, slices.Concat(every(0, 60, 10, "ns1 dual 10"), every(70, 130, 10, "ns1 old 10 lacks=6"), every(140, 200, 10, "ns1 dual 10")), nil},
		{"a family goes", false, slices.Concat(every(0, 60, 10, "ns1 dual 10"), every(70, 130, 10, "ns1 old 10")), []string{"80: ns1 at 70: 192.0.2.10,2001:db8::10 → 192.0.2.10, 10s"}},
		{"said once by two", false, slices.Concat(steady, every(1, 61, 10, "ns2 old 10"), []string{"70 ns1 new 10", "75 ns2 new 10", "80 ns1 new 10", "85 ns2 new 10", "95 ns2 new 10"}),
			[]string{"80: ns1 at 70: 192.0.2.10 → 198.51.100.7, 10s"}},
		{"servers that always differ", false, slices.Concat(every(0, 300, 10, "ns1 old 10"), every(1, 300, 10, "ns2 new 10")), nil},
		{"addresses in turn", false, slices.Concat(every(0, 300, 20, "ns1 old 10"), every(10, 300, 20, "ns1 old2 10")), nil},
		{"addresses in turn, each for a TTL", false, turns(3600, 60, "old 60", "old2 60", "kept 60"), nil},
		{"addresses in turn, and then others", false, slices.Concat(turns(1830, 60, "old 60", "old2 60"), every(1830, 3060, 10, "ns1 new 60")), []string{"3000: ns1 at 2400: 192.0.2.10,192.0.2.11 → 198.51.100.7, 1m0s"}},
		{"a content network", false, network(7200), nil},
		{"most resolvers of this host", false, slices.Concat(every(0, 60, 10, "sys1 old 10"), every(1, 61, 10, "sys2 old 10"), every(2, 62, 10, "sys3 old 10"),
			every(70, 100, 10, "sys1 new 10"), every(101, 121, 10, "sys2 new 10")), []string{"111: sys2 at 101: 192.0.2.10 → 198.51.100.7, 10s"}},
		{"resolvers are not asked where the zone answers", false, slices.Concat(every(0, 100, 10, "ns1 old 10"), every(0, 60, 10, "sys1 old 10"), every(70, 100, 10, "sys1 new 10")), nil},
		{"others do not count", false, slices.Concat(every(0, 60, 10, "conf1 old 10"), every(70, 100, 10, "conf1 new 10")), nil},
		{"armed", true, []string{"0 ns1 old 10", "5 ns1 both 10", "10 ns1 other 10", "15 ns1 new 10", "20 ns1 new 10", "25 ns2 new 10"}, []string{"15: ns1 at 15: 192.0.2.10,192.0.2.11,192.0.2.99 → 192.0.2.99,198.51.100.7, 10s"}},
		{"armed too late", true, []string{"0 ns1 new 10"}, []string{"0: ns1 at 0:  → 192.0.2.99,198.51.100.7, 0s"}},
		{"armed, resolvers only", true, []string{"0 sys1 old 10", "1 sys2 old 9", "10 sys1 new 10", "11 sys2 new 9"}, []string{"11: sys2 at 11: 192.0.2.10,192.0.2.11,192.0.2.99 → 192.0.2.99,198.51.100.7, 9s"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var w Watcher
			if tt.armed {
				sw := theSwitch()
				w.Arm(&sw)
			}
			var got []string
			slices.SortStableFunc(tt.play, func(a, b string) int { return answer(a).At.Compare(answer(b).At) })
			for _, line := range tt.play {
				a := answer(line)
				if c := w.Take(a); c != nil {
					got = append(got, fmt.Sprintf("%g: %s at %g: %s → %s, %v", a.At.Sub(start).Seconds(), c.Server, c.At.Sub(start).Seconds(), join(c.Before), join(c.After), c.TTL))
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("noticed (-want +got):\n%s", diff)
			}
		})
	}
}

// flaps goes to and fro between two answers, each for so many seconds.
func flaps(from, until, each int) (out []string) {
	for s := from; s < until; s += 10 {
		out = append(out, fmt.Sprintf("%d ns1 %s 10", s, [...]string{"new", "old"}[(s-from)/each%2]))
	}
	return out
}

// turns gives out one answer after another, each for so many seconds, as a
// server does that rotates: asked each 10 s.
func turns(until, each int, whats ...string) (out []string) {
	for s := 0; s < until; s += 10 {
		out = append(out, fmt.Sprintf("%d ns1 %s", s, whats[s/each%len(whats)]))
	}
	return out
}

// network gives out other addresses all the time.
func network(until int) (out []string) {
	for s := 0; s < until; s += 10 {
		set := fmt.Sprintf("net%d", s/60)
		byLetter[set] = []netip.Addr{netip.AddrFrom4([4]byte{10, 9, byte(s / 60), 1})}
		out = append(out, fmt.Sprintf("%d ns1 %s 60", s, set))
	}
	return out
}

func join(addrs []netip.Addr) string {
	var out []string
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return strings.Join(out, ",")
}

// TestWatcherBounds: servers that come and go are forgotten.
func TestWatcherBounds(t *testing.T) {
	var w Watcher
	for i := range 1000 {
		a := answer("0 sys1 old 10")
		a.At = at(0).Add(time.Duration(i) * time.Minute)
		a.Server = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 53)
		w.Take(a)
	}
	if len(w.servers) > 2*maxServers {
		t.Errorf("%d servers are remembered", len(w.servers))
	}
}

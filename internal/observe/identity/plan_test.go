package identity

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func addresses(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, text := range texts {
		out = append(out, netip.MustParseAddr(text))
	}
	return out
}

var sameAddr = cmpopts.EquateComparable(netip.Addr{})

func TestWanted(t *testing.T) {
	var many []netip.Addr
	for i := range 100 {
		many = append(many, netip.AddrFrom4([4]byte{198, 18, 0, byte(i)}))
	}
	var first []Want
	for _, a := range many[:maxAddresses] {
		first = append(first, Want{"shop.example", a, true})
	}
	tests := []struct {
		name                    string
		before, after, answered []netip.Addr
		want                    []Want
	}{
		{"new, old, and what was answered, each once",
			addresses("192.0.2.10"), addresses("198.51.100.7", "2001:db8::7"), addresses("192.0.2.10", "198.51.100.7", "::ffff:203.0.113.5", "203.0.113.5"),
			[]Want{
				{"shop.example", netip.MustParseAddr("198.51.100.7"), true}, {"shop.example", netip.MustParseAddr("2001:db8::7"), true},
				{"shop.example", netip.MustParseAddr("192.0.2.10"), false}, {"shop.example", netip.MustParseAddr("203.0.113.5"), false},
			}},
		{"one of this host where somebody said so", addresses("127.0.0.1"), addresses("fe80::1%eth0"), addresses("127.0.0.2", "169.254.169.254", "::1", "fd00:ec2::254", "100.100.100.200"),
			[]Want{{"shop.example", netip.MustParseAddr("fe80::1"), true}, {"shop.example", netip.MustParseAddr("127.0.0.1"), false}}},
		{"what nobody can connect to", addresses("0.0.0.0", "224.0.0.1"), addresses("::", "ff02::1"), append(addresses("255.255.255.255"), netip.Addr{}), nil},
		{"64 at most", addresses("192.0.2.10"), many, nil, first},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, Wanted("shop.example", tt.before, tt.after, tt.answered), sameAddr); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestSchedule plays the agent's loop, which asks when it was told to.
func TestSchedule(t *testing.T) {
	wanted := Wanted("shop.example", addresses("192.0.2.10"), addresses("198.51.100.7"), nil)
	start := time.Unix(1_000_000, 0)
	var s Schedule
	var got []string
	for now := start; now.Sub(start) < 2*time.Minute; {
		probe, next := s.Due(now, wanted, func() float64 { return 0.5 })
		for _, w := range probe {
			got = append(got, fmt.Sprintf("%v %s", now.Sub(start), w.Address))
		}
		if !next.After(now) {
			t.Fatalf("at %v: ask again at %v", now.Sub(start), next.Sub(start))
		}
		now = next
	}
	want := []string{
		"0s 198.51.100.7", "0s 192.0.2.10",
		"15s 198.51.100.7", "30s 198.51.100.7", "45s 198.51.100.7",
		"1m0s 198.51.100.7", "1m0s 192.0.2.10",
		"1m15s 198.51.100.7", "1m30s 198.51.100.7", "1m45s 198.51.100.7",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	if probe, next := s.Due(start, nil, nil); probe != nil || !next.IsZero() || len(s.due) != 0 {
		t.Errorf("nothing wanted: %v, %v, and %d remembered", probe, next, len(s.due))
	}
}

// TestScheduleOfNewAddresses: an old address that becomes a new one is not left
// for the rest of its minute.
func TestScheduleOfNewAddresses(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	var s Schedule
	one := addresses("192.0.2.10")
	s.Due(now, Wanted("shop.example", one, nil, nil), func() float64 { return 1 })
	now = now.Add(2 * time.Second)
	if probe, _ := s.Due(now, Wanted("shop.example", one, nil, nil), nil); probe != nil {
		t.Errorf("probed again after 2 s: %v", probe)
	}
	if probe, _ := s.Due(now, Wanted("shop.example", nil, one, nil), func() float64 { return 1 }); len(probe) != 1 {
		t.Errorf("as a new one: %v", probe)
	}
}

// TestScheduleBounds: whatever is wanted and whenever it is asked, at most five a
// second are probed (and five at once), each in turn, and none too early.
func TestScheduleBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var wanted []Want
		for i := range rapid.IntRange(1, 4).Draw(t, "names") {
			var before, after []netip.Addr
			for j := range rapid.IntRange(0, 40).Draw(t, "addresses") {
				a := netip.AddrFrom4([4]byte{198, 18, byte(i), byte(j)})
				if rapid.Bool().Draw(t, "new") {
					after = append(after, a)
				} else {
					before = append(before, a)
				}
			}
			wanted = append(wanted, Wanted(fmt.Sprintf("name-%d.example", i), before, after, nil)...)
		}
		var s Schedule
		start := time.Unix(1_000_000, 0)
		last := map[place]time.Time{}
		var probed []time.Time
		now := start
		for now.Sub(start) < 90*time.Second {
			probe, next := s.Due(now, wanted, func() float64 { return rapid.Float64Range(0, 1).Draw(t, "chance") })
			for _, w := range probe {
				if before, again := last[w.place()]; again && now.Sub(before) < w.least() {
					t.Fatalf("%v again after %v", w, now.Sub(before))
				}
				last[w.place()] = now
				probed = append(probed, now)
			}
			if i := len(probed) - 2*perSecond - 1; i >= 0 && now.Sub(probed[i]) < time.Second { // a burst, and a second's
				t.Fatalf("more than %d within a second", 2*perSecond)
			}
			if len(probed) > perSecond+int(now.Sub(start).Seconds()*perSecond) {
				t.Fatalf("%d within %v", len(probed), now.Sub(start))
			}
			if len(wanted) == 0 {
				return
			}
			if !next.After(now) {
				t.Fatalf("ask again at %v, which is not after %v", next, now)
			}
			now = next.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "late")) * time.Millisecond)
		}
		if len(last) != len(wanted) {
			t.Fatalf("%d of %d addresses were probed in %v", len(last), len(wanted), now.Sub(start))
		}
	})
}

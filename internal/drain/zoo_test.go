package drain

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foreshock/foreshock/internal/reply"
	"github.com/foreshock/foreshock/internal/scope"
)

var (
	start   = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) // the switch, in most tests
	compare = cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}), cmpopts.EquateEmpty()}
)

func at(seconds float64) time.Time {
	return start.Add(time.Duration(math.Round(seconds*1000)) * time.Millisecond)
}

func addrs(ss ...string) (out []netip.Addr) {
	for _, s := range ss {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// theSwitch is old 192.0.2.10 and .11 to 198.51.100.7, and .99 stays.
func theSwitch() scope.Switch {
	sw, err := scope.NewSwitch("shop.example", addrs("192.0.2.10", "192.0.2.11", "192.0.2.99"), addrs("198.51.100.7", "192.0.2.99"))
	if err != nil {
		panic(err)
	}
	return sw
}

var byLetter = map[string][]netip.Addr{
	"old": addrs("192.0.2.10"), "old2": addrs("192.0.2.11"), "new": addrs("198.51.100.7"), "kept": addrs("192.0.2.99"), "other": addrs("203.0.113.9"),
	"both": addrs("192.0.2.10", "198.51.100.7"), "dual": addrs("192.0.2.10", "2001:db8::10"),
}

// answer reads "SECONDS SERVER WHAT [TTL] [key=value…]": who answered what when.
// Servers are "sysN", "confN", "nsN"; what is a set of addresses or a failure.
func answer(line string) reply.Answer {
	words := strings.Fields(line)
	when, err := strconv.ParseFloat(words[0], 64)
	if err != nil {
		panic(err)
	}
	s := serverOf(words[1])
	a := reply.Answer{Name: "shop.example", Server: s.Address, Label: s.Label, Role: s.Role, At: at(when)}
	if set, ok := byLetter[words[2]]; ok {
		a.Addresses = set
	} else {
		for f := reply.TimedOut; f <= reply.OtherRCode; f++ {
			if f.String() == words[2] {
				a.Failure, a.Words = f, "it "+words[2]
			}
		}
		if a.Failure == 0 {
			panic(line)
		}
	}
	for _, word := range words[3:] {
		key, value, _ := strings.Cut(word, "=")
		n, err := strconv.Atoi(cmp0(value, key))
		if err != nil {
			panic(line)
		}
		switch d := time.Duration(n) * time.Second; key {
		case "onward":
			a.Onward = n == 1
		case "ede":
			a.Extended, a.Stale = []reply.Extended{{Code: uint16(n)}}, n == 3
		case "serial":
			a.Serial = uint32(n)
		case "lacks":
			a.Lacks4, a.Lacks6 = n == 4, n == 6
		case "longest":
			a.Longest, a.CNAMEs = d, []string{"alias.example"}
		case "alias":
			a.CNAMEs = []string{fmt.Sprintf("alias%d.example", n)}
		default:
			a.TTL, a.AddressTTL, a.Longest = d, d, d
		}
	}
	return a
}

func cmp0(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func serverOf(name string) reply.Server {
	roles := map[string]reply.Role{"sys": reply.System, "conf": reply.Configured, "ns": reply.Authoritative}
	kind := strings.TrimRight(name, "0123456789")
	role, ok := roles[kind]
	if !ok {
		panic(name)
	}
	n, _ := strconv.Atoi(name[len(kind):])
	return reply.Server{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(role), byte(n)}), 53), Label: name, Role: role}
}

// TestZooClasses plays answers around a switch at 0 s, and asks for the classes
// of servers at a time: "CLASS why", the beginning of it.
func TestZooClasses(t *testing.T) {
	const before = "-20 ns1 old 10|-10 ns1 old 10|"
	tests := []struct {
		name   string
		play   string // answers, parted by |
		ttl    time.Duration
		now    float64
		notYet bool // the switch is armed only
		want   map[string]string
	}{
		{
			name: "armed", play: before + "-5 sys1 old 3", notYet: true, now: 0,
			want: map[string]string{"ns1": "old_in_ttl old, before the switch", "sys1": "old_in_ttl old, before the switch"},
		},
		{
			name: "honest, cached a second before the flip", play: before + "1 ns1 new 10|9 sys1 old 1|11 sys2 old 1|14 sys1 new 8", now: 14, ttl: 0,
			want: map[string]string{
				"ns1": "new new addresses alone, seen first 1 s after the switch", "sys1": "new new addresses alone, seen first 14 s after the switch",
				"sys2": "old_in_ttl old, as it may until 11 s after the switch; 0 s of its TTL are left",
			},
		},
		{
			name: "not asked, and failing", play: before + "1 ns1 new 10|2 sys1 new 10|5 sys1 timed_out|2 sys2 timed_out|6 sys2 timed_out|2 conf1 no_such_name|2 conf2 new 10|4 conf2 servfail|6 conf2 servfail", now: 7,
			want: map[string]string{
				"sys1": "new ", "sys2": "error it timed_out", "sys3": "unasked not asked yet", "conf1": "error it no_such_name", "conf2": "error it servfail",
			},
		},
		{
			name: "one that failed long after", play: before + "1 ns1 new 10|2 sys1 new 10|90 sys1 timed_out", now: 91,
			want: map[string]string{"sys1": "error it timed_out"},
		},
		{
			name: "extender, at once", play: before + "1 ns1 new 10|3 sys1 old 880", now: 3,
			want: map[string]string{"sys1": "old_beyond old, and it will be beyond the TTL: it keeps it for 880 s more, and the answers before the switch were good until 11 s after the switch; flush the name there"},
		},
		{
			name: "extender, later", play: before + "1 ns1 new 10|3 sys1 old 7|14 sys1 old 2", now: 14,
			want: map[string]string{"sys1": "old_beyond old beyond the TTL: the answers before the switch were good until 11 s after the switch, and this was answered 14 s after the switch"},
		},
		{
			name: "extender, some of the addresses", play: before + "1 ns1 new 10|14 sys1 both 2", now: 14,
			want: map[string]string{"sys1": "old_beyond"},
		},
		{
			name: "says that it is stale", play: before + "1 ns1 new 10|3 sys1 old 30 ede=3", now: 3,
			want: map[string]string{"sys1": "serving_stale old, and it says itself that this answer has expired"},
		},
		{
			name: "stale by its TTL", play: before + "1 ns1 new 10|14 sys1 old 30", now: 14,
			want: map[string]string{"sys1": "serving_stale old, with a TTL of 30 s that does not run down"},
		},
		{
			name: "stale by a TTL that stands", play: before + "1 ns1 new 10|14 sys1 old 0|19 sys1 old 0", now: 19,
			want: map[string]string{"sys1": "serving_stale old, with a TTL of 0 s that does not run down"},
		},
		{
			name: "stale new answers are new", play: before + "1 ns1 new 10|14 sys1 new 30 ede=3", now: 14,
			want: map[string]string{"sys1": "new"},
		},
		{
			name: "a secondary behind", play: "-10 ns1 old 10 serial=7|-10 ns2 old 10 serial=7|1 ns1 new 10 serial=9|1 ns2 old 10 serial=7|40 ns1 new 10 serial=9|40 ns2 old 10 serial=7|42 sys1 old 9", now: 45,
			want: map[string]string{
				"ns2":  "old_in_ttl old: a secondary that is behind, serial 7 of 9",
				"sys1": "old_in_ttl old, as it may: ns2, a server of the zone, still gives the old addresses out",
			},
		},
		{
			name: "an extender beside a secondary behind", play: "-10 ns1 old 10|-10 ns2 old 10|1 ns1 new 10|40 ns2 old 10|42 sys1 old 880", now: 45,
			want: map[string]string{"ns2": "old_in_ttl old, while another server of the zone answers", "sys1": "old_beyond"},
		},
		{
			name: "a secondary that was behind", play: "-10 ns1 old 10|-10 ns2 old 10|1 ns1 new 10|40 ns2 old 10|45 ns2 new 10|54 sys1 old 2|58 sys2 old 2", now: 60,
			want: map[string]string{"sys1": "old_in_ttl", "sys2": "old_beyond"},
		},
		{
			name: "a server of the zone that is lost may have given it", play: "-10 ns1 old 10|-10 ns2 old 10|1 ns1 new 10|1 ns2 timed_out|20 sys1 old 5|100 ns2 timed_out|105 sys2 old 5", now: 106,
			want: map[string]string{"sys1": "old_in_ttl", "sys2": "old_in_ttl"},
		},
		{
			name: "a server of the zone that is gone", play: "-10 ns1 old 10|-10 ns2 old 10|1 ns1 new 10|1 ns2 timed_out|100 ns2 timed_out|125 ns2 timed_out|130 sys1 old 5", now: 131,
			want: map[string]string{"sys1": "old_beyond"},
		},
		{
			name: "a TTL that was lowered before", play: "-600 ns1 old 3600|-500 ns1 old 10|-10 ns1 old 10|1 ns1 new 10|60 sys1 old 2990", now: 60,
			want: map[string]string{"sys1": "old_in_ttl old, as it may until 3100 s after the switch; 2990 s"},
		},
		{
			name: "a TTL that was lowered before we looked, and we were told", play: before + "1 ns1 new 10|60 sys1 old 2990", now: 60, ttl: time.Hour,
			want: map[string]string{"sys1": "old_in_ttl"},
		},
		{
			name: "an alias' own TTL counts where the alias changed", play: "-10 ns1 old 10 longest=300|1 ns1 new 10 alias=2|200 sys1 old 5", now: 200,
			want: map[string]string{"sys1": "old_in_ttl"},
		},
		{
			name: "and does not where it did not", play: "-10 ns1 old 10 longest=300|1 ns1 new 10 longest=300|200 sys1 old 5", now: 200,
			want: map[string]string{"sys1": "old_beyond"},
		},
		{
			name: "nor where another server shows that it did not", play: "-10 ns1 old 10 longest=300|-10 ns2 old 10 longest=300|1 ns1 new 10 longest=300|3 ns2 old 10 longest=300|4 sys1 old 100|5 ns2 timed_out", now: 5,
			want: map[string]string{"sys1": "old_beyond"},
		},
		{
			name: "what a cache says for the zone is what is left of a TTL", play: "-300 ns1 old 295 onward=1|-290 ns1 old 285 onward=1|-5 ns1 old 1 onward=1|5 ns1 new 299 onward=1|250 sys1 old 40", now: 250,
			want: map[string]string{"sys1": "old_in_ttl old, as it may until 310 s after the switch; 40 s of its TTL are left"},
		},
		{
			name: "and holds for such a TTL alone", play: "-900 ns1 old 300 onward=1|-500 ns1 old 20 onward=1|-5 ns1 old 1 onward=1|5 ns1 new 20 onward=1|60 sys1 old 40", now: 60,
			want: map[string]string{"sys1": "old_beyond"},
		},
		{
			name: "by turns", play: before + "1 ns1 new 10|3 sys1 new 10|6 sys1 old 4|9 sys1 new 4|20 sys2 new 10|25 sys2 old 500|30 sys2 new 8", now: 31,
			want: map[string]string{"sys1": "mixed answers with old and new addresses by turns: several caches", "sys2": "old_beyond answers with old and new addresses by turns: several caches answer at this address; old beyond"},
		},
		{
			name: "by turns, as one of the zone's servers is", play: before + "1 ns1 new 10|2 ns2 old 10|3 sys1 new 10|6 sys1 old 4|9 sys1 new 4|10 ns2 old 10", now: 11,
			want: map[string]string{"sys1": "mixed answers with old and new addresses by turns: ns2, a server of the zone, still gives the old ones out"},
		},
		{
			name: "by turns, long ago", play: before + "1 ns1 new 10|3 sys1 new 10|6 sys1 old 4|9 sys1 new 4|90 sys1 new 4", now: 90,
			want: map[string]string{"sys1": "new"},
		},
		{
			name: "mixed", play: before + "1 ns1 new 10|2 sys1 both 8|2 sys2 other 8|2 conf1 kept 9", now: 3,
			want: map[string]string{
				"sys1": "mixed old and new addresses in one answer", "sys2": "mixed 203.0.113.9 on neither side of the switch: another answer is given to this network (split horizon",
				"conf1": "mixed only addresses that the name had before and after",
			},
		},
		{
			name: "the zone was not changed", play: before + "60 ns1 old 10|60 sys1 old 900", now: 61,
			want: map[string]string{"ns1": "old_in_ttl old: no server of the zone answers with the new addresses alone yet; has the zone been changed?", "sys1": "old_in_ttl old: nobody answers with the new"},
		},
		{
			name: "the zone cannot be asked and nobody has the new addresses", play: "-10 ns1 old 10|5 ns1 timed_out|200 ns1 timed_out|210 sys1 old 900", now: 210,
			want: map[string]string{"ns1": "error it timed_out", "sys1": "old_in_ttl old: nobody answers with the new"},
		},
		{
			name: "nothing is known of the TTL", play: "2 sys1 old 6|4 sys2 old 9|16 sys1 old 6|30 sys2 new 10", now: 30,
			want: map[string]string{"sys1": "old_in_ttl old; the TTL before the switch is not known", "sys2": "new"},
		},
		{
			name: "of the TTL only what caches say", play: "2 sys1 old 6|4 sys2 old 9|22 sys1 old 6|30 sys2 new 10", now: 30,
			want: map[string]string{"sys1": "old_beyond"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var z Zoo
			var servers []reply.Server
			for _, name := range []string{"ns1", "ns2", "sys1", "sys2", "sys3", "conf1", "conf2"} {
				servers = append(servers, serverOf(name))
			}
			z.Expect(servers)
			sw := theSwitch()
			sw.TTL = tt.ttl
			z.Follow(sw)
			begun := tt.notYet
			for line := range strings.SplitSeq(tt.play, "|") {
				a := answer(line)
				if !begun && a.At.After(start) {
					sw.Since, begun = start, true
					z.Follow(sw)
				}
				z.Take(a)
			}
			got := map[string]string{}
			for _, r := range z.Resolvers(at(tt.now)) {
				if want, ok := tt.want[r.Label]; ok {
					got[r.Label] = string(r.Class) + " " + r.Why
					if strings.HasPrefix(got[r.Label], want) {
						got[r.Label] = want
					}
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("classes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestZooHalf: what a server says of one family is nothing of the other, whose
// question failed.
func TestZooHalf(t *testing.T) {
	sw, err := scope.NewSwitch("shop.example", addrs("192.0.2.10", "2001:db8::10"), addrs("198.51.100.7"))
	if err != nil {
		t.Fatal(err)
	}
	sw.Since = start
	tests := []struct {
		name, play, want string
		until            float64
	}{
		{"known", "-10 ns1 dual 10|-10 sys1 dual 10|1 ns1 new 10|12 sys1 new 10", "ns1 new, sys1 new", 11},
		{"new, and nothing of the old IPv6 address", "-10 ns1 dual 10|-10 sys1 dual 10|1 ns1 new 10|12 sys1 new 10 lacks=6|50 sys1 new 10 lacks=6", "ns1 new, sys1 error", 11},
		{"one such answer leaves the one before standing", "-10 ns1 dual 10|1 ns1 new 10|12 sys1 new 10|40 sys1 new 10 lacks=6", "ns1 new, sys1 new", 11},
		{"of the zone it ends nothing", "-10 ns1 dual 10|1 ns1 new 10 lacks=6|30 ns1 new 10 lacks=6", "ns1 error, sys1 unasked", 70},
		{"an old address is one", "-10 ns1 dual 10|1 ns1 new 10|30 sys1 old 10 lacks=6", "ns1 new, sys1 old_beyond", 11},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var z Zoo
			z.Expect([]reply.Server{serverOf("ns1"), serverOf("sys1")})
			z.Follow(sw)
			for line := range strings.SplitSeq(tt.play, "|") {
				z.Take(answer(line))
			}
			var got []string
			for _, r := range z.Resolvers(at(60)) {
				got = append(got, r.Label+" "+string(r.Class))
			}
			slices.Sort(got)
			until, _ := z.Until(at(60))
			if diff := cmp.Diff(tt.want, strings.Join(got, ", ")); diff != "" || !until.Equal(at(tt.until)) {
				t.Errorf("until %v (-want +got):\n%s", until.Sub(start), diff)
			}
		})
	}
}

// TestZooResolver compares one report whole.
func TestZooResolver(t *testing.T) {
	var z Zoo
	z.Expect([]reply.Server{serverOf("sys1"), serverOf("ns1")})
	sw := theSwitch()
	sw.Since = start
	for _, line := range []string{"-10 ns1 old 10", "1 ns1 new 10 serial=9", "3 sys1 old 7", "8 sys1 old 2", "12.5 sys1 new 8 ede=3 longest=20"} {
		z.Take(answer(line))
	}
	z.Follow(sw) // what was said before counts
	if !z.Old(answer("0 sys1 both")) || z.Old(answer("0 sys1 new")) {
		t.Error("old addresses are not told from new ones")
	}
	first, one := 12.5, 1.0
	want := []Resolver{
		{Label: "sys1", Server: "10.0.0.1:53", Role: "system", Class: ClassNew, Why: "new addresses alone, seen first 13 s after the switch", Addresses: addrs("198.51.100.7"), TTLSeconds: 6.5,
			CNAMEs: []string{"alias.example"}, Extended: []string{"3 stale answer"}, NewAfterSeconds: &first, AskedAgoSeconds: 1.5, MostTTLSeconds: 7},
		{Label: "ns1", Server: "10.0.3.1:53", Role: "authoritative", Class: ClassNew, Why: "new addresses alone, seen first 1 s after the switch", Addresses: addrs("198.51.100.7"), Serial: 9, NewAfterSeconds: &one, AskedAgoSeconds: 13},
	}
	if diff := cmp.Diff(want, z.Resolvers(at(14)), compare); diff != "" {
		t.Errorf("resolvers (-want +got):\n%s", diff)
	}
	if until, ok := z.Until(at(14)); !ok || !until.Equal(at(11)) {
		t.Errorf("until %v, %v", until, ok)
	}
	if ttl, ok := z.TTL(at(14)); !ok || ttl != 11*time.Second {
		t.Errorf("TTL %v, %v", ttl, ok)
	}
	if got := z.Addresses(); !slices.Equal(got, addrs("198.51.100.7")) {
		t.Errorf("addresses %v", got)
	}
}

// TestZooFollowAgain: a TTL that is learned later takes nothing away.
func TestZooFollowAgain(t *testing.T) {
	var z Zoo
	z.Expect([]reply.Server{serverOf("sys1")})
	sw := theSwitch()
	sw.Since = start
	z.Follow(sw)
	z.Take(answer("2 sys1 old 50"))
	for i := range 3 * maxRecent {
		z.Take(answer(fmt.Sprintf("%d sys1 new %d", 5+5*i, 1+i%9)))
	}
	before := z.Resolvers(at(300))
	sw.TTL = time.Minute
	z.Follow(sw)
	if diff := cmp.Diff(before, z.Resolvers(at(300)), compare); diff != "" || *before[0].NewAfterSeconds != 5 || before[0].MostTTLSeconds != 50 {
		t.Errorf("%+v (-before +after):\n%s", before[0], diff)
	}
}

func TestZooAnswered(t *testing.T) {
	var z Zoo
	z.Expect([]reply.Server{serverOf("sys1"), serverOf("sys2"), serverOf("sys3"), serverOf("sys4"), serverOf("conf1"), serverOf("ns1")})
	sw := theSwitch()
	sw.Since = start
	z.Follow(sw)
	for _, line := range []string{"-10 ns1 old 10", "1 ns1 new 10", "20 sys1 old 900", "21 sys2 new 10", "22 sys3 timed_out", "23 conf1 old 900"} {
		z.Take(answer(line))
	}
	if asked, stale, seen := z.Answered(at(25)); asked != 2 || stale != 1 || !seen.Equal(at(21)) {
		t.Errorf("%d asked, %d stale, at %v", asked, stale, seen)
	}
}

// TestZooForgets: servers come and go, and what a lost one of the zone said
// still counts.
func TestZooForgets(t *testing.T) {
	var z Zoo
	z.Follow(theSwitch())
	z.Expect([]reply.Server{serverOf("sys1"), serverOf("ns1")})
	z.Take(answer("-1 ns1 old 3600"))
	z.Take(answer("-1 sys1 old 3600"))
	z.Take(answer("-1 sys2 old 3600")) // nobody expects it
	z.Expect([]reply.Server{serverOf("sys2"), serverOf("ns2")})
	if until, ok := z.Until(at(0)); !ok || !until.Equal(at(3599)) {
		t.Errorf("until %v, %v", until, ok)
	}
	want := []Resolver{
		{Label: "sys2", Server: "10.0.0.2:53", Role: "system", Class: ClassUnasked, Why: "not asked yet"},
		{Label: "ns2", Server: "10.0.3.2:53", Role: "authoritative", Class: ClassUnasked, Why: "not asked yet"},
	}
	if diff := cmp.Diff(want, z.Resolvers(at(0)), compare); diff != "" {
		t.Errorf("resolvers (-want +got):\n%s", diff)
	}
	var many []reply.Server
	for i := range 200 {
		many = append(many, serverOf(fmt.Sprintf("sys%d", i)))
	}
	z.Expect(many)
	for i := range 100 {
		z.Take(answer(fmt.Sprintf("%d sys1 old %d", i, i%7)))
	}
	if got := len(z.Resolvers(at(0))); got != maxServers {
		t.Errorf("%d servers", got)
	}
	if got := len(z.servers[identity{serverOf("sys1").Address, reply.System}].recent); got != maxRecent {
		t.Errorf("%d answers remembered", got)
	}
}

func TestExtendedText(t *testing.T) {
	for want, e := range map[string]reply.Extended{
		"3 stale answer (x)": {Code: 3, Text: "x"}, "19 stale NXDOMAIN answer": {Code: 19}, "24 invalid data": {Code: 24}, "4242": {Code: 4242},
	} {
		if got := extendedText(e); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

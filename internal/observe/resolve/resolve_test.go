package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

var (
	addresses = cmpopts.EquateComparable(netip.Addr{})
	_         = Lookup(net.DefaultResolver.LookupNetIP)
)

func addrs(ss ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range ss {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestSplit(t *testing.T) {
	tests := []struct {
		in   string
		host string
		port uint16
		err  string // part of it
	}{
		{in: "shop.internal:8080", host: "shop.internal", port: 8080},
		{in: "shop.internal.:1", host: "shop.internal.", port: 1},
		{in: "shop.internal", err: `"shop.internal" is not a name with a port`},
		{in: ":80", err: `":80" is not a name with a port (no name); write it as shop.internal:8080`},
		{in: "shop:0", err: `"shop:0" has no port from 1 to 65535`},
		{in: "shop:65536", err: `"shop:65536" has no port from 1 to 65535`},
		{in: "shop:http", err: `"shop:http" has no port from 1 to 65535`},
		{in: "", err: `"" is not a name with a port`},
	}
	for _, tt := range tests {
		host, port, err := Split(tt.in)
		if host != tt.host || port != tt.port || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("Split(%q) = %q, %d, %v; want %q, %d, %q", tt.in, host, port, err, tt.host, tt.port, tt.err)
		}
	}
}

func TestResolve(t *testing.T) {
	boom := errors.New("boom")
	tests := []struct {
		name   string
		answer []netip.Addr
		err    error
		want   []netip.Addr
		is     error  // what the error wraps
		says   string // the error
	}{
		{name: "sorted, once, folded", answer: addrs("192.0.2.2", "::ffff:192.0.2.1", "192.0.2.1", "2001:db8::1", "fe80::1%eth0"),
			want: addrs("192.0.2.1", "192.0.2.2", "2001:db8::1", "fe80::1")},
		{name: "no place to connect to", answer: append(addrs("0.0.0.0", "::", "224.0.0.1", "192.0.2.1"), netip.Addr{}), want: addrs("192.0.2.1")},
		{name: "nothing", is: ErrNoAddress, says: "look up shop: the answer has no address; correct the name, or bring its record back"},
		{name: "only zero", answer: addrs("0.0.0.0"), is: ErrNoAddress, says: "look up shop: the answer has no address; correct the name, or bring its record back"},
		{name: "not found", err: &net.DNSError{Err: "no such host", Name: "shop", IsNotFound: true},
			says: "look up shop: lookup shop: no such host; correct the name, or bring its record back"},
		{name: "timeout", err: &net.DNSError{Err: "i/o timeout", Name: "shop", IsTimeout: true},
			says: "look up shop: lookup shop: i/o timeout; the resolvers of /etc/resolv.conf did not answer in time"},
		{name: "deadline", err: context.DeadlineExceeded, is: context.DeadlineExceeded,
			says: "look up shop: context deadline exceeded; the resolvers of /etc/resolv.conf did not answer in time"},
		{name: "else", err: boom, is: boom, says: "look up shop: boom; is a resolver of /etc/resolv.conf within reach?"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Resolve(t.Context(), func(_ context.Context, network, host string) ([]netip.Addr, error) {
				if network != "ip" || host != "shop" {
					t.Errorf("asked for %s %s", network, host)
				}
				return tt.answer, tt.err
			}, "shop")
			if diff := gocmp.Diff(tt.want, got, addresses); diff != "" {
				t.Errorf("Resolve (-want +got):\n%s", diff)
			}
			if tt.says == "" && err != nil || tt.says != "" && (err == nil || err.Error() != tt.says) {
				t.Errorf("error %v, want %q", err, tt.says)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v does not wrap %v", err, tt.is)
			}
		})
	}
}

// TestResolveReally goes through the standard library's own resolver, to one
// that cannot be reached.
func TestResolveReally(t *testing.T) {
	unreachable := errors.New("no network here")
	r := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, unreachable }}
	_, err := Resolve(t.Context(), r.LookupNetIP, "shop.invalid.")
	if e, ok := errors.AsType[*net.DNSError](err); !ok || !strings.HasPrefix(err.Error(), "look up shop.invalid.: ") {
		t.Errorf("error %v (%v)", err, e)
	}
}

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// TestNames looks a name up at some minutes.
func TestNames(t *testing.T) {
	const day = 24 * 60
	steps := []struct {
		what   string
		minute int
		answer []netip.Addr
		since  int // minute
		want   []netip.Addr
	}{
		{"fails before it ever answered", 0, nil, 0, nil},
		{"first answer", 1, addrs("192.0.2.1", "192.0.2.2"), 1, addrs("192.0.2.1", "192.0.2.2")},
		{"one moves", 3, addrs("192.0.2.1", "192.0.2.3"), 2, addrs("192.0.2.1", "192.0.2.3")},
		{"its past", 3, addrs("192.0.2.1", "192.0.2.3"), 1, addrs("192.0.2.1", "192.0.2.2", "192.0.2.3")},
		{"fails", 5, nil, 4, addrs("192.0.2.1", "192.0.2.3")},
		{"comes back as it was", 6, addrs("192.0.2.1", "192.0.2.2"), 4, addrs("192.0.2.1", "192.0.2.2")},
		{"all new", 7, addrs("198.51.100.7"), 7, addrs("198.51.100.7")},
		{"the latest past", 7, nil, 6, addrs("192.0.2.1", "192.0.2.2", "198.51.100.7")},
		{"a day later to the minute", 3 + day, nil, 0, addrs("192.0.2.1", "192.0.2.2", "192.0.2.3", "198.51.100.7")},
		{"more than a day later", 4 + day, nil, 0, addrs("192.0.2.1", "192.0.2.2", "198.51.100.7")},
		{"what it stands for is not forgotten", 4 + 2*day, nil, 0, addrs("198.51.100.7")},
	}
	var names Names
	at := func(minute int) time.Time { return start.Add(time.Duration(minute) * time.Minute) }
	for _, s := range steps {
		names.Step(at(s.minute), "shop", s.answer)
		got, _ := names.Addresses("shop", at(s.since))
		if diff := gocmp.Diff(s.want, got, addresses); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.what, diff)
		}
	}
	// Who is not asked for any more is forgotten, as autoscaled names are many.
	names.Step(at(6*day), "other", addrs("192.0.2.9"))
	if len(names.byName) != 1 || names.byName["other"] == nil {
		t.Errorf("remembered: %v", names.byName)
	}
}

// TestNamesBounds has a name that moves with every lookup, and one with more
// addresses than are taken.
func TestNamesBounds(t *testing.T) {
	var names Names
	for i := range 200 {
		names.Step(start.Add(time.Duration(i)*time.Minute), "shop", []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})})
	}
	if got, _ := names.Addresses("shop", start); len(got) != 1+maxBefore || got[0] != netip.AddrFrom4([4]byte{10, 0, 0, 199 - maxBefore}) {
		t.Errorf("%d addresses from %s on", len(got), got[0])
	}
	var many []netip.Addr
	for i := range 200 {
		many = append(many, netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}))
	}
	names.Step(start, "many", many)
	if got, left := names.Addresses("many", start); len(got) != MaxAddresses || left != 200-MaxAddresses || got[MaxAddresses-1] != many[MaxAddresses-1] {
		t.Errorf("left out %d: %s", left, got)
	}
}

// TestNamesAtOneInstant: of two look-ups at one instant, as of a name with two
// ports, the name stands for what the later one answered.
func TestNamesAtOneInstant(t *testing.T) {
	var names Names
	names.Step(start, "shop", addrs("192.0.2.1"))
	names.Step(start, "shop", addrs("192.0.2.2"))
	for since, want := range map[time.Duration][]netip.Addr{0: addrs("192.0.2.1", "192.0.2.2"), time.Minute: addrs("192.0.2.2")} {
		if got, _ := names.Addresses("shop", start.Add(since)); !slices.Equal(got, want) {
			t.Errorf("since %s: %s, want %s", since, got, want)
		}
	}
}

// TestNamesHold draws lookups and checks what Addresses promises, against a
// twin that keeps everything it ever saw. There are fewer addresses than either
// bound: TestNamesBounds is about these.
func TestNamesHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var names Names
		last := map[netip.Addr]time.Time{} // the twin: every address and when an answer last had it
		var now []netip.Addr
		when := start
		for range rapid.IntRange(1, 60).Draw(t, "lookups") {
			when = when.Add(time.Duration(rapid.IntRange(1, 10*60).Draw(t, "minutes")) * time.Minute)
			var answer []netip.Addr
			if rapid.IntRange(0, 4).Draw(t, "fails") > 0 {
				for _, b := range rapid.SliceOfN(rapid.ByteRange(1, maxBefore-4), 1, 90).Draw(t, "answer") {
					answer = append(answer, netip.AddrFrom4([4]byte{10, 0, 0, b}))
				}
				now = tidy(answer)
				for _, addr := range now {
					last[addr] = when
				}
			}
			names.Step(when, "shop", tidy(answer))
			since := when.Add(-time.Duration(rapid.IntRange(0, 30*60).Draw(t, "since")) * time.Minute)
			var want []netip.Addr
			for addr, seen := range last {
				if slices.Contains(now, addr) || !seen.Before(since) && when.Sub(seen) <= forget {
					want = append(want, addr)
				}
			}
			slices.SortFunc(want, netip.Addr.Compare)
			if got, _ := names.Addresses("shop", since); !slices.Equal(got, want) {
				t.Fatalf("%s, want %s", got, want)
			}
		}
	})
}

func FuzzSplit(f *testing.F) {
	f.Add("shop.internal:8080")
	f.Add("[::1]:80")
	f.Fuzz(func(t *testing.T, target string) {
		host, port, err := Split(target)
		if (err == nil) != (host != "" && port != 0) {
			t.Fatalf("Split(%q) = %q, %d, %v", target, host, port, err)
		}
		if err != nil {
			return
		}
		if again, samePort, err := Split(net.JoinHostPort(host, fmt.Sprint(port))); err != nil || again != host || samePort != port {
			t.Fatalf("Split(%q) = %q, %d; written again it is %q, %d, %v", target, host, port, again, samePort, err)
		}
	})
}

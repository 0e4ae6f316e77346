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

// clock writes a time as minutes from the start.
func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return fmt.Sprint(int(t.Sub(start).Minutes()))
}

// tell writes a history on one line: the address with its first and last minute.
func (h *History) tell() string {
	list := func(seen []Seen) string {
		var out []string
		for _, s := range seen {
			out = append(out, fmt.Sprintf("%s@%s-%s", s.Address, clock(s.First), clock(s.Last)))
		}
		return strings.Join(out, " ")
	}
	return fmt.Sprintf("now [%s] before [%s] asked %s answered %s failures %d err %v", list(h.Now), list(h.Before), clock(h.Asked), clock(h.Answered), h.Failures, h.Err)
}

func TestNames(t *testing.T) {
	down := errors.New("down")
	steps := []struct {
		what    string
		minute  int
		answer  []netip.Addr
		err     error
		added   []netip.Addr
		removed []netip.Addr
		want    string
	}{
		{what: "fails before it ever answered", minute: 0, err: down,
			want: "now [] before [] asked 0 answered - failures 1 err down"},
		{what: "first answer", minute: 1, answer: addrs("192.0.2.2", "192.0.2.1"), added: addrs("192.0.2.1", "192.0.2.2"),
			want: "now [192.0.2.1@1-1 192.0.2.2@1-1] before [] asked 1 answered 1 failures 0 err <nil>"},
		{what: "the same", minute: 2, answer: addrs("192.0.2.1", "::ffff:192.0.2.2"),
			want: "now [192.0.2.1@1-2 192.0.2.2@1-2] before [] asked 2 answered 2 failures 0 err <nil>"},
		{what: "one moves", minute: 3, answer: addrs("192.0.2.1", "192.0.2.3"), added: addrs("192.0.2.3"), removed: addrs("192.0.2.2"),
			want: "now [192.0.2.1@1-3 192.0.2.3@3-3] before [192.0.2.2@1-2] asked 3 answered 3 failures 0 err <nil>"},
		{what: "fails", minute: 4, err: down,
			want: "now [192.0.2.1@1-3 192.0.2.3@3-3] before [192.0.2.2@1-2] asked 4 answered 3 failures 1 err down"},
		{what: "has nothing", minute: 5, answer: addrs("0.0.0.0"),
			want: "now [192.0.2.1@1-3 192.0.2.3@3-3] before [192.0.2.2@1-2] asked 5 answered 3 failures 2 err the answer has no address"},
		{what: "comes back as it was", minute: 6, answer: addrs("192.0.2.1", "192.0.2.2"), added: addrs("192.0.2.2"), removed: addrs("192.0.2.3"),
			want: "now [192.0.2.1@1-6 192.0.2.2@1-6] before [192.0.2.3@3-3] asked 6 answered 6 failures 0 err <nil>"},
		{what: "all new", minute: 7, answer: addrs("198.51.100.7"), added: addrs("198.51.100.7"), removed: addrs("192.0.2.1", "192.0.2.2"),
			want: "now [198.51.100.7@7-7] before [192.0.2.1@1-6 192.0.2.2@1-6 192.0.2.3@3-3] asked 7 answered 7 failures 0 err <nil>"},
		{what: "a day later to the minute", minute: 3 + 24*60, err: down,
			want: "now [198.51.100.7@7-7] before [192.0.2.1@1-6 192.0.2.2@1-6 192.0.2.3@3-3] asked 1443 answered 7 failures 1 err down"},
		{what: "more than a day later", minute: 4 + 24*60, err: down,
			want: "now [198.51.100.7@7-7] before [192.0.2.1@1-6 192.0.2.2@1-6] asked 1444 answered 7 failures 2 err down"},
	}
	var names Names
	for _, s := range steps {
		got := names.Step(start.Add(time.Duration(s.minute)*time.Minute), "shop", s.answer, s.err)
		if diff := gocmp.Diff(Change{s.added, s.removed}, got, addresses, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: change (-want +got):\n%s", s.what, diff)
		}
		h, ok := names.History("shop")
		if diff := gocmp.Diff(s.want, h.tell()); diff != "" || !ok {
			t.Errorf("%s: history (-want +got):\n%s", s.what, diff)
		}
	}

	h, _ := names.History("shop")
	if diff := gocmp.Diff(addrs("192.0.2.1", "192.0.2.2", "198.51.100.7"), h.Addresses(start.Add(6*time.Minute)), addresses); diff != "" {
		t.Errorf("addresses since minute 6 (-want +got):\n%s", diff)
	}
	if diff := gocmp.Diff(addrs("198.51.100.7"), h.Addresses(start.Add(7*time.Minute)), addresses); diff != "" {
		t.Errorf("addresses since minute 7 (-want +got):\n%s", diff)
	}
	h.Now[0] = Seen{} // a copy
	if h, _ := names.History("shop"); h.Now[0] == (Seen{}) {
		t.Error("a history that was handed out is the memory itself")
	}
	// Who is not asked for any more is forgotten, as autoscaled names are many.
	names.Step(start.Add(3*Forget), "other", addrs("192.0.2.9"), nil)
	if _, ok := names.History("shop"); ok {
		t.Error("shop is still known")
	}
	if _, ok := names.History("other"); !ok {
		t.Error("other is forgotten")
	}
}

// TestNamesBounds has a name that moves with every lookup, and one with more
// addresses than are taken.
func TestNamesBounds(t *testing.T) {
	var names Names
	for i := range 200 {
		names.Step(start.Add(time.Duration(i)*time.Minute), "shop", []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})}, nil)
	}
	h, _ := names.History("shop")
	if len(h.Now) != 1 || len(h.Before) != MaxBefore || h.Before[0].Address != netip.AddrFrom4([4]byte{10, 0, 0, 198}) {
		t.Errorf("%s", h.tell())
	}
	var many []netip.Addr
	for i := range 200 {
		many = append(many, netip.AddrFrom4([4]byte{10, 0, 1, byte(199 - i)}))
	}
	change := names.Step(start, "many", many, nil)
	h, _ = names.History("many")
	if len(h.Now) != MaxAddresses || h.LeftOut != 200-MaxAddresses || len(change.Added) != MaxAddresses || h.Now[63].Address != netip.AddrFrom4([4]byte{10, 0, 1, 63}) {
		t.Errorf("left out %d: %s", h.LeftOut, h.tell())
	}
}

// TestNamesHold draws lookups and checks what History promises, against a twin
// that keeps everything it ever saw. There are fewer addresses than either
// bound: TestNamesBounds is about these.
func TestNamesHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var names Names
		last := map[netip.Addr]time.Time{} // the twin: every address and when an answer last had it
		var now []netip.Addr
		when := start
		for range rapid.IntRange(1, 60).Draw(t, "lookups") {
			when = when.Add(time.Duration(rapid.IntRange(0, 10*60).Draw(t, "minutes")) * time.Minute)
			var err error
			var answer []netip.Addr
			if rapid.IntRange(0, 4).Draw(t, "fails") == 0 {
				err = errors.New("down")
			} else {
				for _, b := range rapid.SliceOfN(rapid.ByteRange(1, MaxBefore-4), 1, 90).Draw(t, "answer") {
					answer = append(answer, netip.AddrFrom4([4]byte{10, 0, 0, b}))
				}
			}
			change := names.Step(when, "shop", answer, err)
			if err == nil {
				before := now
				now = tidy(answer)
				for _, addr := range now {
					last[addr] = when
				}
				minus := func(a, b []netip.Addr) (out []netip.Addr) {
					for _, addr := range a {
						if !slices.Contains(b, addr) {
							out = append(out, addr)
						}
					}
					return out
				}
				if diff := gocmp.Diff(Change{minus(now, before), minus(before, now)}, change, addresses, cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("change (-want +got):\n%s", diff)
				}
			} else if len(change.Added)+len(change.Removed) > 0 {
				t.Fatalf("a failed lookup changed %+v", change)
			}
			h, _ := names.History("shop")
			wanted := 0
			for addr, seen := range last {
				if !slices.Contains(now, addr) && when.Sub(seen) <= Forget {
					wanted++
				}
				if slices.Contains(now, addr) && !slices.ContainsFunc(h.Now, func(s Seen) bool { return s.Address == addr && s.Last.Equal(seen) }) {
					t.Fatalf("%s is missing in %s", addr, h.tell())
				}
			}
			if len(h.Now) != len(now) || len(h.Before) != wanted {
				t.Fatalf("%d now and %d before, want %d and %d", len(h.Now), len(h.Before), len(now), wanted)
			}
			for i, s := range h.Before {
				if !s.Last.Equal(last[s.Address]) || s.First.After(s.Last) || i > 0 && h.Before[i-1].Last.Before(s.Last) {
					t.Fatalf("%s", h.tell())
				}
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

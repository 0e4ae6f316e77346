package nameserver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"

	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/reply"
)

func TestMain(m *testing.M) { os.Exit(labtest.Alone{M: m}.Run()) }

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func client() *Client { return &Client{Dialer: &net.Dialer{}, Now: func() time.Time { return start }} }

// played is a DNS server on loopback that answers as its test says.
type played struct {
	reply.Server
	mu  sync.Mutex
	log []string // "udp A shop.example. rd", in order
}

// handler makes what the server sends for a question; nil: nothing. Several
// messages go out in order.
type handler func(network string, q *dns.Msg) [][]byte

// play starts a server by UDP and TCP on one port.
func play(t testing.TB, answer handler) *played {
	t.Helper()
	p := &played{}
	handle := func(network string) dns.Handler {
		return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			kind := dns.TypeToString[q.Question[0].Qtype]
			line := network + " " + kind + " " + q.Question[0].Name
			if q.RecursionDesired {
				line += " rd"
			}
			if q.IsEdns0() == nil {
				line += " old"
			}
			p.mu.Lock()
			p.log = append(p.log, line)
			p.mu.Unlock()
			for _, raw := range answer(network, q) {
				_, _ = w.Write(raw)
			}
		})
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", udp.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	var ended sync.WaitGroup
	for _, s := range []*dns.Server{{PacketConn: udp, Handler: handle("udp")}, {Listener: tcp, Handler: handle("tcp")}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		ended.Go(func() { _ = s.ActivateAndServe() })
		<-started
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	p.Server = reply.Server{Address: netip.MustParseAddrPort(udp.LocalAddr().String()), Label: "test", Role: reply.Configured}
	return p
}

// zone answers out of records as a recursive server, an authoritative one where
// aa is set: with those of the name and kind, or a CNAME of it.
func zone(aa bool, records ...string) handler {
	var all []dns.RR
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		all = append(all, rr)
	}
	return func(_ string, q *dns.Msg) [][]byte {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable, m.Authoritative = !aa, aa
		there := false
		for _, rr := range all {
			if canonical(rr.Header().Name) != canonical(q.Question[0].Name) {
				continue
			}
			there = true
			if rr.Header().Rrtype == q.Question[0].Qtype || rr.Header().Rrtype == dns.TypeCNAME {
				m.Answer = append(m.Answer, rr)
			}
		}
		if !there {
			m.Rcode = dns.RcodeNameError
		}
		return [][]byte{pack(m)}
	}
}

func pack(m *dns.Msg) []byte {
	raw, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return raw
}

// reacts answers by changing what zone would say.
func reacts(base handler, change func(network string, q, m *dns.Msg)) handler {
	return func(network string, q *dns.Msg) [][]byte {
		m := new(dns.Msg)
		if err := m.Unpack(base(network, q)[0]); err != nil {
			panic(err)
		}
		change(network, q, m)
		return [][]byte{pack(m)}
	}
}

func withExtended(m *dns.Msg, code uint16, text string) {
	m.SetEdns0(udpSize, false)
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: code, ExtraText: text})
}

func rr(text string) dns.RR {
	rr, err := dns.NewRR(text)
	if err != nil {
		panic(err)
	}
	return rr
}

func addrs(ss ...string) (out []netip.Addr) {
	for _, s := range ss {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

var (
	shop    = zone(false, "shop.example. 300 IN A 192.0.2.10", "shop.example. 60 IN AAAA 2001:db8::10")
	compare = cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}), cmpopts.EquateEmpty()}
)

// TestAsk plays what servers say. Name, server, label, role and times are
// checked apart; SERVER stands for the server in words.
func TestAsk(t *testing.T) {
	tests := []struct {
		name   string
		server handler
		role   reply.Role
		zone   string
		ask    string // shop.example without one
		want   reply.Answer
		log    []string // nil: not looked at
	}{
		{
			name: "both families", server: shop,
			want: reply.Answer{Addresses: addrs("192.0.2.10", "2001:db8::10"), TTL: time.Minute, AddressTTL: 5 * time.Minute, Longest: 5 * time.Minute},
			log:  []string{"udp A shop.example. rd", "udp AAAA shop.example. rd"},
		},
		{
			name: "capitals and last dot", server: shop, ask: "Shop.EXAMPLE.",
			want: reply.Answer{Addresses: addrs("192.0.2.10", "2001:db8::10"), TTL: time.Minute, AddressTTL: 5 * time.Minute, Longest: 5 * time.Minute},
		},
		{
			name: "IPv6 only", server: zone(false, "shop.example. 60 IN AAAA 2001:db8::10"),
			want: reply.Answer{Addresses: addrs("2001:db8::10"), TTL: time.Minute, AddressTTL: time.Minute, Longest: time.Minute},
		},
		{
			name:   "aliases within and beyond the answer",
			server: zone(false, "shop.example. 300 IN CNAME eu.lb.example.", "eu.lb.example. 60 IN CNAME one.lb.example.", "one.lb.example. 20 IN A 192.0.2.10"),
			want: reply.Answer{Addresses: addrs("192.0.2.10"), TTL: 20 * time.Second, AddressTTL: 20 * time.Second, Longest: 5 * time.Minute,
				CNAMEs: []string{"eu.lb.example", "one.lb.example"}},
			log: []string{"udp A shop.example. rd", "udp A eu.lb.example. rd", "udp A one.lb.example. rd", "udp AAAA shop.example. rd", "udp AAAA eu.lb.example. rd", "udp AAAA one.lb.example. rd"},
		},
		{
			name: "unrelated records", server: reacts(shop, func(_ string, _, m *dns.Msg) {
				m.Answer = append(m.Answer, rr("www.example. 60 IN A 203.0.113.9"), rr("bank.example. 60 IN A 203.0.113.10"))
			}),
			want: reply.Answer{Addresses: addrs("192.0.2.10", "2001:db8::10"), TTL: time.Minute, AddressTTL: 5 * time.Minute, Longest: 5 * time.Minute,
				Words: "left out of the answer: 4 records that do not belong to the name"},
		},
		{
			name: "a family that fails", server: reacts(shop, func(_ string, q, m *dns.Msg) {
				if q.Question[0].Qtype == dns.TypeAAAA {
					m.Rcode, m.Answer = dns.RcodeServerFailure, nil
				}
			}),
			want: reply.Answer{Addresses: addrs("192.0.2.10"), TTL: 5 * time.Minute, AddressTTL: 5 * time.Minute, Longest: 5 * time.Minute, Lacks6: true,
				Words: "left out of the answer: the IPv6 addresses, as that question failed (test (SERVER) could not find an answer for shop.example (SERVFAIL); are the zone's servers within its reach?)"},
		},
		{
			name: "a filter's address", server: zone(false, "shop.example. 60 IN A 0.0.0.0"),
			want: reply.Answer{Failure: reply.NoAddress, Words: "test (SERVER) answers for shop.example with an address that nothing can connect to, as filters do; ask another resolver"},
		},
		{
			name: "loop", server: zone(false, "shop.example. 60 IN CNAME a.example.", "a.example. 60 IN CNAME shop.example."),
			want: reply.Answer{Failure: reply.Loop, CNAMEs: []string{"a.example", "shop.example"}, Words: "the aliases of shop.example go round in a circle, or are more than 16: a.example, shop.example; correct its CNAME records"},
		},
		{
			name: "no such name", server: zone(false),
			want: reply.Answer{Failure: reply.NoSuchName, Words: "test (SERVER) says that shop.example does not exist; correct the name, or bring its record back"},
		},
		{
			name: "alias of nothing", server: zone(false, "shop.example. 60 IN CNAME gone.example."),
			want: reply.Answer{Failure: reply.NoSuchName, CNAMEs: []string{"gone.example"}, Words: "test (SERVER) says that gone.example, of which shop.example is an alias, does not exist; correct the name, or bring its record back"},
		},
		{
			name: "no address", server: zone(false, "shop.example. 60 IN TXT here"),
			want: reply.Answer{Failure: reply.NoAddress, Words: "test (SERVER) says that shop.example has no address; correct the name, or bring its record back"},
		},
		{
			name: "refused", server: reacts(shop, func(_ string, _, m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeRefused, nil }),
			want: reply.Answer{Failure: reply.Refused, Words: "test (SERVER) refuses to answer for shop.example; is this host allowed to ask it?"},
		},
		{
			name: "servfail", server: reacts(shop, func(_ string, _, m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeServerFailure, nil }),
			want: reply.Answer{Failure: reply.ServFail, Words: "test (SERVER) could not find an answer for shop.example (SERVFAIL); are the zone's servers within its reach?"},
		},
		{
			name: "bogus, as it says", server: reacts(shop, func(_ string, _, m *dns.Msg) {
				m.Rcode, m.Answer = dns.RcodeServerFailure, nil
				withExtended(m, 7, "expired\x1b[31m\x00")
			}),
			want: reply.Answer{Failure: reply.Bogus, Extended: []reply.Extended{{Code: 7, Text: "expired[31m"}}, Words: "test (SERVER) does not believe the answer for shop.example: its DNSSEC signatures do not hold; users of checking resolvers do not reach the name, correct the zone's signatures or its DS record"},
		},
		{
			name: "bogus, as it answers unchecked", server: reacts(shop, func(_ string, q, m *dns.Msg) {
				if !q.CheckingDisabled {
					m.Rcode, m.Answer = dns.RcodeServerFailure, nil
				}
			}),
			want: reply.Answer{Failure: reply.Bogus, Words: "test (SERVER) does not believe the answer for shop.example: its DNSSEC signatures do not hold; users of checking resolvers do not reach the name, correct the zone's signatures or its DS record"},
		},
		{
			name: "stale", server: reacts(shop, func(_ string, _, m *dns.Msg) { withExtended(m, 3, "") }),
			want: reply.Answer{Addresses: addrs("192.0.2.10", "2001:db8::10"), TTL: time.Minute, AddressTTL: 5 * time.Minute, Longest: 5 * time.Minute, Stale: true, Extended: []reply.Extended{{Code: 3}}},
		},
		{
			name: "other code", server: reacts(shop, func(_ string, _, m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeNotZone, nil }),
			want: reply.Answer{Failure: reply.OtherRCode, Words: "test (SERVER) answers with NOTZONE for shop.example; its log says why"},
		},
		{
			name: "too old for EDNS", server: reacts(shop, func(_ string, q, m *dns.Msg) {
				if q.IsEdns0() != nil {
					m.Rcode, m.Answer = dns.RcodeFormatError, nil
				}
			}),
			want: reply.Answer{Addresses: addrs("192.0.2.10", "2001:db8::10"), TTL: time.Minute, AddressTTL: 5 * time.Minute, Longest: 5 * time.Minute},
			log:  []string{"udp A shop.example. rd", "udp A shop.example. rd old", "udp AAAA shop.example. rd", "udp AAAA shop.example. rd old"},
		},
		{
			name: "cut off", server: reacts(shop, func(network string, _, m *dns.Msg) {
				if network == "udp" {
					m.Truncated, m.Answer = true, nil
				}
			}),
			want: reply.Answer{Addresses: addrs("192.0.2.10", "2001:db8::10"), TTL: time.Minute, AddressTTL: 5 * time.Minute, Longest: 5 * time.Minute},
			log:  []string{"udp A shop.example. rd", "tcp A shop.example. rd", "udp AAAA shop.example. rd", "tcp AAAA shop.example. rd"},
		},
		{
			name: "cut off in the middle of a record", server: func(network string, q *dns.Msg) [][]byte {
				raw := shop(network, q)[0]
				if network == "udp" {
					raw[2] |= 2 // TC
					raw = raw[:len(raw)-3]
				}
				return [][]byte{raw}
			},
			want: reply.Answer{Addresses: addrs("192.0.2.10", "2001:db8::10"), TTL: time.Minute, AddressTTL: 5 * time.Minute, Longest: 5 * time.Minute},
		},
		{
			name: "spoofed messages before the answer", server: func(network string, q *dns.Msg) [][]byte {
				number, other, itself := new(dns.Msg).SetReply(q), new(dns.Msg).SetReply(q), q.Copy()
				number.Id++
				number.Answer = []dns.RR{rr("shop.example. 60 IN A 203.0.113.66")}
				other.Question[0].Name = "www.example."
				other.Answer = []dns.RR{rr("shop.example. 60 IN A 203.0.113.67")}
				return [][]byte{pack(number), pack(other), pack(itself), []byte("?"), shop(network, q)[0]}
			},
			want: reply.Answer{Addresses: addrs("192.0.2.10", "2001:db8::10"), TTL: time.Minute, AddressTTL: 5 * time.Minute, Longest: 5 * time.Minute},
		},
		{
			name: "garbled", server: func(network string, q *dns.Msg) [][]byte {
				raw := shop(network, q)[0]
				return [][]byte{raw[:len(raw)-3]}
			},
			want: reply.Answer{Failure: reply.Malformed, Words: "SERVER: a message that cannot be read: "},
		},
		{
			name: "authoritative", role: reply.Authoritative, zone: "example",
			server: zone(true, "example. 60 IN SOA ns1.example. root.example. 9 60 60 60 60", "shop.example. 300 IN A 192.0.2.10", "shop.example. 300 IN A 192.0.2.11"),
			want:   reply.Answer{Addresses: addrs("192.0.2.10", "192.0.2.11"), TTL: 5 * time.Minute, AddressTTL: 5 * time.Minute, Longest: 5 * time.Minute, Serial: 9},
			log:    []string{"udp A shop.example.", "udp AAAA shop.example.", "udp SOA example."},
		},
		{
			name: "named and not loaded", role: reply.Authoritative, zone: "example",
			server: shop,
			want:   reply.Answer{Failure: reply.Refused, Words: "test (SERVER) is named as a server of example and does not answer as one; correct the zone's NS records, or load the zone there"},
		},
		{
			name: "alias out of the zone, nobody to ask on", role: reply.Authoritative, zone: "example",
			server: zone(true, "example. 60 IN SOA ns1.example. root.example. 9 60 60 60 60", "shop.example. 300 IN CNAME eu.cdn.test."),
			want:   reply.Answer{Failure: reply.NoAddress, CNAMEs: []string{"eu.cdn.test"}, Serial: 9, Words: "shop.example is an alias of eu.cdn.test, for which test (SERVER) does not answer; name resolvers that can be asked on"},
		},
		{
			name: "does not ask on", server: reacts(zone(false, "shop.example. 60 IN TXT x"), func(_ string, _, m *dns.Msg) {
				m.RecursionAvailable = false
				m.Ns = []dns.RR{rr("example. 60 IN NS ns1.example.")}
			}),
			want: reply.Answer{Failure: reply.Refused, Words: "test (SERVER) does not ask on for this host; it serves zones of its own, name a resolver instead"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := play(t, tt.server)
			server.Role, server.Zone = tt.role, tt.zone
			if tt.role == reply.System {
				server.Role = reply.Configured
			}
			name := tt.ask
			if name == "" {
				name = "shop.example"
			}
			got := client().Ask(t.Context(), server.Server, name)
			want := tt.want
			want.Name, want.Server, want.Label, want.Role, want.At = "shop.example", server.Address, "test", server.Role, start
			got.Words = strings.ReplaceAll(got.Words, server.Address.String(), "SERVER")
			if strings.HasPrefix(want.Words, "SERVER: a message") && strings.HasPrefix(got.Words, want.Words) {
				got.Words = want.Words // the library's own words end it
			}
			if diff := cmp.Diff(want, got, compare); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			server.mu.Lock()
			defer server.mu.Unlock()
			if diff := cmp.Diff(tt.log, server.log); tt.log != nil && diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAskOn: an alias that leaves the zone is followed by the resolvers.
func TestAskOn(t *testing.T) {
	ns := play(t, zone(true, "shop.example. 300 IN CNAME eu.cdn.test."))
	ns.Role = reply.Authoritative
	fails := play(t, reacts(shop, func(_ string, _, m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeRefused, nil }))
	resolver := play(t, zone(false, "eu.cdn.test. 20 IN A 192.0.2.10"))
	c := client()
	c.Onward = []reply.Server{fails.Server, resolver.Server}
	want := reply.Answer{Name: "shop.example", Server: ns.Address, Label: "test", Role: reply.Authoritative, At: start, CNAMEs: []string{"eu.cdn.test"},
		Addresses: addrs("192.0.2.10"), TTL: 20 * time.Second, AddressTTL: 20 * time.Second, Longest: 5 * time.Minute, Onward: true}
	if diff := cmp.Diff(want, c.Ask(t.Context(), ns.Server, "shop.example"), compare); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

// TestAskLongChain: 16 aliases are followed, 17 are a loop to us.
func TestAskLongChain(t *testing.T) {
	for n, want := range map[int]reply.Failure{16: reply.Answered, 17: reply.Loop} {
		var records []string
		name := "shop.example."
		for i := range n {
			next := fmt.Sprintf("a%d.example.", i)
			records = append(records, name+" 60 IN CNAME "+next)
			name = next
		}
		server := play(t, zone(false, append(records, name+" 60 IN A 192.0.2.10")...))
		if got := client().Ask(t.Context(), server.Server, "shop.example"); got.Failure != want || len(got.CNAMEs) != 16 {
			t.Errorf("%d aliases: %v with %d of them, want %v", n, got.Failure, len(got.CNAMEs), want)
		}
	}
}

// TestAskManyAddresses: the greatest are left out, and said.
func TestAskManyAddresses(t *testing.T) {
	var records []string
	for i := range 100 {
		records = append(records, fmt.Sprintf("shop.example. 60 IN A 192.0.2.%d", 200-i))
	}
	server := play(t, zone(false, records...))
	got := client().Ask(t.Context(), server.Server, "shop.example")
	if len(got.Addresses) != 64 || got.Addresses[63] != netip.MustParseAddr("192.0.2.164") || got.Words != "left out of the answer: 36 addresses beyond the 64 that are taken" {
		t.Errorf("%d addresses up to %v, %q", len(got.Addresses), got.Addresses[len(got.Addresses)-1], got.Words)
	}
}

// TestAskNobody: nothing comes back, nobody is there, or strangers answer.
func TestAskNobody(t *testing.T) {
	closed := play(t, shop)
	udp, err := net.ListenPacket("udp", "127.0.0.1:0") // a port that was free a moment ago
	if err != nil {
		t.Fatal(err)
	}
	closed.Address = netip.MustParseAddrPort(udp.LocalAddr().String())
	_ = udp.Close()
	tests := []struct {
		name   string
		server *played
		want   reply.Failure
		words  string
	}{
		{"hangs", play(t, func(string, *dns.Msg) [][]byte { return nil }), reply.TimedOut, "SERVER does not answer within 100ms, neither by UDP nor by TCP; is it running, and may this host ask it?"},
		{"nobody listens", closed, reply.Unreachable, "SERVER cannot be reached (read udp"},
		{"another's number", play(t, reacts(shop, func(_ string, _, m *dns.Msg) { m.Id++ })), reply.Malformed, "SERVER was asked and sent 2 messages that answer something else"},
		{"another question", play(t, reacts(shop, func(_ string, _, m *dns.Msg) { m.Question[0].Name = "www.example." })), reply.Malformed, "SERVER was asked and sent 2 messages that answer something else"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := client()
			c.wait = 100 * time.Millisecond
			got := c.Ask(context.Background(), tt.server.Server, "shop.example")
			words := strings.ReplaceAll(got.Words, tt.server.Address.String(), "SERVER")
			if got.Failure != tt.want || !strings.HasPrefix(words, tt.words) || got.Addresses != nil {
				t.Errorf("%v %q %v, want %v %q", got.Failure, words, got.Addresses, tt.want, tt.words)
			}
			tt.server.mu.Lock()
			defer tt.server.mu.Unlock()
			if tt.want == reply.TimedOut && len(tt.server.log) != 3 {
				t.Errorf("asked %v: want twice by UDP, once by TCP", tt.server.log)
			}
		})
	}
}

// TestAskUDPLost: the first datagram is lost.
func TestAskUDPLost(t *testing.T) {
	var mu sync.Mutex
	lost := map[uint16]bool{}
	server := play(t, func(network string, q *dns.Msg) [][]byte {
		mu.Lock()
		defer mu.Unlock()
		if kind := q.Question[0].Qtype; kind == dns.TypeA && !lost[kind] {
			lost[kind] = true
			return nil
		}
		return shop(network, q)
	})
	c := client()
	c.wait = 300 * time.Millisecond
	if got := c.Ask(t.Context(), server.Server, "shop.example"); got.Failure != reply.Answered || len(got.Addresses) != 2 {
		t.Errorf("%+v", got)
	}
}

func TestAskBadName(t *testing.T) {
	server := play(t, shop)
	if got := client().Ask(t.Context(), server.Server, "a..b"); got.Failure != reply.Malformed || !strings.Contains(got.Words, "correct the name") {
		t.Errorf("%v %q", got.Failure, got.Words)
	}
}

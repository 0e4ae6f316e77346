package nameserver

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/foreshock/foreshock/internal/reply"
)

func TestAuthoritative(t *testing.T) {
	world := zone(false, "example. 60 IN NS ns2.example.", "example. 60 IN NS NS1.example.", "ns1.example. 60 IN A 192.0.2.1", "ns1.example. 60 IN AAAA 2001:db8::1", "metadata.test. 60 IN NS ns.metadata.test.", "ns.metadata.test. 60 IN A 169.254.169.254",
		"ns2.example. 60 IN A 192.0.2.2", "shop.example. 60 IN CNAME eu.cdn.test.", "eu.cdn.test. 60 IN A 192.0.2.10", "lost.test. 60 IN NS ns.gone.test.", "b.example. 60 IN TXT x")
	refuses := play(t, reacts(world, func(_ string, _, m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeRefused, nil }))
	knows := play(t, world)
	ns := func(label, address string) reply.Server {
		return reply.Server{Address: netip.AddrPortFrom(netip.MustParseAddr(address), 53), Label: label, Role: reply.Authoritative, Zone: "example"}
	}
	all := []reply.Server{ns("ns1.example", "192.0.2.1"), ns("ns1.example", "2001:db8::1"), ns("ns2.example", "192.0.2.2")}
	tests := []struct {
		name, ask string
		resolvers []reply.Server
		want      []reply.Server
		err       string // how it begins
		is        error
	}{
		{"below the zone", "a.b.example", []reply.Server{knows.Server}, all, "", nil},
		{"the zone itself", "Example.", []reply.Server{knows.Server}, all, "", nil},
		{"an alias is in its own zone", "shop.example", []reply.Server{knows.Server}, all, "", nil},
		{"the second resolver knows", "shop.example", []reply.Server{refuses.Server, knows.Server}, all, "", nil},
		{"refused", "shop.example", []reply.Server{refuses.Server}, nil, "the servers of shop.example: no zone found: test (", ErrNoZone},
		{"of this link", "metadata.test", []reply.Server{knows.Server}, nil, "169.254.169.254 of the zone's server ns.metadata.test is not asked", nil},
		{"not there", "nope.example", []reply.Server{knows.Server}, nil, "the servers of nope.example: no zone found: nope.example does not exist, nor anything above it but example", ErrNoZone},
		{"no resolver", "shop.example", nil, nil, "the servers of shop.example: no zone found, as there is no resolver to ask", ErrNoZone},
		{"no zone", "shop.nowhere", []reply.Server{knows.Server}, nil, "the servers of shop.nowhere: no zone found: neither the name nor any above it", ErrNoZone},
		{"servers without addresses", "lost.test", []reply.Server{knows.Server}, nil, "ns.gone.test is a server of the zone and has no address: test (", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := client().Authoritative(t.Context(), tt.ask, tt.resolvers)
			if diff := cmp.Diff(tt.want, got, compare); diff != "" {
				t.Errorf("servers (-want +got):\n%s", diff)
			}
			if (err != nil) != (tt.err != "") || err != nil && !strings.HasPrefix(err.Error(), tt.err) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}

// TestAuthoritativeSilent: a resolver that never answers costs its time once, and
// not for each server of the zone.
func TestAuthoritativeSilent(t *testing.T) {
	knows := play(t, zone(false, "example. 60 IN NS ns1.example.", "example. 60 IN NS ns2.example.", "shop.example. 60 IN TXT x", "ns1.example. 60 IN A 192.0.2.1", "ns2.example. 60 IN A 192.0.2.2"))
	hangs := play(t, func(string, *dns.Msg) [][]byte { return nil })
	c := client()
	c.wait = 100 * time.Millisecond
	resolvers := []reply.Server{hangs.Server, knows.Server}
	got, err := c.Authoritative(t.Context(), "shop.example", resolvers)
	if len(got) != 2 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	hangs.mu.Lock()
	defer hangs.mu.Unlock()
	if len(hangs.log) != 3 || resolvers[0] != hangs.Server {
		t.Errorf("who never answers was asked %v; the caller's list begins with %v", hangs.log, resolvers[0])
	}
}

func TestPublic(t *testing.T) {
	for _, s := range Public() {
		if s.Role != reply.Public || s.Label == "" || !s.Address.Addr().IsGlobalUnicast() || s.Address.Port() != 53 {
			t.Errorf("%+v", s)
		}
	}
}

package nameserver_test

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foreshock/foreshock/internal/observe/nameserver"
	"github.com/foreshock/foreshock/internal/reply"
)

// TestLiveAuthoritative: BIND, as somebody's resolver, leads to the servers of a
// zone, from a name below it, an alias out of it, and one that is not there.
func TestLiveAuthoritative(t *testing.T) {
	find(t, "named")
	dir := t.TempDir()
	// It has the zones itself, as a resolver of a company's has: 53 may be taken.
	write(t, filepath.Join(dir, "shop.test"), "$TTL 300\n@ SOA ns1 root 7 3600 600 86400 1\n@ NS ns1\n@ NS ns2.host.test.\nns1 A 192.0.2.53\nns1 AAAA 2001:db8::53\n"+
		"deep.er A 192.0.2.10\nalias CNAME eu.host.test.\n")
	write(t, filepath.Join(dir, "host.test"), "$TTL 300\n@ SOA ns root 7 3600 600 86400 1\n@ NS ns\nns A 192.0.2.54\nns2 A 192.0.2.55\neu A 198.51.100.7\n")
	write(t, filepath.Join(dir, "test"), "$TTL 300\n@ SOA ns root 7 3600 600 86400 1\n@ NS ns\nns A 192.0.2.56\n")
	conf := fmt.Sprintf(bind, dir, 30, "recursion yes;")
	for _, zone := range []string{"shop.test", "host.test", "test"} {
		conf += fmt.Sprintf("zone %q { type primary; file %q; };\n", zone, zone)
	}
	started(t, dir, "resolver", "named", "-g", "-n", "1", "-c", write(t, filepath.Join(dir, "30.conf"), conf))
	resolver := reply.Server{Address: liveAt(30), Label: "BIND"}
	client := nameserver.Client{Dialer: &net.Dialer{}, Now: time.Now}
	liveUntil(t, func() string { return client.Ask(t.Context(), resolver, "deep.er.shop.test").Words })

	server := func(label, address, zone string) reply.Server {
		return reply.Server{Address: netip.AddrPortFrom(netip.MustParseAddr(address), 53), Label: label, Role: reply.Authoritative, Zone: zone}
	}
	shop := []reply.Server{server("ns1.shop.test", "192.0.2.53", "shop.test"), server("ns1.shop.test", "2001:db8::53", "shop.test"), server("ns2.host.test", "192.0.2.55", "shop.test")}
	for name, want := range map[string][]reply.Server{
		"shop.test": shop, "deep.er.shop.test": shop, "alias.shop.test": shop, "not.there.shop.test": shop,
		"eu.host.test": {server("ns.host.test", "192.0.2.54", "host.test")},
		"nowhere.test": nil,
	} {
		got, err := client.Authoritative(t.Context(), name, []reply.Server{resolver})
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.EquateEmpty()); diff != "" || (err != nil) != (want == nil) {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	if a := client.Ask(t.Context(), resolver, "alias.shop.test"); !slices.Equal(a.CNAMEs, []string{"eu.host.test"}) || len(a.Addresses) != 1 {
		t.Errorf("the alias: %+v", a)
	}
}

package lab

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// digSaid is what dig 9.18 writes with +noall +comments +answer.
const digSaid = `;; Got answer:
;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 41213
;; flags: qr rd ra; QUERY: 1, ANSWER: 2, AUTHORITY: 0, ADDITIONAL: 1

;; OPT PSEUDOSECTION:
; EDNS: version: 0, flags:; udp: 1232
; EDE: 3 (Stale Answer)
;; ANSWER SECTION:
www.shop.example.	30	IN	CNAME	shop.example.
shop.example.		29	IN	A	10.77.4.1
shop.example.		29	IN	A	10.77.5.1

`

func TestParseDig(t *testing.T) {
	for _, test := range []struct {
		name, out string
		want      Digged
	}{
		{"answers", digSaid, Digged{Addresses: addrs("10.77.4.1", "10.77.5.1"), TTL: 29 * time.Second}},
		{"no such name", ";; ->>HEADER<<- opcode: QUERY, status: NXDOMAIN, id: 1\n", Digged{Failure: "NXDOMAIN"}},
		{"no address", ";; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 1\n", Digged{Failure: "no answer"}},
		{"nobody there", ";; communications error to 10.77.2.1#53: timed out\n;; no servers could be reached\n", Digged{Failure: "no answer"}},
		{"no address at all", "shop.example. 29 IN A not-an-address\n", Digged{Failure: "no answer"}},
		{"nothing", "", Digged{Failure: "no answer"}},
	} {
		if diff := cmp.Diff(test.want, parseDig(test.out), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func FuzzParseDig(f *testing.F) {
	f.Add(digSaid)
	f.Add(";; status: SERVFAIL, id\n")
	f.Add("a 1 IN A 1.2.3.4")
	f.Fuzz(func(t *testing.T, out string) {
		if d := parseDig(out); len(d.Addresses) > 0 != (d.Failure == "") {
			t.Errorf("%d addresses and the failure %q", len(d.Addresses), d.Failure)
		}
	})
}

func TestNameServersRefuse(t *testing.T) {
	good := Zone{Name: "shop.example", Addresses: addrs("10.77.4.1", "2001:db8::1"), TTL: time.Second, Servers: addrs("10.77.1.1", "10.77.1.2")}
	listen := netip.MustParseAddr("10.77.2.1")
	for _, test := range []struct {
		name   string
		change func(*Zone)
		want   string
	}{
		{"no name", func(z *Zone) { z.Name = "" }, "want a name"},
		{"last dot", func(z *Zone) { z.Name = "shop.example." }, "without a last dot"},
		{"no address", func(z *Zone) { z.Addresses = nil }, "has no addresses"},
		{"TTL below a second", func(z *Zone) { z.TTL = time.Millisecond }, "not within 1s to 24h"},
		{"no servers", func(z *Zone) { z.Servers = nil }, "no servers"},
	} {
		z := good
		test.change(&z)
		for _, s := range []Software{BINDPrimary{listen, z}, BINDSecondary{listen, z}, BINDResolver{Listen: listen, Zone: z}, Unbound{Listen: listen, Zone: z}, Dnsmasq{Listen: listen, Zone: z}} {
			if _, err := s.plan(place{}); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s, %T: %v, want %q", test.name, s, err, test.want)
			}
		}
	}
	want := "$ORIGIN shop.example.\n$TTL 1\n@ SOA ns1 hostmaster 1 60 10 3600 1\n@ NS ns1\nns1 A 10.77.1.1\n@ NS ns2\nns2 A 10.77.1.2\n@ A 10.77.4.1\n@ AAAA 2001:db8::1\nwww CNAME cdn\ncdn CNAME @\nloop CNAME round\nround CNAME loop\n"
	if diff := cmp.Diff(want, good.text()); diff != "" {
		t.Errorf("zone file (-want +got):\n%s", diff)
	}
}

func TestVisitorsRefuse(t *testing.T) {
	good := Visitors{Name: "web", Habit: Honest, Site: "shop.example", Port: 80, Resolver: netip.MustParseAddr("10.77.2.1"), Clients: 1}
	if v, err := good.withDefaults(); err != nil || v.Hold != 2*time.Second || v.Every != 500*time.Millisecond || v.Patience != 5*time.Second {
		t.Errorf("defaults: %+v, %v", v, err)
	}
	for name, change := range map[string]func(*Visitors){
		"long name":             func(v *Visitors) { v.Name = "abcdefghijkl" },
		"no habit":              func(v *Visitors) { v.Habit = "" },
		"nobody":                func(v *Visitors) { v.Clients = 0 },
		"nobody to ask":         func(v *Visitors) { v.Resolver = netip.Addr{} },
		"fixed with a resolver": func(v *Visitors) { v.Habit, v.Address = Fixed, v.Resolver },
		"fixed without":         func(v *Visitors) { v.Habit, v.Resolver = Fixed, netip.Addr{} },
		"negative time":         func(v *Visitors) { v.Hold = -1 },
		"no site":               func(v *Visitors) { v.Site = "" },
	} {
		v := good
		change(&v)
		if _, err := v.withDefaults(); err == nil {
			t.Errorf("visitors with %s are accepted", name)
		}
	}
}

func FuzzReadVisits(f *testing.F) {
	f.Add([]byte(`{"client":1,"remote":"10.77.4.1:80","dialed":"2026-11-22T04:00:00Z","error":""}` + "\n"))
	f.Add([]byte("{}\n{"))
	f.Fuzz(func(t *testing.T, log []byte) {
		if visits, err := ReadVisits(strings.NewReader(string(log))); err != nil && visits != nil {
			t.Errorf("%d visits and the error %v", len(visits), err)
		}
	})
}

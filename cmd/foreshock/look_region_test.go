package main

import (
	"bytes"
	"encoding/json"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/tcp"
)

// TestLookByRegionEverywhere: what another namespace began is told by region
// there, under its name, and what it is asked for is in none.
func TestLookByRegionEverywhere(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "shop"}, {Name: "other"}}})
	for _, host := range []string{"shop", "other"} {
		err := w.Host(host).Do(func() error {
			ln, err := net.Listen("tcp", "0.0.0.0:5432")
			if err == nil {
				t.Cleanup(func() { _ = ln.Close() })
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	other := w.Host("other").Addr()
	for _, to := range []netip.Addr{other, other, w.Host("shop").Addr()} { // two of one region, one of none
		conn, err := w.Host("shop").Dial(t.Context(), "tcp", netip.AddrPortFrom(to, 5432).String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	cfg := config.Default()
	cfg.Regions = []config.Region{
		{Name: "near", CIDRs: []netip.Prefix{netip.PrefixFrom(other, other.BitLen())}},
		{Name: "far", CIDRs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
	}
	shop, busy := filepath.Base(w.Host("shop").Path()), filepath.Base(w.Host("other").Path())
	want := lookJSON{Rows: []lookRowJSON{
		{Key: map[string]any{"namespace": shop, "region": "near", "prefixes": 1.0, "source": "configured"}, Sockets: 2, Destinations: new(1)},
		{Key: map[string]any{"namespace": shop, "rest": true, "outgoing": true}, Sockets: 1},
	}, Namespaces: []lookNamespaceJSON{
		{Namespace: busy, Read: true, Outgoing: new(0)},
		{Namespace: shop, Read: true, Outgoing: new(3), UnclassifiedRatio: new(1.0 / 3)},
	}}
	for _, source := range []observe.Source{observe.Auto, observe.Procfs} {
		t.Run(string(source), func(t *testing.T) {
			o := lookOptions{by: "region", source: source, states: tcp.AllStates, config: cfg}
			doc, table := lookedAt(t, o)
			var got lookJSON
			for _, r := range doc.Rows {
				if r.Key["namespace"] == shop || r.Key["namespace"] == busy {
					got.Rows = append(got.Rows, lookRowJSON{Key: r.Key, Sockets: r.Sockets, Destinations: r.Destinations})
				}
			}
			for _, n := range doc.Namespaces {
				if n.Namespace == shop || n.Namespace == busy {
					got.Namespaces = append(got.Namespaces, n)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("of the two hosts (-want +got):\n%s", diff)
			}
			for _, line := range []string{"\nnear@" + shop + " ", "\n(rest)@" + shop + " ", "\n  namespace " + shop + ": 1 of 3 (33.3 %)\n"} {
				if !strings.Contains(table, line) {
					t.Errorf("no %q in\n%s", line, table)
				}
			}
			o.config.Observe.Namespaces = config.HostNamespace
			doc, table = lookedAt(t, o)
			if len(doc.Namespaces) != 1 || slices.ContainsFunc(doc.Rows, func(r lookRowJSON) bool { return r.Key["namespace"] == shop }) {
				t.Error("other namespaces are read, though the configuration says not to")
			}
			if left := "other network namespaces than this one: observe: namespaces: host"; !strings.Contains(table, left) {
				t.Errorf("no %q in\n%s", left, table)
			}
		})
	}
}

// lookedAt is one look, as a program and as a person get it.
func lookedAt(t *testing.T, o lookOptions) (doc lookJSON, table string) {
	t.Helper()
	c, err := look(o)
	if err != nil {
		t.Fatal(err)
	}
	var text, raw bytes.Buffer
	if err := writeTable(&text, c); err != nil {
		t.Fatal(err)
	}
	if err := writeJSON(&raw, c); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	return doc, text.String()
}

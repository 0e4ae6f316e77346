package agent

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/drain"
	"github.com/foreshock/foreshock/internal/lab/labtest"
)

// TestASNDatabase: whose clients are on an old address is said by the database of
// the configuration, by one that took its place, and no more once a reload takes
// the key away; one that cannot be read leaves the one before.
func TestASNDatabase(t *testing.T) {
	l, err := net.Listen("tcp4", "127.9.4.1:0")
	labtest.Need(t, err)
	t.Cleanup(func() { _ = l.Close() })
	at := l.Addr().(*net.TCPAddr).AddrPort()
	connected(t, at)
	dir := t.TempDir()
	db := filepath.Join(dir, "asn.mmdb")
	place := func(name string) {
		t.Helper()
		data, err := os.ReadFile(filepath.Join("..", "observe", "asn", "testdata", name))
		labtest.Need(t, err)
		write(t, db+".new", string(data))
		labtest.Need(t, os.Rename(db+".new", db))
	}
	place("one.mmdb")
	write(t, filepath.Join(dir, "token"), drainToken)
	file := filepath.Join(dir, "foreshock.yaml")
	conf := fmt.Sprintf("token: {file: %s}\nobserve: {namespaces: host, cpu_budget: 20%%}\n", filepath.Join(dir, "token"))
	write(t, file, conf+"asn_database: asn.mmdb\n")
	address, log := running(t, Options{Load: from(file), StateDir: filepath.Join(dir, "state")})
	request := api.DrainRequest{Name: "n.example", Old: []netip.Addr{at.Addr()}, New: []netip.Addr{netip.MustParseAddr("127.9.4.2")}, Ports: []uint16{at.Port()}, Resolvers: []string{"127.9.4.53"}, By: "anna"}
	if got, status := send[api.Problem](t, "POST", address, "/api/v1/drains", request); status != http.StatusOK {
		t.Fatalf("start: %d %+v", status, got)
	}
	of := func(asn uint32, network string) {
		t.Helper()
		reportOf(t, address, "n.example", fmt.Sprintf("a client of %d %s", asn, network), func(r *drain.Report) bool {
			return slices.ContainsFunc(r.Laggards, func(l drain.Laggard) bool {
				return l.Vantage == "served" && l.ASN == asn && l.Network == network
			})
		})
	}
	of(64500, "One")
	place("two.mmdb")
	of(64501, "Two")
	write(t, db, "no database")
	reportOf(t, address, "n.example", "what is wrong with the database", func(r *drain.Report) bool {
		return slices.ContainsFunc(r.Limits, func(s string) bool { return strings.Contains(s, "asn.mmdb") })
	})
	of(64501, "Two")
	write(t, file, conf)
	labtest.Need(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	log.wait(t, "reloaded")
	of(0, "")
}

package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/drain"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/lab/labtest"
)

// zone is a DNS server at an address of loopback, port 53, that is both the
// zone's own and everybody's resolver: each name has one address, TTL 1 s.
type zone struct {
	at      string
	address atomic.Pointer[string] // of every name
}

func newZone(t *testing.T, at, address string) *zone {
	t.Helper()
	z := &zone{at: at}
	z.address.Store(&address)
	conn, err := net.ListenPacket("udp", at+":53")
	if errors.Is(err, syscall.EACCES) {
		t.Skip("port 53 may not be listened on: it takes CAP_NET_BIND_SERVICE")
	}
	labtest.Need(t, err)
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(z.answer)}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = server.Shutdown() })
	return z
}

func (z *zone) answer(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	m.Authoritative, m.RecursionAvailable = true, true
	name := strings.ToLower(q.Question[0].Name)
	header := dns.RR_Header{Name: q.Question[0].Name, Class: dns.ClassINET, Ttl: 1, Rrtype: q.Question[0].Qtype}
	switch at := *z.address.Load(); {
	case header.Rrtype == dns.TypeNS && name == "example.":
		m.Answer = []dns.RR{&dns.NS{Hdr: header, Ns: "ns1.example."}}
	case header.Rrtype == dns.TypeSOA && name == "example.":
		m.Answer = []dns.RR{&dns.SOA{Hdr: header, Ns: "ns1.example.", Mbox: "a.example.", Serial: 1}}
	case header.Rrtype == dns.TypeA && name == "ns1.example.":
		m.Answer = []dns.RR{&dns.A{Hdr: header, A: net.ParseIP(z.at)}}
	case header.Rrtype == dns.TypeA:
		m.Answer = []dns.RR{&dns.A{Hdr: header, A: net.ParseIP(at)}}
	default:
		m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "example.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 1}, Ns: "ns1.example.", Mbox: "a.example.", Serial: 1}}
	}
	_ = w.WriteMsg(m)
}

// send sends JSON with the token of the tests, and reads what comes.
func send[T any](t *testing.T, method, address, path string, in any) (out T, status int) {
	t.Helper()
	body, err := json.Marshal(in)
	labtest.Need(t, err)
	r, err := http.NewRequest(method, "http://"+address+path, bytes.NewReader(body))
	labtest.Need(t, err)
	r.Header.Set("Authorization", "Bearer "+drainToken)
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	labtest.Need(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	labtest.Need(t, err)
	if len(data) > 0 {
		if err := json.Unmarshal(data, &out); err != nil {
			t.Fatalf("%s %s: %s: %s", method, path, resp.Status, data)
		}
	}
	return out, resp.StatusCode
}

// connected is a connection of this process.
func connected(t *testing.T, to netip.AddrPort) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", to.String())
	labtest.Need(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

const drainToken = "0123456789abcdef0123456789abcdef"

// reportOf waits until the report of a switch is as it should be.
func reportOf(t *testing.T, address, name, what string, is func(r *drain.Report) bool) drain.Report {
	t.Helper()
	for give := time.Now().Add(40 * time.Second); ; {
		got, status := send[api.FollowedSwitch](t, "GET", address, "/api/v1/drains/"+name, nil)
		if status == http.StatusOK && is(&got.Report) {
			return got.Report
		}
		if time.Now().After(give) {
			data, _ := json.MarshalIndent(got, "", " ")
			t.Fatalf("not %s: %s", what, data)
		}
		time.Sleep(100 * time.Millisecond) // the agent's own pace
	}
}

// TestDrain is a switch by hand and one that is expected, over real connections
// and a real name server: who is on the old address and why, what the resolvers
// say, which address to use, what would be closed, and a restart.
func TestDrain(t *testing.T) {
	const old, fresh = "127.9.1.1", "127.9.1.2"
	z := newZone(t, "127.9.1.53", old)
	var at []netip.AddrPort
	for _, a := range []string{old, fresh} {
		l, err := net.Listen("tcp4", a+":0")
		labtest.Need(t, err)
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				t.Cleanup(func() { _ = conn.Close() })
			}
		}()
		at = append(at, l.Addr().(*net.TCPAddr).AddrPort())
	}
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	write(t, filepath.Join(dir, "token"), drainToken)
	file := filepath.Join(dir, "foreshock.yaml")
	write(t, file, fmt.Sprintf(`
token: {file: %s}
observe: {namespaces: host, cpu_budget: 20%%}
drain:
  - {name: armed.example, old: [%s], new: [%s], ports: [%d, %d], resolvers: [%s]}
`, filepath.Join(dir, "token"), old, fresh, at[0].Port(), at[1].Port(), z.at))
	options := Options{Load: from(file), StateDir: state}

	var onOld []net.Conn
	for range 4 {
		onOld = append(onOld, connected(t, at[0]))
	}
	connected(t, at[1])
	t.Run("follows", func(t *testing.T) {
		address, _ := running(t, options)
		if got := get[api.Route](t, address, "/api/v1/route/armed.example"); !slices.Equal(got.Addresses, []netip.Addr{at[0].Addr()}) || got.MaxAgeSeconds != 5 {
			t.Errorf("before the switch the route is %+v", got)
		}
		request := api.DrainRequest{Name: "shop.example", Old: []netip.Addr{at[0].Addr()}, New: []netip.Addr{at[1].Addr()}, Ports: []uint16{at[0].Port(), at[1].Port()}, TTLSeconds: new(1.0), Resolvers: []string{z.at}, By: "anna"}
		if _, status := send[api.FollowedSwitch](t, "POST", address, "/api/v1/drains", request); status != http.StatusOK {
			t.Fatalf("start: %d", status)
		}
		if _, status := send[api.Problem](t, "POST", address, "/api/v1/drains", request); status != http.StatusConflict {
			t.Errorf("started twice: %d", status)
		}
		r := reportOf(t, address, "shop.example", "four on the old address, and who", func(r *drain.Report) bool {
			return r.Now.Asked.Old.Established == 4 && r.Now.Asked.New.Established == 1 && len(r.Laggards) > 0 && len(r.Resolvers) == 2 && len(r.Probes) == 2 && len(r.Curve) > 0 &&
				r.Resolvers[0].Class == drain.ClassOldInTTL || r.Resolvers[0].Class == drain.ClassOldBeyond
		})
		who := r.Laggards[slices.IndexFunc(r.Laggards, func(l drain.Laggard) bool { return l.Vantage == "asked" })]
		if who.Connections != 4 || !slices.Contains(who.PIDs, os.Getpid()) {
			t.Errorf("asked by %+v", who)
		}
		if !slices.Contains(r.Held, at[0].Addr()) && len(r.Held) > 0 {
			t.Errorf("held: %v", r.Held)
		}
		reportOf(t, address, "shop.example", "who is blamed", func(r *drain.Report) bool {
			return slices.ContainsFunc(r.Laggards, func(l drain.Laggard) bool { return l.Vantage == "asked" && l.Cause != "" && l.Advice != "" })
		})
		fresh := fresh
		z.address.Store(&fresh)
		reportOf(t, address, "armed.example", "begun by itself", func(r *drain.Report) bool { return !r.SwitchedAt.IsZero() && r.Source == "configured" })
		reportOf(t, address, "shop.example", "new by all resolvers", func(r *drain.Report) bool {
			return !slices.ContainsFunc(r.Resolvers, func(x drain.Resolver) bool { return x.Class != drain.ClassNew })
		})
		if got := get[api.Route](t, address, "/api/v1/route/shop.example"); !slices.Equal(got.Addresses, []netip.Addr{at[1].Addr()}) || got.MaxAgeSeconds != 30 {
			t.Errorf("after the switch the route is %+v", got)
		}
		var dry api.CloseResult
		status := http.StatusConflict // until the last old answer is not good any more
		for give := time.Now().Add(20 * time.Second); status == http.StatusConflict && time.Now().Before(give); time.Sleep(100 * time.Millisecond) {
			dry, status = send[api.CloseResult](t, "POST", address, "/api/v1/drains/shop.example/close-stale", api.CloseRequest{By: "anna", Most: 3})
		}
		if status != http.StatusOK || len(dry.Sockets) != 4 || dry.Left != 1 || dry.Closed != 0 || dry.Sockets[0].Outcome != "would_close" || dry.Sockets[0].PID != os.Getpid() {
			t.Errorf("dry run: %d %+v", status, dry)
		}
		alive := func() (n int) {
			for _, c := range onOld {
				_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
				if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
					n++
				}
			}
			return n
		}
		if alive() != 4 {
			t.Errorf("a dry run left %d of 4 connections", alive())
		}
		done, status := send[api.CloseResult](t, "POST", address, "/api/v1/drains/shop.example/close-stale", api.CloseRequest{By: "anna", Really: true, Most: 3})
		switch {
		case status == http.StatusConflict: // without the privilege, or on a kernel that cannot
			if alive() != 4 {
				t.Errorf("refused, and %d of 4 connections are left", alive())
			}
		case status != http.StatusOK || done.Closed != 3 || done.Left != 1 || alive() != 1:
			t.Errorf("closing: %d %+v; %d are alive", status, done, alive())
		}
	})
	t.Run("goes on after a restart", func(t *testing.T) {
		address, _ := running(t, options)
		r := reportOf(t, address, "shop.example", "restored", func(r *drain.Report) bool { return len(r.Curve) > 0 && r.Now.SinceSeconds > 0 })
		if r.Source != "by hand" || r.SinceSeconds <= 0 || !slices.ContainsFunc(r.Limits, func(s string) bool { return strings.Contains(s, "started again") }) {
			t.Errorf("restored as %+v", r)
		}
		if _, status := send[any](t, "DELETE", address, "/api/v1/drains/shop.example?by=anna", nil); status != http.StatusNoContent {
			t.Errorf("stop: %d", status)
		}
		if r := reportOf(t, address, "shop.example", "stopped", func(r *drain.Report) bool { return r.Stopped }); len(r.Laggards) > 0 {
			t.Errorf("stopped, and still who is on it: %+v", r.Laggards)
		}
	})
	store, err := history.OpenReader(state)
	labtest.Need(t, err)
	defer store.Close()
	changes, err := store.Changes(100)
	labtest.Need(t, err)
	var what []string
	for _, c := range changes {
		what = append(what, c.Who+": "+c.What)
	}
	for _, want := range []string{"anna: drain start", "the agent: drain noticed", "anna: drain close-stale", "anna: drain stop"} {
		if !slices.Contains(what, want) {
			t.Errorf("the history has %q, and lacks %q", what, want)
		}
	}
}

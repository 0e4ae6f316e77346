package agent

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// peers listens and connects to itself so many times.
func peers(t *testing.T, connections int) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	for range connections {
		for _, open := range []func() (net.Conn, error){
			func() (net.Conn, error) { return net.Dial("tcp", ln.Addr().String()) },
			ln.Accept,
		} {
			c, err := open()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
		}
	}
	return netip.MustParseAddrPort(ln.Addr().String())
}

func backendsOf(p *Pipeline, group string) []scope.Backend {
	return slices.DeleteFunc(slices.Clone(p.finder.backends), func(b scope.Backend) bool { return b.Group != group })
}

// TestBackendsFound: whom a chosen process talks to becomes a backend, with
// its connections, and goes when the process is no longer chosen.
func TestBackendsFound(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	far := peers(t, 3)
	cfg := config.Default()
	cfg.Backends = []config.Backends{{Name: "pool", Process: config.Process{Exe: exe}}}
	p := pipeline(t, cfg, observe.Auto)
	at := start
	look := func(tier tcp.Tier) *measure.View {
		t.Helper()
		at = at.Add(peersEvery)
		_, view, err := p.Tick(at, tier)
		if err != nil {
			t.Fatal(err)
		}
		return view
	}
	look(tcp.Pulse)
	look(tcp.Full)
	found := backendsOf(p, "pool")
	at0 := slices.IndexFunc(found, func(b scope.Backend) bool { return b.Remote == far })
	if at0 < 0 {
		t.Fatalf("backends %v, want %s among them", found, far)
	}
	b := found[at0]
	if b.Name != "pool/"+far.String() || !b.Configured || b.Source != "observed" || !slices.Contains(b.PIDs, os.Getpid()) {
		t.Errorf("backend %+v", b)
	}
	s := look(tcp.Focus).Scope(b.ID())
	if s == nil {
		t.Fatalf("no signals of %s", b.ID())
	}
	if n, known := s.Get(measure.EstablishedCount).Get(); !known || n != 3 {
		t.Errorf("%s has %v connections (known: %v), want 3", b.Name, n, known)
	}
	p.Configure(at, config.Default(), nil)
	if left := backendsOf(p, "pool"); len(left) > 0 {
		t.Errorf("still there without its pool: %v", left)
	}
}

// TestStaticBackends need no process and no connection to be there.
func TestStaticBackends(t *testing.T) {
	far := netip.MustParseAddrPort("192.0.2.9:5432")
	cfg := config.Default()
	cfg.Backends = []config.Backends{{Name: "db", Discover: config.Discover{Static: []config.Member{{Name: "primary", Remote: far}}}}}
	p := pipeline(t, cfg, observe.Auto)
	for _, tier := range []tcp.Tier{tcp.Pulse, tcp.Full} {
		if _, _, err := p.Tick(start, tier); err != nil {
			t.Fatal(err)
		}
	}
	want := scope.Backend{Name: "db/primary", Group: "db", Remote: far, Source: "configured", Configured: true}
	if got := backendsOf(p, "db"); len(got) != 1 || got[0].ID() != want.ID() || got[0].Remote != want.Remote || got[0].Source != want.Source {
		t.Errorf("backends %+v, want %+v", got, want)
	}
}

// TestObservedBackendIsForgotten: without a connection for ten minutes it is
// no backend any more.
func TestObservedBackendIsForgotten(t *testing.T) {
	far := netip.MustParseAddrPort("192.0.2.9:5432")
	f := backendFinder{pools: []*pool{{name: "pool", observed: map[netip.AddrPort]time.Time{far: start}}}, rejected: map[netip.AddrPort]time.Time{}, tries: map[netip.AddrPort]int{}}
	f.peers.Begin()
	f.chooseAt = start.Add(time.Hour)
	f.find(start.Add(forgotten-time.Second), place{})
	if len(f.backends) != 1 {
		t.Fatalf("forgotten too early: %v", f.backends)
	}
	if changed := f.find(start.Add(forgotten), place{}); !changed || len(f.backends) != 0 {
		t.Errorf("after %v: %v (changed: %v)", forgotten, f.backends, changed)
	}
}

// TestGlanceFindsBackends: a look without an agent names them too, and takes no
// client of ours for one.
func TestGlanceFindsBackends(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	far := peers(t, 3)
	cfg := config.Default()
	cfg.Backends = []config.Backends{{Name: "pool", Process: config.Process{Exe: exe}}}
	s, err := Glance(t.Context(), cfg, 2, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	var found []netip.AddrPort
	for _, b := range s.Backends {
		if b.Group == "pool" {
			found = append(found, b.Remote)
		}
	}
	// The other ends of these connections, at ports of their own, are clients.
	if want := []netip.AddrPort{far}; !slices.Equal(found, want) {
		t.Errorf("backends %v, want %v", found, want)
	}
}

package agent

import (
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/observe/balancer"
	"github.com/foreshock/foreshock/internal/observe/discover"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// peers listens and connects to itself so many times.
func peers(t *testing.T, connections int) netip.AddrPort {
	t.Helper()
	ln := listening(t)
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

// TestSearchesInVain: a search that finds nothing puts off the next, for what
// was searched for before longer than for what is new; one that finds something
// does not.
func TestSearchesInVain(t *testing.T) {
	old, fresh := netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("192.0.2.2:80")
	tests := []struct {
		name  string
		found bool
		cost  time.Duration
		after time.Duration
		want  []netip.AddrPort
	}{
		{"it found something", true, time.Second, 0, []netip.AddrPort{old, fresh}},
		{"a cheap one in vain, at once", false, 5 * time.Millisecond, 500 * time.Millisecond, nil},
		{"a cheap one in vain, a second later", false, 5 * time.Millisecond, time.Second, []netip.AddrPort{fresh}},
		{"a cheap one in vain, five seconds later", false, 5 * time.Millisecond, 5 * time.Second, []netip.AddrPort{old, fresh}},
		{"a dear one in vain", false, time.Second, newWithin, []netip.AddrPort{fresh}},
		{"a dear one in vain, long ago", false, time.Second, againWithin, []netip.AddrPort{old, fresh}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := backendFinder{tries: map[netip.AddrPort]int{old: 1}}
			f.searched(start, tt.found, tt.cost, 0.01)
			var got []netip.AddrPort
			for _, peer := range f.worthwhile(start.Add(tt.after), []discover.Peer{{Remote: old}, {Remote: fresh}}) {
				got = append(got, peer.Remote)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("searched for %v, want %v", got, tt.want)
			}
		})
	}
}

// TestBackendsFound: whom a chosen process talks to becomes a backend, with
// its connections, and goes when the process is no longer chosen.
func TestBackendsFound(t *testing.T) {
	exe := self(t)
	far := peers(t, 3)
	cfg := config.Default()
	cfg.Backends = []config.Backends{{Name: "pool", Process: config.Process{Exe: exe}}}
	p := pipeline(t, cfg, observe.Auto)
	at := start
	look := func(tier tcp.Tier) *measure.View {
		t.Helper()
		at = at.Add(peersEvery)
		_, view, err := tick(p, at, tier)
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
	if n, known := s.Get(measure.Established).Get(); !known || n != 3 {
		t.Errorf("%s has %v connections (known: %v), want 3", b.Name, n, known)
	}
	p.Configure(at, config.Default())
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
		if _, _, err := tick(p, start, tier); err != nil {
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
	f.peers.Begin(nil)
	f.chooseAt = start.Add(time.Hour)
	here := place{processes: &processes{}, enter: func(f func() error) error { return f() }}
	f.find(start.Add(forgotten-time.Second), here)
	if len(f.backends) != 1 {
		t.Fatalf("forgotten too early: %v", f.backends)
	}
	if changed := f.find(start.Add(forgotten), here); !changed || len(f.backends) != 0 {
		t.Errorf("after %v: %v (changed: %v)", forgotten, f.backends, changed)
	}
}

// TestGlanceFindsBackends: a look without an agent names them too, and takes no
// client of ours for one.
func TestGlanceFindsBackends(t *testing.T) {
	exe := self(t)
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

// TestAnswers: members and opinions come from whoever is asked; no answer takes
// a member away, one that may lack members none that was named a while ago, and
// what was wrong is among the limits.
func TestAnswers(t *testing.T) {
	s1, s2 := netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("192.0.2.2:80")
	cfg := config.Default()
	cfg.Backends = []config.Backends{{Name: "shop", Discover: config.Discover{HAProxySocket: "/run/haproxy/admin.sock"}, Status: time.Second}}
	p := pipeline(t, cfg, observe.Auto)
	member := func(name string, at netip.AddrPort) discover.Member {
		return discover.Member{Group: "app", Name: name, Remote: at}
	}
	remotes := func() (out []netip.AddrPort) {
		for _, b := range backendsOf(p, "shop/app") {
			out = append(out, b.Remote)
		}
		return out
	}
	at := start
	for _, step := range []struct {
		name  string
		said  answer
		want  []netip.AddrPort
		limit bool
		after time.Duration
	}{
		{"two members", answer{members: []discover.Member{member("s1", s1), member("s2", s2)}}, []netip.AddrPort{s1, s2}, false, 0},
		{"no answer", answer{failed: true, problem: "HAProxy at /run/haproxy/admin.sock does not answer"}, []netip.AddrPort{s1, s2}, true, time.Second},
		{"no answer for an hour", answer{failed: true, problem: "HAProxy at /run/haproxy/admin.sock does not answer"}, []netip.AddrPort{s1, s2}, true, time.Hour},
		{"half an answer", answer{members: []discover.Member{member("s2", s2)}, partial: true, problem: "the answer is cut"}, []netip.AddrPort{s1, s2}, true, time.Second},
		{"half an answer for long", answer{members: []discover.Member{member("s2", s2)}, partial: true, problem: "the answer is cut"}, []netip.AddrPort{s2}, true, rotates},
		{"both again", answer{members: []discover.Member{member("s1", s1), member("s2", s2)}}, []netip.AddrPort{s1, s2}, false, time.Second},
		{"one has gone", answer{members: []discover.Member{member("s2", s2)}}, []netip.AddrPort{s2}, false, time.Second},
		{"a pool that is no longer there", answer{pool: "gone", members: []discover.Member{member("s3", s1)}}, []netip.AddrPort{s2}, false, time.Second},
	} {
		if step.said.pool == "" {
			step.said.pool = "shop"
		}
		at = at.Add(step.after)
		step.said.seen, step.said.every = at, time.Second
		p.take(step.said)
		got := remotes()
		slices.SortFunc(got, netip.AddrPort.Compare)
		if !slices.Equal(got, step.want) {
			t.Errorf("%s: backends %v, want %v", step.name, got, step.want)
		}
		if limited := slices.ContainsFunc(poolLimits([]*Pipeline{p}), func(l api.Limit) bool { return l.Subject == "backends of shop" }); limited != step.limit {
			t.Errorf("%s: a limit says so: %v, want %v", step.name, limited, step.limit)
		}
	}
	// An opinion is a reading of the backend, once there is something to read.
	if _, _, err := tick(p, at, tcp.Full); err != nil {
		t.Fatal(err)
	}
	p.take(answer{pool: "shop", members: []discover.Member{member("s2", s2)}, opinions: []opinion{{"app", "s2", s2, balancer.Down}}, seen: at, every: time.Second})
	_, view, err := tick(p, at, tcp.Full)
	if err != nil {
		t.Fatal(err)
	}
	s := view.Scope(scope.ID{Kind: scope.KindBackend, Name: "shop/app/s2"})
	if s == nil {
		t.Fatal("no signals of shop/app/s2")
	}
	if up, known := s.Get(measure.BalancerUp).Get(); !known || up != 0 {
		t.Errorf("balancer_up %v (known: %v), want 0", up, known)
	}
}

// TestNamesKeepTheirPast: a lookup that fails takes no address away.
func TestNamesKeepTheirPast(t *testing.T) {
	var n namesSeen
	n.names.Step(start, "shop.invalid", []netip.Addr{netip.MustParseAddr("192.0.2.1")})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	answer, err := n.members(ended, start.Add(time.Minute), []string{"shop.invalid:8080"})
	if err != nil || len(answer.Problems) != 1 {
		t.Errorf("answer %+v, %v; want what was wrong", answer, err)
	}
	if len(answer.Members) != 1 || answer.Members[0].Address != netip.MustParseAddrPort("192.0.2.1:8080") {
		t.Errorf("members %+v, want the address of before", answer.Members)
	}
}

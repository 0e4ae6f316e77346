package agent

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/dial"
	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// sockets is how many sockets each scope has, by state, of those it has any of.
type sockets map[string]map[string]float64

func socketsOf(view *measure.View) sockets {
	out := sockets{}
	for i := range view.Scopes {
		s := &view.Scopes[i]
		for _, sig := range []measure.Signal{measure.Sockets, measure.Established, measure.TimeWait, measure.CloseWaitAccepted, measure.FinWait2} {
			if n, known := s.Get(sig).Get(); known && n > 0 {
				if out[s.Scope.String()] == nil {
					out[s.Scope.String()] = map[string]float64{}
				}
				out[s.Scope.String()][sig.String()] = n
			}
		}
	}
	return out
}

// TestOwnConnectionsAreNotCounted: what the agent itself connects to is in no
// scope of any namespace, while it is open and after; what another program does
// toward the same server is.
func TestOwnConnectionsAreNotCounted(t *testing.T) {
	for _, source := range []observe.Source{observe.Auto, observe.Procfs} {
		t.Run(string(source), func(t *testing.T) {
			w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "agent"}, {Name: "server"}}})
			far := netip.AddrPortFrom(w.Host("server").Addr(), 8080)
			near := netip.AddrPortFrom(w.Host("agent").Addr(), 8080)
			probes := dial.New()
			cfg := config.Default()
			cfg.Services = []config.Service{{Name: "api", Listen: []netip.AddrPort{netip.MustParseAddrPort("[::]:8080")}}}
			cfg.Backends = []config.Backends{{Name: "pool", Discover: config.Discover{Static: []config.Member{{Name: "near", Remote: near}, {Name: "far", Remote: far}}}}}

			listeners := map[string]net.Listener{}
			pipelines := map[string]*Pipeline{}
			for _, host := range []string{"agent", "server"} {
				err := w.Host(host).Do(func() error {
					ln, err := net.Listen("tcp", ":8080")
					if err != nil {
						return err
					}
					listeners[host] = ln
					at, err := ownPlace(observe.NewBudget(1), source, tcp.NewScratch())
					if err != nil {
						return err
					}
					if at.probes = probes; host != "agent" {
						at.name = host
					}
					pipelines[host], err = newPipeline(cfg, at)
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = listeners[host].Close(); _ = pipelines[host].Close() })
			}
			now := start
			look := func() (here, there sockets) {
				t.Helper()
				now = now.Add(time.Second)
				for _, host := range []string{"agent", "server"} {
					// /proc/net is of the thread that opens it.
					if err := w.Host(host).Do(func() error {
						_, err := tickWhole(pipelines[host], now, tcp.Pulse)
						return err
					}); err != nil {
						t.Fatal(err)
					}
				}
				views := map[string]sockets{}
				for host, p := range pipelines {
					if err := w.Host(host).Do(func() error {
						view, err := tickWhole(p, now, tcp.Full)
						if err == nil {
							views[host] = socketsOf(view)
						}
						return err
					}); err != nil {
						t.Fatal(err)
					}
				}
				return views["agent"], views["server"]
			}
			// open makes a pair of connections to both servers, and the servers
			// take them.
			open := func(dialer func(ctx context.Context, network, address string) (net.Conn, error)) (ends []net.Conn) {
				t.Helper()
				for _, to := range []struct {
					host   string
					remote netip.AddrPort
				}{{"agent", near}, {"server", far}} {
					err := w.Host("agent").Do(func() error {
						client, err := dialer(t.Context(), "tcp", to.remote.String())
						if err != nil {
							return err
						}
						server, err := listeners[to.host].Accept()
						ends = append(ends, client, server)
						return err
					})
					if err != nil {
						t.Fatal(err)
					}
				}
				return ends
			}
			shut := func(ends []net.Conn) {
				for _, c := range ends { // the clients' first, so that TIME_WAIT is theirs
					_ = c.Close()
				}
			}
			hereNothing, thereNothing := look()

			theirs := open((&net.Dialer{}).DialContext)
			hereOne, thereOne := look()
			if cmp.Equal(hereOne, hereNothing) || cmp.Equal(thereOne, thereNothing) {
				t.Fatalf("connections of another program are not counted: %v, %v", hereOne, thereOne)
			}
			ours := open(probes.DialContext)
			here, there := look()
			if diff := cmp.Diff(hereOne, here); diff != "" {
				t.Errorf("our connections are counted in our namespace (- without, + with them):\n%s", diff)
			}
			if diff := cmp.Diff(thereOne, there); diff != "" {
				t.Errorf("our connections are counted in the server's namespace:\n%s", diff)
			}
			shut(ours)
			here, there = look()
			if diff := cmp.Diff(hereOne, here); diff != "" {
				t.Errorf("what closing left is counted in our namespace:\n%s", diff)
			}
			if diff := cmp.Diff(thereOne, there); diff != "" {
				t.Errorf("what closing left is counted in the server's namespace:\n%s", diff)
			}
			shut(theirs)
			if after, _ := look(); after["backend/pool/far"]["time_wait"] != 1 {
				t.Errorf("the other program's TIME_WAIT is not counted: %v", after)
			}
			if far := (scope.ID{Kind: scope.KindBackend, Name: "pool/far"}); !slices.ContainsFunc(pipelines["agent"].finder.backends, func(b scope.Backend) bool { return b.ID() == far }) {
				t.Errorf("no %s", far)
			}
		})
	}
}

// TestOwnFailuresAreNotCounted: a receiver that refuses us is no sign of a
// backend that refuses its balancer.
func TestOwnFailuresAreNotCounted(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "agent"}}})
	probes := dial.New()
	var p *Pipeline
	do := func(f func() error) {
		t.Helper()
		if err := w.Host("agent").Do(f); err != nil {
			t.Fatal(err)
		}
	}
	do(func() error {
		at, err := ownPlace(observe.NewBudget(1), observe.Auto, tcp.NewScratch())
		if err != nil {
			return err
		}
		at.probes = probes
		p, err = newPipeline(config.Default(), at)
		return err
	})
	t.Cleanup(func() { _ = p.Close() })
	reading := func(name tcp.Counter) (n uint64) {
		t.Helper()
		do(func() error {
			p.look = tcp.Look{Request: p.request(tcp.Pulse), Begin: start}
			p.tallier.Begin(p.look)
			look, err := p.pulse(start)
			n, _ = look.Counters.Get(name)
			return err
		})
		return n
	}
	attempt := func(dialer func(ctx context.Context, network, address string) (net.Conn, error)) {
		t.Helper()
		do(func() error {
			if conn, err := dialer(t.Context(), "tcp", "127.0.0.1:9"); err == nil {
				return errors.Join(errors.New("somebody listens at the discard port"), conn.Close())
			}
			return nil
		})
	}
	reading(tcp.AttemptFails)
	for range 5 {
		attempt(probes.DialContext)
	}
	if failed, opened := reading(tcp.AttemptFails), reading(tcp.ActiveOpens); failed != 0 || opened != 0 {
		t.Errorf("our 5 attempts show as %d that failed, of %d", failed, opened)
	}
	for range 3 {
		attempt((&net.Dialer{}).DialContext)
	}
	attempt(probes.DialContext)
	if failed, opened := reading(tcp.AttemptFails), reading(tcp.ActiveOpens); failed != 3 || opened != 3 {
		t.Errorf("3 attempts of another program show as %d that failed, of %d", failed, opened)
	}
}

// TestOwnCountsNeverFall: the kernel counts before we do, and a counter that
// fell would look as if it had begun anew.
func TestOwnCountsNeverFall(t *testing.T) {
	var x ownCounts
	for i, step := range []struct{ kernel, ours, want uint64 }{
		{10, 0, 10}, {11, 0, 11}, {11, 1, 11}, {12, 1, 11}, {13, 1, 12},
		{2, 1, 1}, // begun anew
		{3, 9, 1}, // more than there are
	} {
		var c tcp.Counters
		c.Set(tcp.AttemptFails, step.kernel)
		x.leaveOut(&c, dial.Counts{Failed: step.ours})
		if got, _ := c.Get(tcp.AttemptFails); got != step.want {
			t.Errorf("step %d: kernel %d, ours %d: %d, want %d", i, step.kernel, step.ours, got, step.want)
		}
	}
}

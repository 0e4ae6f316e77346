package agent

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

var start = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

// stuckListener is a listener that nobody accepts from.
func stuckListener(t *testing.T, backlog int) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*unix.SockaddrInet4).Port))
}

func connect(t *testing.T, to netip.AddrPort) {
	t.Helper()
	c, err := net.DialTimeout("tcp", to.String(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
}

func pipeline(t *testing.T, cfg config.Config, source observe.Source) *Pipeline {
	t.Helper()
	p, err := ownPipeline(cfg, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// ownPipeline opens the readers of the calling thread's namespace.
func ownPipeline(cfg config.Config, source observe.Source) (*Pipeline, error) {
	h, err := newOwnHost(cfg, source)
	if err != nil {
		return nil, err
	}
	return h.own, nil
}

// tick looks, and has the owners of new listeners searched, as a Host does.
func tick(p *Pipeline, now time.Time, tier tcp.Tier) ([]judge.Incident, *measure.View, error) {
	incidents, view, err := p.Tick(now, tier)
	h := Host{of: map[*observe.Schedule]*resident{p.schedule: {Pipeline: p}}}
	h.search(now)
	return incidents, view, err
}

// run ticks the pulse at 4 Hz and the focus at 1 Hz of a time that only the
// test moves; the sockets are real.
func run(t *testing.T, p *Pipeline, from time.Time, span time.Duration) ([]judge.Incident, *measure.View) {
	t.Helper()
	var incidents []judge.Incident
	var view *measure.View
	for at := from; at.Before(from.Add(span)); at = at.Add(250 * time.Millisecond) {
		var err error
		if incidents, view, err = tick(p, at, tcp.Pulse); err != nil {
			t.Fatal(err)
		}
		if at.Sub(from)%time.Second == 0 {
			if incidents, view, err = tick(p, at, tcp.Focus); err != nil {
				t.Fatal(err)
			}
		}
	}
	return incidents, view
}

func TestPipelineFindsTheServiceAndItsQueue(t *testing.T) {
	for _, source := range []observe.Source{observe.Auto, observe.Procfs} {
		t.Run(string(source), func(t *testing.T) {
			address := stuckListener(t, 16)
			cfg := config.Default()
			cfg.Services = []config.Service{{Name: "stuck", Listen: []netip.AddrPort{address}}}
			p := pipeline(t, cfg, source)
			id := scope.ID{Kind: scope.KindService, Name: "stuck"}
			run(t, p, start, 4*time.Second)
			for range 5 {
				connect(t, address)
			}
			now := start.Add(12 * time.Second)
			incidents, view := run(t, p, start.Add(4*time.Second), 8*time.Second)
			// Other tests' connections come and go in this very namespace, and
			// some looks are interrupted by them.
			critical := func() bool {
				return slices.ContainsFunc(incidents, func(i judge.Incident) bool { return i.Finding.Scope == id && i.Finding.Severity == judge.Critical })
			}
			for ; !critical() && now.Sub(start) < time.Minute; now = now.Add(4 * time.Second) {
				incidents, view = run(t, p, now, 4*time.Second)
			}
			s := view.Scope(id)
			if s == nil {
				t.Fatalf("no scope %s; services %+v", id, p.services)
			}
			if got := s.Get(measure.QueueDepth); got.Value != 5 {
				t.Errorf("queue depth %+v, want 5", got)
			}
			if got := s.Get(measure.Unaccepted); got.Value != 5 {
				t.Errorf("un-accepted %+v, want 5", got)
			}
			if limit := s.Get(measure.QueueLimit); source == observe.Auto && limit.Value != 16 || source == observe.Procfs && limit.Validity != measure.NoAbility {
				t.Errorf("queue limit %+v", limit)
			}
			i := slices.IndexFunc(incidents, func(i judge.Incident) bool { return i.Finding.Scope == id })
			if i < 0 || incidents[i].State != judge.Open || incidents[i].Finding.Cause != judge.WorkersFull {
				t.Fatalf("incidents %+v, want workers_full open on %s", incidents, id)
			}
			f := incidents[i].Finding
			if f.Severity != judge.Critical || !strings.Contains(f.Sentence, "stuck") || len(f.Examples) != 5 || len(f.Evidence) == 0 || len(f.Considered) == 0 || len(f.Advice) == 0 {
				t.Errorf("finding %+v does not explain itself", f)
			}
			// A reload keeps windows and incidents.
			p.Configure(start, cfg)
			incidents, _ = run(t, p, now, time.Second)
			if j := slices.IndexFunc(incidents, func(k judge.Incident) bool { return k.ID == incidents[i].ID }); j < 0 || incidents[j].State != judge.Open {
				t.Errorf("after a reload the incident is not open: %+v", incidents)
			}
		})
	}
}

func TestPipelineSurvivesAListenerThatCloses(t *testing.T) {
	l := listening(t)
	address := l.Addr().(*net.TCPAddr).AddrPort()
	p := pipeline(t, config.Default(), observe.Auto)
	has := func() bool {
		return slices.ContainsFunc(p.services, func(s scope.Service) bool { return slices.Contains(s.Listen, address) })
	}
	run(t, p, start, 3*time.Second)
	if !has() {
		t.Fatalf("%s is not among the services %+v", address, p.services)
	}
	_ = l.Close()
	// How long the next search waits depends on what the last one cost, and so
	// on how busy this machine is.
	const most = 10
	for i := range most {
		if run(t, p, start.Add(3*time.Second+time.Duration(i)*time.Minute), time.Minute); !has() {
			return
		}
	}
	t.Errorf("%s is still a service %d minutes after it closed", address, most)
}

// TestReadersAgree compares sock_diag and procfs on the same live namespace:
// every socket that both looks before and after found must be the same.
func TestReadersAgree(t *testing.T) {
	address := stuckListener(t, 8)
	for range 4 {
		connect(t, address)
	}
	read := func(source observe.Source) map[string]tcp.Socket {
		reader, fallback, err := observe.Open(source, tcp.NewScratch())
		if err != nil || fallback != nil {
			t.Skipf("sock_diag is not available in this sandbox: %v %v", err, fallback)
		}
		defer reader.Close()
		out := map[string]tcp.Socket{}
		look, err := reader.Read(tcp.Request{States: tcp.AllStates}, func(batch []tcp.Socket) {
			for _, s := range batch {
				if s.State == tcp.Close {
					continue // bound only: /proc does not list them
				}
				out[s.Local.String()+" "+s.Remote.String()+" "+s.State.String()] = tcp.Socket{
					Local: s.Local, Remote: s.Remote, State: s.State, Inode: s.Inode, ReceiveQueue: s.ReceiveQueue,
				}
			}
		})
		if err != nil || look.Completeness != tcp.Complete || look.Malformed > 0 {
			t.Fatalf("%s: %+v, %v", source, look, err)
		}
		return out
	}
	before, text, after := read(observe.SockDiag), read(observe.Procfs), read(observe.SockDiag)
	compared := 0
	for key, want := range before {
		if still, ok := after[key]; !ok || still != want {
			continue // it moved meanwhile
		}
		compared++
		if got, ok := text[key]; !ok || got != want {
			t.Errorf("sock_diag %+v\nprocfs    %+v (found: %v)", want, got, ok)
		}
	}
	for key := range text {
		_, b := before[key]
		_, a := after[key]
		if !a && !b {
			t.Logf("only procfs saw %s; it may have come and gone", key)
		}
	}
	if compared < 9 {
		t.Errorf("%d sockets held still for the comparison, want at least the 9 of this test", compared)
	}
}

// TestLookAllocatesLittle: a whole look, counted per scope, allocates neither per
// port, of which there are many here, nor per socket; reader and tally are held
// to zero in their packages. The judge is left out: findings on this machine's
// own services may need words at any time.
func TestLookAllocatesLittle(t *testing.T) {
	labtest.SkipUnderRace(t)
	for range 20 {
		listening(t)
	}
	p := pipeline(t, config.Default(), observe.Auto)
	at := start
	if _, err := tickWhole(p, at, tcp.Pulse); err != nil || len(p.services) == 0 {
		t.Fatalf("%d services to count (%v)", len(p.services), err)
	}
	for _, tier := range []tcp.Tier{tcp.Pulse, tcp.Focus, tcp.Odd, tcp.Full} {
		look := func() {
			at = at.Add(250 * time.Millisecond)
			if _, err := p.observe(at, tier); err != nil {
				t.Fatal(err)
			}
		}
		for range 20 {
			look()
		}
		// Owners, limits and processes are read each few seconds, not at each
		// look, and other programs' listeners come and go meanwhile.
		p.capacityAt, p.finder.nextAt, p.finder.chooseAt = at.Add(time.Hour), at.Add(time.Hour), at.Add(time.Hour)
		if got := testing.AllocsPerRun(40, look); got > 8 {
			t.Errorf("a %s look allocates %v times", tier, got)
		}
	}
}

package agent

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/tcp"
)

// TestRestartInAnotherContainer: a server that is restarted in another
// container has another cgroup. The look after the first that sees its
// connections counts them, under the name of before; while nobody runs the
// backend stays known.
func TestRestartInAnotherContainer(t *testing.T) {
	exe := self(t)
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "client", Contained: true}, {Name: "database"}}})
	database := labtest.Serve(t, w.Host("database"), lab.App{Listen: netip.AddrPortFrom(w.Host("database").Addr(), 5432)})
	connect := func() *lab.Running {
		t.Helper()
		client, err := w.Host("client").StartPool(t.Context(), lab.Pool{Servers: []netip.AddrPort{database.Addr()}})
		labtest.Need(t, err)
		return client
	}
	client := connect()
	cfg := config.Default()
	cfg.Backends = []config.Backends{{Name: "pool", Process: config.Process{Exe: exe}}}
	var p *Pipeline
	labtest.Need(t, w.Host("client").Do(func() (err error) {
		p, err = ownPipeline(cfg, observe.Auto)
		return err
	}))
	t.Cleanup(func() { _ = p.Close() })
	at := start
	look := func(tier tcp.Tier) *measure.View {
		t.Helper()
		at = at.Add(time.Second)
		_, view, err := tick(p, at, tier)
		labtest.Need(t, err)
		return view
	}
	// seen looks until the kernel shows the connection, and returns how many
	// looks that counted none it was there for.
	seen := func() (blind int) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
			view := look(tcp.Full)
			found := backendsOf(p, "pool")
			if len(found) == 1 {
				if s := view.Scope(found[0].ID()); s != nil {
					if n, known := s.Get(measure.Established).Get(); known && n > 0 {
						return blind
					}
				}
			}
			if len(p.tallier.Strangers()) > 0 {
				blind++
			}
		}
		t.Fatalf("backends %+v: never seen with a connection", backendsOf(p, "pool"))
		return blind
	}
	look(tcp.Pulse)
	seen()
	before := backendsOf(p, "pool")[0]
	if before.Remote != database.Addr() || len(before.Cgroups) != 1 || !slices.Contains(before.PIDs, client.PID()) {
		t.Fatalf("backend %+v of process %d", before, client.PID())
	}
	labtest.Need(t, client.Stop())
	at = at.Add(chooseEvery)
	look(tcp.Pulse)
	look(tcp.Full)
	if got := backendsOf(p, "pool"); len(got) != 1 || got[0].Name != before.Name || len(got[0].PIDs) > 0 {
		t.Errorf("while nobody runs: backends %+v", got)
	}
	client = connect()
	if blind := seen(); blind > 1 {
		t.Errorf("%d looks saw its connections and did not count them", blind)
	}
	look(tcp.Full)
	look(tcp.Pulse)
	// The new process is in the view within the time of a routine walk.
	at = at.Add(chooseEvery)
	look(tcp.Pulse)
	after := backendsOf(p, "pool")[0]
	if after.Name != before.Name || len(after.Cgroups) != 1 || after.Cgroups[0] == before.Cgroups[0] || !slices.Contains(after.PIDs, client.PID()) {
		t.Errorf("after the restart: backend %+v of process %d; before %+v", after, client.PID(), before)
	}
}

// TestStrangersAreAskedForOnce: a cgroup that turns out to be nobody's of ours
// does not call for another walk, and others wait for their turn.
func TestStrangersAreAskedForOnce(t *testing.T) {
	p := pipeline(t, config.Default(), observe.Auto)
	walks := func(at time.Time, cgroups ...uint64) bool {
		before := p.place.processes.at
		p.finder.meet(at, cgroups, p.place)
		return p.place.processes.at != before
	}
	for _, step := range []struct {
		after   time.Duration
		cgroups []uint64
		walks   bool
	}{
		{0, nil, false},
		{0, []uint64{1 << 40}, true},
		{time.Minute, []uint64{1 << 40}, false},
		{2 * time.Minute, []uint64{1 << 40, 1 << 41}, true},
		{2*time.Minute + chooseEvery - time.Second, []uint64{1 << 42}, false},
		{3 * time.Minute, []uint64{1 << 42}, true},
	} {
		if got := walks(start.Add(step.after), step.cgroups...); got != step.walks {
			t.Errorf("after %v, strangers %v: walked %v, want %v", step.after, step.cgroups, got, step.walks)
		}
	}
}

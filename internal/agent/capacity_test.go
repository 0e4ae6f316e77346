package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// tickWhole looks until a look is whole: those that are interrupted, as by what
// goes on beside them, say nothing.
func tickWhole(p *Pipeline, now time.Time, tier tcp.Tier) (*measure.View, error) {
	for range 100 {
		whole := p.status[tier].looks
		_, view, err := tick(p, now, tier)
		if err != nil || p.status[tier].looks > whole {
			return view, err
		}
	}
	return nil, fmt.Errorf("no %s look is whole", tier)
}

// TestPortsOfAnotherNamespace: each namespace has local ports of its own.
func TestPortsOfAnotherNamespace(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "shop"}}})
	for name, value := range map[string]string{"net.ipv4.ip_local_port_range": "20000 20999", "net.ipv4.ip_local_reserved_ports": "20100-20199"} {
		if err := w.Host("shop").SetSysctl(name, value); err != nil {
			t.Fatal(err)
		}
	}
	at, err := ownPlace(observe.NewBudget(1), observe.Auto, tcp.NewScratch())
	if err != nil {
		t.Fatal(err)
	}
	inside := netns.Found{Path: w.Host("shop").Path()}.Do
	open := at.open
	at.name, at.enter = "shop", inside
	at.open = func() (space observe.Space, err error) {
		err = inside(func() error { space, err = open(); return err })
		return space, err
	}
	p, err := newPipeline(config.Default(), at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	far := netip.MustParseAddrPort("192.0.2.9:5432")
	id := scope.ID{Kind: scope.KindBackend, Name: "db/" + far.String(), Namespace: "shop"}
	// Somebody there was seen to talk to it, and nobody is asked again.
	p.finder.pools = []*pool{{name: "db", observed: map[netip.AddrPort]time.Time{far: start}}}
	p.finder.nextAt = start.Add(time.Hour)
	p.finder.rebuild(start, "shop")
	p.setScopes()
	limit := func(now time.Time) measure.Reading {
		t.Helper()
		var view *measure.View
		for _, tier := range []tcp.Tier{tcp.Pulse, tcp.Full} {
			if view, err = tickWhole(p, now, tier); err != nil {
				t.Fatal(err)
			}
		}
		s := view.Scope(id)
		if s == nil {
			t.Fatalf("no signals of %s", id)
		}
		return s.Get(measure.PortsLimit)
	}
	if got := limit(start); got.Validity != measure.Known || got.Value != 900 {
		t.Errorf("local ports there: %+v, want 900", got)
	}
	// What was known stays when the namespace may not be entered any more.
	p.place.enter = func(func() error) error { return netns.ErrGone }
	if got := limit(start.Add(time.Minute)); got.Validity != measure.Known || got.Value != 900 {
		t.Errorf("local ports there, not entered: %+v, want 900", got)
	}
	// A thread that cannot come back ends the loop.
	p.place.enter = func(func() error) error { return netns.ErrStuck }
	if _, _, err := tick(p, start.Add(2*time.Minute), tcp.Pulse); !errors.Is(err, netns.ErrStuck) {
		t.Errorf("error %v, want %v", err, netns.ErrStuck)
	}
}

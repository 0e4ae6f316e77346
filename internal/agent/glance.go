package agent

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/dial"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/tcp"
)

// Glance judges this host without a running agent, by so many looks spread
// over span; balancers and name servers are asked once. What must hold for
// longer shows as suspected at most, and rates that need a longer window stay
// unknown.
func Glance(ctx context.Context, cfg config.Config, looks int, span time.Duration) (*api.Snapshot, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	h, err := newOwnHost(cfg, observe.Auto)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	p := h.own
	clock := NewClock()
	host, err := hostName(cfg)
	if err != nil {
		return nil, err
	}
	for _, said := range askOnce(ctx, clock, cfg) {
		p.take(said)
	}
	started := clock.Now()
	var incidents []judge.Incident
	// The first pulse finds the services; it is no look of theirs.
	for i := range looks + 1 {
		at := started.Add(span * time.Duration(max(0, i-1)) / time.Duration(max(1, looks-1)))
		if !sleep(ctx, at.Sub(clock.Now())) {
			return nil, fmt.Errorf("look %d of %d: %w", i, looks, ctx.Err())
		}
		tiers := []tcp.Tier{tcp.Full, tcp.Pulse}
		if i == 0 {
			// Who listens comes first: a client of ours is no backend.
			tiers = []tcp.Tier{tcp.Pulse, tcp.Full}
		}
		for _, tier := range tiers {
			if incidents, err = h.Tick(clock.Now(), Turn{h.of[p.schedule], tier}); err != nil {
				return nil, err
			}
		}
	}
	return &api.Snapshot{
		Host: host, StartedAt: started, At: clock.Now(), ClockOffset: clock.Offset(), Ready: true,
		Reader: p.status[tcp.Pulse].last.Reader, Services: p.services, Backends: p.finder.backends, Regions: p.regions, Pools: pools([]*Pipeline{p}), View: h.view(), Incidents: incidents,
		Looks:  p.lookStatus(),
		Limits: append(append(p.limits(nil), poolLimits([]*Pipeline{p})...), api.Limit{Subject: "other network namespaces", Reason: "a glance without the agent sees its own; ask a running agent"}),
	}, nil
}

// askOnce asks for the members of all pools that somebody has to be asked for.
func askOnce(ctx context.Context, clock *Clock, cfg config.Config) []answer {
	pools := slices.DeleteFunc(slices.Clone(cfg.Backends), func(b config.Backends) bool { return !asks(b) })
	out := make([]answer, len(pools))
	newAsker(clock, dial.New()).each(ctx, pools, func(i int, of answer) { out[i] = of })
	return out
}

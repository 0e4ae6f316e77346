package agent

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/tcp"
)

// Glance judges this host without a running agent, by so many looks spread
// over span. What must hold for longer shows as suspected at most, and rates
// that need a longer window stay unknown.
func Glance(ctx context.Context, cfg config.Config, looks int, span time.Duration) (*api.Snapshot, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p, err := NewPipeline(cfg, observe.Auto)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	clock := NewClock()
	started := clock.Now()
	host, err := hostName(cfg)
	if err != nil {
		return nil, err
	}
	var incidents []judge.Incident
	var view *measure.View
	// The first pulse finds the services; it is no look of theirs.
	for i := range looks + 1 {
		at := started.Add(span * time.Duration(max(0, i-1)) / time.Duration(max(1, looks-1)))
		timer := time.NewTimer(at.Sub(clock.Now()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("look %d of %d: %w", i, looks, ctx.Err())
		case <-timer.C:
		}
		tiers := []tcp.Tier{tcp.Full, tcp.Pulse}
		if i == 0 {
			// Who listens comes first: a client of ours is no backend.
			tiers = []tcp.Tier{tcp.Pulse, tcp.Full}
		}
		for _, tier := range tiers {
			if incidents, view, err = p.Tick(clock.Now(), tier); err != nil {
				return nil, err
			}
		}
	}
	return &api.Snapshot{
		Host: host, StartedAt: started, At: clock.Now(), ClockOffset: clock.Offset(), Ready: true,
		Reader: p.status[tcp.Pulse].last.Reader, Services: p.services, Backends: p.finder.backends, View: *view, Incidents: incidents,
		Looks:  p.lookStatus(),
		Limits: append(p.limits(nil), api.Limit{Subject: "other network namespaces", Reason: "a glance without the agent sees its own; ask a running agent"}),
	}, nil
}

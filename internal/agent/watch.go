package agent

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/observe/netns"
)

// Watch judges this host in the calling goroutine until ctx ends, at the
// agent's own pace, and hands every look's result to each: it serves nothing
// and keeps nothing. What each is given is good until it returns. A cancelled
// ctx is a nil return; a look that fails is judged as one without evidence, and
// the third on end is the error.
func Watch(ctx context.Context, cfg config.Config, each func(time.Time, []judge.Incident, *measure.View)) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	h, err := newOwnHost(cfg, observe.Auto)
	if err != nil {
		return err
	}
	defer h.Close()
	return watch(ctx, h, NewClock(), each)
}

// watch is Watch of a host's namespaces; each may be nil.
func watch(ctx context.Context, h *Host, clock *Clock, each func(time.Time, []judge.Incident, *measure.View)) error {
	for {
		turn, at := h.Next(clock.Now())
		if !sleep(ctx, at.Sub(clock.Now())) {
			return nil
		}
		now := clock.Now()
		clock.Check()
		incidents, err := h.Tick(now, turn)
		if errors.Is(err, netns.ErrStuck) || turn.of.failures == maxFailures && turn.of.place.name == "" {
			return err
		}
		if each != nil {
			each(now, incidents, turn.of.view)
		}
	}
}

// sleep waits so long, and reports whether it did: false when ctx ended before.
func sleep(ctx context.Context, long time.Duration) bool {
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

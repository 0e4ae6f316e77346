package agent

import (
	"context"
	"runtime"
	"time"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe"
)

// Watch judges this host in the calling goroutine until ctx ends, at the
// agent's own pace, and hands every look's result to each: it serves nothing
// and keeps nothing. What each is given is good until it returns. A cancelled
// ctx is a nil return; a look that fails is judged as one without evidence, and
// the third on end is the error.
func Watch(ctx context.Context, cfg config.Config, each func(time.Time, []judge.Incident, *measure.View)) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p, err := NewPipeline(cfg, observe.Auto)
	if err != nil {
		return err
	}
	defer p.Close()
	clock, failed := NewClock(), 0
	for {
		_, tier, at := p.budget.Next(clock.Now())
		timer := time.NewTimer(at.Sub(clock.Now()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		now := clock.Now()
		incidents, view, err := p.Tick(now, tier)
		if failed++; err == nil {
			failed = 0
		}
		if failed == maxFailures {
			return err
		}
		each(now, incidents, view)
	}
}

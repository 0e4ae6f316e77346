package agent

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/dial"
	"github.com/foreshock/foreshock/internal/notify"
)

// aliveAgain is how soon it is seen that a loop works again.
const aliveAgain = api.AliveWithin / 2

// heart tells a dead man's switch that the loop is alive: that looks succeed, not
// that there is a process. It is safe for concurrent use.
type heart struct {
	log     *slog.Logger
	alive   func() bool
	changed chan struct{} // room for one: there is another switch

	mu     sync.Mutex
	to     *notify.Switch // nil: nobody is told
	failed int            // on end
	status api.Heartbeat
}

func newHeart(log *slog.Logger, alive func() bool) *heart {
	return &heart{log: log, alive: alive, changed: make(chan struct{}, 1), status: api.Heartbeat{State: api.HeartbeatOff}}
}

// heartbeatSwitch reads the switch of a configuration; nil where it has none.
func heartbeatSwitch(cfg config.Config, dialer *dial.Dialer) (*notify.Switch, error) {
	if cfg.Heartbeat == nil {
		return nil, nil
	}
	address, err := cfg.Heartbeat.URL.Read()
	if err != nil {
		return nil, fmt.Errorf("heartbeat: %w", err)
	}
	to, err := notify.NewSwitch(address, nil, dialer.DialContext)
	if err != nil {
		return nil, fmt.Errorf("heartbeat %s: %w", cfg.Heartbeat.URL, err)
	}
	return to, nil
}

// looks reports whether a look of the own namespace has succeeded lately.
func (a *agent) looks() bool {
	last := a.looked.Load()
	return last != 0 && a.clock.Now().Sub(a.started)-time.Duration(last) <= api.AliveWithin
}

func (a *agent) configureHeart(cfg config.Config, to *notify.Switch) {
	var every time.Duration
	if cfg.Heartbeat != nil {
		every = cfg.Heartbeat.Every
	}
	a.heart.configure(to, every)
}

// configure takes over a switch, which is told at once; nil is none. Counts stay.
func (h *heart) configure(to *notify.Switch, every time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.to != nil {
		h.to.Close()
	}
	h.to, h.failed = to, 0
	h.status.Every = every
	switch {
	case to == nil:
		h.status.State, h.status.Every = api.HeartbeatOff, 0
	case h.status.State == api.HeartbeatOff:
		h.status.State = api.HeartbeatWaiting
	}
	select {
	case h.changed <- struct{}{}:
	default: // it has not yet looked at the last change
	}
}

// run beats until ctx ends, and returns nil then.
func (h *heart) run(ctx context.Context) error {
	random := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.changed:
		case <-timer.C:
		}
		timer.Stop()
		if wait, on := h.beat(ctx, random); on {
			timer.Reset(wait)
		}
	}
}

// beat tells the switch, where the loop is alive, and returns how long to wait;
// false where there is no switch.
func (h *heart) beat(ctx context.Context, random *rand.Rand) (wait time.Duration, on bool) {
	h.mu.Lock()
	to, every := h.to, h.status.Every
	h.mu.Unlock()
	if to == nil {
		return 0, false
	}
	if !h.alive() {
		h.withhold()
		return min(every, aliveAgain), true
	}
	tried := time.Now()
	err := to.Tell(ctx, tried)
	if err != nil && ctx.Err() != nil {
		return 0, false // we stopped, not the switch
	}
	now := time.Now()
	failures := h.settle(to, now, err)
	return notify.NextBeat(tried, now, every, err, failures, random).Sub(now), true
}

// withhold notes that the loop is not alive. Nobody is told, and so somebody will
// be.
func (h *heart) withhold() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.status.State != api.HeartbeatWithheld {
		h.status.Withheld++
		h.log.Warn("heartbeat: withheld, as no look has succeeded lately")
	}
	h.status.State = api.HeartbeatWithheld
}

// settle notes how telling went, unless there is another switch by now, and
// returns how often it has failed on end.
func (h *heart) settle(to *notify.Switch, now time.Time, err error) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if to != h.to {
		return 0
	}
	if err == nil {
		if h.status.State == api.HeartbeatFailing {
			h.log.Info("heartbeat: it is heard again")
		}
		h.status.State, h.failed = api.HeartbeatWorking, 0
		h.status.Sent++
		h.status.LastSentAt = now
		return 0
	}
	h.failed++
	h.status.Failures++
	h.status.LastError, h.status.LastErrorAt = err.Error(), now
	if h.status.State != api.HeartbeatFailing {
		h.log.Warn("heartbeat: it is not heard, trying again: somebody may be told that this agent is dead", "error", err.Error())
	}
	h.status.State = api.HeartbeatFailing
	return h.failed
}

// shown is how it does.
func (h *heart) shown() api.Heartbeat {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.status
}

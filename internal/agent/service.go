package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/foreshock/foreshock/internal/api"
)

// tellServiceManager reports readiness, and life for as long as the loop has
// published something lately. Without a service manager it does nothing.
func (a *agent) tellServiceManager(ctx context.Context) error {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		a.log.Warn("watchdog: the service manager's setting is not understood", "error", err.Error())
	}
	if every == 0 {
		every = 10 * time.Second
	}
	ticker := time.NewTicker(every / 3)
	defer ticker.Stop()
	if s := a.firstReady(ctx); s == nil {
		return nil
	}
	a.tellSystemd(daemon.SdNotifyReady)
	for {
		select {
		case <-ctx.Done():
			a.tellSystemd(daemon.SdNotifyStopping)
			return nil
		case <-ticker.C:
			if a.clock.Now().Sub(a.Status().At) < every {
				a.tellSystemd(daemon.SdNotifyWatchdog)
			}
		}
	}
}

func (a *agent) tellSystemd(state string) {
	if state == daemon.SdNotifyReloading {
		// sd_notify(3) wants the time with it, for units of Type=notify-reload.
		state += fmt.Sprintf("\nMONOTONIC_USEC=%d", monotonicMicroseconds())
	}
	if _, err := daemon.SdNotify(false, state); err != nil {
		a.log.Warn("service manager: not told", "error", err.Error())
	}
}

func (a *agent) announce(ctx context.Context, base string) error {
	if a.options.Announce == nil {
		return nil
	}
	if s := a.firstReady(ctx); s != nil {
		a.options.Announce(s, base)
	}
	return nil
}

// firstReady waits for the first snapshot that is ready; nil when ctx ended.
func (a *agent) firstReady(ctx context.Context) *api.Snapshot {
	for {
		if s := a.latest(); s.Ready {
			return s
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.Changed():
		}
	}
}

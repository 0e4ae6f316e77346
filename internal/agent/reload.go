package agent

import (
	"cmp"
	"context"
	"errors"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/history"
)

// Reload implements api.Actor.
func (a *agent) Reload(ctx context.Context) error {
	answer := make(chan error, 1)
	return hand(ctx, a.reloads, answer, answer)
}

// errAbandoned ends an agent whose terminal was closed.
var errAbandoned = errors.New("the terminal was closed")

// watchReloads reloads on SIGHUP and when the API asks, one after the other:
// what was read last is what holds.
func (a *agent) watchReloads(ctx context.Context) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		answer, who := make(chan error, 1), "the API"
		select {
		case <-ctx.Done():
			return nil
		case <-hangups:
			who = "a signal"
			if a.options.Abandoned != nil && a.options.Abandoned() {
				return errAbandoned
			}
		case answer = <-a.reloads:
		}
		a.tellSystemd(daemon.SdNotifyReloading)
		path, err := a.reload(ctx)
		a.tryCertificate(time.Now()) // whatever came of the rest
		a.refuse(path, err)
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				a.log.Error("not reloaded: the running configuration stays", "problem", strings.TrimSuffix(line, "\n"))
			}
		} else {
			a.keeper.change(history.Change{At: time.Now(), Who: who, What: "reload", Detail: path})
			a.log.Info("reloaded", "config", cmp.Or(path, "none: the defaults"))
		}
		a.tellSystemd(daemon.SdNotifyReady)
		answer <- err
	}
}

// reload takes over the configuration as it is now, all of it or nothing.
func (a *agent) reload(ctx context.Context) (path string, err error) {
	cfg, path, err := a.options.Load()
	if err != nil {
		return path, err
	}
	if err := a.options.mayListen(cfg); err != nil {
		return path, err
	}
	rules, channels, err := a.compile(cfg, path)
	if err != nil {
		return path, err
	}
	beats, err := heartbeatSwitch(cfg, a.dialer)
	if err != nil {
		return path, err
	}
	regions, err := a.ranges.regions(cfg, path)
	if err != nil {
		return path, err
	}
	for i := range regions {
		if r := &regions[i]; r.Limit != "" {
			a.log.Warn("a region stays as it was", "region", r.Name, "problem", r.Limit)
		}
	}
	responses, err := a.bind(cfg, path)
	if err != nil {
		return path, err
	}
	db, err := ASNDatabase(cfg, path)
	if err != nil {
		return path, err
	}
	return path, a.ask(ctx, func(h *Host) error {
		a.responses.configure(responses)
		a.run(a.notices.configure(channels))
		if keys := a.needRestart(cfg); len(keys) > 0 {
			a.log.Warn("what changes only with a restart was changed", "keys", strings.Join(keys, ", "))
		}
		a.config = cfg
		a.keeper.configure(cfg)
		a.configureHeart(cfg, beats)
		a.setPools(cfg.Backends)
		a.silences.configure(cfg)
		h.Configure(a.clock.Now(), cfg, rules)
		h.SetRegions(regions)
		a.follower.networks.set(db)
		a.follower.configure(cfg)
		return nil
	})
}

// needRestart names what the next configuration changes in vain.
func (a *agent) needRestart(next config.Config) []string {
	var keys []string
	for _, x := range []struct {
		key     string
		changed bool
	}{
		{"name", next.Name != a.config.Name},
		{"listen", next.Listen != a.config.Listen && !a.options.Listen.IsValid()},
		{"token", next.Token != a.config.Token},
		{"tls", next.TLS != a.config.TLS},
		{"read_token", next.ReadToken != a.config.ReadToken},
		{"state_dir", next.StateDir != a.config.StateDir && a.options.StateDir == ""},
	} {
		if x.changed {
			keys = append(keys, x.key)
		}
	}
	return keys
}

package agent

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/dial"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/notify"
	"github.com/foreshock/foreshock/internal/rule"
)

// notices decides who is told what, and keeps what is on its way.
type notices struct {
	planner *notify.Planner
	outbox  *notify.Outbox
	lanes   []*notify.Lane // to be run by whoever owns the goroutines
}

func newNotices(cfg config.Config, host string, log *slog.Logger, dialer *dial.Dialer) (*notices, error) {
	told, err := notifyConfig(cfg, host, log, dialer)
	if err != nil {
		return nil, err
	}
	n := &notices{}
	if n.planner, err = notify.NewPlanner(told); err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	random := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	if n.outbox, n.lanes, err = notify.NewOutbox(random, told.Channels); err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	return n, nil
}

// configure takes over new channels and returns the lanes that are to be run
// on top of those there are. With an error nothing changes.
func (n *notices) configure(told notify.Config) ([]*notify.Lane, error) {
	lanes, err := n.outbox.Configure(told.Channels)
	if err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	if err := n.planner.Configure(told); err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	return lanes, nil
}

// tell hands what is due to the outbox.
func (n *notices) tell(now time.Time, offset time.Duration, incidents []judge.Incident) {
	if due := n.planner.Plan(now, offset, incidents); len(due) > 0 {
		n.outbox.Put(due)
	}
}

// notifyConfig maps the user's file to the channels, and reads their secrets.
func notifyConfig(cfg config.Config, host string, log *slog.Logger, dialer *dial.Dialer) (notify.Config, error) {
	out := notify.Config{Host: host, Labels: cfg.Labels, PublicURL: cfg.PublicURL}
	for _, c := range cfg.Notify {
		channel := notify.Channel{Name: c.Name}
		for _, s := range c.Severities {
			severity, err := rule.ParseSeverity(s)
			if err != nil {
				return notify.Config{}, fmt.Errorf("notify %s: %w", c.Name, err)
			}
			channel.Severities = append(channel.Severities, severity)
		}
		switch {
		case c.Webhook != nil:
			channel.Webhook = &notify.Webhook{URL: c.Webhook.URL, Dial: dialer.DialContext}
			if !c.Webhook.Secret.IsZero() {
				key, err := c.Webhook.Secret.Read()
				if err != nil {
					return notify.Config{}, fmt.Errorf("notify %s: read the webhook's secret: %w", c.Name, err)
				}
				channel.Webhook.Key = []byte(key)
			}
		case c.Alertmanager != nil:
			channel.Alertmanager = &notify.Alertmanager{URLs: c.Alertmanager.URLs, Dial: dialer.DialContext}
		case c.Log:
			channel.Log = log
		}
		out.Channels = append(out.Channels, channel)
	}
	return out, nil
}

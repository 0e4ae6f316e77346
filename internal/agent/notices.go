package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/dial"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/notify"
	"github.com/foreshock/foreshock/internal/rule"
)

// notices decides who is told what, and keeps what is on its way.
type notices struct {
	planner *notify.Planner
	outbox  *notify.Outbox
	keeper  *keeper
	lanes   []*notify.Lane // to be run by whoever owns the goroutines
	log     *slog.Logger
	said    map[string]notify.Status // the loop's: what the log was told of each channel, by its name
	// stale: the counts are not those of the history any more.
	stale  atomic.Bool
	mu     sync.Mutex
	counts []history.OutboxCount // what the history has
}

func newNotices(channels notify.Config, keeper *keeper, log *slog.Logger) *notices {
	n := &notices{planner: notify.NewPlanner(channels), keeper: keeper, log: log, said: map[string]notify.Status{}}
	n.outbox, n.lanes = notify.NewOutbox(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), n.ended, channels.Channels)
	keeper.mail = n
	return n
}

// configure takes over new channels and returns the lanes that are to be run
// on top of those there are. What waits for a channel that goes is undelivered.
func (n *notices) configure(channels notify.Config) []*notify.Lane {
	before := n.status()
	n.planner.Configure(channels)
	lanes := n.outbox.Configure(channels.Channels)
	after := n.status()
	for _, s := range before {
		if s.Queued > 0 && !slices.ContainsFunc(after, func(x notify.Status) bool { return x.Name == s.Name && x.Kind == s.Kind }) {
			n.log.Warn("a channel was taken out before all its notices were delivered", "channel", s.Name, "undelivered", s.Queued, "error", s.LastError)
			n.keeper.put(entry{
				size:  len(s.Name),
				write: func(st *history.Store) error { return n.giveUp(st, s.Name, s.Kind) },
				done:  func(bool) { n.stale.Store(true) },
			})
		}
	}
	return lanes
}

// status is how the channels do. What changed since it was asked last is
// logged: an alert that reaches nobody must not look like calm.
func (n *notices) status() []notify.Status {
	all := n.outbox.Status()
	now := make(map[string]notify.Status, len(all))
	for i := range all {
		all[i].DeadLetters = n.deadLetters(all[i].Name, all[i].Kind)
		s := all[i]
		was := n.said[s.Name]
		if was.Kind != s.Kind {
			was = notify.Status{}
		}
		now[s.Name] = s
		if s.Undelivered > was.Undelivered {
			n.log.Error("notices were given up: this channel was not told", "channel", s.Name, "notices", s.Undelivered-was.Undelivered, "error", s.LastError)
		}
		if s.Unkept > was.Unkept && n.keeper.dir != "" {
			n.log.Warn("notices were sent before the history had them: a crash would have lost them", "channel", s.Name, "notices", s.Unkept-was.Unkept)
		}
		switch {
		case s.Failing && !was.Failing:
			n.log.Warn("notices are not delivered: trying again", "channel", s.Name, "queued", s.Queued, "error", s.LastError)
		case was.Failing && !s.Failing:
			n.log.Info("notices are delivered again", "channel", s.Name)
		}
	}
	n.said = now
	return all
}

// end says what waits, and what is lost, as the agent stops.
func (n *notices) end() {
	for _, s := range n.status() {
		if s.Kept > 0 {
			n.log.Info("notices wait in the history for the next start", "channel", s.Name, "waiting", s.Kept, "error", s.LastError)
		}
		if lost := s.Queued - s.Kept; lost > 0 {
			n.log.Warn("stopped before all notices were delivered", "channel", s.Name, "lost", lost, "error", s.LastError)
		}
	}
}

// tell hands what is due to the outbox.
func (n *notices) tell(now time.Time, offset time.Duration, incidents []judge.Incident) {
	due := n.planner.Plan(now, offset, incidents)
	n.put(due, n.changed())
}

// changed is what is to be remembered of what was told since it was asked last.
func (n *notices) changed() []history.Memory {
	changed := n.planner.Changed()
	memories := make([]history.Memory, 0, len(changed))
	for _, m := range changed {
		memories = append(memories, history.Memory(m))
	}
	return memories
}

// notifyConfig maps the user's file to the channels, and reads their secrets.
func notifyConfig(cfg config.Config, host string, log *slog.Logger, dialer *dial.Dialer) (notify.Config, error) {
	out := notify.Config{Host: host, Labels: cfg.Labels, PublicURL: cfg.PublicURL}
	for _, c := range cfg.Notify {
		channel := notify.Channel{Name: c.Name, Only: c.Only, Calm: notify.Calm(c.Calm), GiveUp: c.GiveUp, MaxPerHour: c.MaxPerHour}
		for _, s := range c.Severities {
			severity, _ := rule.ParseSeverity(s) // the configuration has checked it
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
		case c.Library != nil:
			service, err := notifyService(c, log)
			if err != nil {
				return notify.Config{}, fmt.Errorf("notify %s: %w", c.Name, err)
			}
			channel.Library = service
		case c.Alertmanager != nil:
			channel.Alertmanager = &notify.Alertmanager{URLs: c.Alertmanager.URLs, Dial: dialer.DialContext}
		case c.Log:
			channel.Log = log
		}
		out.Channels = append(out.Channels, channel)
	}
	return out, nil
}

// deliverer is the program that sends for the notification library: ourselves,
// also where the file was replaced by a newer one meanwhile.
var deliverer = []string{"/proc/self/exe", "notify", "deliver"}

func notifyService(c config.Channel, log *slog.Logger) (*notify.Library, error) {
	address, err := c.Library.URL.Read()
	if err != nil {
		return nil, fmt.Errorf("read the service's address: %w", err)
	}
	if err := notify.CheckService(address); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Library.URL, err)
	}
	template, err := notify.ParseTemplate(c.Library.Template.Title, c.Library.Template.Body)
	if err != nil {
		return nil, err // Templates says it with its place, and is asked first
	}
	return &notify.Library{URL: address, Program: deliverer, Template: template, Log: log}, nil
}

// Templates tries the templates of a configuration. file is its name, for
// messages: the error joins one for each problem.
func Templates(cfg config.Config, file string) error {
	var errs []error
	for _, c := range cfg.Notify {
		if c.Library == nil {
			continue
		}
		_, err := notify.ParseTemplate(c.Library.Template.Title, c.Library.Template.Body)
		if wrong, ok := errors.AsType[*notify.TemplateError](err); ok {
			errs = append(errs, c.RefusedTemplate(file, wrong.Part, wrong.Line, wrong.Problem))
		} else if err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Channels makes the channels of a configuration ready to send from another
// program than the agent: their connections are no concern of its counts.
func Channels(cfg config.Config, log *slog.Logger) (notify.Config, error) {
	host, err := hostName(cfg)
	if err != nil {
		return notify.Config{}, err
	}
	return notifyConfig(cfg, host, log, dial.New())
}

// Package agent is the roof of one host: it wires the pipeline to the API, and
// owns every goroutine.
//
// [Run] blocks until its context ends. One loop looks, measures and judges on
// a thread of its own; it publishes immutable snapshots, which the HTTP server
// and the service manager's watchdog read.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/dial"
	"github.com/foreshock/foreshock/internal/metrics"
	"github.com/foreshock/foreshock/internal/notify"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/web"
)

// Options is what Run needs.
type Options struct {
	// Config is the checked configuration; ConfigPath the file it came from,
	// read again on SIGHUP. Empty: there was none, and a reload changes
	// nothing.
	Config     config.Config
	ConfigPath string
	// Listen, when valid, goes before the configuration's address, also after
	// a reload.
	Listen  string
	Log     *slog.Logger
	Version string
	// Announce, when set, is called once, when the agent has looked with every
	// tier and its page can be opened.
	Announce func(*api.Snapshot, string)
}

// shutdownTimeout is how long open requests may take to end.
const shutdownTimeout = 3 * time.Second

// Run runs the agent until ctx ends, and returns nil then.
func Run(ctx context.Context, o Options) error {
	a, err := newAgent(o)
	if err != nil {
		return err
	}
	listener, err := listen(a.address())
	if err != nil {
		return err
	}
	defer listener.Close()
	handler, err := a.handler(listener.Addr().String())
	if err != nil {
		return err
	}
	server := api.NewHTTPServer(handler, o.Log)

	// The server's requests end with serving: event streams would otherwise
	// keep Shutdown waiting.
	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	server.BaseContext = func(net.Listener) context.Context { return serving }

	group, ctx := errgroup.WithContext(ctx)
	a.run = func(lanes []*notify.Lane) {
		for _, lane := range lanes {
			group.Go(func() error { return lane.Run(ctx) })
		}
	}
	a.run(a.notices.lanes)
	group.Go(func() error { return a.loop(ctx) })
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve the API: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		stopServing()
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if err := server.Shutdown(limited); err != nil {
			return errors.Join(fmt.Errorf("stop the API: %w", err), server.Close())
		}
		return nil
	})
	group.Go(func() error { return a.askBalancers(ctx) })
	group.Go(func() error { return a.watchSignals(ctx) })
	group.Go(func() error { return a.tellServiceManager(ctx) })
	group.Go(func() error { return a.announce(ctx, listener.Addr().String()) })
	err = group.Wait()
	a.notices.end()
	return err
}

// listen opens the API's port. Its errors say who may be there already.
func listen(address string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen on %s: the port is in use, perhaps by another foreshock agent: stop that one, or choose another with --listen", address)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("listen on %s: not allowed; ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one with --listen", address)
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return listener, nil
}

func newAgent(o Options) (*agent, error) {
	host, err := hostName(o.Config)
	if err != nil {
		return nil, err
	}
	a := &agent{
		options: o, log: o.Log, host: host, clock: NewClock(),
		requests: make(chan request),
		dialer:   dial.New(),

		poolsChanged: make(chan struct{}, 1),
	}
	a.setPools(o.Config.Backends)
	channels, err := notifyConfig(o.Config, host, o.Log, a.dialer)
	if err != nil {
		return nil, err
	}
	a.notices = newNotices(channels, o.Log)
	_, warnings, err := Rules(o.Config, o.ConfigPath)
	if err != nil {
		return nil, err
	}
	a.warn(warnings)
	a.started = a.clock.Now()
	a.desk = newDesk(a.clock.Now, &api.Snapshot{Host: host, Labels: o.Config.Labels, Version: o.Version, StartedAt: a.started, At: a.started})
	return a, nil
}

// setPools tells askBalancers whom to ask.
func (a *agent) setPools(pools []config.Backends) {
	a.pools.Store(&pools)
	select {
	case a.poolsChanged <- struct{}{}:
	default: // it has not yet looked at the last change
	}
}

// warn says which rules can never match or never end.
func (a *agent) warn(warnings []string) {
	for _, w := range warnings {
		a.log.Warn("a rule that means something else, perhaps", "says", w)
	}
}

func hostName(cfg config.Config) (string, error) {
	if cfg.Name != "" {
		return cfg.Name, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("find the host's name: %w; set name: in the configuration", err)
	}
	return name, nil
}

func (a *agent) address() string {
	if a.options.Listen != "" {
		return a.options.Listen
	}
	return a.options.Config.Listen.String()
}

func (a *agent) handler(address string) (http.Handler, error) {
	token := ""
	if !a.options.Config.Token.IsZero() {
		var err error
		if token, err = a.options.Config.Token.Read(); err != nil {
			return nil, fmt.Errorf("read the token: %w", err)
		}
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("read our own address: %w", err)
	}
	return api.New(api.Config{
		Source: a, Actor: a, Token: token, Log: a.log,
		Web: web.New(a), Metrics: metrics.Handler(a, a.options.Version),
		AllowedHosts: []string{host, a.host},
	})
}

// loop looks, measures and judges until ctx ends. The thread is its own: its
// processor time is what looks cost, and no other goroutine disturbs it.
func (a *agent) loop(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	h, err := NewHost(a.options.Config, observe.Auto, a.dialer)
	if err != nil {
		return err
	}
	defer h.Close()
	h.own.place.processes.read = limitReader()
	if own := h.own; own.fallback != nil {
		a.log.Warn("sock_diag is refused: reading /proc instead", "reason", own.fallback.Error(), "lost", own.reader.Abilities().Missing())
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		turn, at := h.Next(a.clock.Now())
		timer.Reset(at.Sub(a.clock.Now()))
		select {
		case <-ctx.Done():
			return nil
		case r := <-a.requests:
			r.answer <- r.do(h)
			a.publish(h, true)
			continue
		case <-a.wake:
			_, whole := a.due()
			a.publish(h, whole)
			continue
		case <-timer.C:
		}
		now := a.clock.Now()
		if step := a.clock.Check(); step != 0 {
			a.log.Warn("the wall clock was set: measuring goes on undisturbed", "by", step)
		}
		incidents, err := h.Tick(now, turn)
		if errors.Is(err, netns.ErrStuck) {
			return fmt.Errorf("read other network namespaces: %w", err)
		}
		h.budget.Spent(a.clock.Now(), processTime())
		a.report(incidents, turn, err)
		a.notices.tell(now, a.clock.Offset(), incidents)
		a.keep(h, incidents)
	}
}

// request is something another goroutine wants done between two looks.
type request struct {
	do     func(*Host) error
	answer chan error // room for one, so that the loop never waits
}

// ask hands do to the loop and waits for its answer.
func (a *agent) ask(ctx context.Context, do func(*Host) error) error {
	r := request{do, make(chan error, 1)}
	select {
	case a.requests <- r:
	case <-ctx.Done():
		return fmt.Errorf("the agent is stopping: %w", ctx.Err())
	}
	select {
	case err := <-r.answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the agent is stopping: %w", ctx.Err())
	}
}

// Acknowledge implements api.Actor.
func (a *agent) Acknowledge(ctx context.Context, id uint64, by string) error {
	return a.ask(ctx, func(h *Host) error {
		if !h.Acknowledge(a.clock.Now(), id, by) {
			return api.ErrNoIncident
		}
		return nil
	})
}

// Reload implements api.Actor.
func (a *agent) Reload(ctx context.Context) error {
	if a.options.ConfigPath == "" {
		return errors.New("there is no configuration file to reload: start the agent with --config FILE")
	}
	cfg, err := config.Load(a.options.ConfigPath)
	if err != nil {
		return fmt.Errorf("the running configuration stays: %w", err)
	}
	rules, warnings, err := Rules(cfg, a.options.ConfigPath)
	if err != nil {
		return fmt.Errorf("the running configuration stays: %w", err)
	}
	a.warn(warnings)
	channels, err := notifyConfig(cfg, a.host, a.log, a.dialer)
	if err != nil {
		return fmt.Errorf("the running configuration stays: %w", err)
	}
	return a.ask(ctx, func(h *Host) error {
		a.run(a.notices.configure(channels))
		if cfg.Listen != a.options.Config.Listen || !sameToken(cfg, a.options.Config) {
			a.log.Warn("listen and token change only with a restart")
		}
		a.options.Config = cfg
		a.setPools(cfg.Backends)
		h.Configure(a.clock.Now(), cfg, rules)
		return nil
	})
}

// watchSignals reloads on SIGHUP.
func (a *agent) watchSignals(ctx context.Context) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangups:
		}
		a.notify(daemon.SdNotifyReloading)
		if err := a.Reload(ctx); err != nil {
			a.log.Error("reload", "error", err.Error())
		} else {
			a.log.Info("reloaded", "config", a.options.ConfigPath)
		}
		a.notify(daemon.SdNotifyReady)
	}
}

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
	for !a.latest().Ready {
		select {
		case <-ctx.Done():
			return nil
		case <-a.Changed():
		}
	}
	a.notify(daemon.SdNotifyReady)
	for {
		select {
		case <-ctx.Done():
			a.notify(daemon.SdNotifyStopping)
			return nil
		case <-ticker.C:
			if a.clock.Now().Sub(a.Status().At) < every {
				a.notify(daemon.SdNotifyWatchdog)
			}
		}
	}
}

func (a *agent) notify(state string) {
	if state == daemon.SdNotifyReloading {
		// sd_notify(3) wants the time with it, for units of Type=notify-reload.
		state += fmt.Sprintf("\nMONOTONIC_USEC=%d", monotonicMicroseconds())
	}
	if _, err := daemon.SdNotify(false, state); err != nil {
		a.log.Warn("service manager: not told", "error", err.Error())
	}
}

func (a *agent) announce(ctx context.Context, address string) error {
	if a.options.Announce == nil {
		return nil
	}
	for {
		if s := a.latest(); s.Ready {
			a.options.Announce(s, address)
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.Changed():
		}
	}
}

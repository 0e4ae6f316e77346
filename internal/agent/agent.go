// Package agent is the roof of one host: it wires the pipeline to the API, and
// owns every goroutine.
//
// [Run] blocks until its context ends. One loop looks, measures and judges on
// a thread of its own; it publishes immutable snapshots, which the HTTP server
// and the service manager's watchdog read.
package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/dial"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/metrics"
	"github.com/foreshock/foreshock/internal/notify"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/web"
)

// Options is what Run needs.
type Options struct {
	// Load reads the configuration, at the start and again at each reload, with
	// the path of its file for messages: empty where there is none, and the
	// defaults hold. It must not wait for anybody.
	Load func() (cfg config.Config, path string, err error)
	// Listen, when valid, goes before the configuration's address, also after
	// a reload.
	Listen  netip.AddrPort
	Log     *slog.Logger
	Version string
	// StateDir, unless empty, goes before the configuration's state_dir: an
	// absolute path, or config.NoStateDir.
	StateDir string
	// Announce, when set, is called once, when the agent has looked with every
	// tier and its page can be opened.
	Announce func(*api.Snapshot, string)
	// Abandoned, when set, reports whether who started the agent by hand has
	// gone with his terminal: then SIGHUP says so, and ends it.
	Abandoned func() bool
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
	if at, err := netip.ParseAddrPort(listener.Addr().String()); err == nil && !at.Addr().IsLoopback() {
		a.log.Warn("everybody who can connect may read page, API and metrics: put a proxy before it, or listen on loopback", "listen", at.String())
	}
	handler, err := a.handler(listener.Addr().String())
	if err != nil {
		return err
	}
	server := api.NewHTTPServer(handler, o.Log)
	if err := a.keeper.start(); err != nil {
		return err
	}

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
	looped := make(chan struct{})
	group.Go(func() error {
		defer close(looped)
		defer a.recorder.flush() // its last segment is kept too
		return a.loop(ctx)
	})
	group.Go(func() error { return a.keeper.run(ctx, looped) })
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
	group.Go(func() error { return a.learn(ctx) })
	group.Go(func() error { return a.watchReloads(ctx) })
	group.Go(func() error { return a.tellServiceManager(ctx) })
	group.Go(func() error { return a.announce(ctx, listener.Addr().String()) })
	err = group.Wait()
	a.notices.end()
	if errors.Is(err, errAbandoned) {
		a.log.Info("ended: its terminal was closed")
		return nil
	}
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
	cfg, path, err := o.Load()
	if err != nil {
		return nil, err
	}
	host, err := hostName(cfg)
	if err != nil {
		return nil, err
	}
	a := &agent{
		options: o, config: cfg, startConfig: cfg, lessons: newLessons(), log: o.Log, host: host, clock: NewClock(),
		requests: make(chan request),
		reloads:  make(chan chan error),
		dialer:   dial.New(),
		recorder: newRecorder(),

		poolsChanged: make(chan struct{}, 1),
	}
	a.setPools(cfg.Backends)
	rules, channels, err := a.compile(cfg, path)
	if err != nil {
		return nil, err
	}
	if a.regions, err = a.ranges.regions(cfg, path); err != nil {
		return nil, err
	}
	a.rules, a.notices = rules, newNotices(channels, o.Log)
	a.keeper = newKeeper(cfg, o.StateDir, o.Version, o.Log)
	if a.keeper.dir != "" {
		a.recorder.finished = a.keeper.segment
	}
	a.started = a.clock.Now()
	a.desk = newDesk(a.clock.Now, &api.Snapshot{Host: host, Labels: cfg.Labels, Version: o.Version, StartedAt: a.started, At: a.started, History: a.keeper.shown()})
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

// compile makes the rules and the channels of a configuration, and says which
// rules can never match or never end.
func (a *agent) compile(cfg config.Config, path string) ([]rule.Rule, notify.Config, error) {
	rules, warnings, err := Rules(cfg, path)
	if err != nil {
		return nil, notify.Config{}, err
	}
	for _, w := range warnings {
		a.log.Warn("a rule that means something else, perhaps", "says", w)
	}
	channels, err := notifyConfig(cfg, a.host, a.log, a.dialer)
	return rules, channels, err
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
	if a.options.Listen.IsValid() {
		return a.options.Listen.String()
	}
	return a.config.Listen.String()
}

func (a *agent) handler(address string) (http.Handler, error) {
	token := ""
	if !a.config.Token.IsZero() {
		var err error
		if token, err = a.config.Token.Read(); err != nil {
			return nil, fmt.Errorf("read the token: %w", err)
		}
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("read our own address: %w", err)
	}
	return api.New(api.Config{
		Source: a, Actor: a, Past: a.keeper, Recorder: a, Learner: a, Token: token, Log: a.log,
		Web: web.New(a), Metrics: metrics.Handler(a, a.options.Version),
		AllowedHosts: []string{host, a.host},
	})
}

// loop looks, measures and judges until ctx ends. The thread is its own: its
// processor time is what looks cost, and no other goroutine disturbs it.
func (a *agent) loop(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	h, err := NewHost(a.config, a.rules, observe.Auto, a.dialer)
	if err != nil {
		return err
	}
	defer h.Close()
	h.SetRegions(a.regions)
	h.own.place.processes.read = limitReader()
	a.record(h)
	if own := h.own; own.fallback != nil {
		a.log.Warn("sock_diag is refused: reading /proc instead", "reason", own.fallback.Error(), "lost", own.reader.Abilities().Missing())
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	// Where the next look is due already the loop does not sleep: to wake a
	// goroutine that is locked to its thread costs as much as a pulse.
	overdue := make(chan time.Time)
	close(overdue)
	for {
		turn, at := h.Next(a.clock.Now())
		due := (<-chan time.Time)(overdue)
		if wait := at.Sub(a.clock.Now()); wait > 0 {
			timer.Reset(wait)
			due = timer.C
		}
		select {
		case <-ctx.Done():
			return nil
		case r := <-a.requests:
			err := r.do(h)
			a.incidents = h.court.Incidents(a.clock.Now())
			a.keeper.note(a.clock.Offset(), a.incidents, h.LastNumber())
			a.publish(h, true)
			r.answer <- err // who asked sees it done
			continue
		case <-a.wake:
			_, whole := a.due()
			a.publish(h, whole)
			continue
		case <-due:
		}
		now := a.clock.Now()
		h.NumberAfter(a.keeper.last.Load())
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
		a.keeper.note(a.clock.Offset(), incidents, h.LastNumber())
		a.keep(h, incidents)
		a.gather(now, h, turn)
	}
}

// request is something another goroutine wants done between two looks.
type request struct {
	do     func(*Host) error
	answer chan error // room for one, so that the loop never waits
}

// ask hands do to the loop and waits for its answer.
func (a *agent) ask(ctx context.Context, do func(*Host) error) error {
	answer := make(chan error, 1)
	return hand(ctx, a.requests, request{do, answer}, answer)
}

// hand sends a request and waits for its answer.
func hand[T any](ctx context.Context, to chan<- T, request T, answer <-chan error) error {
	select {
	case to <- request:
	case <-ctx.Done():
		return fmt.Errorf("the agent is stopping: %w", ctx.Err())
	}
	select {
	case err := <-answer:
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
		a.keeper.change(history.Change{At: time.Now(), Who: by, What: "acknowledge", Detail: "incident " + strconv.FormatUint(id, 10)})
		return nil
	})
}

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
	rules, channels, err := a.compile(cfg, path)
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
	return path, a.ask(ctx, func(h *Host) error {
		a.run(a.notices.configure(channels))
		if keys := a.needRestart(cfg); len(keys) > 0 {
			a.log.Warn("what changes only with a restart was changed", "keys", strings.Join(keys, ", "))
		}
		a.config = cfg
		a.keeper.configure(cfg)
		a.setPools(cfg.Backends)
		h.Configure(a.clock.Now(), cfg, rules)
		h.SetRegions(regions)
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
		{"state_dir", next.StateDir != a.config.StateDir && a.options.StateDir == ""},
	} {
		if x.changed {
			keys = append(keys, x.key)
		}
	}
	return keys
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

func (a *agent) announce(ctx context.Context, address string) error {
	if a.options.Announce == nil {
		return nil
	}
	if s := a.firstReady(ctx); s != nil {
		a.options.Announce(s, address)
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

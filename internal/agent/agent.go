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
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/dial"
	"github.com/foreshock/foreshock/internal/metrics"
	"github.com/foreshock/foreshock/internal/notify"
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
	// tier and its page can be opened, with where that is: "http://127.0.0.1:9748".
	Announce func(s *api.Snapshot, base string)
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
	handler, err := a.handler(listener.Addr().String())
	if err != nil {
		return err
	}
	serves, base := a.secured(listener)
	server := api.NewHTTPServer(handler, o.Log)
	if err := a.keeper.start(); err != nil {
		return err
	}

	recalled := a.recallNow(ctx)
	quiet := a.silences.list.All() // the list is the loop's from here

	// The server's requests end with serving: event streams would otherwise
	// keep Shutdown waiting.
	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	server.BaseContext = func(net.Listener) context.Context { return serving }

	group, ctx := errgroup.WithContext(ctx)
	var delivering sync.WaitGroup
	a.run = func(lanes []*notify.Lane) {
		for _, lane := range lanes {
			delivering.Add(1)
			group.Go(func() error {
				defer delivering.Done()
				return lane.Run(ctx)
			})
		}
	}
	a.run(a.notices.lanes)
	a.responses.start = func(do func(context.Context)) {
		group.Go(func() error { do(ctx); return nil })
	}
	looped := make(chan struct{})
	group.Go(func() error {
		defer close(looped)
		defer delivering.Wait()  // so that what was delivered last is kept too
		defer a.recorder.flush() // as is its last segment
		return a.loop(ctx)
	})
	group.Go(func() error { return a.keeper.run(ctx, looped) })
	group.Go(func() error {
		if err := server.Serve(serves); !errors.Is(err, http.ErrServerClosed) {
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
	group.Go(func() error { return a.askNames(ctx) })
	group.Go(func() error { return a.probeNames(ctx) })
	group.Go(func() error { return a.learn(ctx, quiet) })
	if !recalled {
		group.Go(func() error { return a.recall(ctx) })
	}
	group.Go(func() error { return a.recallResponses(ctx) })
	group.Go(func() error { return a.watchReloads(ctx) })
	group.Go(func() error { return a.watchSecrets(ctx) })
	group.Go(func() error {
		if a.firstReady(ctx) == nil {
			return nil
		}
		return a.heart.run(ctx)
	})
	group.Go(func() error { return a.tellServiceManager(ctx) })
	group.Go(func() error { return a.announce(ctx, base) })
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
	if err := o.mayListen(cfg); err != nil {
		return nil, err
	}
	host, err := hostName(cfg)
	if err != nil {
		return nil, err
	}
	served, err := openCertificate(cfg)
	if err != nil {
		return nil, err
	}
	a := &agent{
		certificate: served,
		options:     o, config: cfg, startConfig: cfg, lessons: newLessons(), log: o.Log, host: host, clock: NewClock(),
		requests: make(chan request),
		reloads:  make(chan chan error),
		dialer:   dial.New(),
		recorder: newRecorder(),
		playing:  make(chan struct{}, 1),

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
	beats, err := heartbeatSwitch(cfg, a.dialer)
	if err != nil {
		return nil, err
	}
	db, err := ASNDatabase(cfg, path)
	if err != nil {
		return nil, err
	}
	a.follower = newFollower(host, o.Log)
	a.follower.networks.set(db)
	a.follower.configure(cfg)
	a.heart = newHeart(o.Log, a.looks)
	a.configureHeart(cfg, beats)
	a.silences.configure(cfg)
	responses, err := a.bind(cfg, path)
	if err != nil {
		return nil, err
	}
	a.responses = newResponder(responses, o.Log)
	a.keeper = newKeeper(cfg, o.StateDir, o.Version, o.Log)
	a.rules, a.notices = rules, newNotices(channels, a.keeper, o.Log)
	if a.keeper.dir != "" {
		a.recorder.finished, a.recorder.ring = a.keeper.segment, nil // it has them
	}
	a.started = a.clock.Now()
	a.desk = newDesk(a.clock.Now, &api.Snapshot{Host: host, Labels: cfg.Labels, Version: o.Version, StartedAt: a.started, At: a.started, History: a.keeper.shown(), Heartbeat: a.heart.shown()})
	return a, nil
}

// bind makes the responses of a configuration, and says which hooks cannot run.
func (a *agent) bind(cfg config.Config, path string) (boundResponses, error) {
	warnings, err := CheckResponses(cfg, path)
	if err != nil {
		return boundResponses{}, err
	}
	for _, w := range warnings {
		a.log.Warn("a hook cannot be run", "says", w)
	}
	return bindResponses(cfg, a.host, a.dialer)
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
	if err := Templates(cfg, path); err != nil {
		return nil, notify.Config{}, err
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
	token, readToken, err := readTokens(a.config)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("read our own address: %w", err)
	}
	c := api.Config{
		Source: a, Actor: a, Past: a.keeper, Outbox: a.notices, Evidences: a, Recorder: a, Player: a, Learner: a, Silencer: a, Drainer: a, Token: token, ReadToken: readToken, Log: a.log,
		Web: web.New(a), Metrics: metrics.Handler(a, a.options.Version),
		AllowedHosts: []string{host, a.host}, ClientCertificates: a.config.TLS.ClientCA != "",
	}
	if a.certificate != nil {
		c.Vouches = a.certificate.Vouches
	}
	return api.New(c)
}

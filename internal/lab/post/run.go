package post

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// Config is one run.
type Config struct {
	Agent  string        // the program
	Outage time.Duration // for how long all receivers are down
	Kills  int           // of the agent, spread over the outage and what follows
	// Services is how many servers open and close an incident each, in turn.
	Services int
}

// busy is for how long a server has connections, and again none: long enough for
// an incident to open, and to resolve.
const busy, idle = 6 * time.Second, 14 * time.Second

// Run plays one run in a directory of its own, which it removes.
func Run(ctx context.Context, c Config, progress func(string)) (Result, error) {
	out := Result{Outage: c.Outage, Kills: c.Kills, Alerts: -1}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir, err := os.MkdirTemp("", "foreshock-post-")
	if err != nil {
		return out, err
	}
	defer os.RemoveAll(dir)
	r := &receivers{seen: map[string]int{}, bodies: map[string][]byte{}, alerts: map[string]bool{}}
	var absent *lab.ErrMissing
	switch stop, err := r.startAlertmanager(dir); {
	case errors.As(err, &absent):
		progress(absent.Error())
	case err != nil:
		return out, err
	default:
		defer stop()
	}
	o, why, err := startOutside(dir)
	if err != nil {
		return out, err
	}
	defer o.stop()
	if why != nil {
		progress(why.Error())
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return out, err
	}
	server := &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	servers, err := startServers(c.Services)
	if err != nil {
		return out, err
	}
	defer servers.close()
	a := &agent{program: c.Agent, dir: dir, environment: o.environment()}
	if err := a.configure(listener.Addr().String(), servers, r.proxy != nil, o.addresses()); err != nil {
		return out, err
	}
	if err := a.start(ctx); err != nil {
		return out, err
	}
	defer a.kill()
	if err := play(ctx, c, r, o, a, servers, progress); err != nil {
		return out, err
	}
	if err := errors.Join(a.stop(), o.settled(ctx)); err != nil {
		return out, err
	}
	if err := count(&out, a.state(), r); err != nil {
		return out, err
	}
	out.Told, err = o.told(r.steps())
	return out, err
}

// play lets incidents come and go, with an outage in the middle and kills in it
// and behind it, until all is told.
func play(ctx context.Context, c Config, r *receivers, o *outside, a *agent, s *servers, progress func(string)) error {
	playing, stop := context.WithCancel(ctx)
	defer stop()
	played := make(chan struct{})
	go func() {
		defer close(played)
		s.play(playing)
	}()
	sleep(ctx, busy+idle)
	progress(fmt.Sprintf("all receivers are down, for %s", c.Outage))
	if err := outage(ctx, c, r, o, a, progress); err != nil {
		return err
	}
	sleep(ctx, busy+idle)
	stop()
	<-played
	// What was open at a kill and is not seen again is over 2 minutes later, or 10.
	// The API's picture is up to a second old: what is told then is not among the
	// incidents that have it drawn anew.
	var since time.Time
	return until(ctx, 15*time.Minute, "all incidents are over and told", func() bool {
		switch {
		case !a.quiet(ctx) || r.lasting() > 0:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		}
		return !since.IsZero() && time.Since(since) >= 3*time.Second
	})
}

// outage has all receivers down, and kills the agent, the last time when what
// waited is on its way again.
func outage(ctx context.Context, c Config, r *receivers, o *outside, a *agent, progress func(string)) error {
	r.down.Store(true)
	over := make(chan error, 1)
	go func() { over <- o.outage(ctx, c.Outage) }()
	for kill := range c.Kills - 1 {
		sleep(ctx, c.Outage/time.Duration(c.Kills))
		progress(fmt.Sprintf("kill -9, the %d. time", kill+1))
		if err := a.again(ctx); err != nil {
			return errors.Join(err, <-over)
		}
	}
	if err := <-over; err != nil {
		return err
	}
	before, err := o.took()
	if err := errors.Join(err, o.back()); err != nil {
		return err
	}
	r.down.Store(false)
	progress("they are up again")
	if c.Kills == 0 {
		return nil
	}
	if err := o.rising(ctx, before); err != nil {
		return err
	}
	progress("kill -9 while they take what waited")
	return a.again(ctx)
}

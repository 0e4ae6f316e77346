package detect

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// serve starts the application, the server and what stands in front of it.
func (st *stage) serve(ctx context.Context) error {
	app := st.cell.App
	app.Listen = netip.AddrPortFrom(st.apps.Addr(), appPort)
	behind, err := st.apps.Serve(ctx, app)
	if err != nil {
		return err
	}
	if st.software, err = st.server.Serve(ctx, st.cell.Software(behind.Addr())); err != nil {
		return err
	}
	st.target = netip.AddrPortFrom(st.server.Addr(), st.software.Addr().Port())
	asked := st.target
	if st.cell.Front {
		front, err := st.world.Host("front").Serve(ctx, lab.HAProxy{Backends: []netip.AddrPort{st.target}})
		if err != nil {
			return err
		}
		asked = front.Addr()
	}
	st.url = fmt.Sprintf("http://%s%s", asked, st.cell.Path)
	return nil
}

// workersRun is all that was seen in one run.
type workersRun struct {
	began     time.Time // the load
	queue     time.Time // since when the accept queue was not empty; zero for never
	polls     Polls
	records   []lab.Record
	heard     heard      // when the load ended
	incidents []incident // when they had ended too, or a minute later
}

// play sends the load and makes the events happen. The incidents' ends are still
// to be waited for.
func (st *stage) play(ctx context.Context, with With, agent *agent, scope string) (seen workersRun, err error) {
	load := st.cell.Load
	load.URL = st.url
	run, err := st.client.StartLoad(ctx, load)
	if err != nil {
		return seen, err
	}
	seen.began = time.Now()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	users := st.cell.Users
	users.url = st.url
	asked := make(chan []lab.Record, 1)
	go func() { asked <- users.ask(ctx, st.client, load.Duration) }()
	happened := make(chan error, 1)
	go func() { happened <- happen(ctx, st, st.cell.Name, seen.began, st.cell.Events, with.Progress) }()
	seen.queue, seen.polls, err = agent.watchQueue(ctx, scope, run.Ended(), with.Progress)
	if err == nil {
		seen.heard, err = with.hear(ctx, agent)
	}
	if err != nil {
		return seen, err
	}
	seen.records, err = run.Wait(ctx)
	err = errors.Join(err, <-happened)
	seen.records = append(seen.records, <-asked...)
	return seen, err
}

// happen makes events happen to a stage, in their order, counted from from.
func happen[S any](ctx context.Context, stage S, cell string, from time.Time, events []Event[S], progress func(string)) error {
	for _, e := range events {
		if wait(ctx, time.Until(from.Add(e.At))) != nil {
			return nil
		}
		progress(cell + ": " + e.What)
		if err := e.Do(ctx, stage); err != nil && ctx.Err() == nil {
			return fmt.Errorf("%s: %w", e.What, err)
		}
	}
	return nil
}

// The signals by which a server takes up its configuration anew while its old
// workers finish what they are at: Apache, "Stopping and Restarting"; nginx,
// "Controlling nginx".
const (
	apacheGraceful = syscall.SIGUSR1
	nginxReload    = syscall.SIGHUP
)

// reload sends the server's parent such a signal.
func reload(at time.Duration, signal syscall.Signal) Event[*stage] {
	return Event[*stage]{at, "graceful reload", func(_ context.Context, st *stage) error {
		return syscall.Kill(st.software.PID(), signal)
	}}
}

// restart stops the server and starts it anew.
func restart(at time.Duration) Event[*stage] {
	return Event[*stage]{at, "restart", func(ctx context.Context, st *stage) error {
		if err := st.software.Stop(); err != nil {
			return err
		}
		app := netip.AddrPortFrom(st.apps.Addr(), appPort)
		software, err := st.server.Serve(ctx, st.cell.Software(app))
		if err == nil {
			st.software = software
		}
		return err
	}}
}

// slowloris is slowhttptest's slow headers: connections at a rate, each with a
// header line now and then.
func slowloris(at time.Duration, connections, perSecond int, span time.Duration) Event[*stage] {
	return Event[*stage]{at, "slowloris", func(ctx context.Context, st *stage) error {
		cmd := st.client.Command(ctx, "slowhttptest", "-H", "-v", "0", "-c", fmt.Sprint(connections), "-r", fmt.Sprint(perSecond), "-i", "10",
			"-l", fmt.Sprint(int(span.Seconds())), "-p", "3", "-u", st.url)
		if err := cmd.Start(); err != nil {
			return errors.Join(&lab.ErrMissing{Program: "slowhttptest", Package: "slowhttptest"}, err)
		}
		_ = cmd.Wait() // its own verdict is not asked
		return nil
	}}
}

func floodSYN(at time.Duration, perSecond int, span time.Duration) Event[*stage] {
	return Event[*stage]{at, "SYN flood", func(ctx context.Context, st *stage) error {
		return st.server.FloodSYN(ctx, st.target, perSecond, span)
	}}
}

// deafen loses what the server sends to its clients and they to it.
func deafen(at time.Duration) Event[*stage] {
	return Event[*stage]{at, "the path to the clients goes dead", func(ctx context.Context, st *stage) error {
		return st.server.Blackhole(ctx, st.client)
	}}
}

func heal(at time.Duration) Event[*stage] {
	return Event[*stage]{at, "the path is back", func(ctx context.Context, st *stage) error { return st.server.Heal(ctx) }}
}

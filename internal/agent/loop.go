package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/observe/privilege"
)

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
			if errors.Is(err, netns.ErrStuck) || errors.Is(err, privilege.ErrStuck) {
				r.answer <- err
				return fmt.Errorf("do what was asked for: %w", err)
			}
			if r.quiet {
				r.answer <- err
				continue
			}
			a.incidents = h.court.Incidents(a.clock.Now())
			a.silence(a.clock.Now(), a.incidents)
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
		if own := h.own; err == nil && turn.of.Pipeline == own && own.status[turn.Tier].bad == 0 {
			a.looked.Store(int64(a.clock.Now().Sub(a.started)))
		}
		incidents = a.troubled(now, h, incidents)
		a.silence(now, incidents)
		a.report(incidents, turn, err)
		forgot := a.keeper.forgot.Swap(false)
		if forgot {
			a.notices.planner.Renew()
			a.responses.planner.Renew()
			a.keeper.remember(a.silences.own())
		}
		// The notice of an incident is written at once, and the incident with it: a
		// crash leaves nothing told that the history has not.
		a.keeper.note(a.clock.Offset(), incidents, h.LastNumber())
		a.notices.tell(now, a.clock.Offset(), incidents)
		a.respond(now, h, incidents)
		a.keep(h, incidents)
		a.gather(now, h, turn)
		a.follow(now, h, forgot)
	}
}

// request is something another goroutine wants done between two looks.
type request struct {
	do     func(*Host) error
	answer chan error // room for one, so that the loop never waits
	quiet  bool       // nothing that a snapshot has is changed
}

// ask hands do to the loop and waits for its answer.
func (a *agent) ask(ctx context.Context, do func(*Host) error) error {
	answer := make(chan error, 1)
	return hand(ctx, a.requests, request{do: do, answer: answer}, answer)
}

// askQuietly is ask for what changes nothing that a snapshot has.
func (a *agent) askQuietly(ctx context.Context, do func(*Host) error) error {
	answer := make(chan error, 1)
	return hand(ctx, a.requests, request{do: do, answer: answer, quiet: true}, answer)
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

// silence marks the incidents that nobody is to be told of.
func (a *agent) silence(now time.Time, incidents []judge.Incident) {
	wall := now.Add(a.clock.Offset())
	a.keeper.remember(a.silences.step(wall, incidents))
	a.silences.mark(wall, incidents)
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

package agent

import (
	"context"
	"errors"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/notify"
)

// recallEvery is how often a history that does not open is asked again for what
// was remembered.
const recallEvery = time.Second

// recollection is what was remembered before a restart.
type recollection struct {
	told, silences, drains []history.Memory
	points                 map[string][]history.DrainPoint // by switch
	closed                 time.Time                       // when connections were, last
}

// recollect reads it.
func (k *keeper) recollect(ctx context.Context) (r recollection, err error) {
	err = k.ask(ctx, func(s *history.Store) error {
		var errs [4]error
		r.told, errs[0] = s.Memories(notify.MemoryKind)
		r.silences, errs[1] = s.Memories(silenceKind)
		r.drains, r.points, errs[2] = recollectDrains(s)
		r.closed, errs[3] = recollectClosed(s)
		return errors.Join(errs[:]...)
	})
	return r, err
}

// recallNow takes it up before the loop runs, where the history works, and
// reports whether there is nothing left to wait for.
func (a *agent) recallNow(ctx context.Context) bool {
	if a.keeper.dir == "" {
		return true
	}
	if a.keeper.shown().State != api.HistoryWorking {
		return false
	}
	r, err := a.keeper.recollect(ctx)
	if err == nil {
		a.restore(r)
	}
	return err == nil
}

// recall waits for the history and hands the loop what it remembers. A cancelled
// ctx is a nil return.
func (a *agent) recall(ctx context.Context) error {
	ticker := time.NewTicker(recallEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		r, err := a.keeper.recollect(ctx)
		if err != nil {
			continue // the keeper says why
		}
		_ = a.ask(ctx, func(*Host) error { // else the agent is stopping
			a.restore(r)
			return nil
		})
		return nil
	}
}

// restore takes up what was remembered: whom we told what, what is silenced.
func (a *agent) restore(r recollection) {
	told := make([]notify.Memory, 0, len(r.told))
	for _, m := range r.told {
		told = append(told, notify.Memory(m))
	}
	if err := a.notices.planner.Restore(a.clock.Now(), a.clock.Offset(), told); err != nil {
		a.log.Warn("not all that was told before the restart is known: it may be told again", "error", err.Error())
	}
	if err := a.silences.restore(r.silences); err != nil {
		a.log.Warn("not all silences of before the restart are known", "error", err.Error())
	}
	a.restoreDrains(r.drains, r.points)
	a.restoreClosed(r.closed)
}

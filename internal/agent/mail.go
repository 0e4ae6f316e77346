package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/notify"
)

// Notices on their way, between the outbox and the history. What is accepted is
// written first and sent then; what waits is in the history, the first of it in
// memory too. The loop and the lanes lay down what there is; all that reads is
// done by the keeper's work.

// sort lets the outbox take over what the history has for it.
func (k *keeper) sort() error {
	if k.mail != nil {
		if err := k.mail.sort(k.store, k.opened); err != nil {
			return err
		}
	}
	k.opened = false
	k.mu.Lock()
	defer k.mu.Unlock()
	k.accepting = true
	return nil
}

// tellDropped tells those who wait for what was dropped.
func (k *keeper) tellDropped() {
	k.mu.Lock()
	dropped := k.dropped
	k.dropped = nil
	k.mu.Unlock()
	for _, done := range dropped {
		done(false)
	}
}

// put takes notices for delivery, with what planners are to remember of having
// decided so: both are in the history, or neither.
func (n *notices) put(due []notify.Notice, memories []history.Memory) {
	var keep func() bool
	if n.keeper.dir != "" {
		stored, err := n.outbox.Stored(due)
		if err != nil {
			n.log.Error("notices are not kept", "error", err.Error())
		}
		e := acceptance(stored, memories)
		if len(stored) == 0 {
			n.keeper.remember(memories)
		} else {
			e.done = n.accepted(stored)
			keep = func() bool { return n.keeper.accept(e) }
		}
	}
	if len(due) > 0 {
		n.outbox.Put(due, keep)
	}
}

// acceptance is what is to be written of notices, and of what goes with them.
func acceptance(stored []notify.Stored, memories []history.Memory) entry {
	rows, now := rowsOf(stored), time.Now()
	e := entry{memories: len(memories) > 0, over: !slices.ContainsFunc(rows, func(r history.OutboxRow) bool { return !r.Over })}
	for i := range rows {
		rows[i].CreatedAt = now
		e.size += len(rows[i].Notice)
	}
	for i := range memories {
		e.size += len(memories[i].Data)
	}
	e.write = func(st *history.Store) error { return errors.Join(st.Accept(rows), st.Remember(memories)) }
	return e
}

// accepted tells the outbox whether notices were written.
func (n *notices) accepted(stored []notify.Stored) func(written bool) {
	refs := refsOf(stored)
	return func(written bool) {
		if written {
			n.outbox.Written(refs)
		} else {
			n.outbox.Unwritten(refs)
		}
	}
}

func refsOf(stored []notify.Stored) []notify.Ref {
	out := make([]notify.Ref, 0, len(stored))
	for i := range stored {
		out = append(out, notify.Ref{Channel: stored[i].Channel, Key: stored[i].Key})
	}
	return out
}

func rowsOf(stored []notify.Stored) []history.OutboxRow {
	out := make([]history.OutboxRow, 0, len(stored))
	for i := range stored {
		s := &stored[i]
		out = append(out, history.OutboxRow{Key: s.Key, Channel: s.Channel, Kind: s.Kind, Over: s.Over, Notice: s.JSON})
	}
	return out
}

func storedOf(rows []history.OutboxRow) []notify.Stored {
	out := make([]notify.Stored, 0, len(rows))
	for i := range rows {
		r := &rows[i]
		out = append(out, notify.Stored{Key: r.Key, Channel: r.Channel, Kind: r.Kind, Over: r.Over, JSON: r.Notice, Waited: r.Waited})
	}
	return out
}

// ended writes how a notice's way ended, at once: what is not noted comes again
// after a crash, and mail, Slack and PagerDuty cannot know. The outbox calls it,
// locked.
func (n *notices) ended(e notify.Ending) {
	end := history.OutboxEnd{
		Key: e.Key, Channel: e.Channel, State: string(e.State), At: e.At, Attempts: e.Attempts, Error: e.Error,
		Forget: e.Repeat && e.State != notify.Undelivered,
	}
	n.keeper.put(entry{
		ends: e.Ref, size: len(e.Key) + len(e.Channel) + len(e.Error), done: func(bool) { n.stale.Store(true) },
		write: func(st *history.Store) error { return st.EndNotice(end) },
	})
	n.keeper.nudge()
}

// sort takes over what the history has for the outbox: all that waits when it was
// opened, and what there is room for in memory. The keeper's work calls it.
func (n *notices) sort(st *history.Store, opened bool) error {
	if opened {
		if err := n.reopened(st); err != nil {
			return err
		}
	}
	for _, c := range n.outbox.Wanting() {
		if err := n.refill(st, c.Name, c.Kind, false); err != nil {
			return err
		}
	}
	if crowded := st.CrowdedOut(); len(crowded) > 0 {
		n.log.Error("the history is too large: notices that only say what is over were given up for want of room", "notices", len(crowded))
		n.outbox.CrowdedOut(refsOf(storedOf(crowded)), history.NoRoom)
		n.stale.Store(true)
	}
	if !n.stale.Swap(false) && !opened {
		return nil
	}
	counts, err := st.Outbox()
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counts = counts
	return nil
}

// reopened brings memory and a history that was opened together: what waits in
// memory is written into it, and what waits there is restored.
func (n *notices) reopened(st *history.Store) error {
	inMemory, err := n.outbox.Stored(n.outbox.Waiting())
	if err != nil {
		return err
	}
	rows, now := rowsOf(inMemory), time.Now()
	for i := range rows {
		rows[i].CreatedAt = now
	}
	if err := st.Accept(rows); err != nil {
		return err
	}
	n.outbox.Written(refsOf(inMemory))
	counts, err := st.Outbox()
	if err != nil {
		return err
	}
	for _, c := range counts {
		if c.Waiting > 0 && !n.outbox.Has(c.Channel, c.Kind) {
			if err := n.giveUp(st, c.Channel, c.Kind); err != nil {
				return err
			}
		}
	}
	for _, s := range n.outbox.Status() {
		if err := n.refill(st, s.Name, s.Kind, true); err != nil {
			return err
		}
	}
	return nil
}

// giveUp ends what waits for a channel that is not there any more.
func (n *notices) giveUp(st *history.Store, name, kind string) error {
	gone, err := st.EndWaiting(name, kind, "the channel was taken out of the configuration")
	if gone > 0 {
		n.stale.Store(true)
		n.log.Error("notices were given up: their channel was taken out of the configuration", "channel", name, "notices", gone)
	}
	return err
}

// refill restores the first of what waits for a channel.
func (n *notices) refill(st *history.Store, name, kind string, opened bool) error {
	rows, err := st.Waiting(name, kind, notify.MaxQueued)
	if err != nil {
		return err
	}
	counts, err := st.Outbox()
	if err != nil {
		return err
	}
	more := 0
	for _, c := range counts {
		if c.Channel == name && c.Kind == kind {
			more = c.Waiting - len(rows)
		}
	}
	if opened && len(rows) > 0 {
		n.log.Info("notices wait in the history", "channel", name, "waiting", len(rows)+more)
	}
	n.outbox.Restore(name, kind, storedOf(rows), more, opened, n.keeper.ending)
	return nil
}

// deadLetters is how many undelivered notices the history has for a channel.
func (n *notices) deadLetters(name, kind string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.counts {
		if c.Channel == name && c.Kind == kind {
			return c.Undelivered
		}
	}
	return 0
}

// Undelivered implements api.Outbox.
func (n *notices) Undelivered(ctx context.Context, name string, before int64, limit int) (out []api.DeadLetter, next int64, err error) {
	var rows []history.OutboxRow
	err = n.keeper.ask(ctx, func(st *history.Store) error {
		if err := n.keeper.write(); err != nil { // ends of a moment ago, too
			return err
		}
		rows, err = st.Undelivered(name, before, limit+1)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	if len(rows) > limit {
		rows = rows[:limit]
		next = rows[limit-1].ID
	}
	for i := range rows {
		r := &rows[i]
		out = append(out, api.DeadLetter{Key: r.Key, Kind: r.Kind, QueuedAt: r.CreatedAt, EndedAt: r.EndedAt, Attempts: r.Attempts, Error: r.Error, Notice: r.Notice})
	}
	return out, next, nil
}

// Retry implements api.Outbox.
func (n *notices) Retry(ctx context.Context, name string, keys []string, by string) (queued int, err error) {
	kind, there := n.kind(name)
	if !there {
		return 0, api.ErrNoChannel
	}
	err = n.keeper.ask(ctx, func(st *history.Store) error {
		if err := n.keeper.write(); err != nil {
			return err
		}
		rows, err := st.Requeue(name, kind, keys, notify.MaxQueued)
		if errors.Is(err, history.ErrNotUndelivered) {
			return fmt.Errorf("%w: %w", api.ErrNotUndelivered, err)
		}
		if err != nil {
			return err
		}
		queued = len(rows)
		n.stale.Store(true)
		n.outbox.Again(name, kind, storedOf(rows))
		return nil
	})
	if err == nil && queued > 0 {
		n.keeper.change(history.Change{At: time.Now(), Who: by, What: "retry", Detail: name + ": " + strconv.Itoa(queued) + " notices"})
	}
	return queued, err
}

// kind is that of the channel of a name.
func (n *notices) kind(name string) (string, bool) {
	for _, s := range n.outbox.Status() {
		if s.Name == name {
			return s.Kind, true
		}
	}
	return "", false
}

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/history"
)

const (
	// writeEvery is how often what waits is written, in one transaction, where
	// there are incidents or changes among it; the rest waits for bulkEvery, or
	// until it is much: each transaction costs a flush of the disk.
	writeEvery = time.Second
	bulkEvery  = 10 * time.Second
	muchBulk   = 256 << 10 // bytes
	// tidyEvery is how often what is too old is deleted, for as long as tidyFor;
	// where that does not do it goes on a second later.
	tidyEvery = 20 * time.Second
	tidyFor   = 20 * time.Millisecond
	// openWithin is how long the start waits for the history: a file system may
	// hang. Then it goes on without, and takes the history over when it comes.
	openWithin = 2 * time.Second
	// A history that fails is tried again after a second, then twice that, up
	// to half a minute; one that turned out corrupt again after ten minutes.
	leastPause, mostPause = time.Second, 30 * time.Second
	corruptPause          = 10 * time.Minute
	// mostWaiting is how many bytes wait at most for a history that fails.
	mostWaiting = 2 << 20
	// askWithin is how long a reader waits for the history.
	askWithin = 2 * time.Second
	// mostReading is how many read raw tallies at the same time: each takes up to
	// a megabyte.
	mostReading = 2
)

// keeper keeps what is to outlive the agent. The loop and others lay down what
// there is and never wait; one goroutine, work, has the store and everything
// that touches the disk, so that a disk which is full, broken or hanging stops
// nothing else. The zero value keeps nothing.
type keeper struct {
	dir  string // empty: nothing is kept
	log  *slog.Logger
	open func(history.Limits) (*history.Store, error)
	asks chan ask      // work takes them; nobody closes it
	stop chan struct{} // closed when nothing more comes
	wake chan struct{} // has room for one: something is to be written at once
	// mail, unless nil, knows what becomes of notices; set before start.
	mail *notices
	// reading has room for those who read raw tallies at the same time.
	reading chan struct{}
	done    chan struct{} // closed when all is written, or given up

	last   atomic.Uint64 // the highest number of an incident in the store
	number atomic.Uint64 // the highest that the loop has given
	afresh atomic.Bool   // the store lacks incidents that it was told of
	forgot atomic.Bool   // and what planners remember

	mu      sync.Mutex
	waiting []entry
	bytes   int     // of these
	writing []entry // taken from there, and not yet in the file
	gap     bool    // an incident or a memory was dropped
	// dropped is to be told to those who wait for what was.
	dropped []func(written bool)
	// accepting: notices may wait to be written, as the history works.
	accepting bool
	status    api.History
	limits    history.Limits

	nowhere bool            // there is no directory to keep anything in
	marks   map[uint64]mark // the loop's: what the keeper was told of each incident

	// Of work alone.
	store  *history.Store
	pause  time.Duration // before it is tried again
	tryAt  time.Time
	tidyAt time.Time
	bulkAt time.Time
	// opened: the store is open, and what it has of notices is not yet taken over.
	opened bool
}

// newKeeper makes the keeper of an agent; named, unless empty, goes before the
// configured directory.
func newKeeper(cfg config.Config, named, version string, log *slog.Logger) *keeper {
	k := &keeper{
		log: log, asks: make(chan ask), reading: make(chan struct{}, mostReading), stop: make(chan struct{}), wake: make(chan struct{}, 1), done: make(chan struct{}),
		marks: map[uint64]mark{}, limits: historyLimits(cfg),
	}
	switch k.dir = StateDir(named, cfg.StateDir); k.dir {
	case config.NoStateDir:
		k.dir = ""
		k.status = api.History{State: api.HistoryOff, Reason: "nothing is kept, as the configuration has it"}
	case "":
		k.nowhere, k.status = true, api.History{State: api.HistoryOff, Reason: "there is no place for it: set state_dir"}
	default:
		k.status = api.History{State: api.HistoryOpening, Reason: "it is being opened", Directory: k.dir}
	}
	began := time.Now()
	k.open = func(limits history.Limits) (*history.Store, error) {
		return history.Open(k.dir, history.Config{
			Limits: limits, Version: version, Ended: api.Ended,
			Wall: time.Now, Steady: func() time.Duration { return time.Since(began) },
		})
	}
	return k
}

// StateDir is the directory of what outlives an agent: the one named, else the
// configured one, else the default. It is config.NoStateDir where nothing is to
// be kept, and empty where there is no place.
func StateDir(named, configured string) string {
	for _, dir := range []string{named, configured} {
		if dir != "" {
			return dir
		}
	}
	return history.DefaultDir(os.Getenv)
}

func historyLimits(cfg config.Config) history.Limits {
	return history.Limits{Raw: cfg.History.Raw, Minutes: cfg.History.Minutes, MaxSize: cfg.History.MaxSize}
}

// configure takes over new limits.
func (k *keeper) configure(cfg config.Config) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.limits = historyLimits(cfg)
}

// start starts work and waits a moment for the history to open. The only error
// is that another agent has it.
func (k *keeper) start() error {
	if k.dir == "" {
		close(k.done)
		return nil
	}
	opened, late := make(chan error), make(chan struct{})
	defer close(late)
	go k.work(opened, late)
	timer := time.NewTimer(openWithin)
	defer timer.Stop()
	select {
	case err := <-opened:
		if used, ok := errors.AsType[*history.InUseError](err); ok {
			close(k.stop)
			return used
		}
	case <-timer.C:
		k.log.Warn("history: it does not open in time; going on without, until it does", "directory", k.dir)
	}
	return nil
}

// run waits for the end, and then for what waits to be written; looped is
// closed when the loop has ended. A cancelled ctx is a nil return.
func (k *keeper) run(ctx context.Context, looped <-chan struct{}) error {
	<-ctx.Done()
	timer := time.NewTimer(shutdownTimeout)
	defer timer.Stop()
	select {
	case <-looped:
	case <-timer.C:
	}
	close(k.stop)
	select {
	case <-k.done:
	case <-timer.C:
	}
	if n := k.shown().Waiting; n > 0 {
		k.log.Warn("stopped before the history was written", "lost", n)
	}
	return nil
}

// work has the store. What became of opening it goes to opened, until late is
// closed: nobody waits any more.
func (k *keeper) work(opened chan<- error, late <-chan struct{}) {
	defer close(k.done)
	k.begin(time.Now(), opened, late)
	ticker := time.NewTicker(writeEvery)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			k.turn(now)
		case <-k.wake:
			k.turn(time.Now())
		case a := <-k.asks:
			a.answer <- k.reply(a.do)
		case <-k.stop:
			k.finish()
			return
		}
	}
}

// begin opens the store for the first time. That another agent has it ends the
// one that waits for it, which says so itself: it is no failure to go on with.
func (k *keeper) begin(now time.Time, opened chan<- error, late <-chan struct{}) {
	err := k.reopen()
	_, used := errors.AsType[*history.InUseError](err)
	switch {
	case err == nil:
		k.turn(now) // what waits there goes before what is accepted from now on
	case !used:
		k.fail(now, err)
	}
	select {
	case opened <- err:
	case <-late:
		if used {
			k.fail(now, err)
		}
	}
}

// turn writes what waits, and tidies up a little.
func (k *keeper) turn(now time.Time) {
	k.tellDropped()
	if now.Before(k.tryAt) {
		return
	}
	if k.store == nil {
		if err := k.reopen(); err != nil {
			k.fail(now, err)
			return
		}
	}
	k.mu.Lock()
	k.store.Configure(k.limits)
	k.mu.Unlock()
	if k.due(now) || k.opened {
		if err := k.write(); err != nil {
			k.fail(now, err)
			return
		}
		k.bulkAt = now.Add(bulkEvery)
	}
	if err := k.sort(); err != nil {
		k.fail(now, err)
		return
	}
	if err := k.tidy(now); err != nil {
		k.fail(now, err)
		return
	}
	k.pause = 0
}

// due reports whether what waits is to be written now.
func (k *keeper) due(now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !now.Before(k.bulkAt) || k.bytes >= muchBulk || slices.ContainsFunc(k.waiting, func(e entry) bool { return !e.bulk })
}

// tidy deletes a little of what is too old or too much, now and then, and notes
// that the agent runs.
func (k *keeper) tidy(now time.Time) error {
	if now.Before(k.tidyAt) {
		k.works(0, 0)
		return nil
	}
	more := true
	for began := time.Now(); more && time.Since(began) < tidyFor; {
		var err error
		if more, err = k.store.Retain(); err != nil {
			return err
		}
	}
	if more {
		k.works(0, 0)
		return nil
	}
	k.tidyAt = now.Add(tidyEvery)
	if err := k.store.Batch(func() error { return nil }); err != nil {
		return fmt.Errorf("note that the agent runs: %w", err)
	}
	all, used, err := k.store.Size()
	if err == nil {
		k.works(all, used)
	}
	return err
}

// reopen opens the store, or returns why it does not work.
func (k *keeper) reopen() error {
	k.mu.Lock()
	limits := k.limits
	k.mu.Unlock()
	store, err := k.open(limits)
	if err != nil {
		return err
	}
	k.store, k.tidyAt, k.opened = store, time.Time{}, true
	k.last.Store(store.LastIncident())
	k.afresh.Store(true)
	k.forgot.Store(true)
	if aside := store.SetAside(); aside != "" {
		k.lost(aside)
	}
	all, used, err := store.Size()
	if err != nil {
		return err
	}
	k.works(all, used)
	return nil
}

// write writes what waits; what it could not write waits on.
func (k *keeper) write() error {
	k.mu.Lock()
	batch := k.waiting
	k.waiting, k.bytes, k.writing = nil, 0, batch
	k.mu.Unlock()
	k.store.NoteNumber(k.number.Load())
	if len(batch) == 0 {
		return nil
	}
	err := k.store.Batch(func() error {
		for i := range batch {
			if err := batch[i].write(k.store); err != nil {
				return err
			}
		}
		return nil
	})
	if k.written(batch, err); err != nil {
		return err
	}
	for i := range batch {
		if done := batch[i].done; done != nil {
			done(true)
		}
	}
	return nil
}

// written notes how writing went. What could not be written waits on.
func (k *keeper) written(batch []entry, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.writing = nil
	if err == nil {
		k.status.Written += uint64(len(batch))
		if k.gap {
			k.gap = false
			k.afresh.Store(true)
			k.forgot.Store(true)
		}
		return
	}
	later := k.waiting
	k.waiting, k.bytes = nil, 0
	for _, e := range slices.Concat(batch, later) {
		k.add(e)
	}
}

// finish writes what waits, and closes the store.
func (k *keeper) finish() {
	if k.store == nil {
		return
	}
	if err := k.write(); err != nil {
		k.log.Error("history: the last of it could not be written", "error", err.Error())
	}
	if err := k.store.Close(); err != nil {
		k.log.Error("history: close", "error", err.Error())
	}
	k.store = nil
}

// fail notes that the history does not work, sets it aside where it is corrupt,
// and says when it is tried again.
func (k *keeper) fail(now time.Time, err error) {
	k.pause = min(max(2*k.pause, leastPause), mostPause)
	reason := err.Error()
	if k.store != nil && history.Corrupt(err) {
		if k.shown().SetAside != "" { // again
			k.pause = corruptPause
		}
		aside, moved := k.store.Abandon()
		if k.store = nil; moved == nil {
			k.lost(aside)
		} else {
			reason += "; " + moved.Error()
		}
	} else if k.store != nil && errors.Is(err, history.ErrMoved) {
		_ = k.store.Leave() // it is nobody's any more
		k.store = nil
	} else if errors.Is(err, history.ErrTooManyAside) {
		k.pause = corruptPause
	}
	k.tryAt = now.Add(k.pause)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.accepting = false
	if k.status.Failures++; k.status.State != api.HistoryFailing || k.status.Reason != reason {
		k.log.Error("history: it does not work, trying again; watching goes on", "directory", k.dir, "error", reason)
	}
	k.status.State, k.status.Reason = api.HistoryFailing, reason
}

// works notes that it does, and how large it is unless that is 0.
func (k *keeper) works(all, used int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.status.State == api.HistoryFailing {
		k.log.Info("history: it works again", "directory", k.dir)
	}
	k.status.State, k.status.Reason = api.HistoryWorking, ""
	if all > 0 {
		k.status.Bytes, k.status.UsedBytes = all, used
	}
}

// lost says that a corrupt file was set aside.
func (k *keeper) lost(aside string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.status.SetAside = aside
	k.log.Error("history: the file is corrupt; it was set aside and a new one is begun", "set_aside", aside)
}

// shown is how it does.
func (k *keeper) shown() api.History {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := k.status
	out.Waiting = len(k.waiting)
	return out
}

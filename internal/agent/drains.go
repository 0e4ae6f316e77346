package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foreshock/foreshock/internal/agent/drains"
	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/drain"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe/asn"
	"github.com/foreshock/foreshock/internal/observe/stale"
	"github.com/foreshock/foreshock/internal/scope"
)

// followEvery is how often the loop hands the looks of switches on.
const followEvery = time.Second

// tidyDrainsEvery is how often switches that are over are looked for.
const tidyDrainsEvery = 10 * time.Minute

// follower has the switches that the agent follows. The loop counts their
// connections; who asks resolvers, who probes addresses and who is asked by the
// API come from goroutines of their own, and hold the lock for moments only.
// Without a switch none of them does anything.
type follower struct {
	log *slog.Logger
	// on: there are switches, or the last one has just gone.
	on atomic.Bool
	// asking and probing have room for one: there are other names.
	asking, probing chan struct{}

	mu   sync.Mutex
	book *drains.Book
	plan drain.Plan // of asking
	// replan: other servers are asked, or for other reasons.
	replan bool
	// problems are why not all servers of a name are asked, by name.
	problems map[string][]string

	followAt time.Time // the loop's
	tidyAt   time.Time // the same
	networks networks
	owners   ownersSeen
	rows     heldRows
	limit    stale.Limit // the loop's
}

func newFollower(host string, log *slog.Logger) *follower {
	seed := fnv.New64a()
	_, _ = seed.Write([]byte(host))
	return &follower{
		log: log, book: drains.New(), problems: map[string][]string{}, plan: drain.Plan{Seed: binary.LittleEndian.Uint64(seed.Sum(nil))},
		asking: make(chan struct{}, 1), probing: make(chan struct{}, 1),
	}
}

// configure takes over the names of a configuration.
func (f *follower) configure(cfg config.Config) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range f.book.Configure(cfg.Drain) {
		f.log.Warn("a switch is not followed: there are as many as can be; stop one that is over (foreshock drain stop NAME), and reload the configuration", "name", name, "most", drains.Most)
	}
	f.nudge()
}

// nudge has everybody look at the book again; with the lock held.
func (f *follower) nudge() {
	f.on.Store(true)
	f.replan = true
	for _, c := range []chan struct{}{f.asking, f.probing} {
		select {
		case c <- struct{}{}:
		default: // it will
		}
	}
}

// follow hands the looks on, and what is to be kept to the history. It is the
// loop's; forgot: the history lost what it was told.
func (a *agent) follow(now time.Time, h *Host, forgot bool) {
	f := a.follower
	if !f.on.Load() || now.Before(f.followAt) && !forgot {
		return
	}
	f.followAt = now.Add(followEvery)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.book.Changed() {
		h.SetSwitches(f.book.Switches())
		f.on.Store(len(f.book.Entries()) > 0)
	}
	if forgot {
		f.book.Renew()
	}
	f.book.Look(now, h.sides())
	if !now.Before(f.tidyAt) {
		f.tidyAt = now.Add(tidyDrainsEvery)
		for _, e := range f.book.Tidy(now, a.clock.Offset()) {
			a.noted(drains.ByItself, "ended by itself", e)
			f.nudge()
		}
	}
	h.Answered(f.book.Answered(now))
	a.keepDrains()
}

// keepDrains hands what changed to the history; with the follower's lock held.
func (a *agent) keepDrains() {
	for _, u := range a.follower.book.Unsaved() {
		a.keeper.drain(u)
	}
}

// drain keeps what changed of a switch: its record and its curve at once.
func (k *keeper) drain(u drains.Unsaved) {
	size := len(u.Name) + len(u.Data)
	points := make([]history.DrainPoint, 0, len(u.Points))
	for _, p := range u.Points {
		size += len(p.Data)
		points = append(points, history.DrainPoint(p))
	}
	// What is dropped can be said again: the book has all of it.
	k.put(entry{bulk: u.Data == nil && !u.Forget, memories: true, size: size, write: func(st *history.Store) error {
		if u.Data != nil || u.Forget {
			if err := st.Remember([]history.Memory{{Kind: drains.MemoryKind, Key: u.Name, Data: u.Data}}); err != nil {
				return err
			}
		}
		return st.PutDrainPoints(u.Name, points, u.Anew || u.Forget)
	}})
}

// unkept has what was done written, and says what follows where that fails.
func (a *agent) unkept(ctx context.Context) (limit string) {
	if err := a.keeper.settle(ctx); err != nil {
		return "this is not in the history, so the next start of the agent will not know it: " + err.Error()
	}
	return ""
}

// sides are the signals of the sides of switches, of all namespaces.
func (h *Host) sides() []*measure.ScopeSignals {
	if len(h.switches) == 0 {
		return nil
	}
	var out []*measure.ScopeSignals
	for _, r := range h.of {
		view := r.view
		if view == nil || r.Pipeline != h.own && r.schedule.Idle() {
			continue
		}
		for i := range view.Scopes {
			if view.Scopes[i].Scope.Kind == scope.KindAddress {
				out = append(out, &view.Scopes[i])
			}
		}
	}
	return out
}

// restoreDrains takes up the switches that were followed before a restart.
func (a *agent) restoreDrains(memories []history.Memory, points map[string][]history.DrainPoint) {
	f := a.follower
	f.mu.Lock()
	defer f.mu.Unlock()
	var saved []drains.Memory
	curves := map[string][]drains.SavedPoint{}
	for _, m := range memories {
		saved = append(saved, drains.Memory{Name: m.Key, Data: m.Data})
	}
	for name, of := range points {
		for _, p := range of {
			curves[name] = append(curves[name], drains.SavedPoint(p))
		}
	}
	if err := f.book.Restore(a.clock.Now(), a.clock.Offset(), saved, curves); err != nil {
		a.log.Warn("not all switches of before the restart are followed", "error", err.Error())
	}
	f.nudge()
}

// noted writes a change of a switch into the log and the history; with the
// follower's lock held.
func (a *agent) noted(who, what string, e *drains.Entry) {
	detail := e.Name
	if len(e.Before) > 0 {
		detail += fmt.Sprintf(": from %s to %s", addressList(e.Before), addressList(e.After))
	}
	a.log.Info("a switch of addresses", "what", what, "name", e.Name, "old", addressList(e.Before), "new", addressList(e.After), "source", e.Source, "who", who)
	a.keeper.change(history.Change{At: time.Now(), Who: who, What: "drain " + what, Detail: detail})
	a.keepDrains()
}

func addressList(addresses []netip.Addr) string {
	out := make([]string, len(addresses))
	for i, x := range addresses {
		out[i] = x.String()
	}
	return strings.Join(out, ", ")
}

// StartDrain implements api.Drainer.
func (a *agent) StartDrain(ctx context.Context, r api.DrainRequest) (drain.Report, error) {
	f := a.follower
	start := func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		e, err := f.book.Start(a.clock.Now(), a.clock.Offset(), r)
		if err != nil {
			return err
		}
		a.noted(r.By, "start", e)
		f.nudge()
		return nil
	}
	if err := start(); err != nil {
		return drain.Report{}, err
	}
	if err := a.followNow(ctx); err != nil {
		return drain.Report{}, err
	}
	unkept := a.unkept(ctx)
	name, _, _ := config.ParseDomain(r.Name)
	report, err := a.Drain(name)
	if unkept != "" {
		report.Limits = append(report.Limits, unkept)
	}
	return report, err
}

// StopDrain implements api.Drainer.
func (a *agent) StopDrain(ctx context.Context, name, by string) error {
	f := a.follower
	stop := func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if err := f.book.Stop(a.clock.Now(), a.clock.Offset(), name, by); err != nil {
			return err
		}
		a.noted(by, "stop", f.book.Entry(name))
		f.nudge()
		return nil
	}
	if err := stop(); err != nil {
		return err
	}
	if err := a.followNow(ctx); err != nil {
		return err
	}
	if unkept := a.unkept(ctx); unkept != "" {
		a.log.Warn("a switch was ended", "name", name, "who", by, "limit", unkept)
	}
	return nil
}

// followNow has the loop take over what was changed.
func (a *agent) followNow(ctx context.Context) error {
	return a.askQuietly(ctx, func(h *Host) error {
		a.follower.followAt = time.Time{}
		a.follow(a.clock.Now(), h, false)
		return nil
	})
}

// Drains implements api.Drainer.
func (a *agent) Drains() []drain.Report {
	f := a.follower
	if !f.on.Load() {
		return nil
	}
	rows := a.heldNow()
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []drain.Report
	for _, e := range f.book.Entries() {
		if e.State() != drains.Watched {
			out = append(out, a.drainReport(e, rows, false))
		}
	}
	return out
}

// Drain implements api.Drainer.
func (a *agent) Drain(name string) (drain.Report, error) {
	f := a.follower
	f.mu.Lock()
	e := f.book.Entry(name)
	there := e != nil && e.State() != drains.Watched
	f.mu.Unlock()
	if !there {
		return drain.Report{}, api.ErrNoDrain
	}
	rows := a.heldNow()
	f.mu.Lock()
	defer f.mu.Unlock()
	if e = f.book.Entry(name); e == nil || e.State() == drains.Watched {
		return drain.Report{}, api.ErrNoDrain
	}
	return a.drainReport(e, rows, true), nil
}

// drainReport is what is known of a switch; with the lock held.
func (a *agent) drainReport(e *drains.Entry, rows heldRows, curve bool) drain.Report {
	seen := drains.Seen{Agent: a.host, Rows: rows.of[e.Name], Over: rows.over[e.Name], Limits: slices.Concat(rows.limits, a.follower.problems[e.Name], a.follower.book.Shared(e))}
	seen.Held = heldOf(e, rows)
	if e.State() == drains.Stopped {
		seen.Rows, seen.Over = nil, 0
	}
	return e.Report(a.clock.Now(), a.clock.Offset(), seen, curve)
}

// heldOf are those addresses of a switch that are this host's own; nil where that
// is not known.
func heldOf(e *drains.Entry, rows heldRows) []netip.Addr {
	if rows.local == nil {
		return nil
	}
	out := []netip.Addr{}
	for _, x := range slices.Concat(e.Switch.Old, e.Switch.New) {
		if rows.local[x] {
			out = append(out, x)
		}
	}
	return out
}

// Route implements api.Drainer.
func (a *agent) Route(name string) (api.Route, error) {
	f := a.follower
	f.mu.Lock()
	e := f.book.Entry(name)
	running := e != nil && e.State() == drains.Running
	f.mu.Unlock()
	if e == nil {
		return api.Route{}, api.ErrNoDrain
	}
	settled := false
	if running {
		report, err := a.Drain(name)
		if err != nil {
			return api.Route{}, err
		}
		settled = drain.Merge([]drain.Report{report}).Verdict == drain.Settled
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if e = f.book.Entry(name); e == nil {
		return api.Route{}, api.ErrNoDrain
	}
	return e.Route(a.clock.Now(), settled)
}

// recollectDrains reads the switches that are remembered, and their curves.
func recollectDrains(s *history.Store) (memories []history.Memory, points map[string][]history.DrainPoint, err error) {
	memories, err = s.Memories(drains.MemoryKind)
	points = map[string][]history.DrainPoint{}
	for _, m := range memories {
		of, failed := s.DrainPoints(m.Key)
		err = errors.Join(err, failed)
		points[m.Key] = of
	}
	return memories, points, err
}

// ASNDatabase opens the database of networks of a configuration; nil where it has
// none. file is its name, for messages.
func ASNDatabase(cfg config.Config, file string) (*asn.Database, error) {
	if cfg.ASNDatabase.File == "" {
		return nil, nil
	}
	db, err := asn.Open(cfg.ASNDatabase.Path)
	if err != nil {
		return nil, cfg.ASNDatabase.Refused(file, err.Error(), "name a database of networks that is there, or remove the key")
	}
	return db, nil
}

// names are those of the book for which something is wanted.
func (f *follower) names(want func(*drains.Entry) bool) map[string]bool {
	out := map[string]bool{}
	for _, e := range f.book.Entries() {
		if want(e) {
			out[e.Name] = true
		}
	}
	maps.DeleteFunc(f.problems, func(name string, _ []string) bool { return f.book.Entry(name) == nil })
	return out
}

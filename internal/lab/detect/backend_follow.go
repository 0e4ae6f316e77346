package detect

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/lab/trace"
)

// Followed is how the agent followed a balancer over a restart.
type Followed struct {
	// What happened, and when it began, since the fault.
	What string        `json:"what"`
	At   time.Duration `json:"at_ns"`
	// Connected is how long after that the new process had its first connection
	// to a backend. Nil is never.
	Connected *time.Duration `json:"connected_ns"`
	// Shown is how long after that connection the look began that first showed
	// one under the name that the backend had before, open or ended since: of
	// those that end with their answer a look meets few. Nil is never.
	Shown *time.Duration `json:"shown_ns"`
	// Blind counts the looks that began in between and showed none, as far as
	// they were published.
	Blind int `json:"blind_looks"`
	// Named is how long after the connection the new process was first named.
	Named *time.Duration `json:"named_ns"`
	// Problem is why it could not be measured.
	Problem string `json:"problem,omitempty"`
}

// String is for a person.
func (f Followed) String() string {
	if f.Problem != "" {
		return fmt.Sprintf("%s: not measured: %s", f.What, f.Problem)
	}
	return fmt.Sprintf("%s: connected after %s, shown %s later, %d looks blind, new process named after %s", f.What, at(f.Connected), at(f.Shown), f.Blind, at(f.Named))
}

// The watch on a restart.
const (
	connectEvery = 10 * time.Millisecond
	shownEvery   = 250 * time.Millisecond
	followFor    = 20 * time.Second
	mostBlind    = 1 // looks: followed within one
)

// follower watches one restart.
type follower struct {
	pool   *pool
	agent  *agent
	reader *trace.Reader
	remote netip.AddrPort
	scope  string // its name before
	out    *Followed
}

// follow makes ready to watch how the agent follows what is about to happen to
// the balancer; nil where there is no agent. Call watch once the old process is
// gone.
func (p *pool) follow(ctx context.Context, what string) *follower {
	if p.agent == nil {
		return nil
	}
	f := &follower{pool: p, agent: p.agent, remote: p.members[len(p.cell.Apps)-1].addr(), out: &Followed{What: what, At: time.Since(p.fault)}}
	p.mu.Lock()
	p.followed = append(p.followed, f.out)
	p.mu.Unlock()
	var err error
	if f.scope, err = p.scopeOf(ctx, f.remote); err == nil {
		err = p.host.Do(func() (err error) {
			f.reader, err = trace.Open([]netip.AddrPort{f.remote})
			return err
		})
	}
	if err != nil {
		f.out.Problem = err.Error()
	}
	return f
}

// scopeOf returns the name that the agent has for a backend of the balancer's.
func (p *pool) scopeOf(ctx context.Context, remote netip.AddrPort) (string, error) {
	var answer backendsAnswer
	if err := p.agent.Get(ctx, "/api/v1/backends", &answer); err != nil {
		return "", err
	}
	for _, g := range answer.Groups {
		for _, b := range g.Backends {
			if b.Remote == remote && p.owns(b.ID) {
				return strings.TrimPrefix(b.ID, "backend/"), nil
			}
		}
	}
	return "", fmt.Errorf("the agent has no backend %s", remote)
}

// namespace is what the agent calls the balancer's network namespace; "" for
// its own.
func (p *pool) namespace() string {
	if p.watcher == p.host {
		return ""
	}
	return filepath.Base(p.host.Path())
}

// owns tells the balancer's backends from those that other hosts talk to, by
// the scope's id.
func (p *pool) owns(id string) bool {
	in := p.namespace()
	return in == "" || strings.HasSuffix(id, "@"+in)
}

// watch watches the connections of the process that comes, and the agent's
// view of them, in the background; pool.play waits for it.
func (f *follower) watch(ctx context.Context) {
	if f == nil {
		return
	}
	f.pool.following.Go(func() {
		if f.reader == nil {
			return
		}
		defer f.reader.Close()
		ctx, stop := context.WithTimeout(ctx, followFor)
		defer stop()
		if err := f.run(ctx); err != nil && ctx.Err() == nil {
			f.out.Problem = err.Error()
		}
	})
}

func (f *follower) run(ctx context.Context) error {
	gone := time.Now()
	for baseline := true; ; baseline = false {
		line, err := f.reader.Look(gone)
		if err != nil {
			return err
		}
		if !baseline && line.Remotes[f.remote.String()].New > 0 {
			d := line.At.Sub(f.pool.fault) - f.out.At
			f.out.Connected = &d
			return f.await(ctx, line.At)
		}
		if wait(ctx, connectEvery) != nil {
			return nil
		}
	}
}

// await asks the agent until it shows the connection that was there at
// connected, and names the balancer's process.
func (f *follower) await(ctx context.Context, connected time.Time) error {
	var last time.Time
	for f.out.Shown == nil || f.out.Named == nil {
		var answer scopeAnswer
		if err := f.agent.Get(ctx, "/api/v1/scopes/backend/"+url.PathEscape(f.scope), &answer); err != nil {
			return err
		}
		if e := answer.Signals["established"]; f.out.Shown == nil && e.Value != nil && e.SeenAt != nil && e.SeenAt.After(connected) && e.SeenAt.After(last) {
			last = *e.SeenAt
			heard := answer.Signals["heard_ago_seconds"]
			ended := heard.Value != nil && last.Add(-time.Duration(*heard.Value*float64(time.Second))).After(connected)
			if d := last.Sub(connected); *e.Value > 0 || ended {
				f.out.Shown = &d
			} else {
				f.out.Blind++
			}
		}
		if d := time.Since(connected); f.out.Named == nil && f.pool.runs(answer.PIDs) {
			f.out.Named = &d
		}
		if wait(ctx, shownEvery) != nil {
			return nil
		}
	}
	return nil
}

// runs reports whether the balancer of now is among the processes.
func (p *pool) runs(pids []int) bool {
	return slices.Contains(pids, p.running().PID())
}

// misses says what of following a restart failed.
func (f Followed) misses() string {
	switch {
	case f.Problem != "":
		return f.String()
	case f.Connected == nil:
		return f.What + ": the new process never talked to the backend: the run proves nothing"
	case f.Shown == nil:
		return f.What + ": not followed"
	case f.Blind > mostBlind:
		return fmt.Sprintf("%s: followed after %d looks that showed nothing", f.What, f.Blind)
	}
	return ""
}

package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/foreshock/foreshock/internal/agent/drains"
	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/observe/privilege"
	"github.com/foreshock/foreshock/internal/observe/sockdiag"
	"github.com/foreshock/foreshock/internal/observe/stale"
	"github.com/foreshock/foreshock/internal/scope"
)

const (
	// mostStaleShown is how many connections an answer has.
	mostStaleShown = 1000
	// usualMost is how many are closed where nobody says how many.
	usualMost = stale.DefaultPerMinute
)

// CloseStale implements api.Drainer.
func (a *agent) CloseStale(ctx context.Context, name string, r api.CloseRequest) (api.CloseResult, error) {
	f := a.follower
	f.mu.Lock()
	e := f.book.Entry(name)
	there := e != nil && (e.State() == drains.Running || e.State() == drains.Armed)
	var of scope.Switch
	if there {
		of = e.Switch
	}
	f.mu.Unlock()
	if !there {
		return api.CloseResult{}, api.ErrNoDrain
	}
	a.heldNow() // so that the owners are known
	f.owners.mu.Lock()
	whose := f.owners.of
	f.owners.mu.Unlock()
	closer := closing{of: &of, request: r, now: a.clock.Now(), whose: whose, limit: &f.limit}
	if r.Really {
		closer.note = func(detail string) {
			a.log.Info("switch: connections to the old addresses are closed", "name", name, "who", r.By, "what", detail)
			a.keeper.change(history.Change{At: time.Now(), Who: r.By, What: auditClose, Detail: name + ": " + detail})
		}
	}
	out := make(chan api.CloseResult, 1)
	err := a.askQuietly(ctx, func(h *Host) error {
		result, err := closer.run(h)
		out <- result
		return err
	})
	if err != nil {
		return api.CloseResult{}, err
	}
	return <-out, nil
}

// closing is one call that closes connections, or says which it would.
type closing struct {
	of      *scope.Switch
	request api.CloseRequest
	now     time.Time
	whose   map[uint64]owner.Process
	limit   *stale.Limit
	note    func(detail string)
}

// run chooses the connections, and closes them if that is really meant. It is
// the loop's.
func (c *closing) run(h *Host) (api.CloseResult, error) {
	out := api.CloseResult{Name: c.of.Name, Really: c.request.Really}
	held, over := h.heldSockets()
	inode := map[uint64]uint64{} // by cookie
	var sockets []stale.Socket
	for _, s := range held[c.of.Name] {
		inode[s.Cookie] = s.Inode
		sockets = append(sockets, stale.Socket{Local: s.Local, Remote: s.Remote, Cookie: s.Cookie, State: s.State, Asked: !s.Served, FirstSeen: s.FirstSeen, Namespace: s.namespace})
	}
	chosen, err := stale.Choose(c.now, c.of, sockets)
	if err != nil {
		return out, &api.Refusal{What: "nothing is closed: " + err.Error(), Hint: "wait until then; foreshock drain status " + c.of.Name + " says how long ago the switch was"}
	}
	most := c.request.Most
	if most <= 0 {
		most = usualMost
	}
	n := min(most, len(chosen))
	became := fates{outcomes: make([]string, len(chosen)), errs: make([]error, len(chosen))}
	for i := range chosen {
		if became.outcomes[i] = "would_close"; i >= n {
			became.outcomes[i] = "left"
		}
	}
	if c.request.Really {
		wanted := n
		free, _ := c.limit.Free(c.now)
		n = min(n, free)
		for i := n; i < len(chosen); i++ {
			became.outcomes[i] = "left"
		}
		c.note(fmt.Sprintf("up to %d of %d", n, len(chosen))) // before: it may be the last that we do
		err := became.closeIn(h.space, stale.Close, chosen[:n])
		closed := became.count("closed")
		if c.limit.Take(c.now, closed); closed < n {
			c.note(fmt.Sprintf("%d of these %d", closed, n))
		}
		if err = cmp.Or(err, became.refusal()); err != nil {
			return out, err
		}
		if n < wanted {
			_, again := c.limit.Free(c.now)
			out.AgainInSeconds = again.Seconds()
		}
	}
	out.Left, out.Closed, out.Gone = len(chosen)-n, became.count("closed"), became.count("gone")
	for i, s := range chosen {
		if len(out.Sockets) == mostStaleShown {
			out.Over++
			continue
		}
		p := c.whose[inode[s.Cookie]]
		x := api.StaleSocket{Local: s.Local, Remote: s.Remote, Namespace: s.Namespace, State: s.State.String(), Process: p.Name, PID: p.PID, Outcome: became.outcomes[i]}
		if !s.FirstSeen.IsZero() {
			x.AgeSeconds = max(0, c.now.Sub(s.FirstSeen).Seconds())
		}
		if became.errs[i] != nil {
			x.Error = became.errs[i].Error()
		}
		out.Sockets = append(out.Sockets, x)
	}
	out.Over += over[c.of.Name]
	return out, nil
}

// fates are what became of the connections that were to be closed, by how.
type fates struct {
	outcomes []string
	errs     []error // why it was neither closed nor gone
}

func (f *fates) count(outcome string) (n int) {
	for _, o := range f.outcomes {
		if o == outcome {
			n++
		}
	}
	return n
}

// closeIn closes connections, each in its namespace, and notes of each what
// became of it. The error is that the thread must end.
func (f *fates) closeIn(space func(name string) (netns.Found, bool), closes func(netns.Found, []stale.Socket) ([]sockdiag.Fate, error), chosen []stale.Socket) error {
	at := map[string][]int{}
	for i, s := range chosen {
		at[s.Namespace] = append(at[s.Namespace], i)
	}
	for name, which := range at {
		sockets := make([]stale.Socket, 0, len(which))
		for _, i := range which {
			sockets = append(sockets, chosen[i])
		}
		found, known := space(name)
		var became []sockdiag.Fate
		err := netns.ErrGone
		if known {
			became, err = closes(found, sockets)
		}
		for j, i := range which {
			switch {
			case len(became) == len(which) && became[j].Closed:
				f.outcomes[i] = "closed"
			case len(became) == len(which) && became[j].Gone, errors.Is(err, netns.ErrGone):
				f.outcomes[i] = "gone"
			case len(became) == len(which) && became[j].Err != nil:
				f.outcomes[i], f.errs[i] = "failed", became[j].Err
			default:
				f.outcomes[i], f.errs[i] = "failed", err
			}
		}
		if errors.Is(err, netns.ErrStuck) || errors.Is(err, privilege.ErrStuck) {
			return err
		}
	}
	return nil
}

// refusal is why nothing at all was closed; nil where something was.
func (f *fates) refusal() error {
	if f.count("closed") > 0 {
		return nil
	}
	for _, err := range f.errs {
		switch {
		case errors.Is(err, sockdiag.ErrNotPermitted):
			return &api.Refusal{What: "nothing was closed: " + sockdiag.ErrNotPermitted.Error(), Hint: "give it to the agent: docs/DRAIN.md has the drop-in for the service; a dry run needs nothing"}
		case errors.Is(err, sockdiag.ErrNoDestroy):
			return &api.Refusal{What: "nothing was closed: " + sockdiag.ErrNoDestroy.Error(), Hint: "restart the processes that hold the connections, one by one"}
		}
	}
	return nil
}

// space is the namespace of a name, for who must enter it.
func (h *Host) space(name string) (netns.Found, bool) {
	if name == "" {
		return netns.Found{ID: h.own.place.namespace, Path: procRoot + "/thread-self/ns/net", Own: true}, true
	}
	for _, r := range h.others {
		if r.place.name == name {
			return r.space.Found, true
		}
	}
	return netns.Found{}, false
}

// auditClose is what the history calls it that connections were to be closed.
const auditClose = "drain close-stale"

// restoreClosed counts what was closed just before a restart as all that a minute
// has: closed is when, on the wall's clock. It is the loop's.
func (a *agent) restoreClosed(closed time.Time) {
	now := a.clock.Now()
	if ago := now.Add(a.clock.Offset()).Sub(closed); ago >= 0 && ago < time.Minute {
		a.follower.limit.Take(now.Add(-ago), stale.DefaultPerMinute)
	}
}

// recollectClosed reads when connections were closed last; zero: not lately.
func recollectClosed(s *history.Store) (closed time.Time, err error) {
	changes, err := s.Changes(100)
	for _, c := range changes {
		if c.What == auditClose {
			closed = c.At
		}
	}
	return closed, err
}

var _ api.Drainer = (*agent)(nil)

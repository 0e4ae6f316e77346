package agent

import (
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
			a.keeper.change(history.Change{At: time.Now(), Who: r.By, What: "drain close-stale", Detail: name + ": " + detail})
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
	outcomes := make([]string, len(chosen))
	fates := make([]error, len(chosen))
	for i := range chosen {
		if outcomes[i] = "would_close"; i >= n {
			outcomes[i] = "left"
		}
	}
	if c.request.Really {
		var again time.Duration
		if n, again = c.limit.Take(c.now, n); again > 0 {
			out.AgainInSeconds = again.Seconds()
		}
		c.note(fmt.Sprintf("%d of %d", n, len(chosen)))
		for i := n; i < len(chosen); i++ {
			outcomes[i] = "left"
		}
		if err := closeIn(h, chosen[:n], outcomes, fates); err != nil {
			return out, err
		}
	}
	out.Left = len(chosen) - n
	for i, s := range chosen {
		switch outcomes[i] {
		case "closed":
			out.Closed++
		case "gone":
			out.Gone++
		}
		if len(out.Sockets) == mostStaleShown {
			out.Over++
			continue
		}
		p := c.whose[inode[s.Cookie]]
		x := api.StaleSocket{Local: s.Local, Remote: s.Remote, Namespace: s.Namespace, State: s.State.String(), Process: p.Name, PID: p.PID, Outcome: outcomes[i]}
		if !s.FirstSeen.IsZero() {
			x.AgeSeconds = max(0, c.now.Sub(s.FirstSeen).Seconds())
		}
		if fates[i] != nil {
			x.Error = fates[i].Error()
		}
		out.Sockets = append(out.Sockets, x)
	}
	out.Over += over[c.of.Name]
	return out, nil
}

// closeIn closes connections, each in its namespace, and says of each what became
// of it. The error is that none may be closed, or that the thread must end.
func closeIn(h *Host, chosen []stale.Socket, outcomes []string, fates []error) error {
	at := map[string][]int{}
	for i, s := range chosen {
		at[s.Namespace] = append(at[s.Namespace], i)
	}
	for name, which := range at {
		sockets := make([]stale.Socket, 0, len(which))
		for _, i := range which {
			sockets = append(sockets, chosen[i])
		}
		space, known := h.space(name)
		var became []sockdiag.Fate
		err := netns.ErrGone
		if known {
			became, err = stale.Close(space, sockets)
		}
		if len(became) > 0 && errors.Is(became[0].Err, sockdiag.ErrNotPermitted) || errors.Is(err, sockdiag.ErrNotPermitted) {
			return &api.Refusal{What: "nothing was closed: " + sockdiag.ErrNotPermitted.Error(), Hint: "give it to the agent: docs/DRAIN.md has the drop-in for the service; a dry run needs nothing"}
		}
		if len(became) > 0 && errors.Is(became[0].Err, sockdiag.ErrNoDestroy) {
			return &api.Refusal{What: "nothing was closed: " + sockdiag.ErrNoDestroy.Error(), Hint: "restart the processes that hold the connections, one by one"}
		}
		if errors.Is(err, netns.ErrStuck) || errors.Is(err, privilege.ErrStuck) {
			return err
		}
		for j, i := range which {
			switch {
			case errors.Is(err, netns.ErrGone):
				outcomes[i] = "gone"
			case err != nil:
				outcomes[i], fates[i] = "failed", err
			case became[j].Closed:
				outcomes[i] = "closed"
			case became[j].Gone:
				outcomes[i] = "gone"
			default:
				outcomes[i], fates[i] = "failed", became[j].Err
			}
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

var _ api.Drainer = (*agent)(nil)

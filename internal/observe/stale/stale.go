// Package stale ends connections that this host began to an old address after a
// switch, so that their programs connect again, to the new one.
//
// Three steps, of which the first two are pure; a dry run ends after them:
//
//	chosen, err := stale.Choose(now, &sw, held) // ErrTooSoon: not before the TTL is over
//	n, again := limit.Take(now, len(chosen))
//	for space, sockets := range bySpace(chosen[:n]) {
//		fates, err := stale.Close(space, sockets)
//		…
//	}
//
// Only what [Choose] returned is ever closed, and each socket by its cookie: a
// socket that took the place of another is another one. What the agent connects
// itself is in no look (package dial), and so in no choice.
package stale

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/observe/privilege"
	"github.com/foreshock/foreshock/internal/observe/sockdiag"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// Socket is one connection of a look.
type Socket struct {
	Local, Remote netip.AddrPort
	// Cookie is the kernel's own name of the socket; zero, as without sock_diag,
	// is never closed.
	Cookie uint64
	State  tcp.State
	// Asked: this host began it. One that it serves is a user's, and left alone.
	Asked bool
	// FirstSeen is on the agent's steady clock; zero where it is not known.
	FirstSeen time.Time
	// Namespace is the name of its network namespace, empty for the agent's own.
	Namespace string
}

// Before the switch is over there is nothing to close.
var (
	// ErrNotYet: the switch is only planned.
	ErrNotYet = errors.New("the addresses have not been switched yet: nothing is stale")
	// ErrTooSoon: who asks for the name may still be given the old address.
	ErrTooSoon = errors.New("answers from before the switch are still good, and programs would connect to the old address again")
)

// Choose returns those of the sockets that are stale, the oldest first, those of
// unknown age last: begun by this host, to an old address of the switch, on a
// port of it, and held by a program. The error is ErrNotYet or ErrTooSoon, and then says for how long.
func Choose(now time.Time, s *scope.Switch, held []Socket) ([]Socket, error) {
	if s.Since.IsZero() {
		return nil, ErrNotYet
	}
	if left := s.Since.Add(s.TTL).Sub(now); left > 0 {
		return nil, fmt.Errorf("%w: try again in %v", ErrTooSoon, (left + time.Second - 1).Truncate(time.Second))
	}
	var chosen []Socket
	for _, h := range held {
		if h.Asked && !looksServed(h) && h.Cookie != 0 && sockdiag.Closable.Has(h.State) &&
			slices.Contains(s.Old, h.Remote.Addr()) && s.Counts(h.Remote.Port()) {
			chosen = append(chosen, h)
		}
	}
	slices.SortFunc(chosen, func(a, b Socket) int {
		if a.FirstSeen.IsZero() != b.FirstSeen.IsZero() {
			return cmp.Compare(b.FirstSeen.Unix(), a.FirstSeen.Unix()) // the known one
		}
		return cmp.Or(a.FirstSeen.Compare(b.FirstSeen), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Cookie, b.Cookie))
	})
	return chosen, nil
}

// firstEphemeral is where the kernel's local ports begin: ip_local_port_range,
// 32768 unless somebody has set it.
const firstEphemeral = 1 << 15

// looksServed reports whether a connection has the ports of one that came to us.
// Who listened may be gone before his connections, and then no look can tell
// that we did not begin them.
func looksServed(s Socket) bool {
	return s.Local.Port() < firstEphemeral && s.Remote.Port() >= firstEphemeral
}

// Close closes sockets of one network namespace and returns what became of
// each, in their order. The error says why none was closed, and what to do:
// sockdiag.ErrNotPermitted, sockdiag.ErrNoDestroy, netns.ErrGone; or it is
// netns.ErrStuck or privilege.ErrStuck, beside what became of them.
func Close(space netns.Found, sockets []Socket) ([]sockdiag.Fate, error) {
	exact := make([]sockdiag.Exact, len(sockets))
	for i, s := range sockets {
		exact[i] = sockdiag.Exact{Local: s.Local, Remote: s.Remote, Cookie: s.Cookie}
	}
	var fates []sockdiag.Fate
	err := space.Do(func() error {
		reader, err := sockdiag.Open(tcp.NewScratch())
		if err != nil {
			return fmt.Errorf("close sockets: %w", err)
		}
		defer reader.Close()
		return privilege.With(unix.CAP_NET_ADMIN, func() (err error) {
			fates, err = reader.Destroy(exact)
			if errors.Is(err, sockdiag.ErrNotPermitted) {
				err = fmt.Errorf("%w: install deploy/close-stale.conf as a drop-in of the unit and restart the agent, or run it as root", err)
			}
			return err
		})
	})
	return fates, err
}

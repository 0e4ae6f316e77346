package observe

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/observe/counters"
	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/observe/procfs"
	"github.com/foreshock/foreshock/internal/observe/sockdiag"
	"github.com/foreshock/foreshock/internal/tcp"
)

// Space is what reads one namespace. It keeps the namespace alive until it is
// closed.
type Space struct {
	Reader Reader
	// Fallback is why procfs reads in sock_diag's place; nil when it does not.
	Fallback error
	// Counters is nil when none can be read; CountersErr says why, or which
	// are missing.
	Counters    *counters.Reader
	CountersErr error
}

// Close lets go of the namespace.
func (s Space) Close() error {
	err := s.Reader.Close()
	if s.Counters != nil {
		err = errors.Join(err, s.Counters.Close())
	}
	return err
}

// OpenOwn opens the readers of the calling thread's namespace.
func OpenOwn(source Source, scratch *tcp.Scratch) (Space, error) {
	reader, fallback, err := Open(source, scratch)
	if err != nil {
		return Space{}, err
	}
	s := Space{Reader: reader, Fallback: fallback}
	s.Counters, s.CountersErr = counters.Open(OwnTables, scratch)
	return s, nil
}

// OpenIn opens the readers of a namespace that netns.List found below proc:
// from inside, which takes CAP_SYS_ADMIN, and where that is refused through
// the files of its first process, which takes nothing. The error is
// netns.ErrGone when it ended meanwhile, and netns.ErrStuck when the calling
// thread could not come back and must end.
func OpenIn(proc string, n netns.Found, source Source, scratch *tcp.Scratch) (Space, error) {
	var s Space
	var err error
	if n.Hidden {
		err = fmt.Errorf("enter network namespace of process %d: %w", n.PID, unix.EPERM)
	} else {
		err = n.Do(func() error {
			if s, err = OpenOwn(source, scratch); err != nil {
				return err
			}
			// The files of procfs open with the first look, and outside they
			// would be our own namespace's.
			if _, err = s.Reader.Read(tcp.Request{States: tcp.ListenOnly}, func([]tcp.Socket) {}); err != nil {
				err = errors.Join(err, s.Close())
				s = Space{}
			}
			return err
		})
	}
	switch {
	case err == nil:
		return s, nil
	case source == SockDiag, n.PID == 0, errors.Is(err, netns.ErrStuck), errors.Is(err, netns.ErrGone):
		if s.Reader != nil {
			err = errors.Join(err, s.Close())
		}
		return Space{}, err
	case !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) && !errors.Is(err, sockdiag.ErrRefused):
		return Space{}, err
	}
	dir := proc + "/" + strconv.Itoa(n.PID) + "/net"
	s = Space{Reader: procfs.New(dir, scratch), Fallback: err}
	// The files open with the first look; it must be at this namespace.
	if _, err := s.Reader.Read(tcp.Request{States: tcp.ListenOnly}, func([]tcp.Socket) {}); err != nil {
		return Space{}, errors.Join(err, s.Reader.Close())
	}
	s.Counters, s.CountersErr = counters.Open(dir, scratch)
	if err := n.Still(proc); err != nil {
		return Space{}, errors.Join(err, s.Close())
	}
	return s, nil
}

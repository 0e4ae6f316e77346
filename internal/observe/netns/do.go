package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Errors a caller branches on.
var (
	// ErrGone: the namespace ended, or its place was taken by another.
	ErrGone = errors.New("network namespace is gone")
	// ErrStuck: the thread could not go back to its own namespace. It stays
	// locked to the calling goroutine, which must end without unlocking it:
	// the runtime then throws the thread away. It cannot throw away the main
	// thread, which then sits in the other namespace for good; whoever reads
	// /proc/self/net reads that one, so read /proc/thread-self/net.
	ErrStuck = errors.New("thread is stuck in another network namespace: its goroutine must end")
)

// Do runs f inside the namespace, if it is still the one that was found: its
// pid, and its name too, may have been given to another since. Without an ID it
// is whichever is at the Path. It returns f's error as it is. The calling
// goroutine is locked to its thread meanwhile; goroutines that f starts are
// elsewhere. Sockets opened by f, and files of /proc/thread-self/net, stay in
// that namespace, keep it alive and may be used from any thread.
//
// The error is ErrGone when there is no such namespace any more, and ErrStuck,
// joined with f's error, when the thread could not go back. f runs at most
// once, and not at all when the namespace cannot be entered.
func (n Found) Do(f func() error) (err error) {
	target, id, err := open(n.Path)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESRCH), errors.Is(err, errNotNamespace):
		return fmt.Errorf("%w: %w", ErrGone, err)
	case err != nil:
		return fmt.Errorf("enter network namespace: %w", err)
	}
	defer unix.Close(target)
	if n.ID != 0 && id != n.ID {
		return fmt.Errorf("%w: %s is namespace %d now, not %d", ErrGone, n.Path, id, n.ID)
	}

	runtime.LockOSThread()
	home, homeID, err := open(ownPath)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("note our own network namespace: %w", err)
	}
	defer unix.Close(home)
	if id == homeID { // which no privilege is needed for
		defer runtime.UnlockOSThread()
		return f()
	}
	if err := unix.Setns(target, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace %s: %w", n.Path, hint(err))
	}
	defer func() { // also when f panics or ends its goroutine
		if backErr := unix.Setns(home, unix.CLONE_NEWNET); backErr != nil {
			err = errors.Join(fmt.Errorf("leave network namespace %s: %w: %w", n.Path, ErrStuck, backErr), err)
			return
		}
		runtime.UnlockOSThread()
	}()
	return f()
}

// hint adds what to do to the one error that has a remedy.
func hint(err error) error {
	err = os.NewSyscallError("setns", err)
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w (it takes CAP_SYS_ADMIN)", err)
	}
	return err
}

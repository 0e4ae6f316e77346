package labtest

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// OnThread runs f on a thread that is thrown away afterwards, with whatever
// identity and namespaces f left it. The main thread cannot be thrown away, and
// /proc/self is that thread: while f's turn falls on it, another takes its
// place. f must not end the test: it is not on the test's goroutine.
func OnThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			defer runtime.UnlockOSThread()
			OnThread(f)
			return
		}
		f() // and never unlocked
	}()
	<-done
}

// SkipUnderRace skips a test of allocations: their count does not hold under
// the race detector.
func SkipUnderRace(t testing.TB) {
	if race {
		t.Skip("allocation counts do not hold under the race detector")
	}
}

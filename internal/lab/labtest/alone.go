package labtest

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// aloneVariable says to the program that starts once more that it is alone.
const aloneVariable = "FORESHOCK_TEST_ALONE"

// Alone runs the tests in a network namespace of their own with a loopback that
// is up, by starting the program once more in it. Other packages are tested at
// the same time, and a port of theirs, used again, still has their TIME_WAIT
// sockets. Without the right to make a namespace it says so on stderr, and the
// tests run where they are.
type Alone struct{ *testing.M }

// Run runs the tests; their exit code is the result.
func (m Alone) Run() int {
	if os.Getenv(aloneVariable) == "" {
		unshare()
	}
	return m.M.Run()
}

// unshare starts the program once more. It returns where it may not.
func unshare() {
	runtime.LockOSThread() // the thread that calls execve is the one that is left
	defer runtime.UnlockOSThread()
	err := unix.Unshare(unix.CLONE_NEWNET)
	if errors.Is(err, unix.EPERM) {
		fmt.Fprintf(os.Stderr, "labtest: the sockets of other tests are seen as well: unshare: %v\n", err)
		return
	}
	if err == nil {
		err = loopbackUp()
	}
	if err == nil {
		var path string
		if path, err = os.Executable(); err == nil { // its path, not a link: the process is named by it
			err = unix.Exec(path, os.Args, append(os.Environ(), aloneVariable+"=1"))
		}
	}
	fmt.Fprintf(os.Stderr, "labtest: a namespace for the test: %v\n", err)
	os.Exit(1)
}

// loopbackUp sets lo up in this thread's namespace: SIOCSIFFLAGS, netdevice(7).
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

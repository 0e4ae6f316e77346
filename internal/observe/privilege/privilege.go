// Package privilege keeps a capability that is rarely needed away from the rest
// of the program: it stays permitted and is not in force, but around the one
// call that takes it.
//
//	privilege.Lower(unix.CAP_NET_ADMIN) // when the program starts
//	…
//	err := privilege.With(unix.CAP_NET_ADMIN, func() error { return closeThem() })
//
// Capabilities belong to threads (capabilities(7)). A program without the
// capability runs all the same: the kernel refuses what takes it.
package privilege

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrStuck: the thread could not put the capability down again. It stays locked
// to the calling goroutine, which must end without unlocking it: the runtime
// then throws the thread away.
var ErrStuck = errors.New("thread is stuck with a capability: its goroutine must end")

// sets are a thread's capabilities: 64 bits in two halves, struct
// __user_cap_data_struct[2] of include/uapi/linux/capability.h.
type sets [2]unix.CapUserData

// Permitted reports whether the calling thread may use a capability, a
// unix.CAP_….
func Permitted(capability int) bool {
	s, err := get()
	half, bit := place(capability)
	return err == nil && s[half].Permitted&bit != 0
}

// Lower takes a capability out of force on all threads, and out of what programs
// that are started inherit. It stays permitted, for [With]. The error says that
// it was left in force: a filter of system calls refuses, or this is a build
// with cgo, whose threads cannot be reached (errors.ErrUnsupported).
func Lower(capability int) error {
	s, err := get()
	if err != nil {
		return fmt.Errorf("read our capabilities: %w", err)
	}
	half, bit := place(capability)
	if s[half].Permitted&bit == 0 {
		return nil
	}
	s[half].Effective &^= bit
	s[half].Inheritable &^= bit // and so ambient: capabilities(7)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&s)), 0); errno != 0 {
		return fmt.Errorf("take a capability out of force: %w", os.NewSyscallError("capset", errno))
	}
	return nil
}

// With runs f with a capability in force on the calling thread, to which the
// goroutine is locked meanwhile; goroutines that f starts are without it. Where
// it is not permitted f runs as well. It returns f's error as it is, joined with
// ErrStuck when the thread could not put the capability down again.
func With(capability int, f func() error) (err error) {
	runtime.LockOSThread()
	before, getErr := get()
	half, bit := place(capability)
	if getErr != nil || before[half].Effective&bit != 0 || before[half].Permitted&bit == 0 {
		defer runtime.UnlockOSThread()
		return f()
	}
	raised := before
	raised[half].Effective |= bit
	if set(&raised) != nil { // a filter of system calls: the kernel will say what is missing
		defer runtime.UnlockOSThread()
		return f()
	}
	defer func() { // also when f panics or ends its goroutine
		if backErr := set(&before); backErr != nil {
			err = errors.Join(fmt.Errorf("%w: %w", ErrStuck, backErr), err)
			return
		}
		runtime.UnlockOSThread()
	}()
	return f()
}

// place is where a capability's bit is.
func place(capability int) (half int, bit uint32) { return capability / 32, 1 << (capability % 32) }

func get() (sets, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var s sets
	err := unix.Capget(&header, &s[0])
	return s, os.NewSyscallError("capget", err)
}

func set(s *sets) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	return os.NewSyscallError("capset", unix.Capset(&header, &s[0]))
}

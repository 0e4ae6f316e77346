package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// netnsDir is where `ip netns` keeps named namespaces, so that `ip -n NAME`
// works on ours too.
const netnsDir = "/run/netns"

// threadNetns names the namespace of the calling thread. /proc/self would
// name that of the thread group's leader.
const threadNetns = "/proc/thread-self/ns/net"

// errGoexit says that a function given to Host.Do left by runtime.Goexit, as
// testing's FailNow does.
var errGoexit = errors.New("function left its goroutine (do not call t.Fatal inside Do)")

// onThread runs enter and then f on a thread of their own and brings that
// thread back to its namespace. A thread that cannot be brought back is thrown
// away with its goroutine: the runtime ends a thread whose goroutine exits
// while locked to it.
func onThread(enter, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		result := errGoexit
		defer func() { done <- result }()

		home, err := unix.Open(threadNetns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			result = fmt.Errorf("open %s: %w", threadNetns, err)
			return
		}
		defer func() {
			if err := unix.Setns(home, unix.CLONE_NEWNET); err != nil {
				result = errors.Join(result, fmt.Errorf("return to the first namespace: %w", err))
			} else {
				runtime.UnlockOSThread()
			}
			_ = unix.Close(home)
		}()
		if err := enter(); err != nil {
			result = err
			return
		}
		result = f()
	}()
	return <-done
}

// inNamespace runs f on a thread inside the namespace that the file at path
// stands for.
func inNamespace(path string, f func() error) error {
	return onThread(func() error {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open namespace %s: %w", path, err)
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter namespace %s: %w", path, err)
		}
		return nil
	}, f)
}

// addNamespace makes a namespace from inside the one at parent (none: the
// caller's own) and names it. Which one it is made from decides the size of
// its TCP hash table: the kernel reads tcp_child_ehash_entries of the making
// thread's namespace. Kernel: net/ipv4/tcp_ipv4.c, tcp_set_hashinfo.
func addNamespace(parent, name string) error {
	path := filepath.Join(netnsDir, name)
	file, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE|os.O_EXCL, 0)
	if err != nil {
		return fmt.Errorf("name namespace: %w", err)
	}
	_ = file.Close()
	unshare := func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare network namespace: %w", err)
		}
		if err := unix.Mount(threadNetns, path, "none", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind namespace to %s: %w", path, err)
		}
		return nil
	}
	if parent == "" {
		err = onThread(unshare, func() error { return nil })
	} else {
		err = inNamespace(parent, unshare)
	}
	if err != nil {
		return errors.Join(err, removeName(name))
	}
	return nil
}

// removeName takes a namespace's name away. The namespace itself goes when the
// last process, socket or descriptor in it does.
func removeName(name string) error {
	path := filepath.Join(netnsDir, name)
	err := unix.Unmount(path, unix.MNT_DETACH)
	// EINVAL: not a mount point, such as a file left by a reboot.
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove namespace name: %w", err)
	}
	return nil
}

// withNames holds the lock on the directory of named namespaces, which
// `ip netns` takes too, while f runs. It first makes the directory the shared
// mount point that `ip netns` wants: if we left that to the first `ip netns
// add`, it would cover our names.
func withNames(f func() error) error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return fmt.Errorf("make namespace directory: %w", err)
	}
	dir, err := unix.Open(netnsDir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", netnsDir, err)
	}
	defer unix.Close(dir)
	if err := unix.Flock(dir, unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", netnsDir, err)
	}
	err = unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if errors.Is(err, unix.EINVAL) { // not a mount point yet
		if err = unix.Mount(netnsDir, netnsDir, "none", unix.MS_BIND|unix.MS_REC, ""); err == nil {
			err = unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
		}
	}
	if err != nil {
		return fmt.Errorf("make %s a shared mount: %w", netnsDir, err)
	}
	return f()
}

// namespaceID returns what tells the namespace behind path from all others.
func namespaceID(path string) (id [2]uint64, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return id, fmt.Errorf("stat namespace %s: %w", path, err)
	}
	return [2]uint64{uint64(st.Dev), st.Ino}, nil
}

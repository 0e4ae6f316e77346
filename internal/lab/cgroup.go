//go:build linux

package lab

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupRoot returns where cgroup v2 is mounted, which on hybrid machines is
// not /sys/fs/cgroup.
func cgroupRoot() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", fmt.Errorf("find cgroup v2: %w", err)
	}
	root, ok := parseCgroupRoot(mounts)
	if !ok {
		return "", fmt.Errorf("%w: no cgroup v2 is mounted", ErrUnavailable)
	}
	return root, nil
}

// parseCgroupRoot finds the first mount of type cgroup2 in the text of
// /proc/PID/mounts. A path with a space, which is written as \040, is no
// place for it.
func parseCgroupRoot(mounts []byte) (string, bool) {
	for line := range bytes.Lines(mounts) {
		fields := bytes.Fields(line)
		if len(fields) >= 3 && string(fields[2]) == "cgroup2" && filepath.IsAbs(string(fields[1])) {
			return string(fields[1]), true
		}
	}
	return "", false
}

// cgroupLeaf is the group inside a host's own, called as a container runtime
// calls a container's under a service manager.
func cgroupLeaf(namespace string) string {
	return fmt.Sprintf("docker-%x.scope", sha256.Sum256([]byte(namespace)))
}

// ContainerID returns the identity that an agent reads from the cgroup of the
// host's processes, 64 hexadecimal digits; "" where the host is not contained.
func (h *Host) ContainerID() string {
	if h.cgroup == "" {
		return ""
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(h.namespace())))
}

// addCgroup makes the host's cgroup.
func (h *Host) addCgroup() error {
	root, err := cgroupRoot()
	if err != nil {
		return err
	}
	path := filepath.Join(root, h.namespace(), cgroupLeaf(h.namespace()))
	if err := os.MkdirAll(path, 0o755); err != nil {
		return fmt.Errorf("make cgroup: %w", err)
	}
	h.cgroup = path
	return nil
}

// intoCgroup lets attr start a process in the host's cgroup; done closes what
// that took. Kernel: clone3, CLONE_INTO_CGROUP, since Linux 5.7.
func (h *Host) intoCgroup(attr *syscall.SysProcAttr) (done func(), err error) {
	if h.cgroup == "" {
		return func() {}, nil
	}
	fd, err := unix.Open(h.cgroup, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open cgroup %s: %w", h.cgroup, err)
	}
	attr.UseCgroupFD, attr.CgroupFD = true, fd
	return func() { _ = unix.Close(fd) }, nil
}

// removeCgroups removes the cgroups of hosts whose processes were killed. A
// process that is on its way out still counts as inside.
func removeCgroups(namespaces []string) error {
	root, err := cgroupRoot()
	if err != nil {
		return nil // then nobody made any
	}
	var errs []error
	for _, name := range namespaces {
		for _, path := range []string{filepath.Join(root, name, cgroupLeaf(name)), filepath.Join(root, name)} {
			errs = append(errs, removeCgroup(path))
		}
	}
	return errors.Join(errs...)
}

func removeCgroup(path string) error {
	for deadline := time.Now().Add(killWait); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Rmdir(path)
		switch {
		case err == nil || errors.Is(err, unix.ENOENT):
			return nil
		case !errors.Is(err, unix.EBUSY) || time.Now().After(deadline):
			return fmt.Errorf("remove cgroup %s: %w", path, err)
		}
	}
}

package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// addCgroup makes the group that holds the host's containers.
func (h *Host) addCgroup() error {
	root, err := cgroupRoot()
	if err != nil {
		return err
	}
	h.cgroup = filepath.Join(root, h.namespace())
	if err := os.Mkdir(h.cgroup, 0o755); err != nil {
		return fmt.Errorf("make cgroup: %w", err)
	}
	return nil
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
		path := filepath.Join(root, name)
		containers, err := filepath.Glob(filepath.Join(path, "docker-*.scope"))
		errs = append(errs, err)
		for _, container := range containers {
			errs = append(errs, removeCgroup(container))
		}
		errs = append(errs, removeCgroup(path))
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

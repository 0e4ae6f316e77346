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

// container is what a program on a contained host runs in, as in a pod: a
// cgroup v2, a pid and a mount namespace with a /proc of its own. The network
// namespace is the host's, so another container may take its place. The zero
// value is none.
type container struct {
	id     string // 64 hexadecimal digits
	cgroup string // its directory
}

// newContainer makes the cgroup of one more container on the host; none where
// the host is not contained.
func (h *Host) newContainer() (container, error) {
	if h.cgroup == "" {
		return container{}, nil
	}
	id := containerID(h.namespace(), h.world.next())
	c := container{id: id, cgroup: filepath.Join(h.cgroup, cgroupLeaf(id))}
	if err := os.Mkdir(c.cgroup, 0o755); err != nil {
		return container{}, fmt.Errorf("make cgroup: %w", err)
	}
	return c, nil
}

// containerID is a number's worth of what an engine takes at random.
func containerID(namespace string, serial int) string {
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%s %d", namespace, serial)))
}

// cgroupLeaf is a container's group inside its host's, called as an engine
// calls it under a service manager.
func cgroupLeaf(id string) string { return "docker-" + id + ".scope" }

// remove takes the cgroup away after the container's first process, and so all
// of them, have ended; what the kernel still counts as inside the world removes.
func (c container) remove() {
	if c.cgroup != "" {
		_ = unix.Rmdir(c.cgroup)
	}
}

// enter lets cmd start in the container; done closes what that took. The
// namespaces are made by the start of this binary, which becomes the program.
// Kernel: clone3, CLONE_INTO_CGROUP, since Linux 5.7.
func (c container) enter(cmd *Cmd) (done func(), err error) {
	if c.cgroup == "" {
		return func() {}, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	fd, err := unix.Open(c.cgroup, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open cgroup %s: %w", c.cgroup, err)
	}
	attr := cmd.SysProcAttr
	attr.UseCgroupFD, attr.CgroupFD = true, fd
	attr.Cloneflags |= unix.CLONE_NEWPID | unix.CLONE_NEWNS
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, containVariable+"=1")
	cmd.Path, cmd.Args = self, append([]string{self, childArgument, cmd.Path}, cmd.Args...)
	return func() { _ = unix.Close(fd) }, nil
}

// containVariable tells a start of this binary that it is the first process of
// a container, and which program it becomes its arguments.
const containVariable = "FORESHOCK_LAB_CONTAIN"

// becomeContained finishes the container that this process is the first of,
// and runs the program there: args are its path and its arguments. It returns
// only with an error.
func becomeContained(args []string) error {
	if len(args) < 2 {
		return errors.New("enter container: no program")
	}
	if err := os.Unsetenv(containVariable); err != nil {
		return fmt.Errorf("enter container: %w", err)
	}
	// What is unmounted outside goes here too: a copy would keep the network
	// namespaces of other worlds alive.
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("enter container: keep mounts to it: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("enter container: mount its /proc: %w", err)
	}
	return fmt.Errorf("run %s in a container: %w", args[0], syscall.Exec(args[0], args[1:], os.Environ()))
}

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

package lab

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

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

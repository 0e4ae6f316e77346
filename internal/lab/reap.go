package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// runDir holds the run directories of worlds. Not the temporary directory:
// that may differ between the owner and the reaper.
const runDir = "/run"

// owner is the process that made a world.
type owner struct {
	pid int
	// start is the time the process began, in clock ticks since boot: it
	// tells it from a later process with the same pid.
	// Kernel: /proc/PID/stat field 22, Documentation/filesystems/proc.rst.
	start uint64
}

// worldName is the name of a world, and with a host behind it of a namespace.
var worldName = regexp.MustCompile(`^fs-([1-9][0-9]{0,9})-(0|[1-9][0-9]{0,18})-[0-9a-f]{4}(-[a-z][a-z0-9]{0,15})?$`)

// parseName returns the owner that a name speaks of. False: not one of our
// names.
func parseName(name string) (owner, bool) {
	m := worldName.FindStringSubmatch(name)
	if m == nil {
		return owner{}, false
	}
	pid, err := strconv.Atoi(m[1])
	if err != nil {
		return owner{}, false
	}
	start, err := strconv.ParseUint(m[2], 10, 64)
	if err != nil {
		return owner{}, false
	}
	return owner{pid: pid, start: start}, true
}

// name returns the world name of o with four hexadecimal digits of salt.
func (o owner) name(salt uint16) string { return fmt.Sprintf("fs-%d-%d-%04x", o.pid, o.start, salt) }

// parseStat returns the state and the start time in the text of
// /proc/PID/stat. The second field, the command's name, may hold spaces and
// parentheses, so fields are counted from the last closing one.
func parseStat(text []byte) (state byte, start uint64, err error) {
	i := bytes.LastIndexByte(text, ')')
	fields := bytes.Fields(text[i+1:])
	// After the name: state is the first field, start time the twentieth.
	if i < 0 || len(fields) < 20 || len(fields[0]) != 1 {
		return 0, 0, fmt.Errorf("process status %q is too short", text)
	}
	start, err = strconv.ParseUint(string(fields[19]), 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("start time in process status: %w", err)
	}
	return fields[0][0], start, nil
}

// self returns this process as an owner.
func self() (owner, error) {
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return owner{}, fmt.Errorf("read own process status: %w", err)
	}
	_, start, err := parseStat(text)
	if err != nil {
		return owner{}, err
	}
	return owner{pid: os.Getpid(), start: start}, nil
}

// dead reports whether the process is certainly gone. What cannot be told
// counts as alive.
func (o owner) dead() bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", o.pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return true
	}
	if err != nil {
		return false
	}
	state, start, err := parseStat(text)
	if err != nil {
		return false
	}
	return start != o.start || state == 'Z' || state == 'X'
}

// Reap removes the worlds of owners that are dead: it kills every process that
// is wholly inside their namespaces and removes the namespaces and the run
// directories. It returns the names it removed. Safe to call at any time and
// from several processes at once; needs root.
func Reap() (removed []string, err error) {
	err = withNames(func() error {
		var err error
		removed, err = reap()
		return err
	})
	if err != nil {
		return removed, fmt.Errorf("remove worlds of dead owners: %w", err)
	}
	return removed, nil
}

func reap() ([]string, error) {
	var namespaces, dirs []string
	for _, find := range []struct {
		dir  string
		into *[]string
	}{{netnsDir, &namespaces}, {runDir, &dirs}} {
		entries, err := os.ReadDir(find.dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if o, ok := parseName(e.Name()); ok && o.dead() {
				*find.into = append(*find.into, e.Name())
			}
		}
	}
	err := demolish(namespaces, dirs)
	return append(namespaces, dirs...), err
}

// demolish kills everything inside the namespaces and removes them and the run
// directories. It does as much as it can, whatever fails.
func demolish(namespaces, dirs []string) error {
	var errs []error
	ids := map[[2]uint64]bool{}
	for _, name := range namespaces {
		if id, err := namespaceID(filepath.Join(netnsDir, name)); err == nil {
			ids[id] = true
		}
	}
	errs = append(errs, killInside(ids), removeCgroups(namespaces))
	for _, name := range namespaces {
		errs = append(errs, removeName(name))
	}
	for _, name := range dirs {
		errs = append(errs, os.RemoveAll(filepath.Join(runDir, name)))
	}
	return errors.Join(errs...)
}

// killWait bounds the wait for killed processes to be gone. A process that
// holds 20,000 sockets takes about 0.2 s to die.
const killWait = 10 * time.Second

// killInside kills every process that is inside one of the namespaces and
// waits until it is gone, in rounds, as a dying server's workers may still
// fork.
func killInside(ids map[[2]uint64]bool) error {
	if len(ids) == 0 {
		return nil
	}
	deadline := time.Now().Add(killWait)
	for {
		pids, err := processesInside(ids)
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if err := killIfInside(pid, ids, deadline); err != nil {
				return err
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v still run inside the namespaces", pids)
		}
	}
}

// processesInside returns the living processes inside the namespaces, never
// this one.
func processesInside(ids map[[2]uint64]bool) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || !inside(pid, ids) {
			continue
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// inside reports whether every thread of the process is in one of the
// namespaces. A process with one thread inside is a visitor, such as an agent
// that opens a socket there.
func inside(pid int, ids map[[2]uint64]bool) bool {
	leader, err := namespaceID(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil || !ids[leader] {
		return false
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return false
	}
	for _, t := range threads {
		id, err := namespaceID(fmt.Sprintf("/proc/%d/task/%s/ns/net", pid, t.Name()))
		if err == nil && !ids[id] {
			return false
		}
	}
	return true
}

// killIfInside kills one process and waits until it has ended. The handle is
// taken before the last check, so that a pid that is given to another process
// meanwhile is not hit.
func killIfInside(pid int, ids map[[2]uint64]bool, deadline time.Time) error {
	handle, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open handle of process %d: %w", pid, err)
	}
	defer unix.Close(handle)
	if !inside(pid, ids) {
		return nil
	}
	if err := unix.PidfdSendSignal(handle, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", pid, err)
	}
	for {
		left := time.Until(deadline)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(handle), Events: unix.POLLIN}}, int(max(left, 0)/time.Millisecond))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for process %d: %w", pid, err)
		}
		if n == 0 {
			return fmt.Errorf("process %d did not end within %v of SIGKILL", pid, killWait)
		}
		return nil
	}
}

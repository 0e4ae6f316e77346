package owner

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/observe/processes"
	"github.com/foreshock/foreshock/internal/tcp"
)

// Attribution says whether the cgroup id that the kernel notes on a socket is
// enough to tell whose it is.
type Attribution struct {
	// Cgroups are the cgroup v2 ids of the chosen processes, sorted; zero,
	// which is unknown, is not among them.
	Cgroups []uint64
	// Decides is true when a socket with one of these ids is one of the chosen
	// processes', and one with another id is not, of those that the processes
	// opened themselves, as they do to talk to backends. A listener that the
	// service manager opened for them has its id, and so has what that accepts.
	//
	// The kernel notes the id when the socket is opened (kernel/cgroup/cgroup.c,
	// cgroup_sk_alloc, cgroup_sk_clone) and tells it of all but those in
	// TIME_WAIT and half-open ones.
	Decides bool
	// Why is the reason, for a person, when Decides is false.
	Why string
}

// Neighbour is a process that was not chosen and is in the cgroup of one that
// was.
type Neighbour struct {
	PID       int
	Name      string
	CgroupID  uint64
	Namespace tcp.Namespace // zero when it may not be read
	// Sockets is true when it has sockets of any kind, or may have: its
	// descriptors cannot be read, or there are more than are read.
	Sockets bool
}

// Attribute decides whether the cgroup id alone tells the sockets of the
// chosen processes from those of their neighbours: pure. crowded are the ids
// of groups whose neighbours are not known, with the reason for a person.
func Attribute(chosen []Chosen, neighbours []Neighbour, crowded map[uint64]string) Attribution {
	var a Attribution
	undecided := func(format string, args ...any) {
		if a.Why == "" { // the first reason is enough
			a.Why = fmt.Sprintf(format, args...)
		}
	}
	if len(chosen) == 0 {
		undecided("no process was chosen")
	}
	for _, p := range chosen {
		if p.CgroupID == 0 {
			undecided("the cgroup v2 id of process %d, %s, is not known", p.PID, p.Name)
			continue
		}
		if !slices.Contains(a.Cgroups, p.CgroupID) {
			a.Cgroups = append(a.Cgroups, p.CgroupID)
		}
	}
	slices.Sort(a.Cgroups)
	for _, id := range a.Cgroups {
		if why := crowded[id]; why != "" {
			undecided("%s", why)
		}
	}
	for _, n := range neighbours {
		isChosen := slices.ContainsFunc(chosen, func(p Chosen) bool { return p.PID == n.PID })
		if isChosen || !n.Sockets || !slices.Contains(a.Cgroups, n.CgroupID) {
			continue
		}
		// A neighbour in another network namespace has its sockets there.
		apart := n.Namespace != 0 && !slices.ContainsFunc(chosen, func(p Chosen) bool {
			return p.CgroupID == n.CgroupID && (p.Namespace == 0 || p.Namespace == n.Namespace)
		})
		if !apart {
			undecided("process %d, %s, is in the same cgroup and has sockets too", n.PID, n.Name)
		}
	}
	a.Decides = a.Why == ""
	return a
}

// maxMembers is how many processes of one group are looked at. A group of more
// is hardly one service's.
const maxMembers = 256

// Neighbours returns who else is in the cgroups of the chosen processes, from
// the groups' own lists: no walk of all processes. crowded is for [Attribute].
func Neighbours(proc string, chosen []Chosen) (neighbours []Neighbour, crowded map[uint64]string) {
	crowded = map[uint64]string{}
	asked := map[uint64]bool{0: true}
	if !slices.ContainsFunc(chosen, func(p Chosen) bool { return !asked[p.CgroupID] }) {
		return nil, crowded // hundreds of namespaces have none, and the list of mounts is long
	}
	h := openHierarchy(proc)
	for _, p := range chosen {
		if asked[p.CgroupID] {
			continue
		}
		asked[p.CgroupID] = true
		pids, err := h.members(proc, p)
		if err != nil {
			crowded[p.CgroupID] = err.Error()
			continue
		}
		for _, pid := range pids {
			if slices.ContainsFunc(chosen, func(o Chosen) bool { return o.PID == pid }) {
				continue
			}
			if n, ok := neighbour(proc, pid); ok {
				n.CgroupID = p.CgroupID
				neighbours = append(neighbours, n)
			}
		}
	}
	return neighbours, crowded
}

// members lists the processes in the cgroup of p.
func (h *hierarchy) members(proc string, p Chosen) ([]int, error) {
	data, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(p.PID), "cgroup"))
	if err != nil {
		return nil, fmt.Errorf("the cgroup of process %d cannot be read: %w", p.PID, err)
	}
	path, ok := unifiedPath(data)
	if !ok || h.id(path) != p.CgroupID {
		return nil, fmt.Errorf("process %d has left its cgroup", p.PID)
	}
	for _, m := range h.mounts {
		dir, ok := m.directory(path)
		if !ok {
			continue
		}
		data, err := processes.ReadFile(unix.AT_FDCWD, filepath.Join(dir, "cgroup.procs"), processes.MaxFile)
		if err != nil {
			return nil, fmt.Errorf("the processes of cgroup %s cannot be listed: %w", processes.Printable(path), err)
		}
		pids, err := parseMembers(data)
		if err != nil {
			return nil, fmt.Errorf("cgroup %s: %w", processes.Printable(path), err)
		}
		return pids, nil
	}
	return nil, fmt.Errorf("cgroup %s cannot be seen", processes.Printable(path))
}

// parseMembers understands cgroup.procs: a pid on each line, in no order and
// perhaps twice; 0 is a process of another pid namespace.
// Kernel: Documentation/admin-guide/cgroup-v2.rst; kernel/pid.c, pid_nr_ns.
func parseMembers(data []byte) ([]int, error) {
	var pids []int
	for line := range bytes.Lines(data) {
		pid, err := strconv.Atoi(string(bytes.TrimSuffix(line, []byte("\n"))))
		switch {
		case err != nil || pid < 0:
			return nil, fmt.Errorf("%.20q in the list of its processes is no process", line)
		case pid == 0:
			return nil, errors.New("it holds processes that cannot be seen from our pid namespace")
		case slices.Contains(pids, pid):
			continue
		case len(pids) == maxMembers:
			return nil, fmt.Errorf("it holds more than %d processes, too many for one service", maxMembers)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// neighbour looks at one process; ok is false when it has ended.
func neighbour(proc string, pid int) (n Neighbour, ok bool) {
	p, err := see(proc, pid)
	if err != nil {
		// Who hides is still there.
		return Neighbour{PID: pid, Sockets: true}, refused(err)
	}
	defer p.close()
	n = Neighbour{PID: pid, Name: p.name(), Namespace: p.namespace(), Sockets: true}
	fds, err := p.descriptors()
	if err != nil {
		return n, refused(err)
	}
	defer fds.Close()
	n.Sockets, err = hasSockets(fds)
	return n, err == nil || refused(err)
}

// hasSockets reports whether there is a socket among the first descriptors, or
// whether there are more.
func hasSockets(fds *os.File) (bool, error) {
	var link [64]byte
	names, err := fds.Readdirnames(perFirst)
	if err != nil && !errors.Is(err, io.EOF) {
		return true, err
	}
	for _, name := range names {
		n, err := unix.Readlinkat(int(fds.Fd()), name, link[:])
		if refused(err) {
			return true, err
		}
		if err != nil {
			continue // closed meanwhile
		}
		if _, ok := processes.Inode(link[:n], "socket"); ok {
			return true, nil
		}
	}
	return len(names) == perFirst, nil
}

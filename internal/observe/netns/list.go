package netns

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/observe/processes"
	"github.com/foreshock/foreshock/internal/tcp"
)

const (
	// ownPath is the namespace of the calling thread. /proc/self would be the
	// main thread's.
	ownPath = "/proc/thread-self/ns/net"
	// namedDir is where ip-netns(8) keeps its names.
	namedDir = "/run/netns"
)

// Found is a network namespace.
type Found struct {
	// ID is the namespace's number; of a Hidden one a number of our own, which
	// no namespace has.
	ID tcp.Namespace
	// Hidden: without privilege its number cannot be read and it cannot be
	// entered. It is told from others by its files in /proc/PID/net, which may
	// be read all the same.
	Hidden bool
	// Path opens it: "/run/netns/NAME" where it has a name, which stays valid
	// without any process, else "/proc/PID/ns/net".
	Path string
	// Name is the name below /run/netns, else the short name of its first
	// process, in which what is not printable is replaced by '?'.
	Name string
	// PID is its first process, the one with the lowest pid, and Processes
	// their number; zero when only its name keeps it.
	PID, Processes int
	// Own marks the caller's.
	Own bool
}

// Limits says what List could not see. Processes that the kernel hides
// (hidepid, another pid namespace) cannot be counted.
type Limits struct {
	// Unreadable counts processes and names whose namespace may not be read
	// or is none.
	Unreadable int
	// Vanished counts processes that ended while they were read.
	Vanished int
	// Reasons says for a person what is unreadable and why, each reason once:
	// "37 processes: permission denied".
	Reasons []string
}

// Self returns the network namespace of the calling thread: the process' own,
// but inside Do.
func Self() (tcp.Namespace, error) {
	var st unix.Stat_t
	if err := unix.Stat(ownPath, &st); err != nil {
		return 0, fmt.Errorf("find out our own network namespace: %w", &os.PathError{Op: "stat", Path: ownPath, Err: err})
	}
	return tcp.Namespace(st.Ino), nil
}

// List returns the namespaces that the processes below proc ("/proc") are in,
// by their main threads, and those named below /run/netns, our own first, then by name. An error
// means that there is nothing to go by; what single processes refuse is in
// Limits.
func List(proc string) ([]Found, Limits, error) {
	return list(proc, namedDir)
}

func list(proc, named string) ([]Found, Limits, error) {
	own, err := Self()
	if err != nil {
		return nil, Limits{}, err
	}
	pids, err := processes.List(proc)
	if err != nil {
		return nil, Limits{}, fmt.Errorf("list processes for their network namespaces: %w", err)
	}
	l := lister{found: map[tcp.Namespace]*Found{}, hidden: map[tcp.Namespace]*Found{}, refused: map[string]int{}}
	for _, pid := range pids {
		l.process(proc, pid)
	}
	l.names(named)
	l.uncover(proc)
	var out []Found
	for _, f := range l.found {
		f.Own = f.ID == own
		out = append(out, *f)
	}
	slices.SortFunc(out, func(a, b Found) int {
		switch {
		case a.Own:
			return -1
		case b.Own:
			return 1
		}
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	for why, n := range l.refused {
		what := "processes"
		if n == 1 {
			what = "process"
		}
		l.limits.Reasons = append(l.limits.Reasons, fmt.Sprintf("%d %s: %s", n, what, why))
	}
	slices.Sort(l.limits.Reasons)
	return out, l.limits, nil
}

// Of returns the network namespace of a process below proc ("/proc"), by its
// main thread. The error is the operating system's as it is, or says that it is
// none.
func Of(proc string, pid int) (tcp.Namespace, error) {
	var link [64]byte
	n, err := unix.Readlink(proc+"/"+strconv.Itoa(pid)+"/ns/net", link[:])
	if err != nil {
		return 0, err
	}
	id, ok := processes.Inode(link[:n], "net")
	if !ok {
		return 0, fmt.Errorf("%q is no network namespace", string(link[:n])) // a copy: link stays off the heap
	}
	return tcp.Namespace(id), nil
}

// Members returns the processes below proc whose main threads are in one of
// these namespaces, by namespace, in ascending order. Those that may not be
// read, and so those of hidden namespaces, are left out.
func Members(proc string, of map[tcp.Namespace]bool) (map[tcp.Namespace][]int, error) {
	pids, err := processes.List(proc)
	if err != nil {
		return nil, fmt.Errorf("list processes of network namespaces: %w", err)
	}
	members := make(map[tcp.Namespace][]int, len(of))
	for _, pid := range pids {
		if id, err := Of(proc, pid); err == nil && of[id] {
			members[id] = append(members[id], pid)
		}
	}
	return members, nil
}

type lister struct {
	found   map[tcp.Namespace]*Found
	hidden  map[tcp.Namespace]*Found
	refused map[string]int // processes by reason
	limits  Limits
}

// process notes the namespace of one process; pids come in ascending order.
func (l *lister) process(proc string, pid int) {
	path := proc + "/" + strconv.Itoa(pid) + "/ns/net"
	id, err := Of(proc, pid)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		l.limits.Vanished++
		return
	}
	if err != nil {
		l.limits.Unreadable++
		l.refused[err.Error()]++
		if errors.Is(err, fs.ErrPermission) {
			l.byTables(proc, pid, path)
		}
		return
	}
	f := l.found[id]
	if f == nil {
		f = &Found{ID: id, Path: path, PID: pid, Name: command(proc, pid)}
		l.found[id] = f
	}
	f.Processes++
}

// command is the short name of a process; empty when it ends right now.
func command(proc string, pid int) string {
	name, _ := processes.ReadName(unix.AT_FDCWD, proc+"/"+strconv.Itoa(pid)+"/comm")
	return name
}

// hiddenBit marks the numbers of hidden namespaces; the kernel's are 32 bits.
const hiddenBit tcp.Namespace = 1 << 63

// tables is what tells the namespace of a process from others without any
// privilege: the inode of its own /proc/PID/net/tcp.
// Kernel: fs/proc/generic.c, proc_register gives each namespace's files numbers
// of their own; fs/proc/proc_net.c, get_proc_task_net asks for no permission.
func tables(dir string) (tcp.Namespace, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir+"/net/tcp", &st); err != nil {
		return 0, err
	}
	return hiddenBit | tcp.Namespace(st.Ino), nil
}

// byTables notes the namespace of a process that may not be inspected.
func (l *lister) byTables(proc string, pid int, path string) {
	id, err := tables(proc + "/" + strconv.Itoa(pid))
	if err != nil {
		return // counted already
	}
	f := l.hidden[id]
	if f == nil {
		f = &Found{ID: id, Hidden: true, Path: path, PID: pid, Name: command(proc, pid)}
		l.hidden[id] = f
	}
	f.Processes++
}

// uncover adds the hidden namespaces but those that another process, or our
// own, has shown already.
func (l *lister) uncover(proc string) {
	if len(l.hidden) == 0 {
		return
	}
	if own, err := tables("/proc/thread-self"); err == nil {
		delete(l.hidden, own)
	}
	for _, f := range l.found {
		if id, err := tables(proc + "/" + strconv.Itoa(f.PID)); f.PID != 0 && err == nil {
			delete(l.hidden, id)
		}
	}
	maps.Copy(l.found, l.hidden)
}

// Still returns ErrGone when its first process is no longer in the namespace.
func (n Found) Still(proc string) error {
	dir := proc + "/" + strconv.Itoa(n.PID)
	id, err := tables(dir)
	if !n.Hidden {
		id, err = Of(proc, n.PID)
	}
	if err != nil || id != n.ID {
		return fmt.Errorf("%w: process %d is not there any more", ErrGone, n.PID)
	}
	return nil
}

// names adds the namespaces that have a name. A name is a file on which the
// namespace is mounted; one without a mount was left behind.
func (l *lister) names(dir string) {
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) { // no namespace was ever named here
			l.limits.Unreadable++
			l.limits.Reasons = append(l.limits.Reasons, err.Error())
		}
		return
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		id, err := identify(path)
		if err != nil {
			if !errors.Is(err, unix.ENOENT) { // removed right now
				l.limits.Unreadable++
				l.limits.Reasons = append(l.limits.Reasons, err.Error())
			}
			continue
		}
		f := l.found[id]
		if f == nil {
			f = &Found{ID: id}
			l.found[id] = f
		}
		if filepath.Dir(f.Path) != dir { // of two names the first counts
			f.Path, f.Name = path, processes.Printable(e.Name())
		}
	}
}

// identify opens the namespace at path and returns its number.
func identify(path string) (tcp.Namespace, error) {
	fd, id, err := open(path)
	if err != nil {
		return 0, err
	}
	_ = unix.Close(fd)
	return id, nil
}

// errNotNamespace: the file is there and is no network namespace.
var errNotNamespace = errors.New("not a network namespace: its mount was removed, or is in another mount namespace")

// open opens the namespace at path.
func open(path string) (fd int, id tcp.Namespace, err error) {
	// Never wait for the other end of something that is a named pipe.
	fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, 0, &os.PathError{Op: "open", Path: path, Err: err}
	}
	var fs unix.Statfs_t
	var st unix.Stat_t
	if err = unix.Fstatfs(fd, &fs); err == nil {
		err = unix.Fstat(fd, &st)
	}
	if err == nil && fs.Type != unix.NSFS_MAGIC {
		err = errNotNamespace
	}
	if err == nil {
		// Other kinds of namespace are nsfs files too. Before Linux 4.11 the
		// question is not understood, and setns refuses them itself.
		if kind, kindErr := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE); kindErr == nil && kind != unix.CLONE_NEWNET {
			err = errNotNamespace
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, 0, fmt.Errorf("%s: %w", path, err)
	}
	return fd, tcp.Namespace(st.Ino), nil
}

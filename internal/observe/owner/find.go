package owner

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/observe/processes"
)

// Process is a process that holds a socket.
type Process struct {
	PID int
	// Name is the kernel's short name, comm, at most 15 bytes. A process
	// chooses it freely: what is not printable is replaced by '?'.
	Name string
	// Exe is the program's path, empty when it may not be read.
	Exe string
	// Unit and Container are those of [Membership].
	Unit, Container string
}

// Limits says what a search could not see. Processes that the kernel hides
// (hidepid, another pid namespace) cannot be counted.
type Limits struct {
	// Unreadable counts processes whose descriptors may not be read; it takes
	// CAP_SYS_PTRACE to read those of other users.
	Unreadable int
	// Vanished counts processes that ended while they were read.
	Vanished int
	// Cut counts processes that were not searched to the end, though a socket
	// remained without a holder: they, or all together, have too many
	// descriptors.
	Cut int
	// Programs counts processes that were not compared with a selector's
	// program, as that of other users takes CAP_SYS_PTRACE to read too.
	Programs int
	// Namespaces and Cgroups count chosen processes whose network namespace,
	// or whose cgroup v2 id, is not known.
	Namespaces, Cgroups int
}

// Reasons says for a person what was not seen and why, each reason once:
// "3 processes: descriptors may not be read (it takes CAP_SYS_PTRACE)".
// Processes that ended meanwhile are nothing to report.
func (l Limits) Reasons() []string {
	var out []string
	add := func(n int, why string) {
		switch {
		case n == 1:
			out = append(out, "1 process: "+why)
		case n > 1:
			out = append(out, strconv.Itoa(n)+" processes: "+why)
		}
	}
	add(l.Unreadable, "descriptors may not be read (it takes CAP_SYS_PTRACE)")
	add(l.Programs, "the program may not be read, so they are not chosen by it (it takes CAP_SYS_PTRACE)")
	add(l.Namespaces, "the network namespace may not be read (it takes CAP_SYS_PTRACE)")
	add(l.Cgroups, "the cgroup v2 id is not known, so their sockets are told by descriptors only")
	add(l.Cut, "not searched to the end, as there is too much to read at once")
	return out
}

// The bounds of a search, at about 3 µs per descriptor.
const (
	// perFirst descriptors of each process are read first, and perSecond where a
	// socket has no holder yet. The kernel lists them in ascending order, and a
	// server opens its listeners early: they are found beside processes with a
	// hundred thousand connections each.
	perFirst  = 128
	perSecond = 1024
	// perProcess are read of one process.
	perProcess = 1 << 17
	// perChunk descriptors are listed at once.
	perChunk = 512
)

// How many descriptors a search reads in all.
const (
	Thorough = 1 << 19 // about 1.5 s
	// Brief is a tenth of a second: enough for the first descriptors of hundreds
	// of processes, where a search to the end would find little more.
	Brief = 1 << 15
)

// Find searches the processes below proc ("/proc") with these pids, in ascending
// order, or all where pids is nil, for those that hold the sockets with these
// inodes, and returns them sorted by pid. Several may hold one socket: a
// server's children share its listener, and the lowest pid is usually the
// parent. Inodes that nobody seen holds are not in the map.
//
// Of each process the first 128 descriptors are searched; the later ones only
// for sockets that nobody was found to hold among those, and no more than depth
// in all: [Thorough] or [Brief].
//
// An error says that it could not be told who holds them: the map is not whole
// then, and who was known to hold them before is to stay.
func Find(proc string, pids []int, inodes []uint64, depth int) (map[uint64][]Process, Limits, error) {
	s := &search{proc: proc, wanted: map[uint64]bool{}, held: map[uint64][]Process{}, left: depth}
	for _, inode := range inodes {
		if inode != 0 { // zero is nobody's
			s.wanted[inode] = true
		}
	}
	if len(s.wanted) == 0 {
		return s.held, s.limits, nil
	}
	if pids == nil {
		var err error
		if pids, err = processes.List(proc); err != nil {
			return s.held, s.limits, fmt.Errorf("list the processes: %w", err)
		}
	}
	s.among(pids, perFirst, perSecond, perProcess)
	return s.held, s.limits, s.err
}

// among searches the descriptors of these processes before the first bound,
// and then those up to the next one for the sockets that have no holder yet.
func (s *search) among(pids []int, bounds ...int) {
	from := 0
	for _, to := range bounds {
		if len(s.wanted) == 0 || len(pids) == 0 || s.err != nil {
			return
		}
		pids = s.round(pids, from, to)
		for inode := range s.held {
			delete(s.wanted, inode)
		}
		from = to
	}
	if len(s.wanted) > 0 {
		s.limits.Cut = len(pids)
	}
}

// round searches the descriptors from and before to of each process, counted
// in the order of the listing, and returns the processes that have more.
func (s *search) round(pids []int, from, to int) (more []int) {
	more, s.err = s.limits.each(pids, func(pid int) (bool, error) { return s.process(pid, from, to) })
	return more
}

// each calls look with each process, counts those that cannot be read, and
// returns those it was not done with. The error is that we ran out of something,
// so that nothing can be told.
func (l *Limits) each(pids []int, look func(pid int) (done bool, err error)) (more []int, err error) {
	for _, pid := range pids {
		done, err := look(pid)
		switch {
		case err == nil && !done:
			more = append(more, pid)
		case err == nil:
		case exhausted(err):
			return nil, fmt.Errorf("look at process %d: %w", pid, err)
		default:
			l.count(err)
		}
	}
	return more, nil
}

// count counts a process that could not be read.
func (l *Limits) count(err error) {
	if refused(err) {
		l.Unreadable++
	} else { // ENOENT, ESRCH: it ended
		l.Vanished++
	}
}

type search struct {
	proc   string
	wanted map[uint64]bool
	held   map[uint64][]Process
	limits Limits
	err    error // why it is not known who holds them
	left   int   // descriptors that may still be read
	link   [64]byte
}

// process notes which of the wanted sockets a process holds; done is false
// when it has more descriptors.
func (s *search) process(pid, from, to int) (done bool, err error) {
	if s.left <= 0 {
		return false, nil
	}
	p, err := see(s.proc, pid)
	if err != nil {
		return false, err
	}
	defer p.close()
	fds, err := p.descriptors()
	if err != nil {
		return false, err
	}
	defer fds.Close()
	found, done, err := s.descriptors(fds, from, to)
	if len(found) == 0 {
		return done, err
	}
	holder, holderErr := p.process()
	if holderErr != nil {
		return false, holderErr
	}
	for _, inode := range found {
		s.held[inode] = append(s.held[inode], holder)
	}
	return done, err
}

// descriptors returns which of the wanted sockets are among fds, each once;
// done is false when there are descriptors left that may hold others.
func (s *search) descriptors(fds *os.File, from, to int) (found []uint64, done bool, err error) {
	at := int(fds.Fd())
	for listed := 0; ; {
		names, err := fds.Readdirnames(perChunk)
		if err == io.EOF {
			return found, true, nil
		}
		if err != nil {
			return found, false, err
		}
		for _, name := range names {
			if listed++; listed <= from {
				continue
			}
			if listed > to || s.left <= 0 {
				return found, false, nil
			}
			s.left--
			n, err := unix.Readlinkat(at, name, s.link[:])
			if errors.Is(err, unix.ENOENT) {
				continue // closed meanwhile
			}
			if err != nil {
				return found, false, err
			}
			if inode, ok := processes.Inode(s.link[:n], "socket"); ok && s.wanted[inode] && !slices.Contains(found, inode) {
				if found = append(found, inode); len(found) == len(s.wanted) {
					return found, true, nil
				}
			}
		}
	}
}

// readExe reads the path of the program that a process runs. One replaced by
// its upgrade runs on under the same path.
func readExe(at int) (string, error) {
	path := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(at, "exe", path)
	if err != nil {
		return "", err
	}
	return processes.Printable(strings.TrimSuffix(string(path[:n]), " (deleted)")), nil
}

func openDirectory(at int, name string) (*os.File, error) {
	fd, err := processes.OpenAt(at, name, unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

package owner

import (
	"errors"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/observe/processes"
	"github.com/foreshock/foreshock/internal/tcp"
)

// Chosen is a process that a selector chose.
type Chosen struct {
	Process
	// Started is when it began, in clock ticks after boot: of two processes
	// with one pid it tells which. It stays over exec.
	Started uint64
	// Parent is the pid of its parent; 0 when that is in another pid
	// namespace.
	Parent int
	// CgroupID is the cgroup v2 id of its group, which the kernel notes on
	// each socket when it is opened; zero when it is not known.
	CgroupID uint64
	// Namespace is its network namespace; zero when it may not be read.
	Namespace tcp.Namespace
}

// seen is one process while it is looked at; what is needed of it is read
// once, and when it is needed. All of it is read relative to its directory:
// when the process ends and its pid is given to another, the reads fail.
type seen struct {
	pid int
	dir int // descriptor

	comm     string
	commErr  error
	commRead bool

	program string
	exeErr  error
	exeRead bool

	balancer      string
	balancerKnown bool

	group     Membership
	unified   string
	groupRead bool
}

// see opens a process' directory; the caller closes it.
func see(proc string, pid int) (*seen, error) {
	dir, err := processes.OpenAt(unix.AT_FDCWD, proc+"/"+strconv.Itoa(pid), unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	return &seen{pid: pid, dir: dir}, nil
}

func (p *seen) close() { _ = unix.Close(p.dir) }

// name returns the short name, empty when the process has ended.
func (p *seen) name() string {
	if !p.commRead {
		p.commRead = true
		p.comm, p.commErr = processes.ReadName(p.dir, "comm")
	}
	return p.comm
}

// exe returns the program's path, empty for a process without one. readable is
// false when the path may not be read.
func (p *seen) exe() (path string, readable bool) {
	if !p.exeRead {
		p.exeRead = true
		p.program, p.exeErr = readExe(p.dir)
	}
	return p.program, !refused(p.exeErr)
}

// runsNothing reports whether there is no program: the kernel's own processes
// and those that have ended have none, and no sockets either.
func (p *seen) runsNothing() bool {
	path, readable := p.exe()
	return path == "" && readable
}

// software returns which known balancer it is, empty when none.
func (p *seen) software() string {
	if !p.balancerKnown {
		p.balancerKnown = true
		if exe, readable := p.exe(); readable {
			p.balancer = Balancer("", exe)
		} else {
			p.balancer = Balancer(p.name(), "")
		}
	}
	return p.balancer
}

// descriptors opens the directory of its descriptors.
func (p *seen) descriptors() (*os.File, error) { return openDirectory(p.dir, "fd") }

func (p *seen) membership() Membership {
	if !p.groupRead {
		p.groupRead = true
		if data, err := processes.ReadFile(p.dir, "cgroup", processes.MaxFile); err == nil {
			p.group = ParseCgroup(data)
			p.group.Path = processes.Printable(p.group.Path)
			p.unified, _ = unifiedPath(data)
		}
	}
	return p.group
}

// process reads what there is to know of a process. Only the name must be
// readable; it always is while the process lives.
func (p *seen) process() (Process, error) {
	name := p.name() // sets commErr
	exe, _ := p.exe()
	m := p.membership()
	return Process{PID: p.pid, Name: name, Exe: exe, Unit: m.Unit, Container: m.Container}, p.commErr
}

// describe reads the rest of a process that was chosen. Its stat comes last:
// who can be read to the end was there all the time.
func (p *seen) describe(h *hierarchy) (Chosen, error) {
	process, err := p.process()
	if err != nil {
		return Chosen{}, err
	}
	c := Chosen{Process: process}
	if p.unified != "" {
		c.CgroupID = h.id(p.unified)
	}
	c.Namespace = p.namespace()
	s, err := processes.ReadStat(p.dir, "stat")
	if err != nil {
		return Chosen{}, err
	}
	if s.Ended() {
		return Chosen{}, unix.ESRCH
	}
	c.Started, c.Parent = s.Started, s.Parent
	return c, nil
}

// namespace returns the process' network namespace; zero when it may not be
// read.
func (p *seen) namespace() tcp.Namespace {
	var link [64]byte
	n, err := unix.Readlinkat(p.dir, "ns/net", link[:])
	if err != nil {
		return 0
	}
	inode, _ := processes.Inode(link[:n], "net")
	return tcp.Namespace(inode)
}

// exhausted reports whether an error says that we ran out of something, and so
// nothing about the process.
func exhausted(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}

// refused reports whether an error says that something may not be read, and
// not that it is gone.
func refused(err error) bool { return errors.Is(err, fs.ErrPermission) }

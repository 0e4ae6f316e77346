package owner

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

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
// once. All of it is read relative to its directory: when the process ends and
// its pid is given to another, the reads fail.
type seen struct {
	pid       int
	dir       *os.File
	comm      string
	program   string
	exeErr    error
	exeRead   bool
	group     Membership
	unified   string
	groupRead bool
}

func see(proc string, pid int) (*seen, error) {
	dir, err := openDirectory(unix.AT_FDCWD, proc+"/"+strconv.Itoa(pid))
	if err != nil {
		return nil, err
	}
	comm, err := readFile(int(dir.Fd()), "comm")
	if err != nil {
		_ = dir.Close()
		return nil, err
	}
	return &seen{pid: pid, dir: dir, comm: printable(strings.TrimSuffix(string(comm), "\n"))}, nil
}

func (p *seen) close() { _ = p.dir.Close() }

func (p *seen) name() string { return p.comm }

// exe returns the program's path, empty for a process without one, as the
// kernel's own. readable is false when the path may not be read.
func (p *seen) exe() (path string, readable bool) {
	if !p.exeRead {
		p.exeRead = true
		p.program, p.exeErr = readExe(int(p.dir.Fd()))
	}
	return p.program, !refused(p.exeErr)
}

func (p *seen) membership() Membership {
	if !p.groupRead {
		p.groupRead = true
		if data, err := readFile(int(p.dir.Fd()), "cgroup"); err == nil {
			p.group = ParseCgroup(data)
			p.group.Path = printable(p.group.Path)
			p.unified, _ = unifiedPath(data)
		}
	}
	return p.group
}

// describe reads the rest of a process that was chosen. Its stat comes last:
// who can be read to the end was there all the time.
func (p *seen) describe(h *hierarchy) (Chosen, error) {
	m := p.membership()
	exe, _ := p.exe()
	c := Chosen{Process: Process{PID: p.pid, Name: p.name(), Exe: exe, Unit: m.Unit, Container: m.Container, CgroupPath: m.Path}}
	if p.unified != "" {
		c.CgroupID = h.id(p.unified)
	}
	c.Namespace = p.namespace()
	text, err := readFile(int(p.dir.Fd()), "stat")
	if err != nil {
		return Chosen{}, err
	}
	s, err := parseStat(text)
	if err != nil {
		return Chosen{}, err
	}
	if s.ended() {
		return Chosen{}, unix.ESRCH
	}
	c.Started, c.Parent = s.started, s.parent
	return c, nil
}

// namespace returns the process' network namespace; zero when it may not be
// read.
func (p *seen) namespace() tcp.Namespace {
	var link [64]byte
	n, err := unix.Readlinkat(int(p.dir.Fd()), "ns/net", link[:])
	if err != nil {
		return 0
	}
	return parseNamespace(string(link[:n]))
}

// parseNamespace understands the target of /proc/PID/ns/net,
// "net:[4026531840]"; zero when it is something else.
// Kernel: fs/nsfs.c, ns_get_name.
func parseNamespace(target string) tcp.Namespace {
	digits, ok := strings.CutPrefix(target, "net:[")
	if !ok {
		return 0
	}
	digits, ok = strings.CutSuffix(digits, "]")
	if !ok {
		return 0
	}
	id, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0
	}
	return tcp.Namespace(id)
}

// refused reports whether an error says that something may not be read, and
// not that it is gone.
func refused(err error) bool { return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) }

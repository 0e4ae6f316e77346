package limits

import (
	"math/bits"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/observe/processes"
)

// process is a process as proc_pid(5) shows it. What may not be read is empty.
type process struct {
	proc string
	pid  int
}

func (p process) path(name string) string {
	return p.proc + "/" + strconv.Itoa(p.pid) + "/" + name
}

// maxProcFile bounds what is read of one file in /proc; a command line or an
// environment can be megabytes.
const maxProcFile = 4 << 20

func (p process) file(name string) []byte {
	data, _ := processes.ReadFile(unix.AT_FDCWD, p.path(name), maxProcFile)
	return data
}

// arguments returns the command line. Of a process that wrote a title over its
// arguments, as nginx and PHP-FPM do, it is the title as one argument, perhaps
// followed by empty ones.
func (p process) arguments() []string {
	line := strings.TrimRight(string(p.file("cmdline")), "\x00")
	if line == "" {
		return nil
	}
	return strings.Split(line, "\x00")
}

// letterOptions calls each with those options of a command line that take a
// value, in the way of getopt(3): it may be joined to its letter.
func letterOptions(args []string, letters string, each func(letter byte, value string)) {
	for i := 1; i < len(args); i++ {
		if len(args[i]) < 2 || args[i][0] != '-' || !strings.ContainsRune(letters, rune(args[i][1])) {
			continue
		}
		letter, value := args[i][1], args[i][2:]
		if value == "" {
			if i++; i == len(args) {
				return
			}
			value = args[i]
		}
		each(letter, value)
	}
}

// title returns what stands behind prefix in a command line that is a title.
func (p process) title(prefix string) (string, bool) {
	args := p.arguments()
	if len(args) == 0 {
		return "", false
	}
	rest, ok := strings.CutPrefix(args[0], prefix)
	return strings.TrimSpace(rest), ok
}

// environment returns what the process was started with; nil when that may
// not be read.
func (p process) environment() map[string]string {
	env := map[string]string{}
	for entry := range strings.SplitSeq(string(p.file("environ")), "\x00") {
		if name, value, ok := strings.Cut(entry, "="); ok {
			env[name] = value
		}
	}
	return env
}

// directory returns the working directory as a path in the process' root, "/"
// when it may not be read. The kernel gives the path from our root, which is
// different after a chroot in the same mount namespace.
func (p process) directory() string {
	cwd, err := os.Readlink(p.path("cwd"))
	if err != nil || !path.IsAbs(cwd) {
		return "/"
	}
	if root, err := os.Readlink(p.path("root")); err == nil && root != "/" {
		if inside, ok := strings.CutPrefix(cwd, root); ok && (inside == "" || inside[0] == '/') {
			cwd = inside
		}
	}
	return path.Clean("/" + cwd)
}

// within returns name as an absolute path, relative names being below dir.
func within(dir, name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join("/", dir, name)
}

// status returns a field of /proc/PID/status.
func (p process) status(field string) string {
	for line := range strings.Lines(string(p.file("status"))) {
		if name, value, ok := strings.Cut(line, ":"); ok && name == field {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// parentOf goes up from p as long as the parent runs the same server: children
// carry neither the command line nor the time of the start.
func parentOf(p process, k *kind) process {
	for range 4 {
		parent, err := strconv.Atoi(p.status("PPid"))
		if err != nil || parent < 1 {
			return p
		}
		up := process{proc: p.proc, pid: parent}
		exe, _ := os.Readlink(up.path("exe"))
		if found := kindOf(strings.TrimSpace(string(up.file("comm"))), exe); found == nil || found.software != k.software {
			return p
		}
		p = up
	}
	return p
}

// children returns the processes that p started.
// Kernel: CONFIG_PROC_CHILDREN, fs/proc/array.c, children_seq_show.
func (p process) children() []process {
	var out []process
	for pid := range strings.FieldsSeq(string(p.file("task/" + strconv.Itoa(p.pid) + "/children"))) {
		if n, err := strconv.Atoi(pid); err == nil {
			out = append(out, process{proc: p.proc, pid: n})
		}
	}
	return out
}

// started returns when the process was started, in clock ticks since boot; 0
// when it is gone.
func (p process) started() uint64 {
	stat, _ := processes.ReadStat(unix.AT_FDCWD, p.path("stat"))
	return stat.Started
}

// identity is who a process is at one moment. The program and the ids of a
// process change when it executes another.
type identity struct {
	started uint64
	exe     string // empty: may not be read
	rights  rights
}

func (p process) identity() identity {
	exe, _ := os.Readlink(p.path("exe"))
	return identity{p.started(), exe, p.rights()}
}

func (i identity) same(o identity) bool {
	return i.started == o.started && i.exe == o.exe && i.rights.known == o.rights.known && i.rights.all == o.rights.all &&
		i.rights.uid == o.rights.uid && slices.Equal(i.rights.gids, o.rights.gids)
}

// ticksPerSecond is what every Linux port that Foreshock runs on shows to user
// space. Kernel: include/asm-generic/param.h, USER_HZ.
const ticksPerSecond = 100

// startTime is started on the wall clock; zero when unknown. The time of boot
// is in whole seconds.
func (p process) startTime() time.Time {
	ticks := p.started()
	stat, err := os.ReadFile(p.proc + "/stat")
	if err != nil || ticks == 0 {
		return time.Time{}
	}
	for line := range strings.Lines(string(stat)) {
		if text, ok := strings.CutPrefix(line, "btime "); ok {
			if boot, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil {
				return time.Unix(boot, 0).Add(time.Duration(ticks) * (time.Second / ticksPerSecond))
			}
		}
	}
	return time.Time{}
}

// youngestChild returns when p started its last child, zero without children.
func (p process) youngestChild() time.Time {
	var last process
	for _, child := range p.children() {
		if child.started() > last.started() {
			last = child
		}
	}
	if last.pid == 0 {
		return time.Time{}
	}
	return last.startTime()
}

// cpus returns how many processors the process may run on, 0 when unknown.
// Kernel: Cpus_allowed, groups of eight hexadecimal digits.
func (p process) cpus() int {
	n := 0
	for group := range strings.SplitSeq(p.status("Cpus_allowed"), ",") {
		mask, err := strconv.ParseUint(group, 16, 64)
		if err != nil {
			return 0
		}
		n += bits.OnesCount64(mask)
	}
	return n
}

// descriptors returns the soft limit of open files, 0 when unknown or none.
func (p process) descriptors() int {
	limit, err := processes.OpenFilesLimit(p.file("limits"))
	if err != nil || limit == processes.Unlimited {
		return 0
	}
	return min(limit, maxCount)
}

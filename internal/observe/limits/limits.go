package limits

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/foreshock/foreshock/internal/observe/processes"
	"github.com/foreshock/foreshock/internal/scope"
)

// Of returns how many connections or requests the server that process pid runs
// can serve at once, and a stamp that tells when to ask again. The process may
// be the server's parent or one of its children. proc is where the proc file
// system is mounted, "/proc"; name and exe are the process' short name and the
// path of its program, either of which may be empty; listen is where the
// service listens, which matters to PHP-FPM only: its limit is that of the
// pools which listen there.
//
// It is false when the process is no server that is known here; the Stamp is
// zero then. A known server whose limit cannot be told has Limit 0 and a
// Problem. A Problem beside a Limit is something odd about it.
//
// It reads a few dozen files, at most 16 MiB of them, and with default paths
// up to 32 MiB of the program itself. What is not a regular file is not opened
// for reading, but a file system of the process' may still keep it waiting
// without end: call it where that stops nothing else.
func Of(proc string, pid int, name, exe string, listen []netip.AddrPort) (scope.Workers, Stamp, bool) {
	kind := kindOf(name, exe)
	if kind == nil {
		return scope.Workers{}, Stamp{}, false
	}
	p := parentOf(process{proc: proc, pid: pid}, kind)
	who := p.identity()
	unreadable := func(why string) (scope.Workers, Stamp, bool) {
		return scope.Workers{Software: kind.software, Held: kind.held, Problem: "the files of process " + strconv.Itoa(p.pid) + " cannot be reached: " + why},
			Stamp{process: p, started: who.started}, true
	}
	files, err := openRoot(p.path("root"), who.rights)
	if err != nil {
		return unreadable(reason(err) + forOthers(err))
	}
	defer files.close()
	r := &reading{process: p, exe: exe, files: files, listen: listen, markers: kind.markers}
	w := kind.read(r)
	pending := r.checkInUse()
	// A process may become another program of another user at any time, and
	// what it named before must not be read with the rights it has after.
	if now := p.identity(); !now.same(who) || !runs(now.exe, kind) {
		return unreadable("it became another program meanwhile")
	}
	w.Problem = strings.Join(append(r.doubts, r.notes...), "; ")
	if len(r.doubts) > 0 || w.Limit <= 0 {
		w.Limit, w.Origin = 0, ""
	}
	return w, Stamp{process: p, started: who.started, marks: files.marks, pending: pending, youngest: p.youngestChild()}, true
}

// kind is a server that is known here.
type kind struct {
	software string // until more is known
	held     scope.Held
	names    []string // of the program, before what versions add
	variants []string // what may follow
	markers  []string // texts in the program that values follow
	read     func(*reading) scope.Workers
}

// kinds are told apart by the base name of the program. Distributions put
// versions and variants around it: php-fpm8.2, php8.2-fpm, httpd-prefork,
// apache2.event.
func kinds() []kind {
	return []kind{
		{
			software: "apache", held: scope.HeldUnknown, read: readApache, names: []string{"apache2", "httpd", "httpd2"},
			variants: []string{"-prefork", "-worker", "-event", ".prefork", ".worker", ".event"},
			markers:  []string{apacheVersion, apacheRoot, apacheFile, apachePidFile, mpmMarker("prefork"), mpmMarker("worker"), mpmMarker("event")},
		},
		{
			software: "nginx", held: scope.HeldByRequest, read: readNginx, names: []string{"nginx", "openresty"},
			variants: []string{"-debug"}, markers: []string{builtPrefix, builtConf},
		},
		{
			software: "php-fpm", held: scope.HeldByConnection, read: readFPM, names: []string{"php-fpm"},
			markers: []string{builtPrefix, builtSysconf},
		},
	}
}

// The texts in programs that values follow. In nginx and PHP-FPM they are the
// options of configure.
const (
	apacheVersion = "Apache/2.4."
	apacheRoot    = `HTTPD_ROOT="`
	apacheFile    = `SERVER_CONFIG_FILE="`
	apachePidFile = `DEFAULT_PIDLOG="`
	builtPrefix   = "--prefix="
	builtConf     = "--conf-path="
	builtSysconf  = "--sysconfdir="
)

// kindOf returns nil for what is not known. The program decides where it can
// be read: a process chooses its short name freely.
func kindOf(name, exe string) *kind {
	if exe != "" {
		name = path.Base(strings.TrimSuffix(exe, " (deleted)"))
	}
	if rest, ok := strings.CutPrefix(name, "php"); ok {
		// The version stands before or behind -fpm: php8.2-fpm, php-fpm8.2.
		if before, after, ok := strings.Cut(rest, "-fpm"); ok && strings.Trim(before+after, "0123456789.") == "" {
			name = "php-fpm"
		}
	}
	for _, k := range kinds() {
		for _, program := range k.names {
			if rest, ok := strings.CutPrefix(name, program); ok && (rest == "" || slices.Contains(k.variants, rest)) {
				return &k
			}
		}
	}
	return nil
}

// runs reports whether a program is of that kind; one that may not be read is
// taken to be.
func runs(exe string, k *kind) bool {
	if exe == "" {
		return true
	}
	found := kindOf("", exe)
	return found != nil && found.software == k.software
}

// reading is one look at one server's configuration.
type reading struct {
	process process
	exe     string
	files   *root
	listen  []netip.AddrPort
	markers []string          // in the program
	built   map[string]string // what follows them; nil before it was searched
	pidFile string            // in the process' root; its time tells the last reload
	doubts  []string          // why the limit cannot be told
	notes   []string          // what is odd about it
	stopped bool              // no limit can come of it any more
}

// maxRemarks bounds each list of remarks: one broken tree makes many.
const maxRemarks = 3

func (r *reading) doubt(format string, args ...any) { remark(&r.doubts, format, args) }
func (r *reading) note(format string, args ...any)  { remark(&r.notes, format, args) }

// remark notes what a person may read: names and values come from files that
// others write.
func remark(list *[]string, format string, args []any) {
	if len(*list) < maxRemarks {
		*list = append(*list, processes.Printable(fmt.Sprintf(format, args...)))
	}
}

// tooDeep doubts the limit and ends the reading: a loop shows itself at every
// turn.
func (r *reading) tooDeep(at position) {
	if !r.stopped {
		r.doubt("includes go deeper than %d files at %s: a loop?", maxDepth, at)
	}
	r.stopped = true
}

// over reports whether reading on is of no use.
func (r *reading) over() bool { return r.stopped || len(r.doubts) >= maxRemarks }

// read returns the content of a file of the configuration, that many includes
// deep; when it cannot, it doubts the limit, as the file could set it.
func (r *reading) read(name string, from position, depth int) ([]byte, bool) {
	if depth > maxDepth {
		r.tooDeep(from)
		return nil, false
	}
	data, err := r.files.read(name)
	if errors.Is(err, errTooMuch) {
		r.stopped = true
	}
	if err != nil {
		r.doubt("%s cannot be read: %s%s", from.named(name), reason(err), forOthers(err))
		return nil, false
	}
	return data, true
}

// glob returns the files that match a pattern, sorted; a pattern without
// wildcards is its own match.
func (r *reading) glob(pattern string, from position) []string {
	names, err := r.files.glob(pattern)
	if err != nil {
		r.doubt("%s cannot be searched: %s%s", from.named(pattern), reason(err), forOthers(err))
	}
	return names
}

// firstFile returns the first of names that exists, or that cannot be told not
// to exist; the first of all when none does.
func (r *reading) firstFile(names ...string) string {
	for _, name := range names {
		if r.files.exists(name) {
			return name
		}
	}
	return names[0]
}

// position is a line of a file. The zero value is no line of any file.
type position struct {
	file string
	line int
}

func (p position) String() string {
	if p.line == 0 {
		return p.file
	}
	return p.file + ":" + strconv.Itoa(p.line)
}

// named is a file as remarks have it. Its name is shown where the process gave
// it itself. Where a file gave it, it is content of that file, which may be
// meant for fewer eyes than our remarks are.
func (p position) named(file string) string {
	if p.file == "" {
		return file
	}
	return "what " + p.String() + " includes"
}

// reason is the innermost part of an error: the rest repeats the file's name.
func reason(err error) string {
	if inner, ok := err.(*os.PathError); ok { //nolint:errorlint // only the outermost wrapping is taken off
		err = inner.Err
	}
	return err.Error()
}

// forOthers says what helps against a refusal.
func forOthers(err error) string {
	if os.IsPermission(err) {
		return "; run foreshock as root or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, or write the limit into workers_from"
	}
	return ""
}

// count reads a whole number of at least 1 from a configuration. The error
// repeats numbers only: other text may be anything, a secret too.
func count(text string) (int, error) {
	n, err := strconv.Atoi(text)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("not a whole number from 1 to %d", maxCount)
	case err != nil:
		return 0, fmt.Errorf("more than %d", maxCount)
	case n < 1 || n > maxCount:
		return 0, fmt.Errorf("%d is not from 1 to %d", n, maxCount)
	}
	return n, nil
}

// maxCount is beyond what any of the servers can do, and small enough that the
// product of two counts is no overflow.
const maxCount = 1 << 30

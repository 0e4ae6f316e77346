package limits

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"

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
// up to 32 MiB of the program itself. It never waits for a file: what is not a
// regular file is not opened for reading.
func Of(proc string, pid int, name, exe string, listen []netip.AddrPort) (scope.Workers, Stamp, bool) {
	kind := kindOf(name, exe)
	if kind == nil {
		return scope.Workers{}, Stamp{}, false
	}
	p := parentOf(process{proc: proc, pid: pid}, kind)
	files, err := openRoot(p.path("root"))
	if err != nil {
		return scope.Workers{
			Software: kind.software, Held: kind.held,
			Problem: "the files of process " + strconv.Itoa(p.pid) + " cannot be reached: " + reason(err) + forOthers(err),
		}, Stamp{process: p, started: p.started()}, true
	}
	defer files.close()
	r := &reading{process: p, exe: exe, files: files, listen: listen}
	w := kind.read(r)
	pending := r.checkInUse()
	w.Problem = strings.Join(append(r.doubts, r.notes...), "; ")
	if len(r.doubts) > 0 || w.Limit <= 0 {
		w.Limit, w.Origin = 0, ""
	}
	return w, Stamp{process: p, started: p.started(), marks: files.marks, pending: pending, youngest: p.youngestChild()}, true
}

// kind is a server that is known here.
type kind struct {
	software string // until more is known
	held     scope.Held
	program  *regexp.Regexp // base name of the program
	read     func(*reading) scope.Workers
}

// kinds are told apart by the base name of the program. Distributions put
// versions and variants behind it: php-fpm8.2, httpd-prefork, apache2.event.
func kinds() []kind {
	return []kind{
		{"apache", scope.HeldUnknown, regexp.MustCompile(`^(apache2|httpd2?)([-.](prefork|worker|event))?$`), readApache},
		{"nginx", scope.HeldByRequest, regexp.MustCompile(`^(nginx(-debug)?|openresty)$`), readNginx},
		{"php-fpm", scope.HeldByConnection, regexp.MustCompile(`^php[0-9.]*-fpm[0-9.]*$`), readFPM},
	}
}

// kindOf returns nil for what is not known. The program decides where it can
// be read: a process chooses its short name freely.
func kindOf(name, exe string) *kind {
	if exe != "" {
		name = path.Base(strings.TrimSuffix(exe, " (deleted)"))
	}
	for _, k := range kinds() {
		if k.program.MatchString(name) {
			return &k
		}
	}
	return nil
}

// reading is one look at one server's configuration.
type reading struct {
	process process
	exe     string
	files   *root
	listen  []netip.AddrPort
	pidFile string   // in the process' root; its time tells the last reload
	doubts  []string // why the limit cannot be told
	notes   []string // what is odd about it
	stopped bool     // no limit can come of it any more
}

// maxRemarks bounds each list of remarks: one broken tree makes many.
const maxRemarks = 3

func (r *reading) doubt(format string, args ...any) { remark(&r.doubts, format, args) }
func (r *reading) note(format string, args ...any)  { remark(&r.notes, format, args) }

func remark(list *[]string, format string, args []any) {
	if len(*list) < maxRemarks {
		*list = append(*list, printable(fmt.Sprintf(format, args...)))
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

// printable replaces what could garble a terminal or a log: names and values
// come from files that others write.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// read returns the content of a file of the configuration; when it cannot, it
// doubts the limit, as the file could set it.
func (r *reading) read(name string, from position) ([]byte, bool) {
	data, err := r.files.read(name)
	if errors.Is(err, errTooMuch) {
		r.stopped = true
	}
	if err != nil {
		r.doubt("%s cannot be read%s: %s%s", name, from.included(), reason(err), forOthers(err))
		return nil, false
	}
	return data, true
}

// glob returns the files that match a pattern, sorted; a pattern without
// wildcards is its own match.
func (r *reading) glob(pattern string, from position) []string {
	names, err := r.files.glob(pattern)
	if err != nil {
		r.doubt("%s cannot be searched%s: %s%s", pattern, from.included(), reason(err), forOthers(err))
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

func (p position) included() string {
	if p.file == "" {
		return ""
	}
	return " (included at " + p.String() + ")"
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

// count reads a whole number of at least 1 from a configuration.
func count(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxCount {
		return 0, fmt.Errorf("%q is not a whole number from 1 to %d", text, maxCount)
	}
	return n, nil
}

// maxCount is beyond what any of the servers can do, and small enough that the
// product of two counts is no overflow.
const maxCount = 1 << 30

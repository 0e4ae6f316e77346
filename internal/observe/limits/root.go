package limits

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The bounds of one reading, far beyond what a configuration needs: the files
// are others', and may be huge or include each other without end.
const (
	maxDepth   = 128 // of includes; Apache: server/core.c, AP_MAX_INCLUDE_DEPTH
	maxFiles   = 4096
	maxFile    = 4 << 20
	maxBytes   = 16 << 20
	maxEntries = 1 << 16 // of directories, all together
)

var (
	errNotRegular = errors.New("not a regular file")
	errTooLarge   = fmt.Errorf("larger than %d MiB", maxFile>>20)
	errTooMuch    = fmt.Errorf("the configuration has more than %d files or %d MiB: an include without end?", maxFiles, maxBytes>>20)
	errBinary     = errors.New("not a text file: it holds NUL bytes")
)

// root is the file system as a process sees it. Names are absolute paths in
// it, and symbolic links, absolute ones too, resolve inside it: the kernel
// sees to that with openat2's RESOLVE_IN_ROOT (Linux 5.6).
type root struct {
	dir     *os.File
	rights  rights // on whose behalf it is read
	marks   []mark // of all that was asked for, each once
	newest  mark   // of the files that were read
	files   int
	bytes   int64
	entries int
}

// openRoot opens a process' root: "/proc/1234/root", to read in it what the
// rights allow.
func openRoot(dir string, on rights) (*root, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	if !on.known {
		_ = unix.Close(fd)
		return nil, errUnknownOwner
	}
	return &root{dir: os.NewFile(uintptr(fd), dir), rights: on}, nil
}

func (r *root) close() { _ = r.dir.Close() }

// locate finds a file and holds it without opening it: opening a FIFO waits,
// and opening a device may do anything.
func (r *root) locate(name string) (*os.File, unix.Stat_t, error) {
	if !r.rights.all {
		return r.walk(name)
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := openat2(int(r.dir.Fd()), name, &how)
	if err != nil {
		return nil, unix.Stat_t{}, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return held(fd, name)
}

// held is a descriptor as a file, with its state.
func held(fd int, name string) (*os.File, unix.Stat_t, error) {
	var st unix.Stat_t
	f := os.NewFile(uintptr(fd), name)
	if err := unix.Fstat(fd, &st); err != nil {
		_ = f.Close()
		return nil, st, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	return f, st, nil
}

// openat2 repeats what the kernel may ask to be repeated when names are
// changed meanwhile. See openat2(2), EAGAIN.
func openat2(at int, name string, how *unix.OpenHow) (fd int, err error) {
	for range 16 {
		fd, err = unix.Openat2(at, name, how)
		if err != unix.EAGAIN && err != unix.EINTR {
			break
		}
	}
	return fd, err
}

// open opens what locate found. The link in /proc is to the file itself, so
// that no name is looked up twice.
func open(located *os.File, flags int) (*os.File, error) {
	fd, err := unix.Open(link(located), flags|unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: located.Name(), Err: err}
	}
	return os.NewFile(uintptr(fd), located.Name()), nil
}

// link is another way to a file that is held.
func link(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// read returns the content of a regular file of text.
func (r *root) read(name string) ([]byte, error) {
	located, st, err := r.locate(name)
	r.note(name, st, err)
	if err != nil {
		return nil, err
	}
	defer located.Close()
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, errNotRegular
	}
	if err := r.rights.check(located, &st, toRead); err != nil {
		return nil, err
	}
	if r.files++; r.files > maxFiles {
		return nil, errTooMuch
	}
	f, err := open(located, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, errTooLarge
	}
	if r.bytes += int64(len(data)); r.bytes > maxBytes {
		return nil, errTooMuch
	}
	if slices.Contains(data, 0) {
		return nil, errBinary
	}
	if m := markOf(name, st, nil); m.mtime.After(r.newest.mtime) {
		r.newest = m
	}
	return data, nil
}

// exists reports whether there is such a file, or whether that cannot be told.
func (r *root) exists(name string) bool {
	f, st, err := r.locate(name)
	r.note(name, st, err)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR)
	}
	_ = f.Close()
	return true
}

func (r *root) isDir(name string) bool {
	f, st, err := r.locate(name)
	if err != nil {
		return false
	}
	_ = f.Close()
	return st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// list returns the names in a directory, sorted.
func (r *root) list(name string) ([]string, error) {
	located, st, err := r.locate(name)
	r.note(name, st, err)
	if err != nil {
		return nil, err
	}
	defer located.Close()
	if err := r.rights.check(located, &st, toRead); err != nil {
		return nil, err
	}
	dir, err := open(located, unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(maxEntries - r.entries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if r.entries += len(names); r.entries > maxEntries {
		return nil, errTooMuch
	}
	slices.Sort(names)
	return names, nil
}

// glob returns the paths that match a pattern in the way of glob(7), sorted.
// Without wildcards it returns the pattern itself, whether it exists or not.
func (r *root) glob(pattern string) ([]string, error) {
	pattern = path.Clean(pattern)
	found := []string{"/"}
	for part := range strings.SplitSeq(strings.Trim(pattern, "/"), "/") {
		next, err := r.step(found, part)
		if err != nil {
			return nil, err
		}
		found = next
	}
	return found, nil
}

// step goes from directories to what matches one part of a pattern in them.
func (r *root) step(dirs []string, part string) ([]string, error) {
	var next []string
	for _, dir := range dirs {
		if !hasWildcard(part) {
			next = append(next, path.Join(dir, part))
			continue
		}
		names, err := r.list(dir)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			// A leading dot is matched by a dot only.
			if strings.HasPrefix(name, ".") && !strings.HasPrefix(part, ".") {
				continue
			}
			if ok, err := path.Match(strings.ReplaceAll(part, "[!", "[^"), name); err == nil && ok {
				next = append(next, path.Join(dir, name))
			}
		}
	}
	return next, nil
}

func hasWildcard(s string) bool { return strings.ContainsAny(s, "*?[") }

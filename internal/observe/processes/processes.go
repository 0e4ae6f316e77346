// Package processes reads what /proc/PID says of processes.
//
//	pids, err := processes.List("/proc")
//	stat, err := processes.ReadStat(unix.AT_FDCWD, "/proc/1/stat")
//
// Files are read by plain calls, relative to a directory that is open: a
// process that ends fails the reads, also when its pid is given to another.
// What a process may not be asked is an error that is fs.ErrPermission.
package processes

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// List returns the pids below proc ("/proc") in ascending order.
func List(proc string) ([]int, error) {
	dir, err := os.Open(proc)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// OpenAt opens a file to read, below the directory at, which is
// unix.AT_FDCWD where the name is a whole path.
func OpenAt(at int, name string, flags int) (fd int, err error) {
	for {
		fd, err = unix.Openat(at, name, unix.O_RDONLY|unix.O_CLOEXEC|flags, 0)
		switch {
		case err == nil:
			return fd, nil
		case !errors.Is(err, unix.EINTR):
			return -1, &os.PathError{Op: "open", Path: name, Err: err}
		}
	}
}

// MaxFile is enough for any file of /proc/PID that does not grow with what the
// process does.
const MaxFile = 64 << 10

// ReadFile reads the first bytes of a file, most of them at most, by plain
// calls: an os.File costs two more, and there are thousands of files to read.
func ReadFile(at int, name string, most int) ([]byte, error) {
	fd, err := OpenAt(at, name, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	data := make([]byte, 0, 1024)
	for len(data) < most {
		if len(data) == cap(data) {
			data = slices.Grow(data, len(data))
		}
		n, err := unix.Read(fd, data[len(data):cap(data)])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, &os.PathError{Op: "read", Path: name, Err: err}
		case n == 0:
			return data, nil
		}
		data = data[:len(data)+n]
	}
	return data[:most], nil
}

// ReadName reads the kernel's short name of a process from its file comm. A
// process chooses it freely: see [Printable].
func ReadName(at int, name string) (string, error) {
	comm, err := ReadFile(at, name, MaxFile)
	return Printable(strings.TrimSuffix(string(comm), "\n")), err
}

// Printable replaces what could garble a terminal or a log by '?'.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// Inode understands the target of a link in /proc/PID/fd and /proc/PID/ns,
// "socket:[12345]" of the kind "socket"; ok is false when it is another kind.
// Kernel: net/socket.c, sockfs_dname; fs/nsfs.c, ns_get_name.
func Inode(target []byte, kind string) (inode uint64, ok bool) {
	n := len(kind)
	if len(target) < n+3 || string(target[:n]) != kind || string(target[n:n+2]) != ":[" || target[len(target)-1] != ']' {
		return 0, false
	}
	inode, err := strconv.ParseUint(string(target[n+2:len(target)-1]), 10, 64)
	return inode, err == nil && inode != 0
}

// Stat is what there is to know from /proc/PID/stat.
type Stat struct {
	State   byte   // 'Z' and 'X': it has ended
	Parent  int    // 0 when it is in another pid namespace
	Started uint64 // clock ticks after boot; it stays over exec
}

// Ended reports whether only its end is still to be fetched.
func (s Stat) Ended() bool { return s.State == 'Z' || s.State == 'X' || s.State == 'x' }

// ReadStat reads /proc/PID/stat.
func ReadStat(at int, name string) (Stat, error) {
	text, err := ReadFile(at, name, MaxFile)
	if err != nil {
		return Stat{}, err
	}
	return parseStat(text)
}

// The places of fields 3, 4 and 22 (proc(5)) behind the name, which is the
// second.
const (
	statState   = 0
	statParent  = 1
	statStarted = 19
)

// parseStat understands /proc/PID/stat. The name stands in brackets and may
// hold anything, so the fields begin behind the last bracket.
// Kernel: fs/proc/array.c, do_task_stat.
func parseStat(text []byte) (Stat, error) {
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) <= statStarted {
		return Stat{}, fmt.Errorf("parse stat: %d fields behind the name in %.80q, want %d", len(fields), text, statStarted+1)
	}
	parent, err := strconv.Atoi(string(fields[statParent]))
	if err != nil || parent < 0 {
		return Stat{}, fmt.Errorf("parse stat: parent %.20q is no process", fields[statParent])
	}
	started, err := strconv.ParseUint(string(fields[statStarted]), 10, 64)
	if err != nil {
		return Stat{}, fmt.Errorf("parse stat: start %.20q is no time", fields[statStarted])
	}
	return Stat{State: fields[statState][0], Parent: parent, Started: started}, nil
}

// Unlimited is the limit where there is none: more than any number of files.
const Unlimited = math.MaxInt32

// OpenFilesLimit finds the soft limit of open files in the text of
// /proc/PID/limits.
// Kernel: proc_pid_limits, fs/proc/base.c.
func OpenFilesLimit(text []byte) (int, error) {
	for line := range bytes.Lines(text) {
		rest, ok := bytes.CutPrefix(line, []byte("Max open files"))
		if !ok {
			continue
		}
		fields := bytes.Fields(rest)
		if len(fields) == 0 {
			break
		}
		if string(fields[0]) == "unlimited" {
			return Unlimited, nil
		}
		limit, err := strconv.Atoi(string(fields[0]))
		if err != nil || limit < 0 {
			return 0, fmt.Errorf("read descriptor limit: %q is not a number of files", fields[0])
		}
		return min(limit, Unlimited), nil
	}
	return 0, fmt.Errorf("read descriptor limit: no line on open files in %d bytes", len(text))
}

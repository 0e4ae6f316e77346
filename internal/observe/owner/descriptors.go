package owner

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Descriptors returns how many files and sockets a process below proc
// ("/proc") has open, and how many it may: its soft limit. The error wraps the
// operating system's where the process is gone or may not be inspected.
func Descriptors(proc string, pid int) (used, limit int, err error) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	raw, err := os.ReadFile(filepath.Join(dir, "limits"))
	if err != nil {
		return 0, 0, fmt.Errorf("read descriptor limit: %w", err)
	}
	if limit, err = openFilesLimit(raw); err != nil {
		return 0, 0, err
	}
	used, err = openFiles(filepath.Join(dir, "fd"))
	return used, limit, err
}

// openFilesLimit finds the soft limit in the text of /proc/PID/limits; an
// unlimited one is larger than any number of files.
// Kernel: proc_pid_limits, fs/proc/base.c.
func openFilesLimit(text []byte) (int, error) {
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
			return 1<<31 - 1, nil
		}
		limit, err := strconv.Atoi(string(fields[0]))
		if err != nil || limit < 0 {
			return 0, fmt.Errorf("read descriptor limit: %q is not a number of files", fields[0])
		}
		return min(limit, 1<<31-1), nil
	}
	return 0, fmt.Errorf("read descriptor limit: no line on open files in %d bytes", len(text))
}

// openFiles counts the entries of a descriptor directory. Kernels from 6.2 on
// give the number as the directory's size (proc_fd_getattr, fs/proc/fd.c).
func openFiles(dir string) (int, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return 0, fmt.Errorf("count descriptors: %w", &os.PathError{Op: "stat", Path: dir, Err: err})
	}
	if st.Size > 0 {
		return int(st.Size), nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return 0, fmt.Errorf("count descriptors: %w", err)
	}
	defer f.Close()
	n := 0
	for n < perProcess {
		names, err := f.Readdirnames(perChunk)
		n += len(names)
		if err != nil || len(names) == 0 {
			break // the end, or the process
		}
	}
	return n, nil
}

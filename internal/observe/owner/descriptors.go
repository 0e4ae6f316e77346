package owner

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/observe/processes"
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
	if limit, err = processes.OpenFilesLimit(raw); err != nil {
		return 0, 0, err
	}
	used, err = openFiles(filepath.Join(dir, "fd"))
	return used, limit, err
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

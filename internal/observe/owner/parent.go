package owner

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Leads returns those of pids whose parent is not among them: one for a server
// with its children, several where programs that do not know each other share
// a socket's address. What cannot be read counts as a child.
func Leads(proc string, pids []int) []int {
	var out []int
	for _, pid := range pids {
		if parent, err := parent(proc, pid); err == nil && !slices.Contains(pids, parent) {
			out = append(out, pid)
		}
	}
	return out
}

// parent reads a process's parent from /proc/PID/stat: the second field behind
// the name, which stands in brackets and may hold anything (proc(5)).
func parent(proc string, pid int) (int, error) {
	text, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 2 {
		return 0, fmt.Errorf("read the parent of process %d: %.80q has too few fields", pid, text)
	}
	return strconv.Atoi(string(fields[1]))
}

package owner

import (
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/observe/processes"
)

// Leads returns those of pids whose parent is not among them: one for a server
// with its children, several where programs that do not know each other share
// a socket's address. What cannot be read counts as a child.
func Leads(proc string, pids []int) []int {
	var out []int
	for _, pid := range pids {
		stat, err := processes.ReadStat(unix.AT_FDCWD, proc+"/"+strconv.Itoa(pid)+"/stat")
		if err == nil && !slices.Contains(pids, stat.Parent) {
			out = append(out, pid)
		}
	}
	return out
}

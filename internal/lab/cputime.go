package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// CPUTime is the processor time of a process and its threads, from
// /proc/PID/schedstat's first field of every thread: nanoseconds on the CPU.
func CPUTime(pid int) (time.Duration, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(threads) == 0 {
		return 0, fmt.Errorf("read the processor time of process %d: it has no threads", pid)
	}
	var sum time.Duration
	for _, file := range threads {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // a thread that ended
		}
		fields := strings.Fields(string(raw))
		ns, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the processor time of process %d: %w", pid, err)
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}

// CPUTime is the agent's own processor time since its start.
func (a *Agent) CPUTime() (time.Duration, error) { return CPUTime(a.PID()) }

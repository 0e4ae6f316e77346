// Package busy reads how busy a host and single processes are, once, as
// evidence beside an incident: what a person would ask top for.
//
//	load, problems := busy.Read("/proc")
//	process, err := busy.ReadProcess("/proc", pid)
//
// A number that cannot be read is nil, and a problem says why.
package busy

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/observe/processes"
)

// Load is how busy the host is.
type Load struct {
	// Average are the load averages of 1, 5 and 15 minutes; nil where they
	// cannot be read.
	Average []float64
	// Pressure is the share of the last 10 s in which some task waited for a
	// resource, from 0 to 1: "cpu", "memory", "io"; without those that cannot be
	// read.
	Pressure map[string]float64
	// Memory, Available and SwapFree are bytes.
	Memory, Available, SwapFree *int64
}

// Read reads how busy the host is. Problems are for people.
func Read(proc string) (l Load, problems []string) {
	note := func(what string, err error) {
		problems = append(problems, what+": "+err.Error())
	}
	read := func(name string) ([]byte, error) {
		return processes.ReadFile(unix.AT_FDCWD, proc+"/"+name, processes.MaxFile)
	}
	text, err := read("loadavg")
	if err == nil {
		l.Average, err = parseAverages(text)
	}
	if err != nil {
		note("load average", err)
	}
	l.Pressure = map[string]float64{}
	for _, resource := range []string{"cpu", "memory", "io"} {
		text, err := read("pressure/" + resource)
		var share float64
		if err == nil {
			share, err = parsePressure(text)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			note("pressure of "+resource, errors.New("this kernel does not measure it"))
		case err != nil:
			note("pressure of "+resource, err)
		default:
			l.Pressure[resource] = share
		}
	}
	if text, err = read("meminfo"); err != nil {
		note("memory", err)
		return l, problems
	}
	for key, into := range map[string]**int64{"MemTotal": &l.Memory, "MemAvailable": &l.Available, "SwapFree": &l.SwapFree} {
		if *into = kilobytes(text, key); *into == nil {
			note("memory", errors.New("meminfo does not say "+key))
		}
	}
	return l, problems
}

// parseAverages understands /proc/loadavg.
// Kernel: fs/proc/loadavg.c, loadavg_proc_show.
func parseAverages(text []byte) ([]float64, error) {
	fields := strings.Fields(string(text))
	if len(fields) < 3 {
		return nil, fmt.Errorf("no three averages in %.80q", text)
	}
	out := make([]float64, 3)
	for i := range out {
		n, err := strconv.ParseFloat(fields[i], 64)
		if err != nil || n < 0 || math.IsInf(n, 0) || math.IsNaN(n) {
			return nil, fmt.Errorf("%.20q is no load average", fields[i])
		}
		out[i] = n
	}
	return out, nil
}

// parsePressure understands a file of /proc/pressure: avg10 of "some", which is
// percent there.
// Kernel: kernel/sched/psi.c, psi_show.
func parsePressure(text []byte) (share float64, err error) {
	for line := range bytes.Lines(text) {
		rest, ok := bytes.CutPrefix(line, []byte("some avg10="))
		if !ok {
			continue
		}
		number, _, _ := bytes.Cut(rest, []byte(" "))
		percent, err := strconv.ParseFloat(string(number), 64)
		if err != nil || !(percent >= 0 && percent <= 100) {
			return 0, fmt.Errorf("%.20q is no percentage", number)
		}
		return percent / 100, nil
	}
	return 0, fmt.Errorf("no average of 10 s in %.80q", text)
}

// kilobytes finds a line "Key:   123 kB", as bytes; nil where there is none.
// Kernel: fs/proc/meminfo.c, show_val_kb; fs/proc/task_mmu.c, task_mem.
func kilobytes(text []byte, key string) *int64 {
	for line := range bytes.Lines(text) {
		rest, ok := bytes.CutPrefix(line, []byte(key+":"))
		if !ok {
			continue
		}
		fields := bytes.Fields(rest)
		if len(fields) == 0 {
			return nil
		}
		n, err := strconv.ParseInt(string(fields[0]), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/1024 {
			return nil
		}
		return new(n * 1024)
	}
	return nil
}

// Process is how busy one process is.
type Process struct {
	Name    string
	Started time.Time     // zero where the boot's time is not known
	CPU     time.Duration // since its start, all threads
	Threads int
	RSS     *int64 // bytes; nil of a kernel thread
	// OpenFiles is nil where they may not be counted.
	OpenFiles *int
}

// ReadProcess reads how busy a process is. The error wraps fs.ErrNotExist where
// it has ended.
func ReadProcess(proc string, pid int) (Process, error) {
	dir := proc + "/" + strconv.Itoa(pid)
	stat, err := processes.ReadFile(unix.AT_FDCWD, dir+"/stat", processes.MaxFile)
	if err != nil {
		return Process{}, err
	}
	p, started, err := parseStat(stat)
	if err != nil {
		return Process{}, err
	}
	if status, err := processes.ReadFile(unix.AT_FDCWD, dir+"/status", processes.MaxFile); err == nil {
		p.RSS = kilobytes(status, "VmRSS")
	}
	if open, err := os.ReadDir(dir + "/fd"); err == nil {
		p.OpenFiles = new(len(open))
	}
	if text, err := processes.ReadFile(unix.AT_FDCWD, proc+"/stat", 1<<20); err == nil {
		if boot, ok := bootTime(text); ok {
			p.Started = boot.Add(started)
		}
	}
	return p, nil
}

// tick is the unit of /proc/PID/stat: USER_HZ, which is 100 on every platform
// that we run on (include/asm-generic/param.h).
const tick = 10 * time.Millisecond

// The places of fields 14, 15, 20 and 22 (proc(5)) behind the name, which is the
// second.
const (
	statUser    = 11
	statSystem  = 12
	statThreads = 17
	statStarted = 19
)

// parseStat understands /proc/PID/stat; started is the time after boot.
// Kernel: fs/proc/array.c, do_task_stat.
func parseStat(text []byte) (p Process, started time.Duration, err error) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return p, 0, fmt.Errorf("parse stat: no name in %.80q", text)
	}
	fields := bytes.Fields(text[end+1:])
	if len(fields) <= statStarted {
		return p, 0, fmt.Errorf("parse stat: %d fields behind the name in %.80q, want %d", len(fields), text, statStarted+1)
	}
	var n [4]int64
	for i, at := range []int{statUser, statSystem, statThreads, statStarted} {
		if n[i], err = strconv.ParseInt(string(fields[at]), 10, 64); err != nil || n[i] < 0 || n[i] > math.MaxInt64/int64(2*tick) {
			return p, 0, fmt.Errorf("parse stat: %.20q is no number of field %d", fields[at], at+3)
		}
	}
	p.Name = processes.Printable(string(text[open+1 : end]))
	p.CPU, p.Threads = time.Duration(n[0]+n[1])*tick, int(n[2])
	return p, time.Duration(n[3]) * tick, nil
}

// bootTime finds when the host was booted in the text of /proc/stat.
// Kernel: fs/proc/stat.c, show_stat.
func bootTime(text []byte) (time.Time, bool) {
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("btime ")); ok {
			seconds, err := strconv.ParseInt(strings.TrimSpace(string(rest)), 10, 64)
			return time.Unix(seconds, 0).UTC(), err == nil && seconds > 0 && seconds < 1<<40
		}
	}
	return time.Time{}, false
}

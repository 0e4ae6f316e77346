package owner

import (
	"bytes"
	"fmt"
	"strconv"
)

// stat is what there is to know from /proc/PID/stat.
type stat struct {
	state   byte // 'Z' and 'X': it has ended
	parent  int
	started uint64 // clock ticks after boot
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
func parseStat(text []byte) (stat, error) {
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) <= statStarted {
		return stat{}, fmt.Errorf("parse stat: %d fields behind the name in %.80q, want %d", len(fields), text, statStarted+1)
	}
	parent, err := strconv.Atoi(string(fields[statParent]))
	if err != nil || parent < 0 {
		return stat{}, fmt.Errorf("parse stat: parent %.20q is no process", fields[statParent])
	}
	started, err := strconv.ParseUint(string(fields[statStarted]), 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("parse stat: start %.20q is no time", fields[statStarted])
	}
	return stat{state: fields[statState][0], parent: parent, started: started}, nil
}

func (s stat) ended() bool { return s.state == 'Z' || s.state == 'X' || s.state == 'x' }

package owner

import (
	"errors"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/observe/processes"
)

const (
	// perJoin descriptors are read by one Join at most, about 0.1 s.
	perJoin = 1 << 15
	// perTurn of each process are read before those of the next, and an even
	// share of perJoin where that is more: a balancer is one process with all
	// the connections.
	perTurn = 1024
)

// Place is how far a round of joins got: by pid the next descriptor of each
// process that was begun. Nil is the start.
type Place map[int]progress

type progress struct {
	started uint64 // of the process
	next    int    // descriptor, or done
}

const done = -1

// Join looks for sockets among the descriptors of processes that were chosen,
// and of no others. It returns the pid, the lowest met, by the inode of each
// socket found.
//
// One call reads at most 32,768 descriptors in all, about 3 µs each, and of
// each process its even share of them or 1,024, whichever is more. Where that
// is not the end it returns the place to go on from; give it to the next call
// with the sockets that are still wanted. A place of nil ends the round: what
// was not found by then none of them had when it was read, but for processes
// counted in Limits.
func Join(proc string, chosen []Chosen, wanted []uint64, from Place) (held map[uint64]int, next Place, limits Limits) {
	return joinTurns(proc, chosen, wanted, from, max(perTurn, perJoin/max(len(chosen), 1)))
}

// joinTurns is Join with so many descriptors of each process in one call.
func joinTurns(proc string, chosen []Chosen, wanted []uint64, from Place, turn int) (held map[uint64]int, next Place, limits Limits) {
	j := join{proc: proc, wanted: map[uint64]bool{}, held: map[uint64]int{}, left: perJoin, turn: turn}
	for _, inode := range wanted {
		if inode != 0 { // zero is nobody's
			j.wanted[inode] = true
		}
	}
	next = Place{}
	whole := true
	for _, p := range chosen {
		at := from[p.PID]
		if at.started != p.Started {
			at = progress{started: p.Started} // a process that was not there before
		}
		if at.next != done && len(j.wanted) > 0 && j.left > 0 {
			var err error
			if at.next, err = j.process(p, at.next); err != nil {
				limits.count(err)
			}
		}
		next[p.PID] = at
		whole = whole && at.next == done
	}
	if whole || len(j.wanted) == 0 {
		next = nil
	}
	return j.held, next, limits
}

type join struct {
	proc   string
	wanted map[uint64]bool // and not found yet
	held   map[uint64]int
	left   int // descriptors that may still be read
	turn   int // of one process
	link   [64]byte
}

// process reads the descriptors of a process beginning with the one at from,
// and returns where to go on; done after the last one, and where it cannot be
// read.
func (j *join) process(p Chosen, from int) (next int, err error) {
	seen, err := see(j.proc, p.PID)
	if err != nil {
		return done, err
	}
	defer seen.close()
	if s, err := processes.ReadStat(seen.dir, "stat"); err != nil {
		return done, err
	} else if s.Started != p.Started {
		return done, unix.ESRCH // its pid was given to another
	}
	fds, err := seen.descriptors()
	if err != nil {
		return done, err
	}
	defer fds.Close()
	if from > 0 {
		// The directory's position is the descriptor plus two, for "." and
		// "..". Kernel: fs/proc/fd.c, proc_readfd_common.
		if _, err := fds.Seek(int64(from)+2, io.SeekStart); err != nil {
			return done, err
		}
	}
	return j.descriptors(fds, p.PID, from)
}

func (j *join) descriptors(fds *os.File, pid, from int) (next int, err error) {
	at := int(fds.Fd())
	next = from
	for read := 0; read < j.turn && j.left > 0; {
		names, err := fds.Readdirnames(min(perChunk, j.turn-read, j.left))
		if err == io.EOF {
			return done, nil
		}
		if err != nil {
			return done, err
		}
		for _, name := range names {
			fd, err := strconv.Atoi(name)
			if err != nil {
				return done, &os.PathError{Op: "read", Path: name, Err: unix.EINVAL}
			}
			read++
			j.left--
			next = fd + 1
			n, err := unix.Readlinkat(at, name, j.link[:])
			if errors.Is(err, unix.ENOENT) {
				continue // closed meanwhile
			}
			if err != nil {
				return done, err
			}
			if inode, ok := processes.Inode(j.link[:n], "socket"); ok && j.wanted[inode] {
				j.held[inode] = pid
				delete(j.wanted, inode)
				if len(j.wanted) == 0 {
					return next, nil
				}
			}
		}
	}
	return next, nil
}

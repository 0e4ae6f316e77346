package owner

import (
	"cmp"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/observe/processes"
)

// maxProcesses bounds a choice, at 10–40 µs each.
const maxProcesses = 1 << 16

// Choose returns for each selector the processes below proc ("/proc") that it
// chooses, sorted by pid: one walk for all selectors. A process may be chosen
// by several. listeners are those that Listens is about; without one at that
// address nobody is chosen by it.
//
// An error says that it could not be told who is chosen: what is returned beside
// it is not whole, and who was chosen before is to stay.
//
// Descriptors are read only of processes that match all else of a selector
// with Listens, and of each the first 1,024 before any more, as by [Find].
func Choose(proc string, selectors []Selector, listeners []Listener) ([][]Chosen, Limits, error) {
	out := make([][]Chosen, len(selectors))
	if !slices.ContainsFunc(selectors, func(s Selector) bool { return !s.IsZero() }) {
		return out, Limits{}, nil
	}
	c := choice{
		proc:      proc,
		hierarchy: openHierarchy(proc),
		wants:     map[uint64][]int{},
		rest:      make([][]int, len(selectors)),
		out:       out,
		search:    search{proc: proc, wanted: map[uint64]bool{}, left: Thorough},
		found:     map[uint64]bool{},
		listening: map[uint64]bool{},
	}
	for _, l := range listeners {
		if l.Inode != 0 {
			c.listening[l.Inode] = true
		}
	}
	for i, s := range selectors {
		c.selectors = append(c.selectors, s.prepare(c.hierarchy))
		if s.Listens.IsValid() {
			for _, inode := range listening(listeners, s.Listens) {
				c.wants[inode] = append(c.wants[inode], i)
				c.search.wanted[inode] = true
			}
		}
	}
	c.run()
	for i := range c.out {
		slices.SortFunc(c.out[i], byPID)
	}
	return c.out, c.limits, c.err
}

func byPID(a, b Chosen) int { return cmp.Compare(a.PID, b.PID) }

// choice is the state of one Choose.
type choice struct {
	proc      string
	hierarchy *hierarchy
	selectors []selector
	wants     map[uint64][]int // a listener's inode → the selectors it is about
	search    search           // of descriptors, for those inodes
	found     map[uint64]bool  // inodes that somebody holds
	listening map[uint64]bool  // inodes of all listeners
	rest      [][]int          // by selector with Listens: who matches all else and was not seen to hold the listener
	out       [][]Chosen
	limits    Limits
	err       error // why it is not known who is chosen
}

func (c *choice) run() {
	pids, err := processes.List(c.proc)
	if err != nil {
		c.err = err
		return
	}
	if len(pids) > maxProcesses {
		c.limits.Cut += len(pids) - maxProcesses
		pids = pids[:maxProcesses]
	}
	more := c.round(pids, 0, perSecond)
	for inode := range c.found {
		delete(c.search.wanted, inode)
	}
	if len(c.search.wanted) > 0 && len(more) > 0 {
		c.limits.Cut += len(c.round(more, perSecond, perProcess))
	}
	for i, s := range c.selectors {
		if s.Listens.IsValid() {
			c.family(i)
		}
	}
}

// round looks at each process and, where its listeners matter, at those of its
// descriptors from and before to; it returns the processes that have more.
func (c *choice) round(pids []int, from, to int) (more []int) {
	more, c.err = c.limits.each(pids, func(pid int) (bool, error) { return c.process(pid, from, to) })
	return more
}

func (c *choice) process(pid, from, to int) (done bool, err error) {
	p, err := see(c.proc, pid)
	if err != nil {
		return false, err
	}
	defer p.close()
	if p.runsNothing() {
		return true, nil
	}
	var chosen, candidate []int // selectors
	blind := false
	for i, s := range c.selectors {
		switch s.matches(p) {
		case no:
		case unreadable:
			blind = true
		case yes:
			switch {
			case s.Listens.IsValid():
				candidate = append(candidate, i)
			case from == 0: // the second round is about listeners alone
				chosen = append(chosen, i)
			}
		}
	}
	if blind && from == 0 {
		c.limits.Programs++
	}
	done = true
	var descriptorsErr error
	if len(candidate) > 0 {
		var holds []uint64
		holds, done, descriptorsErr = c.holds(p, from, to)
		var listens []int
		for _, inode := range holds {
			c.found[inode] = true
			for _, i := range c.wants[inode] {
				if slices.Contains(candidate, i) && !slices.Contains(listens, i) {
					listens = append(listens, i)
				}
			}
		}
		for _, i := range candidate {
			if from == 0 && !slices.Contains(listens, i) {
				c.rest[i] = append(c.rest[i], pid)
			}
		}
		chosen = append(chosen, listens...)
	}
	if err := c.choose(p, chosen); err != nil {
		return false, err
	}
	return done, descriptorsErr
}

// holds returns which of the wanted listeners a process holds.
func (c *choice) holds(p *seen, from, to int) (found []uint64, done bool, err error) {
	if len(c.search.wanted) == 0 {
		return nil, true, nil
	}
	fds, err := p.descriptors()
	if err != nil {
		return nil, false, err
	}
	defer fds.Close()
	return c.search.descriptors(fds, from, to)
}

// choose describes a process for the selectors that chose it.
func (c *choice) choose(p *seen, by []int) error {
	by = slices.DeleteFunc(by, func(i int) bool {
		return slices.ContainsFunc(c.out[i], func(o Chosen) bool { return o.PID == p.pid })
	})
	if len(by) == 0 {
		return nil
	}
	d, err := p.describe(c.hierarchy)
	if err != nil {
		return err
	}
	if d.Namespace == 0 {
		c.limits.Namespaces++
	}
	if d.CgroupID == 0 {
		c.limits.Cgroups++
	}
	for _, i := range by {
		c.out[i] = append(c.out[i], d)
	}
	return nil
}

// Unchanged reports whether the chosen processes are all there and are the
// same: about 10 µs each. It is for the time between two choices: a restart
// shows at once, while a process that was added does not.
func Unchanged(proc string, chosen []Chosen) bool {
	for _, c := range chosen {
		if !c.there(proc) {
			return false
		}
	}
	return true
}

func (c Chosen) there(proc string) bool {
	s, err := processes.ReadStat(unix.AT_FDCWD, proc+"/"+strconv.Itoa(c.PID)+"/stat")
	return err == nil && !s.Ended() && s.Started == c.Started
}

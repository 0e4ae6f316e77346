package agent

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe/limits"
	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/scope"
)

const (
	// slowLimits is how long the files of one server may take before it is said.
	slowLimits = 30 * time.Second
	// readAtOnce is how many servers are read side by side; a file system that
	// does not answer keeps its reader for good.
	readAtOnce = 8
)

// readLimit is what a server's own configuration says, and when to ask again.
type readLimit struct {
	workers scope.Workers
	stamp   limits.Stamp
	known   bool // a server that can be read
	pids    []int
	process string // of the service then, as are pids and exe
	exe     string

	wanted time.Time // since when an answer is waited for; zero: none is
	asked  bool
}

// of reports whether it was read of the same processes.
func (r *readLimit) of(s *scope.Service) bool {
	return slices.Equal(r.pids, s.PIDs) && r.process == s.Process && r.exe == s.Exe
}

// limitAnswers are what reading came to. Who reads puts them in, and the loop
// takes them between two looks: it never waits for a file of somebody else's,
// on a file system that may have died.
type limitAnswers struct {
	mu   sync.Mutex
	done map[string]readLimit // by service
}

func (a *limitAnswers) put(service string, read readLimit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.done == nil {
		a.done = map[string]readLimit{}
	}
	a.done[service] = read
}

func (a *limitAnswers) take() map[string]readLimit {
	a.mu.Lock()
	defer a.mu.Unlock()
	done := a.done
	a.done = nil
	return done
}

// askLimits has the configurations read of all servers that may have changed,
// each by one reader at a time.
func (p *Pipeline) askLimits(now time.Time) {
	if len(p.limitsRead) > 2*len(p.services)+16 { // those long gone
		maps.DeleteFunc(p.limitsRead, func(name string, _ readLimit) bool {
			return !slices.ContainsFunc(p.services, func(s scope.Service) bool { return s.Name == name })
		})
	}
	for i := range p.services {
		s := &p.services[i]
		last, before := p.limitsRead[s.Name]
		switch {
		case len(s.PIDs) == 0:
			delete(p.limitsRead, s.Name)
			continue
		case last.asked, before && last.wanted.IsZero() && !last.known && last.of(s):
			continue // no server that is known here does not become one
		}
		if last.wanted.IsZero() {
			last.wanted = now
		}
		of, answers := *s, p.answers
		read := p.place.processes.read
		if read == nil {
			read = func(work func()) bool { work(); return true }
		}
		previous := last
		last.asked = read(func() { answers.put(of.Name, readAgain(&of, previous)) })
		p.limitsRead[s.Name] = last
	}
}

// takeLimits takes over the answers that have come.
func (p *Pipeline) takeLimits(now time.Time) {
	changed := false
	for service, read := range p.answers.take() {
		if last, waits := p.limitsRead[service]; waits {
			changed = changed || read.workers != last.workers || read.known != last.known
			p.limitsRead[service] = read
		}
	}
	if !changed {
		return
	}
	p.services = slices.Clone(p.services) // snapshots hold the old ones
	for i := range p.services {
		s := &p.services[i]
		s.Workers = p.workers(s, now)
		p.tallier.SetCapacity(i, measure.CapacityOf(s))
	}
}

// readAgain returns what the server behind a service says of itself, from its
// files when they changed. It touches nothing of the loop's.
func readAgain(s *scope.Service, last readLimit) readLimit {
	last.wanted, last.asked = time.Time{}, false
	if last.known && last.of(s) && !last.stamp.Changed() {
		return last
	}
	read := readLimit{pids: s.PIDs, process: s.Process, exe: s.Exe}
	read.workers, read.stamp, read.known = limits.Of(procRoot, s.PIDs[0], s.Process, s.Exe, s.Listen)
	if !read.known {
		return read
	}
	if n := len(owner.Leads(procRoot, s.PIDs)); n > 1 {
		read.workers.Limit, read.workers.Origin = 0, ""
		read.workers.Problem = fmt.Sprintf("%d programs share its addresses (SO_REUSEPORT), and which of them a connection gets cannot be told: set workers_from to the limit of all together", n)
	}
	return read
}

// workers is how many a service can serve at once, and who says so. The
// server's own configuration says what holds a worker, even where ours gives
// the number.
func (p *Pipeline) workers(s *scope.Service, now time.Time) scope.Workers {
	read := p.limitsRead[s.Name]
	w := read.workers
	late := !read.wanted.IsZero() && now.Sub(read.wanted) >= slowLimits
	switch from := p.workersFrom[s.Name]; {
	case from.Limit > 0:
		w.Limit, w.Origin, w.Problem = from.Limit, "workers_from in foreshock's configuration", ""
	case from.Learn:
		w.Limit, w.Origin, w.Problem = 0, "", ""
	case late:
		w.Problem = fmt.Sprintf("its configuration could not be read for %d s: a file system or a process of its own does not answer; set workers_from", int(slowLimits.Seconds()))
	case !read.known:
		w.Problem = "" // nothing to read is no problem: the limit is learned
	}
	return w
}

// limitReader starts readers of configurations, so many at once. They are not
// waited for at the end: what a dead file system holds ends with the process.
func limitReader() func(work func()) bool {
	free := make(chan struct{}, readAtOnce)
	return func(work func()) bool {
		select {
		case free <- struct{}{}:
		default:
			return false // asked again at the next reading
		}
		go func() {
			defer func() { <-free }()
			work()
		}()
		return true
	}
}

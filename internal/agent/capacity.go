package agent

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe/limits"
	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/observe/ports"
	"github.com/foreshock/foreshock/internal/scope"
)

const (
	// capacityEvery is how often limits and descriptors are read again: a few
	// small files per service.
	capacityEvery = 10 * time.Second
	// capacityShare is how much of the budget that may take, of all namespaces
	// together.
	capacityShare = 0.05
	// maxHolders is how many processes of one service are asked for their
	// descriptors; a server that forks has hundreds, and one that leaks few.
	maxHolders = 64
)

// capacities works out what every service has to serve with.
func (p *Pipeline) capacities() {
	services := slices.Clone(p.services) // snapshots hold the old ones
	for i := range services {
		s := &services[i]
		s.Workers = p.workers(s)
		s.Descriptors = descriptors(s.PIDs)
		p.tallier.SetCapacity(i, measure.CapacityOf(s))
	}
	p.services = services
	p.readPorts()
}

// readPorts reads how many local ports there are in the namespace. Where it may
// not be entered nothing is said of ports; what was read before stays.
func (p *Pipeline) readPorts() {
	if len(p.finder.backends) == 0 {
		return
	}
	p.enter(func() error {
		if local, err := ports.Read(); err == nil {
			p.ports = measure.Ports{Available: local.Available(), Reused: local.Reuse.Toward}
		}
		return nil
	})
	p.tallier.SetPorts(p.ports)
}

// enter runs f in the pipeline's namespace. Where that is refused, or the
// namespace is gone, f does not run; the next look says what is wrong.
func (p *Pipeline) enter(f func() error) {
	if err := p.place.enter(f); errors.Is(err, netns.ErrStuck) {
		p.stuck = err
	}
}

// readLimit is what a server's own configuration says, and when to ask again.
type readLimit struct {
	workers scope.Workers
	stamp   limits.Stamp
	known   bool  // a server that can be read
	pids    []int // of the service then
}

// workers is how many a service can serve at once, and who says so. The
// server's own configuration says what holds a worker, even where ours gives
// the number.
func (p *Pipeline) workers(s *scope.Service) scope.Workers {
	read := p.read(s)
	w := read.workers
	switch from := p.workersFrom[s.Name]; {
	case from.Limit > 0:
		w.Limit, w.Origin, w.Problem = from.Limit, "workers_from in foreshock's configuration", ""
	case from.Learn:
		w.Limit, w.Origin, w.Problem = 0, "", ""
	case !read.known:
		w.Problem = "" // nothing to read is no problem: the limit is learned
	}
	return w
}

// read returns what the server behind a service says of itself, from its files
// when they changed.
func (p *Pipeline) read(s *scope.Service) readLimit {
	if len(s.PIDs) == 0 {
		delete(p.limitsRead, s.Name)
		return readLimit{}
	}
	if last, ok := p.limitsRead[s.Name]; ok && last.known && slices.Equal(last.pids, s.PIDs) && !last.stamp.Changed() {
		return last
	}
	read := readLimit{pids: s.PIDs}
	read.workers, read.stamp, read.known = limits.Of(procRoot, s.PIDs[0], s.Process, s.Exe, s.Listen)
	if n := len(owner.Leads(procRoot, s.PIDs)); read.known && n > 1 {
		read.workers.Limit, read.workers.Origin = 0, ""
		read.workers.Problem = fmt.Sprintf("%d programs share its addresses (SO_REUSEPORT), and which of them a connection gets cannot be told: set workers_from to the limit of all together", n)
	}
	p.limitsRead[s.Name] = read
	return read
}

// descriptors are those of the process nearest its limit; zero when none may
// be read.
func descriptors(pids []int) scope.Descriptors {
	var worst scope.Descriptors
	for _, pid := range pids[:min(len(pids), maxHolders)] {
		used, limit, err := owner.Descriptors(procRoot, pid)
		if err != nil {
			continue // gone, or not ours to inspect: not known, and shown so
		}
		if worst.Limit == 0 || limit-used < worst.Limit-worst.Used {
			worst = scope.Descriptors{Used: used, Limit: limit}
		}
	}
	return worst
}

// workersFrom is where the configuration wants the limits from, by service.
func workersFrom(cfg config.Config) map[string]config.WorkersFrom {
	out := make(map[string]config.WorkersFrom, len(cfg.Services))
	for _, s := range cfg.Services {
		out[s.Name] = s.WorkersFrom
	}
	return out
}

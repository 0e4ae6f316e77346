package agent

import (
	"errors"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/measure"
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
	now := p.look.Begin
	p.askLimits(now)
	p.takeLimits(now)
	services := slices.Clone(p.services) // snapshots hold the old ones
	for i := range services {
		s := &services[i]
		s.Workers = p.workers(s, now)
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

package agent

import (
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/scope"
)

const (
	// capacityEvery is how often limits and descriptors are read again: a few
	// small files per service.
	capacityEvery = 10 * time.Second
	// maxHolders is how many processes of one service are asked for their
	// descriptors; a server that forks has hundreds, and one that leaks few.
	maxHolders = 64
)

// capacities works out what every service has to serve with.
func (p *Pipeline) capacities(now time.Time) {
	p.capacityAt = now.Add(capacityEvery)
	services := slices.Clone(p.services) // snapshots hold the old ones
	for i := range services {
		s := &services[i]
		s.Workers = p.workers(s)
		s.Descriptors = descriptors(s.PIDs)
		p.tallier.SetCapacity(i, measure.CapacityOf(s))
	}
	p.services = services
}

// workers is how many a service can serve at once, and who says so.
func (p *Pipeline) workers(s *scope.Service) scope.Workers {
	from := p.workersFrom[s.Name]
	w := scope.Workers{}
	switch {
	case from.Limit > 0:
		w.Limit, w.Origin, w.Problem = from.Limit, "workers_from in our configuration", ""
	case from.Learn:
		w.Limit, w.Origin, w.Problem = 0, "", "workers_from is learn: it is taken from the first saturation"
	}
	return w
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

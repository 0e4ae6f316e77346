package agent

import (
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/observe/discover"
	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// idleCounters is how often the counters of an idle namespace are read: they
// tell when a client connects from there, and cost more than its pulse.
const idleCounters = 8 * time.Second

// readCounters adds the namespace's counters to a pulse, and says whether
// anything happens there. What cannot be read is missing from the counters,
// and so unknown.
func (p *Pipeline) readCounters(now time.Time, look *tcp.Look) {
	if p.counters == nil {
		return
	}
	if p.schedule.Idle() && look.Sockets == 0 && now.Before(p.countersAt) {
		return
	}
	p.countersAt = now.Add(idleCounters)
	p.countersE = p.counters.Read(&look.Counters)
	if p.place.probes != nil && p.place.name == "" {
		p.ownCounts.leaveOut(&look.Counters, p.place.probes.Counts())
	}
	p.schedule.SetIdle(look.Sockets == 0 && quiet(&look.Counters))
}

// quiet reports whether a namespace without listeners has no connection
// either. inuse counts IPv4 only; established ones and the TIME_WAIT left of
// them are counted for both.
// Kernel: net/ipv4/proc.c, sockstat_seq_show and CurrEstab of snmp.
func quiet(c *tcp.Counters) bool {
	for _, gauge := range []tcp.Counter{tcp.CurrEstab, tcp.SockInUse, tcp.SockTimeWait} {
		if n, known := c.Get(gauge); !known || n > 0 {
			return false
		}
	}
	return true
}

// adopt works out the services from the listeners of the last pulse, with
// owners that were searched for many namespaces at once.
func (p *Pipeline) adopt(now time.Time, owners map[uint64][]owner.Process, limits owner.Limits) {
	p.wanting = false
	p.listeners.accept()
	// Only its own: the others' would be kept alive by each.
	p.owners, p.unreadable = make(map[uint64][]owner.Process, len(p.listeners.rows)), limits.Unreadable
	for i := range p.listeners.rows {
		if inode := p.listeners.rows[i].Inode; owners[inode] != nil {
			p.owners[inode] = owners[inode]
		}
	}
	p.discover(nil)
	p.discovered = now
}

// discoverHere works out the services of the pipeline's namespace. A configured
// service is one of another namespace only where something listens for it.
func (p *Pipeline) discoverHere(rows []tcp.Socket) ([]scope.Service, []discover.Problem) {
	if p.place.name == "" {
		return discover.Services(rows, p.owners, p.configured)
	}
	var here []discover.Configured
	for _, c := range p.configured {
		index := scope.NewIndex([]scope.Service{{Listen: c.Listen}})
		if slices.ContainsFunc(rows, func(r tcp.Socket) bool { return index.Service(&r) != scope.None }) {
			here = append(here, c)
		}
	}
	services, problems := discover.Services(rows, p.owners, here)
	for i := range services {
		services[i].Namespace = p.place.name
	}
	problems = slices.DeleteFunc(problems, func(x discover.Problem) bool { return x.Kind == discover.NothingListens })
	return services, problems
}

package agent

import (
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/observe/discover"
	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// listenEvery is how often the listeners are asked for where the counters say
// that nothing has moved: a new one shows among them, but not one that took
// another's place between two pulses.
const listenEvery = 8 * time.Second

// pulse reads the counters and the listeners. Where nothing has moved since the
// last pulse, and no accept queue held anything then, the listeners are still
// the same: asking for them walks the table of the listeners of all namespaces,
// which costs more than the counters. What cannot be read is missing from the
// counters, and so unknown.
func (p *Pipeline) pulse(now time.Time) (tcp.Look, error) {
	// The counters come first: what moves from now on shows with the next pulse.
	counts, moved := &p.counted[p.countedNow], true
	if p.counters != nil {
		p.countedNow = 1 - p.countedNow
		last := counts
		counts = &p.counted[p.countedNow]
		var err error
		if moved, err = p.counters.ReadSince(last, counts); moved {
			p.countersE = err
		}
	}
	var look tcp.Look
	p.repeated = false
	if last := &p.status[tcp.Pulse]; !moved && last.err == nil && last.last.Judgeable() && p.listeners.depth == 0 && now.Sub(p.listenedAt) < listenEvery {
		p.repeated = true
		p.tallier.Add(p.listeners.rows)
		look = last.last
		look.Bytes, look.Duration = 0, 0
	} else {
		p.listeners.begin()
		p.listenedAt = now
		var err error
		if look, err = p.reader.Read(p.look.Request, p.addPulse); err != nil {
			return look, err
		}
		if look.Judgeable() {
			p.listeners.whole()
		}
	}
	look.Counters = *counts
	if p.place.name == "" {
		p.ownCounts.leaveOut(&look.Counters, p.place.probes.Counts())
	}
	p.schedule.SetIdle(look.Sockets == 0 && quiet(&look.Counters))
	return look, nil
}

// rests reports whether this pulse of another namespace need not be judged:
// nothing moved, there is no incident, and the last one was. Every second pulse
// keeps all signals within the time they stay good; our own namespace's comes
// so often that one more that is late would make them stale.
func (p *Pipeline) rests(tier tcp.Tier, err error) bool {
	p.rested = tier == tcp.Pulse && err == nil && p.place.name != "" && p.repeated && p.atPeace && !p.rested && !p.listeners.changed()
	return p.rested
}

// quiet reports whether a namespace without listeners has no connection
// either.
// Kernel: net/ipv4/proc.c, sockstat_seq_show and CurrEstab of snmp, both of which
// but inuse count IPv6 too; net/ipv6/proc.c, sockstat6_seq_show.
func quiet(c *tcp.Counters) bool {
	for _, gauge := range []tcp.Counter{tcp.CurrEstab, tcp.SockInUse, tcp.SockTimeWait} {
		if n, known := c.Get(gauge); !known || n > 0 {
			return false
		}
	}
	n, _ := c.Get(tcp.Sock6InUse) // not there without IPv6
	return n == 0
}

// adopt works out the services from the listeners of the last pulse, with
// owners that were searched for many namespaces at once.
func (p *Pipeline) adopt(now time.Time, owners map[uint64][]owner.Process, limits owner.Limits, err error) {
	p.wanting = time.Time{}
	p.listeners.accept()
	p.own(owners, limits, err)
	p.discover()
	p.discovered = now
}

// own takes over the owners of its listeners. Where they could not be told
// those known before stay: a service whose listener nobody holds has another
// name, and so another past.
func (p *Pipeline) own(owners map[uint64][]owner.Process, limits owner.Limits, err error) {
	before := p.owners
	// Only its own: the others' would be kept alive by each.
	p.owners, p.unseen, p.ownersE = make(map[uint64][]owner.Process, len(p.listeners.rows)), limits, err
	for i := range p.listeners.rows {
		inode := p.listeners.rows[i].Inode
		switch {
		case owners[inode] != nil:
			p.owners[inode] = owners[inode]
		case err != nil && before[inode] != nil:
			p.owners[inode] = before[inode]
		}
	}
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

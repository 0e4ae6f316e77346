package agent

import (
	"net/netip"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/observe/discover"
	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

const (
	// peersEvery is how often it is worked out whom the balancers talk to, and
	// chooseEvery how often their processes are looked for at least.
	peersEvery  = 2 * time.Second
	chooseEvery = 10 * time.Second
	// rejectedFor is how long an address that is nobody's backend is not asked
	// for again. It takes so many tries in a row: a connection that lives a few
	// milliseconds is mostly gone by the time its owner is asked for.
	rejectedFor   = time.Minute
	rejectedAfter = 10
	// After a search in vain those for peers never searched for may take
	// newShare of the budget and wait newWithin at most; those for the others
	// againShare, and wait againWithin at most.
	newShare    = 0.5
	newWithin   = 10 * time.Second
	againShare  = 0.1
	againWithin = 2 * time.Minute
	// forgotten: an observed backend without a connection for so long is one no
	// more. Where a balancer takes a dead one out, its incident outlives it.
	forgotten = 10 * time.Minute
	// trackEvery is how often connection tracking is read for service
	// addresses, 3 µs for each of at most maxTracked entries.
	// Where that costs more it comes the less often: trackTimes its cost apart.
	trackEvery = 30 * time.Second
	trackTimes = 5000
	maxTracked = 16_384
)

// pool follows one server of ours and whom it talks to.
type pool struct {
	name       string
	configured bool
	selector   owner.Selector
	// members are those of a list or a balancer, where the configuration says
	// so; source is who gives them. Only then fixed.
	fixed   bool
	members []discover.Member
	named   map[discover.Member]time.Time // when each was named last
	source  string

	server    discover.Server
	ranAt     time.Time                    // when it was last seen to have processes here
	elsewhere bool                         // it has processes, and none in this namespace
	observed  map[netip.AddrPort]time.Time // by when a connection was seen last
	problem   string                       // why its members are not all known
}

// backendFinder finds out which remote addresses are backends: of the pools in
// the configuration, and of the balancers it knows.
type backendFinder struct {
	pools     []*pool
	peers     discover.Peers
	gathering bool
	nextAt    time.Time       // when peers are gathered again
	chooseAt  time.Time       // when processes are taken over again
	meetAt    time.Time       // when strangers are asked for again
	others    map[uint64]bool // strangers that are no pool's
	rejected  map[netip.AddrPort]time.Time
	tries     map[netip.AddrPort]int // in vain
	// searchAt and againAt are when peers may be searched for: those never tried,
	// and those tried in vain.
	searchAt, againAt time.Time
	backends          []scope.Backend
	at                map[netip.AddrPort][]int // positions of backends by their address
	left              int                      // connections beyond the peers that were gathered
	// behind is where connections to a service address really go, as far as it
	// was seen; trackedAt is when that is read again, untracked why it cannot
	// be.
	behind    map[netip.AddrPort][]netip.AddrPort
	trackedAt time.Time
	untracked error
	stuck     error // the thread is in another namespace and must end
}

// configure takes the pools of a configuration; those that stay as they were
// keep what they have seen.
func (f *backendFinder) configure(cfg config.Config) {
	old := f.pools
	f.pools = nil
	keep := func(p *pool) {
		for _, o := range old {
			if o.name == p.name && o.selector == p.selector && o.fixed == p.fixed && o.source == p.source {
				p.server, p.ranAt, p.observed = o.server, o.ranAt, o.observed
				if len(p.members) == 0 {
					p.members, p.named = o.members, o.named
				}
			}
		}
		f.pools = append(f.pools, p)
	}
	for _, b := range cfg.Backends {
		p := &pool{name: b.Name, configured: true, selector: Selector(b.Process), source: b.Discover.Source(), observed: map[netip.AddrPort]time.Time{}}
		p.fixed = p.source != ""
		for _, m := range b.Discover.Static {
			p.members = append(p.members, discover.Member{Name: m.Name, Remote: m.Remote})
		}
		if p.selector.IsZero() && !p.fixed {
			continue // nothing to go by; the configuration refuses it
		}
		keep(p)
	}
	for _, known := range owner.Balancers() {
		keep(&pool{name: known.Software, selector: known, observed: map[netip.AddrPort]time.Time{}})
	}
	f.rejected, f.tries, f.others = map[netip.AddrPort]time.Time{}, map[netip.AddrPort]int{}, map[uint64]bool{}
	f.chooseAt, f.nextAt, f.meetAt = time.Time{}, time.Time{}, time.Time{}
	f.searchAt, f.againAt = time.Time{}, time.Time{}
}

// Selector is how the processes of a configured pool are chosen; zero for none.
func Selector(p config.Process) owner.Selector {
	return owner.Selector{Name: p.Name, Exe: p.Exe, Unit: p.Unit, Container: p.Container, Cgroup: p.Cgroup, Listens: p.Listens}
}

// relisten: other listeners are perhaps other processes.
func (f *backendFinder) relisten() { f.chooseAt = time.Time{} }

// begin says whether the look under way gathers peers. Only a look at
// everything can, and where no pool has a process, as in most containers, there
// is nothing to gather for.
func (f *backendFinder) begin(now time.Time, tier tcp.Tier, at place) {
	f.gathering = false
	if tier != tcp.Full || now.Before(f.nextAt) {
		return
	}
	lives := func(p *pool) bool {
		return len(p.observed) > 0 || p.configured && at.name == ""
	}
	if f.balances() || slices.ContainsFunc(f.pools, lives) {
		f.gathering = true
		f.peers.Begin(func(remote netip.AddrPort) bool {
			return slices.ContainsFunc(f.pools, func(p *pool) bool { _, ok := p.observed[remote]; return ok })
		})
	} else {
		f.nextAt = now.Add(peersEvery)
		f.peers = discover.Peers{}
	}
}

// keepUp takes over the pools' processes now and then, and reports whether the
// backends changed. It needs no look at the sockets: a namespace with a balancer
// has to be known for one before it is looked at as often as one.
func (f *backendFinder) keepUp(now time.Time, at place) bool {
	if now.Before(f.chooseAt) {
		return false
	}
	h := routinely
	if f.chooseAt.IsZero() {
		h = soon // the namespace is younger than the last walk, perhaps
	}
	f.choose(now, at, h)
	return f.rebuild(now, at.name)
}

// balances reports whether some pool has processes or backends here.
func (f *backendFinder) balances() bool {
	return len(f.backends) > 0 || slices.ContainsFunc(f.pools, func(p *pool) bool { return len(p.server.Chosen) > 0 })
}

// find works out the backends after a look that gathered peers, and reports
// whether they changed.
func (f *backendFinder) find(now time.Time, at place) bool {
	f.nextAt = now.Add(peersEvery)
	peers := f.peers.List()
	f.left = f.peers.Left
	f.noteDecided(now, peers)
	var unknown []discover.Peer
	for _, peer := range peers {
		if !f.note(now, peer) && now.Sub(f.rejected[peer.Remote]) >= rejectedFor {
			unknown = append(unknown, peer)
		}
	}
	if f.restarted() {
		f.choose(now, at, soon)
		f.noteDecided(now, peers)
	}
	if unknown = f.worthwhile(now, unknown); len(unknown) > 0 {
		f.choose(now, at, soon)
		f.noteDecided(now, peers)
		began := threadTime()
		found := f.assign(now, unknown)
		f.searched(now, found, threadTime()-began, at.budget.Share())
	}
	if !now.Before(f.trackedAt) && len(f.backends) > 0 {
		f.track(now, peers, at)
	}
	for _, p := range f.pools {
		for remote, seen := range p.observed {
			if now.Sub(seen) >= forgotten {
				delete(p.observed, remote)
			}
		}
	}
	for remote, at := range f.rejected {
		if now.Sub(at) >= rejectedFor {
			delete(f.rejected, remote)
		}
	}
	return f.rebuild(now, at.name)
}

// restarted reports whether the first process of some server, mostly the parent
// of all, is gone.
func (f *backendFinder) restarted() bool {
	return slices.ContainsFunc(f.pools, func(p *pool) bool {
		return len(p.server.Chosen) > 0 && !owner.Unchanged(procRoot, p.server.Chosen[:1])
	})
}

// meet is told of cgroups whose sockets go to a backend and are not its
// balancer's, and reports whether the backends changed. A balancer restarted in
// another container, or by the service manager, has another cgroup: until its
// processes are chosen anew its connections are nobody's. Who turns out to be
// somebody else is not asked for again.
func (f *backendFinder) meet(now time.Time, cgroups []uint64, at place) bool {
	unmet := func(id uint64) bool { return !f.others[id] }
	if now.Before(f.meetAt) || !slices.ContainsFunc(cgroups, unmet) || !f.choose(now, at, urgently) {
		return false
	}
	if len(f.others) > maxOthers {
		clear(f.others)
	}
	for _, id := range cgroups {
		f.others[id] = !slices.ContainsFunc(f.pools, func(p *pool) bool { return slices.Contains(p.server.Owners.Cgroups, id) })
	}
	changed := f.rebuild(now, at.name)
	if !changed {
		// Jobs in containers of their own come one after the other. And who is
		// of ours without being this backend's stays a stranger there.
		f.meetAt = now.Add(chooseEvery)
	}
	return changed
}

// maxOthers bounds how many strangers are remembered.
const maxOthers = 4096

// noteDecided gives the peers to the pools whose cgroup tells their sockets:
// all that they have, as several may talk to one address and each has its own.
func (f *backendFinder) noteDecided(now time.Time, peers []discover.Peer) {
	for _, p := range f.pools {
		if !p.server.Owners.Decides {
			continue
		}
		theirs, _ := p.server.TalksTo(procRoot, peers) // it reads nothing, where the cgroup decides
		for _, remote := range theirs {
			p.observed[remote] = now
		}
	}
}

// note reports whether the peer's connections are known to be some pool's: of
// one that takes every connection to the address, or, as far as their cgroups
// are known, of those that these decide for.
func (f *backendFinder) note(now time.Time, peer discover.Peer) bool {
	known := false
	foreign := slices.Clone(peer.Cgroups)
	for _, p := range f.pools {
		if _, ok := p.observed[peer.Remote]; !ok || len(p.server.Chosen) == 0 {
			continue // who has no process has no connection
		}
		known = true
		if p.server.Owners.Decides {
			foreign = slices.DeleteFunc(foreign, func(id uint64) bool { return slices.Contains(p.server.Owners.Cgroups, id) })
			continue
		}
		p.observed[peer.Remote] = now
		foreign = nil
	}
	return known && len(foreign) == 0
}

// choose takes over the pools' processes in this namespace. It reports whether
// they are those of right now.
func (f *backendFinder) choose(now time.Time, at place, h haste) (walked bool) {
	selectors, before := make([]owner.Selector, len(f.pools)), make([]discover.Server, len(f.pools))
	for i, p := range f.pools {
		selectors[i], before[i] = p.selector, p.server
	}
	chosen, walked := at.processes.choose(now, selectors, h)
	f.chooseAt = now.Add(chooseEvery)
	servers := discover.Servers(procRoot, chosen, at.namespace, before, now)
	for i, p := range f.pools {
		p.elsewhere = len(servers[i].Chosen) == 0 && len(chosen[i]) > 0
		if len(servers[i].Chosen) > 0 {
			p.ranAt = now
		}
		if !slices.Equal(servers[i].Chosen, p.server.Chosen) {
			clear(f.rejected) // other processes may talk to what nobody did
			clear(f.others)
			f.searchAt, f.againAt = time.Time{}, time.Time{}
		}
		p.server = servers[i]
	}
	return walked
}

// worthwhile leaves of the peers that nobody has those that are searched for
// now.
func (f *backendFinder) worthwhile(now time.Time, unknown []discover.Peer) []discover.Peer {
	return slices.DeleteFunc(unknown, func(peer discover.Peer) bool {
		if f.tries[peer.Remote] > 0 {
			return now.Before(f.againAt)
		}
		return now.Before(f.searchAt)
	})
}

// searched says when peers are searched for again after a search of that cost:
// at once when it found something, else later the more it cost. The descriptors
// of a proxy with 100,000 connections are half a second's work.
func (f *backendFinder) searched(now time.Time, found bool, cost time.Duration, budget float64) {
	f.searchAt, f.againAt = now, now
	if !found {
		f.searchAt = now.Add(min(time.Duration(float64(cost)/(budget*newShare)), newWithin))
		f.againAt = now.Add(min(time.Duration(float64(cost)/(budget*againShare)), againWithin))
	}
}

// assign gives the peers that nobody has yet to the pools whose processes talk
// to them, and reports whether there are any.
func (f *backendFinder) assign(now time.Time, unknown []discover.Peer) (found bool) {
	for _, p := range f.pools {
		if p.server.Owners.Decides {
			continue
		}
		theirs, _ := p.server.TalksTo(procRoot, unknown) // what may not be read shows in the limits of the choice
		for _, remote := range theirs {
			p.observed[remote] = now
		}
	}
	for _, peer := range unknown {
		if f.note(now, peer) {
			delete(f.tries, peer.Remote)
			found = true
		} else if f.tries[peer.Remote]++; f.tries[peer.Remote] >= rejectedAfter {
			delete(f.tries, peer.Remote)
			f.rejected[peer.Remote] = now
		}
	}
	if len(f.tries) > maxTries {
		clear(f.tries)
	}
	return found
}

// maxTries bounds how many addresses are asked for again.
const maxTries = 4096

// rebuild makes the backends of all pools in the namespace of that name, and
// reports whether they are others than before. Elsewhere than in our own, only
// who has a process there, or had one a while ago, has backends there: what is
// known of them outlives a restart.
func (f *backendFinder) rebuild(now time.Time, namespace string) bool {
	var pools []discover.Pool
	for _, p := range f.pools {
		out := discover.Pool{Name: p.name, Configured: p.configured, Source: p.source}
		runs := len(p.server.Chosen) > 0 || len(p.observed) > 0 || !p.ranAt.IsZero() && now.Sub(p.ranAt) < forgotten
		if !runs && (namespace != "" || p.elsewhere) {
			continue
		}
		if p.fixed {
			out.Members = p.members
		} else {
			for remote := range p.observed {
				out.Observed = append(out.Observed, remote)
			}
			slices.SortFunc(out.Observed, netip.AddrPort.Compare)
		}
		out.Runs(&p.server)
		pools = append(pools, out)
	}
	backends := discover.Backends(pools)
	for i := range backends {
		backends[i].Namespace = namespace
		if behind := f.behind[backends[i].Remote]; len(behind) > 0 {
			backends[i].Behind = behind
			backends[i].Limit = joined(serviceAddress(behind), backends[i].Limit)
		}
	}
	same := slices.EqualFunc(backends, f.backends, func(a, b scope.Backend) bool {
		return a.Name == b.Name && a.Remote == b.Remote && slices.Equal(a.Cgroups, b.Cgroups) && slices.Equal(a.PIDs, b.PIDs) && slices.Equal(a.Also, b.Also) && slices.Equal(a.Behind, b.Behind) && a.Limit == b.Limit
	})
	f.backends, f.at = backends, make(map[netip.AddrPort][]int, len(backends))
	for i := range backends {
		f.at[backends[i].Remote] = append(f.at[backends[i].Remote], i)
	}
	return !same
}

// joined is both of two limits.
func joined(a, b string) string {
	if b == "" {
		return a
	}
	return a + "; " + b
}

// ports are the remote ports of the backends, each once.
func (f *backendFinder) ports() []uint16 {
	var out []uint16
	for i := range f.backends {
		if port := f.backends[i].Remote.Port(); !slices.Contains(out, port) {
			out = append(out, port)
		}
	}
	return out
}

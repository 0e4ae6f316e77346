package drains

import (
	"net/netip"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/drain"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/reply"
	"github.com/foreshock/foreshock/internal/scope"
)

// answersGood is for how long what the resolvers said is good: two and a half
// times the longest between two questions.
const answersGood = 75 * time.Second

// ttlStep is by how much the TTL of the answers before a switch must turn out
// longer than it was known to be: each change begins what is counted by it anew.
const ttlStep = time.Second

// says is what the network has said of a name. It outlives a switch: what was
// said before counts for the next one.
type says struct {
	zoo     drain.Zoo
	expects []reply.Server
	watcher drain.Watcher
	watches watching
	follows scope.Switch
	// last are the addresses of the last good answer: of the zone's servers, or
	// else of this host's resolvers.
	last   []netip.Addr
	lastBy reply.Role
	lastAt time.Time
	told   time.Time // the newest answer that Answered has handed on
	probes map[netip.Addr]reply.Probe
}

// watching is what the watcher waits for.
type watching struct {
	armed, any bool
}

// follow holds the answers against the switch as it is now, and has the watcher
// wait for what may come.
func (e *Entry) follow() {
	x := e.says
	if s := e.State(); s == Armed || s == Running {
		if !same(&x.follows, &e.Switch) {
			x.follows = e.Switch
			x.zoo.Follow(e.Switch)
		}
	}
	if wants := (watching{armed: e.State() == Armed, any: e.Watch}); wants != x.watches {
		x.watches = wants
		if x.watcher.Arm(nil); wants.armed {
			armed := e.Switch
			x.watcher.Arm(&armed)
		}
	}
}

// same reports whether two switches are one, at the same time and of the same
// TTL.
func same(a, b *scope.Switch) bool {
	return equal(a.Old, b.Old) && equal(a.New, b.New) && equal(a.Kept, b.Kept) && a.Since.Equal(b.Since) && a.TTL == b.TTL
}

// Expect says which servers are asked for the name from now on.
func (e *Entry) Expect(servers []reply.Server) {
	if !slices.Equal(e.says.expects, servers) {
		e.says.expects = servers
		e.says.zoo.Expect(servers)
	}
}

// Asks reports whether resolvers are asked for the name.
func (e *Entry) Asks() bool { return e.State() != Stopped || e.Watch }

// Target is the name as a plan has it, with the servers that are asked.
func (e *Entry) Target(servers []reply.Server) drain.Target {
	s := e.State()
	t := drain.Target{Name: e.Name, Servers: servers, Armed: s == Armed}
	if s == Running {
		t.Since = e.Switch.Since
	}
	return t
}

// Answer takes what a server said. old: it has an address that went with the
// switch. began is the switch that this brought to light, nil mostly; the error
// says why it cannot be followed.
func (b *Book) Answer(a reply.Answer, offset time.Duration) (old bool, began *Entry, err error) {
	e := b.entries[a.Name]
	if e == nil || !e.Asks() {
		return false, nil, nil
	}
	x := e.says
	x.zoo.Take(a)
	if a.Failure == reply.Answered && len(a.Addresses) > 0 {
		e.lastAnswer(&a)
		for _, addr := range a.Addresses {
			old = old || e.State() == Running && slices.Contains(e.Switch.Old, addr)
		}
	}
	if e.State() == Running {
		if ttl, ok := x.zoo.TTL(a.At); ok && ttl > e.TTL()+ttlStep {
			b.learnTTL(e, ttl)
		}
	}
	change := x.watcher.Take(a)
	if change == nil || e.State() == Running && !e.Watch {
		return old, nil, nil
	}
	began, err = b.Begin(offset, a.Name, *change)
	return old, began, err
}

// lastAnswer notes a good answer, unless a better one is fresh.
func (e *Entry) lastAnswer(a *reply.Answer) {
	x := e.says
	better := a.Role == reply.Authoritative || x.lastBy != reply.Authoritative || a.At.Sub(x.lastAt) > answersGood
	if (a.Role == reply.Authoritative || a.Role == reply.System) && better {
		x.last, x.lastBy, x.lastAt = a.Addresses, a.Role, a.At
	}
}

// learnTTL notes that answers of before the switch are good for longer.
func (b *Book) learnTTL(e *Entry, ttl time.Duration) {
	ttl = ttl.Round(time.Millisecond)
	e.TTLSeconds, e.Switch.TTL = ttl.Seconds(), ttl
	b.touch(e)
}

// Answered is what this host's own resolvers have said of the switches that run
// since the last call. It is of our own namespace: containers may have others.
func (b *Book) Answered(now time.Time) (out []measure.Answered) {
	for _, e := range b.entries {
		if e.State() != Running {
			continue
		}
		asked, stale, seen := e.says.zoo.Answered(now)
		if !seen.After(e.says.told) {
			continue
		}
		e.says.told = seen
		out = append(out, measure.Answered{Scope: e.Switch.ID(scope.OldSide, ""), Asked: asked, Stale: stale, Seen: seen, Good: answersGood})
	}
	return out
}

// Probed are the addresses of the name that are worth connecting to: after a
// switch and before it, and what its resolvers answer beside. What nobody but
// name servers have said leads nowhere inward.
func (e *Entry) Probed() (after, before, answered []netip.Addr) {
	if e.State() == Running && e.Source == Noticed {
		return reply.Outward(e.After), reply.Outward(e.Switch.Old), reply.Outward(e.says.zoo.Addresses())
	}
	if s := e.State(); s == Armed || s == Running {
		return append(slices.Clip(e.Switch.New), e.Switch.Kept...), e.Switch.Old, e.says.zoo.Addresses()
	}
	return nil, nil, nil
}

// Probe takes what came of connecting to an address of the name.
func (b *Book) Probe(p reply.Probe) {
	e := b.entries[p.Name]
	if e == nil {
		return
	}
	after, before, answered := e.Probed()
	wanted := func(a netip.Addr) bool {
		return slices.Contains(after, a) || slices.Contains(before, a) || slices.Contains(answered, a)
	}
	for a := range e.says.probes {
		if !wanted(a) {
			delete(e.says.probes, a)
		}
	}
	if wanted(p.Address.Addr()) {
		if e.says.probes == nil {
			e.says.probes = map[netip.Addr]reply.Probe{}
		}
		e.says.probes[p.Address.Addr()] = p
	}
}

package drain

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
)

// The ends of a connection at which it is counted.
const (
	asked  = "asked"
	served = "served"
)

const (
	// window is how long below 1 % counts as one of the two windows that a drain
	// must stay there.
	window = 30.0
	// lateAfter is how old a last look may be: whole looks come each 30 s where
	// the agent's budget allows.
	lateAfter = 30.0
	// apart is by how much agents may differ on when the switch was, before that
	// is said.
	apart = 60.0
	// mostLaggards and mostPoints bound what a Status holds.
	mostLaggards = 100
	mostPoints   = 1500
)

// view is what the reports say together, before anything is judged.
type view struct {
	name     string
	old, new []netip.Addr
	// members are the reports that count, in the order of their agents' names.
	members []Report
	// refused are agents whose report does not count; doubtful those of whom two
	// reports differ.
	refused, doubtful []string
	// since is the time since the switch at the last look; before: nobody has seen
	// it yet.
	since    float64
	before   bool
	ttl      *float64
	deadline float64

	now   Point
	curve []Point
	// bare are agents that have no curve to add.
	bare []string

	// holdsOld and holdsNew: the members hold all addresses of that side;
	// holdsSome: one at least of either.
	holdsOld, holdsNew, holdsSome bool
	// asks: some member began connections to the addresses.
	asks bool
	// oldDead: every old address was probed, and none took a connection.
	oldDead bool
	basis   string

	// stopped are agents that do not look any more: what they say does not age.
	stopped map[string]bool

	laggards     []Laggard
	laggardsOver int
	resolvers    []Resolver
	probes       []Probe
	arrivals     *Arrivals
	limits       []string
}

// Merge makes one status of the reports of one or several agents on one switch.
//
// Times are counted since the switch by each agent itself; wall clocks are not
// compared. Connections that came to addresses of the agents' hosts (served) are
// added up, and so are those that the hosts began (asked), but never both: the
// two ends of one connection may both be seen.
//
// The shares are of one end, Status.Basis. It is "served" when the hosts hold
// all old and all new addresses: then everybody's connections are in it. It is
// "asked" when one of the sides is held by nobody who reports, so that a share
// of what is served would be 0 or 100 % whatever happened; and when the old
// addresses take no connections any more, as what is left there are ends of
// connections whose other ends are gone.
//
// Reports of another name, or of other old or new addresses than most, are left
// out, and two of one agent count once; Status.Limits says so, and the verdict is
// not "settled" then. The order of the reports does not matter but for which
// counts where as many are of one switch as of another: the first.
func Merge(reports []Report) Status {
	v := gather(reports)
	v.timing()
	v.now, v.curve, v.bare = together(v.members)
	v.holds()
	v.who()
	v.sources()
	v.arrivals = v.arriving()

	s := Status{
		Name: v.name, Agents: names(v.members), SinceSeconds: v.since, Basis: v.basis, Now: v.now, Curve: v.curve,
		Laggards: v.laggards, LaggardsOver: v.laggardsOver, Resolvers: v.resolvers, Agreement: v.agreement(), Probes: v.probes, Arrivals: v.arrivals,
	}
	if v.basisWhole() {
		s.OldShare, s.OldNewShare = oldShare(v.now.at(v.basis)), oldNewShare(v.now.at(v.basis))
		d := decayOf(v.curve, v.now, v.basis, v.since)
		s.HalfLifeSeconds, s.Left95Seconds, s.Left99Seconds = d.half, d.left95, d.left99
		s.EndsInSeconds, s.EndsErrorSeconds = d.endsIn, d.endsError
	}
	s.Missing, s.MissingSentence = missingSays(v.arrivals)
	why := v.reasons()
	s.Verdict = v.verdict(why)
	s.Why = words(why)
	s.Sentence = v.sentence(&s)
	s.SafeToPowerOff, s.PowerOff = v.powerOff(&s, why)
	s.Advice = v.advice(&s)
	s.Limits = v.limited()
	return s
}

// gather sorts out which reports are of one switch and of agents of their own.
func gather(reports []Report) view {
	v := view{old: []netip.Addr{}, new: []netip.Addr{}}
	if len(reports) == 0 {
		return v
	}
	keys, votes := make([]string, len(reports)), map[string]int{}
	for i := range reports {
		keys[i] = key(&reports[i])
		votes[keys[i]]++
	}
	chosen := 0
	for i := range keys {
		if votes[keys[i]] > votes[keys[chosen]] {
			chosen = i
		}
	}
	first := &reports[chosen]
	v.name, v.old, v.new = tidyName(first.Name), tidy(first.Old), tidy(first.New)
	for i := range reports {
		r := reports[i]
		if keys[i] != keys[chosen] {
			v.refused = append(v.refused, cmp.Or(r.Agent, "an agent"))
			v.limits = append(v.limits, fmt.Sprintf("the report of %s is left out: it is of %s from %s to %s, and not of %s from %s to %s",
				cmp.Or(r.Agent, "an agent"), tidyName(r.Name), addresses(tidy(r.Old)), addresses(tidy(r.New)), v.name, addresses(v.old), addresses(v.new)))
			continue
		}
		v.take(&r)
	}
	slices.SortStableFunc(v.members, func(a, b Report) int { return cmp.Compare(a.Agent, b.Agent) })
	slices.Sort(v.refused)
	slices.Sort(v.doubtful)
	slices.Sort(v.limits)
	v.limits = slices.Compact(v.limits)
	return v
}

// take counts a report, once for each agent: of two the one that looked last.
func (v *view) take(r *Report) {
	r.bound()
	k := slices.IndexFunc(v.members, func(m Report) bool { return m.Agent == r.Agent })
	if k < 0 {
		v.members = append(v.members, *r)
		return
	}
	if !sameAgent(&v.members[k], r) && !slices.Contains(v.doubtful, r.Agent) {
		v.doubtful = append(v.doubtful, r.Agent)
		v.limits = append(v.limits, fmt.Sprintf("two reports of an agent named %s differ, and the one that looked last counts: if these are two hosts, give each a name of its own (name: in its configuration)", r.Agent))
	}
	if older := &v.members[k]; older.Now.SinceSeconds < r.Now.SinceSeconds {
		*older = *r
	}
}

// sameAgent reports whether two reports are of one run of one agent: then they
// have a point in common, as what a curve holds stays as it is.
func sameAgent(a, b *Report) bool {
	if a.Now == b.Now {
		return true
	}
	return slices.ContainsFunc(a.Curve, func(p Point) bool { return slices.Contains(b.Curve, p) })
}

// key tells switches apart.
func key(r *Report) string { return fmt.Sprint(tidyName(r.Name), tidy(r.Old), tidy(r.New)) }

func tidyName(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

func tidy(in []netip.Addr) []netip.Addr {
	out := make([]netip.Addr, 0, len(in))
	for _, a := range in {
		out = append(out, a.Unmap().WithZone(""))
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

func names(members []Report) []string {
	out := make([]string, len(members))
	for i := range members {
		out[i] = members[i].Agent
	}
	return out
}

// timing works out when it is, by the agents' own times since the switch.
func (v *view) timing() {
	v.before = true
	least := math.Inf(1)
	for i := range v.members {
		m := &v.members[i]
		if m.armed() {
			continue
		}
		v.before = false
		v.since = max(v.since, m.asOf())
		least = min(least, m.asOf())
		if m.TTLSeconds != nil && (v.ttl == nil || *v.ttl < *m.TTLSeconds) {
			v.ttl = m.TTLSeconds
		}
		v.deadline = max(v.deadline, m.DeadlineSeconds)
	}
	if v.deadline <= 0 {
		v.deadline = 15 * 60
		if v.ttl != nil {
			v.deadline = max(v.deadline, 4**v.ttl)
		}
	}
	if !v.before && v.since-least > apart {
		v.limits = append(v.limits, fmt.Sprintf("the agents do not agree on when the switch was: by one it was %s ago, by another %s", lasting(v.since), lasting(least)))
	}
}

// armed: the switch is waited for.
func (r *Report) armed() bool { return r.SwitchedAt.IsZero() }

// asOf is the time since the switch that the report is good for.
func (r *Report) asOf() float64 {
	if r.Stopped {
		return r.Now.SinceSeconds
	}
	return r.SinceSeconds
}

// late reports how old the last look is, where that is too old.
func (r *Report) late() (seconds float64, is bool) {
	seconds = r.SinceSeconds - r.Now.SinceSeconds
	return seconds, !r.Stopped && !(seconds <= lateAfter)
}

// holds works out what the agents' hosts hold, and so at which end is counted.
func (v *view) holds() {
	covered := map[netip.Addr]bool{}
	for i := range v.members {
		m := &v.members[i]
		v.asks = v.asks || m.ever(func(p *Point) bool { return p.Asked != Sides{} })
		own := tidy(m.Held)
		for _, a := range own {
			covered[a] = true
		}
		// Without a list, and where connections come to an address that is not the
		// host's own (a transparent proxy), a side counts by what came to it.
		for _, side := range []struct {
			of   []netip.Addr
			came func(*Point) bool
		}{
			{v.old, func(p *Point) bool { return p.Served.Old != Count{} }},
			{v.new, func(p *Point) bool { return p.Served.New != Count{} }},
		} {
			holds := slices.ContainsFunc(side.of, func(a netip.Addr) bool { return slices.Contains(own, a) })
			if !holds && m.ever(side.came) {
				for _, a := range side.of {
					covered[a] = true
				}
			}
		}
	}
	unheld := func(a netip.Addr) bool { return !covered[a] }
	v.holdsOld, v.holdsNew = !slices.ContainsFunc(v.old, unheld), !slices.ContainsFunc(v.new, unheld)
	for _, a := range slices.Concat(v.old, v.new) {
		v.holdsSome = v.holdsSome || covered[a]
	}
	v.oldDead = v.dead()
	whole := v.holdsOld && v.holdsNew
	switch {
	case whole && !v.oldDead, !v.asks && v.holdsSome:
		v.basis = served
	default:
		v.basis = asked
	}
}

// ever reports whether something was so at any time that the report has.
func (r *Report) ever(so func(*Point) bool) bool {
	if so(&r.Now) {
		return true
	}
	for i := range r.Curve {
		if so(&r.Curve[i]) {
			return true
		}
	}
	return false
}

// dead reports whether every old address was probed lately, and none of them,
// from anywhere, took a connection; and nothing moves there.
func (v *view) dead() bool {
	if v.now.Served.Old.Moving > 0 || v.now.Asked.Old.Moving > 0 {
		return false
	}
	found := map[netip.Addr]bool{}
	for i := range v.members {
		for _, p := range v.members[i].Probes {
			if p.AgoSeconds > probeGood && !v.members[i].Stopped || !slices.Contains(v.old, p.Address.Addr().Unmap()) {
				continue
			}
			if p.Failed != "connect" {
				return false
			}
			found[p.Address.Addr().Unmap()] = true
		}
	}
	return len(found) > 0 && len(found) == len(v.old)
}

// basisWhole reports whether both sides are seen at the end that the shares are
// of: with one of them alone they would be 0 or 100 % whatever happened.
func (v *view) basisWhole() bool {
	return v.basis == asked || v.holdsNew && (v.holdsOld || v.oldDead)
}

// who gathers everybody on the old addresses, the most connections first.
func (v *view) who() {
	v.laggards = []Laggard{}
	for i := range v.members {
		m := &v.members[i]
		v.laggardsOver += max(0, m.LaggardsOver)
		for _, l := range m.Laggards {
			l.Agent = m.Agent
			v.laggards = append(v.laggards, l)
		}
	}
	slices.SortStableFunc(v.laggards, func(a, b Laggard) int { return cmp.Compare(b.Connections, a.Connections) })
	if len(v.laggards) > mostLaggards {
		for _, l := range v.laggards[mostLaggards:] {
			v.laggardsOver += max(0, l.Connections)
		}
		v.laggards = v.laggards[:mostLaggards:mostLaggards]
	}
}

// sources gathers what resolvers and probes said, each as seen by its agent.
func (v *view) sources() {
	v.resolvers, v.probes = []Resolver{}, []Probe{}
	v.stopped = map[string]bool{}
	for i := range v.members {
		m := &v.members[i]
		v.stopped[m.Agent] = m.Stopped
		for _, r := range m.Resolvers {
			r.Agent = m.Agent
			v.resolvers = append(v.resolvers, r)
		}
		for _, p := range m.Probes {
			p.Agent = m.Agent
			v.probes = append(v.probes, p)
		}
	}
}

// agreement is the share of the resolvers that answer with new addresses alone,
// of those that were asked; one that does not answer does not.
func (v *view) agreement() *float64 {
	agree, all := 0, 0
	for i := range v.resolvers {
		switch v.resolvers[i].Class {
		case ClassUnasked:
			continue
		case ClassNew:
			agree++
		}
		all++
	}
	if all == 0 {
		return nil
	}
	return new(float64(agree) / float64(all))
}

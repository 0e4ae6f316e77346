// Package court is measure and judge of every namespace of a host, and what is
// left of those that ended. The agent and a replay both step it with the same
// values, so that what is played again comes out as it did.
//
//	c := court.New(rules, &judge.Numbers{})
//	for step := range steps {
//		c.Step(step)
//		incidents := c.Incidents(step.At)
//	}
//
// It is pure, as the stages it holds are.
package court

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/tcp"
)

// Court judges the namespaces of one host. It is not safe for concurrent use.
type Court struct {
	rules   []rule.Rule
	numbers *judge.Numbers
	spaces  []*space // by name: our own, which has none, first
	gone    []departed
	// agent judges the agent's own trouble, troubles are its incidents.
	agent    *judge.Judge
	troubles []judge.Incident
	merged   merged
}

// space is one namespace.
type space struct {
	name      string
	measure   *measure.Measure
	judge     *judge.Judge
	incidents []judge.Incident // of the last step
}

// departed is what remains of a namespace that ended: its judge, until what is
// open there has ended too, or the namespace is back under its name.
type departed struct {
	name      string
	judge     *judge.Judge
	incidents []judge.Incident
}

// New returns a court that has seen nothing. rules are the users' own; the
// incidents of all namespaces are numbered together.
func New(rules []rule.Rule, numbers *judge.Numbers) *Court {
	return &Court{rules: rules, numbers: numbers, agent: judge.New(numbers)}
}

// Step takes what one look of a namespace brought, and returns the incidents of
// that namespace and what is measured there; both are good until the next step
// of it. A namespace is taken up with its first step, and goes on with what was
// open there where it ended before. One that has Left is forgotten: the rest of
// what is open there goes with the pulses of our own.
func (c *Court) Step(s measure.Step) ([]judge.Incident, *measure.View) {
	at, known := c.find(s.Namespace)
	if s.Left {
		if known {
			c.leave(at)
		}
		return nil, nil
	}
	if !known {
		c.spaces = slices.Insert(c.spaces, at, c.open(s.Namespace))
	}
	n := c.spaces[at]
	view := n.measure.Step(s.At, s.Tallies)
	c.tellOutside(n.name, n.judge)
	n.incidents = n.judge.Step(s.At, view)
	if n.name == "" && s.Tallies.Look.Request.Tier == tcp.Pulse {
		c.stepGone(s.At)
	}
	return n.incidents, view
}

// tellOutside tells the judge of another namespace what is wrong with the host's
// own: a way that is lost there is lost to those behind it.
func (c *Court) tellOutside(name string, to *judge.Judge) {
	if own, known := c.find(""); known && name != "" {
		to.Outside(c.spaces[own].judge.Sources())
	}
}

// Trouble takes what keeps the agent itself from its work, as it is now; those
// that are not among it end. No recording has it: a replay is of the sockets, and
// comes out as it did whatever ailed the agent that watched them.
func (c *Court) Trouble(now time.Time, troubles []judge.Trouble) {
	c.troubles = c.agent.StepTroubles(now, troubles)
}

func (c *Court) find(name string) (at int, known bool) {
	return slices.BinarySearchFunc(c.spaces, name, func(n *space, name string) int { return strings.Compare(n.name, name) })
}

// open takes a namespace up.
func (c *Court) open(name string) *space {
	n := &space{name: name, measure: measure.New(name)}
	if i := slices.IndexFunc(c.gone, func(d departed) bool { return d.name == name }); i >= 0 {
		n.judge = c.gone[i].judge // a restarted container: its incidents go on
		c.gone = slices.Delete(c.gone, i, i+1)
		return n
	}
	n.judge = judge.New(c.numbers)
	n.judge.SetRules(time.Time{}, c.rules)
	return n
}

// leave forgets a namespace, but for what is open there.
func (c *Court) leave(at int) {
	n := c.spaces[at]
	c.spaces = slices.Delete(c.spaces, at, at+1)
	if len(n.incidents) > 0 {
		c.gone = append(c.gone, departed{n.name, n.judge, slices.Clone(n.incidents)})
	}
}

// stepGone lets what was open in ended namespaces end.
func (c *Court) stepGone(now time.Time) {
	nothing := measure.View{At: now}
	c.gone = slices.DeleteFunc(c.gone, func(d departed) bool {
		c.tellOutside(d.name, d.judge)
		incidents := d.judge.Step(now, &nothing)
		if slices.ContainsFunc(incidents, func(i judge.Incident) bool { return i.State != judge.Resolved }) {
			return false
		}
		c.merged.keep(incidents)
		return true
	})
	for i := range c.gone {
		c.gone[i].incidents = c.gone[i].judge.Incidents()
	}
}

// SetRules changes the users' rules of all namespaces; see judge.Judge.
func (c *Court) SetRules(now time.Time, rules []rule.Rule) {
	c.rules = rules
	for _, n := range c.spaces {
		n.judge.SetRules(now, rules)
	}
	for i := range c.gone {
		c.gone[i].judge.SetRules(now, rules)
	}
}

// Acknowledge marks an incident of any namespace as taken, and reports whether
// there is one of that number.
func (c *Court) Acknowledge(now time.Time, id uint64, by string) bool {
	for _, n := range c.spaces {
		if n.judge.Acknowledge(now, id, by) {
			n.incidents = n.judge.Incidents()
			return true
		}
	}
	if c.agent.Acknowledge(now, id, by) {
		c.troubles = c.agent.Incidents()
		return true
	}
	for i := range c.gone {
		if d := &c.gone[i]; d.judge.Acknowledge(now, id, by) {
			d.incidents = d.judge.Incidents()
			return true
		}
	}
	return false
}

// Gone are the names of the namespaces that ended while something was open
// there, for as long as it is.
func (c *Court) Gone() []string {
	var names []string
	for _, d := range c.gone {
		names = append(names, d.name)
	}
	return names
}

// Incidents are those of all namespaces: the suspected and the open ones, then
// the lately resolved, newest first. They are good until the next call or
// Step.
func (c *Court) Incidents(now time.Time) []judge.Incident {
	m := &c.merged
	life := uint64(0)
	each := func(incidents []judge.Incident) {
		for i := range incidents {
			life = life*31 + lifeOf(&incidents[i])
		}
	}
	c.eachIncidents(each)
	same := life == m.life
	m.life = life
	switch {
	case len(c.spaces) == 1 && len(c.gone) == 0 && len(m.over) == 0 && len(c.troubles) == 0:
		m.at = time.Time{} // the list is not kept up
		return c.spaces[0].incidents
	case same && now.Sub(m.at) < mergeEvery:
		return m.list
	}
	m.at = now
	m.list = m.list[:0]
	c.eachIncidents(func(incidents []judge.Incident) { m.list = append(m.list, incidents...) })
	m.sort()
	return m.list
}

// Life is a number that changes when an incident that Incidents returned last
// does, but not with the numbers in its words.
func (c *Court) Life() uint64 { return c.merged.life }

func (c *Court) eachIncidents(do func([]judge.Incident)) {
	for _, n := range c.spaces {
		if len(n.incidents) > 0 {
			do(n.incidents)
		}
	}
	for i := range c.gone {
		do(c.gone[i].incidents)
	}
	do(c.troubles)
	do(c.merged.over)
}

const (
	// mostResolved is how many incidents that are over a host remembers.
	mostResolved = 200
	// resolvedStays is for how long one that is over is among them whatever comes
	// after it, so that nobody who reads at each step misses its end.
	resolvedStays = 10 * time.Second
	// mergeEvery is how old the merged incidents may grow while only the
	// numbers in their words change.
	mergeEvery = 250 * time.Millisecond
)

// merged is the incidents of all namespaces as one list.
type merged struct {
	list []judge.Incident
	over []judge.Incident // resolved ones of namespaces that ended
	life uint64
	at   time.Time
}

// keep remembers resolved incidents of a namespace that ended.
func (m *merged) keep(resolved []judge.Incident) {
	m.over = append(m.over, resolved...)
	slices.SortStableFunc(m.over, newest)
	end := min(len(m.over), mostResolved)
	for end < len(m.over) && m.over[0].ResolvedAt.Sub(m.over[end].ResolvedAt) < resolvedStays {
		end++
	}
	m.over = m.over[:end]
	m.at = time.Time{}
}

// newest orders incidents that are over by their end, and by number where it is
// the same.
func newest(a, b judge.Incident) int {
	return cmp.Or(b.ResolvedAt.Compare(a.ResolvedAt), cmp.Compare(b.ID, a.ID))
}

// sort puts the list into the order of a judge's.
func (m *merged) sort() {
	slices.SortStableFunc(m.list, func(a, b judge.Incident) int {
		aOver, bOver := a.State == judge.Resolved, b.State == judge.Resolved
		switch {
		case aOver && bOver:
			return newest(a, b)
		case aOver:
			return 1
		case bOver:
			return -1
		}
		return cmp.Compare(b.ID, a.ID)
	})
	if over := slices.IndexFunc(m.list, func(i judge.Incident) bool { return i.State == judge.Resolved }); over >= 0 {
		end := min(len(m.list), over+mostResolved)
		for end < len(m.list) && m.at.Sub(m.list[end].ResolvedAt) < resolvedStays {
			end++
		}
		m.list = m.list[:end]
	}
}

// lifeOf is a number that changes when an incident does, but not with the
// numbers in its words.
func lifeOf(i *judge.Incident) uint64 {
	life := i.ID<<8 + uint64(i.State)<<4 + uint64(i.Finding.Severity)
	if !i.AcknowledgedAt.IsZero() {
		life += 1 << 3 // severities are fewer
	}
	return life
}

package drain

import (
	"cmp"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/reply"
)

// How often servers are asked.
const (
	closely     = 5 * time.Second  // just after a switch; the zone's own while one is armed
	zoneEvery   = 10 * time.Second // the zone's own servers
	usually     = 30 * time.Second
	closelyFor  = 5 * time.Minute
	afterExpiry = time.Second // an old answer again, after its TTL ran out
	// maxAsking is when a question counts as lost that nobody brought an answer to.
	maxAsking = 30 * time.Second
	// maxRate is how many questions a second go out in all; a server takes two,
	// one of each family, one of the zone a third. What is due then waits.
	maxRate = 20
	// pause is how long what is over the rate waits at least: each look at the
	// plan goes through all of it.
	pause = 250 * time.Millisecond
)

// ZoneEvery is how often the servers of a name's zone are looked up.
const ZoneEvery = 10 * time.Minute

// Target is one name whose servers are asked.
type Target struct {
	Name    string
	Servers []reply.Server
	// Armed: a switch is expected. Since is when it was; zero: it was not yet.
	Armed bool
	Since time.Time
}

// Question is one server to ask for one name.
type Question struct {
	Name   string
	Server reply.Server
}

// Plan says who is asked next, and when. It is fed with what comes back:
//
//	plan.Set(targets)                       // when names, servers or switches change
//	due, next := plan.Due(now)              // ask these, by as many as may run at once
//	plan.Answered(answer, zoo.Old(answer))  // each of them
//
// What is due and over the rate waits, the longest due first. The
// zero value is ready; it is not safe for concurrent use.
type Plan struct {
	// Seed makes hosts that start at one time ask at different ones.
	Seed uint64

	turns  map[turnID]*turn
	budget float64 // questions that may go out now
	filled time.Time
	drawn  uint64
}

type turnID struct {
	name string
	identity
}

// turn is one server that is asked for one name again and again.
type turn struct {
	question Question
	armed    bool
	since    time.Time
	due      time.Time // zero: at once
	asked    time.Time // when the question went out that is under way; zero: none is
}

// Set takes what is asked from now on. A server that is new is asked at once; a
// switch that began since is asked about at once as well.
func (p *Plan) Set(targets []Target) {
	before := p.turns
	p.turns = map[turnID]*turn{}
	for _, target := range targets {
		for _, s := range target.Servers[:min(maxServers, len(target.Servers))] {
			id := turnID{target.Name, identity{s.Address, s.Role}}
			t := before[id]
			if t == nil {
				t = &turn{}
			}
			if !t.since.Equal(target.Since) || t.armed != target.Armed {
				t.due = time.Time{}
			}
			t.question, t.armed, t.since = Question{target.Name, s}, target.Armed, target.Since
			p.turns[id] = t
		}
	}
}

// Due returns whom to ask now, and when to call again, unless an answer comes
// before: then at once. Each of them counts as under way until its answer is handed to Answered, for 30 s at
// most.
func (p *Plan) Due(now time.Time) (due []Question, next time.Time) {
	if p.fill(now); p.budget < 2 {
		return nil, now.Add(pause)
	}
	next = now.Add(usually)
	var ready []*turn
	for _, t := range p.turns {
		at := t.due
		if !t.asked.IsZero() {
			at = t.asked.Add(maxAsking)
		}
		if at.After(now) {
			next = earlier(next, at)
			continue
		}
		ready = append(ready, t)
	}
	slices.SortFunc(ready, func(a, b *turn) int {
		return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.question.Name, b.question.Name), a.question.Server.Address.Compare(b.question.Server.Address), cmp.Compare(a.question.Server.Role, b.question.Server.Role))
	})
	for _, t := range ready {
		cost := 2.0
		if t.question.Server.Role == reply.Authoritative {
			cost = 3
		}
		if p.budget < cost {
			lacks := time.Duration((cost - p.budget) / maxRate * float64(time.Second))
			return due, earlier(next, now.Add(max(lacks, pause)))
		}
		p.budget -= cost
		t.asked = now
		next = earlier(next, now.Add(maxAsking))
		due = append(due, t.question)
	}
	return due, next
}

// fill adds what time has brought to the budget, up to a second's worth.
func (p *Plan) fill(now time.Time) {
	p.budget = min(maxRate, p.budget+now.Sub(p.filled).Seconds()*maxRate)
	p.filled = now
}

// Answered takes an answer, and whether it has an old address: such a one is
// asked again when its TTL has run out.
func (p *Plan) Answered(a reply.Answer, old bool) {
	t := p.turns[turnID{a.Name, identityOf(&a)}]
	if t == nil {
		return
	}
	t.asked = time.Time{}
	t.due = a.At.Add(p.jitter(t.every(a.At)))
	if expires := a.At.Add(a.TTL + afterExpiry); old && a.Failure == reply.Answered && expires.After(a.At.Add(2*afterExpiry)) {
		t.due = earlier(t.due, expires)
	}
}

// every is how often the server is asked.
func (t *turn) every(now time.Time) time.Duration {
	zone := t.question.Server.Role == reply.Authoritative
	switch {
	case !t.since.IsZero() && now.Sub(t.since) < closelyFor, zone && t.armed && t.since.IsZero():
		return closely
	case zone:
		return zoneEvery
	}
	return usually
}

// jitter makes a time up to a tenth shorter, so that servers are not all asked
// at once. The numbers are splitmix64's, by G. Steele and others, 2014.
func (p *Plan) jitter(d time.Duration) time.Duration {
	p.drawn++
	x := p.Seed + p.drawn*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return d - time.Duration(float64(d)/10*float64(x>>11)/(1<<53))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

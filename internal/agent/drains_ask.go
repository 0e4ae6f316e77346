package agent

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/foreshock/foreshock/internal/agent/drains"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/drain"
	"github.com/foreshock/foreshock/internal/observe/identity"
	"github.com/foreshock/foreshock/internal/observe/nameserver"
	"github.com/foreshock/foreshock/internal/reply"
)

const (
	// rereadEvery is how often the files that name this host's resolvers are read
	// again, and zoneWithin how long finding a zone's servers may take.
	rereadEvery = 30 * time.Second
	zoneWithin  = 30 * time.Second
)

// asked is whom a name's addresses are asked of.
type asked struct {
	resolvers []string // as they were configured
	readAt    time.Time
	zoneAt    time.Time // when the zone's servers are looked for again
	finding   bool
	recursive []reply.Server
	zone      []reply.Server
	// Why not all servers are asked.
	problems []string
	zoneErr  error
}

// why is why not all of them are asked, a sentence each.
func (x *asked) why() []string {
	if x.zoneErr == nil {
		return x.problems
	}
	return append(slices.Clip(x.problems), x.zoneErr.Error())
}

// servers are whom to ask. The zone's come last: how many there are is up to
// whoever has the zone, and what is over a bound is cut off.
func (x *asked) servers() []reply.Server {
	return append(slices.Clip(x.recursive), x.zone...)
}

// askNames asks DNS servers for the names of switches until ctx ends. A
// cancelled ctx is a nil return. What hangs keeps nobody waiting: how many
// questions are under way follows from the plan, which has at most 10 begin in
// a second, and 10 s is the longest that one takes.
func (a *agent) askNames(ctx context.Context) error {
	f := a.follower
	var group sync.WaitGroup
	defer group.Wait()
	of := map[string]*asked{}
	zones := make(chan zoneFound)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := a.clock.Now()
		for _, find := range f.prepare(now, of) {
			group.Go(func() {
				select {
				case zones <- a.findZone(ctx, find):
				case <-ctx.Done():
				}
			})
		}
		due, next := f.due(now, of)
		for _, q := range due {
			onward := of[q.Name].recursive
			group.Go(func() {
				client := nameserver.Client{Dialer: a.dialer, Now: a.clock.Now, Onward: onward}
				a.answered(client.Ask(ctx, q.Server, q.Name))
				f.wake(f.asking)
			})
		}
		var ticks <-chan time.Time
		if !next.IsZero() {
			timer.Reset(max(0, next.Sub(a.clock.Now())))
			ticks = timer.C
		}
		select {
		case <-ctx.Done():
			return nil
		case z := <-zones:
			f.found(z, of)
		case <-f.asking:
		case <-ticks:
		}
	}
}

func (f *follower) wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it will look
	}
}

// zoneFound is which servers a name's zone has.
type zoneFound struct {
	name    string
	servers []reply.Server
	err     error
}

// prepare brings up to date who is asked for which name, and returns the names
// whose zone's servers are to be found, with the resolvers that know them.
func (f *follower) prepare(now time.Time, of map[string]*asked) (find []zoneFound) {
	f.mu.Lock()
	defer f.mu.Unlock()
	wanted := f.names((*drains.Entry).Asks)
	for name := range of {
		if !wanted[name] {
			delete(of, name)
			f.replan = true
		}
	}
	for name := range wanted {
		x, e := of[name], f.book.Entry(name)
		if x == nil || !slices.Equal(x.resolvers, e.Resolvers) {
			x = &asked{resolvers: e.Resolvers}
			of[name] = x
		}
		if !now.Before(x.readAt) {
			x.readAt = now.Add(rereadEvery)
			x.recursive, x.problems = resolversOf(e.Resolvers)
			f.replan = true
		}
		f.problems[name] = x.why()
		e.Expect(x.servers())
		if !x.finding && !now.Before(x.zoneAt) {
			x.finding, x.zoneAt = true, now.Add(drain.ZoneEvery)
			find = append(find, zoneFound{name: name, servers: x.recursive})
		}
	}
	return find
}

// resolversOf are the servers that the configuration of a name means.
func resolversOf(texts []string) (servers []reply.Server, problems []string) {
	seen := map[netip.AddrPort]bool{}
	add := func(list ...reply.Server) {
		for _, s := range list {
			if !seen[s.Address] {
				seen[s.Address] = true
				servers = append(servers, s)
			}
		}
	}
	for _, text := range texts {
		r, _, _ := config.ParseResolver(text) // it was checked
		switch r.Which {
		case config.SystemResolvers:
			list, bad, err := nameserver.System()
			add(list...)
			problems = append(problems, bad...)
			if err != nil {
				problems = append(problems, err.Error())
			}
		case config.PublicResolvers:
			add(nameserver.Public()...)
		default:
			add(reply.Server{Address: r.Server, Label: text, Role: reply.Configured})
		}
	}
	return servers, problems
}

// findZone finds the servers of a name's zone, by these resolvers.
func (a *agent) findZone(ctx context.Context, x zoneFound) zoneFound {
	ctx, cancel := context.WithTimeout(ctx, zoneWithin)
	defer cancel()
	client := nameserver.Client{Dialer: a.dialer, Now: a.clock.Now}
	x.servers, x.err = client.Authoritative(ctx, x.name, x.servers)
	return x
}

// found takes the servers of a zone. None take none away: they are asked for
// again soon.
func (f *follower) found(z zoneFound, of map[string]*asked) {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := of[z.name]
	if x == nil {
		return
	}
	if x.finding = false; len(z.servers) > 0 {
		x.zone = z.servers
	}
	if x.zoneErr = z.err; z.err != nil {
		x.zoneAt = x.zoneAt.Add(rereadEvery - drain.ZoneEvery)
	}
	f.replan = true
}

// due is who is to be asked now, and when to look again; zero: when there is a
// name.
func (f *follower) due(now time.Time, of map[string]*asked) (due []drain.Question, next time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.replan {
		var targets []drain.Target
		for name, x := range of {
			if e := f.book.Entry(name); e != nil { // a reload may have just dropped it
				targets = append(targets, e.Target(x.servers()))
			}
		}
		f.plan.Set(targets)
		f.replan = false
	}
	if len(of) == 0 {
		return nil, time.Time{}
	}
	due, next = f.plan.Due(now)
	for _, x := range of {
		next = earlier(next, x.readAt)
		if !x.finding {
			next = earlier(next, x.zoneAt)
		}
	}
	return due, next
}

// answered takes what a server said; a switch that it brings to light is followed
// from now on.
func (a *agent) answered(x reply.Answer) {
	f := a.follower
	f.mu.Lock()
	defer f.mu.Unlock()
	old, began, err := f.book.Answer(x, a.clock.Offset())
	f.plan.Answered(x, old)
	if err != nil {
		f.log.Warn("a switch was noticed and is not followed", "name", x.Name, "reason", err.Error())
	}
	if began != nil {
		a.noted("the agent", "noticed", began)
		f.nudge()
	}
}

// probeNames connects to the addresses of the names of switches until ctx ends. A
// cancelled ctx is a nil return. Those under way are bounded as in askNames: 5
// begin in a second, and take 10 s.
func (a *agent) probeNames(ctx context.Context) error {
	f := a.follower
	prober := &identity.Prober{Dial: a.dialer.DialProbe, Now: a.clock.Now}
	var group sync.WaitGroup
	defer group.Wait()
	var schedule identity.Schedule
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wanted, expects := f.wanted()
		due, next := schedule.Due(a.clock.Now(), wanted, rand.Float64)
		for _, w := range due {
			target := expects[w.Name]
			target.Name, target.Address = w.Name, w.Address
			group.Go(func() {
				p := prober.Probe(ctx, target)
				if ctx.Err() != nil {
					return // it was broken off
				}
				f.mu.Lock()
				defer f.mu.Unlock()
				f.book.Probe(p)
			})
		}
		var ticks <-chan time.Time
		if !next.IsZero() {
			// Not later: what resolvers answer comes meanwhile.
			timer.Reset(min(max(0, next.Sub(a.clock.Now())), rereadEvery/6))
			ticks = timer.C
		}
		select {
		case <-ctx.Done():
			return nil
		case <-f.probing:
		case <-ticks:
		}
	}
}

// wanted are the addresses worth probing, and what is expected there by name.
func (f *follower) wanted() (wanted []identity.Want, expects map[string]identity.Target) {
	f.mu.Lock()
	defer f.mu.Unlock()
	expects = map[string]identity.Target{}
	for _, e := range f.book.Entries() {
		after, before, answered := e.Probed()
		if len(after) == 0 && len(before) == 0 {
			continue
		}
		target := identity.Target{Ports: e.Ports}
		if x := e.Identity; x != nil {
			expect, err := identity.NewExpect(x.URL, x.Status, x.BodyContains, x.Header)
			if err != nil {
				continue // it was checked; without it any application would pass
			}
			target.Expect = expect
		}
		expects[e.Name] = target
		wanted = append(wanted, identity.Wanted(e.Name, before, after, answered)...)
	}
	return wanted, expects
}

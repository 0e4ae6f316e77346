package detect

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// RegionCell is one fault of a region, or a healthy day of two, as data. A host
// has clients of two regions behind a router, with four destinations each; the
// first of the regions, east, is the one that fails.
type RegionCell struct {
	// Name is "region-FAULT", with what is special after it, or
	// "healthy-region-WHAT".
	Name  string
	Fault string
	// IPv6: all addresses are.
	IPv6 bool
	// Load goes to each destination, from a client program of its own.
	Load lab.Load
	// At is when the fault comes, after the load begins.
	At time.Duration
	// Events are the fault, and what comes after; their times count from At.
	Events []RegionEvent
	// Backends: the agent is told of the clients, so that each destination is a
	// backend, too.
	Backends bool
	// Healthy: nothing may be found at warning or above.
	Healthy bool
	Goal    FaultGoal
	// Check is how long one check of a destination takes to fail; nil where it
	// succeeds.
	Check *time.Duration
}

// RegionEvent is something that happens to regions.
type RegionEvent = Event[*regions]

// RegionOutcome is how a fault of a region, or a healthy day of both, went.
type RegionOutcome struct {
	Course
	// Expected are the right causes; none on a healthy day.
	Expected []string `json:"expected,omitempty"`
	// Checked is the range in which a health check each 30 s that must fail three
	// times would have held the region to be down: computed. Nil is never.
	Checked *[2]time.Duration `json:"checked_ns,omitempty"`
}

// RunRegion plays a cell with the agent beside the clients; of the peers,
// blackbox_exporter on another host asks one destination of east each 15 s.
func RunRegion(ctx context.Context, with With, cell RegionCell) (RegionOutcome, error) {
	out := RegionOutcome{
		Course:   Course{Cell: cell.Name, Fault: cell.Fault, Healthy: cell.Healthy},
		Expected: cell.Goal.Causes, Checked: cell.checked(),
	}
	r, err := newRegions(ctx, &cell)
	if err != nil {
		return out, err
	}
	defer r.world.Close()
	agent, err := with.startAgent(ctx, r.observer, r.world.Dir(), r.config())
	if err != nil {
		return out, err
	}
	defer agent.stop()
	var asked *prober
	if with.Beside {
		if asked, err = startProber(ctx, r.checker, r.world, r.failing().members[0].run.URL(healthPath)); err != nil {
			return out, err
		}
		defer asked.stop()
	}
	run, remotes, err := r.play(ctx, with, agent, asked)
	if err != nil {
		return out, err
	}
	if out.CPU, err = agent.cpuShare(); err != nil {
		return out, err
	}
	out.sum(cell.Goal, run, func(i incident) part { return r.part(i, remotes) })
	missed, err := with.keep(run.heard, out.Healthy, out.truths(cell.Goal, run, r.guilty(remotes)...))
	out.Missed = append(out.Missed, missed...)
	return out, err
}

// guilty are the scopes that have the fault: the host, or a region and those of
// its destinations that are backends.
func (r *regions) guilty(remotes map[string]netip.AddrPort) []string {
	if r.cell.Goal.Host {
		return []string{hostScope}
	}
	scopes := []string{"region/" + r.failing().name}
	for _, scope := range slices.Sorted(maps.Keys(remotes)) {
		if r.failing().has(remotes[scope]) {
			scopes = append(scopes, scope)
		}
	}
	return scopes
}

// Shifted is the cell of a run with its fault later, so that the probe's timer,
// which starts with the load, stands elsewhere in each.
func (c RegionCell) Shifted(run int) RegionCell {
	if c.Healthy {
		return c
	}
	phase := (probeEvery/2 + time.Duration(run)*4*time.Second) % probeEvery
	c.At += phase
	c.Load.Duration += phase
	return c
}

// RecordRegion plays a cell without the agent and writes, each 250 ms, what the
// sockets to its destinations look like: a [trace.Line] as a line of JSON.
func RecordRegion(ctx context.Context, cell RegionCell, out io.Writer, progress func(string)) error {
	r, err := newRegions(ctx, &cell)
	if err != nil {
		return err
	}
	defer r.world.Close()
	progress(r.introduction("recorded"))
	end := cell.Load.Duration
	cell.Load.Duration += time.Second // its end is not a part of it
	if _, err = r.startLoads(ctx); err != nil {
		return err
	}
	began := time.Now()
	fault := began.Add(cell.At)
	return traceUntil(ctx, r.observer, r.remotes(), fault, began.Add(end), out, func(ctx context.Context) error {
		return happen(ctx, r, cell.Name, fault, cell.Events, progress)
	})
}

// A health check as those of clouds are by default: each 30 s, and three of them
// must fail.
const (
	checkEvery  = 30 * time.Second
	checksToAct = 3
)

// checked is when such a check would have held the region to be down, at the
// earliest and at the latest; nil for never.
func (c RegionCell) checked() *[2]time.Duration {
	if c.Check == nil {
		return nil
	}
	first := (checksToAct-1)*checkEvery + *c.Check
	return &[2]time.Duration{first, first + checkEvery}
}

// part is what the scope of an incident has to do with the fault: remotes tells
// the destination of a backend.
func (r *regions) part(i incident, remotes map[string]netip.AddrPort) part {
	host := r.cell.Goal.Host
	remote, isBackend := remotes[i.Scope]
	switch {
	case strings.HasPrefix(i.Scope, "host"):
		if host {
			return guilty
		}
		return apart
	case isBackend && !host && r.failing().has(remote):
		return inside
	case i.Scope == "region/"+r.failing().name && !host:
		return guilty
	case isBackend, strings.HasPrefix(i.Scope, "region/"):
		return sibling
	}
	return apart
}

// play sends the load, makes the events happen, and watches. It returns also the
// destination of each backend, by its scope.
func (r *regions) play(ctx context.Context, with With, agent *agent, asked *prober) (run courseRun, remotes map[string]netip.AddrPort, err error) {
	with.Progress(r.introduction("played"))
	loads, err := r.startLoads(ctx)
	if err != nil {
		return run, nil, err
	}
	began := time.Now()
	run.fault = began.Add(r.cell.At)
	watching, stop := context.WithDeadline(ctx, began.Add(r.cell.Load.Duration))
	defer stop()
	var all sync.WaitGroup
	var happened, polled error
	all.Go(func() { happened = happen(watching, r, r.cell.Name, run.fault, r.cell.Events, with.Progress) })
	all.Go(func() { run.polls, polled = r.poll(watching, agent, run.fault) })
	if asked != nil {
		all.Go(func() { run.probe = asked.watch(watching, run.fault) })
	}
	all.Wait()
	if ctx.Err() != nil {
		return run, nil, ctx.Err()
	}
	for _, err := range []error{happened, polled} {
		if err != nil {
			return run, nil, err
		}
	}
	run.end = time.Now()
	if run.heard, err = with.hear(ctx, agent); err != nil {
		return run, nil, err
	}
	run.incidents = run.heard.incidents
	if remotes, err = agent.remotes(ctx); err != nil {
		return run, nil, err
	}
	for _, load := range loads {
		records, err := load.Wait(ctx)
		if err != nil {
			return run, nil, err
		}
		run.records = append(run.records, records...)
	}
	return run, remotes, nil
}

// poll asks the agent for both regions until ctx is done, and returns how often
// it knew of each after the fault.
func (r *regions) poll(ctx context.Context, agent *agent, fault time.Time) (polls Polls, err error) {
	for wait(ctx, 2*time.Second) == nil {
		knew := true
		for _, a := range r.areas {
			var answer scopeAnswer
			err := agent.Get(ctx, "/api/v1/scopes/region/"+a.name, &answer)
			if ctx.Err() != nil {
				return polls, nil
			}
			if err != nil {
				if err := agent.Check(); err != nil {
					return polls, fmt.Errorf("the agent: %w", err)
				}
			}
			value := answer.Signals["established"].Value
			knew = knew && err == nil && value != nil
		}
		if time.Now().After(fault) {
			polls.count(knew)
		}
	}
	return polls, nil
}

// remotes are the backends' addresses by the ids of their scopes.
func (a *agent) remotes(ctx context.Context) (map[string]netip.AddrPort, error) {
	var answer backendsAnswer
	if err := a.Get(ctx, "/api/v1/backends", &answer); err != nil {
		return nil, err
	}
	out := map[string]netip.AddrPort{}
	for _, g := range answer.Groups {
		for _, b := range g.Backends {
			out[b.ID] = b.Remote
		}
	}
	return out, nil
}

// RegionTable writes outcomes as Markdown: seconds since the fault, half of the
// runs and 95 % of them; and what was found that is not of the region that
// fails.
func RegionTable(outcomes []RegionOutcome) string {
	var b strings.Builder
	faults, healthy := split(courses(outcomes))
	if len(faults) > 0 {
		fmt.Fprintln(&b, "| fault | runs | expected | named as | found p50 | p95 | elsewhere | probe each 15 s p50 | check each 30 s × 3 (computed) | first error p50 | lost of requests | goals missed |")
		fmt.Fprintln(&b, "|---|---|---|---|---|---|---|---|---|---|---|---|")
	}
	for _, s := range faults {
		lost, asked := s.lost()
		i := slices.IndexFunc(outcomes, func(o RegionOutcome) bool { return o.Cell == s[0].Cell })
		check, elsewhere := "never", []string{}
		for _, c := range s {
			elsewhere = append(elsewhere, c.Siblings...)
		}
		slices.Sort(elsewhere)
		if c := outcomes[i].Checked; c != nil {
			check = fmt.Sprintf("%.0f–%.0f", c[0].Seconds(), c[1].Seconds())
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %s | %s | %s | %s | %s | %d of %d | %s |\n", s[0].Cell, len(s),
			strings.Join(outcomes[i].Expected, " or "), list(s.named()), tenths(s.quantile(0.5, foundAt)), tenths(s.quantile(0.95, foundAt)),
			list(slices.Compact(elsewhere)), tenths(s.quantile(0.5, probeAt)), check,
			tenths(s.quantile(0.5, failedAt)), lost, asked, list(s.missed()))
	}
	writeHealthy(&b, healthy)
	return b.String()
}

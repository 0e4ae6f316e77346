package detect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// RunBackend plays a cell with the agent in the balancer's namespace, or outside
// of a contained one, its fault later by phase; of the peers, blackbox_exporter
// asks through the balancer each 15 s.
func RunBackend(ctx context.Context, with With, cell BackendCell, phase time.Duration) (BackendOutcome, error) {
	cell = cell.shifted(phase)
	out := BackendOutcome{Course: Course{Cell: cell.Name, Fault: cell.Fault, Healthy: cell.Healthy}, Balancer: cell.Balancer.Name, Phase: phase}
	p, err := newPool(ctx, &cell)
	if err != nil {
		return out, err
	}
	defer p.world.Close()
	config, err := p.agentConfig()
	if err != nil {
		return out, err
	}
	agent, err := with.startAgent(ctx, p.watcher, p.world.Dir(), config)
	if err != nil {
		return out, err
	}
	defer agent.stop()
	p.agent = agent
	var asked *prober
	if with.Beside {
		if asked, err = startProber(ctx, p.client, p.world, p.url); err != nil {
			return out, err
		}
		defer asked.stop()
	}
	run, err := p.play(ctx, with, agent, asked)
	if err != nil {
		return out, err
	}
	if out.CPU, err = agent.cpuShare(); err != nil {
		return out, err
	}
	out.Contained = cell.Contained
	out.sum(cell, run)
	missed, err := with.keep(run.heard, out.Healthy, out.truths(cell.Goal, run.courseRun, p.guilty(run)...))
	out.Missed = append(out.Missed, missed...)
	return out, err
}

// guilty are the scopes that have the fault.
func (p *pool) guilty(run backendRun) []string {
	if p.cell.Goal.Host {
		return []string{hostScope}
	}
	failing := run.members[:1]
	if p.cell.Goal.All {
		failing = p.addrs()
	}
	var scopes []string
	for _, scope := range slices.Sorted(maps.Keys(run.remotes)) {
		if p.owns(scope) && slices.Contains(failing, run.remotes[scope]) {
			scopes = append(scopes, scope)
		}
	}
	return scopes
}

// agentConfig is the agent's configuration: the cell's, whom to ask for the
// balancer's opinion where it has one to ask. For a contained balancer every
// namespace of the machine is read, as by default: those of other cells, too.
func (p *pool) agentConfig() (string, error) {
	config := p.cell.Config
	if !p.cell.Contained {
		config = ownNamespace + config
	}
	ask := ""
	switch socket := p.balancer.StatsSocket(); {
	case socket != "":
		ask = fmt.Sprintf("  - {name: shop, process: {name: haproxy}, discover: {haproxy: {socket: %q}}, status: 1s}\n", socket)
	case strings.HasPrefix(p.cell.Balancer.Name, "traefik"):
		program, err := lab.TraefikProgram()
		if err != nil {
			return "", err
		}
		// A container's loopback is not the agent's: it asks from outside.
		api := "127.0.0.1"
		if p.cell.Contained {
			api = p.host.Addr().String()
		}
		ask = fmt.Sprintf("  - {name: shop, process: {exe: %q}, discover: {traefik: {api: \"http://%s:%d\"}}, status: 1s}\n", program, api, lab.TraefikAPI)
	default:
		return config, nil
	}
	if p.cell.Config == "" {
		ask = "backends:\n" + ask
	}
	return config + ask, nil // the cell's own ends in its list of backends
}

// play sends the load, makes the events happen, and watches.
func (p *pool) play(ctx context.Context, with With, agent *agent, asked *prober) (backendRun, error) {
	with.Progress(p.introduction("played"))
	load, began, err := p.startLoad(ctx)
	if err != nil {
		return backendRun{}, err
	}
	run := backendRun{courseRun: courseRun{fault: began.Add(p.cell.At)}, remotes: map[string]netip.AddrPort{}}
	for _, m := range p.members {
		run.members = append(run.members, m.addr())
	}
	p.fault = run.fault
	watching, stop := context.WithDeadline(ctx, began.Add(p.cell.Load.Duration))
	defer stop()
	var all sync.WaitGroup
	var happened, judged, named error
	all.Go(func() { happened = happen(watching, p, p.cell.Name, run.fault, p.cell.Events, with.Progress) })
	all.Go(func() { run.verdict, judged = p.awaitVerdict(watching, run.fault) })
	all.Go(func() { named = p.watchBackends(watching, agent, &run) })
	if asked != nil {
		all.Go(func() { run.probe = asked.watch(watching, run.fault) })
	}
	all.Wait()
	p.following.Wait()
	for _, f := range p.followed {
		run.followed = append(run.followed, *f)
	}
	if ctx.Err() != nil {
		return run, ctx.Err()
	}
	// The load has ended, and the clients have not all given up: what the
	// balancer's sockets show from here on is the end of the load.
	run.end = time.Now()
	if err = errors.Join(happened, judged, named); err == nil {
		run.heard, err = with.hear(ctx, agent)
	}
	run.incidents = p.ours(run.heard.incidents)
	if !p.restored.IsZero() {
		var failed error
		run.answered, failed = p.failing().run.FirstAsked(ctx)
		err = errors.Join(err, failed)
	}
	if err != nil {
		return run, err
	}
	run.records, err = load.Wait(ctx)
	return run, err
}

// ours are the incidents of the balancer's host. From a container's outside the
// agent sees those of every other world too, and what the clients' and the
// backends' hosts show of the same fault.
func (p *pool) ours(all []incident) []incident {
	return slices.DeleteFunc(slices.Clone(all), func(i incident) bool { return i.In != p.namespace() && i.In != "" })
}

// awaitVerdict asks the balancer until it holds the failing backend to be down,
// and returns when that was; zero when it never did. What it held before the
// fault is no verdict. An error means that it could not be asked at all.
func (p *pool) awaitVerdict(ctx context.Context, fault time.Time) (time.Time, error) {
	o := p.cell.Balancer.opinion
	failing := p.failing().addr()
	heard, before := false, 0
	var lastErr error
	for wait(ctx, o.every) == nil {
		asking, done := context.WithTimeout(ctx, opinionWait)
		down, err := o.down(asking, p)
		done()
		if err != nil {
			lastErr = err // a balancer that restarts has no opinion
			continue
		}
		heard = true
		times := 0
		for _, addr := range down {
			if addr == failing {
				times++
			}
		}
		if now := time.Now(); now.Before(fault) {
			before = times
		} else if times > before {
			return now, nil
		}
	}
	if !heard && lastErr != nil {
		return time.Time{}, fmt.Errorf("ask the balancer for its opinion: %w", lastErr)
	}
	return time.Time{}, nil
}

// watchBackends keeps asking which scope is which backend, as backends come and
// go, and what the agent sees of the balancer's, until ctx is done.
func (p *pool) watchBackends(ctx context.Context, agent *agent, run *backendRun) error {
	run.unseen = p.addrs()
	for {
		var answer backendsAnswer
		err := agent.Get(ctx, "/api/v1/backends", &answer)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		any := false
		for _, g := range answer.Groups {
			for _, b := range g.Backends {
				run.remotes[b.ID] = b.Remote
				if b.Established.Value != nil && p.owns(b.ID) {
					any = true
					run.unseen = slices.DeleteFunc(run.unseen, func(a netip.AddrPort) bool { return a == b.Remote })
				}
			}
		}
		if time.Now().After(run.fault) {
			run.polls.count(any)
		}
		if wait(ctx, 2*time.Second) != nil {
			return nil
		}
	}
}

// prober is blackbox_exporter on a host, asked each 15 s.
type prober struct {
	program *lab.Program
	client  *http.Client
	url     string
}

// probeEvery is how often people let it probe.
const probeEvery = 15 * time.Second

// startProber starts it, to ask target. A program that is missing is a
// *lab.ErrMissing.
func startProber(ctx context.Context, from *lab.Host, world *lab.World, target string) (*prober, error) {
	program, err := startBlackbox(ctx, from, world.Dir())
	if err != nil {
		return nil, fmt.Errorf("start prober: %w", err)
	}
	b := &prober{program: program, client: from.Client(), url: "http://" + blackboxAddress + "/probe?module=http_2xx&target=" + url.QueryEscape(target)}
	b.client.Timeout = probeEvery
	return b, nil
}

// watch probes until ctx is done and returns when the first probe after the
// fault failed, zero when none did.
func (b *prober) watch(ctx context.Context, fault time.Time) time.Time {
	for {
		begin := time.Now()
		ok, err := b.probe(ctx)
		if now := time.Now(); err == nil && !ok && begin.After(fault) {
			return now
		}
		if wait(ctx, time.Until(begin.Add(probeEvery))) != nil {
			return time.Time{}
		}
	}
}

// probe reports whether one probe succeeded.
func (b *prober) probe(ctx context.Context) (bool, error) {
	raw, err := lab.Get(ctx, b.client, b.url)
	if err != nil {
		return false, err
	}
	lines := strings.Split(string(raw), "\n")
	switch {
	case slices.Contains(lines, "probe_success 1"):
		return true, nil
	case slices.Contains(lines, "probe_success 0"):
		return false, nil
	}
	return false, fmt.Errorf("probe: no probe_success in %.80q", raw)
}

func (b *prober) stop() {
	_ = b.program.End(os.Kill)
	b.client.CloseIdleConnections()
}

package agent

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/certificate"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/dial"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/notify"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/observe/discover"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// agent is the state that Run's goroutines share. The pipeline itself belongs
// to the loop alone; others ask the loop, or read snapshots.
type agent struct {
	options Options
	config  config.Config // the loop's, once it runs
	// startConfig is the configuration at the start, and never changes.
	startConfig config.Config
	lessons     *lessons
	rules       []rule.Rule    // of the configuration at the start
	regions     []scope.Region // the same
	ranges      rangeFiles     // newAgent's, then watchReloads'
	log         *slog.Logger
	host        string
	clock       *Clock
	started     time.Time
	requests    chan request
	reloads     chan chan error // each has room for its answer
	keeper      *keeper
	notices     *notices // its planner is the loop's
	heart       *heart
	follower    *follower
	looked      atomic.Int64 // when a look of the own namespace last succeeded: nanoseconds since started
	dialer      *dial.Dialer // of every connection that we make
	recorder    *recorder
	playing     chan struct{} // room for the one request that plays what was kept
	responses   *responder
	// pools are those of the configuration in use; poolsChanged, with room for
	// one, says that they are others.
	pools        atomic.Pointer[[]config.Backends]
	poolsChanged chan struct{}
	// certificate is what is served with; nil where that is plain HTTP.
	certificate *certificate.Store
	// refused is how much is wrong with the configuration that was last tried,
	// tokenLost why a token cannot be read any more, and certificateBad what is
	// wrong with the certificate or its files; nil where nothing is.
	refused, tokenLost, certificateBad atomic.Pointer[string]
	// run starts lanes beside the others; set before the loop runs.
	run func([]*notify.Lane)

	// Of the loop alone.
	own        ownTrouble
	troubledAt time.Time
	leftOut    leftOut

	logged    map[uint64]logged
	tierErrs  [tcp.NumTiers]string
	lastLife  uint64 // of the incidents that were published
	incidents []judge.Incident
	silences  silences

	*desk
}

// keep remembers what a tick brought, and publishes it when it is due.
func (a *agent) keep(h *Host, incidents []judge.Incident) {
	a.incidents = incidents
	due, whole := a.due()
	if due || a.responses.changed || h.court.Life() != a.lastLife || !a.latest().Ready && a.ready(h.own) {
		a.lastLife = h.court.Life()
		a.publish(h, whole)
	}
}

// ready: every tier has looked or tried to, the pulse once more since the
// services are known.
func (a *agent) ready(p *Pipeline) bool {
	pulse, full := &p.status[tcp.Pulse], &p.status[tcp.Full]
	if pulse.failed > 0 {
		return full.looks+full.partial+full.failed > 0
	}
	return full.looks+full.partial+full.failed > 0 && !p.discovered.IsZero() && pulse.last.Begin.After(p.discovered)
}

// publish makes a snapshot of everything, the scopes' signals only where it is
// to be whole.
func (a *agent) publish(h *Host, whole bool) {
	p := h.own
	s := &api.Snapshot{
		Host: a.host, Labels: maps.Clone(a.config.Labels), Version: a.options.Version,
		StartedAt: a.started, At: a.clock.Now(), ClockOffset: a.clock.Offset(),
		Ready:     a.ready(p),
		Services:  h.services(), // each replaced whole, never changed
		Backends:  h.backends(), // the same
		Regions:   h.regions(),
		Pools:     pools(h.pipelines()),
		Incidents: slices.Clone(a.incidents),
		Looks:     p.lookStatus(),
		Budget:    api.Budget{Allowed: a.config.Observe.CPUBudget, Used: h.budget.Used()},
		Limits:    append(h.limits(), a.learnedWhere()...),
		History:   a.keeper.shown(),
		Heartbeat: a.heart.shown(),
		Silences:  a.silences.list.Going(a.wall()),

		Namespaces: h.namespaces(),
		Channels:   a.notices.status(),
		Reader:     p.status[tcp.Pulse].last.Reader,
	}
	s.Actions, s.Responses, s.Hooks = a.responses.shown(a.clock.Offset(), a.incidents)
	if limit, there := a.keeper.limit(); there {
		s.Limits = append(s.Limits, limit)
	}
	if whole {
		s.View = h.view()
		for i := range s.View.Scopes {
			s.View.Scopes[i].Examples = slices.Clone(s.View.Scopes[i].Examples)
			s.View.Scopes[i].Prefixes = slices.Clone(s.View.Scopes[i].Prefixes)
		}
	}
	a.desk.publish(s, whole)
}

// lookStatus is how each tier does.
func (p *Pipeline) lookStatus() []api.LookStatus {
	var out []api.LookStatus
	for _, t := range []tcp.Tier{tcp.Pulse, tcp.Focus, tcp.Odd, tcp.Full} {
		st := &p.status[t]
		l := api.LookStatus{
			Tier: t, Wanted: observe.Wanted(t), Interval: p.schedule.Interval(t), Cost: p.schedule.Cost(t),
			Last: st.last, Seen: p.schedule.Seen(t), Looks: st.looks, Partial: st.partial, Failed: st.failed, Covered: p.schedule.Covered(t),
		}
		if st.err != nil {
			l.LastError = st.err.Error()
		}
		out = append(out, l)
	}
	return out
}

// limits is what cannot be seen here, and why, but for the problems with
// services that leaveOut names; nil names none.
func (p *Pipeline) limits(leaveOut func(discover.Problem) bool) []api.Limit {
	out := []api.Limit{
		{Subject: "QUIC and UDP", Reason: "not TCP: the kernel's TCP table does not hold them"},
		{Subject: "unix sockets", Reason: "not TCP: a server behind one, as PHP-FPM often is, cannot be seen"},
		{Subject: "connections shorter than a look", Reason: "they are counted (passive_opens_per_second), not seen one by one"},
	}
	if p.fallback != nil {
		out = append(out, api.Limit{Subject: "sock_diag", Reason: "refused, /proc/net/tcp is read instead: " + p.fallback.Error()})
	}
	for _, lost := range p.reader.Abilities().Missing() {
		out = append(out, api.Limit{Subject: "reader", Reason: lost})
	}
	if p.ownersE != nil {
		out = append(out, api.Limit{Subject: "owners of sockets", Reason: "the last search failed, those known before stay: " + p.ownersE.Error()})
	}
	for _, reason := range p.unseen.Reasons() {
		out = append(out, api.Limit{Subject: "owners of sockets", Reason: reason})
	}
	if p.countersE != nil {
		out = append(out, api.Limit{Subject: "counters", Reason: p.countersE.Error()})
	}
	return append(out, p.servicesLimits(leaveOut)...)
}

func (p *Pipeline) servicesLimits(leaveOut func(discover.Problem) bool) []api.Limit {
	var out []api.Limit
	for i := range p.services {
		if s := &p.services[i]; s.Workers.Problem != "" {
			out = append(out, api.Limit{Subject: "workers of " + s.ID().String(), Reason: s.Workers.Problem})
		}
	}
	if err := p.place.processes.err; err != nil && p.place.name == "" {
		out = append(out, api.Limit{Subject: "backends", Reason: "the processes could not be searched for balancers, those known before stay: " + err.Error()})
	}
	if n := p.finder.left; n > 0 {
		out = append(out, api.Limit{Subject: "backends", Reason: plural(n, "connection", "connections") + " to more peers than are gathered at once: whether these are backends was not looked at"})
	}
	if err := p.finder.untracked; err != nil {
		out = append(out, api.Limit{Subject: "service addresses", Reason: err.Error()})
	}
	for i := range p.finder.backends {
		if b := &p.finder.backends[i]; b.Limit != "" {
			out = append(out, api.Limit{Subject: "backend/" + b.Name, Reason: b.Limit})
		}
	}
	for i := range p.regions {
		if r := &p.regions[i]; r.Limit != "" && p.place.name == "" {
			out = append(out, api.Limit{Subject: "region/" + r.Name, Reason: r.Limit})
		}
	}
	for _, problem := range p.problems {
		if leaveOut == nil || !leaveOut(problem) {
			service := scope.ID{Kind: scope.KindService, Name: problem.Service, Namespace: p.place.name}
			out = append(out, api.Limit{Subject: service.String(), Reason: problem.String()})
		}
	}
	return out
}

// logged is what the log has said of an incident: its state, and how bad it
// has been.
type logged struct {
	state judge.State
	peak  judge.Severity
}

// report logs changes of state: of incidents, and of looks that fail or work
// again. Ticks are not logged.
func (a *agent) report(incidents []judge.Incident, turn Turn, err error) {
	tier, text := turn.Tier, ""
	if err != nil {
		text = err.Error()
	}
	if turn.of.place.name != "" {
		if err != nil { // its readers are given up after a few, and the limits say so
			a.log.Warn("look failed", "tier", tier.String(), "error", text)
		}
	} else if text != a.tierErrs[tier] {
		if text != "" {
			a.log.Error("look failed: trying again", "tier", tier.String(), "error", text)
		} else {
			a.log.Info("look works again", "tier", tier.String())
		}
		a.tierErrs[tier] = text
	}
	if a.logged == nil {
		a.logged = make(map[uint64]logged)
	}
	if len(a.logged) > 2*len(incidents)+16 { // those long forgotten
		maps.DeleteFunc(a.logged, func(id uint64, _ logged) bool {
			return !slices.ContainsFunc(incidents, func(i judge.Incident) bool { return i.ID == id })
		})
	}
	for i := range incidents {
		inc := &incidents[i]
		said := logged{inc.State, inc.Peak}
		if a.logged[inc.ID] == said || inc.State == judge.Suspected {
			continue
		}
		a.logged[inc.ID] = said
		level := slog.LevelWarn
		if inc.State == judge.Resolved {
			level = slog.LevelInfo
		}
		a.log.Log(context.Background(), level, "incident "+inc.State.String(), //nolint:sloglint // one message per state is the point
			"id", inc.ID, "scope", inc.Finding.Scope.String(), "cause", inc.Finding.Cause.String(),
			"severity", inc.Finding.Severity.String(), "says", inc.Finding.Sentence, "end", inc.End.String())
	}
}

// monotonicMicroseconds is CLOCK_MONOTONIC, as the service manager wants it.
func monotonicMicroseconds() int64 { return cpuTime(unix.CLOCK_MONOTONIC).Microseconds() }

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

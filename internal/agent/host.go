package agent

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/court"
	"github.com/foreshock/foreshock/internal/dial"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/observe/spaces"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// The scan for namespaces walks all processes; searching the owners of sockets
// walks their descriptors too. Neither may take more of the budget than its
// share.
const (
	scanEvery = 2 * time.Second
	scanShare = 0.05
	// wideTimes its cost is the pause after a search among all processes for
	// sockets that nobody in their namespace holds. unownedAfter is how long a
	// service waits for it to get its name.
	wideTimes    = 1000
	unownedAfter = 4 * time.Second
	// maxFailures is how many looks of another namespace may fail on end before
	// its readers are given up for a while.
	maxFailures = 3
)

// Host is every namespace's pipeline: its own, and those of the others that
// can be read, all within one budget. Like a Pipeline it starts no goroutine
// and keeps no clock, and is not safe for concurrent use; its methods must be
// called on one locked thread.
type Host struct {
	cfg     config.Config
	court   *court.Court
	numbers *judge.Numbers // of the incidents of all
	source  observe.Source
	scratch *tcp.Scratch
	budget  *observe.Budget

	regionSet *regionSet
	switches  []scope.Switch

	own    *Pipeline
	others []*resident // by name
	of     map[*observe.Schedule]*resident

	roster   *spaces.Roster
	only     func(netns.Found) bool // the namespaces a test chooses; nil reads all
	scanAt   time.Time
	scanErr  error
	unseen   netns.Limits
	searchAt time.Time // owners are not searched again before
	wideAt   time.Time // nor among the processes of all namespaces
	// nobodys are listeners whose holder a search among all did not find, by
	// inode: a process that the kernel hides from us, perhaps.
	nobodys map[uint64]bool
	wanting time.Time // since when listeners wait for it; zero: none does
	// norms are what was learned over days, of all namespaces.
	norms map[normKey]measure.Norm
}

// resident is one namespace of the host, with the results of its last tick.
type resident struct {
	*Pipeline
	space    spaces.Space
	view     *measure.View
	failures int // on end
}

// Turn is one look of one namespace.
type Turn struct {
	of   *resident
	Tier tcp.Tier
}

// NewHost opens the calling thread's namespace; the others are found by the
// ticks that follow.
//
// rules are the configuration's; probes made the connections that no count is
// to have.
func NewHost(cfg config.Config, rules []rule.Rule, source observe.Source, probes *dial.Dialer) (*Host, error) {
	h := &Host{
		cfg: cfg, source: source, scratch: tcp.NewScratch(), budget: observe.NewBudget(cfg.Observe.CPUBudget),
		of: map[*observe.Schedule]*resident{}, roster: spaces.New(spaces.Most), numbers: &judge.Numbers{}, norms: map[normKey]measure.Norm{},
	}
	at, err := ownPlace(h.budget, source, h.scratch)
	if err != nil {
		return nil, err
	}
	h.court = court.New(rules, h.numbers)
	at.court = h.court
	at.processes.listeners, at.probes = h.listeners, probes
	if h.own, err = newPipeline(cfg, at); err != nil {
		return nil, err
	}
	h.of[h.own.schedule] = &resident{Pipeline: h.own}
	return h, nil
}

// newOwnHost opens the calling thread's namespace and no other.
func newOwnHost(cfg config.Config, source observe.Source) (*Host, error) {
	rules, _, err := Rules(cfg, "the configuration")
	if err != nil {
		return nil, err
	}
	regions, err := Regions(cfg, "the configuration")
	if err != nil {
		return nil, err
	}
	cfg.Observe.Namespaces = config.HostNamespace
	h, err := NewHost(cfg, rules, source, dial.New())
	if err == nil {
		h.SetRegions(regions)
	}
	return h, err
}

// Close lets go of all namespaces.
func (h *Host) Close() error {
	err := h.own.Close()
	for _, r := range h.others {
		err = errors.Join(err, r.Close())
	}
	return err
}

// Configure takes over a new configuration. Windows and incidents stay, but
// for those of rules, or of namespaces, that are no longer wanted.
func (h *Host) Configure(now time.Time, cfg config.Config, rules []rule.Rule) {
	h.cfg = cfg
	h.court.SetRules(now, rules)
	h.budget.SetShare(cfg.Observe.CPUBudget)
	h.own.Configure(now, cfg)
	if cfg.Observe.Namespaces == config.HostNamespace {
		for _, id := range h.roster.Clear() {
			h.leave(now, id)
		}
	}
	for _, r := range h.others {
		r.Configure(now, cfg)
	}
	h.scanAt = time.Time{}
}

// Acknowledge marks an incident of any namespace as taken, and reports whether
// there is one of that number.
func (h *Host) Acknowledge(now time.Time, id uint64, by string) bool {
	return h.court.Acknowledge(now, id, by)
}

// NumberAfter gives the next incident a number above last, where it would not
// have one.
func (h *Host) NumberAfter(last uint64) { h.numbers.After(last) }

// LastNumber is the highest number that any incident of this run has; what it
// began after where there was none.
func (h *Host) LastNumber() uint64 { return h.numbers.Last() }

// Next returns the look to make next, and when.
func (h *Host) Next(now time.Time) (Turn, time.Time) {
	s, tier, at := h.budget.Next(now)
	return Turn{h.of[s], tier}, at
}

// Tick makes one look and returns all incidents of the host as they then are:
// the suspected and the open ones, then the lately resolved, newest first. They
// are good until the next Tick. An error says that this look failed; where it
// is netns.ErrStuck the calling goroutine must end.
func (h *Host) Tick(now time.Time, t Turn) ([]judge.Incident, error) {
	r := t.of
	var err error
	_, r.view, err = r.Tick(now, t.Tier)
	if err != nil && r.place.name != "" {
		err = fmt.Errorf("namespace %s: %w", r.place.name, err)
	}
	if r.failures++; err == nil {
		r.failures = 0
	}
	if r.place.name != "" && r.failures == maxFailures {
		h.roster.Refused(r.space.ID, now, err)
		h.leave(now, r.space.ID)
	}
	if t.Tier == tcp.Pulse && r.Pipeline == h.own {
		if scanErr := h.scan(now); scanErr != nil {
			return h.court.Incidents(now), scanErr
		}
		h.search(now)
	}
	return h.court.Incidents(now), err
}

// scan looks for namespaces that came and went.
func (h *Host) scan(now time.Time) error {
	if h.cfg.Observe.Namespaces == config.HostNamespace || now.Before(h.scanAt) {
		return nil
	}
	began := threadTime()
	found, limits, err := netns.List(procRoot)
	if h.scanErr = err; err != nil {
		h.scanAt = now.Add(scanEvery) // what is read goes on being read
		return nil
	}
	h.unseen = limits
	if h.only != nil {
		found = slices.DeleteFunc(found, func(f netns.Found) bool { return !h.only(f) })
	}
	open, gone := h.roster.Scan(now, found, nameOf)
	for _, id := range gone {
		h.leave(now, id)
	}
	for _, s := range open {
		if err := h.join(s); err != nil {
			h.roster.Refused(s.ID, now, err)
			if errors.Is(err, netns.ErrStuck) {
				return err
			}
		}
	}
	cost := time.Duration(float64(threadTime()-began) / (h.budget.Share() * scanShare))
	h.scanAt = now.Add(max(scanEvery, min(cost, time.Minute)))
	return nil
}

// nameOf names a namespace by its first process.
func nameOf(f netns.Found) string {
	var cgroup []byte
	if f.PID != 0 {
		cgroup, _ = os.ReadFile(procRoot + "/" + strconv.Itoa(f.PID) + "/cgroup") // it ends right now: named without
	}
	return spaces.Name(f, cgroup)
}

// join opens a namespace's readers.
func (h *Host) join(s spaces.Space) error {
	p, err := newPipeline(h.cfg, place{
		name: s.Label, namespace: s.ID, budget: h.budget, court: h.court, processes: h.own.place.processes, probes: h.own.place.probes,
		open:  func() (observe.Space, error) { return observe.OpenIn(procRoot, s.Found, h.source, h.scratch) },
		enter: s.Do, steps: h.own.place.steps,
	})
	if err != nil {
		return err
	}
	p.tallier.frames = h.own.tallier.frames
	p.setRegions(h.regionSet)
	if len(h.switches) > 0 {
		p.setSwitches(h.switches)
	}
	p.norms = h.normsOf(s.Label)
	r := &resident{Pipeline: p, space: s}
	h.of[p.schedule] = r
	at, _ := slices.BinarySearchFunc(h.others, s.Label, func(r *resident, name string) int { return strings.Compare(r.place.name, name) })
	h.others = slices.Insert(h.others, at, r)
	return nil
}

// leave closes a namespace's readers, which lets the kernel end it.
func (h *Host) leave(now time.Time, id tcp.Namespace) {
	at := slices.IndexFunc(h.others, func(r *resident) bool { return r.space.ID == id })
	if at < 0 {
		return
	}
	r := h.others[at]
	h.others = slices.Delete(h.others, at, at+1)
	delete(h.of, r.schedule)
	h.budget.Remove(r.schedule)
	_ = r.Close() // nothing is left to be done about it
	r.place.step(measure.Step{Namespace: r.place.name, At: now, Left: true})
}

// pipelines are those of all namespaces, our own first.
func (h *Host) pipelines() []*Pipeline {
	out := []*Pipeline{h.own}
	for _, r := range h.others {
		out = append(out, r.Pipeline)
	}
	return out
}

// services are those of all namespaces, our own first.
func (h *Host) services() []scope.Service {
	out := slices.Clip(h.own.services)
	for _, r := range h.others {
		out = append(out, r.services...)
	}
	return out
}

// backends are those of all namespaces, our own first.
func (h *Host) backends() []scope.Backend {
	out := slices.Clip(h.own.finder.backends)
	for _, r := range h.others {
		out = append(out, r.finder.backends...)
	}
	return out
}

// view is every scope of the host, our own namespace's first; those of idle
// ones are left out. The examples and prefixes are the pipelines': good until
// the next Tick.
func (h *Host) view() measure.View {
	own := h.of[h.own.schedule]
	if own.view == nil {
		return measure.View{}
	}
	out := measure.View{At: own.view.At, Scopes: slices.Clone(own.view.Scopes)}
	for _, r := range h.others {
		if r.view != nil && !r.schedule.Idle() {
			out.Scopes = append(out.Scopes, r.view.Scopes...)
		}
	}
	return out
}

package agent

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/court"
	"github.com/foreshock/foreshock/internal/dial"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/observe/counters"
	"github.com/foreshock/foreshock/internal/observe/discover"
	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// procRoot is where the kernel shows processes.
const procRoot = "/proc"

// Pipeline is one namespace's way from the kernel to incidents: look, measure,
// judge. It starts no goroutine and keeps no clock; its Host calls Tick, and
// tells it who owns its listeners. It is not safe for concurrent use.
type Pipeline struct {
	reader    observe.Reader
	fallback  error // why procfs took sock_diag's place
	began     ableTo
	stuck     error // the thread is in another namespace and must end
	counters  *counters.Reader
	countersE error // why some counters are missing
	place     place

	configured []discover.Configured
	services   []scope.Service
	// workersFrom is by the name of a configured service; capacityAt is when
	// limits and descriptors are read next.
	workersFrom map[string]config.WorkersFrom
	capacityAt  time.Time
	limitsRead  map[string]readLimit // by service
	answers     *limitAnswers        // to what is read beside the loop
	ports       measure.Ports        // as last read
	finder      backendFinder
	regions     []scope.Region // those that are scopes
	newRegions  *regionSet     // to be taken over; nil when there are none
	switches    []scope.Switch // those that are scopes
	newSwitches []scope.Switch // to be taken over, where switched
	switched    bool
	index       *scope.Index // of services
	problems    []discover.Problem
	listeners   listenerSet
	discovered  time.Time
	wanting     time.Time // since when its listeners wait for the Host's search; zero: they do not
	ownCounts   ownCounts
	counted     [2]tcp.Counters // by the last two pulses, in turn
	countedNow  int
	listenedAt  time.Time // when the listeners were last asked for
	repeated    bool      // the last pulse found nothing moved
	rested      bool      // and was not judged
	view        *measure.View
	atPeace     bool // there was no incident at the last step
	owners      map[uint64][]owner.Process
	unseen      owner.Limits
	ownersE     error // why the owners are not all known; the search goes on

	tallier  *tallier
	opinions []measure.Opinion  // since the last step
	norms    []measure.Norm     // the same
	resolved []measure.Answered // the same
	budget   *observe.Budget
	schedule *observe.Schedule
	alarm    measure.Alarm

	status [tcp.NumTiers]tierStatus
	look   tcp.Look // of the tick under way
	inUse  map[scope.ID]bool
	// Bound once, so that a look allocates nothing.
	addAny, addPulse func([]tcp.Socket)
}

// tierStatus counts what became of a tier's looks.
type tierStatus struct {
	last                   tcp.Look
	looks, partial, failed uint64
	err                    error
	// bad is how many on end failed or were partial, the first at badSince.
	bad      int
	badSince time.Time
}

// A change among the listeners waits so long for the next search of owners: it
// walks every process, and listeners come in bursts. Where one search costs
// much, the next waits for rediscoverTimes of that.
const (
	rediscoverAfter = 2 * time.Second
	rediscoverTimes = 200
)

// wideFocus is how many ports a focus filter takes in without asking whether
// anybody uses them.
const wideFocus = 32

// place is which namespace a pipeline reads, and what it shares with those of
// the host's others.
type place struct {
	name      string // as scopes have it; empty for our own
	namespace tcp.Namespace
	open      func() (observe.Space, error)
	enter     func(func() error) error // runs a function in the namespace, on the calling thread
	budget    *observe.Budget
	court     *court.Court
	processes *processes
	// probes are the agent's own connections, left out of every count.
	probes *dial.Dialer
	// steps, when set, is given what each step is about to take; it must keep
	// nothing of it.
	steps func(measure.Step)
}

// step has the court judge, and tells who wants to know.
func (at *place) step(s measure.Step) ([]judge.Incident, *measure.View) {
	if at.steps != nil {
		at.steps(s)
	}
	return at.court.Step(s)
}

// ownPlace is the calling thread's namespace.
func ownPlace(budget *observe.Budget, source observe.Source, scratch *tcp.Scratch) (place, error) {
	namespace, err := netns.Self()
	if err != nil {
		return place{}, fmt.Errorf("find our network namespace: %w", err)
	}
	return place{
		namespace: namespace, budget: budget, court: court.New(nil, &judge.Numbers{}), processes: &processes{}, probes: dial.New(),
		open:  func() (observe.Space, error) { return observe.OpenOwn(source, scratch) },
		enter: func(f func() error) error { return f() },
	}, nil
}

// newPipeline opens the readers of a place.
func newPipeline(cfg config.Config, at place) (*Pipeline, error) {
	space, err := at.open()
	if err != nil {
		return nil, fmt.Errorf("open the socket table: %w", err)
	}
	p := &Pipeline{
		reader: space.Reader, fallback: space.Fallback, counters: space.Counters, countersE: space.CountersErr, place: at,
		tallier: &tallier{Tallier: measure.NewTallier(at.name), namespace: at.name},
		budget:  at.budget,
		inUse:   make(map[scope.ID]bool),

		limitsRead: make(map[string]readLimit), answers: &limitAnswers{},
	}
	p.addAny = func(batch []tcp.Socket) {
		batch = p.place.leaveOut(batch)
		p.tallier.Add(batch)
		if p.finder.gathering {
			p.finder.peers.Add(batch, p.index)
		}
	}
	p.began = p.able()
	p.schedule = p.budget.Add()
	p.addPulse = func(batch []tcp.Socket) {
		p.listeners.add(batch)
		p.tallier.Add(batch)
	}
	p.configured, p.workersFrom = configuredServices(cfg), workersFrom(cfg)
	p.finder.configure(cfg)
	p.index = scope.NewIndex(nil)
	return p, nil
}

func configuredServices(cfg config.Config) []discover.Configured {
	var out []discover.Configured
	for _, s := range cfg.Services {
		out = append(out, discover.Configured{Name: s.Name, Listen: s.Listen})
	}
	return out
}

// Configure takes over a new configuration. Windows and incidents stay.
func (p *Pipeline) Configure(now time.Time, cfg config.Config) {
	p.configured, p.workersFrom = configuredServices(cfg), workersFrom(cfg)
	p.finder.configure(cfg)
	p.finder.rebuild(now, p.place.name)
	p.discover()
}

// Close lets go of the readers.
func (p *Pipeline) Close() error {
	err := p.reader.Close()
	if p.counters != nil {
		err = errors.Join(err, p.counters.Close())
	}
	return err
}

// Tick makes one look of the given tier at now, and returns the incidents as
// they then are. An error says that this look failed; the incidents are those
// of a moment with no new evidence. The results are good until the next Tick.
func (p *Pipeline) Tick(now time.Time, tier tcp.Tier) ([]judge.Incident, *measure.View, error) {
	tallies, err := p.observe(now, tier)
	tallies.Opinions, tallies.Norms, tallies.Answers = p.opinions, p.norms, p.resolved
	if stuck := cmp.Or(p.stuck, p.finder.stuck); stuck != nil {
		err = stuck
	}
	if p.rests(tier, err) {
		return nil, p.view, nil
	}
	incidents, view := p.place.step(measure.Step{Namespace: p.place.name, At: now, Tallies: tallies})
	p.opinions, p.norms, p.resolved = p.opinions[:0], p.norms[:0], p.resolved[:0]
	p.view, p.atPeace = view, len(incidents) == 0
	if tier == tcp.Pulse {
		if p.alarm.Jumped(view.Host()) {
			p.schedule.Hurry()
		}
		// What a backend does is over in the next second: refused and reset
		// connections leave no socket.
		if len(p.finder.backends)+len(p.regions) > 0 && judge.Unusual(view.Host()) {
			p.schedule.Glance(now)
		}
	}
	if tier != tcp.Pulse && waits(view) {
		p.schedule.Glance(now)
	}
	if judge.Suspicious(incidents) {
		p.schedule.Suspect(now)
	}
	return incidents, view, err
}

// waits reports whether some backend or region has been silent for a while
// though asked: in a second or two it will be known why.
func waits(view *measure.View) bool {
	for i := range view.Scopes {
		s := &view.Scopes[i]
		if s.Scope.Kind != scope.KindBackend && s.Scope.Kind != scope.KindRegion || !s.Fresh {
			continue
		}
		silent, owes := s.Get(measure.Silent).Get()
		if late, known := s.Get(measure.PendingLate).Get(); owes && known && late >= 2 && silent >= 1 {
			return true
		}
	}
	return false
}

// observe makes the look and counts it per scope.
func (p *Pipeline) observe(now time.Time, tier tcp.Tier) (measure.Tallies, error) {
	began := threadTime()
	p.place.probes.Begin(now)
	p.look = tcp.Look{Namespace: p.place.namespace, Request: p.request(tier), Begin: now}
	p.tallier.Begin(p.look)
	p.finder.begin(now, tier, p.place)
	var look tcp.Look
	var err error
	if tier == tcp.Pulse {
		look, err = p.pulse(now)
	} else {
		look, err = p.reader.Read(p.look.Request, p.addAny)
	}
	look.Begin, look.Namespace = now, p.place.namespace
	look.CPU = threadTime() - began
	p.schedule.Looked(tier, now, look.CPU)
	p.record(tier, look, err)
	if err != nil {
		return measure.Tallies{Look: tcp.Look{Request: p.look.Request, Begin: now}}, fmt.Errorf("%s look: %w", tier, err)
	}
	tallies := p.tallier.End(look, p.schedule.Interval(tier))
	p.noteUse(tallies)
	if tier == tcp.Pulse && look.Judgeable() && (p.listeners.changed() || p.ownersE != nil) && p.wanting.IsZero() {
		p.wanting = now
	}
	if tier == tcp.Pulse {
		p.takeLimits(now)
	}
	if tier == tcp.Pulse && !now.Before(p.capacityAt) {
		before := threadTime()
		p.capacities()
		p.capacityAt = now.Add(max(capacityEvery, p.budget.Pause(threadTime()-before, capacityShare)))
	}
	found := tier == tcp.Pulse && !p.schedule.Idle() && p.finder.keepUp(now, p.place)
	found = tier == tcp.Pulse && look.Judgeable() && p.takeRegions() || found
	found = tier == tcp.Pulse && look.Judgeable() && p.takeSwitches() || found
	found = p.tallier.AddMet() || found
	found = p.finder.gathering && look.Judgeable() && p.finder.find(now, p.place) || found
	if p.finder.meet(now, p.tallier.Strangers(), p.place) || found {
		p.setScopes()
	}
	return tallies, nil
}

func (p *Pipeline) record(tier tcp.Tier, look tcp.Look, err error) {
	s := &p.status[tier]
	s.err = err
	if s.bad++; err == nil && look.Judgeable() {
		s.bad = 0
	} else if s.bad == 1 {
		s.badSince = look.Begin
	}
	switch {
	case err != nil:
		s.failed++
		p.reopen()
	case !look.Judgeable():
		s.partial++
		s.last = look
	default:
		s.looks++
		s.last = look
	}
}

// reopen replaces a reader that failed; the old one stays when even that does
// not work, and the next look tries again. Another namespace's readers know how
// to open their files again; while they are held no other can take its place.
func (p *Pipeline) reopen() {
	if p.place.name != "" {
		return
	}
	space, err := p.place.open()
	if err != nil {
		return
	}
	_ = p.Close()
	p.reader, p.fallback, p.counters, p.countersE = space.Reader, space.Fallback, space.Counters, space.CountersErr
}

// discover works out the services from the listeners, whose owners are known,
// and the configuration.
func (p *Pipeline) discover() {
	p.services, p.problems = p.discoverHere(p.listeners.rows)
	p.finder.relisten()
	p.index = scope.NewIndex(p.services)
	p.setScopes()
	p.capacityAt = time.Time{}
	inUse := p.inUse
	p.inUse = make(map[scope.ID]bool, len(p.services))
	for i := range p.services {
		if id := p.services[i].ID(); inUse[id] {
			p.inUse[id] = true
		}
	}
	for i := range p.regions {
		if id := p.regions[i].ID(); inUse[id] {
			p.inUse[id] = true
		}
	}
	p.sides(func(id scope.ID, _ []netip.Prefix) {
		if inUse[id] {
			p.inUse[id] = true
		}
	})
}

// setScopes tells the tally which services and backends there are, and takes
// over which regions and switches it has.
func (p *Pipeline) setScopes() {
	p.tallier.SetScopes(p.services, p.finder.backends)
	p.tallier.SetPorts(p.ports)
	p.regions, p.switches = p.tallier.Regions(nil), p.tallier.Switches(nil)
	p.schedule.SetFocusing(len(p.services)+len(p.finder.backends)+len(p.regions)+len(p.switches) > 0)
	if len(p.finder.backends) > 0 && p.ports.Available == 0 {
		p.capacityAt = time.Time{}
	}
}

// threadTime is the processor time of the calling thread.
// Kernel: clock_gettime(2), CLOCK_THREAD_CPUTIME_ID.
func threadTime() time.Duration { return cpuTime(unix.CLOCK_THREAD_CPUTIME_ID) }

// processTime is the processor time of the whole process.
func processTime() time.Duration { return cpuTime(unix.CLOCK_PROCESS_CPUTIME_ID) }

func cpuTime(clock int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

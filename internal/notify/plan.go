package notify

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/silence"
)

// RepeatEvery is how often Alertmanager is told of an incident that lasts. It
// is Prometheus's own default (rules.alert.resend-delay).
const RepeatEvery = time.Minute

// MaxThreads bounds what is remembered of what is over: the oldest goes.
const MaxThreads = 10_000

// Planner decides who is told what. It is pure: no clock, no I/O; its memory
// is what each channel was told. Not safe for concurrent use.
type Planner struct {
	cfg     Config
	outlets []outlet // of the channels, by position
	threads map[subject]*thread
	order   []*thread // as they came
	step    uint64
	offset  time.Duration // of the last Plan
	// awaitedSince is when the first Plan after Restore was; zero before.
	awaitedSince time.Time
	changed      map[memoryKey]bool
	due          []news // kept for the next Plan
	// byNumber are the incidents of this step where any explains another.
	byNumber map[uint64]*judge.Incident
}

// subject is what incidents are about, one after the other: for a channel they
// are one thread. A judge has at most one of it open.
type subject struct {
	scope scope.ID
	cause judge.Cause
	rule  string
}

// about is what an incident is about.
func about(inc *judge.Incident) subject {
	return subject{inc.Finding.Scope, inc.Finding.Cause, inc.Finding.Rule}
}

// thread is a subject, what becomes of it, and what each channel knows.
type thread struct {
	subject
	matched silence.Subject // what matchers see, but for the severity
	told    []*told         // by the position of the channel; nil: nothing
	// Of the step seen: the open incident, else the one that ended last.
	seen      uint64
	incident  *judge.Incident
	suspected bool
}

// NewPlanner returns a Planner that has told nobody anything.
func NewPlanner(cfg Config) *Planner {
	p := &Planner{threads: make(map[subject]*thread), changed: make(map[memoryKey]bool), byNumber: make(map[uint64]*judge.Incident)}
	p.Configure(cfg)
	return p
}

// Configure sets the host's words and the channels anew. A channel that stays,
// by name and kind, keeps what it was told; a new one is told of what is open
// now.
func (p *Planner) Configure(cfg Config) {
	cfg.Labels, cfg.Channels = maps.Clone(cfg.Labels), slices.Clone(cfg.Channels)
	if cfg.Labels == nil {
		cfg.Labels = map[string]string{}
	}
	before, outlets := p.cfg.Channels, p.outlets
	p.cfg, p.outlets = cfg, make([]outlet, len(cfg.Channels))
	from := make([]int, len(cfg.Channels)) // where each was; -1: nowhere
	for i := range cfg.Channels {
		from[i] = slices.IndexFunc(before, func(c Channel) bool { return c.id() == cfg.Channels[i].id() })
		if from[i] >= 0 {
			p.outlets[i] = outlets[from[i]]
		}
	}
	for _, t := range p.order {
		was := t.told
		for i := range was {
			if was[i] != nil && !slices.Contains(from, i) {
				p.touch(before[i].id(), t)
			}
		}
		t.told = make([]*told, len(from))
		for i, at := range from {
			if at >= 0 {
				t.told[i] = was[at]
			}
		}
	}
}

// Plan returns the notices that are due at now, by channel; nil when there are
// none. now is the pipeline's steady time, offset what leads from it to the
// wall's. A suspect is never told. What a channel knows of and that is no longer
// in the list is over as "no_evidence"; what it knew before a restart and that
// does not come back, as "agent_stopped".
func (p *Planner) Plan(now time.Time, offset time.Duration, incidents []judge.Incident) []Notice {
	p.step++
	p.offset = offset
	if p.awaitedSince.IsZero() {
		p.awaitedSince = now
	}
	p.index(incidents)
	for i := range slices.Backward(incidents) { // those that are over come first, the last one of them last
		p.see(&incidents[i])
	}
	idle := 0
	for _, t := range p.order {
		if t.seen != p.step {
			t.incident, t.suspected = nil, false
		}
		for c := range p.cfg.Channels {
			p.follow(now, t, c, incidents)
		}
		if !t.remembered() && t.seen != p.step {
			idle++
		}
	}
	var out []Notice
	for c := range p.cfg.Channels {
		out = append(out, p.tell(now, c)...)
	}
	if idle > 0 || len(p.order) > MaxThreads {
		p.forget()
	}
	return out
}

// see notes what an incident says of its thread.
func (p *Planner) see(inc *judge.Incident) {
	s := about(inc)
	t := p.threads[s]
	if t == nil {
		if inc.State != judge.Open {
			return
		}
		t = p.thread(s)
	}
	if t.seen != p.step {
		t.seen, t.incident, t.suspected = p.step, nil, false
	}
	switch {
	case inc.State == judge.Suspected:
		t.suspected = true
	case t.incident == nil || t.incident.State == judge.Resolved:
		t.incident = inc
	}
}

// thread takes a new one up.
func (p *Planner) thread(s subject) *thread {
	t := &thread{
		subject: s, told: make([]*told, len(p.cfg.Channels)),
		matched: subjectOf(&judge.Incident{Finding: judge.Finding{Scope: s.scope, Cause: s.cause, Rule: s.rule}}),
	}
	p.threads[s] = t
	p.order = append(p.order, t)
	return t
}

// remembered reports whether any channel knows anything of it.
func (t *thread) remembered() bool {
	return slices.ContainsFunc(t.told, func(x *told) bool { return x != nil })
}

// forget lets go of the threads that nobody knows of, and of the oldest that are
// over where there are too many.
func (p *Planner) forget() {
	over := len(p.order) - MaxThreads
	p.order = slices.DeleteFunc(p.order, func(t *thread) bool {
		gone := t.seen != p.step && !t.remembered()
		if !gone && over > 0 && t.seen != p.step && !slices.ContainsFunc(t.told, func(x *told) bool { return x != nil && x.open }) {
			over--
			for c := range t.told {
				p.drop(t, c)
			}
			gone = true
		}
		if gone {
			delete(p.threads, t.subject)
		}
		return gone
	})
}

// drop forgets what a channel knows of a thread.
func (p *Planner) drop(t *thread, c int) {
	if x := t.told[c]; x != nil && x.sequence > 0 {
		p.touch(p.cfg.Channels[c].id(), t)
	}
	t.told[c] = nil
}

// wanted reports whether an open incident of that severity is one to tell a
// channel of that does not know of it.
func (p *Planner) wanted(t *thread, c int, inc *judge.Incident, severity judge.Severity) bool {
	channel := &p.cfg.Channels[c]
	if inc.State != judge.Open || inc.SilencedBy != "" || !channel.wants(severity) || p.explained(inc, channel, severity) || channel.troubled(t.scope) {
		return false
	}
	return len(channel.Only) == 0 || channel.takes(t.matched, severity)
}

// troubled reports whether a scope is the agent's trouble with the channel itself:
// nobody hears of that there while it lasts, and it is over when they do.
func (c *Channel) troubled(id scope.ID) bool {
	name, is := strings.CutPrefix(id.Name, "channel/")
	return is && id.Kind == scope.KindAgent && name == c.Name
}

// takes reports whether one of the channel's matchers takes a subject.
func (c *Channel) takes(of silence.Subject, severity judge.Severity) bool {
	of.Severity = severity.String()
	return slices.ContainsFunc(c.Only, func(m silence.Matcher) bool { return m.Matches(&of) })
}

// index notes the incidents by number, where any is explained by another.
func (p *Planner) index(incidents []judge.Incident) {
	clear(p.byNumber)
	if !slices.ContainsFunc(incidents, func(i judge.Incident) bool { return i.Because != judge.NoCause }) {
		return
	}
	for i := range incidents {
		p.byNumber[incidents[i].ID] = &incidents[i]
	}
}

// explained reports whether another incident, as bad as this one, explains it, and
// the channel is told of that: one that wants only what is critical is told of a
// critical backend in a region that is none, and one that wants only that
// backend, too.
func (p *Planner) explained(inc *judge.Incident, c *Channel, severity judge.Severity) bool {
	if inc.Because == judge.NoCause {
		return false
	}
	by := p.byNumber[inc.BecauseOf]
	if by == nil || by.State == judge.Suspected {
		return false
	}
	if by.Peak >= severity && c.wants(by.Peak) && (len(c.Only) == 0 || c.takes(subjectOf(by), by.Peak)) {
		return true
	}
	return p.explained(by, c, severity)
}

func subjectOf(inc *judge.Incident) silence.Subject {
	f := &inc.Finding
	return silence.Subject{Scope: f.Scope.String(), Namespace: f.Scope.Namespace, Cause: f.Cause.String(), Rule: f.Rule}
}

package notify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
)

// RepeatEvery is how often Alertmanager is told of an incident that lasts. It
// is Prometheus's own default (rules.alert.resend-delay).
const RepeatEvery = time.Minute

// Planner decides who is told what. It is pure: no clock, no I/O; its memory
// is what each channel was told. Not safe for concurrent use.
type Planner struct {
	cfg  Config
	told map[toldKey]*told
	step uint64
}

type toldKey struct {
	incident uint64
	channel  identity
}

// told is what one channel knows of one incident.
type told struct {
	severity judge.Severity // the worst it was told
	earlier  []Told
	sequence int
	last     time.Time // when, on the pipeline's clock
	// openedAt is fixed with the first notice: a wall clock that is set
	// meanwhile must not move an incident's start.
	openedAt time.Time
	incident judge.Incident
	seen     uint64 // the plan that saw the incident last
}

// NewPlanner returns a Planner that has told nobody anything.
func NewPlanner(cfg Config) *Planner {
	p := &Planner{told: make(map[toldKey]*told)}
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
	p.cfg = cfg
	maps.DeleteFunc(p.told, func(k toldKey, _ *told) bool { return p.position(k.channel) < 0 })
}

// Plan returns the notices that are due at now, in the order of incidents and
// channels; nil when there are none. now is the pipeline's steady time, offset
// what leads from it to the wall's. A suspect is never told. An incident that
// a channel knows of and that is no longer in the list is resolved as
// "no_evidence".
func (p *Planner) Plan(now time.Time, offset time.Duration, incidents []judge.Incident) []Notice {
	p.step++
	var out []Notice
	for i := range slices.Backward(incidents) { // the list is newest first; people are told oldest first
		for c := range p.cfg.Channels {
			if n, due := p.consider(now, offset, &incidents[i], &p.cfg.Channels[c], incidents); due {
				out = append(out, n)
			}
		}
	}
	return append(out, p.lost(now, offset)...)
}

// consider decides about one incident and one channel. all are the incidents of
// this plan.
func (p *Planner) consider(now time.Time, offset time.Duration, inc *judge.Incident, c *Channel, all []judge.Incident) (Notice, bool) {
	key := toldKey{inc.ID, c.id()}
	known := p.told[key]
	if known != nil {
		known.seen = p.step
	}
	severity := inc.Finding.Severity
	switch {
	case inc.State == judge.Resolved && known != nil:
		delete(p.told, key)
		return p.notice(now, offset, inc, c, known, Resolved), true
	case inc.State != judge.Open:
		return Notice{}, false
	case known == nil && explained(inc, c, all):
		return Notice{}, false // what explains it is told
	case known == nil && c.wants(severity):
		known = &told{severity: severity, openedAt: wall(inc.OpenedAt, offset), seen: p.step}
		p.told[key] = known
		return p.notice(now, offset, inc, c, known, Opened), true
	case known == nil:
		return Notice{}, false
	case severity > known.severity && c.wants(severity):
		known.earlier = append(slices.Clip(known.earlier), Told{known.severity.String(), wall(now, offset)})
		known.severity = severity
		return p.notice(now, offset, inc, c, known, Worse), true
	case c.repeat() > 0 && now.Sub(known.last) >= c.repeat():
		return p.notice(now, offset, inc, c, known, Lasting), true
	}
	return Notice{}, false
}

// explained reports whether another incident explains this one, and the channel
// is told of that: one that wants only what is critical is told of a critical
// backend in a region that is none.
func explained(inc *judge.Incident, c *Channel, all []judge.Incident) bool {
	if inc.Because == judge.NoCause {
		return false
	}
	at := slices.IndexFunc(all, func(i judge.Incident) bool { return i.ID == inc.BecauseOf })
	return at >= 0 && all[at].State != judge.Suspected && (c.wants(all[at].Peak) || explained(&all[at], c, all))
}

// lost resolves what channels know of and nobody follows any more, as when a
// user's rule is taken out.
func (p *Planner) lost(now time.Time, offset time.Duration) []Notice {
	var keys []toldKey
	for k, t := range p.told {
		if t.seen != p.step {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b toldKey) int {
		return cmp.Or(cmp.Compare(a.incident, b.incident), cmp.Compare(p.position(a.channel), p.position(b.channel)))
	})
	var out []Notice
	for _, k := range keys {
		known := p.told[k]
		delete(p.told, k)
		inc := known.incident
		inc.State, inc.End, inc.ResolvedAt = judge.Resolved, judge.NoEvidence, now
		out = append(out, p.notice(now, offset, &inc, &p.cfg.Channels[p.position(k.channel)], known, Resolved))
	}
	return out
}

func (p *Planner) position(channel identity) int {
	return slices.IndexFunc(p.cfg.Channels, func(c Channel) bool { return c.id() == channel })
}

// notice writes the notice and remembers that it was told.
func (p *Planner) notice(now time.Time, offset time.Duration, inc *judge.Incident, c *Channel, known *told, step Step) Notice {
	known.sequence++
	known.last, known.incident = now, *inc
	i := Item{
		Step: step, Sequence: known.sequence,
		Severity: known.severity.String(), OpenedAt: known.openedAt, Earlier: append([]Told{}, known.earlier...),
	}
	n := Notice{
		Version: Version, Channel: c.Name, Reason: News, At: wall(now, offset),
		Key:  key(p.cfg.Host, inc.ID, inc.OpenedAt, step, known.sequence, c.Name),
		Host: p.cfg.Host, Labels: p.cfg.Labels, Severity: i.Severity, More: []More{},
	}
	if p.cfg.PublicURL != "" {
		n.Link = p.cfg.PublicURL + "/"
		i.Link = fmt.Sprintf("%s/incidents/%d", p.cfg.PublicURL, inc.ID)
	}
	i.describe(inc, offset)
	n.Incidents = []Item{i}
	return n
}

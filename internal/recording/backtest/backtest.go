// Package backtest says how often rules would have opened over the past:
// exactly where raw tallies are, and as a range where only minutes are.
//
//	past := backtest.New(rules)
//	past.Begin(backtest.Warm, since) // a row of raw tallies without a gap
//	past.Step(step)                  // each step of it
//	past.End()
//	past.Minute(minute)              // each minute, the oldest first
//	verdicts := past.Answer(truths)
//
// Raw tallies go through the very code that the agent runs. All of them come
// before the minutes; what they decide is taken out of those. It is pure, and
// holds scopes and firings, never what they were made of.
package backtest

import (
	"cmp"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/measure/baseline"
	"github.com/foreshock/foreshock/internal/recording/replay"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/scope"
)

// Firing is a time when a rule opened, or may have, on the wall's clock.
type Firing struct {
	// From and To are, of raw tallies, when it opened and when it cleared or the
	// tallies end; of minutes, the first one's start and the last one's end.
	From, To time.Time
	// Exact: it is of raw tallies.
	Exact bool
	// Certain: it opened. Else some of the values that are possible within the
	// minutes open it, and some do not. What is exact is certain.
	Certain bool
	// Inside are the truths that it overlaps: what they say, each once.
	Inside []string
}

// Truth is a span in which something was wrong with a scope.
type Truth struct {
	Scope    scope.ID
	From, To time.Time
	Says     string
}

// Count is how often a rule opened.
type Count struct {
	// Raw is how often over raw tallies.
	Raw int
	// Least and Most are how often over minutes: at least, at most. Openings
	// that no minute is sure to part count once, in both.
	Least, Most int
	// Inside is how many of Raw and Most overlap a truth.
	Inside int
}

func (c *Count) add(o Count) {
	c.Raw, c.Least, c.Most, c.Inside = c.Raw+o.Raw, c.Least+o.Least, c.Most+o.Most, c.Inside+o.Inside
}

// Verdict is what the past says of a rule.
type Verdict struct {
	Rule rule.Rule
	// RawSpan and MinutesSpan are how much of the past was answered by each.
	RawSpan, MinutesSpan time.Duration
	// Unseen are the signals that no minute held, of those it looked for.
	Unseen []rule.Term
	// Looked is how many scopes it was asked for.
	Looked int
	// Scopes are those for which it opened or may have, by name.
	Scopes []ScopeVerdict
	Count  // of all scopes
}

// ScopeVerdict is what the past says of a rule for one scope.
type ScopeVerdict struct {
	Scope   scope.ID
	Firings []Firing // in order of time
	Count
}

// Past goes through the past. It is not safe for concurrent use.
type Past struct {
	rules   []*ruled
	player  *replay.Player
	known   Known
	row     row
	minute  baseline.Minute // the one in hand, in case that it comes twice
	hosts   map[string]*baseline.Row
	skipped int
}

// Known is the scopes and the span that were seen.
type Known struct {
	From, To time.Time // on the wall's clock; zero without any
	scopes   map[scope.ID]bool
}

// Scopes are sorted by name, the hosts of their namespaces among them.
func (k *Known) Scopes() []scope.ID {
	out := make([]scope.ID, 0, len(k.scopes))
	for id := range k.scopes {
		out = append(out, id)
	}
	slices.SortFunc(out, func(a, b scope.ID) int { return cmp.Compare(a.String(), b.String()) })
	return out
}

func (k *Known) note(from, to time.Time, id scope.ID) {
	if !k.scopes[id] {
		k.scopes[id], k.scopes[scope.Host.In(id.Namespace)] = true, true
	}
	if k.From.IsZero() || from.Before(k.From) {
		k.From = from
	}
	if to.After(k.To) {
		k.To = to
	}
}

// ruled is one rule on its way.
type ruled struct {
	rule         rule.Rule
	scopes       map[scope.ID]*scoped
	looked       map[scope.ID]bool
	seen         map[rule.Term]bool // the signals that minutes were asked for
	decided      []span             // by raw tallies, in the order of their rows
	raw, minutes time.Duration
}

// scoped is one rule for one scope.
type scoped struct {
	exact   []Firing
	lasting []time.Time // the first minutes after raw tallies at whose end it is open
	back    *rule.Backtest
	asked   time.Time // the last minute that back was given
	missed  int       // minutes since the scope was in one
	settled []rule.Firing
}

type span struct{ from, to time.Time }

func (s span) has(at time.Time) bool { return !at.Before(s.from) && at.Before(s.to) }

// New returns a Past that has seen nothing. Rules are valid and their names
// unique.
func New(rules []rule.Rule) *Past {
	p := &Past{known: Known{scopes: make(map[scope.ID]bool)}, hosts: make(map[string]*baseline.Row)}
	for _, r := range rules {
		p.rules = append(p.rules, &ruled{rule: r, scopes: make(map[scope.ID]*scoped), looked: make(map[scope.ID]bool), seen: make(map[rule.Term]bool)})
	}
	return p
}

// Known is what was seen so far.
func (p *Past) Known() Known { return p.known }

// Skipped is how many minutes were passed over, as they are from before one that
// was taken: the clock was set back.
func (p *Past) Skipped() int { return p.skipped }

func (r *ruled) of(id scope.ID) *scoped {
	s := r.scopes[id]
	if s == nil {
		s = &scoped{}
		r.scopes[id] = s
	}
	r.looked[id] = true
	return s
}

// Start says how a row of raw tallies begins.
type Start uint8

// The starts.
const (
	// Cold: as the agent began, or all there is. Each opening counts.
	Cold Start = iota
	// Warm: the agent knew more than the row has. What signals and rules
	// remember is made good first, and the minutes answer for that time.
	Warm
)

// remembered is how far back signals look: what is usual is that of an hour.
const remembered = time.Hour

// row is a row of raw tallies.
type row struct {
	start    Start
	since    time.Time
	from, to time.Time
	open     map[uint64]opened // by incident
}

// opened is where the firing of an incident is.
type opened struct {
	in *scoped
	at int
}

// Remembers is for how long a row of raw tallies has to go on before a Warm one
// decides: what comes so long before the span that is asked for is of use.
func (p *Past) Remembers() time.Duration {
	longest := time.Duration(0)
	for _, r := range p.rules {
		longest = max(longest, r.warms())
	}
	return remembered + longest
}

// Begin begins a row of raw tallies. What is before since, which is on the
// wall's clock, is only remembered.
func (p *Past) Begin(start Start, since time.Time) {
	rules := make([]rule.Rule, len(p.rules))
	for i, r := range p.rules {
		rules[i] = r.rule
	}
	p.player = replay.New(rules)
	p.row = row{start: start, since: since, open: make(map[uint64]opened)}
}

// Step takes the next step of the row.
func (p *Past) Step(s measure.Step) {
	at := s.At.Add(s.Offset).UTC()
	for i := range s.Tallies.Scopes {
		id := s.Tallies.Scopes[i].Scope
		if at.Before(p.row.since) {
			break
		}
		p.known.note(at, at, id)
		for _, r := range p.rules {
			if r.rule.When.Kind() == id.Kind {
				r.looked[id] = true
			}
		}
	}
	if p.row.from.IsZero() {
		p.row.from, p.row.to = at, at
	}
	if at.After(p.row.to) {
		p.row.to = at
	}
	for _, c := range p.player.Changes(s) {
		p.change(&c)
	}
}

func (p *Past) change(c *replay.Change) {
	if c.Incident.Finding.Cause != judge.UserRule {
		return
	}
	switch c.Kind {
	case replay.Opened:
		i := slices.IndexFunc(p.rules, func(r *ruled) bool { return r.rule.Name == c.Incident.Finding.Rule })
		in := p.rules[i].of(c.Incident.Finding.Scope)
		p.row.open[c.Incident.ID] = opened{in, len(in.exact)}
		in.exact = append(in.exact, Firing{From: c.At, Exact: true, Certain: true})
	case replay.Resolved:
		if o, known := p.row.open[c.Incident.ID]; known {
			o.in.exact[o.at].To = c.At
			delete(p.row.open, c.Incident.ID)
		}
	}
}

// End ends the row. Where it starts warm, what it decides begins with a whole
// minute; the minute in which it ends is its own.
func (p *Past) End() {
	if p.row.from.IsZero() {
		return
	}
	for _, o := range p.row.open {
		o.in.exact[o.at].To = p.row.to
	}
	all := span{p.row.from, p.row.to.Add(1)}
	for _, r := range p.rules {
		d := all
		if p.row.start == Warm {
			d.from = upToMinute(p.row.from.Add(remembered + r.warms()))
			if d.from.Before(p.row.since) {
				d.from = upToMinute(p.row.since)
			}
		}
		decides := d.to.After(d.from)
		for _, s := range r.scopes {
			if decides && slices.ContainsFunc(s.exact, func(f Firing) bool { return all.has(f.From) && !f.To.Before(p.row.to) }) {
				s.lasting = append(s.lasting, upToMinute(d.to))
			}
			s.exact = slices.DeleteFunc(s.exact, func(f Firing) bool { return all.has(f.From) && !d.has(f.From) })
		}
		if decides {
			r.decided = append(r.decided, d)
			r.raw += p.row.to.Sub(d.from)
		}
	}
	p.player, p.row = nil, row{}
}

func upToMinute(t time.Time) time.Time { return t.Add(time.Minute - 1).Truncate(time.Minute) }

// warms is how long the rule itself takes until it is as if it always ran.
func (r *ruled) warms() time.Duration {
	return r.rule.When.Lookback() + r.rule.Hold + time.Duration(r.rule.InARow)*r.rule.Every
}

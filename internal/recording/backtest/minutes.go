package backtest

import (
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/measure/baseline"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/scope"
)

// patience is for how many minutes a scope may be without a row before what was
// held of it is forgotten. The judge forgets what it has no evidence of after as
// long.
const patience = 15

// Minute takes the next minute, and keeps it until the one after; nil ends the
// last. One that comes twice, as where an agent was restarted within it, is one;
// one from before the last is passed over.
func (p *Past) Minute(m *baseline.Minute) {
	last := &p.minute
	switch {
	case m == nil:
		p.takeMinute()
		*last = baseline.Minute{}
	case last.Start.IsZero() || m.Start.After(last.Start):
		p.takeMinute()
		*last = *m
	case m.Start.Equal(last.Start):
		join(last, m)
	default:
		p.skipped++
	}
}

// join adds what a second row of the same minute saw.
func join(to, m *baseline.Minute) {
	for i := range m.Scopes {
		row := &m.Scopes[i]
		at := slices.IndexFunc(to.Scopes, func(o baseline.Row) bool { return o.Scope == row.Scope })
		if at < 0 {
			to.Scopes = append(to.Scopes, *row)
			continue
		}
		for _, r := range row.Ranges {
			ranges := &to.Scopes[at].Ranges
			same := slices.IndexFunc(*ranges, func(o baseline.Range) bool { return o.Signal == r.Signal })
			if same < 0 {
				*ranges = append(*ranges, r)
				continue
			}
			o := &(*ranges)[same]
			a, b := float64(o.Looks), float64(r.Looks)
			o.Least, o.Mean, o.Greatest = min(o.Least, r.Least), (o.Mean*a+r.Mean*b)/(a+b), max(o.Greatest, r.Greatest)
			o.Looks += r.Looks
		}
	}
}

// takeMinute has every rule look at the minute in hand.
func (p *Past) takeMinute() {
	m := &p.minute
	if m.Start.IsZero() {
		return
	}
	clear(p.hosts)
	for i := range m.Scopes {
		id := m.Scopes[i].Scope
		p.known.note(m.Start, m.Start.Add(time.Minute), id)
		if id.Kind == scope.KindHost {
			p.hosts[id.Namespace] = &m.Scopes[i]
		}
	}
	for _, r := range p.rules {
		if !slices.ContainsFunc(r.decided, func(s span) bool { return s.has(m.Start) }) {
			r.minute(m, p.hosts)
		}
	}
}

func (r *ruled) minute(m *baseline.Minute, hosts map[string]*baseline.Row) {
	r.minutes += time.Minute
	for i := range m.Scopes {
		row := &m.Scopes[i]
		if row.Scope.Kind != r.rule.When.Kind() {
			continue
		}
		s := r.of(row.Scope)
		s.missed = 0
		s.take(r, m.Start, row, hosts[row.Scope.Namespace])
	}
	for id, s := range r.scopes {
		if s.back == nil || s.asked.Equal(m.Start) {
			continue
		}
		if s.missed++; s.missed <= patience {
			s.take(r, m.Start, nil, nil)
			continue
		}
		s.settle()
		if len(s.settled) == 0 && len(s.exact) == 0 {
			delete(r.scopes, id)
		}
	}
}

// take gives the rule one minute of the scope; nil is one without a row.
func (s *scoped) take(r *ruled, start time.Time, row, host *baseline.Row) {
	if s.back == nil {
		s.back = rule.NewBacktest(r.rule)
	}
	s.asked = start
	s.back.Minute(start, func(t rule.Term) (rule.MinuteRange, bool) {
		from := row
		if t.Scope == scope.KindHost {
			from = host
		}
		if from != nil {
			for i := range from.Ranges {
				if x := &from.Ranges[i]; x.Signal == t.Signal {
					r.seen[t] = true
					return known(x), true
				}
			}
		}
		if row != nil && !r.seen[t] {
			r.seen[t] = false
		}
		return rule.MinuteRange{}, false
	})
}

// known is a stored range as rules take it. The mean is that of looks, stored
// within 1/255 of the range; over time it is another, by what a look more or less
// at either end makes.
func known(r *baseline.Range) rule.MinuteRange {
	off := min(1, 1./255+2/float64(r.Looks))
	return rule.MinuteRange{Least: r.Least, Mean: r.Mean, Greatest: r.Greatest, MeanOff: off * (r.Greatest - r.Least), Looks: r.Looks}
}

// settle takes the firings over and forgets the rest.
func (s *scoped) settle() {
	if s.back != nil {
		s.settled = append(s.settled, s.back.Firings()...)
		s.back = nil
	}
}

// Answer is what the past says of each rule, in their order. It ends the last
// minute; nothing can be taken afterwards.
func (p *Past) Answer(truths []Truth) []Verdict {
	p.Minute(nil)
	out := make([]Verdict, 0, len(p.rules))
	for _, r := range p.rules {
		out = append(out, r.answer(truths))
	}
	return out
}

func (r *ruled) answer(truths []Truth) Verdict {
	v := Verdict{Rule: r.rule, RawSpan: r.raw, MinutesSpan: r.minutes, Looked: len(r.looked), Scopes: []ScopeVerdict{}}
	for t, seen := range r.seen {
		if !seen {
			v.Unseen = append(v.Unseen, t)
		}
	}
	slices.SortFunc(v.Unseen, func(a, b rule.Term) int { return strings.Compare(a.String(), b.String()) })
	for id, s := range r.scopes {
		s.settle()
		one := ScopeVerdict{Scope: id, Firings: s.exact}
		for _, f := range s.settled {
			// A row that begins where raw tallies end may only go on with what is
			// open there.
			if !slices.ContainsFunc(s.lasting, f.From.Equal) {
				one.Firings = append(one.Firings, Firing{From: f.From, To: f.To, Certain: f.Certain})
			}
		}
		if len(one.Firings) == 0 {
			continue
		}
		slices.SortStableFunc(one.Firings, func(a, b Firing) int { return a.From.Compare(b.From) })
		for i := range one.Firings {
			f := &one.Firings[i]
			f.Inside = inside(id, f, truths)
			one.add(f.count())
		}
		v.add(one.Count)
		v.Scopes = append(v.Scopes, one)
	}
	slices.SortFunc(v.Scopes, func(a, b ScopeVerdict) int { return strings.Compare(a.Scope.String(), b.Scope.String()) })
	return v
}

func (f *Firing) count() Count {
	c := Count{Most: 1}
	switch {
	case f.Exact:
		c = Count{Raw: 1}
	case f.Certain:
		c.Least = 1
	}
	if len(f.Inside) > 0 {
		c.Inside = 1
	}
	return c
}

// inside is what truths say that a firing overlaps: of its scope, and for a rule
// of the host of any in its namespace.
func inside(id scope.ID, f *Firing, truths []Truth) []string {
	var out []string
	for i := range truths {
		t := &truths[i]
		of := t.Scope == id || id.Kind == scope.KindHost && t.Scope.Namespace == id.Namespace
		if of && !f.From.After(t.To) && !f.To.Before(t.From) && !slices.Contains(out, t.Says) {
			out = append(out, t.Says)
		}
	}
	slices.Sort(out)
	return out
}

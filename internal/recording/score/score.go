// Package score holds what a replay found against the labels of the recording:
// what was found of what was wrong, how late, and what was said that was not so.
//
//	findings, bounds, err := score.Play(reader, score.Rules(contestants))
//	episodes = append(episodes, score.Episode{Name: name, Bounds: bounds, Labels: labels, Findings: findings})
//	card := score.Score(contestant, episodes, grace)
//
// It is pure: a score is a function of labels and findings.
package score

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/recording/label"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/scope"
)

// DefaultGrace is how long after the end of a fault a finding may open and still
// be of it: a rule of an article's looks every 30 s, and twice in a row.
const DefaultGrace = time.Minute

// Contestant is what a score is of.
type Contestant struct {
	// Name is unique.
	Name string
	// Causes: our own findings count.
	Causes bool
	// Rules are its own, with names that are unique among them.
	Rules []rule.Rule
}

// Rules are those of all contestants, each under its contestant's name, so that
// one replay serves all.
func Rules(contestants []Contestant) []rule.Rule {
	var out []rule.Rule
	for _, c := range contestants {
		for _, r := range c.Rules {
			r.Name = c.Name + separator + r.Name
			out = append(out, r)
		}
	}
	return out
}

// separator stands between the name of a contestant and that of its rule.
const separator = "\x00"

// says reports whether a finding is the contestant's.
func (c *Contestant) says(f *Finding) bool {
	if f.Cause != judge.UserRule {
		return c.Causes
	}
	name, _, _ := strings.Cut(f.Rule, separator)
	return name == c.Name
}

// Finding is one incident that was opened, by the wall's clock.
type Finding struct {
	// Incident is its number, unique in the replay.
	Incident uint64
	Scope    scope.ID
	Cause    judge.Cause
	Rule     string // with its contestant's name; empty but for judge.UserRule
	// Reached is when it first was as grave as that or graver; zero for never.
	Reached [judge.Critical + 1]time.Time
	// Because is the cause that explains it, so that nobody is told of more than
	// that; BecauseOf is the number of that incident.
	Because   judge.Cause
	BecauseOf uint64
}

// Episode is a labelled recording and what its replay found.
type Episode struct {
	Name     string
	Bounds   label.Bounds
	Labels   label.File
	Findings []Finding
}

// ofLabel reports whether a finding, opened at that time, is of the fault: in
// time, of a right cause, and of its very scope. A rule names no cause, so it is
// right whichever it is, also on the host or the rest of the same namespace.
func ofLabel(l *label.Label, f *Finding, at time.Time, grace time.Duration) bool {
	if !within(l, at, grace) {
		return false
	}
	if f.Cause != judge.UserRule {
		return f.Scope == l.Scope && l.Accepts(f.Cause)
	}
	whole := (f.Scope.Kind == scope.KindHost || f.Scope.Kind == scope.KindRest) && f.Scope.Namespace == l.Scope.Namespace
	return f.Scope == l.Scope || whole
}

// ofFault reports whether a finding, opened at that time, is of the fault or
// comes of it, so that it is not false.
func ofFault(l *label.Label, f *Finding, at time.Time, grace time.Duration) bool {
	return ofLabel(l, f, at, grace) || within(l, at, grace) && l.Explains(f.Cause, f.Scope)
}

// speaksOf reports whether a label says how a scope was, apart from causes: its
// own scope and the host were at fault, the other backends or regions were not.
// Of a service it says nothing about the others: they have clients of their own.
func speaksOf(l *label.Label, on scope.ID) bool {
	switch {
	case on.Namespace != l.Scope.Namespace:
		return false
	case on.Kind == scope.KindHost || on.Kind == scope.KindRest || on == l.Scope:
		return true
	}
	return on.Kind == l.Scope.Kind && on.Kind != scope.KindService
}

// within reports whether a time is the fault's, or so little after it that what
// opens then is still of it.
func within(l *label.Label, at time.Time, grace time.Duration) bool {
	return !at.IsZero() && !at.Before(l.From) && !at.After(l.To.Add(grace))
}

// said reports whether people are told of a finding, for itself or with what
// explains it: that must itself be right.
func (e *Episode) said(f *Finding, grace time.Duration) bool {
	if f.Because == judge.NoCause {
		return true
	}
	return slices.ContainsFunc(e.Findings, func(by Finding) bool {
		return by.Incident == f.BecauseOf && by.Because == judge.NoCause &&
			slices.ContainsFunc(e.Labels.Labels, func(l label.Label) bool { return ofLabel(&l, &by, by.Reached[judge.Warning], grace) })
	})
}

// Score is how a contestant did.
func Score(c Contestant, episodes []Episode, grace time.Duration) Card {
	card := Card{Contestant: c.Name, Episodes: len(episodes), Each: make([]EpisodeScore, 0, len(episodes))}
	for i := range episodes {
		e := &episodes[i]
		card.Days += e.Bounds.To.Sub(e.Bounds.From).Hours() / 24
		one := scoreEpisode(c, e, grace)
		card.False += len(one.False)
		card.Each = append(card.Each, one)
	}
	if card.Days > 0 {
		card.FalsePerDay = float64(card.False) / card.Days
	}
	card.sum()
	return card
}

func scoreEpisode(c Contestant, e *Episode, grace time.Duration) EpisodeScore {
	out := EpisodeScore{Name: e.Name, Healthy: e.Labels.Healthy, Labels: []LabelScore{}, False: []FalseFinding{}}
	for i := range e.Labels.Labels {
		l := &e.Labels.Labels[i]
		one := LabelScore{Cause: l.Cause.String(), Scope: l.Scope.String()}
		var first time.Time
		for j := range e.Findings {
			f := &e.Findings[j]
			at := f.Reached[l.Severity]
			if !c.says(f) || !e.said(f, grace) || !ofLabel(l, f, at, grace) || !first.IsZero() && !at.Before(first) {
				continue
			}
			first, one.Found, one.As = at, true, f.says()
		}
		if one.Found {
			one.Delay = seconds(first.Sub(l.From))
			if !l.FirstFailure.IsZero() {
				one.Lead = seconds(l.FirstFailure.Sub(first))
			}
		}
		out.Labels = append(out.Labels, one)
	}
	for j := range e.Findings {
		f := &e.Findings[j]
		if !c.says(f) || f.Because != judge.NoCause || f.Reached[judge.Warning].IsZero() {
			continue
		}
		if f.Cause == judge.UserRule && !e.Labels.Healthy && !slices.ContainsFunc(e.Labels.Labels, func(l label.Label) bool { return speaksOf(&l, f.Scope) }) {
			continue
		}
		right := slices.ContainsFunc(e.Labels.Labels, func(l label.Label) bool {
			return ofFault(&l, f, f.Reached[judge.Watch], grace) || ofFault(&l, f, f.Reached[judge.Warning], grace)
		})
		if right {
			continue
		}
		severity := judge.Warning
		if !f.Reached[judge.Critical].IsZero() {
			severity = judge.Critical
		}
		out.False = append(out.False, FalseFinding{At: f.Reached[judge.Warning], Scope: f.Scope.String(), Says: f.says(), Severity: severity.String()})
	}
	return out
}

// says is the cause, or the rule, that a finding names.
func (f *Finding) says() string {
	if f.Cause != judge.UserRule {
		return f.Cause.String()
	}
	_, name, _ := strings.Cut(f.Rule, separator)
	return name
}

func seconds(d time.Duration) *float64 { return new(d.Seconds()) }

// sum adds up what the episodes say, by cause.
func (c *Card) sum() {
	var all gathered
	byCause := map[string]*gathered{}
	for i := range c.Each {
		for _, l := range c.Each[i].Labels {
			if byCause[l.Cause] == nil {
				byCause[l.Cause] = &gathered{}
			}
			all.add(l)
			byCause[l.Cause].add(l)
		}
	}
	c.Total = all.sum("all")
	c.Causes = []CauseScore{}
	for _, cause := range judge.Causes() { // in their own order
		if g := byCause[cause.String()]; g != nil {
			c.Causes = append(c.Causes, g.sum(cause.String()))
		}
	}
}

// gathered is the labels of one cause.
type gathered struct {
	labels, found int
	delays, leads []float64
}

func (g *gathered) add(l LabelScore) {
	g.labels++
	if !l.Found {
		return
	}
	g.found++
	g.delays = append(g.delays, *l.Delay)
	if l.Lead != nil {
		g.leads = append(g.leads, *l.Lead)
	}
}

func (g *gathered) sum(cause string) CauseScore {
	out := CauseScore{Cause: cause, Labels: g.labels, Found: g.found}
	if g.labels > 0 {
		out.Recall = new(float64(g.found) / float64(g.labels))
	}
	// The bad end of a delay is its largest, that of a lead its smallest.
	out.DelayMedian, out.DelayP95 = quantile(g.delays, 0.5), quantile(g.delays, 0.95)
	out.LeadMedian, out.LeadP95 = quantile(g.leads, 0.5), quantile(g.leads, 0.05)
	return out
}

// quantile is the smallest value that so large a share is at or below; nil
// without any.
func quantile(values []float64, q float64) *float64 {
	if len(values) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(values))
	return new(sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)])
}

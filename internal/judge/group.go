package judge

import (
	"slices"
	"strings"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// siblings names a group: those of one kind in it.
type siblings struct {
	kind  scope.Kind
	group string
}

func siblingsOf(s *measure.ScopeSignals) siblings { return siblings{s.Scope.Kind, s.Group} }

// group is the backends, the regions, or the sides of a switch, of one group, and
// what can be said of all of them at once: each is compared with the others, so
// that is worked out once a step.
type group struct {
	members []*measure.ScopeSignals // by name
	// answering have answered lately; of untold that cannot be told.
	answering, untold int
	// kept are the two lowest shares of its connections that one has left.
	kept [2]float64
	// vanished are the two highest rates at which connections of one vanish.
	vanished [2]float64
	// failing have an open incident that counts, but for the one that is being
	// followed.
	failing int
}

// newGroup is the group of nobody yet.
func newGroup() *group { return &group{kept: [2]float64{1, 1}} }

// groupsOf gathers the members of each group.
func (j *Judge) groupsOf(view *measure.View) map[siblings]*group {
	out := make(map[siblings]*group)
	for i := range view.Scopes {
		s := &view.Scopes[i]
		if s.Group == "" {
			continue
		}
		g := out[siblingsOf(s)]
		if g == nil {
			g = newGroup()
			out[siblingsOf(s)] = g
		}
		g.add(s)
		if j.inView[i].fails() {
			g.failing++
		}
	}
	byName := func(a, b *measure.ScopeSignals) int { return strings.Compare(a.Scope.Name, b.Scope.Name) }
	for _, g := range out {
		slices.SortStableFunc(g.members, byName)
	}
	return out
}

func (g *group) add(s *measure.ScopeSignals) {
	g.members = append(g.members, s)
	switch answersLately(s) {
	case yes:
		g.answering++
	case cannotTell:
		g.untold++
	}
	if left := kept(s); left < g.kept[0] {
		g.kept = [2]float64{left, g.kept[0]}
	} else {
		g.kept[1] = min(g.kept[1], left)
	}
	if rate := vanishRate(s); rate > g.vanished[0] {
		g.vanished = [2]float64{rate, g.vanished[0]}
	} else {
		g.vanished[1] = max(g.vanished[1], rate)
	}
}

// count adds n for a backend that fails.
func (g *group) count(file *caseFile, n int) {
	if file.fails() {
		g.failing += n
	}
}

// answersLately: something came from it within its usual silence.
func answersLately(s *measure.ScopeSignals) truth {
	ago, known := s.Get(measure.HeardAgo).Get()
	if !known {
		return cannotTell
	}
	return isTrue(ago <= (subject{scope: s}).quietAfter())
}

// vanishRate is how many of its connections vanish a second; zero when that is
// not known.
func vanishRate(s *measure.ScopeSignals) float64 {
	rate, _ := s.Get(measure.VanishedRate).Get()
	return rate
}

// alone reports whether the backend has no siblings.
func (s subject) alone() bool { return len(s.group.members) < 2 }

// siblings are the other members of the group, by name.
func (s subject) siblings() func(yield func(*measure.ScopeSignals) bool) {
	return func(yield func(*measure.ScopeSignals) bool) {
		for _, o := range s.group.members {
			if o != s.scope && !yield(o) {
				return
			}
		}
	}
}

// nobodyElse: no sibling has answered lately; without any that is not so.
func nobodyElse(s subject) truth {
	if s.alone() {
		return no
	}
	answering, untold := s.group.answering, s.group.untold
	switch answersLately(s.scope) {
	case yes:
		answering--
	case cannotTell:
		untold--
	}
	switch {
	case answering > 0:
		return no
	case untold > 0:
		return cannotTell
	}
	return yes
}

// siblingsVanish is the highest rate at which a sibling's connections vanish.
func (s subject) siblingsVanish() float64 {
	if vanishRate(s.scope) == s.group.vanished[0] {
		return s.group.vanished[1]
	}
	return s.group.vanished[0]
}

// siblingsKeep is the lowest share of its connections that a sibling has left.
func (s subject) siblingsKeep() float64 {
	if kept(s.scope) == s.group.kept[0] {
		return s.group.kept[1]
	}
	return s.group.kept[0]
}

// siblingFails reports whether a sibling has an open incident.
func (s subject) siblingFails() bool { return s.group.failing > 0 }

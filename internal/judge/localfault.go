package judge

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

const (
	// faultDestinations in faultGroups groups that fail within faultWithin have
	// one thing in common: us.
	faultDestinations = 3
	faultGroups       = 2
	faultWithin       = 2 * time.Second
)

// localFault: destinations that have nothing in common but us are out of reach
// at once.
func localFault() causeRule {
	return causeRule{
		cause: LocalFault,
		triggers: []trigger{
			{condition{"three destinations of two groups out of reach within 2 s, for 0.5 s", 500 * time.Millisecond, 3, measure.ActiveOpensRate, atOnce}, Critical},
		},
		clear: condition{"fewer than three destinations out of reach, for 3 s", 3 * time.Second, 3, measure.ActiveOpensRate,
			func(s subject) truth { return isTrue(outOfReach(s.failing) < faultDestinations) }},
		explain: func(s subject, f *Finding) {
			names := make([]string, 0, len(s.failing))
			for _, d := range s.failing {
				name := d.scope.Name
				if d.scope.Kind == scope.KindRegion {
					name = fmt.Sprintf("%d of the region %s", d.count, name)
				}
				names = append(names, name)
			}
			slices.Sort(names)
			f.Sentence = fmt.Sprintf("%d destinations are out of reach at once, %s: it is this host or its uplink, not they.", outOfReach(s.failing), strings.Join(firstFive(names), ", "))
			f.Certainty = Likely
			f.shows(s.host, measure.RetransmittedSegmentsRate, measure.RetransmissionTimeoutsRate, measure.AttemptFailsRate)
			f.considers(PathLost, "each for itself: they began within 2 s of each other")
			f.Advice = []string{"Look at this host's own network: carrier, routes, firewall, conntrack table. Do not take backends out for it."}
		},
	}
}

// atOnce: enough destinations of enough groups, that began together.
func atOnce(s subject) truth {
	var together []destination
	for _, first := range s.failing {
		together = together[:0]
		groups := map[string]bool{}
		for _, d := range s.failing {
			if after := d.since.Sub(first.since); after >= 0 && after <= faultWithin {
				groups[d.group] = true
				together = append(together, d)
			}
		}
		if len(groups) >= faultGroups && outOfReach(together) >= faultDestinations {
			return yes
		}
	}
	return no
}

// outOfReach is how many there are. Backends in a region are destinations of it,
// so the larger of the two counts.
func outOfReach(failing []destination) int {
	backends, regions, n := map[string]int{}, map[string]int{}, 0
	for _, d := range failing {
		if d.scope.Kind == scope.KindRegion {
			regions[d.group] = d.count
		} else {
			backends[d.group]++
		}
	}
	for group, count := range backends {
		n += max(0, count-regions[group])
	}
	for _, count := range regions {
		n += count
	}
	return n
}

// unreachable lists the backends and the regions whose way is suspected or
// found to be lost.
func (j *Judge) unreachable(view *measure.View) []destination {
	var out []destination
	for i := range view.Scopes {
		s := &view.Scopes[i]
		if s.Scope.Kind != scope.KindBackend && s.Scope.Kind != scope.KindRegion {
			continue
		}
		f := j.inView[i]
		if f.state(PathLost) == NoState {
			continue
		}
		d := destination{scope: s.Scope, group: s.Group, count: 1, since: f.dossiers[PathLost].incident.SuspectedAt}
		switch {
		case s.Scope.Kind == scope.KindRegion:
			unanswered, _ := s.Get(measure.DestinationsUnanswered).Get()
			d.group, d.count = regionGroup(s.Scope.Name), max(1, int(unanswered))
		case s.Region != "":
			d.group = regionGroup(s.Region)
		}
		out = append(out, d)
	}
	return out
}

// regionGroup is what the destinations of a region have in common. No group of
// backends has a slash.
func regionGroup(name string) string { return "region/" + name }

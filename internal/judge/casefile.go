package judge

import (
	"fmt"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// caseFile is all that is known of one scope.
type caseFile struct {
	scope scope.ID
	// region is the name of the region that it is in, or is; empty for none.
	region   string
	dossiers [UserRule]*dossier // by cause; nil until it is first followed
	// active: anything is suspected or open, as of when the scope was followed
	// last.
	active bool
	presence
}

// goneAfter is how long a scope may be away, as in a restart, before its
// incidents end with it.
const goneAfter = 10 * time.Second

// presence follows whether views still have a scope.
type presence struct {
	followed uint64    // the step whose view had it last
	absent   time.Time // since when none has
}

// gone reports whether the scope has been away for too long.
func (p *presence) gone(now time.Time, step uint64) bool {
	switch {
	case p.followed == step:
		p.absent = time.Time{}
	case p.absent.IsZero():
		p.absent = now
	}
	return !p.absent.IsZero() && now.Sub(p.absent) >= goneAfter
}

// state is where the scope's incident of that cause is.
func (f *caseFile) state(c Cause) State {
	if f == nil || f.dossiers[c] == nil {
		return NoState
	}
	return f.dossiers[c].incident.State
}

// fails reports whether the scope has an open incident; a change of habit
// (churn) is none here.
func (f *caseFile) fails() bool {
	if !f.active {
		return false
	}
	for c, d := range f.dossiers {
		if d != nil && d.incident.State == Open && Cause(c) != Churn {
			return true
		}
	}
	return false
}

// note brings active up to date.
func (f *caseFile) note() {
	f.active = slices.ContainsFunc(f.dossiers[:], func(d *dossier) bool { return d != nil && d.incident.State != NoState })
}

// criticalSince is when the scope's oldest open critical incident opened; zero
// without one.
func (f *caseFile) criticalSince() time.Time {
	var since time.Time
	if !f.active {
		return since
	}
	for _, d := range f.dossiers {
		if d != nil && d.incident.State == Open && d.incident.Peak == Critical && (since.IsZero() || d.incident.OpenedAt.Before(since)) {
			since = d.incident.OpenedAt
		}
	}
	return since
}

// noteBalancer keeps when the balancer first agreed that the backend is down.
func (f *caseFile) noteBalancer(now time.Time, s subject) {
	up, known := s.scope.Get(measure.BalancerUp).Get()
	if !known || up > 0 {
		return
	}
	seen := s.scope.Get(measure.BalancerUp).Seen
	for _, d := range f.dossiers {
		if d == nil || d.incident.State != Open || !d.incident.BalancerDownAt.IsZero() {
			continue
		}
		d.incident.BalancerDownAt = seen
		when := "after this was suspected"
		after := seen.Sub(d.incident.SuspectedAt)
		if after < 0 {
			when, after = "before", -after
		}
		d.incident.note(now, fmt.Sprintf("its balancer calls it down, %s %s", inWords(after.Seconds()), when))
	}
}

// replaced says how another cause's open incident ends inc, or NotEnded.
func (f *caseFile) replaced(r *causeRule, inc *Incident) End {
	for _, c := range r.overtakenBy {
		if f.replaces(c, inc, CameTrue) {
			return CameTrue
		}
	}
	for _, c := range r.supersededBy {
		if f.replaces(c, inc, Superseded) {
			return Superseded
		}
	}
	return NotEnded
}

// replaces reports whether an open incident of cause c ends inc. What is told
// of people (a warning or above) is superseded only by what they are told of
// too: they would hear that it is over, and nothing more.
func (f *caseFile) replaces(c Cause, inc *Incident, how End) bool {
	return f.state(c) == Open && (how != Superseded || f.dossiers[c].incident.Peak >= min(inc.Peak, Warning))
}

package judge

import (
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

const (
	// regionWithin is how long before its region's an incident of a backend may
	// have opened and still come of the same: triggers of regions are held for up
	// to 3 s. A slow region shows at single backends first: in the lab 15 % of its
	// connections wait only 16 s after answers slow down.
	regionWithin     = 5 * time.Second
	slowRegionWithin = 20 * time.Second
	// explainedAfter is how long what an incident explained may outlast it: what
	// recovers from the same takes up to 10 s longer to be sure of it.
	explainedAfter = 15 * time.Second
)

// Source is an open incident that others come of: this host's own fault, or one
// of a region.
type Source struct {
	ID       uint64
	Scope    scope.ID
	Cause    Cause
	Peak     Severity
	OpenedAt time.Time
}

// effects are the causes that come of another one, and how long before it they
// may have opened.
type effects struct {
	within time.Duration
	causes []Cause
}

// ofLostWay are what a way that carries nothing makes of whoever is behind it.
// Ports that run out, a pool that leaks or is used up are no effects of it, and
// the first may be why.
var ofLostWay = []Cause{PathLost, PeerRefusing, PeerFrozen, PeerHalfBroken, PeerSlow, PeerResetting, HeavyLoss, StuckClosing, GreenButFailing}

// byLocalFault is what comes of our own fault, in backends and regions;
// addressByLocalFault, at the addresses of a switch. That connections go to old
// ones is so whoever is at fault, and has remedies of its own.
var (
	byLocalFault        = effects{faultWithin, ofLostWay}
	addressByLocalFault = effects{faultWithin, []Cause{UsersFailingOnOld}}
)

// byRegion are, by the cause of a region's incident, what comes of it in the
// backends there: the same seen from one of them, what one that is asked less or
// has fewer connections is taken for, and what follows where it lasts. An orderly
// stop explains no more than that: refused attempts after it are news.
var byRegion = map[Cause]effects{
	PathLost:      {regionWithin, ofLostWay},
	PeerRefusing:  {regionWithin, []Cause{PeerRefusing, PeerResetting, OrderlyStop, PeerFrozen, PeerHalfBroken, PeerSlow, StuckClosing, GreenButFailing}},
	PeerResetting: {regionWithin, []Cause{PeerResetting, PeerRefusing, PeerFrozen, PeerHalfBroken, PeerSlow, GreenButFailing}},
	HeavyLoss:     {slowRegionWithin, []Cause{HeavyLoss, PathLost, PeerFrozen, PeerHalfBroken, PeerSlow, StuckClosing, GreenButFailing}},
	PeerSlow:      {slowRegionWithin, []Cause{PeerSlow, PeerFrozen, PeerHalfBroken, GreenButFailing}},
	OrderlyStop:   {regionWithin, []Cause{OrderlyStop}},
}

// regionOf is the name of the region that a scope is in, or is.
func regionOf(s *measure.ScopeSignals) string {
	if s.Scope.Kind == scope.KindRegion {
		return s.Scope.Name
	}
	return s.Region
}

// effects are what comes of the source in a scope.
func (e *Source) effects(f *caseFile) effects {
	elsewhere := e.Scope.Namespace != f.scope.Namespace
	switch {
	case e.Scope.Kind == scope.KindHost && (f.scope.Kind == scope.KindBackend || f.scope.Kind == scope.KindRegion):
		return byLocalFault
	case e.Scope.Kind == scope.KindHost && f.scope.Kind == scope.KindAddress:
		return addressByLocalFault
	case e.Scope.Kind == scope.KindHost && f.scope.Kind == scope.KindHost && elsewhere:
		return effects{faultWithin, []Cause{LocalFault}}
	case e.Scope.Kind == scope.KindRegion && e.Scope.Name == f.region && (f.scope.Kind == scope.KindBackend || elsewhere):
		return byRegion[e.Cause]
	}
	return effects{}
}

// explains reports whether an incident comes of the source. What people are told
// of is explained only by what they are told of too.
func (e *Source) explains(f *caseFile, inc *Incident) bool {
	of := e.effects(f)
	return slices.Contains(of.causes, inc.Finding.Cause) &&
		(inc.State == Suspected || e.OpenedAt.Sub(inc.OpenedAt) <= of.within) &&
		e.Peak >= min(max(inc.Peak, inc.Finding.Severity), Warning)
}

// because words a cause that explains incidents of this scope.
func (f *caseFile) because(c Cause) string {
	if c == LocalFault {
		return c.String()
	}
	return c.String() + " of region/" + f.region
}

// Sources are the open incidents of the last Step that others come of. They are
// good until the next.
func (j *Judge) Sources() []Source { return j.sources[j.own:] }

// Outside sets what explains incidents here though it is another namespace's:
// the own one's Sources. It holds for the Steps that follow, and is copied.
func (j *Judge) Outside(sources []Source) { j.outside = append(j.outside[:0], sources...) }

// attribute marks the incidents that another one explains, and takes the mark
// off what goes on after it.
func (j *Judge) attribute(now time.Time) {
	j.gather()
	for _, f := range j.order {
		if !f.active {
			continue
		}
		for _, d := range f.dossiers {
			if d != nil && d.incident.State != NoState && (len(j.sources) > 0 || d.incident.Because != NoCause) {
				d.attribute(now, f, j.sources)
			}
		}
	}
}

// gather lists what explains others now: what is outside first, and before the
// regions' what is wrong with us.
func (j *Judge) gather() {
	j.sources = append(j.sources[:0], j.outside...)
	j.own = len(j.outside)
	add := func(f *caseFile, c Cause) {
		if f.state(c) == Open {
			inc := &f.dossiers[c].incident
			j.sources = append(j.sources, Source{inc.ID, f.scope, c, inc.Peak, inc.OpenedAt})
		}
	}
	for _, f := range j.order {
		if f.active && f.scope.Kind == scope.KindHost {
			add(f, LocalFault)
		}
	}
	for _, f := range j.order {
		if f.active && f.scope.Kind == scope.KindRegion {
			for c := range f.dossiers {
				add(f, Cause(c))
			}
		}
	}
}

// attribute says which source explains the incident, if one does. What it
// explained is held for a while when it is over: it is about to end as well.
func (d *dossier) attribute(now time.Time, f *caseFile, sources []Source) {
	inc := &d.incident
	for i := range sources {
		e := &sources[i]
		if !e.explains(f, inc) {
			continue
		}
		if inc.BecauseOf != e.ID {
			inc.note(now, "because of "+f.because(e.Cause))
		}
		inc.Because, inc.BecauseOf, d.aloneSince = e.Cause, e.ID, time.Time{}
		return
	}
	if inc.Because == NoCause {
		return
	}
	lasts := slices.ContainsFunc(sources, func(e Source) bool { return e.ID == inc.BecauseOf })
	switch {
	case lasts:
		inc.note(now, "more than "+f.because(inc.Because)+" explains")
	case d.aloneSince.IsZero():
		d.aloneSince = now
		return
	case now.Sub(d.aloneSince) < explainedAfter:
		return
	default:
		inc.note(now, "goes on without "+f.because(inc.Because))
	}
	inc.Because, inc.BecauseOf, d.aloneSince = NoCause, 0, time.Time{}
}

package judge

import (
	"time"

	"github.com/foreshock/foreshock/internal/rule"
)

// dossier follows one cause of one scope.
type dossier struct {
	triggers []rule.Holding
	clear    rule.Holding
	incident Incident // State is NoState while nothing is suspected
	// aloneSince is since when what explains it is over; zero while it is not.
	aloneSince time.Time
}

// follow takes what a step says of one cause of one scope.
func (j *Judge) follow(now time.Time, r *causeRule, s subject, file *caseFile) {
	d := file.dossiers[r.cause]
	if d == nil {
		d = &dossier{triggers: make([]rule.Holding, len(r.triggers))}
		file.dossiers[r.cause] = d
	}
	inc := &d.incident
	s.suspected = inc.SuspectedAt
	v := d.weigh(r, s)
	if how := file.replaced(r, inc); how != NotEnded {
		if inc.State == Open {
			j.resolve(now, d, how)
		}
		d.reset()
		return
	}
	nothing := v.seen == NoSeverity // what holds is seen
	switch {
	case inc.State == NoState && nothing:
		return
	case inc.State == NoState:
		j.suspect(now, inc, v.trigger)
		inc.Finding = Finding{Scope: s.scope.Scope, Cause: r.cause, Severity: v.seen, Certainty: Suspect, Trigger: v.trigger}
	case inc.State == Suspected && nothing && !v.blind:
		*inc = Incident{} // it was nothing
		return
	}
	if inc.rise(now, v.held, v.trigger) {
		d.clear = rule.Holding{}
	}
	if inc.see(now, !v.blind); !v.blind && !nothing {
		d.explain(now, r, s, v) // else it keeps the words of when it was last true
	}
	if inc.State == Open {
		j.end(now, d, r, s, v)
	}
	if inc.State == Suspected && inc.forgotten(now) {
		*inc = Incident{}
	}
}

// verdict is what the conditions of a cause say at one instant.
type verdict struct {
	// held is the worst severity that holds, seen the worst that is true now.
	held, seen Severity
	// trigger is the words of the trigger that decides, basis how often and how
	// long it was seen.
	trigger, basis string
	clear          truth
	blind          bool // neither a trigger nor the clearing can be told
}

// weigh asks every trigger, and whether it clears while there is an incident.
func (d *dossier) weigh(r *causeRule, s subject) verdict {
	best := -1
	var v verdict
	if d.incident.State != NoState {
		v.clear = r.clear.when(s)
	}
	v.blind = v.clear == cannotTell
	for i := range r.triggers {
		t := &r.triggers[i]
		answer := t.when(s)
		held := t.observe(&d.triggers[i], answer, s)
		v.blind = v.blind && answer == cannotTell
		if answer != yes {
			// Unknown keeps the hold for when sight returns, but is no word
			// for the finding now.
			continue
		}
		if held && t.severity > v.held {
			v.held, best = t.severity, i
		}
		if t.severity > v.seen {
			v.seen = t.severity
			if v.held == NoSeverity {
				best = i
			}
		}
	}
	if best >= 0 {
		v.trigger, v.basis = r.triggers[best].says, basis(d.triggers[best].Observations, d.triggers[best].Held)
	}
	return v
}

// explain brings the finding up to date with what was seen.
func (d *dossier) explain(now time.Time, r *causeRule, s subject, v verdict) {
	inc := &d.incident
	f := Finding{Scope: inc.Finding.Scope, Cause: r.cause, Severity: v.held, Trigger: v.trigger, Basis: v.basis}
	r.explain(s, &f)
	f.Hurt = hurt(s, r.cause)
	f.behindService(s)
	if was := &inc.Finding; inc.State == Open && now.After(inc.OpenedAt) && was.Pattern != NoPattern && f.Pattern != ResourceLeak {
		// How it began decides: a spike that lasts is still a spike.
		f.Pattern, f.PatternEvidence, f.Response = was.Pattern, was.PatternEvidence, was.Response
		if f.Pattern == SuddenSpike {
			f.Response = limitRates(f.Prefixes)
		}
	}
	if inc.State == Suspected {
		f.Severity, f.Certainty = v.seen, Suspect
	} else if v.held == NoSeverity {
		f.Severity, f.Trigger = inc.Finding.Severity, inc.Finding.Trigger // true, not held anew: as it was
	}
	// The view's sockets change with the next look; the incident keeps its own.
	f.Examples = append(inc.Finding.Examples[:0:0], s.scope.Examples...)
	inc.Finding = f
	inc.UpdatedAt = now
}

// end closes an open incident by positive evidence, or for want of any: nothing
// can be seen, or for as long nothing confirmed it and its recovery could not
// be told, as of a backend that was taken out and is asked nothing.
func (j *Judge) end(now time.Time, d *dossier, r *causeRule, s subject, v verdict) {
	inc := &d.incident
	switch {
	case v.blind && inc.forgotten(now):
		j.resolve(now, d, NoEvidence)
	case v.blind:
	case r.clear.observe(&d.clear, v.clear, s):
		j.resolve(now, d, Recovered)
	case v.clear == cannotTell && now.Sub(inc.UpdatedAt) >= noEvidenceAfter:
		j.resolve(now, d, NoEvidence)
	}
}

func (j *Judge) resolve(now time.Time, d *dossier, how End) {
	j.finish(now, &d.incident, how)
	d.reset()
}

// reset forgets what is suspected, open or on its way there.
func (d *dossier) reset() {
	for i := range d.triggers {
		d.triggers[i] = rule.Holding{}
	}
	d.clear, d.aloneSince = rule.Holding{}, time.Time{}
	d.incident = Incident{}
}

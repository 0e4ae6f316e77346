package judge

import (
	"fmt"
	"slices"
	"time"
)

const (
	// noEvidenceAfter closes an incident nothing was seen of for so long.
	noEvidenceAfter = 15 * time.Minute
	// maxResolved and maxTimeline bound what is remembered.
	maxResolved = 200
	maxTimeline = 50
	// resolvedStays is for how long a resolved incident is shown whatever comes
	// after it.
	resolvedStays = 10 * time.Second
)

// The steps of an incident's life, whether a cause or a user's rule leads it.

// suspect begins one.
func (j *Judge) suspect(now time.Time, inc *Incident, trigger string) {
	*inc = Incident{ID: j.numbers.take(), State: Suspected, SuspectedAt: now, UpdatedAt: now}
	inc.note(now, "suspect: "+trigger)
}

// rise takes the severity that holds now, NoSeverity for none, and reports
// whether that opened the incident.
func (inc *Incident) rise(now time.Time, severity Severity, trigger string) (opened bool) {
	switch {
	case severity != NoSeverity && inc.State == Suspected:
		inc.State, inc.OpenedAt = Open, now
		inc.reach(now, severity, fmt.Sprintf("open, %s: %s", severity, trigger))
		return true
	case severity > inc.Peak && inc.State == Open:
		inc.reach(now, severity, fmt.Sprintf("now %s: %s", severity, trigger))
	}
	return false
}

// see notes when nothing can be seen of it any more, and when it can again.
func (inc *Incident) see(now time.Time, sighted bool) {
	switch {
	case sighted && !inc.BlindSince.IsZero():
		inc.BlindSince = time.Time{}
		inc.note(now, "evidence again")
	case !sighted && inc.BlindSince.IsZero():
		inc.BlindSince = now
		inc.note(now, "no evidence: nothing can be seen of it")
	}
}

// forgotten reports whether nothing was seen of it for too long.
func (inc *Incident) forgotten(now time.Time) bool {
	return !inc.BlindSince.IsZero() && now.Sub(inc.BlindSince) >= noEvidenceAfter
}

// finish puts an open incident among the resolved, and leaves none.
func (j *Judge) finish(now time.Time, inc *Incident, how End) {
	inc.State, inc.End, inc.ResolvedAt = Resolved, how, now
	inc.note(now, "resolved: "+how.Words())
	j.resolved = slices.Insert(j.resolved, 0, *inc)
	// Those of the last moments all stay: who reads at each step hears of each end,
	// also where a thousand end at once.
	for n := len(j.resolved); n > maxResolved && now.Sub(j.resolved[n-1].ResolvedAt) >= resolvedStays; n-- {
		j.resolved = slices.Delete(j.resolved, n-1, n)
	}
	*inc = Incident{}
}

func (inc *Incident) acknowledge(now time.Time, id uint64, by string) bool {
	if inc.ID != id || inc.State == NoState {
		return false
	}
	if inc.AcknowledgedAt.IsZero() {
		inc.AcknowledgedAt, inc.AcknowledgedBy = now, by
		inc.note(now, "acknowledged by "+by)
	}
	return true
}

// note adds a step to the timeline; the first ones are kept, they say how it
// began.
func (inc *Incident) note(now time.Time, what string) {
	if len(inc.Timeline) >= maxTimeline {
		inc.Timeline = slices.Delete(slices.Clone(inc.Timeline), maxTimeline/2, maxTimeline/2+1)
	}
	// A new array each time: incidents already handed out keep theirs.
	inc.Timeline = append(slices.Clip(inc.Timeline), Step{At: now, What: what})
}

// reach notes that the incident is as grave as severity now.
func (inc *Incident) reach(now time.Time, severity Severity, what string) {
	inc.Peak = severity
	inc.note(now, what)
	inc.Timeline[len(inc.Timeline)-1].Severity = severity
}

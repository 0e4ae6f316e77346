package judge

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/scope"
)

const (
	// noEvidenceAfter closes an incident nothing was seen of for so long.
	noEvidenceAfter = 15 * time.Minute
	// goneAfter is how long a scope may be away, as in a restart, before its
	// incidents end with it.
	goneAfter = 10 * time.Second
	// maxResolved and maxTimeline bound what is remembered.
	maxResolved = 200
	maxTimeline = 50
)

// Judge keeps the incidents. The zero value is not usable; see New.
type Judge struct {
	rules     map[scope.Kind][]causeRule
	numbers   *Numbers
	step      uint64
	files     map[scope.ID]*caseFile
	order     []*caseFile
	inView    []*caseFile // of each scope of the view
	around    around
	resolved  []Incident // newest first
	incidents []Incident
	userRules []rule.Rule
	users     map[userKey]*userCase
	userOrder []userKey
}

// Numbers gives incidents their numbers, each once, from 1. The zero value is
// ready. It is not safe for concurrent use.
type Numbers struct{ last uint64 }

// After makes the next number one above last, where it is not already.
func (n *Numbers) After(last uint64) { n.last = max(n.last, last) }

// Last is the highest number given; 0 for none.
func (n *Numbers) Last() uint64 { return n.last }

func (n *Numbers) take() uint64 {
	n.last++
	return n.last
}

// New returns a Judge with no incidents. Several judges may share numbers, so
// that their incidents are numbered together.
func New(numbers *Numbers) *Judge {
	return &Judge{rules: causeRules(), numbers: numbers, files: make(map[scope.ID]*caseFile), users: make(map[userKey]*userCase)}
}

// causeRules are the causes of each kind of scope, in an order that puts what is
// overtaken after what overtakes it.
func causeRules() map[scope.Kind][]causeRule {
	return map[scope.Kind][]causeRule{
		scope.KindService: {
			workersFull(), clientsGaveUp(), connLimit(), workersFilling(), slowClients(), leak(), synFlood(), trafficMissing(), stuckClosing(),
		},
		scope.KindBackend: {
			pathLost(), peerRefusing(), peerResetting(), peerHalfBroken(), peerFrozen(), peerSlow(), peerNotReading(), heavyLoss(),
			orderlyStop(), lazyPool(), churn(), portExhaustion(), poolAtCeiling(), backendLeak(), backendStuck(), greenButFailing(),
		},
		scope.KindRegion: {
			regionPathLost(), regionRefusing(), regionResetting(), regionHeavyLoss(), regionSlow(), regionOrderlyStop(),
		},
		scope.KindHost: {localFault()},
	}
}

// caseFile is all that is known of one scope.
type caseFile struct {
	scope    scope.ID
	dossiers [UserRule]*dossier // by cause; nil until it is first followed
	// active: anything is suspected or open, as of when the scope was followed
	// last.
	active bool
	presence
}

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

// dossier follows one cause of one scope.
type dossier struct {
	triggers []rule.Holding
	clear    rule.Holding
	incident Incident // State is NoState while nothing is suspected
}

// file returns the scope's file, a new one where there is none. Views have
// their scopes in the same order for long: it is most often that at guess.
func (j *Judge) file(id scope.ID, guess int) *caseFile {
	if guess < len(j.order) && j.order[guess].scope == id {
		return j.order[guess]
	}
	f := j.files[id]
	if f == nil {
		f = &caseFile{scope: id}
		j.files[id] = f
		j.order = append(j.order, f)
	}
	return f
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

// Step takes the signals of this instant and returns the incidents: the
// suspected and the open ones, then the lately resolved, newest first. The
// slice is good until the next Step.
func (j *Judge) Step(now time.Time, view *measure.View) []Incident {
	j.step++
	host := view.Host()
	nobody := newGroup()
	var groups map[siblings]*group // gathered once a backend or a region is followed
	j.inView = j.inView[:0]
	for i := range view.Scopes {
		j.inView = append(j.inView, j.file(view.Scopes[i].Scope, i))
	}
	failing := j.unreachable(view)
	for i := range view.Scopes {
		s, file := &view.Scopes[i], j.inView[i]
		file.followed = j.step
		j.around = around{now: now}
		sub := subject{scope: s, host: host, group: nobody, around: &j.around}
		switch s.Scope.Kind {
		case scope.KindBackend, scope.KindRegion:
			if !s.Fresh && !file.active {
				continue // a pulse says nothing new of it
			}
			if groups == nil {
				groups = j.groupsOf(view)
			}
			sub.group, sub.critical = cmp.Or(groups[siblingsOf(s)], nobody), file.criticalSince()
			sub.failing, sub.frozen, sub.resetting = failing, file.state(PeerFrozen) == Open, file.state(PeerResetting) == Open
			sub.group.count(file, -1)
		case scope.KindHost: // the last of the view: all others have been followed
			sub.failing = j.unreachable(view)
		}
		rules := j.rules[s.Scope.Kind]
		for r := range rules {
			j.follow(now, &rules[r], sub, file)
		}
		file.note()
		if s.Scope.Kind == scope.KindBackend || s.Scope.Kind == scope.KindRegion {
			sub.group.count(file, +1)
			file.noteBalancer(now, sub)
		}
	}
	j.silence(now)
	j.closeGone(now)
	j.stepRules(now, view, host)
	return j.Incidents()
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
	d.clear = rule.Holding{}
	d.incident = Incident{}
}

// closeGone ends what belongs to scopes that are no longer there.
func (j *Judge) closeGone(now time.Time) {
	j.order = slices.DeleteFunc(j.order, func(f *caseFile) bool {
		if !f.gone(now, j.step) {
			return false
		}
		for _, d := range f.dossiers {
			if d != nil && d.incident.State == Open {
				j.resolve(now, d, ScopeGone)
			}
		}
		delete(j.files, f.scope)
		return true
	})
}

// Incidents are those of the last Step, as they are now: one may have been
// acknowledged since. The slice is good until the next call or Step.
func (j *Judge) Incidents() []Incident {
	j.incidents = j.incidents[:0]
	for _, f := range j.order {
		if !f.active {
			continue
		}
		for _, d := range f.dossiers {
			if d != nil && d.incident.State != NoState {
				j.incidents = append(j.incidents, d.incident)
			}
		}
	}
	for _, key := range j.userOrder {
		if inc := j.users[key].incident; inc.State != NoState {
			j.incidents = append(j.incidents, inc)
		}
	}
	slices.SortStableFunc(j.incidents, func(a, b Incident) int { return int(b.ID) - int(a.ID) })
	j.incidents = append(j.incidents, j.resolved...)
	return j.incidents
}

// Acknowledge marks an open or suspected incident as taken and reports
// whether there is one of that number.
func (j *Judge) Acknowledge(now time.Time, id uint64, by string) bool {
	for _, f := range j.files {
		for _, d := range f.dossiers {
			if d != nil && d.incident.acknowledge(now, id, by) {
				return true
			}
		}
	}
	for _, c := range j.users {
		if c.incident.acknowledge(now, id, by) {
			return true
		}
	}
	return false
}

// Suspicious reports whether anything is suspected but not yet open: the
// schedule then looks closer.
func Suspicious(incidents []Incident) bool {
	return slices.ContainsFunc(incidents, func(i Incident) bool { return i.State == Suspected })
}

package judge

import (
	"cmp"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/scope"
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
	sources   []Source // what explained others at the last step: outside, then from own on our own
	own       int
	outside   []Source   // of the agent's own namespace, where this is another
	resolved  []Incident // newest first
	incidents []Incident
	userRules []rule.Rule
	users     map[userKey]*userCase
	userOrder []userKey
	troubles  []*troubleCase // in the order of their beginning
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
		scope.KindAddress: {usersFailingOnOld(), staleDNS(), oldConnection(), arrivalsMissing()},
		scope.KindHost:    {localFault()},
	}
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

// Step takes the signals of this instant and returns the incidents: the
// suspected and the open ones, then the lately resolved, newest first. The
// slice is good until the next Step.
func (j *Judge) Step(now time.Time, view *measure.View) []Incident {
	j.step++
	host := view.Host()
	nobody := newGroup()
	var groups map[siblings]*group // gathered once one of whom has siblings is followed
	j.inView = j.inView[:0]
	for i := range view.Scopes {
		j.inView = append(j.inView, j.file(view.Scopes[i].Scope, i))
	}
	failing := j.unreachable(view)
	for i := range view.Scopes {
		s, file := &view.Scopes[i], j.inView[i]
		file.followed, file.region = j.step, regionOf(s)
		j.around = around{now: now}
		sub := subject{scope: s, host: host, group: nobody, around: &j.around}
		switch {
		case hasSiblings(s.Scope.Kind):
			if !s.Fresh && !file.active {
				continue // a pulse says nothing new of it
			}
			if groups == nil {
				groups = j.groupsOf(view)
			}
			sub.group, sub.critical = cmp.Or(groups[siblingsOf(s)], nobody), file.criticalSince()
			sub.failing, sub.frozen, sub.resetting = failing, file.state(PeerFrozen) == Open, file.state(PeerResetting) == Open
			sub.group.count(file, -1)
		case s.Scope.Kind == scope.KindHost: // the last of the view: all others have been followed
			sub.failing = j.unreachable(view)
		}
		rules := j.rules[s.Scope.Kind]
		for r := range rules {
			j.follow(now, &rules[r], sub, file)
		}
		file.note()
		if hasSiblings(s.Scope.Kind) {
			sub.group.count(file, +1)
			file.noteBalancer(now, sub)
		}
	}
	j.attribute(now)
	j.closeGone(now)
	j.stepRules(now, view, host)
	return j.Incidents()
}

// hasSiblings reports whether scopes of that kind are followed beside others of
// their group.
func hasSiblings(kind scope.Kind) bool {
	return kind == scope.KindBackend || kind == scope.KindRegion || kind == scope.KindAddress
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
	for _, c := range j.troubles {
		j.incidents = append(j.incidents, c.incident)
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
	for _, c := range j.troubles {
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

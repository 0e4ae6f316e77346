package api

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// heardWithin is how long ago something must have come from a backend for it
// to be called well. Balancers' health checks are up to 30 s apart; without
// them, and without requests, nothing shows.
const heardWithin = time.Minute

// Backend is where a backend's connections go, who says so, and how it does.
type Backend struct {
	Remote string `json:"remote"`
	// Group ties it to its siblings.
	Group string `json:"group"`
	// Region is the name of the region that its address is in; empty for none.
	Region string `json:"region"`
	// Source is who named it: "observed", "configured", "haproxy /run/…".
	Source string `json:"source"`
	// Also are further names of the same address.
	Also []string `json:"also"`
	// Behind are the servers behind it, as far as seen, where it is a service
	// address.
	Behind []string `json:"behind"`
	// Limit is what cannot be told apart; empty when nothing is odd.
	Limit string `json:"limit"`
	// Note says in words that its balancer's health checks are all it is asked;
	// else it is empty.
	Note    string  `json:"note"`
	Verdict Verdict `json:"verdict"`
}

// Verdict is how a backend or a region does, by the kernel's own record.
type Verdict struct {
	// State is one of the States below.
	State string `json:"state"`
	// Reason is why the state is unknown: as a Value's, or one of the Reasons
	// below; empty otherwise.
	Reason string `json:"reason,omitempty"`
	// Cause, Severity, Incident and Sentence are the worst open incident's;
	// empty and nil without one. Because is what explains it, so that it is not
	// sent: local_fault, or what is wrong with its region.
	Cause    string  `json:"cause,omitempty"`
	Severity string  `json:"severity,omitempty"`
	Incident *uint64 `json:"incident,omitempty"`
	Sentence string  `json:"sentence,omitempty"`
	Because  string  `json:"because,omitempty"`
	// Disputed: it fails, and its balancer has called it up since that was
	// suspected. What it said before is no dispute.
	Disputed bool `json:"disputed"`
}

// The states of a verdict.
const (
	StateFailing = "failing" // an open incident of warning or above
	StateWatch   = "watch"   // an open incident to know of
	StateOK      = "ok"      // it answers
	StateUnknown = "unknown" // never seen as ok
)

// The reasons of an unknown verdict beside those of a Value.
const (
	ReasonNotAnswered = "not_answered" // it has owed an answer for a minute and no cause is open
	ReasonNoEvidence  = "no_evidence"  // an incident is open, and nothing shows any more whether it lasts
)

// fails: an open incident of warning or above, seen to last or not.
func (v *Verdict) fails() bool {
	return v.Severity == judge.Warning.String() || v.Severity == judge.Critical.String()
}

// BackendView is one backend as an operator asks for it.
type BackendView struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Remote  string   `json:"remote"`
	Process string   `json:"process"`
	Source  string   `json:"source"`
	Also    []string `json:"also"`
	Behind  []string `json:"behind"`
	Limit   string   `json:"limit"`
	Note    string   `json:"note"`
	Verdict Verdict  `json:"verdict"`

	Established     Value `json:"established"`
	Pending         Value `json:"pending"`
	PendingLongest  Value `json:"pending_longest_seconds"`
	AnswerNow       Value `json:"answer_now_seconds"`
	AnswerUsual     Value `json:"answer_usual_seconds"`
	RetransmitsRate Value `json:"retransmits_per_connection_per_second"`
	HeardAgo        Value `json:"heard_ago_seconds"`
	NewFlowsRate    Value `json:"new_flows_per_second"`
	BalancerUp      Value `json:"balancer_up"`
	ChecksEvery     Value `json:"checks_every_seconds"`
}

// BackendGroup is the backends that stand in for each other.
type BackendGroup struct {
	Group string `json:"group"`
	// Total counts all of the group, Failing those with an open incident of
	// warning or above, whether it is seen to last or not; both count what the
	// question left out too.
	Total    int           `json:"total"`
	Failing  int           `json:"failing"`
	Backends []BackendView `json:"backends"`
}

// Pool is how a pool of the configuration, or a balancer that was found, is
// seen: whether its backends are known at all.
type Pool struct {
	Name       string `json:"name"`
	Configured bool   `json:"configured"`
	// Source is who names its members: "observed", "haproxy /run/…".
	Source string `json:"source"`
	// Processes counts those found, Members the backends named or observed.
	Processes int `json:"processes"`
	Members   int `json:"members"`
	// Problem is why its members are not all known; of a configured pool
	// without a member there always is one.
	Problem string `json:"problem,omitempty"`
}

// Backends is the answer of /api/v1/backends. Pools are all of them, whatever
// the question left out.
type Backends struct {
	At     time.Time      `json:"at"`
	Groups []BackendGroup `json:"groups"`
	Pools  []Pool         `json:"pools"`
}

// verdicts holds the worst open incident of each scope that has one.
type verdicts map[scope.ID]*judge.Incident

// verdicts finds them; of equals it is the oldest.
func (v viewer) verdicts() verdicts {
	worst := verdicts{}
	for i := range v.s.Incidents { // newest first
		inc := &v.s.Incidents[i]
		if inc.State != judge.Open {
			continue
		}
		if w := worst[inc.Finding.Scope]; w == nil || inc.Finding.Severity >= w.Finding.Severity {
			worst[inc.Finding.Scope] = inc
		}
	}
	return worst
}

// of is the verdict of one backend or region.
func (w verdicts) of(sig *measure.ScopeSignals) Verdict {
	if inc := w[sig.Scope]; inc != nil {
		f := &inc.Finding
		out := Verdict{State: StateWatch, Cause: f.Cause.String(), Severity: f.Severity.String(), Incident: &inc.ID, Sentence: f.Sentence}
		if inc.Because != judge.NoCause {
			out.Because = inc.Because.String()
		}
		if f.Severity >= judge.Warning {
			opinion := sig.Get(measure.BalancerUp)
			up, known := opinion.Get()
			out.State, out.Disputed = StateFailing, known && up >= 1 && opinion.Seen.After(inc.SuspectedAt)
		}
		if !inc.BlindSince.IsZero() {
			out.State, out.Reason = StateUnknown, ReasonNoEvidence
		}
		return out
	}
	if established := sig.Get(measure.Established); established.Validity != measure.Known {
		return Verdict{State: StateUnknown, Reason: established.Validity.String()}
	}
	heard := sig.Get(measure.HeardAgo)
	ago, known := heard.Get()
	switch {
	case !known:
		return Verdict{State: StateUnknown, Reason: heard.Validity.String()}
	case ago <= heardWithin.Seconds():
		return Verdict{State: StateOK}
	case sig.Get(measure.Silent).Validity == measure.Known:
		return Verdict{State: StateUnknown, Reason: ReasonNotAnswered}
	}
	return Verdict{State: StateUnknown, Reason: measure.NoTraffic.String()}
}

// backends are the backends by group, in the order of their names: of one
// group, or of all where it is empty; only those that fail where failing.
func (v viewer) backends(group string, failing bool) []BackendGroup {
	worst := v.verdicts()
	signals := make(map[scope.ID]*measure.ScopeSignals, len(v.s.View.Scopes))
	for i := range v.s.View.Scopes {
		signals[v.s.View.Scopes[i].Scope] = &v.s.View.Scopes[i]
	}
	byGroup := map[string]*BackendGroup{}
	out := []BackendGroup{}
	for i := range v.s.Backends {
		b := &v.s.Backends[i]
		if group != "" && b.Group != group {
			continue
		}
		g := byGroup[b.Group]
		if g == nil {
			g = &BackendGroup{Group: b.Group, Backends: []BackendView{}}
			byGroup[b.Group] = g
		}
		sig := signals[b.ID()]
		if sig == nil {
			sig = &measure.ScopeSignals{Scope: b.ID()} // found, and not looked at yet
		}
		verdict := worst.of(sig)
		g.Total++
		if verdict.fails() {
			g.Failing++
		} else if failing {
			continue
		}
		g.Backends = append(g.Backends, v.backend(b, sig, verdict))
	}
	for _, g := range byGroup {
		if failing && g.Failing == 0 {
			continue
		}
		slices.SortFunc(g.Backends, func(a, b BackendView) int {
			return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
		})
		out = append(out, *g)
	}
	slices.SortFunc(out, func(a, b BackendGroup) int { return strings.Compare(a.Group, b.Group) })
	return out
}

// note says of a backend that hardly anybody asks what is asked of it.
func note(sig *measure.ScopeSignals) string {
	period, known := sig.Get(measure.ChecksEvery).Get()
	if !known {
		return ""
	}
	return fmt.Sprintf("only its balancer's health checks, it seems: one exchange every %.0f s and nothing else", period)
}

func (v viewer) backend(b *scope.Backend, sig *measure.ScopeSignals, verdict Verdict) BackendView {
	value := func(s measure.Signal) Value { return v.value(sig.Get(s)) }
	return BackendView{
		ID: b.ID().String(), Name: b.Name, Remote: b.Remote.String(), Process: b.Process, Source: b.Source,
		Also: listed(b.Also), Behind: addresses(b.Behind), Limit: b.Limit, Note: note(sig), Verdict: verdict,
		Established: value(measure.Established), Pending: value(measure.Pending), PendingLongest: value(measure.PendingLongest),
		AnswerNow: value(measure.AnswerNow), AnswerUsual: value(measure.AnswerUsual), RetransmitsRate: value(measure.RetransmitsPerConnectionRate),
		HeardAgo: value(measure.HeardAgo), NewFlowsRate: value(measure.NewFlowsRate), BalancerUp: value(measure.BalancerUp), ChecksEvery: value(measure.ChecksEvery),
	}
}

// backends answers what an operator asks first: who is behind the balancers,
// and who of them fails.
func (s *server) backends(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if !s.understands(w, query, "group", "failing") {
		return
	}
	group, failing := query.Get("group"), query.Get("failing")
	if query.Has("failing") && failing != "true" && failing != "false" {
		s.problem(w, http.StatusBadRequest, fmt.Sprintf("failing is %.50q", failing), "failing is true or false")
		return
	}
	v := s.view()
	if query.Has("group") && !slices.ContainsFunc(v.s.Backends, func(b scope.Backend) bool { return b.Group == group }) {
		// A misspelt group with failing=true would otherwise look healthy.
		s.problem(w, http.StatusNotFound, fmt.Sprintf("there is no group %.200q", group), "GET /api/v1/backends lists the groups")
		return
	}
	s.json(w, http.StatusOK, Backends{At: v.time(v.s.At), Groups: v.backends(group, failing == "true"), Pools: listed(v.s.Pools)})
}

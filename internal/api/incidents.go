package api

import (
	"time"

	"github.com/foreshock/foreshock/internal/judge"
)

// Incident is a finding's life.
type Incident struct {
	ID             uint64       `json:"id"`
	State          string       `json:"state"`
	Scope          string       `json:"scope"`
	Namespace      string       `json:"namespace"`
	Cause          string       `json:"cause"`
	Severity       string       `json:"severity"`
	PeakSeverity   string       `json:"peak_severity"`
	Certainty      string       `json:"certainty"`
	Basis          string       `json:"basis"`
	Sentence       string       `json:"sentence"`
	Hurt           string       `json:"hurt"` // who is; empty of an agent that did not say
	Trigger        string       `json:"trigger"`
	SuspectedAt    *time.Time   `json:"suspected_at"`
	OpenedAt       *time.Time   `json:"opened_at"`
	ResolvedAt     *time.Time   `json:"resolved_at"`
	UpdatedAt      *time.Time   `json:"updated_at"`
	BlindSince     *time.Time   `json:"no_evidence_since"`
	AcknowledgedAt *time.Time   `json:"acknowledged_at"`
	AcknowledgedBy string       `json:"acknowledged_by,omitempty"`
	End            string       `json:"end,omitempty"`
	Evidence       []Evidence   `json:"evidence"`
	Considered     []Considered `json:"considered"`
	Advice         []string     `json:"advice"`
	Timeline       []Step       `json:"timeline"`
	Examples       []Socket     `json:"examples"`
	// Pattern is one of the workers article's three, empty for none, with
	// what makes it that one and what it calls for.
	Pattern         string   `json:"pattern"`
	PatternEvidence string   `json:"pattern_evidence"`
	Response        string   `json:"response"`
	Prefixes        []Prefix `json:"prefixes"`
	// Siblings is what the other backends of its group carry now.
	Siblings string `json:"siblings,omitempty"`
	// Because is the cause that explains it, so that it is not sent: local_fault,
	// or what is wrong with its region. BecauseIncident is that one's number.
	Because         string `json:"because,omitempty"`
	BecauseIncident uint64 `json:"because_incident,omitempty"`
	// SilencedBy is the ID of the silence that keeps it from being sent.
	SilencedBy string `json:"silenced_by,omitempty"`
	// BalancerDownAt is when its balancer first called it down;
	// BalancerLagSeconds how long after the first suspicion that was.
	BalancerDownAt     *time.Time `json:"balancer_down_at,omitempty"`
	BalancerLagSeconds *float64   `json:"balancer_lag_seconds,omitempty"`
	// Rule is the user's rule, where the cause is user_rule.
	Rule string `json:"rule,omitempty"`
	// Place is where stale_dns has its old answer from: "resolver" or "process".
	Place string `json:"place,omitempty"`
	// Actions are what the response to it did and will do, by time; empty where
	// there is none.
	Actions []Action `json:"actions"`
}

// Evidence is a number beside the level it is held against.
type Evidence struct {
	Signal    string   `json:"signal"`
	Unit      string   `json:"unit"`
	Reading   Value    `json:"reading"`
	Threshold *float64 `json:"threshold"`
	Origin    string   `json:"threshold_origin,omitempty"`
}

// Considered is another cause, and why it was rejected.
type Considered = judge.Considered

// Step is one event of an incident's life.
type Step struct {
	At       time.Time `json:"at"`
	What     string    `json:"what"`
	Severity string    `json:"severity,omitempty"`
}

// Incidents is the answer of /api/v1/incidents.
type Incidents struct {
	At        time.Time  `json:"at"`
	Incidents []Incident `json:"incidents"`
	// NextBefore, where it is not zero, leads to older ones of the history.
	NextBefore int64 `json:"next_before,omitempty"`
}

func (v viewer) incident(i *judge.Incident) Incident {
	f := &i.Finding
	out := Incident{
		ID: i.ID, State: i.State.String(), Scope: f.Scope.String(), Namespace: f.Scope.Namespace, Cause: f.Cause.String(),
		Severity: f.Severity.String(), PeakSeverity: i.Peak.String(), Certainty: f.Certainty.String(),
		Basis: f.Basis, Sentence: f.Sentence, Hurt: f.Hurt, Trigger: f.Trigger,
		SuspectedAt: v.maybe(i.SuspectedAt), OpenedAt: v.maybe(i.OpenedAt), ResolvedAt: v.maybe(i.ResolvedAt),
		UpdatedAt: v.maybe(i.UpdatedAt), BlindSince: v.maybe(i.BlindSince),
		AcknowledgedAt: v.maybe(i.AcknowledgedAt), AcknowledgedBy: i.AcknowledgedBy, End: i.End.String(),
		Evidence: []Evidence{}, Considered: listed(f.Considered), Advice: listed(f.Advice), Timeline: []Step{},
		Examples: v.sockets(f.Examples),
		Pattern:  f.Pattern.String(), PatternEvidence: f.PatternEvidence, Response: f.Response, Prefixes: prefixes(f.Prefixes), Rule: f.Rule, Place: f.Place.String(),
		Siblings: f.Siblings, Actions: listed(v.s.Actions[i.ID]), SilencedBy: i.SilencedBy,
	}
	if i.Because != judge.NoCause {
		out.Because, out.BecauseIncident = i.Because.String(), i.BecauseOf
	}
	if !i.BalancerDownAt.IsZero() {
		out.BalancerDownAt = v.maybe(i.BalancerDownAt)
		lead, _ := v.s.Lead(i)
		out.BalancerLagSeconds = new(lead.Seconds())
	}
	for _, e := range f.Evidence {
		out.Evidence = append(out.Evidence, Evidence{e.Name(), string(e.Counts()), v.value(e.Reading), e.Level(), e.Origin})
	}
	for _, s := range i.Timeline {
		step := Step{At: v.time(s.At), What: s.What}
		if s.Severity != judge.NoSeverity {
			step.Severity = s.Severity.String()
		}
		out.Timeline = append(out.Timeline, step)
	}
	return out
}

func (v viewer) incidents(keep func(*judge.Incident) bool) []Incident {
	out := make([]Incident, 0, len(v.s.Incidents))
	for i := range v.s.Incidents {
		if keep(&v.s.Incidents[i]) {
			out = append(out, v.incident(&v.s.Incidents[i]))
		}
	}
	return out
}

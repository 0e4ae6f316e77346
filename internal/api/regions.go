package api

import (
	"net/http"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// Region is what a region is made of, and how it does.
type Region struct {
	// Prefixes is how many it has.
	Prefixes int `json:"prefixes"`
	// Source is who named them: "configured", "ip-ranges.json (AWS), eu-west-1".
	Source string `json:"source"`
	// Limit is what is odd about it, such as a file of ranges that could not be
	// read again; empty when nothing is.
	Limit   string  `json:"limit"`
	Verdict Verdict `json:"verdict"`
}

// RegionView is one region as an operator asks for it.
type RegionView struct {
	ID        string  `json:"id"`
	Name      string  `json:"name"`
	Namespace string  `json:"namespace"`
	Prefixes  int     `json:"prefixes"`
	Source    string  `json:"source"`
	Limit     string  `json:"limit"`
	Verdict   Verdict `json:"verdict"`

	Connections            Value `json:"connections"`
	Established            Value `json:"established"`
	EstablishedShare       Value `json:"established_share"`
	RetransmittingShare    Value `json:"retransmitting_share"`
	SynSentShare           Value `json:"syn_sent_share"`
	CloseWaitShare         Value `json:"close_wait_share"`
	PendingLateShare       Value `json:"pending_late_share"`
	RetransmitsRate        Value `json:"retransmits_per_connection_per_second"`
	AnswerNow              Value `json:"answer_now_seconds"`
	HeardAgo               Value `json:"heard_ago_seconds"`
	Destinations           Value `json:"destinations"`
	DestinationsUnanswered Value `json:"destinations_unanswered"`
}

// Regions is the answer of /api/v1/regions.
type Regions struct {
	At      time.Time    `json:"at"`
	Regions []RegionView `json:"regions"`
	// Outgoing is the connections that the agent's own namespace began, beyond
	// loopback; UnclassifiedShare those of them in no region. Both are unknown
	// where there are no regions.
	Outgoing          Value `json:"outgoing"`
	UnclassifiedShare Value `json:"unclassified_share"`
}

// regions are the regions of all namespaces, our own's first, in the order of
// the configuration.
func (v viewer) regions() []RegionView {
	worst := v.verdicts()
	out := []RegionView{}
	for i := range v.s.Regions {
		r := &v.s.Regions[i]
		sig := v.s.View.Scope(r.ID())
		if sig == nil {
			sig = &measure.ScopeSignals{Scope: r.ID()} // not looked at yet
		}
		value := func(s measure.Signal) Value { return v.value(sig.Get(s)) }
		out = append(out, RegionView{
			ID: r.ID().String(), Name: r.Name, Namespace: r.Namespace, Prefixes: len(r.Prefixes), Source: r.Source, Limit: r.Limit, Verdict: worst.of(sig),
			Connections: value(measure.Connections), Established: value(measure.Established), EstablishedShare: value(measure.EstablishedShare),
			RetransmittingShare: value(measure.RetransmittingShare), SynSentShare: value(measure.SynSentShare), CloseWaitShare: value(measure.CloseWaitShare),
			PendingLateShare: value(measure.PendingLateShare), RetransmitsRate: value(measure.RetransmitsPerConnectionRate),
			AnswerNow: value(measure.AnswerNow), HeardAgo: value(measure.HeardAgo),
			Destinations: value(measure.Destinations), DestinationsUnanswered: value(measure.DestinationsUnanswered),
		})
	}
	return out
}

// regions answers how each region does, and how much is in none.
func (s *server) regions(w http.ResponseWriter, r *http.Request) {
	if !s.understands(w, r.URL.Query()) {
		return
	}
	v := s.view()
	out := Regions{At: v.time(v.s.At), Regions: v.regions()}
	var rest measure.ScopeSignals
	if found := v.s.View.Scope(scope.Rest); found != nil {
		rest = *found
	}
	out.Outgoing, out.UnclassifiedShare = v.value(rest.Get(measure.Outgoing)), v.value(rest.Get(measure.UnclassifiedShare))
	s.json(w, http.StatusOK, out)
}

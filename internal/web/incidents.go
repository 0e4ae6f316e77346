package web

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/foreshock/foreshock/internal/api"
)

// The words of incidents.

type need struct {
	ID         uint64           `json:"id"`
	Level      string           `json:"level"` // critical, warning, watch, unknown
	Glyph      string           `json:"glyph"`
	Cause      string           `json:"cause"`
	Scope      string           `json:"scope"`
	Severity   string           `json:"severity"`
	Sentence   string           `json:"sentence"`
	Hurt       string           `json:"hurt"`
	Pattern    string           `json:"pattern"`
	Response   string           `json:"response"`
	Balancer   string           `json:"balancer"` // its opinion; empty when it is not asked
	Disputed   bool             `json:"disputed"` // it calls up what fails
	Siblings   string           `json:"siblings"`
	Because    string           `json:"because"`
	Since      string           `json:"since"`
	At         string           `json:"at"`
	Sure       string           `json:"sure"`
	Basis      string           `json:"basis"`
	Advice     []string         `json:"advice"`
	Prefixes   []prefixRow      `json:"prefixes"`
	Considered []api.Considered `json:"considered"`
}

type prefixRow struct {
	Prefix string `json:"prefix"`
	Held   string `json:"held"`
	Slow   string `json:"slow"`
}

// openOf are the open incidents in the order they are shown: what another one
// explains last; then severity, what its balancer calls up, age, scope and
// number, so that equals never change places.
func openOf(p api.Picture) []api.Incident {
	var open []api.Incident
	for _, inc := range p.Incidents {
		if inc.State == "open" {
			open = append(open, inc)
		}
	}
	rank := func(i api.Incident) int { return slices.Index([]string{"critical", "warning", "watch"}, i.Severity) }
	slices.SortStableFunc(open, func(a, b api.Incident) int {
		return cmp.Or(explained(a)-explained(b), cmp.Compare(rank(a), rank(b)), calledUp(p, a)-calledUp(p, b), cmp.Compare(openedAt(a), openedAt(b)), strings.Compare(a.Scope, b.Scope), cmp.Compare(a.ID, b.ID))
	})
	return open
}

// calledUp is 0 for an incident of a backend whose balancer calls it up: it goes
// first, as requests are still sent there.
func calledUp(p api.Picture, i api.Incident) int {
	if _, yes := balancerOf(p, i); yes {
		return 0
	}
	return 1
}

// explained is 1 for an incident that another one explains: it goes last.
func explained(i api.Incident) int {
	if i.Because != "" {
		return 1
	}
	return 0
}

// becauseOf is what explains an incident: "local fault (incident 7)".
func becauseOf(i api.Incident) string {
	if i.BecauseIncident == 0 {
		return spaced(i.Because)
	}
	return fmt.Sprintf("%s (incident %d)", spaced(i.Because), i.BecauseIncident)
}

func openedAt(i api.Incident) int64 {
	if i.OpenedAt == nil {
		return math.MaxInt64
	}
	return i.OpenedAt.UnixMilli()
}

func needOf(p api.Picture, inc api.Incident) need {
	n := need{
		ID: inc.ID, Level: level(inc), Glyph: glyph(level(inc)), Cause: causeOf(inc), Scope: nameOf(inc.Scope), Severity: inc.Severity,
		Sentence: inc.Sentence, Sure: inc.Certainty, Basis: inc.Basis, Since: since(p, inc), At: clock(inc.OpenedAt),
		Response: inc.Response, Advice: slices.Concat([]string{}, inc.Advice), Prefixes: []prefixRow{}, Considered: []api.Considered{},
	}
	n.Balancer, n.Disputed = balancerOf(p, inc)
	n.Siblings = inc.Siblings
	if inc.Hurt != "" {
		n.Hurt = "Who is hurt: " + inc.Hurt
	}
	switch {
	case inc.Because != "":
		n.Because = "explained by " + becauseOf(inc) + ", and not sent"
	case inc.SilencedBy != "":
		n.Because = "silenced by " + inc.SilencedBy
	}
	if inc.BlindSince != nil {
		n.Sure, n.Basis = "unknown", "no evidence since "+clock(inc.BlindSince)
	}
	if inc.AcknowledgedAt != nil {
		n.Basis += "; taken by " + cmp.Or(inc.AcknowledgedBy, "someone")
	}
	if inc.Pattern != "" {
		n.Pattern = spaced(inc.Pattern)
		if inc.PatternEvidence != "" {
			n.Pattern += ": " + inc.PatternEvidence
		}
	}
	for _, x := range inc.Prefixes {
		n.Prefixes = append(n.Prefixes, prefixRow{x.Prefix, strconv.Itoa(int(x.Held)), strconv.Itoa(int(x.Slow))})
	}
	for _, c := range inc.Considered {
		n.Considered = append(n.Considered, api.Considered{Cause: spaced(c.Cause), Why: c.Why})
	}
	return n
}

// level is how an incident is shown: its severity, and unknown when nobody can
// see it any more.
func level(i api.Incident) string {
	if i.BlindSince != nil {
		return "unknown"
	}
	return i.Severity
}

func glyph(level string) string {
	return map[string]string{"critical": "◆", "warning": "▲", "watch": "○", "unknown": "◌"}[level]
}

func causeOf(i api.Incident) string {
	if i.Rule != "" {
		return "rule " + i.Rule
	}
	return spaced(i.Cause)
}

func since(p api.Picture, i api.Incident) string {
	if i.OpenedAt == nil {
		return "–"
	}
	return span(p.Status.At.Sub(*i.OpenedAt).Seconds())
}

package web

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/foreshock/foreshock/internal/api"
)

// maxRegions is how many regions are drawn; those with something to say go
// first, and the rest is counted.
const maxRegions = 20

type regionRow struct {
	ID             string `json:"id"`
	Name           string `json:"name"`
	What           string `json:"what"`
	Limit          string `json:"limit"` // what is odd about it; may be empty
	Level          string `json:"level"`
	Glyph          string `json:"glyph"`
	Verdict        string `json:"verdict"`
	Reason         string `json:"reason"`
	Since          string `json:"since"`
	Established    string `json:"established"` // "150 of 170"
	Retransmitting string `json:"retransmitting"`
	Destinations   string `json:"destinations"` // "4 of 4": those that something is sent to again
	Answers        string `json:"answers"`
}

// regionsOf are the regions by name, and how many are left out, in words.
func regionsOf(p api.Picture, open []api.Incident) (rows []regionRow, more string) {
	rows = []regionRow{}
	for _, s := range p.Scopes {
		if s.Kind == "region" {
			rows = append(rows, regionOf(p, s, open))
		}
	}
	calm := func(r regionRow) int {
		if r.Level == "normal" || r.Level == "unknown" {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(rows, func(a, b regionRow) int {
		return cmp.Or(cmp.Compare(calm(a), calm(b)), strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	if left := len(rows) - maxRegions; left > 0 {
		rows, more = rows[:maxRegions], fmt.Sprintf("and %d more", left)
	}
	return rows, more
}

func regionOf(p api.Picture, s api.Scope, open []api.Incident) regionRow {
	out := regionRow{
		ID: s.ID, Name: s.Name, Level: "unknown", Verdict: "unknown", Since: "–", Reason: "the agent does not say",
		Established:    share(signal(s, "established"), signal(s, "connections")),
		Retransmitting: portion(signal(s, "retransmitting_share")), Destinations: share(signal(s, "destinations_unanswered"), signal(s, "destinations")),
		Answers: within(signal(s, "answer_now_seconds")),
	}
	if s.Namespace != "" {
		out.Name += "@" + s.Namespace
	}
	if r := s.Region; r != nil {
		out.What, out.Limit = fmt.Sprintf("%d prefixes · %s", r.Prefixes, r.Source), r.Limit
		if r.Prefixes == 1 {
			out.What = "1 prefix · " + r.Source
		}
		switch r.Verdict.State {
		case "ok":
			out.Level, out.Verdict, out.Reason = "normal", "answers", ""
		case "unknown":
			out.Reason = reason(api.Value{Unknown: r.Verdict.Reason})
		}
	}
	if i := slices.IndexFunc(open, func(i api.Incident) bool { return i.Scope == s.ID }); i >= 0 {
		out.Level, out.Verdict, out.Since, out.Reason = level(open[i]), causeOf(open[i]), since(p, open[i]), why(open[i])
	}
	out.Glyph = glyph(out.Level)
	return out
}

// why says what else is known of a verdict: that nothing shows it any more, or
// what explains it.
func why(i api.Incident) string {
	switch {
	case i.BlindSince != nil:
		return "no evidence since " + clock(i.BlindSince)
	case i.Because != "":
		return "explained by " + becauseOf(i)
	}
	return ""
}

// portion words a share that may be unknown.
func portion(v api.Value) string {
	if v.Value == nil {
		return "unknown"
	}
	return percent(*v.Value)
}

// unclassified says how much of what this host began is in no region; empty
// where there are none.
func unclassified(p api.Picture) string {
	for _, s := range p.Scopes {
		if s.ID != "rest" {
			continue
		}
		all, none := signal(s, "outgoing"), signal(s, "unclassified_share")
		if all.Value != nil && none.Value != nil {
			return fmt.Sprintf("%s of %s connections that this host began are in no region.", percent(*none.Value), whole(*all.Value))
		}
	}
	return ""
}

package web

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/foreshock/foreshock/internal/api"
)

// maxBackends is how many backends are drawn; those with something to say go
// first, and the rest is counted.
const maxBackends = 100

// group is the backends that stand in for each other.
type group struct {
	Key      string    `json:"key"` // no scope's id
	Name     string    `json:"name"`
	Note     string    `json:"note"` // "1 of 3 failing"
	Backends []backend `json:"backends"`
}

type backend struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	What     string `json:"what"`
	Limit    string `json:"limit"` // what cannot be told apart; may be empty
	Level    string `json:"level"`
	Glyph    string `json:"glyph"`
	Verdict  string `json:"verdict"`
	Reason   string `json:"reason"`
	Since    string `json:"since"`
	Balancer string `json:"balancer"` // its opinion: up, down, not asked
	Disputed bool   `json:"disputed"` // it fails, and is called up
	Pending  string `json:"pending"`  // "11 of 12"
	Longest  string `json:"longest"`
	Answers  string `json:"answers"` // "within 100 ms"
	Usually  string `json:"usually"`
}

// backendsOf are the backends by group, and how many are left out, in words.
func backendsOf(p api.Picture, open []api.Incident) (groups []group, more string) {
	groups = []group{}
	var all []api.Scope
	for _, s := range p.Scopes {
		if s.Kind == "backend" {
			all = append(all, s)
		}
	}
	slices.SortStableFunc(all, func(a, b api.Scope) int {
		return cmp.Or(strings.Compare(groupOf(a), groupOf(b)), strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	rows := make([]backend, len(all))
	calm := 0
	for i, s := range all {
		rows[i] = backendOf(p, s, open)
		if rows[i].Level == "normal" {
			calm++
		}
	}
	// First those with something to say, up to the bound; the calm take what is left.
	loudLeft, calmLeft := maxBackends, max(0, maxBackends-(len(rows)-calm))
	total, failing := map[string]int{}, map[string]int{}
	for i, s := range all {
		name := groupOf(s)
		total[name]++
		if rows[i].Level == "critical" || rows[i].Level == "warning" {
			failing[name]++
		}
		left := &loudLeft
		if rows[i].Level == "normal" {
			left = &calmLeft
		}
		if *left == 0 {
			continue
		}
		*left--
		if n := len(groups); n == 0 || groups[n-1].Name != name {
			groups = append(groups, group{Key: "group " + name, Name: name})
		}
		g := &groups[len(groups)-1]
		g.Backends = append(g.Backends, rows[i])
	}
	shown := 0
	for i := range groups {
		g := &groups[i]
		shown += len(g.Backends)
		g.Note = fmt.Sprintf("%d of %d failing", failing[g.Name], total[g.Name])
	}
	if left := len(all) - shown; left > 0 {
		more = fmt.Sprintf("and %d more", left)
	}
	return groups, more
}

func groupOf(s api.Scope) string {
	if s.Backend == nil {
		return ""
	}
	return s.Backend.Group
}

func backendOf(p api.Picture, s api.Scope, open []api.Incident) backend {
	out := backend{
		ID: s.ID, Name: s.Name, What: cmp.Or(s.Process, "unknown process"), Level: "unknown", Verdict: "unknown", Since: "–",
		Balancer: opinion(s), Pending: share(signal(s, "pending"), signal(s, "established")), Longest: seconds(signal(s, "pending_longest_seconds")),
		Answers: within(signal(s, "answer_now_seconds")), Usually: within(signal(s, "answer_usual_seconds")),
		Reason: "the agent does not say",
	}
	if b := s.Backend; b != nil {
		out.What += fmt.Sprintf(" to %s · %s", b.Remote, b.Source)
		if len(b.Also) > 0 {
			out.What += " · also " + strings.Join(b.Also, ", ")
		}
		out.Limit = b.Limit
		switch b.Verdict.State {
		case "ok":
			out.Level, out.Verdict, out.Reason = "normal", "answers", b.Note
		case "unknown":
			out.Reason = reason(api.Value{Unknown: b.Verdict.Reason})
		}
	}
	if i := slices.IndexFunc(open, func(i api.Incident) bool { return i.Scope == s.ID }); i >= 0 {
		out.Level, out.Verdict, out.Since, out.Reason = level(open[i]), causeOf(open[i]), since(p, open[i]), why(open[i])
		out.Disputed = disputed(s, open[i])
	}
	out.Glyph = glyph(out.Level)
	return out
}

// disputed: the incident says that the backend fails, and its balancer calls it
// up.
func disputed(s api.Scope, i api.Incident) bool {
	return s.Backend != nil && s.Backend.Verdict.Disputed && (i.Severity == "critical" || i.Severity == "warning")
}

// opinion is what the balancer says of its backend.
func opinion(s api.Scope) string {
	v := signal(s, "balancer_up")
	switch {
	case v.Value != nil && *v.Value >= 1:
		return "up"
	case v.Value != nil:
		return "down"
	case v.Unknown == "never_seen":
		return "not asked"
	}
	return "unknown"
}

// balancerOf is the balancer's opinion beside an incident of its backend; empty
// when it is not asked.
func balancerOf(p api.Picture, inc api.Incident) (words string, disagrees bool) {
	if inc.BalancerDownAt != nil && inc.BalancerLagSeconds != nil {
		when := fmt.Sprintf("%s after we suspected it", span(*inc.BalancerLagSeconds))
		if *inc.BalancerLagSeconds < 0 {
			when = fmt.Sprintf("%s before we suspected it", span(-*inc.BalancerLagSeconds))
		}
		return fmt.Sprintf("balancer: down since %s, %s", clock(inc.BalancerDownAt), when), false
	}
	i := slices.IndexFunc(p.Scopes, func(s api.Scope) bool { return s.Kind == "backend" && s.ID == inc.Scope })
	if i < 0 {
		return "", false
	}
	says, disagrees := opinion(p.Scopes[i]), disputed(p.Scopes[i], inc)
	switch {
	case says == "not asked":
		return "", disagrees
	case says == "up" && !disagrees:
		return "balancer: up when last asked", false
	}
	return "balancer: " + says, disagrees
}

// within words how long answers take: the end of a bucket, so no more than
// that.
func within(v api.Value) string {
	switch {
	case v.Value == nil && v.Unknown == "no_traffic":
		return "no traffic"
	case v.Value == nil:
		return "unknown"
	case *v.Value < 1:
		return whole(*v.Value*1e3) + " ms"
	}
	return tenth(*v.Value) + " s"
}

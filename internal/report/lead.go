package report

import (
	"fmt"
	"time"

	"github.com/foreshock/foreshock/internal/api"
)

// Lead is how long before something else the incident was told of.
type Lead struct {
	// Before is "balancer", its verdict, or "came_true", what was foretold.
	Before string `json:"before"`
	// Seconds is from the opening until then, WarningSeconds from the first
	// warning, and SuspectedSeconds from the suspicion; below zero when it came
	// later, nil where there was none.
	Seconds          *float64 `json:"seconds"`
	WarningSeconds   *float64 `json:"warning_seconds"`
	SuspectedSeconds *float64 `json:"suspected_seconds"`
	Says             string   `json:"says"`
}

// sameStep is how far apart the end of a forecast and the opening of what it
// foretold may be: both come of one look.
const sameStep = time.Second

// leadOf is what the incident, or one that foretold it, was ahead of.
func leadOf(i *api.Incident, others []api.Incident) []Lead {
	out := []Lead{}
	if i.BalancerDownAt != nil {
		l := leadTo(i, *i.BalancerDownAt)
		l.Before = "balancer"
		if i.BalancerLagSeconds != nil { // counts what it was taken for before, too
			l.SuspectedSeconds = i.BalancerLagSeconds
		}
		l.Says = fmt.Sprintf("Before its balancer called it down: %s.", l.words())
		out = append(out, l)
	}
	if i.End == "came_true" && i.ResolvedAt != nil {
		l := leadTo(i, *i.ResolvedAt)
		l.Before = "came_true"
		l.Says = fmt.Sprintf("Before it came true: %s.", l.words())
		out = append(out, l)
	}
	for k := range others {
		o := &others[k]
		if o.ID == i.ID || o.Scope != i.Scope || o.End != "came_true" || o.ResolvedAt == nil || i.OpenedAt == nil || o.ResolvedAt.Sub(*i.OpenedAt).Abs() > sameStep {
			continue
		}
		l := leadTo(o, *i.OpenedAt)
		l.Before = "came_true"
		l.Says = fmt.Sprintf("Incident %d, %s, foretold it. Before it opened: %s.", o.ID, spaced(o.Cause), l.words())
		out = append(out, l)
	}
	return out
}

// leadTo is how long before a moment the incident was told of.
func leadTo(i *api.Incident, to time.Time) Lead {
	before := func(at *time.Time) *float64 {
		if at == nil {
			return nil
		}
		return new(to.Sub(*at).Seconds())
	}
	l := Lead{Seconds: before(i.OpenedAt), SuspectedSeconds: before(i.SuspectedAt)}
	for k := range i.Timeline {
		if s := &i.Timeline[k]; s.Severity == "warning" || s.Severity == "critical" {
			l.WarningSeconds = before(&s.At)
			break
		}
	}
	return l
}

func (l *Lead) words() string {
	says := ""
	add := func(what string, seconds *float64) {
		if seconds == nil {
			return
		}
		if says != "" {
			says += ", "
		}
		d := time.Duration(*seconds * float64(time.Second))
		if d < 0 {
			says += fmt.Sprintf("%s only %s after", what, lasting(-d))
		} else {
			says += fmt.Sprintf("%s %s", what, lasting(d))
		}
	}
	add("suspected", l.SuspectedSeconds)
	add("open", l.Seconds)
	add("a warning", l.WarningSeconds)
	return says
}

// Package web serves the agent's plain first page: what fails, what is
// watched, and what cannot be seen, as HTML without a script. The full web app
// comes later; both are readers of the agent's snapshots and hold no logic.
package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

//go:embed page.html page.css
var files embed.FS

// Source gives the snapshots to show.
type Source interface {
	Snapshot() *api.Snapshot
}

// New returns the handler of / and /page.css.
func New(source Source) http.Handler { return at(source, time.Now) }

func at(source Source, now func() time.Time) http.Handler {
	page := template.Must(template.ParseFS(files, "page.html"))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /page.css", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "page.css") })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		var b bytes.Buffer
		if err := page.Execute(&b, picture(now(), source.Snapshot())); err != nil {
			http.Error(w, "the page could not be drawn: "+err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Refresh", "5")
		_, _ = w.Write(b.Bytes()) // the reader has gone: nobody is left to tell
	})
	return mux
}

// page is what the template needs, in words.
type page struct {
	Verdict, Host, Version, At, Reader string
	Incidents                          []incidentRow
	Services                           []serviceRow
	Looks                              []lookRow
	Limits                             []api.Limit
	Used, Allowed                      string
}

type incidentRow struct {
	Glyph, Severity, Cause, Scope, Sentence, Since, Sure string
	Advice                                               []string
}

type serviceRow struct {
	Name, What, Accepted, Busy, Queue, Limit, Wait string
}

type lookRow struct {
	Tier, Age, Every, Cost, Sockets, State string
}

func picture(now time.Time, s *api.Snapshot) page {
	p := page{
		Host: s.Host, Version: s.Version, Reader: s.Reader, Limits: s.Limits,
		At:   s.Wall(s.At).Format("2 Jan 2006 15:04:05 UTC"),
		Used: fmt.Sprintf("%.2f %%", 100*s.Budget.Used), Allowed: fmt.Sprintf("%.3g %%", 100*s.Budget.Allowed),
	}
	for i := range s.Incidents {
		if inc := &s.Incidents[i]; inc.State == judge.Open {
			p.Incidents = append(p.Incidents, row(s, inc))
		}
	}
	p.Verdict = verdict(now, s, p.Incidents)
	for i := range s.Services {
		p.Services = append(p.Services, service(s, &s.Services[i]))
	}
	for i := range s.Looks {
		p.Looks = append(p.Looks, look(s, &s.Looks[i]))
	}
	return p
}

// verdict is the page's title. A picture that has grown old never says that
// all is well.
func verdict(now time.Time, s *api.Snapshot, open []incidentRow) string {
	switch age := s.Age(now); {
	case s.Sequence > 0 && age > api.AliveWithin:
		return fmt.Sprintf("No word from the agent for %s: this is how it was", age.Round(time.Second))
	case len(open) == 1:
		return open[0].Scope + ": " + open[0].Cause
	case len(open) > 1:
		return fmt.Sprintf("%d things are going wrong", len(open))
	case !s.Ready:
		return "Looking for the first time"
	}
	return "Nothing found wrong in what can be seen"
}

func row(s *api.Snapshot, inc *judge.Incident) incidentRow {
	glyph := map[judge.Severity]string{judge.Critical: "◆", judge.Warning: "▲", judge.Watch: "○"}[inc.Finding.Severity]
	sure := inc.Finding.Certainty.String() + ", " + inc.Finding.Basis
	if !inc.BlindSince.IsZero() {
		sure = "unknown: no evidence since " + s.Wall(inc.BlindSince).Format("15:04:05 UTC")
	}
	if !inc.AcknowledgedAt.IsZero() {
		sure += "; taken by " + inc.AcknowledgedBy
	}
	return incidentRow{
		Glyph: glyph, Severity: inc.Finding.Severity.String(), Cause: inc.Finding.Cause.Words(), Scope: inc.Finding.Scope.Name,
		Sentence: inc.Finding.Sentence, Since: s.At.Sub(inc.OpenedAt).Round(time.Second).String(),
		Sure: sure, Advice: inc.Finding.Advice,
	}
}

func service(s *api.Snapshot, x *scope.Service) serviceRow {
	signals := s.View.Scope(x.ID())
	say := func(sig measure.Signal, unit string) string {
		if signals == nil {
			return "unknown"
		}
		r := signals.Get(sig)
		value, known := r.Get()
		if !known {
			return "unknown: " + r.Validity.Words()
		}
		if sig == measure.QueueWait {
			return fmt.Sprintf("%.1f%s", value, unit)
		}
		return fmt.Sprintf("%.0f%s", value, unit)
	}
	return serviceRow{
		Name: x.Name, What: x.Describe(), Accepted: say(measure.Accepted, ""), Busy: say(measure.Busy, ""),
		Queue: say(measure.QueueDepth, ""), Limit: say(measure.QueueLimit, ""), Wait: say(measure.QueueWait, " s"),
	}
}

func look(s *api.Snapshot, l *api.LookStatus) lookRow {
	out := lookRow{Tier: l.Tier.String(), Every: l.Interval.Round(10 * time.Millisecond).String(), Cost: fmt.Sprintf("%.2f ms", l.Cost.Seconds()*1e3)}
	switch {
	case l.LastError != "":
		out.State = "failing: " + l.LastError
	case l.Covered:
		out.State = "full looks as often, and sees it all"
	case l.Last.Begin.IsZero():
		out.State = "not yet"
	default:
		out.State = l.Last.Completeness.String()
	}
	if !l.Seen.IsZero() {
		out.Age = fmt.Sprintf("%.1f s", s.At.Sub(l.Seen).Seconds())
		out.Sockets = fmt.Sprint(l.Last.Sockets)
	}
	return out
}

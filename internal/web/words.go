package web

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/api"
)

// silentAfter is how old a picture may be before the page stops trusting it:
// three heartbeats of the event stream.
const silentAfter = 15 * time.Second

// maxNeeds is how many things that need someone are shown in full.
const maxNeeds = 5

// view is the page in words. words.js makes the same from the same picture; a
// test holds the two against each other, so a change here is a change there.
type view struct {
	Title    string    `json:"title"`
	Sub      string    `json:"sub"`
	Lost     bool      `json:"lost"` // the picture is old
	Needs    []need    `json:"needs"`
	More     string    `json:"more"` // "and 3 more"; empty
	Services []service `json:"services"`
	Groups   []group   `json:"groups"`
	Rest     string    `json:"rest"` // backends that are not drawn: "and 3 more"; empty
	// Regions are none where none is configured; RegionsRest those that are not
	// drawn, and Unclassified how much is in no region; both may be empty.
	Regions      []regionRow `json:"regions"`
	RegionsRest  string      `json:"regionsRest"`
	Unclassified string      `json:"unclassified"`
	Looks        []lookRow   `json:"looks"`
	Limits       []api.Limit `json:"limits"`
	Version      string      `json:"version"`
}

type service struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	What    string `json:"what"`
	Level   string `json:"level"` // as of a need; "normal" when nothing is wrong
	Glyph   string `json:"glyph"`
	Verdict string `json:"verdict"`
	Reason  string `json:"reason"` // forecast, or why unknown; may be empty
	Since   string `json:"since"`
	Busy    string `json:"busy"`  // "7 of 20"
	Limit   string `json:"limit"` // where the limit is from
	Bar     bar    `json:"bar"`
	Queue   string `json:"queue"` // "0 of 511"
	Wait    string `json:"wait"`
}

// bar is the state bar in hundredths of its length. With a limit its box ends
// at the limit's tick and what waits stands behind it or fills it up; without
// one there is no tick.
type bar struct {
	Label    string  `json:"label"`
	Occupied float64 `json:"occupied"`
	Waiting  float64 `json:"waiting"`
	Tick     float64 `json:"tick"` // 0: none
}

type lookRow struct {
	Tier    string `json:"tier"`
	Age     string `json:"age"`
	Every   string `json:"every"`
	Cost    string `json:"cost"`
	Sockets string `json:"sockets"`
	State   string `json:"state"`
}

// viewOf words a picture that is age old.
func viewOf(p api.Picture, age time.Duration) view {
	open := openOf(p)
	v := view{
		Title: title(p, open, age), Lost: age > silentAfter, Version: p.Status.Version,
		Sub: fmt.Sprintf("%s · %s · %s · %s of one core, budget %s", p.Status.Host, p.Status.At.UTC().Format("2006-01-02 15:04:05 UTC"),
			cmp.Or(p.Status.Reader, "no reader yet"), percent(p.Status.Budget.Used), percent(p.Status.Budget.Allowed)),
		Needs: []need{}, Services: []service{}, Looks: []lookRow{}, Limits: slices.Concat(undelivered(p), p.Limits),
	}
	for i, inc := range open {
		if i == maxNeeds {
			v.More = fmt.Sprintf("and %d more", len(open)-maxNeeds)
			break
		}
		v.Needs = append(v.Needs, needOf(p, inc))
	}
	v.Groups, v.Rest = backendsOf(p, open)
	v.Regions, v.RegionsRest = regionsOf(p, open)
	v.Unclassified = unclassified(p)
	for _, s := range p.Scopes {
		if s.Kind == "service" {
			v.Services = append(v.Services, serviceOf(p, s, open))
		}
	}
	for _, l := range p.Looks {
		v.Looks = append(v.Looks, lookOf(l))
	}
	return v
}

// undelivered are the channels that somebody was not told by, or is not told by
// now.
func undelivered(p api.Picture) []api.Limit {
	out := []api.Limit{}
	for _, c := range p.Channels {
		if !c.Failing && c.Undelivered == 0 && c.DeadLetters == 0 && c.Held == 0 {
			continue
		}
		words := fmt.Sprintf("%d wait, %d were given up", c.Queued, c.Undelivered)
		if c.Held > 0 {
			words += fmt.Sprintf("; %d wait because so many an hour were sent", c.Held)
		}
		if c.DeadLetters > 0 {
			words += fmt.Sprintf("; %d are kept, and can be tried again", c.DeadLetters)
		}
		if c.LastError != "" {
			words += ": " + strings.TrimPrefix(c.LastError, "channel "+c.Name+": ")
		}
		out = append(out, api.Limit{Subject: "notices to " + c.Name, Reason: words})
	}
	return out
}

// title is the verdict. A picture that has grown old never says that all is
// well, nor does one in which something cannot be seen. What another incident
// explains is one with it.
func title(p api.Picture, open []api.Incident, age time.Duration) string {
	if own := slices.IndexFunc(open, func(i api.Incident) bool { return explained(i) == 1 }); own > 0 {
		open = open[:own]
	}
	services, backends := 0, 0
	for _, s := range p.Scopes {
		if s.Kind == "service" && occupied(s).Value == nil {
			services++
		}
		if s.Kind == "backend" && s.Backend != nil && s.Backend.Verdict.State == "unknown" && s.Backend.Verdict.Reason == "stale" {
			backends++
		}
	}
	up := map[string]bool{}
	for _, i := range open {
		if calledUp(p, i) == 0 {
			up[i.Scope] = true
		}
	}
	switch {
	case age > silentAfter:
		return fmt.Sprintf("No word from the agent for %s: this is how it was", span(age.Seconds()))
	case len(open) == 1 && open[0].BlindSince != nil:
		return fmt.Sprintf("%s: unknown, %s when last seen", nameOf(open[0].Scope), causeOf(open[0]))
	case len(up) == 1 && !slices.ContainsFunc(open, func(i api.Incident) bool { return i.Scope != open[0].Scope }):
		return fmt.Sprintf("%s: %s, and its balancer says up", nameOf(open[0].Scope), causeOf(open[0]))
	case len(up) > 0:
		return fmt.Sprintf("%d things are going wrong on %s, and balancers call %d of the backends up", len(open), p.Status.Host, len(up))
	case len(open) == 1:
		return fmt.Sprintf("%s: %s", nameOf(open[0].Scope), causeOf(open[0]))
	case len(open) > 1:
		return fmt.Sprintf("%d things are going wrong on %s", len(open), p.Status.Host)
	case !p.Status.Ready:
		return "Looking for the first time"
	case services == 1:
		return "Unknown: 1 service cannot be seen"
	case services > 1:
		return fmt.Sprintf("Unknown: %d services cannot be seen", services)
	case backends == 1:
		return "Unknown: 1 backend cannot be seen"
	case backends > 1:
		return fmt.Sprintf("Unknown: %d backends cannot be seen", backends)
	}
	return "Nothing found wrong in what can be seen"
}

func serviceOf(p api.Picture, s api.Scope, open []api.Incident) service {
	held, lim, waiting := occupied(s), limitOf(s), signal(s, "queue_depth")
	out := service{
		ID: s.ID, Name: s.Name, What: whatOf(s), Level: "normal", Verdict: "normal", Since: "–",
		Busy: share(held, lim), Limit: limitWords(s), Bar: barOf(held, lim, waiting),
		Queue: share(waiting, signal(s, "queue_limit")), Wait: seconds(signal(s, "queue_wait_seconds")),
		Reason: forecast(s),
	}
	if i := slices.IndexFunc(open, func(i api.Incident) bool { return i.Scope == s.ID }); i >= 0 {
		out.Level, out.Verdict, out.Since = level(open[i]), causeOf(open[i]), since(p, open[i])
		if open[i].BlindSince != nil {
			out.Reason = "no evidence since " + clock(open[i].BlindSince)
		}
	} else if held.Value == nil {
		out.Level, out.Verdict, out.Reason = "unknown", "unknown", reason(held)
	}
	out.Glyph = glyph(out.Level)
	return out
}

// occupied is how many workers are taken. An agent older than the signal gives
// what it is made of: what is accepted where a connection holds a worker, and
// what is busy elsewhere.
func occupied(s api.Scope) api.Value {
	if v, ok := s.Signals["workers_occupied"]; ok {
		return v
	}
	if s.Workers != nil && s.Workers.Held == "connection" {
		return signal(s, "accepted")
	}
	return signal(s, "busy")
}

// limitOf is the limit in force, read from the server's configuration or
// learned.
func limitOf(s api.Scope) api.Value {
	if v := signal(s, "workers_limit"); v.Value != nil {
		return v
	}
	if s.Workers != nil && s.Workers.Limit != nil {
		return api.Value{Value: new(float64(*s.Workers.Limit))}
	}
	return api.Value{Unknown: "never_seen"}
}

func limitWords(s api.Scope) string {
	var origin, problem string
	if s.Workers != nil {
		origin, problem = s.Workers.Origin, s.Workers.Problem
	}
	lim := limitOf(s)
	words := "limit unknown: no forecast before the first saturation"
	if lim.Value != nil {
		words = fmt.Sprintf("limit %s, %s", whole(*lim.Value), cmp.Or(origin, "learned"))
	}
	if problem != "" {
		words += "; " + problem
	}
	return words
}

// forecast says when the workers are all busy; empty when nothing is filling
// or no limit says what full is.
func forecast(s api.Scope) string {
	held, lim := occupied(s), limitOf(s)
	if held.Value == nil || lim.Value == nil {
		return ""
	}
	full, err, fast := signal(s, "workers_full_in_seconds"), signal(s, "workers_full_in_error_seconds"), signal(s, "workers_full_in_fast_seconds")
	all := fmt.Sprintf("All %s workers", whole(*lim.Value))
	switch {
	case *lim.Value > 0 && *held.Value >= *lim.Value:
		return all + " are busy."
	case full.Value != nil && err.Value != nil:
		return fmt.Sprintf("%s busy in %s (± %s) at this rate.", all, span(*full.Value), span(*err.Value))
	case full.Value != nil:
		return fmt.Sprintf("%s busy in %s at this rate.", all, span(*full.Value))
	case fast.Value != nil:
		return fmt.Sprintf("%s busy in %s at the rate of the last 15 s.", all, span(*fast.Value))
	case full.Unknown != "" && full.Unknown != "not_filling":
		return "no forecast: " + reason(full)
	}
	return ""
}

func barOf(held, lim, waiting api.Value) bar {
	h, w := number(held), number(waiting)
	b := bar{Label: fmt.Sprintf("%s busy, %s waiting", count(held), count(waiting))}
	scale := max(h+w, 1)
	if lim.Value != nil && *lim.Value > 0 {
		// A ninth of the bar lies behind the tick, for what waits there.
		scale = max(*lim.Value/0.9, h+w)
		b.Tick = tenths(100 * *lim.Value / scale)
		b.Label += fmt.Sprintf(", limit %s", whole(*lim.Value))
	}
	b.Occupied, b.Waiting = tenths(100*h/scale), tenths(100*w/scale)
	return b
}

func lookOf(l api.Look) lookRow {
	out := lookRow{Tier: l.Tier, Age: "–", Every: hundredth(l.IntervalSeconds) + " s", Cost: tenth(l.CostSeconds*1e3) + " ms", Sockets: "–"}
	switch {
	case l.LastError != "":
		out.State = "failing: " + l.LastError
	case l.CoveredByFull:
		out.State = "full looks as often, and sees it all"
	case l.AgeSeconds == nil:
		out.State = "not yet"
	default:
		out.State = l.Completeness
	}
	if l.AgeSeconds != nil {
		out.Age, out.Sockets = tenth(*l.AgeSeconds)+" s", strconv.Itoa(l.Sockets)
	}
	return out
}

// whatOf says what a service is: "apache prefork · :80 :443".
func whatOf(s api.Scope) string {
	what := cmp.Or(s.Process, "listener")
	if s.Workers != nil && s.Workers.Software != "" {
		what = s.Workers.Software
	}
	sep := " · "
	for _, l := range s.Listen {
		if a, err := netip.ParseAddrPort(l); err == nil && a.Addr().IsUnspecified() {
			l = fmt.Sprintf(":%d", a.Port())
		}
		what, sep = what+sep+l, " "
	}
	return what
}

// signal returns one of the scope's signals; one that is not there was never
// seen.
func signal(s api.Scope, name string) api.Value {
	if v, ok := s.Signals[name]; ok {
		return v
	}
	return api.Value{Unknown: "never_seen"}
}

// nameOf is a scope's name without its kind: "web" of "service/web".
func nameOf(id string) string {
	if _, name, ok := strings.Cut(id, "/"); ok {
		return name
	}
	return id
}

func clock(t *time.Time) string {
	if t == nil {
		return "–"
	}
	return t.UTC().Format("15:04:05 UTC")
}

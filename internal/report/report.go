// Package report makes a document of an incident: what happened, since when, who
// was hurt, what the numbers were, what was done, and what could not be seen.
//
//	r, err := report.Build(report.Values{Document: document, Series: &series, MadeAt: now})
//	err = r.HTML(out) // or r.Markdown(out), r.JSON(out)
//
// It takes values and writes text: nothing is fetched, and an HTML report has
// all in it, without a script. Names in an incident come from other people's
// processes, so every text is escaped where it is written, and characters that
// do not print are replaced.
package report

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/api"
)

// Version is that of a report's JSON, which only grows.
const Version = 1

// Values is what a report is made of.
type Values struct {
	// Document is the incident as the API's JSON. Fields that this program does
	// not know are kept in the report's JSON.
	Document []byte
	// Others are incidents of the same scope, for what foretold this one.
	Others []api.Incident
	// Series is what the signals were; nil for none, and then NoSeries says why.
	Series   *api.Series
	NoSeries string
	// Limits is what the host cannot see now, at the time of the report; nil
	// where that is not known.
	Limits []api.Limit
	Host   string // empty where it is not known
	MadeBy string // the program and its version
	MadeAt time.Time
}

// Report is a report. Its JSON is a contract; the words of its other forms are
// not.
type Report struct {
	Version  int             `json:"report_version"`
	MadeAt   time.Time       `json:"made_at"`
	MadeBy   string          `json:"made_by"`
	Host     string          `json:"host"`
	Title    string          `json:"title"`
	Incident json.RawMessage `json:"incident"`
	// Timeline is the incident's own with the actions of the response in it.
	Timeline []Event     `json:"timeline"`
	Lead     []Lead      `json:"lead"`
	Series   *api.Series `json:"series"`
	// NotSeen is what the report cannot say, and why.
	NotSeen []string `json:"not_seen"`

	incident api.Incident
}

// Event is one step of an incident's life, or one action of the response.
type Event struct {
	At time.Time `json:"at"`
	// Seconds is how long after the first suspicion; below zero before it.
	Seconds  float64 `json:"seconds"`
	What     string  `json:"what"`
	Severity string  `json:"severity,omitempty"`
	// Action is the kind of an action, and State its state; empty for a step.
	Action string `json:"action,omitempty"`
	State  string `json:"state,omitempty"`
}

// Build makes a report. The error says that the document is none of an incident.
func Build(v Values) (Report, error) {
	i, err := api.ParseIncident(v.Document)
	if err != nil {
		return Report{}, err
	}
	if i.ID == 0 || i.Scope == "" || i.Cause == "" {
		return Report{}, errors.New("read an incident: it has no number, scope or cause")
	}
	r := Report{
		Version: Version, MadeAt: v.MadeAt.UTC(), MadeBy: v.MadeBy, Host: v.Host,
		Title: titleOf(&i), Incident: slices.Clone(v.Document), Timeline: timelineOf(&i), Lead: leadOf(&i, v.Others), Series: v.Series, NotSeen: notSeen(&i, &v),
		incident: i,
	}
	return r, nil
}

// JSON writes the report as JSON, the incident in it as it was given.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func titleOf(i *api.Incident) string {
	cause := spaced(i.Cause)
	if i.Rule != "" {
		cause = "rule " + i.Rule
	}
	return fmt.Sprintf("Incident %d: %s, %s", i.ID, cause, i.Scope)
}

// timelineOf is all that happened, in order of time.
func timelineOf(i *api.Incident) []Event {
	out := make([]Event, 0, len(i.Timeline)+len(i.Actions))
	for _, s := range i.Timeline {
		out = append(out, Event{At: s.At, What: s.What, Severity: s.Severity})
	}
	if len(i.Timeline) == 0 { // as an older program wrote it
		for _, x := range []struct {
			at   *time.Time
			what string
		}{{i.SuspectedAt, "suspect"}, {i.OpenedAt, "open"}, {i.BalancerDownAt, "its balancer calls it down"}, {i.AcknowledgedAt, "acknowledged by " + i.AcknowledgedBy}, {i.ResolvedAt, "resolved: " + spaced(i.End)}} {
			if x.at != nil {
				out = append(out, Event{At: *x.at, What: x.what})
			}
		}
	}
	for _, a := range i.Actions {
		out = append(out, Event{At: a.At, What: a.What, Action: a.Kind, State: a.State})
	}
	slices.SortStableFunc(out, func(a, b Event) int { return a.At.Compare(b.At) })
	for k := range out {
		if i.SuspectedAt != nil {
			out[k].Seconds = out[k].At.Sub(*i.SuspectedAt).Seconds()
		}
	}
	return out
}

// Fact is one line of what an incident is.
type Fact struct{ Name, Says string }

// Facts is the incident in a few lines.
func (r *Report) Facts() []Fact {
	i := &r.incident
	var out []Fact
	add := func(name, says string) {
		if says != "" {
			out = append(out, Fact{name, says})
		}
	}
	add("What", i.Sentence)
	hurt := "Who is hurt"
	if i.ResolvedAt != nil {
		hurt = "Who was hurt, at its last sign"
	}
	add(hurt, cmp.Or(i.Hurt, "not told: the agent that found it did not say"))
	where := i.Scope
	if r.Host != "" {
		where += ", host " + r.Host
	}
	add("Where", where)
	add("State", stateOf(i))
	severity := i.Severity
	if i.PeakSeverity != i.Severity {
		severity = fmt.Sprintf("%s; %s at its worst", i.Severity, i.PeakSeverity)
	}
	add("Severity", severity)
	add("Certainty", strings.TrimSuffix(i.Certainty+": "+i.Basis, ": "))
	add("Decided by", i.Trigger)
	add("Since", r.since())
	if i.ResolvedAt != nil {
		add("Until", moment(*i.ResolvedAt))
	}
	if i.AcknowledgedAt != nil {
		add("Taken by", fmt.Sprintf("%s, %s", cmp.Or(i.AcknowledgedBy, "someone"), moment(*i.AcknowledgedAt)))
	}
	if i.Because != "" {
		add("Explained by", spaced(i.Because))
	}
	add("Siblings", i.Siblings)
	if i.Pattern != "" {
		add("Pattern", strings.TrimSuffix(spaced(i.Pattern)+": "+i.PatternEvidence, ": "))
	}
	add("Response", i.Response)
	return out
}

// since is when it was suspected and opened, and how long it lasted.
func (r *Report) since() string {
	i := &r.incident
	if i.SuspectedAt == nil {
		return ""
	}
	says := moment(*i.SuspectedAt) + " suspected"
	if i.OpenedAt != nil {
		says += fmt.Sprintf(", open %s later", lasting(i.OpenedAt.Sub(*i.SuspectedAt)))
	}
	if i.OpenedAt != nil && i.ResolvedAt != nil {
		says += fmt.Sprintf(", for %s", lasting(i.ResolvedAt.Sub(*i.OpenedAt)))
	}
	return says
}

func stateOf(i *api.Incident) string {
	switch {
	case i.State == "resolved":
		return strings.TrimSuffix("resolved: "+spaced(i.End), ": ")
	case i.BlindSince != nil:
		return fmt.Sprintf("%s; no evidence since %s", i.State, moment(*i.BlindSince))
	}
	return i.State
}

// Evidence is one number beside its level, in words.
type Evidence struct{ Signal, Value, Threshold, Origin string }

// Evidence is what the finding rests on.
func (r *Report) Evidence() []Evidence {
	out := make([]Evidence, 0, len(r.incident.Evidence))
	for _, e := range r.incident.Evidence {
		x := Evidence{Signal: e.Signal, Value: "unknown: " + spaced(e.Reading.Unknown), Threshold: "–", Origin: e.Origin}
		if e.Reading.Value != nil {
			x.Value = quantity(*e.Reading.Value, e.Unit)
		}
		if e.Threshold != nil {
			x.Threshold = quantity(*e.Threshold, e.Unit)
		}
		out = append(out, x)
	}
	return out
}

// Considered, Advice, Actions, Examples and Prefixes are those of the incident.
func (r *Report) Considered() []api.Considered { return r.incident.Considered }

// Advice is what to do.
func (r *Report) Advice() []string { return r.incident.Advice }

// Actions is what the response did.
func (r *Report) Actions() []api.Action { return r.incident.Actions }

// Examples are sockets of it.
func (r *Report) Examples() []api.Socket { return r.incident.Examples }

// Prefixes are the clients that hold most workers.
func (r *Report) Prefixes() []api.Prefix { return r.incident.Prefixes }

// notSeen is what the report cannot say.
func notSeen(i *api.Incident, v *Values) []string {
	out := []string{}
	if i.BlindSince != nil {
		out = append(out, fmt.Sprintf("Nothing was seen of it from %s on.", moment(*i.BlindSince)))
	}
	for _, e := range i.Evidence {
		if e.Reading.Value == nil {
			out = append(out, fmt.Sprintf("%s was not known: %s.", e.Signal, spaced(e.Reading.Unknown)))
		}
	}
	if len(i.Examples) == 0 {
		out = append(out, "No sockets were kept as examples.")
	}
	if v.Series == nil {
		out = append(out, "There are no graphs: "+cmp.Or(v.NoSeries, "nothing was kept")+".")
	} else {
		out = append(out, seriesNotSeen(v.Series)...)
	}
	if v.Limits == nil {
		return append(out, "What else this host could not see then was not kept.")
	}
	for _, l := range v.Limits {
		out = append(out, fmt.Sprintf("When this was written, %s: %s.", l.Subject, l.Reason))
	}
	return out
}

// seriesNotSeen is what the graphs lack.
func seriesNotSeen(s *api.Series) []string {
	var out []string
	last := s.From
	for _, x := range s.Sources {
		if x.From.Sub(last) > time.Second {
			out = append(out, fmt.Sprintf("Nothing is kept of %s to %s.", moment(last), moment(x.From)))
		}
		if x.Source == "minutes" {
			out = append(out, fmt.Sprintf("Of %s to %s only minutes are kept: the least, the mean and the greatest value of each.", moment(x.From), moment(x.To)))
		}
		last = x.To
	}
	if len(s.Sources) == 0 || s.To.Sub(last) > time.Minute {
		out = append(out, fmt.Sprintf("Nothing is kept of %s to %s.", moment(last), moment(s.To)))
	}
	for _, note := range s.Notes {
		out = append(out, note+".")
	}
	return out
}

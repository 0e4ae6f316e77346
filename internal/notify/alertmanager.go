package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// expireAfter is how far ahead an open alert's end is set. Three repeats may
// be lost; after the fourth a dead agent's alerts end by themselves.
const expireAfter = 4 * RepeatEvery

// alert is one alert of Alertmanager's API v2 (postableAlert in its
// openapi.yaml). Its labels are its identity.
type alert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// member is one member of an Alertmanager cluster.
type member struct{ client *client }

func (m *member) send(ctx context.Context, now time.Time, n *Notice) error {
	body, err := json.Marshal(alerts(n, now))
	if err != nil {
		return &Refusal{Words: fmt.Sprintf("encode the alert: %v", err), ForGood: true}
	}
	// Empty, not absent: the header is not sent, and a request that met a
	// closed connection may be sent again (net/http, Transport).
	header := http.Header{idempotencyHeader: {}}
	return m.client.post(ctx, now, header, body, answer{says: func(answer []byte) string {
		// Alertmanager answers 400 with a JSON string of what is wrong. What a
		// proxy before it says may quote the address, and is left out.
		var words string
		if json.Unmarshal(answer, &words) != nil {
			return ""
		}
		return words
	}})
}

func (m *member) close() { m.client.http.CloseIdleConnections() }

// alerts are the alerts that tell a notice's state at now, the wall's time.
// The severity is a label and therefore part of the identity: an incident that
// got worse is a new alert, and ends the one of the lower severity.
func alerts(n *Notice, now time.Time) []alert {
	var out []alert
	for k := range n.Incidents {
		out = append(out, alertsOf(n, &n.Incidents[k], now)...)
	}
	return out
}

func alertsOf(n *Notice, i *Item, now time.Time) []alert {
	current := alert{
		Labels: labels(n, i), Annotations: annotations(i),
		StartsAt: i.OpenedAt, EndsAt: now.Add(expireAfter).UTC(), GeneratorURL: i.Link,
	}
	if i.ResolvedAt != nil {
		current.EndsAt = *i.ResolvedAt
	}
	out := []alert{current}
	for _, told := range i.Earlier {
		past := current
		past.Labels = maps.Clone(current.Labels)
		past.Labels["severity"] = told.Severity
		past.EndsAt = told.Until
		out = append(out, past)
	}
	for k := range out {
		// A wall clock set back in between: Alertmanager refuses an end before
		// the start.
		if out[k].EndsAt.Before(out[k].StartsAt) {
			out[k].EndsAt = out[k].StartsAt
		}
	}
	return out
}

// labels are ours and the configuration's. Where these have the name of one
// of ours they are called exported_NAME, as Prometheus does.
func labels(n *Notice, i *Item) map[string]string {
	out := map[string]string{
		"alertname": "Foreshock" + camel(i.Cause),
		"severity":  i.Severity,
		"cause":     i.Cause,
		"scope":     i.Scope,
		"host":      n.Host,
		"instance":  n.Host,
	}
	if i.Rule != "" { // user rules share a cause: without it, two of one scope would be one alert
		out["rule"] = i.Rule
	}
	ours := maps.Clone(out)
	for _, name := range slices.Sorted(maps.Keys(n.Labels)) {
		clean := labelName(name)
		if _, taken := ours[clean]; taken {
			clean = "exported_" + clean
		}
		for free, k := clean, 2; ; k++ { // a-b and a.b are both a_b: neither is lost
			if _, taken := out[free]; !taken {
				out[free] = n.Labels[name]
				break
			}
			free = fmt.Sprintf("%s_%d", clean, k)
		}
	}
	for name, value := range out {
		if value = strings.ToValidUTF8(value, "?"); value == "" {
			delete(out, name) // an empty label is none, to Alertmanager
		} else {
			out[name] = value
		}
	}
	return out
}

// notInLabels is what a label's name may not have.
var notInLabels = regexp.MustCompile(`[^a-zA-Z0-9_]`)

// labelName makes a name that Alertmanager takes: letters, digits and
// underscores, no digit first (the data model of Prometheus).
func labelName(name string) string {
	clean := notInLabels.ReplaceAllString(name, "_")
	if clean == "" || clean[0] >= '0' && clean[0] <= '9' {
		return "_" + clean
	}
	return clean
}

func annotations(n *Item) map[string]string {
	lines := make([]string, 0, len(n.Evidence)+len(n.Advice)+len(n.Prefixes)+2)
	if n.Trigger != "" {
		lines = append(lines, "Because: "+n.Trigger+".")
	}
	for _, e := range n.Evidence {
		lines = append(lines, e.words())
	}
	if n.PatternEvidence != "" {
		lines = append(lines, "Pattern "+strings.ReplaceAll(n.Pattern, "_", " ")+": "+n.PatternEvidence)
	}
	for _, p := range n.Prefixes {
		lines = append(lines, fmt.Sprintf("%s holds %d workers, %d of them slowly.", p.Prefix, p.Held, p.Slow))
	}
	out := map[string]string{
		"summary":     n.Sentence,
		"description": strings.Join(lines, "\n"),
		"response":    strings.Join(append(slices.DeleteFunc([]string{n.Response}, func(s string) bool { return s == "" }), n.Advice...), "\n"),
		"link":        n.Link,
	}
	maps.DeleteFunc(out, func(_, value string) bool { return value == "" })
	return out
}

// words is the evidence for a person: "queue_wait_seconds 1.52 (threshold 1)".
func (e *Evidence) words() string {
	text := e.Signal + " unknown: " + strings.ReplaceAll(e.Unknown, "_", " ")
	if e.Value != nil {
		text = fmt.Sprintf("%s %.4g", e.Signal, *e.Value)
	}
	if e.Threshold != nil {
		text += fmt.Sprintf(" (threshold %.4g)", *e.Threshold)
	}
	return text
}

// camel turns workers_full into WorkersFull.
func camel(name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(name, "_") {
		if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}

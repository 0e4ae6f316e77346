package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// Nagios's exit codes; https://nagios-plugins.org/doc/guidelines.html.
const (
	nagiosOK = iota
	nagiosWarning
	nagiosCritical
	nagiosUnknown
)

var nagiosWords = [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}

// checked is what there is to judge: from the agent, or from looks of our own.
type checked struct {
	scopes    []api.Scope
	incidents []api.Incident
	// glanced is true for looks of our own.
	glanced bool
	// notes are said behind the first line: what cannot be judged this way.
	notes []string
}

// unknown is the whole output of a check that could not be made.
func unknown(err error) string { return pluginText(nagiosUnknown, err.Error(), nil, nil) }

// pluginText is a plugin's output: one line, its performance data, then the
// details. The bar separates text from performance data wherever it stands.
func pluginText(code int, first string, data, details []string) string {
	plain := func(s string) string { return strings.ReplaceAll(s, "|", "/") }
	var b strings.Builder
	fmt.Fprintf(&b, "FORESHOCK %s - %s", nagiosWords[code], plain(strings.Join(strings.Split(strings.TrimSpace(first), "\n"), "; ")))
	if len(data) > 0 {
		fmt.Fprintf(&b, " | %s", strings.Join(data, " "))
	}
	b.WriteByte('\n')
	for _, line := range details {
		b.WriteString(plain(line) + "\n")
	}
	return b.String()
}

// verdict is the exit code and the text of a plugin. service narrows it to
// one; empty is all.
func verdict(c checked, service string) (code int, text string) {
	scopes := slices.DeleteFunc(slices.Clone(c.scopes), func(s api.Scope) bool {
		return s.Kind != scope.KindService.String() || service != "" && s.Name != service
	})
	if service != "" && len(scopes) == 0 {
		return nagiosUnknown, unknown(fmt.Errorf("there is no service %q: foreshock look lists them", service))
	}
	var says, details []string
	for i := range c.incidents {
		x := &c.incidents[i]
		if !c.counts(x) || service != "" && x.Scope != (scope.ID{Kind: scope.KindService, Name: service}).String() {
			continue
		}
		code = max(code, severityCode(x.Severity))
		says = append(says, fmt.Sprintf("%s: %s", strings.TrimPrefix(x.Scope, scope.KindService.String()+"/"), strings.ReplaceAll(x.Cause, "_", " ")))
		details = append(details, x.Sentence)
		if x.State == judge.Suspected.String() {
			details = append(details, "Suspected: so few looks cannot tell whether it lasts.")
		}
		if x.BlindSince != nil {
			details = append(details, fmt.Sprintf("Nothing could be seen of it since %s.", x.BlindSince.Format(time.RFC3339)))
		}
		details = append(details, x.Advice[:min(1, len(x.Advice))]...)
	}
	var data []string
	for i := range scopes {
		s := &scopes[i]
		v := s.Signals[measure.QueueWait.String()]
		if passing(v) && !s.Configured && service == "" {
			continue
		}
		data = append(data, perfData(s)...)
		if v.Value == nil {
			says = append(says, fmt.Sprintf("%s: cannot tell whether anybody waits: %s", s.Name, cmp.Or(strings.ReplaceAll(v.Unknown, "_", " "), "the agent does not say")))
			if code == nagiosOK {
				code = nagiosUnknown
			}
		}
	}
	fine := count(len(scopes), "service", "services") + ", none short of workers"
	if len(scopes) == 0 {
		fine = "nothing listens here"
	}
	return code, pluginText(code, cmp.Or(strings.Join(says, "; "), fine), data, slices.Concat(details, c.notes))
}

// passing reports whether a queue is unknown only as its listener has closed or
// opened this moment: no reason to worry about one that nobody asked for.
func passing(v api.Value) bool {
	return v.Value == nil && (v.Unknown == measure.NoListener.String() || v.Unknown == measure.NeverSeen.String())
}

// counts reports whether an incident bears on the verdict. The agent holds
// what it suspects until it is sure; our own few looks cannot, so what they
// suspect is said: a wait above 1 s is no blip.
func (c *checked) counts(x *api.Incident) bool {
	return x.State == judge.Open.String() || c.glanced && x.State == judge.Suspected.String()
}

func severityCode(severity string) int {
	switch severity {
	case judge.Warning.String():
		return nagiosWarning
	case judge.Critical.String():
		return nagiosCritical
	}
	return nagiosOK
}

// perfData is a service's performance data: 'LABEL'=VALUE[UNIT];WARN;CRIT;MIN;MAX,
// U for what is not known. The levels are the judge's.
func perfData(s *api.Scope) []string {
	var out []string
	for _, p := range []struct {
		signal       measure.Signal
		unit, levels string
		most         string // the signal that is its largest value, empty for none
	}{
		{measure.QueueWait, "s", ";1;3;0", ""},
		{measure.QueueDepth, "", ";;;0", measure.QueueLimit.String()},
		{measure.Accepted, "", ";;;0", ""},
		{measure.Unaccepted, "", ";;;0", ""},
		{measure.WorkersOccupied, "", ";;;0", measure.WorkersLimit.String()},
	} {
		label := fmt.Sprintf("'%s_%s'=", perfLabel(s.Name), strings.TrimSuffix(p.signal.String(), "_seconds"))
		v := s.Signals[p.signal.String()].Value
		if v == nil {
			out = append(out, label+"U")
			continue
		}
		text := label + number(*v) + p.unit + p.levels
		if most := s.Signals[p.most].Value; most != nil {
			text += ";" + number(*most)
		}
		out = append(out, text)
	}
	return out
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// perfLabel fits a name into a quoted label: no quotes, no equals sign.
func perfLabel(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '\'' || r == '=' || r == '|' {
			return '_'
		}
		return r
	}, name)
}

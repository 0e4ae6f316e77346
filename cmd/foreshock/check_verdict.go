package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/drain"
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
	pools     []api.Pool
	drains    []api.FollowedSwitch
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

// narrowed is what a check is asked about: one service, one backend, or
// everything where both are empty.
type narrowed struct{ service, backend string }

// all reports whether nothing was named.
func (n narrowed) all() bool { return n == narrowed{} }

// takes reports whether the check is about a scope.
func (n narrowed) takes(s *api.Scope) bool {
	switch s.Kind {
	case scope.KindService.String():
		return n.all() || n.service != "" && s.Name == n.service
	case scope.KindBackend.String():
		return n.all() || n.backend != "" && (s.Name == n.backend || s.Backend != nil && slices.Contains(s.Backend.Also, n.backend))
	}
	return n.all()
}

// judged is a verdict while it is put together.
type judged struct {
	code                int
	says, details, data []string
}

// verdict is the exit code and the text of a plugin.
func verdict(c checked, only narrowed) (code int, text string) {
	var services, backends, regions []*api.Scope
	ids := map[string]bool{}
	for i := range c.scopes {
		s := &c.scopes[i]
		if !only.takes(s) {
			continue
		}
		ids[s.ID] = true
		switch s.Kind {
		case scope.KindService.String():
			services = append(services, s)
		case scope.KindBackend.String():
			backends = append(backends, s)
		case scope.KindRegion.String():
			regions = append(regions, s)
		}
	}
	switch {
	case only.service != "" && len(services) == 0:
		return nagiosUnknown, unknown(fmt.Errorf("there is no service %q: foreshock look lists them", only.service))
	case only.backend != "" && len(backends) == 0:
		return nagiosUnknown, unknown(fmt.Errorf("there is no backend %q: foreshock look --by backend lists them", only.backend))
	}
	var j judged
	j.incidents(&c, only, ids)
	j.services(services, only)
	for i := range c.pools {
		if x := &c.pools[i]; only.all() && x.Configured && x.Problem != "" {
			j.cannotTell(x.Name, "its backends answer", x.Problem)
		}
	}
	if only.all() {
		j.drains(c.drains)
	}
	var fine []string
	if len(services) > 0 {
		fine = append(fine, count(len(services), "service", "services")+", none short of workers")
	}
	if len(backends) > 0 {
		fine = append(fine, j.backends(backends, only))
	}
	if len(regions) > 0 {
		fine = append(fine, j.regions(regions))
	}
	if len(fine) == 0 {
		fine = append(fine, "nothing listens here")
	}
	return j.code, pluginText(j.code, cmp.Or(strings.Join(j.says, "; "), strings.Join(fine, "; ")), j.data, slices.Concat(j.details, c.notes))
}

// incidents takes what fails. What another incident explains is one with it
// unless it is asked for by name.
func (j *judged) incidents(c *checked, only narrowed, ids map[string]bool) {
	explained := map[string]int{}
	for i := range c.incidents {
		x := &c.incidents[i]
		if !c.counts(x) || !only.all() && !ids[x.Scope] {
			continue
		}
		j.code = max(j.code, severityCode(x.Severity))
		if x.Because != "" && only.all() {
			explained[x.Because]++
			continue
		}
		what := spaced(x.Cause)
		if x.Rule != "" {
			what = "rule " + x.Rule
		}
		j.says = append(j.says, nameOf(x.Scope)+": "+what)
		j.details = append(j.details, x.Sentence)
		if x.State == judge.Suspected.String() {
			j.details = append(j.details, "Suspected: so few looks cannot tell whether it lasts.")
		}
		if x.BlindSince != nil {
			j.details = append(j.details, fmt.Sprintf("Nothing could be seen of it since %s.", x.BlindSince.Format(time.RFC3339)))
		}
		if x.Because != "" {
			j.details = append(j.details, "Explained by "+spaced(x.Because)+".")
		}
		if x.Siblings != "" {
			j.details = append(j.details, x.Siblings)
		}
		j.details = append(j.details, x.Advice[:min(1, len(x.Advice))]...)
	}
	for _, cause := range slices.Sorted(maps.Keys(explained)) {
		j.says = append(j.says, fmt.Sprintf("%s explained by %s", count(explained[cause], "incident", "incidents"), spaced(cause)))
	}
}

func (j *judged) services(services []*api.Scope, only narrowed) {
	for _, s := range services {
		v := s.Signals[measure.QueueWait.String()]
		if passing(v) && !s.Configured && only.all() {
			continue
		}
		j.data = append(j.data, perfData(s, servicePerf)...)
		if v.Value == nil {
			j.cannotTell(s.Name, "anybody waits", spaced(v.Unknown))
		}
	}
}

// drains takes switches that are stuck: somebody has to do something. What fails
// on the way is an incident, one that is on its way is as it should be, and one that
// somebody ended is his.
func (j *judged) drains(followed []api.FollowedSwitch) {
	for i := range followed {
		if s := &followed[i].Status; s.Verdict == drain.Stuck && !followed[i].Report.Stopped {
			j.code = max(j.code, nagiosWarning)
			j.says = append(j.says, s.Name+": the switch is stuck")
			j.details = append(j.details, s.Sentence)
			j.details = append(j.details, s.Advice[:min(1, len(s.Advice))]...)
		}
	}
}

func (j *judged) cannotTell(name, what, why string) {
	j.says = append(j.says, fmt.Sprintf("%s: cannot tell whether %s: %s", name, what, cmp.Or(why, "the agent does not say")))
	if j.code == nagiosOK {
		j.code = nagiosUnknown
	}
}

// spaced words a name of the API.
func spaced(s string) string { return strings.ReplaceAll(s, "_", " ") }

// nameOf is a scope's name without its kind: "web" of "service/web".
func nameOf(id string) string {
	if _, name, ok := strings.Cut(id, "/"); ok {
		return name
	}
	return id
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

// perf is one number of a scope's performance data.
type perf struct {
	signal       measure.Signal
	label        string // empty: the signal's name without its unit
	unit, levels string
	most         string // the signal that is its largest value, empty for none
}

// servicePerf is of a service. The levels are the judge's.
var servicePerf = []perf{
	{measure.QueueWait, "", "s", ";1;3;0", ""},
	{measure.QueueDepth, "", "", ";;;0", measure.QueueLimit.String()},
	{measure.Accepted, "", "", ";;;0", ""},
	{measure.Unaccepted, "", "", ";;;0", ""},
	{measure.WorkersOccupied, "", "", ";;;0", measure.WorkersLimit.String()},
}

// perfData is a scope's performance data: 'LABEL'=VALUE[UNIT];WARN;CRIT;MIN;MAX,
// U for what is not known.
func perfData(s *api.Scope, of []perf) []string {
	var out []string
	for _, p := range of {
		label := fmt.Sprintf("'%s_%s'=", perfLabel(s.Name), cmp.Or(p.label, strings.TrimSuffix(p.signal.String(), "_seconds")))
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

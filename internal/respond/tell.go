package respond

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
)

// Who hears what of a workflow.

// notNews are the channels that are not told anyway, and what that means.
func (t *turn) notNews(channels []string, open []*judge.Incident) (tell []string, says string) {
	var anyway []string
	for _, c := range channels {
		if t.gets(c, open) {
			anyway = append(anyway, c)
		} else {
			tell = append(tell, c)
		}
	}
	switch {
	case len(anyway) == 0:
		return tell, "told " + strings.Join(tell, ", ")
	case len(tell) == 0:
		return nil, strings.Join(anyway, ", ") + " is told of it as of any other"
	}
	return tell, fmt.Sprintf("told %s; %s is told of it as of any other", strings.Join(tell, ", "), strings.Join(anyway, ", "))
}

func (t *turn) gets(channel string, incidents []*judge.Incident) bool {
	return t.Gets != nil && slices.ContainsFunc(incidents, func(i *judge.Incident) bool { return t.Gets(channel, i) })
}

// tells notes that channels hear of the workflow through it.
func (w *workflow) tells(channels []string) {
	for _, c := range channels {
		if !slices.Contains(w.told, c) {
			w.told = append(w.told, c)
			w.dirty = true
		}
	}
}

// followUp takes a look at what became of it.
func (t *turn) followUp(w *workflow, s *step, open []*judge.Incident) {
	v := t.verdict(w, open)
	detail := v.json()
	w.take(Taken{Step: s.id, Kind: FollowUp, State: Done, At: t.Now, What: v.Says, Detail: detail})
	if t.quietAll(open) != "" {
		return // it is only recorded
	}
	a := t.action(w, s.id, FollowUp, open)
	a.Says = fmt.Sprintf("%s, %s after its beginning: %s", w.Scope, inWords(t.Now.Sub(w.Began)), v.Says)
	a.Channels = t.audience(w)
	w.closed = w.closed || v.Result == Resolved
	if len(a.Channels) > 0 {
		t.send(w, a, open)
	}
	if v.Result == NotBetter {
		t.escalateTo(w, s.id, s.Channels, v.Says)
	}
}

// audience are those who hear what became of a workflow: whom its Notify steps
// name, and whom it has escalated to.
func (t *turn) audience(w *workflow) []string {
	var out []string
	for _, s := range t.steps[w.Key] {
		if s.Kind == Notify && w.step(s.id) != nil {
			out = append(out, s.Channels...)
		}
	}
	out = append(out, w.told...)
	slices.Sort(out)
	return slices.Compact(out)
}

// escalate tells at once that a step did not do what it was to.
func (t *turn) escalate(w *workflow, step, why string) { t.escalateTo(w, step, nil, why) }

// escalateTo is escalate to given channels; without any to those of the Escalate
// steps, and without such steps to those that the Notify steps name. Once in a
// workflow.
func (t *turn) escalateTo(w *workflow, step string, channels []string, why string) {
	if w.escalated {
		return
	}
	for _, kind := range []Kind{Escalate, Notify} {
		for _, s := range t.steps[w.Key] {
			if s.Kind == kind && len(channels) == 0 {
				channels = s.Channels
			}
		}
	}
	taken := Taken{Step: "escalate after " + step, Kind: Escalate, State: Done, At: t.Now}
	if len(channels) == 0 {
		taken.State, taken.What = Skipped, "nobody is named to be told: "+why
		w.take(taken)
		return
	}
	open := w.open()
	w.escalated = true
	if quiet := t.quietAll(open); quiet != "" {
		taken.State, taken.What = Skipped, quiet+"; "+why
		w.take(taken)
		return
	}
	w.tells(channels)
	taken.What = "told " + strings.Join(channels, ", ") + ": " + why
	w.take(taken)
	a := t.action(w, taken.Step, Escalate, open)
	a.Channels, a.Says = channels, fmt.Sprintf("%s: %s", w.Scope, why)
	t.send(w, a, open)
}

// further tells those who heard of a workflow only through it that another
// incident is part of it now: they hear the end of each that they were told of,
// and would take that for the end of all.
func (t *turn) further(w *workflow, open []*judge.Incident) {
	if len(w.told) == 0 {
		return
	}
	var news []*judge.Incident
	for _, inc := range open {
		switch said, known := w.said[subject(inc)]; {
		case said == inc.ID, t.quiet(inc) != "", inc.Finding.Severity < judge.Warning:
		case known && said == 0: // that of before a restart, under another number
			w.said[subject(inc)] = inc.ID
		default:
			news = append(news, inc)
		}
	}
	if len(news) == 0 {
		return
	}
	a := t.action(w, fmt.Sprintf("further %d", news[0].ID), Notify, open)
	told := 0
	for i := range w.Steps {
		if strings.HasPrefix(w.Steps[i].Step, "further ") {
			told++
		}
	}
	if told < mostFurther {
		a.Channels = slices.DeleteFunc(slices.Clone(w.told), func(c string) bool {
			return !slices.ContainsFunc(news, func(i *judge.Incident) bool { return !t.gets(c, []*judge.Incident{i}) })
		})
	}
	w.note(news)
	if len(a.Channels) == 0 {
		return
	}
	var what []string
	for _, inc := range news {
		what = append(what, cmp.Or(inc.Finding.Rule, inc.Finding.Cause.Words()))
	}
	a.Says = fmt.Sprintf("%s: now also: %s.", w.Scope, strings.Join(what, ", "))
	w.take(Taken{Step: a.Step, Kind: Notify, State: Done, At: t.Now, What: fmt.Sprintf("told %s: %s", strings.Join(a.Channels, ", "), strings.Join(what, ", "))})
	t.actions = append(t.actions, a)
}

// send tells channels what an action says, and notes what they know then.
func (t *turn) send(w *workflow, a Action, open []*judge.Incident) {
	if len(a.Channels) > 0 {
		w.note(open)
	}
	t.actions = append(t.actions, a)
}

// note notes that incidents are told of.
func (w *workflow) note(incidents []*judge.Incident) {
	for _, inc := range incidents {
		w.said[subject(inc)] = inc.ID
	}
	w.dirty = true
}

// subject is what an incident is about within its scope, also when it opens
// again.
func subject(inc *judge.Incident) string {
	return strings.TrimSpace(inc.Finding.Cause.String() + " " + inc.Finding.Rule)
}

// inWords writes a duration as people say it, to the second.
func inWords(d time.Duration) string {
	d = d.Round(time.Second)
	switch m := int(d / time.Minute); {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d/time.Second))
	case d%time.Minute == 0:
		return fmt.Sprintf("%d min", m)
	default:
		return fmt.Sprintf("%d min %d s", m, int(d%time.Minute/time.Second))
	}
}

package post

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/history"
)

// Result is what came of a run.
type Result struct {
	Outage time.Duration `json:"outage_ns"`
	Kills  int           `json:"kills"`
	// Incidents were opened, as the history has them, of a severity that is told.
	// GoneOn of them are what was open when the agent was killed, seen again under
	// another number: that is no news. Of the others Missing were not told, and
	// Twice told as opened under two keys.
	Incidents int `json:"incidents"`
	GoneOn    int `json:"gone_on"`
	Missing   int `json:"missing"`
	Twice     int `json:"opened_twice"`
	// Unsaid says which are missing.
	Unsaid []string `json:"unsaid,omitempty"`
	// Misdated were told with another time than the history has of their opening.
	Misdated int `json:"misdated"`
	// Stories is how often something was told as opened; Gaps how many steps of one
	// came without the step before.
	Stories int `json:"stories"`
	Gaps    int `json:"gaps"`
	// Notices came to the webhook; Repeated of their keys came more than once, of
	// which Different said something else then. Unordered came before one that was
	// decided earlier.
	Notices   int `json:"notices"`
	Repeated  int `json:"repeated"`
	Different int `json:"different"`
	Unordered int `json:"unordered"`
	// Left is what the history has as waiting or undelivered at the end.
	Waiting     int `json:"waiting"`
	Undelivered int `json:"undelivered"`
	// Alerts is how many different alerts the real Alertmanager took; -1 where it is
	// not installed.
	Alerts int `json:"alerts"`
	// Told is what came by the notification library: to Slack's and PagerDuty's
	// stand-ins, and to the real mail server where it is installed.
	Told []Told `json:"told"`
}

// Sound reports whether all was told once and in order.
func (r *Result) Sound() bool {
	for i := range r.Told {
		if !r.Told[i].sound(r.Kills) {
			return false
		}
	}
	return r.Incidents > 0 && r.Missing == 0 && r.Twice == 0 && r.Misdated == 0 && r.Gaps == 0 && (r.Alerts < 0 || r.Alerts >= r.Stories) && r.Different == 0 && r.Unordered == 0 && r.Waiting == 0 && r.Undelivered == 0
}

func (r Result) String() string {
	alerts := fmt.Sprintf("%d alerts at the real Alertmanager", r.Alerts)
	if r.Alerts < 0 {
		alerts = "no Alertmanager is installed"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "outage %s, %d kills: %d incidents opened, %d of them going on after a kill, %d not told, %d told twice, %d with another time; %d notices of %d openings, %d without the step before, %d out of order, %d keys came again (%d with other words), %d wait, %d undelivered; %s\n",
		r.Outage, r.Kills, r.Incidents, r.GoneOn, r.Missing, r.Twice, r.Misdated, r.Notices, r.Stories, r.Gaps, r.Unordered, r.Repeated, r.Different, r.Waiting, r.Undelivered, alerts)
	for _, u := range r.Unsaid {
		fmt.Fprintf(&b, "not told: %s\n", u)
	}
	for _, t := range r.Told {
		fmt.Fprintln(&b, t)
	}
	return b.String()
}

// count holds what came against what the history has.
func count(out *Result, state string, r *receivers) error {
	h, err := history.OpenReader(state)
	if err != nil {
		return err
	}
	defer h.Close()
	counts, err := h.Outbox()
	if err != nil {
		return err
	}
	for _, c := range counts {
		out.Waiting, out.Undelivered = out.Waiting+c.Waiting, out.Undelivered+c.Undelivered
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out.Notices, out.Different = len(r.took), r.different
	if r.proxy != nil {
		out.Alerts = len(r.alerts)
	}
	opened, at := r.stories(out), r.openedAt()
	stopped := map[thread]bool{} // the last incident of it was open when the agent was killed
	kept := map[thread][]string{}
	unsaid := map[int]thread{} // by its place in Unsaid
	err = h.EachIncident(history.Query{}, func(i *history.Incident) error {
		var more struct{ Because, Rule, End string }
		if err := json.Unmarshal(i.Document, &more); err != nil {
			return err
		}
		if i.Peak == "watch" || more.Because != "" {
			return nil // nobody is to be told
		}
		of := thread{i.Scope, i.Cause, more.Rule}
		kept[of] = append(kept[of], fmt.Sprintf("run %d #%d %s to %s %s", i.Run, i.ID, clock(i.OpenedAt), clock(i.ResolvedAt), more.End))
		goesOn := stopped[of]
		stopped[of] = more.End == "agent_stopped"
		out.Incidents++
		if told, was := at[i.ID]; was && told.Sub(i.OpenedAt).Abs() > time.Second { // the wall's clock may be moved a little
			out.Misdated++
		}
		switch times := opened[i.ID]; {
		case times > 1:
			out.Twice++
		case goesOn && times == 0:
			out.GoneOn++
		case times == 0:
			out.Missing++
			unsaid[len(out.Unsaid)] = of
			out.Unsaid = append(out.Unsaid, fmt.Sprintf("%d %s %s%s from %s to %s: %s", i.ID, i.Scope, i.Cause, more.Rule, clock(i.OpenedAt), clock(i.ResolvedAt), more.End))
		}
		return nil
	})
	for at, of := range unsaid { // what led there, in the history and as it was told
		out.Unsaid[at] += "; kept: " + strings.Join(kept[of], ", ") + "; told: " + strings.Join(r.story(of), ", ")
	}
	return err
}

// story is what came of a thread, in order.
func (r *receivers) story(of thread) []string {
	var out []string
	for _, d := range r.took {
		for _, i := range d.Incidents {
			if (thread{i.Scope, i.Cause, i.Rule}) == of {
				out = append(out, fmt.Sprintf("#%d %s %d since %s", i.Incident, i.Step, i.Sequence, clock(i.OpenedAt)))
			}
		}
	}
	return out
}

// lasting is how many of our servers' stories were not told to their end.
func (r *receivers) lasting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	open := map[thread]bool{}
	for _, d := range r.took {
		for _, i := range d.Incidents {
			if of := (thread{i.Scope, i.Cause, i.Rule}); i.Step == resolved {
				delete(open, of)
			} else if ours.MatchString(i.Scope) {
				open[of] = true
			}
		}
	}
	return len(open)
}

// openedAt is when each incident began, as it was told.
func (r *receivers) openedAt() map[uint64]time.Time {
	out := map[uint64]time.Time{}
	for _, d := range r.took {
		for _, i := range d.Incidents {
			if i.Step != resolved {
				out[i.Incident] = i.OpenedAt
			}
		}
	}
	return out
}

// thread is what notices of one thing have in common, also over restarts.
type thread struct{ Scope, Cause, Rule string }

// stories holds the notices against each other, in the order in which they came,
// and returns how often each incident was told as opened.
func (r *receivers) stories(out *Result) map[uint64]int {
	opened := map[uint64]int{}
	told := map[thread]int{} // the sequence of the last step; 0 behind the end
	var last time.Time
	for _, d := range r.took {
		if d.At.Before(last) {
			out.Unordered++
		}
		last = d.At
		for _, i := range d.Incidents {
			of := thread{i.Scope, i.Cause, i.Rule}
			if i.Sequence != told[of]+1 {
				out.Gaps++
			}
			told[of] = i.Sequence
			switch i.Step {
			case "opened":
				opened[i.Incident]++
				out.Stories++
			case "resolved":
				told[of] = 0
			}
		}
	}
	for _, times := range r.seen {
		out.Repeated += cmp.Compare(times, 1)
	}
	return opened
}

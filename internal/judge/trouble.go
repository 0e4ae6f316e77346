package judge

import (
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/scope"
)

// troubleClear is how long a trouble must be gone before its incident ends: what
// fails, works and fails again is one incident.
const troubleClear = 10 * time.Second

// Trouble is a condition that keeps Foreshock itself from its work, as the roof
// sees it at one instant. It says nothing of any service.
type Trouble struct {
	// What names the part that is in trouble, unique among those of an instant:
	// "history", "channel/ops". The incident's scope is agent/WHAT.
	What     string
	Severity Severity
	// Sentence says what is wrong, Trigger which condition decides, with its hold,
	// Advice what to do.
	Sentence, Trigger string
	Advice            []string
	// Since is since when it is so; zero: since it was first given.
	Since time.Time
	// Hold is for how long it must be so before it is told; 0 is at once.
	Hold time.Duration
}

// troubleCase follows one part of the agent.
type troubleCase struct {
	what     string
	incident Incident
	goneAt   time.Time // since when it is no more; zero while it is
}

// StepTroubles takes the troubles of this instant and returns the incidents as
// Step does. A judge is given troubles or views, not both. The slice is good
// until the next call.
func (j *Judge) StepTroubles(now time.Time, troubles []Trouble) []Incident {
	for i := range troubles {
		j.followTrouble(now, &troubles[i])
	}
	j.troubles = slices.DeleteFunc(j.troubles, func(c *troubleCase) bool {
		if slices.ContainsFunc(troubles, func(t Trouble) bool { return t.What == c.what }) {
			return false
		}
		if c.goneAt.IsZero() {
			c.goneAt = now
		}
		if c.incident.State == Suspected {
			return true // it was nothing
		}
		if now.Sub(c.goneAt) < troubleClear {
			return false
		}
		j.finish(now, &c.incident, Recovered)
		return true
	})
	return j.Incidents()
}

func (j *Judge) followTrouble(now time.Time, t *Trouble) {
	at := slices.IndexFunc(j.troubles, func(c *troubleCase) bool { return c.what == t.What })
	if at < 0 {
		at = len(j.troubles)
		j.troubles = append(j.troubles, &troubleCase{what: t.What})
	}
	c := j.troubles[at]
	inc := &c.incident
	c.goneAt = time.Time{}
	if inc.State == NoState {
		j.suspect(now, inc, t.Trigger)
		if !t.Since.IsZero() {
			inc.SuspectedAt = t.Since
		}
	}
	held := now.Sub(inc.SuspectedAt)
	if held >= t.Hold {
		inc.rise(now, t.Severity, t.Trigger)
	}
	inc.UpdatedAt = now
	inc.Finding = Finding{
		Scope: scope.ID{Kind: scope.KindAgent, Name: t.What}, Cause: AgentTrouble, Severity: t.Severity, Certainty: Certain,
		Sentence: t.Sentence, Hurt: "nobody by itself: what would be seen or told meanwhile may be missed", Trigger: t.Trigger, Basis: "so for " + inWords(held.Seconds()), Advice: slices.Clone(t.Advice),
	}
	if inc.State == Suspected {
		inc.Finding.Certainty = Suspect
	}
}

package judge

import (
	"fmt"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/scope"
)

// userKey is one user rule for one scope.
type userKey struct {
	scope scope.ID
	rule  string
}

// userCase follows one user rule for one scope.
type userCase struct {
	follower *rule.Follower
	incident Incident
	presence
}

// SetRules changes the users' rules; names are unique. A rule that stays as it
// was keeps what it has seen and its incidents; those of the others end. now
// is when.
func (j *Judge) SetRules(now time.Time, rules []rule.Rule) {
	j.userOrder = slices.DeleteFunc(j.userOrder, func(key userKey) bool {
		if slices.ContainsFunc(rules, func(r rule.Rule) bool { return r.Name == key.rule && same(r, j.userRules) }) {
			return false
		}
		j.dropRule(now, key, RuleRemoved)
		return true
	})
	j.userRules = slices.Clone(rules)
}

// same reports whether the rule is among those, with all its settings.
func same(r rule.Rule, among []rule.Rule) bool {
	return slices.ContainsFunc(among, func(o rule.Rule) bool {
		text := o.When.Text()
		o.When = r.When // what they say is compared as text, all the rest as it is
		return text == r.When.Text() && o == r
	})
}

// stepRules follows every user rule for every scope it is about.
func (j *Judge) stepRules(now time.Time, view *measure.View, host *measure.ScopeSignals) {
	for i := range j.userRules {
		r := &j.userRules[i]
		if r.When.Kind() == scope.KindHost {
			j.followRule(now, r, nil, host)
			continue
		}
		for s := range view.Scopes {
			if view.Scopes[s].Scope.Kind == r.When.Kind() {
				j.followRule(now, r, &view.Scopes[s], host)
			}
		}
	}
	j.userOrder = slices.DeleteFunc(j.userOrder, func(key userKey) bool {
		if !j.users[key].gone(now, j.step) {
			return false
		}
		j.dropRule(now, key, ScopeGone)
		return true
	})
}

// dropRule ends what is open and forgets the rest.
func (j *Judge) dropRule(now time.Time, key userKey, how End) {
	if c := j.users[key]; c.incident.State == Open {
		j.finish(now, &c.incident, how)
	}
	delete(j.users, key)
}

func (j *Judge) followRule(now time.Time, r *rule.Rule, service, host *measure.ScopeSignals) {
	subject := service
	if subject == nil {
		subject = host
	}
	if subject == nil {
		return
	}
	key := userKey{subject.Scope, r.Name}
	c := j.users[key]
	if c == nil {
		c = &userCase{follower: rule.NewFollower(*r)}
		j.users[key] = c
		j.userOrder = append(j.userOrder, key)
	}
	c.followed = j.step
	outcome := c.follower.Step(now, service, host)
	inc := &c.incident
	switch {
	case outcome.Phase == rule.None && inc.State == Open:
		j.finish(now, inc, Recovered)
		return
	case outcome.Phase == rule.None:
		*inc = Incident{}
		return
	case inc.State == NoState:
		j.suspect(now, inc, r.When.Text())
		inc.Finding = Finding{Scope: subject.Scope, Cause: UserRule, Rule: r.Name, Severity: r.Severity, Certainty: Suspect, Trigger: r.When.Text()}
	}
	if inc.see(now, outcome.Truth != rule.Unknown); outcome.Truth == rule.Unknown {
		if inc.forgotten(now) {
			j.forget(now, r, c)
		}
		return
	}
	if outcome.Truth == rule.Yes {
		inc.UpdatedAt = now
		inc.Finding = ruleFinding(subject, r, &outcome)
	}
	if outcome.Phase == rule.Open {
		inc.rise(now, r.Severity, r.When.Text())
	}
	if inc.State == Suspected {
		inc.Finding.Certainty = Suspect
	}
}

// forget ends what has been without evidence for too long, and what the rule
// has seen until then.
func (j *Judge) forget(now time.Time, r *rule.Rule, c *userCase) {
	if c.incident.State == Open {
		j.finish(now, &c.incident, NoEvidence)
	}
	c.incident = Incident{}
	c.follower = rule.NewFollower(*r)
}

// ruleFinding is what a user's rule found, in its own words.
func ruleFinding(s *measure.ScopeSignals, r *rule.Rule, outcome *rule.Outcome) Finding {
	f := Finding{
		Scope: s.Scope, Cause: UserRule, Rule: r.Name, Severity: r.Severity, Certainty: Certain, // it is what the user asked for
		Sentence: fmt.Sprintf("The rule %s holds for %s: %s.", r.Name, s.Scope.Name, r.When.Text()),
		Hurt:     "not told: the rule says what is true, not whom it hurts",
		Trigger:  r.When.Text(),
		Basis:    basis(outcome.Observations, outcome.Held),
	}
	for _, v := range outcome.Values {
		f.Evidence = append(f.Evidence, Evidence{Signal: v.Term.Signal, Reading: v.Reading, Text: v.Text, Unit: v.Unit, Origin: "the rule"})
	}
	if r.Advice != "" {
		f.Advice = []string{r.Advice}
	}
	f.Examples = append(f.Examples, s.Examples...)
	return f
}

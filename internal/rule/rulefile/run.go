package rulefile

import (
	"fmt"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/scope"
)

// Result is what came of one test.
type Result struct {
	Test     Test
	Failures []Failure
}

// Failure is an expectation that was not met.
type Failure struct {
	Expectation
	Got rule.Phase
	// Why is what the rule saw at that time, for a person.
	Why string
}

// Run replays every test, each from the start, and returns their results in
// order.
func (s *Suite) Run() []Result {
	out := make([]Result, 0, len(s.Tests))
	for _, t := range s.Tests {
		out = append(out, Result{t, s.run(&t)})
	}
	return out
}

// startTime is when every timeline begins. Nothing depends on it.
var startTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// timeline is one test under way.
type timeline struct {
	interval time.Duration
	scopes   []*measure.ScopeSignals // the host first
	rules    []following
}

// following is one rule for one scope.
type following struct {
	name     string
	signals  *measure.ScopeSignals
	follower *rule.Follower
	outcome  rule.Outcome
}

func (s *Suite) run(t *Test) []Failure {
	line := s.timeline(t)
	var failures []Failure
	last := 0
	for _, e := range t.Expect {
		last = max(last, int(e.At/s.Interval))
	}
	for step := range last + 1 {
		line.step(step, t.Input)
		for _, e := range t.Expect {
			if int(e.At/s.Interval) != step {
				continue
			}
			i := slices.IndexFunc(line.rules, func(f following) bool { return f.name == e.Rule && f.signals.Scope == e.Scope })
			if got := line.rules[i].outcome; got.Phase != e.Phase {
				failures = append(failures, Failure{e, got.Phase, why(got)})
			}
		}
	}
	return failures
}

// why says what an outcome rests on.
func why(o rule.Outcome) string {
	out := "the condition is " + map[rule.Truth]string{rule.Yes: "true", rule.No: "false", rule.Unknown: "unknown"}[o.Truth]
	if o.Observations > 0 {
		out += fmt.Sprintf(", seen true %d times over %s", o.Observations, o.Held)
	}
	if v := values(o.Values); v != "" {
		out += ": " + v
	}
	return out
}

func (s *Suite) timeline(t *Test) *timeline {
	host := &measure.ScopeSignals{Scope: scope.Host}
	line := &timeline{interval: s.Interval, scopes: []*measure.ScopeSignals{host}}
	for _, in := range t.Input {
		if line.signals(in.Scope) == nil {
			line.scopes = append(line.scopes, &measure.ScopeSignals{Scope: in.Scope})
		}
	}
	for _, r := range s.Rules {
		for _, sc := range line.scopes {
			if sc.Scope.Kind == r.When.Kind() {
				line.rules = append(line.rules, following{name: r.Name, signals: sc, follower: rule.NewFollower(r)})
			}
		}
	}
	return line
}

func (l *timeline) signals(id scope.ID) *measure.ScopeSignals {
	for _, s := range l.scopes {
		if s.Scope == id {
			return s
		}
	}
	return nil
}

// step plays the sample with that number, counted from 0, of every series.
func (l *timeline) step(number int, input []Series) {
	now := startTime.Add(time.Duration(number) * l.interval)
	for _, in := range input {
		reading := &l.signals(in.Scope).Readings[in.Signal]
		sample := Sample{}
		if number < len(in.Samples) {
			sample = in.Samples[number]
		}
		switch {
		case sample.Kind == Seen:
			*reading = measure.Reading{Value: sample.Value, Samples: 1, Seen: now, Good: time.Duration(measure.StaleAfter * float64(l.interval)), Validity: measure.Known}
		case reading.Validity != measure.Known:
		case sample.Kind == Stale || now.After(reading.Until()):
			reading.Validity = measure.Stale
		}
	}
	for i := range l.rules {
		f := &l.rules[i]
		f.outcome = f.follower.Step(now, f.signals, l.scopes[0])
	}
}

package demo

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/foreshock/foreshock/internal/agent"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

const serviceName = "demo"

// Moment is the state after one look.
type Moment struct {
	At        time.Duration         // since the start
	Signals   *measure.ScopeSignals // nil until the service is seen
	Incidents []judge.Incident      // of the demo's service
	Truth     Truth
}

// Seen is when the pipeline opened an incident, or raised its severity above
// what the cause had reached before.
type Seen struct {
	Cause    judge.Cause
	Severity judge.Severity
	At       time.Duration
	Sentence string
	Advice   []string
	// PatternEvidence, Response and Prefixes are the finding's; often empty.
	PatternEvidence, Response string
	Prefixes                  []measure.PrefixHeld
}

// Summary is one whole run.
type Summary struct {
	Scenario Scenario
	Lasted   time.Duration
	Seen     []Seen // in the order of time
	Truth    Truth
}

// Run plays s for d, calls each after every look and news for each new opening
// or rise, and returns the summary. A cancelled ctx ends the run early and is
// no error.
func Run(ctx context.Context, s Scenario, d time.Duration, each func(Moment), news func(Seen)) (Summary, error) {
	if d < MinDuration || d > MaxDuration {
		return Summary{}, fmt.Errorf("a demo of %s: use between %s and %s", d, MinDuration, MaxDuration)
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	world, err := NewWorld(ctx, s, d)
	if err != nil {
		return Summary{}, err
	}
	ended := make(chan struct{})
	go func() { defer close(ended); world.Run(ctx) }()
	cfg := config.Default()
	cfg.Services = []config.Service{{
		Name: serviceName, Listen: []netip.AddrPort{world.Addr()}, WorkersFrom: config.WorkersFrom{Limit: Workers},
	}}
	sum := Summary{Scenario: s}
	id := scope.ID{Kind: scope.KindService, Name: serviceName}
	err = agent.Watch(ctx, cfg, func(_ time.Time, all []judge.Incident, view *measure.View) {
		m := Moment{At: time.Since(world.began), Truth: world.Truth(), Signals: view.Scope(id)}
		for _, inc := range all {
			if inc.Finding.Scope == id && inc.State != judge.Resolved {
				m.Incidents = append(m.Incidents, inc)
			}
		}
		for _, seen := range sum.add(m) {
			news(seen)
		}
		each(m)
	})
	cancel()
	<-ended
	sum.Lasted, sum.Truth = time.Since(world.began), world.Truth()
	if err != nil {
		return Summary{}, fmt.Errorf("watch the demo: %w", err)
	}
	return sum, nil
}

// add notes what opened or rose for the first time and returns it.
func (s *Summary) add(m Moment) []Seen {
	known := len(s.Seen)
	for _, inc := range m.Incidents {
		f := inc.Finding
		if inc.State != judge.Open || f.Severity <= s.worst(f.Cause) {
			continue
		}
		s.Seen = append(s.Seen, Seen{f.Cause, f.Severity, m.At, f.Sentence, f.Advice, f.PatternEvidence, f.Response, f.Prefixes})
	}
	return s.Seen[known:]
}

// worst is the highest severity that a cause has reached.
func (s *Summary) worst(c judge.Cause) judge.Severity {
	worst := judge.NoSeverity
	for _, seen := range s.Seen {
		if seen.Cause == c {
			worst = max(worst, seen.Severity)
		}
	}
	return worst
}

// firstOf is when a severity, or a worse one, was first reached; false when
// never. What opens as critical has warned by that.
func (s *Summary) firstOf(v judge.Severity) (time.Duration, bool) {
	for _, seen := range s.Seen {
		if seen.Severity >= v {
			return seen.At, true
		}
	}
	return 0, false
}

// forecast is when the agent first opened the cause that looks ahead.
func (s *Summary) forecast() (time.Duration, bool) {
	for _, seen := range s.Seen {
		if seen.Cause == judge.WorkersFilling {
			return seen.At, true
		}
	}
	return 0, false
}

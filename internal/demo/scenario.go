// Package demo is a small world that fails while the agent's own pipeline
// watches it: a real server with few workers on loopback, and real clients
// with a time-out. [Run] plays one [Scenario] and returns what was seen.
//
// Nothing that it prints is scripted: incidents come from the pipeline, and
// slow and failed requests from the clients.
package demo

import (
	"fmt"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/enum"
)

// The world's size: 8 workers at 500 ms serve 16 requests a second.
const (
	Workers       = 8
	serviceTime   = 500 * time.Millisecond
	backlog       = 64
	clientTimeout = 2 * time.Second
	slowAfter     = time.Second // twice the service time
)

// MinDuration and MaxDuration bound a run. In a shorter one nothing that lasts
// long enough for a warning happens before its end.
const (
	MinDuration = 15 * time.Second
	MaxDuration = 90 * time.Second
)

// Scenario is a way to run out of workers. The zero value is invalid.
type Scenario uint8

// The scenarios.
const (
	Gradual Scenario = iota + 1
	Spike
	Leak
	SlowClients
)

// Scenarios returns all of them, in order.
func Scenarios() []Scenario { return []Scenario{Gradual, Spike, Leak, SlowClients} }

var scenarioNames = [...]string{"invalid", "gradual", "spike", "leak", "slow-clients"}

// String is the scenario's name on the command line: "slow-clients".
func (s Scenario) String() string { return enum.Name(s, "scenario", scenarioNames[:]) }

// ParseScenario is the reverse of String.
func ParseScenario(name string) (Scenario, error) {
	var names []string
	for _, s := range Scenarios() {
		if s.String() == name {
			return s, nil
		}
		names = append(names, s.String())
	}
	return 0, fmt.Errorf("unknown scenario %q: use %s", name, strings.Join(names, ", "))
}

// Duration is how long the scenario takes unless told otherwise.
func (s Scenario) Duration() time.Duration {
	if s == Gradual {
		return 88 * time.Second
	}
	return 70 * time.Second
}

// rate is how many requests arrive each second when the share done of the
// scenario, from 0 to 1, is over.
func (s Scenario) rate(done float64) float64 {
	const calm = 4 // a quarter of what the workers can do
	switch {
	case s == Gradual:
		// As slow as 90 s allow: a forecast needs half a minute of history, and
		// must hold for as long again before it is a warning.
		return 3 + 17*min(1, done/0.95)
	case s == Spike && done >= 0.3 && done < 0.6:
		return 32 // twice what the workers can do
	}
	return calm
}

// dawdlers is how many clients should hold a worker by then.
func (s Scenario) dawdlers(done float64) int {
	if s != SlowClients {
		return 0
	}
	return min(Workers, max(0, int((done-0.1)/0.06)))
}

// leaked is how many connections the server should have forgotten to close by
// then. They hold descriptors, no workers: nobody notices.
func (s Scenario) leaked(done float64) int {
	const inAll = 60
	if s != Leak {
		return 0
	}
	return int(inAll * max(0, done-0.1))
}

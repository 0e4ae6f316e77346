package respond

import (
	"fmt"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/enum"
)

// Config is what a [Planner] needs. Whoever makes one has checked it, as
// internal/config checks the user's file: nothing here is checked again.
type Config struct {
	// Host is what keys of actions are made of, beside the workflow.
	Host string
	// Responses are the steps of each key, in the order of their times.
	Responses map[string][]Step
}

// DefaultKey is the response to what no other key names.
const DefaultKey = "default"

// Kind is what a step does.
type Kind uint8

// The kinds. Zero is none.
const (
	NoKind   Kind = iota
	Notify        // tell channels
	Gather        // collect evidence
	Hook          // run a program, or call a webhook
	FollowUp      // look again and say whether it got better
	Escalate      // tell channels that nobody took it
)

var kindNames = [...]string{"", "notify", "gather", "hook", "follow_up", "escalate"}

// String names it as the API does: "follow_up".
func (k Kind) String() string { return enum.Name(k, "kind", kindNames[:]) }

// Step is one step of a response.
type Step struct {
	// After is when it is due, from the workflow's beginning on.
	After time.Duration
	Kind  Kind
	// Channels are told by Notify and Escalate, and by a FollowUp that finds
	// that nothing got better; empty there: those of the Escalate steps.
	Channels []string
	// Hook is the name of what a Hook runs. A response names it once.
	Hook string
	// DryRun: what would be run is recorded, and nothing is started.
	DryRun bool
	// MaxPerHour is how often the hook may run within an hour, for whichever
	// workflow; at least 1.
	MaxPerHour int
	// UnlessAcknowledged: an Escalate is left out when somebody took it.
	UnlessAcknowledged bool
}

// ID tells the step from the others of its response, also after a restart and
// a reload: "hook add-workers@2m0s".
func (s *Step) ID() string {
	what := s.Kind.String()
	switch s.Kind {
	case Hook:
		what += " " + s.Hook
	case Notify, Escalate:
		what += " " + strings.Join(s.Channels, ",")
	}
	return fmt.Sprintf("%s@%s", what, s.After)
}

// State is how far a step is.
type State uint8

// The states. Zero is planned: its time has not come.
const (
	Planned State = iota
	Running
	Done
	Failed
	DryRun      // it would have run
	Skipped     // What says why
	Interrupted // the agent ended while it ran, and nobody knows how that ended
)

var stateNames = [...]string{"planned", "running", "done", "failed", "dry_run", "skipped", "interrupted"}

// String names it as the API does: "dry_run".
func (s State) String() string { return enum.Name(s, "state", stateNames[:]) }

const (
	// calm is for how long nothing must be open before a workflow is over; the
	// next incident within goes on with it.
	calm = 30 * time.Second
	// settle is how long a workflow that outlived a restart waits for its
	// incidents to be found again.
	settle = 2 * time.Minute
	// mostRunning is how many hooks run at the same time, each once.
	mostRunning = 4
	// mostIncidents is how many incidents a workflow remembers.
	mostIncidents = 16
	// mostFurther is how often those whom a workflow has told hear of a further
	// incident of it: what opens again and again is no news.
	mostFurther = 8
	// betterShare of the way back to its level is better. What is less than
	// noiseShare of the number itself is noise, unless it is all of the way.
	betterShare = 0.2
	noiseShare  = 0.1
)

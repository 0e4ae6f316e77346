package api

import (
	"context"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/notify"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/silence"
	"github.com/foreshock/foreshock/internal/tcp"
)

// Snapshot is everything the API can show, at one instant. It is immutable:
// the agent publishes a new one about once a second, and at once when an
// incident changes.
type Snapshot struct {
	// Sequence rises by one with every snapshot.
	Sequence  uint64
	Host      string
	Labels    map[string]string
	Version   string
	StartedAt time.Time
	At        time.Time
	// ClockOffset is added to every time of the snapshot before it is shown:
	// the pipeline runs on a steady clock, people read the wall's.
	ClockOffset time.Duration
	// Ready is true once every tier has looked.
	Ready    bool
	Reader   string
	Services []scope.Service
	Backends []scope.Backend
	Regions  []scope.Region
	Pools    []Pool
	View     measure.View
	// Incidents holds the suspected, the open and the lately resolved, newest
	// first.
	// Silences are those that have not ended, of the configuration too.
	Silences  []silence.Silence
	Incidents []judge.Incident
	// Actions are what the responses to incidents did and will do, by their
	// number. Unlike the rest their times are the wall's, as are those of
	// Responses, the workflows under way; Hooks counts how hooks ended.
	Actions   map[uint64][]Action
	Responses []Response
	Hooks     []HookRuns
	Looks     []LookStatus
	Budget    Budget
	// Channels is how the notices do.
	Channels []notify.Status
	Limits   []Limit
	// History is how what is to outlive the agent is kept.
	History History
	// Heartbeat is how telling a dead man's switch does.
	Heartbeat Heartbeat
	// Namespaces is how the reading of the host's other namespaces does.
	Namespaces NamespacesStatus
}

// NamespacesStatus is how the network namespaces other than the agent's own
// are read.
type NamespacesStatus struct {
	// Read counts those that are read, Idle those of them without a listener
	// or a socket, of which only the pulse is taken; Waiting those found a
	// moment ago, Refused those that cannot be read, Over those beyond the most
	// that are read.
	Read, Idle, Waiting, Refused, Over int
	// Each is one of those that are read, by name.
	Each []NamespaceStatus
}

// NamespaceStatus is how one namespace is read.
type NamespaceStatus struct {
	Name string
	ID   tcp.Namespace
	// Process and PID are its first process, or the name it was given.
	Process string
	PID     int
	// Services counts those found there.
	Services int
	Idle     bool
	Reader   string
	// PulseSeen and WholeSeen are when its listeners and counters, and all its
	// sockets, were seen last; zero: never. Intervals are those in use.
	PulseSeen, WholeSeen         time.Time
	PulseInterval, WholeInterval time.Duration
}

// LookStatus is how one tier of the schedule does.
type LookStatus struct {
	Tier tcp.Tier
	// Wanted is the interval the tier has when nothing presses, Interval the
	// one the budget allows now.
	Wanted, Interval time.Duration
	// Cost is the learned processor time of one look.
	Cost time.Duration
	// Last is the header of the last look; its Begin is zero before the first.
	Last tcp.Look
	// Seen is when something last saw what the tier sees: itself, or a full
	// look. Zero: never.
	Seen time.Time
	// Looks counts the complete ones, Partial those marked and never judged,
	// Failed those that gave an error; LastError is the latest.
	Looks, Partial, Failed uint64
	LastError              string
	// Covered is true when a dearer tier, running as often, takes this one's
	// place and it therefore does not look itself.
	Covered bool
}

// Budget is the processor budget, as shares of one core.
type Budget struct {
	Allowed float64 `json:"allowed_ratio"`
	// Used is the process's mean over the last 10 s, looks and all.
	Used float64 `json:"used_ratio"`
}

// Limit is one thing this agent cannot see, and why.
type Limit struct {
	Subject string `json:"subject"` // "QUIC and UDP"
	Reason  string `json:"reason"`  // "not TCP: the kernel's table does not hold it"
}

// Source gives snapshots. The agent is one; tests have another.
type Source interface {
	// Snapshot returns the latest one, never nil. It is a second old at most
	// while the agent's loop is alive, and may wait for it.
	Snapshot() *Snapshot
	// Status is Snapshot where nobody reads the View, which may be old: that of
	// a host of many namespaces is megabytes.
	Status() *Snapshot
	// Changed returns a channel that is closed when the next snapshot is there.
	Changed() <-chan struct{}
}

// Actor does what changing calls ask for.
type Actor interface {
	// Acknowledge marks an incident as taken. ErrNoIncident when there is none
	// of that number, or it is over.
	Acknowledge(ctx context.Context, id uint64, by string) error
	// Reload reads the configuration again; on error the old one keeps running.
	Reload(ctx context.Context) error
}

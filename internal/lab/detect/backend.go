package detect

import (
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// BackendCell is one fault of a backend behind a balancer, or a healthy day of
// all of them, as data. Three backends, each on a host of its own, answer
// through the balancer; the first of them is the one that fails.
type BackendCell struct {
	// Name is "BALANCER-FAULT" or "healthy-BALANCER-WHAT".
	Name     string
	Balancer Balancer
	Fault    string
	// Apps are the backends; a further one takes part when an event starts it.
	Apps []lab.App
	Load lab.Load
	// At is when the fault comes, after the load begins. The balancer's timer
	// may shift it: see Phases.
	At time.Duration
	// Events are the fault, and what comes after; their times count from At.
	Events []BackendEvent
	// Pools run beside the balancer on its host; Database is a fourth host
	// that they may talk to.
	Pools []PoolCell
	// Config is the agent's configuration; empty for none.
	Config string
	// Contained puts the balancer into a container, with namespaces and a cgroup
	// of its own, and the agent outside of it. The agent then reads the
	// namespaces of every world on the machine.
	Contained bool
	// Healthy: nothing may be found at warning or above.
	Healthy bool
	Goal    FaultGoal
}

// PoolCell is a client pool on the balancer's host.
type PoolCell struct {
	// Backends: it talks to the failing backend; else to the database.
	Backends bool
	Leak     bool
	// Later: an event starts it, not the cell.
	Later bool
}

// BackendEvent is something that happens to a pool of backends.
type BackendEvent = Event[*pool]

// Phases are the offsets into the balancer's timer at which a cell's fault is
// worth repeating: thirds of the timer where there is one.
func (c BackendCell) Phases() []time.Duration {
	if c.Balancer.Timer == 0 || c.Healthy {
		return []time.Duration{0}
	}
	return []time.Duration{0, c.Balancer.Timer / 3, 2 * c.Balancer.Timer / 3}
}

// shifted is the cell with its fault later by phase.
func (c BackendCell) shifted(phase time.Duration) BackendCell {
	c.At += phase
	c.Load.Duration += phase
	return c
}

package detect

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// BackendOutcome is how a fault of a backend, or a healthy day of all of them,
// went.
type BackendOutcome struct {
	Course
	Balancer string `json:"balancer"`
	// Contained: the balancer ran in a container and the agent outside.
	Contained bool `json:"contained"`
	// Phase is how far into the balancer's timer the fault was put; where the
	// timer itself stands nobody knows.
	Phase  time.Duration `json:"phase_ns"`
	Remote string        `json:"remote"` // the backend that fails
	// Unseen are backends that the agent never saw.
	Unseen []netip.AddrPort `json:"unseen,omitempty"`
	// Followed is how the balancer's restarts were followed.
	Followed []Followed `json:"followed,omitempty"`
}

// String is the outcome as one line for a person.
func (o BackendOutcome) String() string {
	var followed strings.Builder
	for _, f := range o.Followed {
		fmt.Fprintf(&followed, "; %s", f)
	}
	return o.Course.String() + followed.String()
}

// backendRun is all that was seen in one run. Its polls are those, once the
// backends have had their time, in which the agent knew of connections to any of
// them.
type backendRun struct {
	courseRun
	// remotes tells the backend of a scope by the scope's id.
	remotes  map[string]netip.AddrPort
	members  []netip.AddrPort // the first fails
	followed []Followed
	unseen   []netip.AddrPort // backends that the agent never saw
}

func (o *BackendOutcome) sum(cell BackendCell, run backendRun) {
	o.Remote, o.Followed, o.Unseen = run.members[0].String(), run.followed, run.unseen
	o.Course.sum(cell.Goal, run.courseRun, func(i incident) part {
		remote, isBackend := run.remotes[i.Scope]
		member := slices.Index(run.members, remote)
		switch {
		case cell.Goal.Host && strings.HasPrefix(i.Scope, "host"):
			return guilty
		case isBackend && (member == 0 || cell.Goal.All && member > 0):
			return guilty
		case isBackend:
			return sibling
		}
		return apart
	})
	o.Missed = append(o.Missed, o.blind()...)
}

// blind says what the agent did not see or follow.
func (o BackendOutcome) blind() []string {
	var missed []string
	if o.Healthy && len(o.Unseen) > 0 {
		missed = append(missed, fmt.Sprintf("the agent never saw %v", o.Unseen))
	}
	for _, f := range o.Followed {
		if m := f.misses(); m != "" {
			missed = append(missed, m)
		}
	}
	return missed
}

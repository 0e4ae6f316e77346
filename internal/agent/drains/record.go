package drains

import (
	"net/netip"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/scope"
)

// Who says that there was a switch.
const (
	ByHand     = "by hand"
	Configured = "configured"
	Noticed    = "noticed"
)

// State is how far a switch is in the book.
type State uint8

// The states.
const (
	Watched State = iota // no addresses: a switch is to be noticed
	Armed                // the addresses are known, and the switch has not been
	Running
	Stopped // somebody has ended it: nothing is looked at any more
)

// Record is what is remembered of a switch over restarts. Its JSON only grows.
type Record struct {
	Name   string `json:"name"`
	Source string `json:"source"`
	// Before and After are the addresses; some may be on both sides.
	Before []netip.Addr `json:"before"`
	After  []netip.Addr `json:"after"`
	Ports  []uint16     `json:"ports"`
	// TTLSeconds is for how long the answers before the switch were good; 0 is
	// not known.
	TTLSeconds float64 `json:"ttl_seconds"`
	// SwitchedAt is when it was on the wall clock; zero: not yet.
	SwitchedAt time.Time `json:"switched_at"`
	// DeadlineSeconds as it was asked for; 0: what Deadline says.
	DeadlineSeconds float64       `json:"deadline_seconds"`
	Resolvers       []string      `json:"resolvers"`
	Identity        *api.Identity `json:"identity"`
	By              string        `json:"by"`
	// StoppedAt is when somebody ended it, zero: nobody did.
	StoppedAt time.Time `json:"stopped_at"`
	StoppedBy string    `json:"stopped_by"`
	// Note is what is not known of it, a sentence; empty: nothing.
	Note string `json:"note"`
	// QuietSince is since when nothing is known to be in its way, on the wall
	// clock; zero: something is.
	QuietSince time.Time `json:"quiet_since"`
}

// State is how far it is.
func (r *Record) State() State {
	switch {
	case !r.StoppedAt.IsZero():
		return Stopped
	case len(r.Before) == 0:
		return Watched
	case r.SwitchedAt.IsZero():
		return Armed
	}
	return Running
}

// leastDeadline is the deadline of a short TTL: what keeps connections for
// minutes is common, and no fault yet.
const leastDeadline = 15 * time.Minute

// Deadline is how long after the switch a drain that has not settled is stuck.
func (r *Record) Deadline() time.Duration {
	if r.DeadlineSeconds > 0 {
		return seconds(r.DeadlineSeconds)
	}
	return max(leastDeadline, 4*r.TTL())
}

// TTL is for how long the answers before the switch were good; 0 is not known.
func (r *Record) TTL() time.Duration { return seconds(r.TTLSeconds) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// same reports whether both are of the same addresses and ports.
func (r *Record) same(o *Record) bool {
	return equal(r.Before, o.Before) && equal(r.After, o.After) && slices.Equal(r.Ports, o.Ports)
}

// equal compares sets of addresses, each of which is there once.
func equal(a, b []netip.Addr) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(x netip.Addr) bool { return !slices.Contains(b, x) })
}

// of is what the configuration says.
func of(d config.Drain) Record {
	r := Record{
		Name: d.Name, Source: Configured, Before: d.Old, After: d.New, Ports: slices.Sorted(slices.Values(d.Ports)),
		TTLSeconds: d.TTL.Seconds(), DeadlineSeconds: d.Deadline.Seconds(), By: "the configuration",
	}
	for _, x := range d.Resolvers {
		r.Resolvers = append(r.Resolvers, x.String())
	}
	if x := d.Identity; x != nil {
		r.Identity = &api.Identity{URL: x.URL, Status: x.Status, BodyContains: x.BodyContains, Header: x.Header}
	}
	return r
}

// newSwitch is the switch of a record that has addresses, at a time on the
// steady clock; zero: it has not been.
func newSwitch(r *Record, since time.Time) (scope.Switch, error) {
	s, err := scope.NewSwitch(r.Name, r.Before, r.After)
	if err != nil {
		return s, err
	}
	s.Ports, s.TTL, s.Since, s.Source = r.Ports, r.TTL(), since, r.Source
	return s, nil
}

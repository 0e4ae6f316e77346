package drain

import (
	"net/netip"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// Crowd is a population and what it really did.
type Crowd struct {
	Population
	Visits []lab.Visit
}

// Truth is what clients held at one time.
type Truth struct {
	// Old, New and Other are connections that stood, by where they went; Beside are
	// those to another port of an old address.
	Old, New, Other, Beside int
	// Connecting are attempts that had not been answered, to old addresses.
	ConnectingOld int
}

// isOld and isNew say of a connection's far end whether it is the site at an old or
// a new address.
func isOld(at netip.AddrPort) bool {
	return at.Port() == port && (at.Addr() == oldAddr || at.Addr() == oldAddr6)
}

func isNew(at netip.AddrPort) bool {
	return at.Port() == port && (at.Addr() == newAddr || at.Addr() == newAddr6)
}

// OldShare is of what stood on old and new, 0 to 1; 0 without any.
func (t Truth) OldShare() float64 { return float64(t.Old) / float64(max(1, t.Old+t.New)) }

func (t Truth) plus(o Truth) Truth {
	return Truth{t.Old + o.Old, t.New + o.New, t.Other + o.Other, t.Beside + o.Beside, t.ConnectingOld + o.ConnectingOld}
}

// At is what the crowd held at a time.
func (c Crowd) At(at time.Time) (t Truth) {
	for _, v := range c.Visits {
		over := !v.Closed.IsZero() && !v.Closed.After(at)
		switch {
		case v.Dialed.IsZero() || v.Dialed.After(at) || over:
		case v.Opened.IsZero() || v.Opened.After(at):
			if isOld(v.Remote) {
				t.ConnectingOld++
			}
		case isOld(v.Remote):
			t.Old++
		case isNew(v.Remote):
			t.New++
		case isOld(netip.AddrPortFrom(v.Remote.Addr(), port)):
			t.Beside++
		default:
			t.Other++
		}
	}
	return t
}

// truthAt is what all crowds held that keep says yes to.
func truthAt(crowds []Crowd, at time.Time, keep func(Population) bool) (t Truth) {
	for _, c := range crowds {
		if keep(c.Population) {
			t = t.plus(c.At(at))
		}
	}
	return t
}

// everybody keeps all populations, on those of one host.
func everybody(Population) bool { return true }

func on(host string) func(Population) bool {
	return func(p Population) bool { return p.Host == host }
}

// arrivals counts connections that were opened to an address of the site from one
// time to another.
func arrivals(crowds []Crowd, from, to time.Time) (n int) {
	for _, c := range crowds {
		for _, v := range c.Visits {
			if to := v.Opened.Before(to); !v.Opened.Before(from) && to && (isOld(v.Remote) || isNew(v.Remote)) {
				n++
			}
		}
	}
	return n
}

// failures counts attempts that ended without a connection, and connections that
// broke.
func failures(visits []lab.Visit, from, to time.Time) (n int) {
	for _, v := range visits {
		if v.Error != "" && !v.Closed.Before(from) && v.Closed.Before(to) {
			n++
		}
	}
	return n
}

// opened finds the visit that had a local end open at a time.
func opened(crowds []Crowd, local netip.AddrPort, at time.Time) (Population, lab.Visit, bool) {
	for _, c := range crowds {
		for _, v := range c.Visits {
			if v.Local == local && !v.Opened.IsZero() && !v.Opened.After(at) && (v.Closed.IsZero() || v.Closed.After(at)) {
				return c.Population, v, true
			}
		}
	}
	return Population{}, lab.Visit{}, false
}

// blame is what is to be said of a connection of a population that is on the old
// address once the answers before the switch are not good any more: a cause, and
// for stale_dns its place: the resolver, where it is the host's own that keeps the
// old answer; else the program, which asks another one or none.
func (c *Cell) blame(p Population) (cause, place string) {
	via, _ := resolver(p.Via)
	switch {
	case c.OldDead:
		return "users_failing_on_old", ""
	case p.Habit == lab.Pooled:
		return "old_connection", ""
	case p.Habit == lab.Honest && p.Via == systemOf(p.Host) && via.Kind == KindExtender:
		return "stale_dns", "resolver"
	case p.Habit == lab.Honest && via.Kind == KindHonest:
		return "", ""
	}
	return "stale_dns", "process"
}

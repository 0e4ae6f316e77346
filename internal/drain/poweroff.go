package drain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// powerOff says whether nobody needs the old addresses any more, or who does. It
// is no while a connection is left there, though it be idle and the drain
// settled: whoever uses it next would have to find out.
func (v *view) powerOff(s *Status, why []reason) (bool, string) {
	says := "safe to power off " + theAddress("old", v.old) + ": "
	end, left := v.left()
	old := stillOld(v.resolvers)
	switch {
	case len(v.members) == 0 || v.before:
		return false, says + "not known: " + s.Why[0]
	case left.live() > 0:
		return false, says + "no, " + v.whoIsLeft(end, left)
	case len(old) > 0:
		var who []string
		for _, r := range old {
			who = append(who, v.resolver(r))
		}
		return false, fmt.Sprintf("%sno, %s still %s with an old address", says, listed(who), verbAnswer(len(who)))
	case !v.holdsOld && !v.oldDead:
		return false, says + "not known: no agent on the host that holds " + pronoun(v.old) + " reports, and others' connections are seen only there"
	case s.Verdict == Settled && !v.holdsOld && !v.reached():
		return false, says + "not known: " + pronoun(v.old) + " takes no connection from here, which may be the way from here, and no agent on the host that holds " + pronoun(v.old) + " reports"
	case s.Verdict == Settled && !v.oldDead && len(v.unproven()) > 0:
		return false, fmt.Sprintf("%snot known: %s never saw a connection come to %s, and a translation of addresses or a balancer before it would hide them", says, listed(v.unproven()), pronoun(v.old))
	case s.Verdict == Settled:
		closing, where := "", "to it"
		if of := v.counting(); len(of) > 0 {
			where = "to it at port " + ports(of)
			closing = "; what else it serves is not known, as no other port counts"
		}
		if n := left.Connections; n > 0 {
			closing += fmt.Sprintf("; %s there %s closing", counted(n, "connection"), some(n))
		}
		return true, says + "yes, nobody is connected " + where + ", and " + v.resolversSay() + closing
	case why[0].blind:
		return false, says + "not known: " + why[0].words
	}
	return false, says + "no: " + why[0].words
}

// reached: that the old addresses take no connection is not for want of a way
// there: somebody who tries had one, or what does not arrive is known.
func (v *view) reached() bool {
	return v.arrivals != nil || slices.ContainsFunc(v.members, func(m Report) bool {
		tries := slices.ContainsFunc(m.Probes, func(p Probe) bool { return slices.Contains(v.old, p.Address.Addr().Unmap()) })
		return tries && m.ever(func(p *Point) bool { return p.Asked.Old.Established > 0 })
	})
}

// unproven are the agents on hosts that hold an old address and never saw a
// connection come to one: nobody may have, or the kernel's table does not show
// them, as where they are translated to a container's address.
func (v *view) unproven() []string {
	var out []string
	for i := range v.members {
		m := &v.members[i]
		old := slices.ContainsFunc(tidy(m.Held), func(a netip.Addr) bool { return slices.Contains(v.old, a) })
		if old && !m.ever(func(p *Point) bool { return p.Served.Old != Count{} }) {
			out = append(out, m.Agent)
		}
	}
	return out
}

// counting are the ports that alone count, at some agent at least; none: every one.
func (v *view) counting() []uint16 {
	var all []uint16
	for i := range v.members {
		all = append(all, v.members[i].Ports...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func verbAnswer(n int) string {
	if n == 1 {
		return "answers"
	}
	return "answer"
}

// left is what is on the old addresses, at that end that has more of it.
func (v *view) left() (end string, at *Count) {
	if a, b := &v.now.Served.Old, &v.now.Asked.Old; a.live() < b.live() {
		return asked, b
	}
	return served, &v.now.Served.Old
}

// whoIsLeft is "41 connections of 3 processes, of which 12 moved bytes in the
// last minute; idle: …".
func (v *view) whoIsLeft(end string, at *Count) string {
	n := at.live()
	noun := "process"
	if end == served {
		noun = "client network"
	}
	var who, idle []string
	over := v.laggardsOver > 0
	for i := range v.laggards {
		l := &v.laggards[i]
		if l.Vantage != end || l.Connections <= 0 {
			continue
		}
		name := v.whose(l)
		if !slices.Contains(who, name) {
			who = append(who, name)
		}
		if l.Moving == 0 && !l.fails() && !slices.Contains(idle, name) {
			idle = append(idle, name)
		}
	}
	says := counted(n, "connection")
	if len(who) > 0 {
		says += " of " + counted(len(who), noun)
		if over {
			says += " and more"
		}
	}
	moving := min(max(at.Moving, 0), n)
	switch {
	case moving == 0:
		says += ", none of which moved bytes in the last minute"
	case n > 1:
		says += fmt.Sprintf(", of which %d moved bytes in the last minute", moving)
	default:
		says += ", which moved bytes in the last minute"
	}
	if f := min(at.failing(), n); f > 0 {
		says += fmt.Sprintf(" and %d %s", f, fails(f))
	}
	if len(idle) > 0 {
		says += "; idle: " + listed(idle)
	}
	return says
}

// whose names whom a laggard is: "shop-api (unit shop.service) on edge1",
// "203.0.113.0/24 (AS64500 Example Net)".
func (v *view) whose(l *Laggard) string {
	name := l.who()
	if l.Vantage == asked && len(v.members) > 1 && l.Agent != "" {
		name += " on " + l.Agent
	}
	return name
}

// who names a laggard.
func (l *Laggard) who() string {
	if l.Vantage == served {
		name := cmp.Or(l.Prefix, "clients of unknown networks")
		switch {
		case l.ASN != 0:
			return name + " (" + strings.TrimSpace(fmt.Sprintf("AS%d %s", l.ASN, l.Network)) + ")"
		case l.Network != "":
			return name + " (" + l.Network + ")"
		}
		return name
	}
	name := cmp.Or(l.Process, l.Unit, l.Container, "an unknown process")
	switch {
	case l.Container != "" && l.Container != name:
		return name + " (container " + l.Container + ")"
	case l.Unit != "" && l.Unit != name:
		return name + " (" + l.Unit + ")"
	}
	return name
}

// stillOld are the resolvers that answer with an old address.
func stillOld(resolvers []Resolver) []*Resolver {
	var out []*Resolver
	for i := range resolvers {
		switch r := &resolvers[i]; r.Class {
		case ClassOldInTTL, ClassOldBeyond, ClassServStale:
			out = append(out, r)
		}
	}
	return out
}

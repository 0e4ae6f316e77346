package drain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

const (
	// missingLeast is the share of the expected arrivals below which none count as
	// missing, however sure the expectation is.
	missingLeast = 0.05
	// probeGood is for how long, in seconds, a probe says how an address is: they
	// are made each minute.
	probeGood = 300.0
	// answerGood is the same of a resolver's answer, which is asked each 30 s.
	answerGood = 300.0
)

// reason is why a drain is not settled. blind: because something is not known,
// rather than because of what is.
type reason struct {
	words string
	blind bool
}

func words(why []reason) []string {
	out := make([]string, len(why))
	for i := range why {
		out[i] = why[i].words
	}
	return out
}

// reasons are all the reasons for which the drain is not settled, what is known
// before what is not.
func (v *view) reasons() []reason {
	var why []reason
	bad := func(format string, a ...any) { why = append(why, reason{words: fmt.Sprintf(format, a...)}) }
	blind := func(format string, a ...any) { why = append(why, reason{fmt.Sprintf(format, a...), true}) }
	switch {
	case len(v.members) == 0:
		blind("no agent has reported")
		return why
	case v.before:
		blind("the switch of %s has not been seen yet: its names still answer as before it", v.name)
		return why
	}
	points, unseen := v.lately()
	v.reasonsOfShares(points, bad, blind)
	v.reasonsOfFailures(points, bad)
	if v.missing() {
		_, says := missingSays(v.arrivals)
		bad("%s", says)
	}
	if v.since < 2*window {
		bad("the switch was %s ago: it takes two windows of %.0f s below 1 %%", lasting(v.since), window)
	} else if len(unseen) > 0 {
		blind("%s did not look during all of the last two windows of %.0f s", listed(unseen), window)
	}
	if v.ttl != nil && v.since <= *v.ttl {
		bad("answers from before the switch are good for another %s", lasting(*v.ttl-v.since))
	}
	v.reasonsOfResolvers(bad, blind)
	v.reasonsOfProbes(bad, blind)
	v.reasonsOfAgents(blind)
	slices.SortStableFunc(why, func(a, b reason) int { return boolean(a.blind) - boolean(b.blind) })
	return why
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

type say func(format string, a ...any)

// reasonsOfShares: at neither end, whichever is the basis, is 1 % of the live
// connections on the old addresses.
func (v *view) reasonsOfShares(points []Point, bad, blind say) {
	ends := []struct {
		name, who string
		whole     bool // both sides are seen
		counts    bool
	}{
		{served, "connections that came to the agents' hosts", v.holdsOld && v.holdsNew, v.holdsSome},
		{asked, "connections that the agents' hosts began", true, v.asks},
	}
	anything, followed := false, false
	for _, e := range ends {
		if !e.counts {
			continue
		}
		worst, now := 0.0, v.now.at(e.name)
		for i := range points {
			s := points[i].at(e.name)
			anything = anything || s.Old.live()+s.New.live() > 0
			if share := onOld(s); share != nil {
				worst = max(worst, *share)
			}
		}
		switch share := onOld(now); {
		case !e.whole && now.Old.Established > 0:
			bad("%s %s left on %s, and no agent on a host that holds %s says of how many", counted(now.Old.Established, "connection"), some(now.Old.Established), theAddress("old", v.old), theAddress("new", v.new))
		case share != nil && *share >= settledShare:
			bad("%s of %d %s are on %s", percent(*share), now.Old.live()+now.New.live(), e.who, theAddress("old", v.old))
		case worst >= settledShare && e.whole:
			bad("%s of the %s were on %s within the last minute: it takes two windows of %.0f s below 1 %%", percent(worst), e.who, theAddress("old", v.old), window)
		}
	}
	for i := range v.curve {
		p := &v.curve[i]
		followed = followed || p.Asked.Old.live()+p.Served.Old.live() > 0
	}
	ended := followed && len(v.new) == 0 // a switch that only took addresses away ends with nothing
	if !anything && !ended {
		blind("no connection to any of the addresses was seen within the last minute")
	}
	accounted := v.oldDead && v.arrivals != nil // nobody can be on them, and who does not arrive is known
	if !v.asks && !v.holdsOld && !accounted {
		blind("who is on %s is not seen: no agent on a host that holds %s reports, and none whose own connections go there", theAddress("old", v.old), pronoun(v.old))
	}
}

func pronoun[T any](of []T) string {
	if len(of) == 1 {
		return "it"
	}
	return "them"
}

// onOld is the share of the live connections that are on the old addresses: the
// greater one of ESTABLISHED and of these with those that are being made. nil
// without any.
func onOld(s *Sides) *float64 {
	a, b := oldShare(s), ratio(float64(s.Old.live()), float64(s.New.live()))
	if a != nil && b != nil {
		return new(max(*a, *b))
	}
	return cmp.Or(a, b)
}

// reasonsOfFailures: nobody fails on the old addresses.
func (v *view) reasonsOfFailures(points []Point, bad say) {
	most := 0
	for i := range points {
		p := &points[i]
		most = max(most, p.Asked.Old.failing(), p.Served.Old.failing())
	}
	switch now := v.failing(); {
	case now > 0:
		bad("%s to %s %s, connecting or sending again without an answer", counted(now, "connection"), theAddress("old", v.old), fails(now))
	case most > 0:
		bad("%s to %s failed within the last minute", counted(most, "connection"), theAddress("old", v.old))
	}
}

func fails(n int) string {
	if n == 1 {
		return "fails"
	}
	return "fail"
}

// failing are the connections to the old addresses on which nothing comes
// through: at that end that has more of them.
func (v *view) failing() int { return max(v.now.Asked.Old.failing(), v.now.Served.Old.failing()) }

// reasonsOfResolvers: all that are asked answer with new addresses alone.
func (v *view) reasonsOfResolvers(bad, blind say) {
	asked := 0
	for i := range v.resolvers {
		r := &v.resolvers[i]
		asked++
		switch r.Class {
		case ClassNew:
			if r.AskedAgoSeconds > answerGood && !v.stopped[r.Agent] {
				blind("%s was last asked %s ago", v.resolver(r), lasting(r.AskedAgoSeconds))
			}
		case ClassOldInTTL, ClassOldBeyond, ClassServStale, ClassMixed:
			bad("%s %s", v.resolver(r), v.answers(r))
		case ClassUnasked:
			blind("%s has not been asked yet", v.resolver(r))
			asked--
		default:
			blind("%s gives no answer to go by: %s", v.resolver(r), cmp.Or(trimmed(r.Why), string(r.Class)))
		}
	}
	if asked == 0 {
		blind("no resolver was asked what %s answers now", v.name)
	}
}

// answers says how a resolver answers that is not new.
func (v *view) answers(r *Resolver) string {
	switch r.Class {
	case ClassOldInTTL:
		return fmt.Sprintf("still answers with an old address, as it may for another %s", lasting(r.TTLSeconds))
	case ClassOldBeyond:
		return fmt.Sprintf("answers with an old address beyond the TTL, with %s left", lasting(r.TTLSeconds))
	case ClassServStale:
		return "serves an old address that has expired (serve-stale)"
	}
	if len(r.Addresses) > 0 && !slices.ContainsFunc(r.Addresses, func(a netip.Addr) bool { return !slices.Contains(v.new, a) }) {
		return "answers with old and new addresses by turns"
	}
	return "answers with " + cmp.Or(addresses(r.Addresses), "other addresses") + ", which are not the new addresses alone"
}

// resolver names one: "resolver unbound-9 (192.0.2.53:53)", with who asked it
// where several did.
func (v *view) resolver(r *Resolver) string {
	name := "resolver " + r.Server
	if r.Label != "" && r.Label != r.Server {
		name = fmt.Sprintf("resolver %s (%s)", r.Label, r.Server)
	}
	if r.Role == "authoritative" {
		name = "name server" + strings.TrimPrefix(name, "resolver")
	}
	if len(v.members) > 1 && r.Agent != "" {
		name += " as " + r.Agent + " sees it"
	}
	return name
}

// reasonsOfProbes: every new address is the right application's, from wherever
// it was probed.
func (v *view) reasonsOfProbes(bad, blind say) {
	good := map[string]bool{}
	for i := range v.probes {
		p := &v.probes[i]
		a := p.Address.Addr().Unmap()
		if !slices.Contains(v.new, a) {
			continue
		}
		switch {
		case p.AgoSeconds > probeGood && !v.stopped[p.Agent]:
		case p.Failed != "" || p.Wrong:
			bad("the new address %s %s", p.Address, found(p))
			good[a.String()] = true // that is the reason, not that none was made
		default:
			good[a.String()] = true
		}
	}
	for _, a := range v.new {
		if !good[a.String()] {
			blind("nothing has connected to the new address %s within %s to see what answers there", a, lasting(probeGood))
		}
	}
}

// found says what is wrong with an address.
func found(p *Probe) string {
	says := "does not answer as it should (" + p.Failed + ")"
	switch {
	case p.Wrong:
		says = "is another application's"
	case p.Failed == "connect":
		says = "takes no connection"
	}
	if w := trimmed(p.Words); w != "" {
		says += ": " + w
	}
	return says
}

// trimmed is a sentence of another package within one of ours.
func trimmed(says string) string { return strings.TrimRight(strings.TrimSpace(says), ".") }

// reasonsOfAgents: all of them look, at the same switch.
func (v *view) reasonsOfAgents(blind say) {
	stopped := 0
	for i := range v.members {
		m := &v.members[i]
		stopped += boolean(m.Stopped)
		if m.armed() {
			blind("%s has not noticed the switch yet", m.Agent)
		} else if age, late := m.late(); late {
			blind("the last look of %s is %s old", m.Agent, lasting(age))
		}
	}
	for i := range v.members {
		if m := &v.members[i]; m.Stopped && stopped < len(v.members) {
			blind("%s has stopped following it, %s after the switch", m.Agent, lasting(m.asOf()))
		}
	}
	if len(v.refused) > 0 {
		blind("%s %s to another switch: what is seen there of this one is not known", listed(v.refused), looks(len(v.refused)))
	}
	if len(v.doubtful) > 0 {
		blind("there are two different reports of an agent named %s, and only one counts", listed(v.doubtful))
	}
}

func looks(n int) string {
	if n == 1 {
		return "looks"
	}
	return "look"
}

// verdict weighs the reasons. What is known to be in the way makes it draining,
// and stuck after the deadline; what is only not known makes it unclear; and
// where no connection is seen at all it is never anything else.
func (v *view) verdict(why []reason) Verdict {
	switch {
	case len(why) == 0:
		return Settled
	case why[0].blind || !v.sees():
		return Unclear
	case v.since > v.deadline:
		return Stuck
	}
	return Draining
}

// sees reports whether any connection to any of the addresses was ever seen.
func (v *view) sees() bool {
	for i := range v.members {
		if v.members[i].ever(func(p *Point) bool { return p.Asked != Sides{} || p.Served != Sides{} }) {
			return true
		}
	}
	return false
}

// sentence is the verdict in one sentence, with numbers.
func (v *view) sentence(s *Status) string {
	first := ""
	if len(s.Why) > 0 {
		first = s.Why[0]
	}
	after := lasting(s.SinceSeconds) + " after the switch"
	switch s.Verdict {
	case Settled:
		return fmt.Sprintf("%s has settled: %s, %s, %s.", s.Name, v.shareSays(s), v.resolversSay(), after)
	case Unclear:
		if v.since > v.deadline && !v.before {
			first += fmt.Sprintf("; the deadline was %s ago", lasting(v.since-v.deadline))
		}
		return stopped(fmt.Sprintf("Whether %s has drained is not known: %s", cmp.Or(s.Name, "the name"), first))
	}
	state := "drains"
	if s.Verdict == Stuck {
		state = "is stuck"
		after += fmt.Sprintf(", %s past the deadline", lasting(v.since-v.deadline))
	}
	says := fmt.Sprintf("%s %s, %s: ", s.Name, state, after)
	if share := v.shareSays(s); s.OldShare != nil && *s.OldShare >= settledShare {
		says += share
		if n := v.failing(); n > 0 {
			says += fmt.Sprintf(", and %d %s there", n, fails(n))
		}
	} else {
		says += first
	}
	if s.EndsInSeconds != nil && *s.EndsInSeconds > 0 {
		says += fmt.Sprintf("; below 1 %% in about %s (± %s)", lasting(*s.EndsInSeconds), lasting(*s.EndsErrorSeconds))
	}
	return stopped(says)
}

// shareSays is what is on the old addresses, of how many.
func (v *view) shareSays(s *Status) string {
	at := s.Now.at(s.Basis)
	if s.OldShare == nil {
		return "no connection is left on " + theAddress("old", v.old)
	}
	says := fmt.Sprintf("%s of %s", percent(*s.OldShare), counted(at.Old.Established+at.New.Established, "connection"))
	if s.OldNewShare != nil {
		says += fmt.Sprintf(" and %s of the new ones", percent(*s.OldNewShare))
	}
	return says + " are on " + theAddress("old", v.old)
}

func (v *view) resolversSay() string {
	n := 0
	for i := range v.resolvers {
		n += boolean(v.resolvers[i].Class == ClassNew)
	}
	if n == 1 {
		return "the one resolver that was asked answers with the new addresses"
	}
	return fmt.Sprintf("all %d resolvers that were asked answer with the new addresses", n)
}

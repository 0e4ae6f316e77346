package drain

import (
	"fmt"
	"slices"
	"strings"
)

// shortTTL is the TTL in seconds that is short enough to switch by.
const shortTTL = 60.0

// advice says what to do, what helps users first.
func (v *view) advice(s *Status) []string {
	out := []string{}
	add := func(format string, a ...any) { out = append(out, fmt.Sprintf(format, a...)) }
	if len(v.members) == 0 || v.before {
		return out
	}
	if n := v.failing(); n > 0 {
		add("let %s answer again, or forward what comes there to %s: %s %s there now", theAddress("old", v.old), theAddress("new", v.new), counted(n, "connection"), fails(n))
	}
	for i := range v.probes {
		if p := &v.probes[i]; p.AgoSeconds <= probeGood && (p.Wrong || p.Side == "new" && p.Failed != "") {
			add("put %s right: it %s", p.Address, found(p))
		}
	}
	if v.missing() {
		add("find the users who do not arrive: see from their networks what %s answers, and whether they reach %s; until then let %s answer", v.name, theAddress("new", v.new), theAddress("old", v.old))
	}
	v.resolverAdvice(add)
	v.laggardAdvice(s, add)
	switch {
	case s.SafeToPowerOff:
		add("power off %s when you like, and end this with: foreshock drain stop %s", theAddress("old", v.old), v.name)
	case !v.oldDead:
		add("keep %s answering %s", theAddress("old", v.old), v.until(s))
	}
	if was := v.recordTTL(); was > shortTTL {
		add("before the next switch lower the TTL of %s to %s or less, at least %s ahead: it was %s", v.name, lasting(shortTTL), lasting(was), lasting(was))
	}
	return unique(out)
}

// unique is each text once, in order; never nil.
func unique(in []string) []string {
	out := []string{}
	for _, s := range in {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// resolverAdvice is what to do about name servers and resolvers that do not
// answer with the new addresses.
func (v *view) resolverAdvice(add say) {
	var behind, stale []string
	server := ""
	for i := range v.resolvers {
		r := &v.resolvers[i]
		switch {
		case r.Role == "authoritative" && (r.Class == ClassOldInTTL || r.Class == ClassOldBeyond || r.Class == ClassMixed):
			behind = append(behind, r.name())
		case r.Class == ClassOldBeyond || r.Class == ClassServStale:
			stale = append(stale, r.name())
			server = r.Server
		}
	}
	behind, stale = unique(behind), unique(stale)
	if len(behind) > 0 {
		add("bring the zone up to date on %s: as long as one of its servers answers with old addresses, so do honest resolvers", listed(behind))
	}
	if len(stale) > 1 {
		server = ""
	}
	if len(stale) > 0 {
		add("flush %s on %s (%s), and lower their least TTL (cache-min-ttl, min-cache-ttl) and stale answers (serve-expired, stale-answer-enable): those that are not yours will answer so until their own time is over", v.name, listed(stale), flush(v.name, server))
	}
}

// laggardAdvice says per cause who it is and what helps; what to do about each is
// with the laggard.
func (v *view) laggardAdvice(s *Status, add say) {
	for _, c := range []struct{ cause, place, format string }{
		{causeStale, placeResolver, "flush the resolver that %s asks: it answers with an old address"},
		{causeStale, placeProcess, "end the old answer that %s holds, in a cache or in its configuration: correct that, or restart it one instance at a time"},
		{causeStale, "", "see who still gives an old address to %s"},
		{causeOld, "", "let %s end connections from before the switch: by a maximum age in the pool, or a restart, one instance at a time"},
	} {
		var who []string
		ours := false
		for i := range v.laggards {
			if l := &v.laggards[i]; l.Cause == c.cause && l.Place == c.place {
				who = append(who, v.whose(l))
				ours = ours || l.Vantage == asked
			}
		}
		if who = unique(who); len(who) == 0 {
			continue
		}
		says := fmt.Sprintf(c.format, listed(who))
		if c.cause == causeOld && ours {
			says += ", or close them (foreshock drain close-stale " + s.Name + ")"
		}
		add("%s", says)
	}
}

// until is how long the old addresses are needed, as far as that can be told.
func (v *view) until(s *Status) string {
	least := 0.0
	if v.ttl != nil {
		least = *v.ttl - v.since
	}
	for _, r := range stillOld(v.resolvers) {
		least = max(least, r.TTLSeconds)
	}
	switch {
	case s.Verdict == Settled:
		return "until nobody is connected to it any more"
	case s.EndsInSeconds != nil && *s.EndsInSeconds > 0:
		return fmt.Sprintf("for another %s at least: that is when less than 1 %% is forecast there, with what that may be off", lasting(max(least, *s.EndsInSeconds+*s.EndsErrorSeconds)))
	case least > 0:
		return fmt.Sprintf("for another %s at least: so long are answers with it still good or given out", lasting(least))
	}
	return "until this is settled; when that will be cannot be told from how it goes"
}

// limited is what the status cannot say: what each agent cannot see, and what
// follows from who reports.
func (v *view) limited() []string {
	out := slices.Clone(v.limits)
	add := func(format string, a ...any) { out = append(out, fmt.Sprintf(format, a...)) }
	for i := range v.members {
		m := &v.members[i]
		for _, l := range m.Limits {
			if len(v.members) > 1 {
				l = m.Agent + ": " + l
			}
			out = append(out, l)
		}
		if m.Stopped {
			add("%s has stopped following it: what it says is as of %s after the switch", m.Agent, lasting(m.asOf()))
		}
		if len(m.Ports) > 0 && !slices.Equal(m.Ports, v.members[0].Ports) || len(m.Ports) == 0 && len(v.members[0].Ports) > 0 {
			add("%s counts other ports (%s) than %s (%s)", m.Agent, ports(m.Ports), v.members[0].Agent, ports(v.members[0].Ports))
		}
	}
	if len(v.members) == 0 {
		return unique(out)
	}
	if len(v.bare) > 0 && len(v.bare) < len(v.members) {
		add("the curve is without %s, which has none yet", listed(v.bare))
	}
	switch {
	case v.basis == asked && !v.holdsOld:
		add("only connections that the agents' own hosts began are seen: those of others are seen on the hosts that hold the addresses")
	case v.basis == served && !v.holdsNew:
		add("no agent on a host that holds %s reports: shares cannot be told", theAddress("new", v.new))
	case v.basis == served && !v.holdsOld:
		add("no agent on a host that holds %s reports: who is on %s is not seen", theAddress("old", v.old), pronoun(v.old))
	case v.basis == asked && v.oldDead && v.holdsSome:
		add("%s takes no connections any more: shares are of the connections that the agents' own hosts began, as those that came there have lost their other ends", theAddress("old", v.old))
	}
	if v.ttl == nil && !v.before {
		add("for how long answers from before the switch were good is not known: who is late cannot be told")
	}
	return unique(out)
}

// recordTTL is the TTL of the old answers; zero where it is not known. For as long
// as a server of the zone goes on giving them out they are good for longer.
func (v *view) recordTTL() float64 {
	if v.ttl == nil {
		return 0
	}
	was := *v.ttl
	for i := range v.resolvers {
		if r := &v.resolvers[i]; r.Role == "authoritative" && r.MostTTLSeconds > 0 {
			was = min(was, r.MostTTLSeconds)
		}
	}
	return was
}

func ports(all []uint16) string {
	if len(all) == 0 {
		return "all"
	}
	return strings.Trim(fmt.Sprint(all), "[]")
}

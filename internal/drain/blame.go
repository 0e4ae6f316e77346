package drain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// The causes, as judge names them, and the places of stale_dns.
const (
	causeFailing = "users_failing_on_old"
	causeStale   = "stale_dns"
	causeOld     = "old_connection"

	placeResolver = "resolver"
	placeProcess  = "process"
)

const (
	// failingShare is the share of a laggard's connections that fail, from which
	// on it counts as failing rather than as one that loses a segment at times.
	failingShare = 0.2
	// onTheWay is how long after the TTL somebody may still be on his way, in seconds.
	onTheWay = 1.0
	// staysFor is how long a connection is there, in seconds, that is kept.
	staysFor = 30.0
)

// Blame says of each of a report's laggards why it is on an old address and what
// to do about it, by what the report has of its connections and of the resolvers
// of its host. Until the TTL of the answers before the switch is over, and where
// that is not known, nobody is late: only who fails is named.
func Blame(r *Report) {
	over := !r.armed() && r.TTLSeconds != nil && r.SinceSeconds > *r.TTLSeconds+onTheWay
	host := resolversOf(r)
	for i := range r.Laggards {
		l := &r.Laggards[i]
		l.Cause, l.Place, l.Advice = "", "", ""
		switch {
		case !r.armed() && l.fails():
			l.Cause, l.Advice = causeFailing, failingAdvice(l)
		case !over:
			l.Advice = waitAdvice(r)
		case l.NewAfterTTL > 0 && l.Vantage == asked && len(host.stale) == 0 && len(host.allowed) > 0:
			// A name server of the zone is behind, or asked it late: nobody is wrong.
			l.Advice = fmt.Sprintf("nothing for now: its resolver %s still answers with an old address, as it may for another %s", host.allowed[0].name(), lasting(host.allowed[0].TTLSeconds))
		case l.NewAfterTTL > 0:
			l.Cause = causeStale
			l.Place, l.Advice = staleAdvice(r, l, &host)
		case l.OldestSeconds > 0 && l.OldestSeconds < staysFor && r.SinceSeconds-l.OldestSeconds > *r.TTLSeconds+onTheWay:
			// Met after the TTL, by an agent that did not look before.
			l.Advice = "nothing yet: when its connections began was not seen; within a minute it shows whether they stay or others are begun"
		default:
			l.Cause, l.Advice = causeOld, oldAdvice(r, l)
		}
	}
}

// fails reports whether it is the address, rather than a lost segment.
func (l *Laggard) fails() bool {
	return l.Failing > 0 && float64(l.Failing) >= failingShare*float64(l.Connections)
}

// hostResolvers are the resolvers that a host's own processes ask.
type hostResolvers struct {
	stale   []*Resolver // answer with an old address and should not
	allowed []*Resolver // do, and may
	answer  []*Resolver // answer with the new ones alone
}

func resolversOf(r *Report) (host hostResolvers) {
	for i := range r.Resolvers {
		x := &r.Resolvers[i]
		if x.Role != "system" {
			continue
		}
		switch {
		case x.Class == ClassOldBeyond, x.Class == ClassServStale, x.Class == ClassMixed && slices.ContainsFunc(r.Old, func(o netip.Addr) bool { return slices.Contains(x.Addresses, o) }):
			host.stale = append(host.stale, x)
		case x.Class == ClassOldInTTL:
			host.allowed = append(host.allowed, x)
		case x.Class == ClassNew:
			host.answer = append(host.answer, x)
		}
	}
	return host
}

func (r *Resolver) name() string {
	if r.Label == "" || r.Label == r.Server {
		return r.Server
	}
	return r.Label + " (" + r.Server + ")"
}

func failingAdvice(l *Laggard) string {
	if l.Vantage == served {
		return fmt.Sprintf("what %s sends to %s comes back too late or not at all: see whether the way from there to these clients still works", l.Old, l.who())
	}
	return fmt.Sprintf("%s does not get through to %s: let that address answer again, or forward it to the new one; then let %s look the name up again, by a restart if nothing else does", l.who(), l.Old, l.who())
}

func waitAdvice(r *Report) string {
	switch {
	case r.armed():
		return ""
	case r.TTLSeconds == nil:
		return "the TTL before the switch is not known, so whether this is late cannot be told: give it (drain start --ttl)"
	}
	return fmt.Sprintf("nothing yet: answers from before the switch are good for another %s", lasting(*r.TTLSeconds-r.SinceSeconds))
}

// staleAdvice is where an old answer is kept, as far as that can be told, and
// what to do there.
func staleAdvice(r *Report, l *Laggard, host *hostResolvers) (place, advice string) {
	switch {
	case l.Vantage == served:
		return "", fmt.Sprintf("clients in %s still begin connections to %s: keep it answering until they stop; if they are many, tell whoever runs that network's resolvers that they keep answers beyond their TTL", l.who(), l.Old)
	case l.Namespace != "":
		// A container has a resolv.conf of its own, and those we asked are the host's.
		return "", fmt.Sprintf("%s is in a network namespace of its own, whose resolvers are not asked, so where the old answer is kept cannot be told: look there what they answer (getent ahosts %s), and for %s in its configuration and its /etc/hosts; if it is in neither, restart it", l.who(), r.Name, l.Old)
	case len(host.stale) > 0:
		x := host.stale[0]
		return placeResolver, fmt.Sprintf("its resolver %s still answers with an old address: flush %s there (%s)", x.name(), r.Name, flush(r.Name, x.Server))
	case len(host.answer) > 0:
		return placeProcess, fmt.Sprintf("its resolvers answer with the new addresses, so %s itself keeps %s: look for that address in its configuration and in /etc/hosts (grep -rn %s /etc); if it is in neither, a library has cached it: restart %s, one instance at a time, and set that cache to the TTL",
			l.who(), l.Old, l.Old, l.who())
	}
	return "", fmt.Sprintf("no resolver of this host could be asked, so where the old answer is kept cannot be told: see what its resolver answers for %s (dig %s), and look for %s in the configuration of %s and in /etc/hosts", r.Name, r.Name, l.Old, l.who())
}

// flush are the commands that take one name out of a resolver's cache; of
// dnsmasq all of it. What listens at 127.0.0.53 is systemd-resolved.
func flush(name, server string) string {
	if strings.HasPrefix(server, "127.0.0.53") || strings.HasPrefix(server, "127.0.0.54") {
		return "resolvectl flush-caches"
	}
	return fmt.Sprintf("unbound: unbound-control flush %s; BIND: rndc flushname %s; dnsmasq: kill -HUP its process; PowerDNS: rec_control wipe-cache %s", name, name, name)
}

func oldAdvice(r *Report, l *Laggard) string {
	age := ""
	if l.OldestSeconds > 0 {
		age = fmt.Sprintf(", the oldest for at least %s", lasting(l.OldestSeconds))
	}
	if l.Vantage == served {
		return fmt.Sprintf("clients in %s keep connections open that they began before the switch%s: keep %s answering until these end, or have the server end them in order (Connection: close, GOAWAY): they come back by the name", l.who(), age, l.Old)
	}
	return fmt.Sprintf("%s keeps connections open that it began before the switch%s, and begins none: give its pool a maximum age or an idle time, or restart it one instance at a time; foreshock drain close-stale %s shows which connections it could close", l.who(), age, r.Name)
}

package judge

import (
	"fmt"
	"strings"

	"github.com/foreshock/foreshock/internal/measure"
)

// switchName is the name whose addresses changed.
func (s subject) switchName() string {
	side, _ := s.scope.Scope.Side()
	return strings.TrimSuffix(s.scope.Scope.Name, "/"+side.String())
}

func explainFailingOnOld(s subject, f *Finding) {
	name, failing := s.switchName(), s.value(measure.Failing)
	f.Sentence = fmt.Sprintf("Up to %s at once to the old addresses of %s %s, %s after the switch%s.",
		people(failing, "connection", "connections"), name, verb(failing, "fails", "fail"), inWords(s.value(measure.SwitchedAgo)), failingNow(s))
	f.Certainty = Certain // the kernel's own timers
	f.against(s.scope, measure.Failing, failingLeast, "default")
	f.against(s.scope, measure.FailingShare, failingShare, "default")
	f.shows(s.scope, measure.SynSent, measure.Retransmitting, measure.Connections, measure.Established, measure.Moving)
	f.sharesOfOld(s)
	f.considers(StaleDNS, rejected(s, measure.NewAfterTTL, begunLate(s)))
	f.considers(OldConnection, rejected(s, measure.OlderThanTTL, goesOn(s)))
	f.considers(LocalFault, s.newSideIsUp())
	f.Advice = []string{
		fmt.Sprintf("Let the old addresses of %s answer again, or forward what comes there to the new ones, until nobody asks: it helps at once, wherever the old answers are kept.", name),
		fmt.Sprintf("foreshock drain status %s says which processes and clients they are, and what each of them goes by.", name),
		closeStale(name),
	}
}

// failingNow says how they fail, as far as the last look shows it.
func failingNow(s subject) string {
	var parts []string
	if n := s.value(measure.SynSent); n > 0 {
		parts = append(parts, people(n, "attempt is", "attempts are")+" not answered")
	}
	if n := s.value(measure.Retransmitting); n > 0 {
		parts = append(parts, fmt.Sprintf("%.0f have sent something again in vain", n))
	}
	if len(parts) == 0 {
		return ""
	}
	return ": now " + strings.Join(parts, ", ")
}

// newSideIsUp says whether the new addresses show that we are not at fault.
func (s subject) newSideIsUp() string {
	says := "cannot tell us from it: no connection to the new addresses is in use here"
	for o := range s.siblings() {
		if moving, _ := o.Get(measure.Moving).Get(); moving > 0 {
			says = fmt.Sprintf("no, %s to the new addresses moved bytes within a minute", people(moving, "connection", "connections"))
		}
	}
	return says
}

// sharesOfOld adds what part of the name's connections is on the old addresses,
// and since when.
func (f *Finding) sharesOfOld(s subject) {
	f.shows(s.scope, measure.OldShare, measure.OldNewShare, measure.SwitchedAgo, measure.TTLOver)
}

func closeStale(name string) string {
	return fmt.Sprintf("foreshock drain close-stale %s lists the connections of this host's own processes there; with --really it closes them, and whoever resolves the name again comes to the new addresses.", name)
}

func keepOld(name string) string {
	return fmt.Sprintf("Keep the old addresses of %s in service until then: foreshock drain status %s says when they may be powered off.", name, name)
}

func explainStaleDNS(s subject, f *Finding) {
	name := s.switchName()
	begun := s.value(measure.NewAfterTTL)
	place, why := s.placeOfStale()
	f.Place = place
	f.Sentence = fmt.Sprintf("%s to the old addresses of %s %s begun within 30 s, though the TTL of the old answer was over %s ago: %s.",
		people(begun, "connection", "connections"), name, verb(begun, "was", "were"), inWords(s.value(measure.TTLOver)), why)
	if elsewhere := float64(s.scope.Address.Served.NewAfterTTL); elsewhere > 0 && elsewhere < begun {
		f.Sentence += fmt.Sprintf(" %.0f of them came from elsewhere, by resolvers of their own.", elsewhere)
	}
	f.Certainty = Certain // that they were begun; the place is worked out
	if place != NoPlace {
		f.Certainty = Likely
	}
	f.against(s.scope, measure.NewAfterTTL, staleLeast, "default")
	f.against(s.scope, measure.TTLOver, ttlOverLeast, "default")
	f.shows(s.scope, measure.ResolversAsked, measure.ResolversStale, measure.OldNewShare, measure.OldShare, measure.Failing)
	f.considers(OldConnection, rejected(s, measure.OlderThanTTL, s.is(measure.OlderThanTTL, above, 0)))
	f.considers(UsersFailingOnOld, rejected(s, measure.Failing, s.is(measure.Failing, atLeast, failingLeast)))
	switch place {
	case AtResolver:
		f.Advice = []string{
			fmt.Sprintf("Flush %s at the resolver that foreshock drain status %s names: unbound-control flush %s, rndc flushname %s, resolvectl flush-caches; dnsmasq takes a SIGHUP.", name, name, name, name),
			"Look there for what keeps answers beyond their TTL: cache-min-ttl, min-cache-ttl, serve-expired, stale-answer-enable.",
		}
	case InProcess:
		f.Advice = []string{
			fmt.Sprintf("Restart the processes that foreshock drain status %s names, one at a time: a library of theirs keeps the answer (a JVM may for ever), or the address is fixed in their configuration.", name),
		}
	default:
		f.Advice = []string{
			fmt.Sprintf("foreshock drain status %s says who they are; compare with what their own resolver answers for %s.", name, name),
		}
	}
	f.Advice = append(f.Advice, keepOld(name))
}

// placeOfStale says where the old answer is kept, and how that is known. Our
// resolvers say nothing of those who come here from elsewhere.
func (s subject) placeOfStale() (place Place, why string) {
	ends := &s.scope.Address
	asked, _ := s.scope.Get(measure.ResolversAsked).Get()
	stale, answered := s.scope.Get(measure.ResolversStale).Get()
	switch {
	case ends.Asked.NewAfterTTL == 0:
		return NoPlace, "where that is kept cannot be told here, as they come from elsewhere, by resolvers of their own"
	case asked == 0 || !answered:
		return NoPlace, "where that is kept cannot be told, as no resolver of this host was asked"
	case stale > 0:
		return AtResolver, fmt.Sprintf("%.0f of %s of this host still %s it", stale, people(asked, "resolver", "resolvers"), verb(stale, "gives", "give"))
	}
	return InProcess, fmt.Sprintf("%s of this host %s new ones, so a process keeps it, or has the address fixed", people(asked, "resolver", "resolvers"), verb(asked, "gives", "give"))
}

func explainOldConnection(s subject, f *Finding) {
	name, kept := s.switchName(), s.kept()
	f.Sentence = fmt.Sprintf("%s to the old addresses of %s %s on, %s after the TTL of the old answer: a connection that is kept never asks for the name again.",
		people(kept, "connection", "connections"), name, verb(kept, "goes", "go"), inWords(s.value(measure.TTLOver)))
	if share, known := s.scope.Get(measure.OldShare).Get(); known {
		f.Sentence += fmt.Sprintf(" %.0f %% of its connections seen here are there.", 100*share)
	}
	f.Certainty = Certain
	f.against(s.scope, measure.OlderThanTTL, 1, "default")
	f.against(s.scope, measure.OldShare, stayShare, "default")
	f.against(s.scope, measure.TTLOver, stayAfterTTL, "default")
	f.shows(s.scope, measure.Established, measure.Moving, measure.Failing)
	f.considers(StaleDNS, rejected(s, measure.NewAfterTTL, begunLate(s)))
	f.considers(UsersFailingOnOld, rejected(s, measure.Failing, s.is(measure.Failing, atLeast, failingLeast)))
	f.Advice = []string{
		keepOld(name),
		"Give the pools of these clients a maximum age (a busy keep-alive connection never ends by an idle time-out; gRPC has MaxConnectionAge at the server, HAProxy and nginx a limit of requests or time), or restart them one at a time.",
		closeStale(name),
	}
}

// kept are the connections that go on.
func (s subject) kept() float64 {
	if older, known := s.scope.Get(measure.OlderThanTTL).Get(); known && older > 0 {
		return older
	}
	return s.value(measure.Established)
}

func explainArrivalsMissing(s subject, f *Finding) {
	now, expected, off := s.value(measure.ArrivalsRate), s.value(measure.ArrivalsExpected), s.value(measure.ArrivalsExpectedError)
	share := 1 - min(1, now/max(expected, usualAtLeast))
	f.Sentence = fmt.Sprintf("Since the switch %.0f %% of the usual new connections to %s have not arrived: expected %s/s ± %s, seen %s/s.",
		100*share, s.switchName(), rate(expected), rate(off), rate(now))
	f.Certainty = Likely
	f.against(s.scope, measure.ArrivalsRate, missedSome*max(0, expected-off), "80 % of what is expected, less its error")
	f.shows(s.scope, measure.ArrivalsExpected, measure.ArrivalsExpectedError, measure.ArrivalsMissing, measure.SwitchedAgo, measure.Established)
	f.Considered = append(f.Considered, Considered{"connections_kept", "cannot tell: where the new addresses keep connections for longer than the old ones did, as many users need fewer new ones"})
	for o := range s.siblings() {
		f.shows(o, measure.Failing, measure.OldNewShare)
		f.considers(UsersFailingOnOld, rejected(subject{scope: o, host: s.host, group: s.group, around: s.around}, measure.Failing, subject{scope: o}.is(measure.Failing, atLeast, failingLeast)))
	}
	f.Advice = []string{
		"Ask from where the clients are: foreshock drain status --agents reads several agents, and names resolvers that still give the old addresses or none.",
		"See whether the new addresses let everybody in who came to the old ones: firewalls, certificates, address families, routes.",
		"What never arrived left no connection here: no host's sockets show who it was.",
	}
}

// rate prints events a second for a sentence: "172", "4.1".
func rate(perSecond float64) string {
	if perSecond >= 10 {
		return fmt.Sprintf("%.0f", perSecond)
	}
	return fmt.Sprintf("%.1f", perSecond)
}

// hurtByAddress says who is hurt by what goes to one side of a switch.
func hurtByAddress(s subject, c Cause) string {
	name := s.switchName()
	unseen := "; how many clients stand behind that is not seen here"
	failing := s.value(measure.Failing)
	switch c {
	case UsersFailingOnOld:
		says := "whoever is still sent to the old addresses of " + name
		if share, known := s.scope.Get(measure.OldNewShare).Get(); known {
			says += fmt.Sprintf(": %.0f %% of the new connections for it that are seen here", 100*share)
		}
		return says + unseen
	case StaleDNS:
		if failing > 0 {
			return fmt.Sprintf("up to %s of them fail at once%s", people(failing, "connection", "connections"), unseen)
		}
		return "nobody for as long as the old addresses of " + name + " answer"
	case OldConnection:
		says := "nobody for as long as the old addresses of " + name + " are up"
		if moving, known := s.scope.Get(measure.Moving).Get(); known {
			says += fmt.Sprintf("; bytes moved on %s within a minute", people(moving, "connection there", "connections there"))
		}
		return says
	}
	missing := s.value(measure.ArrivalsExpected) - s.value(measure.ArrivalsRate) // traffic_missing
	return fmt.Sprintf("whoever should come: about %s new connections a second fewer than before; who they are is not seen here", rate(max(0, missing)))
}

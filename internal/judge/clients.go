package judge

import (
	"fmt"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
)

// Levels of the causes that clients make.
const (
	slowAtLeast  = 3    // slow clients
	slowShare    = 0.5  // of what is occupied, lower 95 % bound: they fill the service, not load
	slowRecede   = 0.25 // of what is occupied
	slowNoticed  = 0.3  // of the limit: below, they hold what nobody else wants
	slowPressure = 0.6  // of the limit

	floodShare     = 0.9 // of a backlog: the kernel sends cookies from there on
	floodCookies   = 10  // a second: a burst beyond a small backlog sends a few
	turnedAway     = 0.9 // of the limit
	resetsAtLeast  = 3   // in 3 s
	resetsPerOpens = 0.1
)

// slowClients: clients hold workers by sending or reading next to nothing.
func slowClients() causeRule {
	return causeRule{
		cause: SlowClients,
		triggers: []trigger{
			{condition{"half of what is occupied, and that a third of the limit, is held by clients that hardly send anything, for 10 s", 10 * time.Second, 4, measure.SlowClients,
				func(s subject) truth { return slowHolders(s).And(pressed(s, slowNoticed)) }}, Watch},
			{condition{"half of what is occupied is held by clients that hardly send anything, and workers run short or connections wait, for 10 s", 10 * time.Second, 4, measure.SlowClients,
				func(s subject) truth { return slowHolders(s).And(pressed(s, slowPressure)) }}, Warning},
		},
		clear: condition{"slow clients hold less than a quarter for 10 s", 10 * time.Second, 4, measure.SlowClients,
			func(s subject) truth { return slowBeyond(s, slowRecede).Not() }},
		explain: explainSlowClients,
	}
}

func slowHolders(s subject) truth { return slowBeyond(s, slowShare) }

// slowBeyond: slow clients are more than share of what is occupied, with 95 %
// confidence.
func slowBeyond(s subject, share float64) truth {
	v, ok := s.numbers(measure.SlowClients, measure.WorkersOccupied)
	if !ok {
		return cannotTell
	}
	slow, occupied := v[0], v[1]
	return isTrue(slow >= slowAtLeast && wilsonLower(slow, max(slow, occupied)) >= share)
}

// pressed: connections wait, or more than share of the limit is occupied. A
// server whose limit nobody knows may hold idle clients by the thousand.
func pressed(s subject, share float64) truth {
	return s.is(measure.QueueDepth, above, 0).Or(occupiedShare(s, share))
}

func explainSlowClients(s subject, f *Finding) {
	slow, occupied := s.value(measure.SlowClients), s.value(measure.WorkersOccupied)
	f.Sentence = fmt.Sprintf("%.0f clients of %s have taken 10 s or more over a request; %.0f workers are occupied in all.", slow, f.Scope.Name, occupied)
	f.Certainty = Likely
	f.against(s.scope, measure.SlowClients, max(slowAtLeast, slowShare*occupied), "default: half of what is occupied")
	f.occupied(s, slowPressure)
	f.shows(s.scope, measure.ZeroWindow, measure.QueueDepth)
	f.considers(WorkersFilling, "the workers are held, not busy: more of them would be held too")
	f.considers(Leak, rejected(s, measure.CloseWaitLeaked, leaking(s)))
	f.Advice = []string{
		"Limit connections per client, and how long a request may take to arrive: mod_reqtimeout in Apache, client_header_timeout in nginx.",
		"A proxy in front that reads requests whole takes such clients off the workers.",
	}
	f.fail(s)
}

// synFlood: half-open connections fill a backlog and the kernel answers with
// cookies. Clients that mean it still get through.
func synFlood() causeRule {
	return causeRule{
		cause: SynFlood,
		triggers: []trigger{
			{condition{"half-open connections fill the backlog and cookies are sent, for 3 s", 3 * time.Second, 3, measure.SynRecv, flooded}, Warning},
		},
		clear: condition{"no cookies sent, and room for half-open connections, for 10 s", 10 * time.Second, 4, measure.SynRecv,
			func(s subject) truth { return flooded(s).Not().And(s.hostIs(measure.SyncookiesSentRate, atMost, 0)) }},
		explain: explainSynFlood,
	}
}

// flooded: a backlog is full of half-open connections while its accept queue
// is not full, and the kernel sends cookies. With a full accept queue SYNs are
// dropped for that reason, whoever sends them (tcp_conn_request,
// net/ipv4/tcp_input.c).
func flooded(s subject) truth {
	v, ok := s.numbers(measure.SynRecv, measure.QueueLimit, measure.QueueDepth, measure.Listeners)
	if !ok {
		return cannotTell
	}
	half, limit, depth, listeners := v[0], v[1], v[2], v[3]
	return isTrue(half >= floodLevel(limit, listeners) && depth < limit).
		And(s.hostIs(measure.SyncookiesSentRate, atLeast, floodCookies))
}

// floodLevel is so many half-open connections as fill one listener's backlog.
func floodLevel(limit, listeners float64) float64 { return floodShare * limit / max(1, listeners) }

func explainSynFlood(s subject, f *Finding) {
	f.Sentence = fmt.Sprintf("%.0f half-open connections fill the backlog of %s; the kernel answers %.0f SYNs a second with cookies, so real clients still get in.",
		s.value(measure.SynRecv), f.Scope.Name, s.host.Get(measure.SyncookiesSentRate).Value)
	f.Certainty = Certain
	f.against(s.scope, measure.SynRecv, floodLevel(s.value(measure.QueueLimit), s.value(measure.Listeners)), "the backlog")
	f.against(s.host, measure.SyncookiesSentRate, floodCookies, "default")
	f.shows(s.scope, measure.QueueDepth, measure.QueueLimit)
	f.considers(WorkersFull, rejected(s, measure.QueueWait, s.is(measure.QueueWait, above, waitSlowly)))
	f.Advice = []string{
		"Leave net.ipv4.tcp_syncookies at 1: it is what keeps the service reachable.",
		"Have the sources filtered upstream; source addresses of a flood are often forged, so do not block by them.",
	}
	f.fail(s)
}

// connLimit: the server takes connections and turns them away, because it may
// hold no more. Nobody waits in the accept queue.
func connLimit() causeRule {
	return causeRule{
		cause: ConnLimit,
		triggers: []trigger{
			{condition{"at the limit, nobody waits, and connections are reset, for 3 s", 3 * time.Second, 3, measure.WorkersOccupied, turningAway}, Warning},
		},
		clear:   condition{"a tenth of the limit is free, or nothing is reset, for 10 s", 10 * time.Second, 4, measure.WorkersOccupied, not(turningAway)},
		explain: explainConnLimit,
	}
}

func turningAway(s subject) truth {
	resets := s.host.Get(measure.ResetsSentRate)
	opens, known := s.host.Get(measure.PassiveOpensRate).Get()
	if resets.Validity != measure.Known || !known {
		return cannotTell
	}
	if s.scope.Get(measure.TurnAwayLimit).Validity == measure.NotSuch {
		return no // it leaves them in the queue
	}
	if s.scope.Get(measure.TurnAwayLimit).Validity != measure.Known {
		return cannotTell
	}
	return s.isShare(measure.WorkersOccupied, atLeast, turnedAway, measure.TurnAwayLimit).
		And(s.is(measure.QueueDepth, atMost, 0)).
		And(isTrue(resets.Samples >= resetsAtLeast && resets.Value >= resetsPerOpens*opens))
}

func explainConnLimit(s subject, f *Finding) {
	resets := s.host.Get(measure.ResetsSentRate)
	opens := s.host.Get(measure.PassiveOpensRate)
	f.Sentence = fmt.Sprintf("%s is at its limit of %.0f and turns connections away: %.1f resets for %.1f new connections a second.",
		f.Scope.Name, s.scope.Get(measure.WorkersLimit).Value, resets.Value, opens.Value)
	f.Certainty = Likely // resets are the namespace's, not this service's alone
	f.occupied(s, turnedAway)
	f.against(s.host, measure.ResetsSentRate, resetsPerOpens*opens.Value, "default: a tenth of the new connections")
	f.shows(s.host, measure.PassiveOpensRate)
	f.against(s.scope, measure.QueueDepth, 0, "nobody waits")
	f.considers(WorkersFull, rejected(s, measure.QueueWait, s.is(measure.QueueWait, above, waitSlowly)))
	f.considers(SlowClients, rejected(s, measure.SlowClients, slowHolders(s)))
	f.Advice = []string{
		"Raise the limit (worker_connections, and the descriptors it needs), or take load away.",
		"Find what holds the connections: a slow upstream keeps two for each request.",
	}
	f.fail(s)
}

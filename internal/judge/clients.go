package judge

import (
	"fmt"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
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
		kind:  scope.KindService,
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
	slow, known := s.scope.Get(measure.SlowClients).Get()
	occupied, knownOccupied := s.scope.Get(measure.WorkersOccupied).Get()
	if !known || !knownOccupied {
		return cannotTell
	}
	return isTrue(slow >= slowAtLeast && wilsonLower(slow, max(slow, occupied)) >= share)
}

// pressed: connections wait, or more than share of the limit is occupied. A
// server whose limit nobody knows may hold idle clients by the thousand.
func pressed(s subject, share float64) truth {
	return s.is(measure.QueueDepth, above, 0).Or(occupiedShare(s, share))
}

func explainSlowClients(s subject, f *Finding) {
	slow := s.scope.Get(measure.SlowClients)
	occupied := s.scope.Get(measure.WorkersOccupied)
	f.Sentence = fmt.Sprintf("%.0f clients of %s have taken 10 s or more over a request; %.0f workers are occupied in all.", slow.Value, f.Scope.Name, occupied.Value)
	f.Certainty = Likely
	f.Evidence = []Evidence{
		{Signal: measure.SlowClients, Reading: slow, Threshold: max(slowAtLeast, slowShare*occupied.Value), HasThreshold: true, Origin: "default: half of what is occupied"},
		occupiedEvidence(s, slowPressure),
		{Signal: measure.ZeroWindow, Reading: s.scope.Get(measure.ZeroWindow)},
		{Signal: measure.QueueDepth, Reading: s.scope.Get(measure.QueueDepth)},
	}
	f.Considered = []Considered{
		{WorkersFilling.String(), "the workers are held, not busy: more of them would be held too"},
		{Leak.String(), rejected(s, measure.CloseWaitLeaked, leaking(s))},
	}
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
		kind:  scope.KindService,
		triggers: []trigger{
			{condition{"half-open connections fill the backlog and cookies are sent, for 3 s", 3 * time.Second, 3, measure.SynRecvCount, flooded}, Warning},
		},
		clear: condition{"no cookies sent, and room for half-open connections, for 10 s", 10 * time.Second, 4, measure.SynRecvCount,
			func(s subject) truth { return flooded(s).Not().And(s.hostIs(measure.SyncookiesSentRate, atMost, 0)) }},
		explain: explainSynFlood,
	}
}

// flooded: a backlog is full of half-open connections while its accept queue
// is not full, and the kernel sends cookies. With a full accept queue SYNs are
// dropped for that reason, whoever sends them (tcp_conn_request,
// net/ipv4/tcp_input.c).
func flooded(s subject) truth {
	half, known := s.scope.Get(measure.SynRecvCount).Get()
	limit, knownLimit := s.scope.Get(measure.QueueLimit).Get()
	depth, knownDepth := s.scope.Get(measure.QueueDepth).Get()
	listeners, knownListeners := s.scope.Get(measure.Listeners).Get()
	if !known || !knownLimit || !knownDepth || !knownListeners {
		return cannotTell
	}
	return isTrue(half >= floodLevel(limit, listeners) && depth < limit).
		And(s.hostIs(measure.SyncookiesSentRate, atLeast, floodCookies))
}

// floodLevel is so many half-open connections as fill one listener's backlog.
func floodLevel(limit, listeners float64) float64 { return floodShare * limit / max(1, listeners) }

func explainSynFlood(s subject, f *Finding) {
	half := s.scope.Get(measure.SynRecvCount)
	cookies := s.host.Get(measure.SyncookiesSentRate)
	f.Sentence = fmt.Sprintf("%.0f half-open connections fill the backlog of %s; the kernel answers %.0f SYNs a second with cookies, so real clients still get in.",
		half.Value, f.Scope.Name, cookies.Value)
	f.Certainty = Certain
	f.Evidence = []Evidence{
		{Signal: measure.SynRecvCount, Reading: half, Threshold: floodLevel(s.value(measure.QueueLimit), s.value(measure.Listeners)), HasThreshold: true, Origin: "the backlog"},
		{Signal: measure.SyncookiesSentRate, Reading: cookies, Threshold: floodCookies, HasThreshold: true, Origin: "default"},
		{Signal: measure.QueueDepth, Reading: s.scope.Get(measure.QueueDepth)},
		{Signal: measure.QueueLimit, Reading: s.scope.Get(measure.QueueLimit)},
	}
	f.Considered = []Considered{{WorkersFull.String(), rejected(s, measure.QueueWait, s.is(measure.QueueWait, above, waitSlowly))}}
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
		kind:  scope.KindService,
		triggers: []trigger{
			{condition{"at the limit, nobody waits, and connections are reset, for 3 s", 3 * time.Second, 3, measure.WorkersOccupied, turningAway}, Warning},
		},
		clear: condition{"a tenth of the limit is free, or nothing is reset, for 10 s", 10 * time.Second, 4, measure.WorkersOccupied,
			func(s subject) truth { return turningAway(s).Not() }},
		explain: explainConnLimit,
	}
}

func turningAway(s subject) truth {
	resets := s.host.Get(measure.OutRstsRate)
	opens, known := s.host.Get(measure.PassiveOpensRate).Get()
	if resets.Validity != measure.Known || !known {
		return cannotTell
	}
	limit, knownLimit := s.scope.Get(measure.TurnAwayLimit).Get()
	if s.scope.Get(measure.TurnAwayLimit).Validity == measure.NotSuch {
		return no // it leaves them in the queue
	}
	if !knownLimit {
		return cannotTell
	}
	return s.is(measure.WorkersOccupied, atLeast, turnedAway*limit).
		And(s.is(measure.QueueDepth, atMost, 0)).
		And(isTrue(resets.Samples >= resetsAtLeast && resets.Value >= resetsPerOpens*opens))
}

func explainConnLimit(s subject, f *Finding) {
	resets := s.host.Get(measure.OutRstsRate)
	opens := s.host.Get(measure.PassiveOpensRate)
	f.Sentence = fmt.Sprintf("%s is at its limit of %.0f and turns connections away: %.1f resets for %.1f new connections a second.",
		f.Scope.Name, s.scope.Get(measure.WorkersLimit).Value, resets.Value, opens.Value)
	f.Certainty = Likely // resets are the namespace's, not this service's alone
	f.Evidence = []Evidence{
		occupiedEvidence(s, turnedAway),
		{Signal: measure.OutRstsRate, Reading: resets, Threshold: resetsPerOpens * opens.Value, HasThreshold: true, Origin: "default: a tenth of the new connections"},
		{Signal: measure.PassiveOpensRate, Reading: opens},
		{Signal: measure.QueueDepth, Reading: s.scope.Get(measure.QueueDepth), HasThreshold: true, Origin: "nobody waits"},
	}
	f.Considered = []Considered{
		{WorkersFull.String(), rejected(s, measure.QueueWait, s.is(measure.QueueWait, above, waitSlowly))},
		{SlowClients.String(), rejected(s, measure.SlowClients, slowHolders(s))},
	}
	f.Advice = []string{
		"Raise the limit (worker_connections, and the descriptors it needs), or take load away.",
		"Find what holds the connections: a slow upstream keeps two for each request.",
	}
	f.fail(s)
}

package judge

import (
	"fmt"
	"strings"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// Who is hurt by each cause, out of the numbers at hand. What they do not tell
// is not guessed: sockets show connections, never people or requests.

// hurt says who is hurt by what was found.
func hurt(s subject, c Cause) string {
	switch s.scope.Scope.Kind {
	case scope.KindService:
		return hurtByService(s, c)
	case scope.KindBackend:
		return hurtByBackend(s, c)
	case scope.KindRegion:
		return hurtByRegion(s, c)
	case scope.KindAddress:
		return hurtByAddress(s, c)
	}
	return fmt.Sprintf("whatever this host asks of %d destinations; how many clients is not seen here", outOfReach(s.failing)) // local_fault
}

func hurtByService(s subject, c Cause) string {
	name := s.scope.Scope.Name
	waiting, queue := s.scope.Get(measure.QueueDepth).Get()
	switch c {
	case WorkersFull:
		return waitingClients(s)
	case ClientsGaveUp:
		gone := max(s.value(measure.CloseWaitUnaccepted), s.value(measure.CloseWaitAccepted))
		return fmt.Sprintf("%s unanswered; %s", people(gone, "client of "+name+" has hung up", "clients of "+name+" have hung up"), waitingClients(s))
	case ConnLimit:
		return fmt.Sprintf("new clients of %s: up to %.1f connections a second are turned away", name, s.host.Get(measure.ResetsSentRate).Value)
	case SynFlood:
		return fmt.Sprintf("hardly anybody: clients of %s are let in by cookies, for as long as its accept queue has room", name)
	case TrafficMissing:
		usual := s.value(measure.NewFlowsUsual)
		if norm, learned := s.arrivalsNorm(); learned {
			usual = norm.Usual
		}
		return fmt.Sprintf("whoever should come: about %.1f new connections a second fewer than usual; who they are is not seen here", max(0, usual-s.value(measure.NewFlowsRate)))
	case StuckClosing:
		return fmt.Sprintf("up to %s of %s: the end of what was sent to them is not acknowledged", people(s.value(measure.StuckClosing), "client", "clients"), name)
	}
	if queue && waiting > 0 { // what was to come has begun
		return waitingClients(s)
	}
	return notYet(s, c)
}

// waitingClients are those in the accept queue.
func waitingClients(s subject) string {
	waiting, known := s.scope.Get(measure.QueueDepth).Get()
	if !known {
		return "clients that wait to be accepted; how many is not seen here"
	}
	says := people(waiting, "connection waits", "connections wait") + " to be accepted"
	if waiting == 0 {
		says = "nobody waits just now"
	}
	if wait, known := s.scope.Get(measure.QueueWait).Get(); known && wait > 0 {
		says += fmt.Sprintf("; clients of %s wait %.1f s or more, or give up", s.scope.Scope.Name, wait)
	}
	if overflowing(s) == yes {
		says += "; others are lost to the full queue"
	}
	return says
}

// notYet says of a service that runs out of something what is left of it.
func notYet(s subject, c Cause) string {
	switch c {
	case WorkersFilling:
		left, known := s.scope.Get(measure.WorkersFullIn).Get()
		if fast, rising := s.scope.Get(measure.WorkersFullInFast).Get(); rising && (!known || fast < left) {
			left, known = fast, true
		}
		if known {
			return fmt.Sprintf("nobody yet: the workers last for %s at this rate", inWords(left))
		}
	case SlowClients:
		occupied, limit := s.scope.Get(measure.WorkersOccupied), s.scope.Get(measure.WorkersLimit)
		if occupied.Validity == measure.Known && limit.Validity == measure.Known {
			return fmt.Sprintf("nobody waits yet: %.0f of %.0f workers are free", max(0, limit.Value-occupied.Value), limit.Value)
		}
	case Leak:
		if seconds, known := outOfDescriptors(s); known {
			return fmt.Sprintf("nobody yet: the descriptors last for %s at this rate", inWords(seconds))
		}
		return "nobody yet; how long the descriptors last is not seen here"
	}
	return "nobody waits yet; how many workers are free is not seen here"
}

// hurtByBackend says what of a backend's requests fails, and what part of its
// group it is.
func hurtByBackend(s subject, c Cause) string {
	pending := s.value(measure.Pending)
	switch c {
	case PathLost:
		return fmt.Sprintf("%s; %s on it, and new ones wait for their time-out", part(s), waitingRequests(pending))
	case PeerRefusing:
		return part(s) + "; what is sent there is refused, and fails unless it is tried elsewhere"
	case PeerResetting:
		if rate := s.value(measure.VanishedRate); rate > 0 {
			return fmt.Sprintf("%s; up to %.1f of its connections a second end without an answer", part(s), rate)
		}
		return part(s) + "; how many of its connections end without an answer is not seen here"
	case PeerHalfBroken:
		return fmt.Sprintf("%s; %s in vain, and the others are answered", part(s), people(s.value(measure.PendingLate), "request waits", "requests wait"))
	case PeerFrozen:
		return fmt.Sprintf("%s; %s, the oldest for %s", part(s), waitingRequests(pending), inWords(s.value(measure.PendingLongest)))
	case PeerSlow:
		return fmt.Sprintf("%s; %s later than usual, and answers take %s", part(s), people(s.value(measure.PendingLate), "request is", "requests are"), within(s.scope.Get(measure.AnswerNow)))
	case PeerNotReading:
		return fmt.Sprintf("%s; %s to send", part(s), people(s.value(measure.ZeroWindow), "connection has to wait", "connections have to wait"))
	case HeavyLoss:
		if now := s.scope.Get(measure.AnswerNow); now.Validity == measure.Known {
			return part(s) + "; answers take " + within(now)
		}
		return part(s) + "; how late its answers come is not seen here"
	case GreenButFailing:
		return part(s) + "; its balancer goes on sending requests there"
	case PoolAtCeiling:
		return fmt.Sprintf("%s, and whoever waits for a free one of our own %.0f connections; how many is not seen here", waitingRequests(pending), s.value(measure.Established))
	case OrderlyStop:
		return "nobody that is seen: what it closed is not asked again, and no new attempt is refused"
	case LazyPool:
		return fmt.Sprintf("nobody yet: the next request on one of %s fails or is tried again", people(s.value(measure.CloseWaitLingering), "dead connection", "dead connections"))
	case Churn:
		return "nobody is seen to fail: each request pays for a connection of its own"
	case PortExhaustion:
		left := max(0, s.value(measure.PortsLimit)-s.value(measure.PortsUsed))
		if left == 0 {
			return "every new request there: no local port is left"
		}
		return fmt.Sprintf("nobody yet: %s left", people(left, "local port is", "local ports are"))
	case Leak:
		return "nobody yet; how long our process's descriptors last is not seen here"
	case StuckClosing:
		return fmt.Sprintf("up to %s there: the end of what was sent is not acknowledged", people(s.value(measure.StuckClosing), "request", "requests"))
	}
	return "not seen here"
}

func waitingRequests(pending float64) string {
	if pending == 0 {
		return "no request waits"
	}
	return people(pending, "request waits", "requests wait")
}

// part says what part of its group a backend is. Its connections tell nothing
// of its share of the requests: they pile up where answers are late.
func part(s subject) string {
	if s.alone() {
		return "all that is asked of " + s.scope.Scope.Name + ", which has no siblings"
	}
	all := len(s.group.members)
	return fmt.Sprintf("1 of %d backends of %s: about %.0f %% of its requests, if they are spread evenly", all, s.scope.Group, 100/float64(all))
}

// hurtByRegion says what of what is asked of a region fails.
func hurtByRegion(s subject, c Cause) string {
	destinations := func(sig measure.Signal) string {
		return fmt.Sprintf("what this host asks of %s of %s", ofDestinations(s, sig), s.scope.Scope.Name)
	}
	var says string
	switch c {
	case PathLost:
		says = destinations(measure.DestinationsUnanswered)
	case PeerRefusing:
		says = destinations(measure.DestinationsGone)
	case PeerResetting:
		says = destinations(measure.DestinationsFewer)
	case PeerSlow:
		says = destinations(measure.DestinationsPendingLate)
	case HeavyLoss:
		says = destinations(measure.DestinationsResending)
	case OrderlyStop:
		return "nobody that is seen: what it closed is not asked again, and no new attempt is refused"
	default:
		says = "what this host asks of " + s.scope.Scope.Name
	}
	var waits []string
	if pending := s.value(measure.Pending); pending > 0 {
		waits = append(waits, waitingRequests(pending))
	}
	if connecting := s.value(measure.SynSent); connecting > 0 {
		waits = append(waits, people(connecting, "connection attempt waits", "connection attempts wait"))
	}
	if len(waits) > 0 {
		says += "; " + strings.Join(waits, ", ")
	}
	return says + "; how many clients stand behind that is not seen here"
}

package judge

import (
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// TestBackendScenarios runs the timelines of testdata/backends/*.txt as
// TestScenarios does. Each backend is a name before the point, its group the
// part before the slash; "web/*" stands for s1 to s3 of web. The names:
//
//	est        ESTABLISHED; answers: of them answered since the last look, each
//	           after so many seconds: took
//	pending    requests not yet answered, the oldest for so many seconds: oldest
//	late       of them pending for longer than 1, 2, 5 s: late1, late2, late5
//	rtx        retransmitting; retry: SYN_SENT sent again; syn: SYN_SENT
//	resent     segments sent again a second
//	vanished   connections a second that end without a trace; finished: that
//	           both ends close
//	new        connections a second that are seen to begin
//	cw         CLOSE_WAIT that our process holds, lingering of them for 5 s,
//	           leaked for 10 s
//	zero       closed windows; tw: TIME_WAIT; ports: local ports there are
//	up         what the balancer says: 1 or 0, nothing when not asked
//	behind     servers behind it, where it is a service address
//
// A backend whose group has the name of a region of the timeline is in it.
// and of the host, without a point: fails, resets received, aborts of ours,
// opens (connections we begin), retrans a second. Of the looks: every, the
// seconds between two at the backends (1), a quarter of it while something is
// suspected; and the word blind, while those looks are interrupted.
func TestBackendScenarios(t *testing.T) { playFiles(t, "testdata/backends/*.txt", playBackends) }

// playBackends runs the pulse at 4 Hz and the focus tier at 1 Hz, at 4 Hz while
// something is suspected, unless the timeline says otherwise.
func playBackends(segments []segment) string {
	m, j := measure.New(""), New(&Numbers{})
	seen := events{}
	var out strings.Builder
	told := map[uint64]int{}
	names := backendNames(segments)
	var last float64 // when focus looked last
	close := false
	var opinions []measure.Opinion // for the next step
	for _, seg := range segments {
		for at := seg.from; at < seg.to-1e-9; at += 0.25 {
			now := scenarioStart.Add(time.Duration(at * float64(time.Second)))
			seen.count(&seg, at, "fails", "resets", "aborts", "opens", "retrans")
			tick := func(tier tcp.Tier, states tcp.StateMask, interval, since float64) {
				look := lookAt(now, tier, states)
				if tier != tcp.Pulse && seg.words["blind"] {
					look.Completeness = tcp.Interrupted
				}
				if tier == tcp.Pulse {
					look.Counters.Set(tcp.AttemptFails, uint64(seen["fails"]))
					look.Counters.Set(tcp.EstabResets, uint64(seen["resets"])+uint64(seen["aborts"]))
					look.Counters.Set(tcp.OutRsts, uint64(seen["aborts"]))
					look.Counters.Set(tcp.RetransSegs, uint64(seen["retrans"]))
					look.Counters.Set(tcp.ActiveOpens, uint64(seen["opens"]))
				}
				var scopes []measure.Tally
				for _, name := range names {
					y := seg.peer(name, at, since)
					if y.Scope.Kind == scope.KindBackend && slices.Contains(names, y.Group) {
						y.Region = y.Group
					}
					scopes = append(scopes, y)
				}
				scopes = append(scopes, measure.Tally{Scope: scope.Rest})
				view := m.Step(now, measure.Tallies{Look: look, Interval: time.Duration(interval * float64(time.Second)), Scopes: scopes, Opinions: opinions, Norms: seg.norms(names, at)})
				opinions = opinions[:0]
				for _, name := range names {
					if _, asked := seg.values[name+".up"]; asked {
						id := scope.ID{Kind: scope.KindBackend, Name: name}
						opinions = append(opinions, measure.Opinion{Scope: id, Up: seg.value(name+".up", at) > 0, Seen: now, Good: 10 * time.Second})
					}
				}
				incidents := j.Step(now, view)
				close = Suspicious(incidents)
				narrate(&out, incidents, told)
			}
			tick(tcp.Pulse, tcp.ListenOnly, 0.25, 0)
			every := 1.0
			if e := seg.value("every", at); e > 0 {
				every = e
			}
			period := every
			if close {
				period = every / 4
			}
			if math.Mod(at, period) == 0 {
				tick(tcp.Focus, tcp.AllStates, every, at-last)
				last = at
			}
		}
	}
	return out.String()
}

// peer is the tally of a backend, or of a region, since the last look: a
// backend's name has a slash.
func (s *segment) peer(name string, at, since float64) measure.Tally {
	if strings.Contains(name, "/") {
		return s.backend(name, at, since)
	}
	return s.region(name, at, since)
}

// backendNames lists the backends and regions of a timeline, and spreads web/s*.
func backendNames(segments []segment) []string {
	names := map[string]bool{}
	for _, seg := range segments {
		for key := range seg.values {
			name, _, ok := strings.Cut(key, ".")
			base, star := strings.CutSuffix(name, "*")
			switch {
			case star:
				names[base+"1"], names[base+"2"], names[base+"3"] = true, true, true
			case name == "each":
				names["east"], names["west"] = true, true
			case ok:
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// of is a backend's value, or that of its group where it has none of its own.
func (s *segment) of(name, key string, at float64) float64 {
	if _, own := s.values[name+"."+key]; own {
		return s.value(name+"."+key, at)
	}
	return s.value(name[:len(name)-1]+"*."+key, at)
}

// backend is the tally of one backend since the last look.
func (s *segment) backend(name string, at, since float64) measure.Tally {
	n := func(key string) uint32 { return uint32(s.of(name, key, at)) }
	// A rate gives a whole number of events at each look.
	events := func(key string) uint32 {
		rate := s.of(name, key, at)
		return uint32(math.Floor(rate*at)) - uint32(math.Floor(rate*(at-since)))
	}
	group, _, _ := strings.Cut(name, "/")
	y := measure.Tally{Scope: scope.ID{Kind: scope.KindBackend, Name: name}, Group: group}
	y.States[tcp.Established] = n("est")
	y.States[tcp.SynSent] = n("syn")
	y.States[tcp.CloseWait] = n("cw")
	y.States[tcp.TimeWait] = n("tw")
	y.Accepted = n("est") + n("cw")
	y.AcceptedCloseWait = n("cw")
	y.Leaked = n("leaked")
	y.Pending = n("pending")
	y.Retransmitting = n("rtx") + n("retry")
	y.ZeroWindow = n("zero")
	y.Flows = measure.Flows{Known: true, New: events("new"), Since: time.Duration(since * float64(time.Second)), Scale: 1}
	y.Capacity.Ports = n("ports")
	for i := range n("behind") {
		y.Behind = append(y.Behind, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 80))
	}
	oldest := time.Duration(s.of(name, "oldest", at) * float64(time.Second))
	late5, late2, late1 := n("late5"), n("late2"), n("late1")
	y.PendingFor.Add(6*time.Second, late5)
	y.PendingFor.Add(3*time.Second, late2)
	y.PendingFor.Add(1500*time.Millisecond, late1)
	y.Peer = measure.Peer{
		Answering: n("answers"), HeardAgo: 100 * time.Millisecond, LongestPending: oldest,
		ConnectRetrying: n("retry"), Resent: events("resent"), Sent: 3 * n("answers"), Vanished: events("vanished"), Finished: events("finished"), Lingering: n("lingering"),
	}
	y.Peer.Answers.Add(time.Duration(s.of(name, "took", at)*float64(time.Second)), n("answers"))
	return y
}

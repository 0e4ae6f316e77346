package judge

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// TestRegionScenarios runs the timelines of testdata/regions/*.txt as
// TestBackendScenarios does. A name without a slash is a region; "each" stands
// for east and west where they have no value of their own. Beside a backend's names a region has:
//
//	dests      destinations (4), over which everything is spread evenly
//	bad        of them those that show what fails (all)
//	silent     of them those from which nothing comes
//	gone       of them those without an ESTABLISHED
//	late       connections that wait longer than a second: waits (1.5 s)
//	sent       segments with data a second
//	synmost    the share in SYN_SENT that was learned as the most at this hour
//	cwmost     the same of CLOSE_WAIT
func TestRegionScenarios(t *testing.T) { playFiles(t, "testdata/regions/*.txt", playBackends) }

// ofRegion is a region's value, or that of each.
func (s *segment) ofRegion(name, key string, at float64) float64 {
	if _, own := s.values[name+"."+key]; own {
		return s.value(name+"."+key, at)
	}
	return s.value("each."+key, at)
}

// norms is what was learned of the regions.
func (s *segment) norms(names []string, at float64) (out []measure.Norm) {
	for _, name := range names {
		for _, x := range []struct {
			key string
			sig measure.Signal
		}{{"synmost", measure.SynSentShare}, {"cwmost", measure.CloseWaitShare}} {
			if most := s.ofRegion(name, x.key, at); most > 0 {
				id := scope.ID{Kind: scope.KindRegion, Name: name}
				out = append(out, measure.Norm{Scope: id, Signal: x.sig, Usual: most / 2, High: most, Minutes: 720, Days: 12, Hours: 3})
			}
		}
	}
	return out
}

// region is the tally of one region since the last look.
func (s *segment) region(name string, at, since float64) measure.Tally {
	n := func(key string) uint32 { return uint32(s.ofRegion(name, key, at)) }
	events := func(key string) uint32 { // a rate gives a whole number at each look
		rate := s.ofRegion(name, key, at)
		return uint32(math.Floor(rate*at)) - uint32(math.Floor(rate*(at-since)))
	}
	or := func(n, otherwise uint32) uint32 {
		if n == 0 {
			return otherwise
		}
		return n
	}
	y := measure.Tally{Scope: scope.ID{Kind: scope.KindRegion, Name: name}, Group: scope.RegionGroup}
	y.States[tcp.Established], y.States[tcp.SynSent], y.States[tcp.CloseWait] = n("est"), n("syn"), n("cw")
	y.States[tcp.FinWait1], y.States[tcp.TimeWait] = n("fin"), n("tw")
	y.Accepted, y.AcceptedCloseWait = n("est")+n("cw"), n("cw")
	y.Pending, y.ZeroWindow = n("pending"), n("zero")
	y.Retransmitting = n("rtx") + n("retry")
	y.Flows = measure.Flows{Known: true, New: events("new"), Since: time.Duration(since * float64(time.Second)), Scale: 1}
	waits := 1500 * time.Millisecond
	if w := s.ofRegion(name, "waits", at); w > 0 {
		waits = time.Duration(w * float64(time.Second))
	}
	y.PendingFor.Add(waits, n("late"))
	resent, sent := events("resent"), events("sent")
	y.Peer = measure.Peer{
		Answering: n("answers"), HeardAgo: 50 * time.Millisecond, LongestPending: time.Duration(s.ofRegion(name, "oldest", at) * float64(time.Second)),
		ConnectRetrying: n("retry"), Resent: resent, Sent: sent, Vanished: events("vanished"), Finished: events("finished"), Closed: events("closed"), Lingering: n("lingering"),
	}
	y.Peer.Answers.Add(time.Duration(s.ofRegion(name, "took", at)*float64(time.Second)), n("answers"))
	dests := or(n("dests"), 4)
	bad := or(n("bad"), dests)
	for i := range dests {
		share := func(total, of uint32) uint32 { // what the i-th of them has
			if i >= of {
				return 0
			}
			return (total*(i+1))/of - (total*i)/of
		}
		d := measure.Destination{
			Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, name[0], 0, byte(i + 1)}), 443),
			// Who has none left is the first, as who fails is.
			Retransmitting: share(n("rtx")+n("retry"), bad), Connecting: share(n("syn"), bad), CloseWait: share(n("cw"), bad), PendingLate: share(n("late"), bad),
			Resent: share(resent, bad), Sent: share(sent, dests), Answering: share(y.Peer.Answering, dests),
		}
		if silent := n("silent"); i < silent { // those that fail say nothing
			d.Answering = 0
		}
		if left := dests - min(n("gone"), dests); i >= dests-left {
			d.Established = n("est") * (i - (dests - left) + 1) / left
			d.Established -= n("est") * (i - (dests - left)) / left
		}
		d.Connections = d.Established + d.Connecting + d.CloseWait
		if d.Connections > 0 {
			y.DestinationsSeen++
		}
		y.Destinations = append(y.Destinations, d)
	}
	return y
}

// TestOutOfReach: backends in a region are destinations of it, so that one lost
// region is no fault of ours, however many pools go there.
func TestOutOfReach(t *testing.T) {
	at := func(seconds float64) time.Time {
		return scenarioStart.Add(time.Duration(seconds * float64(time.Second)))
	}
	backend := func(group string, seconds float64) destination {
		return destination{scope.ID{Kind: scope.KindBackend, Name: group + "/x"}, group, 1, at(seconds)}
	}
	region := func(name string, count int, seconds float64) destination {
		return destination{scope.ID{Kind: scope.KindRegion, Name: name}, regionGroup(name), count, at(seconds)}
	}
	tests := []struct {
		name    string
		failing []destination
		count   int
		atOnce  truth
	}{
		{"nobody", nil, 0, no},
		{"three backends of two pools", []destination{backend("shop", 0), backend("shop", 0.5), backend("db", 1)}, 3, yes},
		{"a region of four", []destination{region("east", 4, 0)}, 4, no},
		{"and its backends", []destination{region("east", 4, 0), backend(regionGroup("east"), 0), backend(regionGroup("east"), 0)}, 4, no},
		{"and a backend elsewhere", []destination{region("east", 4, 0), backend("db", 1)}, 5, yes},
		{"two regions at once", []destination{region("east", 4, 0), region("west", 2, 1)}, 6, yes},
		{"two regions, one after the other", []destination{region("east", 4, 0), region("west", 2, 3)}, 6, no},
		{"more backends than the region has seen", []destination{region("east", 1, 0), backend(regionGroup("east"), 0), backend(regionGroup("east"), 0)}, 2, no},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := outOfReach(tt.failing); got != tt.count {
				t.Errorf("%d out of reach, want %d", got, tt.count)
			}
			if got := atOnce(subject{around: &around{failing: tt.failing}}); got != tt.atOnce {
				t.Errorf("at once: %s, want %s", got, tt.atOnce)
			}
		})
	}
}

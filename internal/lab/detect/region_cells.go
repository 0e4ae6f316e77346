package detect

import (
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// The goals of the issue for regions.
const (
	withinRegion     = 3 * time.Second
	withinRegionRest = 20 * time.Second // slow, loss
)

// The requests a second to each region. At the usual rate each kept connection
// is asked once in eight seconds, at the busy one once in two.
const (
	usualRate = 20
	busyRate  = 80
)

// regionClients is the load for one destination, from pairs of seconds and
// requests a second to the whole region: random arrivals over kept connections,
// and short ones beside them.
func regionClients(duration time.Duration, pairs ...float64) lab.Load {
	for i := 1; i < len(pairs); i += 2 {
		pairs[i] /= destinations
	}
	l := clients(duration, pairs...)
	l.Connections, l.FreshEvery = perRegion/destinations, freshEvery
	return l
}

// regionFault is a fault of a region.
type regionFault struct {
	name   string
	events []RegionEvent
	goal   FaultGoal
	check  *time.Duration // as in RegionCell
	busy   bool           // play it at the busy rate, too
}

func regionFaults() []regionFault {
	atOnce, patient := new(time.Duration(0)), new(patience)
	local := want(withinRegion, "local_fault")
	local.Host = true
	slow := lab.Behaviour{Manner: lab.SlowRequests, Service: 6 * time.Second}
	return []regionFault{
		{"blackhole", []RegionEvent{treated("the path to a region goes dead", lab.Treatment{Loss: 100})},
			want(withinRegion, "path_lost").then("heavy_loss", "stuck_closing"), patient, true},
		{"unreachable", []RegionEvent{treated("a region is unreachable", lab.Treatment{Reject: lab.RejectUnreachable})},
			want(withinRegion, "path_lost").then("heavy_loss", "stuck_closing"), atOnce, true},
		{"killed", []RegionEvent{allKilled()}, want(withinRegion, "peer_refusing").then("orderly_stop"), atOnce, true},
		{"reset", []RegionEvent{treated("connections to a region are reset", lab.Treatment{Reject: lab.RejectReset})},
			want(withinRegion, "peer_refusing", "peer_resetting"), atOnce, true},
		{"stopped", []RegionEvent{allStopped()},
			FaultGoal{Causes: []string{"orderly_stop", "peer_refusing"}, Least: "watch", Within: withinRegion}, atOnce, true},
		{"loss", []RegionEvent{treated("a third of a region's packets are lost", lab.Treatment{Loss: 30})},
			want(withinRegionRest, "heavy_loss").then("peer_slow", "stuck_closing"), nil, true},
		{"slow", []RegionEvent{allBehave(0, "a region takes 6 s to answer", slow)}, want(withinRegionRest, "peer_slow"), nil, true},
		{"uplink-dropped", []RegionEvent{uplinkDropped()}, local, nil, true},
		{"uplink-unplugged", []RegionEvent{uplinkUnplugged()}, local, nil, false},
	}
}

// RegionCells are all of them: the faults of a region, those at a busier rate,
// over IPv6 and with known backends, then the healthy days.
func RegionCells() []RegionCell {
	var cells []RegionCell
	faults := regionFaults()
	for _, f := range faults {
		cells = append(cells, f.at("", usualRate))
		if f.busy {
			cells = append(cells, f.at("-busy", busyRate))
		}
	}
	over6 := faults[0].at("-ipv6", usualRate)
	over6.IPv6 = true
	backends := faults[0].at("-backends", usualRate)
	backends.Backends = true
	return slices.Concat(cells, []RegionCell{over6, backends}, healthyRegions())
}

// at is the cell of a fault at a rate.
func (f regionFault) at(suffix string, perSecond float64) RegionCell {
	return RegionCell{
		Name: "region-" + f.name + suffix, Fault: f.name, At: learnFor, Events: f.events, Goal: f.goal, Check: f.check,
		Load: regionClients(learnFor+watchFor, 0, perSecond),
	}
}

func healthyRegions() []RegionCell {
	var cells []RegionCell
	calm := func(what string, duration time.Duration, events []RegionEvent, pairs ...float64) {
		for i, rate := range []float64{usualRate, busyRate} {
			c := RegionCell{Name: "healthy-region-" + what + []string{"", "-busy"}[i], Fault: what, Healthy: true, At: settleFor, Events: events}
			scaled := slices.Clone(pairs)
			for j := 1; j < len(scaled); j += 2 {
				scaled[j] *= rate
			}
			c.Load = regionClients(duration, scaled...)
			cells = append(cells, c)
		}
	}
	lossy := func(percent float64) []RegionEvent {
		return []RegionEvent{treated("some of a region's packets are lost", lab.Treatment{Loss: percent})}
	}
	calm("deploy", 90*time.Second, deployed(), 0, 1)
	calm("churn", 90*time.Second, []RegionEvent{
		allBehave(0, "every second answer closes its connection", lab.Behaviour{Manner: lab.CloseEach, Share: 0.5}),
		allBehave(30*time.Second, "no more", lab.Behaviour{}),
	}, 0, 1)
	calm("loss-1", 90*time.Second, lossy(1), 0, 1)
	calm("loss-3", 90*time.Second, lossy(3), 0, 1)
	calm("doubled", 90*time.Second, nil, 0, 1, 30, 1, 30.01, 2)
	// An evening first, as for backends.
	calm("night", 5*time.Minute, nil, 0, 1, 30, 1, 40, 0.005)
	return cells
}

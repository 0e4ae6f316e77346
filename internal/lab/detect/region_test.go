package detect

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/lab"
)

// TestRegionCellsAreWellFormed holds the table to what a reader may expect of
// it.
func TestRegionCellsAreWellFormed(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range RegionCells() {
		seen[c.Name] = true
		if strings.HasPrefix(c.Name, "healthy-") != c.Healthy || !strings.Contains(c.Name, "region-"+c.Fault) {
			t.Errorf("cell %s is badly called: %s, healthy %v", c.Name, c.Fault, c.Healthy)
		}
		if c.Load.Connections != perRegion/destinations || c.Load.Timeout != 10*time.Second || c.At >= c.Load.Duration {
			t.Errorf("cell %s: load %+v", c.Name, c.Load)
		}
		for i, e := range c.Events {
			if c.At+e.At >= c.Load.Duration || i > 0 && e.At < c.Events[i-1].At {
				t.Errorf("cell %s: %s at %s is out of order or after the load", c.Name, e.What, e.At)
			}
		}
		if c.Healthy {
			if len(c.Goal.Causes)+len(c.Goal.Chain) > 0 {
				t.Errorf("healthy cell %s expects %v", c.Name, c.Goal)
			}
			continue
		}
		if rate := c.Load.Rate[0].PerSecond * destinations; rate != usualRate && rate != busyRate {
			t.Errorf("cell %s: %v requests a second to a region", c.Name, rate)
		}
		if len(c.Events) == 0 || len(c.Goal.Causes) == 0 || graveness(c.Goal.Least) <= 0 || c.At+c.Goal.Within >= c.Load.Duration {
			t.Errorf("cell %s is no fault, or ends before its goal: %+v", c.Name, c.Goal)
		}
		for _, cause := range append(c.Goal.Causes, c.Goal.Chain...) {
			if !slices.Contains(closedList(), cause) {
				t.Errorf("cell %s: %q is no cause", c.Name, cause)
			}
		}
	}
	for _, fault := range []string{"blackhole", "unreachable", "killed", "reset", "stopped", "loss", "slow", "uplink-dropped", "uplink-unplugged"} {
		if !seen["region-"+fault] {
			t.Errorf("fault %s is missing", fault)
		}
	}
}

// TestRegionPart: whose incident is whose, when a region has the fault and when
// the host itself has.
func TestRegionPart(t *testing.T) {
	east, west := &area{name: "east", prefix: eastNetworks[0]}, &area{name: "west", prefix: westNetworks[0]}
	remotes := map[string]netip.AddrPort{
		"backend/shop/e1": netip.AddrPortFrom(hostsOf(east.prefix, 1)[0], appPort),
		"backend/shop/w1": netip.AddrPortFrom(hostsOf(west.prefix, 1)[0], appPort),
	}
	for _, test := range []struct {
		scope          string
		region, uplink part
	}{
		{"region/east", guilty, sibling},
		{"region/west", sibling, sibling},
		{"backend/shop/e1", inside, sibling},
		{"backend/shop/w1", sibling, sibling},
		{"host", apart, guilty},
		{"service/ssh", apart, apart},
	} {
		for host, want := range map[bool]part{false: test.region, true: test.uplink} {
			r := &regions{cell: &RegionCell{Goal: FaultGoal{Host: host}}, areas: []*area{east, west}}
			if got := r.part(incident{Scope: test.scope}, remotes); got != want {
				t.Errorf("%s, the host's fault: %v: part %d, want %d", test.scope, host, got, want)
			}
		}
	}
}

// TestRegionShifted: a fault moves against the probe's timer, and what is watched
// after it stays.
func TestRegionShifted(t *testing.T) {
	c := regionCell(t, "region-loss")
	seen := map[time.Duration]bool{}
	for run := range 5 {
		s := c.Shifted(run)
		if phase := s.At - c.At; phase < 0 || phase >= probeEvery || seen[phase] || s.Load.Duration-s.At != c.Load.Duration-c.At {
			t.Errorf("run %d: the fault at %s of %s", run, s.At, s.Load.Duration)
		}
		seen[s.At-c.At] = true
	}
	healthy := regionCell(t, "healthy-region-deploy")
	if s := healthy.Shifted(3); s.At != healthy.At {
		t.Errorf("a healthy day begins at %s", s.At)
	}
}

func TestRegionConfig(t *testing.T) {
	r := &regions{cell: &RegionCell{Backends: true}, areas: []*area{{name: "east", prefix: eastNetworks[0]}, {name: "west", prefix: westNetworks[1]}}}
	want := `observe: {namespaces: host}
regions:
  - {name: east, cidrs: ["10.71.1.0/24"]}
  - {name: west, cidrs: ["fd77:2::/64"]}
backends:
  - {name: shop, process: {name: lab-load}}
`
	if diff := cmp.Diff(want, r.config()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRegionTable(t *testing.T) {
	patient := new(10 * time.Second)
	outcome := func(cell string, found *time.Duration, check *time.Duration, missed ...string) RegionOutcome {
		return RegionOutcome{
			Course: Course{Cell: cell, Found: found, Cause: "path_lost", FirstFailed: inSeconds(10), Requests: 100, Failed: 9, Missed: missed,
				Ends: map[lab.Outcome]int{lab.Timeout: 9}},
			Expected: []string{"path_lost", "heavy_loss"}, Checked: RegionCell{Check: check}.checked(),
		}
	}
	beside := outcome("blackhole", inSeconds(2.4), patient)
	beside.Siblings = []string{"region/west churn watch"}
	got := RegionTable([]RegionOutcome{
		outcome("blackhole", inSeconds(1.2), patient), beside,
		outcome("loss", nil, nil, "none of heavy_loss opened at warning"),
		{Course: Course{Cell: "healthy-night", Healthy: true, Requests: 50}},
	})
	want := `| fault | runs | expected | named as | found p50 | p95 | elsewhere | probe each 15 s p50 | check each 30 s × 3 (computed) | first error p50 | lost of requests | goals missed |
|---|---|---|---|---|---|---|---|---|---|---|---|
| blackhole | 2 | path_lost or heavy_loss | path_lost | 1.2 | 2.4 | region/west churn watch | never | 70–100 | 10.0 | 18 of 200 | – |
| loss | 1 | path_lost or heavy_loss | path_lost | never | never | – | never | never | 10.0 | 9 of 100 | none of heavy_loss opened at warning |

| healthy | runs | requests | failed | at warning or above |
|---|---|---|---|---|
| healthy-night | 1 | 50 | 0 | – |
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

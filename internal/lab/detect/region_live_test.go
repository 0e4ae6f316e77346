package detect

import (
	"io"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/lab/trace"
)

// regionCell is the cell of that name.
func regionCell(t *testing.T, name string) RegionCell {
	t.Helper()
	i := slices.IndexFunc(RegionCells(), func(c RegionCell) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no cell is called %s", name)
	}
	return RegionCells()[i]
}

// sockets are those of a region in one look.
type sockets struct {
	all, established, retransmitting, closeWait int // all but TIME_WAIT
	late                                        int // pending for more than 1 s, at most 80 of them
	retransmits                                 int // segments since the last look
}

func (s sockets) share(n int) float64 { return float64(n) / float64(max(s.all, 1)) }

// closing: the other end closes, and we do not. Each tenth request is on a
// connection of its own, and a look may fall between the server's FIN and its
// client's: one is no sign.
func (s sockets) closing() bool { return s.closeWait > 1 }

func socketsOf(line trace.Line, network netip.Prefix) (s sockets) {
	for name, r := range line.Remotes {
		if !network.Contains(netip.MustParseAddrPort(name).Addr()) {
			continue
		}
		for state, n := range r.States {
			if state != "time_wait" {
				s.all += n
			}
		}
		s.established += r.States["established"]
		s.closeWait += r.States["close_wait"]
		for _, n := range r.Retransmitting {
			s.retransmitting += n
		}
		for _, d := range r.PendingFor {
			if d > 1 {
				s.late++
			}
		}
		s.retransmits += int(r.RetransmitsNew)
	}
	return s
}

// TestRegionFaultsShow: each fault shows in the sockets to the region that has it
// as the kernel is known to show it, and not in those to the other. It holds the
// world, its router and its faults.
func TestRegionFaultsShow(t *testing.T) {
	if testing.Short() {
		t.Skip("two regions under load for most of a minute: left out with -short")
	}
	t.Parallel()
	const kept = perRegion
	for _, test := range []struct {
		cell  string
		after time.Duration
		// shows is what must show at some time after the fault, and at no time
		// before it or on the other region; never what must not at all.
		shows, never func(sockets) bool
	}{
		{"region-blackhole-busy", 3 * time.Second, func(s sockets) bool { return s.share(s.retransmitting) >= 0.15 }, func(s sockets) bool { return s.closing() }},
		{"region-unreachable-busy", 3 * time.Second, func(s sockets) bool { return s.share(s.retransmitting) >= 0.15 }, func(s sockets) bool { return s.closing() }},
		{"region-killed-busy", 2 * time.Second, func(s sockets) bool { return s.closeWait >= kept*8/10 }, func(s sockets) bool { return s.retransmitting > kept/10 }},
		{"region-reset-busy", 4 * time.Second, func(s sockets) bool { return s.established <= kept/2 }, func(s sockets) bool { return s.closing() }},
		{"region-stopped-busy", 2 * time.Second, func(s sockets) bool { return s.closeWait >= kept*8/10 }, func(s sockets) bool { return s.retransmitting > kept/10 }},
		{"region-loss-busy", 4 * time.Second, func(s sockets) bool { return s.retransmits >= 4 }, func(s sockets) bool { return s.established < kept/2 }},
		{"region-slow-busy", 5 * time.Second, func(s sockets) bool { return s.share(s.late) >= 0.15 }, func(s sockets) bool { return s.retransmitting > kept/10 }},
		{"region-blackhole-ipv6", 5 * time.Second, func(s sockets) bool { return s.share(s.retransmitting) >= 0.15 }, func(s sockets) bool { return s.closing() }},
	} {
		t.Run(test.cell, func(t *testing.T) {
			t.Parallel()
			cell := regionCell(t, test.cell)
			cell.At, cell.Load.Duration = 2*time.Second, 2*time.Second+test.after
			lines := traced(t, func(out io.Writer) error {
				return RecordRegion(t.Context(), cell, out, func(line string) { t.Log(line) })
			})
			version := 0
			if cell.IPv6 {
				version = 1
			}
			var seen time.Duration
			for _, line := range lines {
				east, west := socketsOf(line, eastNetworks[version]), socketsOf(line, westNetworks[version])
				shows := test.shows(east)
				if shows && seen == 0 {
					seen = time.Duration(line.Since * float64(time.Second))
					t.Logf("%+.2f s: %+v", line.Since, east)
				}
				if shows && line.Since < 0 || test.never(east) {
					t.Errorf("%+.2f s: the region shows %+v", line.Since, east)
				}
				if test.shows(west) || test.never(west) || west.established < kept*9/10 {
					t.Errorf("%+.2f s: the other region shows %+v", line.Since, west)
				}
			}
			if seen == 0 {
				t.Errorf("it shows in none of %d looks", len(lines))
			}
		})
	}
}

// TestRegionIsLost: a region falls into a hole behind a real router, and the
// agent names it, the cause, and nothing of the other region.
func TestRegionIsLost(t *testing.T) {
	if testing.Short() {
		t.Skip("two regions under load for half a minute: left out with -short")
	}
	t.Parallel()
	cell := regionCell(t, "region-blackhole-busy")
	cell.At, cell.Load.Duration = 20*time.Second, 32*time.Second
	out, err := RunRegion(t.Context(), With{Agent: program(t), Progress: func(line string) { t.Log(line) }}, cell)
	labtest.Need(t, err)
	for _, line := range out.Report() {
		t.Log(line)
	}
	if out.Cause != "path_lost" || out.First != "path_lost" || out.Found == nil {
		t.Errorf("named %q first, and %q right, after %v", out.First, out.Cause, out.Found)
	}
	if len(out.Siblings)+len(out.Outside) > 0 {
		t.Errorf("findings on the other region %v and outside of the chain %v", out.Siblings, out.Outside)
	}
	if out.Polls.Knew == 0 {
		t.Errorf("the agent knew of the regions in %+v", out.Polls)
	}
}

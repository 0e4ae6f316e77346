package lab_test

import (
	"bufio"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
)

// counts are rows of /proc/net/tcp by the kernel's two hexadecimal digits of
// the state.
type counts map[string]int

func countProc(t *testing.T, h *lab.Host) counts {
	t.Helper()
	got := counts{}
	err := h.Do(func() error {
		file, err := os.Open("/proc/thread-self/net/tcp")
		if err != nil {
			return err
		}
		defer file.Close()
		lines := bufio.NewScanner(file)
		lines.Scan() // the heading
		for lines.Scan() {
			got[strings.Fields(lines.Text())[3]]++
		}
		return lines.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestPopulation(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "crowd"}}})
	h := w.Host("crowd")
	// More half-open ones than a veth pair would take at once.
	odd := lab.OddSockets{TimeWait: 300, CloseWait: 200, SynSent: 150, SynRecv: 1500}
	c, err := h.Populate(t.Context(), lab.Population{Sockets: 5000, Listeners: 3, Odd: odd})
	if err != nil {
		t.Fatal(err)
	}
	got := c.Standing()
	t.Logf("took %v", got.Took)
	got.Took = 0
	want := lab.Standing{
		Established: 2850, Listeners: 5, Odd: odd, Processes: 2,
		Kernel: lab.SockStat{InUse: 2850 + 5 + 200 + 150, TimeWait: 300},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("standing (-want +got):\n%s", diff)
	}
	wantProc := counts{"01": 2850, "0A": 5, "06": 300, "08": 200, "02": 150, "03": 1500}
	if diff := cmp.Diff(wantProc, countProc(t, h)); diff != "" {
		t.Errorf("/proc/net/tcp (-want +got):\n%s", diff)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	// The TIME_WAIT sockets are nobody's any more and stay for a minute.
	deadline := time.Now().Add(10 * time.Second)
	for {
		left := countProc(t, h)
		delete(left, "06")
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("left after Stop: %v", left)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestPopulationByShare(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "crowd"}}})
	c, err := w.Host("crowd").Populate(t.Context(), lab.Population{Sockets: 2000, OddShare: 0.05})
	if err != nil {
		t.Fatal(err)
	}
	want := lab.OddSockets{TimeWait: 60, CloseWait: 20, SynSent: 10, SynRecv: 10}
	if diff := cmp.Diff(want, c.Standing().Odd); diff != "" {
		t.Errorf("odd sockets (-want +got):\n%s", diff)
	}
	if got := c.Standing().Established; got != 1900 {
		t.Errorf("%d established, want 1900", got)
	}
}

func TestPopulationRefused(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "crowd"}}})
	for name, p := range map[string]lab.Population{
		"too many":             {Sockets: lab.MaxPopulation + 1},
		"negative":             {Sockets: -1},
		"more odd than all":    {Sockets: 10, Odd: lab.OddSockets{CloseWait: 11}},
		"negative odd":         {Sockets: 10, Odd: lab.OddSockets{CloseWait: -1}},
		"a share above one":    {Sockets: 10, OddShare: 1.5},
		"too many listeners":   {Sockets: 10, Listeners: 1001},
		"odd of a wild number": {Sockets: 10, Odd: lab.OddSockets{SynRecv: 1 << 40, SynSent: -1 << 40}},
	} {
		if _, err := w.Host("crowd").Populate(t.Context(), p); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// BenchmarkPopulate makes populations of growing size: `go test -run '^$'
// -bench Populate -benchtime 1x`.
func BenchmarkPopulate(b *testing.B) {
	for _, size := range []struct {
		name string
		n    int
	}{{"10k", 10_000}, {"100k", 100_000}, {"500k", 500_000}, {"1M", 1_000_000}} {
		b.Run(size.name, func(b *testing.B) {
			w := labtest.World(b, lab.Config{Hosts: []lab.HostConfig{{Name: "crowd"}}, Buckets: 1 << 18})
			for b.Loop() {
				c, err := w.Host("crowd").Populate(b.Context(), lab.Population{Sockets: size.n, OddShare: 0.03})
				if err != nil {
					b.Fatal(err)
				}
				s := c.Standing()
				b.ReportMetric(float64(s.Took.Nanoseconds())/float64(size.n), "ns/socket")
				b.ReportMetric(float64(s.Kernel.InUse+s.Kernel.TimeWait+s.Odd.SynRecv), "sockets")
				if err := c.Stop(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

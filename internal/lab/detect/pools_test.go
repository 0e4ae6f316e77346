package detect

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/lab/labtest"
)

// TestLookTiers: looks before the first answer are not of the span, and ages
// are the greatest.
func TestLookTiers(t *testing.T) {
	var tiers lookTiers
	for _, a := range []looksAnswer{
		{Looks: []tierAnswer{{Tier: "focus", Age: nil, Bytes: 0, Looks: 0}, {Tier: "full", Age: new(0.5), Bytes: 1000, Looks: 7}}},
		{Looks: []tierAnswer{{Tier: "focus", Age: new(1.5), Bytes: 10, Looks: 2}, {Tier: "full", Age: new(4.0), Bytes: 1100, Looks: 8}}},
		{Looks: []tierAnswer{{Tier: "focus", Age: new(0.2), Bytes: 20, Looks: 5}, {Tier: "full", Age: new(1.0), Bytes: 1100, Looks: 8}}},
	} {
		tiers.add(a)
	}
	want := lookTiers{
		seen:  map[string]uint64{"focus": 5, "full": 8},
		ages:  map[string]float64{"focus": 1.5, "full": 4},
		bytes: 2*10 + 3*20 + 1*1100,
	}
	if diff := cmp.Diff(want, tiers, cmp.AllowUnexported(lookTiers{})); diff != "" {
		t.Errorf("lookTiers (-want +got):\n%s", diff)
	}
}

// TestBytesRead: a process that reads so many bytes has read at least these.
func TestBytesRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := bytesRead(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(file); err != nil {
		t.Fatal(err)
	}
	after, err := bytesRead(os.Getpid())
	if err != nil || after-before < 1<<20 {
		t.Errorf("read %d bytes, %v; want at least a mebibyte", after-before, err)
	}
	if _, err := bytesRead(1 << 30); err == nil {
		t.Error("a process that cannot be has read something")
	}
}

func TestPoolsTable(t *testing.T) {
	p := Pools{
		Through: "traefik", Backends: 50, Each: 150, Buckets: 4096, Span: time.Minute, Sockets: [2]int{15_000, 15_002}, Holders: 1, Quiet: []float64{0.04, 0.06},
		Readers: []PoolReader{
			{Usage: Usage{Program: "agent", CPU: 0.01, RSS: 20 << 20, RSSAnon: 7 << 20}, Balancer: 0.05, Netlink: 1e6, Read: 2e4,
				Agent: &Sight{Found: 50, FoundIn: 1400 * time.Millisecond, FocusAge: 1.25, FullAge: 3, Incidents: map[string]int{"peer_slow watch": 2, "leak watch": 1}}},
			{Usage: Usage{Program: "polled", CPU: 0.002, RSS: 10 << 20, RSSAnon: 2 << 20}, Balancer: 0.055, Read: 5000},
		},
	}
	want := `50 backends × 150 connections by the traefik; 1 processes; 15000 sockets before, 15002 after; a table of 4096 buckets; 1m0s each
the balancer while nobody reads, CPU %: 4.00 6.00
reader                                       CPU % balancer +   RSS MiB  anon MiB netlink B/s  read B/s
agent                                         1.00      +0.00      20.0       7.0     1000000     20000
polled                                        0.20      +0.50      10.0       2.0           0      5000
agent: 50 of 50 backends after 1s; age at the most 1.2 s of backends, 3.0 s of all sockets; incidents: 1 leak watch, 2 peer_slow watch
`
	if diff := cmp.Diff(want, p.String()); diff != "" {
		t.Errorf("String (-want +got):\n%s", diff)
	}
}

// TestPoolsGenerated: the agent finds a configured pool's backends, and what is
// measured is there.
func TestPoolsGenerated(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the agent for seconds: left out with -short")
	}
	t.Parallel()
	const backends, each = 4, 25
	p, err := RunPoolsGenerated(t.Context(), program(t), backends, each, 3*time.Second, func(line string) { t.Log(line) })
	labtest.Need(t, err)
	if len(p.Readers) != 2 {
		t.Fatalf("readers: %+v", p.Readers)
	}
	for _, r := range p.Readers {
		got := fmt.Sprint(p.Sockets, p.Holders, r.Agent.Found, r.CPU > 0, r.RSS > 0, r.Netlink > 0, r.Read > 0, r.Agent.FullAge > 0, r.Agent.Incidents)
		if want := "[100 100] 1 4 true true true true true map[]"; got != want {
			t.Errorf("%s: measured %s, want %s", r.Program, got, want)
		}
	}
	if _, err := RunPoolsGenerated(t.Context(), "", 0, 1, time.Second, func(string) {}); err == nil {
		t.Error("a pool without backends is accepted")
	}
}

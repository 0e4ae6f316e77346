package detect

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
)

// TestAgentBesideACrowd: tens of thousands of TIME_WAIT and of half-open
// connections, as after a busy minute and in a SYN flood, neither alarm the
// agent nor grow it. FORESHOCK_CROWD makes the crowd larger by hand.
func TestAgentBesideACrowd(t *testing.T) {
	if testing.Short() {
		t.Skip("makes tens of thousands of sockets: left out with -short")
	}
	timeWait := 40_000
	if text := os.Getenv("FORESHOCK_CROWD"); text != "" {
		var err error
		if timeWait, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	// The kernel keeps as many TIME_WAIT as half the hash table has buckets.
	world := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "server"}}, Buckets: 2 * timeWait})
	host := world.Host("server")
	binary := program(t)
	_, err := host.Populate(t.Context(), lab.Population{
		Sockets: timeWait + 20_000, Odd: lab.OddSockets{TimeWait: timeWait, SynRecv: 10_000, SynSent: 500},
	})
	labtest.Need(t, err)
	agent, err := startAgent(t.Context(), host, binary, t.TempDir(), ownNamespace)
	if err != nil {
		t.Fatal(err)
	}
	defer agent.stop()
	u, err := use(t.Context(), "foreshock agent", agent.PID(), 12*time.Second, func() error {
		return agent.Get(t.Context(), "/healthz", nil)
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, agent.Said())
	}
	var incidents incidentsAnswer
	if err := agent.Get(t.Context(), "/api/v1/incidents", &incidents); err != nil {
		t.Fatal(err)
	}
	for _, i := range incidents.Incidents {
		t.Errorf("a crowd in which nobody waits made an incident: %+v", i)
	}
	var looks looksAnswer
	if err := agent.Get(t.Context(), "/api/v1/looks", &looks); err != nil {
		t.Fatal(err)
	}
	for _, l := range looks.Looks {
		if l.Failed > 0 || l.Looks == 0 {
			t.Errorf("%s: %d looks, %d failed", l.Tier, l.Looks, l.Failed)
		}
		if l.Tier == "full" && l.Sockets < timeWait/2 {
			t.Errorf("the full look saw %d sockets beside %d in TIME_WAIT", l.Sockets, timeWait)
		}
	}
	// Memory must not grow with sockets: 60,000 of them in records of 24 bytes
	// alone would be 1.4 MiB on top.
	const mostAnon = 16 << 20
	if u.RSSAnon > mostAnon {
		t.Errorf("the agent holds %d bytes of its own, more than %d", u.RSSAnon, mostAnon)
	}
	t.Logf("%d TIME_WAIT: CPU %.2f %%, RSS %d, anonymous %d", timeWait, 100*u.CPU, u.RSS, u.RSSAnon)
}

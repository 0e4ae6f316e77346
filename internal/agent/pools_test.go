package agent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/observe/owner"
)

// TestPools: a configured pool whose members are not known says why, also where
// its processes may not be read, and once however many namespaces there are.
func TestPools(t *testing.T) {
	cfg := config.Default()
	cfg.Backends = []config.Backends{
		{Name: "listed", Discover: config.Discover{Static: []config.Member{{Name: "s1"}}}},
		{Name: "absent", Process: config.Process{Unit: "no-such.service"}},
		{Name: "hidden", Process: config.Process{Exe: "/no/such/program"}},
		{Name: "silent", Discover: config.Discover{HAProxySocket: "/no/such.sock"}},
		{Name: "refused", Discover: config.Discover{TraefikAPI: "http://192.0.2.1:8080"}},
	}
	here, there := pipeline(t, cfg, observe.Auto), pipeline(t, cfg, observe.Auto)
	here.place.processes.limits = owner.Limits{Programs: 3}
	here.take(answer{pool: "refused", failed: true, problem: "connection refused", seen: start, every: time.Second})
	const why = "3 processes: the program may not be read, so they are not chosen by it (it takes CAP_SYS_PTRACE)"
	want := []api.Pool{
		{Name: "listed", Configured: true, Source: "configured", Members: 1},
		{Name: "absent", Configured: true, Source: "observed", Problem: "no process of it is found"},
		{Name: "hidden", Configured: true, Source: "observed", Problem: "no process of it is found; " + why},
		{Name: "silent", Configured: true, Source: "haproxy /no/such.sock", Problem: "haproxy /no/such.sock has named no member yet"},
		{Name: "refused", Configured: true, Source: "traefik http://192.0.2.1:8080", Problem: "connection refused"},
	}
	all := []*Pipeline{here, there}
	if diff := cmp.Diff(want, pools(all)); diff != "" {
		t.Errorf("pools (-want +got):\n%s", diff)
	}
	limits := []api.Limit{{Subject: "balancers and pools", Reason: why}}
	for i := len(want) - 1; i > 0; i-- {
		limits = append([]api.Limit{{Subject: "backends of " + want[i].Name, Reason: want[i].Problem}}, limits...)
	}
	if diff := cmp.Diff(limits, poolLimits(all)); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
}

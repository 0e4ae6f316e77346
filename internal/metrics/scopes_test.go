package metrics

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

func backend(i int) scope.ID {
	return scope.ID{Kind: scope.KindBackend, Name: fmt.Sprintf("shop/s%03d", i)}
}

// behind is a snapshot of a balancer with so many backends: each has two
// connections, and the i-th has waited for i seconds and resends i/1000.
func behind(backends int) *api.Snapshot {
	s := &api.Snapshot{At: at, Ready: true}
	for i := range backends {
		sig := measure.ScopeSignals{Scope: backend(i), Group: "shop"}
		sig.Readings[measure.Established] = reading(2)
		sig.Readings[measure.PendingLongest] = reading(float64(i))
		sig.Readings[measure.RetransmitsPerConnectionRate] = reading(float64(i) / 1000)
		sig.Readings[measure.AnswerNow] = measure.Reading{Validity: measure.NoTraffic}
		sig.Readings[measure.BalancerUp] = reading(1)
		s.View.Scopes = append(s.View.Scopes, sig)
	}
	return s
}

func led(id uint64, of scope.ID, seconds int) judge.Incident {
	return judge.Incident{ID: id, State: judge.Resolved, SuspectedAt: at, BalancerDownAt: at.Add(time.Duration(seconds) * time.Second), Finding: judge.Finding{Scope: of, Cause: judge.PathLost}}
}

func TestBackends(t *testing.T) {
	s := behind(3)
	s.View.Scopes[2].Readings[measure.BalancerUp] = measure.Reading{Validity: measure.NeverSeen} // it is not asked
	elsewhere := s.View.Scopes[0]
	elsewhere.Scope = elsewhere.Scope.In("blue")
	s.View.Scopes = append(s.View.Scopes, elsewhere)
	gone := scope.ID{Kind: scope.KindBackend, Name: "shop/gone"}
	s.Incidents = []judge.Incident{led(9, backend(0), 12), led(4, backend(0), 30), led(8, backend(1), -2), led(7, gone, 5), {ID: 6, SuspectedAt: at, Finding: judge.Finding{Scope: backend(2)}}}
	got, registry := gather(t, s)
	hold(t, got, map[string]float64{
		"foreshock_backend_established{backend=shop/s000,group=shop}":                2,
		"foreshock_backend_pending_longest_seconds{backend=shop/s001,group=shop}":    1,
		"foreshock_backend_balancer_up{backend=shop/s001,group=shop}":                1,
		"foreshock_backend_established{backend=shop/s000,group=shop,namespace=blue}": 2,
		"foreshock_backend_lead_seconds{backend=shop/s000,group=shop}":               12, // the last incident's
		"foreshock_backend_lead_seconds{backend=shop/s001,group=shop}":               -2, // its balancer was first
		"foreshock_backends{}":        4,
		"foreshock_backends_folded{}": 0,
		"foreshock_services{}":        0,
	})
	for name := range got {
		if strings.Contains(name, "answer_now") || strings.Contains(name, "gone") || strings.Contains(name, "=other") ||
			name == "foreshock_backend_balancer_up{backend=shop/s002,group=shop}" || name == "foreshock_backend_lead_seconds{backend=shop/s002,group=shop,namespace=}" {
			t.Errorf("%s should not be there: nobody knows it", name)
		}
	}
	lint(t, registry)
}

// TestBackendsAreCapped: counts add up, the worst wait and the worst rate of a
// connection stand for all, and one that is down is not hidden by the others.
func TestBackendsAreCapped(t *testing.T) {
	s := behind(MaxServices + 50)
	s.View.Scopes[MaxServices+1].Readings[measure.BalancerUp] = reading(0)
	s.Incidents = []judge.Incident{led(1, backend(MaxServices+2), 20), led(2, backend(MaxServices-1), 15)}
	got, _ := gather(t, s)
	hold(t, got, map[string]float64{
		"foreshock_backend_established{backend=other,group=other}":                           100,
		"foreshock_backend_pending_longest_seconds{backend=other,group=other}":               MaxServices + 49,
		"foreshock_backend_retransmits_per_connection_per_second{backend=other,group=other}": 0.249,
		"foreshock_backend_balancer_up{backend=other,group=other}":                           0,
		"foreshock_backend_lead_seconds{backend=shop/s199,group=shop}":                       15,
		"foreshock_backends{}":        MaxServices + 50,
		"foreshock_backends_folded{}": 50,
	})
	established, leads := series(got, "foreshock_backend_established{"), series(got, "foreshock_backend_lead_seconds")
	if established != MaxServices+1 || leads != 1 {
		t.Errorf("%d series of established, %d of the lead; want %d and 1", established, leads, MaxServices+1)
	}
}

func TestRegions(t *testing.T) {
	s := &api.Snapshot{At: at, Ready: true}
	for i := range MaxServices + 2 {
		sig := measure.ScopeSignals{Scope: scope.ID{Kind: scope.KindRegion, Name: fmt.Sprintf("r%03d", i)}}
		sig.Readings[measure.Connections] = reading(10)
		sig.Readings[measure.RetransmittingShare] = reading(float64(i) / 1000)
		sig.Readings[measure.EstablishedShare] = reading(1 - float64(i)/1000)
		s.View.Scopes = append(s.View.Scopes, sig)
	}
	rest := measure.ScopeSignals{Scope: scope.Rest}
	rest.Readings[measure.Outgoing], rest.Readings[measure.UnclassifiedShare] = reading(40), reading(0.25)
	s.View.Scopes = append(s.View.Scopes, rest)
	got, _ := gather(t, s)
	hold(t, got, map[string]float64{
		"foreshock_region_connections{region=r001}":           10,
		"foreshock_region_retransmitting_share{region=r001}":  0.001,
		"foreshock_region_connections{region=other}":          20,
		"foreshock_region_retransmitting_share{region=other}": float64(MaxServices+1) / 1000,
		"foreshock_region_established_share{region=other}":    1 - float64(MaxServices+1)/1000,
		"foreshock_regions{}":                                 MaxServices + 2,
		"foreshock_regions_folded{}":                          2,
		"foreshock_outgoing{}":                                40,
		"foreshock_unclassified_share{}":                      0.25,
	})
}

package metrics

import (
	"fmt"
	"strings"
	"testing"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// switched is a snapshot of so many switches: each has two connections on its
// old side, and the i-th i/1000 of all of them.
func switched(switches int) *api.Snapshot {
	s := &api.Snapshot{At: at, Ready: true}
	for i := range switches {
		x := scope.Switch{Name: fmt.Sprintf("s%03d.example", i)}
		old, fresh := measure.ScopeSignals{Scope: x.ID(scope.OldSide, "")}, measure.ScopeSignals{Scope: x.ID(scope.NewSide, "")}
		old.Readings[measure.Connections] = reading(2)
		old.Readings[measure.Established] = reading(2)
		old.Address = measure.AddressNow{Asked: measure.EndNow{Established: 2}}
		fresh.Address = measure.AddressNow{Served: measure.EndNow{Established: 5}} // not known: nothing was seen of it
		old.Readings[measure.OldShare] = reading(float64(i) / 1000)
		old.Readings[measure.TTLOver] = measure.Reading{Validity: measure.NoLimit}
		fresh.Readings[measure.Connections] = reading(5)
		fresh.Readings[measure.ArrivalsMissing] = reading(0.25)
		fresh.Readings[measure.OldShare] = reading(1) // not a number of that side
		s.View.Scopes = append(s.View.Scopes, old, fresh)
	}
	return s
}

func TestDrains(t *testing.T) {
	got, _ := gather(t, switched(2))
	hold(t, got, map[string]float64{
		"foreshock_drain_connections{name=s000.example,side=old}":            2,
		"foreshock_drain_connections{name=s001.example,side=new}":            5,
		"foreshock_drain_old_share_ratio{name=s001.example,side=old}":        0.001,
		"foreshock_drain_arrivals_missing_ratio{name=s001.example,side=new}": 0.25,
		"foreshock_drain_unknown_signals{name=s000.example,side=old}":        13,
		"foreshock_drain_unknown_signals{name=s000.example,side=new}":        11,
		"foreshock_drain_established{end=asked,name=s000.example,side=old}":  2,
		"foreshock_drain_established{end=served,name=s000.example,side=old}": 0,
		"foreshock_drains{}":        2,
		"foreshock_drains_folded{}": 0,
	})
	for name := range got {
		if strings.Contains(name, "ttl_over") || strings.Contains(name, "=other") || strings.Contains(name, "established") && strings.Contains(name, "side=new") || strings.Contains(name, "old_share") && strings.Contains(name, "side=new") {
			t.Errorf("%s is there", name)
		}
	}
}

// TestDrainsFold: the series of switches are bounded, as those of services.
func TestDrainsFold(t *testing.T) {
	got, _ := gather(t, switched(MaxServices+10))
	hold(t, got, map[string]float64{
		"foreshock_drain_connections{name=other,side=old}":           20,
		"foreshock_drain_connections{name=other,side=new}":           50,
		"foreshock_drain_old_share_ratio{name=other,side=old}":       0.209, // the worst
		"foreshock_drain_established{end=asked,name=other,side=old}": 20,
		"foreshock_drains{}":        MaxServices + 10,
		"foreshock_drains_folded{}": 10,
	})
}

package judge

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// TestHurt: who is hurt comes of the numbers that are known, and of none that
// is not.
func TestHurt(t *testing.T) {
	web := scope.ID{Kind: scope.KindService, Name: "web"}
	s1 := scope.ID{Kind: scope.KindBackend, Name: "shop/s1"}
	eu := scope.ID{Kind: scope.KindRegion, Name: "eu"}
	type numbers map[measure.Signal]float64
	tests := []struct {
		name   string
		of     scope.ID
		cause  Cause
		group  int // members
		values numbers
		host   numbers
		want   string
	}{
		{"they wait", web, WorkersFull, 0, numbers{measure.QueueDepth: 51, measure.QueueWait: 4.7}, nil, "51 connections wait to be accepted; clients of web wait 4.7 s or more, or give up"},
		{"one waits", web, WorkersFull, 0, numbers{measure.QueueDepth: 1}, nil, "1 connection waits to be accepted"},
		{"some are lost", web, WorkersFull, 0, numbers{measure.QueueDepth: 8, measure.QueueLimit: 8, measure.ListenDropsRate: 4}, numbers{measure.ListenOverflowsRate: 4}, "8 connections wait to be accepted; others are lost to the full queue"},
		{"an unseen queue", web, WorkersFull, 0, nil, nil, "clients that wait to be accepted; how many is not seen here"},
		{"they have gone", web, ClientsGaveUp, 0, numbers{measure.CloseWaitUnaccepted: 7, measure.QueueDepth: 0}, nil, "7 clients of web have hung up unanswered; nobody waits just now"},
		{"they are turned away", web, ConnLimit, 0, nil, numbers{measure.ResetsSentRate: 4.25}, "new clients of web: up to 4.2 connections a second are turned away"},
		{"not yet", web, WorkersFilling, 0, numbers{measure.QueueDepth: 0, measure.WorkersFullIn: 147}, nil, "nobody yet: the workers last for 2 min 27 s at this rate"},
		{"soon", web, WorkersFilling, 0, numbers{measure.WorkersFullIn: 147, measure.WorkersFullInFast: 12}, nil, "nobody yet: the workers last for 12 s at this rate"},
		{"already", web, WorkersFilling, 0, numbers{measure.QueueDepth: 3, measure.WorkersFullIn: 9}, nil, "3 connections wait to be accepted"},
		{"slow ones leave room", web, SlowClients, 0, numbers{measure.WorkersOccupied: 15, measure.WorkersLimit: 20}, nil, "nobody waits yet: 5 of 20 workers are free"},
		{"an unknown limit", web, SlowClients, 0, numbers{measure.WorkersOccupied: 15}, nil, "nobody waits yet; how many workers are free is not seen here"},
		{"descriptors", web, Leak, 0, numbers{measure.DescriptorsUsed: 900, measure.DescriptorsLimit: 1024, measure.CloseWaitLeakedSlope: 1}, nil, "nobody yet: the descriptors last for 2 min 4 s at this rate"},
		{"unknown descriptors", web, Leak, 0, nil, nil, "nobody yet; how long the descriptors last is not seen here"},
		{"cookies", web, SynFlood, 0, nil, nil, "hardly anybody: clients of web are let in by cookies, for as long as its accept queue has room"},
		{"those who do not come", web, TrafficMissing, 0, numbers{measure.NewFlowsRate: 2, measure.NewFlowsUsual: 12}, nil, "whoever should come: about 10.0 new connections a second fewer than usual; who they are is not seen here"},
		{"no end", web, StuckClosing, 0, numbers{measure.StuckClosing: 1}, nil, "up to 1 client of web: the end of what was sent to them is not acknowledged"},

		{"out of reach", s1, PathLost, 3, numbers{measure.Pending: 12}, nil, "1 of 3 backends of shop: about 33 % of its requests, if they are spread evenly; 12 requests wait on it, and new ones wait for their time-out"},
		{"alone", s1, PeerRefusing, 1, nil, nil, "all that is asked of shop/s1, which has no siblings; what is sent there is refused, and fails unless it is tried elsewhere"},
		{"resets", s1, PeerResetting, 2, nil, nil, "1 of 2 backends of shop: about 50 % of its requests, if they are spread evenly; how many of its connections end without an answer is not seen here"},
		{"ports", s1, PortExhaustion, 2, numbers{measure.PortsUsed: 28000, measure.PortsLimit: 28232}, nil, "nobody yet: 232 local ports are left"},
		{"no port", s1, PortExhaustion, 2, numbers{measure.PortsUsed: 28232, measure.PortsLimit: 28232}, nil, "every new request there: no local port is left"},
		{"a pool", s1, PoolAtCeiling, 2, numbers{measure.Established: 8, measure.Pending: 8}, nil, "8 requests wait, and whoever waits for a free one of our own 8 connections; how many is not seen here"},

		{"a region", eu, PathLost, 2, numbers{measure.DestinationsUnanswered: 4, measure.Destinations: 1, measure.SynSent: 3}, nil, "what this host asks of 4 of its 4 destinations of eu; 3 connection attempts wait; how many clients stand behind that is not seen here"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reading := func(values numbers) *measure.ScopeSignals {
				out := &measure.ScopeSignals{Scope: tt.of, Group: "shop"}
				for sig, v := range values {
					out.Readings[sig] = measure.Reading{Value: v, Samples: int(v), Validity: measure.Known}
				}
				return out
			}
			s := subject{scope: reading(tt.values), host: reading(tt.host), group: newGroup(), around: &around{}}
			s.scope.Readings[measure.ListenDropsRate].Samples, s.host.Readings[measure.ListenOverflowsRate].Samples = 12, 12
			for range tt.group {
				s.group.members = append(s.group.members, s.scope)
			}
			if diff := cmp.Diff(tt.want, hurt(s, tt.cause)); diff != "" {
				t.Errorf("who is hurt (-want +got):\n%s", diff)
			}
		})
	}
}

// TestEveryCauseSaysWhoIsHurt, also where nothing is known of the scope.
func TestEveryCauseSaysWhoIsHurt(t *testing.T) {
	for kind, rules := range causeRules() {
		for _, r := range rules {
			nothing := &measure.ScopeSignals{Scope: scope.ID{Kind: kind, Name: "it"}}
			s := subject{scope: nothing, host: nothing, group: newGroup(), around: &around{}}
			if says := hurt(s, r.cause); says == "" {
				t.Errorf("%s of a %s does not say who is hurt", r.cause, kind)
			}
		}
	}
}

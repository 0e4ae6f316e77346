package judge

import (
	"fmt"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// BenchmarkBackends is what one pulse and one focus look cost beyond reading,
// beside so many backends that are well.
func BenchmarkBackends(b *testing.B) {
	for _, crowd := range []struct{ backends, group int }{{3, 10}, {50, 10}, {500, 10}, {500, 500}} {
		for _, tier := range []tcp.Tier{tcp.Pulse, tcp.Focus} {
			b.Run(fmt.Sprintf("%d_in_groups_of_%d/%s", crowd.backends, crowd.group, tier), func(b *testing.B) {
				m, j := measure.New(""), New(&Numbers{})
				states := tcp.AllStates
				if tier == tcp.Pulse {
					states = tcp.ListenOnly
				}
				var scopes []measure.Tally
				for i := range crowd.backends {
					y := measure.Tally{Scope: scope.ID{Kind: scope.KindBackend, Name: fmt.Sprint(i)}, Group: fmt.Sprint(i / crowd.group), Accepted: 10, Pending: 2}
					y.States[tcp.Established] = 10
					y.Flows = measure.Flows{Known: true, New: 1, Gone: 1, Since: time.Second, Scale: 1}
					y.Peer = measure.Peer{Answering: 5, HeardAgo: time.Millisecond}
					scopes = append(scopes, y)
				}
				scopes = append(scopes, measure.Tally{Scope: scope.Rest})
				now := scenarioStart
				b.ReportAllocs()
				for b.Loop() {
					now = now.Add(250 * time.Millisecond)
					look := lookAt(now, tier, states)
					j.Step(now, m.Step(now, measure.Tallies{Look: look, Interval: time.Second, Scopes: scopes}))
				}
			})
		}
	}
}

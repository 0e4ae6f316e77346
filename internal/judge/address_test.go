package judge

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// TestAddressScenarios runs the timelines of testdata/addresses/*.txt through
// the judge, with a look each second, as TestScenarios does. The switch of
// shop.example is at 20 s, armed before. The names, of the old side:
//
//	est        ESTABLISHED; rtx: of them retransmitting
//	syn        SYN_SENT; where period is given, for the first burst seconds of
//	           each period, and sent again from its second second on
//	closing    in any other state but TIME_WAIT
//	moving     connections on which bytes moved within a minute
//	begun      connections begun a second
//	older      ESTABLISHED that began before the TTL was over
//	ttl        the TTL in seconds (0: not known)
//	asked      resolvers that answered, and of them stale ones
//	served     1 where the connections come from elsewhere
//
// new.est, new.moving, new.begun and new.served are the new side's; expected
// and off are the arrivals expected on both and their error. The words: armed
// (there was no switch yet), deaf (nothing is seen).
func TestAddressScenarios(t *testing.T) { playFiles(t, "testdata/addresses/*.txt", playAddresses) }

const switchAt = 20.0

var shop = scope.Switch{Name: "shop.example"}

// sides keeps what the signals of both sides look back at.
type sides struct {
	failing    map[float64]float64
	begun, new map[float64]float64
}

// over sums or finds the most of what was in the last seconds.
func over(kept map[float64]float64, at, span float64, both func(a, b float64) float64) float64 {
	out := 0.0
	for when, v := range kept {
		if when > at-span && when <= at {
			out = both(out, v)
		}
	}
	return out
}

func sum(a, b float64) float64 { return a + b }

func playAddresses(segments []segment) string {
	j := New(&Numbers{})
	var out strings.Builder
	told := map[uint64]int{}
	kept := sides{map[float64]float64{}, map[float64]float64{}, map[float64]float64{}}
	for _, seg := range segments {
		for at := seg.from; at < seg.to-1e-9; at++ {
			now := scenarioStart.Add(time.Duration(at * float64(time.Second)))
			narrate(&out, j.Step(now, kept.view(&seg, at, now)), told)
		}
	}
	return out.String()
}

// view is both sides as measure shows them.
func (k *sides) view(seg *segment, at float64, now time.Time) *measure.View {
	v := func(name string) float64 { return math.Floor(seg.value(name, at)) }
	old := measure.ScopeSignals{Scope: shop.ID(scope.OldSide, ""), Group: shop.Name, Fresh: true}
	neu := measure.ScopeSignals{Scope: shop.ID(scope.NewSide, ""), Group: shop.Name, Fresh: true}
	host := measure.ScopeSignals{Scope: scope.Host, Fresh: true}
	view := &measure.View{At: now, Scopes: []measure.ScopeSignals{old, neu, host}}
	if seg.words["deaf"] {
		return view
	}
	oldSide, newSide := &view.Scopes[0], &view.Scopes[1]
	set := func(s *measure.ScopeSignals, sig measure.Signal, value float64, samples float64) {
		s.Readings[sig] = measure.Reading{Value: value, Samples: int(samples), Seen: now, Good: 2500 * time.Millisecond, Validity: measure.Known}
	}
	share := func(s *measure.ScopeSignals, sig measure.Signal, part, whole float64) {
		if whole == 0 {
			s.Readings[sig].Validity = measure.NoTraffic
			return
		}
		set(s, sig, part/whole, whole)
	}
	syn, tried := v("syn"), v("syn")
	if period := v("period"); period > 0 {
		in := math.Mod(at, period)
		if in >= v("burst") {
			syn, tried = 0, 0
		} else if in < 1 {
			tried = 0
		}
	}
	k.failing[at], k.begun[at], k.new[at] = syn+v("rtx"), seg.value("begun", at), seg.value("new.begun", at)
	all := v("est") + syn + v("closing")
	failing := over(k.failing, at, 5, math.Max)
	set(oldSide, measure.Failing, failing, all)
	share(oldSide, measure.FailingShare, min(failing, all), all)
	set(oldSide, measure.SynSent, syn, all)
	set(oldSide, measure.Retransmitting, v("rtx")+tried, all)
	set(oldSide, measure.Connections, all, all)
	set(oldSide, measure.Established, v("est"), all)
	set(oldSide, measure.Moving, v("moving"), all)
	set(oldSide, measure.NewFlowsRate, over(k.begun, at, 10, sum)/10, over(k.begun, at, 10, sum))
	share(oldSide, measure.OldShare, v("est"), v("est")+v("new.est"))
	share(oldSide, measure.OldNewShare, over(k.begun, at, 10, sum), over(k.begun, at, 10, sum)+over(k.new, at, 10, sum))
	set(newSide, measure.Connections, v("new.est"), v("new.est"))
	set(newSide, measure.Established, v("new.est"), v("new.est"))
	set(newSide, measure.Moving, v("new.moving"), v("new.est"))
	set(newSide, measure.Failing, 0, v("new.est"))
	served := v("served") > 0
	end := func(s *measure.ScopeSignals, here bool) *measure.EndNow {
		if here {
			return &s.Address.Served
		}
		return &s.Address.Asked
	}
	end(oldSide, served).Connections = int(all)
	end(newSide, v("new.served") > 0).Connections = int(v("new.est"))
	newSide.Address.ArrivalsServed = served
	if v("asked") > 0 {
		set(oldSide, measure.ResolversAsked, v("asked"), v("asked"))
		set(oldSide, measure.ResolversStale, v("stale"), v("asked"))
	}
	if seg.words["armed"] {
		return view
	}
	for _, s := range []*measure.ScopeSignals{oldSide, newSide} {
		set(s, measure.SwitchedAgo, at-switchAt, 1)
		if v("ttl") > 0 {
			set(s, measure.TTLOver, at-switchAt-v("ttl"), 1)
		}
	}
	if ttl := v("ttl"); ttl > 0 {
		late := math.Floor(over(k.begun, at, min(30, max(0, at-switchAt-ttl)), sum))
		end(oldSide, served).NewAfterTTL = int(late)
		set(oldSide, measure.NewAfterTTL, late, late)
		set(oldSide, measure.OlderThanTTL, v("older"), all)
	}
	if expected := v("expected"); expected > 0 {
		seen := (over(k.begun, at, 30, sum) + over(k.new, at, 30, sum)) / 30
		set(newSide, measure.ArrivalsRate, seen, seen*30)
		set(newSide, measure.ArrivalsExpected, expected, 1)
		set(newSide, measure.ArrivalsExpectedError, v("off"), 1)
		set(newSide, measure.ArrivalsMissing, max(0, 1-seen/expected), 1)
	}
	return view
}

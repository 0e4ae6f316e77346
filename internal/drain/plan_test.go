package drain

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/reply"
)

// asks runs a plan from 0 s on, each question answered after 20 ms, and returns
// when each server was asked, by label. ttl is that of old answers; zero: the
// answers are new.
func asks(p *Plan, until float64, ttl time.Duration) map[string][]float64 {
	out := map[string][]float64{}
	for now := at(0); now.Before(at(until)); {
		due, next := p.Due(now)
		for _, q := range due {
			out[q.Server.Label] = append(out[q.Server.Label], now.Sub(start).Seconds())
			p.Answered(reply.Answer{Name: q.Name, Server: q.Server.Address, Role: q.Server.Role, At: now.Add(20 * time.Millisecond), TTL: ttl}, ttl > 0)
		}
		if len(due) > 0 {
			next = now.Add(20 * time.Millisecond)
		}
		if !next.After(now) {
			panic("the plan does not move on")
		}
		now = next
	}
	return out
}

// gaps are the least and the greatest time between questions.
func gaps(times []float64) (least, most float64) {
	least = 1e9
	for i := 1; i < len(times); i++ {
		least, most = min(least, times[i]-times[i-1]), max(most, times[i]-times[i-1])
	}
	return least, most
}

func TestPlanPace(t *testing.T) {
	since := start
	tests := []struct {
		name        string
		target      Target
		until       float64
		ttl         time.Duration
		sys1, zone1 [2]float64 // the least and the most between questions
	}{
		{"watched", Target{}, 300, 0, [2]float64{27, 30.1}, [2]float64{9, 10.1}},
		{"armed", Target{Armed: true}, 300, 0, [2]float64{27, 30.1}, [2]float64{4.5, 5.1}},
		{"just switched", Target{Since: since}, 290, 0, [2]float64{4.5, 5.1}, [2]float64{4.5, 5.1}},
		{"switched a while ago", Target{Since: since.Add(-10 * time.Minute)}, 300, 0, [2]float64{27, 30.1}, [2]float64{9, 10.1}},
		{"old answers again when their TTL is over", Target{Since: since.Add(-10 * time.Minute)}, 300, 12 * time.Second, [2]float64{13, 13.1}, [2]float64{9, 10.1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.target.Name, tt.target.Servers = "shop.example", []reply.Server{serverOf("sys1"), serverOf("ns1")}
			p := Plan{Seed: 1}
			p.Set([]Target{tt.target})
			got := asks(&p, tt.until, tt.ttl)
			for label, want := range map[string][2]float64{"sys1": tt.sys1, "ns1": tt.zone1} {
				if least, most := gaps(got[label]); least < want[0] || most > want[1] {
					t.Errorf("%s asked with %g to %g s between, want %g to %g: %v", label, least, most, want[0], want[1], got[label])
				}
			}
		})
	}
}

// TestPlanRate: many names with many servers go out at 20 questions a second,
// each in its turn.
func TestPlanRate(t *testing.T) {
	var targets []Target
	for i := range 32 {
		var servers []reply.Server
		for j := range 100 {
			servers = append(servers, serverOf(fmt.Sprintf("sys%d", j)))
		}
		targets = append(targets, Target{Name: fmt.Sprintf("shop%d.example", i), Servers: servers, Since: start})
	}
	var p Plan
	p.Set(targets)
	if len(p.turns) != 32*maxServers {
		t.Fatalf("%d servers are asked", len(p.turns))
	}
	var all []float64
	counts := map[string]int{}
	for label, times := range asks(&p, 140, 0) {
		all = append(all, times...)
		counts[label] = len(times)
	}
	slices.Sort(all)
	for i := range all {
		// Two questions each, and a second's worth that may be saved up.
		if n := 2 * (i + 1); float64(n) > maxRate*(all[i]+1)+1 {
			t.Fatalf("%d questions within %g s", n, all[i])
		}
	}
	for label, n := range counts {
		if n < 19 || n > 25 { // 140 s × 10 ÷ 64
			t.Errorf("%s asked %d times", label, n)
		}
	}
}

// TestPlanLost: a question nobody brings an answer to is asked again.
func TestPlanLost(t *testing.T) {
	var p Plan
	p.Set([]Target{{Name: "shop.example", Servers: []reply.Server{serverOf("sys1")}}})
	for when, want := range map[float64]int{0: 1} {
		if due, next := p.Due(at(when)); len(due) != want || !next.Equal(at(30)) {
			t.Errorf("%d due, next at %v", len(due), next)
		}
	}
	if due, _ := p.Due(at(29)); len(due) != 0 {
		t.Errorf("asked twice at once: %v", due)
	}
	if due, _ := p.Due(at(30)); len(due) != 1 {
		t.Error("a lost question is not asked again")
	}
	p.Answered(reply.Answer{Name: "other.example"}, false) // not of ours
}

// TestPlanSwitch: when a switch begins everybody is asked at once.
func TestPlanSwitch(t *testing.T) {
	var p Plan
	target := Target{Name: "shop.example", Servers: []reply.Server{serverOf("sys1"), serverOf("ns1")}, Armed: true}
	p.Set([]Target{target})
	asks(&p, 7, 0)
	target.Since = at(8)
	p.Set([]Target{target})
	if due, _ := p.Due(at(8)); len(due) != 2 {
		t.Errorf("%d asked at the switch", len(due))
	}
}

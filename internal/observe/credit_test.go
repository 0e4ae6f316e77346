package observe

import (
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/tcp"
)

// TestSuspicionWithoutEnd: who is suspected all the time, as a pool of long
// requests may be, stays within the budget and a quarter.
func TestSuspicionWithoutEnd(t *testing.T) {
	ms := time.Millisecond
	tests := []struct {
		name string
		host host
	}{
		{"15k sockets, all of them backends'", host{ms / 10, 22 * ms, 16 * ms, 24 * ms, ms}},
		{"100k sockets, few of them backends'", host{ms / 10, 11 * ms, 8 * ms, 95 * ms, ms}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for what, doubt := range map[string]func(*Schedule, time.Time){
				"suspected": (*Schedule).Suspect, "glanced at": (*Schedule).Glance,
			} {
				s := alone()
				s.SetFocusing(true)
				got := simulate(s, tt.host, 20*time.Minute, func(now time.Time) { doubt(s, now) })
				if most := 0.01*(1+creditShare) + 0.0005; got.used > most {
					t.Errorf("%s all the time: used %.2f %% of a core, want at most %.2f %%", what, 100*got.used, 100*most)
				}
			}
		})
	}
}

// TestGlanceAfterASuspicion: a suspicion that lasts leaves enough for a look at
// the next fault within half a second.
func TestGlanceAfterASuspicion(t *testing.T) {
	ms := time.Millisecond
	s := alone()
	s.SetFocusing(true)
	var glanced, seen time.Time
	simulate(s, host{ms / 10, 11 * ms, 8 * ms, 95 * ms, ms}, 10*time.Minute, func(now time.Time) {
		s.Suspect(now)
		if glanced.IsZero() && now.Sub(scheduleStart) > 5*time.Minute && now.Sub(s.suspect) > -suspectSpan && !s.budget.credit.suspicion(s.budget.share) {
			s.Glance(now)
			glanced = now
		}
		if last := s.tiers[tcp.Focus].looked; !glanced.IsZero() && seen.IsZero() && last.After(glanced) {
			seen = last
		}
	})
	if glanced.IsZero() {
		t.Fatal("the suspicion never used its credit up")
	}
	if seen.IsZero() || seen.Sub(glanced) > 2*SuspectInterval {
		t.Errorf("looked %s after the counters jumped, want within %s", seen.Sub(glanced), 2*SuspectInterval)
	}
}

// TestCredit: it holds one suspicion of the full span, and fills up in time.
func TestCredit(t *testing.T) {
	const share = 0.01
	var c credit
	c.grow(scheduleStart, share)
	looking := func() (span time.Duration) { // 3 % of a core for as long as there is credit
		for c.suspicion(share) {
			c.pay(30*time.Millisecond, share)
			span += time.Second
		}
		return span
	}
	if got, want := looking(), suspectSpan-keptGlances*glanceSpan; got != want {
		t.Errorf("a full credit lasts %s, want %s", got, want)
	}
	if !c.glance(share) {
		t.Error("nothing is left for a glance")
	}
	c.grow(scheduleStart.Add(4*time.Minute), share)
	if got, want := looking(), suspectSpan-keptGlances*glanceSpan; got != want {
		t.Errorf("after four minutes it lasts %s, want %s", got, want)
	}
	for range 1000 {
		c.pay(time.Second, suspectShare)
	}
	if !c.suspicion(suspectShare) {
		t.Error("a budget that bears closer looks needs no credit")
	}
}

// BenchmarkNext is the price of choosing the next look among 200 namespaces,
// most of which are due at once.
func BenchmarkNext(b *testing.B) {
	budget := NewBudget(0.01)
	for range 200 {
		budget.Add()
	}
	now := scheduleStart
	var process time.Duration
	b.ReportAllocs()
	for b.Loop() {
		s, tier, at := budget.Next(now)
		now = at.Add(50 * time.Microsecond)
		process += 50 * time.Microsecond
		s.Looked(tier, at, 50*time.Microsecond)
		budget.Spent(now, process)
	}
}

package observe

import (
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/tcp"
)

// crowd is many namespaces on one host; costs are the lab's (TRUTH, section 1).
type crowd struct {
	spaces []*space
	// overhead is what the process spends on anything but looks per second,
	// and on each look beside its cost.
	overhead, perLook time.Duration
}

// space is one namespace of a simulated host.
type space struct {
	host
	schedule *Schedule
	pulse    time.Time // when it last looked
	rest     time.Time // when it was last seen whole
	oldest   struct{ pulse, rest time.Duration }
	looks    [tcp.NumTiers]int
}

// play runs the crowd's looks for span after a warm-up, and returns the share
// of a core used and the longest times between two pulses and two whole looks.
func (c *crowd) play(b *Budget, warmUp, span time.Duration, each func(now time.Time)) (used float64, pulse, rest time.Duration) {
	now := scheduleStart
	var process, warm time.Duration
	by := map[*Schedule]*space{}
	for _, s := range c.spaces {
		by[s.schedule] = s
		s.pulse, s.rest = now, now
	}
	for now.Sub(scheduleStart) < warmUp+span {
		s, tier, at := b.Next(now)
		process += time.Duration(float64(c.overhead) * at.Sub(now).Seconds())
		now = at
		if each != nil {
			each(now)
		}
		if now.Sub(scheduleStart) < warmUp {
			warm = process
		}
		x := by[s]
		cost := x.cost(tier)
		process += cost + c.perLook
		x.looks[tier]++
		switch tier {
		case tcp.Pulse:
			if now.Sub(scheduleStart) > warmUp {
				x.oldest.pulse = max(x.oldest.pulse, now.Sub(x.pulse))
			}
			x.pulse = now
		case tcp.Full:
			if now.Sub(scheduleStart) > warmUp {
				x.oldest.rest = max(x.oldest.rest, now.Sub(x.rest))
			}
			x.rest = now
		}
		began := now
		now = now.Add(cost + c.perLook)
		s.Looked(tier, began, cost)
		b.Spent(now, process)
	}
	for _, x := range c.spaces {
		pulse = max(pulse, x.oldest.pulse, now.Sub(x.pulse))
		if !x.schedule.Idle() {
			rest = max(rest, x.oldest.rest, now.Sub(x.rest))
		}
	}
	return (process - warm).Seconds() / span.Seconds(), pulse, rest
}

// join adds n namespaces of a kind to the budget.
func (c *crowd) join(b *Budget, n int, h host) []*space {
	from := len(c.spaces)
	for range n {
		s := b.Add()
		s.SetFocusing(h.focus > 0)
		c.spaces = append(c.spaces, &space{host: h, schedule: s})
	}
	return c.spaces[from:]
}

func milliseconds(f float64) time.Duration { return time.Duration(f * float64(time.Millisecond)) }

// walking is a namespace of few sockets on a host of many: the walk of the
// host's hash table is all its looks cost.
func walking(pulse, walk float64) host {
	return host{pulse: milliseconds(pulse), focus: milliseconds(walk), odd: milliseconds(walk), full: milliseconds(walk + 0.4)}
}

func TestBudgetOfManyNamespaces(t *testing.T) {
	tests := []struct {
		name         string
		others       int
		own, other   host
		idle         int
		used         float64       // at most
		rest         time.Duration // every namespace is seen whole that often
		pulse        time.Duration
		ownPulse     time.Duration
		warmUp, span time.Duration
	}{
		{
			name: "three containers on a small host: everything as often as wanted", others: 3, warmUp: 2 * time.Minute, span: 3 * time.Minute,
			own: walking(0.07, 0.3), other: walking(0.07, 0.3), used: 0.0105, rest: 2 * time.Second, pulse: 260 * time.Millisecond, ownPulse: 260 * time.Millisecond,
		},
		{
			name: "200 beside 100,000 sockets", others: 199, warmUp: 2 * time.Minute, span: 12 * time.Minute,
			own: walking(0.07, 3), other: walking(0.07, 3), used: 0.0105, rest: 13 * time.Minute, pulse: 2 * time.Second, ownPulse: 300 * time.Millisecond,
		},
		{
			// Pulses and the overhead leave nothing; a tenth of the budget goes to
			// whole looks all the same.
			name: "200, a walk of 10 ms", others: 199, warmUp: 2 * time.Minute, span: 12 * time.Minute,
			own: walking(0.07, 10), other: walking(0.07, 10), used: 0.0113, pulse: 2 * time.Second, ownPulse: 300 * time.Millisecond,
		},
		{
			// 199 × 0.15 ms ÷ 1.85 s is 1.6 % of a core by itself.
			name: "200 with dear pulses overdraw and are not late", others: 199, warmUp: 2 * time.Minute, span: 12 * time.Minute,
			own: walking(0.15, 3), other: walking(0.15, 3), used: 0.0195, pulse: 2 * time.Second, ownPulse: 300 * time.Millisecond,
		},
		{
			name: "500 idle ones cost next to nothing", others: 3, warmUp: 2 * time.Minute, span: 3 * time.Minute, idle: 500,
			own: walking(0.07, 0.3), other: walking(0.07, 0.3), used: 0.0105, rest: 3 * time.Second, pulse: 2 * time.Second, ownPulse: 300 * time.Millisecond,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := NewBudget(0.01)
			c := &crowd{overhead: time.Millisecond / 2, perLook: 3 * time.Microsecond}
			own := c.join(b, 1, tt.own)[0]
			c.join(b, tt.others, tt.other)
			for _, x := range c.join(b, tt.idle, host{pulse: milliseconds(0.012)}) {
				x.schedule.SetIdle(true)
			}
			used, pulse, rest := c.play(b, tt.warmUp, tt.span, nil)
			if used > tt.used {
				t.Errorf("used %.2f %% of a core, want at most %.2f %%", 100*used, 100*tt.used)
			}
			if pulse > tt.pulse || own.oldest.pulse > tt.ownPulse {
				t.Errorf("pulses up to %v old, our own %v; want at most %v and %v", pulse, own.oldest.pulse, tt.pulse, tt.ownPulse)
			}
			if tt.rest > 0 && rest > tt.rest {
				t.Errorf("a namespace was not seen whole for %v, want at most %v", rest, tt.rest)
			}
			t.Logf("used %.2f %%, pulse %v (own %v), whole %v (own %v); own looks %v", 100*used, pulse, own.oldest.pulse, rest, own.oldest.rest, own.looks)
		})
	}
}

// TestManyFoundAtOnce: 200 namespaces found together are looked at one after
// the other, not in one burst.
func TestManyFoundAtOnce(t *testing.T) {
	b := NewBudget(0.01)
	c := &crowd{overhead: time.Millisecond / 2, perLook: 3 * time.Microsecond}
	c.join(b, 200, walking(0.07, 3))
	used, _, _ := c.play(b, 0, time.Minute, nil)
	if used > 0.0165 { // half of the credit is for their first whole looks
		t.Errorf("used %.2f %% of a core in the first minute, budget 1 %% and half of the credit's 1 %%", 100*used)
	}
	t.Logf("used %.2f %% in the first minute", 100*used)
}

// TestOverheadAboveTheBudget: where the rest of the process leaves nothing,
// pulses stretch as far as they may; they do not come without end.
func TestOverheadAboveTheBudget(t *testing.T) {
	for _, others := range []int{0, 1, 60} {
		b := NewBudget(0.01)
		c := &crowd{overhead: 20 * time.Millisecond} // a second: twice the budget
		c.join(b, others+1, walking(0.07, 0.3))
		c.play(b, 0, 30*time.Second, nil)
		for i, s := range c.spaces {
			if got, most := s.looks[tcp.Pulse], 4*30+1; got > most {
				t.Fatalf("%d namespaces: %d pulses of the %dth in 30 s, at most %d are wanted", others+1, got, i+1, most)
			}
		}
	}
}

// TestSuspicionAmongMany: a namespace under suspicion gets its focus, and the
// others keep their pulse.
func TestSuspicionAmongMany(t *testing.T) {
	b := NewBudget(0.01)
	c := &crowd{overhead: time.Millisecond / 2, perLook: 3 * time.Microsecond}
	c.join(b, 1, walking(0.07, 3))
	others := c.join(b, 199, walking(0.07, 3))
	const at = 10 * time.Minute
	suspect := others[57]
	before := 0
	_, pulse, _ := c.play(b, at-time.Second, suspectSpan, func(now time.Time) {
		if now.Sub(scheduleStart) >= at && before == 0 {
			suspect.schedule.Suspect(now)
			before = suspect.looks[tcp.Focus] + suspect.looks[tcp.Full]
		}
	})
	if looks := suspect.looks[tcp.Focus] + suspect.looks[tcp.Full] - before; looks < 20 {
		t.Errorf("%d looks at its sockets within 30 s of suspicion, want about one a second", looks)
	}
	if pulse > 2*time.Second {
		t.Errorf("meanwhile a pulse was %v old", pulse)
	}
}

// TestSuspicionEverywhere: namespaces that are suspected one after the other
// do not keep the process above its budget.
func TestSuspicionEverywhere(t *testing.T) {
	b := NewBudget(0.01)
	c := &crowd{overhead: time.Millisecond / 2, perLook: 3 * time.Microsecond}
	c.join(b, 200, walking(0.05, 3))
	next, last := 0, scheduleStart
	used, pulse, _ := c.play(b, time.Minute, 10*time.Minute, func(now time.Time) {
		if now.Sub(last) > 2*time.Second {
			c.spaces[next%200].schedule.Suspect(now)
			next, last = next+1, now
		}
	})
	if used > 0.023 {
		t.Errorf("used %.2f %% of a core, want at most 3 %% for half of the time", 100*used)
	}
	if pulse > 2*time.Second {
		t.Errorf("meanwhile a pulse was %v old", pulse)
	}
}

// TestUsedOnesGoFirst: namespaces with services in use are seen whole more
// often, and nobody starves.
func TestUsedOnesGoFirst(t *testing.T) {
	b := NewBudget(0.01)
	c := &crowd{overhead: time.Millisecond / 2, perLook: 3 * time.Microsecond}
	c.join(b, 1, walking(0.07, 3))
	used := c.join(b, 5, walking(0.07, 3))
	unused := c.join(b, 60, walking(0.07, 3))
	for _, x := range used {
		x.schedule.SetUse(Services)
	}
	c.play(b, time.Minute, 20*time.Minute, nil)
	least, most := used[0].looks[tcp.Full], 0
	for _, x := range used {
		least = min(least, x.looks[tcp.Full])
	}
	for _, x := range unused {
		most = max(most, x.looks[tcp.Full])
		if x.looks[tcp.Full] < 3 {
			t.Fatalf("a namespace was seen whole %d times in 20 min", x.looks[tcp.Full])
		}
	}
	if least < 3*most {
		t.Errorf("namespaces in use were seen whole %d times, others up to %d", least, most)
	}
	t.Logf("in use at least %d whole looks, the others at most %d", least, most)
}

// TestBalancersKeepTheirPace: on a host of many busy containers those few that
// hold balancers go on at nearly the pace they have alone, also where all the
// rest of the agent leaves nothing of the budget, and the others are late by no
// more than without them.
func TestBalancersKeepTheirPace(t *testing.T) {
	tests := []struct {
		name        string
		overhead    time.Duration // per second
		pulse, rest time.Duration // of the balancers
		used        float64
	}{
		{"with a budget to share", time.Millisecond, 300 * time.Millisecond, 2 * time.Second, 0.0108},
		{"with nothing left of it", 8 * time.Millisecond, time.Second, 2 * time.Second, 0.016},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := NewBudget(0.01)
			c := &crowd{overhead: tt.overhead, perLook: 3 * time.Microsecond}
			c.join(b, 1, walking(0.12, 0.1))[0].schedule.SetUse(Services)
			balancers := c.join(b, 3, walking(0.2, 0.15))
			for _, x := range balancers {
				x.schedule.SetUse(Backends)
			}
			for _, x := range c.join(b, 70, walking(0.12, 0.1)) {
				x.schedule.SetUse(Services)
			}
			used, pulse, rest := c.play(b, time.Minute, 5*time.Minute, nil)
			for _, x := range balancers {
				if x.oldest.pulse > tt.pulse || x.oldest.rest > tt.rest {
					t.Errorf("a balancer's pulse was up to %v old, and it was not seen whole for up to %v", x.oldest.pulse, x.oldest.rest)
				}
			}
			if pulse > 2*time.Second || used > tt.used {
				t.Errorf("pulses up to %v old, %.2f %% of a core used", pulse, 100*used)
			}
			t.Logf("balancers: pulse %v, whole %v; others: pulse %v, whole %v; used %.2f %%", balancers[0].oldest.pulse, balancers[0].oldest.rest, pulse, rest, 100*used)
		})
	}
}

func TestNamespacesComeAndGo(t *testing.T) {
	b := NewBudget(0.01)
	own := b.Add()
	alone := own.Interval(tcp.Full)
	for range 1000 {
		b.Remove(b.Add())
	}
	if b.divide(); own.Interval(tcp.Full) != alone || len(b.schedules) != 1 {
		t.Errorf("%d schedules left, full each %v; want one, each %v", len(b.schedules), own.Interval(tcp.Full), alone)
	}
}

func TestFill(t *testing.T) {
	tests := []struct {
		name   string
		wants  []float64
		amount float64
		want   []float64
		left   float64
	}{
		{name: "enough", wants: []float64{1, 2}, amount: 4, want: []float64{1, 2}, left: 1},
		{name: "the same for all who want more", wants: []float64{1, 5, 9}, amount: 7, want: []float64{1, 3, 3}},
		{name: "nobody", amount: 1, left: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var schedules []*Schedule
			for _, w := range tt.wants {
				schedules = append(schedules, &Schedule{wants: w})
			}
			if left := fill(schedules, tt.amount); left != tt.left {
				t.Errorf("%v left, want %v", left, tt.left)
			}
			for i, s := range schedules {
				if s.free != tt.want[i] {
					t.Errorf("wants %v, got %v, want %v", s.wants, s.free, tt.want[i])
				}
			}
		})
	}
}

package observe

import (
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/tcp"
)

// host is what looks cost on a machine, in processor time.
type host struct {
	pulse, focus, odd, full time.Duration
	// overhead is what the process spends on anything else, per second.
	overhead time.Duration
}

func (h host) cost(t tcp.Tier) time.Duration {
	return [...]time.Duration{tcp.Pulse: h.pulse, tcp.Focus: h.focus, tcp.Odd: h.odd, tcp.Full: h.full}[t]
}

// outcome is how a simulated stretch went.
type outcome struct {
	looks [tcp.NumTiers]int
	gap   [tcp.NumTiers]time.Duration // the longest between two looks of a tier
	used  float64                     // share of one core
	worst float64                     // of any 10 s
}

var scheduleStart = time.Unix(1_790_000_000, 0)

// alone is the schedule of a host's only namespace, with the usual budget.
func alone() *Schedule { return NewBudget(0.01).Add() }

// simulate runs s on h for the given time, after a minute to learn.
func simulate(s *Schedule, h host, span time.Duration, each func(now time.Time)) outcome {
	const warmUp = time.Minute
	var out outcome
	now := scheduleStart
	var process time.Duration
	last := [tcp.NumTiers]time.Time{}
	type use struct {
		at  time.Time
		cpu time.Duration
	}
	var uses []use
	var measured time.Duration
	for now.Sub(scheduleStart) < warmUp+span {
		_, tier, at := s.budget.Next(now)
		process += time.Duration(float64(h.overhead) * at.Sub(now).Seconds())
		now = at
		if each != nil {
			each(now)
		}
		cost := h.cost(tier)
		process += cost
		warm := now.Sub(scheduleStart) >= warmUp
		if warm {
			out.looks[tier]++
			measured += cost
		}
		for _, sees := range []tcp.Tier{tcp.Pulse, tcp.Focus, tcp.Odd, tcp.Full} {
			if sees != tier && (tier != tcp.Full || sees == tcp.Pulse) {
				continue // a full look sees what focus and odd would
			}
			if warm && !last[sees].IsZero() {
				out.gap[sees] = max(out.gap[sees], now.Sub(last[sees]))
			}
			last[sees] = now
		}
		began := now
		now = now.Add(cost) // looking takes its time
		s.Looked(tier, began, cost)
		s.budget.Spent(now, process)
		if warm {
			uses = append(uses, use{now, process})
			for uses[0].at.Before(now.Add(-budgetSpan)) {
				uses = uses[1:]
			}
			out.worst = max(out.worst, float64(process-uses[0].cpu)/float64(budgetSpan))
		}
	}
	out.used = (measured + time.Duration(float64(h.overhead)*span.Seconds())).Seconds() / span.Seconds()
	return out
}

func TestScheduleKeepsTheBudget(t *testing.T) {
	ms := func(f float64) time.Duration { return time.Duration(f * float64(time.Millisecond)) }
	tests := []struct {
		name string
		host host
		// The most that may pass between two looks; zero: not asked.
		focus, odd, full time.Duration
	}{
		{"1k sockets: a full look each second is all there is to do", host{ms(0.05), ms(0.3), ms(0.3), ms(0.9), ms(1)}, 0, 0, 1500 * time.Millisecond},
		{"10k sockets", host{ms(0.05), ms(1.2), ms(1), ms(10), ms(1)}, 1100 * time.Millisecond, 1100 * time.Millisecond, 5 * time.Second},
		{"100k sockets", host{ms(0.1), ms(11), ms(8), ms(95), ms(1)}, 4 * time.Second, 8 * time.Second, 3 * time.Minute},
		{"100k sockets, a busy API", host{ms(0.1), ms(11), ms(8), ms(95), ms(6)}, 15 * time.Second, 25 * time.Second, 8 * time.Minute},
		{"1M sockets", host{ms(0.1), ms(80), ms(75), ms(950), ms(1)}, 20 * time.Second, 50 * time.Second, 0},
		{"300 listeners, procfs", host{ms(0.4), ms(130), ms(130), ms(130), ms(1)}, 40 * time.Second, 80 * time.Second, 4 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := alone()
			s.SetFocusing(true)
			got := simulate(s, tt.host, 20*time.Minute, nil)
			if got.used > 0.0105 {
				t.Errorf("used %.2f %% of a core in the mean, budget 1 %%", 100*got.used)
			}
			// One dear look of each tier may stand out: it is paid for over its
			// interval.
			if slack := (tt.host.full + tt.host.focus + tt.host.odd).Seconds() / budgetSpan.Seconds(); got.worst > 0.0125+slack {
				t.Errorf("used %.2f %% of a core in the worst 10 s, budget 1 %% and one look of each tier's %.2f %%", 100*got.worst, 100*slack)
			}
			if got.gap[tcp.Pulse] > PulseInterval+tt.host.full+tt.host.odd+tt.host.focus {
				t.Errorf("pulse stretched to %v", got.gap[tcp.Pulse])
			}
			for tier, most := range map[tcp.Tier]time.Duration{tcp.Focus: tt.focus, tcp.Odd: tt.odd, tcp.Full: tt.full} {
				if most > 0 && got.gap[tier] > most {
					t.Errorf("%s: %v between two looks, want at most %v", tier, got.gap[tier], most)
				}
			}
			t.Logf("used %.2f %%, worst 10 s %.2f %%; looks %v, longest gaps %v", 100*got.used, 100*got.worst, got.looks, got.gap)
		})
	}
}

func TestScheduleStretchesFullFirst(t *testing.T) {
	ms := time.Millisecond
	s := alone()
	s.SetFocusing(true)
	simulate(s, host{ms / 10, 2 * ms, 2 * ms, 40 * ms, 0}, 10*time.Second, nil)
	if s.Interval(tcp.Focus) != FocusInterval || s.Interval(tcp.Odd) != OddInterval || s.Interval(tcp.Full) <= FastFull {
		t.Errorf("intervals focus %v, odd %v, full %v: full alone should stretch", s.Interval(tcp.Focus), s.Interval(tcp.Odd), s.Interval(tcp.Full))
	}
	s = alone()
	s.SetFocusing(true)
	simulate(s, host{ms / 10, 6 * ms, 6 * ms, 60 * ms, 0}, 10*time.Second, nil)
	if s.Interval(tcp.Focus) != FocusInterval || s.Interval(tcp.Odd) <= OddInterval {
		t.Errorf("intervals focus %v, odd %v: odd should stretch before focus", s.Interval(tcp.Focus), s.Interval(tcp.Odd))
	}
}

func TestSuspectLooksCloserForAWhile(t *testing.T) {
	ms := time.Millisecond
	s := alone()
	s.SetFocusing(true)
	var suspectUntil time.Time
	var close, far []time.Duration
	var last time.Time
	simulate(s, host{ms / 10, 4 * ms, 4 * ms, 90 * ms, ms}, 2*time.Minute, func(now time.Time) {
		if suspectUntil.IsZero() && now.Sub(scheduleStart) > 70*time.Second {
			s.Suspect(now)
			suspectUntil = now.Add(suspectSpan)
		}
		if _, tier, _ := s.budget.Next(now); tier == tcp.Focus {
			if gap := now.Sub(last); !suspectUntil.IsZero() && now.Sub(suspectUntil.Add(-suspectSpan)) > 2*time.Second {
				if now.Before(suspectUntil) {
					close = append(close, gap)
				} else if now.Sub(suspectUntil) > 15*time.Second {
					far = append(far, gap)
				}
			}
			last = now
		}
	})
	if mean := meanOf(close); mean > 450*time.Millisecond {
		t.Errorf("while suspect, focus looks each %v, want about %v", mean, SuspectInterval)
	}
	if mean := meanOf(far); mean < 900*time.Millisecond {
		t.Errorf("30 s later, focus still looks each %v", mean)
	}
}

func meanOf(ds []time.Duration) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	var sum time.Duration
	for _, d := range ds {
		sum += d
	}
	return sum / time.Duration(len(ds))
}

func TestHurryBringsFullForward(t *testing.T) {
	ms := time.Millisecond
	h := host{ms / 10, 2 * ms, 2 * ms, 60 * ms, ms}
	s := alone()
	s.SetFocusing(true)
	simulate(s, h, 30*time.Second, nil)
	usual := s.Interval(tcp.Full)
	s.Hurry()
	if got := s.due(tcp.Full).Sub(s.tiers[tcp.Full].last); got >= usual && usual > s.pause(h.full) {
		t.Errorf("hurried full look after %v, as ever", got)
	}
}

// TestOneServiceHasItAll: where focus would cost what full does, full takes
// its place, and the filter is tried again now and then.
func TestOneServiceHasItAll(t *testing.T) {
	ms := time.Millisecond
	h := host{ms / 10, 98 * ms, 8 * ms, 100 * ms, ms}
	s := alone()
	s.SetFocusing(true)
	got := simulate(s, h, 30*time.Minute, nil)
	if got.used > 0.0115 {
		t.Errorf("used %.2f %% of a core, budget 1 %%", 100*got.used)
	}
	if got.looks[tcp.Focus] < 2 || got.looks[tcp.Focus] > 10 {
		t.Errorf("%d focus looks in half an hour, want one each 5 min", got.looks[tcp.Focus])
	}
	if got.gap[tcp.Full] > 25*time.Second {
		t.Errorf("%v between two full looks, which are all there is", got.gap[tcp.Full])
	}
	t.Logf("used %.2f %%; looks %v, longest gaps %v", 100*got.used, got.looks, got.gap)
	s.Looked(tcp.Focus, scheduleStart.Add(time.Hour), h.focus)
	if !s.Covered(tcp.Focus) {
		t.Error("focus is not covered by full")
	}
	s.SetFocusing(true) // other services: learn anew
	if s.Covered(tcp.Focus) {
		t.Error("focus is still covered after the services changed")
	}
}

func TestNothingToFocusOn(t *testing.T) {
	ms := time.Millisecond
	got := simulate(alone(), host{ms / 10, 5 * ms, 5 * ms, 50 * ms, ms}, time.Minute, nil)
	if got.looks[tcp.Focus] != 0 {
		t.Errorf("%d focus looks without a service", got.looks[tcp.Focus])
	}
}

// TestSuspicionOnASmallHost: where a filter is worth nothing, as on a host
// whose sockets are all of interest, the full look comes closer instead.
func TestSuspicionOnASmallHost(t *testing.T) {
	b := NewBudget(0.01)
	s := b.Add()
	s.SetFocusing(true)
	now := scheduleStart
	for _, tier := range []tcp.Tier{tcp.Pulse, tcp.Focus, tcp.Odd, tcp.Full} {
		s.Looked(tier, now, 200*time.Microsecond)
	}
	if got := s.Interval(tcp.Full); got != FastFull {
		t.Fatalf("full each %v when nothing is suspected, want %v", got, FastFull)
	}
	for _, look := range []struct {
		name string
		ask  func()
		span time.Duration
	}{
		{"a jump of the counters", func() { s.Glance(now) }, glanceSpan},
		{"a suspicion", func() { s.Suspect(now) }, suspectSpan},
	} {
		now = now.Add(time.Hour)
		b.Spent(now, 0)
		look.ask()
		if got := s.Interval(tcp.Full); got != SuspectInterval {
			t.Errorf("%s: full each %v, want %v", look.name, got, SuspectInterval)
		}
		now = now.Add(look.span + time.Second)
		b.Spent(now, 0)
		if _, _, at := b.Next(now); s.Interval(tcp.Full) != FastFull {
			t.Errorf("%s, after its span: full each %v (next %v), want %v", look.name, s.Interval(tcp.Full), at, FastFull)
		}
	}
}

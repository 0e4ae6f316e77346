package rule

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

var backtestStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func backtestRule(t interface{ Fatal(...any) }, when string, hold time.Duration) Rule {
	e, err := Compile("r", when)
	if err != nil {
		t.Fatal(err)
	}
	return Rule{Name: "r", When: e, Hold: hold, Severity: Warning}
}

func TestBacktest(t *testing.T) {
	const waits = "service.queue_wait_seconds > 0.5"
	type minute [3]float64 // least, mean, greatest
	calm, hard, mixed := minute{0, 0.1, 0.4}, minute{0.6, 0.8, 2}, minute{0.1, 0.3, 0.9}
	unseen := minute{-1}
	for _, tt := range []struct {
		name    string
		when    string
		hold    time.Duration
		minutes []minute
		want    []string
	}{
		{"never", waits, 0, []minute{calm, calm}, nil},
		{"throughout a minute", waits, 10 * time.Second, []minute{calm, hard, calm}, []string{"1-2 certain"}},
		{"perhaps", waits, 10 * time.Second, []minute{calm, mixed, calm}, []string{"1-2"}},
		{"a row counts once", waits, 10 * time.Second, []minute{mixed, hard, mixed, calm}, []string{"0-3 certain"}},
		{"apart", waits, 10 * time.Second, []minute{hard, calm, hard}, []string{"0-1 certain", "2-3 certain"}},
		{"too short to clear", waits, 90 * time.Second, []minute{hard, hard, calm, hard, hard}, []string{"0-5 certain"}},
		{"too short to open", waits, 3 * time.Minute, []minute{hard, hard, calm}, nil},
		{"held only if the doubtful minute held", waits, 3 * time.Minute, []minute{hard, mixed, hard, calm}, []string{"0-3"}},
		{"not seen pauses", waits, 90 * time.Second, []minute{hard, unseen, hard, calm}, []string{"0-3 certain"}},
		{"under way", waits, 0, []minute{calm, hard}, []string{"1-2 certain"}},
		{"mean over two minutes", `mean(service.queue_wait_seconds, "1m") > 0.5`, 0, []minute{{1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {0, 0, 0}}, []string{"0-3 certain"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := NewBacktest(backtestRule(t, tt.when, tt.hold))
			for i, m := range tt.minutes {
				b.Minute(backtestStart.Add(time.Duration(i)*time.Minute), func(Term) (MinuteRange, bool) {
					return MinuteRange{Least: m[0], Mean: m[1], Greatest: m[2]}, m != unseen
				})
			}
			if diff := cmp.Diff(tt.want, spell(b.Firings())); diff != "" {
				t.Errorf("firings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBacktestIsNotSurer: what the agent's absence, samples far apart and few
// looks do to what is sure.
func TestBacktestIsNotSurer(t *testing.T) {
	sampled := backtestRule(t, "service.busy > 5", 0)
	sampled.Every, sampled.InARow = 45*time.Second, 2
	rare := backtestRule(t, "service.busy > 5", 50*time.Second)
	long := backtestRule(t, "service.busy > 5", time.Minute)
	type minute struct {
		at    int
		value float64
		looks int
	}
	for _, tt := range []struct {
		name    string
		rule    Rule
		minutes []minute
		want    []string
	}{
		{"two samples in a minute", sampled, []minute{{0, 0, 0}, {1, 9, 0}, {2, 0, 0}}, []string{"1-2"}},
		{"and sure ones", sampled, []minute{{0, 9, 0}, {1, 9, 0}, {2, 9, 0}, {3, 0, 0}}, []string{"0-3 certain"}},
		{"a minute is no two samples that clear", sampled, []minute{{0, 9, 0}, {1, 9, 0}, {2, 9, 0}, {3, 0, 0}, {4, 9, 0}, {5, 9, 0}, {6, 9, 0}}, []string{"0-7 certain"}},
		{"few looks", rare, []minute{{0, 9, 3}, {1, 0, 3}}, []string{"0-1"}},
		{"many looks", rare, []minute{{0, 9, 60}, {1, 0, 60}}, []string{"0-1 certain"}},
		{"a minute does not clear what is held for one", long, []minute{{0, 9, 0}, {1, 9, 0}, {2, 0, 0}, {3, 9, 0}, {4, 9, 0}}, []string{"0-5 certain"}},
		{"the agent was away", long, []minute{{0, 9, 0}, {1, 9, 0}, {3, 9, 0}, {4, 9, 0}}, []string{"0-2 certain", "3-5 certain"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := NewBacktest(tt.rule)
			for _, m := range tt.minutes {
				b.Minute(backtestStart.Add(time.Duration(m.at)*time.Minute), func(Term) (MinuteRange, bool) {
					return MinuteRange{Least: m.value, Mean: m.value, Greatest: m.value, Looks: m.looks}, true
				})
			}
			if diff := cmp.Diff(tt.want, spell(b.Firings())); diff != "" {
				t.Errorf("firings (-want +got):\n%s", diff)
			}
		})
	}
}

// spell writes firings as minutes from the start: "1-2 certain".
func spell(firings []Firing) []string {
	var out []string
	for _, f := range firings {
		text := fmt.Sprintf("%g-%g", f.From.Sub(backtestStart).Minutes(), f.To.Sub(backtestStart).Minutes())
		if f.Certain {
			text += " certain"
		}
		out = append(out, text)
	}
	return out
}

// What a rule does over every second lies within what the minutes' ranges say
// of it.
func TestBacktestBoundsTheFollower(t *testing.T) {
	rules := []string{
		"service.queue_wait_seconds > 0.5",
		"service.queue_wait_seconds > 0.5 && service.accepted >= 20",
		"service.queue_wait_seconds < 0.2 || !(service.accepted < 30)",
		"service.accepted / service.sockets > 0.6",
		"abs(service.accepted - service.sockets) * 2 > 40",
		"min(service.accepted, service.sockets) >= max(10, service.accepted - 5)",
		`mean(service.accepted, "2m") > 25`,
		`mean(service.accepted, "90s") > 25 && service.sockets != 3`,
		`min_over(service.accepted, "3m") > 5 || max_over(service.sockets, "2m") < 20`,
		`median(service.accepted, "2m") > 30`,
		`rate(service.accepted, "1m") > 0.2`,
		`service.accepted > 1.5 * first(service.accepted, "3m")`,
	}
	signals := []measure.Signal{measure.QueueWait, measure.Accepted, measure.Sockets}
	scale := []float64{0.05, 2, 3}
	rapid.Check(t, func(t *rapid.T) {
		when := rapid.SampledFrom(rules).Draw(t, "when")
		hold := time.Duration(rapid.SampledFrom([]int{0, 10, 60, 90, 200}).Draw(t, "hold")) * time.Second
		r := backtestRule(t, when, hold)
		follower, back := NewFollower(r), NewBacktest(r)
		minutes := rapid.IntRange(1, 12).Draw(t, "minutes")
		// Levels that stay for a while, so that holds are met.
		level, left := make([]float64, len(signals)), 0
		var openings []time.Time
		var opened []Firing // from an opening to where it cleared
		for m := range minutes {
			start := backtestStart.Add(time.Duration(m) * time.Minute)
			ranges := make([]MinuteRange, len(signals))
			for second := range 60 {
				if left--; left < 0 {
					left = rapid.IntRange(5, 200).Draw(t, "stays")
					for i := range level {
						level[i] = scale[i] * float64(rapid.IntRange(0, 20).Draw(t, "level"))
					}
				}
				now := start.Add(time.Duration(second) * time.Second)
				s := &measure.ScopeSignals{Scope: scope.ID{Kind: scope.KindService, Name: "web"}}
				for i, sig := range signals {
					s.Readings[sig] = measure.Reading{Value: level[i], Seen: now, Good: 2500 * time.Millisecond, Validity: measure.Known}
					if second == 0 {
						ranges[i] = MinuteRange{Least: level[i], Greatest: level[i]}
					}
					ranges[i].Least, ranges[i].Greatest = min(ranges[i].Least, level[i]), max(ranges[i].Greatest, level[i])
					ranges[i].Mean += level[i] / 60
				}
				was := len(opened) > 0 && opened[len(opened)-1].To.IsZero()
				switch open := follower.Step(now, s, nil).Phase == Open; {
				case open && !was:
					openings = append(openings, now)
					opened = append(opened, Firing{From: now})
				case !open && was:
					opened[len(opened)-1].To = now
				}
			}
			back.Minute(start, func(term Term) (MinuteRange, bool) {
				i := slices.Index(signals, term.Signal)
				return ranges[i], true
			})
		}
		firings := back.Firings()
		for _, at := range openings {
			if !slices.ContainsFunc(firings, func(f Firing) bool { return !at.Before(f.From) && at.Before(f.To) }) {
				t.Fatalf("%s, hold %s: opened at %s, not within any of %q", when, hold, at.Sub(backtestStart), spell(firings))
			}
		}
		for _, f := range firings {
			if f.Certain && !slices.ContainsFunc(opened, func(o Firing) bool { return o.From.Before(f.To) && (o.To.IsZero() || o.To.After(f.From)) }) {
				t.Fatalf("%s, hold %s: certain to open within %q, and did not", when, hold, spell([]Firing{f}))
			}
		}
	})
}

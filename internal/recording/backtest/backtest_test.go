package backtest_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/court"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/measure/baseline"
	"github.com/foreshock/foreshock/internal/recording"
	"github.com/foreshock/foreshock/internal/recording/backtest"
	"github.com/foreshock/foreshock/internal/recording/recordingtest"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/scope"
)

func makeRule(t *testing.T, name, when string, hold, every time.Duration, inARow int) rule.Rule {
	t.Helper()
	e, err := rule.Compile(name, when)
	if err != nil {
		t.Fatal(err)
	}
	r := rule.Rule{Name: name, When: e, Hold: hold, Every: every, InARow: inARow, Severity: rule.Warning}
	if problems := r.Validate(); len(problems) > 0 {
		t.Fatal(problems)
	}
	return r
}

// someRules are of every kind: plain, held, sampled, over time, of the host, and
// of the host beside another.
func someRules(t *testing.T) []rule.Rule {
	const s = time.Second
	return []rule.Rule{
		makeRule(t, "waits", "service.queue_depth > 50", 10*s, 0, 0),
		makeRule(t, "waits-long", "service.queue_depth > 50", 100*s, 0, 0),
		makeRule(t, "close-wait", "service.close_wait_accepted / service.sockets > 0.15", 0, 30*s, 2),
		makeRule(t, "close-wait-mean", `mean(service.close_wait_accepted, "2m") > 10`, 10*s, 0, 0),
		makeRule(t, "close-wait-slow", "service.close_wait_accepted > 5", 0, 45*s, 2),
		makeRule(t, "lost", "backend.retransmitting > 0.5 * backend.established", 10*s, 0, 0),
		makeRule(t, "silent", `max_over(backend.answering, "1m") < 1`, 10*s, 0, 0),
		makeRule(t, "busy-host", "host.passive_opens_per_second > 1000", 10*s, 0, 0),
		makeRule(t, "busy-and-waits", "host.passive_opens_per_second > 10 && service.queue_depth > 50", 10*s, 0, 0),
		makeRule(t, "busy-and-close-wait", "host.passive_opens_per_second > 10 && service.close_wait_accepted > 5", 10*s, 0, 0),
		makeRule(t, "noisy", "service.accepted > 60", 0, 0, 0),
		makeRule(t, "noisy-held", "backend.established > 70", 20*s, 0, 0),
		makeRule(t, "never", "service.sockets > 100000", 0, 0, 0),
	}
}

// faulty is a host with faults of many lengths.
func faulty(seed uint64, span time.Duration) recordingtest.Config {
	cfg := recordingtest.Config{Seed: seed, Services: 2, Backends: 3, Span: span, Pulse: time.Second, Focus: 2 * time.Second, Offset: 37 * time.Second}
	lengths := []time.Duration{4 * time.Second, 25 * time.Second, 70 * time.Second, 95 * time.Second, 3 * time.Minute, 7 * time.Minute}
	for i := range int(span / (15 * time.Minute)) {
		from := time.Duration(i)*15*time.Minute + 3*time.Minute + time.Duration(seed*17%60)*time.Second
		n := lengths[(i+int(seed))%len(lengths)]
		kind := []recordingtest.Kind{recordingtest.Exhaust, recordingtest.Close, recordingtest.Blackhole}[(i+int(seed/2))%3]
		id := recordingtest.Service(i % 2)
		if kind == recordingtest.Blackhole {
			id = recordingtest.Backend(i % 3)
		}
		cfg.Faults = append(cfg.Faults, recordingtest.Fault{Kind: kind, Scope: id, From: from, To: from + n})
	}
	return cfg
}

// store plays a host and keeps its minutes, and its raw tallies from a time on,
// in a history as the agent does.
func store(t *testing.T, cfg recordingtest.Config, raw time.Time) *history.Reader {
	t.Helper()
	dir := t.TempDir()
	s, err := history.Open(dir, history.Config{
		Limits: history.Limits{Raw: 24 * time.Hour, Minutes: 28 * 24 * time.Hour, MaxSize: 1 << 30},
		Ended:  func(document []byte, _ time.Time) ([]byte, error) { return document, nil },
		Wall:   func() time.Time { return recordingtest.Start },
		Steady: func() time.Duration { return 0 },
	})
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	c, minutes, encoder := court.New(nil, &judge.Numbers{}), baseline.NewMinutes(), recording.NewEncoder(recording.Limits{})
	must(s.Batch(func() error {
		put := func(seg *recording.Segment) {
			if seg != nil {
				must(s.PutSegment(*seg))
			}
		}
		for host := recordingtest.New(cfg); ; {
			step, err := host.Next()
			if err != nil {
				break
			}
			wall := step.At.Add(step.Offset)
			_, view := c.Step(step)
			if m := minutes.Take(wall, view); m != nil {
				must(s.PutMinute(m.Start, baseline.AppendMinute(nil, m)))
			}
			if !wall.Before(raw) {
				seg, err := encoder.Add(step)
				must(err)
				put(seg)
			}
		}
		put(encoder.Flush())
		return nil
	}))
	must(s.Close())
	r, err := history.OpenReader(dir)
	must(err)
	t.Cleanup(func() { must(r.Close()) })
	return r
}

func takeMinutes(t *testing.T, p *backtest.Past, r *history.Reader) {
	t.Helper()
	err := r.Minutes(time.Time{}, time.Time{}, func(_ time.Time, data []byte) error {
		m, err := baseline.DecodeMinute(data)
		if err == nil {
			p.Minute(m)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// exactly plays all of a host.
func exactly(t *testing.T, rules []rule.Rule, cfg recordingtest.Config) []backtest.Verdict {
	t.Helper()
	p := backtest.New(rules)
	p.Begin(backtest.Cold, time.Time{})
	for host := recordingtest.New(cfg); ; {
		step, err := host.Next()
		if err != nil {
			break
		}
		p.Step(step)
	}
	p.End()
	return p.Answer(nil)
}

// folded is how many of the exact openings there are if those that lie within
// one firing of the minutes count once, and those that lie in none.
func folded(exact, minutes backtest.Verdict) (times int, outside []string) {
	ranges := map[scope.ID][]backtest.Firing{}
	for _, s := range minutes.Scopes {
		ranges[s.Scope] = s.Firings
	}
	for _, s := range exact.Scopes {
		hit := map[int]bool{}
		for _, f := range s.Firings {
			// A look is of the minute in which it was taken, and may open a rule
			// at its very end.
			at := slices.IndexFunc(ranges[s.Scope], func(m backtest.Firing) bool {
				return !f.From.Before(m.From) && !f.From.After(m.To.Add(2*time.Second))
			})
			if at < 0 {
				outside = append(outside, fmt.Sprintf("%s of %s at %s", exact.Rule.Name, s.Scope, f.From))
				continue
			}
			hit[at] = true
		}
		times += len(hit)
	}
	return times, outside
}

// TestMinutesBoundTheExactCount: what the minutes of a real store say holds the
// exact count over the same tallies.
func TestMinutesBoundTheExactCount(t *testing.T) {
	rules := someRules(t)
	opened, certain := 0, 0
	for seed := range uint64(3) {
		cfg := faulty(seed, 2*time.Hour)
		exact := exactly(t, rules, cfg)
		p := backtest.New(rules)
		takeMinutes(t, p, store(t, cfg, recordingtest.Start.Add(24*time.Hour)))
		for i, v := range p.Answer(nil) {
			times, outside := folded(exact[i], v)
			if len(outside) > 0 {
				t.Errorf("seed %d: within no firing of the minutes: %q", seed, outside)
			}
			if times < v.Least || times > v.Most || exact[i].Raw < v.Least {
				t.Errorf("seed %d: %s opened %d times, %d of them apart; the minutes say at least %d, at most %d", seed, v.Rule.Name, exact[i].Raw, times, v.Least, v.Most)
			}
			opened, certain = opened+times, certain+v.Least
			t.Logf("seed %d: %-16s %3d exact, %3d apart, %3d to %3d", seed, v.Rule.Name, exact[i].Raw, times, v.Least, v.Most)
		}
	}
	if opened == 0 || certain*4 < opened { // most faults here are shorter than two minutes
		t.Errorf("of %d openings %d are certain: the ranges say too little", opened, certain)
	}
}

// TestRawAndMinutes: where raw tallies are they decide, and nothing is counted
// twice.
func TestRawAndMinutes(t *testing.T) {
	rules := someRules(t)
	for seed := range uint64(2) {
		cfg := faulty(seed, 210*time.Minute)
		// Rules that sample keep to a grid from their first look on: here it is
		// the same for both.
		cut := recordingtest.Start.Add(cfg.Offset + 81*time.Minute)
		r := store(t, cfg, cut)
		exact := exactly(t, rules, cfg)
		p := backtest.New(rules)
		p.Begin(backtest.Warm, time.Time{})
		err := r.Segments(time.Time{}, time.Time{}, func(s recording.Segment) error {
			return recording.Decode(s.Data, func(s measure.Step) error { p.Step(s); return nil })
		})
		if err != nil {
			t.Fatal(err)
		}
		p.End()
		takeMinutes(t, p, r)
		for i, v := range p.Answer(nil) {
			from := cut.Add(time.Hour + v.Rule.When.Lookback() + v.Rule.Hold + time.Duration(v.Rule.InARow)*v.Rule.Every).Add(time.Minute - 1).Truncate(time.Minute)
			late, raw := openings(exact[i], from), openings(v, from)
			if diff := cmp.Diff(late, raw); diff != "" {
				t.Errorf("seed %d: %s from %s on (-exact +got):\n%s", seed, v.Rule.Name, from, diff)
			}
			if times, outside := folded(exact[i], v); len(outside) > 0 || times > v.Raw+v.Most {
				t.Errorf("seed %d: %s: %d times, %d and at most %d; outside %q", seed, v.Rule.Name, times, v.Raw, v.Most, outside)
			}
			if exact[i].Raw < v.Raw+v.Least {
				t.Errorf("seed %d: %s opened %d times, %d and at least %d are said", seed, v.Rule.Name, exact[i].Raw, v.Raw, v.Least)
			}
		}
	}
}

// openings are when a rule opened from a time on.
func openings(v backtest.Verdict, from time.Time) []string {
	var out []string
	for _, s := range v.Scopes {
		for _, f := range s.Firings {
			if f.Exact && !f.From.Before(from) {
				out = append(out, fmt.Sprintf("%s %s to %s", s.Scope, f.From, f.To))
			}
		}
	}
	return out
}

package judge

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// crowd is a queue of n workers in a simulation: arrivals at a rate, each
// served for a while, the rest waiting in line.
type crowd struct {
	workers int
	limit   int                                      // told to the judge; below 1: not known
	rate    func(at float64) float64                 // arrivals a second
	service func(rng *rand.Rand, at float64) float64 // seconds
	random  bool                                     // arrivals at random, else evenly spaced
	from    float64                                  // what happens before is not told
	seconds float64
	seed    uint64
}

// opening is an incident's way through the severities.
type opening struct {
	cause    Cause
	at       float64
	severity Severity
	trigger  string
}

// judged is what a simulation gave.
type judged struct {
	opened []opening // each time an incident opened or got worse
	// slow is when the first request had waited a second, waited ten: when its
	// client would have given up. -1: never.
	slow, failed float64
}

func (j judged) count(cause Cause, severity Severity) int {
	n := 0
	for _, o := range j.opened {
		if o.cause == cause && o.severity == severity {
			n++
		}
	}
	return n
}

func (j judged) triggers() map[string]int {
	n := map[string]int{}
	for _, o := range j.opened {
		n[o.trigger]++
	}
	return n
}

// run plays the crowd through measure and judge: a pulse each quarter of a
// second, a focus look each second.
func (c crowd) run() judged {
	rng := rand.New(rand.NewPCG(c.seed, 1))
	m, j := measure.New(""), New(&Numbers{})
	out := judged{slow: -1, failed: -1}
	id := scope.ID{Kind: scope.KindService, Name: "web"}
	var busy []float64 // when each worker comes free, the first first
	var line []float64 // arrival times
	opens := uint64(0)
	told := map[uint64]Severity{}
	next := 0.0
	arrive := func(at float64) float64 {
		gap := 1.0
		if c.random {
			gap = rng.ExpFloat64()
		}
		return at + gap/max(c.rate(at), 1e-9)
	}
	next = arrive(0)
	serve := func(at, came float64) {
		if waited := at - came; waited >= 1 && out.slow < 0 && at >= c.from {
			out.slow = at
		}
		free := at + c.service(rng, at)
		i, _ := slices.BinarySearch(busy, free)
		busy = slices.Insert(busy, i, free)
	}
	for tick := 0; float64(tick)/4 < c.seconds; tick++ {
		at := float64(tick) / 4
		for {
			if len(busy) > 0 && busy[0] <= min(next, at) {
				free := busy[0]
				busy = busy[1:]
				if len(line) > 0 {
					serve(free, line[0])
					line = line[1:]
				}
				continue
			}
			if next > at {
				break
			}
			opens++
			if len(busy) < c.workers {
				serve(next, next)
			} else {
				line = append(line, next)
			}
			next = arrive(next)
		}
		if len(line) > 0 && at-line[0] >= 9 && out.failed < 0 && at >= c.from {
			out.failed = at
		}
		now := scenarioStart.Add(time.Duration(at * float64(time.Second)))
		y := measure.Tally{
			Scope: id, Queue: measure.Queue{Listeners: 1, Depth: uint64(len(line)), Limit: 511, Set: 1},
			Accepted: uint32(len(busy)), Unaccepted: uint32(len(line)), Busy: uint32(len(busy)),
			Capacity: measure.Capacity{Held: scope.HeldByConnection, Workers: uint32(max(0, c.limit))},
		}
		if len(line) > 0 {
			y.OldestUnaccepted = time.Duration((at - line[0]) * float64(time.Second))
		}
		y.States[tcp.Established] = y.Accepted + y.Unaccepted
		step := func(tier tcp.Tier, states tcp.StateMask, interval time.Duration) {
			look := lookAt(now, tier, states)
			if tier == tcp.Pulse {
				look.Counters.Set(tcp.PassiveOpens, opens)
				look.Counters.Set(tcp.ListenOverflows, 0)
				look.Counters.Set(tcp.SyncookiesSent, 0)
				look.Counters.Set(tcp.OutRsts, 0)
			}
			view := m.Step(now, measure.Tallies{Look: look, Interval: interval, Scopes: []measure.Tally{y, {Scope: scope.Rest}}})
			for _, inc := range j.Step(now, view) {
				if at >= c.from && inc.State == Open && inc.Peak > told[inc.ID] {
					told[inc.ID] = inc.Peak
					out.opened = append(out.opened, opening{inc.Finding.Cause, at, inc.Peak, inc.Finding.Trigger})
				}
			}
		}
		step(tcp.Pulse, tcp.ListenOnly, 250*time.Millisecond)
		if tick%4 == 0 {
			step(tcp.Focus, tcp.AllStates, time.Second)
		}
	}
	return out
}

func steadily(rate float64) func(float64) float64 { return func(float64) float64 { return rate } }

// ramp begins at 2 requests a second, as the lab's do.
func ramp(to, over float64) func(float64) float64 {
	return func(at float64) float64 { return 2 + (to-2)*min(at/over, 1) }
}

func oneSecond(*rand.Rand, float64) float64 { return 1 }

func exponential(mean float64) func(*rand.Rand, float64) float64 {
	return func(rng *rand.Rand, _ float64) float64 { return mean * rng.ExpFloat64() }
}

// TestSimulatedHealth holds the false alarms of steady crowds to the design's
// goal: at 60 % and 80 % load at most 6 watches an hour, and no warning. Where
// service times scatter widely, waits of seconds are real at 80 % load, so
// only the forecast is held to it there.
func TestSimulatedHealth(t *testing.T) {
	const hours = 4
	tests := []struct {
		name    string
		share   float64
		service func(*rand.Rand, float64) float64
		mean    float64
		quiet   bool // nobody waits: no warning of any cause
	}{
		{"60 %, 1 s each", 0.6, oneSecond, 1, true},
		{"80 %, 1 s each", 0.8, oneSecond, 1, true},
		{"60 %, 1 s on average", 0.6, exponential(1), 1, true},
		{"80 %, 1 s on average", 0.8, exponential(1), 1, false},
		{"80 %, 5 s on average", 0.8, exponential(5), 5, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := crowd{workers: 20, limit: 20, rate: steadily(20 * tt.share / tt.mean), service: tt.service, random: true, seconds: hours * 3600, seed: 11}.run()
			if watches := got.count(WorkersFilling, Watch); watches > 6*hours {
				t.Errorf("%d watches in %d h", watches, hours)
			}
			if n := got.count(WorkersFilling, Warning); n > 0 {
				t.Errorf("%d warnings of a forecast", n)
			}
			for _, o := range got.opened {
				if tt.quiet && o.severity >= Warning {
					t.Errorf("%s at %s after %.0f s: %s", o.cause, o.severity, o.at, o.trigger)
				}
			}
			t.Logf("%v", got.triggers())
		})
	}
}

// TestSimulatedStep: traffic that is moved here all at once, and fits, is no
// ramp. Chance makes some look like one: of 100 steps from 2 to 12 requests a
// second 8 were warned of.
func TestSimulatedStep(t *testing.T) {
	warned, steps := 0, 0
	for _, after := range []float64{6, 10, 14} {
		for seed := range uint64(10) {
			got := crowd{workers: 20, limit: 20, rate: func(at float64) float64 {
				if at < 120 {
					return 2
				}
				return after
			}, service: oneSecond, random: true, seconds: 400, seed: seed}.run()
			steps++
			if got.count(WorkersFilling, Warning) > 0 {
				warned++
				t.Logf("2/s, then %.0f/s, seed %d: warned", after, seed)
			}
			if n := got.count(WorkersFull, Warning) + got.count(WorkersFull, Critical); n > 0 {
				t.Errorf("2/s, then %.0f/s, seed %d: %d times full", after, seed, n)
			}
		}
	}
	if warned > steps/8 {
		t.Errorf("%d of %d steps were warned of", warned, steps)
	}
}

// TestSimulatedExhaustion holds the lead before the first failed request to
// the design's goals. Its seconds are the simulation's, not the machine's.
func TestSimulatedExhaustion(t *testing.T) {
	slowing := func(_ *rand.Rand, at float64) float64 { return 0.5 + 2.5*min(1, max(0, at-60)/120) }
	tests := []struct {
		name  string
		crowd crowd
		lead  float64 // from the first warning of any cause to the first failed request
	}{
		{"gradual", crowd{rate: ramp(26, 240), service: oneSecond, seconds: 300}, 120},
		{"gradual, random arrivals", crowd{rate: ramp(26, 240), service: oneSecond, random: true, seconds: 300, seed: 3}, 100},
		{"application slows", crowd{rate: steadily(10), service: slowing, seconds: 300}, 50},
		{"application slows, random arrivals", crowd{rate: steadily(10), service: slowing, random: true, seconds: 300, seed: 3}, 50},
		{"fast", crowd{rate: ramp(40, 20), service: oneSecond, seconds: 100}, 15},
		{"the first time, limit not known", crowd{rate: ramp(26, 240), service: oneSecond, seconds: 300, limit: -1}, 40},
		{"the second time, limit learned", crowd{rate: func(at float64) float64 {
			if at < 300 {
				return ramp(26, 240)(at)
			}
			return ramp(26, 240)(max(0, at-500))
		}, service: oneSecond, from: 480, seconds: 800, limit: -1}, 120},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := tt.crowd
			c.workers = 20
			if c.limit == 0 {
				c.limit = 20
			}
			got := c.run()
			warned := -1.0
			for _, o := range got.opened {
				if warned < 0 && o.severity >= Warning {
					warned = o.at
				}
				if o.cause != WorkersFilling && o.cause != WorkersFull {
					t.Errorf("%s opened after %.0f s", o.cause, o.at)
				}
			}
			t.Logf("warned at %.0f s, first slow %.0f s, first failed %.0f s: %v", warned, got.slow, got.failed, got.opened)
			if warned < 0 || got.failed < 0 || got.failed-warned < tt.lead {
				t.Errorf("warned at %.0f s, the first request failed at %.0f s, want %.0f s between", warned, got.failed, tt.lead)
			}
		})
	}
}

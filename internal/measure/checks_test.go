package measure

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestChecksEvery plays a backend by what each look, a second apart, sees.
func TestChecksEvery(t *testing.T) {
	kept := func() Tally { return Tally{Peer: Peer{Answering: 1}} }                        // a check on a connection that is kept
	closed := func() Tally { return Tally{Flows: Flows{New: 1}, Peer: Peer{Finished: 1}} } // one of its own
	idle := func() Tally { return Tally{} }
	each := func(n int, f func() Tally) func(int) Tally {
		return func(i int) Tally {
			if i%n == 0 {
				return f()
			}
			return idle()
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	tests := []struct {
		name  string
		sees  func(second int) Tally
		looks int
		want  float64 // 0: not known
	}{
		{"nothing", func(int) Tally { return idle() }, 100, 0},
		{"each 2 s, as HAProxy", each(2, closed), 40, 2},
		{"each 10 s on a connection that is kept", each(10, kept), 150, 10},
		{"each 30 s, as Traefik", each(30, kept), 400, 30},
		{"too few yet", each(30, kept), 200, 0},
		{"seen a look late now and then", func(i int) Tally {
			if i%10 == 0 && i%40 != 0 || i%40 == 1 {
				return kept()
			}
			return idle()
		}, 200, 10},
		{"its end is seen by the next look", func(i int) Tally {
			switch i % 5 {
			case 0:
				return Tally{Flows: Flows{New: 1}, Peer: Peer{Answering: 1}}
			case 1:
				return Tally{Peer: Peer{Finished: 1}}
			}
			return idle()
		}, 100, 5},
		{"and silence after them", func(i int) Tally {
			if i < 100 && i%5 == 0 {
				return kept()
			}
			return idle()
		}, 300, 5},
		{"a client asks once between two", func(i int) Tally {
			if i%10 == 0 || i == 96 {
				return kept()
			}
			return idle()
		}, 130, 0},
		{"two at once", each(5, func() Tally { return Tally{Peer: Peer{Answering: 2}} }), 200, 0},
		{"a request each second", func(int) Tally { return kept() }, 200, 0},
		{"requests that hang beside them", func(i int) Tally {
			y := each(5, kept)(i)
			y.Pending = 3
			return y
		}, 200, 0},
		{"a client now and then", func(int) Tally {
			if random.IntN(3) == 0 {
				return kept()
			}
			return idle()
		}, 3600, 0},
		{"a client seldom", func(int) Tally {
			if random.IntN(20) == 0 {
				return kept()
			}
			return idle()
		}, 24 * 3600, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHistory(shop()[0].ID(), newCounterHistory())
			for i := range tt.looks {
				y := tt.sees(i)
				y.Scope, y.Flows.Known, y.Flows.Since = shop()[0].ID(), true, second
				h.now = begin.Add(time.Duration(i) * second)
				h.takeChecks(&y)
				if got := h.signals.Get(ChecksEvery); tt.want == 0 && got.Validity == Known {
					t.Fatalf("after %d s: every %v s", i, got.Value)
				}
			}
			if got := h.signals.Get(ChecksEvery); tt.want != 0 && (got.Validity != Known || got.Value < tt.want-0.5 || got.Value > tt.want+0.5) {
				t.Errorf("every %v s (%s), want %v", got.Value, got.Validity, tt.want)
			}
		})
	}
}

package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// laid is what a reader sees of a snapshot.
type laid struct {
	Sequence uint64
	Age      time.Duration
	Scopes   int // of its view
}

// TestDesk: a view is only taken when somebody reads it, and nobody is given an
// old snapshot while the loop is alive.
func TestDesk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(time.Now, &api.Snapshot{At: time.Now()})
		see := func(s *api.Snapshot) laid { return laid{s.Sequence, time.Since(s.At), len(s.View.Scopes)} }
		// The loop answers after so long, with a view of so many scopes.
		answer := func(after time.Duration, scopes int) {
			go func() {
				<-d.wake
				time.Sleep(after)
				_, whole := d.due()
				s := &api.Snapshot{At: time.Now()}
				if whole {
					s.View = measure.View{Scopes: make([]measure.ScopeSignals, scopes)}
				}
				d.publish(s, whole)
			}()
		}
		check := func(what string, got, want laid) {
			t.Helper()
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got)\n%s", what, diff)
			}
		}
		check("a fresh one is there", see(d.Snapshot()), laid{0, 0, 0})

		time.Sleep(10 * publishEvery)
		answer(50*time.Millisecond, 3)
		check("an old one is made anew", see(d.Snapshot()), laid{1, 0, 3})
		time.Sleep(publishEvery / 2)
		check("and serves the next reader", see(d.Snapshot()), laid{1, publishEvery / 2, 3})

		time.Sleep(publishEvery)
		answer(0, 5)
		check("a status has the old view", see(d.Status()), laid{2, 0, 3})
		answer(0, 5)
		check("which is not good enough for who reads it", see(d.Snapshot()), laid{3, 0, 5})

		time.Sleep(publishEvery)
		check("the loop does not answer", see(d.Snapshot()), laid{3, publishEvery + answerWithin, 5})
	})
}

// TestDeskDue: who waits for the next snapshot gets one a second; otherwise the
// loop gives a sign of life.
func TestDeskDue(t *testing.T) {
	begin := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	type answer struct{ Publish, Whole bool }
	tests := []struct {
		name    string
		awaited bool
		age     time.Duration
		want    answer
	}{
		{"nobody waits", false, 2 * publishEvery, answer{}},
		{"nobody waits, a sign of life", false, aliveEvery, answer{Publish: true}},
		{"somebody waits, not yet", true, publishEvery / 2, answer{Whole: true}},
		{"somebody waits", true, publishEvery, answer{true, true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now := begin
			d := newDesk(func() time.Time { return now }, &api.Snapshot{At: begin})
			if tt.awaited {
				_ = d.Changed()
			}
			now = begin.Add(tt.age)
			var got answer
			got.Publish, got.Whole = d.due()
			if got != tt.want {
				t.Errorf("due() = %+v, want %+v", got, tt.want)
			}
		})
	}
}

// TestDeskWakes: publishing wakes who waits, once.
func TestDeskWakes(t *testing.T) {
	begin := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	d := newDesk(func() time.Time { return begin }, &api.Snapshot{At: begin})
	changed := d.Changed()
	d.publish(&api.Snapshot{At: begin, View: measure.View{Scopes: []measure.ScopeSignals{{Scope: scope.Host}}}}, true)
	select {
	case <-changed:
	default:
		t.Error("who waited was not woken")
	}
	select {
	case <-d.Changed():
		t.Error("the next snapshot is there before it was made")
	default:
	}
}

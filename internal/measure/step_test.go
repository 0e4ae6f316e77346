package measure

import (
	"math"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

var webID = scope.ID{Kind: scope.KindService, Name: "web"}

// pulse makes one pulse's tallies.
func pulse(at time.Time, depth, opens, drops uint64) Tallies {
	l := look(tcp.Request{Tier: tcp.Pulse, States: tcp.ListenOnly}, at)
	l.Counters.Set(tcp.PassiveOpens, opens)
	return Tallies{Look: l, Interval: 250 * time.Millisecond, Scopes: []Tally{
		{Scope: webID, Queue: Queue{Listeners: 1, Depth: depth, Limit: 511, Drops: drops, Set: 1}},
		{Scope: scope.Rest},
	}}
}

func focus(at time.Time, y Tally) Tallies {
	y.Scope = webID
	return Tallies{Look: look(tcp.Request{Tier: tcp.Focus, States: tcp.AllStates, Info: true, Filter: tcp.Filter{LocalPorts: []uint16{80}}}, at),
		Interval: time.Second, Scopes: []Tally{y}}
}

func TestQueueWait(t *testing.T) {
	// 20 connections a second come, 15 are taken: after 12 s 60 wait, and the
	// newest of them waits 60 ÷ 15 = 4 s.
	m := New("")
	var v *View
	for i := range 49 {
		at := begin.Add(time.Duration(i) * 250 * time.Millisecond)
		v = m.Step(at, pulse(at, uint64(i*5/4), uint64(i*5), 0))
	}
	got := v.Scope(webID).Get(QueueWait)
	if got.Validity != Known || math.Abs(got.Value-4) > 0.3 {
		t.Errorf("queue wait %+v, want 4 s", got)
	}
	if rate := v.Scope(scope.Host).Get(AcceptsRate); math.Abs(rate.Value-15) > 1 {
		t.Errorf("accept rate %+v, want 15/s", rate)
	}
}

func TestQueueWaitTakesTheLargestLowerBound(t *testing.T) {
	// Another service of the namespace takes 1,000 a second, so the rate says
	// little about this one; the oldest in its queue says 6 s.
	m := New("")
	for i := range 20 {
		at := begin.Add(time.Duration(i) * 250 * time.Millisecond)
		m.Step(at, pulse(at, 40, uint64(i*250), 0))
	}
	at := begin.Add(5 * time.Second)
	m.Step(at, focus(at, Tally{Unaccepted: 40, OldestUnaccepted: 6 * time.Second}))
	v := m.Step(at, pulse(at, 40, 5000, 0))
	if got := v.Scope(webID).Get(QueueWait); got.Value != 6 {
		t.Errorf("queue wait %+v, want 6 s", got)
	}
}

func TestUnknownIsNeverZero(t *testing.T) {
	m := New("")
	at := begin
	v := m.Step(at, pulse(at, 5, 0, 0))
	if got := v.Scope(webID).Get(QueueWait).Validity; got != NotEnough {
		t.Errorf("queue wait after one look: %v, want not enough", got)
	}
	if got := v.Scope(webID).Get(Accepted).Validity; got != NeverSeen {
		t.Errorf("accepted before any focus look: %v, want never seen", got)
	}
	m.Step(at, focus(at, Tally{Accepted: 3}))
	// An interrupted look is no look.
	partial := focus(at.Add(time.Second), Tally{Accepted: 1})
	partial.Look.Completeness = tcp.Interrupted
	v = m.Step(at.Add(time.Second), partial)
	if got := v.Scope(webID).Get(Accepted); got.Value != 3 || got.Validity != Known {
		t.Errorf("accepted after an interrupted look: %+v, want the 3 from before", got)
	}
	v = m.Step(at.Add(2600*time.Millisecond), partial)
	if got := v.Scope(webID).Get(Accepted).Validity; got != Stale {
		t.Errorf("accepted 2.6 intervals later: %v, want stale", got)
	}
	// A listener that closed has no queue.
	none := pulse(at.Add(3*time.Second), 0, 0, 0)
	none.Scopes[0].Queue = Queue{}
	v = m.Step(at.Add(3*time.Second), none)
	if got := v.Scope(webID).Get(QueueWait).Validity; got != NoListener {
		t.Errorf("queue wait without a listener: %v, want no listener", got)
	}
	// A scope that is gone is gone.
	none.Scopes = none.Scopes[1:]
	if v = m.Step(at.Add(4*time.Second), none); v.Scope(webID) != nil {
		t.Error("the view still has a scope that no look covers")
	}
}

func TestDropsOfAnotherListenerAreNotOurs(t *testing.T) {
	m := New("")
	at := begin
	m.Step(at, pulse(at, 1, 0, 1000))
	next := pulse(at.Add(time.Second), 1, 0, 5)
	next.Scopes[0].Queue.Set = 2 // restarted: another listener with its own count
	m.Step(at.Add(time.Second), next)
	next = pulse(at.Add(2*time.Second), 1, 0, 7)
	next.Scopes[0].Queue.Set = 2
	v := m.Step(at.Add(2*time.Second), next)
	if got := v.Scope(webID).Get(ListenDropsRate); got.Samples != 2 || got.Value != 1 {
		t.Errorf("drops %+v, want the 2 of the new listener", got)
	}
}

func TestCountersThatStartAnew(t *testing.T) {
	m := New("")
	var v *View
	opens := []uint64{100, 200, 300, 5, 10, 15, 20, 25}
	for i, n := range opens {
		at := begin.Add(time.Duration(i) * 500 * time.Millisecond)
		v = m.Step(at, pulse(at, 0, n, 0))
	}
	if got := v.Scope(scope.Host).Get(PassiveOpensRate); got.Value != 10 || got.Samples != 20 {
		t.Errorf("rate over a reset %+v, want the 10/s since", got)
	}
}

func TestWindowSlope(t *testing.T) {
	w := NewWindow(60*time.Second, 256)
	for i := range 120 {
		w.Add(begin.Add(time.Duration(i)*time.Second), 3+0.5*float64(i))
	}
	trend, ok := w.Trend()
	if !ok || math.Abs(trend.PerSecond-0.5) > 1e-9 || trend.Error > 1e-6 {
		t.Errorf("slope %+v, %v; want 0.5", trend, ok)
	}
	if c := w.Covers(); c < 60*time.Second || c > 61*time.Second {
		t.Errorf("window covers %v, want 60 s", c)
	}
	w.Reset()
	if _, ok := w.Trend(); ok {
		t.Error("a slope without samples")
	}
}

func TestUsual(t *testing.T) {
	var u Usual
	for i := range 200 {
		if u.Unusual(float64(10 + i%3)) {
			t.Fatalf("sample %d of a steady rate is unusual", i)
		}
	}
	if !u.Unusual(40) {
		t.Error("four times the usual rate is not unusual")
	}
}

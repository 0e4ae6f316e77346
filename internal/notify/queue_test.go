package notify

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var errDown = errors.New("down")

func chance() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

func letterOf(incident uint64, sequence int) Notice {
	return Notice{Incidents: []Item{{Incident: incident, Sequence: sequence}}, Key: fmt.Sprintf("%d.%d", incident, sequence)}
}

func put(q *queue, now time.Time, n Notice) []outcome {
	return q.push(letter{notice: n, queuedAt: now})
}

// TestQueueKeepsOrder runs queues against receivers that fail at random: notices
// are tried in the order in which they came, each ends exactly once, none is lost,
// and no more are delivered within an hour than the rate allows. Some come out of
// the store, at any time.
func TestQueueKeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		latest := rapid.Bool().Draw(t, "latest only")
		q := &queue{
			latestOnly: latest, limit: rapid.IntRange(2, 8).Draw(t, "limit"), giveUp: GiveUpAfter,
			perHour: rapid.IntRange(0, 3).Draw(t, "rate"),
		}
		random, now := chance(), epoch
		place := map[string]int{} // of each notice in the order in which they came
		var pushed []string       // the same, by place
		ends := map[string]State{}
		lastTried := map[uint64]int{} // place; of each incident where the latest only counts
		var delivered []time.Time
		note := func(all []outcome) {
			for _, o := range all {
				if was, twice := ends[o.notice.Key]; twice {
					t.Fatalf("%s is %s, and was %s", o.notice.Key, o.state, was)
				}
				ends[o.notice.Key] = o.state
			}
		}
		made := func() Notice {
			n := letterOf(rapid.Uint64Range(1, 3).Draw(t, "incident"), len(pushed)+1)
			place[n.Key] = len(pushed)
			pushed = append(pushed, n.Key)
			return n
		}
		var flying *Notice
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				l := letter{notice: made(), queuedAt: now}
				if rapid.Bool().Draw(t, "held") {
					l.heldUntil = now.Add(KeepWithin)
				}
				note(q.push(l))
			case 1:
				n, at, ok := q.take(now)
				thread := uint64(0)
				if latest {
					thread = n.thread()
				}
				switch {
				case !ok && !at.IsZero() && !at.After(now):
					t.Fatalf("nothing to send, and it was due at %s", at)
				case !ok:
				case flying != nil:
					t.Fatal("two at once")
				case place[n.Key] < lastTried[thread]:
					t.Fatalf("%s is tried after %s", n.Key, pushed[lastTried[thread]])
				default:
					flying, lastTried[thread] = &n, place[n.Key]
				}
			case 2:
				if flying == nil {
					continue
				}
				err := rapid.SampledFrom([]error{nil, nil, errDown, &Refusal{Words: "no"}, &Refusal{Words: "no", ForGood: true}, &Refusal{Words: "later", Outage: true, RetryAfter: time.Minute}}).Draw(t, "answer")
				note(q.settle(now, err, random))
				if flying = nil; err == nil {
					if delivered = append(delivered, now); q.perHour > 0 && len(delivered) > q.perHour && now.Sub(delivered[len(delivered)-1-q.perHour]) < ratePer {
						t.Fatalf("more than %d within an hour: %v", q.perHour, delivered)
					}
				}
			case 3:
				now = now.Add(time.Duration(rapid.IntRange(0, 8000).Draw(t, "pass")) * time.Second)
			case 4: // what did not fit comes back, behind what is here
				if len(q.letters) > 0 && q.find(pushed[len(pushed)-1]) < 0 {
					continue
				}
				stored := slices.Clone(q.letters)
				for range rapid.IntRange(0, 3).Draw(t, "stored") {
					stored = append(stored, letter{notice: made(), queuedAt: now})
				}
				note(q.restore(stored))
			}
			if !slices.IsSortedFunc(q.letters, func(a, b letter) int { return place[a.notice.Key] - place[b.notice.Key] }) && !latest {
				t.Fatalf("out of order: %v", q.letters)
			}
		}
		for _, l := range q.letters {
			note([]outcome{{l, "", nil}})
		}
		if len(ends) != len(pushed) {
			t.Fatalf("%d went in, %d are accounted for", len(pushed), len(ends))
		}
	})
}

// TestQueueSupersedes: only what is being sent is not replaced, and then gives way
// when it fails.
func TestQueueSupersedes(t *testing.T) {
	q := &queue{latestOnly: true, limit: 10, giveUp: GiveUpAfter}
	put(q, at(0), letterOf(1, 1))
	put(q, at(0), letterOf(2, 1))
	first, _, _ := q.take(at(0))
	got := []string{"flying " + first.Key}
	note := func(all []outcome) {
		for _, o := range all {
			got = append(got, fmt.Sprintf("%s %s", o.notice.Key, o.state))
		}
	}
	for _, n := range []Notice{letterOf(1, 2), letterOf(1, 3), letterOf(2, 2)} {
		note(put(q, at(1), n))
	}
	note(q.settle(at(2), errDown, chance()))
	got = append(got, keys(q)...)
	want := []string{"flying 1.1", "1.2 superseded", "2.1 superseded", "1.1 superseded", "2.2", "1.3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// keys are what is in a queue.
func keys(q *queue) []string {
	var out []string
	for _, l := range q.letters {
		out = append(out, l.notice.Key)
	}
	return out
}

// TestQueueOverflow: the oldest is lost, and said to be.
func TestQueueOverflow(t *testing.T) {
	q := &queue{limit: 2}
	put(q, at(0), letterOf(1, 1))
	put(q, at(0), letterOf(2, 1))
	q.take(at(0)) // 1.1 is on its way: it stays
	ended := put(q, at(1), letterOf(3, 1))
	if len(ended) != 1 || ended[0].notice.Key != "2.1" || ended[0].state != Undelivered || !errors.Is(ended[0].err, errOverflow) {
		t.Errorf("ended: %+v", ended)
	}
}

// TestQueueRestores: what comes out of the store goes before, between or behind
// what is here, as the store has it.
func TestQueueRestores(t *testing.T) {
	row := func(i int) letter { return letter{notice: letterOf(uint64(i), 1), queuedAt: at(0)} }
	for _, x := range []struct {
		name   string
		here   []int
		stored []int
		latest bool
		want   []string
	}{
		{"at the start", nil, []int{1, 2}, false, []string{"1.1", "2.1"}},
		{"opened late", []int{3, 4}, []int{1, 2, 3, 4}, false, []string{"1.1", "2.1", "3.1", "4.1"}},
		{"room again", []int{1, 2}, []int{1, 2, 3, 4}, false, []string{"1.1", "2.1", "3.1", "4.1"}},
		{"between", []int{1, 4}, []int{1, 2, 3, 4, 5}, false, []string{"1.1", "2.1", "3.1", "4.1", "5.1"}},
		{"one here is not written", []int{1, 9}, []int{1, 2}, false, []string{"1.1", "2.1", "9.1"}},
		{"the store knows older ones of an incident", []int{3}, []int{3, 3}, true, []string{"3.1"}},
	} {
		q := &queue{latestOnly: x.latest, limit: 10}
		for _, i := range x.here {
			q.push(row(i))
		}
		var stored []letter
		for _, i := range x.stored {
			stored = append(stored, row(i))
		}
		q.restore(stored)
		if diff := cmp.Diff(x.want, keys(q)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", x.name, diff)
		}
	}
}

// TestQueueOutages plays receivers that fail for a long time, by a clock of its
// own: what holds up the first holds up all, for as long as the kind of failure
// allows.
func TestQueueOutages(t *testing.T) {
	busy := &Refusal{Words: "503", Outage: true}
	for _, x := range []struct {
		name   string
		fails  func(n *Notice, since time.Duration) error
		giveUp time.Duration
		want   []string // in the order of their ends, with the hour
	}{
		{"down for 23 hours", func(_ *Notice, since time.Duration) error {
			if since < 23*time.Hour {
				return errDown
			}
			return nil
		}, GiveUpAfter, []string{"1.1 delivered 23", "2.1 delivered 23", "3.1 delivered 23"}},
		{"busy for 25 hours: what came an hour later is delivered", func(_ *Notice, since time.Duration) error {
			if since < 25*time.Hour {
				return busy
			}
			return nil
		}, GiveUpAfter, []string{"1.1 undelivered 24", "2.1 undelivered 24", "3.1 delivered 25"}},
		{"a channel that gives up early", func(*Notice, time.Duration) error { return errDown }, 2 * time.Hour, []string{"1.1 undelivered 2", "2.1 undelivered 2", "3.1 undelivered 4"}},
		{"one is answered with an error: the next waits for an hour", func(n *Notice, _ time.Duration) error {
			if n.Key == "1.1" {
				return &Refusal{Words: "500"}
			}
			return nil
		}, GiveUpAfter, []string{"1.1 undelivered 1", "2.1 delivered 1", "3.1 delivered 2"}},
		{"one is refused for good: the next goes at once", func(n *Notice, _ time.Duration) error {
			if n.Key == "1.1" {
				return &Refusal{Words: "400", ForGood: true}
			}
			return nil
		}, GiveUpAfter, []string{"1.1 undelivered 0", "2.1 delivered 0", "3.1 delivered 2"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			q := &queue{limit: 10, giveUp: x.giveUp}
			put(q, epoch, letterOf(1, 1))
			put(q, epoch, letterOf(2, 1))
			random := chance()
			var got []string
			late := letterOf(3, 1)
			for now := epoch; now.Before(epoch.Add(30 * time.Hour)); {
				if late.Key != "" && !now.Before(epoch.Add(2*time.Hour)) {
					put(q, now, late)
					late.Key = ""
				}
				n, due, ok := q.take(now)
				if !ok {
					if due.IsZero() || due.After(now.Add(time.Minute)) {
						due = now.Add(time.Minute)
					}
					now = due
					continue
				}
				for _, o := range q.settle(now, x.fails(&n, now.Sub(epoch)), random) {
					got = append(got, fmt.Sprintf("%s %s %d", o.notice.Key, o.state, int(now.Sub(epoch).Hours())))
				}
			}
			if diff := cmp.Diff(x.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestQueueRate: what is over the rate waits, in its order, and goes as the hour
// passes.
func TestQueueRate(t *testing.T) {
	q := &queue{limit: 10, giveUp: GiveUpAfter, perHour: 2}
	for i := range 5 {
		put(q, at(0), letterOf(uint64(i), 1))
	}
	var got []string
	for now := at(0); len(q.letters) > 0; {
		n, due, ok := q.take(now)
		if !ok {
			now = due
			continue
		}
		got = append(got, fmt.Sprintf("%s after %s", n.Key, now.Sub(at(0))))
		now = now.Add(time.Minute)
		q.settle(now, nil, chance())
	}
	want := []string{"0.1 after 0s", "1.1 after 1m0s", "2.1 after 1h1m0s", "3.1 after 1h2m0s", "4.1 after 2h2m0s"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBackOff(t *testing.T) {
	random := chance()
	for attempts, full := range map[int]time.Duration{
		1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 6: 32 * time.Second, 7: time.Minute, 8: time.Minute, 100000: time.Minute,
	} {
		spread := map[time.Duration]bool{}
		for range 100 {
			got := backOff(attempts, random)
			if got < full/2 || got > full {
				t.Errorf("after %d attempts %s, want between %s and %s", attempts, got, full/2, full)
			}
			spread[got] = true
		}
		if len(spread) < 50 {
			t.Errorf("after %d attempts only %d different waits in 100", attempts, len(spread))
		}
	}
}

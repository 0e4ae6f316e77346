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

// TestQueueKeepsOrder runs queues against receivers that fail at random: the
// notices of an incident are tried and delivered in order, each ends exactly
// once, and none is lost.
func TestQueueKeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		latest := rapid.Bool().Draw(t, "latest only")
		q := &queue{latestOnly: latest, limit: rapid.IntRange(2, 8).Draw(t, "limit")}
		random, now := chance(), epoch
		next, delivered := map[uint64]int{}, map[uint64]int{}
		pushed, ends := []string{}, map[string]State{}
		ended := func(o outcome) {
			if was, twice := ends[o.notice.Key]; twice {
				t.Fatalf("%s is %s, and was %s", o.notice.Key, o.state, was)
			}
			ends[o.notice.Key] = o.state
		}
		var flying *Notice
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				id := rapid.Uint64Range(1, 3).Draw(t, "incident")
				next[id]++
				n := letterOf(id, next[id])
				pushed = append(pushed, n.Key)
				for _, o := range q.push(now, n) {
					ended(o)
				}
			case 1:
				if n, at, ok := q.take(now); ok {
					if flying != nil {
						t.Fatal("two at once")
					}
					if i := n.Incidents[0]; i.Sequence <= delivered[i.Incident] {
						t.Fatalf("%s is tried after %d was delivered", n.Key, delivered[n.thread()])
					}
					flying = &n
				} else if !at.IsZero() && !at.After(now) {
					t.Fatalf("nothing to send, and it was due at %s", at)
				}
			case 2:
				if flying == nil {
					continue
				}
				err := rapid.SampledFrom([]error{nil, errDown, &Refusal{Words: "no", ForGood: true}, &Refusal{Words: "later", RetryAfter: time.Minute}}).Draw(t, "answer")
				if o, end := q.settle(now, err, random); end {
					ended(o)
				}
				if err == nil {
					delivered[flying.thread()] = flying.Incidents[0].Sequence
				}
				flying = nil
			case 3:
				now = now.Add(time.Duration(rapid.IntRange(0, 4000).Draw(t, "pass")) * time.Second)
			}
			if len(q.letters) > q.limit {
				t.Fatalf("%d queued, above the limit of %d", len(q.letters), q.limit)
			}
		}
		for _, l := range q.letters {
			ended(outcome{l, "", nil})
		}
		if len(ends) != len(pushed) {
			t.Fatalf("%d went in, %d are accounted for", len(pushed), len(ends))
		}
	})
}

func TestQueueSupersedes(t *testing.T) {
	q := &queue{latestOnly: true, limit: 10}
	q.push(at(0), letterOf(1, 1))
	q.push(at(0), letterOf(2, 1))
	first, _, _ := q.take(at(0))
	got := []string{"flying " + first.Key}
	for _, n := range []Notice{letterOf(1, 2), letterOf(1, 3), letterOf(2, 2)} {
		for _, o := range q.push(at(1), n) {
			got = append(got, fmt.Sprintf("%s %s", o.notice.Key, o.state))
		}
	}
	o, _ := q.settle(at(2), errDown, chance())
	got = append(got, fmt.Sprintf("%s %s", o.notice.Key, o.state))
	for _, l := range q.letters {
		got = append(got, fmt.Sprintf("%s after %d attempts", l.notice.Key, l.attempts))
	}
	want := []string{"flying 1.1", "1.2 superseded", "2.1 superseded", "1.1 superseded", "2.2 after 0 attempts", "1.3 after 1 attempts"}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestQueueOverflow: the oldest is lost, and said to be.
func TestQueueOverflow(t *testing.T) {
	q := &queue{limit: 2}
	q.push(at(0), letterOf(1, 1))
	q.push(at(0), letterOf(2, 1))
	q.take(at(0)) // 1.1 is on its way: it stays
	ended := q.push(at(1), letterOf(3, 1))
	if len(ended) != 1 || ended[0].notice.Key != "2.1" || ended[0].state != Undelivered || !errors.Is(ended[0].err, errOverflow) {
		t.Errorf("ended: %+v", ended)
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

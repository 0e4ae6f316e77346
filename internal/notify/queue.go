package notify

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"
)

// How hard delivery is tried.
const (
	// GiveUpAfter is for how long a notice is tried that a receiver's outage
	// holds up, unless its channel says otherwise. Then it is undelivered.
	GiveUpAfter = 24 * time.Hour
	// AnsweredFor is for how long a notice is tried that is answered with an
	// error: the operator may put right a key or an address within the hour,
	// and one that the receiver cannot take must not hold up the rest for a day.
	AnsweredFor = time.Hour
	// KeepWithin is how long a notice waits to be written before it goes without.
	KeepWithin = time.Second
	// MaxQueued bounds each receiver's queue in memory. A notice is a few
	// kilobytes.
	MaxQueued = 1000

	firstRetry = time.Second
	// maxRetry: a receiver that is back is told within a minute.
	maxRetry = time.Minute
	// ratePer is what a channel's rate counts over.
	ratePer = time.Hour
)

// State is how a notice's way ended.
type State string

// The ends.
const (
	Delivered   State = "delivered"
	Undelivered State = "undelivered" // given up
	Superseded  State = "superseded"  // a newer state of the same incident went in its place
)

// letter is a notice in a queue.
type letter struct {
	notice   Notice
	queuedAt time.Time
	// heldUntil: it is being written, and waits that long for it; zero when it
	// waits no more.
	heldUntil time.Time
	attempts  int
	// answeredAt is when it was answered with an error first; zero for never.
	answeredAt time.Time
	problem    error // of the last attempt
}

// outcome is the end of a letter's way. err says why it was not delivered.
type outcome struct {
	letter
	state State
	err   error
}

// Why notices are undelivered that no attempt failed for.
var (
	errOverflow = errors.New("the queue was full, and newer notices came")
	errRemoved  = errors.New("the receiver was taken out of the configuration")
)

// queue is the letters to one receiver. It is pure: time and chance are
// arguments. Letters leave it in the order in which they came: what holds up the
// first holds up all.
type queue struct {
	// latestOnly: a newer state of an incident takes an older one's place.
	latestOnly bool
	limit      int
	giveUp     time.Duration // GiveUpAfter, or the channel's own
	perHour    int           // deliveries within ratePer; 0 is any number
	letters    []letter
	// flying is the key of the notice that is being sent; empty when none is.
	flying string
	// failures counts attempts in a row that failed, pausedUntil is when the next
	// one is due: for the back-off, or as the receiver asked.
	failures    int
	pausedUntil time.Time
	sent        []time.Time // the last perHour deliveries
}

// push adds a letter and returns those that it puts to an end.
func (q *queue) push(l letter) []outcome {
	if q.latestOnly {
		if i := slices.IndexFunc(q.letters, func(o letter) bool { return q.supersedes(&l, &o) }); i >= 0 {
			old := q.letters[i]
			q.letters[i] = l
			return []outcome{{old, Superseded, nil}}
		}
	}
	var ended []outcome
	if len(q.letters) >= q.limit {
		// The oldest goes: people need to hear of what is wrong now.
		i := slices.IndexFunc(q.letters, func(o letter) bool { return o.notice.Key != q.flying })
		if i < 0 {
			return []outcome{{l, Undelivered, errOverflow}}
		}
		ended = append(ended, q.remove(i, Undelivered, errOverflow))
	}
	q.letters = append(q.letters, l)
	return ended
}

// supersedes reports whether a newer letter takes the place of an older one.
func (q *queue) supersedes(newer, older *letter) bool {
	return newer.notice.about(&older.notice) && older.notice.Key != q.flying
}

func (q *queue) remove(i int, state State, err error) outcome {
	l := q.letters[i]
	q.letters = slices.Delete(q.letters, i, i+1)
	return outcome{l, state, err}
}

func (q *queue) find(key string) int {
	return slices.IndexFunc(q.letters, func(l letter) bool { return l.notice.Key == key })
}

// restore adds letters of before, each where it belongs: stored is in its order,
// and names those that are here too, which stay as they are.
func (q *queue) restore(stored []letter) []outcome {
	out := make([]letter, 0, len(q.letters)+len(stored))
	next := 0 // of those that are here
	for _, l := range stored {
		i := q.find(l.notice.Key)
		if i < 0 {
			out = append(out, l)
		}
		for ; next <= i; next++ {
			out = append(out, q.letters[next])
		}
	}
	q.letters = append(out, q.letters[next:]...)
	if !q.latestOnly {
		return nil
	}
	var ended []outcome
	for i := 0; i < len(q.letters); {
		old := &q.letters[i]
		if slices.ContainsFunc(q.letters[i+1:], func(l letter) bool { return q.supersedes(&l, old) }) {
			ended = append(ended, q.remove(i, Superseded, nil))
		} else {
			i++
		}
	}
	return ended
}

// unhold lets a letter go that was being written.
func (q *queue) unhold(key string) {
	if i := q.find(key); i >= 0 {
		q.letters[i].heldUntil = time.Time{}
	}
}

// take returns the first notice and marks it as flying, when it is due. Where it
// is not, at is when to ask again; zero: after the next change.
func (q *queue) take(now time.Time) (n Notice, at time.Time, ok bool) {
	if q.flying != "" || len(q.letters) == 0 {
		return Notice{}, time.Time{}, false
	}
	first := &q.letters[0]
	for _, t := range []time.Time{first.heldUntil, q.pausedUntil, q.freeAt()} {
		if t.After(at) {
			at = t
		}
	}
	if at.After(now) {
		return Notice{}, at, false
	}
	q.flying = first.notice.Key
	return first.notice, time.Time{}, true
}

// freeAt is when the rate allows the next delivery; zero for at once.
func (q *queue) freeAt() time.Time {
	if q.perHour == 0 || len(q.sent) < q.perHour {
		return time.Time{}
	}
	return q.sent[len(q.sent)-q.perHour].Add(ratePer)
}

// settle says how sending the flying notice went, and returns what ended with
// it: itself, and in an outage whatever has waited for too long.
func (q *queue) settle(now time.Time, err error, random *rand.Rand) []outcome {
	i := q.find(q.flying)
	q.flying = ""
	if i < 0 {
		return nil // its queue was emptied meanwhile
	}
	l := &q.letters[i]
	l.attempts++
	l.problem = err
	if err == nil {
		q.failures, q.pausedUntil = 0, time.Time{}
		if q.perHour > 0 {
			q.sent = append(q.sent[max(0, len(q.sent)-q.perHour+1):], now)
		}
		return []outcome{q.remove(i, Delivered, nil)}
	}
	refusal, _ := errors.AsType[*Refusal](err)
	if refusal != nil && refusal.ForGood {
		q.failures, q.pausedUntil = 0, time.Time{} // it answers: others may be taken
	} else {
		q.failures++
		wait := backOff(q.failures, random)
		if refusal != nil {
			wait = max(wait, refusal.RetryAfter)
		}
		q.pausedUntil = now.Add(wait)
	}
	if q.latestOnly && slices.ContainsFunc(q.letters[i+1:], func(o letter) bool { return o.notice.about(&l.notice) }) {
		return []outcome{q.remove(i, Superseded, nil)}
	}
	switch {
	case refusal == nil || refusal.Outage:
		return q.expire(now, err)
	case l.answeredAt.IsZero():
		l.answeredAt = now
	}
	if refusal.ForGood || now.Sub(l.answeredAt) >= AnsweredFor || now.Sub(l.queuedAt) >= q.giveUp {
		return []outcome{q.remove(i, Undelivered, err)}
	}
	return nil
}

// expire gives up what an outage has held for too long.
func (q *queue) expire(now time.Time, err error) []outcome {
	var ended []outcome
	for i := 0; i < len(q.letters); {
		if now.Sub(q.letters[i].queuedAt) >= q.giveUp {
			ended = append(ended, q.remove(i, Undelivered, err))
		} else {
			i++
		}
	}
	return ended
}

// release puts the flying notice back as if it had not been tried: we stopped,
// not the receiver.
func (q *queue) release() { q.flying = "" }

// hurry makes the first due now, for a receiver that is said to be better.
func (q *queue) hurry() {
	q.failures, q.pausedUntil = 0, time.Time{}
	for i := range q.letters {
		q.letters[i].answeredAt = time.Time{}
	}
}

// drop gives up one letter, unless it is being sent or not here.
func (q *queue) drop(key string, why error) (outcome, bool) {
	i := q.find(key)
	if i < 0 || key == q.flying {
		return outcome{}, false
	}
	return q.remove(i, Undelivered, why), true
}

// empty ends everything that waits.
func (q *queue) empty(why error) []outcome {
	out := make([]outcome, 0, len(q.letters))
	for _, l := range q.letters {
		out = append(out, outcome{l, Undelivered, why})
	}
	q.letters = nil
	return out
}

// backOff is how long to wait after so many failures: doubling from firstRetry
// to maxRetry, and of that a random share between a half and all, so that many
// hosts do not come back at once.
func backOff(failures int, random *rand.Rand) time.Duration {
	wait := maxRetry
	if shift := failures - 1; shift < 6 {
		wait = min(maxRetry, firstRetry<<max(shift, 0))
	}
	return wait/2 + time.Duration(random.Int64N(int64(wait/2)+1))
}

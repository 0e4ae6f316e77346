package notify

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"
)

// How hard delivery is tried.
const (
	// GiveUpAfter is how long a notice is tried before it is undelivered.
	GiveUpAfter = time.Hour
	// MaxQueued bounds each receiver's queue. A notice is a few kilobytes.
	MaxQueued = 1000

	firstRetry = time.Second
	// maxRetry: a receiver that is back is told within a minute.
	maxRetry = time.Minute
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
	attempts int
	next     time.Time // not to be tried before
	problem  error     // of the last attempt
}

// outcome is the end of a letter's way. err says why it was not delivered.
type outcome struct {
	letter
	state State
	err   error
}

// errOverflow is why a notice is lost to newer ones.
var errOverflow = errors.New("the queue was full, and newer notices came")

// queue is the letters to one receiver. It is pure: time and chance are
// arguments. The notices of one incident leave it in their order; different
// incidents do not wait for each other, so that one notice that a receiver
// cannot take does not hold up the rest.
type queue struct {
	// latestOnly: a newer state of an incident takes an older one's place.
	latestOnly bool
	limit      int
	letters    []letter // in the order of arrival
	// flying is the key of the notice that is being sent; empty when none is.
	flying string
	// pausedUntil is what the receiver asked for; zero when it asked nothing.
	pausedUntil time.Time
}

// push adds a notice and returns those that it puts to an end.
func (q *queue) push(now time.Time, n Notice) []outcome {
	var ended []outcome
	l := letter{notice: n, queuedAt: now, next: now}
	if q.latestOnly {
		if i := slices.IndexFunc(q.letters, func(o letter) bool {
			return o.notice.about(&n) && o.notice.Key != q.flying
		}); i >= 0 {
			old := q.letters[i]
			// The receiver is no better for the news: its back-off stays.
			l.attempts, l.next, l.problem = old.attempts, old.next, old.problem
			q.letters[i] = l
			return append(ended, outcome{old, Superseded, nil})
		}
	}
	if len(q.letters) >= q.limit {
		// The oldest goes: people need to hear of what is wrong now.
		i := slices.IndexFunc(q.letters, func(o letter) bool { return o.notice.Key != q.flying })
		if i < 0 {
			return append(ended, outcome{l, Undelivered, errOverflow})
		}
		ended = append(ended, outcome{q.letters[i], Undelivered, errOverflow})
		q.letters = slices.Delete(q.letters, i, i+1)
	}
	q.letters = append(q.letters, l)
	return ended
}

// take returns the notice to send now and marks it as flying. Without one, at
// is when to ask again; zero: after the next push.
func (q *queue) take(now time.Time) (n Notice, at time.Time, ok bool) {
	if q.flying != "" {
		return Notice{}, time.Time{}, false
	}
	best := -1
	first := make(map[uint64]bool, len(q.letters))
	for i := range q.letters {
		l := &q.letters[i]
		if first[l.notice.thread()] {
			continue // an earlier one of the same incident goes first
		}
		first[l.notice.thread()] = true
		if best < 0 || l.next.Before(q.letters[best].next) {
			best = i
		}
	}
	if best < 0 {
		return Notice{}, time.Time{}, false
	}
	at = q.letters[best].next
	if q.pausedUntil.After(at) {
		at = q.pausedUntil
	}
	if at.After(now) {
		return Notice{}, at, false
	}
	q.flying = q.letters[best].notice.Key
	return q.letters[best].notice, time.Time{}, true
}

// settle says how sending the flying notice went, and returns its end if it
// has one.
func (q *queue) settle(now time.Time, err error, random *rand.Rand) (outcome, bool) {
	i := slices.IndexFunc(q.letters, func(l letter) bool { return l.notice.Key == q.flying })
	q.flying = ""
	if i < 0 {
		return outcome{}, false // its queue was emptied meanwhile
	}
	l := q.letters[i]
	end := func(state State, err error) (outcome, bool) {
		q.letters = slices.Delete(q.letters, i, i+1)
		return outcome{l, state, err}, true
	}
	l.attempts++
	if err == nil {
		return end(Delivered, nil)
	}
	l.problem = err
	refusal, _ := errors.AsType[*Refusal](err)
	if refusal != nil && refusal.RetryAfter > 0 {
		q.pausedUntil = now.Add(refusal.RetryAfter)
	}
	if q.latestOnly {
		if j := slices.IndexFunc(q.letters[i+1:], func(o letter) bool { return o.notice.about(&l.notice) }); j >= 0 {
			newer := &q.letters[i+1+j]
			newer.attempts, newer.next, newer.problem = l.attempts, now.Add(backOff(l.attempts, random)), err
			return end(Superseded, nil)
		}
	}
	if refusal != nil && refusal.ForGood || now.Sub(l.queuedAt) >= GiveUpAfter {
		return end(Undelivered, err)
	}
	l.next = now.Add(backOff(l.attempts, random))
	q.letters[i] = l
	return outcome{}, false
}

// release puts the flying notice back as if it had not been tried: we stopped,
// not the receiver.
func (q *queue) release() { q.flying = "" }

// hurry makes everything due now, for a receiver that is said to be better.
func (q *queue) hurry(now time.Time) {
	q.pausedUntil = time.Time{}
	for i := range q.letters {
		q.letters[i].next, q.letters[i].attempts = now, 0
	}
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

// backOff is how long to wait after so many attempts: doubling from
// firstRetry to maxRetry, and of that a random share between a half and all,
// so that many hosts do not come back at once.
func backOff(attempts int, random *rand.Rand) time.Duration {
	wait := maxRetry
	if shift := attempts - 1; shift < 6 {
		wait = min(maxRetry, firstRetry<<max(shift, 0))
	}
	return wait/2 + time.Duration(random.Int64N(int64(wait/2)+1))
}

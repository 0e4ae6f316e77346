package history

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func notice(key, channel string) OutboxRow {
	return OutboxRow{Key: key, Channel: channel, Kind: "webhook", CreatedAt: start, Notice: []byte(`{"key":"` + key + `"}`)}
}

// told are the keys of rows with their states.
func told(rows []OutboxRow) string {
	var out []string
	for i := range rows {
		out = append(out, rows[i].Key+" "+rows[i].State)
	}
	return strings.Join(out, ", ")
}

// waiting is what waits for ops.
func waiting(t *testing.T, s *Store) []OutboxRow {
	t.Helper()
	out, err := s.Waiting("ops", "webhook", 1000)
	need(t, err)
	return out
}

// TestOutbox: what is accepted waits in its order over a restart, once for each
// channel, until it ends; what was given up is there, the newest first.
func TestOutbox(t *testing.T) {
	c, dir := &times{wall: start}, t.TempDir()
	s := opened(t, dir, c.config())
	need(t, s.Accept([]OutboxRow{notice("a", "ops"), notice("b", "ops"), notice("a", "mail")}))
	need(t, s.Accept([]OutboxRow{notice("b", "ops"), notice("c", "ops"), notice("d", "ops")}))
	c.pass(90 * time.Second)
	need(t, s.EndNotice(OutboxEnd{Key: "a", Channel: "ops", State: "delivered", At: c.wall, Attempts: 1}))
	need(t, s.EndNotice(OutboxEnd{Key: "b", Channel: "ops", State: Undelivered, At: c.wall, Attempts: 3, Error: "down"}))
	need(t, s.EndNotice(OutboxEnd{Key: "d", Channel: "ops", Forget: true}))
	need(t, s.EndNotice(OutboxEnd{Key: "never", Channel: "ops", State: "delivered"}))
	need(t, s.Close())
	s = opened(t, dir, c.config())

	want := []OutboxRow{{ID: 4, Key: "c", Channel: "ops", Kind: "webhook", Notice: []byte(`{"key":"c"}`), State: Waiting, CreatedAt: start, Waited: 90 * time.Second}}
	if diff := cmp.Diff(want, waiting(t, s)); diff != "" {
		t.Errorf("waiting (-want +got):\n%s", diff)
	}
	dead, err := s.Undelivered("ops", 0, 10)
	need(t, err)
	want = []OutboxRow{{ID: 2, Key: "b", Channel: "ops", Kind: "webhook", Notice: []byte(`{"key":"b"}`), State: Undelivered, CreatedAt: start, EndedAt: c.wall, Attempts: 3, Error: "down"}}
	if diff := cmp.Diff(want, dead); diff != "" {
		t.Errorf("undelivered (-want +got):\n%s", diff)
	}
	counts, err := s.Outbox()
	need(t, err)
	if diff := cmp.Diff([]OutboxCount{{"mail", "webhook", 1, 0}, {"ops", "webhook", 1, 1}}, counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	gone, err := s.EndWaiting("ops", "webhook", "taken out")
	need(t, err)
	if left := waiting(t, s); gone != 1 || len(left) != 0 {
		t.Errorf("gave up %d, left %s", gone, told(left))
	}
	dead, err = s.Undelivered("ops", 0, 10)
	need(t, err)
	if got := told(dead); got != "c undelivered, b undelivered" {
		t.Errorf("given up: %s", got)
	}
	dead, err = s.Undelivered("ops", dead[0].ID, 10)
	need(t, err)
	if got := told(dead); got != "b undelivered" {
		t.Errorf("the next page: %s", got)
	}
}

// TestRequeue: what is queued again goes behind what waits, in its old order, and
// keeps key and notice; a key that is not there changes nothing.
func TestRequeue(t *testing.T) {
	c := &times{wall: start}
	s := opened(t, t.TempDir(), c.config())
	need(t, s.Accept([]OutboxRow{notice("a", "ops"), notice("b", "ops"), notice("c", "ops"), notice("d", "ops")}))
	for _, key := range []string{"c", "a", "b"} {
		need(t, s.EndNotice(OutboxEnd{Key: key, Channel: "ops", State: Undelivered, At: start, Attempts: 3, Error: "down"}))
	}
	if _, err := s.Requeue("ops", "webhook", []string{"a", "d"}, 10); !errors.Is(err, ErrNotUndelivered) {
		t.Errorf("one that waits: %v", err)
	}
	if got := told(waiting(t, s)); got != "d waiting" {
		t.Errorf("after that: %s", got)
	}
	c.pass(time.Hour)
	again, err := s.Requeue("ops", "webhook", []string{"b", "a", "b"}, 10)
	need(t, err)
	if got := told(again); got != "a waiting, b waiting" {
		t.Errorf("queued again: %s", got)
	}
	got := waiting(t, s)
	if told(got) != "d waiting, a waiting, b waiting" || string(got[1].Notice) != `{"key":"a"}` || !got[1].CreatedAt.Equal(c.wall) || got[1].Waited != 0 || got[1].Attempts != 0 || got[1].Error != "" {
		t.Errorf("waiting: %+v", got)
	}
	if again, err = s.Requeue("ops", "webhook", nil, 10); err != nil || told(again) != "c waiting" {
		t.Errorf("the rest: %s, %v", told(again), err)
	}
}

// TestOutboxRetention: what ended stays for a week that agents ran, and 10,000 of
// it; what waits stays.
func TestOutboxRetention(t *testing.T) {
	c := &times{wall: start}
	s := opened(t, t.TempDir(), c.config())
	put := func(from, to int) {
		t.Helper()
		need(t, s.Batch(func() error {
			for i := from; i < to; i++ {
				key := fmt.Sprint(i)
				if err := s.Accept([]OutboxRow{notice(key, "ops")}); err != nil {
					return err
				}
				if err := s.EndNotice(OutboxEnd{Key: key, Channel: "ops", State: Undelivered}); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	dead := func() (out int64) {
		t.Helper()
		out, err := s.number("SELECT count(*) FROM outbox WHERE state <> 'waiting'")
		need(t, err)
		return out
	}
	need(t, s.Accept([]OutboxRow{notice("waits", "ops")}))
	put(0, 5)
	c.pass(keepEnded - time.Second)
	retain(t, s)
	if got := dead(); got != 5 {
		t.Errorf("%d left before a week, want 5", got)
	}
	put(5, 10)
	c.pass(time.Second)
	retain(t, s)
	if got := dead(); got != 5 {
		t.Errorf("%d left after a week, want 5", got)
	}
	need(t, s.Accept([]OutboxRow{notice("taken", "ops")}))
	need(t, s.EndNotice(OutboxEnd{Key: "taken", Channel: "ops", State: "delivered"}))
	put(10, mostEnded+5)
	retain(t, s)
	if got, err := s.Undelivered("ops", 0, mostEnded); err != nil || len(got) != mostEnded {
		t.Errorf("%d undelivered left beside one delivered, want %d, %v", len(got), mostEnded, err)
	}
	put(mostEnded+5, mostEnded+10)
	retain(t, s)
	if got := dead(); got > mostEnded || got < mostEnded-stepRows {
		t.Errorf("%d left, want %d", got, mostEnded)
	}
	if got := told(waiting(t, s)); got != "waits waiting" {
		t.Errorf("waiting: %s", got)
	}
}

// TestOutboxMakesRoom: in a file that is too large what ended goes, then what
// waits and only says what is over, which is told; the rest never does.
func TestOutboxMakesRoom(t *testing.T) {
	c := &times{wall: start}
	s := opened(t, t.TempDir(), c.config())
	for i := range 30 {
		n := notice(fmt.Sprint(i), "ops")
		n.Notice, n.Over = noise(64<<10), i%3 == 1
		need(t, s.Accept([]OutboxRow{n}))
		if i%3 == 2 {
			need(t, s.EndNotice(OutboxEnd{Key: n.Key, Channel: "ops", State: "delivered"}))
		}
	}
	for _, x := range []struct {
		kilobytes        int64
		waiting, crowded int
	}{{1600, 20, 0}, {1000, 10, 10}, {100, 10, 0}} {
		s.config.MaxSize = x.kilobytes << 10
		retain(t, s)
		crowded := s.CrowdedOut()
		if got := waiting(t, s); len(got) != x.waiting || len(crowded) != x.crowded {
			t.Errorf("at most %d KiB: %d wait, %d were crowded out; want %d and %d", x.kilobytes, len(got), len(crowded), x.waiting, x.crowded)
		}
		for i := range crowded {
			if !crowded[i].Over || crowded[i].Error != NoRoom {
				t.Errorf("crowded out: %+v", crowded[i])
			}
		}
	}
}

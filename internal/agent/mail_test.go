package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/notify"
)

// posting are notices to webhooks of some names over a keeper whose work the test
// does itself; nothing is delivered unless a lane runs.
func posting(t *testing.T, dir, url string, names ...string) *notices {
	t.Helper()
	var channels notify.Config
	for _, name := range names {
		channels.Channels = append(channels.Channels, notify.Channel{Name: name, Webhook: &notify.Webhook{URL: url}})
	}
	return newNotices(channels, keeping(t, dir), slog.New(slog.NewTextHandler(t.Output(), nil)))
}

// inOutbox are the notices in a store, "KEY STATE ERROR", in their order.
func inOutbox(t *testing.T, dir string, channels ...string) []string {
	t.Helper()
	s, err := history.OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var out []string
	for _, c := range channels {
		rows, err := s.Undelivered(c, 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for i := range slices.Backward(rows) {
			out = append(out, rows[i].Key+" undelivered "+rows[i].Error)
		}
	}
	return out
}

// numbers are notices to ops.
func numbers(from, to int) []notify.Notice {
	var out []notify.Notice
	for i := from; i <= to; i++ {
		out = append(out, numbered("ops", i))
	}
	return out
}

// TestAcceptedIsWritten: what is accepted is in the history with what planners
// remember, and waits for the next start; a channel that is gone by then has it
// undelivered, and what cannot be read is set aside.
func TestAcceptedIsWritten(t *testing.T) {
	dir := t.TempDir()
	n := posting(t, dir, "http://127.0.0.1:1", "ops", "gone")
	n.keeper.turn(start)
	n.put(append(numbers(1, 2), numbered("gone", 1)), []history.Memory{{Kind: "told", Key: "k", Data: []byte("v")}})
	if s := n.status()[0]; s.Queued != 2 || s.Kept != 0 {
		t.Errorf("before it is written: %+v", s)
	}
	select {
	case <-n.keeper.wake:
	default:
		t.Error("nobody wakes the one who writes")
	}
	n.keeper.turn(start)
	if s := n.status()[0]; s.Queued != 2 || s.Kept != 2 {
		t.Errorf("written: %+v", s)
	}
	n.put(nil, []history.Memory{{Kind: "told", Key: "l", Data: []byte("w")}})
	n.keeper.turn(start)
	if err := n.keeper.store.Accept([]history.OutboxRow{{Key: "torn", Channel: "ops", Kind: "webhook", Notice: []byte("{")}}); err != nil {
		t.Fatal(err)
	}
	memories, err := n.keeper.store.Memories("told")
	if err != nil || len(memories) != 2 {
		t.Errorf("remembered: %v, %v", memories, err)
	}
	n.keeper.finish()

	n = posting(t, dir, "http://127.0.0.1:1", "ops")
	n.keeper.turn(start)
	if s := n.status()[0]; s.Queued != 2 || s.Kept != 2 || s.Undelivered != 1 {
		t.Errorf("after the restart: %+v", s)
	}
	n.keeper.turn(start.Add(time.Second))
	if s := n.status()[0]; s.DeadLetters != 1 {
		t.Errorf("dead letters: %+v", s)
	}
	n.end()
	n.keeper.finish()
	want := []string{"torn undelivered cannot be read: unexpected end of JSON input", "gone-000001 undelivered the channel was taken out of the configuration"}
	if diff := cmp.Diff(want, inOutbox(t, dir, "ops", "gone")); diff != "" {
		t.Errorf("undelivered (-want +got):\n%s", diff)
	}
}

// hooked is a webhook that answers what it is told to, and the keys it took.
type hooked struct {
	mu     sync.Mutex
	status int // 0 takes
	took   []string
	*httptest.Server
}

func hooking(t *testing.T) *hooked {
	t.Helper()
	h := &hooked{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.status != 0 {
			w.WriteHeader(h.status)
			return
		}
		h.took = append(h.took, r.Header.Get("Idempotency-Key"))
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hooked) answer(status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status = status
}

func (h *hooked) got() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.took)
}

// deliver runs the lanes until holds does.
func deliver(t *testing.T, n *notices, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for _, l := range n.lanes {
		wg.Go(func() { _ = l.Run(ctx) })
	}
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s; %+v", what, n.status())
		}
	}
}

// TestWithoutHistory: while the history fails notices are sent all the same, and
// that is said; once it works what waits is written, and what was dropped for want
// of room was not what waits.
func TestWithoutHistory(t *testing.T) {
	dir, h := t.TempDir(), hooking(t)
	n := posting(t, dir, h.URL, "ops")
	open := n.keeper.open
	n.keeper.open = func(history.Limits) (*history.Store, error) { return nil, errors.New("no space left on device") }
	n.keeper.turn(start)
	n.put(numbers(1, 2), nil)
	deliver(t, n, "they are sent unkept", func() bool { return len(h.got()) == 2 })
	if s := n.status()[0]; s.Unkept != 2 || s.Kept != 0 {
		t.Errorf("sent: %+v", s)
	}
	h.answer(503)
	n.put(numbers(3, 4), nil)
	for range 40 {
		n.keeper.put(entry{bulk: true, size: mostWaiting / 10, write: func(*history.Store) error { return nil }})
	}
	n.keeper.open = open
	n.keeper.turn(start.Add(time.Hour))
	if s := n.status()[0]; s.Queued != 2 || s.Kept != 2 {
		t.Errorf("once it works: %+v", s)
	}
	n.keeper.finish()

	n = posting(t, dir, h.URL, "ops")
	n.keeper.turn(start)
	h.answer(0)
	deliver(t, n, "what waited is sent", func() bool { return len(h.got()) == 4 })
	if diff := cmp.Diff([]string{"ops-000001", "ops-000002", "ops-000003", "ops-000004"}, h.got()); diff != "" {
		t.Errorf("taken (-want +got):\n%s", diff)
	}
}

// TestFullDisk: on a disk that fills while the agent runs what is accepted is sent
// within a second or so, unkept; what waits is written once there is room again, and
// notices of after that are waited for again.
func TestFullDisk(t *testing.T) {
	h := hooking(t)
	n := posting(t, t.TempDir(), h.URL, "ops")
	n.keeper.turn(start)
	full := errors.New("database or disk is full")
	n.keeper.put(entry{write: func(*history.Store) error { return full }})
	n.put(numbers(1, 2), nil)
	n.keeper.turn(start)
	if s := n.status()[0]; n.keeper.shown().State != api.HistoryFailing || s.Queued != 2 || s.Kept != 0 {
		t.Errorf("on a full disk: %+v", s)
	}
	n.put(numbers(3, 3), nil) // not even held: it is known to fail
	deliver(t, n, "they are sent unkept", func() bool { return len(h.got()) == 3 })
	if diff := cmp.Diff([]string{"ops-000001", "ops-000002", "ops-000003"}, h.got()); diff != "" {
		t.Errorf("taken (-want +got):\n%s", diff)
	}
	full = nil
	n.keeper.turn(start.Add(mostPause))
	n.put(numbers(4, 4), nil)
	n.keeper.turn(start.Add(mostPause))
	counts, err := n.keeper.store.Outbox()
	if err != nil || len(counts) != 1 || counts[0].Waiting != 1 {
		t.Errorf("in the history %+v, %v; want the last one waiting alone", counts, err)
	}
	if s := n.status()[0]; s.Unkept != 3 || s.Kept != 1 {
		t.Errorf("once there is room: %+v", s)
	}
	n.keeper.finish()
}

// TestNoRoomToWait: what waits for a history that fails is bounded; of notices
// those go first that only say what is over, and they are still sent.
func TestNoRoomToWait(t *testing.T) {
	n := posting(t, t.TempDir(), "http://127.0.0.1:1", "ops")
	n.keeper.open = func(history.Limits) (*history.Store, error) { return nil, errors.New("no space left on device") }
	n.keeper.turn(start)
	large := func(number int, step notify.Step) notify.Notice {
		x := numbered("ops", number)
		x.Incidents[0].Step, x.Incidents[0].Sentence = step, strings.Repeat("x", mostWaiting/4)
		return x
	}
	for i, step := range []notify.Step{notify.Opened, notify.Resolved, notify.Opened, notify.Resolved, notify.Opened, notify.Opened} {
		n.put([]notify.Notice{large(i, step)}, nil)
	}
	n.keeper.turn(start)
	waiting := 0
	for i := range n.keeper.waiting {
		if n.keeper.waiting[i].over {
			t.Error("one that only says what is over is there still")
		}
		waiting++
	}
	if s := n.status()[0]; waiting != 3 || s.Queued != 6 || s.Undelivered != 0 {
		t.Errorf("%d wait to be written; %+v", waiting, s)
	}
}

// TestRetry: what was undelivered is listed, tried again when somebody says so, and
// delivered with the key that it had; who said so is in the history.
func TestRetry(t *testing.T) {
	dir, h := t.TempDir(), hooking(t)
	n := posting(t, dir, h.URL, "ops")
	if err := n.keeper.start(); err != nil {
		t.Fatal(err)
	}
	h.answer(400)
	n.put(numbers(1, 3), nil)
	deliver(t, n, "all are refused", func() bool { return n.status()[0].Undelivered == 3 })
	first, next, err := n.Undelivered(t.Context(), "ops", 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	rest, last, err := n.Undelivered(t.Context(), "ops", next, 2)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range append(first, rest...) {
		got = append(got, fmt.Sprintf("%s after %d: %s", l.Key, l.Attempts, strings.TrimPrefix(l.Error, strings.TrimPrefix(h.URL, "http://"))))
	}
	want := []string{"ops-000003 after 1:  answered 400 Bad Request", "ops-000002 after 1:  answered 400 Bad Request", "ops-000001 after 1:  answered 400 Bad Request"}
	if diff := cmp.Diff(want, got); diff != "" || last != 0 {
		t.Errorf("undelivered, next %d (-want +got):\n%s", last, diff)
	}
	h.answer(0)
	if _, err := n.Retry(t.Context(), "nobody", nil, "ann"); !errors.Is(err, api.ErrNoChannel) {
		t.Errorf("no channel: %v", err)
	}
	if _, err := n.Retry(t.Context(), "ops", []string{"x"}, "ann"); !errors.Is(err, api.ErrNotUndelivered) {
		t.Errorf("no such key: %v", err)
	}
	for i, keys := range [][]string{{"ops-000002"}, nil} {
		if queued, err := n.Retry(t.Context(), "ops", keys, "ann"); err != nil || queued != i+1 {
			t.Errorf("retry %v: %d, %v", keys, queued, err)
		}
	}
	deliver(t, n, "all are taken", func() bool { return len(h.got()) == 3 })
	if diff := cmp.Diff([]string{"ops-000002", "ops-000001", "ops-000003"}, h.got()); diff != "" {
		t.Errorf("taken (-want +got):\n%s", diff)
	}
	close(n.keeper.stop)
	<-n.keeper.done
	r, err := history.OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	changes, err := r.Changes(10)
	if err != nil || len(changes) != 2 || changes[0].Who != "ann" || changes[0].What != "retry" || changes[0].Detail != "ops: 1 notices" {
		t.Errorf("changes %+v, %v", changes, err)
	}
	if left := inOutbox(t, dir, "ops"); len(left) != 0 {
		t.Errorf("still undelivered: %v", left)
	}
}

// TestLostHistory: what a file kept that was lost, and is in memory, is in the new
// one.
func TestLostHistory(t *testing.T) {
	dir := t.TempDir()
	n := posting(t, dir, "http://127.0.0.1:1", "ops")
	n.keeper.turn(start)
	n.put(numbers(1, 3), nil)
	n.keeper.turn(start)
	_ = n.keeper.store.Leave()
	n.keeper.store, n.keeper.dir = nil, t.TempDir() // as after somebody deleted it
	n.keeper.turn(start.Add(time.Minute))
	n.keeper.finish()
	n2 := posting(t, n.keeper.dir, "http://127.0.0.1:1", "ops")
	n2.keeper.turn(start)
	if s := n2.status()[0]; s.Queued != 3 || s.Kept != 3 {
		t.Errorf("in the new one: %+v", s)
	}
	n2.keeper.finish()
}

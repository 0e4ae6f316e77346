package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func never(Ref) bool  { return false }
func written() bool   { return true }
func unwritten() bool { return false }

// kept is a notice as it is kept.
func kept(t testing.TB, channel, kind string, n Notice) Stored {
	t.Helper()
	n.Version, n.Channel = Version, channel
	raw, err := n.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return Stored{Key: n.Key, Channel: channel, Kind: kind, Over: n.Over(), JSON: raw}
}

// refs name notices to hook.
func refs(keys ...string) []Ref {
	var out []Ref
	for _, k := range keys {
		out = append(out, Ref{"hook", k})
	}
	return out
}

// TestHeldUntilWritten: a notice goes when it is kept; where that does not come
// within a second, or cannot be waited for, it goes without, and that is counted.
func TestHeldUntilWritten(t *testing.T) {
	for _, x := range []struct {
		name   string
		keep   func() bool
		then   func(*Outbox)
		wait   time.Duration
		tried  []string
		unkept uint64
	}{
		{"being written", written, func(*Outbox) {}, KeepWithin - time.Millisecond, nil, 0},
		{"written", written, func(o *Outbox) { o.Written(refs("1.1", "2.1")) }, 0, []string{"1.1", "2.1"}, 0},
		{"the second is written, the first not yet: in their order", written, func(o *Outbox) { o.Written(refs("2.1")) }, 0, nil, 0},
		{"not written in time", written, func(*Outbox) {}, KeepWithin, []string{"1.1", "2.1"}, 2},
		{"will not be written", written, func(o *Outbox) { o.Unwritten(refs("1.1", "2.1", "never")) }, 0, []string{"1.1", "2.1"}, 2},
		{"nothing is kept", nil, func(*Outbox) {}, 0, []string{"1.1", "2.1"}, 2},
		{"what keeps does not work", unwritten, func(*Outbox) {}, 0, []string{"1.1", "2.1"}, 2},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hook := &fake{answer: takes}
				o, _ := start(t, []Channel{hookChannel}, hook)
				o.Put([]Notice{to("hook", letterOf(1, 1)), to("hook", letterOf(2, 1))}, x.keep)
				x.then(o)
				time.Sleep(x.wait)
				synctest.Wait()
				if diff := cmp.Diff(x.tried, hook.got()); diff != "" {
					t.Errorf("tried (-want +got):\n%s", diff)
				}
				if got := o.Status()[0].Unkept; got != x.unkept {
					t.Errorf("%d went unkept, want %d", got, x.unkept)
				}
			})
		})
	}
}

// TestBeyondMemory: what there is no room for stays where it is kept, in its
// order, and is asked for when there is room; nothing is lost, and all of it ends
// once.
func TestBeyondMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		hook := &fake{answer: func(context.Context, *Notice) error {
			if down {
				return errDown
			}
			return nil
		}}
		var store []Stored // as they are kept, those that have ended taken out
		ended := 0
		o, lanes := NewOutbox(chance(), func(e Ending) {
			if e.State != Delivered || store[0].Key != e.Key {
				t.Errorf("ended %+v, want %s delivered", e, store[0].Key)
			}
			store = store[1:]
			ended++
		}, []Channel{hookChannel})
		lanes[0].sender = hook
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = lanes[0].Run(ctx) }()

		const all = 2*MaxQueued + 300
		var want []string
		for i := range all {
			n := to("hook", letterOf(uint64(i), 1))
			o.Put([]Notice{n}, written)
			store, want = append(store, kept(t, "hook", "webhook", n)), append(want, n.Key)
			if i%2 == 0 {
				o.Written(refs(n.Key))
			}
		}
		synctest.Wait()
		if s := o.Status()[0]; s.Queued != all || s.Undelivered != 0 || len(lanes[0].queue.letters) != MaxQueued || len(o.Wanting()) != 0 {
			t.Errorf("during the outage: %+v, %d in memory", s, len(lanes[0].queue.letters))
		}
		for i := range all {
			o.Written(refs(want[i]))
		}
		if s := o.Status()[0]; s.Kept != all {
			t.Errorf("all written: %+v", s)
		}
		hook.mu.Lock()
		down, hook.tried = false, nil
		hook.mu.Unlock()
		for range 10 {
			time.Sleep(2 * maxRetry)
			synctest.Wait()
			for range o.Wanting() {
				first := store[:min(MaxQueued, len(store))]
				o.Restore("hook", "webhook", first, len(store)-len(first), false, never)
			}
		}
		synctest.Wait()
		if diff := cmp.Diff(want, hook.got()); diff != "" {
			t.Errorf("delivered (-want +got):\n%.2000s", diff)
		}
		check(t, o, Status{Name: "hook", Kind: "webhook", Delivered: all})
		if ended != all || len(o.Wanting()) != 0 {
			t.Errorf("%d ended; wanting %v", ended, o.Wanting())
		}
	})
}

// TestRestore: what waited before the start goes first and in its order; what
// cannot be read is undelivered and says why, what has ended is not sent again,
// and what a lost file kept is said to be lost.
func TestRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook := &fake{answer: takes}
		var ended []string
		o, lanes := NewOutbox(chance(), func(e Ending) { ended = append(ended, fmt.Sprintf("%s %s %s", e.Key, e.State, e.Error)) }, []Channel{hookChannel})
		lanes[0].sender = hook
		o.Put([]Notice{to("hook", letterOf(9, 1))}, nil)
		stored := []Stored{
			kept(t, "hook", "webhook", letterOf(1, 1)),
			{Key: "torn", Channel: "hook", Kind: "webhook", JSON: []byte(`{"version": 2,`)},
			{Key: "old", Channel: "hook", Kind: "webhook", JSON: []byte(`{"version": 1, "key": "old", "channel": "hook"}`)},
			{Key: "other", Channel: "hook", Kind: "webhook", JSON: []byte(`{"version": 2, "key": "another", "channel": "hook"}`)},
			kept(t, "hook", "webhook", letterOf(2, 1)),
			kept(t, "hook", "webhook", letterOf(3, 1)),
		}
		o.Restore("gone", "webhook", stored, 0, true, never)
		o.Restore("hook", "webhook", stored, 5, true, func(r Ref) bool { return r == Ref{"hook", "2.1"} })
		o.Restore("hook", "webhook", stored[:1], 2, true, never) // another file: three are lost with the one before
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = lanes[0].Run(ctx) }()
		synctest.Wait()
		if diff := cmp.Diff([]string{"1.1", "3.1", "9.1"}, hook.got()); diff != "" {
			t.Errorf("tried (-want +got):\n%s", diff)
		}
		want := []string{
			"torn undelivered cannot be read: unexpected end of JSON input",
			"old undelivered cannot be read: it is of version 1, and this program knows 2",
			"other undelivered cannot be read: it says another key or channel than it is kept under",
			"1.1 delivered ", "3.1 delivered ", "9.1 delivered ",
		}
		if diff := cmp.Diff(want, ended); diff != "" {
			t.Errorf("ended (-want +got):\n%s", diff)
		}
		s := o.Status()[0]
		check(t, o, Status{Name: "hook", Kind: "webhook", Queued: 2, Delivered: 3, Undelivered: 6})
		if s.LastError != "channel hook: "+errLost.Error() {
			t.Errorf("last error %q", s.LastError)
		}
	})
}

// TestRestoreToMembers: each member of a cluster gets what waited, the newest of
// an incident only.
func TestRestoreToMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fake{answer: takes}, &fake{answer: takes}
		o, _ := start(t, []Channel{alarmChannel}, a, b)
		o.Restore("alarm", "alertmanager", []Stored{
			kept(t, "alarm", "alertmanager", letterOf(1, 1)), kept(t, "alarm", "alertmanager", letterOf(2, 1)), kept(t, "alarm", "alertmanager", letterOf(1, 2)),
		}, 0, true, never)
		synctest.Wait()
		for name, got := range map[string][]string{"a": a.got(), "b": b.got()} {
			if diff := cmp.Diff([]string{"2.1", "1.2"}, got); diff != "" {
				t.Errorf("member %s (-want +got):\n%s", name, diff)
			}
		}
		check(t, o, Status{Name: "alarm", Kind: "alertmanager", Delivered: 2, Superseded: 1})
	})
}

// TestAgain: what was undelivered goes behind what waits, at once, with the key
// that it had; one that is crowded out is undelivered wherever it was.
func TestAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		hook := &fake{answer: func(context.Context, *Notice) error {
			if down {
				return errDown
			}
			return nil
		}}
		o, _ := start(t, []Channel{hookChannel}, hook)
		o.Put([]Notice{to("hook", letterOf(1, 1)), to("hook", letterOf(2, 1))}, nil)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		o.CrowdedOut(refs("2.1", "elsewhere"), "no room")
		check(t, o, Status{Name: "hook", Kind: "webhook", Queued: 1, Undelivered: 2})
		hook.mu.Lock()
		down, hook.tried = false, nil
		hook.mu.Unlock()
		o.Again("hook", "webhook", []Stored{kept(t, "hook", "webhook", letterOf(2, 1)), {Key: "torn"}})
		synctest.Wait()
		if diff := cmp.Diff([]string{"1.1", "2.1"}, hook.got()); diff != "" {
			t.Errorf("tried (-want +got):\n%s", diff)
		}
		check(t, o, Status{Name: "hook", Kind: "webhook", Delivered: 2, Undelivered: 3})
	})
}

// TestHeldByRate: what is over a channel's rate is shown as held.
func TestHeldByRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := hookChannel
		slow.MaxPerHour = 2
		o, _ := start(t, []Channel{slow}, &fake{answer: takes})
		var all []Notice
		for i := range 5 {
			all = append(all, to("hook", letterOf(uint64(i), 1)))
		}
		o.Put(all, nil)
		synctest.Wait()
		if s := o.Status()[0]; s.Delivered != 2 || s.Queued != 3 || s.Held != 3 || s.Failing {
			t.Errorf("at once: %+v", s)
		}
		time.Sleep(ratePer)
		synctest.Wait()
		if s := o.Status()[0]; s.Delivered != 4 || s.Held != 1 {
			t.Errorf("an hour later: %+v", s)
		}
	})
}

func TestDenies(t *testing.T) {
	for body, want := range map[string]bool{
		``: false, `ok`: false, `[]`: false, `{}`: false, `null`: false, `{"ok": true}`: false, `{"error": ""}`: false, `{"error": null, "errors": []}`: false,
		`{"status": "success"}`: false, `{"errors": {}}`: false, `{"error": false, "status": 200}`: false, `{"ok": false`: false,
		`{"ok": false}`: true, `{"ok":false,"error":"channel_not_found"}`: true, `{"error": {"code": 3}}`: true, `{"errors": ["x"]}`: true, `{"status": "error"}`: true, `{"error": true}`: true,
	} {
		if got := denies([]byte(body)); got != want {
			t.Errorf("%s: %t, want %t", body, got, want)
		}
	}
}

// FuzzStored: whatever was kept, it is either a notice that says what it is kept
// under, and the same when it is kept again, or undelivered with a reason.
func FuzzStored(f *testing.F) {
	for _, inc := range full() {
		p := NewPlanner(Config{Host: "web03", Channels: []Channel{hookChannel}})
		for _, n := range p.Plan(inc.UpdatedAt, 0, append(full()[:0:0], inc)) {
			raw, err := n.JSON()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(n.Key, raw)
		}
	}
	for _, s := range []string{"", "null", "[]", `{"version":2}`, `{"version":2,"key":"k","channel":"hook"}`, `{"version":3,"key":"k","channel":"hook"}`, `{"version":2,"key":"k","channel":"hook","incidents":[{}],"at":"soon"}`} {
		f.Add("k", []byte(s))
	}
	f.Fuzz(func(t *testing.T, key string, raw []byte) {
		var ended []Ending
		o, lanes := NewOutbox(chance(), func(e Ending) { ended = append(ended, e) }, []Channel{hookChannel})
		o.Restore("hook", "webhook", []Stored{{Key: key, Channel: "hook", Kind: "webhook", JSON: raw}}, 0, true, never)
		letters := lanes[0].queue.letters
		if len(letters)+len(ended) != 1 {
			t.Fatalf("%d wait and %d ended, want one of both", len(letters), len(ended))
		}
		if len(ended) == 1 {
			if e := ended[0]; e.Key != key || e.State != Undelivered || !strings.HasPrefix(e.Error, "cannot be read") {
				t.Errorf("ended %+v", e)
			}
			return
		}
		again, err := o.Stored(o.Waiting())
		if err != nil || len(again) != 1 || again[0].Key != key {
			t.Fatalf("kept again: %+v, %v", again, err)
		}
		twice, err := again[0].read()
		if err != nil {
			t.Fatal(err)
		}
		if raw, err := twice.JSON(); err != nil || !bytes.Equal(raw, again[0].JSON) {
			t.Errorf("kept again it says %s, and before %s: %v", raw, again[0].JSON, errors.Join(err))
		}
	})
}

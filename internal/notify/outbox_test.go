package notify

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fake is a receiver that answers what it is told to.
type fake struct {
	answer func(ctx context.Context, n *Notice) error
	mu     sync.Mutex
	tried  []string
	when   []time.Time
}

func (f *fake) send(ctx context.Context, now time.Time, n *Notice) error {
	f.mu.Lock()
	f.tried, f.when = append(f.tried, n.Key), append(f.when, now)
	f.mu.Unlock()
	return f.answer(ctx, n)
}

func (f *fake) close() {}

func (f *fake) got() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.tried...)
}

func takes(context.Context, *Notice) error       { return nil }
func refuses(context.Context, *Notice) error     { return errDown }
func hangs(ctx context.Context, _ *Notice) error { <-ctx.Done(); return ctx.Err() }

var (
	hookChannel  = Channel{Name: "hook", Webhook: &Webhook{URL: "https://ops.example/hook"}}
	alarmChannel = Channel{Name: "alarm", Alertmanager: &Alertmanager{URLs: []string{"http://a.example", "http://b.example"}}}
)

// start runs an outbox whose lanes have the given receivers, in order. The
// returned function stops it and waits; it may be called twice.
func start(t *testing.T, channels []Channel, fakes ...*fake) (*Outbox, func()) {
	t.Helper()
	o, lanes := NewOutbox(chance(), nil, channels)
	if len(lanes) != len(fakes) {
		t.Fatalf("%d lanes, want %d", len(lanes), len(fakes))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i, l := range lanes {
		l.sender = fakes[i]
		wg.Go(func() {
			if err := l.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	stop := func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return o, stop
}

func to(channel string, n Notice) Notice { n.Channel = channel; return n }

// counts are a status without times and words.
func counts(s Status) Status {
	return Status{Name: s.Name, Kind: s.Kind, Queued: s.Queued, Delivered: s.Delivered, Undelivered: s.Undelivered, Superseded: s.Superseded}
}

func check(t *testing.T, o *Outbox, want ...Status) {
	t.Helper()
	var got []Status
	for _, s := range o.Status() {
		got = append(got, counts(s))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

// TestHangHoldsUpNobody: a webhook and a member that hang, and the other
// member is told at once.
func TestHangHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook, a, b := &fake{answer: hangs}, &fake{answer: hangs}, &fake{answer: takes}
		o, stop := start(t, []Channel{hookChannel, alarmChannel}, hook, a, b)
		o.Put([]Notice{to("hook", letterOf(1, 1)), to("alarm", letterOf(1, 1)), to("nobody", letterOf(1, 1))}, nil)
		synctest.Wait()
		check(t, o, Status{Name: "hook", Kind: "webhook", Queued: 1}, Status{Name: "alarm", Kind: "alertmanager", Delivered: 1})
		stop()
		// We stopped: the receiver is not to blame, and the notice stays.
		s := o.Status()
		if s[0].Queued != 1 || s[0].LastError != "" || s[0].Failing {
			t.Errorf("after the stop: %+v", s[0])
		}
	})
}

// TestRetries: the waits double, a notice that nobody takes for a day is
// undelivered and shown with its last error, and what follows it is told.
func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook := &fake{answer: refuses}
		o, _ := start(t, []Channel{hookChannel}, hook)
		begin := time.Now()
		o.Put([]Notice{to("hook", letterOf(1, 1))}, nil)
		synctest.Wait()
		check(t, o, Status{Name: "hook", Kind: "webhook", Queued: 1})
		time.Sleep(GiveUpAfter + maxRetry)
		synctest.Wait()
		check(t, o, Status{Name: "hook", Kind: "webhook", Undelivered: 1})
		hook.mu.Lock()
		last := hook.when[0]
		for i, when := range hook.when[1:] {
			full := maxRetry
			if i < 6 {
				full = firstRetry << i
			}
			if wait := when.Sub(last); wait < full/2 || wait > full {
				t.Errorf("wait %d was %s, want between %s and %s", i+1, wait, full/2, full)
			}
			last = when
		}
		if tried := last.Sub(begin); tried < GiveUpAfter || tried > GiveUpAfter+maxRetry {
			t.Errorf("given up after %s, want about %s", tried, GiveUpAfter)
		}
		hook.mu.Unlock()
		want := Status{Name: "hook", Kind: "webhook", Undelivered: 1, Unkept: 1, LastError: "channel hook: down", LastErrorAt: last, Failing: true}
		if diff := cmp.Diff([]Status{want}, o.Status()); diff != "" {
			t.Errorf("status (-want +got):\n%s", diff)
		}
		o.Put([]Notice{to("hook", letterOf(1, 2))}, nil)
		time.Sleep(maxRetry)
		synctest.Wait()
		if got := hook.got(); got[len(got)-1] != "1.2" {
			t.Errorf("tried %s last, want 1.2", got[len(got)-1])
		}
	})
}

// TestRetryAfterHolds all notices to that receiver, for as long as it asked.
func TestRetryAfterHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := true
		hook := &fake{}
		hook.answer = func(context.Context, *Notice) error {
			if busy {
				busy = false
				return &Refusal{Words: "busy", RetryAfter: 5 * time.Minute}
			}
			return nil
		}
		o, _ := start(t, []Channel{hookChannel}, hook)
		o.Put([]Notice{to("hook", letterOf(1, 1))}, nil)
		synctest.Wait()
		o.Put([]Notice{to("hook", letterOf(2, 1))}, nil)
		time.Sleep(5*time.Minute - time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{"1.1"}, hook.got()); diff != "" {
			t.Errorf("while it must wait (-want +got):\n%s", diff)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		check(t, o, Status{Name: "hook", Kind: "webhook", Delivered: 2})
	})
}

// TestOneBadNotice: one that is answered with an error holds up all for an hour,
// as they go in their order, and no longer.
func TestOneBadNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook := &fake{answer: func(_ context.Context, n *Notice) error {
			if n.Key == "1.1" {
				return &Refusal{Words: "h answered 500"}
			}
			return nil
		}}
		o, _ := start(t, []Channel{hookChannel}, hook)
		o.Put([]Notice{to("hook", letterOf(1, 1)), to("hook", letterOf(1, 2)), to("hook", letterOf(2, 1))}, nil)
		time.Sleep(AnsweredFor - maxRetry)
		synctest.Wait()
		check(t, o, Status{Name: "hook", Kind: "webhook", Queued: 3})
		time.Sleep(3 * maxRetry)
		synctest.Wait()
		got := hook.got()
		if diff := cmp.Diff([]string{"1.1", "1.2", "2.1"}, got[len(got)-3:]); diff != "" {
			t.Errorf("the last tried (-want +got):\n%s", diff)
		}
		check(t, o, Status{Name: "hook", Kind: "webhook", Delivered: 2, Undelivered: 1})
	})
}

// TestRefusedForGood is undelivered at once: the same bytes would be refused
// again.
func TestRefusedForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook := &fake{answer: func(context.Context, *Notice) error { return &Refusal{Words: "h answered 400", ForGood: true} }}
		o, _ := start(t, []Channel{hookChannel}, hook)
		o.Put([]Notice{to("hook", letterOf(1, 1))}, nil)
		synctest.Wait()
		check(t, o, Status{Name: "hook", Kind: "webhook", Undelivered: 1})
		if got := o.Status()[0].LastError; got != "channel hook: h answered 400" {
			t.Errorf("last error %q", got)
		}
	})
}

// TestMembersCount: a notice is delivered when one member took it, and lost
// only when none did.
func TestMembersCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fake{answer: takes}
		o, _ := start(t, []Channel{alarmChannel}, &fake{answer: refuses}, b)
		o.Put([]Notice{to("alarm", letterOf(1, 1))}, nil)
		synctest.Wait()
		o.Put([]Notice{to("alarm", letterOf(1, 2))}, nil) // a's 1.1 gives way
		time.Sleep(GiveUpAfter + 2*maxRetry)
		synctest.Wait()
		check(t, o, Status{Name: "alarm", Kind: "alertmanager", Delivered: 2})
		s := o.Status()[0]
		if s.LastDeliveredAt.IsZero() || s.LastError != "channel alarm: down" || s.Failing {
			t.Errorf("one member takes all: %+v", s)
		}
	})
}

// TestOverflowIsShown: nothing is lost in silence.
func TestOverflowIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := start(t, []Channel{hookChannel}, &fake{answer: refuses})
		var all []Notice
		for i := range MaxQueued + 10 {
			all = append(all, to("hook", letterOf(uint64(i), 1)))
		}
		o.Put(all, nil)
		synctest.Wait()
		check(t, o, Status{Name: "hook", Kind: "webhook", Queued: MaxQueued, Undelivered: 10})
	})
}

// TestConfigure: a corrected address gets what waits, at once; a channel that
// goes ends its lane and says what was lost with it.
func TestConfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := Channel{Name: "log", Log: slog.New(slog.DiscardHandler)}
		o, lanes := NewOutbox(chance(), nil, []Channel{hookChannel, alarmChannel, journal})
		for _, l := range lanes[:3] {
			l.sender = &fake{answer: refuses}
		}
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for _, l := range lanes {
			wg.Go(func() { _ = l.Run(ctx) })
		}
		o.Put([]Notice{to("hook", letterOf(1, 1)), to("alarm", letterOf(1, 1)), to("log", letterOf(1, 1))}, nil)
		time.Sleep(10 * time.Minute)
		synctest.Wait()

		check(t, o, Status{Name: "hook", Kind: "webhook", Queued: 1}, Status{Name: "alarm", Kind: "alertmanager", Queued: 1}, Status{Name: "log", Kind: "log", Delivered: 1})

		right := &fake{answer: takes}
		o.mu.Lock() // what Configure does for an address, with a receiver that is none
		lanes[0].sender = right
		lanes[0].queue.hurry()
		lanes[0].nudge()
		o.mu.Unlock()
		synctest.Wait()
		if diff := cmp.Diff([]string{"1.1"}, right.got()); diff != "" {
			t.Errorf("the corrected receiver (-want +got):\n%s", diff)
		}

		fresh := o.Configure([]Channel{journal, {Name: "hook", Webhook: &Webhook{URL: "https://new.example"}}, {Name: "new", Log: journal.Log}})
		if len(fresh) != 1 || fresh[0].channel.config.Name != "new" {
			t.Errorf("fresh lanes: %+v", fresh)
		}
		check(t, o, Status{Name: "log", Kind: "log", Delivered: 1}, Status{Name: "hook", Kind: "webhook", Delivered: 1}, Status{Name: "new", Kind: "log"})
		cancel()
		wg.Wait()
	})
}

// TestRunEndsWithItsLane, not only with the context.
func TestRunEndsWithItsLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, lanes := NewOutbox(chance(), nil, []Channel{hookChannel})
		ended := make(chan error, 1)
		go func() { ended <- lanes[0].Run(context.Background()) }()
		synctest.Wait()
		o.Configure(nil)
		synctest.Wait()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Fatal("Run goes on")
		}
	})
}

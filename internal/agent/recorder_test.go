package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/recording"
	"github.com/foreshock/foreshock/internal/recording/recordingtest"
	"github.com/foreshock/foreshock/internal/tcp"
)

// asRecorded compares tallies whatever memory their lists are in.
var asRecorded = cmp.Options{
	cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b tcp.Counters) bool { return a == b }),
}

// TestRecordedSocketsGiveTheTallies records this very host with its sockets, and
// plays them: what is counted again is what was counted.
func TestRecordedSocketsGiveTheTallies(t *testing.T) {
	address := stuckListener(t, 16)
	cfg := config.Default()
	cfg.Services = []config.Service{{Name: "stuck", Listen: []netip.AddrPort{address}}}
	h, err := newOwnHost(cfg, observe.Auto)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	tape := recordingtest.NewTape(recording.Limits{Size: 2000})
	took := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	h.tap(func(s measure.Step) { took(tape.Step(s)) }, func(f recording.Frame) { took(tape.Frame(f)) })
	run(t, h.own, start, 4*time.Second)
	for range 5 {
		connect(t, address)
	}
	run(t, h.own, start.Add(4*time.Second), 4*time.Second)
	tape.End()

	steps, queued := 0, uint64(0)
	took(recordingtest.Recount(tape.Records(), func(step measure.Step, counted measure.Tallies) error {
		if diff := cmp.Diff(step.Tallies, counted, asRecorded); diff != "" {
			return errors.New("(-recorded +counted again):\n" + diff)
		}
		steps++
		for i := range counted.Scopes {
			queued = max(queued, counted.Scopes[i].Queue.Depth)
		}
		return nil
	}))
	if steps == 0 || queued < 5 || len(tape.Segments) < 2 {
		t.Errorf("%d steps in %d segments, %d in the queue", steps, len(tape.Segments), queued)
	}
}

// TestFlightRecorder asks a running agent for what was.
func TestFlightRecorder(t *testing.T) {
	cfg := config.Default()
	cfg.Labels = map[string]string{"site": "cork"}
	address, _ := running(t, Options{Load: func() (config.Config, string, error) { return cfg, "", nil }, Version: "v1"})
	get := func(query string) (int, []byte) {
		t.Helper()
		resp, err := http.Get("http://" + address + "/api/v1/recording" + query)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, body
	}
	for range 2 { // the second has what came after the first, too
		code, body := get("")
		if code != http.StatusOK {
			t.Fatalf("%d: %s", code, body)
		}
		r, err := recording.NewReader(bytes.NewReader(body), int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		tiers := map[tcp.Tier]bool{}
		for s, err := r.Next(); err == nil; s, err = r.Next() {
			tiers[s.Tallies.Look.Request.Tier] = true
		}
		if h := r.Header(); h.Foreshock != "v1" || h.Labels["site"] != "cork" || h.Host == "" || h.Created.IsZero() {
			t.Errorf("header %+v", h)
		}
		if p := r.Problems(); len(p) > 0 || !tiers[tcp.Pulse] || !tiers[tcp.Full] {
			t.Errorf("tiers %v, problems %v", tiers, p)
		}
	}
	if code, body := get("?to=2020-01-01T00:00:00Z"); code != http.StatusNotFound {
		t.Errorf("of another time: %d: %s", code, body)
	}
}

// recordedBy is what a running agent sends of a span, by the runs that took it.
func recordedBy(t *testing.T, address string, from time.Time) (runs map[time.Time]int) {
	t.Helper()
	resp, err := http.Get("http://" + address + "/api/v1/recording?from=" + from.UTC().Format(time.RFC3339Nano))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %v: %s", resp.StatusCode, err, body)
	}
	r, err := recording.NewReader(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	runs = map[time.Time]int{}
	for s, err := r.Next(); err == nil; s, err = r.Next() {
		runs[s.Began]++
	}
	if p := r.Problems(); len(p) > 0 {
		t.Errorf("problems %v", p)
	}
	return runs
}

// TestFlightRecorderOfARunBefore: what the history has of an earlier run is there
// too, told apart; without a history only what this one took.
func TestFlightRecorderOfARunBefore(t *testing.T) {
	began := time.Now()
	for name, want := range map[string]int{t.TempDir(): 2, config.NoStateDir: 1} {
		for n := 1; n <= 2; n++ {
			t.Run(fmt.Sprint("run ", n), func(t *testing.T) {
				address, _ := running(t, Options{Load: defaults, Version: "test", StateDir: name})
				if runs := recordedBy(t, address, began); len(runs) != min(n, want) {
					t.Errorf("steps by run: %v, want %d", runs, min(n, want))
				}
			})
		}
	}
}

// TestUnwrittenIsRecorded: what the history cannot write can be read while it
// waits.
func TestUnwrittenIsRecorded(t *testing.T) {
	k := keeping(t, t.TempDir())
	broken := false
	open := k.open
	k.open = func(limits history.Limits) (*history.Store, error) {
		if broken {
			return nil, fs.ErrPermission
		}
		return open(limits)
	}
	segments := func() (got []string) {
		t.Helper()
		err := k.segments(t.Context(), start, start.Add(time.Minute), func(s recording.Segment) error {
			got = append(got, string(s.Data))
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		return got
	}
	lay := func(data string, after time.Duration) {
		k.segment(recording.Segment{From: start.Add(after), To: start.Add(after + time.Second), Data: []byte(data)})
	}
	if err := k.start(); err != nil {
		t.Fatal(err)
	}
	lay("first", 0)
	lay("other", time.Hour)
	if got := segments(); !slices.Equal(got, []string{"first"}) {
		t.Errorf("with a disk: %q", got)
	}
	stopped(k)

	again := keeping(t, k.dir)
	again.open, broken = k.open, true
	k = again
	if err := k.start(); err != nil {
		t.Fatal(err)
	}
	lay("second", 2*time.Second)
	lay("third", 3*time.Second)
	if got := segments(); !slices.Equal(got, []string{"first", "second", "third"}) {
		t.Errorf("with one that takes nothing: %q", got)
	}
	stopped(k)
}

// TestNormsAreRecordedAgain: each few minutes a namespace's step has all norms
// that hold there, not only those that changed.
func TestNormsAreRecordedAgain(t *testing.T) {
	h, err := newOwnHost(config.Default(), observe.Auto)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	a := &agent{clock: NewClock(), recorder: newRecorder(), started: start, log: slog.New(slog.DiscardHandler)}
	a.record(h)
	norm := measure.Norm{Scope: aShop, Signal: measure.NewFlowsRate, Usual: 20, High: 40, Minutes: 600, Days: 7}
	gone := measure.Norm{Scope: aShop, Signal: measure.Established}
	h.SetNorms([]measure.Norm{norm})
	for minute := range 10 {
		s := measure.Step{At: start.Add(time.Duration(minute) * time.Minute)}
		if minute == 4 {
			s.Tallies.Norms = []measure.Norm{gone}
		}
		h.own.place.steps(s)
		if len(s.Tallies.Norms) > 1 {
			t.Error("what the pipeline takes was changed")
		}
	}
	a.recorder.flush()
	got := map[int][]measure.Norm{}
	for _, segment := range a.recorder.segments(time.Time{}, start.Add(time.Hour)) {
		if err := recording.Decode(segment.Data, func(s measure.Step) error {
			if len(s.Tallies.Norms) > 0 {
				got[int(s.At.Sub(start).Minutes())] = slices.Clone(s.Tallies.Norms)
			}
			if !s.Began.Equal(start) {
				t.Errorf("a step of a run that began at %s", s.Began)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(map[int][]measure.Norm{0: {norm}, 4: {norm, gone}, 8: {norm}}, got); diff != "" {
		t.Errorf("norms by minute (-want +got):\n%s", diff)
	}
}

// TestNamespacesAreRecorded: each namespace's steps are, under its name, and so
// is its end.
func TestNamespacesAreRecorded(t *testing.T) {
	_, label, _, _ := shop(t)
	h := newHost(t, lavish(), label)
	looks, ends := map[string]int{}, []string(nil)
	h.tap(func(s measure.Step) {
		if s.Left {
			ends = append(ends, fmt.Sprint(s.Namespace, " ", s.At.Sub(start)))
		} else {
			looks[s.Namespace]++
		}
	}, nil)
	if _, err := play(h, start, 8*time.Second); err != nil {
		t.Fatal(err)
	}
	if looks[""] == 0 || looks[label] == 0 || len(ends) > 0 {
		t.Fatalf("looks %v, ends %v", looks, ends)
	}
	h.leave(start.Add(time.Hour), h.resident(label).space.ID)
	if diff := cmp.Diff([]string{label + " 1h0m0s"}, ends); diff != "" {
		t.Error(diff)
	}
}

// TestRecorderGivesSegmentsOn: who keeps them elsewhere is given each once.
func TestRecorderGivesSegmentsOn(t *testing.T) {
	var given []recording.Segment
	r := newRecorder()
	r.finished = func(s recording.Segment) { given = append(given, s) }
	for i := range 25 {
		if err := r.add(measure.Step{At: start.Add(time.Duration(i) * time.Second)}); err != nil {
			t.Fatal(err)
		}
	}
	r.flush()
	r.flush()
	if kept := r.segments(start, start.Add(time.Hour)); len(given) != 3 || len(kept) != 3 {
		t.Errorf("%d given on, %d kept, want 3", len(given), len(kept))
	}
}

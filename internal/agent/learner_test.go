package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/measure/baseline"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

var (
	aMonday = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	aShop   = scope.ID{Kind: scope.KindService, Name: "shop"}
	aStore  = scope.ID{Kind: scope.KindBackend, Name: "store/s1"}
)

// aHost plays looks at a service and its backend through measure, judge and the
// learner, as the roof does. It looks each two seconds.
type aHost struct {
	measure *measure.Measure
	judge   *judge.Judge
	minutes *baseline.Minutes
	learner *learner
	norms   []measure.Norm // for the next step
	last    []judge.Incident
}

const aLook = 2 * time.Second

func newAHost() *aHost {
	l := newLearner(baseline.Config{Learn: baseline.DefaultLearn, Quantile: baseline.DefaultQuantile, Factor: baseline.DefaultFactor, Location: time.UTC}, &memory{}, slog.New(slog.DiscardHandler))
	return &aHost{measure: measure.New(""), judge: judge.New(&judge.Numbers{}), minutes: baseline.NewMinutes(), learner: l}
}

// restart forgets all but what the learner's store has.
func (h *aHost) restart(now time.Time) {
	again := newAHost()
	again.learner.store = h.learner.store
	again.norms = again.learner.begin(now)
	*h = *again
}

// at makes one look. answers is how long the backend takes.
func (h *aHost) at(now time.Time, arrivals float64, answers time.Duration) []judge.Incident {
	web := measure.Tally{
		Scope: aShop, Accepted: 20, Queue: measure.Queue{Listeners: 1, Limit: 511},
		Flows: measure.Flows{Known: true, Since: aLook, Scale: 1, New: uint32(math.Round(arrivals * aLook.Seconds()))},
	}
	web.States[tcp.Established] = 20
	store := measure.Tally{Scope: aStore, Group: "store", Pending: 12, Flows: measure.Flows{Known: true, Since: aLook, Scale: 1}}
	store.States[tcp.Established] = 20
	for i := range 12 { // they were sent evenly over the time that one takes
		store.PendingFor.Add(time.Duration(i)*answers/12, 1)
	}
	store.Peer.LongestPending = answers * 11 / 12
	store.Peer.Answering = 8
	store.Peer.Answers.Add(answers, 8)
	if arrivals == 0 {
		web.Accepted, web.States[tcp.Established] = 0, 0
	}
	look := tcp.Look{
		Begin: now, Abilities: tcp.AllAbilities, Completeness: tcp.Complete,
		Request: tcp.Request{Tier: tcp.Full, States: tcp.AllStates, Info: true},
	}
	view := h.measure.Step(now, measure.Tallies{Look: look, Interval: aLook, Scopes: []measure.Tally{web, store}, Norms: h.norms})
	h.norms = nil
	h.last = h.judge.Step(now, view)
	if m := h.minutes.Take(now, view); m != nil {
		h.learner.take(now, unmade{m.Start, baseline.AppendMinute(nil, m)}, spansOf(now, 0, h.last))
		h.norms = h.learner.learn(now)
	}
	return h.last
}

// opened are the incidents of warning and above that opened in a span.
func opened(incidents []judge.Incident, from, to time.Time) (out []string) {
	for _, i := range incidents {
		if i.Peak >= judge.Warning && !i.OpenedAt.Before(from) && i.OpenedAt.Before(to) {
			out = append(out, fmt.Sprintf("%s %s at %s: %s", i.Finding.Scope, i.Finding.Cause, i.OpenedAt.Format(time.DateTime), i.Finding.Trigger))
		}
	}
	return out
}

// nights plays a batch at 02:30 for 40 minutes, with twenty times the arrivals
// and answers that take three times as long, and returns what each night raised.
// Each day is played from midnight to six.
func nights(h *aHost, n int, deaf bool) (raised [][]string) {
	for day := range n {
		midnight := aMonday.AddDate(0, 0, day)
		from, to := midnight.Add(2*time.Hour+30*time.Minute), midnight.Add(3*time.Hour+10*time.Minute)
		for at := midnight; at.Before(midnight.Add(6 * time.Hour)); at = at.Add(aLook) {
			arrivals, answers := 5.0, 400*time.Millisecond
			if !at.Before(from) && at.Before(to) {
				arrivals, answers = 20*arrivals, 3*answers
			}
			h.at(at, arrivals, answers)
			if deaf {
				h.norms = nil
			}
		}
		raised = append(raised, opened(h.last, midnight, midnight.Add(6*time.Hour)))
	}
	return raised
}

// TestANightlyBatchRaisesNothing from the second night on, the first weekend
// among them. By the last hour alone its end is an outage, each night.
func TestANightlyBatchRaisesNothing(t *testing.T) {
	h := newAHost()
	for night, raised := range nights(h, 9, false) {
		if night > 0 && len(raised) > 0 {
			t.Errorf("night %d: %v", night+1, raised)
		}
	}
	if n := h.learner.norms[normKey{aShop, measure.NewFlowsRate}]; n.Learning || n.Low > 5 || n.Low < 2 {
		t.Errorf("learned %+v", n)
	}
	for night, raised := range nights(newAHost(), 2, true) {
		if len(raised) == 0 {
			t.Errorf("night %d without what was learned raised nothing: this test shows nothing", night+1)
		}
	}
}

// TestAnOutageIsSeenAfterARestart in the midst of it: the last hour knows nothing
// then.
func TestAnOutageIsSeenAfterARestart(t *testing.T) {
	h := newAHost()
	until := aMonday.Add(26 * time.Hour)
	for at := aMonday; at.Before(until); at = at.Add(aLook) {
		if raised := opened(h.at(at, 30, 100*time.Millisecond), aMonday, until); len(raised) > 0 {
			t.Fatalf("raised %v", raised)
		}
	}
	h.restart(until.Add(10 * time.Minute))
	begin := until.Add(10 * time.Minute)
	for at := begin; at.Before(begin.Add(2 * time.Minute)); at = at.Add(aLook) {
		h.at(at, 0, 100*time.Millisecond)
	}
	for _, i := range h.last {
		if i.Finding.Cause != judge.TrafficMissing || i.State != judge.Open {
			continue
		}
		e := i.Finding.Evidence[0]
		if !strings.HasPrefix(e.Origin, "usual for all hours, from ") {
			t.Errorf("the threshold %g is from %q", e.Threshold, e.Origin)
		}
		if want := "100 % of the usual new connections to shop do not arrive: 0.0 a second, 29.9 at this hour."; i.Finding.Sentence != want {
			t.Errorf("it says %q", i.Finding.Sentence)
		}
		return
	}
	t.Errorf("nothing was seen: %v", opened(h.last, aMonday, until.Add(time.Hour)))
}

// TestAnOutageIsNotLearned: nor is it by who was told of it.
func TestAnOutageIsNotLearned(t *testing.T) {
	play := func(broken bool) measure.Norm {
		h := newAHost()
		for at := aMonday; at.Before(aMonday.Add(9 * time.Hour)); at = at.Add(aLook) {
			rate := 30.0
			if hour := at.Sub(aMonday); broken && hour >= 3*time.Hour && hour < 5*time.Hour {
				rate = 1
			}
			h.at(at, rate, 100*time.Millisecond)
		}
		return h.learner.norms[normKey{aShop, measure.NewFlowsRate}]
	}
	well, broken := play(false), play(true)
	if math.Abs(broken.Low/well.Low-1) > 0.01 || broken.Minutes >= well.Minutes {
		t.Errorf("with an outage %+v, without %+v", broken, well)
	}
}

// TestClockSteps: a clock a year ahead for an hour, and back, costs that hour.
func TestClockSteps(t *testing.T) {
	h := newAHost()
	play := func(from time.Time, offset time.Duration, long time.Duration) {
		for at := from; at.Before(from.Add(long)); at = at.Add(30 * time.Second) {
			minute := &baseline.Minute{Start: at.Add(offset).Truncate(time.Minute), Scopes: []baseline.Row{{Scope: aShop, Ranges: []baseline.Range{{Signal: measure.NewFlowsRate, Looks: 60, Least: 5, Mean: 5, Greatest: 5}}}}}
			var s baseline.Sketch
			s.Add(5)
			minute.Scopes[0].Sketches = []baseline.Sampled{{Signal: measure.NewFlowsRate, Sketch: s}}
			h.learner.take(at.Add(offset), unmade{minute.Start, baseline.AppendMinute(nil, minute)}, nil)
			h.learner.learn(at.Add(offset))
		}
	}
	play(aMonday, 0, 3*time.Hour)
	play(aMonday.Add(3*time.Hour), 365*24*time.Hour, time.Hour)
	play(aMonday.Add(4*time.Hour), 0, 4*time.Hour)
	n := h.learner.norms[normKey{aShop, measure.NewFlowsRate}]
	if n.Minutes < 4*60 || n.Usual < 4.9 || n.Usual > 5.1 {
		t.Errorf("learned %+v", n)
	}
	if got := len(h.learner.minutes); got > 600 {
		t.Errorf("%d minutes are waiting", got)
	}
}

// TestExportAndImport: what one host learned, on another.
func TestExportAndImport(t *testing.T) {
	h := newAHost()
	for at := aMonday; at.Before(aMonday.Add(5 * time.Hour)); at = at.Add(aLook) {
		h.at(at, 30, 100*time.Millisecond)
	}
	now := aMonday.Add(5 * time.Hour)
	raw, err := json.Marshal(h.learner.export(now, "web03"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		in      func(*api.BaselineImport)
		host    string
		refused string
		scopes  []string
		left    []string
	}{
		{name: "the same host", host: "web03", scopes: []string{"backend/store/s1", "service/shop"}},
		{name: "another host", host: "web04", refused: "--as web04"},
		{name: "another host, meant", host: "web04", in: func(i *api.BaselineImport) { i.As = "web04" }, scopes: []string{"backend/store/s1", "service/shop"}},
		{name: "the wrong agent", host: "web05", in: func(i *api.BaselineImport) { i.As = "web04" }, refused: "this host is web05"},
		{name: "one scope under another name", host: "web04", in: func(i *api.BaselineImport) { i.ScopeMap = map[string]string{"service/shop": "service/web@a"} }, scopes: []string{"service/web@a"}, left: []string{"backend/store/s1"}},
		{name: "a scope that it has not", host: "web04", in: func(i *api.BaselineImport) { i.ScopeMap = map[string]string{"service/web": "service/web"} }, refused: "nothing of service/web"},
		{name: "a service as a backend", host: "web04", in: func(i *api.BaselineImport) { i.ScopeMap = map[string]string{"service/shop": "backend/shop"} }, refused: "cannot become"},
		{name: "two as one", host: "web04", in: func(i *api.BaselineImport) {
			i.ScopeMap = map[string]string{"service/shop": "service/web", "service/store": "service/web"}
		}, refused: "both service/shop and service/store would become service/web"},
		{name: "an hour twice", host: "web03", in: func(i *api.BaselineImport) { i.File.Hours = append(i.File.Hours, i.File.Hours[0]) }, refused: "it comes twice"},
		{name: "another version", host: "web03", in: func(i *api.BaselineImport) { i.File.Version = 9 }, refused: "version 9"},
		{name: "another format", host: "web03", in: func(i *api.BaselineImport) { i.File.Format = "x" }, refused: "no file of baselines"},
		{name: "spoiled", host: "web03", in: func(i *api.BaselineImport) { i.File.Hours[0].Data = i.File.Hours[0].Data[:9] }, refused: "cut short"},
		{name: "an hour that is none", host: "web03", in: func(i *api.BaselineImport) { i.File.Hours[0].Hour = 24 }, refused: "no week has such an hour"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var in api.BaselineImport
			if err := json.Unmarshal(raw, &in.File); err != nil {
				t.Fatal(err)
			}
			if tt.in != nil {
				tt.in(&in)
			}
			hours, taken, left, err := readImport(in, tt.host)
			var refused *api.Refusal
			if tt.refused != "" {
				if !errors.As(err, &refused) || !strings.Contains(err.Error(), tt.refused) {
					t.Fatalf("got %v, want a refusal that has %q", err, tt.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			there := newAHost().learner
			for range 2 { // a second time changes nothing
				if err := there.replace(now, hours, taken); err != nil {
					t.Fatal(err)
				}
			}
			there.renew(now)
			got := map[string]bool{}
			for k := range there.norms {
				got[k.scope.String()] = true
			}
			want := map[string]bool{}
			for _, s := range tt.scopes {
				want[s] = true
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("scopes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.left, left); diff != "" {
				t.Errorf("left out (-want +got):\n%s", diff)
			}
			if tt.name == "the same host" {
				h.learner.minutes = nil // what is recent is not exported
				h.learner.renew(now)
				ignore := cmpopts.IgnoreFields(measure.Norm{}, "Days") // of one day, at other hours of other days
				if diff := cmp.Diff(h.learner.norms, there.norms, ignore); diff != "" {
					t.Errorf("norms (-here +there):\n%s", diff)
				}
			}
		})
	}
}

// TestResetAndLeaveOut: whole hours that are made, minutes that are not.
func TestResetAndLeaveOut(t *testing.T) {
	h := newAHost()
	now := aMonday.Add(6 * time.Hour)
	for at := aMonday; at.Before(now); at = at.Add(aLook) {
		h.at(at, 30, 100*time.Millisecond)
	}
	minutes := func(of scope.ID) int {
		return h.learner.norms[normKey{of, map[scope.Kind]measure.Signal{scope.KindService: measure.NewFlowsRate, scope.KindBackend: measure.AnswerSlow}[of.Kind]}].Minutes
	}
	before := minutes(aShop)
	half := history.LeftOut{From: aMonday.Add(70 * time.Minute), To: aMonday.Add(80 * time.Minute), Scope: aShop.String(), Why: "a move"}
	if _, err := h.learner.leaveOut(now, half); err != nil {
		t.Fatal(err)
	}
	if got := before - minutes(aShop); got != 60 {
		t.Errorf("ten minutes of a made hour took %d minutes, want its 60", got)
	}
	if minutes(aStore) != before {
		t.Errorf("another scope has %d minutes, had %d", minutes(aStore), before)
	}
	reset := history.LeftOut{From: now.Add(-baseline.MostLearn), To: now, Scope: aShop.String(), Why: "reset"}
	changed, err := h.learner.leaveOut(now, reset)
	if err != nil {
		t.Fatal(err)
	}
	if minutes(aShop) != 0 || minutes(aStore) != before {
		t.Errorf("after a reset %d and %d minutes", minutes(aShop), minutes(aStore))
	}
	gone := 0
	for _, n := range changed {
		if n.Scope == aShop && n.Minutes == 0 {
			gone++
		}
	}
	if gone == 0 {
		t.Errorf("nothing took the norms away: %v", changed)
	}
}

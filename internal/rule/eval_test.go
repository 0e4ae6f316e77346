package rule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

var start = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

func compileT(t testing.TB, text string) *Expression {
	t.Helper()
	e, err := Compile("test", text)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// known is a scope whose signals are seen now.
func known(now time.Time, values map[measure.Signal]float64) *measure.ScopeSignals {
	s := &measure.ScopeSignals{Scope: scope.ID{Kind: scope.KindService, Name: "web"}}
	for sig, v := range values {
		s.Readings[sig] = measure.Reading{Value: v, Samples: 1, Seen: now, Good: seconds(10), Validity: measure.Known}
	}
	return s
}

func TestEvalKnowsThreeTruths(t *testing.T) {
	service := known(start, map[measure.Signal]float64{measure.Busy: 5, measure.Sockets: 10, measure.QueueDepth: 0})
	for _, tt := range []struct {
		text string
		want Truth
	}{
		{"service.busy > 4", Yes},
		{"service.busy > 5", No},
		{"service.accepted > 5", Unknown},
		{"!(service.accepted > 5)", Unknown},
		{"service.accepted > 5 && service.busy > 5", No},
		{"service.accepted > 5 && service.busy > 4", Unknown},
		{"service.accepted > 5 || service.busy > 4", Yes},
		{"service.accepted > 5 || service.busy > 5", Unknown},
		{"service.accepted == service.accepted", Unknown},
		{"host.accepts_per_second >= 0", Unknown},
		{"service.busy / service.sockets == 0.5", Yes},
		{"service.busy / service.queue_depth > 1", Unknown},
		{"service.busy / service.queue_depth > 1 || true", Yes},
		{"max(service.busy, service.accepted) >= 5", Unknown},
		{"min(service.busy, 3) == 3 && abs(2 - service.busy) == 3 && -service.busy < 0", Yes},
		{"service.busy != 5", No},
		{"service.busy <= 5 and not (service.busy < 5)", Yes},
	} {
		t.Run(tt.text, func(t *testing.T) {
			e := compileT(t, tt.text)
			if got := e.Eval(e.NewMemory(0), start, service, nil).Truth; got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestEvalSaysWhatItRestsOn(t *testing.T) {
	e := compileT(t, `service.busy > 4 && mean(service.sockets, "2s") > 1 && host.accepts_per_second > 1`)
	service := known(start, map[measure.Signal]float64{measure.Busy: 5, measure.Sockets: 10})
	service.Readings[measure.Busy].Seen = start.Add(-time.Second)
	got := e.Eval(e.NewMemory(0), start, service, &measure.ScopeSignals{})
	want := Result{
		Truth: Unknown, Seen: start.Add(-time.Second), Until: start.Add(seconds(9)),
		Values: []Value{
			{Text: "service.busy", Unit: measure.UnitCount, Term: Term{scope.KindService, measure.Busy}, Reading: service.Readings[measure.Busy]},
			{Text: "service.sockets", Unit: measure.UnitCount, Term: Term{scope.KindService, measure.Sockets}, Reading: service.Readings[measure.Sockets]},
			{Text: "host.accepts_per_second", Unit: measure.UnitPerSecond, Term: Term{scope.KindHost, measure.AcceptsRate}},
			{Text: `mean(service.sockets, "2s")`, Unit: measure.UnitCount, Reading: measure.Reading{Value: 10, Samples: 1, Seen: start, Validity: measure.Known}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSpans holds each function over time to what it is after every sample: a
// number, or nothing while unknown.
func TestSpans(t *testing.T) {
	unseen := -1.0
	for _, tt := range []struct {
		function string
		samples  []float64
		want     string
	}{
		{"mean", []float64{4, 2, 6, 8, 10, 12}, "- 3 4 5 6.5 9"},
		{"median", []float64{4, 2, 9, 8, 0, 8}, "- 3 4 6 5 8"},
		{"min_over", []float64{4, 2, 6, 8, 10, 12}, "- 2 2 2 2 6"},
		{"max_over", []float64{4, 9, 6, 5, 1, 0}, "- 9 9 9 9 6"},
		{"first", []float64{4, 2, 6, 8, 10, 12}, "- 4 4 4 2 6"},
		{"rate", []float64{4, 2, 6, 8, 10, 16}, "- -2 1 1.3333333333333333 2.6666666666666665 3.3333333333333335"},
		{"mean", []float64{4, 2, unseen, unseen, 6, 6}, "- 3 - - 4 6"},
		{"mean", []float64{unseen, unseen, 3, unseen, unseen, unseen, 5}, "- - - - - - -"},
	} {
		t.Run(tt.function, func(t *testing.T) {
			e := compileT(t, tt.function+`(service.busy, "4s") >= 0`)
			m := e.NewMemory(0)
			got := ""
			for i, v := range tt.samples {
				now := start.Add(seconds(i))
				values := map[measure.Signal]float64{measure.Busy: v}
				if v == unseen {
					values = nil
				}
				r := e.Eval(m, now, known(now, values), nil).Values[1].Reading
				text := "-"
				if r.Validity == measure.Known {
					text = fmt.Sprint(r.Value)
				}
				if i > 0 {
					got += " "
				}
				got += text
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestLongSpansAgainstAllSamples compares a span of buckets with a plain list
// of all samples, over looks that come four times a second, early and late.
func TestLongSpansAgainstAllSamples(t *testing.T) {
	e := compileT(t, `mean(service.busy, "20m") >= 0 && max_over(service.busy, "20m") >= 0 && min_over(service.busy, "20m") >= 0`)
	m := e.NewMemory(0)
	var all []float64
	for i := range 1200 {
		now := start.Add(seconds(i) + time.Duration(i%7)*10*time.Millisecond)
		v := float64((i * 37) % 101)
		all = append(all, v)
		r := e.Eval(m, now, known(now, map[measure.Signal]float64{measure.Busy: v}), nil)
		sum, low, high := 0.0, v, v
		for _, a := range all {
			sum, low, high = sum+a, min(low, a), max(high, a)
		}
		if i < 600-1 {
			if got := r.Values[1].Reading.Validity; got == measure.Known {
				t.Fatalf("known after %d samples of 1200", i+1)
			}
			continue
		}
		want := []float64{sum / float64(len(all)), high, low}
		for j := range want {
			got := r.Values[1+j].Reading
			if got.Validity != measure.Known || got.Value-want[j] > 1e-9 || want[j]-got.Value > 1e-9 {
				t.Fatalf("after %d samples %s is %+v, want %v", i+1, r.Values[1+j].Text, got, want[j])
			}
		}
	}
	if n := len(m.spans[0].buckets); n > maxBuckets+1 {
		t.Errorf("%d buckets, more than %d", n, maxBuckets+1)
	}
}

func TestEvalDoesNotAllocate(t *testing.T) {
	e := compileT(t, `mean(service.busy / service.sockets, "2m30s") > 0.15 && service.queue_wait_seconds < median(service.queue_wait_seconds, "1m")`)
	m := e.NewMemory(0)
	now, service := start, known(start, map[measure.Signal]float64{measure.Busy: 5, measure.Sockets: 10, measure.QueueWait: 1})
	step := func() {
		now = now.Add(time.Second)
		e.Eval(m, now, service, nil)
	}
	for range 400 {
		step()
	}
	if n := testing.AllocsPerRun(100, step); n > 0 {
		t.Errorf("%v allocations for each evaluation, want none", n)
	}
}

// BenchmarkEval evaluates one expression for one scope once a second, windows
// full: the bound is 16 medians over 24 h.
func BenchmarkEval(b *testing.B) {
	var bound strings.Builder
	for i := range MaxSpans {
		fmt.Fprintf(&bound, `median(service.busy, "%dm") > 1 || `, 24*60-i)
	}
	for _, bench := range []struct{ name, text string }{
		{"plain", "service.queue_wait_seconds > 0.5 && service.busy >= 20"},
		{"mean_5m", `mean(service.busy / service.sockets, "5m") > 2`},
		{"bound", bound.String() + "false"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			e := compileT(b, bench.text)
			m := e.NewMemory(0)
			values := map[measure.Signal]float64{measure.Busy: 0, measure.Sockets: 10, measure.QueueWait: 1}
			now, service := start, known(start, values)
			for i := range 86_400 {
				service.Readings[measure.Busy].Value = float64(i % 2)
				now = now.Add(time.Second)
				m.due(now)
				for j := range m.spans {
					m.spans[j].add(now, float64(i*i%1009)) // in no order
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(time.Second)
				e.Eval(m, now, service, nil)
			}
		})
	}
}

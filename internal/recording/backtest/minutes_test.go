package backtest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/measure/baseline"
	"github.com/foreshock/foreshock/internal/recording/backtest"
	"github.com/foreshock/foreshock/internal/recording/recordingtest"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/scope"
)

// minuteOf is a minute, so many after the start, in which scopes had one value
// of one signal each: "service/web busy 3".
func minuteOf(t *testing.T, at int, values ...string) *baseline.Minute {
	t.Helper()
	m := &baseline.Minute{Start: recordingtest.Start.Add(time.Duration(at) * time.Minute)}
	for _, text := range values {
		var name, signal string
		var v float64
		if _, err := fmt.Sscan(text, &name, &signal, &v); err != nil {
			t.Fatal(err)
		}
		id, ok := scope.Parse(name)
		if !ok {
			t.Fatalf("scope %q", name)
		}
		for _, sig := range measure.Signals() {
			if sig.String() == signal {
				m.Scopes = append(m.Scopes, baseline.Row{Scope: id, Ranges: []baseline.Range{{Signal: sig, Looks: 60, Least: v, Mean: v, Greatest: v}}})
			}
		}
	}
	return m
}

// spelled writes a verdict's firings: "service/web 0-2 certain in leak".
func spelled(v backtest.Verdict) []string {
	var out []string
	for _, s := range v.Scopes {
		for _, f := range s.Firings {
			text := fmt.Sprintf("%s %g-%g", s.Scope, f.From.Sub(recordingtest.Start).Minutes(), f.To.Sub(recordingtest.Start).Minutes())
			if f.Certain {
				text += " certain"
			}
			if len(f.Inside) > 0 {
				text += " in " + strings.Join(f.Inside, ", ")
			}
			out = append(out, text)
		}
	}
	return out
}

func TestMinutes(t *testing.T) {
	const busy, calm = "service/web busy 9", "service/web busy 1"
	gone := make([][]string, 20) // minutes without the service
	for i := range gone {
		gone[i] = []string{"service/other busy 0"}
	}
	at := func(minutes float64) time.Time {
		return recordingtest.Start.Add(time.Duration(minutes * float64(time.Minute)))
	}
	web, _ := scope.Parse("service/web")
	pod, _ := scope.Parse("backend/shop/s1@pod")
	truths := []backtest.Truth{
		{Scope: web, From: at(1.5), To: at(1.7), Says: "leak"},
		{Scope: web, From: at(30), To: at(31), Says: "churn"},
		{Scope: pod, From: at(0), To: at(1), Says: "path_lost"},
	}
	for _, tt := range []struct {
		name    string
		when    string
		minutes []*baseline.Minute
		want    []string
		skipped int
		unseen  string
	}{
		{"inside and outside", "service.busy > 5", []*baseline.Minute{minuteOf(t, 1, busy), minuteOf(t, 2, calm), minuteOf(t, 3, busy), minuteOf(t, 4, calm)},
			[]string{"service/web 1-2 certain in leak", "service/web 3-4 certain"}, 0, ""},
		{"one that comes twice is one", "service.busy > 5", []*baseline.Minute{minuteOf(t, 3, calm), minuteOf(t, 4, busy), minuteOf(t, 4, calm), minuteOf(t, 5, calm)},
			[]string{"service/web 4-5"}, 0, ""},
		{"the clock was set back", "service.busy > 5", []*baseline.Minute{minuteOf(t, 5, busy), minuteOf(t, 3, busy), minuteOf(t, 4, busy), minuteOf(t, 6, calm)},
			[]string{"service/web 5-6 certain"}, 2, ""},
		{"a scope that is gone", "service.busy > 5", append(append([]*baseline.Minute{minuteOf(t, 3, busy)}, others(t, 4, gone)...), minuteOf(t, 24, busy)),
			[]string{"service/web 3-4 certain", "service/web 24-25 certain"}, 0, ""},
		{"a scope that is back", "service.busy > 5", append(append([]*baseline.Minute{minuteOf(t, 3, busy)}, others(t, 4, gone[:10])...), minuteOf(t, 14, busy)),
			[]string{"service/web 3-15 certain"}, 0, ""},
		{"the host of its namespace", "backend.pending > 1 && host.accepts_per_second > 5",
			[]*baseline.Minute{minuteOf(t, 3, "host accepts_per_second 9", "host@pod accepts_per_second 9", "backend/shop/s1@pod pending 3", "backend/shop/s1 pending 0", "backend/shop/s1@mail pending 3")},
			[]string{"backend/shop/s1@pod 3-4 certain"}, 0, ""},
		{"a rule of the host is about all in its namespace", "host.accepts_per_second > 5",
			[]*baseline.Minute{minuteOf(t, 0, "host accepts_per_second 9", "host@pod accepts_per_second 9")},
			[]string{"host 0-1 certain", "host@pod 0-1 certain in path_lost"}, 0, ""},
		{"a signal that no minute has", "service.busy > 5 && service.zero_window > 0", []*baseline.Minute{minuteOf(t, 3, busy), minuteOf(t, 4, calm)}, nil, 0, "service.zero_window"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := backtest.New([]rule.Rule{makeRule(t, "r", tt.when, 10*time.Second, 0, 0)})
			for _, m := range tt.minutes {
				p.Minute(m)
			}
			v := p.Answer(truths)[0]
			if diff := cmp.Diff(tt.want, spelled(v)); diff != "" {
				t.Errorf("firings (-want +got):\n%s", diff)
			}
			unseen := ""
			for _, term := range v.Unseen {
				unseen += term.String()
			}
			if p.Skipped() != tt.skipped || unseen != tt.unseen {
				t.Errorf("%d skipped, want %d; unseen %q, want %q", p.Skipped(), tt.skipped, unseen, tt.unseen)
			}
		})
	}
}

func others(t *testing.T, from int, values [][]string) []*baseline.Minute {
	var out []*baseline.Minute
	for i, v := range values {
		out = append(out, minuteOf(t, from+i, v...))
	}
	return out
}

// BenchmarkMinute is one minute of 100 backends and five rules: 28 days are
// 40,320 of them.
func BenchmarkMinute(b *testing.B) {
	var rules []rule.Rule
	for i, when := range []string{
		"backend.pending > 5", "backend.retransmitting / backend.sockets > 0.1", `mean(backend.established, "5m") < 3`,
		`backend.new_flows_per_second < 0.5 * median(backend.new_flows_per_second, "1h")`, "backend.time_wait / backend.sockets > 0.2 && host.active_opens_per_second > 1",
	} {
		e, err := rule.Compile("r", when)
		if err != nil {
			b.Fatal(err)
		}
		rules = append(rules, rule.Rule{Name: fmt.Sprint("r", i), When: e, Hold: 10 * time.Second, Severity: rule.Warning})
	}
	m := baseline.Minute{Scopes: make([]baseline.Row, 0, 101)}
	for i := range 101 {
		row := baseline.Row{Scope: recordingtest.Backend(i)}
		if i == 100 {
			row.Scope = scope.Host
		}
		for _, sig := range measure.Signals() {
			if sig.AppliesTo(row.Scope.Kind) {
				row.Ranges = append(row.Ranges, baseline.Range{Signal: sig, Looks: 60, Least: 1, Mean: 2, Greatest: 4})
			}
		}
		m.Scopes = append(m.Scopes, row)
	}
	data := baseline.AppendMinute(nil, &m)
	p := backtest.New(rules)
	b.ReportAllocs()
	at := recordingtest.Start
	for b.Loop() {
		one, err := baseline.DecodeMinute(data)
		if err != nil {
			b.Fatal(err)
		}
		one.Start = at
		at = at.Add(time.Minute)
		p.Minute(one)
	}
}

package rule

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

func TestCompileRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, text, want string
	}{
		{"empty", " ", `column 1: the expression is empty; write a condition, as service.queue_wait_seconds > 0.5`},
		{"unknown signal", "service.queue_wait_second > 1", `column 9: unknown signal "service.queue_wait_second"; did you mean service.queue_wait_seconds? foreshock rule signals lists them`},
		{"far from any signal", "service.x > 1", `column 9: unknown signal "service.x"; foreshock rule signals lists them`},
		{"unknown scope", "servce.sockets > 1", `column 1: unknown scope "servce"; did you mean service.sockets?`},
		{"bare signal", "sockets > 1", `column 1: unknown name "sockets"; write service.sockets`},
		{"bare scope", "1 < host", `column 5: host alone is no number; name a signal of it, as host.passive_opens_per_second`},
		{"wrong scope", "host.sockets > 1", `column 1: a host has no signal sockets; write service.sockets or backend.sockets or region.sockets or address.sockets`},
		{"what backends alone have", "service.pending > 1", `column 1: a service has no signal pending; write backend.pending or region.pending`},
		{"what the rest alone has", "host.unclassified_share > 0.1", `column 1: a host has no signal unclassified_share; it is of what no scope claims, which no rule looks at`},
		{"a backend's signal alone", "pending > 1", `column 1: unknown name "pending"; write backend.pending`},
		{"misspelt backend", "backnd.pending > 1", `column 1: unknown scope "backnd"; did you mean backend.pending?`},
		{"a service and a backend", "host.accepts_per_second > 1 && service.sockets > 1 && backend.sockets > 1",
			`column 55: the rule looks at a backend here and at a service before, which are not each other's; make two rules of it; only host.NAME stands beside either`},
		{"compared units", "service.queue_wait_seconds > service.queue_depth",
			`column 28: > stands between service.queue_wait_seconds, a number of seconds, and service.queue_depth, a count; units are count, seconds, per_second and share; a plain number takes the unit of what it stands beside`},
		{"added units", "service.sockets + service.new_flows_per_second > 1",
			`column 17: + stands between service.sockets, a count, and service.new_flows_per_second, a number per second; units are count, seconds, per_second and share; a plain number takes the unit of what it stands beside`},
		{"duration beside a count", `service.sockets > "5m"`,
			`column 17: > stands between service.sockets, a count, and "5m0s", a number of seconds; units are count, seconds, per_second and share; a plain number takes the unit of what it stands beside`},
		{"duration without quotes", "service.queue_wait_seconds > 250ms", `column 33: bad number syntax: "250m"; put a duration in quotes: "250ms", "5m"`},
		{"no duration", `service.queue_wait_seconds > "soon"`, `column 30: "soon" is no duration; text in quotes is a duration with its unit: "250ms", "30s", "5m", "1h"`},
		{"squares", "service.sockets * service.sockets > 4", `column 17: a count times a count has no unit; multiply by a plain number, or a rate by a time; units are count, seconds, per_second and share; a plain number takes the unit of what it stands beside`},
		{"a number", "service.sockets", `column 1: the expression takes a condition, and service.sockets is a count; compare it with something, as > 0.5`},
		{"not binds first", "not service.sockets > 3", `column 5: not takes a condition, and service.sockets is a count; put what it turns round in parentheses: !(a > b)`},
		{"arithmetic on conditions", "(service.sockets > 1) + 1 > 1", `column 2: + takes numbers, and (service.sockets > 1) is a condition; join conditions with && and ||`},
		{"percent", "service.sockets % 2 == 0", `column 17: the operator % has no place in a rule; write a share as 0.15`},
		{"unknown function", `meen(service.sockets, "60s") > 1`, `column 1: unknown function "meen"; did you mean mean? ` + functionList},
		{"a loop", `all([1], # > 0)`, `column 1: unknown function "all"; ` + functionList},
		{"a choice", "true ? service.sockets > 1 : false", `column 34: if and ?: have no place in a rule; write two rules, or join conditions with && and ||`},
		{"a list", "service.sockets in [1, 2]", `column 17: the operator in has no place in a rule; use + - * /, comparisons, && and ||`},
		{"spans in spans", `mean(median(service.sockets, "60s"), "60s") > 1`, `column 6: median stands inside another function over time; take one of them out: a span is over what is seen, not over other spans`},
		{"span missing", `mean(service.sockets) > 1`, `column 1: mean takes a number and a span, not 1 arguments; write mean(service.sockets, "60s")`},
		{"span too short", `mean(service.sockets, "1s") > 1`, `column 23: the span 1s is not between 2s and 24h0m0s; choose one within`},
		{"rate of a time", `rate(service.queue_wait_seconds, "1m") > 1`, `column 1: rate takes a count, and service.queue_wait_seconds is a number of seconds; compare it with first, the oldest value of the span`},
		{"open parenthesis", "(service.sockets > 1", `column 20: the expression ends too early; finish it, or take out what is open`},
		{"second line", "service.sockets > 1 &&\n  service.socket < 3", `line 2, column 11: unknown signal "service.socket"; did you mean service.sockets? foreshock rule signals lists them`},
		{"too long", strings.Repeat(" ", MaxText) + "1", `column 1: the expression has 2049 bytes, more than 2048; make several rules of it`},
		{"too many parts", strings.Repeat("1+", MaxNodes/2) + "1>1", `column 255: the expression has more than 256 parts; make several rules of it`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Compile("r", tt.text)
			if e != nil || err == nil {
				t.Fatalf("Compile = %v, %v; want an error", e, err)
			}
			if diff := cmp.Diff("rule r: "+tt.want, err.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCompile(t *testing.T) {
	type compiled struct {
		String   string
		Kind     scope.Kind
		Signals  []measure.Signal
		Warnings []string
	}
	for _, tt := range []struct {
		text string
		want compiled
	}{
		{"service.queue_wait_seconds > 0.5 and service.accepted >= 20",
			compiled{"((service.queue_wait_seconds > 0.5) && (service.accepted >= 20))", scope.KindService, []measure.Signal{measure.QueueWait, measure.Accepted}, nil}},
		{`service.queue_wait_seconds > "250ms"`, compiled{`(service.queue_wait_seconds > "250ms")`, scope.KindService, []measure.Signal{measure.QueueWait}, nil}},
		{"host.accepts_per_second < 1", compiled{"(host.accepts_per_second < 1)", scope.KindHost, []measure.Signal{measure.AcceptsRate}, nil}},
		{"host.accepts_per_second < 1 || service.busy > 3",
			compiled{"((host.accepts_per_second < 1) || (service.busy > 3))", scope.KindService, []measure.Signal{measure.AcceptsRate, measure.Busy}, nil}},
		{"backend.time_wait / backend.sockets > 0.20", compiled{"((backend.time_wait / backend.sockets) > 0.2)", scope.KindBackend, []measure.Signal{measure.TimeWait, measure.Sockets}, nil}},
		{"host.accepts_per_second < 1 && backend.established == 0",
			compiled{"((host.accepts_per_second < 1) && (backend.established == 0))", scope.KindBackend, []measure.Signal{measure.AcceptsRate, measure.Established}, nil}},
		{`address.old_share > 0.05 && address.ttl_over_seconds > "30s"`,
			compiled{`((address.old_share > 0.05) && (address.ttl_over_seconds > "30s"))`, scope.KindAddress, []measure.Signal{measure.OldShare, measure.TTLOver}, nil}},
		{"region.retransmitting_share >= 0.2 && host.accepts_per_second < 1",
			compiled{"((region.retransmitting_share >= 0.2) && (host.accepts_per_second < 1))", scope.KindRegion, []measure.Signal{measure.RetransmittingShare, measure.AcceptsRate}, nil}},
		{"1 < service.busy < 5", compiled{"((1 < service.busy) && (service.busy < 5))", scope.KindService, []measure.Signal{measure.Busy}, nil}},
		{`rate(service.sockets, "30s") > host.accepts_per_second`,
			compiled{`(rate(service.sockets, "30s") > host.accepts_per_second)`, scope.KindService, []measure.Signal{measure.Sockets, measure.AcceptsRate}, nil}},
		{`service.queue_depth / service.new_flows_per_second > "2s"`,
			compiled{`((service.queue_depth / service.new_flows_per_second) > "2s")`, scope.KindService, []measure.Signal{measure.QueueDepth, measure.NewFlowsRate}, nil}},
		{"service.sockets < 0", compiled{"(service.sockets < 0)", scope.KindService, []measure.Signal{measure.Sockets},
			[]string{"it can never be true, as a count is never below 0: the rule never reports anything"}}},
		{"0 <= service.sockets", compiled{"(0 <= service.sockets)", scope.KindService, []measure.Signal{measure.Sockets},
			[]string{"it can never be false, as a count is never below 0: the rule reports at once and never ends"}}},
		{"service.accepted_slope_per_second < 0", compiled{"(service.accepted_slope_per_second < 0)", scope.KindService, []measure.Signal{measure.AcceptedSlope}, nil}},
		{"2 > 1", compiled{"(2 > 1)", scope.KindHost, nil, []string{"it can never be false, as it names no signal: the rule reports at once and never ends"}}},
		{"service.busy > 5 && service.sockets > 1 && service.busy < 3",
			compiled{"(((service.busy > 5) && (service.sockets > 1)) && (service.busy < 3))", scope.KindService, []measure.Signal{measure.Busy, measure.Sockets},
				[]string{"it can never be true: the rule never reports anything"}}},
		{"service.busy > 3 || 5 >= service.busy", compiled{"((service.busy > 3) || (5 >= service.busy))", scope.KindService, []measure.Signal{measure.Busy},
			[]string{"it can never be false: the rule reports at once and never ends"}}},
		{"!(service.busy < 5 || service.busy >= 5)", compiled{"(!((service.busy < 5) || (service.busy >= 5)))", scope.KindService, []measure.Signal{measure.Busy},
			[]string{"it can never be true: the rule never reports anything"}}},
		{"service.busy >= 5 && service.busy <= 5", compiled{"((service.busy >= 5) && (service.busy <= 5))", scope.KindService, []measure.Signal{measure.Busy}, nil}},
	} {
		t.Run(tt.text, func(t *testing.T) {
			e, err := Compile("r", tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, compiled{e.String(), e.Kind(), e.Signals(), e.Warnings()}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if e.Text() != tt.text {
				t.Errorf("Text = %q", e.Text())
			}
		})
	}
}

// FuzzCompile: an error is an *Error inside the text and comes without an
// expression; what compiles, compiles again from its own writing to the same;
// what is said never to be true or false never is, whatever the signals.
func FuzzCompile(f *testing.F) {
	for _, seed := range []string{
		"service.queue_wait_seconds > 0.5 && service.accepted >= 20", `mean(service.sockets, "60s") > 1.5`, "!(1 < service.busy < 5)",
		`rate(service.sockets, "30s") * "2s" > abs(-service.busy)`, "service.busy / service.sockets >= 0 or true", "((", "250ms", "service[\"busy\"] > 1",
		"service?.busy > 1", "if true {1} else {2}", "let a = 1; a > 0", "filter([1], # > 0)", "service.busy | abs() > 3", "0x1F < service.busy", "-1 - -1 < 0",
	} {
		f.Add(seed, 1.0, 0.0, true)
	}
	f.Fuzz(func(t *testing.T, text string, a, b float64, known bool) {
		e, err := Compile("r", text)
		if err != nil {
			var p *Error
			if e != nil || !errors.As(err, &p) {
				t.Fatalf("Compile(%q) = %v, %v", text, e, err)
			}
			if p.Line < 1 || p.Column < 1 || p.Line > strings.Count(text, "\n")+1 || p.Column > len(text)+1 || p.Problem == "" || p.Hint == "" {
				t.Fatalf("Compile(%q): %+v is outside the text or says nothing", text, p)
			}
			return
		}
		if len(e.String()) <= MaxText {
			again, err := Compile("r", e.String())
			if err != nil {
				t.Fatalf("%q was written as %q, which is refused: %v", text, e, err)
			}
			if again.String() != e.String() || again.Kind() != e.Kind() {
				t.Fatalf("%q compiles to %q, and that to %q", text, e, again)
			}
		}
		service, host := &measure.ScopeSignals{}, &measure.ScopeSignals{}
		for i := range measure.NumSignals {
			value := a
			if i%2 == 1 {
				value = b
			}
			if lowest(measure.Signal(i)) == 0 && value < 0 {
				value = -value
			}
			if known {
				service.Readings[i] = measure.Reading{Value: value, Validity: measure.Known, Seen: start}
			}
			host.Readings[i] = service.Readings[i]
		}
		m := e.NewMemory(0)
		for i := range 4 {
			truth := e.Eval(m, start.Add(seconds(i)), service, host).Truth
			for _, w := range e.Warnings() {
				if truth == Yes && strings.Contains(w, "never be true") || truth == No && strings.Contains(w, "never be false") {
					t.Fatalf("%q is %s, and was said: %s", text, truth, w)
				}
			}
		}
	})
}

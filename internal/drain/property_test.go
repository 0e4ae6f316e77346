package drain_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/foreshock/foreshock/internal/drain"
)

// world is connections that leave the old addresses one by one, and the hosts
// that see them: at one end, at both, or not at all.
type world struct {
	leaves []float64 // when each connection goes to the new address; never is far
	client []int     // which client's host began it
}

// on counts the connections of one client (all: below zero) on both sides.
func (w *world) on(t float64, client int) (before, after int) {
	for i, at := range w.leaves {
		switch {
		case client >= 0 && w.client[i] != client:
		case t < at:
			before++
		default:
			after++
		}
	}
	return before, after
}

// TestNeverSettledWhileOnOld (E14): whichever hosts report, and however their
// looks lie, a drain is not settled while more than 1 % of the live connections
// that any of them has are on the old addresses.
func TestNeverSettledWhileOnOld(t *testing.T) {
	settled, open := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		w := world{}
		n := rapid.IntRange(0, 400).Draw(t, "connections")
		stay := rapid.SampledFrom([]float64{0, 0, 0.005, 0.009, 0.0099, 0.01, 0.011, 0.02, 0.4}).Draw(t, "stay")
		last := rapid.Float64Range(1, 900).Draw(t, "last")
		back := rapid.Float64Range(0, 1).Draw(t, "spread")
		for i := range n {
			at := last * math.Pow(float64(i+1)/float64(n), 1+back)
			if float64(i) < stay*float64(n) {
				at = 1e9
			}
			w.leaves, w.client = append(w.leaves, at), append(w.client, i%3)
		}
		now := rapid.Float64Range(1, 1200).Draw(t, "now")
		reports := w.reports(t, now)
		s := drain.Merge(reports)
		if s.Verdict != drain.Settled {
			open++
			if s.SafeToPowerOff {
				t.Fatalf("safe to power off while %s", s.Verdict)
			}
			return
		}
		settled++
		// What the hosts that report have, counted anew: all of it where the old one
		// does, else what these clients began.
		var before, after int
		for _, r := range reports {
			if r.Agent == "old" {
				before, after = w.on(now, -1)
				break
			}
			if r.Now.Asked != (drain.Sides{}) {
				old, moved := w.on(now, int(r.Agent[6]-'0'))
				before, after = before+old, after+moved
			}
		}
		if 100*before > before+after {
			t.Fatalf("settled with %d of %d on old: %s", before, before+after, s.Sentence)
		}
		if now < 60 {
			t.Fatalf("settled %g s after the switch: it takes two windows", now)
		}
	})
	if !testing.Short() && (settled < 5 || open < 5) {
		t.Errorf("%d runs settled and %d did not: the property says nothing", settled, open)
	}
}

// reports are what some of the hosts say: three clients, the old and the new
// host, each with looks at times of its own.
func (w *world) reports(t *rapid.T, now float64) []drain.Report {
	var out []drain.Report
	for _, host := range []string{"client0", "client1", "client2", "old", "new"} {
		if !rapid.Bool().Draw(t, host) {
			continue
		}
		off := rapid.Float64Range(0, 20).Draw(t, "off")
		see := func(at float64) drain.Point {
			var p drain.Point
			all, moved := w.on(at, -1)
			switch host {
			case "old":
				p.Served.Old = count(all)
			case "new":
				p.Served.New = count(moved)
			default:
				before, after := w.on(at, int(host[6]-'0'))
				p.Asked = drain.Sides{Old: count(before), New: count(after)}
			}
			return p
		}
		r := report(host, 0, func(float64) drain.Point { return drain.Point{} })
		r.Curve, r.SinceSeconds = nil, now-off
		for at := -60 + off; at < now; at += 10 {
			p := see(at)
			p.SinceSeconds = at - off
			r.Curve = append(r.Curve, p)
		}
		r.Now = see(now)
		r.Now.SinceSeconds = now - off
		out = append(out, r)
	}
	return out
}

// TestSettledIsTheLastReason: whatever else is in order, each one thing that is
// not keeps a drain from being settled.
func TestSettledIsTheLastReason(t *testing.T) {
	spoil := []func(*drain.Report){
		func(r *drain.Report) { r.Now.Served.Old = count(40) },
		func(r *drain.Report) { r.Curve[len(r.Curve)-2].Served.Old = count(40) },
		func(r *drain.Report) { r.Now.Asked.Old.Connecting = 1 },
		func(r *drain.Report) { r.SinceSeconds += 40 },
		func(r *drain.Report) { r.Resolvers[0].Class = drain.ClassOldInTTL },
		func(r *drain.Report) { r.Resolvers[0].Class = drain.ClassError },
		func(r *drain.Report) { r.Resolvers[0].Class = "of a later version" },
		func(r *drain.Report) { r.Probes[0].Wrong = true },
		func(r *drain.Report) { r.Probes = nil },
		func(r *drain.Report) { r.TTLSeconds = new(1e6) },
		func(r *drain.Report) {
			r.Arrivals = &drain.Arrivals{ExpectedPerSecond: 100, ErrorPerSecond: 10, At: "served"}
		},
		func(r *drain.Report) { r.Curve = nil },
	}
	rapid.Check(t, func(t *rapid.T) {
		r := report("edge", rapid.Float64Range(200, 3000).Draw(t, "since"), steady(served(3, 997)))
		if s := drain.Merge([]drain.Report{r}); s.Verdict != drain.Settled {
			t.Fatalf("%s: %q", s.Verdict, s.Why)
		}
		k := rapid.IntRange(0, len(spoil)-1).Draw(t, "what")
		spoil[k](&r)
		if s := drain.Merge([]drain.Report{r}); s.Verdict == drain.Settled {
			t.Fatalf("settled though spoilt by %d", k)
		}
	})
}

// TestOneAgentTwiceIsOne: a report that comes by two ways changes nothing.
func TestOneAgentTwiceIsOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := report("edge", rapid.Float64Range(61, 1500).Draw(t, "since"), halving(rapid.IntRange(0, 5000).Draw(t, "n"), rapid.Float64Range(1, 1000).Draw(t, "half")))
		one, two := drain.Merge([]drain.Report{r}), drain.Merge([]drain.Report{r, r})
		a, _ := json.Marshal(one)
		b, _ := json.Marshal(two)
		if string(a) != string(b) {
			t.Fatalf("once %s\ntwice %s", a, b)
		}
	})
}

// FuzzMerge: whatever agents say, there is a status that can be written as JSON,
// nothing is null in it that is a list, and it is not settled by what is missing.
func FuzzMerge(f *testing.F) {
	short := func(r *drain.Report) { r.Curve = r.Curve[len(r.Curve)-3:] }
	good, err := json.Marshal([]drain.Report{with(report("edge", 100, steady(served(2, 998))), short), with(report("b", 90, steady(asked(0, 5))), short)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`[{"since_seconds":1e308,"now":{"since_seconds":-1e308,"served":{"old":{"established":-5,"new_per_second":1e308},"new":{"new_per_second":1e308}}},"curve":[{"since_seconds":1e300},{"since_seconds":-1e300}],"switched_at":"2026-03-02T10:00:00Z"}]`))
	f.Add([]byte(`[{"arrivals":{"expected_per_second":1e-300,"per_second":1e300,"at":"asked"}},{"agent":"x"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var reports []drain.Report
		if json.Unmarshal(data, &reports) != nil {
			return
		}
		for i := range reports {
			drain.Blame(&reports[i])
		}
		s := drain.Merge(reports)
		if _, err := json.Marshal(s); err != nil {
			t.Fatal(err)
		}
		if s.Agents == nil || s.Why == nil || s.Curve == nil || s.Laggards == nil || s.Resolvers == nil || s.Probes == nil || s.Advice == nil || s.Limits == nil {
			t.Fatalf("a list is null: %+v", s)
		}
		if len(s.Curve) > 1500 || len(s.Laggards) > 100 {
			t.Fatalf("%d points and %d laggards", len(s.Curve), len(s.Laggards))
		}
		if s.Verdict == drain.Settled && (s.Now.Served.Old.Established*99 > s.Now.Served.New.Established && s.Now.Served.Old.Established > 0 || len(s.Resolvers) == 0) {
			t.Fatalf("settled: %s", data)
		}
		if (s.Verdict == drain.Settled) != (len(s.Why) == 0) || s.Sentence == "" {
			t.Fatalf("%s because %q: %q", s.Verdict, s.Why, s.Sentence)
		}
	})
}

// TestBlame: why each laggard is where it is, and nobody before the TTL is over.
func TestBlame(t *testing.T) {
	one := func(l drain.Laggard) drain.Laggard {
		l.Old, l.Process = oldAddress, "shop"
		if l.Vantage == "" {
			l.Vantage = "asked"
		}
		return l
	}
	late := one(drain.Laggard{Connections: 20, NewAfterTTL: 5, Moving: 20})
	pooled := one(drain.Laggard{Connections: 20, Moving: 20, OldestSeconds: 400})
	met := one(drain.Laggard{Connections: 20, Moving: 20, OldestSeconds: 3})
	failing := one(drain.Laggard{Connections: 20, Failing: 19, NewAfterTTL: 5})
	lossy := one(drain.Laggard{Connections: 20, Failing: 1})
	remote := one(drain.Laggard{Vantage: "served", Connections: 20, NewAfterTTL: 5, Prefix: "203.0.113.0/24", ASN: 64500})
	in := func(class drain.Class) drain.Resolver {
		return drain.Resolver{Label: "unbound-9", Server: "192.0.2.53:53", Role: "system", Class: class, Addresses: []netip.Addr{oldAddress}, TTLSeconds: 40}
	}
	elsewhere := resolver("isp", "192.0.2.99:53", "configured", drain.ClassOldBeyond)
	tests := []struct {
		name      string
		of        drain.Laggard
		since     float64
		ttl       *float64
		resolvers []drain.Resolver
		want      string // cause place
	}{
		{"before the TTL is over", late, 30, new(60.0), []drain.Resolver{in(drain.ClassOldBeyond)}, " "},
		{"nor just at its end", late, 60.9, new(60.0), []drain.Resolver{in(drain.ClassOldBeyond)}, " "},
		{"no TTL is known", late, 3000, nil, nil, " "},
		{"failing is said at once", failing, 2, new(60.0), nil, "users_failing_on_old "},
		{"failing goes first", failing, 300, new(60.0), []drain.Resolver{in(drain.ClassOldBeyond)}, "users_failing_on_old "},
		{"a lost segment is no failing", lossy, 300, new(60.0), nil, "old_connection "},
		{"its resolver extends", late, 300, new(60.0), []drain.Resolver{in(drain.ClassOldBeyond)}, "stale_dns resolver"},
		{"its resolver serves stale", late, 300, new(60.0), []drain.Resolver{in(drain.ClassServStale)}, "stale_dns resolver"},
		{"its resolver has both", late, 300, new(60.0), []drain.Resolver{in(drain.ClassMixed)}, "stale_dns resolver"},
		{"its resolver may", late, 300, new(60.0), []drain.Resolver{in(drain.ClassOldInTTL)}, " "},
		{"its resolver is right", late, 300, new(60.0), []drain.Resolver{in(drain.ClassNew), elsewhere}, "stale_dns process"},
		{"one right, one wrong", late, 300, new(60.0), []drain.Resolver{in(drain.ClassNew), in(drain.ClassOldBeyond)}, "stale_dns resolver"},
		{"nobody was asked", late, 300, new(60.0), []drain.Resolver{in(drain.ClassUnasked), in(drain.ClassError)}, "stale_dns "},
		{"others' clients", remote, 300, new(60.0), []drain.Resolver{in(drain.ClassOldBeyond)}, "stale_dns "},
		{"met after the TTL", met, 300, new(60.0), nil, " "},
		{"met before it was over", met, 62, new(60.0), nil, "old_connection "},
		{"a pool", pooled, 300, new(60.0), []drain.Resolver{in(drain.ClassOldBeyond)}, "old_connection "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := report("edge", tt.since, steady(asked(20, 20)))
			r.TTLSeconds, r.Resolvers, r.Laggards = tt.ttl, tt.resolvers, []drain.Laggard{tt.of}
			drain.Blame(&r)
			l := r.Laggards[0]
			if got := l.Cause + " " + l.Place; got != tt.want || l.Advice == "" {
				t.Errorf("%q (%s), want %q", got, l.Advice, tt.want)
			}
			s := drain.Merge([]drain.Report{r})
			if len(s.Advice) == 0 {
				t.Error("no advice")
			}
		})
	}
	armed := report("edge", 300, steady(asked(20, 20)))
	armed.SwitchedAt, armed.Laggards = time.Time{}, []drain.Laggard{failing, late}
	drain.Blame(&armed)
	if got := fmt.Sprint(armed.Laggards[0].Cause, armed.Laggards[1].Cause); got != "" {
		t.Errorf("before the switch %q is blamed", got)
	}
}

package judge

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// sideWith is one side of a switch with these readings.
func sideWith(side scope.Side, values map[measure.Signal]float64, ends measure.AddressNow) *measure.ScopeSignals {
	out := &measure.ScopeSignals{Scope: shop.ID(side, ""), Group: shop.Name, Fresh: true, Address: ends}
	for sig, v := range values {
		out.Readings[sig] = measure.Reading{Value: v, Samples: 100, Seen: scenarioStart, Good: time.Hour, Validity: measure.Known}
	}
	return out
}

func subjectOf(s, other *measure.ScopeSignals) subject {
	host := &measure.ScopeSignals{Scope: scope.Host}
	g := newGroup()
	g.add(s)
	g.add(other)
	return subject{scope: s, host: host, group: g, around: &around{}}
}

// TestSwitchInWords: what a person reads of the causes of a switch.
func TestSwitchInWords(t *testing.T) {
	type numbers map[measure.Signal]float64
	type words struct {
		Sentence, Hurt string
		Place          Place
	}
	asks := func(late int) measure.AddressNow { return measure.AddressNow{Asked: measure.EndNow{NewAfterTTL: late}} }
	serves := func(late int) measure.AddressNow {
		return measure.AddressNow{Served: measure.EndNow{NewAfterTTL: late}}
	}
	stale := func(asked, stale float64) numbers {
		return numbers{measure.NewAfterTTL: 5, measure.TTLOver: 41, measure.ResolversAsked: asked, measure.ResolversStale: stale, measure.Failing: 0}
	}
	tests := []struct {
		name   string
		rule   causeRule
		side   scope.Side
		values numbers
		ends   measure.AddressNow
		want   words
	}{
		{"users fail", usersFailingOnOld(), scope.OldSide, numbers{measure.Failing: 14, measure.SwitchedAgo: 41, measure.SynSent: 9, measure.Retransmitting: 5, measure.OldNewShare: 0.38}, asks(0), words{
			Sentence: "Up to 14 connections at once to the old addresses of shop.example fail, 41 s after the switch: now 9 attempts are not answered, 5 have sent something again in vain.",
			Hurt:     "whoever is still sent to the old addresses of shop.example: 38 % of the new connections for it that are seen here; how many clients stand behind that is not seen here",
		}},
		{"users failed a moment ago", usersFailingOnOld(), scope.OldSide, numbers{measure.Failing: 2, measure.SwitchedAgo: 90}, asks(0), words{
			Sentence: "Up to 2 connections at once to the old addresses of shop.example fail, 1 min 30 s after the switch.",
			Hurt:     "whoever is still sent to the old addresses of shop.example; how many clients stand behind that is not seen here",
		}},
		{"a resolver", staleDNS(), scope.OldSide, stale(2, 1), asks(5), words{
			Sentence: "5 connections to the old addresses of shop.example were begun within 30 s, though the TTL of the old answer was over 41 s ago: 1 of 2 resolvers of this host still gives it.",
			Hurt:     "nobody for as long as the old addresses of shop.example answer", Place: AtResolver,
		}},
		{"a process", staleDNS(), scope.OldSide, stale(1, 0), asks(5), words{
			Sentence: "5 connections to the old addresses of shop.example were begun within 30 s, though the TTL of the old answer was over 41 s ago: 1 resolver of this host gives new ones, so a process keeps it, or has the address fixed.",
			Hurt:     "nobody for as long as the old addresses of shop.example answer", Place: InProcess,
		}},
		{"no resolver", staleDNS(), scope.OldSide, numbers{measure.NewAfterTTL: 5, measure.TTLOver: 41, measure.Failing: 3}, asks(5), words{
			Sentence: "5 connections to the old addresses of shop.example were begun within 30 s, though the TTL of the old answer was over 41 s ago: where that is kept cannot be told, as no resolver of this host was asked.",
			Hurt:     "up to 3 connections of them fail at once; how many clients stand behind that is not seen here",
		}},
		{"from elsewhere", staleDNS(), scope.OldSide, stale(1, 0), serves(5), words{
			Sentence: "5 connections to the old addresses of shop.example were begun within 30 s, though the TTL of the old answer was over 41 s ago: where that is kept cannot be told here, as they come from elsewhere, by resolvers of their own.",
			Hurt:     "nobody for as long as the old addresses of shop.example answer",
		}},
		{"a pool", oldConnection(), scope.OldSide, numbers{measure.OlderThanTTL: 1, measure.TTLOver: 125, measure.OldShare: 0.1, measure.Moving: 1}, asks(0), words{
			Sentence: "1 connection to the old addresses of shop.example goes on, 2 min 5 s after the TTL of the old answer: a connection that is kept never asks for the name again. 10 % of its connections seen here are there.",
			Hurt:     "nobody for as long as the old addresses of shop.example are up; bytes moved on 1 connection there within a minute",
		}},
		{"the headline", arrivalsMissing(), scope.NewSide, numbers{measure.ArrivalsRate: 172.2, measure.ArrivalsExpected: 410, measure.ArrivalsExpectedError: 40}, asks(0), words{
			Sentence: "Since the switch 58 % of the usual new connections to shop.example have not arrived: expected 410/s ± 40, seen 172/s.",
			Hurt:     "whoever should come: about 238 new connections a second fewer than before; who they are is not seen here",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := subjectOf(sideWith(tt.side, tt.values, tt.ends), sideWith(1-tt.side, nil, measure.AddressNow{}))
			f := Finding{Scope: s.scope.Scope, Cause: tt.rule.cause}
			tt.rule.explain(s, &f)
			if diff := cmp.Diff(tt.want, words{f.Sentence, hurt(s, tt.rule.cause), f.Place}); diff != "" {
				t.Errorf("words (-want +got):\n%s", diff)
			}
			if len(f.Advice) == 0 || f.Certainty == Unknown {
				t.Errorf("no advice or no certainty: %+v", f)
			}
		})
	}
}

// TestNobodyIsAccusedWrongly: whatever the signals are, nobody is said to go by
// an old answer without a connection begun after the TTL, no resolver without a
// stale answer, no process where one was stale or none was asked, nobody to fail
// where nothing does, and nothing at all before the switch.
func TestNobodyIsAccusedWrongly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := New(&Numbers{})
		quiet, armed, works := rapid.Bool().Draw(t, "none is begun"), rapid.Bool().Draw(t, "armed"), rapid.Bool().Draw(t, "nothing fails")
		for at := range rapid.IntRange(5, 60).Draw(t, "looks") {
			now := scenarioStart.Add(time.Duration(at) * time.Second)
			view := anyView(t, now, quiet, armed, works)
			s := &view.Scopes[0]
			stale, _ := s.Get(measure.ResolversStale).Get()
			asked, _ := s.Get(measure.ResolversAsked).Get()
			for _, inc := range j.Step(now, view) {
				f := &inc.Finding
				fresh := inc.UpdatedAt.Equal(now)
				switch {
				case armed:
					t.Fatalf("before the switch: %s", f.Sentence)
				case f.Cause == StaleDNS && quiet, f.Cause == UsersFailingOnOld && works:
					t.Fatalf("accused wrongly: %s", f.Sentence)
				case fresh && f.Place == AtResolver && stale == 0, fresh && f.Place == InProcess && (stale > 0 || asked == 0),
					fresh && f.Place != NoPlace && s.Address.Asked.NewAfterTTL == 0:
					t.Fatalf("the place is %s: %s", f.Place, f.Sentence)
				}
			}
		}
	})
}

// anyView is both sides of a switch with any readings, known or not.
func anyView(t *rapid.T, now time.Time, quiet, armed, works bool) *measure.View {
	view := &measure.View{At: now}
	for _, side := range []scope.Side{scope.OldSide, scope.NewSide} {
		s := measure.ScopeSignals{Scope: shop.ID(side, ""), Group: shop.Name, Fresh: true}
		for _, sig := range measure.Signals() {
			if !sig.AppliesTo(scope.KindAddress) || rapid.IntRange(0, 9).Draw(t, "unknown") == 0 {
				continue
			}
			value := float64(rapid.IntRange(0, 60).Draw(t, sig.String()))
			switch {
			case sig.Definition().Unit == measure.UnitShare:
				value /= 60
			case sig == measure.NewAfterTTL && quiet, sig == measure.Failing && works:
				value = 0
			case sig == measure.SwitchedAgo && armed:
				continue
			}
			s.Readings[sig] = measure.Reading{Value: value, Samples: 60, Seen: now, Good: 2500 * time.Millisecond, Validity: measure.Known}
		}
		if late := int(s.Get(measure.NewAfterTTL).Value); rapid.Bool().Draw(t, "asked here") {
			s.Address.Asked.NewAfterTTL = late
		} else {
			s.Address.Served.NewAfterTTL = late
		}
		view.Scopes = append(view.Scopes, s)
	}
	view.Scopes = append(view.Scopes, measure.ScopeSignals{Scope: scope.Host, Fresh: true})
	return view
}

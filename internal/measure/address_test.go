package measure

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// drained plays looks at all states a second apart to a Measure.
type drained struct {
	m    *Measure
	now  time.Time
	view *View
}

func (d *drained) step(old, fresh Address) *drained {
	d.now = d.now.Add(time.Second)
	tally := func(side scope.Side, a Address) Tally {
		return Tally{
			Scope: (&scope.Switch{Name: "shop.example"}).ID(side, ""), Group: "shop.example", Address: a,
			States: states(map[tcp.State]uint32{tcp.Established: a.Asked.Established + a.Served.Established, tcp.SynSent: a.Asked.Connecting}),
			Flows:  Flows{Known: true, New: a.Asked.New + a.Served.New, Since: time.Second, Scale: 1},
		}
	}
	d.view = d.m.Step(d.now, Tallies{
		Look: look(whole, d.now), Interval: time.Second,
		Scopes: []Tally{tally(scope.OldSide, old), tally(scope.NewSide, fresh), {Scope: scope.Rest}},
	})
	return d
}

func (d *drained) on(side scope.Side) *ScopeSignals {
	return d.view.Scope((&scope.Switch{Name: "shop.example"}).ID(side, ""))
}

func newDrained() *drained { return &drained{m: New(""), now: begin} }

// known are the readings of a scope of those signals: NaN for one that has no
// value.
func known(s *ScopeSignals, signals ...Signal) map[string]float64 {
	out := map[string]float64{}
	for _, sig := range signals {
		value, known := s.Get(sig).Get()
		if !known {
			value = math.NaN()
		}
		out[sig.String()] = math.Round(value*1000) / 1000
	}
	return out
}

var nan = math.NaN()

func diffOf(want, got map[string]float64) string {
	return cmp.Diff(want, got, cmp.Comparer(func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }))
}

func TestAddressSignals(t *testing.T) {
	d := newDrained()
	at := func(since, ttl time.Duration, asked, served End) Address {
		return Address{Since: since, TTL: ttl, Asked: asked, Served: served}
	}
	// Half a minute of old ones alone, one of which fails for a second: TTL 10 s.
	for i := range 30 {
		asked := End{Connections: 40, Established: 39, Connecting: 1, Moving: 30, Bytes: 1000, New: 2}
		if i == 27 {
			asked.Established, asked.Retransmitting, asked.Connecting = 36, 4, 4
		}
		if i >= 20 {
			asked.NewAfterTTL, asked.Older = 2, 9
		}
		d.step(at(time.Duration(i)*time.Second, 10*time.Second, asked, End{Connections: 20, Established: 20, Moving: 20}),
			at(time.Duration(i)*time.Second, 10*time.Second, End{Connections: 21, Established: 21, New: 6}, End{}))
	}
	old := d.on(scope.OldSide)
	signals := []Signal{SwitchedAgo, TTLOver, Failing, FailingShare, OldShare, OldNewShare, NewAfterTTL, OlderThanTTL, Moving, Connections, Established, ArrivalsRate, Accepted, Unaccepted}
	want := map[string]float64{
		"switched_seconds": 29, "ttl_over_seconds": 19, "failing": 8, "failing_share": 0.133, "old_share": 0.738, "old_new_share": 0.25,
		"new_after_ttl": 20, "older_than_ttl": 9, "moving": 50, "connections": 60, "established": 59, "arrivals_per_second": nan, "accepted": 0, "unaccepted": nan,
	}
	if diff := diffOf(want, known(old, signals...)); diff != "" {
		t.Errorf("the old side (-want +got):\n%s", diff)
	}
	ends := AddressNow{
		Asked:  EndNow{Connections: 40, Established: 39, Connecting: 4, Moving: 30, NewPerSecond: 2, BytesPerSecond: 1000, NewAfterTTL: 20},
		Served: EndNow{Connections: 20, Established: 20, Moving: 20},
	}
	if diff := cmp.Diff(ends, old.Address); diff != "" || old.Group != "shop.example" {
		t.Errorf("both ends, of %q (-want +got):\n%s", old.Group, diff)
	}
	fresh := d.on(scope.NewSide)
	want = map[string]float64{"switched_seconds": 29, "failing": 0, "old_share": nan, "arrivals_per_second": 8, "arrivals_expected_per_second": nan, "arrivals_missing_share": nan}
	if diff := diffOf(want, known(fresh, SwitchedAgo, Failing, OldShare, ArrivalsRate, ArrivalsExpected, ArrivalsMissing)); diff != "" {
		t.Errorf("the new side (-want +got):\n%s", diff)
	}
	for i := range d.view.Scopes {
		s := &d.view.Scopes[i]
		for sig := range Signal(NumSignals) {
			if s.Get(sig).Validity != NeverSeen && !sig.AppliesTo(s.Scope.Kind) {
				t.Errorf("%s has %s", s.Scope, sig)
			}
		}
	}
}

// TestNoneLateTakesItsTime: that nobody came late in the first moment, as after a
// start of the agent, does not say that nobody does.
func TestNoneLateTakesItsTime(t *testing.T) {
	d := newDrained()
	var got []float64
	for i := range 40 {
		old := Address{Since: time.Minute + time.Duration(i)*time.Second, TTL: 10 * time.Second, Asked: End{Connections: 5, Established: 5}}
		if i == 35 {
			old.Asked.New, old.Asked.NewAfterTTL = 1, 1
		}
		if d.step(old, Address{Since: old.Since, TTL: old.TTL}); i%10 == 5 || i%10 == 0 {
			got = append(got, known(d.on(scope.OldSide), NewAfterTTL)["new_after_ttl"])
		}
	}
	want := map[string]float64{"0": nan, "5": nan, "10": nan, "15": nan, "20": nan, "25": nan, "30": 0, "35": 1}
	seen := map[string]float64{}
	for i, v := range got {
		seen[strconv.Itoa(5*i)] = v
	}
	if diff := diffOf(want, seen); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestAddressSignalsUnknown: what cannot be said is unknown, and why.
func TestAddressSignalsUnknown(t *testing.T) {
	why := func(a Address) map[string]string {
		d := newDrained().step(a, a).step(a, a)
		out := map[string]string{}
		for _, sig := range []Signal{SwitchedAgo, TTLOver, NewAfterTTL, OlderThanTTL, OldShare, OldNewShare, FailingShare} {
			out[sig.String()] = d.on(scope.OldSide).Get(sig).Validity.String()
		}
		out[ArrivalsMissing.String()] = d.on(scope.NewSide).Get(ArrivalsMissing).Validity.String()
		return out
	}
	tests := []struct {
		name string
		of   Address
		want map[string]string
	}{
		{"only expected", Address{Since: -1, TTL: time.Second, Asked: End{Connections: 1, Established: 1, New: 1}}, map[string]string{
			"switched_seconds": "not_enough", "ttl_over_seconds": "not_enough", "new_after_ttl": "not_enough", "older_than_ttl": "not_enough",
			"old_share": "not_enough", "old_new_share": "not_enough", "failing_share": "known", "arrivals_missing_share": "not_enough",
		}},
		{"no TTL, no connections", Address{Since: time.Second}, map[string]string{
			"switched_seconds": "known", "ttl_over_seconds": "no_limit", "new_after_ttl": "no_limit", "older_than_ttl": "no_limit",
			"old_share": "no_traffic", "old_new_share": "no_traffic", "failing_share": "no_traffic", "arrivals_missing_share": "not_enough",
		}},
		{"before the TTL, and some stay", Address{Since: time.Second, TTL: time.Minute, Partial: true, Asked: End{Connections: 1, Established: 1, New: 1}}, map[string]string{
			"switched_seconds": "known", "ttl_over_seconds": "not_enough", "new_after_ttl": "not_enough", "older_than_ttl": "not_enough",
			"old_share": "known", "old_new_share": "known", "failing_share": "known", "arrivals_missing_share": "not_such",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, why(tt.of)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestArrivalsMissing: a switch that was expected knows what is usual, by chance
// that varies; of 100 a second 60 do not arrive.
func TestArrivalsMissing(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	poisson := func(mean float64) uint32 { // Knuth
		n, p, limit := uint32(0), 1.0, math.Exp(-mean)
		for p *= random.Float64(); p > limit; p *= random.Float64() {
			n++
		}
		return n
	}
	for _, tt := range []struct {
		name        string
		served      bool
		usual       float64
		arrive      float64
		late        int // seconds for which the switch was not told
		wantMissing float64
		within      float64
	}{
		{"asked", false, 100, 40, 0, 0.6, 0.05},
		{"served", true, 100, 40, 0, 0.6, 0.05},
		{"told half a minute late", false, 100, 40, 30, 0.6, 0.05},
		{"all arrive", false, 100, 100, 0, 0, 0.05},
		{"none does", true, 10, 0, 0, 1, 0.001},
		{"few", true, 2, 1, 0, 0.5, 0.3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDrained()
			sides := func(since time.Duration, old, fresh uint32) {
				ends := func(n uint32) Address {
					a := Address{Since: since, TTL: time.Minute, Asked: End{New: n}}
					if tt.served {
						a.Asked, a.Served = a.Served, a.Asked
					}
					return a
				}
				d.step(ends(old), ends(fresh))
			}
			for range 12 * 60 {
				sides(-1, poisson(tt.usual), 0)
			}
			for range tt.late {
				sides(-1, poisson(tt.arrive), 0)
			}
			var detected time.Duration
			for i := range 60 {
				sides(time.Duration(i+tt.late)*time.Second, poisson(tt.arrive/2), poisson(tt.arrive/2))
				s := d.on(scope.NewSide)
				expected, ok := s.Get(ArrivalsExpected).Get()
				off, _ := s.Get(ArrivalsExpectedError).Get()
				if rate, rateKnown := s.Get(ArrivalsRate).Get(); ok && rateKnown && rate < expected-1.5*off && detected == 0 {
					detected = time.Duration(i) * time.Second
				}
			}
			s := d.on(scope.NewSide)
			got, ok := s.Get(ArrivalsMissing).Get()
			if !ok || math.Abs(got-tt.wantMissing) > tt.within || s.Address.ArrivalsServed != tt.served || s.Address.ArrivalsLearned {
				t.Errorf("missing %v (%v), want %v ± %v; served %v, learned %v", got, s.Get(ArrivalsMissing).Validity, tt.wantMissing, tt.within, s.Address.ArrivalsServed, s.Address.ArrivalsLearned)
			}
			expected, off := s.Get(ArrivalsExpected).Value, s.Get(ArrivalsExpectedError).Value
			if math.Abs(expected-tt.usual) > 0.3*math.Sqrt(tt.usual) || off < 2*math.Sqrt(tt.usual/30)*0.99-0.05 || off > 6*math.Sqrt(tt.usual/30) {
				t.Errorf("expected %v ± %v, of %v", expected, off, tt.usual)
			}
			switch { // of few a second chance decides when
			case tt.wantMissing == 0 && detected > 0, tt.wantMissing > 0 && tt.usual >= 10 && (detected == 0 || detected > 15*time.Second):
				t.Errorf("beyond chance after %v", detected)
			}
		})
	}
}

// TestArrivalsFromWhatWasLearned: a switch that nobody expected is held against
// what was learned of this hour, if anything was.
func TestArrivalsFromWhatWasLearned(t *testing.T) {
	d := newDrained()
	id := (&scope.Switch{Name: "shop.example"}).ID(scope.NewSide, "")
	norm := Norm{Scope: id, Signal: ArrivalsRate, Low: 80, Usual: 100, High: 150, Minutes: 600, Days: 7}
	d.m.takeNorms([]Norm{norm})
	for i := range 40 {
		a := Address{Since: time.Duration(i) * time.Second, Asked: End{New: 20}}
		d.step(a, a)
	}
	s := d.on(scope.NewSide)
	want := map[string]float64{"arrivals_per_second": 40, "arrivals_expected_per_second": 100, "arrivals_expected_error_per_second": 20, "arrivals_missing_share": 0.6}
	if diff := diffOf(want, known(s, ArrivalsRate, ArrivalsExpected, ArrivalsExpectedError, ArrivalsMissing)); diff != "" || !s.Address.ArrivalsLearned {
		t.Errorf("learned %v (-want +got):\n%s", s.Address.ArrivalsLearned, diff)
	}
}

// TestAnswered: what resolvers say is of the old side, and grows stale.
func TestAnswered(t *testing.T) {
	d := newDrained().step(Address{}, Address{})
	id := (&scope.Switch{Name: "shop.example"}).ID(scope.OldSide, "")
	say := func(answers ...Answered) map[string]float64 {
		d.now = d.now.Add(time.Second)
		d.view = d.m.Step(d.now, Tallies{Answers: answers})
		return known(d.on(scope.OldSide), ResolversAsked, ResolversStale)
	}
	want := func(asked, stale float64) map[string]float64 {
		return map[string]float64{"resolvers_asked": asked, "resolvers_stale": stale}
	}
	if diff := diffOf(want(3, 1), say(Answered{Scope: id, Asked: 3, Stale: 1, Seen: d.now, Good: 10 * time.Second}, Answered{Scope: scope.Rest, Asked: 9}, Answered{Scope: id.In("gone"), Asked: 9})); diff != "" {
		t.Errorf("three of them (-want +got):\n%s", diff)
	}
	if diff := diffOf(want(0, nan), say(Answered{Scope: id, Seen: d.now, Good: 10 * time.Second})); diff != "" {
		t.Errorf("none that answered (-want +got):\n%s", diff)
	}
	d.now = d.now.Add(time.Minute)
	if diff := diffOf(want(nan, nan), say()); diff != "" {
		t.Errorf("a minute later (-want +got):\n%s", diff)
	}
}

package rule

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// TestPhases takes an answer a second, y n or u (not seen), = for one that is
// no newer than the last, 9 for a gap of 9 s and G for one of 20 s, each good
// for 10 s; and wants
// a phase for each answer: . none, s suspect, O open.
func TestPhases(t *testing.T) {
	for _, tt := range []struct {
		name          string
		rule          Rule
		answers, want string
	}{
		{"at once", Rule{}, "nyn", ".OO"},
		{"held in time", Rule{Hold: seconds(3)}, "yyyyy", "sssOO"},
		{"broken by no", Rule{Hold: seconds(3)}, "yyynyyyy", "sss.sssO"},
		{"unknown pauses", Rule{Hold: seconds(3)}, "yyuuyyyy", "ssssssOO"},
		{"not seen anew", Rule{Hold: seconds(2)}, "y====yy", "ssssssO"},
		{"in a row", Rule{InARow: 2}, "ynyy", "s.sO"},
		{"a gap counts", Rule{Hold: seconds(9)}, "y9y", "sO"},
		{"a long gap does not", Rule{Hold: seconds(9)}, "yGy9y", "ssO"},
		{"clears after 10 s", Rule{}, "ynnnnnnnnnnn", "OOOOOOOOOOO."},
		{"clearing is broken", Rule{}, "y9n9ny9n9n9n", "OOOOOO."},
		{"clears after its hold", Rule{Hold: seconds(18)}, "y9y9yn9n9n", "ssOOO."},
		{"stays open unseen", Rule{}, "yuuGuGu", "OOOOO"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := Follower{rule: tt.rule}
			seen, got, next := start, "", time.Second
			for _, a := range tt.answers {
				switch a {
				case '9':
					next = seconds(9)
					continue
				case 'G':
					next = seconds(20)
					continue
				}
				if a != '=' {
					seen = seen.Add(next)
				}
				answer := map[rune]Truth{'y': Yes, '=': Yes, 'n': No, 'u': Unknown}[a]
				next = time.Second
				got += string(".sO"[f.observe(answer, seen, seen.Add(seconds(10)))])
			}
			if got != tt.want {
				t.Errorf("\nanswers %s\ngot     %s\nwant    %s", tt.answers, got, tt.want)
			}
		})
	}
}

// TestHeldAsLongAsItsReadingIsGood: time between two sightings counts while the
// first was good, however far apart looks are.
func TestHeldAsLongAsItsReadingIsGood(t *testing.T) {
	for _, tt := range []struct {
		apart, good time.Duration
		want        Phase
	}{
		{seconds(30), seconds(75), Open},
		{seconds(600), seconds(1500), Open},
		{seconds(2), seconds(1), Suspect}, // nobody saw half of that time
	} {
		f := NewFollower(Rule{Name: "down", When: compileT(t, "backend.balancer_up == 0"), Hold: seconds(30), Severity: Warning})
		var got Outcome
		for i := range 20 {
			now := start.Add(time.Duration(i) * tt.apart)
			s := &measure.ScopeSignals{Scope: scope.ID{Kind: scope.KindBackend, Name: "web"}}
			s.Readings[measure.BalancerUp] = measure.Reading{Seen: now, Good: tt.good, Validity: measure.Known}
			got = f.Step(now, s, nil)
		}
		if got.Phase != tt.want {
			t.Errorf("looks %s apart, each good for %s: %s after %d of them, held %s; want %s", tt.apart, tt.good, got.Phase, got.Observations, got.Held, tt.want)
		}
	}
}

// TestFollowerSamples gives a rule that looks each 30 s a view each 250 ms.
func TestSignalsOfDifferentLooks(t *testing.T) {
	e, err := Compile("r", "service.busy > 5 && host.passive_opens_per_second > 0")
	if err != nil {
		t.Fatal(err)
	}
	f := NewFollower(Rule{Name: "r", When: e, Hold: seconds(5), Severity: Warning})
	service := &measure.ScopeSignals{Scope: scope.ID{Kind: scope.KindService, Name: "web"}}
	host := &measure.ScopeSignals{Scope: scope.Host}
	var got []string
	for i := range 40 {
		now := start.Add(time.Duration(i) * 250 * time.Millisecond)
		host.Readings[measure.PassiveOpensRate] = measure.Reading{Value: 1, Seen: now, Good: 625 * time.Millisecond, Validity: measure.Known}
		if i%4 == 0 {
			service.Readings[measure.Busy] = measure.Reading{Value: 6, Seen: now, Good: 2500 * time.Millisecond, Validity: measure.Known}
		}
		if phase := f.Step(now, service, host).Phase.String(); len(got) == 0 || !strings.HasSuffix(got[len(got)-1], phase) {
			got = append(got, now.Sub(start).String()+" "+phase)
		}
	}
	if diff := cmp.Diff([]string{"0s suspect", "5s open"}, got); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
}

func TestFollowerSamples(t *testing.T) {
	r := Rule{Name: "r", When: compileT(t, `mean(service.busy, "2m30s") > 10`), Every: seconds(30), InARow: 2, Severity: Warning}
	if wrong := r.Validate(); wrong != nil {
		t.Fatal(wrong)
	}
	f := NewFollower(r)
	var opened []time.Duration
	last := None
	for i := range 4 * 600 {
		since := time.Duration(i) * 250 * time.Millisecond
		now := start.Add(since)
		busy := 10.0
		if since >= seconds(200) && since < seconds(400) { // samples from 210 s to 390 s
			busy = 15
		}
		o := f.Step(now, known(now, map[measure.Signal]float64{measure.Busy: busy}), nil)
		if o.Phase != last {
			opened = append(opened, since)
			last = o.Phase
		}
	}
	// Suspected with the first sample above, open with the second; the mean of
	// five is last above with the sample of 510 s, so 540 s and 570 s clear it.
	if diff := cmp.Diff([]time.Duration{seconds(210), seconds(240), seconds(570)}, opened); diff != "" {
		t.Errorf("changes of phase (-want +got):\n%s", diff)
	}
}

func TestValidate(t *testing.T) {
	r := Rule{When: compileT(t, `mean(service.busy, "30s") > 1`), Hold: -1, Every: seconds(20), InARow: 101}
	var got []string
	for _, err := range r.Validate() {
		got = append(got, err.Error())
	}
	for i, want := range []string{"name is missing", "severity is missing", "hold -1ns", "in_a_row 101", `mean(service.busy, "30s") looks at less than two samples`} {
		if i >= len(got) || !strings.HasPrefix(got[i], want) {
			t.Fatalf("got %q, want %q at %d", got, want, i)
		}
	}
}

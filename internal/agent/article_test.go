package agent

import (
	"log/slog"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/measure/baseline"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/rule/rulefile"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

var aRegion = scope.ID{Kind: scope.KindRegion, Name: "east"}

// deployedAtOnce is how many connections are CLOSE_WAIT during a deploy.
const deployedAtOnce = 29

// traffic is what a healthy region's sockets are like.
type traffic struct {
	kept   int     // ESTABLISHED that stay
	opened float64 // connections begun a second, each SYN_SENT for connects
	// closed is how many a second the region closes first, each CLOSE_WAIT until
	// our process closes it too, for closes.
	closed            float64
	connects, closes  time.Duration
	deployed, deploys time.Duration // each working day at this time of the day, and for how long
}

// fourWeeks is what the article's learned rules make of 28 days of a region, a
// look each 30 s as the preset has it.
type fourWeeks struct {
	CloseWaitHigh, SynSentHigh float64 // at the end, rounded to a ten thousandth
	From                       int     // the day from whose midnight on both are known
	CloseWait, SynSent         int     // how often the learned rules opened
	FixedCloseWait             int     // and the one of 15 %
}

func playFourWeeks(t *testing.T, of traffic) fourWeeks {
	t.Helper()
	const every, weeks = 30 * time.Second, 28 * 24 * time.Hour
	preset, err := rulefile.Preset("regions-article")
	if err != nil {
		t.Fatal(err)
	}
	followers := map[string]*rule.Follower{}
	for _, r := range preset.Rules {
		followers[r.Name] = rule.NewFollower(r)
	}
	last, opened := map[string]rule.Phase{}, map[string]int{}
	random := rand.New(rand.NewPCG(3, 4))
	m, minutes := measure.New(""), baseline.NewMinutes()
	l := newLearner(aWeek, &memory{}, slog.New(slog.DiscardHandler))
	var norms []measure.Norm
	got := fourWeeks{From: -1}
	for at := aMonday; at.Before(aMonday.Add(weeks)); at = at.Add(every) {
		y := measure.Tally{Scope: aRegion, Group: scope.RegionGroup, Flows: measure.Flows{Known: true, Since: every, Scale: 1}}
		y.States = of.states(random, at)
		y.Accepted, y.AcceptedCloseWait = y.States[tcp.Established]+y.States[tcp.CloseWait], y.States[tcp.CloseWait]
		look := tcp.Look{
			Begin: at, Abilities: tcp.AllAbilities, Completeness: tcp.Complete,
			Request: tcp.Request{Tier: tcp.Full, States: tcp.AllStates, Info: true},
		}
		view := m.Step(at, measure.Tallies{Look: look, Interval: every, Scopes: []measure.Tally{y}, Norms: norms})
		norms = nil
		if minute := minutes.Take(at, view); minute != nil {
			l.take(at, unmade{minute.Start, baseline.AppendMinute(nil, minute)}, nil)
			norms = l.learn(at)
		}
		east := view.Scope(aRegion)
		for name, f := range followers {
			phase := f.Step(at, east, view.Host()).Phase
			if phase == rule.Open && last[name] != rule.Open {
				opened[name]++
			}
			last[name] = phase
		}
		closeWait, known := east.Get(measure.CloseWaitTotalHigh).Get()
		synSent, also := east.Get(measure.SynSentTotalHigh).Get()
		if known && also && got.From < 0 {
			got.From = int(at.Sub(aMonday) / (24 * time.Hour))
		}
		got.CloseWaitHigh, got.SynSentHigh = math.Round(1e4*closeWait)/1e4, math.Round(1e4*synSent)/1e4
	}
	got.CloseWait, got.SynSent = opened["article-region-close-wait-learned"], opened["article-region-syn-sent-learned"]
	got.FixedCloseWait = opened["article-region-close-wait"]
	return got
}

// states are the sockets at one instant: what passes through a state at random is
// there in a Poisson number, its rate times its time.
func (of *traffic) states(random *rand.Rand, at time.Time) (out [tcp.NumStates]uint32) {
	out[tcp.Established] = uint32(of.kept)
	out[tcp.SynSent] = poisson(random, of.opened*of.connects.Seconds())
	out[tcp.TimeWait] = poisson(random, 60*(of.opened-of.closed)) // a minute; who closes second has none
	out[tcp.CloseWait] = poisson(random, of.closed*of.closes.Seconds())
	midnight := at.Truncate(24 * time.Hour)
	if since := at.Sub(midnight.Add(of.deployed)); !measure.HoursOf(at).Weekend() && since >= 0 && since < of.deploys {
		out[tcp.CloseWait] += deployedAtOnce
		out[tcp.Established] -= deployedAtOnce
	}
	return out
}

// poisson draws a number whose mean is that, by Knuth's multiplication; beyond 30
// by the normal one that it resembles.
func poisson(random *rand.Rand, mean float64) uint32 {
	if mean > 30 {
		return uint32(math.Max(0, math.Round(mean+math.Sqrt(mean)*random.NormFloat64())))
	}
	n, p := uint32(0), random.Float64()
	for p > math.Exp(-mean) {
		n, p = n+1, p*random.Float64()
	}
	return n
}

// TestArticleRegions says what the article's learned thresholds come to in four
// weeks in which a region is healthy; docs/SIGNALS.md quotes it. The pool of 160
// and the deploy, of 25 s with 29 CLOSE_WAIT in the mean, are those of
// testdata/episodes/healthy-region-*, which show no CLOSE_WAIT otherwise, and no
// SYN_SENT without loss, their regions being less than a millisecond away.
func TestArticleRegions(t *testing.T) {
	tests := []struct {
		name string
		of   traffic
		want fourWeeks
	}{
		{
			"a pool that is kept, and a deploy each working day",
			traffic{kept: 160, deployed: 10*time.Hour + 20*time.Minute, deploys: 25 * time.Second}, fourWeeks{From: 14},
		},
		{
			"a deploy that takes two minutes",
			traffic{kept: 160, deployed: 10*time.Hour + 20*time.Minute, deploys: 2 * time.Minute}, fourWeeks{From: 14, CloseWait: 10, FixedCloseWait: 20},
		},
		{
			"it begins a connection each two seconds, 40 ms away",
			traffic{kept: 160, opened: 0.5, connects: 40 * time.Millisecond, closed: 0.2, closes: 50 * time.Millisecond}, fourWeeks{From: 14, CloseWait: 8, SynSent: 17},
		},
		{
			"it keeps none: 20 a second, 40 ms away",
			traffic{kept: 8, opened: 20, connects: 40 * time.Millisecond}, fourWeeks{From: 14, SynSentHigh: 0.0026, SynSent: 3},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, playFourWeeks(t, tt.of)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
